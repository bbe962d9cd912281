//! What an operator asks for beside the configuration: a dataset is paused, resumed, or run now.
//!
//! It is kept with the state, so that every worker sees it, and so that it outlives all of them.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::engine::Disposition;
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
    /// Runs that were asked for and are still open, the oldest first. One run can serve several.
    #[serde(default)]
    pub requests: Vec<OpenRequest>,
}

impl Control {
    /// The open requests that a run which begins now would serve, by their ids.
    pub(super) fn served_by(&self, run: RequestedRun) -> Vec<String> {
        let served = self.requests.iter().filter(|open| run.covers(open.request.run));
        served.map(|open| open.id.clone()).collect()
    }
}

/// A request that no run has served yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRequest {
    /// Tells it from every other one. Which run serves it is decided by this, never by the time: clocks of two machines differ.
    pub id: String,
    /// What was asked for.
    #[serde(flatten)]
    pub request: Request,
    /// A run that was to serve it has failed, so that it waits as the failure calls for.
    #[serde(default)]
    pub tried: bool,
}

impl OpenRequest {
    /// Whether a younger request stands for this one as well. One that may wait is none of a person's: they are kept apart, since they do
    /// not end in the same way.
    fn is_within(&self, younger: &Request) -> bool {
        younger.run.covers(self.request.run) && younger.waits == self.request.waits
    }
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
    /// When it was asked for, by the clock of whoever asked.
    pub at: DateTime<Utc>,
    /// Who asked: a person, or a batch process.
    pub by: String,
    /// Whether it may wait: for the end of a time in which nothing is begun, and behind a failure until that is tried again. It stays
    /// open until a run that began after it has ended well. A person's request does not wait, and a failure that only a person can mend
    /// ends it: whoever asked was told.
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

impl RequestedRun {
    /// Whether a run of this kind does all that one of the other kind would do.
    pub(super) fn covers(self, other: Self) -> bool {
        self == other || self == Self::Full || other == Self::Changes
    }

    /// How much it does: what covers another has more.
    pub(super) fn extent(self) -> u8 {
        match self {
            Self::Changes => 0,
            Self::Replay => 1,
            Self::Reconcile => 2,
            Self::Full => 3,
        }
    }
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

    /// Asks for a run, in the place of those earlier requests that it covers. What it does not cover stays open beside it, and so does
    /// the request itself beside a larger one, since nobody knows here whether that has begun: a run serves what was open when it began.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn request(&self, dataset: &DatasetId, request: Request) -> Result<(), StateError> {
        let open = OpenRequest { id: Uuid::new_v4().to_string(), request, tried: false };
        let changed = self.change(dataset, |control| {
            control.requests.retain(|older| !older.is_within(&open.request));
            control.requests.push(open.clone());
        });
        changed.await.map(drop)
    }

