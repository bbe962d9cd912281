//! What a run tells while it goes on.

use super::FullReason;
use crate::destination::{LoadKind, RefreshReport};
use crate::model::{DatasetId, RefreshTarget, RunId};

/// A step of a run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ProgressEvent {
    /// A load that an earlier run had sealed is delivered first.
    Resumed {
        /// The earlier run.
        run: RunId,
    },
    /// Reading begins.
    Started {
        /// Full or delta.
        kind: LoadKind,
        /// Why it is a full load; none where it is a delta.
        reason: Option<FullReason>,
    },
    /// So many rows were read in all.
    Read {
        /// Rows.
        rows: u64,
    },
    /// The load is sealed: durable, not yet visible.
    Staged {
        /// Rows in it.
        rows: u64,
        /// Its size in bytes.
        bytes: u64,
    },
    /// The load is being published.
    Publishing,
    /// The load is visible.
    Landed {
        /// Rows in it.
        rows: u64,
    },
    /// A refresh begins.
    Refreshing {
        /// Of what.
        target: RefreshTarget,
    },
    /// A refresh ended, well or not.
    Refreshed {
        /// What became of it.
        report: RefreshReport,
    },
    /// The run ended.
    Ended,
}

/// Listens to runs. Calls come from the run itself: an implementation must not block.
pub trait Progress: std::fmt::Debug + Send + Sync + 'static {
    /// One step.
    fn report(&self, dataset: &DatasetId, event: &ProgressEvent);
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn report(&self, _: &DatasetId, _: &ProgressEvent) {}
}
