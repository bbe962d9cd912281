//! `run`: syncs by the schedules of the configuration until interrupted, one dataset at a time.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kinetic_tableau_sync::{Cause, Checkpoint, Schedule, Stop};

use crate::config::{Config, Dataset};
use crate::connect::Session;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, Reporter, say};

/// However often connecting has failed, it is tried again after this.
const LONGEST_WAIT: Duration = Duration::from_mins(30);

/// How long until the first try to connect again, when the systems could not be reached.
const RECONNECT: Duration = Duration::from_secs(30);

/// A dataset, and when it is due next.
#[derive(Debug)]
struct Due<'a> {
    dataset: &'a Dataset,
    at: DateTime<Utc>,
    /// Failures before anything could be noted in the state.
    failures: u32,
}

pub(super) async fn run(config: &Config, verbose: bool) -> Outcome<Exit> {
    let scheduled: Vec<&Dataset> =
        config.datasets.iter().filter(|dataset| dataset.schedule != Schedule::Manual).collect();
    if scheduled.is_empty() {
        return Err(Failure::usage("no dataset has a schedule, so there is nothing to run")
            .next("add schedule = \"every 15m\" to a [[dataset]], or use `kinetic-tableau sync`"));
    }
    let stop = Stop::new();
    let mut work = std::pin::pin!(connected(config, &scheduled, &stop, verbose));
    tokio::select! {
        outcome = &mut work => outcome,
        () = super::interrupted() => {
            stop.now();
            let _ = tokio::time::timeout(super::PARTING, work).await;
            log("interrupted; what has landed stands, and the next start continues from there");
            Ok(Exit::Interrupted)
        }
    }
}

/// Connects, however long that takes, and then works for ever.
async fn connected(config: &Config, scheduled: &[&Dataset], stop: &Stop, verbose: bool) -> Outcome<Exit> {
    let mut failures = 0;
    let session = loop {
        match Session::open(config, Arc::new(Reporter::new(false)), stop).await {
            Ok(session) => break session,
            // A configuration does not mend itself.
            Err(failure) if failure.exit() == Exit::Usage => return Err(failure),
            Err(failure) => {
                let wait = backoff(RECONNECT, failures);
                failures += 1;
                output::complain(&failure, verbose);
                log(&format!("not connected; the next try is in {} s", wait.as_secs()));
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = stop.stopped() => return Ok(Exit::Interrupted),
                }
            }
        }
    };
    let mut queue = Vec::with_capacity(scheduled.len());
    for dataset in scheduled {
        let known = session.state().load(&dataset.spec.id).await?.map(|found| found.checkpoint);
        let at = first_due(&dataset.schedule, &known.unwrap_or_default(), Utc::now());
        queue.push(Due { dataset, at, failures: 0 });
        log(&format!("{} is due {}", dataset.name(), dataset.schedule));
    }
    loop {
        let Some(due) = queue.iter_mut().min_by_key(|due| due.at) else {
            return Ok(Exit::Done);
        };
        let wait = (due.at - Utc::now()).to_std().unwrap_or_default();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.stopped() => {
                session.close().await;
                return Ok(Exit::Interrupted);
            }
        }
        let began = Utc::now();
        let scheduled = due.dataset.schedule.next_after(began).unwrap_or(DateTime::<Utc>::MAX_UTC);
        match session.syncer().run(&due.dataset.spec).await {
            Ok(run) => {
                due.failures = 0;
                due.at = scheduled;
                log(&output::summary(due.dataset.name(), &run));
                if let Some(failure) = super::sync::unsettled(&run) {
                    output::complain(&failure, verbose);
                }
                if let Err(failure) = reconcile(&session, due.dataset, verbose).await {
                    output::complain(&failure, verbose);
                }
            }
            // The next round notices it as well.
            Err(error) if matches!(error.cause(), Cause::Stopped) => {}
            Err(error) => {
                due.failures = due.failures.saturating_add(1);
                // As noted with the failure, so that another start waits as long; where that was not possible either, as counted here.
                let noted = session.state().load(&due.dataset.spec.id).await.ok().flatten();
                let noted = noted.map(|known| known.checkpoint).filter(|known| known.failures > 0);
                let failures = noted.as_ref().map_or(due.failures, |known| known.failures);
                due.at = error.disposition().next_attempt(failures, Utc::now()).unwrap_or(scheduled);
                output::complain(&Failure::from(error), verbose);
                log(&format!("{}: next try at {}", due.dataset.name(), due.at.format("%Y-%m-%d %H:%M:%SZ")));
            }
        }
    }
}

