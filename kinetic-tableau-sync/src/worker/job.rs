//! One dataset as a worker sees it: what is run, when it is due, and what limits it.

use std::cmp::Reverse;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::control::{Control, Request};
use super::processes::BatchProcesses;
use super::slots::Limit;
use crate::checkpoint::Checkpoint;
use crate::engine::{Syncer, UNMENDED};
use crate::model::{DatasetId, DatasetSpec};
use crate::schedule::{Schedule, Timing};

/// A dataset, and when it is run.
#[derive(Clone, Debug)]
pub struct Job {
    pub(super) syncer: Syncer,
    pub(super) spec: DatasetSpec,
    pub(super) timing: Timing,
    pub(super) reconcile: Schedule,
    pub(super) reconcile_after: Option<u32>,
    pub(super) limits: Vec<Limit>,
    pub(super) processes: Option<Arc<dyn BatchProcesses>>,
}

impl Job {
    /// A dataset that is run by a syncer when its time has come. Datasets of other tenants have syncers of their own.
    pub fn new(syncer: &Syncer, spec: DatasetSpec, timing: Timing) -> Self {
        Self {
            syncer: syncer.clone(),
            spec,
            timing,
            reconcile: Schedule::Manual,
            reconcile_after: None,
            limits: Vec::new(),
            processes: None,
        }
    }

    /// Everything is compared with the source by this schedule, counted from when the target was last known to be whole, behind the
    /// first run from then on; or after so many runs as well.
    #[must_use]
    pub fn reconcile(mut self, by: Schedule, after: Option<u32>) -> Self {
        (self.reconcile, self.reconcile_after) = (by, after);
        self
    }

    /// It counts against a limit that workers share.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limits.push(limit);
        self
    }

    /// Where the ends of the batch processes are seen that its timing names.
    #[must_use]
    pub fn processes(mut self, processes: Arc<dyn BatchProcesses>) -> Self {
        self.processes = Some(processes);
        self
    }

    /// The dataset.
    pub fn dataset(&self) -> &DatasetId {
        &self.spec.id
    }

    /// When it is due, and why; none while only a request could make it so.
    pub(super) fn due(&self, known: &Checkpoint, control: &Control, now: DateTime<Utc>) -> Option<Due> {
        due(&self.spec.id, &self.timing, known, control, now)
    }

    /// Whether everything is to be compared now: by its own schedule, counted from the last full load or comparison, or by the number of
    /// runs since.
    pub(super) fn reconcile_is_due(&self, known: &Checkpoint, now: DateTime<Utc>) -> bool {
        let last = known.whole_at.max(known.reconciled.as_ref().map(|last| last.at));
        let by_time = self.reconcile != Schedule::Manual
            && last.is_none_or(|at| self.reconcile.next_after(at).is_some_and(|due| due <= now));
        // The run of the full load itself is counted as well.
        by_time || self.reconcile_after.is_some_and(|after| known.cycles >= after)
    }
}

/// When a worker looks at a dataset next to run it, by what the store knows of it: by its timing, behind a failure, since somebody asked
/// for it, or at the end of a pause. None while nothing but a request or the end of a batch process could make it due.
#[must_use]
pub fn next_due(
    dataset: &DatasetId,
    timing: &Timing,
    known: &Checkpoint,
    control: &Control,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    due(dataset, timing, known, control, now).map(|due| due.at)
}

fn due(dataset: &DatasetId, timing: &Timing, known: &Checkpoint, control: &Control, now: DateTime<Utc>) -> Option<Due> {
    if let Some(pause) = control.paused.as_ref().filter(|pause| pause.until.is_none_or(|until| until > now)) {
        // Looked at again then.
        return pause.until.map(|at| Due { at, why: Why::Schedule });
    }
    let held = held_until(known);
    let asked = control.requests.iter().filter_map(|open| {
        // What a person asks for is begun at once, and behind a failure like anything else.
        let from = held.filter(|_| open.tried || open.request.waits).map_or(now, |until| until.max(now));
        Some((if open.request.waits { timing.allowed(from)? } else { from }, &open.request))
    });
    // Of what is due at once, the one that serves most of the others.
    if let Some((at, request)) = asked.min_by_key(|(at, request)| (*at, Reverse(request.run.extent()))) {
        return Some(Due { at, why: Why::Requested(request.clone()) });
    }
    if timing.is_manual() {
        return None;
    }
    let (at, why) = match (last_begun(known), known.retry_at.filter(|_| known.failures > 0), held) {
        (_, Some(retry), _) => (retry, Why::Retry),
        (None, ..) => (now, Why::First),
        (Some(last), None, held) => match timing.next_after(dataset, last) {
            Some(next) => (held.map_or(next, |until| until.max(next)), Why::Schedule),
            // Nothing but the end of a batch process would bring it back, and that may be the one whose rows were not read.
            None => (held?, Why::Retry),
        },
    };
    Some(Due { at: timing.allowed(at.max(now))?, why })
}

