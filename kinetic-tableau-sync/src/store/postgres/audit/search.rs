//! Looking into the trail. What is looked for is found by the database, so that memory is bounded by what is asked for.
//!
//! The order is always that in which entries were written, never that of their moments: each worker has a clock of its own.

use std::collections::HashMap;
use std::pin::pin;

use futures_util::TryStreamExt as _;
use tokio_postgres::types::{ToSql, Type};

use super::append::moment;
use super::entries::{Common, Content, ENTRY, Entry, RECORD, Record};
use super::gather::{self, RECORDS, SOURCE, Wanted};
use crate::audit::{Action, AuditEntry, AuditEvent, AuditFilter, AuditRecord};
use crate::model::{DatasetId, RunId};
use crate::store::StateError;
use crate::store::postgres::error::corrupt;
use crate::store::postgres::{Access, Param, Shared, Transaction, indexed, stored};

/// Segments that are looked at in one go.
const PAGE: i64 = 200;
/// Runs whose landings are asked for in one go.
const RUNS: usize = 5_000;

/// Conditions with their values.
struct Conditions {
    texts: Vec<String>,
    values: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Conditions {
    /// Of entries: by dataset, run and time. `prefix` stands before the columns.
    fn of(filter: &AuditFilter, prefix: &str) -> Self {
        let mut conditions = Self { texts: vec!["true".to_owned()], values: Vec::new() };
        let wanted = [
            ("dataset", filter.dataset.as_ref().map(DatasetId::as_str)),
            ("run", filter.run.as_ref().map(RunId::as_str)),
        ];
        for (column, value) in wanted {
            if let Some(value) = value {
                let value = conditions.value(stored(value).into_owned(), Type::TEXT);
                conditions.texts.push(format!("{prefix}{column} = {value}"));
            }
        }
        for (bound, sign) in [(filter.since, ">="), (filter.until, "<")] {
            if let Some(bound) = bound {
                let (at, nanos) = moment(bound);
                let (at, nanos) = (conditions.value(at, Type::TIMESTAMPTZ), conditions.value(nanos, Type::INT2));
                conditions.texts.push(format!("({prefix}at, {prefix}nanos) {sign} ({at}, {nanos})"));
            }
        }
        conditions
    }

    /// Notes a value; answers how it is called.
    fn value(&mut self, value: impl ToSql + Sync + Send + 'static, kind: Type) -> String {
        self.values.push((Box::new(value), kind));
        format!("${}", self.values.len())
    }

    fn text(&self) -> String {
        self.texts.join(" AND ")
    }

    fn params(&self) -> Vec<Param<'_>> {
        self.values.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect()
    }
}

pub(super) async fn records(shared: &Shared, filter: &AuditFilter) -> Result<Vec<AuditRecord>, StateError> {
    let transaction = shared.begin(Access::ReadAll, "searching the audit trail").await?;
    let found = search(&transaction, filter).await;
    transaction.end(found).await
}

async fn search(transaction: &Transaction, filter: &AuditFilter) -> Result<Vec<AuditRecord>, StateError> {
    // A limit of none at all is taken as the least, as by the other stores.
    let limit = filter.limit.map_or(usize::MAX, |limit| limit.max(1));
    let mut found = match &filter.key {
        Some(key) => by_key(transaction, filter, key, limit).await?,
        None => newest(transaction, filter, limit).await?,
    };
    found.reverse();
    tell_landings(transaction, &mut found).await?;
    Ok(found)
}

