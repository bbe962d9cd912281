//! Waiting for a job with growing pauses: short jobs are noticed at once, long ones cost few of the site's daily calls.

use std::pin::pin;
use std::time::Duration;

use futures_core::stream::BoxStream;
use futures_util::future::{self, Either};
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use super::{JobHandle, JobState, JobStatus};
use crate::error::{Delivery, Error, ErrorKind, Fate, Result};

/// How often in a row the server may fail to answer before waiting is given up. Each time is repeated by itself first.
const MOST_MISSES: u32 = 5;

/// How long to wait for a job, and how often to ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WaitPolicy {
    limit: Duration,
    first_poll: Duration,
    factor: f64,
    longest_poll: Duration,
}

impl WaitPolicy {
    /// Waits at most `limit`; asks after 0.1 s, then after pauses that grow by half up to 30 s.
    pub fn new(limit: Duration) -> Self {
        Self { limit, first_poll: Duration::from_millis(100), factor: 1.5, longest_poll: Duration::from_secs(30) }
    }

    /// The pause before the first question.
    #[must_use]
    pub fn first_poll(mut self, pause: Duration) -> Self {
        self.first_poll = pause;
        self
    }

    /// The longest pause between two questions.
    #[must_use]
    pub fn longest_poll(mut self, pause: Duration) -> Self {
        self.longest_poll = pause;
        self
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    pub(super) fn first(&self) -> Duration {
        self.first_poll
    }

    pub(super) fn after(&self, pause: Duration) -> Duration {
        let pause = pause.max(Duration::from_millis(1));
        pause.mul_f64(self.factor).min(self.longest_poll.max(Duration::from_millis(1)))
    }
}

impl Default for WaitPolicy {
    /// One hour at most.
    fn default() -> Self {
        Self::new(Duration::from_hours(1))
    }
}

/// Why the outcome of a job cannot be learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnknownReason {
    /// The server has forgotten it: it does so some time after the end (404018, 400031).
    Forgotten,
    /// The user may not ask for jobs, which is documented to be for administrators.
    NotPermitted,
    /// It has ended, and the server does not say how.
    NoFinishCode,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobOutcome {
    /// Well.
    Succeeded(JobStatus),
    /// In failure; the server's own words are in the notes, if it had any.
    Failed(JobStatus),
    /// Cancelled by somebody.
    Cancelled(JobStatus),
    /// It cannot be learned: look at the datasource itself. Never to be taken for success.
    Unknown(UnknownReason),
    /// It has not ended within the limit; what was known last.
    StillRunning(JobStatus),
}

impl JobOutcome {
    /// Whether it is known that the job ended well.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded(_))
    }

    /// What the server said about the job.
    pub fn status(&self) -> Option<&JobStatus> {
        match self {
            Self::Succeeded(status) | Self::Failed(status) | Self::Cancelled(status) | Self::StillRunning(status) => {
                Some(status)
            }
            Self::Unknown(_) => None,
        }
    }

