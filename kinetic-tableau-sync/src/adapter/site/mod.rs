//! What every delivery to Tableau has in common: finding datasources, publishing files, refreshing, and waiting for jobs.

pub(super) mod failure;
#[cfg(any(feature = "hyper", feature = "parquet"))]
pub(super) mod publish;

use async_trait::async_trait;
use tableau_rest::{
    Client, Datasource, ErrorKind, JobHandle, JobOutcome, ProjectId, Refresh, UnknownReason, WaitPolicy,
};

use self::failure::failed;
use super::TableauEvents;
use crate::destination::{DestinationError, DestinationErrorKind, RefreshOutcome, RefreshReport, Refresher};
use crate::model::RefreshTarget;

/// One site, as one user.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) client: Client,
    pub(super) wait: WaitPolicy,
    pub(super) events: Option<TableauEvents>,
}

/// Refreshes what in Tableau reads rows that have landed elsewhere, and waits for the jobs.
#[derive(Debug)]
pub struct TableauRefresher {
    site: Site,
}

impl TableauRefresher {
    /// Refreshes with this client. Nothing is sent yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { site: Site::new(client) }
    }

    /// Hears of the ends of jobs by webhooks as well, so that they are noticed at once. Asking goes on beside it.
    #[must_use]
    pub fn events(mut self, events: &TableauEvents) -> Self {
        self.site.events = Some(events.clone());
        self
    }

    /// How long jobs are waited for, and how often they are asked after.
    #[must_use]
    pub fn wait_policy(mut self, wait: WaitPolicy) -> Self {
        self.site.wait = wait;
        self
    }
}

#[async_trait]
impl Refresher for TableauRefresher {
    async fn refresh(&self, target: &RefreshTarget) -> Result<RefreshReport, DestinationError> {
        self.site.refresh(target).await
    }
}

impl Site {
    pub(super) fn new(client: Client) -> Self {
        Self { client, wait: WaitPolicy::default(), events: None }
    }

    /// The datasource of a target; none when it or its project is not there.
    async fn find(&self, project: &str, name: &str) -> Result<Option<Datasource>, DestinationError> {
        let Some(found) = self.client.projects().find_path(&path(project)?).await.map_err(failed)? else {
            return Ok(None);
        };
        self.find_in(&found.id, project, name).await
    }

    async fn find_in(&self, id: &ProjectId, project: &str, name: &str) -> Result<Option<Datasource>, DestinationError> {
        let found = self.client.datasources().find_by_name(id, name).await.map_err(failed)?;
        if found.len() > 1 {
            let message = format!("Tableau: project '{project}' holds {} datasources named '{name}'", found.len());
            return Err(DestinationError::new(DestinationErrorKind::Config, message)
                .with_hint("rename or delete all but one of them, or land under another name"));
        }
        Ok(found.into_iter().next())
    }

    /// Waits for a job and says how it ended. `thing` is what it works on, if that is known.
    pub(super) async fn end_of(&self, job: &JobHandle, thing: Option<&str>) -> Result<JobEnd, DestinationError> {
        let waited = match &self.events {
            Some(events) => job.wait_nudged(self.wait, events.of(thing)).await,
            None => job.wait(self.wait).await,
        };
        match waited.map_err(|error| {
            // It runs on, whatever kept us from asking.
            DestinationError::new(DestinationErrorKind::Unknown, format!("Tableau: {error}")).with_cause(error)
        })? {
            JobOutcome::Succeeded(_) => Ok(JobEnd::Succeeded),
            JobOutcome::Failed(status) => {
                let notes = status.notes.join(" ");
                let note = notes.lines().next().map(str::trim).filter(|note| !note.is_empty());
                Ok(JobEnd::Failed(note.map_or_else(|| "Tableau gives no reason".to_owned(), shortened)))
            }
            JobOutcome::Cancelled(_) => Ok(JobEnd::Failed("somebody cancelled the job".to_owned())),
            JobOutcome::Unknown(reason) => Ok(JobEnd::Hidden(reason)),
            _ => {
                let message = format!("Tableau: job {} has not ended within the time allowed", job.id());
                Err(DestinationError::new(DestinationErrorKind::Unknown, message)
                    .with_hint("run again later: the same load is delivered under the same request id"))
            }
        }
    }

