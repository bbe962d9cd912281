//! The suites that every store has to pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kinetic_tableau_sync::Clock;
use kinetic_tableau_sync::store::{PostgresStore, conformance};

use super::{database, options};

/// Empty stores, each in a schema of its own. The suites make them where they cannot wait, so that they are made on another thread.
struct Empty {
    url: super::Database,
    count: AtomicU32,
}

impl Empty {
    async fn new() -> Self {
        Self { url: database().await, count: AtomicU32::new(0) }
    }

    fn make(&self, clock: Option<Arc<dyn Clock>>) -> Arc<PostgresStore> {
        let schema = format!("schema {}", self.count.fetch_add(1, Ordering::Relaxed));
        let options = options(&self.url).schema(schema);
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

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_promises_of_a_store() {
    let empty = Empty::new().await;
    conformance::state_store(|clock| empty.make(Some(clock))).await;
    conformance::fingerprint_store(|| empty.make(None)).await;
    conformance::audit_store(|| empty.make(None)).await;
    conformance::reject_store(|| empty.make(None)).await;
    conformance::note_store(|| empty.make(None)).await;
}
