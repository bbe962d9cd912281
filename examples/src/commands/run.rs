//! `run`: syncs by the schedules of the configuration until interrupted, beside as many other processes with the same configuration as
//! there are.
//!
//! A signal ends it: what runs may end first, a second one gives that up. A supervisor's signal to terminate is the usual end of a worker,
//! and no failure; Ctrl-C is told by the exit code.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use kinetic_tableau_sync::worker::{
    Alerts, BatchProcesses, Job, NoObserver, Observer, WebhookAlerts, Worker, WorkerEvent,
};
use kinetic_tableau_sync::{Cause, KineticProcesses, Stop, SystemClock, TableauEvents};

use super::Signal;
use super::standing::{self, Stores, moment, when};
use crate::config::{Config, StoreLocation};
use crate::connect::{self, Opening, Session};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, Reporter};
use crate::service;
use crate::tokens::Taken;

/// However often connecting has failed, it is tried again after this.
const LONGEST_WAIT: Duration = Duration::from_mins(30);

/// How long until the first try to connect again, when the systems could not be reached.
const RECONNECT: Duration = Duration::from_secs(30);

pub(super) async fn run(config: &Config, verbose: bool) -> Outcome<Exit> {
    if config.datasets.iter().all(|dataset| dataset.timing.is_manual()) {
        if config.store == StoreLocation::Memory {
            return Err(Failure::usage("no dataset has a schedule, so there is nothing to run")
                .next("add schedule = \"every 15m\" to a [[dataset]], or use `kinetic-tableau sync`"));
        }
        log(
            "no dataset has a schedule (schedule = \"every 15m\"), so what is run is what `kinetic-tableau trigger` asks for",
        );
    }
    // The first one lets runs end, the second one gives them up.
    let (stop, abandon) = (Stop::new(), Stop::new());
    let mut work = std::pin::pin!(connected(config, &stop, &abandon, verbose));
    let mut signal = tokio::select! {
        outcome = &mut work => return outcome,
        signal = super::signalled() => signal,
    };
    stop.now();
    let asked = if signal == Signal::Terminate { "asked to end" } else { "interrupted" };
    let grace = config.worker.grace.as_secs();
    log(&format!("{asked}; what is being run has {grace} s to end, or until the next signal"));
    tokio::select! {
        _ = &mut work => {}
        again = super::signalled() => {
            signal = again;
            abandon.now();
            let _ = tokio::time::timeout(super::PARTING, work).await;
        }
    }
    log("what has landed stands, and the next start continues from there");
    Ok(match signal {
        Signal::Terminate => Exit::Done,
        Signal::Interrupt => Exit::Interrupted,
    })
}

/// Connects, however long that takes, and then works until it is stopped.
async fn connected(config: &Config, stop: &Stop, abandon: &Stop, verbose: bool) -> Outcome<Exit> {
    let events = TableauEvents::new();
    // They are told of what keeps everything from beginning. The log has that already.
    let people = people(config, Arc::new(NoObserver)).await?;
    let service = service::start(config).await?;
    if let Some(service) = &service {
        log(&service.routes());
    }
    loop {
        // Giving up the runs of this session must not give up those of the next one.
        let given_up = Stop::new();
        let Some(session) = open(config, stop, &given_up, &events, people.as_ref(), verbose).await? else {
            return Ok(Exit::Interrupted);
        };
        tell_when_due(config, &session).await;
        if let Some(service) = &service {
            service.connected(config, session.store(), &events);
        }
        let worker = match worker(config, &session, &given_up, verbose).await {
            Ok(worker) => worker,
            Err(failure) => {
                session.close().await;
                return Err(failure);
            }
        };
        // Ends with this session, or with the process.
        let session_stop = Stop::new();
        let ended = async {
            let lost = tokio::select! {
                () = stop.stopped() => false,
                () = session.token_lost() => true,
            };
            session_stop.now();
            lost
        };
        // Whoever has our token ends our session by signing in, and we would end theirs by signing in again: also while we end.
        let given_up_with_it = async {
            session.token_lost().await;
            given_up.now();
        };
        let lost = {
            let mut works = std::pin::pin!(async { tokio::join!(worker.run(&session_stop), ended).1 });
            tokio::select! {
                lost = &mut works => lost,
                () = abandon.stopped() => {
                    given_up.now();
                    works.await
                }
                () = given_up_with_it => works.await,
            }
        };
        session.close().await;
        if !lost {
            return Ok(Exit::Interrupted);
        }
        log("another worker has taken our personal access token, or may have: it could not be kept in time");
    }
}

/// Says when each dataset is due next.
async fn tell_when_due(config: &Config, session: &Session) {
    // What cannot be read now is read again by the worker, which tells of it.
    let now = Utc::now();
    let found = standing::gather(config, Some(&Stores::of(session.store())), now).await.unwrap_or_default();
    for dataset in config.datasets.iter().filter(|dataset| !dataset.timing.is_manual()) {
        let known = found.datasets.iter().find(|known| known.name == dataset.name());
        let next = known.and_then(|known| known.next_due).map(|at| format!(", next {}", when(at, now)));
        log(&format!("{} is due {}{}", dataset.name(), dataset.timing, next.unwrap_or_default()));
    }
}

