//! Tells people when a dataset needs them, once, and once more when it is well again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as Turn;
use tokio::task::JoinError;

use super::alert::{Alert, AlertKind, AlertSink};
use super::news::{News, Verdict};
use super::observer::{Observer, WorkerEvent};
use super::outage::Outages;
use super::told::Told;
use crate::clock::{Clock, SystemClock};
use crate::model::DatasetId;
use crate::redact::Redactor;
use crate::store::{MemoryStore, NoteStore};

/// How often sending an alert is tried.
const TRIES: u32 = 4;
/// The pause behind the first try; each is four times as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// An observer that raises alerts, and passes everything on to another observer.
///
/// A dataset that fails is told once: at once when only an operator can mend it, or after some failures in a row when it may pass, whichever
/// workers have met them. It is told again when it fails in another way, or after a day, and once it is well. Several workers tell of it
/// once together when they [share](Alerts::shared) what was told; otherwise each tells of what it has run. A state store that cannot be used
/// for five minutes is told by each worker, since then nothing can be shared, and so is whatever else fails beside the runs for so long.
#[derive(Clone, Debug)]
pub struct Alerts {
    inner: Arc<Inner>,
}

/// What alerts are made with.
#[derive(Clone, Debug)]
struct Options {
    sink: Arc<dyn AlertSink>,
    next: Arc<dyn Observer>,
    clock: Arc<dyn Clock>,
    after: u32,
    remind: Duration,
    notes: Arc<dyn NoteStore>,
    redactor: Redactor,
}

#[derive(Debug)]
struct Inner {
    options: Options,
    /// What runs have said, and was not judged yet.
    news: Mutex<VecDeque<(DatasetId, News)>>,
    /// One after the other, so that the end of a failure does not overtake its beginning.
    turn: Turn<()>,
    outages: Mutex<Outages>,
}

impl Alerts {
    /// Sends to a sink, after three failures in a row where they may pass, and reminds each day.
    pub fn new(sink: Arc<dyn AlertSink>, next: Arc<dyn Observer>) -> Self {
        Self::with(sink, next, 3, Duration::from_hours(24), Arc::new(SystemClock))
    }

    /// Sends after so many failures in a row where they may pass, and reminds after such a time.
    pub fn with(
        sink: Arc<dyn AlertSink>,
        next: Arc<dyn Observer>,
        after: u32,
        remind: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (notes, redactor) = (Arc::new(MemoryStore::new()), Redactor::default());
        Self::of(Options { sink, next, clock, after: after.max(1), remind, notes, redactor })
    }

    /// Remembers what was told in the store of the workers, so that each alert is sent by one of them only, whoever finds that it is over
    /// says so, and a new start does not tell everything again.
    #[must_use]
    pub fn shared(self, notes: Arc<dyn NoteStore>) -> Self {
        Self::of(Options { notes, ..self.inner.options.clone() })
    }

    /// Keeps known secrets out of what is told of troubles beside the runs. What runs say is clean already.
    #[must_use]
    pub fn redactor(self, redactor: &Redactor) -> Self {
        Self::of(Options { redactor: redactor.clone(), ..self.inner.options.clone() })
    }

    fn of(options: Options) -> Self {
        let (news, turn, outages) = (Mutex::default(), Turn::default(), Mutex::default());
        Self { inner: Arc::new(Inner { options, news, turn, outages }) }
    }
}

