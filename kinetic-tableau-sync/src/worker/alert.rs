//! Tells people when a dataset needs them, once, and once more when it is well again.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::observer::{Observer, WorkerEvent};
use crate::checkpoint::RunSummary;
use crate::clock::{Clock, SystemClock};
use crate::destination::{LoadKind, RefreshOutcome};
use crate::engine::{Cause, Disposition, SyncError};
use crate::model::DatasetId;
use crate::store::StateErrorKind;

/// How often sending an alert is tried.
const TRIES: u32 = 4;
/// The pause behind the first try; each is four times as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertKind {
    /// Its runs fail: at once where an operator has to do something, otherwise after some in a row.
    Failing,
    /// Rows have landed, but what reads them could not be refreshed.
    RefreshFailed,
    /// A comparison found more rows gone than it may delete.
    DeletesRefused,
    /// What was told before is over.
    Recovered,
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Alert {
    /// The dataset.
    pub dataset: DatasetId,
    /// What it is about.
    pub kind: AlertKind,
    /// When it was noticed.
    pub at: DateTime<Utc>,
    /// One line. It holds no secret, and no row's content.
    pub message: String,
    /// What to do next, where that is known.
    pub hint: Option<String>,
    /// Failures in a row.
    pub failures: u32,
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.dataset, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " (next: {hint})"),
            None => Ok(()),
        }
    }
}

/// Why an alert could not be sent.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct AlertError {
    message: String,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl AlertError {
    /// A failure with a one-line message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), cause: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

/// Where alerts go.
#[async_trait]
pub trait AlertSink: fmt::Debug + Send + Sync + 'static {
    /// Sends one. It is tried again, some times, when it fails.
    ///
    /// # Errors
    /// When it was not taken.
    async fn send(&self, alert: &Alert) -> Result<(), AlertError>;
}

/// An observer that raises alerts, and passes everything on to another observer.
///
/// A dataset that fails is told once: at once when only an operator can mend it, or after some failures in a row when it may pass. It is told
/// again when it fails in another way, or after a day, and once it is well. Several workers each tell of what they have run.
#[derive(Clone, Debug)]
pub struct Alerts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sink: Arc<dyn AlertSink>,
    next: Arc<dyn Observer>,
    clock: Arc<dyn Clock>,
    after: u32,
    remind: Duration,
    known: Mutex<HashMap<DatasetId, Known>>,
}

/// What is known of a dataset.
#[derive(Debug, Default)]
struct Known {
    failures: u32,
    /// What was told last, and is not over.
    told: Option<(AlertKind, String, DateTime<Utc>)>,
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
        let known = Mutex::default();
        Self { inner: Arc::new(Inner { sink, next, clock, after: after.max(1), remind, known }) }
    }
}

impl Observer for Alerts {
    fn event(&self, event: &WorkerEvent<'_>) {
        self.inner.next.event(event);
        if let WorkerEvent::Ended { dataset, outcome, .. } = event
            && let Some(alert) = self.inner.alert(dataset, outcome)
        {
            let inner = Arc::clone(&self.inner);
            tokio::spawn(async move { inner.send(&alert).await });
        }
    }
}

