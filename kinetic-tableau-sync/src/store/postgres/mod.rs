//! State, fingerprints and audit trail in Postgres, for any number of workers on any number of machines.
//!
//! - Every write is on disk when its call returns, and is there as a whole or not at all.
//! - A lease lapses by the clock of the database, and each holder has a larger fencing number. A write checks its number in its own
//!   transaction and keeps it from being taken over until that has ended.
//! - A connection that is lost is made anew with the next call. What was being done when it was lost is told as
//!   [`StateErrorKind::Unavailable`]; running again is right.
//! - The tables are made and brought up to date by whoever connects first, but for those who only read.
//! - Records of the audit trail are rows, in one partition a month; the view `audit_trail` shows them together with their runs.

mod audit;
mod error;
mod fingerprints;
pub(crate) mod link;
mod notes;
mod options;
mod parameters;
mod pool;
mod rejects;
mod schema;
mod state;
mod text;
mod tls;
mod transaction;

use std::fmt;
use std::sync::Arc;

use self::error::corrupt;
pub use self::options::PostgresOptions;
use self::pool::Pool;
use self::text::{indexed, last_part, original, stored};
use self::transaction::{Access, Param, Prologues, Transaction};
use super::StateError;
#[cfg(doc)]
use super::StateErrorKind;
use crate::clock::Clock;

/// Keeps everything in a schema of a Postgres database (12 or later). Clones share it.
#[derive(Clone)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Arc<Pool>,
    prologues: Prologues,
    schema: String,
    is_read_only: bool,
    /// The clock of leases; the database's when none is given.
    clock: Option<Arc<dyn Clock>>,
}

impl PostgresStore {
    /// Connects, and makes the tables or brings them up to date.
    ///
    /// # Errors
    /// [`StateErrorKind::Unavailable`] when the server cannot be reached, [`StateErrorKind::Storage`] when it refuses us or the rights
    /// do not suffice, [`StateErrorKind::Corrupt`] when the tables were written by a later version of this crate.
    pub async fn connect(options: PostgresOptions) -> Result<Self, StateError> {
        Self::open(options, None, false).await
    }

    /// As [`connect`](PostgresStore::connect), with leases that lapse by this clock instead of the database's.
    ///
    /// # Errors
    /// As [`connect`](PostgresStore::connect).
    pub async fn connect_with_clock(options: PostgresOptions, clock: Arc<dyn Clock>) -> Result<Self, StateError> {
        Self::open(options, Some(clock), false).await
    }

    /// Connects to look at what is there. Nothing is made or brought up to date; everything that would write is an error.
    ///
    /// # Errors
    /// As [`connect`](PostgresStore::connect); also when there are no tables, or they are of an older form.
    pub async fn connect_read_only(options: PostgresOptions) -> Result<Self, StateError> {
        Self::open(options, None, true).await
    }

    async fn open(
        options: PostgresOptions,
        clock: Option<Arc<dyn Clock>>,
        is_read_only: bool,
    ) -> Result<Self, StateError> {
        let resolved = options.resolve()?;
        let pool = Pool::open(&resolved).await?;
        let schema = resolved.schema;
        let prologues = Prologues::new(&schema, resolved.statement_timeout, resolved.long_statement_timeout);
        let shared = Shared { pool, prologues, schema, is_read_only, clock };
        if is_read_only {
            schema::check(&shared).await?;
        } else {
            schema::prepare(&shared).await?;
        }
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The schema that holds the tables.
    pub fn schema(&self) -> &str {
        &self.shared.schema
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.shared;
        f.debug_struct("PostgresStore")
            .field("server", &format_args!("{}", shared.pool.place))
            .field("schema", &shared.schema)
            .field("is_read_only", &shared.is_read_only)
            .finish_non_exhaustive()
    }
}

/// A name as SQL takes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Postgres knows signed numbers only.
fn signed(number: u64) -> Result<i64, StateError> {
    i64::try_from(number).map_err(|_| corrupt("a counter in the state is too large"))
}

fn unsigned(number: i64) -> Result<u64, StateError> {
    u64::try_from(number).map_err(|_| corrupt("a counter in the database is negative"))
}
