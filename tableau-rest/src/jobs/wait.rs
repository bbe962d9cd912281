//! Waiting for a job with growing pauses: short jobs are noticed at once, long ones cost few of the site's daily calls.

use std::time::Duration;

use tokio::time::Instant;

use super::{JobHandle, JobState, JobStatus};
use crate::error::{ErrorKind, Result};

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
    /// Waits at most `limit`; asks after 0.5 s, then after pauses that grow by 1.4 up to 30 s.
    pub fn new(limit: Duration) -> Self {
        Self { limit, first_poll: Duration::from_millis(500), factor: 1.4, longest_poll: Duration::from_secs(30) }
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

    fn after(&self, pause: Duration) -> Duration {
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

pub(super) async fn wait(job: &JobHandle, policy: WaitPolicy) -> Result<JobOutcome> {
    let begun = Instant::now();
    let mut pause = policy.first_poll;
    let mut last: Option<JobStatus> = None;
    let mut misses = 0;
    loop {
        let left = policy.limit.saturating_sub(begun.elapsed());
        tokio::time::sleep(pause.min(left)).await;
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
