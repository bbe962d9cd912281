//! Writes an extract with Tableau's own engine, publishes it, and changes one of its rows in place: by key, under a request id that
//! makes repeating it harmless.

use std::path::Path;
use std::sync::Arc;

use kinetic_tableau_sync::hyper::{Engine, ExtractReader, ExtractWriter, InstallOptions, find_or_install};
use kinetic_tableau_sync::{Batch, Column, ColumnData, ColumnType, Schema, Values};
use simulators::tableau::TableauSim;
use tableau_rest::{
    Action, Client, Condition, FileSource, PublishRequest, Published, UpdateData, WaitPolicy, source, target,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Fetched with pip when it is not on this machine.
    let location = tokio::task::spawn_blocking(|| find_or_install(&InstallOptions::default())).await??;
    let engine = Engine::start(&location).await?;
    let directory = tempfile::tempdir()?;
    let (all, changed, landed) = (
        directory.path().join("all.hyper"),
        directory.path().join("changed.hyper"),
        directory.path().join("landed.hyper"),
    );
    write(&engine, &all, &[(1, 1_999), (2, 25_000), (3, -5)]).await?;
    write(&engine, &changed, &[(2, 25_001), (4, 70)]).await?;

    let tableau = TableauSim::builder().start().await?;
    let client = Client::builder(tableau.url())
        .site(tableau.site())
        .personal_access_token(tableau.pat_name(), tableau.pat_secret())
        .build()?;
    let project = client.projects().ensure_path(&["Finance"]).await?;
    let request = PublishRequest::new(project.id, "Amounts", FileSource::path(&all)).overwrite();
    let Published::Datasource(published) = client.datasources().publish(request).await? else {
        return Err("published as a job without having asked for it".into());
    };
    println!("published as {}", published.id);

    let update =
        UpdateData::new("2f0e4c5a-example").action(Action::upsert(Condition::eq(target("Number"), source("Number"))));
    let job = client.datasources().update_data(&published.id, update, Some(FileSource::path(&changed))).await?;
    let outcome = job.wait(WaitPolicy::default()).await?;
    println!("update job {}: {}", job.id(), if outcome.is_success() { "done" } else { "failed" });

    // Tableau has the file open while it serves it, so a copy is looked at.
    std::fs::copy(tableau.extract_path("Amounts").ok_or("nothing has landed")?, &landed)?;
    let reader = ExtractReader::open(&engine, &landed).await?;
    let rows = reader.rows_as_text(&["Number"]).await?;
    reader.close().await?;
    client.sign_out().await?;
    let rows: Vec<String> =
        rows.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join("=")).collect();
    if rows != ["1=19.99", "2=250.01", "3=-0.05", "4=0.70"] {
        return Err(format!("unexpected rows: {rows:?}").into());
    }
    println!("ok: {}", rows.join(", "));
    Ok(())
}

/// Writes rows of a number and an amount in cents: an exact decimal, never a float.
async fn write(engine: &Engine, path: &Path, rows: &[(i64, i64)]) -> Result<(), Box<dyn std::error::Error>> {
    let column = |name: &str, kind, nullable| Column {
        name: name.to_owned(),
        source: name.to_owned(),
        kind,
        nullable,
        landed: true,
    };
    let schema = Arc::new(Schema {
        columns: vec![
            column("Number", ColumnType::Int32, false),
            column("Amount", ColumnType::Decimal { precision: 18, scale: 2 }, true),
        ],
        key: vec![0],
        version: None,
        row_id: None,
        stamp: None,
        stamp_seconds: None,
        dimensions: Vec::new(),
    });
    let (numbers, cents): (Vec<i64>, Vec<i64>) = rows.iter().copied().unzip();
    let columns =
        [numbers, cents].map(|values| ColumnData { nulls: vec![false; values.len()], values: Values::I64(values) });
    let batch = Batch::from_columns(Arc::clone(&schema), columns.into()).map_err(|_| "columns of different lengths")?;
    let mut writer = ExtractWriter::create(engine, path, &schema).await?;
    writer.insert(&batch).await?;
    writer.seal().await?;
    Ok(())
}
