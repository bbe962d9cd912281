//! Tableau as a destination where its extract engine does not run: whole tables as Parquet, which the server turns into extracts.
//!
//! There is no way to send changes like that. A delta is read and compared all the same, so that nothing is published where nothing has
//! changed; with the first change it gives way to a full load.

mod cells;
mod file;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tableau_rest::{Client, WaitPolicy};
use xxhash_rust::xxh3::Xxh3;

use self::cells::Chunk;
use self::file::Writing;
use super::TableauEvents;
use super::site::Site;
use super::site::failure::failed;
use super::spool::{self, Spool};
use crate::batch::{Batch, Values};
use crate::destination::{
    Destination, DestinationError, DestinationErrorKind, Load, LoadKind, LoadPlan, Receipt, RefreshReport, Staged,
    TargetState,
};
use crate::model::{RefreshTarget, Schema, Target};

/// Rows and bytes of a row group, whichever comes first.
const GROUP_ROWS: usize = 1 << 16;
const GROUP_BYTES: usize = 24 << 20;

/// Lands whole tables in Tableau datasources, as Parquet.
#[derive(Debug)]
pub struct ParquetDestination {
    site: Site,
    spool: Spool,
    watch: bool,
}

impl ParquetDestination {
    /// Lands with this client. The spool is a directory for loads on their way, as
    /// [`HyperOptions::spool`](crate::HyperOptions::spool). Nothing is started or sent yet.
    #[must_use]
    pub fn new(client: Client, spool: impl Into<PathBuf>) -> Self {
        Self { site: Site::new(client), spool: Spool::new(spool.into()), watch: true }
    }

    /// Hears of the ends of jobs by webhooks as well, so that they are noticed at once. Asking goes on beside it.
    #[must_use]
    pub fn events(mut self, events: &TableauEvents) -> Self {
        self.site.events = Some(events.clone());
        self
    }

