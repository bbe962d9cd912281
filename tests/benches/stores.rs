//! The stores in Postgres and in an SQLite file beside each other: audit records in segments of 20,000 with fingerprints after each, as a
//! full load writes them; the proof of the trail; looking keys up; and cycles of lease, checkpoint and release by 8 workers at once.
//!
//! `cargo bench -p simulators --bench stores` writes 1,000,000 records; `-- --records 200000` another number. Both stores write to the
//! directory for temporary files, and sync to its disk.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kinetic_tableau_sync::store::{Fingerprint, PostgresOptions, PostgresStore, Prints, SqliteStore};
use kinetic_tableau_sync::{
    Action, AuditFilter, AuditSegment, AuditStore, Checkpoint, Cursor, DatasetId, FingerprintStore, Records, RunId,
    StateStore,
};
use simulators::postgres::PostgresServer;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SEGMENT: usize = 20_000;
const WORKERS: usize = 8;
const CYCLES: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == "--records");
    let records = at.and_then(|at| arguments.get(at + 1)).and_then(|number| number.parse().ok()).unwrap_or(1_000_000);
    let ended =
        tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| runtime.block_on(compare(records)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn compare(records: usize) -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let sqlite = Arc::new(SqliteStore::open(directory.path().join("state.db"))?);
    measure("SQLite", &sqlite, records).await?;
    let size: u64 =
        std::fs::read_dir(directory.path())?.flatten().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    println!("{:10} {:>12} bytes a record, with everything", "SQLite", size / u64::try_from(records)?);
    drop(sqlite);

    let server = PostgresServer::start().await?;
    let database = server.database().await?;
    let postgres = Arc::new(PostgresStore::connect(PostgresOptions::new(database.url()).connections(WORKERS)).await?);
    measure("Postgres", &postgres, records).await?;
    let sql = database.connect().await?;
    let size: i64 = sql.query_one("SELECT pg_database_size(current_database())", &[]).await?.get(0);
    println!("{:10} {:>12} bytes a record, with everything", "Postgres", size / i64::try_from(records)?);
    Ok(())
}

async fn measure<S>(name: &str, store: &Arc<S>, records: usize) -> Outcome<()>
where
    S: StateStore + AuditStore + FingerprintStore,
{
    let tell = |what: &str, count: usize, took: Duration, unit: &str| {
        let seconds = took.as_secs_f64();
        let per_second =
            u64::try_from(count).map_or(0.0, |count| f64::from(u32::try_from(count).unwrap_or(u32::MAX))) / seconds;
        println!("{name:10} {per_second:>12.0} {unit}/s  {what} ({seconds:.2} s)");
    };
    let dataset: DatasetId = "ap_invoices".into();
    let run = RunId::new("run");
    let lease = store.lease(&dataset, "bench", Duration::from_hours(1)).await?;
    let (mut audit, mut prints) = (Duration::ZERO, Duration::ZERO);
    for first in (0..records).step_by(SEGMENT) {
        let rows = first..(first + SEGMENT).min(records);
        let (segment, block) = (segment(&dataset, &run, rows.clone())?, block(rows)?);
        let began = Instant::now();
        AuditStore::append(&**store, segment).await?;
        audit += began.elapsed();
        let began = Instant::now();
        FingerprintStore::append(&**store, &dataset, 1, &run, block).await?;
        prints += began.elapsed();
    }
    tell("audit records appended", records, audit, "rows");
    tell("fingerprints appended", records, prints, "rows");
    let began = Instant::now();
    store.promote(&lease, 1, &run).await?;
    tell("fingerprints promoted", records, began.elapsed(), "rows");
    let began = Instant::now();
    let keys: HashMap<u128, _> = (0..1_000).map(|row| (hash(row * 7), None)).collect();
    let found = store.lookup(&dataset, 1, keys).await?;
    if found.values().any(Option::is_none) {
        return Err("fingerprints are missing".into());
    }
    tell("fingerprints looked through", records, began.elapsed(), "rows");
    let began = Instant::now();
    let verified = store.verify().await?;
    if verified.records != u64::try_from(records)? || verified.first_broken.is_some() {
        return Err(format!("the trail is not whole: {verified:?}").into());
    }
    tell("audit records verified", records, began.elapsed(), "rows");
    let began = Instant::now();
    for nth in 0..10 {
        let key = format!("INV-{}", records / 10 * nth);
        let filter = AuditFilter { key: Some(key), ..AuditFilter::default() };
        if store.records(&filter).await?.len() != 1 {
            return Err("a record is missing".into());
        }
    }
    tell("records found by key", 10, began.elapsed(), "keys");
    store.release(&lease).await?;

    let began = Instant::now();
    let workers: Vec<_> = (0..WORKERS).map(|worker| tokio::spawn(cycles(Arc::clone(store), worker))).collect();
    let mut count = 0;
    for worker in workers {
        count += worker.await??;
    }
    tell("lease, checkpoint and release by 8 workers", count, began.elapsed(), "cycles");
    Ok(())
}

/// What a worker does around a run, over and over.
async fn cycles<S: StateStore>(store: Arc<S>, worker: usize) -> Outcome<usize> {
    let dataset: DatasetId = format!("set-{worker}").as_str().into();
    let until = Instant::now() + CYCLES;
    let (mut count, mut version) = (0, None);
    while Instant::now() < until {
        let lease = store.lease(&dataset, "worker", Duration::from_mins(1)).await?;
        let checkpoint = Checkpoint { cursor: Some(Cursor::new(count.to_string())), ..Checkpoint::default() };
        version = Some(store.store(&lease, version, &checkpoint).await?);
        store.release(&lease).await?;
        count += 1;
    }
    Ok(count)
}

fn hash(row: usize) -> u128 {
    // Spread as hashes are.
    (row as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

fn segment(dataset: &DatasetId, run: &RunId, rows: std::ops::Range<usize>) -> Outcome<AuditSegment> {
    let mut records = Records::with_dimensions(1);
    for row in rows {
        let key = format!(r#"["EPIC06",{},"INV-{row}"]"#, row % 977);
        let row_id = format!("7c9e6679-7425-40de-944b-{row:012x}");
        let version = 2_226_299_042 + i64::try_from(row)?;
        records.push(Action::Insert, &key, version, &row_id, "2026-11-20T10:00:00", hash(row), "")?;
        records.dimensions.iter_mut().try_for_each(|column| column.push("2026-11-20"))?;
    }
    Ok(AuditSegment {
        dataset: dataset.clone(),
        run: run.clone(),
        at: chrono::Utc::now(),
        company: "EPIC06".to_owned(),
        project: "Finance/Payables".to_owned(),
        datasource: "AP invoices".to_owned(),
        request_id: "request".to_owned(),
        dimension_names: vec!["InvoiceDate".to_owned()],
        records,
    })
}

fn block(rows: std::ops::Range<usize>) -> Outcome<Prints> {
    let mut prints = Prints::default();
    for row in rows {
        let entry = Fingerprint { key: hash(row), version: i64::try_from(row)?, row: hash(row) ^ 1 };
        prints.push(entry, &format!(r#"["EPIC06",{},"INV-{row}"]"#, row % 977))?;
    }
    Ok(prints)
}
