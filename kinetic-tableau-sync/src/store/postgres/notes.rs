//! Notes.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::error::corrupt;
use super::{Access, Param, PostgresStore, Transaction, original, signed, stored, unsigned};
use crate::store::{Note, NoteStore, StateError, stale_note};

/// Version and body, in the columns from `at` on.
fn note(transaction: &Transaction, row: &Row, at: usize) -> Result<Note, StateError> {
    let body: &str = transaction.get(row, at + 1)?;
    Ok(Note { version: unsigned(transaction.get(row, at)?)?, body: original(body).into_owned() })
}

async fn write(transaction: &Transaction, name: &str, expected: Option<u64>, body: &str) -> Result<u64, StateError> {
    // Its row is locked until the end, so that versions grow in the order in which they are seen.
    let row = transaction.row("UPDATE note_count SET last = last + 1 RETURNING last", &[]).await?;
    let row = row.ok_or_else(|| corrupt("the count of notes is missing; restore it from a copy"))?;
    let version: i64 = transaction.get(&row, 0)?;
    let (kept, body) = (stored(name), stored(body));
    let mut params: Vec<Param<'_>> = vec![(&kept, Type::TEXT), (&version, Type::INT8), (&body, Type::TEXT)];
    let expected = expected.map(signed).transpose()?;
    let statement = match &expected {
        Some(expected) => {
            params.push((expected, Type::INT8));
            "UPDATE note SET version = $2, body = $3 WHERE name = $1 AND version = $4"
        }
        None => "INSERT INTO note (name, version, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    };
    if transaction.execute(statement, &params).await? == 1 { unsigned(version) } else { Err(stale_note(name)) }
}

#[async_trait]
impl NoteStore for PostgresStore {
    async fn note(&self, name: &str) -> Result<Option<Note>, StateError> {
        let transaction = self.shared.begin(Access::Read, "reading a note").await?;
        let query = "SELECT version, body FROM note WHERE name = $1";
        let found = transaction.row(query, &[(&stored(name), Type::TEXT)]).await;
        let found = found.and_then(|row| row.map(|row| note(&transaction, &row, 0)).transpose());
        transaction.end(found).await
    }

    async fn notes(&self, prefix: &str) -> Result<Vec<(String, Note)>, StateError> {
        let transaction = self.shared.begin(Access::Read, "reading notes").await?;
        let query = "SELECT name, version, body FROM note WHERE name >= $1 AND starts_with(name, $1) ORDER BY name";
        let rows = transaction.rows(query, &[(&stored(prefix), Type::TEXT)]).await;
        let found = rows.and_then(|rows| {
            let found = rows.iter().map(|row| {
                let name: &str = transaction.get(row, 0)?;
                Ok((original(name).into_owned(), note(&transaction, row, 1)?))
            });
            found.collect()
        });
        transaction.end(found).await
    }

    async fn write_note(&self, name: &str, expected: Option<u64>, body: &str) -> Result<u64, StateError> {
        let transaction = self.shared.begin(Access::Write, "writing a note").await?;
        let written = write(&transaction, name, expected, body).await;
        transaction.end(written).await
    }

    async fn remove_note(&self, name: &str, expected: u64) -> Result<(), StateError> {
        let transaction = self.shared.begin(Access::Write, "removing a note").await?;
        let removed = async {
            let version = signed(expected)?;
            let params: [Param<'_>; 2] = [(&stored(name), Type::TEXT), (&version, Type::INT8)];
            let removed = transaction.execute("DELETE FROM note WHERE name = $1 AND version = $2", &params).await?;
            if removed == 1 { Ok(()) } else { Err(stale_note(name)) }
        };
        let removed = removed.await;
        transaction.end(removed).await
    }
}
