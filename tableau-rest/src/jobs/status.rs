//! What the server says about a job, and what it means.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::error::Scrubber;
use crate::ids::{DatasourceId, JobId, WorkbookId};
use crate::wire;

/// How a job ended, in Tableau's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FinishCode {
    /// 0: success. For refreshes through Bridge only that a client was given the work.
    Success,
    /// 1: failure. Also what publish jobs say while they run.
    Error,
    /// 2: cancelled.
    Cancelled,
    /// 3: a refresh through Bridge is really done.
    BridgeDone,
    /// A number that is not documented.
    Other(i64),
}

impl FinishCode {
    fn of(code: i64) -> Self {
        match code {
            0 => Self::Success,
            1 => Self::Error,
            2 => Self::Cancelled,
            3 => Self::BridgeDone,
            other => Self::Other(other),
        }
    }
}

/// A remark of the server on a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusNote {
    /// What kind of remark, for example `errorCode`.
    pub kind: String,
    /// Its value.
    pub value: Option<String>,
    /// Its text.
    pub text: Option<String>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobState {
    /// Queued or running.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended in failure.
    Failed,
    /// Cancelled.
    Cancelled,
    /// Ended, and the server does not say how.
    Undetermined,
}

/// What the server says about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobStatus {
    /// Its id.
    pub id: JobId,
    /// Its type, for example `PublishDatasource`, `UpdateUploadedFile` or `RefreshExtract`.
    pub kind: Option<String>,
    /// Per cent.
    pub progress: Option<u64>,
    /// The finish code. Means nothing while the job runs: use [`state`](JobStatus::state).
    pub finish_code: Option<FinishCode>,
    /// When it was queued.
    pub created_at: Option<DateTime<Utc>>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was heard of last.
    pub updated_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// What the server tells about it, mostly after a failure. May hold business data.
    pub notes: Vec<String>,
    /// Remarks in Tableau's own form.
    pub status_notes: Vec<StatusNote>,
    /// The datasource it is about, where the server says so.
    pub datasource: Option<DatasourceId>,
    /// The workbook it is about, where the server says so.
    pub workbook: Option<WorkbookId>,
}

/// The members in which the different types of jobs keep their target and notes.
const DETAILS: [&str; 5] =
    ["extractRefreshJob", "updateUploadedFileJob", "extractCreationJob", "runFlowJobType", "publishDatasourceJob"];

impl JobStatus {
    pub(super) fn read(job: &Value) -> Option<Self> {
        let details = || DETAILS.iter().filter_map(|name| job.get(name));
        let target = |name: &str| details().find_map(|detail| wire::text(detail.get(name)?.get("id")));
        let status_notes: Vec<StatusNote> = wire::entries(job.get("statusNotes"), "statusNote")
            .into_iter()
            .map(|note| StatusNote {
                kind: wire::text(note.get("type")).unwrap_or_default(),
                value: wire::text(note.get("value")),
                text: wire::text(note.get("text")),
            })
            .collect();
        let mut notes: Vec<String> = std::iter::once(job).chain(details()).flat_map(notes_of).collect();
        notes.extend(status_notes.iter().filter_map(|note| note.text.clone()));
        Some(Self {
            id: wire::text(job.get("id"))?.into(),
            kind: wire::text(job.get("type")),
            progress: wire::count(job.get("progress")),
            finish_code: wire::number(job.get("finishCode")).map(FinishCode::of),
            created_at: wire::moment(job.get("createdAt")),
            started_at: wire::moment(job.get("startedAt")),
            updated_at: wire::moment(job.get("updatedAt")),
            completed_at: wire::moment(job.get("completedAt")),
            notes,
            status_notes,
            datasource: target("datasource").map(DatasourceId::from),
            workbook: target("workbook").map(WorkbookId::from),
        })
    }

    pub(super) fn without_secrets(mut self, scrubber: &Scrubber) -> Self {
        let notes = self.status_notes.iter_mut().flat_map(|note| [&mut note.value, &mut note.text]).flatten();
        for text in self.notes.iter_mut().chain(notes) {
            *text = scrubber.clean(text);
        }
        self
    }

    /// Whether it has ended. The finish code alone does not tell: it is absent or 0 or 1 while a job runs.
    pub fn is_complete(&self) -> bool {
        self.completed_at.is_some() || self.progress.is_some_and(|progress| progress >= 100)
    }

    /// Where it stands.
    pub fn state(&self) -> JobState {
        if !self.is_complete() {
            return JobState::Running;
        }
        match self.finish_code {
            Some(FinishCode::Success | FinishCode::BridgeDone) if self.names_an_error() => JobState::Failed,
            Some(FinishCode::Success | FinishCode::BridgeDone) => JobState::Succeeded,
            Some(FinishCode::Cancelled) => JobState::Cancelled,
            Some(FinishCode::Error | FinishCode::Other(_)) => JobState::Failed,
            // All done but not signed off: the code comes with the next look.
            None if self.completed_at.is_none() => JobState::Running,
            None if self.names_an_error() => JobState::Failed,
            None => JobState::Undetermined,
        }
    }

    fn names_an_error(&self) -> bool {
        self.status_notes.iter().any(|note| note.kind.eq_ignore_ascii_case("errorCode"))
    }
}

/// Notes come as one text, as a list of texts, or as objects with a text.
fn notes_of(holder: &Value) -> Vec<String> {
    match holder.get("notes") {
        Some(Value::Array(notes)) => {
            notes.iter().filter_map(|note| wire::text(Some(note)).or_else(|| wire::text(note.get("text")))).collect()
        }
        Some(Value::Object(notes)) => wire::text(notes.get("note")).into_iter().collect(),
        other => wire::text(other).into_iter().collect(),
    }
}
