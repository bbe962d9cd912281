//! Removing the oldest part of the trail: first the entries, dataset by dataset, then what their records take up.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;

use super::append::moment;
use super::partitions::Month;
use crate::store::StateError;
use crate::store::postgres::{Access, Param, Shared, Transaction};

/// How long a partition is waited for, in milliseconds, before its records are deleted one by one instead: whoever wants to write
/// waits behind us.
const PATIENCE: &str = "SET LOCAL lock_timeout TO 2000";
/// Segments whose records are deleted at once.
const SEGMENTS: i64 = 50;

pub(super) async fn prune(shared: &Shared, before: DateTime<Utc>) -> Result<u64, StateError> {
    let transaction = shared.begin(Access::Read, "pruning the audit trail").await?;
    let chains = async {
        let rows = transaction.rows("SELECT dataset FROM audit_chain ORDER BY dataset", &[]).await?;
        rows.iter().map(|row| transaction.get::<String>(row, 0)).collect::<Result<Vec<_>, _>>()
    };
    let chains = chains.await;
    let mut removed = 0;
    for dataset in transaction.end(chains).await? {
        let transaction = shared.begin(Access::WriteAll, "pruning the audit trail").await?;
        let cut = cut(&transaction, &dataset, before).await;
        removed += transaction.end(cut).await?;
    }
    for month in months(shared, before).await? {
        drop_month(shared, month).await?;
    }
    while delete_some(shared).await? {}
    Ok(removed)
}