impl Observer for Alerts {
    fn event(&self, event: &WorkerEvent<'_>) {
        self.inner.options.next.event(event);
        match event {
            WorkerEvent::Ended { dataset, outcome, failures, .. } => {
                if let Some(news) = News::of(outcome, *failures) {
                    self.judge(dataset, news);
                }
            }
            WorkerEvent::Trouble { dataset: Some(dataset), error, .. } if error.is::<JoinError>() => {
                self.judge(dataset, News::broke_off());
            }
            WorkerEvent::Trouble { doing, error, hint, .. } => {
                let mut message = error.to_string();
                self.inner.options.redactor.scrub(&mut message);
                let (now, remind) = (self.inner.options.clock.now(), self.inner.options.remind);
                let met = self.inner.outages().met(doing, *error, &message, now, remind);
                let Some((key, is_new, message, failures)) = met else { return };
                let hint = hint.map(ToOwned::to_owned);
                let alert = Alert { dataset: None, kind: AlertKind::Trouble, at: now, message, hint, failures };
                let inner = Arc::clone(&self.inner);
                tokio::spawn(async move {
                    inner.send(&alert).await;
                    if is_new {
                        inner.end_of(&key).await;
                    }
                });
            }
            _ => {}
        }
    }
}

impl Alerts {
    /// Tells of the end of a run what is to be told, if anything.
    fn judge(&self, dataset: &DatasetId, news: News) {
        let inner = Arc::clone(&self.inner);
        inner.news.lock().unwrap_or_else(PoisonError::into_inner).push_back((dataset.clone(), news));
        tokio::spawn(async move {
            let turn = inner.turn.lock().await;
            // Whoever has its turn takes the oldest, whichever that is.
            let oldest = inner.news.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some((dataset, news)) = oldest else { return };
            let Some((alert, told)) = inner.alert(dataset, &news).await else { return };
            drop(turn);
            inner.send(&alert).await;
            if let Some(told) = told {
                told.sent(&*inner.options.notes).await;
            }
        });
    }
}

impl Inner {
    fn outages(&self) -> MutexGuard<'_, Outages> {
        self.outages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be told about the end of a run, if anything, noted as about to be sent.
    async fn alert(&self, dataset: DatasetId, news: &News) -> Option<(Alert, Option<Told>)> {
        let Options { notes, clock, after, remind, .. } = &self.options;
        let at = clock.now();
        let alert = |verdict: Verdict| {
            let Verdict { kind, message, hint, failures } = verdict;
            Alert { dataset: Some(dataset.clone()), kind, at, message, hint, failures }
        };
        loop {
            let Ok(told) = Told::find(&**notes, &dataset).await else {
                // Told twice is better than not at all; of what is over nothing is known.
                let verdict = news.verdict(None, at, *after, *remind)?;
                return Some((alert(verdict), None));
            };
            let verdict = news.verdict(told.last(), at, *after, *remind)?;
            // Where another worker has told meanwhile, that counts.
            if let Some(noted) = told.note(&**notes, &verdict, at).await {
                return Some((alert(verdict), noted));
            }
        }
    }

    /// Waits until a trouble is over, and tells of that.
    async fn end_of(&self, key: &str) {
        let Options { clock, .. } = &self.options;
        loop {
            let Some(left) = self.outages().quiet_in(key, clock.now()) else { return };
            if left.is_zero() {
                break;
            }
            clock.sleep(left).await;
        }
        let Some(before) = self.outages().end(key) else { return };
        let message = format!("well again; before: {before}");
        let (kind, at) = (AlertKind::Recovered, clock.now());
        self.send(&Alert { dataset: None, kind, at, message, hint: None, failures: 0 }).await;
    }

