//! What an operator asks for beside the configuration: a dataset is paused, resumed, or run now.
//!
//! It is kept with the state, so that every worker sees it, and so that it outlives all of them.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::DatasetId;
use crate::store::{NoteStore, StateError, StateErrorKind};

/// Where the notes are.
const PREFIX: &str = "control/";

/// How often a change is tried again when somebody else changes the same dataset at the same moment.
const ATTEMPTS: u32 = 20;

/// What is asked for of one dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Nothing is begun.
    #[serde(default)]
    pub paused: Option<Pause>,
    /// One run, as soon as possible.
    #[serde(default)]
    pub request: Option<Request>,
}

/// A dataset is not begun for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Until when; until it is resumed when none.
    #[serde(default)]
    pub until: Option<DateTime<Utc>>,
    /// Who asked for it.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A run that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What is to be done.
    pub run: RequestedRun,
    /// When it was asked for: what is begun from then on serves it.
    pub at: DateTime<Utc>,
    /// Who asked: a person, or a batch process.
    pub by: String,
    /// Whether it may wait for the end of a time in which nothing is begun. A person's request does not.
    #[serde(default)]
    pub waits: bool,
}

/// What a requested run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RequestedRun {
    /// What changed since the last one.
    Changes,
    /// Everything anew.
    Full,
    /// A comparison of everything.
    Reconcile,
    /// What changed, and what was rejected.
    Replay,
}

/// The controls of all datasets.
#[derive(Clone, Debug)]
pub struct Controls {
    notes: Arc<dyn NoteStore>,
}

impl Controls {
    /// Those that a store keeps.
    #[must_use]
    pub fn new(notes: Arc<dyn NoteStore>) -> Self {
        Self { notes }
    }

    /// What is asked for of a dataset.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn get(&self, dataset: &DatasetId) -> Result<Control, StateError> {
        let note = self.notes.note(&name(dataset)).await?;
        note.map_or(Ok(Control::default()), |note| read(dataset.as_str(), &note.body))
    }

    /// Everything that is asked for at the moment.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn all(&self) -> Result<HashMap<DatasetId, Control>, StateError> {
        let notes = self.notes.notes(PREFIX).await?;
        let of = |(name, note): (String, crate::store::Note)| {
            let dataset = name.strip_prefix(PREFIX).unwrap_or_default();
            Ok((DatasetId::from(dataset), read(dataset, &note.body)?))
        };
        notes.into_iter().map(of).collect()
    }

    /// Lets nothing be begun. A run that is under way goes on to its end.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn pause(&self, dataset: &DatasetId, pause: Pause) -> Result<(), StateError> {
        self.change(dataset, |control| control.paused = Some(pause.clone())).await.map(drop)
    }

    /// Ends a pause. Answers the pause, where there was one.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn resume(&self, dataset: &DatasetId) -> Result<Option<Pause>, StateError> {
        let mut ended = None;
        self.change(dataset, |control| ended = control.paused.take()).await?;
        Ok(ended)
    }

    /// Asks for a run, in the place of an earlier request. What reads less than an earlier request that is still open leaves that one
    /// alone: a comparison that was asked for is not lost because a process ends.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn request(&self, dataset: &DatasetId, request: Request) -> Result<(), StateError> {
        let changed = self.change(dataset, |control| match &control.request {
            Some(open) if request.run == RequestedRun::Changes && open.run != RequestedRun::Changes => {}
            _ => control.request = Some(request.clone()),
        });
        changed.await.map(drop)
    }

    /// Forgets a request that has been served, unless another one has taken its place.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn served(&self, dataset: &DatasetId, request: &Request) -> Result<(), StateError> {
        let changed = self.change(dataset, |control| {
            if control.request.as_ref() == Some(request) {
                control.request = None;
            }
        });
        changed.await.map(drop)
    }

    async fn change(&self, dataset: &DatasetId, mut change: impl FnMut(&mut Control)) -> Result<Control, StateError> {
        let name = name(dataset);
        let mut attempt = 0;
        loop {
            let found = self.notes.note(&name).await?;
            let mut control = match &found {
                Some(note) => read(dataset.as_str(), &note.body)?,
                None => Control::default(),
            };
            let before = control.clone();
            change(&mut control);
            let version = found.as_ref().map(|note| note.version);
            let written = match (control == before, control == Control::default(), version) {
                (true, _, _) => return Ok(control),
                (_, true, Some(version)) => self.notes.remove_note(&name, version).await,
                _ => {
                    let body = serde_json::to_string(&control).map_err(|error| unreadable(dataset.as_str(), error))?;
                    self.notes.write_note(&name, version, &body).await.map(drop)
                }
            };
            attempt += 1;
            match written {
                Ok(()) => return Ok(control),
                Err(error) if error.kind() == StateErrorKind::Stale && attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn name(dataset: &DatasetId) -> String {
    format!("{PREFIX}{dataset}")
}

fn read(dataset: &str, body: &str) -> Result<Control, StateError> {
    serde_json::from_str(body).map_err(|error| unreadable(dataset, error))
}

fn unreadable(dataset: &str, error: serde_json::Error) -> StateError {
    StateError::new(StateErrorKind::Corrupt, format!("what was asked for of dataset {dataset} cannot be read"))
        .with_cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn request(run: RequestedRun, by: &str) -> Request {
        Request { run, at: DateTime::UNIX_EPOCH, by: by.to_owned(), waits: false }
    }

    #[tokio::test]
    async fn a_request_stays_until_it_is_served_and_a_smaller_one_does_not_replace_it() {
        let store = Arc::new(MemoryStore::new());
        let controls = Controls::new(Arc::clone(&store) as _);
        let id = DatasetId::new("a");
        assert_eq!(controls.get(&id).await.unwrap(), Control::default());
        controls.request(&id, request(RequestedRun::Reconcile, "ann")).await.unwrap();
        controls.request(&id, request(RequestedRun::Changes, "Post AP Invoices")).await.unwrap();
        let asked = controls.get(&id).await.unwrap().request.unwrap();
        assert_eq!((asked.run, asked.by.as_str()), (RequestedRun::Reconcile, "ann"));
        controls.request(&id, request(RequestedRun::Full, "bob")).await.unwrap();
        controls.served(&id, &asked).await.unwrap();
        let newer = controls.get(&id).await.unwrap().request.unwrap();
        assert_eq!(newer.by, "bob", "a request that came meanwhile is not lost");
        controls.served(&id, &newer).await.unwrap();
        assert!(store.notes("").await.unwrap().is_empty(), "nothing is kept of what is served");
    }

    #[tokio::test]
    async fn pauses_and_requests_of_two_people_at_once_are_both_kept() {
        let controls = Controls::new(Arc::new(MemoryStore::new()));
        let id = DatasetId::new("a");
        let pause = Pause { since: DateTime::UNIX_EPOCH, until: None, by: "ann".to_owned(), reason: None };
        let (one, two) =
            tokio::join!(controls.pause(&id, pause.clone()), controls.request(&id, request(RequestedRun::Full, "bob")));
        one.unwrap();
        two.unwrap();
        let all = controls.all().await.unwrap();
        let control = all.get(&id).unwrap();
        assert!(control.paused.is_some() && control.request.is_some());
        assert_eq!(controls.resume(&id).await.unwrap(), Some(pause));
        assert_eq!(controls.resume(&id).await.unwrap(), None);
    }
}