    /// Forgets requests that a run has served, by their ids. What has taken the place of one meanwhile stays.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn served(&self, dataset: &DatasetId, ids: &[String]) -> Result<(), StateError> {
        if ids.is_empty() {
            return Ok(());
        }
        let changed = self.change(dataset, |control| control.requests.retain(|open| !ids.contains(&open.id)));
        changed.await.map(drop)
    }

    /// Notes that a run which was to serve these requests has failed. They wait as the failure calls for; where a person must act, only
    /// those stay open that [may wait](Request::waits).
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn failed(&self, dataset: &DatasetId, ids: &[String], call: Disposition) -> Result<(), StateError> {
        if ids.is_empty() {
            return Ok(());
        }
        let changed = self.change(dataset, |control| {
            let ends = |open: &OpenRequest| call == Disposition::Operator && !open.request.waits;
            control.requests.retain(|open| !(ids.contains(&open.id) && ends(open)));
            for open in control.requests.iter_mut().filter(|open| ids.contains(&open.id)) {
                open.tried = true;
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

    fn controls() -> (Arc<MemoryStore>, Controls, DatasetId) {
        let store = Arc::new(MemoryStore::new());
        (Arc::clone(&store), Controls::new(store), DatasetId::new("a"))
    }

    #[tokio::test]
    async fn a_request_stays_until_it_is_served_whatever_comes_meanwhile() {
        let (store, controls, id) = controls();
        assert_eq!(controls.get(&id).await.unwrap(), Control::default());
        controls.request(&id, request(RequestedRun::Reconcile, "ann")).await.unwrap();
        // The comparison begins, and a process ends: that is not served by it.
        let begun = controls.get(&id).await.unwrap().served_by(RequestedRun::Reconcile);
        let ended = Request { waits: true, ..request(RequestedRun::Changes, "Post AP Invoices") };
        controls.request(&id, ended).await.unwrap();
        controls.served(&id, &begun).await.unwrap();
        let open = controls.get(&id).await.unwrap();
        assert_eq!(open.requests[..].iter().map(|open| &*open.request.by).collect::<Vec<_>>(), ["Post AP Invoices"]);
        // One that is asked for in the very same words is another one all the same.
        let begun = open.served_by(RequestedRun::Changes);
        controls.request(&id, open.requests[0].request.clone()).await.unwrap();
        controls.served(&id, &begun).await.unwrap();
        let open = controls.get(&id).await.unwrap();
        assert_eq!(open.requests.len(), 1, "in the place of the older one, and not served with it");
        // A run serves all that it covers.
        controls.request(&id, request(RequestedRun::Replay, "bob")).await.unwrap();
        let begun = controls.get(&id).await.unwrap().served_by(RequestedRun::Full);
        controls.served(&id, &begun).await.unwrap();
        assert!(store.notes("").await.unwrap().is_empty(), "nothing is kept of what is served");
    }

    #[tokio::test]
    async fn a_larger_request_takes_the_place_of_smaller_ones_and_a_smaller_one_of_none() {
        let (_, controls, id) = controls();
        for (run, open) in [
            (RequestedRun::Changes, vec![RequestedRun::Changes]),
            (RequestedRun::Reconcile, vec![RequestedRun::Reconcile]),
            (RequestedRun::Replay, vec![RequestedRun::Reconcile, RequestedRun::Replay]),
            (RequestedRun::Changes, vec![RequestedRun::Reconcile, RequestedRun::Replay, RequestedRun::Changes]),
            (RequestedRun::Full, vec![RequestedRun::Full]),
        ] {
            controls.request(&id, request(run, "ann")).await.unwrap();
            let found = controls.get(&id).await.unwrap().requests;
            assert_eq!(found.iter().map(|open| open.request.run).collect::<Vec<_>>(), open);
        }
    }

    #[tokio::test]
    async fn a_failure_that_a_person_must_mend_ends_what_persons_asked_for_and_no_end_of_a_process() {
        let (_, controls, id) = controls();
        let waits = Request { waits: true, ..request(RequestedRun::Changes, "Post AP Invoices") };
        controls.request(&id, waits).await.unwrap();
        controls.request(&id, request(RequestedRun::Full, "ann")).await.unwrap();
        let ids = controls.get(&id).await.unwrap().served_by(RequestedRun::Full);
        controls.request(&id, request(RequestedRun::Full, "bob")).await.unwrap();
        controls.request(&id, request(RequestedRun::Reconcile, "cid")).await.unwrap();
        let retry = Disposition::Retry { after: std::time::Duration::ZERO };
        let open = async || -> Vec<(String, bool)> {
            let open = controls.get(&id).await.unwrap().requests;
            open.into_iter().map(|open| (open.request.by, open.tried)).collect()
        };
        controls.failed(&id, &ids, retry).await.unwrap();
        let tried = |by: &str, tried| (by.to_owned(), tried);
        let since = [tried("bob", false), tried("cid", false)];
        assert_eq!(open().await, [&[tried("Post AP Invoices", true)], &since[..]].concat());
        let all = controls.get(&id).await.unwrap().served_by(RequestedRun::Full);
        controls.failed(&id, &all, Disposition::Operator).await.unwrap();
        assert_eq!(open().await, [tried("Post AP Invoices", true)]);
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
        assert!(control.paused.is_some() && control.requests.len() == 1);
        assert_eq!(controls.resume(&id).await.unwrap(), Some(pause));
        assert_eq!(controls.resume(&id).await.unwrap(), None);
    }
}
