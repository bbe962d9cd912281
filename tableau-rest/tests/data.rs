//! Update Data in Hyper, refreshes and jobs.

use std::time::Duration;

use serde_json::json;
use tableau_rest::{
    Action, Condition, ErrorKind, FileSource, FileType, JobOutcome, Refresh, UnknownReason, UpdateData, WaitPolicy,
    source, target,
};
use wiremock::matchers::{method, path};
use wiremock::{Mock, ResponseTemplate};

use crate::server::{InTurn, SITE, body, builder, job, lost, refused, requests, start};

fn update() -> UpdateData {
    UpdateData::new("request-7").action(Action::upsert(Condition::eq(target("Id"), source("Id"))))
}

fn rows() -> FileSource {
    FileSource::bytes(FileType::Hyper, &b"rows"[..])
}

#[tokio::test]
async fn an_update_carries_its_request_id_and_a_lost_answer_makes_it_run_again_under_the_same() {
    let server = start("3.29").await;
    let begun = json!({"fileUpload": {"uploadSessionId": "u"}});
    Mock::given(path(format!("{SITE}/fileUploads")))
        .respond_with(ResponseTemplate::new(201).set_body_json(begun))
        .expect(2)
        .mount(&server)
        .await;
    Mock::given(path(format!("{SITE}/fileUploads/u")))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"fileUpload": {}})))
        .mount(&server)
        .await;
    Mock::given(method("PATCH"))
        .and(path(format!("{SITE}/datasources/d/data")))
        .respond_with(InTurn::new(vec![lost(), job()]))
        .mount(&server)
        .await;
    let client = builder(&server).build().unwrap();
    let job = client.datasources().update_data(&"d".into(), update(), Some(rows())).await.unwrap();
    assert_eq!(job.id().as_str(), "job-1");
    let patches = requests(&server, "/data").await;
    let patches: Vec<_> = patches.iter().filter(|request| request.method.as_str() == "PATCH").collect();
    assert_eq!(patches.len(), 2);
    for patch in patches {
        assert_eq!(patch.headers.get("requestid").unwrap(), "request-7");
        assert_eq!(patch.url.query(), Some("uploadSessionId=u"));
        assert_eq!(body(patch)["actions"][0]["condition"], json!({"op": "eq", "target-col": "Id", "source-col": "Id"}));
    }
}

#[tokio::test]
async fn refusals_of_an_update_are_told_apart() {
    for (status, code, kind) in [
        (409, "409094", ErrorKind::UpdateInProgress),
        (413, "413000", ErrorKind::PayloadTooLarge),
        (404, "404004", ErrorKind::NotFound),
    ] {
        let server = start("3.29").await;
        Mock::given(method("PATCH")).respond_with(refused(status, code)).mount(&server).await;
        let delete = UpdateData::new("r").action(Action::delete(Condition::always()));
        let client = builder(&server).build().unwrap();
        let error = client.datasources().update_data(&"d".into(), delete, None).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (kind, Some(code)));
    }
    let old = start("3.11").await;
    let client = builder(&old).build().unwrap();
    let error = client.datasources().update_data(&"d".into(), update(), Some(rows())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_refresh_starts_is_queued_already_or_has_nothing_to_refresh() {
    let server = start("3.29").await;
    Mock::given(path(format!("{SITE}/datasources/d/refresh")))
        .respond_with(InTurn::new(vec![job(), refused(409, "409093"), refused(403, "403104"), refused(409, "409090")]))
        .mount(&server)
        .await;
    let datasources = builder(&server).build().unwrap().datasources();
    assert!(
        matches!(datasources.refresh(&"d".into()).await.unwrap(), Refresh::Started(job) if job.id().as_str() == "job-1")
    );
    assert!(matches!(datasources.refresh(&"d".into()).await.unwrap(), Refresh::AlreadyQueued));
    for _ in 0..2 {
        assert_eq!(datasources.refresh(&"d".into()).await.unwrap_err().kind(), ErrorKind::NoUpstream);
    }
}

async fn outcome(answers: Vec<ResponseTemplate>) -> JobOutcome {
    let server = start("3.29").await;
    Mock::given(path(format!("{SITE}/jobs/j"))).respond_with(InTurn::new(answers)).mount(&server).await;
    let wait = WaitPolicy::new(Duration::from_millis(400))
        .first_poll(Duration::from_millis(1))
        .longest_poll(Duration::from_millis(2));
    builder(&server).build().unwrap().jobs().handle("j".into()).wait(wait).await.unwrap()
}

fn state(fields: &serde_json::Value) -> ResponseTemplate {
    let mut job = json!({"id": "j", "type": "PublishDatasource"});
    for (name, value) in fields.as_object().unwrap() {
        job[name] = value.clone();
    }
    ResponseTemplate::new(200).set_body_json(json!({ "job": job }))
}

#[tokio::test]
async fn a_job_is_waited_for_by_its_end_and_not_by_its_code() {
    // A publish says 1 while it runs.
    let running = state(&json!({"progress": "0", "finishCode": "1"}));
    let done = state(&json!({"progress": "100", "finishCode": "0", "completedAt": "2026-11-23T10:00:00Z"}));
    assert!(outcome(vec![running.clone(), lost(), running.clone(), done]).await.is_success());
    let failed = state(&json!({"progress": "100", "finishCode": "1", "completedAt": "2026-11-23T10:00:00Z",
        "statusNotes": {"statusNote": [{"type": "errorMessage", "value": "", "text": "no such table"}]}}));
    let JobOutcome::Failed(status) = outcome(vec![failed]).await else { panic!("it failed") };
    assert_eq!(status.notes, ["no such table"]);
    let cancelled = state(&json!({"progress": "100", "finishCode": "2", "completedAt": "2026-11-23T10:00:00Z"}));
    assert!(matches!(outcome(vec![cancelled]).await, JobOutcome::Cancelled(_)));
    assert!(matches!(outcome(vec![running]).await, JobOutcome::StillRunning(_)));
    assert_eq!(outcome(vec![refused(404, "404018")]).await, JobOutcome::Unknown(UnknownReason::Forgotten));
    assert_eq!(outcome(vec![refused(403, "403004")]).await, JobOutcome::Unknown(UnknownReason::NotPermitted));
}
