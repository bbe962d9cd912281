//! The way to the server for others than the store: the same connections and the same settings of each transaction, and failures as the
//! client tells them.

use std::sync::Arc;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

pub(crate) use super::error::is_lost;
use super::options::PostgresOptions;
use super::pool::{Connection, Pool};
pub(crate) use super::transaction::Access;
use super::transaction::Prologues;
use crate::store::StateError;

/// A server, its connections, and a schema in it.
pub(crate) struct Link {
    pool: Arc<Pool>,
    prologues: Prologues,
    schema: String,
}

/// An open transaction. Dropping it closes the connection, and with it the transaction.
pub(crate) struct Session {
    connection: Connection,
}

/// Why something did not come about.
pub(crate) enum LinkError {
    /// There is no connection; with the code of the server's refusal, where it was one.
    Connect(StateError, Option<SqlState>),
    /// A statement was refused, or did not come through.
    Sql(Error),
}

impl From<Error> for LinkError {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

impl Link {
    /// Connects with the first use.
    pub(crate) fn new(options: PostgresOptions) -> Result<Self, StateError> {
        let resolved = options.resolve()?;
        let prologues = Prologues::new(&resolved.schema, resolved.statement_timeout, resolved.long_statement_timeout);
        Ok(Self { pool: Pool::new(&resolved), prologues, schema: resolved.schema })
    }

    /// The schema that was named.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// Host, database and user, for messages.
    pub(crate) fn place(&self) -> String {
        self.pool.place.to_string()
    }

    /// The user, for hints.
    pub(crate) fn user(&self) -> &str {
        self.pool.place.user()
    }

    /// Begins a transaction. Its first statement finds out whether the server is still there, so that a connection from before a restart
    /// costs nothing but another try.
    pub(crate) async fn begin(&self, access: Access) -> Result<Session, LinkError> {
        loop {
            let taken = self.pool.take().await;
            let connection = taken.map_err(|failed| LinkError::Connect(failed.error, failed.code))?;
            let session = Session { connection };
            match session.client()?.batch_execute(self.prologues.of(access)).await {
                Ok(()) => return Ok(session),
                Err(failure) if is_lost(&failure) && !session.connection.is_fresh => {}
                Err(failure) => return Err(failure.into()),
            }
        }
    }
}

impl Session {
    pub(crate) fn client(&self) -> Result<&Client, LinkError> {
        self.connection.client().map_err(|error| LinkError::Connect(error, None))
    }

    /// Ends it for good. Where the connection is lost now, nobody knows whether it was done.
    pub(crate) async fn commit(self) -> Result<(), LinkError> {
        self.client()?.batch_execute("COMMIT").await?;
        self.connection.give_back();
        Ok(())
    }

    /// Ends it with nothing done. A connection that cannot even do this is closed, which does the same.
    pub(crate) async fn undo(self) {
        if let Ok(client) = self.client()
            && client.batch_execute("ROLLBACK").await.is_ok()
        {
            self.connection.give_back();
        }
    }
}
