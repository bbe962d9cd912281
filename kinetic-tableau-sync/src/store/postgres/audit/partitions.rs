//! The months of the records. A partition is made when the first record of its month comes, by whoever brings it.

use chrono::{DateTime, Datelike as _, TimeZone as _, Utc};
use tokio_postgres::types::Type;

use crate::store::StateError;
use crate::store::postgres::error::storage;
use crate::store::postgres::{Access, Shared, Transaction, schema};

/// A month of the calendar in UTC: months since the year 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Month(i32);

impl Month {
    pub(super) fn of(at: DateTime<Utc>) -> Self {
        // The years that a moment can have are far from the ends of the type.
        Self(at.year().saturating_mul(12).saturating_add(i32::try_from(at.month0()).unwrap_or_default()))
    }

    fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The moment in which it begins.
    pub(super) fn begin(self) -> Result<DateTime<Utc>, StateError> {
        let month = u32::try_from(self.0.rem_euclid(12)).unwrap_or_default() + 1;
        Utc.with_ymd_and_hms(self.0.div_euclid(12), month, 1, 0, 0, 0)
            .single()
            .filter(|begin| (1..=9_999).contains(&begin.year()))
            .ok_or_else(|| storage("a record's moment lies in no year of four digits; check the clock of this machine"))
    }

    pub(super) fn end(self) -> Result<DateTime<Utc>, StateError> {
        self.next().begin()
    }

    /// The name of its partition.
    pub(super) fn table(self) -> String {
        format!("audit_record_{:04}_{:02}", self.0.div_euclid(12), self.0.rem_euclid(12) + 1)
    }

    /// The month of a partition's name.
    pub(super) fn of_table(name: &str) -> Option<Self> {
        let (year, month) = name.strip_prefix("audit_record_")?.split_once('_')?;
        let (year, month): (i32, i32) = (year.parse().ok()?, month.parse().ok()?);
        ((1..=9_999).contains(&year) && (1..=12).contains(&month)).then_some(Self(year * 12 + month - 1))
    }
}

/// Begins to write records of a month: its partition is there, and stays until the transaction ends.
pub(super) async fn begin(shared: &Shared, month: Month) -> Result<Transaction, StateError> {
    let mut tries = 3;
    loop {
        let transaction = shared.begin(Access::Write, "writing audit records").await?;
        let found = async {
            // Whoever removes a partition must wait for this lock.
            transaction.run("LOCK TABLE ONLY audit_record IN ROW EXCLUSIVE MODE").await?;
            is_there(&transaction, &shared.schema, month).await
        };
        match found.await {
            Ok(true) => return Ok(transaction),
            Ok(false) if tries > 0 => transaction.end(Ok(())).await?,
            Ok(false) => {
                return transaction
                    .end(Err(storage("a partition of the audit trail is removed again and again")))
                    .await;
            }
            Err(error) => return transaction.end(Err(error)).await,
        }
        tries -= 1;
        let transaction = shared.begin(Access::Write, "making a partition of the audit trail").await?;
        let made = make(&transaction, &shared.schema, month).await;
        transaction.end(made).await?;
    }
}

async fn make(transaction: &Transaction, schema: &str, month: Month) -> Result<(), StateError> {
    schema::lock(transaction, schema).await?;
    if is_there(transaction, schema, month).await? {
        return Ok(());
    }
    // Made by itself and then attached, which does not wait for those who read or write other months.
    let (table, begin, end) = (month.table(), month.begin()?.to_rfc3339(), month.end()?.to_rfc3339());
    transaction
        .run(&format!(
            "CREATE TABLE {table} (LIKE audit_record INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE);\
             ALTER TABLE audit_record ATTACH PARTITION {table} FOR VALUES FROM ('{begin}') TO ('{end}')"
        ))
        .await
}

async fn is_there(transaction: &Transaction, schema: &str, month: Month) -> Result<bool, StateError> {
    let row = transaction
        .row(
            "SELECT 1 FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace \
             WHERE s.nspname = $1 AND c.relname = $2 AND c.relispartition",
            &[(&schema, Type::TEXT), (&month.table(), Type::TEXT)],
        )
        .await?;
    Ok(row.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_where_the_next_begins() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        for (moment, begin, end, table) in [
            ("2026-12-31T23:59:59.999999999Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", "audit_record_2026_12"),
            ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z", "audit_record_2027_01"),
            ("1969-02-03T04:05:06Z", "1969-02-01T00:00:00Z", "1969-03-01T00:00:00Z", "audit_record_1969_02"),
        ] {
            let month = Month::of(at(moment));
            assert_eq!((month.begin().unwrap(), month.end().unwrap()), (at(begin), at(end)));
            assert_eq!(month.table(), table);
            assert_eq!(Month::of_table(table), Some(month));
        }
        assert!(Month::of(DateTime::<Utc>::MAX_UTC).begin().is_err());
        assert_eq!(Month::of_table("audit_record_2026_13"), None);
    }
}
