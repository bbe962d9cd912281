//! The landed extract, read by the vendor's own Python library.

use std::collections::BTreeMap;
use std::process::Command;

use super::support::{World, invoices, vendors};
use crate::python;

#[tokio::test]
async fn the_vendors_own_library_reads_the_same_rows() {
    let world = World::new().await;
    for spec in [vendors(), invoices()] {
        world.run(&spec).await.unwrap();
        world.kinetic.random_changes("Vendors", 5, 1);
        world.kinetic.random_changes("APInvoices", 25, 1);
        world.run(&spec).await.unwrap();
        let copy = world.landed_copy(&spec);
        let python = tokio::task::spawn_blocking(python::environment).await.unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vendor/read_extract.py");
        let read = Command::new(python).arg(script).arg(&copy).current_dir(world.directory.path()).output().unwrap();
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        let mut landed: Vec<BTreeMap<String, Option<String>>> = serde_json::from_slice(&read.stdout).unwrap();
        let columns: Vec<String> = landed[0].keys().cloned().collect();
        let set = if spec.id.as_str() == "vendors" { "Vendors" } else { "APInvoices" };
        let mut truth: Vec<BTreeMap<String, Option<String>>> = world
            .kinetic
            .rows(set)
            .iter()
            .map(|row| columns.iter().map(|column| (column.clone(), row.text(column))).collect())
            .collect();
        landed.sort();
        truth.sort();
        assert_eq!(landed.len(), truth.len());
        for (landed, truth) in landed.iter().zip(&truth) {
            assert_eq!(landed, truth);
        }
    }
}
