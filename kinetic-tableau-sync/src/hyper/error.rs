//! What can go wrong with the extract engine.

use std::fmt;

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HyperErrorKind {
    /// The engine is not on this machine.
    NotFound,
    /// It could not be installed.
    Install,
    /// It did not start.
    Start,
    /// The connection to it is gone.
    Connection,
    /// It refused a statement.
    Sql,
    /// A value does not fit its column.
    Value,
    /// Two rows have one key.
    DuplicateKey,
    /// There are more or fewer rows than were given.
    Count,
    /// A file could not be read or written.
    Io,
}

/// A failure of the extract engine or of what surrounds it.
#[derive(Debug)]
pub struct HyperError {
    kind: HyperErrorKind,
    message: String,
    hint: Option<String>,
    sqlstate: Option<String>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HyperError {
    pub(crate) fn new(kind: HyperErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, sqlstate: None, cause: None }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn with_cause(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub(crate) fn io(what: &str, path: &std::path::Path, cause: std::io::Error) -> Self {
        Self::new(HyperErrorKind::Io, format!("cannot {what} {}: {cause}", path.display()))
            .with_hint("check that the directory exists, is writable and has space")
            .with_cause(cause)
    }

    /// A refusal of the engine, or the loss of the connection.
    pub(crate) fn sql(doing: &str, error: tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            return Self::new(HyperErrorKind::Connection, format!("the extract engine went away while {doing}"))
                .with_hint("run again; if it stays, check memory and disk space")
                .with_cause(error);
        };
        let mut message = format!("the extract engine refused {doing}: {}", first_line(refusal.message()));
        if let Some(detail) = refusal.detail() {
            message = format!("{message} ({})", first_line(detail));
        }
        let sqlstate = refusal.code().code().to_owned();
        let hint = match sqlstate.as_str() {
            "55006" => Some("close what else has the file open, for instance Tableau Desktop"),
            "53100" => Some("free some disk space"),
            "53200" => Some("free some memory"),
            _ => None,
        };
        let mut failure = Self::new(HyperErrorKind::Sql, message);
        failure.sqlstate = Some(sqlstate);
        failure.hint = hint.map(ToOwned::to_owned);
        failure.with_cause(error)
    }

    /// The kind.
    pub fn kind(&self) -> HyperErrorKind {
        self.kind
    }

    /// The engine's own code for a refused statement, five characters.
    pub fn sqlstate(&self) -> Option<&str> {
        self.sqlstate.as_deref()
    }

    /// What the operator should do next.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

impl fmt::Display for HyperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for HyperError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}
