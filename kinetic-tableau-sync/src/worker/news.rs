//! What the end of a run says of its dataset, and whether people have to know.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::alert::AlertKind;
use super::told::Last;
use crate::checkpoint::RunSummary;
use crate::destination::{LoadKind, RefreshOutcome};
use crate::engine::{Cause, Disposition, SyncError};
use crate::store::StateErrorKind;

/// Longer than a worker is at sending an alert, with all its tries: by then it has died at it.
const SENDING: Duration = Duration::from_mins(3);

/// What the end of a run says of its dataset.
#[derive(Debug)]
pub(super) enum News {
    /// It needs people, or may.
    Bad {
        verdict: Verdict,
        /// Whether only people can mend it.
        urgent: bool,
    },
    /// It is well.
    Well {
        /// Whether everything was looked at, so that what was left alone before is left alone no more.
        whole: bool,
    },
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) kind: AlertKind,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// In a row.
    pub(super) failures: u32,
}

impl News {
    /// What the end of a run says, with so many failures in a row; nothing when it was no run of the dataset.
    pub(super) fn of(outcome: &Result<RunSummary, SyncError>, failures: u32) -> Option<Self> {
        match outcome {
            // Neither is a failure of the dataset: somebody has stopped us, or does it instead.
            Err(error) if gave_way(error) => None,
            Err(error) => {
                let (message, hint) = (error.to_string(), error.hint().map(str::to_owned));
                let verdict = Verdict { kind: AlertKind::Failing, message, hint, failures };
                Some(Self::Bad { verdict, urgent: matches!(error.disposition(), Disposition::Operator) })
            }
            Ok(run) => Some(match trouble(run) {
                Some((kind, message)) => {
                    Self::Bad { verdict: Verdict { kind, message, hint: None, failures: 0 }, urgent: true }
                }
                None => Self::Well { whole: run.findings.is_some() || run.kind == Some(LoadKind::Full) },
            }),
        }
    }

    /// A run that did not end by itself. What it said at its end is in the log: nobody knows what is in that.
    pub(super) fn broke_off() -> Self {
        let message = "the run broke off in the middle, by a defect of this program".to_owned();
        let hint = Some("nothing is lost, and it is run again; report it with what the log says".to_owned());
        Self::Bad { verdict: Verdict { kind: AlertKind::Failing, message, hint, failures: 1 }, urgent: true }
    }

    /// What is to be told now, with what was told before: after so many failures in a row where they may pass, and again after a time.
    pub(super) fn verdict(
        &self,
        told: Option<&Last>,
        now: DateTime<Utc>,
        after: u32,
        remind: Duration,
    ) -> Option<Verdict> {
        let within = |last: &Last, time: Duration| (now - last.at).to_std().unwrap_or_default() < time;
        match self {
            Self::Bad { verdict, urgent } => {
                let same = |last: &Last| last.kind == verdict.kind && alike(&last.message, &verdict.message);
                let known = |last: &Last| same(last) && within(last, if last.sent { remind } else { SENDING });
                let counts = *urgent || verdict.failures >= after;
                (counts && !told.is_some_and(known)).then(|| verdict.clone())
            }
            Self::Well { whole } => {
                let last = told?;
                let message = match last.kind {
                    AlertKind::Recovered if within(last, SENDING) => return None,
                    // Whoever was about to say so has died.
                    AlertKind::Recovered => last.message.clone(),
                    // Only a comparison or a full load tells whether rows are still left alone.
                    AlertKind::DeletesRefused if !whole => return None,
                    _ => format!("well again; before: {}", last.message),
                };
                Some(Verdict { kind: AlertKind::Recovered, message, hint: None, failures: 0 })
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
