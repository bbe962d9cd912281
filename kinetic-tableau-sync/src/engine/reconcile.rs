//! The whole source against the whole of what has landed: what change tracking has missed, and what is gone.
//!
//! A listing of all keys and row versions is staged beside the fingerprints, and both are compared slice by slice, so that memory
//! stays flat. What differs is read once more by key before anything is done about it: a row that the listing lacks but that is
//! found by its key is not deleted, and a server that does not find what it has just listed is not believed at all.
//!
//! Where the source has no row versions (and for [`Track::Snapshot`]), the listing is of whole rows, which land as they come.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::cycle::most_deletes;
use super::fill::{CATCH_UP_ROUNDS, CHUNK, Filled, Filling, KEYS, Work, abandon, went_back};
use super::reading::{Reader, What};
use super::rows::RowHasher;
use super::sift::{Chunk, Fate, fingerprint};
use super::{Stage, SyncError};
use crate::batch::Batch;
use crate::checkpoint::Findings;
use crate::decode::PageDecoder;
use crate::destination::{LoadKind, LoadPlan};
use crate::model::{Cursor, RunId, Schema, Track};
use crate::remedy::Remedy;
use crate::source::Window;
use crate::store::{Fingerprint, Layer, Prints, Slice};

/// How many rows that are surely there are asked for beside those that seem to be gone.
pub(super) const CONTROLS: usize = 3;

/// What a comparison is about to do.
#[derive(Debug, Default)]
struct Differences {
    /// Keys whose rows are to be read again: the source has them, and not as they have landed.
    wanted: HashSet<u128>,
    /// Keys that have landed and are not in the listing, with their versions.
    gone: HashMap<u128, i64>,
    /// Keys that have landed as they are listed: asked for as a control.
    same: Vec<u128>,
    /// Rows whose listed version is older than the one that has landed.
    older: u64,
}

impl<'a> Work<'a> {
    /// Compares everything, and stages what differs. `cursor` is where the checkpoint stands, and stays.
    pub(super) async fn reconcile(
        &self,
        cursor: Option<Cursor>,
        head: Option<Cursor>,
    ) -> Result<(Filled, Option<Findings>), SyncError> {
        let plan = self.load_plan(LoadKind::Delta);
        let mut filling = self.begin(&plan, self.landed_generation);
        filling.open = self.open_rejects().await?;
        let mut findings = Findings::default();
        match self.compare(&mut filling, &mut findings, &plan, cursor.as_ref(), head).await {
            Ok(None) => {}
            Ok(Some(why)) => {
                if let Some(load) = filling.load.take() {
                    // What is left of it is replaced by the next load of the dataset.
                    let _ = load.abort().await;
                }
                return Ok((Filled::TooLarge { why }, None));
            }
            Err(error) => return Err(abandon(filling.load.take(), error).await),
        }
        let filled = if filling.load.is_none() {
            filling.journal.flush().await?;
            Filled::Nothing { counts: filling.counts, through: cursor, settled: filling.open.settled() }
        } else {
            self.seal(filling, plan, cursor.clone(), cursor, false).await?
        };
        Ok((filled, Some(findings)))
    }

    /// Answers a reason when a full load is called for instead.
    async fn compare(
        &self,
        filling: &mut Filling<'a>,
        findings: &mut Findings,
        plan: &LoadPlan,
        cursor: Option<&Cursor>,
        head: Option<Cursor>,
    ) -> Result<Option<String>, SyncError> {
        // The listing has a run of its own, so that it never counts as landed.
        let listing = RunId::new(format!("{}.listed", self.run));
        let by_version = self.spec.track != Track::Snapshot && !self.spec.compare_rows;
        let versions = by_version.then(|| self.schema.sighting()).flatten();
        let Some(head) = head else {
            findings.gone = self.landed_rows;
            // A source without any row is never believed, and none is deleted.
            if self.landed_rows > 0 {
                findings.refused = Some("the source answers no row at all".to_owned());
            }
            return Ok(None);
        };
        match &versions {
            Some(schema) => self.list(&listing, &Arc::new(schema.clone()), head, findings).await?,
            None => {
                if let Some(why) = self.list_whole(&listing, filling, plan, cursor, head, findings).await? {
                    return Ok(Some(why));
                }
            }
        }
        let found = self.differences(&listing, versions.is_some(), cursor, findings, filling).await?;
        if found.older > 0 && self.parts.remedies.has(Remedy::RestoreCheck) {
            return Ok(Some(went_back(found.older)));
        }
        if found.wanted.len() as u64 > self.parts.delta_rows {
            return Ok(Some(format!("{} rows differ; a full load follows", found.wanted.len())));
        }
        if !found.wanted.is_empty() {
            let layer = Layer::Staged(&listing);
            let texts = self.parts.fingerprints.key_texts(&self.spec.id, layer, &found.wanted).await;
            let texts = texts.map_err(|error| self.error(Stage::State, error))?;
            self.read_again(filling, findings, plan, cursor, texts).await?;
        }
        self.delete(filling, findings, plan, &found).await?;
        Ok(None)
    }

