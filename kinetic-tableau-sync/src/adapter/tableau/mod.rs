//! Tableau as a destination: extracts written by Tableau's own engine, published whole, then kept up to date by key.
//!
//! - A **full** load is published with overwrite, as a job (Tableau REST API reference, Publish Data Source). Repeating it has no
//!   second effect.
//! - A **delta** goes through *Update Data in Hyper* as an upsert by key. Tableau runs a request id once in 24 hours, and an upsert of
//!   the same rows changes nothing, so repeating it has no second effect either.
//! - A bare extract has no upstream: publishing it **is** the refresh. What depends on it is refreshed on request.

mod failure;
mod spool;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tableau_rest::{
    Action, Client, Condition, Datasource, DatasourceId, Delivery, ErrorKind, FileSource, JobHandle, JobOutcome,
    ProjectId, PublishRequest, Published, Refresh, Table, UPDATE_DATA_LIMIT, UnknownReason, UpdateData, WaitPolicy,
    source, target,
};
use tokio::sync::Mutex;

use self::failure::{engine_failed, failed};
use self::spool::Spool;
use crate::adapter::TableauEvents;
use crate::batch::Batch;
use crate::destination::{
    Destination, DestinationError, DestinationErrorKind, Load, LoadKind, LoadPlan, Receipt, RefreshOutcome,
    RefreshReport, Staged, TargetState,
};
use crate::hyper::{DELETES, Engine, EngineLocation, ExtractWriter};
use crate::model::{RefreshTarget, Target};

/// How long an update waits for another one of the same datasource (409094) before it gives way.
const BUSY_WAIT: Duration = Duration::from_mins(2);
/// How long it waits between two tries.
const BUSY_PAUSE: Duration = Duration::from_secs(5);

/// How [`TableauDestination`] writes extracts.
#[derive(Clone, Debug)]
pub struct HyperOptions {
    /// Directory for loads on their way. It is made when missing, readable for its owner only. It holds rows in clear, and must
    /// survive a restart of the machine, or sealed loads are given up and followed by full ones.
    pub spool: PathBuf,
    /// Tableau's extract engine.
    pub engine: EngineLocation,
}

/// Lands in Tableau datasources.
#[derive(Debug)]
pub struct TableauDestination {
    client: Client,
    spool: Spool,
    location: EngineLocation,
    /// Started with the first load.
    engine: Mutex<Option<Arc<Engine>>>,
    wait: WaitPolicy,
    events: Option<TableauEvents>,
    watch: bool,
}

impl TableauDestination {
    /// Lands with this client. Nothing is started or sent yet.
    #[must_use]
    pub fn new(client: Client, options: HyperOptions) -> Self {
        Self {
            client,
            spool: Spool::new(options.spool),
            location: options.engine,
            engine: Mutex::new(None),
            wait: WaitPolicy::default(),
            events: None,
            watch: false,
        }
    }

    /// Whether a datasource that somebody else has written to since the last landing is loaded anew, told by its `updatedAt`. Off unless
    /// set. It matters where several processes share one store: one of them may be stopped for longer than its lease, wake up in the
    /// middle of a full publish, and put old rows over what another has landed meanwhile. Tableau offers no condition on a publish that
    /// could prevent that; so it is noticed by the next cycle.
    #[must_use]
    pub fn watch_target(mut self, watch: bool) -> Self {
        self.watch = watch;
        self
    }

    /// How long jobs are waited for, and how often they are asked after.
    #[must_use]
    pub fn wait_policy(mut self, wait: WaitPolicy) -> Self {
        self.wait = wait;
        self
    }

    /// Hears of the ends of jobs by webhooks as well, so that they are noticed at once. Asking goes on beside it.
    #[must_use]
    pub fn events(mut self, events: &TableauEvents) -> Self {
        self.events = Some(events.clone());
        self
    }

