//! Where the database is, and how rows lie there.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::store::PostgresOptions;

/// What becomes of rows that are gone from the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Deletes {
    /// They are deleted.
    #[default]
    Hard,
    /// They stay, and `_deleted_at` says since when they are gone.
    Soft,
}

/// Where [`PostgresDestination`](crate::PostgresDestination) lands, and how. The connection string is a secret: neither `Debug` nor any
/// error shows it.
#[derive(Clone, Debug)]
#[must_use]
pub struct StagingOptions {
    pub(super) postgres: PostgresOptions,
    pub(super) deletes: Deletes,
}

impl StagingOptions {
    /// By a connection string, as [`PostgresOptions::new`] takes it.
    pub fn new(connection: impl Into<SecretString>) -> Self {
        Self { postgres: PostgresOptions::new(connection).schema("tableau"), deletes: Deletes::Hard }
    }

    /// The schema of the tables; `tableau` by default. It is made when it is not there, and so is another one beside it, `…_loads`, for
    /// loads on their way and receipts. Who reads the tables needs nothing of that one.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.postgres = self.postgres.schema(schema);
        self
    }

    /// What becomes of rows that are gone from the source; they are deleted by default.
    pub fn deletes(mut self, deletes: Deletes) -> Self {
        self.deletes = deletes;
        self
    }

    /// A file of certificates (PEM) that are trusted besides the system's.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.postgres = self.postgres.ca_file(path);
        self
    }

    /// How many connections are open at most; 8 by default.
    pub fn connections(mut self, connections: usize) -> Self {
        self.postgres = self.postgres.connections(connections);
        self
    }

    /// How long a lock on a table, or a connection, is waited for; 30 seconds by default.
    pub fn patience(mut self, timeout: Duration) -> Self {
        self.postgres = self.postgres.statement_timeout(timeout);
        self
    }
}
