//! The suites that every store has to pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kinetic_tableau_sync::Clock;
use kinetic_tableau_sync::store::{PostgresStore, conformance};

use simulators::postgres::{Database, PostgresServer};

use super::{database, options};

/// Empty stores, each in a schema of its own. The suites make them where they cannot wait, so that they are made on another thread.
struct Empty {
    database: Database,
    count: AtomicU32,
}

impl Empty {
    fn of(database: Database) -> Self {
        Self { database, count: AtomicU32::new(0) }
    }

    fn make(&self, clock: Option<Arc<dyn Clock>>) -> Arc<PostgresStore> {
        let schema = format!("schema {}", self.count.fetch_add(1, Ordering::Relaxed));
        let options = options(&self.database).schema(schema);
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let store = match clock {
                    Some(clock) => PostgresStore::connect_with_clock(options, clock).await,
                    None => PostgresStore::connect(options).await,
                };
                Arc::new(store.unwrap())
            })
        })
    }
}

async fn promises(empty: &Empty) {
    conformance::state_store(|clock| empty.make(Some(clock))).await;
    conformance::fingerprint_store(|| empty.make(None)).await;
    conformance::audit_store(|| empty.make(None)).await;
    conformance::reject_store(|| empty.make(None)).await;
    conformance::note_store(|| empty.make(None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_promises_of_a_store() {
    promises(&Empty::of(database().await)).await;
}

/// Another version than most machines have. It is also what tests on machines without Postgres run on.
#[tokio::test(flavor = "multi_thread")]
async fn the_version_that_can_be_fetched_keeps_them_too() {
    let server = PostgresServer::builder().fetched().await.unwrap().start().await.unwrap();
    let database = server.database().await.unwrap();
    let version = database.connect().await.unwrap().query_one("SHOW server_version", &[]).await.unwrap();
    assert!(version.get::<_, &str>(0).starts_with("18."), "{}", version.get::<_, &str>(0));
    promises(&Empty::of(database)).await;
}
