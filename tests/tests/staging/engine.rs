//! The whole engine over it, between the two simulators.

use std::sync::Arc;
use std::time::Duration;

use kinetic_tableau_sync::store::SqliteStore;
use kinetic_tableau_sync::{
    DatasetSpec, Deletes, KineticSource, LoadKind, RefreshOutcome, RefreshTarget, SourceObject, Syncer,
    TableauRefresher,
};
use simulators::postgres::Database;
use tableau_rest::WaitPolicy;

use super::{database, destination, text, texts};
use crate::e2e::copies::put_back_behind_a_row_that_is_gone;
use crate::e2e::support::{World, accounts, customers, invoices, orders, transactions, vendors};

fn syncer(world: &World<SqliteStore>, database: &Database, deletes: Deletes) -> Syncer {
    let wait = WaitPolicy::new(Duration::from_secs(30))
        .first_poll(Duration::from_millis(10))
        .longest_poll(Duration::from_millis(40));
    let refresher = TableauRefresher::new(world.tableau_client()).wait_policy(wait);
    let destination = destination(database, deletes).refresher(Arc::new(refresher));
    let source = KineticSource::new(world.kinetic_client());
    Syncer::builder(Arc::new(source), Arc::new(destination), Arc::clone(&world.store)).build()
}

/// Compares every cell that has landed with the source.
pub(super) async fn assert_landed<S>(world: &World<S>, database: &Database, spec: &DatasetSpec) {
    let client = database.connect().await.unwrap();
    let table = &spec.target.datasource;
    let names = texts(
        &client,
        &format!(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'tableau.\"{table}\"'::regclass AND attnum > 0 AND attname NOT LIKE '\\_%' \
             AND NOT attisdropped ORDER BY attnum"
        ),
    )
    .await;
    let columns: Vec<String> = names.into_iter().map(|mut row| row.remove(0).unwrap()).collect();
    let list: Vec<String> = columns.iter().map(|column| format!("\"{column}\"::text")).collect();
    let mut landed = texts(&client, &format!("SELECT {} FROM tableau.\"{table}\"", list.join(", "))).await;
    let SourceObject::EntitySet { set, .. } = &spec.source else { panic!("only entity sets are compared here") };
    let mut truth: Vec<Vec<Option<String>>> =
        world.kinetic.rows(set).iter().map(|row| columns.iter().map(|column| row.text(column)).collect()).collect();
    landed.sort();
    truth.sort();
    assert_eq!(landed.len(), truth.len(), "{}: rows", spec.id);
    for (landed, truth) in landed.iter().zip(&truth) {
        assert_eq!(landed, truth, "{}: {columns:?}", spec.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_loads_deltas_and_reconciles_land_equal_to_the_source() {
    let (world, database) = (World::new().await, database().await);
    let specs = [vendors(), invoices(), orders(), accounts(), transactions(), customers()];
    let syncer = syncer(&world, &database, Deletes::Hard);
    for spec in &specs {
        assert_eq!(syncer.run(spec).await.unwrap().kind, Some(LoadKind::Full), "{}", spec.id);
        assert_landed(&world, &database, spec).await;
    }
    for (set, count) in
        [("Vendors", 9), ("APInvoices", 60), ("POes", 30), ("GLAccounts", 4), ("APTrans", 11), ("Customers", 3)]
    {
        world.kinetic.random_changes(set, count, 7);
    }
    for spec in &specs {
        let run = syncer.run(spec).await.unwrap();
        assert_eq!(run.kind, Some(LoadKind::Delta), "{}", spec.id);
        assert!(run.counts.inserted + run.counts.updated > 0, "{}: {:?}", spec.id, run.counts);
        assert_landed(&world, &database, spec).await;
    }
    let gone = world.kinetic.rows("APInvoices").into_iter().step_by(17);
    let gone: Vec<_> =
        gone.map(|row| ["VendorNum", "InvoiceNum"].map(|column| row.get(column).unwrap().clone())).collect();
    let deleted =
        gone.iter().filter(|key| world.kinetic.database().delete("APInvoices", key.as_slice())).count() as u64;
    assert_eq!(syncer.reconcile(&invoices()).await.unwrap().findings.unwrap().deleted, deleted);
    assert_landed(&world, &database, &invoices()).await;
    assert!(world.audited(&invoices()).await > 0);
    // Tableau's engine was not asked for anything, and nothing of the loads is left.
    assert!(world.tableau.faults().requests().is_empty());
    let client = database.connect().await.unwrap();
    assert_eq!(text(&client, "SELECT count(*) FROM tableau_loads.load").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reads_the_table_is_refreshed_and_the_job_awaited() {
    let (world, database) = (World::new().await, database().await);
    let id = world.tableau.add_datasource_with_upstream("Finance/Payables", "Vendors live");
    let mut spec = vendors();
    let reads = RefreshTarget::Datasource { project: "Finance/Payables".to_owned(), name: "Vendors live".to_owned() };
    let task = RefreshTarget::Task { id: world.tableau.add_task(&id) };
    spec.refresh = vec![reads.clone(), task.clone()];
    let syncer = syncer(&world, &database, Deletes::Soft);
    let run = syncer.run(&spec).await.unwrap();
    let outcomes: Vec<_> = run.refreshes.iter().map(|report| (&report.target, &report.outcome)).collect();
    assert_eq!(outcomes, [(&reads, &RefreshOutcome::Succeeded), (&task, &RefreshOutcome::Succeeded)]);
    assert!(run.refreshes.iter().all(|report| report.job_id.is_some()), "{:?}", run.refreshes);
    // One that fails stays due, and the rows stand.
    world.kinetic.random_changes("Vendors", 5, 3);
    world.tableau.fail_next_refresh("the database was away");
    let run = syncer.run(&spec).await.unwrap();
    assert!(matches!(&run.refreshes[0].outcome, RefreshOutcome::Failed(why) if why.contains("away")));
    let run = syncer.run(&spec).await.unwrap();
    assert_eq!((run.refreshes.len(), &run.refreshes[0].outcome), (1, &RefreshOutcome::Succeeded));
    assert_eq!(run.counts.inserted + run.counts.updated, 0, "nothing lands again for it");
    assert_landed(&world, &database, &spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_another_worker_wrote_or_somebody_dropped_is_loaded_anew() {
    let (world, database) = (World::new().await, database().await);
    let spec = invoices();
    let ours = syncer(&world, &database, Deletes::Hard);
    ours.run(&spec).await.unwrap();
    // Another installation, with a state of its own, lands the same dataset there.
    let other = World::new().await;
    syncer(&other, &database, Deletes::Hard).run(&spec).await.unwrap();
    let run = ours.run(&spec).await.unwrap();
    assert_eq!(run.kind, Some(LoadKind::Full), "the last landing was none of ours");
    assert_landed(&world, &database, &spec).await;
    assert_eq!(ours.run(&spec).await.unwrap().kind, Some(LoadKind::Delta));
    database.connect().await.unwrap().batch_execute("DROP TABLE tableau.\"AP invoices\"").await.unwrap();
    assert_eq!(ours.run(&spec).await.unwrap().kind, Some(LoadKind::Full));
    assert_landed(&world, &database, &spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_put_back_leaves_no_row_behind_in_the_table() {
    let (world, database) = (World::new().await, database().await);
    let destination = Arc::new(destination(&database, Deletes::Hard));
    put_back_behind_a_row_that_is_gone(&world, destination).await;
    assert_landed(&world, &database, &invoices()).await;
}
