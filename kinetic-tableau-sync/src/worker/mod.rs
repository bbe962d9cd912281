//! Runs datasets by their schedules, in as many processes as there are.
//!
//! Every worker knows all datasets of a configuration, and looks at each when it is due. Which of them runs it is decided by the lease of
//! the dataset in the state store; the others find that it has been run, and look again when it is due next. A worker that dies is replaced
//! by whichever looks next: leases lapse, and the engine finishes or repeats what was begun. Nothing else is shared, so that there is no
//! queue to keep and nothing to elect.
//!
//! - Limits on how many runs a connection takes at once, and tokens of which each is good for one session, hold across workers:
//!   [`Limit`], [`Slots`].
//! - An operator pauses datasets, and asks for runs, through notes that every worker reads: [`Controls`].
//! - Batch processes in the ERP make datasets due when they end: [`BatchProcesses`].
//! - A worker that is stopped begins nothing any more, waits a while for what it runs, and then gives it up, which loses nothing.
//!
//! ```no_run
//! # async fn example(syncer: kinetic_tableau_sync::Syncer, vendors: kinetic_tableau_sync::DatasetSpec)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use kinetic_tableau_sync::store::MemoryStore;
//! use kinetic_tableau_sync::worker::{Job, Worker};
//! use kinetic_tableau_sync::{Stop, Timing};
//!
//! let store = Arc::new(MemoryStore::new());
//! let stop = Stop::new();
//! let worker = Worker::builder(store)
//!     .job(Job::new(&syncer, vendors, Timing::new("every 15m".parse()?)))
//!     .at_once(4)
//!     .build();
//! // Until something calls `stop.now()`.
//! worker.run(&stop).await;
//! # Ok(())
//! # }
//! ```

mod alert;
mod alerts;
mod control;
mod job;
mod news;
mod observer;
mod outage;
mod presence;
mod processes;
mod run;
mod slots;
mod told;

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "tracing")]
pub use self::alert::LogAlerts;
#[cfg(feature = "alert-webhook")]
pub use self::alert::WebhookAlerts;
pub use self::alert::{Alert, AlertError, AlertKind, AlertSink};
pub use self::alerts::Alerts;
pub use self::control::{Control, Controls, OpenRequest, Pause, Request, RequestedRun};
pub use self::job::{Job, Why, next_due};
pub use self::observer::{NoObserver, Observer, WorkerEvent};
pub use self::presence::{WorkerPresence, workers};
pub use self::processes::{BatchProcesses, ProcessError};
pub use self::slots::{Limit, Slot, Slots};
use crate::clock::{Clock, SystemClock};
use crate::engine::Stop;
use crate::store::{NoteStore, StateStore};

/// Runs jobs when they are due. Made by [`Worker::builder`].
#[derive(Debug)]
pub struct Worker {
    parts: Arc<Parts>,
    jobs: Vec<Arc<Job>>,
    at_once: usize,
    grace: Duration,
    abandon: Stop,
    poll: Duration,
}

/// What runs share.
#[derive(Debug)]
struct Parts {
    state: Arc<dyn StateStore>,
    notes: Arc<dyn NoteStore>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    owner: String,
    slots: Slots,
    controls: Controls,
}

impl Worker {
    /// A worker whose jobs keep their state in a store, which it shares with other workers.
    pub fn builder<S: StateStore + NoteStore>(store: Arc<S>) -> WorkerBuilder {
        WorkerBuilder {
            state: Arc::clone(&store) as _,
            notes: store,
            clock: Arc::new(SystemClock),
            observer: Arc::new(NoObserver),
            owner: format!("process {}", std::process::id()),
            jobs: Vec::new(),
            at_once: 1,
            grace: Duration::from_secs(20),
            abandon: Stop::new(),
            poll: Duration::from_secs(10),
        }
    }
}

/// Builds a [`Worker`].
#[derive(Debug)]
#[must_use]
pub struct WorkerBuilder {
    state: Arc<dyn StateStore>,
    notes: Arc<dyn NoteStore>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    owner: String,
    jobs: Vec<Arc<Job>>,
    at_once: usize,
    grace: Duration,
    abandon: Stop,
    poll: Duration,
}

impl WorkerBuilder {
    /// Adds a dataset.
    pub fn job(mut self, job: Job) -> Self {
        self.jobs.push(Arc::new(job));
        self
    }

    /// Adds datasets.
    pub fn jobs(mut self, jobs: impl IntoIterator<Item = Job>) -> Self {
        self.jobs.extend(jobs.into_iter().map(Arc::new));
        self
    }

    /// How many datasets this worker runs at the same time, 1 by default.
    pub fn at_once(mut self, datasets: usize) -> Self {
        self.at_once = datasets.max(1);
        self
    }

    /// How long a worker that is stopped waits for its runs, 20 s by default; then it calls `abandon`, which is to be the [`Stop`] of its
    /// syncers ([`SyncerBuilder::stop`](crate::SyncerBuilder::stop)). What is given up is taken up by the next run.
    pub fn grace(mut self, grace: Duration, abandon: &Stop) -> Self {
        (self.grace, self.abandon) = (grace, abandon.clone());
        self
    }

    /// How often it looks for what an operator has asked for, and at batch processes, every 10 s by default.
    pub fn poll(mut self, every: Duration) -> Self {
        self.poll = every.max(Duration::from_millis(100));
        self
    }

    /// Name of this worker, as others see it; the process id by default.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = owner.into();
        self
    }

    /// Takes the time from elsewhere.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Listens to what it does.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// The worker.
    pub fn build(self) -> Worker {
        let Self { state, notes, clock, observer, owner, jobs, at_once, grace, abandon, poll } = self;
        let slots = Slots::new(Arc::clone(&state), Arc::clone(&clock), owner.clone());
        let controls = Controls::new(Arc::clone(&notes));
        let parts = Arc::new(Parts { state, notes, clock, observer, owner, slots, controls });
        Worker { parts, jobs, at_once, grace, abandon, poll }
    }
}
