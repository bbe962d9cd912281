//! Everything happens in transactions, which also carry what a session would otherwise be set up with. So a connection pooler between
//! us and the server, which deals out sessions by the transaction, changes nothing.

use std::fmt::Write as _;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, RowStream};

use super::error::{self, storage, unavailable};
use super::pool::Connection;
use super::{Shared, quoted, signed};
use crate::store::{Lease, StateError, taken_over};

/// A value with its type, so that a statement takes one round trip.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reads what is there at one moment, however many statements it takes.
    Read,
    /// As `Read`, with time to go through everything. Partitions of the trail stay while it goes on.
    ReadAll,
    /// Writes a little.
    Write,
    /// Takes a lease, and waits only a little for one whose holder is about to commit something.
    Lease,
    /// Rewrites a lot.
    WriteAll,
}

impl Access {
    fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Lease | Self::WriteAll)
    }
}

/// The statements that begin transactions.
#[derive(Debug)]
pub(super) struct Prologues([String; 5]);

/// How long a lease is waited for while its holder is about to commit something.
const BUSY: Duration = Duration::from_secs(5);

impl Prologues {
    pub(super) fn new(schema: &str, statement: Duration, long: Duration) -> Self {
        let prologue = |access: Access| {
            let (mode, timeout, lock) = match access {
                Access::Read => ("REPEATABLE READ READ ONLY", statement, statement),
                Access::ReadAll => ("REPEATABLE READ READ ONLY", long, statement),
                Access::Write => ("READ COMMITTED READ WRITE", statement, statement),
                Access::Lease => ("READ COMMITTED READ WRITE", statement, statement.min(BUSY)),
                Access::WriteAll => ("READ COMMITTED READ WRITE", long, statement),
            };
            let mut text = format!("BEGIN ISOLATION LEVEL {mode};SET LOCAL search_path TO {}", quoted(schema));
            let set = [
                ("statement_timeout", timeout),
                ("lock_timeout", lock),
                // A worker that is stopped half way, or cut off, must not keep its locks.
                ("idle_in_transaction_session_timeout", statement.max(Duration::from_mins(1))),
            ];
            for (name, value) in set {
                // Writing to a String cannot fail. The server counts in 32 bits.
                let _ = write!(text, ";SET LOCAL {name} TO {}", value.as_millis().clamp(1, 2_147_483_647));
            }
            if access.writes() {
                // What is acknowledged is on disk, whatever the server is set to.
                text.push_str(";SET LOCAL synchronous_commit TO on");
            }
            text
        };
        Self([Access::Read, Access::ReadAll, Access::Write, Access::Lease, Access::WriteAll].map(prologue))
    }

    pub(super) fn of(&self, access: Access) -> &str {
        let [read, read_all, write, lease, write_all] = &self.0;
        match access {
            Access::Read => read,
            Access::ReadAll => read_all,
            Access::Write => write,
            Access::Lease => lease,
            Access::WriteAll => write_all,
        }
    }
}

/// An open transaction. Dropping it closes the connection, and with it the transaction.
pub(super) struct Transaction {
    connection: Connection,
    doing: &'static str,
}

impl Shared {
    /// Begins a transaction; `doing` tells in messages what it is for. Its first statement finds out whether the server is still
    /// there, so that a connection from before a restart costs nothing but another try.
    pub(super) async fn begin(&self, access: Access, doing: &'static str) -> Result<Transaction, StateError> {
        if self.is_read_only && access.writes() {
            return Err(storage(format!("{doing} is refused: the store was opened for reading only")));
        }
        loop {
            let connection = self.pool.take().await?;
            match connection.client()?.batch_execute(self.prologues.of(access)).await {
                Ok(()) => return Ok(Transaction { connection, doing }),
                Err(failure) if error::is_lost(&failure) && !connection.is_fresh => {}
                Err(failure) => return Err(error::sql(doing, &failure)),
            }
        }
    }
}

impl Transaction {
    pub(super) fn client(&self) -> Result<&Client, StateError> {
        self.connection.client()
    }

    pub(super) fn failed(&self, error: &tokio_postgres::Error) -> StateError {
        error::sql(self.doing, error)
    }

    pub(super) async fn run(&self, statements: &str) -> Result<(), StateError> {
        self.client()?.batch_execute(statements).await.map_err(|error| self.failed(&error))
    }

    /// Runs a statement that may find a lock taken; none when it did. Then the transaction can only be ended, whichever way. Answers
    /// how many rows were locked.
    pub(super) async fn locks(&self, statement: &str, params: &[Param<'_>]) -> Result<Option<u64>, StateError> {
        match self.client()?.execute_typed(statement, params).await {
            Ok(rows) => Ok(Some(rows)),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    pub(super) async fn execute(&self, statement: &str, params: &[Param<'_>]) -> Result<u64, StateError> {
        self.client()?.execute_typed(statement, params).await.map_err(|error| self.failed(&error))
    }

    pub(super) async fn rows(&self, query: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StateError> {
        self.client()?.query_typed(query, params).await.map_err(|error| self.failed(&error))
    }

    pub(super) async fn row(&self, query: &str, params: &[Param<'_>]) -> Result<Option<Row>, StateError> {
        self.client()?.query_typed_opt(query, params).await.map_err(|error| self.failed(&error))
    }

    /// The rows one after the other, as they come in. No other statement may run until they have been read.
    pub(super) async fn stream(&self, query: &str, params: &[Param<'_>]) -> Result<RowStream, StateError> {
        let params = params.iter().map(|(value, kind)| (*value, kind.clone()));
        self.client()?.query_typed_raw(query, params).await.map_err(|error| self.failed(&error))
    }

    /// One column of a row.
    pub(super) fn get<'r, T: tokio_postgres::types::FromSql<'r>>(
        &self,
        row: &'r Row,
        at: usize,
    ) -> Result<T, StateError> {
        row.try_get(at).map_err(|error| self.failed(&error))
    }

    /// Makes sure that a lease is still the newest of its dataset, and stays so until this transaction ends: whoever takes it over
    /// waits for that. Renewing it needs no wait.
    pub(super) async fn check_fence(&self, lease: &Lease) -> Result<(), StateError> {
        let fence = signed(lease.fence)?;
        let held = self
            .row(
                "SELECT 1 FROM lease WHERE dataset = $1 AND fence = $2 AND owner IS NOT NULL FOR KEY SHARE",
                &[(&super::stored(lease.dataset.as_str()), Type::TEXT), (&fence, Type::INT8)],
            )
            .await?;
        if held.is_some() { Ok(()) } else { Err(taken_over(lease)) }
    }

    /// Ends the transaction: with a commit when all went well, otherwise with nothing done.
    pub(super) async fn end<T>(self, result: Result<T, StateError>) -> Result<T, StateError> {
        match result {
            Ok(done) => {
                self.commit().await?;
                Ok(done)
            }
            Err(error) => {
                // A connection that cannot even do this is closed, which does the same.
                if let Ok(client) = self.client()
                    && client.batch_execute("ROLLBACK").await.is_ok()
                {
                    self.connection.give_back();
                }
                Err(error)
            }
        }
    }

    async fn commit(self) -> Result<(), StateError> {
        match self.client()?.batch_execute("COMMIT").await {
            Ok(()) => {
                self.connection.give_back();
                Ok(())
            }
            Err(failure) if error::is_lost(&failure) => Err(unavailable(format!(
                "the connection to Postgres was lost at the end of {}, so that nobody knows whether it was done; run again",
                self.doing
            ))),
            Err(failure) => Err(self.failed(&failure)),
        }
    }
}