/// Until when a dataset that has failed is left alone, unless a person asks for it: until the next try, or for half an hour where only a
/// person can mend it.
fn held_until(known: &Checkpoint) -> Option<DateTime<Utc>> {
    let failed = known.last_run.as_ref().filter(|_| known.failures > 0)?;
    known.retry_at.or_else(|| failed.ended.checked_add_signed(chrono::Duration::from_std(UNMENDED).ok()?))
}

/// When the last run began, well or not.
fn last_begun(known: &Checkpoint) -> Option<DateTime<Utc>> {
    let begun = |run: &Option<crate::checkpoint::RunSummary>| run.as_ref().map(|run| run.started);
    begun(&known.last_run).max(begun(&known.last_success))
}

/// When a dataset is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: DateTime<Utc>,
    pub(super) why: Why,
}

/// Why a dataset is due.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// It has never been run.
    First,
    /// Its schedule says so.
    Schedule,
    /// An earlier run failed.
    Retry,
    /// Somebody asked for it.
    Requested(Request),
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::tests::idle_syncer;
    use crate::worker::{OpenRequest, Pause, RequestedRun};

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-26T{text}Z").parse().unwrap()
    }

    fn job(schedule: &str) -> Job {
        let target = crate::Target { project: "P".to_owned(), datasource: "D".to_owned() };
        let object = crate::SourceObject::Baq { id: "b".to_owned(), parameters: Vec::new() };
        let spec = DatasetSpec::new("a", object, ["A"], target);
        Job::new(&idle_syncer(&Arc::default()), spec, Timing::new(schedule.parse().unwrap()))
    }

    fn begun(text: &str) -> crate::RunSummary {
        let run = serde_json::json!({
            "run": "r", "kind": null, "started": at(text), "ended": at(text), "landed_rows": 0, "refreshes": [],
            "error": null, "counts": {"read": 0, "inserted": 0, "updated": 0, "unchanged": 0, "superseded": 0},
        });
        serde_json::from_value(run).unwrap()
    }

    fn landed(text: &str) -> Checkpoint {
        Checkpoint { last_run: Some(begun(text)), last_success: Some(begun(text)), ..Checkpoint::default() }
    }

    fn asked(requests: &[&Request], tried: bool) -> Control {
        let open = |request: &&Request| OpenRequest { id: request.by.clone(), request: (*request).clone(), tried };
        Control { paused: None, requests: requests.iter().map(open).collect() }
    }

    fn due(job: &Job, known: &Checkpoint, control: &Control) -> Option<(DateTime<Utc>, Why)> {
        job.due(known, control, at("10:00:00")).map(|due| (due.at, due.why))
    }

    #[test]
    fn what_never_ran_is_due_at_once_and_what_ran_by_its_schedule() {
        let job = job("every 15m");
        let nothing = Control::default();
        assert_eq!(due(&job, &Checkpoint::default(), &nothing), Some((at("10:00:00"), Why::First)));
        assert_eq!(due(&job, &landed("09:50:00"), &nothing), Some((at("10:05:00"), Why::Schedule)));
        assert_eq!(
            due(&job, &landed("03:00:00"), &nothing),
            Some((at("10:00:00"), Why::Schedule)),
            "once for all missed"
        );
        let failed = Checkpoint { failures: 3, retry_at: Some(at("10:04:00")), ..landed("03:00:00") };
        assert_eq!(due(&job, &failed, &nothing), Some((at("10:04:00"), Why::Retry)));
        // What a person must mend is not tried again and again.
        let mut broken = Checkpoint { failures: 3, ..landed("03:00:00") };
        broken.last_run = Some(begun("09:59:00"));
        assert_eq!(due(&job, &broken, &nothing), Some((at("10:29:00"), Why::Schedule)), "not within half an hour");
        let hourly = self::job("every 1h");
        assert_eq!(due(&hourly, &broken, &nothing), Some((at("10:59:00"), Why::Schedule)), "its schedule is rarer");
        let process = self::job("after process Post");
        assert_eq!(due(&process, &broken, &nothing), Some((at("10:29:00"), Why::Retry)), "nothing else brings it back");
        assert_eq!(due(&process, &landed("09:59:00"), &nothing), None);
    }

    #[test]
    fn behind_a_failure_a_person_is_served_at_once_and_all_else_waits() {
        let job = job("every 15m");
        let asks = |run, by: &str, waits| Request { run, at: at("23:00:00"), by: by.to_owned(), waits };
        let (ann, post) =
            (asks(RequestedRun::Reconcile, "ann", false), asks(RequestedRun::Changes, "Post AP Invoices", true));
        let mut known = Checkpoint { failures: 1, retry_at: Some(at("10:04:00")), ..landed("09:50:00") };
        let of = |request: &Request| Why::Requested(request.clone());
        assert_eq!(due(&job, &known, &asked(&[&post, &ann], false)), Some((at("10:00:00"), of(&ann))));
        assert_eq!(due(&job, &known, &asked(&[&post, &ann], true)), Some((at("10:04:00"), of(&ann))), "the larger one");
        assert_eq!(due(&job, &known, &asked(&[&post], false)), Some((at("10:04:00"), of(&post))));
        // A password that is refused is not tried each time a process ends.
        known.retry_at = None;
        assert_eq!(due(&job, &known, &asked(&[&post], false)), Some((at("10:20:00"), of(&post))));
        assert_eq!(due(&job, &known, &asked(&[&post, &ann], false)), Some((at("10:00:00"), of(&ann))));
        known.failures = 0;
        assert_eq!(due(&job, &known, &asked(&[&post], true)), Some((at("10:00:00"), of(&post))), "it is well again");
    }

    #[test]
    fn a_pause_wins_over_a_request_and_a_request_over_the_schedule() {
        let job = job("every 15m");
        let request = Request { run: RequestedRun::Full, at: at("09:00:00"), by: "ann".to_owned(), waits: false };
        let mut control = asked(&[&request], false);
        let known = landed("09:50:00");
        assert_eq!(due(&job, &known, &control), Some((at("10:00:00"), Why::Requested(request))));
        let pause = |until| Pause { since: at("09:00:00"), until, by: "bob".to_owned(), reason: None };
        control.paused = Some(pause(None));
        assert_eq!(due(&job, &known, &control), None);
        control.paused = Some(pause(Some(at("10:30:00"))));
        assert_eq!(due(&job, &known, &control), Some((at("10:30:00"), Why::Schedule)));
        control.paused = None;
        control.paused = Some(pause(Some(at("09:30:00"))));
        assert!(
            matches!(due(&job, &known, &control), Some((_, Why::Requested(_)))),
            "a pause that is over counts for nothing"
        );
    }

    #[test]
    fn a_process_waits_for_the_end_of_a_blackout_and_a_person_does_not() {
        let mut job = job("after process Post");
        job.timing = job.timing.except("08:00-12:00".parse().unwrap()).unwrap();
        let known = landed("07:00:00");
        assert_eq!(due(&job, &known, &Control::default()), None);
        let mut request = Request { run: RequestedRun::Changes, at: at("09:00:00"), by: "x".to_owned(), waits: true };
        let control = |request: &Request| asked(&[request], false);
        assert_eq!(due(&job, &known, &control(&request)).unwrap().0, at("12:00:00"));
        request.waits = false;
        assert_eq!(due(&job, &known, &control(&request)).unwrap().0, at("10:00:00"));
        assert_eq!(due(&job, &Checkpoint::default(), &Control::default()), Some((at("12:00:00"), Why::First)));
    }

    #[test]
    fn a_comparison_is_due_by_its_schedule_or_after_so_many_runs() {
        let whole = |text: &str, cycles| Checkpoint { whole_at: Some(at(text)), cycles, ..Checkpoint::default() };
        let now = at("10:00:00");
        let by_time = job("every 15m").reconcile("every 2h".parse().unwrap(), None);
        assert!(by_time.reconcile_is_due(&whole("08:00:00", 3), now));
        assert!(!by_time.reconcile_is_due(&whole("08:00:01", 3), now));
        assert!(by_time.reconcile_is_due(&Checkpoint::default(), now), "it was never known to be whole");
        let findings = serde_json::json!({
            "listed": 9, "missed": 0, "silent": 0, "gone": 8, "reappeared": 0, "deleted": 0, "refused": "8 of 9",
        });
        let refused = serde_json::json!({"at": at("09:00:00"), "findings": findings});
        let refused = Checkpoint { reconciled: Some(serde_json::from_value(refused).unwrap()), ..whole("07:00:00", 3) };
        assert!(!by_time.reconcile_is_due(&refused, now), "it was compared, and is not whole");
        let by_count = job("every 15m").reconcile(Schedule::Manual, Some(3));
        assert!(by_count.reconcile_is_due(&whole("09:59:00", 3), now));
        assert!(!by_count.reconcile_is_due(&whole("01:00:00", 2), now));
        assert!(!job("every 15m").reconcile_is_due(&whole("01:00:00", 99), now), "only when it is asked for");
    }
}
