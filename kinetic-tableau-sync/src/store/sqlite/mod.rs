//! State, fingerprints and audit trail in one `SQLite` file.
//!
//! - Every write is on disk when its call returns (`synchronous=FULL`, write-ahead log).
//! - The process that works holds a lock of the operating system on `FILE.lock` from its first lease to its last release. The lock
//!   goes with the process, however it dies, so that a lease of a killed process is free at once, and two processes never work with
//!   one file. Reading (`status`, `audit`) needs no lock.
//! - Each lease has a larger fencing number than any before, and a write is refused once its lease is not the newest.

mod locking;
mod notes;
mod rejects;
mod schema;
mod trail;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};

use self::locking::ProcessLock;
use super::{
    FingerprintStore, Layer, Lease, Prints, Seen, Slice, StateError, StateErrorKind, StateStore, Versioned, lease_ends,
    packed,
};
use crate::checkpoint::Checkpoint;
use crate::clock::{Clock, SystemClock};
use crate::model::{DatasetId, RunId};

/// How long a write of another process is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// Keeps everything in one file. Clones share it.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Leases of this process, and the lock that goes with them.
    lock: Mutex<ProcessLock>,
    clock: Arc<dyn Clock>,
}

impl SqliteStore {
    /// Opens the file; makes it, readable for its owner only, when it is not there.
    ///
    /// # Errors
    /// [`StateErrorKind::Storage`] when it cannot be opened or written, [`StateErrorKind::Corrupt`] when it is another kind of file,
    /// or was written by a later version of this crate.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StateError> {
        Self::open_with_clock(path, Arc::new(SystemClock))
    }

    /// As [`open`](SqliteStore::open), with leases that lapse by this clock.
    ///
    /// # Errors
    /// As [`open`](SqliteStore::open).
    pub fn open_with_clock(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, StateError> {
        let path = path.as_ref();
        locking::create_private(path).map_err(|error| cannot("create", path, error))?;
        let mut connection = Connection::open(path).map_err(|error| cannot("open", path, error))?;
        schema::prepare(&mut connection, path)?;
        Self::over(path, connection, clock)
    }

    /// Opens a file that somebody else may be writing, to look at it. Everything that would write is an error.
    ///
    /// # Errors
    /// As [`open`](SqliteStore::open); a file that is not there is not made.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, StateError> {
        let path = path.as_ref();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| cannot("open", path, error))?;
        schema::check(&connection, path)?;
        Self::over(path, connection, Arc::new(SystemClock))
    }

    fn over(path: &Path, connection: Connection, clock: Arc<dyn Clock>) -> Result<Self, StateError> {
        connection.busy_timeout(BUSY).map_err(storage)?;
        let lock = Mutex::new(ProcessLock::new(path));
        Ok(Self { shared: Arc::new(Shared { path: path.to_owned(), connection: Mutex::new(connection), lock, clock }) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Runs work on the file where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, &mut Connection) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || {
            // A transaction that a panic left open was rolled back when it was dropped.
            let mut connection = shared.connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&shared, &mut connection)
        });
        done.await.unwrap_or_else(|error| {
            Err(StateError::new(StateErrorKind::Storage, "work on the state file was broken off").with_cause(error))
        })
    }
}

fn writing(connection: &mut Connection) -> Result<Transaction<'_>, StateError> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(storage)
}

fn storage(error: rusqlite::Error) -> StateError {
    let kind = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => StateErrorKind::Corrupt,
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => StateErrorKind::Unavailable,
        _ => StateErrorKind::Storage,
    };
    StateError::new(kind, format!("the state file failed: {error}")).with_cause(error)
}

