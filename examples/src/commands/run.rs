//! `run`: syncs by the schedules of the configuration until interrupted, beside as many other processes with the same configuration as
//! there are.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kinetic_tableau_sync::worker::{BatchProcesses, Job, Observer, Worker, WorkerEvent};
use kinetic_tableau_sync::{Cause, KineticProcesses, Stop};

use crate::config::Config;
use crate::connect::{self, Session};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, Reporter, say};
use crate::tokens::Taken;

/// However often connecting has failed, it is tried again after this.
const LONGEST_WAIT: Duration = Duration::from_mins(30);

/// How long until the first try to connect again, when the systems could not be reached.
const RECONNECT: Duration = Duration::from_secs(30);

pub(super) async fn run(config: &Config, verbose: bool) -> Outcome<Exit> {
    if config.datasets.iter().all(|dataset| dataset.timing.is_manual()) {
        return Err(Failure::usage("no dataset has a schedule, so there is nothing to run")
            .next("add schedule = \"every 15m\" to a [[dataset]], or use `kinetic-tableau sync`"));
    }
    // The first one lets runs end, the second one gives them up.
    let (stop, abandon) = (Stop::new(), Stop::new());
    let mut work = std::pin::pin!(connected(config, &stop, &abandon, verbose));
    tokio::select! {
        outcome = &mut work => return outcome,
        () = super::interrupted() => stop.now(),
    }
    log(&format!(
        "interrupted; what is being run has {} s to end, or until the next interrupt",
        config.worker.grace.as_secs()
    ));
    tokio::select! {
        _ = &mut work => {}
        () = super::interrupted() => {
            abandon.now();
            let _ = tokio::time::timeout(super::PARTING, work).await;
        }
    }
    log("what has landed stands, and the next start continues from there");
    Ok(Exit::Interrupted)
}

/// Connects, however long that takes, and then works until it is stopped.
async fn connected(config: &Config, stop: &Stop, abandon: &Stop, verbose: bool) -> Outcome<Exit> {
    for dataset in config.datasets.iter().filter(|dataset| !dataset.timing.is_manual()) {
        log(&format!("{} is due {}", dataset.name(), dataset.timing));
    }
    loop {
        let Some(session) = open(config, stop, abandon, verbose).await? else { return Ok(Exit::Interrupted) };
        // Ends with this session, or with the process.
        let session_stop = Stop::new();
        let worker = worker(config, &session, abandon, verbose).await?;
        let mut work = std::pin::pin!(worker.run(&session_stop));
        let lost = tokio::select! {
            () = &mut work => false,
            () = stop.stopped() => false,
            () = session.token_lost() => true,
        };
        session_stop.now();
        work.await;
        session.close().await;
        if !lost {
            return Ok(Exit::Interrupted);
        }
        log("another worker has taken our personal access token, since this process stood still for too long");
    }
}

/// Connects, however often that has to be tried. None when it was stopped meanwhile.
async fn open(config: &Config, stop: &Stop, abandon: &Stop, verbose: bool) -> Outcome<Option<Session>> {
    let mut failures = 0;
    loop {
        match Session::open(config, Arc::new(Reporter::new(false)), abandon, Taken::Wait, stop).await {
            Ok(session) if stop.is_stopped() => {
                session.close().await;
                return Ok(None);
            }
            Ok(session) => return Ok(Some(session)),
            // A configuration does not mend itself, and neither does a password.
            Err(failure) if !failure.may_pass() => return Err(failure),
            Err(failure) => {
                let wait = backoff(RECONNECT, failures);
                failures += 1;
                output::complain(&failure, verbose);
                log(&format!("not connected; the next try is in {} s", wait.as_secs()));
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = stop.stopped() => return Ok(None),
                }
            }
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
        .observer(Arc::new(Log { verbose }))
        .build())
}

/// Writes a line for what happens.
#[derive(Debug)]
struct Log {
    verbose: bool,
}

impl Observer for Log {
    fn event(&self, event: &WorkerEvent<'_>) {
        match event {
            WorkerEvent::Ended { dataset, outcome: Ok(run), .. } => {
                log(&output::summary(dataset.as_str(), run));
                if let Some(failure) = super::sync::unsettled(run) {
                    output::complain(&failure, self.verbose);
                }
            }
            // The worker itself was stopped.
            WorkerEvent::Ended { outcome: Err(error), .. } if matches!(error.cause(), Cause::Stopped) => {}
            WorkerEvent::Ended { dataset, outcome: Err(error), next } => {
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
            WorkerEvent::Trouble { doing, error, hint } => {
                output::complain(&Failure::of(*error, *hint).within(doing), self.verbose);
            }
            _ => {}
        }
    }
}

fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn backoff(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_WAIT)
}

fn log(line: &str) {
    say(format_args!("{} {line}", Utc::now().format("%Y-%m-%dT%H:%M:%SZ")));
}
