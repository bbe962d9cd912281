//! Rejected rows.

use async_trait::async_trait;
use chrono::DateTime;
use rusqlite::params;

use super::{SqliteStore, check_fence, storage, unsigned, writing};
use crate::model::{DatasetId, RunId};
use crate::store::{Lease, Reject, RejectStore, StateError, StateErrorKind};

#[async_trait]
impl RejectStore for SqliteStore {
    async fn keep(&self, rejects: Vec<Reject>) -> Result<(), StateError> {
        self.blocking(move |_, connection| {
            let transaction = writing(connection)?;
            for reject in &rejects {
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO reject (dataset, key, hash, version, run, at, column_name, reason, hint, raw) \
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                    )
                    .and_then(|mut insert| {
                        insert.execute(params![
                            reject.dataset.as_str(),
                            reject.key,
                            reject.hash.to_le_bytes(),
                            reject.version,
                            reject.run.as_str(),
                            reject.at.timestamp_micros(),
                            reject.column,
                            reject.reason,
                            reject.hint,
                            reject.raw,
                        ])
                    })
                    .map_err(storage)?;
            }
            transaction.commit().map_err(storage)
        })
        .await
    }

    async fn rejects(&self, dataset: &DatasetId, after: Option<&str>, limit: usize) -> Result<Vec<Reject>, StateError> {
        let (dataset, after) = (dataset.clone(), after.map(ToOwned::to_owned));
        self.blocking(move |_, connection| {
            let mut query = connection
                .prepare_cached(
                    "SELECT key, hash, version, run, at, column_name, reason, hint, raw FROM reject \
                     WHERE dataset = ?1 AND (?2 IS NULL OR key > ?2) ORDER BY key LIMIT ?3",
                )
                .map_err(storage)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut rows = query.query(params![dataset.as_str(), after, limit]).map_err(storage)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next().map_err(storage)? {
                let (hash, at): ([u8; 16], i64) = (row.get(1).map_err(storage)?, row.get(4).map_err(storage)?);
                let at = DateTime::from_timestamp_micros(at).ok_or_else(|| {
                    StateError::new(StateErrorKind::Corrupt, "a rejected row was kept at no moment of time")
                })?;
                found.push(Reject {
                    dataset: dataset.clone(),
                    key: row.get(0).map_err(storage)?,
                    hash: u128::from_le_bytes(hash),
                    version: row.get(2).map_err(storage)?,
                    run: RunId::new(row.get::<_, String>(3).map_err(storage)?),
                    at,
                    column: row.get(5).map_err(storage)?,
                    reason: row.get(6).map_err(storage)?,
                    hint: row.get(7).map_err(storage)?,
                    raw: row.get(8).map_err(storage)?,
                });
            }
            Ok(found)
        })
        .await
    }

    async fn count_rejects(&self, dataset: &DatasetId) -> Result<u64, StateError> {
        let dataset = dataset.clone();
        self.blocking(move |_, connection| {
            let count = connection.query_row(
                "SELECT count(*) FROM reject WHERE dataset = ?1",
                params![dataset.as_str()],
                |row| row.get::<_, i64>(0),
            );
            unsigned(count.map_err(storage)?)
        })
        .await
    }

    async fn forget(&self, lease: &Lease, keys: &[String]) -> Result<(), StateError> {
        let (lease, keys) = (lease.clone(), keys.to_vec());
        self.blocking(move |_, connection| {
            let transaction = writing(connection)?;
            check_fence(&transaction, &lease)?;
            for key in &keys {
                transaction
                    .prepare_cached("DELETE FROM reject WHERE dataset = ?1 AND key = ?2")
                    .and_then(|mut delete| delete.execute(params![lease.dataset.as_str(), key]))
                    .map_err(storage)?;
            }
            transaction.commit().map_err(storage)
        })
        .await
    }

    async fn forget_others(&self, lease: &Lease, run: &RunId) -> Result<(), StateError> {
        let (lease, run) = (lease.clone(), run.clone());
        self.blocking(move |_, connection| {
            let transaction = writing(connection)?;
            check_fence(&transaction, &lease)?;
            transaction
                .execute(
                    "DELETE FROM reject WHERE dataset = ?1 AND run <> ?2",
                    params![lease.dataset.as_str(), run.as_str()],
                )
                .map_err(storage)?;
            transaction.commit().map_err(storage)
        })
        .await
    }
}
