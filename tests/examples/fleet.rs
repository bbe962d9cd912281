//! How many workers behave with very many tenants: `cargo run --release --package simulators --example fleet`.
//!
//! `--tenants N` (10,000), `--datasets N` of each (1), `--workers N` (8), `--at-once N` runs of each worker (32), `--every TIME` (15m),
//! `--jitter TIME` (5m), `--hours N` (3), `--changed PERCENT` of datasets between two runs (20).
//!
//! First one idle run and one run with a change are made with the real clients against the simulators, and their requests are counted.
//! Then the real workers and the real engine run in simulated time, over sources and targets that take as long as so many requests, and
//! over a store that counts what it is asked for. Printed times are simulated, calls are counted; the first hour has a line of its own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::wildcard_imports,
    reason = "it is a measurement: what is not as it must be ends it"
)]

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, future};
use kinetic_tableau_sync::decode::PageDecoder;
use kinetic_tableau_sync::hyper::{InstallOptions, find_or_install};
use kinetic_tableau_sync::store::{Layer, Lease, MemoryStore, Prints, Seen, Slice, SqliteStore, Versioned};
use kinetic_tableau_sync::worker::{Job, Limit, Observer, Worker, WorkerEvent};
use kinetic_tableau_sync::*;
use tokio::time::{Instant, sleep};

/// How long one request to either side takes.
const REQUEST: Duration = Duration::from_millis(150);

#[derive(Clone, Copy, Debug)]
struct Settings {
    tenants: u64,
    datasets: u64,
    workers: u64,
    at_once: usize,
    every: Duration,
    jitter: Duration,
    hours: u64,
    changed: u64,
}

/// Requests of one run.
#[derive(Clone, Copy, Debug)]
struct Requests {
    kinetic: u32,
    tableau: u32,
}

/// What is counted in each second of simulated time.
#[derive(Debug, Default)]
struct Counters {
    kinetic: Vec<u64>,
    tableau: Vec<u64>,
    reads: Vec<u64>,
    writes: Vec<u64>,
    /// Of each run: when it ended, in seconds, and how long behind the moment at which it was due.
    lags: Vec<(u64, u64)>,
    failed: u64,
}

fn count(series: &mut Vec<u64>, at: Duration, by: u64) {
    let second = usize::try_from(at.as_secs()).unwrap();
    if series.len() <= second {
        series.resize(second + 1, 0);
    }
    series[second] += by;
}

#[derive(Debug)]
struct Shared {
    clock: SimulatedClock,
    counters: Mutex<Counters>,
    versions: Mutex<HashMap<DatasetId, i64>>,
    landed: Mutex<HashMap<String, i64>>,
    idle: Requests,
    changed: Requests,
    settings: Settings,
    random: AtomicU64,
}

impl Shared {
    fn now(&self) -> Duration {
        self.clock.0.elapsed()
    }

    fn chance(&self, percent: u64) -> bool {
        let mut mixed = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 100 < percent
    }

    async fn kinetic(&self, requests: u32) {
        count(&mut self.counters.lock().unwrap().kinetic, self.now(), requests.into());
        sleep(REQUEST * requests).await;
    }

    async fn tableau(&self, requests: u32) {
        count(&mut self.counters.lock().unwrap().tableau, self.now(), requests.into());
        sleep(REQUEST * requests).await;
    }

    fn read(&self) {
        count(&mut self.counters.lock().unwrap().reads, self.now(), 1);
    }

    fn write(&self) {
        count(&mut self.counters.lock().unwrap().writes, self.now(), 1);
    }
}

#[derive(Clone, Copy, Debug)]
struct SimulatedClock(Instant);

#[async_trait]
impl Clock for SimulatedClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::from_hours(500_000) + self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        sleep(duration).await;
    }
}

/// Sources and targets of all tenants.
#[derive(Debug)]
struct Tenants(Arc<Shared>);

#[async_trait]
impl Source for Tenants {
    async fn schema(&self, _: &DatasetSpec) -> Result<Schema, SourceError> {
        let column = |name: &str, kind, landed| Column {
            name: name.to_owned(),
            source: name.to_owned(),
            kind,
            nullable: true,
            landed,
        };
        Ok(Schema {
            columns: vec![column("Num", ColumnType::Int32, true), column("SysRevID", ColumnType::Int64, false)],
            key: vec![0],
            version: Some(1),
            row_id: None,
            stamp: None,
            stamp_seconds: None,
            dimensions: Vec::new(),
        })
    }