fn cannot(what: &str, path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StateError {
    let error = error.into();
    StateError::new(StateErrorKind::Storage, format!("cannot {what} the state file {}: {error}", path.display()))
        .with_cause(error)
}

/// `SQLite` knows signed numbers only.
fn signed(number: u64) -> Result<i64, StateError> {
    i64::try_from(number).map_err(|_| StateError::new(StateErrorKind::Corrupt, "a counter in the state is too large"))
}

fn unsigned(number: i64) -> Result<u64, StateError> {
    u64::try_from(number)
        .map_err(|_| StateError::new(StateErrorKind::Corrupt, "a counter in the state file is negative"))
}

fn checkpoint(dataset: &str, version: i64, body: &str) -> Result<Versioned, StateError> {
    let checkpoint = serde_json::from_str(body).map_err(|error| {
        StateError::new(StateErrorKind::Corrupt, format!("the state of dataset {dataset} cannot be read"))
            .with_cause(error)
    })?;
    Ok(Versioned { version: unsigned(version)?, checkpoint })
}

/// Whether a lease is still the newest of its dataset.
fn check_fence(transaction: &Transaction<'_>, lease: &Lease) -> Result<(), StateError> {
    let newest: Option<i64> = transaction
        .query_row(
            "SELECT fence FROM lease WHERE dataset = ?1 AND owner IS NOT NULL",
            params![lease.dataset.as_str()],
            |row| row.get(0),
        )
        .optional()
        .map_err(storage)?;
    if newest == Some(signed(lease.fence)?) { Ok(()) } else { Err(super::taken_over(lease)) }
}

/// Puts a new holder into the row of a lease.
fn write_lease(
    connection: &mut Connection,
    dataset: DatasetId,
    owner: String,
    expires: DateTime<Utc>,
) -> Result<Lease, StateError> {
    let transaction = writing(connection)?;
    let fence: i64 = transaction
        .query_row("SELECT COALESCE(MAX(fence), 0) + 1 FROM lease", [], |row| row.get(0))
        .map_err(storage)?;
    transaction
        .execute(
            "INSERT INTO lease (dataset, owner, fence, expires) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (dataset) DO UPDATE SET owner = ?2, fence = ?3, expires = ?4",
            params![dataset.as_str(), owner, fence, expires.timestamp_millis()],
        )
        .map_err(storage)?;
    let fence = unsigned(fence)?;
    transaction.commit().map_err(storage)?;
    Ok(Lease { dataset, owner, fence, expires })
}

#[async_trait]
impl StateStore for SqliteStore {
    fn locks_as_a_whole(&self) -> bool {
        true
    }

    async fn load(&self, dataset: &DatasetId) -> Result<Option<Versioned>, StateError> {
        let dataset = dataset.clone();
        self.blocking(move |_, connection| {
            let found: Option<(i64, String)> = connection
                .query_row(
                    "SELECT version, body FROM checkpoint WHERE dataset = ?1",
                    params![dataset.as_str()],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()
                .map_err(storage)?;
            found.map(|(version, body)| checkpoint(dataset.as_str(), version, &body)).transpose()
        })
        .await
    }

    async fn store(&self, lease: &Lease, expected: Option<u64>, next: &Checkpoint) -> Result<u64, StateError> {
        let lease = lease.clone();
        let body = serde_json::to_string(next).map_err(|error| {
            StateError::new(StateErrorKind::Corrupt, "the state cannot be written as JSON").with_cause(error)
        })?;
        self.blocking(move |_, connection| {
            let transaction = writing(connection)?;
            check_fence(&transaction, &lease)?;
            let dataset = lease.dataset.as_str();
            let version = expected.unwrap_or_default() + 1;
            let changed = match expected {
                Some(expected) => transaction.execute(
                    "UPDATE checkpoint SET version = ?2, body = ?3 WHERE dataset = ?1 AND version = ?4",
                    params![dataset, signed(version)?, body, signed(expected)?],
                ),
                None => transaction.execute(
                    "INSERT INTO checkpoint (dataset, version, body) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    params![dataset, signed(version)?, body],
                ),
            };
            if changed.map_err(storage)? != 1 {
                return Err(super::stale(&lease.dataset));
            }
            transaction.commit().map_err(storage)?;
            Ok(version)
        })
        .await
    }

    async fn list(&self) -> Result<Vec<(DatasetId, Versioned)>, StateError> {
        self.blocking(|_, connection| {
            let mut query = connection
                .prepare("SELECT dataset, version, body FROM checkpoint ORDER BY dataset")
                .map_err(storage)?;
            let rows = query
                .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?)))
                .map_err(storage)?;
            rows.map(|row| {
                let (dataset, version, body) = row.map_err(storage)?;
                let found = checkpoint(&dataset, version, &body)?;
                Ok((DatasetId::new(dataset), found))
            })
            .collect()
        })
        .await
    }

    async fn lease(&self, dataset: &DatasetId, owner: &str, ttl: Duration) -> Result<Lease, StateError> {
        let (dataset, owner) = (dataset.clone(), owner.to_owned());
        self.blocking(move |shared, connection| {
            let now = shared.clock.now();
            let mut lock = shared.lock.lock().unwrap_or_else(PoisonError::into_inner);
            let written: Option<(Option<String>, i64)> = connection
                .query_row("SELECT owner, expires FROM lease WHERE dataset = ?1", params![dataset.as_str()], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()
                .map_err(storage)?;
            let holder = written.and_then(|(owner, expires)| Some((owner?, expires)));
            if !lock.take().map_err(|error| cannot("lock", &shared.path, error))? {
                let by = connection
                    .query_row(
                        "SELECT owner FROM lease WHERE owner IS NOT NULL ORDER BY fence DESC LIMIT 1",
                        [],
                        |row| row.get::<_, String>(0),
                    )
                    .optional()
                    .map_err(storage)?;
                let by = by.unwrap_or_else(|| "another process".to_owned());
                let message = format!("the state file {} is in use by {by}", shared.path.display());
                return Err(StateError::new(StateErrorKind::Leased, message));
            }
            // With the lock in our hands, a lease that is not of this process is of a dead one.
            if let Some((holder, expires)) = holder
                && lock.holds(&dataset)
                && expires > now.timestamp_millis()
            {
                let message = format!("dataset {dataset} is being worked on by {holder}");
                return Err(StateError::new(StateErrorKind::Leased, message));
            }
            let written = write_lease(connection, dataset, owner, lease_ends(now, ttl));
            match &written {
                Ok(lease) => lock.hold(lease),
                Err(_) => lock.settle(),
            }
            written
        })
        .await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, StateError> {
        let lease = lease.clone();
        self.blocking(move |shared, connection| {
            let expires: DateTime<Utc> = lease_ends(shared.clock.now(), ttl);
            let transaction = writing(connection)?;
            check_fence(&transaction, &lease)?;
            transaction
                .execute(
                    "UPDATE lease SET expires = ?2 WHERE dataset = ?1",
                    params![lease.dataset.as_str(), expires.timestamp_millis()],
                )
                .map_err(storage)?;
            transaction.commit().map_err(storage)?;
            Ok(Lease { expires, ..lease })
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StateError> {
        let lease = lease.clone();
        self.blocking(move |shared, connection| {
            // The row stays, so that the next fence is larger.
            let released = connection.execute(
                "UPDATE lease SET owner = NULL WHERE dataset = ?1 AND fence = ?2",
                params![lease.dataset.as_str(), signed(lease.fence)?],
            );
            // Also where it could not be written: a lease without the lock is one of nobody.
            shared.lock.lock().unwrap_or_else(PoisonError::into_inner).release(&lease);
            released.map(|_| ()).map_err(storage)
        })
        .await
    }
}

/// A [`Layer`] as the tables know it.
struct Of {
    condition: &'static str,
    value: rusqlite::types::Value,
}

impl Of {
    fn new(layer: Layer<'_>) -> Result<Self, StateError> {
        Ok(match layer {
            Layer::Landed(generation) => {
                Self { condition: "live = 1 AND generation = ?2", value: signed(generation)?.into() }
            }
            Layer::Staged(run) => Self { condition: "live = 0 AND run = ?2", value: run.as_str().to_owned().into() },
        })
    }
}

fn blob<'a>(row: &'a rusqlite::Row<'_>, at: usize) -> Result<&'a [u8], StateError> {
    row.get_ref(at).map_err(storage)?.as_blob().map_err(|_| super::damaged_fingerprints())
}

/// Goes through packed fingerprints in the order in which they were written; `look` says whether a block is whole.
fn each_block(
    connection: &Connection,
    columns: &str,
    dataset: &DatasetId,
    layer: &Of,
    mut look: impl FnMut(&rusqlite::Row<'_>) -> Result<bool, StateError>,
) -> Result<(), StateError> {
    let query = format!("SELECT {columns} FROM fingerprint WHERE dataset = ?1 AND {} ORDER BY id", layer.condition);
    let mut query = connection.prepare_cached(&query).map_err(storage)?;
    let mut rows = query.query(params![dataset.as_str(), layer.value]).map_err(storage)?;
    while let Some(row) = rows.next().map_err(storage)? {
        if !look(row)? {
            return Err(super::damaged_fingerprints());
        }
    }
    Ok(())
}

fn probe(
    connection: &Connection,
    dataset: &DatasetId,
    layer: &Of,
    mut keys: HashMap<u128, Option<Seen>>,
) -> Result<HashMap<u128, Option<Seen>>, StateError> {
    each_block(connection, "entries", dataset, layer, |row| Ok(packed::probe(blob(row, 0)?, &mut keys)))?;
    Ok(keys)
}

#[async_trait]
impl FingerprintStore for SqliteStore {
    async fn append(
        &self,
        dataset: &DatasetId,
        generation: u64,
        run: &RunId,
        prints: Prints,
    ) -> Result<(), StateError> {
        let (dataset, run) = (dataset.clone(), run.clone());
        self.blocking(move |_, connection| {
            connection
                .prepare_cached(
                    "INSERT INTO fingerprint (dataset, generation, run, live, entries, keys) VALUES (?1, ?2, ?3, 0, ?4, ?5)",
                )
                .and_then(|mut insert| {
                    let generation = i64::try_from(generation).unwrap_or(i64::MAX);
                    let (entries, keys) = (packed::pack(&prints.entries), packed::pack_keys(&prints.keys));
                    insert.execute(params![dataset.as_str(), generation, run.as_str(), entries, keys])
                })
                .map_err(storage)?;
            Ok(())
        })
        .await
    }

    async fn lookup(
        &self,
        dataset: &DatasetId,
        generation: u64,
        keys: HashMap<u128, Option<Seen>>,
    ) -> Result<HashMap<u128, Option<Seen>>, StateError> {
        let (dataset, layer) = (dataset.clone(), Of::new(Layer::Landed(generation))?);
        self.blocking(move |_, connection| probe(connection, &dataset, &layer, keys)).await
    }

    async fn lookup_staged(
        &self,
        dataset: &DatasetId,
        run: &RunId,
        keys: HashMap<u128, Option<Seen>>,
    ) -> Result<HashMap<u128, Option<Seen>>, StateError> {
        let (dataset, layer) = (dataset.clone(), Of::new(Layer::Staged(run))?);
        self.blocking(move |_, connection| probe(connection, &dataset, &layer, keys)).await
    }

    async fn slice(
        &self,
        dataset: &DatasetId,
        layer: Layer<'_>,
        slice: Slice,
    ) -> Result<HashMap<u128, Seen>, StateError> {
        let (dataset, layer) = (dataset.clone(), Of::new(layer)?);
        self.blocking(move |_, connection| {
            let mut found = HashMap::new();
            each_block(connection, "entries", &dataset, &layer, |row| {
                Ok(packed::gather(blob(row, 0)?, slice, &mut found))
            })?;
            Ok(found)
        })
        .await
    }

    async fn key_texts(
        &self,
        dataset: &DatasetId,
        layer: Layer<'_>,
        wanted: &HashSet<u128>,
    ) -> Result<HashMap<u128, String>, StateError> {
        let (dataset, layer, wanted) = (dataset.clone(), Of::new(layer)?, wanted.clone());
        self.blocking(move |_, connection| {
            let mut found = HashMap::new();
            each_block(connection, "entries, keys", &dataset, &layer, |row| {
                Ok(packed::texts(blob(row, 0)?, blob(row, 1)?, &wanted, &mut found))
            })?;
            Ok(found)
        })
        .await
    }

    async fn promote(&self, lease: &Lease, generation: u64, run: &RunId) -> Result<(), StateError> {
        let (lease, run) = (lease.clone(), run.clone());
        self.blocking(move |_, connection| {
            let transaction = writing(connection)?;
            check_fence(&transaction, &lease)?;
            let ours = lease.dataset.as_str();
            transaction
                .execute("UPDATE fingerprint SET live = 1 WHERE dataset = ?1 AND run = ?2", params![ours, run.as_str()])
                .map_err(storage)?;
            transaction
                .execute(
                    "DELETE FROM fingerprint WHERE dataset = ?1 AND (live = 0 OR generation <> ?2)",
                    params![ours, signed(generation)?],
                )
                .map_err(storage)?;
            transaction.commit().map_err(storage)
        })
        .await
    }

    async fn discard_staged(&self, lease: &Lease, keep: Option<&RunId>) -> Result<(), StateError> {
        let (lease, keep) = (lease.clone(), keep.cloned());
        self.blocking(move |_, connection| {
            let transaction = writing(connection)?;
            check_fence(&transaction, &lease)?;
            transaction
                .execute(
                    "DELETE FROM fingerprint WHERE dataset = ?1 AND live = 0 AND (?2 IS NULL OR run <> ?2)",
                    params![lease.dataset.as_str(), keep.as_ref().map(RunId::as_str)],
                )
                .map_err(storage)?;
            transaction.commit().map_err(storage)
        })
        .await
    }

    async fn entries(&self, dataset: &DatasetId, generation: u64) -> Result<u64, StateError> {
        let dataset = dataset.clone();
        self.blocking(move |_, connection| {
            let bytes: i64 = connection
                .query_row(
                    "SELECT COALESCE(SUM(length(entries)), 0) FROM fingerprint \
                     WHERE dataset = ?1 AND live = 1 AND generation = ?2",
                    params![dataset.as_str(), signed(generation)?],
                    |row| row.get(0),
                )
                .map_err(storage)?;
            Ok(unsigned(bytes)? / packed::LENGTH as u64)
        })
        .await
    }

    async fn compact(&self, lease: &Lease, generation: u64, rows: u64) -> Result<(), StateError> {
        let (lease, layer) = (lease.clone(), Of::new(Layer::Landed(generation))?);
        self.blocking(move |_, connection| {
            let transaction = writing(connection)?;
            check_fence(&transaction, &lease)?;
            let ours = lease.dataset.as_str();
            let newest: i64 = transaction
                .query_row("SELECT COALESCE(MAX(id), 0) FROM fingerprint", [], |row| row.get(0))
                .map_err(storage)?;
            // With their texts keys take twice the memory that slices are made for.
            for slice in Slice::for_rows(rows.saturating_mul(2)) {
                let mut gathered = HashMap::new();
                each_block(&transaction, "entries, keys", &lease.dataset, &layer, |row| {
                    // What was written by this very call comes behind, and is of other slices.
                    Ok(packed::gather_with_keys(blob(row, 0)?, blob(row, 1)?, slice, &mut gathered))
                })?;
                let prints = packed::prints(gathered)?;
                let (entries, keys) = (packed::pack(&prints.entries), packed::pack_keys(&prints.keys));
                transaction
                    .execute(
                        "INSERT INTO fingerprint (dataset, generation, run, live, entries, keys) \
                         VALUES (?1, ?2, 'compacted', 1, ?3, ?4)",
                        params![ours, signed(generation)?, entries, keys],
                    )
                    .map_err(storage)?;
            }
            transaction
                .execute("DELETE FROM fingerprint WHERE dataset = ?1 AND live = 1 AND id <= ?2", params![ours, newest])
                .map_err(storage)?;
            transaction.commit().map_err(storage)
        })
        .await
    }
}