impl Inner {
    /// What is to be told about the end of a run, if anything.
    fn alert(&self, dataset: &DatasetId, outcome: &Result<RunSummary, SyncError>) -> Option<Alert> {
        let at = self.clock.now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry(dataset.clone()).or_default();
        let (kind, message, hint, urgent) = match outcome {
            // Neither is a failure of the dataset: somebody has stopped us, or does it instead.
            Err(error) if gave_way(error) => return None,
            Err(error) => {
                known.failures = known.failures.saturating_add(1);
                let urgent = matches!(error.disposition(), Disposition::Operator);
                (AlertKind::Failing, error.to_string(), error.hint().map(str::to_owned), urgent)
            }
            Ok(run) => {
                known.failures = 0;
                let Some((kind, message)) = trouble(run) else {
                    // Only a comparison or a full load tells whether rows are still left alone.
                    let tells = run.findings.is_some() || run.kind == Some(LoadKind::Full);
                    if !tells && known.told.as_ref().is_some_and(|told| told.0 == AlertKind::DeletesRefused) {
                        return None;
                    }
                    let (_, message, _) = known.told.take()?;
                    let message = format!("well again; before: {message}");
                    let dataset = dataset.clone();
                    return Some(Alert { dataset, kind: AlertKind::Recovered, at, message, hint: None, failures: 0 });
                };
                (kind, message, None, true)
            }
        };
        if !urgent && known.failures < self.after {
            return None;
        }
        let is_told = known.told.as_ref().is_some_and(|(before, words, when)| {
            *before == kind && alike(words, &message) && (at - *when).to_std().is_ok_and(|ago| ago < self.remind)
        });
        if is_told {
            return None;
        }
        known.told = Some((kind, message.clone(), at));
        Some(Alert { dataset: dataset.clone(), kind, at, message, hint, failures: known.failures })
    }

    async fn send(&self, alert: &Alert) {
        let mut pause = FIRST_PAUSE;
        for nth in 1..=TRIES {
            match self.sink.send(alert).await {
                Ok(()) => return,
                Err(error) if nth == TRIES => {
                    self.next.event(&WorkerEvent::Trouble {
                        doing: "sending an alert",
                        error: &error,
                        hint: Some("the alert is not sent again by itself; see `status` for what it was about"),
                    });
                }
                Err(_) => {
                    self.clock.sleep(pause).await;
                    pause *= 4;
                }
            }
        }
    }
}

/// Whether a run ended because somebody has stopped it, or another worker is at it.
fn gave_way(error: &SyncError) -> bool {
    match error.cause() {
        Cause::Stopped => true,
        Cause::State(error) => matches!(error.kind(), StateErrorKind::Leased | StateErrorKind::Stale),
        _ => false,
    }
}

/// Whether two messages differ in numbers only, which change with every row that is written.
fn alike(one: &str, two: &str) -> bool {
    let words = |text: &str| text.chars().filter(|letter| !letter.is_ascii_digit()).collect::<String>();
    words(one) == words(two)
}

/// What is wrong with a run that ended well.
fn trouble(run: &RunSummary) -> Option<(AlertKind, String)> {
    if let Some(refused) = run.findings.as_ref().and_then(|findings| findings.refused.as_ref()) {
        return Some((
            AlertKind::DeletesRefused,
            format!("rows that are gone from Kinetic were left alone: {refused}"),
        ));
    }
    let failed = run.refreshes.iter().find_map(|report| match &report.outcome {
        RefreshOutcome::Failed(note) => Some(format!("the refresh of {} failed: {note}", report.target)),
        RefreshOutcome::Unknown(note) => {
            Some(format!("how the refresh of {} ended is not known: {note}", report.target))
        }
        _ => None,
    });
    failed.map(|message| (AlertKind::RefreshFailed, message))
}

/// Writes alerts to the log, as errors; that something is well again as information.
#[cfg(feature = "tracing")]
#[derive(Clone, Copy, Debug, Default)]
pub struct LogAlerts;

#[cfg(feature = "tracing")]
#[async_trait]
impl AlertSink for LogAlerts {
    async fn send(&self, alert: &Alert) -> Result<(), AlertError> {
        let (dataset, hint) = (alert.dataset.as_str(), alert.hint.as_deref().unwrap_or_default());
        if alert.kind == AlertKind::Recovered {
            tracing::info!(dataset, "{}", alert.message);
        } else {
            tracing::error!(dataset, hint, failures = alert.failures, "{}", alert.message);
        }
        Ok(())
    }
}

#[cfg(feature = "alert-webhook")]
mod webhook {
    use std::fmt;
    use std::time::Duration;

    use async_trait::async_trait;
    use secrecy::{ExposeSecret as _, SecretString};
    use serde_json::json;

    use super::{Alert, AlertError, AlertSink};

