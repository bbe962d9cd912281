//! Checkpoints and leases.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;

use super::error::corrupt;
use super::{Access, Param, PostgresStore, Transaction, original, signed, stored, unsigned};
use crate::checkpoint::Checkpoint;
use crate::model::DatasetId;
use crate::store::{Lease, StateError, StateErrorKind, StateStore, Versioned, stale, taken_over};

/// The time now, and the end of a lease of `$3` microseconds from then: by the clock in `$2`, or the database's.
const NOW: &str = "COALESCE($2, clock_timestamp())";

/// Leases do not last for longer than this, which the database can still add to a moment.
const LONGEST: Duration = Duration::from_hours(24 * 36_500);

fn micros(ttl: Duration) -> i64 {
    i64::try_from(ttl.min(LONGEST).as_micros()).unwrap_or(i64::MAX)
}

impl PostgresStore {
    fn now(&self) -> Option<DateTime<Utc>> {
        self.shared.clock.as_ref().map(|clock| clock.now())
    }
}

fn checkpoint(dataset: &str, version: i64, body: &str) -> Result<Versioned, StateError> {
    let checkpoint = serde_json::from_str(body)
        .map_err(|error| corrupt(format!("the state of dataset {dataset} cannot be read")).with_cause(error))?;
    Ok(Versioned { version: unsigned(version)?, checkpoint })
}

/// Puts a new holder into the row of a lease, which is locked until the transaction ends.
async fn take(
    transaction: &Transaction,
    dataset: &DatasetId,
    owner: &str,
    now: Option<DateTime<Utc>>,
    ttl: Duration,
) -> Result<Lease, StateError> {
    let name = stored(dataset.as_str());
    let name: Param<'_> = (&name, Type::TEXT);
    // Not only its columns but the row itself: that is what a commit under the old fence holds.
    let lock = "SELECT 1 FROM lease WHERE dataset = $1 FOR UPDATE";
    let mut locked = transaction.locks(lock, std::slice::from_ref(&name)).await?;
    if locked == Some(0) {
        let make = "INSERT INTO lease (dataset, fence, expires) VALUES ($1, 0, '-infinity') ON CONFLICT DO NOTHING";
        transaction.execute(make, std::slice::from_ref(&name)).await?;
        locked = transaction.locks(lock, std::slice::from_ref(&name)).await?;
    }
    if locked.is_none() {
        let message = format!("dataset {dataset} is being worked on: its holder has not finished a write");
        return Err(StateError::new(StateErrorKind::Leased, message));
    }
    let taken = format!(
        "UPDATE lease SET owner = $4, fence = fence + 1, expires = {NOW} + $3 * interval '1 microsecond' \
         WHERE dataset = $1 AND (owner IS NULL OR expires <= {NOW}) RETURNING fence, expires"
    );
    let params = [name.clone(), (&now, Type::TIMESTAMPTZ), (&micros(ttl), Type::INT8), (&stored(owner), Type::TEXT)];
    if let Some(row) = transaction.row(&taken, &params).await? {
        let fence = unsigned(transaction.get(&row, 0)?)?;
        let expires = transaction.get(&row, 1)?;
        return Ok(Lease { dataset: dataset.clone(), owner: owner.to_owned(), fence, expires });
    }
    let held = transaction.row("SELECT owner, expires FROM lease WHERE dataset = $1", &[name]).await?;
    let held = held.ok_or_else(|| corrupt(format!("the lease of dataset {dataset} has vanished")))?;
    let (owner, expires): (&str, DateTime<Utc>) = (transaction.get(&held, 0)?, transaction.get(&held, 1)?);
    let message =
        format!("dataset {dataset} is being worked on by {} until {}", original(owner), expires.format("%H:%M:%SZ"));
    Err(StateError::new(StateErrorKind::Leased, message))
}