    async fn send(&self, alert: &Alert) {
        let Options { sink, next, clock, .. } = &self.options;
        let mut pause = FIRST_PAUSE;
        for nth in 1..=TRIES {
            match sink.send(alert).await {
                Ok(()) => return,
                Err(error) if nth == TRIES => {
                    next.event(&WorkerEvent::Trouble {
                        doing: "sending an alert",
                        dataset: alert.dataset.as_ref(),
                        error: &error,
                        hint: Some("the alert is not sent again by itself; see `status` for what it was about"),
                    });
                }
                Err(_) => {
                    clock.sleep(pause).await;
                    pause *= 4;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::checkpoint::{Findings, RunSummary};
    use crate::destination::{RefreshOutcome, RefreshReport};
    use crate::engine::{Cause, Stage, SyncError};
    use crate::model::RefreshTarget;
    use crate::source::{SourceError, SourceErrorKind};
    use crate::store::{StateError, StateErrorKind};
    use crate::worker::{AlertError, NoObserver};

    #[derive(Debug, Default)]
    struct Sink {
        sent: Mutex<Vec<Alert>>,
        refuses: Mutex<u32>,
    }

    #[async_trait]
    impl AlertSink for Sink {
        async fn send(&self, alert: &Alert) -> Result<(), AlertError> {
            let mut refuses = self.refuses.lock().unwrap();
            if *refuses > 0 {
                *refuses -= 1;
                return Err(AlertError::new("not now"));
            }
            self.sent.lock().unwrap().push(alert.clone());
            Ok(())
        }
    }

    #[derive(Debug, Default)]
    struct Troubles(Mutex<Vec<String>>);

    impl Observer for Troubles {
        fn event(&self, event: &WorkerEvent<'_>) {
            if let WorkerEvent::Trouble { doing, error, .. } = event {
                self.0.lock().unwrap().push(format!("{doing}: {error}"));
            }
        }
    }

    type Outcome = Result<RunSummary, SyncError>;

    fn failed(kind: SourceErrorKind, message: &str) -> Outcome {
        Err(SyncError::new(&"ap".into(), None, Stage::Read, SourceError::new(kind, message)))
    }

    fn well() -> RunSummary {
        serde_json::from_value(serde_json::json!({
            "run": "r", "kind": null, "started": "2026-11-26T00:00:00Z", "ended": "2026-11-26T00:00:01Z",
            "counts": {"read": 0, "inserted": 0, "updated": 0, "unchanged": 0, "superseded": 0, "rejected": 0},
            "landed_rows": 0, "refreshes": [], "error": null
        }))
        .unwrap()
    }

    /// With so many failures in a row.
    async fn ended(alerts: &Alerts, outcome: Outcome, failures: u32) {
        alerts.event(&WorkerEvent::Ended { dataset: &"ap".into(), outcome: &outcome, failures, next: None });
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// The clock of the runtime, which moves on by itself.
    #[derive(Debug)]
    struct Simulated(tokio::time::Instant);

    impl Simulated {
        fn begin() -> Arc<Self> {
            Arc::new(Self(tokio::time::Instant::now()))
        }
    }

    #[async_trait]
    impl Clock for Simulated {
        fn now(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH + self.0.elapsed()
        }
        async fn sleep(&self, duration: Duration) {
            tokio::time::sleep(duration).await;
        }
    }

    fn told(sink: &Sink) -> Vec<(AlertKind, u32)> {
        sink.sent.lock().unwrap().drain(..).map(|alert| (alert.kind, alert.failures)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_told_after_some_failures_what_needs_people_at_once_and_each_once() {
        let sink = Arc::new(Sink::default());
        let alerts = Alerts::new(Arc::clone(&sink) as _, Arc::new(NoObserver));
        for nth in 1..=2 {
            ended(&alerts, failed(SourceErrorKind::Unavailable, "busy"), nth).await;
        }
        assert_eq!(told(&sink), [], "it may pass");
        for nth in 3..=7 {
            ended(&alerts, failed(SourceErrorKind::Unavailable, &format!("busy, {nth} waiting")), nth).await;
        }
        assert_eq!(told(&sink), [(AlertKind::Failing, 3)], "numbers make no other matter");
        ended(&alerts, failed(SourceErrorKind::Auth, "refused"), 8).await;
        assert_eq!(told(&sink), [(AlertKind::Failing, 8)], "another failure is another matter");
        for cause in [StateErrorKind::Leased, StateErrorKind::Stale] {
            let theirs = SyncError::new(&"ap".into(), None, Stage::Lease, StateError::new(cause, "theirs"));
            ended(&alerts, Err(theirs), 9).await;
        }
        ended(&alerts, Err(SyncError::new(&"ap".into(), None, Stage::Lease, Cause::Stopped)), 9).await;
        assert_eq!(told(&sink), [], "giving way is no failure");
        ended(&alerts, Ok(well()), 0).await;
        assert_eq!(told(&sink), [(AlertKind::Recovered, 0)]);
        ended(&alerts, Ok(well()), 0).await;
        assert_eq!(told(&sink), []);
        let target = RefreshTarget::Task { id: "7".to_owned() };
        let outcome = RefreshOutcome::Failed("no".to_owned());
        let refreshes = vec![RefreshReport { target, job_id: None, outcome }];
        ended(&alerts, Ok(RunSummary { refreshes, ..well() }), 0).await;
        assert_eq!(told(&sink), [(AlertKind::RefreshFailed, 0)]);
        let findings = Some(Findings { refused: Some("too many".to_owned()), ..Findings::default() });
        ended(&alerts, Ok(RunSummary { findings, ..well() }), 0).await;
        assert_eq!(told(&sink), [(AlertKind::DeletesRefused, 0)]);
        ended(&alerts, Ok(well()), 0).await;
        assert_eq!(told(&sink), [], "a cycle that does not compare cannot tell");
        ended(&alerts, Ok(RunSummary { findings: Some(Findings::default()), ..well() }), 0).await;
        assert_eq!(told(&sink), [(AlertKind::Recovered, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_react_is_reminded() {
        let (sink, clock) = (Arc::new(Sink::default()), Simulated::begin());
        let hour = Duration::from_hours(1);
        let alerts = Alerts::with(Arc::clone(&sink) as _, Arc::new(NoObserver), 1, hour, clock);
        for nth in 1..=9 {
            ended(&alerts, failed(SourceErrorKind::Unavailable, "busy"), nth).await;
            tokio::time::sleep(hour / 4).await;
        }
        assert_eq!(told(&sink), [(AlertKind::Failing, 1), (AlertKind::Failing, 5), (AlertKind::Failing, 9)]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_alert_that_is_not_taken_is_sent_again_and_given_up_aloud() {
        let (sink, troubles) = (Arc::new(Sink::default()), Arc::new(Troubles::default()));
        let alerts = Alerts::new(Arc::clone(&sink) as _, Arc::clone(&troubles) as _);
        for (refuses, taken, words) in [(TRIES - 1, 1, "refused"), (TRIES, 0, "refused again")] {
            *sink.refuses.lock().unwrap() = refuses;
            ended(&alerts, failed(SourceErrorKind::Auth, words), 1).await;
            tokio::time::sleep(Duration::from_mins(10)).await;
            assert_eq!(told(&sink).len(), taken);
        }
        assert_eq!(*troubles.0.lock().unwrap(), ["sending an alert: not now"]);
    }

    #[tokio::test(start_paused = true)]
    async fn several_workers_count_together_tell_once_and_whoever_runs_it_next_says_that_it_is_well() {
        let (sink, store) = (Arc::new(Sink::default()), Arc::new(MemoryStore::new()));
        let make = || Alerts::new(Arc::clone(&sink) as _, Arc::new(NoObserver)).shared(Arc::clone(&store) as _);
        let (one, two) = (make(), make());
        let busy = || failed(SourceErrorKind::Unavailable, "busy");
        for _ in 0..3 {
            ended(&one, busy(), 1).await;
            ended(&two, Ok(well()), 0).await;
        }
        assert_eq!(told(&sink), [], "no two failures came in a row");
        for (nth, worker) in [(1, &one), (2, &two), (3, &two), (4, &one), (5, &two)] {
            ended(worker, busy(), nth).await;
        }
        assert_eq!(told(&sink), [(AlertKind::Failing, 3)]);
        // A new start knows as well what was told.
        ended(&make(), busy(), 6).await;
        ended(&one, Ok(well()), 0).await;
        ended(&two, Ok(well()), 0).await;
        assert_eq!(told(&sink), [(AlertKind::Recovered, 0)]);
        assert_eq!(store.notes("").await.unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_worker_was_about_to_tell_when_it_died_is_told_by_the_next_one() {
        let (sink, store, clock) = (Arc::new(Sink::default()), Arc::new(MemoryStore::new()), Simulated::begin());
        let day = Duration::from_hours(24);
        let make = || Alerts::with(Arc::clone(&sink) as _, Arc::new(NoObserver), 1, day, Arc::clone(&clock) as _);
        let (one, two) = (make().shared(Arc::clone(&store) as _), make().shared(Arc::clone(&store) as _));
        let (busy, ap) = (|| failed(SourceErrorKind::Unavailable, "busy"), DatasetId::new("ap"));
        let dies = async |outcome: Outcome| {
            let news = News::of(&outcome, 1).unwrap();
            assert!(one.inner.alert(ap.clone(), &news).await.is_some());
        };
        dies(busy()).await;
        ended(&two, busy(), 2).await;
        assert_eq!(told(&sink), [], "it may be at it");
        tokio::time::sleep(Duration::from_mins(3)).await;
        ended(&two, busy(), 3).await;
        ended(&two, busy(), 4).await;
        assert_eq!(told(&sink), [(AlertKind::Failing, 3)]);
        dies(Ok(well())).await;
        ended(&two, Ok(well()), 0).await;
        assert_eq!(told(&sink), [], "it may be at it");
        tokio::time::sleep(Duration::from_mins(3)).await;
        ended(&two, Ok(well()), 0).await;
        ended(&two, Ok(well()), 0).await;
        assert_eq!(told(&sink), [(AlertKind::Recovered, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_beside_the_runs_is_told_when_it_lasts_and_once_when_it_is_over() {
        let (sink, clock, redactor) = (Arc::new(Sink::default()), Simulated::begin(), Redactor::new());
        redactor.add(&secrecy::SecretString::from("very-secret"));
        let day = Duration::from_hours(24);
        let alerts = Alerts::with(Arc::clone(&sink) as _, Arc::new(NoObserver), 3, day, clock).redactor(&redactor);
        let store = StateError::new(StateErrorKind::Unavailable, "no answer to very-secret");
        let source = SourceError::new(SourceErrorKind::Unavailable, "no agent");
        let fails = async |minutes: u32, error: &(dyn std::error::Error + 'static)| {
            // Whatever it is wanted for, the store is one.
            for doing in ["this", "that"].iter().cycle().take(minutes as usize * 2) {
                alerts.event(&WorkerEvent::Trouble { doing, dataset: None, error, hint: None });
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
        };
        fails(4, &store).await;
        tokio::time::sleep(Duration::from_mins(16)).await;
        fails(4, &store).await;
        assert_eq!(told(&sink), [], "it passes");
        fails(60, &store).await;
        let sent: Vec<Alert> = sink.sent.lock().unwrap().drain(..).collect();
        let [alert] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!((alert.kind, &alert.dataset, alert.failures), (AlertKind::Trouble, &None, 11));
        assert_eq!(alert.message, "using the state store has failed since 00:20 UTC: no answer to [redacted]");
        tokio::time::sleep(Duration::from_mins(16)).await;
        assert_eq!(told(&sink), [(AlertKind::Recovered, 0)]);
        fails(60, &source).await;
        tokio::time::sleep(Duration::from_mins(16)).await;
        let kinds: Vec<AlertKind> = told(&sink).into_iter().map(|(kind, _)| kind).collect();
        let [trouble, recovered] = [AlertKind::Trouble, AlertKind::Recovered];
        assert_eq!(kinds, [trouble, trouble, recovered, recovered], "anything else is what it was done for");
    }
}
