//! What people were told of a dataset and is not over, as a note that workers share.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::alert::AlertKind;
use super::news::Verdict;
use crate::model::DatasetId;
use crate::store::{NoteStore, StateError, StateErrorKind};

const PREFIX: &str = "alert/";

/// What was told last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Last {
    pub(super) kind: AlertKind,
    pub(super) message: String,
    pub(super) at: DateTime<Utc>,
    /// Whether it was sent, or given up aloud. If not, a worker is at it, or has died at it.
    pub(super) sent: bool,
}

/// The note of a dataset.
#[derive(Debug)]
pub(super) struct Told {
    name: String,
    version: Option<u64>,
    last: Option<Last>,
}

impl Told {
    /// What was told of a dataset, as all workers know it.
    pub(super) async fn find(notes: &dyn NoteStore, dataset: &DatasetId) -> Result<Self, StateError> {
        let name = format!("{PREFIX}{dataset}");
        let note = notes.note(&name).await?;
        // One that cannot be read is of another version of this program, and written over.
        let last = note.as_ref().and_then(|note| serde_json::from_str(&note.body).ok());
        Ok(Self { version: note.map(|note| note.version), name, last })
    }

    pub(super) fn last(&self) -> Option<&Last> {
        self.last.as_ref()
    }

    /// Notes what is about to be sent. None when somebody else has noted something meanwhile; nothing within, when it cannot be noted.
    pub(super) async fn note(
        self,
        notes: &dyn NoteStore,
        verdict: &Verdict,
        at: DateTime<Utc>,
    ) -> Option<Option<Self>> {
        let last = Last { kind: verdict.kind, message: verdict.message.clone(), at, sent: false };
        match notes.write_note(&self.name, self.version, &body(&last)).await {
            Ok(version) => Some(Some(Self { version: Some(version), last: Some(last), ..self })),
            Err(error) if error.kind() == StateErrorKind::Stale => None,
            Err(_) => Some(None),
        }
    }

    /// Notes that it was sent; what is over is forgotten. What cannot be noted is sent once more by whoever looks next.
    pub(super) async fn sent(self, notes: &dyn NoteStore) {
        let Self { name, version: Some(version), last: Some(last) } = self else { return };
        if last.kind == AlertKind::Recovered {
            let _ = notes.remove_note(&name, version).await;
        } else {
            let _ = notes.write_note(&name, Some(version), &body(&Last { sent: true, ..last })).await;
        }
    }
}

fn body(last: &Last) -> String {
    serde_json::to_string(last).unwrap_or_default()
}
