//! Delivery to tables of Postgres, on a real server.

mod engine;
mod lost;
mod program;
mod promises;
mod proxy;
mod refusals;
mod table;

use std::sync::Arc;

use kinetic_tableau_sync::{
    Batch, Column, ColumnData, ColumnType, Deletes, Destination, DestinationError, LoadKind, LoadPlan,
    PostgresDestination, Receipt, RunId, Schema, Staged, StagingOptions, Target, TargetState, Values,
};
use simulators::postgres::{Database, PostgresServer};
use tokio_postgres::{Client, SimpleQueryMessage};

async fn database() -> Database {
    let server = PostgresServer::shared().await.expect("Postgres is needed for this test");
    server.database().await.unwrap()
}

fn destination(database: &Database, deletes: Deletes) -> PostgresDestination {
    PostgresDestination::new(StagingOptions::new(database.url()).deletes(deletes)).unwrap()
}

fn target(name: &str) -> Target {
    Target { project: "Finance/Payables".to_owned(), datasource: name.to_owned() }
}

/// Rows of a query, as texts.
async fn texts(client: &Client, query: &str) -> Vec<Vec<Option<String>>> {
    let answers = client.simple_query(query).await.unwrap();
    let rows = answers.into_iter().filter_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
        _ => None,
    });
    rows.collect()
}

/// The only value of a query.
async fn text(client: &Client, query: &str) -> String {
    texts(client, query).await.remove(0).remove(0).unwrap()
}

/// `ID` and `Name`, and as many more columns as wanted; the first is the key.
fn schema(more: &[(&str, ColumnType)]) -> Arc<Schema> {
    let base = [("ID", ColumnType::Int32), ("Name", ColumnType::Text)];
    keyed(&base.into_iter().chain(more.iter().copied()).collect::<Vec<_>>(), &[0])
}

fn keyed(columns: &[(&str, ColumnType)], key: &[usize]) -> Arc<Schema> {
    let column = |(at, (name, kind)): (usize, &(&str, ColumnType))| Column {
        name: (*name).to_owned(),
        source: (*name).to_owned(),
        kind: *kind,
        nullable: !key.contains(&at),
        landed: true,
    };
    Arc::new(Schema {
        columns: columns.iter().enumerate().map(column).collect(),
        key: key.to_vec(),
        version: None,
        row_id: None,
        stamp: None,
        stamp_seconds: None,
        dimensions: Vec::new(),
    })
}

/// Rows whose numbers are all the same in each, and whose texts are too.
fn rows(schema: &Arc<Schema>, rows: &[(i64, &str)]) -> Batch {
    let columns = schema.columns.iter().enumerate().map(|(at, column)| {
        let mut data = ColumnData::for_type(column.kind);
        for (number, text) in rows {
            match &mut data.values {
                Values::Text(texts) => texts.push(text).unwrap(),
                Values::I64(values) => values.push(*number),
                Values::I128(values) => values.push((*number).into()),
                Values::F64(values) => values.push(f64::from(i32::try_from(*number).unwrap())),
                _ => unreachable!("column {at} is of another form"),
            }
            data.nulls.push(false);
        }
        data
    });
    Batch::from_columns(Arc::clone(schema), columns.collect()).unwrap()
}

async fn plan(destination: &PostgresDestination, schema: &Arc<Schema>, kind: LoadKind, name: &str) -> LoadPlan {
    let run = RunId::random();
    let state = destination.inspect(&target(name)).await.unwrap();
    LoadPlan {
        dataset: "things".into(),
        request_id: run.to_string(),
        run,
        kind,
        schema: Arc::clone(schema),
        target: target(name),
        target_id: if let TargetState::Present { id, .. } = state { Some(id) } else { None },
    }
}

async fn stage(
    destination: &PostgresDestination,
    plan: &LoadPlan,
    batches: &[Batch],
) -> Result<Staged, DestinationError> {
    let mut load = destination.begin(plan).await?;
    for batch in batches {
        load.insert(batch).await?;
    }
    load.seal().await
}

/// A whole load from beginning to end.
async fn land(
    destination: &PostgresDestination,
    schema: &Arc<Schema>,
    kind: LoadKind,
    given: &[(i64, &str)],
) -> Result<Receipt, DestinationError> {
    let plan = plan(destination, schema, kind, "Things").await;
    let staged = stage(destination, &plan, &[rows(schema, given)]).await?;
    let receipt = destination.publish(&plan, &staged).await?;
    destination.discard(&staged).await?;
    Ok(receipt)
}
