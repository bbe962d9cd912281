//! Fills a load from the source: everything, or what changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::journal::Journal;
use super::reading::{Reader, What};
use super::rejects::OpenRejects;
use super::rows::RowHasher;
use super::sift::{Chunk, Fate, fingerprint, known};
use super::{Cause, Parts, ProgressEvent, Stage, SyncError};
use crate::audit::Action;
use crate::batch::{Batch, BatchFull};
use crate::checkpoint::{Counts, Intent};
use crate::destination::{DestinationErrorKind, Load, LoadKind, LoadPlan};
use crate::mapping::Mapper;
use crate::model::{Cursor, DatasetSpec, RunId, Schema, Track};
use crate::remedy::Remedy;
use crate::source::Window;

/// Keys that are asked for together.
pub(super) const KEYS: usize = 2_000;

/// Rows that are compared with the fingerprints at once: each comparison streams over all of them.
pub(super) const CHUNK: usize = 32_768;

/// A full load reads what changed while it was reading, and then what changed meanwhile, at most so often. What still moves after
/// that is left to the next delta.
pub(super) const CATCH_UP_ROUNDS: usize = 5;

/// What a load is filled with.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) parts: &'a Parts,
    pub(super) spec: &'a DatasetSpec,
    pub(super) run: &'a RunId,
    pub(super) schema: &'a Arc<Schema>,
    pub(super) mapper: &'a Arc<Mapper>,
    /// Whether rows that were rejected before are read again.
    pub(super) replay: bool,
    pub(super) target_id: Option<&'a str>,
    /// The generation of fingerprints that describes what lies in the target.
    pub(super) landed_generation: u64,
    pub(super) landed_rows: u64,
    /// Whether a full load takes the place of rows of the same table, by the same key, in the same target.
    pub(super) replaces: bool,
    /// A full load of fewer rows is refused.
    pub(super) must_keep: u64,
    /// What earlier loads of the same run came to, where the changes are split.
    pub(super) already: Counts,
    /// The rows that they have rejected.
    pub(super) rejected: &'a HashSet<u128>,
}

/// How filling ended.
#[derive(Debug)]
pub(super) enum Filled {
    /// A load is sealed.
    Sealed {
        /// The note to be made before it is published.
        intent: Box<Intent>,
        /// The plan it was made by.
        load: LoadPlan,
        /// Whether there are more changes behind it, for another load.
        more: bool,
        /// The rows that the run has rejected so far.
        rejected: HashSet<u128>,
    },
    /// There is nothing to land.
    Nothing {
        /// What was read.
        counts: Counts,
        /// Where the checkpoint moves.
        through: Option<Cursor>,
        /// Keys of rows that are rejected no more.
        settled: Vec<String>,
    },
    /// Too much changed for a delta.
    TooLarge {
        /// By which measure.
        why: String,
    },
}

/// How far a window was read.
#[derive(Debug)]
enum Swept {
    /// To its end.
    All,
    /// To a position where a load is large enough.
    Until(Cursor),
    /// Until it turned out that a full load is better.
    Full(String),
}

/// A load while it is being filled.
#[derive(Debug)]
pub(super) struct Filling<'a> {
    pub(super) load: Option<Box<dyn Load>>,
    pub(super) journal: Journal<'a>,
    pub(super) hasher: RowHasher,
    pub(super) counts: Counts,
    /// Rows at or before this position came late, if they are landed only now.
    pub(super) behind: Option<i64>,
    /// Rows that contradict what has landed, as after a restore of the database.
    pub(super) older: u64,
    /// What is rejected, by earlier runs or by this one.
    pub(super) open: OpenRejects,
}

impl<'a> Work<'a> {
    /// Reads everything through `head`, then catches up with what changed meanwhile.
    pub(super) async fn full(&self, head: Option<Cursor>) -> Result<Filled, SyncError> {
        let plan = self.load_plan(LoadKind::Full);
        let mut filling = self.begin(&plan, self.landed_generation + 1);
        filling.load = Some(self.parts.destination.begin(&plan).await.map_err(|error| self.error(Stage::Load, error))?);
        let filled = async {
            let through = self.fill_full(&mut filling, head).await?;
            // A load that is refused for having too few rows takes nothing away.
            if filling.counts.inserted >= self.must_keep {
                self.note_replaced(&mut filling).await?;
            }
            Ok(through)
        };
        match filled.await {
            Ok(through) => self.seal(filling, plan, None, through, false).await,
            Err(error) => Err(abandon(filling.load.take(), error).await),
        }
    }

