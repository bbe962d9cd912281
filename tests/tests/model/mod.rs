//! The model test: the real engine and the real Kinetic client against a simulated Kinetic whose rows move all the time, a Tableau in
//! memory, faults and deaths at every effect, and two workers that are stopped for longer than their lease.
//!
//! Everything comes from one seed, time included, so that a failure is found again by its number. The promises are checked by name:
//!
//! - **I1** once nothing goes wrong any more, two cycles and a reconcile make what has landed equal to the source;
//! - **I2** no key is landed twice; **I3** no row goes back to an older version;
//! - **I4** what was visible when a cycle began, and has not changed since, has landed when it ends well;
//! - **I5** the audit trail alone rebuilds what has landed;
//! - **I6** what is visible is a whole load or a whole load and whole deltas: the rows are as many as the checkpoint says.

mod chaos;
mod place;
mod store;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use kinetic_tableau_sync::remedy::Remedy;
use kinetic_tableau_sync::store::MemoryStore;
use kinetic_tableau_sync::{
    AuditEvent, AuditFilter, AuditStore as _, Cause, Clock, DatasetSpec, KineticSource, LoadKind, Resolution,
    RunSummary, SourceObject, StateStore as _, SyncError, Syncer, Target, Track,
};
use tokio::time::Instant;

use self::chaos::{Chaos, LATEST, Pausable, Tracking, Truth};
use self::place::Place;
use self::store::ChaosStore;
use self::wire::Wire;

/// How long faults and changes go on.
const TROUBLE: Duration = Duration::from_secs(400);

/// What is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    Nothing,
    Remedy(Remedy),
    /// Leases and versions are not checked when the state is written.
    Fencing,
}

impl Without {
    /// Everything that can be left out, and within how many seeds that must be noticed.
    pub(crate) const ALL: [(Self, u64); 12] = [
        (Self::Fencing, 4_000),
        (Self::Remedy(Remedy::Overlap), 400),
        (Self::Remedy(Remedy::InclusiveBound), 400),
        (Self::Remedy(Remedy::Keyset), 400),
        (Self::Remedy(Remedy::ShortPages), 400),
        (Self::Remedy(Remedy::IntentFirst), 4_000),
        (Self::Remedy(Remedy::CheckpointLast), 400),
        (Self::Remedy(Remedy::RequestId), 4_000),
        (Self::Remedy(Remedy::SecondSighting), 400),
        (Self::Remedy(Remedy::DeleteLimit), 400),
        (Self::Remedy(Remedy::RestoreCheck), 400),
        (Self::Remedy(Remedy::TargetCheck), 4_000),
    ];
}

/// What became of one seed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    /// Hash of everything that happened.
    pub(crate) trace: u64,
    pub(crate) effects: u64,
    pub(crate) cycles: u64,
}

#[derive(Debug)]
struct SimulatedClock(Instant);

#[async_trait]
impl Clock for SimulatedClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

struct World {
    chaos: Chaos,
    place: Arc<Mutex<place::Inner>>,
    store: MemoryStore,
    clock: Arc<SimulatedClock>,
    without: Without,
    spec: DatasetSpec,
    cycles: Mutex<u64>,
}

/// Runs one seed.
pub(crate) fn run(seed: u64, without: Without) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World { without, ..World::new(seed) };
        let workers = (0..world.chaos.scenario.workers).map(|worker| world.work(worker));
        futures_util::future::join_all(workers).await;
        world.chaos.heal();
        world.converge().await;
        let (violations, effects) = {
            let inner = world.chaos.lock();
            (inner.violations.clone(), inner.effects)
        };
        let cycles = *world.cycles.lock().unwrap();
        Outcome { violations, trace: world.chaos.trace_hash(), effects, cycles }
    })
}