    /// Stages keys and versions of all rows.
    async fn list(
        &self,
        listing: &RunId,
        schema: &Arc<Schema>,
        head: Cursor,
        findings: &mut Findings,
    ) -> Result<(), SyncError> {
        let mut through = head;
        let mut window = Window { after: None, overlap: false, through: through.clone() };
        let mut hasher = RowHasher::default();
        let mut seen = Prints::default();
        for round in 0..=CATCH_UP_ROUNDS {
            let mut reader = Reader::start(
                Arc::clone(&self.parts.source),
                self.spec.clone(),
                Arc::clone(schema),
                None,
                What::Window(window),
            );
            while let Some(batch) = self.next(&mut reader).await? {
                for row in 0..batch.rows() {
                    sighted(&mut hasher, &batch, row, &mut seen).map_err(|full| self.full_batch(full))?;
                }
                if round == 0 {
                    findings.listed += batch.rows() as u64;
                }
                if seen.entries.len() >= CHUNK {
                    self.stage(listing, std::mem::take(&mut seen)).await?;
                }
            }
            // Rows that changed meanwhile have left the window; they come with the next one.
            let source = &self.parts.source;
            let now =
                source.head(self.spec, self.mapper.read()).await.map_err(|error| self.error(Stage::Read, error))?;
            let Some(now) = now.filter(|now| *now != through) else { break };
            let later = source.is_after(self.spec, &now, &through);
            if !later.map_err(|error| self.error(Stage::Read, error))? {
                break;
            }
            window = Window { after: Some(through), overlap: true, through: now.clone() };
            through = now;
        }
        self.stage(listing, seen).await
    }

    /// Reads whole rows, lands those that differ, and stages their keys. Answers a reason when too many differ.
    async fn list_whole(
        &self,
        listing: &RunId,
        filling: &mut Filling<'a>,
        plan: &LoadPlan,
        cursor: Option<&Cursor>,
        head: Cursor,
        findings: &mut Findings,
    ) -> Result<Option<String>, SyncError> {
        let window = Window { after: None, overlap: false, through: head };
        let mut reader = self.read(window);
        let mut seen = Prints::default();
        let mut hasher = RowHasher::default();
        let mut chunk = Chunk::default();
        loop {
            let batch = self.next(&mut reader).await?;
            let ended = batch.is_none();
            if let Some(batch) = batch {
                for row in 0..batch.rows() {
                    sighted(&mut hasher, &batch, row, &mut seen).map_err(|full| self.full_batch(full))?;
                }
                findings.listed += batch.rows() as u64;
                let batch = self.take(filling, batch).await?;
                chunk.push(batch, &mut filling.hasher);
            }
            if chunk.rows() >= CHUNK || (ended && !chunk.is_empty()) {
                self.stage(listing, std::mem::take(&mut seen)).await?;
                self.sift_and_count(filling, findings, &std::mem::take(&mut chunk), plan, cursor).await?;
                self.report_read(filling);
                if filling.older > 0 && self.parts.remedies.has(Remedy::RestoreCheck) {
                    return Ok(Some(went_back(filling.older)));
                }
                if filling.journal.noted() > self.parts.delta_rows {
                    return Ok(Some(format!("more than {} rows changed; a full load follows", self.parts.delta_rows)));
                }
            }
            if ended {
                return Ok(None);
            }
        }
    }

    async fn stage(&self, listing: &RunId, seen: Prints) -> Result<(), SyncError> {
        if seen.entries.is_empty() {
            return Ok(());
        }
        let appended = self.parts.fingerprints.append(&self.spec.id, self.landed_generation, listing, seen).await;
        appended.map_err(|error| self.error(Stage::State, error))
    }

