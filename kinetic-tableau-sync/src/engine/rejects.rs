//! Rows that cannot be mapped: noted with the reason, counted, and kept until they can.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::fill::{Filling, KEYS, Work};
use super::reconcile::CONTROLS;
use super::sift::fingerprint;
use super::{Cause, Stage, SyncError};
use crate::batch::Batch;
use crate::destination::LoadPlan;
use crate::store::{Layer, Reject, Slice};

/// Rejected rows that are read from the store at once.
const PAGE: usize = 1_000;

/// Rows that are rejected, by earlier runs or by this one, and which of them this run has read well since.
#[derive(Debug, Default)]
pub(super) struct OpenRejects {
    by_hash: HashMap<u128, Reject>,
    settled: BTreeSet<String>,
    /// Those that this run has rejected, however often it has read them, and not read well since.
    here: HashSet<u128>,
}

impl OpenRejects {
    /// Continues a run that has rejected these rows already.
    pub(super) fn continuing(here: &HashSet<u128>) -> Self {
        Self { here: here.clone(), ..Self::default() }
    }

    /// Their keys, in order.
    pub(super) fn keys(&self) -> Vec<(u128, String)> {
        let mut keys: Vec<(u128, String)> =
            self.by_hash.values().map(|reject| (reject.hash, reject.key.clone())).collect();
        keys.sort_unstable_by(|one, other| one.1.cmp(&other.1));
        keys
    }

    /// Notes that a row is rejected.
    fn note(&mut self, reject: &Reject) {
        self.here.insert(reject.hash);
        self.settled.remove(&reject.key);
        // What the row held is of no more use here, and may be long.
        self.by_hash.insert(reject.hash, Reject { raw: String::new(), ..reject.clone() });
    }

    /// Notes that a row is rejected no more: it was read well, or it is gone.
    pub(super) fn settle(&mut self, hash: u128) {
        if let Some(reject) = self.by_hash.get(&hash) {
            self.here.remove(&hash);
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

    /// Those that this run has rejected.
    pub(super) fn into_here(self) -> HashSet<u128> {
        self.here
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
        let mut open = OpenRejects::continuing(self.rejected);
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

    /// Reads again, by their keys, what earlier runs have rejected, where that is wanted.
    pub(super) async fn replay_rejects(&self, filling: &mut Filling<'a>, plan: &LoadPlan) -> Result<(), SyncError> {
        if !self.replay {
            return Ok(());
        }
        let open = filling.open.keys();
        let mut controls: Option<Vec<(u128, String)>> = None;
        for some in open.chunks(KEYS) {
            let mut missing: Vec<&(u128, String)> = some.iter().collect();
            // What is not found is gone, but an answer that came out empty by mistake must not pass for that: it is asked for twice
            // more, together with rows that are surely there.
            for attempt in 0..3 {
                if missing.is_empty() {
                    break;
                }
                if attempt > 0 && controls.is_none() {
                    controls = Some(self.controls().await?);
                }
                let surely = controls.iter().flatten();
                let texts = missing.iter().copied().chain(surely.clone()).map(|(_, text)| text.as_str());
                let (chunk, found) = self.fetch(filling, texts).await?;
                if !chunk.is_empty() {
                    self.sift_chunk(filling, &chunk, Some(plan), |_, _, _| {}).await?;
                }
                missing.retain(|(hash, _)| !found.contains(hash));
                if attempt > 0 && !surely.clone().any(|(hash, _)| found.contains(hash)) {
                    missing.clear();
                }
            }
            for (hash, _) in missing {
                filling.open.settle(*hash);
            }
            self.report_read(filling);
        }
        Ok(())
    }

    /// A few rows that have landed, the first ones by hash, so that the same events always have the same course.
    async fn controls(&self) -> Result<Vec<(u128, String)>, SyncError> {
        let state = |error| self.error(Stage::State, error);
        let (prints, layer) = (&self.parts.fingerprints, Layer::Landed(self.landed_generation));
        let Some(slice) = Slice::for_rows(self.landed_rows).next() else { return Ok(Vec::new()) };
        let landed = prints.slice(&self.spec.id, layer, slice).await.map_err(state)?;
        let mut hashes: Vec<u128> = landed.into_keys().collect();
        hashes.sort_unstable();
        hashes.truncate(CONTROLS);
        let texts = prints.key_texts(&self.spec.id, layer, &hashes.into_iter().collect()).await.map_err(state)?;
        Ok(texts.into_iter().collect())
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
            // The overlap reads the same rows again and again, also within a run; the trail tells of each once.
            if !filling.open.knows(&reject) {
                let reason = format!("{}: {}", reject.column, reject.reason);
                let noted = filling.journal.note_reject(&bad, mark.row, print, &reason);
                noted.map_err(|full| self.full_batch(full))?;
            }
            filling.open.note(&reject);
            kept.push(reject);
        }
        if kept.is_empty() {
            return Ok(good);
        }
        let mut first = kept.first().map(|reject| (reject.column.clone(), reject.reason.clone(), reject.hint.clone()));
        if let Some((column, _, hint)) = &mut first
            && good.rows() == 0
            && kept.len() > 1
            && kept.iter().all(|reject| reject.column == *column)
        {
            // Then it is not the rows that are wrong.
            *hint = Some(format!(
                "no row that was read fits: give {column} another type in `types`, or map it another way"
            ));
        }
        self.parts.rejects.keep(kept).await.map_err(|error| self.error(Stage::State, error))?;
        let (rejected, allowed) = (filling.open.here.len() as u64, self.spec.max_rejects);
        let Some((column, reason, hint)) = first.filter(|_| rejected > allowed) else {
            return Ok(good);
        };
        // What was noted of them is wanted more than ever.
        filling.journal.flush().await?;
        let message = format!("a row cannot be mapped: {column}: {reason}; {rejected} rejected, {allowed} allowed");
        Err(self.error(Stage::Read, Cause::Rejected { message, hint }))
    }
}
