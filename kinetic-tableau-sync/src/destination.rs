//! Where rows go.
//!
//! A delivery has two halves, so that dying between them is harmless: a [`Load`] stages rows where nobody sees them and is sealed
//! (durable from then on); [`Destination::publish`] makes a sealed load visible under a request id that the engine has noted before.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::model::{DatasetId, RefreshTarget, RunId, Schema, Target};

/// Whether a load replaces everything or applies changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadKind {
    /// The load is the whole table.
    Full,
    /// The load is rows to insert, to update or to delete by key.
    Delta,
}

/// What is to be delivered.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// The dataset.
    pub dataset: DatasetId,
    /// The run.
    pub run: RunId,
    /// Full or delta.
    pub kind: LoadKind,
    /// The columns.
    pub schema: Arc<Schema>,
    /// Where to.
    pub target: Target,
    /// The destination's own id of the target, once known.
    pub target_id: Option<String>,
    /// Identity of the publish. Repeating it under the same id has no second effect.
    pub request_id: String,
}

/// A sealed load: durable, not yet visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Where it lies.
    pub path: PathBuf,
    /// Rows in it that are inserted or updated.
    pub rows: u64,
    /// Keys in it whose rows are deleted.
    #[serde(default)]
    pub deletes: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of it, in hex.
    pub sha256: String,
}

/// Proof that a load has landed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The destination's own id of the target.
    pub target_id: String,
    /// Identity of the publish.
    pub request_id: String,
    /// The destination's job, where there was one.
    pub job_id: Option<String>,
    /// As in [`TargetState::Present`]: what this landing has left.
    #[serde(default)]
    pub target_version: Option<String>,
    /// Rows delivered.
    pub rows: u64,
    /// When the destination confirmed it.
    pub landed_at: DateTime<Utc>,
}

/// What became of a refresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshReport {
    /// What was refreshed.
    pub target: RefreshTarget,
    /// The destination's job, where there was one.
    pub job_id: Option<String>,
    /// How it ended.
    pub outcome: RefreshOutcome,
}

impl RefreshReport {
    /// Takes known secrets out of the server's words.
    pub(crate) fn redact(&mut self, redactor: &crate::Redactor) {
        if let RefreshOutcome::Failed(words) | RefreshOutcome::Unknown(words) = &mut self.outcome {
            redactor.scrub(words);
        }
    }
}

/// How a refresh ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is", content = "note")]
#[non_exhaustive]
pub enum RefreshOutcome {
    /// The job ended well.
    Succeeded,
    /// The same refresh was queued already; it will see the landed rows.
    AlreadyQueued,
    /// The job failed, with Tableau's own words.
    Failed(String),
    /// The job's end could not be learned.
    Unknown(String),
    /// There is nothing to refresh: a bare extract has no upstream.
    NoUpstream,
}

impl RefreshOutcome {
    /// Whether nothing more is to be done.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Succeeded | Self::AlreadyQueued | Self::NoUpstream)
    }
}

/// What stands where a dataset is to land.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetState {
    /// Nothing yet: the first load is a full one.
    Absent,
    /// It is there, with this id, and takes deltas.
    Present {
        /// The destination's own id.
        id: String,
        /// What changes whenever somebody writes to it, where the destination can tell. When it is not as the last landing left it,
        /// the target is loaded anew.
        version: Option<String>,
    },
    /// It is there, but is not of the form that takes deltas; a full load replaces it.
    Foreign {
        /// The destination's own id.
        id: String,
    },
}

