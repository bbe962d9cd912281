//! The loop of a worker: what is due is begun, what has ended is due again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};

use super::control::Control;
use super::job::{Due, Job, Why};
use super::observer::WorkerEvent;
use super::presence::{BEAT, Beacon};
use super::processes::Watch;
use super::slots::Slot;
use super::{Parts, RequestedRun, Worker};
use crate::checkpoint::{Checkpoint, RunSummary};
use crate::engine::{Cause, Stop, SyncError, UNMENDED};
use crate::model::DatasetId;
use crate::store::{StateError, StateErrorKind};

/// When a limit is used up or another worker is at it, it is looked at again after this, and up to twice of it.
const LATER: Duration = Duration::from_secs(10);

/// After a state store that could not be used.
const STORE_PAUSE: Duration = Duration::from_secs(15);

/// What is given up ends within this.
const ABANDONED: Duration = Duration::from_secs(5);

/// How a look at a job ended.
#[derive(Debug)]
enum Looked {
    /// It was run, or was not due: it is due again then.
    Next(Option<DateTime<Utc>>),
    /// It is to be looked at again then.
    Later(DateTime<Utc>, &'static str),
}

impl Worker {
    /// Works until it is stopped. Nothing that fails ends it: runs that fail are tried again as their failure calls for, a store that
    /// cannot be used is asked again.
    pub async fn run(&self, stop: &Stop) {
        let mut work = Work::new(self);
        let asked = Arc::new(Notify::new());
        for watch in Watch::all(self) {
            work.watching.spawn(watch.run(stop.clone(), Arc::clone(&asked)));
        }
        work.begin().await;
        loop {
            let wake = work.next_wake();
            let pause = (wake - self.parts.clock.now()).to_std().unwrap_or_default();
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                Some(ended) = work.running.join_next_with_id(), if !work.running.is_empty() => work.ended(ended),
                () = asked.notified() => work.next_poll = self.parts.clock.now(),
                () = self.parts.clock.sleep(pause) => {}
            }
            work.poll_if_due().await;
            work.begin_due();
        }
        work.end().await;
    }
}

/// A worker at work.
#[derive(Debug)]
struct Work<'a> {
    worker: &'a Worker,
    /// What is due when, by the number of the job.
    due: BTreeSet<(DateTime<Utc>, usize)>,
    by_name: HashMap<DatasetId, usize>,
    /// What was asked for of each dataset when it was last looked at: by the poll, or by the look that found out when it is due.
    controls: HashMap<DatasetId, Control>,
    /// Jobs whose controls changed while they were being looked at.
    again: BTreeSet<usize>,
    running: JoinSet<(Looked, Option<Control>)>,
    tasks: HashMap<Id, usize>,
    /// Looks at batch processes.
    watching: JoinSet<()>,
    beacon: Beacon,
    next_poll: DateTime<Utc>,
    next_beat: DateTime<Utc>,
}

impl<'a> Work<'a> {
    fn new(worker: &'a Worker) -> Self {
        let (parts, now) = (&worker.parts, worker.parts.clock.now());
        let names = worker.jobs.iter().enumerate().map(|(nth, job)| (job.spec.id.clone(), nth));
        Self {
            worker,
            due: BTreeSet::new(),
            by_name: names.collect(),
            controls: HashMap::new(),
            again: BTreeSet::new(),
            running: JoinSet::new(),
            tasks: HashMap::new(),
            watching: JoinSet::new(),
            beacon: Beacon::new(Arc::clone(&parts.notes), Arc::clone(&parts.clock), &parts.owner, worker.jobs.len()),
            next_poll: now,
            next_beat: now,
        }
    }

