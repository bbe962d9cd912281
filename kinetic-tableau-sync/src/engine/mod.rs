//! One cycle of one dataset: what changed is read, staged, published once, audited, and only then remembered.
//!
//! The order of effects is what makes dying between any two of them harmless:
//!
//! 1. rows are read, audited as *staged* and written to a load that nobody sees;
//! 2. the load is sealed (durable), then the **intent** is noted: which load, under which request id;
//! 3. it is published under that id, as often as it takes;
//! 4. the receipt is noted, the landing audited, the fingerprints count;
//! 5. the checkpoint moves, in the same write that clears the intent;
//! 6. what reads the datasource is refreshed. A refresh that fails stays due; the landing stands.
//!
//! A run that finds an intent delivers it first.

mod cycle;
mod deliver;
mod fill;
mod journal;
mod keep;
mod mapped;
mod policy;
mod progress;
mod reading;
mod reason;
mod reconcile;
mod rejects;
mod replaced;
pub(crate) mod rows;
mod sift;
mod stop;
pub(crate) mod telemetry;
mod unique;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::keep::renew;
pub use self::mapped::landing_schema;
pub(crate) use self::policy::UNMENDED;
pub use self::policy::{Cause, Disposition, Stage, SyncError};
pub use self::progress::{NoProgress, Progress, ProgressEvent};
pub use self::reason::FullReason;
pub use self::stop::Stop;
use crate::audit::AuditStore;
use crate::checkpoint::RunSummary;
use crate::clock::{Clock, SystemClock};
use crate::destination::Destination;
use crate::model::DatasetSpec;
use crate::redact::Redactor;
use crate::remedy::Remedies;
use crate::source::Source;
use crate::store::{FingerprintStore, RejectStore, StateStore};

/// How long a lease lasts unless it is renewed. It is renewed after a third of that.
const LEASE: Duration = Duration::from_mins(1);

/// Runs cycles. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Syncer {
    parts: Arc<Parts>,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// What changed since the last one.
    Changes,
    /// A full load, come what may.
    Anew,
    /// A comparison of everything.
    Reconcile,
    /// What changed since the last one, and what was rejected.
    Replay,
}

#[cfg(any(feature = "tracing", feature = "metrics"))]
impl Goal {
    fn as_str(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::Anew => "full",
            Self::Reconcile => "reconcile",
            Self::Replay => "replay",
        }
    }
}

#[derive(Debug)]
struct Parts {
    source: Arc<dyn Source>,
    destination: Arc<dyn Destination>,
    state: Arc<dyn StateStore>,
    audit: Arc<dyn AuditStore>,
    fingerprints: Arc<dyn FingerprintStore>,
    rejects: Arc<dyn RejectStore>,
    clock: Arc<dyn Clock>,
    progress: Arc<dyn Progress>,
    owner: String,
    lease: Duration,
    delta_rows: u64,
    stop: Stop,
    redactor: Redactor,
    remedies: Remedies,
}

impl Parts {
    /// Tells of a step.
    fn report(&self, dataset: &crate::DatasetId, event: &ProgressEvent) {
        telemetry::step(event);
        self.progress.report(dataset, event);
    }
}

impl Syncer {
    /// A syncer that reads here and lands there, with one store that keeps state, audit, fingerprints and rejects.
    pub fn builder<S>(source: Arc<dyn Source>, destination: Arc<dyn Destination>, store: Arc<S>) -> SyncerBuilder
    where
        S: StateStore + AuditStore + FingerprintStore + RejectStore,
    {
        SyncerBuilder {
            parts: Parts {
                source,
                destination,
                state: Arc::clone(&store) as _,
                audit: Arc::clone(&store) as _,
                fingerprints: Arc::clone(&store) as _,
                rejects: store,
                clock: Arc::new(SystemClock),
                progress: Arc::new(NoProgress),
                owner: format!("process {}", std::process::id()),
                lease: LEASE,
                delta_rows: 500_000,
                stop: Stop::new(),
                redactor: Redactor::new(),
                remedies: Remedies::default(),
            },
        }
    }

    /// Runs one cycle of a dataset: first what an earlier run left undelivered, then what changed since.
    ///
    /// Dropping the future at any point is as harmless as the death of the process.
    ///
    /// # Errors
    /// [`SyncError`] with the step, the cause and what to do. Nothing is lost by it.
    pub async fn run(&self, dataset: &DatasetSpec) -> Result<RunSummary, SyncError> {
        self.pursue(dataset, Goal::Changes).await
    }

