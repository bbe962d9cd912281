//! The trail of every record: what was read, what became of it, and proof that nobody altered it.
//!
//! Records are appended in columnar *segments*, before their load is published; a [`AuditEvent::Landed`] follows once it is visible.
//! A segment without that event was never shown: its run was abandoned. Segments and events form one hash chain per store, or one per
//! dataset where several processes write to a store.

pub(crate) mod codec;
pub mod export;
mod record;
pub(crate) mod trail;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use self::record::{Action, AuditRecord, AuditSegment, Records};
use crate::checkpoint::{Counts, Findings};
use crate::destination::{LoadKind, Receipt, RefreshReport};
use crate::engine::FullReason;
use crate::model::{Cursor, DatasetId, RunId, Target};

/// Something that happened to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
#[non_exhaustive]
pub enum AuditEvent {
    /// A run began.
    Started {
        /// Full or delta.
        kind: LoadKind,
        /// Why it is a full load; none where it is a delta, and in trails from before this was noted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<FullReason>,
        /// Company of the source.
        company: String,
        /// Where the window begins.
        after: Option<Cursor>,
        /// Where it lands.
        target: Target,
    },
    /// A load has landed: its segments hold what Tableau now shows. Where several processes share a store, a landing may be told
    /// twice, if the first one was stopped just before it told; it is one landing all the same.
    Landed {
        /// The proof.
        receipt: Receipt,
        /// What was read, and what became of it.
        counts: Counts,
        /// Where the checkpoint stands now.
        through: Option<Cursor>,
        /// SHA-256 of the staged load, in hex.
        sha256: String,
        /// Rows in the target now.
        landed_rows: u64,
    },
    /// A run ended without anything to land.
    Idle {
        /// What was read, and what became of it.
        counts: Counts,
        /// Where the checkpoint stands now.
        through: Option<Cursor>,
    },
    /// The source was compared as a whole with what has landed.
    Reconciled {
        /// What was found.
        findings: Findings,
    },
    /// A refresh ended, well or not.
    Refreshed {
        /// What became of it.
        report: RefreshReport,
    },
    /// Tableau told by a webhook how a refresh has ended of something that the dataset lands in or refreshes, whoever began it. It
    /// belongs to no run of ours.
    Told {
        /// Tableau's name of what happened, such as `DatasourceRefreshFailed`.
        what: String,
        /// The name of the thing.
        resource: Option<String>,
        /// Its id.
        id: Option<String>,
        /// When it happened, by Tableau's clock.
        at: Option<DateTime<Utc>>,
    },
    /// A run failed. Its segments, if any, were not landed.
    Failed {
        /// At which step.
        stage: String,
        /// One line, with the hint at its end where there is one.
        message: String,
        /// What the operator should do next; none where nothing is known, and in trails from before this was noted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

impl AuditEvent {
    /// Takes known secrets out of what people and servers have written. Names and ids stay: they tell what belongs together.
    pub(crate) fn redact(&mut self, redactor: &crate::Redactor) {
        match self {
            Self::Failed { message, hint, .. } => {
                redactor.scrub(message);
                if let Some(hint) = hint {
                    redactor.scrub(hint);
                }
            }
            Self::Refreshed { report } => report.redact(redactor),
            Self::Told { resource: Some(name), .. } => redactor.scrub(name),
            Self::Started { .. }
            | Self::Landed { .. }
            | Self::Idle { .. }
            | Self::Reconciled { .. }
            | Self::Told { .. } => {}
        }
    }
}

/// An event with its place in the trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The dataset.
    pub dataset: DatasetId,
    /// The run.
    pub run: RunId,
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub event: AuditEvent,
}

/// What to look for. An empty filter matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only this dataset.
    pub dataset: Option<DatasetId>,
    /// Only this run.
    pub run: Option<RunId>,
    /// Only records whose key is this, written as in [`AuditRecord::key`] (a JSON array), or whose key has this as its only or last part.
    pub key: Option<String>,
    /// Only this action.
    pub action: Option<Action>,
    /// Only what happened at or after.
    pub since: Option<DateTime<Utc>>,
    /// Only what happened before.
    pub until: Option<DateTime<Utc>>,
    /// At most so many records, the newest; all when none.
    pub limit: Option<usize>,
}

impl AuditFilter {
    /// Whether a record's key (a JSON array) is the one that is looked for.
    pub fn matches_key(&self, key: &str) -> bool {
        let Some(wanted) = &self.key else { return true };
        if wanted == key {
            return true;
        }
        let Ok(parts) = serde_json::from_str::<Vec<serde_json::Value>>(key) else {
            return false;
        };
        let last = parts.last().map(|part| part.as_str().map_or_else(|| part.to_string(), ToOwned::to_owned));
        last.as_ref() == Some(wanted)
    }
}

/// What [`AuditStore::verify`] found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Segments and events looked at.
    pub entries: u64,
    /// Records looked at.
    pub records: u64,
    /// Entries that were removed before those, by [`AuditStore::prune`].
    #[serde(default)]
    pub pruned: u64,
    /// The first entry that is not what was written, by its sequence number, and what is wrong with it. None: the trail is whole. Where
    /// each dataset has a chain of its own, the text names the dataset, and the number counts in it.
    pub first_broken: Option<(u64, String)>,
    /// Hash of the last entry, or over the last entries of all chains, in hex: write it down elsewhere to notice later that the end was cut off.
    pub head: String,
}

/// Keeps the trail. Append-only, and durable when a call returns.
#[async_trait]
pub trait AuditStore: std::fmt::Debug + Send + Sync + 'static {
    /// Appends records.
    ///
    /// # Errors
    /// When they could not be made durable; then none of them is there.
    async fn append(&self, segment: AuditSegment) -> Result<(), AuditError>;

    /// Appends an event.
    ///
    /// # Errors
    /// When it could not be made durable.
    async fn record(&self, entry: AuditEntry) -> Result<(), AuditError>;

    /// The records that match, oldest first.
    ///
    /// # Errors
    /// When the trail cannot be read.
    async fn records(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>, AuditError>;

    /// The events that match (by dataset, run and time), oldest first.
    ///
    /// # Errors
    /// When the trail cannot be read.
    async fn events(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, AuditError>;

    /// Recomputes the hash chain.
    ///
    /// # Errors
    /// When the trail cannot be read. An altered trail is a [`Verification`], not an error.
    async fn verify(&self) -> Result<Verification, AuditError>;

    /// Removes the oldest part of the trail: entries from before a moment, as far as their runs ended before it. The number and hash of
    /// the last removed entry are kept, so that [`verify`](AuditStore::verify) still proves the rest. What has landed cannot be rebuilt
    /// from the trail alone any more. Answers how many entries were removed. By default it is an error: the store keeps everything.
    ///
    /// # Errors
    /// When the store could not be written.
    async fn prune(&self, before: DateTime<Utc>) -> Result<u64, AuditError> {
        let _ = before;
        Err(AuditError::new("this store keeps everything"))
    }
}

/// A failure of an [`AuditStore`].
#[derive(Debug, thiserror::Error)]
#[error("audit trail: {message}")]
pub struct AuditError {
    message: String,
    transient: bool,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl AuditError {
    /// A failure with a one-line message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: false, cause: None }
    }

    /// Says that running again may help: the store could not be reached.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// Whether running again may help.
    pub fn is_transient(&self) -> bool {
        self.transient
    }

    pub(crate) fn redact(&mut self, redactor: &crate::Redactor) {
        redactor.clean_error(&mut self.message, None, &mut self.cause);
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}
