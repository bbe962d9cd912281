//! `sync`: one cycle of each dataset.

use std::sync::Arc;

use chrono::Utc;
use kinetic_tableau_sync::worker::{Controls, Pause};
use kinetic_tableau_sync::{LoadKind, RunSummary, Stop, SyncError};
use serde::Serialize;

use super::standing::moment;
use crate::config::{Config, Dataset, StoreLocation};
use crate::connect::{Opening, Session};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, Reporter};
use crate::store::Store;
use crate::tokens::Taken;

/// What became of one dataset.
#[derive(Debug, Serialize)]
pub(super) struct Cycle {
    name: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<RunSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Cycle {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    datasets: &'a [Cycle],
}

/// What is done with each dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// One cycle.
    Cycle,
    /// A full load.
    Full,
    /// One cycle that also reads what was rejected.
    Replay,
    /// One cycle, and a comparison of everything behind it.
    Reconcile,
}

pub(super) async fn run(config: &Config, names: &[String], doing: Doing, json: bool, verbose: bool) -> Outcome<Exit> {
    let mut datasets = config.named(names)?;
    let paused = paused(config).await?;
    for (name, pause) in &paused {
        let until = pause.until.map_or_else(|| "`resume`".to_owned(), moment);
        let by = format!("{name} is paused until {until} by {}", pause.by);
        if names.contains(name) {
            output::note(format!("{by}; it is synced all the same, since it was named"));
        } else if datasets.iter().any(|dataset| dataset.name() == name) {
            output::note(format!("{by}, and left out; name it to sync it all the same"));
            datasets.retain(|dataset| dataset.name() != name);
        }
    }
    let stop = Stop::new();
    let reporter = Arc::new(Reporter::new(json));
    let cycles = {
        let mut cycles =
            std::pin::pin!(all(config, &datasets, doing, reporter, &stop, |cycle| show(cycle, json, verbose)));
        tokio::select! {
            cycles = &mut cycles => cycles?,
            () = super::interrupted() => {
                stop.now();
                // So that the lease is given back and the session ended; neither is worth waiting for long.
                let _ = tokio::time::timeout(super::PARTING, cycles).await;
                return Err(stopped());
            }
        }
    };
    if json {
        output::say_json(&Report { datasets: &cycles });
    }
    Ok(if cycles.iter().all(|cycle| cycle.ok) { Exit::Done } else { Exit::Failed })
}

/// What operators have paused, for now.
async fn paused(config: &Config) -> Outcome<Vec<(String, Pause)>> {
    if matches!(config.store, StoreLocation::Memory) {
        return Ok(Vec::new());
    }
    let Some(store) = Store::open_for_reading(config).await? else { return Ok(Vec::new()) };
    let now = Utc::now();
    let controls = Controls::new(store.notes()).all().await?;
    let paused = controls.into_iter().filter_map(|(dataset, control)| {
        let pause = control.paused.filter(|pause| pause.until.is_none_or(|until| until > now))?;
        Some((dataset.to_string(), pause))
    });
    Ok(paused.collect())
}

/// What is said when the operator stops a run. Nothing has to be cleaned up.
pub(super) fn stopped() -> Failure {
    Failure::new("interrupted; what has landed stands, and nothing half done is visible")
        .next("run the same command again: it continues where this one stopped")
        .into_interrupted()
}

/// One cycle of each dataset, one after the other. A dataset that fails does not keep the others from running.
pub(super) async fn all(
    config: &Config,
    datasets: &[&Dataset],
    doing: Doing,
    reporter: Arc<Reporter>,
    stop: &Stop,
    mut ended: impl FnMut(&Result<Cycle, (String, Failure)>),
) -> Outcome<Vec<Cycle>> {
    // A process that has died leaves its token behind for the time of a lease.
    let taken = Taken::WaitFor(config.worker.lease * 2);
    let session =
        Session::open(config, Opening { progress: reporter, stop, taken, waiting: stop, events: None }).await?;
    let mut cycles = Vec::with_capacity(datasets.len());
    for dataset in datasets {
        let result = one(&session, dataset, doing, &mut ended).await;
        if stop.is_stopped() {
            break;
        }
        ended(&result);
        cycles.push(result.unwrap_or_else(|(name, failure)| Cycle {
            name,
            ok: false,
            run: None,
            error: Some(failure.message().to_owned()),
            next: failure.hint().map(str::to_owned),
        }));
    }
    session.close().await;
    Ok(cycles)
}

async fn one(
    session: &Session,
    dataset: &Dataset,
    doing: Doing,
    ended: &mut impl FnMut(&Result<Cycle, (String, Failure)>),
) -> Result<Cycle, (String, Failure)> {
    let syncer = session.syncer(dataset).map_err(|failure| (dataset.name().to_owned(), failure))?;
    let first = match doing {
        Doing::Full => syncer.run_full(&dataset.spec).await,
        Doing::Replay => syncer.replay(&dataset.spec).await,
        Doing::Cycle | Doing::Reconcile => syncer.run(&dataset.spec).await,
    };
    let first = ended_well(dataset, first)?;
    if doing != Doing::Reconcile || first.run.as_ref().is_some_and(|run| run.kind == Some(LoadKind::Full)) {
        return Ok(first);
    }
    ended(&Ok(first));
    ended_well(dataset, syncer.reconcile(&dataset.spec).await)
}

fn ended_well(dataset: &Dataset, run: Result<RunSummary, SyncError>) -> Result<Cycle, (String, Failure)> {
    let name = dataset.name().to_owned();
    let run = run.map_err(|error| (name.clone(), Failure::from(error)))?;
    let due = unsettled(&run);
    Ok(Cycle {
        name,
        ok: due.is_none(),
        error: due.as_ref().map(|failure| failure.message().to_owned()),
        next: due.as_ref().and_then(|failure| failure.hint()).map(str::to_owned),
        run: Some(run),
    })
}

/// The run ended well, but a person must look: rows to delete were left alone, or something that reads the rows was not refreshed.
pub(super) fn unsettled(run: &RunSummary) -> Option<Failure> {
    if let Some(why) = run.findings.as_ref().and_then(|found| found.refused.as_ref()) {
        return Some(Failure::new(format!("rows that seem to be gone from Kinetic were left in Tableau: {why}")).next(
            "see whether they are really gone, and whether Kinetic's user may still read them; if they are gone, \
             `sync --full DATASET` takes Kinetic's word for it",
        ));
    }
    let report = run.refreshes.iter().find(|report| !report.outcome.is_settled())?;
    Some(
        Failure::new(format!("the rows have landed, but {}", output::refreshed(report)))
            .next("look at the job in Tableau; the refresh stays due and is tried again by the next sync"),
    )
}

fn show(cycle: &Result<Cycle, (String, Failure)>, json: bool, verbose: bool) {
    match cycle {
        Ok(cycle) => {
            let Some(run) = &cycle.run else { return };
            if !json {
                output::say(output::summary(&cycle.name, run));
            }
            if let Some(failure) = unsettled(run) {
                output::complain(&failure, verbose);
            }
        }
        Err((_, failure)) => output::complain(failure, verbose),
    }
}
