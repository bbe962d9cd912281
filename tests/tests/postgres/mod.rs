//! The store in Postgres, on a real server.

mod crash;
mod engine;
mod promises;
mod prune;
mod refusals;
mod schema;
mod tls;
mod trail;
mod workers;

use chrono::{DateTime, Utc};
use kinetic_tableau_sync::store::{PostgresOptions, PostgresStore};
use kinetic_tableau_sync::{Action, AuditSegment, Checkpoint, Cursor, Records, RunId};
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

/// A client with our tables in its path, to look and to tamper.
async fn client(database: &Database) -> tokio_postgres::Client {
    let client = database.connect().await.unwrap();
    client.batch_execute("SET search_path TO kinetic_tableau").await.unwrap();
    client
}

fn moment(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn at(cursor: u64) -> Checkpoint {
    Checkpoint { cursor: Some(Cursor::new(cursor.to_string())), ..Checkpoint::default() }
}

/// A segment of a run with so many records, whose keys count from `first` on.
fn segment(dataset: &str, run: &str, at: DateTime<Utc>, first: usize, records: usize) -> AuditSegment {
    let mut columns = Records::with_dimensions(2);
    for row in first..first + records {
        let action = if row.is_multiple_of(10) { Action::Insert } else { Action::Update };
        let key = format!(r#"["EPIC06",{},"INV-{row}"]"#, row % 977);
        let row_id = format!("7c9e6679-7425-40de-944b-{row:012x}");
        let version = 2_226_299_042 + i64::try_from(row).unwrap();
        columns.push(action, &key, version, &row_id, "2026-11-20T10:00:00", row as u128 * 0x9e37_79b9, "").unwrap();
        columns.dimensions[0].push("2026-11-20").unwrap();
        columns.dimensions[1].push(&format!("{row}.50")).unwrap();
    }
    AuditSegment {
        dataset: dataset.into(),
        run: RunId::new(run),
        at,
        company: "EPIC06".to_owned(),
        project: "Finance/Payables".to_owned(),
        datasource: "AP invoices".to_owned(),
        request_id: format!("request-{run}"),
        dimension_names: vec!["InvoiceDate".to_owned(), "Amount".to_owned()],
        records: columns,
    }
}
