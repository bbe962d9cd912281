//! What can go wrong with secrets. No message and no cause ever holds one.

/// Why a credential store failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CredentialErrorKind {
    /// The store is not there.
    Missing,
    /// There is no secret of that name.
    Unknown,
    /// It is there already, and is not overwritten.
    Exists,
    /// Others may read it, or put another one there.
    Exposed,
    /// The key does not open the store.
    WrongKey,
    /// The store is damaged.
    Damaged,
    /// The end of the store is missing.
    Truncated,
    /// The store was written by a later version.
    Newer,
    /// Another process is writing to it.
    Busy,
    /// The service that keeps secrets cannot be reached.
    Unreachable,
    /// The store does not offer this.
    Unsupported,
    /// A name, a value or a key cannot be used.
    Invalid,
    /// It could not be read or written.
    Io,
    /// Anything else.
    Other,
}

/// A failure of a [`CredentialStore`](super::CredentialStore).
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CredentialError {
    kind: CredentialErrorKind,
    message: String,
    hint: Option<String>,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl CredentialError {
    /// A failure with a one-line message that names cause and place, never a secret.
    pub fn new(kind: CredentialErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, cause: None }
    }

    pub(super) fn unsupported(message: &str) -> Self {
        Self::new(CredentialErrorKind::Unsupported, message)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(CredentialErrorKind::Invalid, message)
    }

    /// Adds what the operator should do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause, which must not hold a secret either.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The kind.
    pub fn kind(&self) -> CredentialErrorKind {
        self.kind
    }

    /// What the operator should do next.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}