/// Records of a key, the newest first: by the indexes for keys and their last parts.
async fn by_key(
    transaction: &Transaction,
    filter: &AuditFilter,
    key: &str,
    limit: usize,
) -> Result<Vec<AuditRecord>, StateError> {
    // Of a table that it has not looked at yet the server believes that a key is common, and would rather read everything.
    let prepare = "LOCK TABLE audit_record IN ACCESS SHARE MODE;SET LOCAL enable_seqscan TO off";
    transaction.run(prepare).await?;
    let mut conditions = Conditions::of(filter, "e.");
    let key = stored(key);
    let part = conditions.value(indexed(&key).into_owned(), Type::TEXT);
    let whole = conditions.value(key.into_owned(), Type::TEXT);
    let mut of_records = vec![format!("(key = {whole} OR key_part = {part})")];
    // Once more for the records, so that only partitions are looked into that may hold some.
    for (bound, sign) in [(filter.since, ">="), (filter.until, "<=")] {
        if let Some(bound) = bound {
            let at = conditions.value(moment(bound).0, Type::TIMESTAMPTZ);
            of_records.push(format!("at {sign} {at}"));
        }
    }
    if let Some(action) = filter.action {
        let action = conditions.value(i16::from(action.code()), Type::INT2);
        of_records.push(format!("action = {action}"));
    }
    let limit = conditions.value(i64::try_from(limit).unwrap_or(i64::MAX), Type::INT8);
    let query = format!(
        "WITH r AS MATERIALIZED (SELECT * FROM audit_record WHERE {}) \
         SELECT {RECORD} FROM r JOIN audit_entry e ON e.id = r.entry AND e.at = r.at WHERE {} \
         ORDER BY r.entry DESC, r.position DESC LIMIT {limit}",
        of_records.join(" AND "),
        conditions.text()
    );
    let rows = transaction.rows(&query, &conditions.params()).await?;
    let records: Vec<Record<'_>> =
        rows.iter().map(|row| Record::read(transaction, row)).collect::<Result<_, StateError>>()?;
    let mut ids: Vec<i64> = records.iter().map(|record| record.entry).collect();
    ids.sort_unstable();
    ids.dedup();
    let query = format!("SELECT {ENTRY} FROM audit_entry WHERE id = ANY($1)");
    let mut by_id = HashMap::new();
    for row in &transaction.rows(&query, &[(&ids, Type::INT8_ARRAY)]).await? {
        let entry = Entry::read(transaction, row)?;
        by_id.insert(entry.id, entry);
    }
    records.iter().map(|record| told(record, by_id.get(&record.entry))).collect()
}

/// The column by which entries that a filter means are in the order in which they were written, with an index for it: the place in the
/// chain within a dataset, otherwise the number, which is given while the chain is locked and so agrees with it.
fn order(filter: &AuditFilter) -> &'static str {
    if filter.dataset.is_some() { "sequence" } else { "id" }
}

/// Records of segments, the newest first: segment by segment, until there are enough.
async fn newest(transaction: &Transaction, filter: &AuditFilter, limit: usize) -> Result<Vec<AuditRecord>, StateError> {
    gather::prepare(transaction).await?;
    let mut found: Vec<AuditRecord> = Vec::new();
    let order = order(filter);
    let mut range: Option<(i64, i64)> = None;
    if filter.since.is_some() || filter.until.is_some() || filter.run.is_some() {
        // In the order of writing, what is asked for may stand anywhere: a walk through all that was written before or since would be
        // long. The sum keeps the server from such a walk for the ends themselves.
        let conditions = Conditions::of(filter, "");
        let query = format!(
            "SELECT min({order} + 0), max({order} + 0) FROM audit_entry WHERE records IS NOT NULL AND {}",
            conditions.text()
        );
        let ends = transaction.row(&query, &conditions.params()).await?;
        let end = |at| match &ends {
            Some(row) => transaction.get::<Option<i64>>(row, at),
            None => Ok(None),
        };
        let (Some(first), Some(last)) = (end(0)?, end(1)?) else { return Ok(found) };
        range = Some((first, last));
    }
    while found.len() < limit {
        let mut conditions = Conditions::of(filter, "");
        if let Some((first, last)) = range {
            let (first, last) = (conditions.value(first, Type::INT8), conditions.value(last, Type::INT8));
            conditions.texts.push(format!("{order} BETWEEN {first} AND {last}"));
        }
        let query = format!(
            "SELECT {ENTRY} FROM audit_entry WHERE records IS NOT NULL AND {} ORDER BY {order} DESC LIMIT {PAGE}",
            conditions.text()
        );
        let rows = transaction.rows(&query, &conditions.params()).await?;
        let page: Vec<Entry> =
            rows.iter().map(|row| Entry::read(transaction, row)).collect::<Result<_, StateError>>()?;
        let Some(oldest) = page.last() else { break };
        let oldest = if filter.dataset.is_some() { oldest.sequence } else { oldest.id };
        range = Some((range.map_or(i64::MIN, |(first, _)| first), oldest.saturating_sub(1)));
        let mut rest = page.as_slice();
        while !rest.is_empty() && found.len() < limit {
            let wanted = limit - found.len();
            let some = gather::take_some(&mut rest, RECORDS.min(wanted));
            of_segments(transaction, some, filter.action, wanted, &mut found).await?;
        }
    }
    Ok(found)
}