/// A destination of rows.
#[async_trait]
pub trait Destination: std::fmt::Debug + Send + Sync + 'static {
    /// Looks at the place where a dataset lands. Changes nothing.
    ///
    /// # Errors
    /// When the destination cannot be reached, or the name is ambiguous.
    async fn inspect(&self, target: &Target) -> Result<TargetState, DestinationError>;

    /// Begins a load. Nothing of it is visible before [`publish`](Destination::publish).
    ///
    /// # Errors
    /// When staging cannot begin.
    async fn begin(&self, plan: &LoadPlan) -> Result<Box<dyn Load>, DestinationError>;

    /// Whether a sealed load is still there, unchanged. Asked after a restart.
    ///
    /// # Errors
    /// When the staging place cannot be read.
    async fn is_intact(&self, staged: &Staged) -> Result<bool, DestinationError>;

    /// The receipt of a publish under the plan's request id that has taken effect, where the destination can look it up. Asked after a
    /// restart, when an answer may have been lost; a destination that keeps no receipts answers none, and is asked to publish again.
    ///
    /// # Errors
    /// When the destination cannot be reached.
    async fn find_receipt(&self, plan: &LoadPlan) -> Result<Option<Receipt>, DestinationError> {
        let _ = plan;
        Ok(None)
    }

    /// Makes a sealed load visible, whole or not at all. Harmless to repeat under the same request id.
    ///
    /// # Errors
    /// When it was refused, or its outcome is unknown ([`DestinationErrorKind::Unknown`]): then it is repeated later under the same
    /// request id.
    async fn publish(&self, plan: &LoadPlan, staged: &Staged) -> Result<Receipt, DestinationError>;

    /// Refreshes something that reads what has landed, and waits for its end.
    ///
    /// # Errors
    /// When it could not be started. A refresh that started and failed is an [`RefreshOutcome`], not an error.
    async fn refresh(&self, target: &RefreshTarget) -> Result<RefreshReport, DestinationError>;

    /// Removes a sealed load that is no longer needed.
    ///
    /// # Errors
    /// When it cannot be removed.
    async fn discard(&self, staged: &Staged) -> Result<(), DestinationError>;
}

/// Refreshes what reads rows that have landed: for destinations whose rows are read by another system.
#[async_trait]
pub trait Refresher: std::fmt::Debug + Send + Sync + 'static {
    /// As [`Destination::refresh`].
    ///
    /// # Errors
    /// As [`Destination::refresh`].
    async fn refresh(&self, target: &RefreshTarget) -> Result<RefreshReport, DestinationError>;
}

/// Rows being staged. Dropping it without [`seal`](Load::seal) leaves nothing visible.
#[async_trait]
pub trait Load: std::fmt::Debug + Send {
    /// Adds rows whose keys are not in the load yet.
    ///
    /// # Errors
    /// When a value does not fit or staging failed; the load is to be aborted then.
    async fn insert(&mut self, batch: &Batch) -> Result<(), DestinationError>;

    /// Adds rows, each replacing the row of the same key that is in the load. No key appears twice within one batch. Answers how
    /// many rows were replaced.
    ///
    /// # Errors
    /// As [`insert`](Load::insert).
    async fn upsert(&mut self, batch: &Batch) -> Result<u64, DestinationError>;

    /// Adds keys whose rows the target has and is to lose; only in a delta, and never a key that the load also inserts. `keys`
    /// holds the key columns alone ([`Schema::key_only`](crate::Schema::key_only)). Deleting a row that is not there is no failure.
    ///
    /// # Errors
    /// When staging failed; the load is to be aborted then.
    async fn delete(&mut self, keys: &Batch) -> Result<(), DestinationError>;

    /// Makes the load durable and closes it.
    ///
    /// # Errors
    /// When the load could not be made durable, or holds another number of rows than were given.
    async fn seal(self: Box<Self>) -> Result<Staged, DestinationError>;

    /// Throws the load away.
    ///
    /// # Errors
    /// When its remains could not be removed.
    async fn abort(self: Box<Self>) -> Result<(), DestinationError>;
}

/// Why a destination failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DestinationErrorKind {
    /// The configuration does not fit: an ambiguous name, a project that cannot be created.
    Config,
    /// Credentials or rights were refused.
    Auth,
    /// The destination could not be reached, is busy, or answered with a passing fault.
    Unavailable,
    /// It is not known whether the publish took effect.
    Unknown,
    /// The load was refused as it is.
    Rejected,
    /// A value does not fit its column.
    Value,
    /// The load is larger than the destination takes as a delta; a full load is needed.
    TooLarge,
    /// The staging engine is missing or failed.
    Engine,
    /// Anything else.
    Other,
}

/// A failure of a [`Destination`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DestinationError {
    kind: DestinationErrorKind,
    message: String,
    hint: Option<String>,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl DestinationError {
    /// A failure with a one-line message that names cause and place, never a secret or a row's content.
    pub fn new(kind: DestinationErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, cause: None }
    }

    /// Adds what the operator should do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub(crate) fn redact(&mut self, redactor: &crate::Redactor) {
        redactor.clean_error(&mut self.message, self.hint.as_mut(), &mut self.cause);
    }

    /// The kind.
    pub fn kind(&self) -> DestinationErrorKind {
        self.kind
    }

    /// What the operator should do next.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}
