//! The one table from a failure to what is to be done about it.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::audit::AuditError;
use crate::destination::{DestinationError, DestinationErrorKind};
use crate::model::{DatasetId, RunId};
use crate::source::{SourceError, SourceErrorKind};
use crate::store::{StateError, StateErrorKind};

/// What a failed run calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disposition {
    /// Run again, not before so long.
    Retry {
        /// How long to wait.
        after: Duration,
    },
    /// The delivery may have happened. Run again soon: the next run finds out first, under the same request id.
    Reconcile {
        /// How long to wait.
        after: Duration,
    },
    /// A person must act; running again changes nothing.
    Operator,
}

/// However often a dataset has failed, it is tried again after this: an outage, however long, costs no more than that behind its end.
const LONGEST_WAIT: Duration = Duration::from_mins(30);

/// What only a person can mend is not tried again by itself before this, whatever the schedule: a password that is refused every minute
/// locks the account.
pub(crate) const UNMENDED: Duration = Duration::from_mins(30);

impl Disposition {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::Reconcile { .. } => "reconcile",
            Self::Operator => "operator",
        }
    }

    /// When to try again after so many failures in a row, this one included: less and less often, up to every half hour, for as long as
    /// it lasts. None where a person must act: then the schedule decides, and a worker waits for half an hour at least.
    #[must_use]
    pub fn next_attempt(self, failures: u32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let wait = match self {
            Self::Operator => return None,
            Self::Retry { after } | Self::Reconcile { after } => {
                after.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST_WAIT)
            }
        };
        now.checked_add_signed(chrono::Duration::from_std(wait).ok()?)
    }
}

/// At which step a run failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Taking or keeping the lease.
    Lease,
    /// Reading or writing the checkpoint or fingerprints.
    State,
    /// Resolving the columns.
    Schema,
    /// Looking at the target.
    Inspect,
    /// Reading the source.
    Read,
    /// Staging rows.
    Load,
    /// Publishing.
    Publish,
    /// Writing the audit trail.
    Audit,
}

impl Stage {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::State => "state",
            Self::Schema => "schema",
            Self::Inspect => "inspect",
            Self::Read => "read",
            Self::Load => "load",
            Self::Publish => "publish",
            Self::Audit => "audit",
        }
    }
}

/// The failure of a component.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The destination.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The state store.
    #[error(transparent)]
    State(#[from] StateError),
    /// The audit trail.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The source answers so much less than has landed that it looks like a mistake; nothing was changed.
    #[error("{0}")]
    Loss(String),
    /// The dataset does not fit what the source offers: its mapping, or columns that have changed.
    #[error("{message}")]
    Mapping {
        /// What does not fit.
        message: String,
        /// What to do next, where that is known.
        hint: Option<String>,
    },
    /// More rows cannot be mapped than the dataset allows. They are kept with their reasons; nothing was published.
    #[error("{message}")]
    Rejected {
        /// The first of them, and how many.
        message: String,
        /// What to do about the first of them, where that is known.
        hint: Option<String>,
    },
    /// The run was ended by [`Stop`](super::Stop).
    #[error("stopped on request")]
    Stopped,
    /// A promise between the components was broken; nothing was published.
    #[error("{0}")]
    Invariant(String),
}

/// Why a run failed. Nothing is lost by it: the next run continues from the last checkpoint.
#[derive(Debug, thiserror::Error)]
#[error("dataset {dataset}, {}: {cause}", stage.as_str())]
pub struct SyncError {
    dataset: DatasetId,
    run: Option<RunId>,
    stage: Stage,
    /// Transparent: its message is part of ours, so its own cause is our source.
    cause: Box<Cause>,
}

impl SyncError {
    pub(crate) fn new(dataset: &DatasetId, run: Option<&RunId>, stage: Stage, cause: impl Into<Cause>) -> Self {
        Self { dataset: dataset.clone(), run: run.cloned(), stage, cause: Box::new(cause.into()) }
    }

    /// The same error without any known secret.
    pub(super) fn redacted(mut self, redactor: &crate::Redactor) -> Self {
        match &mut *self.cause {
            Cause::Source(error) => error.redact(redactor),
            Cause::Destination(error) => error.redact(redactor),
            Cause::State(error) => error.redact(redactor),
            Cause::Audit(error) => error.redact(redactor),
            Cause::Loss(message) | Cause::Invariant(message) => redactor.scrub(message),
            Cause::Mapping { message, hint } | Cause::Rejected { message, hint } => {
                redactor.scrub(message);
                if let Some(hint) = hint {
                    redactor.scrub(hint);
                }
            }
            Cause::Stopped => {}
        }
        self
    }

