//! The records of segments, read for a few segments at once and never for many.

use std::collections::HashMap;
use std::pin::pin;

use futures_util::TryStreamExt as _;
use tokio_postgres::types::Type;

use super::entries::{Common, Content, Entry, RECORD, Record};
use crate::audit::Records;
use crate::store::StateError;
use crate::store::postgres::error::corrupt;
use crate::store::postgres::{Param, Transaction};

/// Records that are held at once, but for a single segment that is larger.
pub(super) const RECORDS: usize = 40_000;

/// Makes a transaction see entries and records of one moment, and find records by their segments.
pub(super) async fn prepare(transaction: &Transaction) -> Result<(), StateError> {
    transaction
        .run(
            // Partitions must not be dropped behind the back of the snapshot, which does not cover them.
            "LOCK TABLE audit_record IN ACCESS SHARE MODE;\
             SET LOCAL enable_hashjoin TO off;SET LOCAL enable_mergejoin TO off",
        )
        .await
}

/// From which records of which segments: `$1` are their ids, `$2` their moments, in the order that is wanted.
pub(super) const SOURCE: &str = "unnest($1, $2) WITH ORDINALITY AS wanted (entry, at, nth) \
                                 JOIN audit_record r ON r.at = wanted.at AND r.entry = wanted.entry";

/// The values of [`SOURCE`].
pub(super) struct Wanted {
    ids: Vec<i64>,
    moments: Vec<chrono::DateTime<chrono::Utc>>,
}

impl Wanted {
    pub(super) fn new<'e>(entries: impl Iterator<Item = &'e Entry> + Clone) -> Self {
        Self { ids: entries.clone().map(|entry| entry.id).collect(), moments: entries.map(|entry| entry.at).collect() }
    }

    pub(super) fn params(&self) -> [Param<'_>; 2] {
        [(&self.ids, Type::INT8_ARRAY), (&self.moments, Type::TIMESTAMPTZ_ARRAY)]
    }
}

/// The segments among entries.
pub(super) fn segments(entries: &[Entry]) -> impl Iterator<Item = (&Entry, &Common)> + Clone {
    entries.iter().filter_map(|entry| match &entry.content {
        Content::Segment(common) => Some((entry, common)),
        Content::Event { .. } | Content::Broken => None,
    })
}

/// Takes as many entries from the front as have so many records together, at least one.
pub(super) fn take_some<'e>(entries: &mut &'e [Entry], most: usize) -> &'e [Entry] {
    let mut records = 0_usize;
    let mut count = 0;
    for entry in *entries {
        if let Content::Segment(common) = &entry.content {
            records = records.saturating_add(common.records);
        }
        if count > 0 && records > most {
            break;
        }
        count += 1;
    }
    let (some, rest) = entries.split_at_checked(count).unwrap_or((entries, &[]));
    *entries = rest;
    some
}

/// The records of the segments among entries, by their ids; or where the first one stands that is not as it was written.
pub(super) async fn gather(
    transaction: &Transaction,
    entries: &[Entry],
) -> Result<HashMap<i64, Result<Records, usize>>, StateError> {
    let mut gathered: HashMap<i64, Result<Records, usize>> = segments(entries)
        .map(|(entry, common)| (entry.id, Ok(Records::with_dimensions(common.dimension_names.len()))))
        .collect();
    if gathered.is_empty() {
        return Ok(gathered);
    }
    let wanted = Wanted::new(segments(entries).map(|(entry, _)| entry));
    let query = format!("SELECT {RECORD} FROM {SOURCE} ORDER BY nth, r.position");
    let mut rows = pin!(transaction.stream(&query, &wanted.params()).await?);
    while let Some(row) = rows.try_next().await.map_err(|error| transaction.failed(&error))? {
        let record = Record::read(transaction, &row)?;
        let Some(found) = gathered.get_mut(&record.entry) else { continue };
        if let Ok(records) = found {
            let position = records.len();
            let pushed = record.push(records).map_err(|full| corrupt(full.to_string()))?;
            if !pushed {
                *found = Err(position);
            }
        }
    }
    for (entry, common) in segments(entries) {
        if let Some(found) = gathered.get_mut(&entry.id)
            && let Some(count) = found.as_ref().ok().map(Records::len).filter(|count| *count != common.records)
        {
            *found = Err(count.min(common.records));
        }
    }
    Ok(gathered)
}