/// Records of some segments in their order, the last of each first.
async fn of_segments(
    transaction: &Transaction,
    entries: &[Entry],
    action: Option<Action>,
    limit: usize,
    found: &mut Vec<AuditRecord>,
) -> Result<(), StateError> {
    let by_id: HashMap<i64, &Entry> = entries.iter().map(|entry| (entry.id, entry)).collect();
    let wanted = Wanted::new(entries.iter());
    let action = action.map(|action| i16::from(action.code()));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let params: Vec<Param<'_>> =
        wanted.params().into_iter().chain([(&action as _, Type::INT2), (&limit as _, Type::INT8)]).collect();
    let query = format!(
        "SELECT {RECORD} FROM {SOURCE} WHERE ($3 IS NULL OR r.action = $3) ORDER BY nth, r.position DESC LIMIT $4"
    );
    let mut rows = pin!(transaction.stream(&query, &params).await?);
    while let Some(row) = rows.try_next().await.map_err(|error| transaction.failed(&error))? {
        let record = Record::read(transaction, &row)?;
        found.push(told(&record, by_id.get(&record.entry).copied())?);
    }
    Ok(())
}

fn told(record: &Record<'_>, entry: Option<&Entry>) -> Result<AuditRecord, StateError> {
    let segment: Option<(&Entry, &Common)> = entry.and_then(|entry| match &entry.content {
        Content::Segment(common) => Some((entry, common)),
        Content::Event { .. } | Content::Broken => None,
    });
    let (entry, common) = segment.ok_or_else(|| {
        corrupt("an entry of the audit trail cannot be read; `audit --verify` tells where the trail is broken")
    })?;
    record.told(entry, common)
}

/// Tells of each record whether it has landed, and through which job.
async fn tell_landings(transaction: &Transaction, found: &mut [AuditRecord]) -> Result<(), StateError> {
    let mut runs: Vec<String> = found.iter().map(|record| stored(record.run.as_str()).into_owned()).collect();
    runs.sort_unstable();
    runs.dedup();
    let mut landed: HashMap<(DatasetId, RunId), Option<String>> = HashMap::new();
    for some in runs.chunks(RUNS) {
        let query = "SELECT body::text FROM audit_entry WHERE event = 'landed' AND run = ANY($1) ORDER BY id";
        for row in transaction.rows(query, &[(&some, Type::TEXT_ARRAY)]).await? {
            let entry = event(transaction.get(&row, 0)?)?;
            if let AuditEvent::Landed { receipt, .. } = entry.event {
                landed.insert((entry.dataset, entry.run), receipt.job_id);
            }
        }
    }
    for record in found {
        if let Some(job) = landed.get(&(record.dataset.clone(), record.run.clone())) {
            record.job_id.clone_from(job);
            record.landed = record.action != Action::Reject;
        }
    }
    Ok(())
}

fn event(body: &str) -> Result<AuditEntry, StateError> {
    serde_json::from_str(body).map_err(|error| {
        corrupt("an event of the audit trail cannot be read; `audit --verify` tells where the trail is broken")
            .with_cause(error)
    })
}

pub(super) async fn events(shared: &Shared, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StateError> {
    let transaction = shared.begin(Access::ReadAll, "reading audit events").await?;
    let conditions = Conditions::of(filter, "");
    let query = format!(
        "SELECT body::text FROM audit_entry WHERE event IS NOT NULL AND {} ORDER BY {}",
        conditions.text(),
        order(filter)
    );
    let found = async {
        let mut found = Vec::new();
        let mut rows = pin!(transaction.stream(&query, &conditions.params()).await?);
        while let Some(row) = rows.try_next().await.map_err(|error| transaction.failed(&error))? {
            found.push(event(transaction.get(&row, 0)?)?);
        }
        Ok(found)
    };
    let found = found.await;
    transaction.end(found).await
}