    /// Runs one cycle that loads everything anew, however many rows that removes from the target.
    ///
    /// # Errors
    /// As [`run`](Syncer::run).
    pub async fn run_full(&self, dataset: &DatasetSpec) -> Result<RunSummary, SyncError> {
        self.pursue(dataset, Goal::Anew).await
    }

    /// Compares the source with what has landed, row by row, and lands what differs: rows that change tracking has missed, rows that
    /// changed without telling, and deletes. [`RunSummary::findings`] says how many of each, and so how far the tracked column of this
    /// tenant can be trusted.
    ///
    /// Only keys and row versions are read, where the source has row versions; otherwise all rows are. Memory stays flat. A row is
    /// deleted only when it is missing in the listing *and* not found by its key, and only while not more than
    /// [`max_delete_percent`](DatasetSpec::max_delete_percent) of the rows would go. What changed since the last cycle is left to
    /// the next.
    ///
    /// A dataset that has not landed yet is loaded in full, which needs no comparison: then there are no findings.
    ///
    /// # Errors
    /// As [`run`](Syncer::run).
    pub async fn reconcile(&self, dataset: &DatasetSpec) -> Result<RunSummary, SyncError> {
        self.pursue(dataset, Goal::Reconcile).await
    }

    /// Runs one cycle that also reads again, by their keys, the rows that earlier runs have rejected: after they were mended in
    /// Kinetic without a change that tracking sees, or after a passing fault. (A change of the mapping is a full load anyway.)
    ///
    /// # Errors
    /// As [`run`](Syncer::run).
    pub async fn replay(&self, dataset: &DatasetSpec) -> Result<RunSummary, SyncError> {
        self.pursue(dataset, Goal::Replay).await
    }

    async fn pursue(&self, dataset: &DatasetSpec, goal: Goal) -> Result<RunSummary, SyncError> {
        let began = self.parts.clock.now();
        let work = async {
            let ended = self.work(dataset, goal).await.map_err(|error| error.redacted(&self.parts.redactor));
            telemetry::ended(&dataset.id, goal, began, self.parts.clock.now(), &ended);
            ended
        };
        telemetry::within(&dataset.id, &self.parts.owner, goal, work).await
    }

    async fn work(&self, dataset: &DatasetSpec, goal: Goal) -> Result<RunSummary, SyncError> {
        let stopped = || SyncError::new(&dataset.id, None, Stage::Lease, Cause::Stopped);
        if self.parts.stop.is_stopped() {
            return Err(stopped());
        }
        let asked = tokio::time::Instant::now();
        let lease = self
            .parts
            .state
            .lease(&dataset.id, &self.parts.owner, self.parts.lease)
            .await
            .map_err(|error| SyncError::new(&dataset.id, None, Stage::Lease, error))?;
        let result = tokio::select! {
            // In this order, so that the same events always have the same course.
            biased;
            // Boxed, since it is large and callers carry it in theirs.
            result = Box::pin(cycle::run(&self.parts, dataset, &lease, goal, keep::keep(&self.parts, &lease, asked))) => result,
            () = self.parts.stop.stopped() => Err(stopped()),
        };
        // A lease that cannot be given back lapses by itself.
        let _ = self.parts.state.release(&lease).await;
        self.parts.report(&dataset.id, &ProgressEvent::Ended);
        result
    }
}

/// Builds a [`Syncer`].
#[derive(Debug)]
#[must_use]
pub struct SyncerBuilder {
    parts: Parts,
}

impl SyncerBuilder {
    /// Keeps the state elsewhere.
    pub fn state(mut self, state: Arc<dyn StateStore>) -> Self {
        self.parts.state = state;
        self
    }

    /// Keeps the audit trail elsewhere.
    pub fn audit(mut self, audit: Arc<dyn AuditStore>) -> Self {
        self.parts.audit = audit;
        self
    }

    /// Keeps the fingerprints elsewhere.
    pub fn fingerprints(mut self, fingerprints: Arc<dyn FingerprintStore>) -> Self {
        self.parts.fingerprints = fingerprints;
        self
    }

    /// Keeps rejected rows elsewhere.
    pub fn rejects(mut self, rejects: Arc<dyn RejectStore>) -> Self {
        self.parts.rejects = rejects;
        self
    }