    async fn fill_full(&self, filling: &mut Filling<'a>, head: Option<Cursor>) -> Result<Option<Cursor>, SyncError> {
        let Some(head) = head else { return Ok(None) };
        // A row that was read and is written again by a transaction which had taken its number before comes once more, but only behind
        // what has settled.
        let settled = self.parts.source.settled(self.spec, &head);
        let mut through = settled.clone().unwrap_or_else(|| head.clone());
        let mut reader = self.read(Window { after: None, overlap: false, through: through.clone() });
        while let Some(batch) = self.next(&mut reader).await? {
            let batch = self.take(filling, batch).await?;
            for row in 0..batch.rows() {
                let print = fingerprint(&mut filling.hasher, &batch, row);
                filling.journal.note(Action::Insert, &batch, row, print).map_err(|full| self.full_batch(full))?;
            }
            filling.counts.read += batch.rows() as u64;
            filling.counts.inserted += batch.rows() as u64;
            self.insert(filling, &batch).await?;
            filling.journal.flush_full_blocks().await?;
            self.report_read(filling);
        }
        if settled.is_some() {
            let window = Window { after: Some(through), overlap: false, through: head.clone() };
            self.sift_window(filling, window, None, u64::MAX).await?;
            through = head;
        }
        for _ in 0..CATCH_UP_ROUNDS {
            let now = self
                .parts
                .source
                .head(self.spec, self.mapper.read())
                .await
                .map_err(|error| self.error(Stage::Read, error))?;
            let Some(now) = now.filter(|now| *now != through) else {
                break;
            };
            let later = self.parts.source.is_after(self.spec, &now, &through);
            if !later.map_err(|error| self.error(Stage::Read, error))? {
                break;
            }
            // With the overlap: what became visible late while the pages before were read lies behind them, and by the time this load has
            // landed it may lie further back than the overlap of the next delta.
            let window = Window { after: Some(through), overlap: true, through: now.clone() };
            self.sift_window(filling, window, None, u64::MAX).await?;
            through = now;
        }
        Ok(Some(through))
    }

    /// Reads what changed behind `after`.
    pub(super) async fn delta(&self, after: Option<Cursor>, head: Option<Cursor>) -> Result<Filled, SyncError> {
        let Some(through) = head else {
            return Ok(Filled::Nothing { counts: Counts::default(), through: None, settled: Vec::new() });
        };
        let plan = self.load_plan(LoadKind::Delta);
        let mut filling = self.begin(&plan, self.landed_generation);
        filling.open = self.open_rejects().await?;
        let window = Window { after: after.clone(), overlap: true, through: through.clone() };
        let filled = match self.replay_rejects(&mut filling, &plan).await {
            Ok(()) => {
                // What was rejected did not come late, however old it is.
                filling.behind = match self.spec.track {
                    Track::Revision { .. } => after.as_ref().and_then(|after| after.as_str().parse().ok()),
                    _ => None,
                };
                self.sift_window(&mut filling, window, Some(&plan), self.parts.delta_rows).await
            }
            Err(error) => Err(error),
        };
        let (through, more) = match filled {
            Ok(Swept::All) => (through, false),
            Ok(Swept::Until(through)) => (through, true),
            Err(error) => return Err(abandon(filling.load.take(), error).await),
            Ok(Swept::Full(why)) => {
                if let Some(load) = filling.load.take() {
                    // What is left of it is replaced by the next load of the dataset.
                    let _ = load.abort().await;
                }
                return Ok(Filled::TooLarge { why });
            }
        };
        if filling.load.is_none() {
            filling.journal.flush().await?;
            let settled = filling.open.settled();
            return Ok(Filled::Nothing { counts: filling.counts, through: Some(through), settled });
        }
        self.seal(filling, plan, after, Some(through), more).await
    }

    /// Reads a window, compares it with what is known, and adds what is new or changed to the load. Where there is no load yet it
    /// is begun by `plan` with the first row that needs it. Once more than `limit` rows are to land, the load ends there where the source
    /// yields rows in its order, and the rest is left to another one; unless so much has changed that a full load is better.
    async fn sift_window(
        &self,
        filling: &mut Filling<'a>,
        window: Window,
        plan: Option<&LoadPlan>,
        limit: u64,
    ) -> Result<Swept, SyncError> {
        let mut reader = self.read(window);
        let enough = usize::try_from(limit).unwrap_or(CHUNK).clamp(1, CHUNK);
        let mut chunk = Chunk::default();
        loop {
            let batch = self.next(&mut reader).await?;
            let ended = batch.is_none();
            if let Some(batch) = batch {
                let batch = self.take(filling, batch).await?;
                chunk.push(batch, &mut filling.hasher);
            }
            if chunk.rows() >= enough || (ended && !chunk.is_empty()) {
                let last = chunk.last_version();
                self.sift_chunk(filling, &std::mem::take(&mut chunk), plan, |_, _, _| {}).await?;
                self.report_read(filling);
                if filling.older > 0 && plan.is_some() && self.parts.remedies.has(Remedy::RestoreCheck) {
                    return Ok(Swept::Full(went_back(filling.older)));
                }
                if filling.journal.noted() > limit {
                    let changed = self.already.inserted + self.already.updated + filling.journal.noted();
                    if !self.parts.source.is_ordered(self.spec) || changed > self.landed_rows / 2 {
                        return Ok(Swept::Full(format!("{changed} rows changed and more; a full load follows")));
                    }
                    if let (Some(last), false) = (last, ended) {
                        return Ok(Swept::Until(Cursor::new(last.to_string())));
                    }
                }
            }
            if ended {
                return Ok(Swept::All);
            }
        }
    }

