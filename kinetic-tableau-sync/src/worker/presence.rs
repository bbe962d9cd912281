//! Which workers are alive: a note of each, written again and again.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::store::{NoteStore, StateError, StateErrorKind};

const PREFIX: &str = "worker/";

/// How often a worker says that it is alive.
pub(super) const BEAT: Duration = Duration::from_secs(30);

/// A worker that has said nothing for so long is gone.
const GONE: Duration = Duration::from_mins(3);

/// A worker, as it told of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerPresence {
    /// Its name.
    pub name: String,
    /// Since when it works.
    pub since: DateTime<Utc>,
    /// When it last said so.
    pub seen: DateTime<Utc>,
    /// Datasets that it knows.
    pub datasets: u64,
    /// Those that it is running.
    pub running: Vec<String>,
}

/// The workers that are alive, by name.
///
/// # Errors
/// When the store cannot be read.
pub async fn workers(notes: &dyn NoteStore, now: DateTime<Utc>) -> Result<Vec<WorkerPresence>, StateError> {
    let found = notes.notes(PREFIX).await?;
    let known = found.into_iter().filter_map(|(_, note)| serde_json::from_str::<WorkerPresence>(&note.body).ok());
    Ok(known.filter(|worker| !is_gone(worker, now)).collect())
}

fn is_gone(worker: &WorkerPresence, now: DateTime<Utc>) -> bool {
    (now - worker.seen).to_std().is_ok_and(|silent| silent > GONE)
}

/// Tells of this worker.
#[derive(Debug)]
pub(super) struct Beacon {
    notes: Arc<dyn NoteStore>,
    clock: Arc<dyn Clock>,
    name: String,
    since: DateTime<Utc>,
    datasets: u64,
    version: Option<u64>,
}

impl Beacon {
    pub(super) fn new(notes: Arc<dyn NoteStore>, clock: Arc<dyn Clock>, owner: &str, datasets: usize) -> Self {
        let since = clock.now();
        // Two workers may have the same name; their notes must not.
        let name = format!("{PREFIX}{owner}/{}", uuid::Uuid::new_v4());
        Self { notes, clock, name, since, datasets: datasets as u64, version: None }
    }

    /// Says that it is alive, and clears away those that are not.
    pub(super) async fn beat(&mut self, owner: &str, running: Vec<String>) -> Result<(), StateError> {
        let now = self.clock.now();
        let presence =
            WorkerPresence { name: owner.to_owned(), since: self.since, seen: now, datasets: self.datasets, running };
        let body = serde_json::to_string(&presence).unwrap_or_default();
        let written = match self.notes.write_note(&self.name, self.version, &body).await {
            Err(error) if error.kind() == StateErrorKind::Stale => {
                // It was silent for so long that another one has cleared its note away, or the answer to an earlier beat was lost, which
                // was written all the same. Nobody else writes under its name.
                self.version = self.notes.note(&self.name).await?.map(|note| note.version);
                self.notes.write_note(&self.name, self.version, &body).await
            }
            written => written,
        };
        self.version = Some(written?);
        for (name, note) in self.notes.notes(PREFIX).await? {
            let known = serde_json::from_str::<WorkerPresence>(&note.body);
            if known.map_or(true, |worker| is_gone(&worker, now)) && name != self.name {
                // Another one may be clearing away as well.
                let _ = self.notes.remove_note(&name, note.version).await;
            }
        }
        Ok(())
    }

    /// Says that it leaves.
    pub(super) async fn leave(self) {
        // Its version is asked for, since the answer to the last beat may have been lost.
        if let Ok(Some(note)) = self.notes.note(&self.name).await {
            let _ = self.notes.remove_note(&self.name, note.version).await;
        }
    }
}