    fn parts(&self) -> &'a Arc<Parts> {
        &self.worker.parts
    }

    /// Finds out once when everything is due.
    async fn begin(&mut self) {
        let known = match self.parts().state.list().await {
            Ok(known) => known.into_iter().map(|(id, found)| (id, found.checkpoint)).collect(),
            Err(error) => {
                trouble(self.parts(), "looking at the state", None, &error);
                HashMap::new()
            }
        };
        self.controls = self.parts().controls.all().await.unwrap_or_default();
        let now = self.parts().clock.now();
        let nothing = (Checkpoint::default(), Control::default());
        for (nth, job) in self.worker.jobs.iter().enumerate() {
            let known = known.get(&job.spec.id).unwrap_or(&nothing.0);
            let control = self.controls.get(&job.spec.id).unwrap_or(&nothing.1);
            if let Some(run) = &known.last_success {
                crate::engine::telemetry::landed(&job.spec.id, run);
            }
            if let Some(due) = job.due(known, control, now) {
                self.due.insert((due.at, nth));
            }
        }
        self.poll_if_due().await;
        self.begin_due();
    }

    fn next_wake(&self) -> DateTime<Utc> {
        let polled = self.next_poll.min(self.next_beat);
        // With all hands full, what is due must wait until a run ends.
        let room = self.running.len() < self.worker.at_once;
        self.due.first().filter(|_| room).map_or(polled, |(at, _)| polled.min(*at))
    }

    /// Looks for what was asked for, and tells that this worker lives.
    async fn poll_if_due(&mut self) {
        let now = self.parts().clock.now();
        if self.next_poll <= now {
            self.next_poll = now + self.worker.poll;
            match self.parts().controls.all().await {
                Ok(controls) => self.follow(controls),
                Err(error) => trouble(self.parts(), "looking for what was asked for", None, &error),
            }
        }
        if self.next_beat <= now {
            self.next_beat = now + BEAT;
            let running = self.tasks.values().filter_map(|nth| self.worker.jobs.get(*nth));
            let running = running.map(|job| job.spec.id.to_string()).collect();
            if let Err(error) = self.beacon.beat(&self.parts().owner, running).await {
                trouble(self.parts(), "telling that this worker lives", None, &error);
            }
        }
    }

    /// Datasets whose controls have changed are looked at at once.
    fn follow(&mut self, controls: HashMap<DatasetId, Control>) {
        let now = self.parts().clock.now();
        let names: BTreeSet<&DatasetId> = controls.keys().chain(self.controls.keys()).collect();
        let changed = names.into_iter().filter(|name| controls.get(name) != self.controls.get(name));
        let changed: Vec<usize> = changed.filter_map(|name| self.by_name.get(name).copied()).collect();
        for nth in changed {
            if self.tasks.values().any(|running| *running == nth) {
                self.again.insert(nth);
            } else {
                self.due.retain(|(_, other)| *other != nth);
                self.due.insert((now, nth));
            }
        }
        self.controls = controls;
    }

    /// Begins what is due, as far as there is room.
    fn begin_due(&mut self) {
        let now = self.parts().clock.now();
        while self.running.len() < self.worker.at_once {
            let Some(&(at, nth)) = self.due.first().filter(|(at, _)| *at <= now) else { return };
            self.due.remove(&(at, nth));
            let Some(job) = self.worker.jobs.get(nth) else { continue };
            let task = self.running.spawn(look(Arc::clone(self.parts()), Arc::clone(job)));
            self.tasks.insert(task.id(), nth);
        }
    }

    fn ended(&mut self, ended: Result<(Id, (Looked, Option<Control>)), tokio::task::JoinError>) {
        let now = self.parts().clock.now();
        let (id, (looked, control)) = match ended {
            Ok((id, looked)) => (id, looked),
            Err(error) => {
                let job = self.tasks.get(&error.id()).and_then(|nth| self.worker.jobs.get(*nth));
                let (doing, dataset) = ("running a dataset", job.map(|job| &job.spec.id));
                self.tell(&WorkerEvent::Trouble { doing, dataset, error: &error, hint: None });
                (error.id(), (Looked::Later(now + STORE_PAUSE * 4, "it broke off"), None))
            }
        };
        let Some(nth) = self.tasks.remove(&id) else { return };
        let dataset = self.worker.jobs.get(nth).map(|job| &job.spec.id);
        if let (Some(dataset), Some(control)) = (dataset, control) {
            // What changes between this look and the next poll is noticed then, also what is as it was at the last poll: a pause that
            // came and went in between.
            if control == Control::default() {
                self.controls.remove(dataset);
            } else {
                self.controls.insert(dataset.clone(), control);
            }
        }
        match looked {
            Looked::Next(None) => {}
            Looked::Next(Some(at)) => drop(self.due.insert((at, nth))),
            Looked::Later(until, reason) => {
                self.due.insert((until, nth));
                if let Some(dataset) = dataset {
                    self.tell(&WorkerEvent::Postponed { dataset, until, reason });
                }
            }
        }
        if self.again.remove(&nth) {
            self.due.retain(|(_, other)| *other != nth);
            self.due.insert((now, nth));
        }
    }

    /// Begins nothing any more, and waits for what runs: for a while, and then until it has given up.
    async fn end(mut self) {
        let (clock, worker) = (&self.parts().clock, self.worker);
        for (patience, then) in [(worker.grace, true), (ABANDONED, false)] {
            let mut waited = std::pin::pin!(clock.sleep(patience));
            while !self.running.is_empty() {
                tokio::select! {
                    biased;
                    _ = self.running.join_next() => {}
                    () = &mut waited => break,
                }
            }
            if then && !self.running.is_empty() {
                worker.abandon.now();
            }
        }
        self.running.abort_all();
        // They have been stopped as well, and give back what they hold.
        tokio::select! {
            biased;
            () = async { while self.watching.join_next().await.is_some() {} } => {}
            () = clock.sleep(ABANDONED) => {}
        }
        self.beacon.leave().await;
    }

    fn tell(&self, event: &WorkerEvent<'_>) {
        self.parts().observer.event(event);
    }
}

