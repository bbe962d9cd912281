//! Rows that cannot be mapped: noted with the reason, counted, and kept until they can.

use std::collections::{BTreeSet, HashMap};

use super::fill::{Filling, Work};
use super::sift::fingerprint;
use super::{Cause, Stage, SyncError};
use crate::batch::Batch;
use crate::store::Reject;

/// Rejected rows that are read from the store at once.
const PAGE: usize = 1_000;

/// Rows that earlier runs have rejected, and which of them this run has read well since.
#[derive(Debug, Default)]
pub(super) struct OpenRejects {
    by_hash: HashMap<u128, Reject>,
    settled: BTreeSet<String>,
}

impl OpenRejects {
    /// Their keys, in order.
    pub(super) fn keys(&self) -> Vec<(u128, String)> {
        let mut keys: Vec<(u128, String)> =
            self.by_hash.values().map(|reject| (reject.hash, reject.key.clone())).collect();
        keys.sort_unstable_by(|one, other| one.1.cmp(&other.1));
        keys
    }

    /// Notes that a row is rejected no more: it was read well, or it is gone.
    pub(super) fn settle(&mut self, hash: u128) {
        if let Some(reject) = self.by_hash.get(&hash) {
            self.settled.insert(reject.key.clone());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// The keys of those that are settled.
    pub(super) fn settled(&self) -> Vec<String> {
        self.settled.iter().cloned().collect()
    }

    fn knows(&self, reject: &Reject) -> bool {
        self.by_hash.get(&reject.hash).is_some_and(|known| {
            known.version == reject.version && known.column == reject.column && known.reason == reject.reason
        })
    }
}

impl<'a> Work<'a> {
    /// Reads what earlier runs have rejected.
    pub(super) async fn open_rejects(&self) -> Result<OpenRejects, SyncError> {
        let mut open = OpenRejects::default();
        let mut after: Option<String> = None;
        loop {
            let page = self.parts.rejects.rejects(&self.spec.id, after.as_deref(), PAGE).await;
            let page = page.map_err(|error| self.error(Stage::State, error))?;
            let last = page.len() < PAGE;
            after = page.last().map(|reject| reject.key.clone());
            open.by_hash.extend(page.into_iter().map(|reject| (reject.hash, reject)));
            if last {
                return Ok(open);
            }
        }
    }

    /// The rows of a batch that may land; the others are noted and kept. Stops once there are more of them than the dataset allows.
    pub(super) async fn take(&self, filling: &mut Filling<'a>, batch: Batch) -> Result<Batch, SyncError> {
        if batch.rejects().is_empty() && filling.open.is_empty() {
            return Ok(batch);
        }
        let (good, bad) = batch.split().map_err(|full| self.full_batch(full))?;
        if !filling.open.is_empty() {
            for row in 0..good.rows() {
                let print = fingerprint(&mut filling.hasher, &good, row);
                filling.open.settle(print.key);
            }
        }
        let mut kept = Vec::new();
        for mark in bad.rejects() {
            let print = fingerprint(&mut filling.hasher, &bad, mark.row);
            filling.counts.read += 1;
            filling.counts.rejected += 1;
            let mut reject = Reject {
                dataset: self.spec.id.clone(),
                key: filling.hasher.key_text(bad.schema(), &bad, mark.row).to_owned(),
                hash: print.key,
                version: print.version,
                run: self.run.clone(),
                at: self.parts.clock.now(),
                column: mark.column.clone(),
                reason: mark.reason.clone(),
                hint: mark.hint.clone(),
                raw: mark.raw.clone(),
            };
            reject.redact(&self.parts.redactor);
            // The overlap reads the same rows again and again; the trail tells of each once.
            if !filling.open.knows(&reject) {
                let reason = format!("{}: {}", reject.column, reject.reason);
                let noted = filling.journal.note_reject(&bad, mark.row, print, &reason);
                noted.map_err(|full| self.full_batch(full))?;
            }
            kept.push(reject);
        }
        if kept.is_empty() {
            return Ok(good);
        }
        let first = kept.first().map(|reject| (reject.column.clone(), reject.reason.clone(), reject.hint.clone()));
        self.parts.rejects.keep(kept).await.map_err(|error| self.error(Stage::State, error))?;
        let (rejected, allowed) = (self.already.rejected + filling.counts.rejected, self.spec.max_rejects);
        let Some((column, reason, hint)) = first.filter(|_| rejected > allowed) else {
            return Ok(good);
        };
        // What was noted of them is wanted more than ever.
        filling.journal.flush().await?;
        let message = format!("a row cannot be mapped: {column}: {reason}; {rejected} rejected, {allowed} allowed");
        Err(self.error(Stage::Read, Cause::Rejected { message, hint }))
    }
}
