//! Where state is kept. Small traits, so that a store of one's own is little work; [`conformance`] proves one.

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod memory;
mod notes;
mod packed;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod rejects;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub use self::memory::MemoryStore;
pub use self::notes::{Note, NoteStore};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresOptions, PostgresStore};
pub use self::rejects::{Reject, RejectStore};
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteStore;
use crate::batch::{BatchFull, TextColumn};
use crate::checkpoint::Checkpoint;
use crate::model::{DatasetId, RunId};

/// A checkpoint with the version that compare-and-swap needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned {
    /// Counts the writes.
    pub version: u64,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
}

/// The right to work on a dataset for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The dataset.
    pub dataset: DatasetId,
    /// Who holds it.
    pub owner: String,
    /// Fencing token: each new holder gets a larger one, and a write under a smaller one is refused.
    pub fence: u64,
    /// When it lapses unless renewed.
    pub expires: DateTime<Utc>,
}

/// Keeps checkpoints and leases.
#[async_trait]
pub trait StateStore: std::fmt::Debug + Send + Sync + 'static {
    /// Whether any lease keeps other processes from the whole store, as the lock of a file does. Then none is held while nothing is run.
    /// By default it does not.
    fn locks_as_a_whole(&self) -> bool {
        false
    }

    /// The checkpoint of a dataset; none before the first [`store`](StateStore::store).
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn load(&self, dataset: &DatasetId) -> Result<Option<Versioned>, StateError>;

    /// Replaces the checkpoint if its version is still `expected` (none: there is none yet) and the lease is still the newest.
    /// Durable when it returns. Answers the new version.
    ///
    /// # Errors
    /// [`StateErrorKind::Stale`] when somebody else wrote meanwhile, [`StateErrorKind::Leased`] when the lease was taken over.
    async fn store(&self, lease: &Lease, expected: Option<u64>, next: &Checkpoint) -> Result<u64, StateError>;

    /// Every dataset that has a checkpoint, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn list(&self) -> Result<Vec<(DatasetId, Versioned)>, StateError>;

    /// Takes the lease of a dataset for `ttl`.
    ///
    /// # Errors
    /// [`StateErrorKind::Leased`] while somebody else holds it.
    async fn lease(&self, dataset: &DatasetId, owner: &str, ttl: Duration) -> Result<Lease, StateError>;

    /// Prolongs a lease.
    ///
    /// # Errors
    /// [`StateErrorKind::Leased`] when it was taken over.
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, StateError>;

    /// Gives a lease back. Nothing happens when it was taken over.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn release(&self, lease: &Lease) -> Result<(), StateError>;
}

/// What is known of one landed row: 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Hash of the key.
    pub key: u128,
    /// `SysRevID`; 0 where the source has none.
    pub version: i64,
    /// Hash of the landed values.
    pub row: u128,
}

impl Fingerprint {
    /// The mark of a row that was deleted: from there on its key is not known any more.
    #[must_use]
    pub fn gone(key: u128, version: i64) -> Self {
        Self { key, version, row: 0 }
    }

    /// Whether it is the mark of a deleted row.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.row == 0
    }
}

/// Fingerprints with the keys that they belong to, as JSON arrays; both equally long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prints {
    /// The fingerprints.
    pub entries: Vec<Fingerprint>,
    /// Their keys.
    pub keys: TextColumn,
}

impl Prints {
    /// Adds one.
    ///
    /// # Errors
    /// [`BatchFull`] when the keys would pass 4 GiB.
    pub fn push(&mut self, entry: Fingerprint, key: &str) -> Result<(), BatchFull> {
        self.keys.push(key)?;
        self.entries.push(entry);
        Ok(())
    }
}

/// Which entries are meant.
#[derive(Clone, Copy, Debug)]
pub enum Layer<'a> {
    /// What has landed, in a generation.
    Landed(u64),
    /// What a run has staged.
    Staged(&'a RunId),
}

/// One of equal parts of all keys, told by their hashes. Comparing part by part keeps memory flat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Which part, from 0 on.
    pub nth: u32,
    /// Of how many.
    pub of: u32,
}

impl Slice {
    /// All keys.
    pub const WHOLE: Self = Self { nth: 0, of: 1 };

    /// The parts into which so many rows are to be divided.
    pub fn for_rows(rows: u64) -> impl Iterator<Item = Self> {
        /// Rows of one part: about 32 MB while they are compared.
        const ROWS: u64 = 400_000;
        let of = u32::try_from(rows / ROWS + 1).unwrap_or(u32::MAX);
        (0..of).map(move |nth| Self { nth, of })
    }

    /// Whether a key belongs to it.
    #[must_use]
    pub fn holds(self, key: u128) -> bool {
        // The upper bits, divided evenly.
        let upper = u32::try_from(key >> 96).unwrap_or(u32::MAX);
        (u64::from(upper) * u64::from(self.of)) >> 32 == u64::from(self.nth)
    }
}

