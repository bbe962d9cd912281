//! The order of steps of one run, and the state it carries from one to the next.

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::time::timeout;

use super::deliver::plan_of;
use super::fill::{Filled, Work};
use super::mapped::mapped;
use super::{FullReason, Goal, Parts, ProgressEvent, Stage, SyncError, keep};
use crate::audit::{AuditEntry, AuditEvent};
use crate::checkpoint::{Checkpoint, Counts, Findings, Intent, Landed, Reconciled, RunSummary};
use crate::destination::{LoadKind, RefreshReport, TargetState};
use crate::mapping::Mapper;
use crate::model::{ColumnType, Cursor, DatasetSpec, RunId, Schema, Track};
use crate::remedy::Remedy;
use crate::store::{Lease, StateError};

/// One run of one dataset.
#[derive(Debug)]
pub(super) struct Cycle<'a> {
    pub(super) parts: &'a Parts,
    pub(super) spec: &'a DatasetSpec,
    pub(super) lease: &'a Lease,
    /// The version under which [`Cycle::checkpoint`] was last written; none when it never was.
    pub(super) version: Option<u64>,
    pub(super) checkpoint: Checkpoint,
    pub(super) run: RunId,
    pub(super) started: DateTime<Utc>,
    pub(super) kind: Option<LoadKind>,
    pub(super) goal: Goal,
    pub(super) counts: Counts,
    pub(super) findings: Option<Findings>,
    pub(super) refreshes: Vec<RefreshReport>,
}

/// What a run is about to do.
struct Plan {
    kind: LoadKind,
    /// Why it is a full load; none where it is not.
    reason: Option<FullReason>,
    spec: DatasetSpec,
    mapper: Arc<Mapper>,
    head: Option<Cursor>,
    target_id: Option<String>,
}

/// How many of so many rows one run may remove without being told to. A few always may, but never all of them.
pub(super) fn most_deletes(rows: u64, percent: u8) -> u64 {
    /// In small tables a single row is a large part.
    const FEW: u64 = 10;
    let share = rows / 100 * u64::from(percent) + rows % 100 * u64::from(percent) / 100;
    share.max(FEW).min(rows.saturating_sub(1))
}

/// Runs one cycle under a lease, unless `lost` says before its end that the lease is lost.
pub(super) async fn run(
    parts: &Parts,
    spec: &DatasetSpec,
    lease: &Lease,
    goal: Goal,
    lost: impl Future<Output = StateError>,
) -> Result<RunSummary, SyncError> {
    let mut lost = pin!(lost);
    let early = |stage, error: StateError| SyncError::new(&spec.id, None, stage, error);
    // In this order, so that the same events always have the same course.
    let found = tokio::select! {
        biased;
        found = parts.state.load(&spec.id) => found.map_err(|error| early(Stage::State, error))?,
        error = &mut lost => return Err(early(Stage::Lease, error)),
    };
    let (version, checkpoint) = match found {
        Some(found) => (Some(found.version), found.checkpoint),
        None => (None, Checkpoint::default()),
    };
    let mut cycle = Cycle {
        parts,
        spec,
        lease,
        version,
        checkpoint,
        run: RunId::random(),
        started: parts.clock.now(),
        kind: None,
        goal,
        counts: Counts::default(),
        findings: None,
        refreshes: Vec::new(),
    };
    let error = tokio::select! {
        biased;
        ended = Box::pin(cycle.live()) => return ended,
        error = lost => error,
    };
    let error = cycle.error(Stage::Lease, error).redacted(&parts.redactor);
    cycle.lost(&error).await;
    Err(error)
}

