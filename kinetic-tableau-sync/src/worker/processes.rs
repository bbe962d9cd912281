//! Batch processes of the ERP: what they have changed is read when they have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::control::{Request, RequestedRun};
use super::observer::WorkerEvent;
use super::slots::{Limit, Slot};
use super::{Parts, Worker};
use crate::engine::Stop;
use crate::model::DatasetId;
use crate::source::SourceError;
use crate::store::{StateError, StateErrorKind};

/// How long the answer for one process is waited for.
const LONGEST_LOOK: Duration = Duration::from_mins(2);

/// Where the ends of batch processes are seen.
#[async_trait]
pub trait BatchProcesses: std::fmt::Debug + Send + Sync + 'static {
    /// Name of the system, under which workers share what they have seen.
    fn system(&self) -> &str;

    /// How many runs of a process have ended since it was last looked at, and what was seen now, as a text to be handed in next time.
    /// Without `seen` it begins to watch, and nothing has ended.
    ///
    /// It is waited for beside everything else, for at most two minutes; then the future is dropped, and asked again later.
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
    /// The system has not answered in time.
    #[error("process {process} of {system}: no answer within {} s", LONGEST_LOOK.as_secs())]
    Silent {
        /// The system.
        system: String,
        /// The process.
        process: String,
    },
}

impl ProcessError {
    /// What the operator should do next, where that is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Source(error) => error.hint(),
            Self::State(_) => None,
            Self::Silent { .. } => Some("see whether the system can be reached; no end is forgotten meanwhile"),
        }
    }
}

/// Looks at the batch processes of one system. It is a task of its own, so that a system that does not answer holds up nothing else.
#[derive(Debug)]
pub(super) struct Watch {
    parts: Arc<Parts>,
    every: Duration,
    system: String,
    processes: Arc<dyn BatchProcesses>,
    /// By process the datasets that wait for it.
    waiting: BTreeMap<String, BTreeSet<DatasetId>>,
    /// One worker looks, for all of them.
    slot: Option<Slot>,
}

impl Watch {
    /// One for each system that some jobs of a worker wait for.
    pub(super) fn all(worker: &Worker) -> Vec<Self> {
        let mut systems: BTreeMap<&str, Self> = BTreeMap::new();
        for job in &worker.jobs {
            let Some(processes) = &job.processes else { continue };
            for name in job.timing.processes() {
                let system = systems.entry(processes.system()).or_insert_with(|| Self {
                    parts: Arc::clone(&worker.parts),
                    every: worker.poll,
                    system: processes.system().to_owned(),
                    processes: Arc::clone(processes),
                    waiting: BTreeMap::new(),
                    slot: None,
                });
                system.waiting.entry(name.to_owned()).or_default().insert(job.spec.id.clone());
            }
        }
        systems.into_values().collect()
    }

    /// Looks again and again until the worker is stopped. `asked` is told when a run was asked for.
    pub(super) async fn run(mut self, stop: Stop, asked: Arc<Notify>) {
        let clock = Arc::clone(&self.parts.clock);
        loop {
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                () = self.look(&asked) => {}
            }
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                () = clock.sleep(self.every) => {}
            }
        }
        if let Some(slot) = self.slot {
            slot.release().await;
        }
    }

    /// Looks at each process once, unless another worker does, and tells what it saw.
    async fn look(&mut self, asked: &Notify) {
        match self.is_ours().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return self.tell(&error.into()),
        }
        let (mut all, mut failed) = (0, None);
        for (process, waiting) in &self.waiting {
            let looked = tokio::select! {
                biased;
                looked = self.look_at(process, waiting, asked) => looked,
                () = self.parts.clock.sleep(LONGEST_LOOK) => {
                    Err(ProcessError::Silent { system: self.system.clone(), process: process.clone() })
                }
            };
            match looked {
                Ok(count) => all += count,
                // The others are looked at all the same.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if self.parts.state.locks_as_a_whole()
            && let Some(slot) = self.slot.take()
        {
            // Held all day it would keep every other process from the store.
            slot.release().await;
        }
        if all > 0 {
            self.parts.observer.event(&WorkerEvent::ProcessEnded { system: &self.system, count: all });
        }
        if let Some(error) = failed {
            self.tell(&error);
        }
    }

    /// Whether this worker is the one that looks.
    async fn is_ours(&mut self) -> Result<bool, StateError> {
        if self.slot.as_ref().is_none_or(Slot::is_lost) {
            let limit = Limit::new(format!("processes/{}", self.system), 1);
            self.slot = self.parts.slots.take(&limit).await?;
        }
        Ok(self.slot.is_some())
    }

    /// Looks at a process, and asks for a run of each dataset that waits for it when it has ended. The request is noted before what was
    /// seen, so that an end is never forgotten. Answers how many ends there were.
    async fn look_at(&self, process: &str, waiting: &BTreeSet<DatasetId>, asked: &Notify) -> Result<u64, ProcessError> {
        let (notes, now) = (&self.parts.notes, self.parts.clock.now());
        let name = format!("process/{}/{process}", self.system);
        let seen = notes.note(&name).await?;
        let (count, next) = self.processes.ended(process, seen.as_ref().map(|note| note.body.as_str())).await?;
        // Nobody has watched before the first look, and a run that is under way may have read before it.
        if count > 0 || seen.is_none() {
            let by = format!("process {process}");
            for dataset in waiting {
                let request = Request { run: RequestedRun::Changes, at: now, by: by.clone(), waits: true };
                self.parts.controls.request(dataset, request).await?;
            }
            asked.notify_one();
        }
        if seen.as_ref().is_none_or(|note| note.body != next) {
            let written = notes.write_note(&name, seen.map(|note| note.version), &next).await;
            // Another worker has looked at the same time, and asked for the same.
            written.map(drop).or_else(|error| match error.kind() {
                StateErrorKind::Stale => Ok(()),
                _ => Err(error),
            })?;
        }
        Ok(count)
    }

    fn tell(&self, error: &ProcessError) {
        let event =
            WorkerEvent::Trouble { doing: "looking at batch processes", dataset: None, error, hint: error.hint() };
        self.parts.observer.event(&event);
    }
}
