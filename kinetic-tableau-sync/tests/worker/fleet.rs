//! Many small tenants in simulated time: what their source and target were asked for, and how many of them at once.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use kinetic_tableau_sync::decode::PageDecoder;
use kinetic_tableau_sync::store::MemoryStore;
use kinetic_tableau_sync::worker::{Job, Observer, Worker, WorkerBuilder, WorkerEvent};
use kinetic_tableau_sync::*;
use tokio::time::{Instant, sleep};

/// The clock of the runtime, which moves on by itself.
#[derive(Debug)]
pub(super) struct SimulatedClock(Instant);

#[async_trait]
impl Clock for SimulatedClock {
    fn now(&self) -> DateTime<Utc> {
        start() + self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        sleep(duration).await;
    }
}

/// When simulated time begins.
pub(super) fn start() -> DateTime<Utc> {
    "2026-11-26T10:00:00Z".parse().unwrap()
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    /// When each dataset was begun, in minutes, and by whom.
    pub(super) begun: BTreeMap<String, Vec<(i64, String)>>,
    pub(super) at_once: usize,
    pub(super) most_at_once: usize,
    /// Row version of each dataset in its source, and in its target.
    pub(super) source: HashMap<String, i64>,
    pub(super) target: HashMap<String, i64>,
    pub(super) publishes: u64,
    /// Sources that cannot be reached.
    pub(super) broken: Vec<String>,
    /// Sources that refuse the password.
    pub(super) refusing: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Fleet {
    pub(super) seen: Arc<Mutex<Seen>>,
    pub(super) store: Arc<MemoryStore>,
    pub(super) clock: Arc<SimulatedClock>,
    /// How long reading takes.
    pub(super) takes: Duration,
}

/// Counts itself while it lasts.
struct Busy(Arc<Mutex<Seen>>);

impl Busy {
    fn new(seen: &Arc<Mutex<Seen>>) -> Self {
        let mut inner = seen.lock().unwrap();
        inner.at_once += 1;
        inner.most_at_once = inner.most_at_once.max(inner.at_once);
        Self(Arc::clone(seen))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.lock().unwrap().at_once -= 1;
    }
}

#[derive(Debug)]
struct Tenants {
    fleet: Fleet,
    worker: String,
}

fn version(cursor: &Cursor) -> i64 {
    cursor.as_str().parse().unwrap()
}

#[async_trait]
impl Source for Tenants {
    async fn schema(&self, dataset: &DatasetSpec) -> Result<Schema, SourceError> {
        // An answer takes its time, also where it is a failure.
        sleep(Duration::from_millis(500)).await;
        let minute = (self.fleet.clock.now() - start()).num_minutes();
        let mut seen = self.fleet.seen.lock().unwrap();
        seen.begun.entry(dataset.id.to_string()).or_default().push((minute, self.worker.clone()));
        if seen.refusing.contains(&dataset.id.to_string()) {
            return Err(SourceError::new(SourceErrorKind::Auth, "the password is refused"));
        }
        if seen.broken.contains(&dataset.id.to_string()) {
            return Err(SourceError::new(SourceErrorKind::Unavailable, "the server is down"));
        }
        let column = |name: &str, kind, landed| Column {
            name: name.to_owned(),
            source: name.to_owned(),
            kind,
            nullable: true,
            landed,
        };
        Ok(Schema {
            columns: vec![
                column("Num", ColumnType::Int32, true),
                column("Text", ColumnType::Text, true),
                column("SysRevID", ColumnType::Int64, false),
            ],
            key: vec![0],
            version: Some(2),
            row_id: None,
            stamp: None,
            stamp_seconds: None,
            dimensions: Vec::new(),
        })
    }

    async fn head(&self, dataset: &DatasetSpec, _: &Schema) -> Result<Option<Cursor>, SourceError> {
        let _busy = Busy::new(&self.fleet.seen);
        // What is written while it reads belongs to the next run.
        let version = *self.fleet.seen.lock().unwrap().source.entry(dataset.id.to_string()).or_insert(100);
        sleep(self.fleet.takes).await;
        Ok(Some(Cursor::new(version.to_string())))
    }

    fn read<'a>(
        &'a self,
        _: &'a DatasetSpec,
        schema: Arc<Schema>,
        window: Window,
    ) -> BoxStream<'a, Result<Batch, SourceError>> {
        let newest = version(&window.through);
        // One row, which carries the newest version.
        let body = format!("{{\"value\":[{{\"Num\":1,\"Text\":\"v{newest}\",\"SysRevID\":{newest}}}]}}");
        let batch = PageDecoder::new(schema).decode(body.as_bytes()).unwrap().batch;
        stream::iter([Ok(batch)]).boxed()
    }

    fn fetch<'a>(
        &'a self,
        _: &'a DatasetSpec,
        schema: Arc<Schema>,
        _: Batch,
    ) -> BoxStream<'a, Result<Batch, SourceError>> {
        stream::iter([Ok(Batch::empty(schema))]).boxed()
    }

    fn is_after(&self, _: &DatasetSpec, later: &Cursor, earlier: &Cursor) -> Result<bool, SourceError> {
        Ok(version(later) > version(earlier))
    }

    fn company(&self) -> &'static str {
        "E1"
    }
}