    /// The engine, started anew when the last one has died.
    async fn engine(&self) -> Result<Arc<Engine>, DestinationError> {
        let mut running = self.engine.lock().await;
        if let Some(engine) = &*running
            && engine.connect().await.is_ok()
        {
            return Ok(Arc::clone(engine));
        }
        let engine = Arc::new(Engine::start(&self.location).await.map_err(engine_failed)?);
        *running = Some(Arc::clone(&engine));
        Ok(engine)
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

    /// Publishes a whole extract and answers the datasource's id and the job.
    async fn publish_full(
        &self,
        plan: &LoadPlan,
        staged: &Staged,
    ) -> Result<(DatasourceId, Option<String>), DestinationError> {
        let Target { project, datasource } = &plan.target;
        let parent = self.client.projects().ensure_path(&path(project)?).await.map_err(failed)?;
        let request = || {
            let file = FileSource::path(&staged.path);
            PublishRequest::new(parent.id.clone(), datasource.as_str(), file).overwrite()
        };
        let job = match self.client.datasources().publish(request().as_job()).await.map_err(failed)? {
            Published::Datasource(published) => return Ok((published.id, None)),
            Published::Job(job) => job,
        };
        let job_id = job.id().to_string();
        match self.end_of(&job, plan.target_id.as_deref()).await? {
            JobEnd::Succeeded => {}
            // Without leave to ask after jobs, only a publish that answers itself tells how it ended.
            JobEnd::Hidden(_) => {
                if let Published::Datasource(published) =
                    self.client.datasources().publish(request()).await.map_err(failed)?
                {
                    return Ok((published.id, None));
                }
            }
            JobEnd::Failed(note) => {
                return Err(refused(&format!("publishing '{datasource}' failed: {note}")));
            }
        }
        // The job does not name what it has published.
        let published = self.find_in(&parent.id, project, datasource).await?;
        let published = published.ok_or_else(|| {
            let message = format!("Tableau: '{datasource}' was published, but is not listed in '{project}'");
            DestinationError::new(DestinationErrorKind::Unknown, message)
                .with_hint("run again; listings of Tableau lag behind for a while")
        })?;
        Ok((published.id, Some(job_id)))
    }

    /// Upserts a delta by key and answers the job.
    async fn publish_delta(
        &self,
        plan: &LoadPlan,
        staged: &Staged,
    ) -> Result<(DatasourceId, Option<String>), DestinationError> {
        let Some(id) = plan.target_id.as_deref().map(DatasourceId::from) else {
            return Err(refused("a delta needs a datasource that is there"));
        };
        let keys = plan.schema.key_columns().map(|column| Condition::eq(target(&column.name), source(&column.name)));
        let same = Condition::and(keys);
        // All actions of a request happen together or not at all.
        let mut update = UpdateData::new(plan.request_id.as_str());
        if staged.deletes > 0 {
            update = update.action(Action::delete(same.clone()).source_table(Table::in_schema("Extract", DELETES)));
        }
        if staged.rows > 0 {
            update = update.action(Action::upsert(same));
        }
        let mut waited = Duration::ZERO;
        let job = loop {
            let file = FileSource::path(&staged.path);
            match self.client.datasources().update_data(&id, update.clone(), Some(file)).await {
                Ok(job) => break job,
                Err(error) if error.kind() == ErrorKind::UpdateInProgress && waited < BUSY_WAIT => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                    waited += BUSY_PAUSE;
                }
                Err(error) => {
                    let gone = error.delivery() != Delivery::Unknown
                        && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported);
                    return Err(if gone { refused(&error.to_string()) } else { failed(error) });
                }
            }
        };
        match self.end_of(&job, Some(id.as_str())).await? {
            JobEnd::Succeeded => Ok((id, Some(job.id().to_string()))),
            JobEnd::Failed(note) => Err(refused(&format!("updating '{}' failed: {note}", plan.target.datasource))),
            JobEnd::Hidden(UnknownReason::NotPermitted) => {
                let message = "the update's job may not be looked at, so whether it has landed cannot be known";
                Err(refused(message)
                    .with_hint("let the Tableau user query jobs (site administrator); full loads do without"))
            }
            JobEnd::Hidden(_) => {
                let message = "Tableau: the update's job is not known any more, so whether it has landed is not either";
                Err(DestinationError::new(DestinationErrorKind::Unknown, message)
                    .with_hint("run again: it is asked once more"))
            }
        }
    }

    /// Waits for a job and says how it ended. `thing` is what it works on, if that is known.
    async fn end_of(&self, job: &JobHandle, thing: Option<&str>) -> Result<JobEnd, DestinationError> {
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
enum JobEnd {
    Succeeded,
    Failed(String),
    Hidden(UnknownReason),
}

#[async_trait]
impl Destination for TableauDestination {
    async fn inspect(&self, target: &Target) -> Result<TargetState, DestinationError> {
        let Some(found) = self.find(&target.project, &target.datasource).await? else {
            return Ok(TargetState::Absent);
        };
        let connections = self.client.datasources().connections(&found.id).await.map_err(failed)?;
        let ours = connections.len() == 1
            && connections
                .iter()
                .all(|connection| connection.kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("hyper")));
        if ours {
            let version = self.watch.then_some(found.updated_at).flatten().map(|at| at.to_rfc3339());
            return Ok(TargetState::Present { id: found.id.to_string(), version });
        }
        // To overwrite it would destroy somebody's connection for good.
        let message = format!(
            "Tableau: '{}' in '{}' is a datasource with a connection of its own, no extract that rows can land in",
            target.datasource, target.project
        );
        Err(DestinationError::new(DestinationErrorKind::Config, message)
            .with_hint("land under another name; to refresh this one after landing, name it in `refresh`"))
    }

    async fn begin(&self, plan: &LoadPlan) -> Result<Box<dyn Load>, DestinationError> {
        let engine = self.engine().await?;
        let path = self.spool.clear_for(&plan.dataset, &plan.run).await?;
        let writer = ExtractWriter::create(&engine, &path, &plan.schema).await.map_err(engine_failed)?;
        Ok(Box::new(ExtractLoad { writer, kind: plan.kind, _engine: engine }))
    }

    async fn is_intact(&self, staged: &Staged) -> Result<bool, DestinationError> {
        spool::is_intact(staged.clone()).await
    }

    async fn publish(&self, plan: &LoadPlan, staged: &Staged) -> Result<Receipt, DestinationError> {
        let (id, job_id) = match plan.kind {
            LoadKind::Full => self.publish_full(plan, staged).await?,
            LoadKind::Delta => self.publish_delta(plan, staged).await?,
        };
        let target_version = if self.watch {
            self.client.datasources().get(&id).await.map_err(failed)?.updated_at.map(|at| at.to_rfc3339())
        } else {
            None
        };
        Ok(Receipt {
            target_version,
            target_id: id.to_string(),
            request_id: plan.request_id.clone(),
            job_id,
            rows: staged.rows,
            landed_at: chrono::Utc::now(),
        })
    }

    async fn refresh(&self, target: &RefreshTarget) -> Result<RefreshReport, DestinationError> {
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

    async fn discard(&self, staged: &Staged) -> Result<(), DestinationError> {
        spool::remove(&staged.path).await
    }
}

/// An extract in the making.
#[derive(Debug)]
struct ExtractLoad {
    writer: ExtractWriter,
    kind: LoadKind,
    /// Kept running while rows come in.
    _engine: Arc<Engine>,
}

#[async_trait]
impl Load for ExtractLoad {
    async fn insert(&mut self, batch: &Batch) -> Result<(), DestinationError> {
        self.writer.insert(batch).await.map_err(engine_failed)
    }

    async fn upsert(&mut self, batch: &Batch) -> Result<u64, DestinationError> {
        self.writer.upsert(batch).await.map_err(engine_failed)
    }

    async fn delete(&mut self, keys: &Batch) -> Result<(), DestinationError> {
        self.writer.delete(keys).await.map_err(engine_failed)
    }

    async fn seal(self: Box<Self>) -> Result<Staged, DestinationError> {
        let staged = self.writer.seal().await.map_err(engine_failed)?;
        if self.kind == LoadKind::Delta && staged.bytes > UPDATE_DATA_LIMIT {
            spool::remove(&staged.path).await?;
            let message = format!("the delta has {} bytes, an update takes {UPDATE_DATA_LIMIT}", staged.bytes);
            return Err(DestinationError::new(DestinationErrorKind::TooLarge, message));
        }
        Ok(staged)
    }

    async fn abort(self: Box<Self>) -> Result<(), DestinationError> {
        self.writer.abort().await.map_err(engine_failed)
    }
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

fn refused(message: &str) -> DestinationError {
    DestinationError::new(DestinationErrorKind::Rejected, format!("Tableau: {message}"))
        .with_hint("run again: a full load replaces the datasource")
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
