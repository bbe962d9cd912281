//! That no sync could even begin, since a system or a token could not be had: kept in the store for `status`, until one can.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::output;
use crate::store::Store;

/// The name of the note. All processes with one store write the same: one that connects shows that it can be done.
const NOTE: &str = "program/unconnected";

/// Why nothing could be begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unconnected {
    /// The first time in a row.
    pub(crate) since: DateTime<Utc>,
    /// The last time.
    pub(crate) at: DateTime<Utc>,
    /// Which process has tried.
    pub(crate) by: String,
    pub(crate) message: String,
    pub(crate) next: Option<String>,
}

/// Notes how connecting ended. A store that cannot be written to has its own ways of telling.
pub(crate) async fn note(store: &Store, by: &str, failure: Option<&Failure>) {
    let notes = store.notes();
    let Ok(before) = notes.note(NOTE).await else { return };
    let version = before.as_ref().map(|note| note.version);
    let Some(failure) = failure else {
        if let Some(version) = version {
            let _ = notes.remove_note(NOTE, version).await;
        }
        return;
    };
    let now = Utc::now();
    let before = before.and_then(|note| serde_json::from_str::<Unconnected>(&note.body).ok());
    let clean = |text: &str| output::redactor().clean(text).into_owned();
    let unconnected = Unconnected {
        since: before.map_or(now, |before| before.since),
        at: now,
        by: by.to_owned(),
        message: clean(failure.message()),
        next: failure.hint().map(clean),
    };
    if let Ok(body) = serde_json::to_string(&unconnected) {
        let _ = notes.write_note(NOTE, version, &body).await;
    }
}

/// What was noted last, unless it is over.
pub(crate) async fn find(notes: &dyn kinetic_tableau_sync::NoteStore) -> Outcome<Option<Unconnected>> {
    Ok(notes.note(NOTE).await?.and_then(|note| serde_json::from_str(&note.body).ok()))
}