fn trouble(parts: &Parts, doing: &str, dataset: Option<&DatasetId>, error: &StateError) {
    let hint = Some("check that the state store can be reached; it is asked again");
    parts.observer.event(&WorkerEvent::Trouble { doing, dataset, error, hint });
}

/// What the store knows of a dataset now.
#[derive(Debug)]
struct Fresh {
    known: Checkpoint,
    control: Control,
    /// When it is due by both.
    due: Option<Due>,
}

async fn fresh(parts: &Parts, job: &Job) -> Result<Fresh, StateError> {
    let known = parts.state.load(&job.spec.id).await?.map(|found| found.checkpoint).unwrap_or_default();
    if let Some(run) = &known.last_success {
        // Another worker may have run it.
        crate::engine::telemetry::landed(&job.spec.id, run);
    }
    let control = parts.controls.get(&job.spec.id).await?;
    let due = job.due(&known, &control, parts.clock.now());
    Ok(Fresh { known, control, due })
}

/// Looks at a job that seems to be due, and runs it if it still is. Answers as well what was asked for of it when that was last read.
async fn look(parts: Arc<Parts>, job: Arc<Job>) -> (Looked, Option<Control>) {
    let mut control = None;
    let looked = look_and_run(&parts, &job, &mut control).await.unwrap_or_else(|error| {
        trouble(&parts, "looking at the state of a dataset", Some(&job.spec.id), &error);
        Looked::Later(parts.clock.now() + STORE_PAUSE, "the state store cannot be used")
    });
    (looked, control)
}

async fn look_and_run(parts: &Parts, job: &Job, control: &mut Option<Control>) -> Result<Looked, StateError> {
    let now = fresh(parts, job).await?;
    let asked = control.insert(now.control);
    match now.due {
        Some(due) if due.at <= parts.clock.now() => within_limits(parts, job, &due.why, asked).await,
        other => Ok(Looked::Next(other.map(|due| due.at))),
    }
}

