//! From a sealed load to a landed one, and what follows.

use std::sync::Arc;
use std::time::Duration;

use super::cycle::Cycle;
use super::{ProgressEvent, Stage, SyncError};
use crate::audit::{AuditEvent, AuditFilter};
use crate::checkpoint::{Intent, Landed};
use crate::destination::{
    DestinationError, DestinationErrorKind, LoadKind, LoadPlan, Receipt, RefreshOutcome, RefreshReport, TargetState,
};
use crate::remedy::Remedy;

/// How often a publish whose outcome is unknown is asked again within one run.
const PUBLISH_ATTEMPTS: u32 = 3;

impl Cycle<'_> {
    /// Publishes a sealed load and notes that it has landed. `load` is the plan where this run made it; a run that resumes makes it
    /// again from the intent.
    pub(super) async fn deliver(&mut self, mut intent: Intent, load: Option<LoadPlan>) -> Result<(), SyncError> {
        let receipt = if let Some(receipt) = intent.receipt.clone() {
            receipt
        } else {
            let remedies = self.parts.remedies;
            if remedies.has(Remedy::IntentFirst) {
                self.checkpoint.intent = Some(intent.clone());
                self.save().await?;
            }
            if load.is_some() && self.is_touched(&intent).await? {
                let why = "somebody else has written to the target meanwhile";
                self.give_up(&intent, why).await?;
                let error = DestinationError::new(DestinationErrorKind::Rejected, why);
                return Err(self.error(Stage::Publish, error.with_hint("run again: a full load follows")));
            }
            self.report(&ProgressEvent::Publishing);
            let mut load = load.unwrap_or_else(|| plan_of(&intent, self.spec.id.clone()));
            if !remedies.has(Remedy::RequestId) {
                load.request_id = crate::RunId::random().to_string();
            }
            let receipt = match self.publish(&load, &intent).await {
                Ok(receipt) => receipt,
                Err(error) => return Err(self.not_published(&intent, error).await),
            };
            intent.receipt = Some(receipt.clone());
            self.checkpoint.intent = Some(intent.clone());
            self.save().await?;
            receipt
        };
        self.land(intent, receipt).await
    }

    /// Whether somebody else has written to the target since this dataset last landed, where the target tells of writes. A delta goes
    /// only onto what it was made for: otherwise what the other one has put there would pass for what the delta has left.
    pub(super) async fn is_touched(&self, intent: &Intent) -> Result<bool, SyncError> {
        let known = self.checkpoint.landed.as_ref().and_then(|landed| landed.version.clone());
        let (Some(known), LoadKind::Delta, true) = (known, intent.kind, self.parts.remedies.has(Remedy::TargetCheck))
        else {
            return Ok(false);
        };
        let found = self.parts.destination.inspect(&intent.target).await;
        let found = found.map_err(|error| self.error(Stage::Inspect, error))?;
        Ok(matches!(found, TargetState::Present { version: Some(version), .. } if version != known))
    }

    async fn publish(&self, load: &LoadPlan, intent: &Intent) -> Result<Receipt, DestinationError> {
        let mut attempt = 1;
        loop {
            match self.parts.destination.publish(load, &intent.staged).await {
                Err(error) if error.kind() == DestinationErrorKind::Unknown && attempt < PUBLISH_ATTEMPTS => {
                    self.parts.clock.sleep(Duration::from_secs(1 << attempt)).await;
                    attempt += 1;
                }
                ended => return ended,
            }
        }
    }

    /// Decides what a failed publish means for the intent.
    async fn not_published(&mut self, intent: &Intent, error: DestinationError) -> SyncError {
        let refused = matches!(
            error.kind(),
            DestinationErrorKind::Rejected | DestinationErrorKind::TooLarge | DestinationErrorKind::Value
        );
        if refused && let Err(error) = self.give_up(intent, &error.to_string()).await {
            return error;
        }
        // Otherwise the intent stays: the next run delivers the same load under the same request id.
        self.error(Stage::Publish, error)
    }

    /// The load is visible: audit, fingerprints and checkpoint follow, each harmless to repeat.
    async fn land(&mut self, intent: Intent, receipt: Receipt) -> Result<(), SyncError> {
        let filter = AuditFilter {
            dataset: Some(self.spec.id.clone()),
            run: Some(intent.run.clone()),
            ..AuditFilter::default()
        };
        let events = self.parts.audit.events(&filter).await.map_err(|error| self.error(Stage::Audit, error))?;
        if !events.iter().any(|entry| matches!(entry.event, AuditEvent::Landed { .. })) {
            self.audit(AuditEvent::Landed {
                receipt: receipt.clone(),
                counts: intent.counts,
                through: intent.through.clone(),
                sha256: intent.staged.sha256.clone(),
                landed_rows: intent.rows_after,
            })
            .await?;
        }
        let promoted = self.parts.fingerprints.promote(self.lease, intent.generation, &intent.run).await;
        promoted.map_err(|error| self.error(Stage::State, error))?;
        if intent.kind == LoadKind::Full {
            let forgotten = self.parts.rejects.forget_others(self.lease, &intent.run).await;
            forgotten.map_err(|error| self.error(Stage::State, error))?;
        }
        self.settle(&intent.settled).await?;
        self.checkpoint.cursor = intent.through;
        if intent.kind == LoadKind::Full {
            // What has changed since it was read is not in it, however late it was delivered.
            self.checkpoint.whole_at = Some(self.started.min(intent.at));
            self.checkpoint.cycles = 0;
        }
        self.checkpoint.generation = intent.generation;
        self.checkpoint.landed = Some(Landed {
            signature: intent.schema.signature(),
            selection: intent.selection,
            company: intent.company,
            schema: Some(intent.schema),
            version: receipt.target_version,
            target: intent.target,
            target_id: receipt.target_id,
            rows: intent.rows_after,
        });
        self.checkpoint.intent = None;
        self.checkpoint.pending_refresh.clone_from(&self.spec.refresh);
        self.save().await?;
        self.report(&ProgressEvent::Landed { rows: intent.staged.rows });
        // It has served; what cannot be removed only takes space.
        let _ = self.parts.destination.discard(&intent.staged).await;
        Ok(())
    }

    /// Refreshes what is due. A refresh that does not end well stays due for the next run; the landing stands.
    pub(super) async fn refresh(&mut self) -> Result<(), SyncError> {
        let mut due = self.checkpoint.pending_refresh.clone();
        due.retain(|target| self.spec.refresh.contains(target));
        self.checkpoint.pending_refresh.clone_from(&due);
        for target in due {
            self.report(&ProgressEvent::Refreshing { target: target.clone() });
            let mut report = match self.parts.destination.refresh(&target).await {
                Ok(report) => report,
                Err(error) => {
                    let outcome = RefreshOutcome::Failed(error.to_string());
                    RefreshReport { target: target.clone(), job_id: None, outcome }
                }
            };
            report.redact(&self.parts.redactor);
            self.report(&ProgressEvent::Refreshed { report: report.clone() });
            if report.outcome.is_settled() {
                self.checkpoint.pending_refresh.retain(|other| *other != target);
            }
            self.audit(AuditEvent::Refreshed { report: report.clone() }).await?;
            self.refreshes.push(report);
        }
        Ok(())
    }
}

pub(super) fn plan_of(intent: &Intent, dataset: crate::DatasetId) -> LoadPlan {
    LoadPlan {
        dataset,
        run: intent.run.clone(),
        kind: intent.kind,
        schema: Arc::new(intent.schema.clone()),
        target: intent.target.clone(),
        target_id: intent.target_id.clone(),
        request_id: intent.request_id.clone(),
    }
}