    /// Posts alerts as JSON to an address, which is a secret as a whole: `{"text": …, "dataset": …, "kind": …, "message": …, "hint": …,
    /// "failures": …, "at": …}`. Chats such as Slack, Mattermost and Teams show `text`.
    pub struct WebhookAlerts {
        client: reqwest::Client,
        address: SecretString,
    }

    impl WebhookAlerts {
        /// Posts to an address. Nothing is sent yet.
        ///
        /// # Errors
        /// When it is no address of a web service, or no client can be built.
        pub fn new(address: impl Into<SecretString>) -> Result<Self, AlertError> {
            let address = address.into();
            let known = reqwest::Url::parse(address.expose_secret());
            if !known.is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host()) {
                return Err(AlertError::new("the address for alerts is no https://… address"));
            }
            let client = reqwest::Client::builder().timeout(Duration::from_secs(15)).build();
            let client =
                client.map_err(|error| AlertError::new("no client for alerts can be built").with_cause(error))?;
            Ok(Self { client, address })
        }
    }

    impl fmt::Debug for WebhookAlerts {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("WebhookAlerts").finish_non_exhaustive()
        }
    }

    #[async_trait]
    impl AlertSink for WebhookAlerts {
        async fn send(&self, alert: &Alert) -> Result<(), AlertError> {
            let mut body = json!(alert);
            if let Some(fields) = body.as_object_mut() {
                fields.insert("text".to_owned(), json!(alert.to_string()));
            }
            let request = self.client.post(self.address.expose_secret()).header("content-type", "application/json");
            let answer = request.body(body.to_string()).send().await;
            // An error of the client names the address.
            let answer = answer.map_err(|error| {
                AlertError::new("the service for alerts did not answer").with_cause(error.without_url())
            })?;
            if answer.status().is_success() {
                return Ok(());
            }
            Err(AlertError::new(format!("the service for alerts answered {}", answer.status())))
        }
    }
}

