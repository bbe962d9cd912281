//! What runs tell to `tracing` and to `metrics` (features of these names). Names, fields and labels are fixed, so that dashboards and
//! alerts last; `docs/operations.md` lists them. A dataset's name is the only label that an operator chooses: never a key, never a value of a row.

use std::future::Future;

use chrono::{DateTime, Utc};

use super::{Cause, Goal, ProgressEvent, SyncError};
use crate::checkpoint::RunSummary;
use crate::model::DatasetId;
use crate::store::StateErrorKind;

/// Does the work of a run within its span.
#[cfg(feature = "tracing")]
pub(super) async fn within<F: Future>(dataset: &DatasetId, worker: &str, goal: Goal, work: F) -> F::Output {
    use tracing::Instrument as _;
    work.instrument(tracing::info_span!("sync.run", %dataset, worker, goal = goal.as_str())).await
}

/// Does the work of a run.
#[cfg(not(feature = "tracing"))]
pub(super) async fn within<F: Future>(_: &DatasetId, _: &str, _: Goal, work: F) -> F::Output {
    work.await
}

/// A step of a run.
#[cfg(feature = "tracing")]
pub(super) fn step(event: &ProgressEvent) {
    match event {
        ProgressEvent::Resumed { run } => tracing::info!(%run, "resumed"),
        ProgressEvent::Started { kind, reason } => tracing::info!(?kind, ?reason, "started"),
        ProgressEvent::Read { rows } => tracing::debug!(rows, "read"),
        ProgressEvent::Staged { rows, bytes } => tracing::info!(rows, bytes, "staged"),
        ProgressEvent::Publishing => tracing::info!("publishing"),
        ProgressEvent::Landed { rows } => tracing::info!(rows, "landed"),
        ProgressEvent::Refreshing { .. } | ProgressEvent::Ended => {}
        ProgressEvent::Refreshed { report } => {
            tracing::info!(settled = report.outcome.is_settled(), job = report.job_id.as_deref(), "refreshed");
        }
    }
}

#[cfg(not(feature = "tracing"))]
pub(super) fn step(_: &ProgressEvent) {}

/// How a run ended. One that another worker is at has not begun here: it is neither a run nor a failure.
pub(super) fn ended(
    dataset: &DatasetId,
    goal: Goal,
    began: DateTime<Utc>,
    now: DateTime<Utc>,
    run: &Result<RunSummary, SyncError>,
) {
    if run.as_ref().is_err_and(is_elsewhere) {
        #[cfg(feature = "tracing")]
        tracing::debug!("another worker is at it");
        return;
    }
    #[cfg(feature = "tracing")]
    match run {
        Ok(run) => {
            let counts = &run.counts;
            tracing::info!(
                run = %run.run,
                read = counts.read,
                inserted = counts.inserted,
                updated = counts.updated,
                deleted = counts.deleted,
                landed_rows = run.landed_rows,
                "ended"
            );
        }
        Err(error) => {
            let run = error.run().map(tracing::field::display);
            tracing::warn!(run, stage = error.stage().as_str(), disposition = error.disposition().as_str(), "failed");
        }
    }
    #[cfg(feature = "metrics")]
    measure(dataset, goal, began, now, run);
    let _ = (dataset, goal, began, now, run);
}

/// Whether another worker has the lease.
fn is_elsewhere(error: &SyncError) -> bool {
    let leased = |cause: &Cause| matches!(cause, Cause::State(error) if error.kind() == StateErrorKind::Leased);
    error.run().is_none() && leased(error.cause())
}

#[cfg(feature = "metrics")]
fn measure(
    dataset: &DatasetId,
    goal: Goal,
    began: DateTime<Utc>,
    now: DateTime<Utc>,
    run: &Result<RunSummary, SyncError>,
) {
    use metrics::{counter, histogram};

    let name = dataset.to_string();
    let outcome = if run.is_ok() { "ok" } else { "failed" };
    let took = (now - began).to_std().unwrap_or_default().as_secs_f64();
    histogram!("kinetic_tableau_run_seconds", "dataset" => name.clone(), "goal" => goal.as_str(), "outcome" => outcome)
        .record(took);
    match run {
        Ok(run) => {
            let counts = &run.counts;
            for (what, rows) in [
                ("read", counts.read),
                ("inserted", counts.inserted),
                ("updated", counts.updated),
                ("unchanged", counts.unchanged),
                ("superseded", counts.superseded),
                ("rejected", counts.rejected),
                ("deleted", counts.deleted),
                ("late", counts.late),
            ] {
                counter!("kinetic_tableau_rows_total", "dataset" => name.clone(), "what" => what).increment(rows);
            }
            if let Some(found) = &run.findings {
                for (what, rows) in [
                    ("missed", found.missed),
                    ("silent", found.silent),
                    ("gone", found.gone),
                    ("reappeared", found.reappeared),
                    ("deleted", found.deleted),
                ] {
                    counter!("kinetic_tableau_reconcile_findings_total", "dataset" => name.clone(), "what" => what)
                        .increment(rows);
                }
            }
            for report in &run.refreshes {
                let outcome = if report.outcome.is_settled() { "ok" } else { "failed" };
                counter!("kinetic_tableau_refreshes_total", "dataset" => name.clone(), "outcome" => outcome)
                    .increment(1);
            }
            landed(dataset, run);
        }
        Err(error) => {
            let labels = [
                ("dataset", name),
                ("stage", error.stage().as_str().to_owned()),
                ("disposition", error.disposition().as_str().to_owned()),
            ];
            counter!("kinetic_tableau_failures_total", &labels).increment(1);
        }
    }
}

/// The last run that ended well. Told whenever a worker looks at a dataset as well, so that one which never ends well again shows its age,
/// and one that another worker has run does not.
pub(crate) fn landed(dataset: &DatasetId, run: &RunSummary) {
    #[cfg(feature = "metrics")]
    {
        use metrics::gauge;
        let whole = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        gauge!("kinetic_tableau_landed_rows", "dataset" => dataset.to_string()).set(whole(run.landed_rows));
        let at = u64::try_from(run.started.timestamp()).unwrap_or_default();
        gauge!("kinetic_tableau_last_success_timestamp_seconds", "dataset" => dataset.to_string()).set(whole(at));
    }
    let _ = (dataset, run);
}