    pub(super) async fn sift_chunk(
        &self,
        filling: &mut Filling<'a>,
        chunk: &Chunk,
        plan: Option<&LoadPlan>,
        mut landing: impl FnMut(&Batch, usize, Fate),
    ) -> Result<(), SyncError> {
        let state = |error| self.error(Stage::State, error);
        let prints = &self.parts.fingerprints;
        // A full load begins from nothing: only what it has staged itself is known.
        let landed = match plan {
            Some(_) => prints.lookup(&self.spec.id, self.landed_generation, chunk.keys()).await.map_err(state)?,
            None => HashMap::new(),
        };
        let staged = if filling.journal.noted() == 0 {
            HashMap::new()
        } else {
            filling.journal.flush().await?;
            prints.lookup_staged(&self.spec.id, self.run, chunk.keys()).await.map_err(state)?
        };
        self.check_keys(filling, chunk, &staged).await?;
        let mut fresh = Batch::empty(Arc::clone(self.schema));
        let mut replacing = Batch::empty(Arc::clone(self.schema));
        let Filling { journal, counts, behind, older, .. } = filling;
        let (mut late, mut late_by) = (0, 0);
        let sifted = chunk.sift(&landed, &staged, counts, older, |batch, row, print, fate| {
            // Another content of a version that has landed is no late commit: columns that are looked up elsewhere change like that.
            let is_known = known(&landed, print.key).is_some_and(|seen| seen.version == print.version);
            let far = behind.and_then(|behind| behind.checked_sub(print.version));
            if let Some(far) = far.filter(|far| *far >= 0 && !is_known) {
                late += 1;
                late_by = late_by.max(far.unsigned_abs());
            }
            let (action, into) = match fate {
                Fate::Insert => (Action::Insert, &mut fresh),
                Fate::Update => (Action::Update, &mut fresh),
                Fate::Replace => (Action::Update, &mut replacing),
            };
            landing(batch, row, fate);
            into.push_row(batch, row)?;
            journal.note(action, batch, row, print)
        });
        counts.late += late;
        counts.late_by = counts.late_by.max(late_by);
        sifted.map_err(|full| self.full_batch(full))?;
        if fresh.rows() + replacing.rows() == 0 {
            return Ok(());
        }
        if let Some(plan) = plan {
            self.begin_load(filling, plan).await?;
        }
        if fresh.rows() > 0 {
            self.insert(filling, &fresh).await?;
        }
        if replacing.rows() > 0 {
            let Some(load) = &mut filling.load else {
                return Ok(());
            };
            let replaced = load.upsert(&replacing).await.map_err(|error| self.error(Stage::Load, error))?;
            if replaced != replacing.rows() as u64 {
                let message =
                    format!("{} staged rows were to be replaced, the load replaced {replaced}", replacing.rows());
                return Err(self.error(Stage::Load, Cause::Invariant(message)));
            }
        }
        filling.journal.flush_full_blocks().await?;
        Ok(())
    }

    /// Begins the load of a plan, unless it has begun.
    pub(super) async fn begin_load(&self, filling: &mut Filling<'_>, plan: &LoadPlan) -> Result<(), SyncError> {
        if filling.load.is_none() {
            let begun = self.parts.destination.begin(plan).await;
            filling.load = Some(begun.map_err(|error| self.error(Stage::Load, error))?);
        }
        Ok(())
    }