    /// Refreshes something and waits for its end.
    pub(super) async fn refresh(&self, target: &RefreshTarget) -> Result<RefreshReport, DestinationError> {
        let report = |job_id, outcome| RefreshReport { target: target.clone(), job_id, outcome };
        let (job, thing) = match self.start_refresh(target).await {
            Ok((Refresh::Started(job), thing)) => (job, thing),
            Ok((Refresh::AlreadyQueued, _)) => return Ok(report(None, RefreshOutcome::AlreadyQueued)),
            Err(None) => return Ok(report(None, RefreshOutcome::NoUpstream)),
            Err(Some(error)) => return Err(error),
        };
        let outcome = match self.end_of(&job, thing.as_deref()).await {
            Ok(JobEnd::Succeeded) => RefreshOutcome::Succeeded,
            Ok(JobEnd::Failed(note)) => RefreshOutcome::Failed(note),
            Ok(JobEnd::Hidden(reason)) => RefreshOutcome::Unknown(match reason {
                UnknownReason::Forgotten => "Tableau has forgotten the job".to_owned(),
                UnknownReason::NotPermitted => "the Tableau user may not look at jobs".to_owned(),
                _ => "Tableau does not say how the job ended".to_owned(),
            }),
            Err(error) => RefreshOutcome::Unknown(error.to_string()),
        };
        Ok(report(Some(job.id().to_string()), outcome))
    }

    /// Answers what is refreshed, too, where that has an id.
    async fn start_refresh(
        &self,
        target: &RefreshTarget,
    ) -> Result<(Refresh, Option<String>), Option<DestinationError>> {
        let (started, thing) = match target {
            RefreshTarget::Datasource { project, name } => {
                let found = self.find(project, name).await.map_err(Some)?;
                let found = found.ok_or_else(|| Some(missing(target)))?;
                (self.client.datasources().refresh(&found.id).await, Some(found.id.to_string()))
            }
            RefreshTarget::Workbook { project, name } => {
                let parent = self.client.projects().find_path(&path(project).map_err(Some)?).await;
                let parent = parent.map_err(|error| Some(failed(error)))?.ok_or_else(|| Some(missing(target)))?;
                let found = self.client.workbooks().find_by_name(&parent.id, name).await;
                let found = found.map_err(|error| Some(failed(error)))?;
                let Some(workbook) = found.first() else {
                    return Err(Some(missing(target)));
                };
                (self.client.workbooks().refresh(&workbook.id).await, Some(workbook.id.to_string()))
            }
            RefreshTarget::Task { id } => (self.client.tasks().run_now(&id.as_str().into()).await, None),
        };
        let started = started.map_err(|error| (error.kind() != ErrorKind::NoUpstream).then(|| failed(error)))?;
        Ok((started, thing))
    }
}

/// How a job ended, as far as it can be known.
pub(super) enum JobEnd {
    Succeeded,
    Failed(String),
    Hidden(UnknownReason),
}

/// The parts of a project path.
fn path(project: &str) -> Result<Vec<&str>, DestinationError> {
    let parts: Vec<&str> = project.split('/').map(str::trim).collect();
    if parts.iter().any(|part| part.is_empty()) {
        let message = format!("'{project}' is no project path");
        return Err(DestinationError::new(DestinationErrorKind::Config, message)
            .with_hint("write the names from the outermost project on, divided by '/'"));
    }
    Ok(parts)
}

fn missing(target: &RefreshTarget) -> DestinationError {
    DestinationError::new(DestinationErrorKind::Config, format!("Tableau: {target} is not there or not visible"))
        .with_hint("check its name and project in `refresh`, and the rights of the Tableau user")
}

fn shortened(note: &str) -> String {
    const LONGEST: usize = 300;
    if note.chars().count() <= LONGEST {
        return note.to_owned();
    }
    note.chars().take(LONGEST).chain(['…']).collect()
}