    /// The dataset.
    pub fn dataset(&self) -> &DatasetId {
        &self.dataset
    }

    /// The run, where it had begun.
    pub fn run(&self) -> Option<&RunId> {
        self.run.as_ref()
    }

    /// At which step.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// What failed.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// What is to be done.
    pub fn disposition(&self) -> Disposition {
        let retry = Disposition::Retry { after: Duration::from_mins(1) };
        let soon = Disposition::Reconcile { after: Duration::from_secs(15) };
        match &*self.cause {
            Cause::Source(error) => match error.kind() {
                SourceErrorKind::Unavailable => retry,
                _ => Disposition::Operator,
            },
            Cause::Destination(error) => match error.kind() {
                DestinationErrorKind::Unavailable => retry,
                // A rejected delta has been given up; the next run makes a full load.
                DestinationErrorKind::Unknown | DestinationErrorKind::Rejected => soon,
                _ => Disposition::Operator,
            },
            Cause::State(error) => match error.kind() {
                // Somebody else works on it, or did meanwhile: give way.
                StateErrorKind::Leased | StateErrorKind::Stale | StateErrorKind::Unavailable => retry,
                _ => Disposition::Operator,
            },
            Cause::Audit(error) if error.is_transient() => retry,
            Cause::Stopped => Disposition::Retry { after: Duration::ZERO },
            Cause::Audit(_) | Cause::Loss(_) | Cause::Mapping { .. } | Cause::Rejected { .. } | Cause::Invariant(_) => {
                Disposition::Operator
            }
        }
    }

    /// What the operator should do next.
    pub fn hint(&self) -> Option<&str> {
        match &*self.cause {
            Cause::Source(error) => error.hint(),
            Cause::Destination(error) => error.hint(),
            Cause::State(error) => Some(match error.kind() {
                StateErrorKind::Leased => "wait until the other process has finished, or stop it",
                StateErrorKind::Stale => "another process wrote this dataset's state meanwhile; run again",
                StateErrorKind::Unavailable => "nothing is lost; the next run goes on once the store can be reached",
                StateErrorKind::Storage => {
                    "check that the state file's directory, or the database, is writable and has space"
                }
                StateErrorKind::Absent => "run a sync first: it makes what is missing",
                StateErrorKind::Corrupt => "restore the state from a copy, or remove it to begin with a full load",
            }),
            Cause::Audit(_) => Some("check that the audit store is writable and has space"),
            Cause::Loss(_) => Some(
                "see whether the rows are really gone from Kinetic, and whether its user may still read them; if they are gone, \
                 load in full (`sync --full`), or raise `max_delete_percent`",
            ),
            Cause::Mapping { hint, .. } => {
                Some(hint.as_deref().unwrap_or("change the dataset, or its policies in `drift`"))
            }
            Cause::Rejected { hint, .. } => {
                let otherwise = "mend the row in Kinetic, or let some rows be left out with `max_rejects`";
                Some(hint.as_deref().unwrap_or(otherwise))
            }
            Cause::Stopped => Some("run again: it continues where this one stopped"),
            Cause::Invariant(_) => Some("run again; when it stays, report it with the output of `--verbose`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_pass_are_tried_again_less_and_less_often_up_to_every_half_hour() {
        let now: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
        let at = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
        let retry = Disposition::Retry { after: Duration::from_mins(1) };
        assert_eq!(retry.next_attempt(1, now), at("2026-11-23T10:01:00Z"));
        assert_eq!(retry.next_attempt(4, now), at("2026-11-23T10:08:00Z"));
        assert_eq!(retry.next_attempt(9, now), at("2026-11-23T10:30:00Z"));
        assert_eq!(retry.next_attempt(10, now), at("2026-11-23T10:30:00Z"));
        assert_eq!(retry.next_attempt(u32::MAX, now), at("2026-11-23T10:30:00Z"));
        assert_eq!(Disposition::Operator.next_attempt(1, now), None);
    }

    #[test]
    fn a_store_that_is_away_is_waited_for() {
        let failed = |cause: Cause| SyncError::new(&"ap".into(), None, Stage::Audit, cause).disposition();
        let retry = |disposition| matches!(disposition, Disposition::Retry { .. });
        assert!(retry(failed(StateError::new(StateErrorKind::Unavailable, "away").into())));
        assert!(!retry(failed(StateError::new(StateErrorKind::Storage, "full").into())));
        assert!(retry(failed(AuditError::new("away").transient().into())));
        assert!(!retry(failed(AuditError::new("full").into())));
    }
}