    async fn head(&self, dataset: &DatasetSpec, _: &Schema) -> Result<Option<Cursor>, SourceError> {
        self.0.kinetic(self.0.idle.kinetic).await;
        let moves = self.0.chance(self.0.settings.changed);
        let mut versions = self.0.versions.lock().unwrap();
        let version = versions.entry(dataset.id.clone()).or_insert(1_000);
        *version += i64::from(moves);
        Ok(Some(Cursor::new(version.to_string())))
    }

    fn read<'a>(
        &'a self,
        _: &'a DatasetSpec,
        schema: Arc<Schema>,
        window: Window,
    ) -> BoxStream<'a, Result<Batch, SourceError>> {
        if window.after.as_ref() == Some(&window.through) {
            // The store keeps no rows, and would take the same one for a new one.
            return stream::empty().boxed();
        }
        let newest: i64 = window.through.as_str().parse().unwrap();
        let body = format!("{{\"value\":[{{\"Num\":1,\"SysRevID\":{newest}}}]}}");
        let batch = PageDecoder::new(schema).decode(body.as_bytes()).unwrap().batch;
        stream::iter([Ok(batch)]).boxed()
    }

    fn is_after(&self, _: &DatasetSpec, later: &Cursor, earlier: &Cursor) -> Result<bool, SourceError> {
        let number = |cursor: &Cursor| cursor.as_str().parse::<i64>().unwrap();
        Ok(number(later) > number(earlier))
    }

    fn company(&self) -> &'static str {
        "E1"
    }
}

#[async_trait]
impl Destination for Tenants {
    async fn inspect(&self, target: &Target) -> Result<TargetState, DestinationError> {
        self.0.tableau(self.0.idle.tableau).await;
        let there = self.0.landed.lock().unwrap().contains_key(&target.datasource);
        let id = target.datasource.clone();
        Ok(if there { TargetState::Present { id, version: None } } else { TargetState::Absent })
    }

    async fn begin(&self, plan: &LoadPlan) -> Result<Box<dyn Load>, DestinationError> {
        Ok(Box::new(Staging(plan.run.as_str().into(), 0)))
    }

    async fn is_intact(&self, _: &Staged) -> Result<bool, DestinationError> {
        Ok(true)
    }

    async fn publish(&self, plan: &LoadPlan, staged: &Staged) -> Result<Receipt, DestinationError> {
        self.0.tableau(self.0.changed.tableau - self.0.idle.tableau).await;
        self.0.kinetic(self.0.changed.kinetic.saturating_sub(self.0.idle.kinetic)).await;
        self.0.landed.lock().unwrap().insert(plan.target.datasource.clone(), 1);
        Ok(Receipt {
            target_id: plan.target.datasource.clone(),
            request_id: plan.request_id.clone(),
            job_id: None,
            target_version: None,
            rows: staged.rows,
            landed_at: self.0.clock.now(),
        })
    }

    async fn refresh(&self, target: &RefreshTarget) -> Result<RefreshReport, DestinationError> {
        Ok(RefreshReport { target: target.clone(), job_id: None, outcome: RefreshOutcome::Succeeded })
    }

    async fn discard(&self, _: &Staged) -> Result<(), DestinationError> {
        Ok(())
    }
}

#[derive(Debug)]
struct Staging(PathBuf, u64);

#[async_trait]
impl Load for Staging {
    async fn insert(&mut self, batch: &Batch) -> Result<(), DestinationError> {
        self.1 += batch.rows() as u64;
        Ok(())
    }

    async fn upsert(&mut self, batch: &Batch) -> Result<u64, DestinationError> {
        Ok(batch.rows() as u64)
    }

    async fn delete(&mut self, _: &Batch) -> Result<(), DestinationError> {
        Ok(())
    }

    async fn seal(self: Box<Self>) -> Result<Staged, DestinationError> {
        Ok(Staged { path: self.0, rows: self.1, deletes: 0, bytes: 1, sha256: String::new() })
    }

    async fn abort(self: Box<Self>) -> Result<(), DestinationError> {
        Ok(())
    }
}

/// Counts each call as one statement; keeps no audit trail and no rows, which would only take memory here.
#[derive(Debug)]
struct CountingStore {
    inner: MemoryStore,
    shared: Arc<Shared>,
}

