//! What people are told, and how it reaches them.

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::DatasetId;

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertKind {
    /// Its runs fail: at once where an operator has to do something, otherwise after some in a row.
    Failing,
    /// Rows have landed, but what reads them could not be refreshed.
    RefreshFailed,
    /// A comparison found more rows gone than it may delete.
    DeletesRefused,
    /// Something beside the runs has failed for minutes, such as that the state store cannot be used, so that nothing may be run at all. It is
    /// of no dataset, and each worker tells of what it has met.
    Trouble,
    /// What was told before is over.
    Recovered,
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Alert {
    /// The dataset; none where it is about the worker as a whole.
    pub dataset: Option<DatasetId>,
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
        if let Some(dataset) = &self.dataset {
            write!(f, "{dataset}: ")?;
        }
        write!(f, "{}", self.message)?;
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

/// Writes alerts to the log, as errors; that something is well again as information.
#[cfg(feature = "tracing")]
#[derive(Clone, Copy, Debug, Default)]
pub struct LogAlerts;

#[cfg(feature = "tracing")]
#[async_trait]
impl AlertSink for LogAlerts {
    async fn send(&self, alert: &Alert) -> Result<(), AlertError> {
        let (dataset, hint) =
            (alert.dataset.as_ref().map(DatasetId::as_str), alert.hint.as_deref().unwrap_or_default());
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

#[cfg(all(test, feature = "tracing"))]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

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
            dataset: Some("ap".into()),
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
}
