//! The whole engine on a store in Postgres, between the two simulators.

use std::sync::Arc;
use std::time::Duration;

use kinetic_tableau_sync::store::PostgresStore;
use kinetic_tableau_sync::{AuditFilter, AuditStore as _, Disposition, LoadKind, RejectStore as _, StateStore as _};
use simulators::kinetic::KineticSim;
use simulators::postgres::PostgresServer;
use simulators::tableau::TableauSim;

use super::{database, options, store};
use crate::e2e::support::{World, accounts, customers, invoices, orders, transactions, vendors};

async fn world(store: PostgresStore) -> World<PostgresStore> {
    World::on(Arc::new(store), KineticSim::builder(), TableauSim::builder()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn full_loads_deltas_and_reconciles_land_whole_and_are_proven() {
    let database = database().await;
    let world = world(store(&database).await).await;
    let specs = [vendors(), invoices(), orders(), accounts(), transactions(), customers()];
    for spec in &specs {
        let run = world.run(spec).await.unwrap();
        assert_eq!(run.kind, Some(LoadKind::Full), "{}", spec.id);
        world.assert_landed(spec).await;
    }
    for (set, count) in
        [("Vendors", 9), ("APInvoices", 60), ("POes", 30), ("GLAccounts", 4), ("APTrans", 11), ("Customers", 3)]
    {
        world.kinetic.random_changes(set, count, 7);
    }
    for spec in &specs {
        let run = world.run(spec).await.unwrap();
        assert_eq!(run.kind, Some(LoadKind::Delta), "{}", spec.id);
        assert!(run.counts.balance() && run.counts.inserted + run.counts.updated > 0, "{}: {:?}", spec.id, run.counts);
        world.assert_landed(spec).await;
    }
    let gone = world.kinetic.rows("APInvoices").into_iter().step_by(17);
    let gone: Vec<_> =
        gone.map(|row| ["VendorNum", "InvoiceNum"].map(|column| row.get(column).unwrap().clone())).collect();
    let deleted =
        gone.iter().filter(|key| world.kinetic.database().delete("APInvoices", key.as_slice())).count() as u64;
    let run = world.syncer().reconcile(&invoices()).await.unwrap();
    assert_eq!(run.findings.unwrap().deleted, deleted);
    world.assert_landed(&invoices()).await;
    for spec in &specs {
        assert!(world.audited(spec).await > 0, "{}", spec.id);
        assert_eq!(world.store.count_rejects(&spec.id).await.unwrap(), 0);
    }
    // Another process finds the same.
    let other = PostgresStore::connect_read_only(options(&database)).await.unwrap();
    assert_eq!(other.list().await.unwrap().len(), specs.len());
    assert_eq!(other.verify().await.unwrap(), world.store.verify().await.unwrap());
    let filter = AuditFilter { dataset: Some("ap_invoices".into()), limit: Some(1), ..AuditFilter::default() };
    let record = other.records(&filter).await.unwrap().remove(0);
    assert!(record.landed && record.job_id.is_some(), "{record:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_the_datasets_and_give_way_to_each_other() {
    let database = database().await;
    let world = world(store(&database).await).await;
    let spec = invoices();
    world.run(&spec).await.unwrap();
    world.kinetic.random_changes("APInvoices", 40, 3);
    let other = store(&database).await;
    let beside = world.syncer_on(Arc::new(other), "another worker");
    let ours = world.syncer_on(Arc::clone(&world.store), "this worker");
    let (one, two) = tokio::join!(ours.run(&spec), beside.run(&spec));
    for run in [&one, &two] {
        if let Err(error) = run {
            assert!(matches!(error.disposition(), Disposition::Retry { .. }), "{error}");
            assert!(error.to_string().contains("worker"), "{error}");
        }
    }
    assert!(one.is_ok() || two.is_ok());
    world.assert_landed(&spec).await;
    // Each goes on with what the other one has left.
    world.kinetic.random_changes("APInvoices", 10, 5);
    assert_eq!(beside.run(&spec).await.unwrap().kind, Some(LoadKind::Delta));
    world.kinetic.random_changes("APInvoices", 10, 6);
    assert_eq!(ours.run(&spec).await.unwrap().kind, Some(LoadKind::Delta));
    world.assert_landed(&spec).await;
    assert_eq!(world.store.verify().await.unwrap().first_broken, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_while_rows_land_costs_a_run_and_no_row() {
    let server = PostgresServer::start().await.expect("Postgres is needed for this test");
    let database = server.database().await.unwrap();
    let world = world(store(&database).await).await;
    let spec = invoices();
    for round in 0..6_u64 {
        world.kinetic.random_changes("APInvoices", 40, round);
        let pause = Duration::from_millis(60 + 90 * round);
        let (run, ()) = tokio::join!(world.run(&spec), async {
            tokio::time::sleep(pause).await;
            server.kill9();
            server.restart().await.unwrap();
        });
        if let Err(error) = run {
            assert!(matches!(error.disposition(), Disposition::Retry { .. }), "{error}: {:?}", error.hint());
        }
    }
    // One that stays away is no reason to call a person.
    server.stop();
    let error = world.run(&spec).await.unwrap_err();
    assert!(matches!(error.disposition(), Disposition::Retry { .. }), "{error}: {:?}", error.hint());
    server.restart().await.unwrap();
    // A lease that nobody could give back lapses by itself; here it need not be waited for.
    database.connect().await.unwrap().batch_execute("UPDATE kinetic_tableau.lease SET owner = NULL").await.unwrap();
    world.run(&spec).await.unwrap();
    world.assert_landed(&spec).await;
    assert!(world.audited(&spec).await > 0);
}