/// Compares a dataset with its source, if that is due. What fails is tried again behind the next cycle.
async fn reconcile(session: &Session, dataset: &Dataset, verbose: bool) -> Outcome<()> {
    let known = session.state().load(&dataset.spec.id).await?.map(|found| found.checkpoint).unwrap_or_default();
    if !reconcile_is_due(dataset, &known, Utc::now()) {
        return Ok(());
    }
    let run = session.syncer().reconcile(&dataset.spec).await?;
    log(&output::summary(dataset.name(), &run));
    if let Some(failure) = super::sync::unsettled(&run) {
        output::complain(&failure, verbose);
    }
    Ok(())
}

/// By its own schedule, counted from the last full load or comparison, or by the number of cycles since.
fn reconcile_is_due(dataset: &Dataset, known: &Checkpoint, now: DateTime<Utc>) -> bool {
    let last = known.whole_at.max(known.reconciled.as_ref().map(|last| last.at));
    let by_time = last.is_none_or(|at| dataset.reconcile.next_after(at).is_some_and(|due| due <= now))
        && dataset.reconcile != Schedule::Manual;
    // The cycle of the full load itself is counted as well.
    by_time || dataset.reconcile_after.is_some_and(|after| known.cycles >= after)
}

/// After a failure when the next try is due; a dataset that has never landed at once; another one when its schedule says so, counted
/// from its last good run.
fn first_due(schedule: &Schedule, known: &Checkpoint, now: DateTime<Utc>) -> DateTime<Utc> {
    if let Some(retry) = known.retry_at.filter(|_| known.failures > 0) {
        return retry.max(now);
    }
    let last = known.last_success.as_ref().map(|run| run.started);
    last.map_or(now, |last| schedule.next_after(last).unwrap_or(DateTime::<Utc>::MAX_UTC).max(now))
}

fn backoff(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_WAIT)
}

fn log(line: &str) {
    say(format_args!("{} {line}", Utc::now().format("%Y-%m-%dT%H:%M:%SZ")));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_dataset_that_never_landed_is_due_at_once_and_another_by_its_schedule() {
        let schedule = Schedule::Every(Duration::from_mins(15));
        let now = at("2026-11-23T10:00:00Z");
        let landed = |text: &str| {
            let run = serde_json::json!({
                "run": "r", "kind": null, "started": text, "ended": text, "landed_rows": 0, "refreshes": [], "error": null,
                "counts": {"read": 0, "inserted": 0, "updated": 0, "unchanged": 0, "superseded": 0},
            });
            Checkpoint { last_success: Some(serde_json::from_value(run).unwrap()), ..Checkpoint::default() }
        };
        assert_eq!(first_due(&schedule, &Checkpoint::default(), now), now);
        assert_eq!(first_due(&schedule, &landed("2026-11-23T09:50:00Z"), now), at("2026-11-23T10:05:00Z"));
        assert_eq!(first_due(&schedule, &landed("2026-11-20T09:50:00Z"), now), now);
        // A failure is remembered beyond the end of the process.
        let failed =
            Checkpoint { failures: 3, retry_at: Some(at("2026-11-23T10:04:00Z")), ..landed("2026-11-20T09:50:00Z") };
        assert_eq!(first_due(&schedule, &failed, now), at("2026-11-23T10:04:00Z"));
    }

    #[test]
    fn a_comparison_is_due_by_its_schedule_or_after_so_many_cycles() {
        let section = "[[dataset]]\nname = \"v\"\nservice = \"S\"\nentity_set = \"T\"\nselect = [\"A\"]\nproject = \"P\"\ndatasource = \"D\"\n";
        let dataset = |more: &str| crate::config::tests::dataset(&format!("{section}{more}\n"));
        let whole = |at_text: &str, cycles| Checkpoint { whole_at: Some(at(at_text)), cycles, ..Checkpoint::default() };
        let now = at("2026-11-23T10:00:00Z");
        let (early, late) = (whole("2026-11-16T10:00:00Z", 3), whole("2026-11-17T10:00:00Z", 3));
        let weekly = dataset("reconcile = \"every 7d\"");
        assert!(reconcile_is_due(&weekly, &early, now) && !reconcile_is_due(&weekly, &late, now));
        assert!(reconcile_is_due(&weekly, &Checkpoint::default(), now), "it was never known to be whole");
        let findings = serde_json::json!({"listed": 9, "missed": 0, "silent": 0, "gone": 8, "reappeared": 0, "deleted": 0, "refused": "8 of 9"});
        let refused = serde_json::json!({"at": "2026-11-20T10:00:00Z", "findings": findings});
        let refused = Checkpoint { reconciled: Some(serde_json::from_value(refused).unwrap()), ..early.clone() };
        assert!(!reconcile_is_due(&weekly, &refused, now), "it was compared, and is not whole");
        let counted = dataset("reconcile_after = 3");
        assert!(
            reconcile_is_due(&counted, &late, now)
                && !reconcile_is_due(&counted, &whole("2026-11-01T00:00:00Z", 2), now)
        );
        assert!(!reconcile_is_due(&dataset(""), &early, now), "only when it is asked for");
    }
}
