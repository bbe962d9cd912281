//! A copy of the state that is put back: it knows nothing of what has landed since.

use std::sync::Arc;
use std::time::Duration;

use kinetic_tableau_sync::store::SqliteStore;
use kinetic_tableau_sync::{Destination, KineticSource, LoadKind, Syncer};
use simulators::kinetic::Value;

use super::parquet;
use super::support::{World, invoices};

/// Copies the state as the operator's guide tells to.
fn copied(world: &World, name: &str) -> Arc<SqliteStore> {
    let (live, copy) = (world.directory.path().join("state.db"), world.directory.path().join(name));
    let live = rusqlite::Connection::open(live).unwrap();
    live.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    Arc::new(SqliteStore::open(copy).unwrap())
}

/// Writes an invoice of this number.
fn write(world: &World, number: &str) -> [Value; 2] {
    let vendor = world.kinetic.rows("APInvoices")[0].get("VendorNum").unwrap().clone();
    let key = [vendor, number.into()];
    let columns = [("VendorNum", key[0].clone()), ("InvoiceNum", key[1].clone())];
    world.kinetic.database().write("APInvoices", columns);
    key
}

/// A row lands and is deleted between the copy and its return. What has landed is as the source is afterwards, as far as the caller sees.
pub(crate) async fn put_back_behind_a_row_that_is_gone(world: &World, destination: Arc<dyn Destination>) {
    let spec = invoices();
    let syncer = |store: Arc<SqliteStore>| {
        let source = Arc::new(KineticSource::new(world.kinetic_client()));
        Syncer::builder(source, Arc::clone(&destination), store).build()
    };
    let live = syncer(Arc::clone(&world.store));
    live.run(&spec).await.unwrap();
    let same = copied(world, "same.db");
    // Tableau tells of writes by the second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let gone = write(world, "SHORT-LIVED");
    assert!(live.run(&spec).await.unwrap().counts.inserted > 0);
    assert!(world.kinetic.database().delete("APInvoices", &gone));

    let run = syncer(Arc::clone(&same)).run(&spec).await.unwrap();
    assert_eq!(run.kind, Some(LoadKind::Full), "a delta finds nothing, and leaves the row there for good");
    let compared = syncer(Arc::clone(&same)).reconcile(&spec).await.unwrap();
    assert!(compared.findings.unwrap().is_clean());

    // One of the very state is no reason to load anything again.
    let newest = Arc::new(SqliteStore::open(world.directory.path().join("same.db")).unwrap());
    assert_eq!(syncer(newest).run(&spec).await.unwrap().kind, Some(LoadKind::Delta));
}

#[tokio::test]
async fn a_state_that_is_put_back_leaves_no_row_behind_in_tableau() {
    let world = World::new().await;
    put_back_behind_a_row_that_is_gone(&world, Arc::new(world.destination())).await;
    world.assert_landed(&invoices()).await;
}

#[tokio::test]
async fn a_state_that_is_put_back_leaves_no_row_behind_where_rows_land_as_parquet() {
    let world = World::new().await;
    put_back_behind_a_row_that_is_gone(&world, Arc::new(parquet::destination(&world))).await;
    world.assert_landed(&invoices()).await;
}
