//! Background jobs (Tableau REST API reference, Jobs, Tasks, and Schedules Methods).

mod list;
mod status;
#[cfg(test)]
mod tests;
mod wait;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use http::Method;
use serde_json::Value;

use crate::call::{Answer, Call, Scope};
use crate::client::Client;
use crate::error::Result;
use crate::filter::Filter;
use crate::ids::JobId;
use crate::paging::Listing;
use crate::wire;

pub use self::list::BackgroundJob;
pub use self::status::{FinishCode, JobState, JobStatus, StatusNote};
pub use self::wait::{JobOutcome, UnknownReason, WaitPolicy};

/// The jobs of the site.
#[derive(Clone, Debug)]
pub struct Jobs {
    client: Client,
}

impl Jobs {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// What is known of a job.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when the server has forgotten it (404018, 400031),
    /// [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) when the user may not ask: for others than
    /// administrators that is documented.
    pub async fn get(&self, id: &JobId) -> Result<JobStatus> {
        self.handle(id.clone()).status().await
    }

    /// Lists jobs, for administrators: with the words that the server has for them here, which differ from those of
    /// [`Jobs::get`]. Filters: `status`, `jobType`, `createdAt`, `startedAt`, `completedAt`, `progress`, `title`, `priority`.
    pub fn list(&self) -> Listing<BackgroundJob> {
        Listing::new(self.client.clone())
    }

    /// The refresh that is queued or running for something of this name. For
    /// [`Refresh::AlreadyQueued`](crate::Refresh::AlreadyQueued), which does not say which job it is: the name of the
    /// datasource or workbook is all that there is to find it by.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) for others than administrators, and everything that can go wrong
    /// between here and the server.
    pub async fn find_refresh(&self, name: &str) -> Result<Option<JobHandle>> {
        for status in ["InProgress", "Pending"] {
            let jobs = self.list().filter(Filter::equal("status", status)?).all().await?;
            let found = jobs.into_iter().find(|job| job.is_refresh() && job.title.as_deref() == Some(name));
            if let Some(job) = found {
                return Ok(Some(self.handle(job.id)));
            }
        }
        Ok(None)
    }

    /// A handle on a job, for example one that was noted before a restart. Nothing is sent.
    pub fn handle(&self, id: JobId) -> JobHandle {
        JobHandle { client: self.client.clone(), id }
    }

    /// Cancels a job. Only refreshes, subscriptions and flow runs can be cancelled.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when it is done already (403091), or of another kind
    /// (403081).
    pub async fn cancel(&self, id: &JobId) -> Result<()> {
        let call = Call::new("cancel job", Method::PUT, Scope::Site, &["jobs", id.as_str()])?.idempotent(true);
        self.client.run(&call).await.map(|_| ())
    }
}

/// A job of this site. It can be made again from its id after a restart, with [`Jobs::handle`].
#[derive(Clone, Debug)]
pub struct JobHandle {
    client: Client,
    id: JobId,
}

impl JobHandle {
    /// From the answer that started it. `None` when the answer names no job.
    pub(crate) fn read(client: &Client, value: &Value) -> Option<Self> {
        let id = wire::text(value.get("job")?.get("id"))?.into();
        Some(Self { client: client.clone(), id })
    }

    pub(crate) fn of_answer(client: &Client, answer: &Answer) -> Result<Self> {
        Self::read(client, &answer.value()?).ok_or_else(|| answer.unfit("the answer names no job"))
    }

    /// Its id.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// What is known of it now.
    ///
    /// # Errors
    /// As [`Jobs::get`].
    pub async fn status(&self) -> Result<JobStatus> {
        let call = Call::get("read job", &["jobs", self.id.as_str()])?;
        let answer = self.client.run(&call).await?;
        let value = answer.value()?;
        let status = value.get("job").and_then(JobStatus::read);
        let status = status.ok_or_else(|| answer.unfit("the answer describes no job"))?;
        // What a job says of its failure may repeat what its request held.
        Ok(status.without_secrets(&self.client.scrubber()))
    }

    /// What is known of it, each time that something of it has changed, until it has ended or the limit of the policy is over.
    /// Ends behind the first error.
    pub fn watch(&self, policy: WaitPolicy) -> BoxStream<'static, Result<JobStatus>> {
        wait::watch(self.clone(), policy)
    }

    /// Waits until it has ended, or the limit of the policy is over.
    ///
    /// # Errors
    /// When the server cannot be asked any more. That it has forgotten the job, or does not let this user ask, is no
    /// error but [`JobOutcome::Unknown`].
    pub async fn wait(&self, policy: WaitPolicy) -> Result<JobOutcome> {
        wait::wait(self, policy, stream::pending().boxed()).await
    }

    /// As [`wait`](JobHandle::wait), and asks at once whenever `nudges` yields: for those who hear of ends elsewhere, as by a webhook. What
    /// they hear is only a reason to ask; when nothing is heard, or the stream ends, the policy's pauses go on as they would.
    ///
    /// # Errors
    /// As [`wait`](JobHandle::wait).
    pub async fn wait_nudged(&self, policy: WaitPolicy, nudges: BoxStream<'_, ()>) -> Result<JobOutcome> {
        wait::wait(self, policy, nudges).await
    }
}