    /// As [`TableauDestination::watch_target`](crate::TableauDestination::watch_target): whether a datasource is loaded anew that was
    /// written to since the last landing that the state knows of. On unless turned off.
    #[must_use]
    pub fn watch_target(mut self, watch: bool) -> Self {
        self.watch = watch;
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
impl Destination for ParquetDestination {
    async fn inspect(&self, target: &Target) -> Result<TargetState, DestinationError> {
        Ok(match self.site.look(target).await? {
            Some(found) => {
                let version = self.watch.then_some(found.updated_at).flatten().map(|at| at.to_rfc3339());
                TargetState::Present { id: found.id.to_string(), version }
            }
            None => TargetState::Absent,
        })
    }

    async fn begin(&self, plan: &LoadPlan) -> Result<Box<dyn Load>, DestinationError> {
        if plan.kind == LoadKind::Delta {
            return Ok(Box::new(Changes { rows: 0 }));
        }
        let path = self.spool.clear_for(&plan.dataset, &plan.run, "parquet").await?;
        let schema = Arc::clone(&plan.schema);
        let writing = spool::blocking(move || Writing::create(path, schema)).await?;
        Ok(Box::new(ParquetLoad::new(writing, Arc::clone(&plan.schema))))
    }

    async fn is_intact(&self, staged: &Staged) -> Result<bool, DestinationError> {
        spool::is_intact(staged.clone()).await
    }

    async fn publish(&self, plan: &LoadPlan, staged: &Staged) -> Result<Receipt, DestinationError> {
        let (id, job_id) = self.site.publish(&plan.target, staged).await?;
        let target_version = if self.watch {
            self.site.client.datasources().get(&id).await.map_err(failed)?.updated_at.map(|at| at.to_rfc3339())
        } else {
            None
        };
        Ok(Receipt {
            target_id: id.to_string(),
            request_id: plan.request_id.clone(),
            job_id,
            target_version,
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

/// Changes, which are only counted: there is no way to send them.
#[derive(Debug)]
struct Changes {
    rows: usize,
}

#[async_trait]
impl Load for Changes {
    async fn insert(&mut self, batch: &Batch) -> Result<(), DestinationError> {
        self.rows += batch.rows();
        Ok(())
    }

    async fn upsert(&mut self, batch: &Batch) -> Result<u64, DestinationError> {
        // Whatever it is asked for: none of them lands.
        Ok(batch.rows() as u64)
    }

    async fn delete(&mut self, keys: &Batch) -> Result<(), DestinationError> {
        self.rows += keys.rows();
        Ok(())
    }

    async fn seal(self: Box<Self>) -> Result<Staged, DestinationError> {
        let message = format!("{} rows have changed, and a Parquet file takes the place of the whole table", self.rows);
        Err(DestinationError::new(DestinationErrorKind::TooLarge, message).with_hint("a full load follows"))
    }

    async fn abort(self: Box<Self>) -> Result<(), DestinationError> {
        Ok(())
    }
}

/// A file in the making.
struct ParquetLoad {
    /// None while it is being worked at, and behind a failure.
    writing: Option<Writing>,
    schema: Arc<Schema>,
    /// Rows that wait for a row group: their columns, and the hashes of their keys.
    chunks: Vec<Chunk>,
    hashes: Vec<u128>,
    bytes: usize,
    given: u64,
}

impl std::fmt::Debug for ParquetLoad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetLoad").field("rows", &self.given).finish_non_exhaustive()
    }
}

impl ParquetLoad {
    fn new(writing: Writing, schema: Arc<Schema>) -> Self {
        let chunks = fresh(&schema);
        Self { writing: Some(writing), schema, chunks, hashes: Vec::new(), bytes: 0, given: 0 }
    }

    async fn add(&mut self, batch: &Batch, hashes: Vec<u128>) -> Result<(), DestinationError> {
        self.bytes += cells::append(&mut self.chunks, batch, self.given)?;
        self.given += batch.rows() as u64;
        self.hashes.extend(hashes);
        if self.hashes.len() >= GROUP_ROWS || self.bytes >= GROUP_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), DestinationError> {
        if self.hashes.is_empty() {
            return Ok(());
        }
        let chunks = std::mem::replace(&mut self.chunks, fresh(&self.schema));
        let hashes = std::mem::take(&mut self.hashes);
        self.bytes = 0;
        self.work(move |writing| writing.write(&chunks, &hashes)).await
    }

    /// Works at the file where that may block.
    async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Writing) -> Result<T, DestinationError> + Send + 'static,
    ) -> Result<T, DestinationError> {
        let mut writing = self.writing.take().ok_or_else(closed)?;
        let (done, writing) = spool::blocking(move || work(&mut writing).map(|done| (done, writing))).await?;
        self.writing = Some(writing);
        Ok(done)
    }
}

#[async_trait]
impl Load for ParquetLoad {
    async fn insert(&mut self, batch: &Batch) -> Result<(), DestinationError> {
        let hashes = hashes(batch);
        self.add(batch, hashes).await
    }

    async fn upsert(&mut self, batch: &Batch) -> Result<u64, DestinationError> {
        let hashes = hashes(batch);
        // What is replaced may be among what waits.
        self.flush().await?;
        let keys: HashSet<u128> = hashes.iter().copied().collect();
        let replaced = self.work(move |writing| writing.replace(&keys)).await?;
        self.add(batch, hashes).await?;
        Ok(replaced)
    }

    async fn delete(&mut self, _: &Batch) -> Result<(), DestinationError> {
        Err(DestinationError::new(DestinationErrorKind::TooLarge, "a Parquet file takes no deletes"))
    }

    async fn seal(mut self: Box<Self>) -> Result<Staged, DestinationError> {
        self.flush().await?;
        let writing = self.writing.take().ok_or_else(closed)?;
        spool::blocking(move || writing.seal()).await
    }

    async fn abort(mut self: Box<Self>) -> Result<(), DestinationError> {
        // It removes itself.
        self.writing = None;
        Ok(())
    }
}

fn fresh(schema: &Schema) -> Vec<Chunk> {
    schema.landed().map(|(_, column)| Chunk::empty(column.kind)).collect()
}

fn closed() -> DestinationError {
    DestinationError::new(DestinationErrorKind::Engine, "the Parquet file is closed already").with_hint("run again")
}

/// The hashes of the keys, each part behind its length.
fn hashes(batch: &Batch) -> Vec<u128> {
    let schema = batch.schema();
    let columns: Vec<_> = schema.key.iter().filter_map(|at| batch.column(*at)).collect();
    let hash = |row: usize| {
        let mut hasher = Xxh3::new();
        for column in &columns {
            match &column.values {
                Values::Text(texts) => {
                    let text = texts.bytes_at(row);
                    hasher.update(&(text.len() as u64).to_le_bytes());
                    hasher.update(text);
                }
                Values::Bool(values) => hasher.update(&[u8::from(values.get(row).copied().unwrap_or_default())]),
                Values::I64(values) => hasher.update(&values.get(row).copied().unwrap_or_default().to_le_bytes()),
                Values::I128(values) => hasher.update(&values.get(row).copied().unwrap_or_default().to_le_bytes()),
                Values::F64(values) => hasher.update(&values.get(row).copied().unwrap_or_default().to_le_bytes()),
            }
        }
        hasher.digest128()
    };
    (0..batch.rows()).map(hash).collect()
}
