//! Deletes, silent edits and missed rows, between the simulated Kinetic and the simulated Tableau.

use kinetic_tableau_sync::{Counts, DatasetSpec, Findings, LoadKind, RunSummary, SyncError, Track};
use simulators::kinetic::{KineticSim, Value};
use simulators::tableau::TableauSim;

use super::support::{World, accounts, customers, invoices, orders, transactions, vendors};

async fn reconcile(world: &World, spec: &DatasetSpec) -> Result<RunSummary, SyncError> {
    world.syncer().reconcile(spec).await
}

/// Deletes every `nth` row of a set, and answers how many.
fn delete_some(world: &World, set: &str, key: &[&str], nth: usize) -> u64 {
    let keys: Vec<Vec<Value>> = world
        .kinetic
        .rows(set)
        .iter()
        .step_by(nth)
        .map(|row| key.iter().map(|column| row.get(column).unwrap().clone()).collect())
        .collect();
    let mut database = world.kinetic.database();
    keys.iter().filter(|key| database.delete(set, key)).count() as u64
}

#[tokio::test]
async fn rows_that_are_gone_from_kinetic_go_from_tableau() {
    // A server that caps its pages silently must not make rows look gone.
    let kinetic = KineticSim::builder().switches(|switches| switches.cap = Some(13));
    let world = World::with(kinetic, TableauSim::builder()).await;
    for (spec, set, key) in [
        (invoices(), "APInvoices", &["VendorNum", "InvoiceNum"][..]),
        (vendors(), "Vendors", &["VendorNum"]),
        (orders(), "POes", &["PONum"]),
        (accounts(), "GLAccounts", &["COACode", "GLAccount1"]),
        (transactions(), "APTrans", &["HeadNum", "APTranNo", "InvoiceNum", "Voided"]),
        (customers(), "Customers", &["CustNum"]),
    ] {
        world.run(&spec).await.unwrap();
        let rows = world.kinetic.truth_count(set) as u64;
        let gone = delete_some(&world, set, key, 17);
        assert!(gone > 0, "{set}: {key:?}");
        let run = reconcile(&world, &spec).await.unwrap();
        let expected = Findings { listed: rows - gone, gone, deleted: gone, ..Findings::default() };
        assert_eq!(run.findings, Some(expected), "{set}");
        assert_eq!((run.kind, run.landed_rows), (Some(LoadKind::Delta), rows - gone), "{set}");
        world.assert_landed(&spec).await;
        // The next cycle begins from there.
        world.kinetic.random_changes(set, 5, 3);
        world.run(&spec).await.unwrap();
        world.assert_landed(&spec).await;
        let clean = reconcile(&world, &spec).await.unwrap();
        assert!(clean.findings.unwrap().is_clean(), "{set}");
    }
}

#[tokio::test]
async fn edits_that_the_stamp_does_not_tell_are_found_and_counted() {
    let world = World::new().await;
    let spec = orders();
    world.run(&spec).await.unwrap();
    let rows = world.kinetic.rows("POes");
    for row in rows.iter().take(7) {
        let columns = ["PONum", "Company"].map(|name| (name, row.get(name).unwrap().clone()));
        world.kinetic.database().write_unstamped("POes", columns.into_iter().chain([("BuyerID", "silent".into())]));
    }
    let idle = world.run(&spec).await.unwrap();
    assert_eq!((idle.counts.inserted, idle.counts.updated), (0, 0), "no stamp has moved");
    let run = reconcile(&world, &spec).await.unwrap();
    assert_eq!(run.findings.as_ref().unwrap().silent, 7, "{:?}", run.findings);
    assert_eq!(run.counts.updated, 7);
    world.assert_landed(&spec).await;
}

#[tokio::test]
async fn a_comparison_of_whole_rows_sees_what_moves_no_version() {
    let world = World::new().await;
    let mut spec = invoices();
    spec.page_size = 200;
    world.run(&spec).await.unwrap();
    // As a looked-up column does when the other table changes; far behind the overlap, and in it.
    let rows = world.kinetic.rows("APInvoices");
    for row in rows.iter().take(3).chain(rows.iter().rev().take(2)) {
        let key = ["Company", "VendorNum", "InvoiceNum"].map(|name| (name, row.get(name).unwrap().clone()));
        world.kinetic.database().write_silently("APInvoices", key.into_iter().chain([("Description", "other".into())]));
    }
    spec.track = Track::Revision { column: "SysRevID".to_owned(), overlap: 5 };
    let by_version = reconcile(&world, &spec).await.unwrap();
    assert_eq!(by_version.findings.unwrap().silent, 0);
    spec.compare_rows = true;
    let run = reconcile(&world, &spec).await.unwrap();
    assert_eq!(run.findings.as_ref().unwrap().silent, 5, "{:?}", run.findings);
    assert_eq!(run.kind, Some(LoadKind::Delta));
    world.assert_landed(&spec).await;
}

#[tokio::test]
async fn a_snapshot_needs_no_column_that_tells_of_changes() {
    let world = World::new().await;
    let mut spec = accounts();
    spec.track = Track::Snapshot;
    assert_eq!(world.run(&spec).await.unwrap().kind, Some(LoadKind::Full));
    world.kinetic.random_changes("GLAccounts", 12, 5);
    let gone = delete_some(&world, "GLAccounts", &["COACode", "GLAccount1"], 25);
    let run = world.run(&spec).await.unwrap();
    assert_eq!((run.kind, run.counts.deleted), (Some(LoadKind::Delta), gone));
    assert!(run.counts.updated + run.counts.inserted > 0, "{:?}", run.counts);
    world.assert_landed(&spec).await;
    let idle = world.run(&spec).await.unwrap();
    let Counts { inserted, updated, deleted, .. } = idle.counts;
    assert_eq!((inserted, updated, deleted), (0, 0, 0));
}

#[tokio::test]
async fn a_source_that_answers_nothing_empties_nothing() {
    let world = World::new().await;
    let spec = invoices();
    world.run(&spec).await.unwrap();
    let before = world.kinetic.database().clone();
    delete_some(&world, "APInvoices", &["VendorNum", "InvoiceNum"], 1);
    for run in [world.run(&spec).await, reconcile(&world, &spec).await] {
        assert!(run.unwrap_err().to_string().contains("the source answers 0 rows"));
    }
    world.kinetic.database().restore(&before);
    world.run(&spec).await.unwrap();
    world.assert_landed(&spec).await;
}