#[async_trait]
impl Destination for Tenants {
    async fn inspect(&self, target: &Target) -> Result<TargetState, DestinationError> {
        let there = self.fleet.seen.lock().unwrap().target.contains_key(&target.datasource);
        Ok(if there {
            TargetState::Present { id: target.datasource.clone(), version: None }
        } else {
            TargetState::Absent
        })
    }

    async fn begin(&self, plan: &LoadPlan) -> Result<Box<dyn Load>, DestinationError> {
        Ok(Box::new(Small { path: plan.run.as_str().into(), rows: 0 }))
    }

    async fn is_intact(&self, _: &Staged) -> Result<bool, DestinationError> {
        Ok(true)
    }

    async fn publish(&self, plan: &LoadPlan, staged: &Staged) -> Result<Receipt, DestinationError> {
        let mut seen = self.fleet.seen.lock().unwrap();
        seen.publishes += 1;
        let version = seen.source.get(plan.dataset.as_str()).copied().unwrap_or_default();
        seen.target.insert(plan.target.datasource.clone(), version);
        Ok(Receipt {
            target_id: plan.target.datasource.clone(),
            request_id: plan.request_id.clone(),
            job_id: None,
            target_version: None,
            rows: staged.rows,
            landed_at: self.fleet.clock.now(),
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
struct Small {
    path: PathBuf,
    rows: u64,
}

#[async_trait]
impl Load for Small {
    async fn insert(&mut self, batch: &Batch) -> Result<(), DestinationError> {
        self.rows += batch.rows() as u64;
        Ok(())
    }

    async fn upsert(&mut self, batch: &Batch) -> Result<u64, DestinationError> {
        Ok(batch.rows() as u64)
    }

    async fn delete(&mut self, _: &Batch) -> Result<(), DestinationError> {
        Ok(())
    }

    async fn seal(self: Box<Self>) -> Result<Staged, DestinationError> {
        Ok(Staged { path: self.path, rows: self.rows, deletes: 0, bytes: 1, sha256: String::new() })
    }

    async fn abort(self: Box<Self>) -> Result<(), DestinationError> {
        Ok(())
    }
}

/// Keeps what a worker told, one line each.
#[derive(Debug, Default)]
pub(super) struct Told(pub(super) Mutex<Vec<String>>);

impl Observer for Told {
    fn event(&self, event: &WorkerEvent<'_>) {
        let line = match event {
            WorkerEvent::Begun { dataset, .. } => format!("begun {dataset}"),
            WorkerEvent::Ended { dataset, outcome, .. } => format!("ended {dataset} {}", outcome.is_ok()),
            WorkerEvent::Postponed { dataset, reason, .. } => format!("postponed {dataset}: {reason}"),
            WorkerEvent::ProcessEnded { count, .. } => format!("processes {count}"),
            WorkerEvent::Trouble { doing, error, .. } => format!("trouble {doing}: {error}"),
            _ => "other".to_owned(),
        };
        self.0.lock().unwrap().push(line);
    }
}

impl Fleet {
    pub(super) fn new(takes: Duration) -> Self {
        let clock = Arc::new(SimulatedClock(Instant::now()));
        let store = Arc::new(MemoryStore::with_clock(Arc::clone(&clock) as _));
        Self { seen: Arc::default(), store, clock, takes }
    }

    pub(super) fn spec(name: &str) -> DatasetSpec {
        let target = Target { project: "P".to_owned(), datasource: name.to_owned() };
        let object = SourceObject::Baq { id: name.to_owned(), parameters: Vec::new() };
        let mut spec = DatasetSpec::new(name, object, ["Num", "Text"], target);
        spec.track = Track::Revision { column: "SysRevID".to_owned(), overlap: 1 };
        spec
    }

    /// A worker's own syncer, which ends with `abandon`.
    pub(super) fn syncer(&self, worker: &str, abandon: &Stop) -> Syncer {
        let tenants = Arc::new(Tenants { fleet: self.clone(), worker: worker.to_owned() });
        Syncer::builder(Arc::clone(&tenants) as _, tenants, Arc::clone(&self.store))
            .clock(Arc::clone(&self.clock) as _)
            .owner(worker)
            .stop(abandon)
            .build()
    }

    pub(super) fn job(&self, worker: &str, dataset: &str, schedule: &str) -> Job {
        Job::new(&self.syncer(worker, &Stop::new()), Self::spec(dataset), Timing::new(schedule.parse().unwrap()))
    }

    pub(super) fn worker(&self, name: &str) -> WorkerBuilder {
        Worker::builder(Arc::clone(&self.store)).clock(Arc::clone(&self.clock) as _).owner(name)
    }

    pub(super) fn begun(&self, dataset: &str) -> Vec<i64> {
        let seen = self.seen.lock().unwrap();
        seen.begun.get(dataset).map(|begun| begun.iter().map(|(minute, _)| *minute).collect()).unwrap_or_default()
    }

    /// Somebody writes.
    pub(super) fn write(&self, dataset: &str) {
        *self.seen.lock().unwrap().source.entry(dataset.to_owned()).or_insert(100) += 1;
    }

    pub(super) fn is_current(&self, dataset: &str) -> bool {
        let seen = self.seen.lock().unwrap();
        seen.target.get(dataset) == seen.source.get(dataset)
    }
}