#[async_trait]
impl StateStore for CountingStore {
    async fn load(&self, dataset: &DatasetId) -> Result<Option<Versioned>, StateError> {
        self.shared.read();
        self.inner.load(dataset).await
    }
    async fn store(&self, lease: &Lease, expected: Option<u64>, next: &Checkpoint) -> Result<u64, StateError> {
        self.shared.write();
        self.inner.store(lease, expected, next).await
    }
    async fn list(&self) -> Result<Vec<(DatasetId, Versioned)>, StateError> {
        self.shared.read();
        self.inner.list().await
    }
    async fn lease(&self, dataset: &DatasetId, owner: &str, ttl: Duration) -> Result<Lease, StateError> {
        self.shared.write();
        self.inner.lease(dataset, owner, ttl).await
    }
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, StateError> {
        self.shared.write();
        self.inner.renew(lease, ttl).await
    }
    async fn release(&self, lease: &Lease) -> Result<(), StateError> {
        self.shared.write();
        self.inner.release(lease).await
    }
}

#[async_trait]
impl NoteStore for CountingStore {
    async fn note(&self, name: &str) -> Result<Option<Note>, StateError> {
        self.shared.read();
        self.inner.note(name).await
    }
    async fn notes(&self, prefix: &str) -> Result<Vec<(String, Note)>, StateError> {
        self.shared.read();
        self.inner.notes(prefix).await
    }
    async fn write_note(&self, name: &str, expected: Option<u64>, body: &str) -> Result<u64, StateError> {
        self.shared.write();
        self.inner.write_note(name, expected, body).await
    }
    async fn remove_note(&self, name: &str, expected: u64) -> Result<(), StateError> {
        self.shared.write();
        self.inner.remove_note(name, expected).await
    }
}

#[async_trait]
impl FingerprintStore for CountingStore {
    async fn append(&self, _: &DatasetId, _: u64, _: &RunId, _: Prints) -> Result<(), StateError> {
        self.shared.write();
        Ok(())
    }
    async fn lookup(
        &self,
        _: &DatasetId,
        _: u64,
        keys: HashMap<u128, Option<Seen>>,
    ) -> Result<HashMap<u128, Option<Seen>>, StateError> {
        self.shared.read();
        Ok(keys)
    }
    async fn lookup_staged(
        &self,
        _: &DatasetId,
        _: &RunId,
        keys: HashMap<u128, Option<Seen>>,
    ) -> Result<HashMap<u128, Option<Seen>>, StateError> {
        self.shared.read();
        Ok(keys)
    }
    async fn slice(&self, _: &DatasetId, _: Layer<'_>, _: Slice) -> Result<HashMap<u128, Seen>, StateError> {
        self.shared.read();
        Ok(HashMap::new())
    }
    async fn key_texts(
        &self,
        _: &DatasetId,
        _: Layer<'_>,
        _: &HashSet<u128>,
    ) -> Result<HashMap<u128, String>, StateError> {
        self.shared.read();
        Ok(HashMap::new())
    }
    async fn promote(&self, _: &Lease, _: u64, _: &RunId) -> Result<(), StateError> {
        self.shared.write();
        Ok(())
    }
    async fn discard_staged(&self, _: &Lease, _: Option<&RunId>) -> Result<(), StateError> {
        self.shared.write();
        Ok(())
    }
}

#[async_trait]
impl RejectStore for CountingStore {
    async fn keep(&self, _: Vec<Reject>) -> Result<(), StateError> {
        self.shared.write();
        Ok(())
    }
    async fn rejects(&self, _: &DatasetId, _: Option<&str>, _: usize) -> Result<Vec<Reject>, StateError> {
        self.shared.read();
        Ok(Vec::new())
    }
    async fn count_rejects(&self, _: &DatasetId) -> Result<u64, StateError> {
        self.shared.read();
        Ok(0)
    }
    async fn forget(&self, _: &Lease, _: &[String]) -> Result<(), StateError> {
        self.shared.write();
        Ok(())
    }
    async fn forget_others(&self, _: &Lease, _: &RunId) -> Result<(), StateError> {
        self.shared.write();
        Ok(())
    }
}

