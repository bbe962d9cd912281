//! Rejected rows.

use std::collections::HashMap;

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::error::corrupt;
use super::{Access, Param, PostgresStore, Transaction, indexed, original, stored, unsigned};
use crate::model::{DatasetId, RunId};
use crate::store::{Lease, Reject, RejectStore, StateError};

/// Rows that go out in one statement; each may hold 64 KiB.
const ROWS: usize = 200;

async fn keep(transaction: &Transaction, rejects: &[&Reject]) -> Result<(), StateError> {
    let texts = |text: fn(&Reject) -> &str| -> Vec<String> {
        rejects.iter().map(|reject| stored(text(reject)).into_owned()).collect()
    };
    let (datasets, runs) = (texts(|reject| reject.dataset.as_str()), texts(|reject| reject.run.as_str()));
    let (columns, reasons, raws) =
        (texts(|reject| &reject.column), texts(|reject| &reject.reason), texts(|reject| &reject.raw));
    let wholes = texts(|reject| &reject.key);
    let keys: Vec<String> = wholes.iter().map(|key| indexed(key).into_owned()).collect();
    let long: Vec<Option<&str>> =
        wholes.iter().zip(&keys).map(|(whole, key)| (whole != key).then_some(whole.as_str())).collect();
    let hints: Vec<Option<String>> =
        rejects.iter().map(|reject| reject.hint.as_deref().map(|hint| stored(hint).into_owned())).collect();
    let hashes: Vec<Vec<u8>> = rejects.iter().map(|reject| reject.hash.to_be_bytes().to_vec()).collect();
    let versions: Vec<i64> = rejects.iter().map(|reject| reject.version).collect();
    let moments: Vec<_> = rejects.iter().map(|reject| reject.at).collect();
    let params: [Param<'_>; 11] = [
        (&datasets, Type::TEXT_ARRAY),
        (&keys, Type::TEXT_ARRAY),
        (&long, Type::TEXT_ARRAY),
        (&hashes, Type::BYTEA_ARRAY),
        (&versions, Type::INT8_ARRAY),
        (&runs, Type::TEXT_ARRAY),
        (&moments, Type::TIMESTAMPTZ_ARRAY),
        (&columns, Type::TEXT_ARRAY),
        (&reasons, Type::TEXT_ARRAY),
        (&hints, Type::TEXT_ARRAY),
        (&raws, Type::TEXT_ARRAY),
    ];
    let statement = "INSERT INTO reject \
         (dataset, key, long_key, hash, version, run, at, column_name, reason, hint, raw) \
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         ON CONFLICT (dataset, key) DO UPDATE SET \
         long_key = excluded.long_key, hash = excluded.hash, version = excluded.version, run = excluded.run, \
         at = excluded.at, column_name = excluded.column_name, reason = excluded.reason, hint = excluded.hint, \
         raw = excluded.raw";
    transaction.execute(statement, &params).await.map(|_| ())
}

fn reject(transaction: &Transaction, row: &Row, dataset: &DatasetId) -> Result<Reject, StateError> {
    let text = |at| transaction.get::<&str>(row, at).map(|text| original(text).into_owned());
    let hash: &[u8] = transaction.get(row, 1)?;
    let hash = hash.try_into().map_err(|_| corrupt("the hash of a rejected row's key has not the right length"))?;
    Ok(Reject {
        dataset: dataset.clone(),
        key: text(0)?,
        hash: u128::from_be_bytes(hash),
        version: transaction.get(row, 2)?,
        run: RunId::new(text(3)?),
        at: transaction.get(row, 4)?,
        column: text(5)?,
        reason: text(6)?,
        hint: transaction.get::<Option<&str>>(row, 7)?.map(|hint| original(hint).into_owned()),
        raw: text(8)?,
    })
}

#[async_trait]
impl RejectStore for PostgresStore {
    async fn keep(&self, rejects: Vec<Reject>) -> Result<(), StateError> {
        // Of several of one key the last counts; a statement may not touch a row twice.
        let newest: HashMap<(&DatasetId, &str), &Reject> =
            rejects.iter().map(|reject| ((&reject.dataset, reject.key.as_str()), reject)).collect();
        // In one order, so that two processes that keep the same rows do not lock each other out.
        let mut newest: Vec<&Reject> = newest.into_values().collect();
        newest.sort_unstable_by(|one, other| (&one.dataset, &one.key).cmp(&(&other.dataset, &other.key)));
        let transaction = self.shared.begin(Access::Write, "keeping rejected rows").await?;
        let kept = async {
            for some in newest.chunks(ROWS) {
                keep(&transaction, some).await?;
            }
            Ok(())
        };
        let kept = kept.await;
        transaction.end(kept).await
    }

    async fn rejects(&self, dataset: &DatasetId, after: Option<&str>, limit: usize) -> Result<Vec<Reject>, StateError> {
        let transaction = self.shared.begin(Access::Read, "reading rejected rows").await?;
        let after = after.map(|after| indexed(&stored(after)).into_owned());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = transaction
            .rows(
                "SELECT COALESCE(long_key, key), hash, version, run, at, column_name, reason, hint, raw FROM reject \
                 WHERE dataset = $1 AND ($2 IS NULL OR key > $2) ORDER BY key LIMIT $3",
                &[(&stored(dataset.as_str()), Type::TEXT), (&after, Type::TEXT), (&limit, Type::INT8)],
            )
            .await;
        let found = rows.and_then(|rows| rows.iter().map(|row| reject(&transaction, row, dataset)).collect());
        transaction.end(found).await
    }

    async fn count_rejects(&self, dataset: &DatasetId) -> Result<u64, StateError> {
        let transaction = self.shared.begin(Access::Read, "counting rejected rows").await?;
        let query = "SELECT count(*) FROM reject WHERE dataset = $1";
        let row = transaction.row(query, &[(&stored(dataset.as_str()), Type::TEXT)]).await;
        let count = row.and_then(|row| {
            let row = row.ok_or_else(|| corrupt("Postgres does not answer how many rows are rejected"))?;
            unsigned(transaction.get(&row, 0)?)
        });
        transaction.end(count).await
    }

    async fn forget(&self, lease: &Lease, keys: &[String]) -> Result<(), StateError> {
        let transaction = self.shared.begin(Access::Write, "forgetting rejected rows").await?;
        let forgotten = async {
            transaction.check_fence(lease).await?;
            let keys: Vec<String> = keys.iter().map(|key| indexed(&stored(key)).into_owned()).collect();
            let params: [Param<'_>; 2] = [(&stored(lease.dataset.as_str()), Type::TEXT), (&keys, Type::TEXT_ARRAY)];
            transaction.execute("DELETE FROM reject WHERE dataset = $1 AND key = ANY($2)", &params).await.map(|_| ())
        };
        let forgotten = forgotten.await;
        transaction.end(forgotten).await
    }

    async fn forget_others(&self, lease: &Lease, run: &RunId) -> Result<(), StateError> {
        let transaction = self.shared.begin(Access::Write, "forgetting rejected rows").await?;
        let forgotten = async {
            transaction.check_fence(lease).await?;
            let (dataset, run) = (stored(lease.dataset.as_str()), stored(run.as_str()));
            let params: [Param<'_>; 2] = [(&dataset, Type::TEXT), (&run, Type::TEXT)];
            transaction.execute("DELETE FROM reject WHERE dataset = $1 AND run <> $2", &params).await.map(|_| ())
        };
        let forgotten = forgotten.await;
        transaction.end(forgotten).await
    }
}