/// Connects, however often that has to be tried. None when it was stopped meanwhile.
async fn open(
    config: &Config,
    stop: &Stop,
    abandon: &Stop,
    events: &TableauEvents,
    people: Option<&Alerts>,
    verbose: bool,
) -> Outcome<Option<Session>> {
    let mut failures = 0;
    loop {
        let progress = Arc::new(Reporter::for_log());
        let opening = Opening { progress, stop: abandon, taken: Taken::Wait, waiting: stop, events: Some(events) };
        // Nothing has been begun yet, so that nothing has to be ended.
        let opened = tokio::select! {
            biased;
            opened = Session::open(config, opening) => opened,
            () = stop.stopped() => return Ok(None),
        };
        match opened {
            Ok(session) => return Ok(Some(session)),
            Err(_) if stop.is_stopped() => return Ok(None),
            // A configuration does not mend itself, and neither does a password: a supervisor that sees this code does not try again.
            Err(failure) if !failure.may_pass() => return Err(failure.into_usage()),
            Err(failure) => {
                let wait = backoff(RECONNECT, failures);
                failures += 1;
                output::complain(&failure, verbose);
                log(&format!("not connected; the next try is in {} s", wait.as_secs()));
                tokio::select! {
                    () = waiting(wait, people, &failure) => {}
                    () = stop.stopped() => return Ok(None),
                }
            }
        }
    }
}

/// Waits, and says each minute that nothing works meanwhile.
async fn waiting(wait: Duration, people: Option<&Alerts>, failure: &Failure) {
    let until = tokio::time::Instant::now() + wait;
    loop {
        if let Some(people) = people {
            let (doing, hint) = ("connecting to Kinetic and Tableau", failure.hint());
            people.event(&WorkerEvent::Trouble { doing, dataset: None, error: failure, hint });
        }
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        tokio::time::sleep(left.min(Duration::from_mins(1))).await;
        if left.is_zero() {
            return;
        }
    }
}

async fn worker(config: &Config, session: &Session, abandon: &Stop, verbose: bool) -> Outcome<Worker> {
    let processes: Arc<dyn BatchProcesses> = Arc::new(KineticProcesses::new(connect::kinetic(config).await?));
    let limits = connect::limits(config);
    let mut jobs = Vec::new();
    for dataset in &config.datasets {
        let job = Job::new(session.syncer(dataset)?, dataset.spec.clone(), dataset.timing.clone())
            .reconcile(dataset.reconcile.clone(), dataset.reconcile_after)
            .processes(Arc::clone(&processes));
        jobs.push(limits.iter().fold(job, |job, limit| job.limit(limit.clone())));
    }
    let builder = session.worker().jobs(jobs);
    Ok(builder
        .owner(connect::owner(config))
        .at_once(config.worker.at_once)
        .grace(config.worker.grace, abandon)
        .observer(observer(config, session, verbose).await?)
        .build())
}

/// Who listens to the worker: the log, and people where `[alerts]` says how they are reached.
async fn observer(config: &Config, session: &Session, verbose: bool) -> Outcome<Arc<dyn Observer>> {
    let log = Arc::new(Log { verbose });
    Ok(match people(config, Arc::clone(&log) as _).await? {
        Some(alerts) => Arc::new(alerts.shared(session.store().notes())),
        None => log,
    })
}

/// Alerts to people, where `[alerts]` says how they are reached.
async fn people(config: &Config, next: Arc<dyn Observer>) -> Outcome<Option<Alerts>> {
    let Some(options) = &config.alerts else { return Ok(None) };
    let address = options.webhook.resolve(&config.secrets).await?;
    let sink = WebhookAlerts::new(address).map_err(|error| {
        Failure::usage(format!("[alerts] webhook: {error}"))
            .next("put the whole address of the webhook there, https://…")
    })?;
    let day = Duration::from_hours(24);
    let alerts = Alerts::with(Arc::new(sink), next, options.after, day, Arc::new(SystemClock));
    Ok(Some(alerts.redactor(output::redactor())))
}

/// Writes a line for what happens.
#[derive(Debug)]
struct Log {
    verbose: bool,
}

impl Observer for Log {
    fn event(&self, event: &WorkerEvent<'_>) {
        match event {
            WorkerEvent::Ended { dataset, outcome: Ok(run), next, .. } => {
                let next = next.map(|at| format!("; next {}", when(at, Utc::now()))).unwrap_or_default();
                log(&format!("{}{next}", output::summary(dataset.as_str(), run)));
                if let Some(failure) = super::sync::unsettled(run) {
                    output::complain(&failure, self.verbose);
                }
            }
            // The worker itself was stopped.
            WorkerEvent::Ended { outcome: Err(error), .. } if matches!(error.cause(), Cause::Stopped) => {}
            WorkerEvent::Ended { dataset, outcome: Err(error), next, .. } => {
                output::complain(&Failure::of(error, error.hint()), self.verbose);
                match next {
                    Some(at) => log(&format!("{dataset}: next try at {}", moment(*at))),
                    None => log(&format!("{dataset}: not tried again by itself")),
                }
            }
            WorkerEvent::Postponed { dataset, until, reason } if self.verbose => {
                log(&format!("{dataset}: {reason}; looked at again at {}", moment(*until)));
            }
            WorkerEvent::ProcessEnded { count, .. } => {
                log(&format!("{count} batch processes have ended in Kinetic"));
            }
            WorkerEvent::Trouble { doing, dataset, error, hint } => {
                let place = dataset.map_or_else(|| (*doing).to_owned(), |dataset| format!("{dataset}, {doing}"));
                output::complain(&Failure::of(*error, *hint).within(&place), self.verbose);
            }
            _ => {}
        }
    }
}

fn backoff(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_WAIT)
}

fn log(line: &str) {
    output::log(line);
}