#[async_trait]
impl AuditStore for CountingStore {
    async fn append(&self, _: AuditSegment) -> Result<(), AuditError> {
        self.shared.write();
        Ok(())
    }
    async fn record(&self, _: AuditEntry) -> Result<(), AuditError> {
        self.shared.write();
        Ok(())
    }
    async fn records(&self, _: &AuditFilter) -> Result<Vec<AuditRecord>, AuditError> {
        self.shared.read();
        Ok(Vec::new())
    }
    async fn events(&self, _: &AuditFilter) -> Result<Vec<AuditEntry>, AuditError> {
        self.shared.read();
        Ok(Vec::new())
    }
    async fn verify(&self) -> Result<Verification, AuditError> {
        Err(AuditError::new("nothing is kept"))
    }
}

/// Notes how late each run ends.
#[derive(Debug)]
struct Lags {
    shared: Arc<Shared>,
    due: Mutex<HashMap<DatasetId, DateTime<Utc>>>,
}

impl Observer for Lags {
    fn event(&self, event: &WorkerEvent<'_>) {
        match event {
            WorkerEvent::Ended { dataset, outcome, next, .. } => {
                let now = self.shared.clock.now();
                let mut due = self.due.lock().unwrap();
                let was = due.insert((*dataset).clone(), next.unwrap_or(now));
                let began = self.shared.clock.now() - self.shared.now();
                let behind = (now - was.unwrap_or(began)).to_std().unwrap_or_default();
                let mut counters = self.shared.counters.lock().unwrap();
                counters.lags.push((self.shared.now().as_secs(), behind.as_secs()));
                counters.failed += u64::from(outcome.is_err());
            }
            WorkerEvent::Trouble { doing, error, .. } => panic!("{doing}: {error}"),
            _ => {}
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.get(at + 1).unwrap_or_else(|| panic!("{name} needs a value")).clone())
    };
    let number = |name: &str, otherwise: u64| text(name).map_or(otherwise, |text| text.parse().unwrap());
    let time =
        |name: &str, otherwise: &str| parse_duration(&text(name).unwrap_or_else(|| otherwise.to_owned())).unwrap();
    let settings = Settings {
        tenants: number("--tenants", 10_000),
        datasets: number("--datasets", 1),
        workers: number("--workers", 8),
        at_once: usize::try_from(number("--at-once", 32)).unwrap(),
        every: time("--every", "15m"),
        jitter: time("--jitter", "5m"),
        hours: number("--hours", 3).max(2),
        changed: number("--changed", 20).min(100),
    };
    let real = tokio::runtime::Runtime::new().unwrap();
    let (idle, changed) = real.block_on(requests_of_one_run());
    println!(
        "one run, counted with the real clients: idle {} requests to Kinetic and {} to Tableau; with a change {} and {}",
        idle.kinetic, idle.tableau, changed.kinetic, changed.tableau
    );
    let begun = std::time::Instant::now();
    let simulated = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    simulated.block_on(simulate(settings, idle, changed));
    println!("simulated in {:.1} s", begun.elapsed().as_secs_f64());
}

/// Counts the requests of an idle run and of one with a change.
async fn requests_of_one_run() -> (Requests, Requests) {
    let kinetic = simulators::kinetic::KineticSim::builder().start().await.unwrap();
    kinetic.seed(simulators::kinetic::Seed::default());
    let tableau = simulators::tableau::TableauSim::builder().start().await.unwrap();
    let engine = tokio::task::spawn_blocking(|| find_or_install(&InstallOptions::default())).await.unwrap().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let client = epicor_kinetic::Client::builder(kinetic.url())
        .company("EPIC06")
        .api_key(kinetic.api_key())
        .basic(kinetic.user(), kinetic.password())
        .build()
        .unwrap();
    let to = tableau_rest::Client::builder(tableau.url())
        .site(tableau.site())
        .personal_access_token(tableau.pat_name(), tableau.pat_secret())
        .build()
        .unwrap();
    let options = HyperOptions { spool: directory.path().join("spool"), engine };
    let store = Arc::new(SqliteStore::open(directory.path().join("state.db")).unwrap());
    let source = Arc::new(KineticSource::new(client));
    let syncer = Syncer::builder(source, Arc::new(TableauDestination::new(to, options)), store).build();
    let object = SourceObject::EntitySet { service: "Erp.BO.VendorSvc".to_owned(), set: "Vendors".to_owned() };
    let target = Target { project: "Finance".to_owned(), datasource: "Vendors".to_owned() };
    let spec = DatasetSpec::new("vendors", object, ["VendorID", "Name"], target);
    syncer.run(&spec).await.unwrap();
    let mut measured = Vec::new();
    for changes in [0, 1] {
        kinetic.random_changes("Vendors", changes, 1);
        let before = (kinetic.faults().requests().len(), tableau.faults().requests().len());
        syncer.run(&spec).await.unwrap();
        let after = (kinetic.faults().requests().len(), tableau.faults().requests().len());
        measured.push(Requests {
            kinetic: u32::try_from(after.0 - before.0).unwrap(),
            tableau: u32::try_from(after.1 - before.1).unwrap(),
        });
    }
    (measured[0], measured[1])
}

