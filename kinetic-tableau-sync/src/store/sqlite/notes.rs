//! Notes.

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, params};

use super::{SqliteStore, signed, storage, unsigned, writing};
use crate::store::{Note, NoteStore, StateError, stale_note};

#[async_trait]
impl NoteStore for SqliteStore {
    async fn note(&self, name: &str) -> Result<Option<Note>, StateError> {
        let name = name.to_owned();
        self.blocking(move |_, connection| {
            let found: Option<(i64, String)> = connection
                .query_row("SELECT version, body FROM note WHERE name = ?1", params![name], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()
                .map_err(storage)?;
            found.map(|(version, body)| Ok(Note { version: unsigned(version)?, body })).transpose()
        })
        .await
    }

    async fn notes(&self, prefix: &str) -> Result<Vec<(String, Note)>, StateError> {
        let prefix = prefix.to_owned();
        self.blocking(move |_, connection| {
            let mut query = connection
                .prepare_cached(
                    "SELECT name, version, body FROM note WHERE name >= ?1 AND substr(name, 1, length(?1)) = ?1 ORDER BY name",
                )
                .map_err(storage)?;
            let mut rows = query.query(params![prefix]).map_err(storage)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next().map_err(storage)? {
                let version = unsigned(row.get(1).map_err(storage)?)?;
                let (name, body) = (row.get(0).map_err(storage)?, row.get(2).map_err(storage)?);
                found.push((name, Note { version, body }));
            }
            Ok(found)
        })
        .await
    }

    async fn write_note(&self, name: &str, expected: Option<u64>, body: &str) -> Result<u64, StateError> {
        let (name, body) = (name.to_owned(), body.to_owned());
        self.blocking(move |_, connection| {
            let transaction = writing(connection)?;
            let version: i64 = transaction
                .query_row("UPDATE note_count SET last = last + 1 RETURNING last", [], |row| row.get(0))
                .map_err(storage)?;
            let changed = match expected {
                Some(expected) => transaction.execute(
                    "UPDATE note SET version = ?2, body = ?3 WHERE name = ?1 AND version = ?4",
                    params![name, version, body, signed(expected)?],
                ),
                None => transaction.execute(
                    "INSERT INTO note (name, version, body) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    params![name, version, body],
                ),
            };
            if changed.map_err(storage)? != 1 {
                return Err(stale_note(&name));
            }
            transaction.commit().map_err(storage)?;
            unsigned(version)
        })
        .await
    }

    async fn remove_note(&self, name: &str, expected: u64) -> Result<(), StateError> {
        let name = name.to_owned();
        self.blocking(move |_, connection| {
            let removed = connection
                .execute("DELETE FROM note WHERE name = ?1 AND version = ?2", params![name, signed(expected)?])
                .map_err(storage)?;
            if removed == 1 { Ok(()) } else { Err(stale_note(&name)) }
        })
        .await
    }
}
