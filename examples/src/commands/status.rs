//! `status`: where each dataset stands, read from the store alone.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use kinetic_tableau_sync::worker::{Control, Controls, Pause, WorkerPresence, workers};
use kinetic_tableau_sync::{Checkpoint, LoadKind, Reconciled, RefreshTarget, RunSummary};
use serde::Serialize;

use crate::config::Config;
use crate::failure::{Exit, Outcome, one_line};
use crate::output::{self, Table, grouped, say};
use crate::store::Store;

#[derive(Debug, Serialize)]
struct Report {
    datasets: Vec<Standing>,
    /// The processes that work by the schedules.
    workers: Vec<WorkerPresence>,
}

#[derive(Debug, Serialize)]
struct Standing {
    name: String,
    /// Whether the configuration still names it.
    configured: bool,
    schedule: Option<String>,
    landed_rows: Option<u64>,
    cursor: Option<String>,
    failures: u32,
    /// When `run` tries again after a failure; by its schedule when not said.
    retry_at: Option<DateTime<Utc>>,
    /// When Tableau was last known to hold all of the source, and nothing else.
    whole_at: Option<DateTime<Utc>>,
    reconciled: Option<Reconciled>,
    last_run: Option<RunSummary>,
    last_success: Option<RunSummary>,
    pending_delivery: Option<Pending>,
    pending_refresh: Vec<RefreshTarget>,
    /// Rows that could not land, and are kept with the reason.
    rejected: u64,
    /// What an operator has asked for.
    #[serde(flatten)]
    control: Control,
}

#[derive(Debug, Serialize)]
struct Pending {
    run: String,
    kind: LoadKind,
    rows: u64,
    confirmed: bool,
}

pub(super) async fn run(config: &Config, json: bool) -> Outcome<Exit> {
    let mut known: Vec<(String, (Checkpoint, u64))> = Vec::new();
    let (mut controls, mut alive) = (HashMap::new(), Vec::new());
    if let Some(store) = Store::open_for_reading(config).await? {
        controls = Controls::new(store.notes()).all().await?;
        alive = workers(&*store.notes(), Utc::now()).await?;
        for (id, found) in store.state().list().await? {
            let rejected = store.rejects().count_rejects(&id).await?;
            known.push((id.to_string(), (found.checkpoint, rejected)));
        }
    }
    let mut standings: Vec<Standing> = Vec::new();
    for dataset in &config.datasets {
        let at = known.iter().position(|(name, _)| name == dataset.name());
        let checkpoint = at.map(|at| known.swap_remove(at).1);
        standings.push(standing(dataset.name(), Some(dataset.timing.to_string()), checkpoint));
    }
    // What the store knows beyond the configuration is shown too: rows that nobody keeps up to date any more.
    standings.extend(known.into_iter().map(|(name, checkpoint)| standing(&name, None, Some(checkpoint))));
    for standing in &mut standings {
        standing.control = controls.remove(&standing.name.as_str().into()).unwrap_or_default();
    }
    if json {
        output::say_json(&Report { datasets: standings, workers: alive });
    } else {
        show(&standings);
        show_workers(&alive);
    }
    Ok(Exit::Done)
}

fn standing(name: &str, schedule: Option<String>, found: Option<(Checkpoint, u64)>) -> Standing {
    let (checkpoint, rejected) = found.unwrap_or_default();
    Standing {
        name: name.to_owned(),
        configured: schedule.is_some(),
        schedule,
        landed_rows: checkpoint.landed.map(|landed| landed.rows),
        cursor: checkpoint.cursor.map(|cursor| cursor.to_string()),
        failures: checkpoint.failures,
        retry_at: checkpoint.retry_at,
        whole_at: checkpoint.whole_at,
        reconciled: checkpoint.reconciled,
        last_run: checkpoint.last_run,
        last_success: checkpoint.last_success,
        pending_delivery: checkpoint.intent.map(|intent| Pending {
            run: intent.run.to_string(),
            kind: intent.kind,
            rows: intent.staged.rows,
            confirmed: intent.receipt.is_some(),
        }),
        pending_refresh: checkpoint.pending_refresh,
        rejected,
        control: Control::default(),
    }
}

fn show(standings: &[Standing]) {
    let mut table = Table::new(["dataset", "rows in Tableau", "as of", "whole as of", "cursor", "schedule", "state"]);
    for standing in standings {
        table.row([
            standing.name.clone(),
            standing.landed_rows.map_or_else(|| "-".to_owned(), grouped),
            standing.last_success.as_ref().map_or_else(|| "never".to_owned(), |run| moment(run.started)),
            standing.whole_at.map_or_else(|| "never".to_owned(), moment),
            standing.cursor.clone().unwrap_or_else(|| "-".to_owned()),
            standing.schedule.clone().unwrap_or_else(|| "not configured".to_owned()),
            state(standing).to_owned(),
        ]);
    }
    say(table);
    for standing in standings {
        let name = &standing.name;
        if let Some(pause) = standing.control.paused.as_ref().filter(|pause| !is_over(pause)) {
            let until = pause.until.map_or_else(|| "`resume`".to_owned(), moment);
            let why = pause.reason.as_ref().map_or_else(String::new, |reason| format!(": {}", one_line(reason)));
            say(format_args!("{name}: paused until {until} by {}{why}", pause.by));
        }
        if let Some(request) = &standing.control.request {
            say(format_args!("{name}: a run was asked for at {} by {}", moment(request.at), request.by));
        }
        if let Some(pending) = &standing.pending_delivery {
            say(format_args!(
                "{name}: a {} of {} rows waits to be delivered; the next sync does it first",
                output::kind_name(pending.kind),
                grouped(pending.rows)
            ));
        }
        if standing.rejected > 0 {
            let rejected = grouped(standing.rejected);
            say(format_args!("{name}: {rejected} rows could not land; `rejects {name}` tells which and why"));
        }
        for target in &standing.pending_refresh {
            say(format_args!("{name}: the refresh of {target} is due; the next sync does it"));
        }
        if let Some(Reconciled { at, findings }) = &standing.reconciled
            && let Some(why) = &findings.refused
        {
            say(format_args!("{name}: {} rows to delete were left alone at {}: {why}", findings.gone, moment(*at)));
        }
        if let Some(run) = &standing.last_run
            && let Some(error) = &run.error
        {
            say(format_args!(
                "{name}: failed {} time(s), last at {}: {}",
                standing.failures,
                moment(run.ended),
                one_line(error)
            ));
            if let Some(at) = standing.retry_at {
                say(format_args!("{name}: `run` tries again at {}", moment(at)));
            }
        }
    }
}

fn is_over(pause: &Pause) -> bool {
    pause.until.is_some_and(|until| until <= Utc::now())
}

fn show_workers(workers: &[WorkerPresence]) {
    for worker in workers {
        let running = match worker.running.as_slice() {
            [] => "idle".to_owned(),
            running => format!("running {}", running.join(", ")),
        };
        say(format_args!("worker {}: {running}, since {}", worker.name, moment(worker.since)));
    }
}

fn state(standing: &Standing) -> &'static str {
    match standing {
        Standing { control: Control { paused: Some(pause), .. }, .. } if !is_over(pause) => "paused",
        Standing { last_run: Some(run), .. } if run.error.is_some() => "failing",
        Standing { pending_delivery: Some(_), .. } => "delivery pending",
        Standing { pending_refresh, .. } if !pending_refresh.is_empty() => "refresh pending",
        Standing { last_success: Some(_), .. } => "well",
        _ => "not synced yet",
    }
}

fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}