async fn simulate(settings: Settings, idle: Requests, changed: Requests) {
    let clock = SimulatedClock(Instant::now());
    let shared = Arc::new(Shared {
        clock,
        counters: Mutex::default(),
        versions: Mutex::default(),
        landed: Mutex::default(),
        idle,
        changed,
        settings,
        random: AtomicU64::new(7),
    });
    let inner = MemoryStore::with_clock(Arc::new(clock));
    let store = Arc::new(CountingStore { inner, shared: Arc::clone(&shared) });
    let observer = Arc::new(Lags { shared: Arc::clone(&shared), due: Mutex::default() });
    let stop = Stop::new();
    let workers: Vec<Worker> = (0..settings.workers)
        .map(|nth| {
            let tenants = Arc::new(Tenants(Arc::clone(&shared)));
            let syncer = Syncer::builder(Arc::clone(&tenants) as _, tenants, Arc::clone(&store))
                .clock(Arc::new(clock))
                .owner(format!("worker {nth}"))
                .build();
            let jobs = (0..settings.tenants).flat_map(|tenant| {
                let syncer = &syncer;
                (0..settings.datasets).map(move |dataset| {
                    let name = format!("t{tenant}-d{dataset}");
                    let target = Target { project: format!("t{tenant}"), datasource: name.clone() };
                    let object = SourceObject::Baq { id: "b".to_owned(), parameters: Vec::new() };
                    let mut spec = DatasetSpec::new(name, object, ["Num"], target);
                    spec.track = Track::Revision { column: "SysRevID".to_owned(), overlap: 1 };
                    let timing = Timing::new(Schedule::Every(settings.every)).jitter(settings.jitter);
                    // No tenant's server is asked by two runs at once.
                    Job::new(syncer, spec, timing).limit(Limit::new(format!("kinetic/t{tenant}"), 1))
                })
            });
            Worker::builder(Arc::clone(&store))
                .jobs(jobs)
                .at_once(settings.at_once)
                .clock(Arc::new(clock))
                .owner(format!("worker {nth}"))
                .observer(Arc::clone(&observer) as _)
                .build()
        })
        .collect();
    let end = async {
        sleep(Duration::from_hours(settings.hours)).await;
        stop.now();
    };
    future::join(future::join_all(workers.iter().map(|worker| worker.run(&stop))), end).await;
    print(&settings, &shared.counters.lock().unwrap());
}

fn print(settings: &Settings, counters: &Counters) {
    println!(
        "{} tenants with {} datasets each, every {} s with {} s of jitter, {} % changed between two runs; {} workers with {} runs at once",
        settings.tenants,
        settings.datasets,
        settings.every.as_secs(),
        settings.jitter.as_secs(),
        settings.changed,
        settings.workers,
        settings.at_once
    );
    println!("\n{:<26} {:>12} {:>12} {:>12}", "a second", "mean", "peak", "first hour");
    let hour = 3_600;
    for (name, series) in [
        ("requests to Kinetic", &counters.kinetic),
        ("requests to Tableau", &counters.tableau),
        ("statements that read", &counters.reads),
        ("statements that write", &counters.writes),
    ] {
        let (first, later) = series.split_at(series.len().min(hour));
        let mean = |part: &[u64]| part.iter().sum::<u64>() as f64 / part.len().max(1) as f64;
        let peak = later.iter().max().copied().unwrap_or_default();
        println!("{name:<26} {:>12.1} {peak:>12} {:>12.1}", mean(later), mean(first));
    }
    let mut lags: Vec<u64> = counters.lags.iter().filter(|(at, _)| *at > hour as u64).map(|(_, lag)| *lag).collect();
    lags.sort_unstable();
    let at = |percent: usize| lags.get(lags.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default();
    println!(
        "\n{} runs behind the first hour, {} failed; they end {} s behind the moment at which they are due in the median, {} s at 95 %, {} s at 99 %, {} s at most",
        lags.len(),
        counters.failed,
        at(50),
        at(95),
        at(99),
        at(100)
    );
}
