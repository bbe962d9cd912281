//! `status`: where each dataset stands, read from the store alone.

use chrono::{DateTime, Utc};
use kinetic_tableau_sync::worker::WorkerPresence;

use super::standing::{self, Standing, Stores, moment, when};
use crate::config::Config;
use crate::failure::{Exit, Outcome, one_line};
use crate::output::{self, Table, grouped, say};
use crate::store::Store;
use crate::unconnected::Unconnected;

pub(super) async fn run(config: &Config, json: bool) -> Outcome<Exit> {
    let stores = Store::open_for_reading(config).await?.map(|store| Stores::of(&store));
    let now = Utc::now();
    let found = standing::gather(config, stores.as_ref(), now).await?;
    if json {
        output::say_json(&found);
    } else {
        show(&found.datasets, !found.workers.is_empty(), now);
        show_workers(&found.workers);
        if let Some(unconnected) = &found.unconnected {
            let Unconnected { since, at, by, message, next } = unconnected;
            say(format_args!(
                "nothing could be begun since {}, last tried at {} by {by}: {}",
                moment(*since),
                moment(*at),
                one_line(message)
            ));
            if let Some(next) = next {
                say(format_args!("  next: {}", one_line(next)));
            }
        }
    }
    Ok(Exit::Done)
}

fn show(standings: &[Standing], workers: bool, now: DateTime<Utc>) {
    let mut table =
        Table::new(["dataset", "rows landed", "as of", "whole as of", "cursor", "schedule", "next", "state"]);
    for standing in standings {
        table.row([
            standing.name.clone(),
            standing.landed_rows.map_or_else(|| "-".to_owned(), grouped),
            standing.last_success.as_ref().map_or_else(|| "never".to_owned(), |run| moment(run.started)),
            standing.whole_at.map_or_else(|| "never".to_owned(), moment),
            standing.cursor.clone().unwrap_or_else(|| "-".to_owned()),
            standing.schedule.clone().unwrap_or_else(|| "not configured".to_owned()),
            standing
                .next_due
                .map_or_else(|| "-".to_owned(), |at| if at <= now { "now".to_owned() } else { moment(at) }),
            standing.state(now).as_str().to_owned(),
        ]);
    }
    output::say_lines(table);
    for standing in standings {
        let name = &standing.name;
        if let Some(pause) = standing.pause(now) {
            let until = pause.until.map_or_else(|| "`resume`".to_owned(), moment);
            let why = pause.reason.as_ref().map_or_else(String::new, |reason| format!(": {}", one_line(reason)));
            say(format_args!("{name}: paused until {until} by {}{why}", pause.by));
        }
        for request in standing.control.requests.iter().map(|open| &open.request) {
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
        if let Some((last, why)) = standing.refused() {
            let gone = last.findings.gone - last.findings.reappeared;
            say(format_args!("{name}: {} rows to delete were left alone at {}: {why}", grouped(gone), moment(last.at)));
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
            say(format_args!("{name}: {}", standing.again(workers, now)));
        }
    }
    let first = standings.iter().filter_map(|standing| standing.next_due).min();
    if let Some(first) = first.filter(|_| !workers) {
        say(format_args!("no worker is running: `kinetic-tableau run`, once started, begins {}", when(first, now)));
    }
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