    /// What the server said about the job, if it is known that the job ended well.
    ///
    /// # Errors
    /// For every other outcome, with the server's own notes in the message: [`ErrorKind::Rejected`] when it failed,
    /// [`ErrorKind::Conflict`] when it was cancelled, [`ErrorKind::Server`] when it has not ended or its end is unknown; the
    /// delivery is [`Unknown`](crate::Delivery::Unknown) then.
    pub fn success(self) -> Result<JobStatus> {
        let fail = |kind, delivery, message: String, hint: &'static str| {
            Err(Error::new(kind, delivery, "await job", message).with_hint(hint).with_fate(Fate::Final))
        };
        match self {
            Self::Succeeded(status) => Ok(status),
            Self::Failed(status) => {
                let said = status.notes.join("; ");
                let said = if said.is_empty() { "the server gives no reason".to_owned() } else { said };
                let message = format!("the job {} failed: {said}", status.id);
                fail(
                    ErrorKind::Rejected,
                    Delivery::Answered,
                    message,
                    "nothing of it took effect; mend the cause and try again",
                )
            }
            Self::Cancelled(status) => {
                let message = format!("the job {} was cancelled", status.id);
                fail(ErrorKind::Conflict, Delivery::Answered, message, "find out who cancelled it, and start it again")
            }
            Self::StillRunning(status) => {
                let message = format!("the job {} has not ended within the limit", status.id);
                fail(ErrorKind::Server, Delivery::Unknown, message, "wait for it again, by its id")
            }
            Self::Unknown(reason) => {
                let why = match reason {
                    UnknownReason::Forgotten => "the server has forgotten it",
                    UnknownReason::NotPermitted => "this user may not ask for jobs",
                    UnknownReason::NoFinishCode => "the server does not say how it ended",
                };
                let message = format!("how the job ended cannot be learned: {why}");
                fail(ErrorKind::Server, Delivery::Unknown, message, "look at the datasource itself")
            }
        }
    }

    /// The outcome, as far as it is known.
    fn of(status: JobStatus) -> Self {
        match status.state() {
            JobState::Running => Self::StillRunning(status),
            JobState::Succeeded => Self::Succeeded(status),
            JobState::Failed => Self::Failed(status),
            JobState::Cancelled => Self::Cancelled(status),
            JobState::Undetermined => Self::Unknown(UnknownReason::NoFinishCode),
        }
    }
}

pub(super) async fn wait(job: &JobHandle, policy: WaitPolicy, nudges: BoxStream<'_, ()>) -> Result<JobOutcome> {
    // One that ends nudges no more.
    let mut nudges = nudges.chain(stream::pending());
    let begun = Instant::now();
    let mut pause = policy.first_poll;
    let mut last: Option<JobStatus> = None;
    let mut misses = 0;
    loop {
        let left = policy.limit.saturating_sub(begun.elapsed());
        let sleep = pin!(tokio::time::sleep(pause.min(left)));
        if let Either::Right(_) = future::select(sleep, nudges.next()).await {
            // The message may be here before the job says so itself: then it is asked again soon.
            pause = policy.first_poll;
        }
        let over = begun.elapsed() >= policy.limit;
        match job.status().await {
            Ok(status) => {
                misses = 0;
                match JobOutcome::of(status) {
                    JobOutcome::StillRunning(running) if !over => last = Some(running),
                    outcome => return Ok(outcome),
                }
            }
            Err(error) if matches!(error.code(), Some("404018" | "400031")) => {
                return Ok(JobOutcome::Unknown(UnknownReason::Forgotten));
            }
            Err(error) if error.kind() == ErrorKind::Forbidden => {
                return Ok(JobOutcome::Unknown(UnknownReason::NotPermitted));
            }
            Err(error) => {
                misses += 1;
                if !error.is_transient() || misses >= MOST_MISSES {
                    return Err(error);
                }
                if over {
                    return last.map(JobOutcome::StillRunning).ok_or(error);
                }
            }
        }
        pause = policy.after(pause);
    }
}

struct Watch {
    job: JobHandle,
    policy: WaitPolicy,
    begun: Instant,
    pause: Duration,
    last: Option<JobStatus>,
    over: bool,
}

pub(super) fn watch(job: JobHandle, policy: WaitPolicy) -> BoxStream<'static, Result<JobStatus>> {
    let (begun, pause) = (Instant::now(), policy.first());
    let watch = Watch { job, policy, begun, pause, last: None, over: false };
    stream::try_unfold(watch, async |mut watch| {
        loop {
            if watch.over {
                return Ok(None);
            }
            let left = watch.policy.limit().saturating_sub(watch.begun.elapsed());
            tokio::time::sleep(watch.pause.min(left)).await;
            watch.pause = watch.policy.after(watch.pause);
            let status = watch.job.status().await?;
            watch.over = status.state() != JobState::Running || watch.begun.elapsed() >= watch.policy.limit();
            if watch.over || watch.last.as_ref() != Some(&status) {
                watch.last = Some(status.clone());
                return Ok(Some((status, watch)));
            }
        }
    })
    .boxed()
}