/// Replaces a checkpoint, under a lease and over the version that was read.
async fn replace(
    transaction: &Transaction,
    lease: &Lease,
    expected: Option<u64>,
    body: &str,
) -> Result<u64, StateError> {
    transaction.check_fence(lease).await?;
    let version = expected.unwrap_or_default() + 1;
    let (dataset, next) = (stored(lease.dataset.as_str()), signed(version)?);
    let mut params: Vec<Param<'_>> = vec![(&dataset, Type::TEXT), (&next, Type::INT8), (&body, Type::TEXT)];
    let expected = expected.map(signed).transpose()?;
    let statement = match &expected {
        Some(expected) => {
            params.push((expected, Type::INT8));
            "UPDATE checkpoint SET version = $2, body = $3::json, written = clock_timestamp() \
             WHERE dataset = $1 AND version = $4"
        }
        None => "INSERT INTO checkpoint (dataset, version, body) VALUES ($1, $2, $3::json) ON CONFLICT DO NOTHING",
    };
    if transaction.execute(statement, &params).await? == 1 { Ok(version) } else { Err(stale(&lease.dataset)) }
}

#[async_trait]
impl StateStore for PostgresStore {
    async fn load(&self, dataset: &DatasetId) -> Result<Option<Versioned>, StateError> {
        let transaction = self.shared.begin(Access::Read, "reading the state").await?;
        let found = transaction
            .row(
                "SELECT version, body::text FROM checkpoint WHERE dataset = $1",
                &[(&stored(dataset.as_str()), Type::TEXT)],
            )
            .await;
        let found = found.and_then(|row| {
            row.map(|row| checkpoint(dataset.as_str(), transaction.get(&row, 0)?, transaction.get(&row, 1)?))
                .transpose()
        });
        transaction.end(found).await
    }

    async fn store(&self, lease: &Lease, expected: Option<u64>, next: &Checkpoint) -> Result<u64, StateError> {
        let body = serde_json::to_string(next)
            .map_err(|error| corrupt("the state cannot be written as JSON").with_cause(error))?;
        let transaction = self.shared.begin(Access::Write, "writing the state").await?;
        let replaced = replace(&transaction, lease, expected, &body).await;
        transaction.end(replaced).await
    }

    async fn list(&self) -> Result<Vec<(DatasetId, Versioned)>, StateError> {
        let transaction = self.shared.begin(Access::Read, "reading the state").await?;
        let rows = transaction.rows("SELECT dataset, version, body::text FROM checkpoint ORDER BY dataset", &[]).await;
        let found = rows.and_then(|rows| {
            let found = rows.iter().map(|row| {
                let dataset = original(transaction.get(row, 0)?);
                let found = checkpoint(&dataset, transaction.get(row, 1)?, transaction.get(row, 2)?)?;
                Ok((DatasetId::new(dataset), found))
            });
            found.collect()
        });
        transaction.end(found).await
    }

    async fn lease(&self, dataset: &DatasetId, owner: &str, ttl: Duration) -> Result<Lease, StateError> {
        let transaction = self.shared.begin(Access::Lease, "taking a lease").await?;
        let taken = take(&transaction, dataset, owner, self.now(), ttl).await;
        transaction.end(taken).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, StateError> {
        let transaction = self.shared.begin(Access::Write, "renewing a lease").await?;
        let renew = format!(
            "UPDATE lease SET expires = {NOW} + $3 * interval '1 microsecond' \
             WHERE dataset = $1 AND fence = $4 AND owner IS NOT NULL RETURNING expires"
        );
        let renewed = async {
            let fence = signed(lease.fence)?;
            let params: [Param<'_>; 4] = [
                (&stored(lease.dataset.as_str()), Type::TEXT),
                (&self.now(), Type::TIMESTAMPTZ),
                (&micros(ttl), Type::INT8),
                (&fence, Type::INT8),
            ];
            let row = transaction.row(&renew, &params).await?.ok_or_else(|| taken_over(lease))?;
            Ok(Lease { expires: transaction.get(&row, 0)?, ..lease.clone() })
        };
        let renewed = renewed.await;
        transaction.end(renewed).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StateError> {
        let transaction = self.shared.begin(Access::Write, "giving a lease back").await?;
        let released = async {
            let fence = signed(lease.fence)?;
            let name = stored(lease.dataset.as_str());
            let params: [Param<'_>; 2] = [(&name, Type::TEXT), (&fence, Type::INT8)];
            // As whoever takes a lease: what is being committed under it comes first.
            let locked = "SELECT 1 FROM lease WHERE dataset = $1 AND fence = $2 FOR UPDATE";
            transaction.execute(locked, &params).await?;
            transaction.execute("UPDATE lease SET owner = NULL WHERE dataset = $1 AND fence = $2", &params).await?;
            Ok(())
        };
        let released = released.await;
        transaction.end(released).await
    }
}
