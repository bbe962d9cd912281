//! Small documents by name, beside the checkpoints: what an operator has asked for, what a trigger has seen, which workers live.

use async_trait::async_trait;

use super::StateError;

/// A small document with the version that compare-and-swap needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Larger than that of any note that the store has written before.
    pub version: u64,
    /// What it says, in the form that its writer has chosen.
    pub body: String,
}

/// Keeps small documents by name. Any process may write them, with no lease: who writes says which version it has read.
#[async_trait]
pub trait NoteStore: std::fmt::Debug + Send + Sync + 'static {
    /// The note of a name.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn note(&self, name: &str) -> Result<Option<Note>, StateError>;

    /// Every note whose name begins so, in the order of the bytes of their names.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn notes(&self, prefix: &str) -> Result<Vec<(String, Note)>, StateError>;

    /// Writes a note if its version is still `expected` (none: there is none). Durable when it returns. Answers the new version, which
    /// no note ever had before.
    ///
    /// # Errors
    /// [`StateErrorKind::Stale`](super::StateErrorKind::Stale) when somebody else wrote meanwhile.
    async fn write_note(&self, name: &str, expected: Option<u64>, body: &str) -> Result<u64, StateError>;

    /// Removes a note if its version is still `expected`.
    ///
    /// # Errors
    /// As [`write_note`](NoteStore::write_note).
    async fn remove_note(&self, name: &str, expected: u64) -> Result<(), StateError>;
}