    /// Writes out what belongs to the load and makes it durable.
    pub(super) async fn seal(
        &self,
        mut filling: Filling<'a>,
        plan: LoadPlan,
        after: Option<Cursor>,
        through: Option<Cursor>,
        more: bool,
    ) -> Result<Filled, SyncError> {
        if let Err(error) = filling.journal.flush().await {
            return Err(abandon(filling.load.take(), error).await);
        }
        let Some(load) = filling.load.take() else {
            return Err(self.error(Stage::Load, Cause::Invariant("a load ended before it began".to_owned())));
        };
        let staged = match load.seal().await {
            Ok(staged) => staged,
            Err(error) if error.kind() == DestinationErrorKind::TooLarge && plan.kind == LoadKind::Delta => {
                return Ok(Filled::TooLarge { why: format!("{error}; a full load follows") });
            }
            Err(error) => return Err(self.error(Stage::Load, error)),
        };
        let counts = filling.counts;
        let expected = counts.inserted + counts.updated;
        if staged.rows != expected || staged.deletes != counts.deleted || !counts.balance() {
            let message = format!(
                "{} rows were read ({} new, {} changed, {} unchanged, {} superseded, {} rejected) and {} are to go, but {} and {} are staged; \
                 nothing was published",
                counts.read,
                counts.inserted,
                counts.updated,
                counts.unchanged,
                counts.superseded,
                counts.rejected,
                counts.deleted,
                staged.rows,
                staged.deletes
            );
            let _ = self.parts.destination.discard(&staged).await;
            return Err(self.error(Stage::Load, Cause::Invariant(message)));
        }
        if plan.kind == LoadKind::Full && staged.rows < self.must_keep {
            let message = format!(
                "the source answers {} rows, where at least {} were expected after what has landed; nothing was published",
                staged.rows, self.must_keep
            );
            let _ = self.parts.destination.discard(&staged).await;
            return Err(self.error(Stage::Load, Cause::Loss(message)));
        }
        self.parts.report(&self.spec.id, &ProgressEvent::Staged { rows: staged.rows, bytes: staged.bytes });
        let (generation, rows_after) = match plan.kind {
            LoadKind::Full => (self.landed_generation + 1, counts.inserted),
            LoadKind::Delta => {
                (self.landed_generation, (self.landed_rows + counts.inserted).saturating_sub(counts.deleted))
            }
        };
        let intent = Intent {
            run: self.run.clone(),
            kind: plan.kind,
            request_id: plan.request_id.clone(),
            after,
            through,
            generation,
            schema: Schema::clone(self.schema),
            selection: self.spec.selection(),
            company: self.parts.source.company().to_owned(),
            target: plan.target.clone(),
            target_id: plan.target_id.clone(),
            staged,
            rows_after,
            counts,
            settled: filling.open.settled(),
            at: self.parts.clock.now(),
            receipt: None,
        };
        Ok(Filled::Sealed { intent: Box::new(intent), load: plan, more, rejected: filling.open.into_here() })
    }

    pub(super) fn load_plan(&self, kind: LoadKind) -> LoadPlan {
        LoadPlan {
            dataset: self.spec.id.clone(),
            run: self.run.clone(),
            kind,
            schema: Arc::clone(self.schema),
            target: self.spec.target.clone(),
            target_id: self.target_id.map(ToOwned::to_owned),
            request_id: self.run.to_string(),
        }
    }

    pub(super) fn begin(&self, plan: &LoadPlan, generation: u64) -> Filling<'a> {
        Filling {
            load: None,
            journal: Journal::new(self.parts, self.spec, self.run, generation, &plan.request_id, self.schema),
            hasher: RowHasher::default(),
            counts: Counts::default(),
            behind: None,
            older: 0,
            open: OpenRejects::continuing(self.rejected),
        }
    }

    pub(super) fn read(&self, window: Window) -> Reader {
        self.reader(What::Window(window))
    }

    /// A reader of whole rows, mapped.
    pub(super) fn reader(&self, what: What) -> Reader {
        let mapper = Arc::clone(self.mapper);
        let (source, read) = (Arc::clone(&self.parts.source), Arc::clone(mapper.read()));
        Reader::start(source, self.spec.clone(), read, Some(mapper), what)
    }

    pub(super) async fn next(&self, reader: &mut Reader) -> Result<Option<Batch>, SyncError> {
        reader.next().await.map_err(|error| self.error(Stage::Read, error))
    }

    async fn insert(&self, filling: &mut Filling<'a>, batch: &Batch) -> Result<(), SyncError> {
        let Some(load) = &mut filling.load else {
            return Ok(());
        };
        load.insert(batch).await.map_err(|error| self.error(Stage::Load, error))
    }

    pub(super) fn report_read(&self, filling: &Filling<'a>) {
        self.parts.report(&self.spec.id, &ProgressEvent::Read { rows: filling.counts.read });
    }

    pub(super) fn full_batch(&self, full: BatchFull) -> SyncError {
        self.error(Stage::Load, Cause::Invariant(format!("{full} (`page_size`)")))
    }

    pub(super) fn error(&self, stage: Stage, cause: impl Into<Cause>) -> SyncError {
        SyncError::new(&self.spec.id, Some(self.run), stage, cause)
    }
}

/// Why a full load follows when rows contradict what has landed.
pub(super) fn went_back(rows: u64) -> String {
    format!("{rows} rows went back to older versions, as after a restore of the database; a full load follows")
}

/// Throws a load away because of an error, which is what counts.
pub(super) async fn abandon(load: Option<Box<dyn Load>>, error: SyncError) -> SyncError {
    if let Some(load) = load {
        let _ = load.abort().await;
    }
    error
}
