//! What the engine remembers of a dataset between runs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::destination::{LoadKind, Receipt, RefreshReport, Staged};
use crate::model::{Cursor, RefreshTarget, RunId, Schema, Target};

/// The state of one dataset, kept by a [`StateStore`](crate::StateStore) and replaced by compare-and-swap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Everything at or before this position has landed. None before the first full load.
    pub cursor: Option<Cursor>,
    /// Counts full loads; fingerprints belong to one generation.
    pub generation: u64,
    /// Where the rows are, once they are somewhere.
    pub landed: Option<Landed>,
    /// A sealed load that has not been confirmed yet.
    pub intent: Option<Intent>,
    /// Refreshes that are still due for the last landing.
    pub pending_refresh: Vec<RefreshTarget>,
    /// The last run that ended, well or not.
    pub last_run: Option<RunSummary>,
    /// The last run that ended well.
    pub last_success: Option<RunSummary>,
    /// Runs that failed since the last one that ended well.
    pub failures: u32,
    /// When the next try is due after a failure; none where the schedule decides.
    #[serde(default)]
    pub retry_at: Option<DateTime<Utc>>,
    /// The last comparison with the source that ended well: when, and what it found.
    #[serde(default)]
    pub reconciled: Option<Reconciled>,
    /// The moment as of which the target was last known to be the whole of the source: when the full load or the comparison began that
    /// made it so. A comparison that left rows alone which seem to be gone does not.
    #[serde(default)]
    pub whole_at: Option<DateTime<Utc>>,
    /// Cycles that ended well since the last full load or comparison.
    #[serde(default)]
    pub cycles: u32,
    /// How many revisions behind the checkpoint a row ever became visible. The overlap is at least twice as wide.
    #[serde(default)]
    pub late_by: u64,
}

/// When a dataset was last compared with its source as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciled {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// What it found.
    pub findings: Findings,
}

/// Where a dataset has landed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landed {
    /// The target as configured.
    pub target: Target,
    /// The destination's id of it.
    pub target_id: String,
    /// [`Schema::signature`] of what lies there.
    pub signature: String,
    /// The columns of what lies there.
    #[serde(default)]
    pub schema: Option<Schema>,
    /// [`DatasetSpec::selection`](crate::DatasetSpec::selection) of what lies there.
    #[serde(default)]
    pub selection: String,
    /// [`Source::company`](crate::Source::company) that the rows are of; empty where it was not noted yet.
    #[serde(default)]
    pub company: String,
    /// What the last landing left of [`TargetState::Present::version`](crate::TargetState::Present::version).
    #[serde(default)]
    pub version: Option<String>,
    /// Rows there.
    pub rows: u64,
}

/// The note that is made before a publish.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The run.
    pub run: RunId,
    /// Full or delta.
    pub kind: LoadKind,
    /// Identity of the publish.
    pub request_id: String,
    /// Where the window began.
    pub after: Option<Cursor>,
    /// Where the checkpoint will stand once this has landed.
    pub through: Option<Cursor>,
    /// The generation that the fingerprints of this load belong to.
    pub generation: u64,
    /// The columns of the load.
    pub schema: Schema,
    /// [`DatasetSpec::selection`](crate::DatasetSpec::selection) by which the rows were read.
    #[serde(default)]
    pub selection: String,
    /// [`Source::company`](crate::Source::company) that the rows are of; empty where it was not noted yet.
    #[serde(default)]
    pub company: String,
    /// The target.
    pub target: Target,
    /// The destination's id of it, where it was there already.
    pub target_id: Option<String>,
    /// The sealed load.
    pub staged: Staged,
    /// Rows in the target once this has landed.
    pub rows_after: u64,
    /// What was read, and what became of it.
    pub counts: Counts,
    /// Keys of rows that were rejected before, and are no more once this has landed.
    #[serde(default)]
    pub settled: Vec<String>,
    /// When the note was made.
    pub at: DateTime<Utc>,
    /// The receipt, once there is one.
    pub receipt: Option<Receipt>,
}

/// How many rows a run read, and what became of them. `read` is always the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows that the source sent.
    pub read: u64,
    /// Rows landed under a key that was not there.
    pub inserted: u64,
    /// Rows landed in place of an older version.
    pub updated: u64,
    /// Rows that had landed before in this version.
    pub unchanged: u64,
    /// Rows that did not stay: the same run read them again in a newer version, or a newer version has landed already.
    pub superseded: u64,
    /// Rows that could not be mapped, and were kept with the reason.
    #[serde(default)]
    pub rejected: u64,
    /// Rows taken away, because the source has them no more. They were not read, so they are not part of the sum.
    #[serde(default)]
    pub deleted: u64,
    /// Of the rows landed: those that only the overlap found, since they became visible late.
    #[serde(default)]
    pub late: u64,
    /// How many revisions behind the checkpoint the farthest of them lay.
    #[serde(default)]
    pub late_by: u64,
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            read: self.read + other.read,
            inserted: self.inserted + other.inserted,
            updated: self.updated + other.updated,
            unchanged: self.unchanged + other.unchanged,
            superseded: self.superseded + other.superseded,
            rejected: self.rejected + other.rejected,
            deleted: self.deleted + other.deleted,
            late: self.late + other.late,
            late_by: self.late_by.max(other.late_by),
        }
    }

    /// Whether every row read is accounted for.
    pub fn balance(&self) -> bool {
        self.read == self.inserted + self.updated + self.unchanged + self.superseded + self.rejected
    }
}

/// What a full comparison with the source has found. Every count but `listed` is of rows that change tracking had missed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Rows that the source has.
    pub listed: u64,
    /// Rows that the source had and the target had not.
    pub missed: u64,
    /// Rows that had changed without the tracked column telling so.
    pub silent: u64,
    /// Rows that the target had and the listing had not.
    pub gone: u64,
    /// Of those, rows that were there all the same when they were asked for by key.
    pub reappeared: u64,
    /// Of those, rows that were deleted.
    pub deleted: u64,
    /// Why nothing was deleted, where something should have been.
    pub refused: Option<String>,
}

impl Findings {
    /// Whether the target was what the source is.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.missed == 0 && self.silent == 0 && self.gone == self.reappeared
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run.
    pub run: RunId,
    /// Full or delta; none when it failed before that was known.
    pub kind: Option<LoadKind>,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// What was read, and what became of it.
    pub counts: Counts,
    /// Rows in the target afterwards.
    pub landed_rows: u64,
    /// What the comparison with the source found, where the run made one.
    #[serde(default)]
    pub findings: Option<Findings>,
    /// What became of the refreshes.
    pub refreshes: Vec<RefreshReport>,
    /// Why it failed, when it failed: one line, and what to do next.
    pub error: Option<String>,
}
