//! What a worker tells of what it does.

use chrono::{DateTime, Utc};

use super::job::Why;
use crate::checkpoint::RunSummary;
use crate::engine::SyncError;
use crate::model::DatasetId;

/// Something that a worker has done or met.
#[derive(Debug)]
#[non_exhaustive]
pub enum WorkerEvent<'a> {
    /// A dataset is begun.
    Begun {
        /// The dataset.
        dataset: &'a DatasetId,
        /// Why.
        why: &'a Why,
    },
    /// A run ended.
    Ended {
        /// The dataset.
        dataset: &'a DatasetId,
        /// How.
        outcome: &'a Result<RunSummary, SyncError>,
        /// Failures in a row, of all workers, with this one; 0 when it ended well.
        failures: u32,
        /// When it is due next, by the time.
        next: Option<DateTime<Utc>>,
    },
    /// A dataset was due, and is begun later: all slots of a limit are taken, or another worker is at it.
    Postponed {
        /// The dataset.
        dataset: &'a DatasetId,
        /// Until when.
        until: DateTime<Utc>,
        /// Why, in a few words.
        reason: &'a str,
    },
    /// Runs of a batch process have ended.
    ProcessEnded {
        /// The system.
        system: &'a str,
        /// How many.
        count: u64,
    },
    /// Something beside the runs failed, and is tried again.
    Trouble {
        /// At what.
        doing: &'a str,
        /// The dataset, where it is about one.
        dataset: Option<&'a DatasetId>,
        /// What failed.
        error: &'a (dyn std::error::Error + 'static),
        /// What to do next, where that is known.
        hint: Option<&'a str>,
    },
}

/// Listens to a worker. Calls must not block.
pub trait Observer: std::fmt::Debug + Send + Sync + 'static {
    /// Something has happened.
    fn event(&self, event: &WorkerEvent<'_>);
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn event(&self, _: &WorkerEvent<'_>) {}
}