/// Removes the oldest entries of a dataset, and keeps number and hash of the last of them.
async fn cut(transaction: &Transaction, dataset: &str, before: DateTime<Utc>) -> Result<u64, StateError> {
    let chain = "SELECT sequence, pruned FROM audit_chain WHERE dataset = $1 FOR UPDATE";
    let Some(row) = transaction.row(chain, &[(&dataset, Type::TEXT)]).await? else { return Ok(0) };
    let (last, pruned): (i64, i64) = (transaction.get(&row, 0)?, transaction.get(&row, 1)?);
    let (at, nanos) = moment(before);
    // The first entry that is too young. Where there is none in the whole trail, the last run stays all the same.
    let young = "SELECT min(sequence), \
                 EXISTS (SELECT FROM audit_entry WHERE at >= $2 AND (at, nanos) >= ($2, $3)) \
                 FROM audit_entry WHERE dataset = $1 AND at >= $2 AND (at, nanos) >= ($2, $3)";
    let params: [Param<'_>; 3] = [(&dataset, Type::TEXT), (&at, Type::TIMESTAMPTZ), (&nanos, Type::INT2)];
    let Some(row) = transaction.row(young, &params).await? else { return Ok(0) };
    let mut from = match (transaction.get::<Option<i64>>(&row, 0)?, transaction.get::<bool>(&row, 1)?) {
        (Some(young), _) => young,
        (None, true) => last.saturating_add(1),
        (None, false) => last,
    };
    // A run that is kept in part is kept as a whole, which may cut another one in two.
    let part = "SELECT min(first) FROM (SELECT min(sequence) AS first, max(sequence) AS last FROM audit_entry \
                WHERE dataset = $1 GROUP BY run) runs WHERE first < $2 AND last >= $2";
    loop {
        let row = transaction.row(part, &[(&dataset, Type::TEXT), (&from, Type::INT8)]).await?;
        let Some(row) = row else { break };
        let Some(first) = transaction.get::<Option<i64>>(&row, 0)? else { break };
        from = first;
    }
    let through = from.saturating_sub(1);
    if through <= pruned {
        return Ok(0);
    }
    let params: [Param<'_>; 2] = [(&dataset, Type::TEXT), (&through, Type::INT8)];
    let anchor = "UPDATE audit_chain SET pruned = e.sequence, anchor = e.hash FROM audit_entry e \
                  WHERE audit_chain.dataset = $1 AND e.dataset = $1 AND e.sequence = $2";
    if transaction.execute(anchor, &params).await? != 1 {
        // A trail with a gap is left as it is, for those who look into it.
        return Ok(0);
    }
    let remember = "INSERT INTO audit_removal SELECT id, at FROM audit_entry \
                    WHERE dataset = $1 AND sequence <= $2 AND records IS NOT NULL ON CONFLICT DO NOTHING";
    transaction.execute(remember, &params).await?;
    transaction.execute("DELETE FROM audit_entry WHERE dataset = $1 AND sequence <= $2", &params).await
}

/// The months with partitions that ended before a moment.
async fn months(shared: &Shared, before: DateTime<Utc>) -> Result<Vec<Month>, StateError> {
    let transaction = shared.begin(Access::Read, "pruning the audit trail").await?;
    let query = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
                 WHERE i.inhparent = 'audit_record'::regclass ORDER BY 1";
    let found = transaction.rows(query, &[]).await.and_then(|rows| {
        let names = rows.iter().map(|row| transaction.get::<&str>(row, 0).map(Month::of_table));
        names.filter_map(Result::transpose).collect::<Result<Vec<Month>, StateError>>()
    });
    let months = transaction.end(found).await?.into_iter();
    Ok(months.filter(|month| month.end().is_ok_and(|end| end <= before)).collect())
}

/// Drops the partition of a month, if no segment is left that has records in it, and nobody is just looking.
async fn drop_month(shared: &Shared, month: Month) -> Result<(), StateError> {
    let (begin, end) = (month.begin()?, month.end()?);
    let range: [Param<'_>; 2] = [(&begin, Type::TIMESTAMPTZ), (&end, Type::TIMESTAMPTZ)];
    let transaction = shared.begin(Access::WriteAll, "dropping a partition of the audit trail").await?;
    let dropped = async {
        transaction.run(PATIENCE).await?;
        // From here on nobody writes records, so that what is seen of entries is all there is.
        if transaction.locks("LOCK TABLE ONLY audit_record IN ACCESS EXCLUSIVE MODE", &[]).await?.is_none() {
            return Ok(());
        }
        let left = "SELECT 1 FROM audit_entry WHERE records IS NOT NULL AND at >= $1 AND at < $2 LIMIT 1";
        if transaction.row(left, &range).await?.is_none() {
            transaction.run(&format!("DROP TABLE {}", month.table())).await?;
            transaction.execute("DELETE FROM audit_removal WHERE at >= $1 AND at < $2", &range).await?;
        }
        Ok(())
    };
    let dropped = dropped.await;
    transaction.end(dropped).await
}

/// Deletes the records of some segments that were removed; false when there is none left.
async fn delete_some(shared: &Shared) -> Result<bool, StateError> {
    let transaction = shared.begin(Access::WriteAll, "deleting pruned audit records").await?;
    let deleted = async {
        let query = "SELECT entry, at FROM audit_removal ORDER BY entry LIMIT $1 FOR UPDATE SKIP LOCKED";
        let rows = transaction.rows(query, &[(&SEGMENTS, Type::INT8)]).await?;
        let ids = rows.iter().map(|row| transaction.get(row, 0)).collect::<Result<Vec<i64>, _>>()?;
        let moments = rows.iter().map(|row| transaction.get(row, 1)).collect::<Result<Vec<DateTime<Utc>>, _>>()?;
        if ids.is_empty() {
            return Ok(false);
        }
        let params: [Param<'_>; 2] = [(&ids, Type::INT8_ARRAY), (&moments, Type::TIMESTAMPTZ_ARRAY)];
        let delete = "DELETE FROM audit_record r USING unnest($1, $2) AS gone (entry, at) \
                      WHERE r.at = gone.at AND r.entry = gone.entry";
        transaction.execute(delete, &params).await?;
        transaction.execute("DELETE FROM audit_removal WHERE entry = ANY($1)", &[(&ids, Type::INT8_ARRAY)]).await?;
        Ok(true)
    };
    let deleted = deleted.await;
    transaction.end(deleted).await
}
