//! The newest records of a dataset, by key.

use std::collections::HashMap;

use kinetic_tableau_sync::{AuditFilter, AuditRecord, DatasetId};

use super::Wanted;
use crate::commands::standing::Stores;
use crate::failure::Outcome;

/// Of a record that was asked for by its key, so many of the newest entries.
pub(in super::super) const KEY_RECORDS: usize = 500;

/// What is known of one key.
#[derive(Debug)]
pub(in super::super) struct History {
    pub(in super::super) key: String,
    /// Newest first.
    pub(in super::super) records: Vec<AuditRecord>,
    /// Whether it was asked for: then all of it is here, whenever it was.
    pub(in super::super) asked_for: bool,
}

/// The histories of keys that were asked for, and the newest records of all, newest first.
/// Each key that is found is taken out of `unknown`.
pub(super) async fn gather(
    stores: &Stores,
    id: &DatasetId,
    wanted: &Wanted,
    most: usize,
    unknown: &mut Vec<String>,
) -> Outcome<Vec<History>> {
    let mut histories = Vec::new();
    for key in &wanted.keys {
        let filter = AuditFilter {
            dataset: Some(id.clone()),
            key: Some(key.clone()),
            limit: Some(KEY_RECORDS),
            ..AuditFilter::default()
        };
        let records = stores.audit.records(&filter).await?;
        if !records.is_empty() {
            unknown.retain(|other| other != key);
        }
        histories.extend(by_key(records, true));
    }
    if most > 0 {
        let filter = AuditFilter {
            dataset: Some(id.clone()),
            since: Some(wanted.since),
            limit: Some(most),
            ..AuditFilter::default()
        };
        let newest = by_key(stores.audit.records(&filter).await?, false);
        let known: Vec<String> = histories.iter().map(|history| history.key.clone()).collect();
        histories.extend(newest.into_iter().filter(|history| !known.contains(&history.key)));
    }
    Ok(histories)
}

fn by_key(records: Vec<AuditRecord>, asked_for: bool) -> Vec<History> {
    let mut at: HashMap<String, usize> = HashMap::new();
    let mut histories: Vec<History> = Vec::new();
    for record in records.into_iter().rev() {
        let next = histories.len();
        let nth = *at.entry(record.key.clone()).or_insert(next);
        match histories.get_mut(nth) {
            Some(history) => history.records.push(record),
            None => histories.push(History { key: record.key.clone(), records: vec![record], asked_for }),
        }
    }
    histories
}
