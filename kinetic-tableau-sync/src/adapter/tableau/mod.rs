//! Tableau as a destination: extracts written by Tableau's own engine, published whole, then kept up to date by key.
//!
//! - A **full** load is published with overwrite, as a job (Tableau REST API reference, Publish Data Source). Repeating it has no
//!   second effect.
//! - A **delta** goes through *Update Data in Hyper* as an upsert by key. Tableau runs a request id once in 24 hours, and an upsert of
//!   the same rows changes nothing, so repeating it has no second effect either.
//! - A bare extract has no upstream: publishing it **is** the refresh. What depends on it is refreshed on request.

mod failure;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tableau_rest::{
    Action, Client, Condition, DatasourceId, Delivery, ErrorKind, FileSource, Table, UPDATE_DATA_LIMIT, UnknownReason,
    UpdateData, WaitPolicy, source, target,
};
use tokio::sync::Mutex;

use self::failure::engine_failed;
use super::TableauEvents;
use super::site::failure::failed;
use super::site::publish::refused;
use super::site::{JobEnd, Site};
use super::spool::{self, Spool};
use crate::batch::Batch;
use crate::destination::{
    Destination, DestinationError, DestinationErrorKind, Load, LoadKind, LoadPlan, Receipt, RefreshReport, Staged,
    TargetState,
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
    site: Site,
    spool: Spool,
    location: EngineLocation,
    /// Started with the first load.
    engine: Mutex<Option<Arc<Engine>>>,
    watch: bool,
}

impl TableauDestination {
    /// Lands with this client. Nothing is started or sent yet.
    #[must_use]
    pub fn new(client: Client, options: HyperOptions) -> Self {
        Self {
            site: Site::new(client),
            spool: Spool::new(options.spool),
            location: options.engine,
            engine: Mutex::new(None),
            watch: true,
        }
    }

    /// Whether a datasource is loaded anew that was written to since the last landing that the state knows of, told by its `updatedAt`. On
    /// unless turned off. Without it, two things stay unseen for good: a state that was put back from a copy, which knows nothing of the
    /// rows that have landed and gone since; and a process that was stopped for longer than its lease, woke up in the middle of a full
    /// publish, and put old rows over what another has landed meanwhile. Tableau offers no condition on a publish that could prevent that;
    /// so it is noticed by the next cycle.
    ///
    /// It costs one more request behind each full load and three around each delta, and none where nothing lands. Whoever edits
    /// the datasource in Tableau, its name or its description, calls for a full load by it; so does a delta whose process died before it
    /// knew the outcome.
    #[must_use]
    pub fn watch_target(mut self, watch: bool) -> Self {
        self.watch = watch;
        self
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
            match self.site.client.datasources().update_data(&id, update.clone(), Some(file)).await {
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
        match self.site.end_of(&job, Some(id.as_str())).await? {
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
}

#[async_trait]
impl Destination for TableauDestination {
    async fn inspect(&self, target: &Target) -> Result<TargetState, DestinationError> {
        let Some(found) = self.site.look(target).await? else {
            return Ok(TargetState::Absent);
        };
        let version = self.watch.then_some(found.updated_at).flatten().map(|at| at.to_rfc3339());
        Ok(TargetState::Present { id: found.id.to_string(), version })
    }

    async fn begin(&self, plan: &LoadPlan) -> Result<Box<dyn Load>, DestinationError> {
        let engine = self.engine().await?;
        let path = self.spool.clear_for(&plan.dataset, &plan.run, "hyper").await?;
        let writer = ExtractWriter::create(&engine, &path, &plan.schema).await.map_err(engine_failed)?;
        Ok(Box::new(ExtractLoad { writer, kind: plan.kind, _engine: engine }))
    }

    async fn is_intact(&self, staged: &Staged) -> Result<bool, DestinationError> {
        spool::is_intact(staged.clone()).await
    }

    async fn publish(&self, plan: &LoadPlan, staged: &Staged) -> Result<Receipt, DestinationError> {
        let (id, job_id) = match plan.kind {
            LoadKind::Full => self.site.publish(&plan.target, staged).await?,
            LoadKind::Delta => self.publish_delta(plan, staged).await?,
        };
        let target_version = if self.watch {
            self.site.client.datasources().get(&id).await.map_err(failed)?.updated_at.map(|at| at.to_rfc3339())
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
        self.site.refresh(target).await
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
