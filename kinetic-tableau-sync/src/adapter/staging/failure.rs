//! Failures of the database, as the sync sees them: the cause and the next step, never a password, never a row.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::destination::{DestinationError, DestinationErrorKind as Kind};
use crate::store::StateErrorKind;
use crate::store::postgres::link::{LinkError, is_lost};

/// What failed, without a word yet about where.
pub(super) struct Trouble(Box<Source>);

enum Source {
    Link(LinkError),
    Told(DestinationError),
}

impl From<LinkError> for Trouble {
    fn from(error: LinkError) -> Self {
        Self(Box::new(Source::Link(error)))
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        LinkError::Sql(error).into()
    }
}

impl From<DestinationError> for Trouble {
    fn from(error: DestinationError) -> Self {
        Self(Box::new(Source::Told(error)))
    }
}

impl Trouble {
    /// As one failure; `doing` says what was being done, `user` who would need more rights.
    pub(super) fn told(self, doing: &str, user: &str) -> DestinationError {
        match *self.0 {
            Source::Told(error) => error,
            Source::Link(LinkError::Connect(error, code)) => {
                let class = code.as_ref().map(|code| code.code().get(..2).unwrap_or_default());
                let kind = match class {
                    Some("28") => Kind::Auth,
                    _ if error.kind() == StateErrorKind::Unavailable => Kind::Unavailable,
                    _ => Kind::Config,
                };
                // Its words end with the next step.
                let message = error.to_string();
                match message.rsplit_once("; ") {
                    Some((why, hint)) => DestinationError::new(kind, format!("staging: {why}")).with_hint(hint),
                    None => DestinationError::new(kind, format!("staging: {message}")),
                }
            }
            Source::Link(LinkError::Sql(error)) => sql(doing, user, &error),
        }
    }

    /// As a failure of the last step of all: where the connection is lost there, nobody knows whether it was done.
    pub(super) fn at_the_end(self, doing: &str, user: &str) -> DestinationError {
        match &*self.0 {
            Source::Link(LinkError::Sql(error)) if is_lost(error) => {
                let message = format!("staging: the connection to Postgres was lost at the end of {doing}");
                DestinationError::new(Kind::Unknown, message)
                    .with_hint("run again: it finds out first whether the load has landed, and lands it once")
            }
            _ => self.told(doing, user),
        }
    }
}

/// A statement that was refused, or did not come through. The error itself is not kept: its details quote the row.
fn sql(doing: &str, user: &str, error: &Error) -> DestinationError {
    let Some(refusal) = error.as_db_error() else {
        let lost = is_lost(error);
        let kind = if lost { Kind::Unavailable } else { Kind::Engine };
        let why = if lost { "the connection to Postgres was lost" } else { "Postgres answered what cannot be read" };
        return DestinationError::new(kind, format!("staging: {why} while {doing}")).with_hint("run again");
    };
    let code = refusal.code();
    let class = code.code().get(..2).unwrap_or_default();
    let (kind, hint) = match *code {
        SqlState::INSUFFICIENT_PRIVILEGE => (
            Kind::Auth,
            format!(
                "let the role own the schemas: CREATE SCHEMA … AUTHORIZATION \"{user}\", or GRANT CREATE ON DATABASE … TO \"{user}\" and \
                 let it make them"
            ),
        ),
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            (Kind::Config, "the server takes no writes; connect to the primary server".to_owned())
        }
        SqlState::DISK_FULL => (Kind::Unavailable, "free some space on the server".to_owned()),
        SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => (
            Kind::Unavailable,
            "the server was too slow, or somebody held a lock on the table for too long; run again".to_owned(),
        ),
        SqlState::FEATURE_NOT_SUPPORTED | SqlState::DEPENDENT_OBJECTS_STILL_EXIST => (
            Kind::Config,
            "a view or another object depends on the column; drop it, run again, and make it anew".to_owned(),
        ),
        SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN => {
            (Kind::Rejected, "somebody has altered the tables; run again: a full load follows".to_owned())
        }
        SqlState::CARDINALITY_VIOLATION | SqlState::UNIQUE_VIOLATION => {
            (Kind::Value, "name columns that identify a row in the dataset's `key`".to_owned())
        }
        SqlState::NOT_NULL_VIOLATION => {
            (Kind::Config, "a column that somebody else has added takes no null; give it a default".to_owned())
        }
        SqlState::PROGRAM_LIMIT_EXCEEDED => {
            (Kind::Value, "a key is too long for an index, or there are too many columns; choose others".to_owned())
        }
        _ => match class {
            "22" | "23" => {
                (Kind::Value, "give the column a wider type in `types`, or take it out of `select`".to_owned())
            }
            "40" => (Kind::Unavailable, "run again".to_owned()),
            "08" | "53" | "57" | "58" => (Kind::Unavailable, "run again once the server is there".to_owned()),
            "25" if is_lost(error) => (Kind::Unavailable, "run again".to_owned()),
            _ => (Kind::Other, "see the server's log".to_owned()),
        },
    };
    // Words about data may quote it, and so may those of somebody's trigger.
    let words = match class {
        "25" | "28" | "2B" | "3D" | "3F" | "40" | "42" | "53" | "54" | "55" | "57" | "58" | "0A" => {
            refusal.message().lines().next().unwrap_or_default()
        }
        _ => "see the code",
    };
    DestinationError::new(kind, format!("staging: Postgres refused {doing}: {words} ({})", code.code())).with_hint(hint)
}
