//! How fast rows land in tables of Postgres: `cargo bench --bench staging [-- ROWS]`.
//!
//! A first full load into an empty table, a full load of which one row in a hundred has changed, and a delta of one row in ten, each
//! divided into staging (encoding, `COPY`, sealing) and publishing (one transaction). The server is a real one that syncs to disk.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::print_stdout, reason = "a benchmark")]

use std::sync::Arc;
use std::time::Instant;

use kinetic_tableau_sync::{
    Batch, Column, ColumnData, ColumnType, Destination, LoadKind, LoadPlan, PostgresDestination, RunId, Schema,
    StagingOptions, Target, TargetState, Values,
};
use simulators::postgres::PostgresServer;

const PAGE: u64 = 5_000;

/// Twelve columns, as of an invoice.
fn schema() -> Arc<Schema> {
    let kinds = [
        ColumnType::Text,
        ColumnType::Int32,
        ColumnType::Text,
        ColumnType::Date,
        ColumnType::Date,
        ColumnType::Decimal { precision: 18, scale: 3 },
        ColumnType::Decimal { precision: 18, scale: 3 },
        ColumnType::Decimal { precision: 20, scale: 8 },
        ColumnType::Text,
        ColumnType::Bool,
        ColumnType::Int64,
        ColumnType::Timestamp,
    ];
    let column = |(at, kind): (usize, ColumnType)| Column {
        name: format!("Column {at}"),
        source: format!("Column{at}"),
        kind,
        nullable: at > 2,
        landed: true,
    };
    let (version, row_id, stamp, stamp_seconds, dimensions) = (None, None, None, None, Vec::new());
    let columns = kinds.into_iter().enumerate().map(column).collect();
    Arc::new(Schema { columns, key: vec![0, 1, 2], version, row_id, stamp, stamp_seconds, dimensions })
}

fn batch(schema: &Arc<Schema>, rows: &[(u64, u64)]) -> Batch {
    let columns = schema.columns.iter().enumerate().map(|(at, column)| {
        let mut data = ColumnData::for_type(column.kind);
        for &(row, times) in rows {
            let number = i64::try_from(row + if at > 2 { times } else { 0 }).unwrap();
            match &mut data.values {
                Values::Text(texts) if at == 0 => texts.push("EPIC06").unwrap(),
                Values::Text(texts) if at == 2 => texts.push(&format!("INV-{row:08}")).unwrap(),
                Values::Text(texts) => texts.push(&format!("Raw material, order {number}, as agreed")).unwrap(),
                Values::Bool(values) => values.push(number % 2 == 0),
                Values::I64(values) if at == 1 => values.push(number % 977),
                Values::I64(values) => values.push(number % 20_000),
                Values::I128(values) => values.push(i128::from(number) * 1_234_567_891),
                Values::F64(values) => values.push(number as f64),
                _ => {}
            }
            data.nulls.push(false);
        }
        data
    });
    Batch::from_columns(Arc::clone(schema), columns.collect()).unwrap()
}

async fn land(
    destination: &PostgresDestination,
    schema: &Arc<Schema>,
    kind: LoadKind,
    rows: impl Iterator<Item = (u64, u64)>,
) {
    let target = Target { project: "Finance".to_owned(), datasource: "Invoices".to_owned() };
    let state = destination.inspect(&target).await.unwrap();
    let target_id = if let TargetState::Present { id, .. } = state { Some(id) } else { None };
    let run = RunId::random();
    let (schema, request_id) = (Arc::clone(schema), run.to_string());
    let plan = LoadPlan { dataset: "invoices".into(), run, kind, schema, target, target_id, request_id };
    let pages: Vec<Batch> = {
        let all: Vec<(u64, u64)> = rows.collect();
        all.chunks(usize::try_from(PAGE).unwrap()).map(|page| batch(&plan.schema, page)).collect()
    };
    let began = Instant::now();
    let mut load = destination.begin(&plan).await.unwrap();
    for page in &pages {
        load.insert(page).await.unwrap();
    }
    let staged = load.seal().await.unwrap();
    let sealed = began.elapsed();
    destination.publish(&plan, &staged).await.unwrap();
    let landed = began.elapsed();
    destination.discard(&staged).await.unwrap();
    println!(
        "{kind:?}: {} rows, {:.1} MB: staged in {:.2} s, published in {:.2} s, {:.0} rows/s",
        staged.rows,
        staged.bytes as f64 / 1e6,
        sealed.as_secs_f64(),
        landed.saturating_sub(sealed).as_secs_f64(),
        staged.rows as f64 / landed.as_secs_f64()
    );
}

#[tokio::main]
async fn main() {
    let rows: u64 = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(200_000);
    let server = PostgresServer::start().await.unwrap();
    let database = server.database().await.unwrap();
    let destination = PostgresDestination::new(StagingOptions::new(database.url())).unwrap();
    let schema = schema();
    land(&destination, &schema, LoadKind::Full, (0..rows).map(|row| (row, 0))).await;
    land(&destination, &schema, LoadKind::Full, (0..rows).map(|row| (row, u64::from(row % 100 == 0)))).await;
    land(&destination, &schema, LoadKind::Delta, (0..rows).step_by(10).map(|row| (row, 7))).await;
}