/// Cuts all pages at one byte offset after the other, in a full load and in a delta, in peace otherwise. Answers how many offsets there
/// were, and what went wrong.
pub(crate) fn cut_everywhere(seed: u64) -> (usize, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::new(seed);
        world.chaos.heal();
        let syncer = world.syncer(0);
        let mut offsets = 0;
        for part in ["full load", "delta"] {
            let before = world.landed();
            let cursor = world.cursor().await;
            for at in 0.. {
                world.chaos.lock().cut_at = Some(at);
                let cuts = world.chaos.lock().cuts;
                let ended = syncer.run(&world.spec).await;
                offsets += 1;
                if world.chaos.lock().cuts == cuts {
                    // Nothing is as long as that.
                    if ended.is_err() || world.landed() != world.chaos.truth() {
                        world.chaos.violated("I1", format!("{part}: whole pages have not landed: {ended:?}"));
                    }
                    break;
                }
                let moved = world.landed() != before || world.cursor().await != cursor;
                if ended.is_ok() || moved {
                    world.chaos.violated("I4", format!("{part}, cut at {at}: {ended:?}"));
                    break;
                }
            }
            let mut database = world.chaos.kinetic.database();
            for number in 1..=6_i64 {
                let content = format!("changed ü{number}");
                let table = world.chaos.scenario.table();
                let columns = [(table.key, number.into()), (table.content, content.as_str().into())];
                database.write(table.set, columns);
            }
        }
        (offsets, world.chaos.lock().violations.clone())
    })
}

fn spec(chaos: &Chaos) -> DatasetSpec {
    let table = chaos.scenario.table();
    let object = SourceObject::EntitySet { service: table.service.to_owned(), set: table.set.to_owned() };
    let target = Target { project: "P".to_owned(), datasource: "D".to_owned() };
    let mut spec = DatasetSpec::new("orders", object, [table.key, table.content, "SysRevID"], target);
    spec.page_size = chaos.scenario.page_size;
    spec.track = match chaos.scenario.tracking {
        Tracking::Revision => {
            Track::Revision { column: "SysRevID".to_owned(), overlap: u64::try_from(LATEST).unwrap() }
        }
        Tracking::Stamp => Track::Timestamp {
            column: "ChangeDate".to_owned(),
            resolution: Resolution::Second,
            overlap: Duration::from_secs(90),
        },
        Tracking::DateAndTime => Track::DateAndTime {
            date: "ChangeDate".to_owned(),
            seconds: "ChangeTime".to_owned(),
            overlap: Duration::from_secs(90),
        },
        Tracking::Snapshot => Track::Snapshot,
    };
    spec
}

impl World {
    fn new(seed: u64) -> Self {
        let clock = Arc::new(SimulatedClock(Instant::now()));
        let chaos = Chaos::new(seed);
        Self {
            spec: spec(&chaos),
            store: MemoryStore::with_clock(Arc::clone(&clock) as _),
            chaos,
            place: Arc::default(),
            clock,
            without: Without::Nothing,
            cycles: Mutex::new(0),
        }
    }

    /// What is visible, of each key the first content.
    fn landed(&self) -> Truth {
        let visible = self.place.lock().unwrap().visible.clone().unwrap_or_default();
        visible.into_iter().filter_map(|(number, rows)| Some((number, rows.first()?.clone()))).collect()
    }

    async fn cursor(&self) -> Option<kinetic_tableau_sync::Cursor> {
        self.store.load(&self.spec.id).await.unwrap().and_then(|known| known.checkpoint.cursor)
    }

