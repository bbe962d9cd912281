//! `pause`, `resume` and `trigger`: what an operator asks of the workers, through the state that they share.

use std::sync::Arc;

use chrono::Utc;
use kinetic_tableau_sync::parse_duration;
use kinetic_tableau_sync::worker::{Controls, Pause, Request, RequestedRun};

use crate::args::{PauseOptions, Trigger};
use crate::config::Config;
use crate::connect;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::say;
use crate::store::Store;

async fn controls(config: &Config) -> Outcome<Controls> {
    Ok(Controls::new(Store::open_for_notes(config).await?.notes()))
}

pub(super) async fn pause(config: &Config, options: &PauseOptions) -> Outcome<Exit> {
    let now = Utc::now();
    let until = match &options.length {
        None => None,
        Some(text) => {
            let length = parse_duration(text).map_err(|error| Failure::usage(format!("--for: {error}")))?;
            let length = chrono::Duration::from_std(length).ok();
            Some(length.and_then(|length| now.checked_add_signed(length)).ok_or_else(|| {
                Failure::usage("--for: that is longer than there are dates")
                    .next("leave it out to pause until `resume`")
            })?)
        }
    };
    let pause = Pause { since: now, until, by: connect::person(), reason: options.reason.clone() };
    let controls = controls(config).await?;
    for dataset in config.named(&options.datasets)? {
        controls.pause(&dataset.spec.id, pause.clone()).await?;
        match until {
            Some(until) => say(format_args!("{}: paused until {}", dataset.name(), until.format("%Y-%m-%d %H:%M:%SZ"))),
            None => say(format_args!("{}: paused until `resume`", dataset.name())),
        }
    }
    Ok(Exit::Done)
}

pub(super) async fn resume(config: &Config, names: &[String]) -> Outcome<Exit> {
    let controls = controls(config).await?;
    for dataset in config.named(names)? {
        match controls.resume(&dataset.spec.id).await? {
            Some(pause) => say(format_args!("{}: resumed; {} had paused it", dataset.name(), pause.by)),
            None => say(format_args!("{}: was not paused", dataset.name())),
        }
    }
    Ok(Exit::Done)
}

pub(super) async fn trigger(config: &Config, options: &Trigger) -> Outcome<Exit> {
    let run = match (options.full, options.reconcile, options.replay) {
        (true, ..) => RequestedRun::Full,
        (_, true, _) => RequestedRun::Reconcile,
        (.., true) => RequestedRun::Replay,
        _ => RequestedRun::Changes,
    };
    let request = Request { run, at: Utc::now(), by: connect::person(), waits: false };
    let store = Store::open_for_notes(config).await?;
    let controls = Controls::new(store.notes());
    for dataset in config.named(&options.datasets)? {
        controls.request(&dataset.spec.id, request.clone()).await?;
        let paused = controls.get(&dataset.spec.id).await?.paused.is_some();
        let note = if paused { "; it is paused, so that nothing is run before `resume`" } else { "" };
        say(format_args!("{}: asked for{note}", dataset.name()));
    }
    let notes: Arc<dyn kinetic_tableau_sync::NoteStore> = store.notes();
    if kinetic_tableau_sync::worker::workers(&*notes, Utc::now()).await?.is_empty() {
        say("no worker is running: `kinetic-tableau run` will find it, or `kinetic-tableau sync` runs it here");
    }
    Ok(Exit::Done)
}