/// Version and hash of a landed row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `SysRevID`; 0 where the source has none.
    pub version: i64,
    /// Hash of the landed values.
    pub row: u128,
}

/// Remembers which row has landed in which version, so that a delta can tell insert, update and unchanged apart.
///
/// Entries are appended *staged* while a run goes on and count only after [`promote`](FingerprintStore::promote). Of several entries of
/// one key the last wins; where that is the mark of a deleted row ([`Fingerprint::gone`]), the key is not known.
#[async_trait]
pub trait FingerprintStore: std::fmt::Debug + Send + Sync + 'static {
    /// Appends staged entries of a run.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn append(&self, dataset: &DatasetId, generation: u64, run: &RunId, prints: Prints)
    -> Result<(), StateError>;

    /// Fills in what has landed of the given keys in a generation. Later entries win over earlier ones.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn lookup(
        &self,
        dataset: &DatasetId,
        generation: u64,
        keys: HashMap<u128, Option<Seen>>,
    ) -> Result<HashMap<u128, Option<Seen>>, StateError>;

    /// Fills in what a run has staged so far of the given keys. Later entries win over earlier ones.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn lookup_staged(
        &self,
        dataset: &DatasetId,
        run: &RunId,
        keys: HashMap<u128, Option<Seen>>,
    ) -> Result<HashMap<u128, Option<Seen>>, StateError>;

    /// Every known key of a slice.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn slice(
        &self,
        dataset: &DatasetId,
        layer: Layer<'_>,
        slice: Slice,
    ) -> Result<HashMap<u128, Seen>, StateError>;

    /// The keys as JSON arrays, of those that are known by their hashes.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn key_texts(
        &self,
        dataset: &DatasetId,
        layer: Layer<'_>,
        wanted: &HashSet<u128>,
    ) -> Result<HashMap<u128, String>, StateError>;

    /// Makes the staged entries of a run count, and drops every other generation and every other staged run of the dataset. Harmless to repeat.
    ///
    /// # Errors
    /// [`StateErrorKind::Leased`] when the lease was taken over: a process that was stopped for long must not undo the work of another.
    async fn promote(&self, lease: &Lease, generation: u64, run: &RunId) -> Result<(), StateError>;

    /// Drops all staged entries of a dataset, but those of `keep`.
    ///
    /// # Errors
    /// As [`promote`](FingerprintStore::promote).
    async fn discard_staged(&self, lease: &Lease, keep: Option<&RunId>) -> Result<(), StateError>;

    /// How many entries count in a generation, several of one key as several. By default 0, which is never compacted.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn entries(&self, dataset: &DatasetId, generation: u64) -> Result<u64, StateError> {
        let _ = (dataset, generation);
        Ok(0)
    }

    /// Rewrites what counts in a generation, so that each key that is known has one entry. `rows` is about how many keys there are.
    /// Nobody sees a state in between. By default nothing is done.
    ///
    /// # Errors
    /// As [`promote`](FingerprintStore::promote).
    async fn compact(&self, lease: &Lease, generation: u64, rows: u64) -> Result<(), StateError> {
        let _ = (lease, generation, rows);
        Ok(())
    }
}

/// Why a state store refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StateErrorKind {
    /// Somebody else wrote meanwhile.
    Stale,
    /// Somebody else holds the lease.
    Leased,
    /// There is nothing of ours yet, and the store was opened to read only.
    Absent,
    /// The store could not be reached, or not now. Running again may help.
    Unavailable,
    /// The store could not be read or written.
    Storage,
    /// What is stored is not what this version writes.
    Corrupt,
}

/// A failure of a [`StateStore`] or [`FingerprintStore`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StateError {
    kind: StateErrorKind,
    message: String,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StateError {
    /// A failure with a one-line message.
    pub fn new(kind: StateErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cause: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub(crate) fn redact(&mut self, redactor: &crate::Redactor) {
        redactor.clean_error(&mut self.message, None, &mut self.cause);
    }

    /// The kind.
    pub fn kind(&self) -> StateErrorKind {
        self.kind
    }
}

fn lease_ends(now: DateTime<Utc>, ttl: Duration) -> DateTime<Utc> {
    chrono::Duration::from_std(ttl).ok().and_then(|ttl| now.checked_add_signed(ttl)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn taken_over(lease: &Lease) -> StateError {
    let message = format!("the lease of dataset {} has lapsed and was taken over", lease.dataset);
    StateError::new(StateErrorKind::Leased, message)
}

fn stale(dataset: &DatasetId) -> StateError {
    StateError::new(
        StateErrorKind::Stale,
        format!("the state of dataset {dataset} was written by somebody else meanwhile"),
    )
}

fn stale_note(name: &str) -> StateError {
    StateError::new(StateErrorKind::Stale, format!("the note '{name}' was written by somebody else meanwhile"))
}

pub(crate) fn damaged_fingerprints() -> StateError {
    StateError::new(StateErrorKind::Corrupt, "the fingerprints of landed rows are damaged")
}
