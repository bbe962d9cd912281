//! The store in Postgres, on a real server.

mod promises;

use kinetic_tableau_sync::store::{PostgresOptions, PostgresStore};
use simulators::postgres::{Database, PostgresServer};

/// An empty database of the server that all tests share.
async fn database() -> Database {
    let server = PostgresServer::shared().await.expect("Postgres is needed for this test");
    server.database().await.unwrap()
}

fn options(database: &Database) -> PostgresOptions {
    PostgresOptions::new(database.url())
}

async fn store(database: &Database) -> PostgresStore {
    PostgresStore::connect(options(database)).await.unwrap()
}
