//! The tables, and which file is ours.

use std::path::Path;

use rusqlite::Connection;

use super::{StateError, StateErrorKind, storage, writing};

/// "KTSS" as a number: marks the file as ours.
const APPLICATION: i32 = 0x4b54_5353;

/// The steps from an empty file to the newest form; `user_version` counts those that were made.
const STEPS: [&str; 5] = ["
    CREATE TABLE checkpoint (
        dataset TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE TABLE lease (
        dataset TEXT PRIMARY KEY,
        owner TEXT,
        fence INTEGER NOT NULL,
        expires INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE fingerprint (
        id INTEGER PRIMARY KEY,
        dataset TEXT NOT NULL,
        generation INTEGER NOT NULL,
        run TEXT NOT NULL,
        live INTEGER NOT NULL,
        entries BLOB NOT NULL
    ) STRICT;
    CREATE INDEX fingerprint_by_dataset ON fingerprint (dataset, live, generation);
    CREATE TABLE audit (
        sequence INTEGER PRIMARY KEY,
        dataset TEXT NOT NULL,
        run TEXT NOT NULL,
        kind INTEGER NOT NULL,
        body BLOB NOT NULL,
        hash BLOB NOT NULL
    ) STRICT;
    CREATE INDEX audit_by_run ON audit (dataset, run);
", "
    -- Fingerprints from before there were keys beside them belong to no generation: a full load follows.
    ALTER TABLE fingerprint ADD COLUMN keys BLOB NOT NULL DEFAULT x'';
    UPDATE checkpoint SET body = json_set(body, '$.landed', json('null'), '$.intent', json('null')), version = version + 1;
    DELETE FROM fingerprint;
", "
    CREATE TABLE reject (
        dataset TEXT NOT NULL,
        key TEXT NOT NULL,
        hash BLOB NOT NULL,
        version INTEGER NOT NULL,
        run TEXT NOT NULL,
        at INTEGER NOT NULL,
        column_name TEXT NOT NULL,
        reason TEXT NOT NULL,
        hint TEXT,
        raw TEXT NOT NULL,
        PRIMARY KEY (dataset, key)
    ) STRICT, WITHOUT ROWID;
", "
    -- The last entry that was removed from the beginning of the trail.
    CREATE TABLE audit_anchor (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        sequence INTEGER NOT NULL,
        hash BLOB NOT NULL
    ) STRICT;
", "
    CREATE TABLE note (
        name TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    -- Versions of notes, of which none is given twice.
    CREATE TABLE note_count (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        last INTEGER NOT NULL
    ) STRICT;
    INSERT INTO note_count (one, last) VALUES (1, 0);
"];

/// Brings a file to the newest form.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StateError> {
    prepared(connection, path).map_err(|error| at(path, error))
}

/// Says which file it is where that is not said yet.
fn at(path: &Path, error: StateError) -> StateError {
    let name = path.display().to_string();
    if error.to_string().contains(&name) {
        return error;
    }
    StateError::new(error.kind(), format!("{name}: {error}")).with_cause(error)
}

fn prepared(connection: &mut Connection, path: &Path) -> Result<(), StateError> {
    connection.busy_timeout(super::BUSY).map_err(storage)?;
    // Before anything is written: another program's file stays as it is.
    if tables(connection)? > 0 {
        ours(connection, path)?;
    }
    // Of a new file only. Blocks of records have megabytes, and each page of theirs is handled by itself.
    connection.pragma_update(None, "page_size", 16_384).map_err(storage)?;
    connection.pragma_update(None, "journal_mode", "wal").map_err(storage)?;
    connection.pragma_update(None, "synchronous", "full").map_err(storage)?;
    let transaction = writing(connection)?;
    let made = if tables(&transaction)? == 0 {
        transaction.pragma_update(None, "application_id", APPLICATION).map_err(storage)?;
        0
    } else {
        ours(&transaction, path)?
    };
    for (nth, step) in STEPS.iter().enumerate().skip(made) {
        transaction.execute_batch(step).map_err(storage)?;
        transaction.pragma_update(None, "user_version", i64::try_from(nth + 1).unwrap_or(i64::MAX)).map_err(storage)?;
    }
    transaction.commit().map_err(storage)
}

/// Checks that a file is ours and in a form that can be read.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StateError> {
    if ours(connection, path).map_err(|error| at(path, error))? == STEPS.len() {
        return Ok(());
    }
    let message = format!("the state file {} is of an older form", path.display());
    Err(StateError::new(StateErrorKind::Corrupt, message))
}

fn tables(connection: &Connection) -> Result<i64, StateError> {
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).map_err(storage)
}

/// How many steps a file has behind it.
fn ours(connection: &Connection, path: &Path) -> Result<usize, StateError> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(storage)?;
    if application != APPLICATION {
        let message = format!("{} is an SQLite file of another program", path.display());
        return Err(StateError::new(StateErrorKind::Corrupt, message));
    }
    let made: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(storage)?;
    usize::try_from(made).ok().filter(|made| *made <= STEPS.len()).ok_or_else(|| {
        let message = format!("the state file {} was written by a later version of this program", path.display());
        StateError::new(StateErrorKind::Corrupt, message)
    })
}