async fn within_limits(parts: &Parts, job: &Job, why: &Why, asked: &mut Control) -> Result<Looked, StateError> {
    let Some(slots) = parts.slots.take_all(&job.limits).await? else {
        return Ok(Looked::Later(later(parts, job), "all slots of a limit are taken"));
    };
    let ended = tokio::select! {
        biased;
        ended = begin(parts, job, why, asked) => Some(ended),
        () = any_lost(&slots) => None,
    };
    for slot in slots {
        slot.release().await;
    }
    match ended {
        Some(ended) => ended,
        None => Ok(Looked::Later(later(parts, job), "a slot was lost to another worker")),
    }
}

async fn any_lost(slots: &[Slot]) {
    if slots.is_empty() {
        std::future::pending::<()>().await;
    }
    let lost = slots.iter().map(|slot| Box::pin(slot.lost()));
    futures_util::future::select_all(lost).await;
}

/// After a while, and not at the same time as the other workers.
fn later(parts: &Parts, job: &Job) -> DateTime<Utc> {
    let now = parts.clock.now();
    let text = format!("{}/{}@{}", parts.owner, job.spec.id, now.timestamp_millis());
    let drawn = xxhash_rust::xxh3::xxh3_64(text.as_bytes()) % u64::try_from(LATER.as_millis()).unwrap_or(u64::MAX);
    now + LATER + Duration::from_millis(drawn)
}

/// Runs a job, and compares everything behind it where that is due. `asked` is what was asked for before it begins.
async fn begin(parts: &Parts, job: &Job, why: &Why, asked: &mut Control) -> Result<Looked, StateError> {
    parts.observer.event(&WorkerEvent::Begun { dataset: &job.spec.id, why });
    let what = match why {
        Why::Requested(request) => request.run,
        _ => RequestedRun::Changes,
    };
    let serves = asked.served_by(what);
    let outcome = match what {
        RequestedRun::Changes => job.syncer.run(&job.spec).await,
        RequestedRun::Full => job.syncer.run_full(&job.spec).await,
        RequestedRun::Reconcile => job.syncer.reconcile(&job.spec).await,
        RequestedRun::Replay => job.syncer.replay(&job.spec).await,
    };
    match &outcome {
        Ok(_) => parts.controls.served(&job.spec.id, &serves).await?,
        Err(error) if is_elsewhere(error) => return Ok(Looked::Later(later(parts, job), "another worker is at it")),
        Err(error) => parts.controls.failed(&job.spec.id, &serves, error.disposition()).await?,
    }
    let mut now = fresh(parts, job).await?;
    let mut next = after(parts, job, &outcome, &now);
    if what != RequestedRun::Reconcile && now.known.failures == 0 && job.reconcile_is_due(&now.known, parts.clock.now())
    {
        let outcome = job.syncer.reconcile(&job.spec).await;
        now = fresh(parts, job).await?;
        next = after(parts, job, &outcome, &now);
    }
    *asked = now.control;
    Ok(next)
}

/// Tells how a run ended, and finds out when it is due again.
fn after(parts: &Parts, job: &Job, outcome: &Result<RunSummary, SyncError>, now: &Fresh) -> Looked {
    let mut next = now.due.as_ref().map(|due| due.at);
    if let Err(error) = outcome
        && !is_noted(error, &now.known)
    {
        // The failure itself could not be noted.
        let now = parts.clock.now();
        let retry = error.disposition().next_attempt(1, now).unwrap_or(now + UNMENDED);
        next = next.max(Some(retry));
    }
    // One that could not be noted is one all the same.
    let failures = if outcome.is_err() { now.known.failures.max(1) } else { 0 };
    parts.observer.event(&WorkerEvent::Ended { dataset: &job.spec.id, outcome, failures, next });
    Looked::Next(next)
}

/// Whether the store knows of a failure.
fn is_noted(error: &SyncError, known: &Checkpoint) -> bool {
    known.failures > 0 && known.last_run.as_ref().map(|run| &run.run) == error.run()
}

/// Whether another worker has the lease.
fn is_elsewhere(error: &SyncError) -> bool {
    error.run().is_none() && matches!(error.cause(), Cause::State(error) if error.kind() == StateErrorKind::Leased)
}