impl Cycle<'_> {
    /// From the first step to the note of how it ended.
    async fn live(&mut self) -> Result<RunSummary, SyncError> {
        match self.work().await {
            Ok(()) => self.succeeded().await,
            Err(error) => {
                let error = error.redacted(&self.parts.redactor);
                self.failed(&error).await;
                Err(error)
            }
        }
    }

    async fn work(&mut self) -> Result<(), SyncError> {
        self.resume().await?;
        // What crashed runs staged beyond the intent counts for nothing.
        let discarded = self.parts.fingerprints.discard_staged(self.lease, None).await;
        discarded.map_err(|error| self.error(Stage::State, error))?;

        let mut plan = self.plan().await?;
        let mut rejected_so_far = HashSet::new();
        loop {
            self.kind = Some(plan.kind);
            self.report(&ProgressEvent::Started { kind: plan.kind, reason: plan.reason });
            let started = AuditEvent::Started {
                kind: plan.kind,
                reason: plan.reason,
                company: self.parts.source.company().to_owned(),
                after: self.window_start(plan.kind),
                target: self.spec.target.clone(),
            };
            self.audit(started).await?;
            let cursor = self.checkpoint.cursor.clone();
            if !self.parts.remedies.has(Remedy::CheckpointLast) {
                self.checkpoint.cursor.clone_from(&plan.head);
                self.save().await?;
            }
            let work = Work {
                parts: self.parts,
                spec: &plan.spec,
                run: &self.run,
                schema: plan.mapper.land(),
                mapper: &plan.mapper,
                replay: self.goal == Goal::Replay,
                target_id: plan.target_id.as_deref(),
                landed_generation: self.checkpoint.generation,
                landed_rows: self.checkpoint.landed.as_ref().map_or(0, |landed| landed.rows),
                replaces: self.replaces(&plan),
                must_keep: self.must_keep(&plan.spec),
                already: self.counts,
                rejected: &rejected_so_far,
            };
            let (filled, findings) = match plan.kind {
                LoadKind::Full => (work.full(plan.head.clone()).await?, None),
                LoadKind::Delta if self.goal == Goal::Reconcile || self.spec.track == Track::Snapshot => {
                    work.reconcile(cursor, plan.head.clone()).await?
                }
                LoadKind::Delta => (work.delta(cursor, plan.head.clone()).await?, None),
            };
            self.findings = findings;
            match filled {
                Filled::Sealed { intent, load, more, rejected } => {
                    self.counts = self.counts.and(intent.counts);
                    rejected_so_far = rejected;
                    self.deliver(*intent, Some(load)).await?;
                    if more {
                        // Landed and remembered: what follows is a load of its own.
                        self.run = RunId::random();
                        continue;
                    }
                    self.reconciled().await?;
                    return self.refresh().await;
                }
                Filled::Nothing { counts, through, settled } => {
                    self.counts = self.counts.and(counts);
                    return self.idle(counts, through, &settled).await;
                }
                Filled::TooLarge { why } => {
                    // The records of the attempt stay in the trail as never landed, so the full load is a run of its own.
                    let stage = Stage::Load.as_str().to_owned();
                    self.audit(AuditEvent::Failed { stage, message: why, hint: None }).await?;
                    let discarded = self.parts.fingerprints.discard_staged(self.lease, None).await;
                    discarded.map_err(|error| self.error(Stage::State, error))?;
                    self.run = RunId::random();
                    (plan.kind, plan.reason) = (LoadKind::Full, Some(FullReason::TooManyChanges));
                }
            }
        }
    }

    /// Where the window of a load begins.
    fn window_start(&self, kind: LoadKind) -> Option<Cursor> {
        match kind {
            LoadKind::Full => None,
            LoadKind::Delta => self.checkpoint.cursor.clone(),
        }
    }

    /// Decides between full load and delta.
    async fn plan(&self) -> Result<Plan, SyncError> {
        let landed = self.checkpoint.landed.as_ref().and_then(|landed| landed.schema.as_ref());
        let fitted = mapped(&*self.parts.source, self.spec, landed).await;
        let (mut spec, mapper) = fitted.map_err(|cause| self.error(Stage::Schema, cause))?;
        if let Track::Revision { overlap, .. } = &mut spec.track {
            // Twice of what was seen to happen.
            *overlap = (*overlap).max(self.checkpoint.late_by.saturating_mul(2));
        }
        let schema = mapper.land();
        if schema.key.is_empty() {
            let message = "the dataset has no key column; name them in its `key`";
            return Err(self.error(Stage::Schema, super::Cause::Invariant(message.to_owned())));
        }
        let target = self.parts.destination.inspect(&self.spec.target).await;
        let target = target.map_err(|error| self.error(Stage::Inspect, error))?;
        let head =
            self.parts.source.head(&spec, mapper.read()).await.map_err(|error| self.error(Stage::Read, error))?;
        let known = self.checkpoint.landed.as_ref().and_then(|landed| landed.version.as_ref());
        let (unfit, target_id) = match target {
            TargetState::Present { id, version } => {
                let touched = known.is_some() && version.is_some() && known != version.as_ref();
                let unfit = touched && self.parts.remedies.has(Remedy::TargetCheck);
                (unfit.then_some(FullReason::TargetTouched), Some(id))
            }
            TargetState::Foreign { id } => (Some(FullReason::TargetForeign), Some(id)),
            TargetState::Absent => (Some(FullReason::TargetGone), None),
        };
        let reason = match &self.checkpoint.landed {
            None if self.checkpoint.last_success.is_none() => Some(FullReason::First),
            None => Some(FullReason::DeliveryUnknown),
            Some(_) if self.goal == Goal::Anew => Some(FullReason::Requested),
            // Whether the new one is there yet tells nothing of the old one.
            Some(landed) if landed.target != self.spec.target => Some(FullReason::OtherTarget),
            Some(landed) => match unfit.or_else(|| self.differs(landed, &spec, schema, target_id.as_ref())) {
                None if !self.continues_from_cursor(head.as_ref(), landed.rows)? => Some(FullReason::SourceRestored),
                reason => reason,
            },
        };
        let kind = if reason.is_some() { LoadKind::Full } else { LoadKind::Delta };
        Ok(Plan { kind, reason, spec, mapper, head, target_id })
    }

    /// Why what has landed is not what the dataset is now; none when it is.
    fn differs(
        &self,
        landed: &Landed,
        spec: &DatasetSpec,
        schema: &Schema,
        target_id: Option<&String>,
    ) -> Option<FullReason> {
        let other_columns = landed.signature != schema.signature()
            || landed.schema.as_ref().is_some_and(|landed| !landed.has_origin_of(schema));
        if Some(&landed.target_id) != target_id {
            Some(FullReason::OtherTarget)
        } else if !self.is_of_company(landed) {
            Some(FullReason::OtherCompany)
        } else if other_columns {
            Some(FullReason::OtherColumns)
        } else if landed.selection != spec.selection() {
            Some(FullReason::OtherSelection)
        } else {
            None
        }
    }

    fn is_of_company(&self, landed: &Landed) -> bool {
        landed.company.is_empty() || landed.company == self.parts.source.company()
    }

    /// Whether what has landed are these rows of this company.
    fn is_of(&self, landed: &Landed, spec: &DatasetSpec) -> bool {
        self.is_of_company(landed) && landed.selection == spec.selection()
    }

    /// Forgets rows that are rejected no more.
    pub(super) async fn settle(&self, keys: &[String]) -> Result<(), SyncError> {
        if keys.is_empty() {
            return Ok(());
        }
        let forgotten = self.parts.rejects.forget(self.lease, keys).await;
        forgotten.map_err(|error| self.error(Stage::State, error))
    }

    /// Whether the source's head lies at or behind the checkpoint. Where it lies before it, the database was put back to an older
    /// state, and a delta would miss what was written since.
    fn continues_from_cursor(&self, head: Option<&Cursor>, landed_rows: u64) -> Result<bool, SyncError> {
        if !self.parts.remedies.has(Remedy::RestoreCheck) && head.is_some() {
            return Ok(true);
        }
        match (&self.checkpoint.cursor, head) {
            // Nothing was there and nothing is there.
            (None, None) => Ok(landed_rows == 0),
            (Some(cursor), Some(head)) => {
                let behind = self.parts.source.is_after(self.spec, cursor, head);
                behind.map(|behind| !behind).map_err(|error| self.error(Stage::Read, error))
            }
            (None, Some(_)) | (Some(_), None) => Ok(false),
        }
    }

    /// Delivers what an earlier run has sealed and not confirmed.
    async fn resume(&mut self) -> Result<(), SyncError> {
        let Some(mut intent) = self.checkpoint.intent.clone() else {
            return Ok(());
        };
        if intent.receipt.is_none() && intent.target == self.spec.target {
            let plan = plan_of(&intent, self.spec.id.clone());
            let found = self.parts.destination.find_receipt(&plan).await;
            intent.receipt = found.map_err(|error| self.error(Stage::Inspect, error))?;
        }
        self.report(&ProgressEvent::Resumed { run: intent.run.clone() });
        let fresh = std::mem::replace(&mut self.run, intent.run.clone());
        let deliverable = intent.receipt.is_some()
            || (intent.target == self.spec.target
                && self
                    .parts
                    .destination
                    .is_intact(&intent.staged)
                    .await
                    .map_err(|error| self.error(Stage::Load, error))?);
        if deliverable && intent.receipt.is_none() && self.is_touched(&intent).await? {
            // It may have been this very load, whose answer was lost; nobody can tell.
            self.give_up(&intent, "the target has been written to meanwhile").await?;
        } else if deliverable {
            self.deliver(intent, None).await?;
        } else {
            self.give_up(&intent, "its sealed load is gone or its target has changed").await?;
        }
        // What it made due is refreshed once the cycle that follows has landed what it finds.
        self.run = fresh;
        Ok(())
    }

    /// Forgets an intent whose effect is not known or was refused. What lies in the target is not known then, so the next load is a
    /// full one.
    pub(super) async fn give_up(&mut self, intent: &Intent, why: &str) -> Result<(), SyncError> {
        self.audit(AuditEvent::Failed {
            stage: Stage::Publish.as_str().to_owned(),
            message: format!("given up: {why}; a full load follows"),
            hint: None,
        })
        .await?;
        self.checkpoint.intent = None;
        self.checkpoint.landed = None;
        self.save().await?;
        // What is left of it only takes space.
        let _ = self.parts.destination.discard(&intent.staged).await;
        Ok(())
    }

    /// Nothing is to land: the checkpoint moves on.
    async fn idle(&mut self, counts: Counts, through: Option<Cursor>, settled: &[String]) -> Result<(), SyncError> {
        self.audit(AuditEvent::Idle { counts, through: through.clone() }).await?;
        self.checkpoint.cursor = through;
        self.settle(settled).await?;
        self.reconciled().await?;
        self.refresh().await
    }

    /// Notes what a comparison has found.
    async fn reconciled(&mut self) -> Result<(), SyncError> {
        let Some(findings) = self.findings.clone() else { return Ok(()) };
        self.audit(AuditEvent::Reconciled { findings: findings.clone() }).await?;
        if findings.refused.is_none() {
            self.checkpoint.whole_at = Some(self.started);
        }
        self.checkpoint.reconciled = Some(Reconciled { at: self.parts.clock.now(), findings });
        self.checkpoint.cycles = 0;
        Ok(())
    }

    /// Whether a full load takes the place of rows whose keys mean the same.
    fn replaces(&self, plan: &Plan) -> bool {
        fn keys(schema: &Schema) -> Vec<(&str, ColumnType)> {
            schema.key_columns().map(|column| (column.name.as_str(), column.kind)).collect()
        }
        self.checkpoint.landed.as_ref().is_some_and(|landed| {
            landed.target == plan.spec.target
                && landed.company == self.parts.source.company()
                && landed.schema.as_ref().is_some_and(|schema| keys(schema) == keys(plan.mapper.land()))
        })
    }

    /// How many rows a full load must have, unless it is asked for: what has landed by the same selection, less what may go.
    fn must_keep(&self, spec: &DatasetSpec) -> u64 {
        if self.goal == Goal::Anew || !self.parts.remedies.has(Remedy::DeleteLimit) {
            return 0;
        }
        let rows = match &self.checkpoint.landed {
            Some(landed) if landed.target != spec.target || !self.is_of(landed, spec) => 0,
            Some(landed) => landed.rows,
            // Given up: what lies there is not known, but something did.
            None => self.checkpoint.last_success.as_ref().map_or(0, |run| run.landed_rows),
        };
        rows - most_deletes(rows, self.spec.max_delete_percent)
    }

    async fn succeeded(&mut self) -> Result<RunSummary, SyncError> {
        let summary = self.summary(None);
        self.checkpoint.failures = 0;
        self.checkpoint.retry_at = None;
        // A comparison is none of the cycles that call for one.
        let counts = u32::from(self.goal != Goal::Reconcile);
        self.checkpoint.cycles = self.checkpoint.cycles.saturating_add(counts);
        self.checkpoint.late_by = self.checkpoint.late_by.max(self.counts.late_by);
        self.checkpoint.last_run = Some(summary.clone());
        self.checkpoint.last_success = Some(summary.clone());
        self.save().await?;
        self.compact().await;
        Ok(summary)
    }

    /// Each delta adds entries, and each lookup reads them all. What fails here is done with the next run.
    async fn compact(&self) {
        /// So many more entries than rows are no burden.
        const SPARE: u64 = 50_000;
        let (prints, generation) = (&self.parts.fingerprints, self.checkpoint.generation);
        let Some(rows) = self.checkpoint.landed.as_ref().map(|landed| landed.rows) else { return };
        let entries = prints.entries(&self.spec.id, generation).await.unwrap_or_default();
        if entries > rows.saturating_mul(2).saturating_add(SPARE) {
            let _ = prints.compact(self.lease, generation, rows).await;
        }
    }

    /// Notes a failure, as far as that is possible.
    async fn failed(&mut self, error: &SyncError) {
        self.tell_failure(error).await;
        self.note_failure(error).await;
    }

    /// Notes that the run was broken off because its lease is lost, as far as the store answers soon.
    async fn lost(&mut self, error: &SyncError) {
        let patience = keep::patience(self.parts.lease);
        // The trail takes no lease, so that it tells in any case what became of the run.
        let _ = timeout(patience, self.tell_failure(error)).await;
        let note = async {
            // Whoever has taken the lease knows better what stands in the state.
            self.parts.state.renew(self.lease, self.parts.lease).await.ok()?;
            // What was broken off may have been a write, and half of a change.
            let found = self.parts.state.load(&self.spec.id).await.ok()?;
            (self.version, self.checkpoint) = match found {
                Some(found) => (Some(found.version), found.checkpoint),
                None => (None, Checkpoint::default()),
            };
            self.note_failure(error).await;
            Some(())
        };
        let _ = timeout(patience, note).await;
    }

    /// Tells the trail of a failure.
    async fn tell_failure(&self, error: &SyncError) {
        let hint = error.hint().map(ToOwned::to_owned);
        let event = AuditEvent::Failed { stage: error.stage().as_str().to_owned(), message: line(error), hint };
        let _ = self.audit(event).await;
    }

    /// Notes a failure in the checkpoint.
    async fn note_failure(&mut self, error: &SyncError) {
        self.checkpoint.failures = self.checkpoint.failures.saturating_add(1);
        self.checkpoint.retry_at = error.disposition().next_attempt(self.checkpoint.failures, self.parts.clock.now());
        self.checkpoint.last_run = Some(self.summary(Some(line(error))));
        // Whoever holds the state now, if not we, knows better.
        let _ = self.save().await;
    }

    fn summary(&self, error: Option<String>) -> RunSummary {
        RunSummary {
            run: self.run.clone(),
            kind: self.kind,
            started: self.started,
            ended: self.parts.clock.now(),
            counts: self.counts,
            landed_rows: self.checkpoint.landed.as_ref().map_or(0, |landed| landed.rows),
            findings: self.findings.clone(),
            refreshes: self.refreshes.clone(),
            error,
        }
    }

    /// Writes the checkpoint, if nobody else has.
    pub(super) async fn save(&mut self) -> Result<(), SyncError> {
        let stored = self.parts.state.store(self.lease, self.version, &self.checkpoint).await;
        self.version = Some(stored.map_err(|error| self.error(Stage::State, error))?);
        Ok(())
    }

    pub(super) async fn audit(&self, mut event: AuditEvent) -> Result<(), SyncError> {
        event.redact(&self.parts.redactor);
        let entry =
            AuditEntry { dataset: self.spec.id.clone(), run: self.run.clone(), at: self.parts.clock.now(), event };
        self.parts.audit.record(entry).await.map_err(|error| self.error(Stage::Audit, error))
    }

    pub(super) fn report(&self, event: &ProgressEvent) {
        self.parts.report(&self.spec.id, event);
    }

    pub(super) fn error(&self, stage: Stage, cause: impl Into<super::Cause>) -> SyncError {
        SyncError::new(&self.spec.id, Some(&self.run), stage, cause)
    }
}

/// A failure with its hint, in one line.
fn line(error: &SyncError) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}