    /// A worker's own engine, with its own clients.
    fn syncer(&self, worker: usize) -> Syncer {
        let wire = Wire { chaos: self.chaos.clone(), worker };
        let retry = epicor_kinetic::RetryPolicy::default()
            .first_delay(Duration::ZERO)
            .longest_delay(Duration::from_millis(100));
        let client = epicor_kinetic::Client::builder(self.chaos.kinetic.url())
            .company("EPIC06")
            .api_key(self.chaos.kinetic.api_key())
            .basic(self.chaos.kinetic.user(), self.chaos.kinetic.password())
            .retry(retry)
            .transport(Arc::new(wire))
            .build()
            .unwrap();
        let mut source = KineticSource::new(client);
        let place =
            Place { inner: Arc::clone(&self.place), chaos: self.chaos.clone(), worker, store: self.store.clone() };
        let store = ChaosStore {
            inner: self.store.clone(),
            chaos: self.chaos.clone(),
            worker,
            unfenced: self.without == Without::Fencing,
        };
        if let Without::Remedy(remedy) = self.without {
            source = source.without(remedy);
        }
        let mut builder = Syncer::builder(Arc::new(source), Arc::new(place), Arc::new(store))
            .clock(Arc::clone(&self.clock) as _)
            // Changes are often more than a page, so that many of them land in several loads.
            .delta_rows(u64::from(self.spec.page_size))
            .owner(format!("worker {worker}"));
        if let Without::Remedy(remedy) = self.without {
            builder = builder.without(remedy);
        }
        builder.build()
    }

    /// Runs cycles and comparisons until the trouble is over. A run that dies is followed by another process.
    async fn work(&self, worker: usize) {
        let died = self.chaos.died(worker);
        while self.clock.0.elapsed() < TROUBLE {
            let pause = self.chaos.lock().random.between(5, 60);
            tokio::time::sleep(Duration::from_secs(pause)).await;
            self.chaos.users_work();
            let reconciles = self.chaos.lock().random.chance(250);
            let syncer = self.syncer(worker);
            self.chaos.trace(worker, if reconciles { "reconcile begins" } else { "cycle begins" });
            let before = Before::of(self);
            let run =
                async { if reconciles { syncer.reconcile(&self.spec).await } else { syncer.run(&self.spec).await } };
            let ended = tokio::select! {
                biased;
                () = died.notified() => None,
                ended = Pausable::new(&self.chaos, worker, run) => Some(ended),
            };
            match &ended {
                None => self.chaos.trace(worker, "died"),
                Some(Ok(run)) => {
                    *self.cycles.lock().unwrap() += 1;
                    self.chaos.trace(worker, &format!("ended: {:?} {:?} {:?}", run.kind, run.counts, run.findings));
                    self.check(&before, reconciles).await;
                }
                Some(Err(error)) => self.chaos.trace(worker, &format!("failed: {error}")),
            }
        }
    }

    /// What must hold after a run that ended well.
    async fn check(&self, before: &Before, reconciled: bool) {
        self.chaos.lock().landed_once = true;
        let checkpoint = self.store.load(&self.spec.id).await.unwrap().unwrap().checkpoint;
        let landed = self.place.lock().unwrap().visible.clone().unwrap_or_default();
        let restored = self.chaos.lock().restored;
        let (overwritten, known) = {
            let place = self.place.lock().unwrap();
            (place.overwritten, place.full_after_restores)
        };
        if overwritten || known != restored || before.restored != restored {
            return;
        }
        if !reconciled {
            let unstamped = self.chaos.lock().unstamped.clone();
            let now = self.chaos.truth();
            for (number, (version, _)) in &before.truth {
                // What changes while a cycle goes on belongs to the next one.
                let exempt = now.get(number).is_none_or(|now| now.0 != *version)
                    || (self.chaos.scenario.by_stamp()
                        && (unstamped.contains(number) || before.unstamped.contains(number)));
                let at = landed.get(number).and_then(|rows| rows.first()).map(|row| row.0);
                if !exempt && at.is_none_or(|at| at < *version) {
                    let stamp = self.chaos.stamp(*number);
                    let what = format!("row {number}, version {version} of {stamp}, has landed as {at:?}");
                    self.chaos.violated("I4", what);
                }
            }
        }
        if checkpoint.intent.is_none() {
            if checkpoint.landed.as_ref().is_none_or(|it| it.rows != landed.len() as u64) {
                let said = checkpoint.landed.as_ref().map(|landed| landed.rows);
                self.chaos.violated("I6", format!("{} rows are visible, the checkpoint says {said:?}", landed.len()));
            }
            let rebuilt = self.rebuilt().await;
            let versions: BTreeMap<i64, i64> =
                landed.iter().filter_map(|(number, rows)| Some((*number, rows.first()?.0))).collect();
            if rebuilt != versions {
                self.chaos.violated("I5", format!("the trail tells of {rebuilt:?}, visible is {versions:?}"));
            }
        }
    }

