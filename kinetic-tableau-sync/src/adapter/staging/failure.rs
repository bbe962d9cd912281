//! Failures of the database, as the sync sees them: the cause and the next step, never a password, never a row.

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use crate::destination::{DestinationError, DestinationErrorKind as Kind};
use crate::store::StateErrorKind;
use crate::store::postgres::link::{LinkError, is_lost};
use crate::store::postgres::quoted;

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
    let broken = broken(refusal);
    let (kind, hint) = match *code {
        // A name that is not translated, unlike the words.
        SqlState::INSUFFICIENT_PRIVILEGE if refusal.routine() == Some("ExecWithCheckOptions") => (
            Kind::Auth,
            format!(
                "a policy for rows keeps \"{user}\" from writing some; let the role own the table, or ALTER ROLE \"{user}\" BYPASSRLS"
            ),
        ),
        SqlState::INSUFFICIENT_PRIVILEGE => (
            Kind::Auth,
            format!(
                "let the role own the schemas: CREATE SCHEMA … AUTHORIZATION \"{user}\", or GRANT CREATE ON DATABASE … TO \"{user}\" and \
                 let it make them; and what is in them: ALTER TABLE … OWNER TO \"{user}\""
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
        SqlState::OBJECT_IN_USE => (
            Kind::Config,
            "a trigger or constraint of somebody else waits at the table until the end of a load; drop it, or make it NOT DEFERRABLE"
                .to_owned(),
        ),
        SqlState::FOREIGN_KEY_VIOLATION => (
            Kind::Value,
            format!(
                "rows that are gone from Kinetic must be free to go: drop {broken}, declare it ON DELETE CASCADE, or keep such rows with \
                 soft deletes"
            ),
        ),
        SqlState::CHECK_VIOLATION | SqlState::EXCLUSION_VIOLATION => {
            (Kind::Value, format!("somebody else has made {broken}, which refuses rows that Kinetic has; drop it"))
        }
        SqlState::UNIQUE_VIOLATION if refusal.constraint().is_some_and(|name| !is_primary_key(name)) => (
            Kind::Value,
            format!("somebody else has made {broken}, which refuses rows that Kinetic has; drop it, or make it one that is not unique"),
        ),
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
        "23" if refusal.constraint().is_some() => &format!("it would break {broken}"),
        _ => "see the code",
    };
    DestinationError::new(kind, format!("staging: Postgres refused {doing}: {words} ({})", code.code())).with_hint(hint)
}

/// The constraint that a row breaks, and its table: their names, where they are told and look like names. Everything else that the server
/// tells of it may quote the row.
fn broken(refusal: &DbError) -> String {
    let name = |name: Option<&str>| name.filter(|name| name.len() < 64 && !name.contains(char::is_control)).map(quoted);
    let constraint =
        name(refusal.constraint()).map_or_else(|| "a constraint".to_owned(), |name| format!("the constraint {name}"));
    match (name(refusal.schema()), name(refusal.table())) {
        (Some(schema), Some(table)) => format!("{constraint} of {schema}.{table}"),
        (None, Some(table)) => format!("{constraint} of {table}"),
        _ => constraint,
    }
}

/// Whether it is called as Postgres calls the primary keys that we make.
fn is_primary_key(constraint: &str) -> bool {
    constraint.trim_end_matches(|last: char| last.is_ascii_digit()).ends_with("_pkey")
}
