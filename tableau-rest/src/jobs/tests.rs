//! What the many answers about a job mean.

use serde_json::{Value, json};

use super::{FinishCode, JobState, JobStatus};

fn read(job: Value) -> JobStatus {
    let mut job = job;
    job["id"] = "j".into();
    JobStatus::read(&job).unwrap()
}

const AT: &str = "2026-11-23T10:00:00Z";

#[test]
fn every_combination_of_end_and_code_has_its_meaning() {
    let error_note = json!({"statusNote": [{"type": "errorCode", "value": "410012", "text": "no such table"}]});
    let table = [
        ("queued", json!({"progress": "0", "createdAt": AT}), JobState::Running),
        ("running", json!({"progress": "0", "createdAt": AT, "startedAt": AT}), JobState::Running),
        (
            "publish says 1 while it runs",
            json!({"type": "PublishDatasource", "progress": 0, "finishCode": 1}),
            JobState::Running,
        ),
        ("0 while it runs", json!({"progress": "50", "finishCode": "0"}), JobState::Running),
        ("nothing said at all", json!({}), JobState::Running),
        ("done", json!({"progress": "100", "completedAt": AT, "finishCode": "0"}), JobState::Succeeded),
        ("done by progress alone", json!({"progress": 100, "finishCode": 0}), JobState::Succeeded),
        ("done by time alone", json!({"completedAt": AT, "finishCode": 0}), JobState::Succeeded),
        ("never started but ended", json!({"completedAt": AT, "progress": "100", "finishCode": "1"}), JobState::Failed),
        ("bridge", json!({"completedAt": AT, "finishCode": "3"}), JobState::Succeeded),
        ("failed without notes", json!({"completedAt": AT, "finishCode": 1}), JobState::Failed),
        ("cancelled", json!({"completedAt": AT, "finishCode": "2"}), JobState::Cancelled),
        ("unknown code", json!({"completedAt": AT, "finishCode": 7}), JobState::Failed),
        (
            "0 with an error code",
            json!({"completedAt": AT, "finishCode": 0, "statusNotes": error_note}),
            JobState::Failed,
        ),
        ("ended without code", json!({"completedAt": AT}), JobState::Undetermined),
        ("100 without code and time", json!({"progress": 100}), JobState::Running),
    ];
    for (what, job, expected) in table {
        assert_eq!(read(job).state(), expected, "{what}");
    }
}

#[test]
fn notes_and_targets_are_kept_whatever_the_type_of_job() {
    let job = read(json!({
        "type": "UpdateUploadedFile", "completedAt": "2026-11-23T03:00:00-0700", "finishCode": "1",
        "updateUploadedFileJob": {"datasource": {"id": "d", "name": "x"}, "notes": "table missing"},
        "statusNotes": {"statusNote": {"type": "errorCode", "value": "410012", "text": "more"}}
    }));
    assert_eq!(job.finish_code, Some(FinishCode::Error));
    assert_eq!(job.completed_at, Some(AT.parse().unwrap()));
    assert_eq!(job.datasource.unwrap().as_str(), "d");
    assert_eq!(job.notes, ["table missing", "more"]);
    assert_eq!(job.status_notes[0].value.as_deref(), Some("410012"));
    let refresh = read(json!({"extractRefreshJob": {"workbook": {"id": "w"}, "notes": ["a", {"text": "b"}]}}));
    assert_eq!(refresh.workbook.unwrap().as_str(), "w");
    assert_eq!(refresh.notes, ["a", "b"]);
}