    /// What the audit trail says has landed: versions by number.
    async fn rebuilt(&self) -> BTreeMap<i64, i64> {
        let events = self.store.events(&AuditFilter::default()).await.unwrap();
        let mut records: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for record in self.store.records(&AuditFilter::default()).await.unwrap() {
            records.entry(record.run.to_string()).or_default().push(record);
        }
        let (mut kinds, mut told) = (BTreeMap::new(), std::collections::BTreeSet::new());
        let mut rows = BTreeMap::new();
        for entry in events {
            let run = entry.run.to_string();
            match entry.event {
                AuditEvent::Started { kind, .. } => drop(kinds.insert(run, kind)),
                // Two processes may tell of one landing, when the first was stopped just before it did.
                AuditEvent::Landed { .. } if told.insert(run.clone()) => {
                    if kinds.get(&run) == Some(&LoadKind::Full) {
                        rows.clear();
                    }
                    for record in records.remove(&run).unwrap_or_default() {
                        let key: (String, i64) = serde_json::from_str(&record.key).unwrap();
                        match record.action {
                            kinetic_tableau_sync::Action::Delete => drop(rows.remove(&key.1)),
                            _ => drop(rows.insert(key.1, record.version)),
                        }
                    }
                }
                _ => {}
            }
        }
        rows
    }

    /// Two cycles and a comparison, and all must be well.
    async fn converge(&self) {
        // Leases of the dead lapse.
        tokio::time::sleep(Duration::from_mins(5)).await;
        let restores = self.chaos.lock().restored;
        let syncer = self.syncer(0);
        let fine = |what: &str, ended: Result<RunSummary, SyncError>| match ended {
            Ok(run) => {
                self.chaos.trace(0, &format!("{what}: {:?} {:?} {:?}", run.kind, run.counts, run.findings));
                Some(run)
            }
            Err(error) => {
                self.chaos.violated("I1", format!("in peace, a {what} failed: {error}"));
                None
            }
        };
        self.chaos.trace(0, "peace");
        let mut first = syncer.run(&self.spec).await;
        if restores > 0 && first.as_ref().is_err_and(|error| matches!(error.cause(), Cause::Loss(_))) {
            // The older state has many rows less: that is for an operator to decide.
            first = syncer.run_full(&self.spec).await;
        }
        fine("first cycle", first);
        fine("second cycle", syncer.run(&self.spec).await);
        let unseen = {
            let place = self.place.lock().unwrap();
            place.overwritten && place.unseen
        };
        if unseen {
            fine("full load", syncer.run_full(&self.spec).await);
        }
        let mut comparison = syncer.reconcile(&self.spec).await;
        if restores > 0 && comparison.as_ref().is_err_and(|error| matches!(error.cause(), Cause::Loss(_))) {
            comparison = syncer.run_full(&self.spec).await;
        }
        fine("comparison", comparison);
        let landed = self.landed();
        let truth = self.chaos.truth();
        if landed != truth {
            let differs = |number: &&i64| landed.get(*number) != truth.get(*number);
            let wrong: Vec<String> = landed
                .keys()
                .chain(truth.keys())
                .filter(differs)
                .map(|number| format!("{number}: {:?} for {:?}", landed.get(number), truth.get(number)))
                .collect();
            self.chaos.violated("I1", wrong.join("; "));
        }
    }
}

/// How things were when a run began.
struct Before {
    truth: Truth,
    unstamped: std::collections::BTreeSet<i64>,
    restored: u64,
}

impl Before {
    fn of(world: &World) -> Self {
        let truth = world.chaos.truth();
        let inner = world.chaos.lock();
        Self { truth, unstamped: inner.unstamped.clone(), restored: inner.restored }
    }
}
