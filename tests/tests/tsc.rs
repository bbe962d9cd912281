//! Tableau's own Python client works against our Tableau, so that what our client is tested with is more than our own opinion.

use std::process::Command;

use simulators::tableau::TableauSim;

use crate::python;

#[tokio::test]
async fn the_official_python_client_works_against_the_simulator() {
    let tableau = TableauSim::builder().start().await.unwrap();
    let upstream = tableau.add_datasource_with_upstream("Finance", "Ledger");
    let directory = tempfile::tempdir().unwrap();
    let python = tokio::task::spawn_blocking(python::environment).await.unwrap();
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tsc/check.py"));
    command.args([&tableau.url(), &tableau.site(), tableau.pat_name(), tableau.pat_secret(), &upstream]);
    command.arg(directory.path()).current_dir(directory.path());
    let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}\n{complained}");
    assert!(said.ends_with("ok\n"), "{said}\n{complained}");
    assert!(tableau.faults().count("PUT /api/3.29/sites/") > 1, "the file went in more than one block");
    assert_eq!(tableau.datasource("Finance", "Ledger").unwrap().refreshes, 1);
}