    /// Takes the time from elsewhere.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.parts.clock = clock;
        self
    }

    /// Listens to the runs.
    pub fn progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.parts.progress = progress;
        self
    }

    /// Name of this worker, as others see it in a lease; the process id by default.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.parts.owner = owner.into();
        self
    }

    /// How long a lease lasts unless it is renewed, which is done after a third of that; a minute by default. Others wait so long for a
    /// worker that has died, and a run bears with a store that is away for the rest of it.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.parts.lease = lease.max(Duration::from_millis(1));
        self
    }

    /// After so many changed rows a load is published, and the rest follows in another one of the same run; 500,000 by default. Where
    /// the source does not yield rows in its order, and where more than half of what has landed has changed, more of them become a
    /// full load.
    pub fn delta_rows(mut self, rows: u64) -> Self {
        self.parts.delta_rows = rows;
        self
    }

    /// Lets the runs of this syncer be ended from outside.
    pub fn stop(mut self, stop: &Stop) -> Self {
        self.parts.stop = stop.clone();
        self
    }

    /// Keeps known secrets out of errors, audit trail, state, progress and rejected rows. What is added to it later counts from then on.
    pub fn redactor(mut self, redactor: &Redactor) -> Self {
        self.parts.redactor = redactor.clone();
        self
    }

    /// Leaves a remedy out, to show that it is needed.
    #[cfg(feature = "test-util")]
    pub fn without(mut self, remedy: crate::remedy::Remedy) -> Self {
        self.parts.remedies = Remedies::without(remedy);
        self
    }

    /// The syncer.
    pub fn build(self) -> Syncer {
        Syncer { parts: Arc::new(self.parts) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use async_trait::async_trait;
    use futures_core::stream::BoxStream;

    use super::*;
    use crate::destination::{DestinationError, Load, LoadPlan, Receipt, RefreshReport, Staged, TargetState};
    use crate::model::{Cursor, RefreshTarget, Schema, Target};
    use crate::source::{SourceError, SourceErrorKind, Window};
    use crate::store::MemoryStore;

    /// Reads nothing and lands nothing.
    #[derive(Debug)]
    struct Nowhere;

    #[async_trait]
    impl Source for Nowhere {
        async fn schema(&self, _: &DatasetSpec) -> Result<Schema, SourceError> {
            Err(SourceError::new(SourceErrorKind::Unavailable, "there is nothing"))
        }
        async fn head(&self, _: &DatasetSpec, _: &Schema) -> Result<Option<Cursor>, SourceError> {
            Ok(None)
        }
        fn read<'a>(
            &'a self,
            _: &'a DatasetSpec,
            _: Arc<Schema>,
            _: Window,
        ) -> BoxStream<'a, Result<crate::Batch, SourceError>> {
            Box::pin(futures_util::stream::empty())
        }
        fn is_after(&self, _: &DatasetSpec, _: &Cursor, _: &Cursor) -> Result<bool, SourceError> {
            Ok(false)
        }
        fn company(&self) -> &'static str {
            "NONE"
        }
    }

    fn nothing() -> DestinationError {
        DestinationError::new(crate::DestinationErrorKind::Unavailable, "there is nothing")
    }

    #[async_trait]
    impl Destination for Nowhere {
        async fn inspect(&self, _: &Target) -> Result<TargetState, DestinationError> {
            Ok(TargetState::Absent)
        }
        async fn begin(&self, _: &LoadPlan) -> Result<Box<dyn Load>, DestinationError> {
            Err(nothing())
        }
        async fn is_intact(&self, _: &Staged) -> Result<bool, DestinationError> {
            Ok(false)
        }
        async fn publish(&self, _: &LoadPlan, _: &Staged) -> Result<Receipt, DestinationError> {
            Err(nothing())
        }
        async fn refresh(&self, _: &RefreshTarget) -> Result<RefreshReport, DestinationError> {
            Err(nothing())
        }
        async fn discard(&self, _: &Staged) -> Result<(), DestinationError> {
            Ok(())
        }
    }

    /// A syncer for tests that run nothing.
    pub(crate) fn idle_syncer(store: &Arc<MemoryStore>) -> Syncer {
        Syncer::builder(Arc::new(Nowhere), Arc::new(Nowhere), Arc::clone(store)).build()
    }
}