#[cfg(feature = "alert-webhook")]
pub use self::webhook::WebhookAlerts;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Findings;
    use crate::destination::RefreshReport;
    use crate::engine::Stage;
    use crate::model::RefreshTarget;
    use crate::source::{SourceError, SourceErrorKind};
    use crate::store::StateError;
    use crate::worker::NoObserver;

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

    async fn ended(alerts: &Alerts, outcome: Outcome) {
        alerts.event(&WorkerEvent::Ended { dataset: &"ap".into(), outcome: &outcome, next: None });
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    fn told(sink: &Sink) -> Vec<(AlertKind, u32)> {
        sink.sent.lock().unwrap().drain(..).map(|alert| (alert.kind, alert.failures)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_told_after_some_failures_what_needs_people_at_once_and_each_once() {
        let sink = Arc::new(Sink::default());
        let alerts = Alerts::new(Arc::clone(&sink) as _, Arc::new(NoObserver));
        for _ in 0..2 {
            ended(&alerts, failed(SourceErrorKind::Unavailable, "busy")).await;
        }
        assert_eq!(told(&sink), [], "it may pass");
        for nth in 0..5 {
            ended(&alerts, failed(SourceErrorKind::Unavailable, &format!("busy, {nth} waiting"))).await;
        }
        assert_eq!(told(&sink), [(AlertKind::Failing, 3)], "numbers make no other matter");
        ended(&alerts, failed(SourceErrorKind::Auth, "refused")).await;
        assert_eq!(told(&sink), [(AlertKind::Failing, 8)], "another failure is another matter");
        for cause in [StateErrorKind::Leased, StateErrorKind::Stale] {
            ended(&alerts, Err(SyncError::new(&"ap".into(), None, Stage::Lease, StateError::new(cause, "theirs"))))
                .await;
        }
        ended(&alerts, Err(SyncError::new(&"ap".into(), None, Stage::Lease, Cause::Stopped))).await;
        assert_eq!(told(&sink), [], "giving way is no failure");
        ended(&alerts, Ok(well())).await;
        assert_eq!(told(&sink), [(AlertKind::Recovered, 0)]);
        ended(&alerts, Ok(well())).await;
        assert_eq!(told(&sink), []);
        let target = RefreshTarget::Task { id: "7".to_owned() };
        let outcome = RefreshOutcome::Failed("no".to_owned());
        let refreshes = vec![RefreshReport { target, job_id: None, outcome }];
        ended(&alerts, Ok(RunSummary { refreshes, ..well() })).await;
        assert_eq!(told(&sink), [(AlertKind::RefreshFailed, 0)]);
        let findings = Some(Findings { refused: Some("too many".to_owned()), ..Findings::default() });
        ended(&alerts, Ok(RunSummary { findings, ..well() })).await;
        assert_eq!(told(&sink), [(AlertKind::DeletesRefused, 0)]);
        ended(&alerts, Ok(well())).await;
        assert_eq!(told(&sink), [], "a cycle that does not compare cannot tell");
        ended(&alerts, Ok(RunSummary { findings: Some(Findings::default()), ..well() })).await;
        assert_eq!(told(&sink), [(AlertKind::Recovered, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_react_is_reminded() {
        #[derive(Debug)]
        struct Simulated(tokio::time::Instant);
        #[async_trait]
        impl Clock for Simulated {
            fn now(&self) -> DateTime<Utc> {
                DateTime::UNIX_EPOCH + self.0.elapsed()
            }
            async fn sleep(&self, duration: Duration) {
                tokio::time::sleep(duration).await;
            }
        }
        let (sink, clock) = (Arc::new(Sink::default()), Arc::new(Simulated(tokio::time::Instant::now())));
        let hour = Duration::from_hours(1);
        let alerts = Alerts::with(Arc::clone(&sink) as _, Arc::new(NoObserver), 1, hour, clock);
        for _ in 0..9 {
            ended(&alerts, failed(SourceErrorKind::Unavailable, "busy")).await;
            tokio::time::sleep(hour / 4).await;
        }
        assert_eq!(told(&sink), [(AlertKind::Failing, 1), (AlertKind::Failing, 5), (AlertKind::Failing, 9)]);
    }

    #[cfg(feature = "tracing")]
    #[tokio::test]
    async fn the_log_has_each_alert_as_an_error_and_what_is_over_as_information() {
        #[derive(Clone, Debug, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let listens = tracing::subscriber::set_default(subscriber);
        let (at, hint) = (DateTime::UNIX_EPOCH, Some("ask them".to_owned()));
        let failing = Alert {
            dataset: "ap".into(),
            kind: AlertKind::Failing,
            at,
            message: "refused".to_owned(),
            hint,
            failures: 3,
        };
        let over =
            Alert { kind: AlertKind::Recovered, message: "well again".to_owned(), hint: None, ..failing.clone() };
        LogAlerts.send(&failing).await.unwrap();
        LogAlerts.send(&over).await.unwrap();
        drop(listens);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let [first, second] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert!(
            first.contains("ERROR") && first.contains("refused dataset=\"ap\" hint=\"ask them\" failures=3"),
            "{first}"
        );
        assert!(second.contains("INFO") && second.contains("well again dataset=\"ap\""), "{second}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_alert_that_is_not_taken_is_sent_again_and_given_up_aloud() {
        let (sink, troubles) = (Arc::new(Sink::default()), Arc::new(Troubles::default()));
        let alerts = Alerts::new(Arc::clone(&sink) as _, Arc::clone(&troubles) as _);
        for (refuses, taken, words) in [(TRIES - 1, 1, "refused"), (TRIES, 0, "refused again")] {
            *sink.refuses.lock().unwrap() = refuses;
            ended(&alerts, failed(SourceErrorKind::Auth, words)).await;
            tokio::time::sleep(Duration::from_mins(10)).await;
            assert_eq!(told(&sink).len(), taken);
        }
        assert_eq!(*troubles.0.lock().unwrap(), ["sending an alert: not now"]);
    }
}