    /// Sets the listing against what has landed.
    async fn differences(
        &self,
        listing: &RunId,
        versions: bool,
        cursor: Option<&Cursor>,
        findings: &mut Findings,
        filling: &mut Filling<'a>,
    ) -> Result<Differences, SyncError> {
        let state = |error| self.error(Stage::State, error);
        let prints = &self.parts.fingerprints;
        let mut found = Differences::default();
        let mut rejected: HashSet<u128> = filling.open.keys().into_iter().map(|(hash, _)| hash).collect();
        for slice in Slice::for_rows(self.landed_rows.max(findings.listed)) {
            let landed =
                prints.slice(&self.spec.id, Layer::Landed(self.landed_generation), slice).await.map_err(state)?;
            let listed = prints.slice(&self.spec.id, Layer::Staged(listing), slice).await.map_err(state)?;
            for (&key, seen) in &listed {
                rejected.remove(&key);
                match landed.get(&key) {
                    Some(known) if !versions || known.version == seen.version => {
                        // The first ones by hash, so that the same events always have the same course.
                        found.same.push(key);
                        if found.same.len() > CONTROLS * 100 {
                            found.same.sort_unstable();
                            found.same.truncate(CONTROLS);
                        }
                    }
                    Some(known) if known.version > seen.version => found.older += 1,
                    _ if !versions || self.is_fresh(seen.version, cursor)? => {}
                    _ => {
                        found.wanted.insert(key);
                    }
                }
            }
            let missing = landed.iter().filter(|(key, _)| !listed.contains_key(key));
            found.gone.extend(missing.map(|(&key, seen)| (key, seen.version)));
        }
        found.same.sort_unstable();
        found.same.truncate(CONTROLS);
        // Rejected rows that the source has no more.
        for hash in rejected {
            filling.open.settle(hash);
        }
        Ok(found)
    }

    /// Whether a row has changed since the checkpoint, so that the next cycle reads it anyway.
    fn is_fresh(&self, version: i64, cursor: Option<&Cursor>) -> Result<bool, SyncError> {
        match (&self.spec.track, cursor) {
            (Track::Revision { .. }, Some(cursor)) => {
                let at = Cursor::new(version.to_string());
                let fresh = self.parts.source.is_after(self.spec, &at, cursor);
                fresh.map_err(|error| self.error(Stage::Read, error))
            }
            // A version says nothing of the stamp.
            _ => Ok(false),
        }
    }

    /// Reads rows by their keys, and lands what is new or changed.
    async fn read_again(
        &self,
        filling: &mut Filling<'a>,
        findings: &mut Findings,
        plan: &LoadPlan,
        cursor: Option<&Cursor>,
        texts: HashMap<u128, String>,
    ) -> Result<(), SyncError> {
        let mut texts: Vec<(u128, String)> = texts.into_iter().collect();
        texts.sort_unstable();
        for some in texts.chunks(KEYS) {
            let (chunk, _) = self.fetch(filling, some.iter().map(|(_, text)| text.as_str())).await?;
            if !chunk.is_empty() {
                self.sift_and_count(filling, findings, &chunk, plan, cursor).await?;
            }
            self.report_read(filling);
        }
        Ok(())
    }

    /// Lands what differs of a chunk, and counts what change tracking should have told.
    async fn sift_and_count(
        &self,
        filling: &mut Filling<'a>,
        findings: &mut Findings,
        chunk: &Chunk,
        plan: &LoadPlan,
        cursor: Option<&Cursor>,
    ) -> Result<(), SyncError> {
        let mut landing: Vec<(String, Fate)> = Vec::new();
        let note = |batch: &Batch, row: usize, fate: Fate| {
            let column = |at: Option<usize>| at.and_then(|at| batch.column(at));
            let position = match self.spec.track {
                Track::Revision { .. } => column(batch.schema().version)
                    .and_then(|column| column.i64_at(row))
                    .map(|version| version.to_string()),
                _ => batch.stamp(row).map(Cow::into_owned),
            };
            landing.push((position.unwrap_or_default(), fate));
        };
        self.sift_chunk(filling, chunk, Some(plan), note).await?;
        for (position, fate) in landing {
            let fresh = match (&self.spec.track, cursor) {
                // Nothing is expected to tell.
                (Track::Snapshot, _) => true,
                (_, Some(cursor)) if !position.is_empty() => {
                    let fresh = self.parts.source.is_after(self.spec, &Cursor::new(position), cursor);
                    fresh.map_err(|error| self.error(Stage::Read, error))?
                }
                _ => false,
            };
            match fate {
                _ if fresh => {}
                Fate::Insert => findings.missed += 1,
                Fate::Update | Fate::Replace => findings.silent += 1,
            }
        }
        Ok(())
    }

