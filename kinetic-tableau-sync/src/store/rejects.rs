//! Rows that could not land, kept with the reason until they do.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Lease, StateError};
use crate::model::{DatasetId, RunId};

/// A row that could not land.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The dataset.
    pub dataset: DatasetId,
    /// Its key, as a JSON array.
    pub key: String,
    /// Hash of its key, as in a [`Fingerprint`](super::Fingerprint).
    pub hash: u128,
    /// `SysRevID`; 0 where the source has none.
    pub version: i64,
    /// The run that rejected it last.
    pub run: RunId,
    /// When that run read it.
    pub at: DateTime<Utc>,
    /// The column that cannot be read or mapped.
    pub column: String,
    /// What is wrong with it.
    pub reason: String,
    /// What the operator should do next, where there is something.
    pub hint: Option<String>,
    /// The row as the source sent it, a JSON object, up to 64 KiB.
    pub raw: String,
}

impl Reject {
    /// Takes known secrets out of what is only shown to people. The key stays: it tells which row it is.
    pub(crate) fn redact(&mut self, redactor: &crate::Redactor) {
        redactor.scrub(&mut self.reason);
        redactor.scrub(&mut self.raw);
        if let Some(hint) = &mut self.hint {
            redactor.scrub(hint);
        }
    }
}

/// Keeps rejected rows: one per key of a dataset, the newest.
///
/// They may outlive their reason when a process dies between landing a row and forgetting it: then the next run forgets them.
#[async_trait]
pub trait RejectStore: std::fmt::Debug + Send + Sync + 'static {
    /// Keeps rejected rows in the place of earlier ones of the same keys. Durable when it returns.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn keep(&self, rejects: Vec<Reject>) -> Result<(), StateError>;

    /// Rejected rows of a dataset in the order of their keys as texts: those behind `after`, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn rejects(&self, dataset: &DatasetId, after: Option<&str>, limit: usize) -> Result<Vec<Reject>, StateError>;

    /// How many rows of a dataset are rejected.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn count_rejects(&self, dataset: &DatasetId) -> Result<u64, StateError>;

    /// Forgets rows by their keys.
    ///
    /// # Errors
    /// [`StateErrorKind::Leased`](super::StateErrorKind::Leased) when the lease was taken over.
    async fn forget(&self, lease: &Lease, keys: &[String]) -> Result<(), StateError>;

    /// Forgets all rows of the lease's dataset that were not rejected by this run.
    ///
    /// # Errors
    /// As [`forget`](RejectStore::forget).
    async fn forget_others(&self, lease: &Lease, run: &RunId) -> Result<(), StateError>;
}
