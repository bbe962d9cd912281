//! The store that the configuration names, opened for what is to be done with it.

use std::sync::Arc;

use kinetic_tableau_sync::store::{MemoryStore, PostgresOptions, PostgresStore, SqliteStore, StateErrorKind};
use kinetic_tableau_sync::worker::{Worker, WorkerBuilder};
use kinetic_tableau_sync::{
    AuditStore, Destination, NoteStore, RejectStore, Source, StateStore, Syncer, SyncerBuilder,
};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::config::{Config, PostgresAddress, PostgresLocation, StoreLocation};
use crate::failure::{Failure, Outcome};
use crate::output;

/// State, audit, rejects, notes and fingerprints in one store.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Sqlite(Arc<SqliteStore>),
    Postgres(Arc<PostgresStore>),
    Memory(Arc<MemoryStore>),
}

/// Does the same with each kind of store.
macro_rules! each {
    ($self:ident, $store:ident => $what:expr) => {
        match $self {
            Self::Sqlite($store) => $what,
            Self::Postgres($store) => $what,
            Self::Memory($store) => $what,
        }
    };
}

impl Store {
    /// To write to. It is made where it is not there.
    pub(crate) async fn open(config: &Config) -> Outcome<Self> {
        Ok(match &config.store {
            StoreLocation::Sqlite(path) => Self::Sqlite(Arc::new(SqliteStore::open(path)?)),
            StoreLocation::Postgres(location) => {
                let options = options(config, location).await?;
                Self::Postgres(Arc::new(PostgresStore::connect(options).await.map_err(at_postgres)?))
            }
            StoreLocation::Memory => Self::Memory(Arc::new(MemoryStore::new())),
        })
    }

    /// A store that others may be writing meanwhile; none when nothing has ever been written.
    pub(crate) async fn open_for_reading(config: &Config) -> Outcome<Option<Self>> {
        match &config.store {
            StoreLocation::Sqlite(path) if path.exists() => {
                Ok(Some(Self::Sqlite(Arc::new(SqliteStore::open_read_only(path)?))))
            }
            StoreLocation::Sqlite(_) => Ok(None),
            StoreLocation::Postgres(location) => {
                match PostgresStore::connect_read_only(options(config, location).await?).await {
                    Ok(store) => Ok(Some(Self::Postgres(Arc::new(store)))),
                    Err(error) if error.kind() == StateErrorKind::Absent => Ok(None),
                    Err(error) => Err(at_postgres(error)),
                }
            }
            StoreLocation::Memory => {
                Err(Failure::usage("[state] store is \"memory\": it ends with the process that synced")
                    .next("use store = \"sqlite:FILE\" to look at state and audit later"))
            }
        }
    }

    /// A store to leave notes in, while a worker may be using it.
    pub(crate) async fn open_for_notes(config: &Config) -> Outcome<Self> {
        match &config.store {
            StoreLocation::Memory => {
                Err(Failure::usage("[state] store is \"memory\": nobody else can see what is asked for there")
                    .next("use store = \"sqlite:FILE\" to control workers from another process"))
            }
            StoreLocation::Sqlite(_) | StoreLocation::Postgres(_) => Self::open(config).await,
        }
    }

    pub(crate) fn state(&self) -> Arc<dyn StateStore> {
        each!(self, store => Arc::clone(store) as _)
    }

    pub(crate) fn audit(&self) -> Arc<dyn AuditStore> {
        each!(self, store => Arc::clone(store) as _)
    }

    pub(crate) fn notes(&self) -> Arc<dyn NoteStore> {
        each!(self, store => Arc::clone(store) as _)
    }

    pub(crate) fn rejects(&self) -> Arc<dyn RejectStore> {
        each!(self, store => Arc::clone(store) as _)
    }

    pub(crate) fn worker(&self) -> WorkerBuilder {
        each!(self, store => Worker::builder(Arc::clone(store)))
    }

    pub(crate) fn syncer(&self, source: Arc<dyn Source>, destination: Arc<dyn Destination>) -> SyncerBuilder {
        each!(self, store => Syncer::builder(source, destination, Arc::clone(store)))
    }
}

/// How the database is reached.
async fn options(config: &Config, location: &PostgresLocation) -> Outcome<PostgresOptions> {
    let mut options = PostgresOptions::new(connection(config, &location.address).await?);
    if let Some(schema) = &location.schema {
        options = options.schema(schema);
    }
    if let Some(file) = &location.ca_file {
        options = options.ca_file(file);
    }
    // One for each run and one more for its lease, and some for what looks at all of them.
    let connections = location.connections.unwrap_or_else(|| (2 * config.worker.at_once + 2).max(8));
    Ok(options.connections(connections))
}

/// The connection string, which is a secret as a whole.
pub(crate) async fn connection(config: &Config, address: &PostgresAddress) -> Outcome<SecretString> {
    match address {
        PostgresAddress::Secret(secret) => {
            let connection = secret.resolve(&config.secrets).await?;
            // The password in it is kept out of what is printed by itself, too.
            if let Ok(url) = url::Url::parse(connection.expose_secret())
                && let Some(password) = url.password()
            {
                output::redactor().add(&SecretString::from(password));
            }
            Ok(connection)
        }
        PostgresAddress::Url { url, password } => {
            let mut url = url.as_ref().clone();
            if let Some(password) = password {
                let password = password.resolve(&config.secrets).await?;
                put_password(&mut url, password.expose_secret());
            }
            Ok(SecretString::from(url.as_str()))
        }
    }
}

/// Puts a password into an address. `Url` leaves '%' as it is, which the client takes for the begin of a code.
fn put_password(url: &mut url::Url, password: &str) {
    let password = Zeroizing::new(password.replace('%', "%25"));
    // It fails for addresses without a host only, and the configuration takes none of those.
    let _ = url.set_password(Some(&password));
}

fn at_postgres(error: kinetic_tableau_sync::store::StateError) -> Failure {
    Failure::from(error).within("[state] store")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_reaches_the_database_as_it_is() {
        for password in ["plain", "50%41", "a:b@c/d?e#f", "100%", "ü%ü", " % %%"] {
            let mut url = url::Url::parse("postgres://kt@db.example/kt").unwrap();
            put_password(&mut url, password);
            let read: tokio_postgres::Config = url.as_str().parse().unwrap();
            assert_eq!(read.get_password(), Some(password.as_bytes()), "{password}");
            assert_eq!((read.get_user(), read.get_dbname()), (Some("kt"), Some("kt")));
        }
    }
}