    /// Asks for keys once more, and deletes the rows of those that are not found.
    async fn delete(
        &self,
        filling: &mut Filling<'a>,
        findings: &mut Findings,
        plan: &LoadPlan,
        found: &Differences,
    ) -> Result<(), SyncError> {
        findings.gone = found.gone.len() as u64;
        if found.gone.is_empty() {
            return Ok(());
        }
        let most = most_deletes(self.landed_rows, self.spec.max_delete_percent);
        let limited = self.parts.remedies.has(Remedy::DeleteLimit);
        if limited && findings.gone > most {
            findings.refused =
                Some(format!("{} of {} rows would go, more than {most}", findings.gone, self.landed_rows));
            return Ok(());
        }
        if limited && found.same.is_empty() {
            findings.refused = Some("no landed row is in the listing any more".to_owned());
            return Ok(());
        }
        let state = |error| self.error(Stage::State, error);
        let prints = &self.parts.fingerprints;
        let wanted: HashSet<u128> = found.gone.keys().chain(&found.same).copied().collect();
        let layer = Layer::Landed(self.landed_generation);
        let texts = prints.key_texts(&self.spec.id, layer, &wanted).await.map_err(state)?;
        let mut gone: Vec<(u128, &str)> = Vec::new();
        for key in found.gone.keys() {
            let Some(text) = texts.get(key) else { return Err(state(crate::store::damaged_fingerprints())) };
            gone.push((*key, text));
        }
        gone.sort_unstable();
        let controls: Vec<&str> = found.same.iter().filter_map(|key| texts.get(key)).map(String::as_str).collect();
        let mut to_delete: Vec<(u128, &str)> = Vec::new();
        for some in gone.chunks(KEYS) {
            let mut missing = some.to_vec();
            // Asked twice: one answer that ends early by mistake must not do.
            for _ in 0..2 {
                if missing.is_empty() {
                    break;
                }
                let keys = missing.iter().map(|(_, text)| *text).chain(controls.iter().copied());
                let there = if self.parts.remedies.has(Remedy::SecondSighting) {
                    self.fetch(filling, keys).await?.1
                } else {
                    found.same.iter().copied().collect()
                };
                if limited && !found.same.iter().any(|key| there.contains(key)) {
                    findings.refused = Some("rows that are there are not found by their keys".to_owned());
                    return Ok(());
                }
                missing.retain(|(key, _)| !there.contains(key));
            }
            to_delete.extend(missing);
        }
        findings.reappeared = findings.gone - to_delete.len() as u64;
        findings.deleted = to_delete.len() as u64;
        for some in to_delete.chunks(CHUNK) {
            self.begin_load(filling, plan).await?;
            for (key, text) in some {
                let version = found.gone.get(key).copied().unwrap_or_default();
                filling.journal.note_delete(*key, text, version).map_err(|full| self.full_batch(full))?;
            }
            filling.counts.deleted += some.len() as u64;
            let keys = self.key_batch(some.iter().map(|(_, text)| *text))?;
            if let Some(load) = &mut filling.load {
                load.delete(&keys).await.map_err(|error| self.error(Stage::Load, error))?;
            }
            filling.journal.flush_full_blocks().await?;
        }
        Ok(())
    }

    /// The rows of some keys, as the source has them now; and the keys that it has, also of rows that cannot be mapped.
    pub(super) async fn fetch<'t>(
        &self,
        filling: &mut Filling<'a>,
        texts: impl Iterator<Item = &'t str>,
    ) -> Result<(Chunk, HashSet<u128>), SyncError> {
        let keys = self.key_batch(texts)?;
        let mut reader = self.reader(What::Keys(keys));
        let (mut chunk, mut found) = (Chunk::default(), HashSet::new());
        while let Some(batch) = self.next(&mut reader).await? {
            found.extend((0..batch.rows()).map(|row| filling.hasher.key(batch.schema(), &batch, row)));
            let batch = self.take(filling, batch).await?;
            chunk.push(batch, &mut filling.hasher);
        }
        Ok((chunk, found))
    }

    /// Keys as columns. They were written by this engine, as JSON arrays in the order of the key.
    pub(super) fn key_batch<'t>(&self, texts: impl Iterator<Item = &'t str>) -> Result<Batch, SyncError> {
        let schema = Arc::new(self.schema.key_only());
        let broken = || self.error(Stage::State, crate::store::damaged_fingerprints());
        let mut page = String::from("{\"value\":[");
        for (nth, text) in texts.enumerate() {
            // As they are written: a number must not pass through a float.
            let parts: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| broken())?;
            if parts.len() != schema.columns.len() {
                return Err(broken());
            }
            for (at, (column, part)) in schema.columns.iter().zip(parts).enumerate() {
                let opening = if at > 0 {
                    ","
                } else if nth > 0 {
                    ",{"
                } else {
                    "{"
                };
                // Writing to a String cannot fail.
                let _ = write!(page, "{opening}{}:{part}", serde_json::Value::from(column.source.as_str()));
            }
            page.push('}');
        }
        page.push_str("]}");
        let decoded = PageDecoder::new(schema).decode(page.as_bytes());
        decoded.map(|page| page.batch).map_err(|_| broken())
    }
}

/// Notes that a row is there, in a version.
fn sighted(hasher: &mut RowHasher, batch: &Batch, row: usize, seen: &mut Prints) -> Result<(), crate::BatchFull> {
    let print = fingerprint(hasher, batch, row);
    // Anything but the mark of a deleted row.
    let entry = Fingerprint { row: 1, ..print };
    seen.push(entry, hasher.key_text(batch.schema(), batch, row))
}
