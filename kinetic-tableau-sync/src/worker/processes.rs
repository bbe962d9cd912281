//! Batch processes of the ERP: what they have changed is read when they have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::control::{Controls, Request, RequestedRun};
use super::job::Job;
use crate::model::DatasetId;
use crate::source::SourceError;
use crate::store::{NoteStore, StateError, StateErrorKind};

/// Where the ends of batch processes are seen.
#[async_trait]
pub trait BatchProcesses: std::fmt::Debug + Send + Sync + 'static {
    /// Name of the system, under which workers share what they have seen.
    fn system(&self) -> &str;

    /// How many runs of a process have ended since it was last looked at, and what was seen now, as a text to be handed in next time.
    /// Without `seen` it begins to watch, and nothing has ended.
    ///
    /// # Errors
    /// When the system cannot be reached or refuses.
    async fn ended(&self, process: &str, seen: Option<&str>) -> Result<(u64, String), SourceError>;
}

/// Why processes could not be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The system.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The processes that some jobs wait for, by system.
#[derive(Debug)]
pub(super) struct Watch {
    systems: BTreeMap<String, System>,
    notes: Arc<dyn NoteStore>,
    controls: Controls,
}

#[derive(Debug)]
struct System {
    processes: Arc<dyn BatchProcesses>,
    /// By process the datasets that wait for it.
    waiting: BTreeMap<String, BTreeSet<DatasetId>>,
}

impl Watch {
    pub(super) fn new(jobs: &[Arc<Job>], notes: Arc<dyn NoteStore>) -> Self {
        let mut systems: BTreeMap<String, System> = BTreeMap::new();
        for job in jobs {
            let Some(processes) = &job.processes else { continue };
            for name in job.timing.processes() {
                let system = systems
                    .entry(processes.system().to_owned())
                    .or_insert_with(|| System { processes: Arc::clone(processes), waiting: BTreeMap::new() });
                system.waiting.entry(name.to_owned()).or_default().insert(job.spec.id.clone());
            }
        }
        Self { systems, controls: Controls::new(Arc::clone(&notes)), notes }
    }

    /// The systems that are looked at.
    pub(super) fn systems(&self) -> impl Iterator<Item = &str> {
        self.systems.keys().map(String::as_str)
    }

    /// Looks at the processes of a system, and asks for a run of each dataset that waits for one that has ended. The request is noted before
    /// what was seen, so that an end is never forgotten. Answers how many ends there were.
    pub(super) async fn look(&self, system: &str, now: DateTime<Utc>) -> Result<u64, ProcessError> {
        let Some(system) = self.systems.get(system) else { return Ok(0) };
        let mut all = 0;
        for (process, waiting) in &system.waiting {
            let name = format!("process/{}/{process}", system.processes.system());
            let seen = self.notes.note(&name).await?;
            let (count, next) = system.processes.ended(process, seen.as_ref().map(|note| note.body.as_str())).await?;
            if count > 0 {
                all += count;
                let by = format!("process {process}");
                for dataset in waiting {
                    let request = Request { run: RequestedRun::Changes, at: now, by: by.clone(), waits: true };
                    self.controls.request(dataset, request).await?;
                }
            }
            if seen.as_ref().is_none_or(|note| note.body != next) {
                let written = self.notes.write_note(&name, seen.map(|note| note.version), &next).await;
                // Another worker has looked at the same time, and asked for the same.
                written.map(drop).or_else(|error| match error.kind() {
                    StateErrorKind::Stale => Ok(()),
                    _ => Err(error),
                })?;
            }
        }
        Ok(all)
    }
}
