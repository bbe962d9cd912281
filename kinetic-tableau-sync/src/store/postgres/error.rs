//! Failures of Postgres in our words: the cause and the next step on one line, never a password, never a row.

use std::error::Error as _;
use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::options::Place;
use crate::audit::AuditError;
use crate::store::{StateError, StateErrorKind};

pub(super) fn storage(message: impl Into<String>) -> StateError {
    StateError::new(StateErrorKind::Storage, message)
}

pub(super) fn corrupt(message: impl Into<String>) -> StateError {
    StateError::new(StateErrorKind::Corrupt, message)
}

pub(super) fn unavailable(message: impl Into<String>) -> StateError {
    StateError::new(StateErrorKind::Unavailable, message)
}

/// A statement that was refused, or did not come through.
///
/// The error itself is not kept as the cause: its details quote the row that was refused.
pub(super) fn sql(doing: &str, error: &Error) -> StateError {
    let Some(refusal) = error.as_db_error() else {
        if is_lost(error) {
            return unavailable(format!(
                "the connection to Postgres was lost while {doing}; run again, and look at the server if it stays"
            ));
        }
        // A value that could not be read or written: the words are of the client, not of the row.
        return corrupt(format!("Postgres answered what cannot be read while {doing}: {error}"));
    };
    let message = first_line(refusal.message());
    let code = refusal.code();
    let (kind, hint) = match *code {
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            (StateErrorKind::Storage, "the server takes no writes; connect to the primary server")
        }
        SqlState::INSUFFICIENT_PRIVILEGE => {
            (StateErrorKind::Storage, "let the user own the schema, or grant it the rights")
        }
        SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => {
            (StateErrorKind::Unavailable, "the server was too slow, or somebody held a lock for too long; run again")
        }
        SqlState::DISK_FULL => (StateErrorKind::Storage, "free some space on the server"),
        SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN => {
            (StateErrorKind::Corrupt, "somebody has altered the tables; restore them from a copy")
        }
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => {
            (StateErrorKind::Corrupt, "restore the database from a copy")
        }
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => {
            (StateErrorKind::Unavailable, "run again")
        }
        _ if is_away(code) => (StateErrorKind::Unavailable, "run again once the server is there"),
        _ => (StateErrorKind::Storage, "see the server's log"),
    };
    StateError::new(kind, format!("Postgres refused {doing}: {message} ({}); {hint}", code.code()))
}

/// Whether the server has gone away with the connection, or is about to.
pub(crate) fn is_lost(error: &Error) -> bool {
    match error.code() {
        Some(code) => is_away(code),
        None => {
            error.is_closed() || error.source().is_some_and(|source| source.downcast_ref::<std::io::Error>().is_some())
        }
    }
}

/// Shut down, crashed, starting, out of resources, or tired of our idling.
fn is_away(code: &SqlState) -> bool {
    let class = code.code().get(..2).unwrap_or_default();
    matches!(class, "08" | "53" | "57" | "58") && *code != SqlState::DISK_FULL && *code != SqlState::QUERY_CANCELED
        || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
}

/// Whether waiting a moment may help: the server is starting.
pub(super) fn is_starting(error: &Error) -> bool {
    error.code() == Some(&SqlState::CANNOT_CONNECT_NOW)
}

/// Whether nobody listens. Right behind a restart that is so for a moment.
pub(super) fn is_refused(error: &Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| {
        matches!(
            io.kind(),
            std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::NotFound
        )
    })
}

/// Somebody took the connection and said nothing.
pub(super) fn silent(place: &Place, waited: Duration) -> StateError {
    unavailable(format!(
        "cannot connect to Postgres at {place}: it has not answered for {} s; check that the server runs, and the host and port in the \
         connection string",
        waited.as_secs()
    ))
}

/// No connection could be made.
pub(super) fn connecting(place: &Place, error: &Error) -> StateError {
    let cannot = |why: &str, hint: &str| format!("cannot connect to Postgres at {place}: {why}; {hint}");
    if let Some(refusal) = error.as_db_error() {
        let why = first_line(refusal.message());
        let (kind, hint) = match *refusal.code() {
            SqlState::INVALID_PASSWORD => {
                (StateErrorKind::Storage, "check user and password in the connection string".to_owned())
            }
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                (StateErrorKind::Storage, "check the user, `sslmode`, and the server's pg_hba.conf".to_owned())
            }
            SqlState::INVALID_CATALOG_NAME => {
                (StateErrorKind::Storage, format!("create the database {}, or correct its name", place.database()))
            }
            SqlState::TOO_MANY_CONNECTIONS => (
                StateErrorKind::Unavailable,
                "raise `max_connections` on the server, or let fewer connections be used".to_owned(),
            ),
            ref code if is_away(code) => (StateErrorKind::Unavailable, "run again once the server is there".to_owned()),
            _ => (StateErrorKind::Storage, "see the server's log".to_owned()),
        };
        return StateError::new(kind, cannot(why, &hint));
    }
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    let why = if cause.is_empty() { error.to_string() } else { cause };
    let text = error.to_string();
    if text.contains("TLS") {
        let hint = "add the server's CA file, or `sslmode=disable` where the network between is trusted";
        return storage(cannot(&format!("TLS failed: {}", first_line(&why)), hint));
    }
    if text.contains("configuration") || text.contains("authentication") {
        return storage(cannot(first_line(&why), "check the connection string"));
    }
    unavailable(cannot(first_line(&why), "check that the server runs, and the host and port in the connection string"))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The same failure as one of the trail.
pub(super) fn audit(error: StateError) -> AuditError {
    let transient = error.kind() == StateErrorKind::Unavailable;
    let failure = AuditError::new(error.to_string()).with_cause(error);
    if transient { failure.transient() } else { failure }
}
