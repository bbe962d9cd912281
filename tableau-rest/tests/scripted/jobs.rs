//! Waiting for jobs, and what their many endings mean.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tableau_rest::{ErrorKind, FinishCode, JobOutcome, JobStatus, UnknownReason, WaitPolicy};
use tokio::time::Instant;

use super::fake::{self, Answer};

const AT: &str = "2026-11-23T10:00:00Z";

fn job(fields: &Value) -> Answer {
    let mut job = json!({"id": "j-1", "mode": "Asynchronous"});
    job.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    fake::json(200, &json!({ "job": job }))
}

async fn wait(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> tableau_rest::Result<JobOutcome> {
    let (client, _) = fake::client(move |number, _| answer(number));
    client.jobs().handle("j-1".into()).wait(WaitPolicy::new(Duration::from_secs(3))).await
}

fn name(outcome: &JobOutcome) -> &'static str {
    match outcome {
        JobOutcome::Succeeded(_) => "succeeded",
        JobOutcome::Failed(_) => "failed",
        JobOutcome::Cancelled(_) => "cancelled",
        JobOutcome::StillRunning(_) => "running",
        JobOutcome::Unknown(_) => "unknown",
        _ => "other",
    }
}

#[tokio::test(start_paused = true)]
async fn every_ending_has_its_outcome() {
    let error_note = json!({"statusNote": [{"type": "errorCode", "value": "410012", "text": "no such table"}]});
    let table = [
        ("queued", json!({"progress": "0", "createdAt": AT}), "running"),
        ("publish, 1 while it runs", json!({"type": "PublishDatasource", "progress": 0, "finishCode": 1}), "running"),
        ("0 while it runs", json!({"progress": "50", "finishCode": "0"}), "running"),
        ("all done, no code yet", json!({"progress": "100"}), "running"),
        ("done", json!({"progress": "100", "completedAt": AT, "finishCode": "0"}), "succeeded"),
        ("done by progress", json!({"progress": "100", "finishCode": "0"}), "succeeded"),
        ("done by time", json!({"completedAt": AT, "finishCode": 0}), "succeeded"),
        ("through Bridge", json!({"completedAt": AT, "finishCode": "3"}), "succeeded"),
        ("never started", json!({"completedAt": AT, "progress": "100", "finishCode": "1"}), "failed"),
        ("0 with an error", json!({"completedAt": AT, "finishCode": 0, "statusNotes": error_note}), "failed"),
        ("no code but an error", json!({"completedAt": AT, "statusNotes": error_note}), "failed"),
        ("a new code", json!({"completedAt": AT, "finishCode": 9}), "failed"),
        ("cancelled", json!({"completedAt": AT, "finishCode": "2"}), "cancelled"),
        ("no code", json!({"completedAt": AT}), "unknown"),
    ];
    for (what, fields, expected) in table {
        let outcome = wait(move |_| job(&fields)).await.unwrap();
        assert_eq!(name(&outcome), expected, "{what}");
        assert_eq!(outcome.is_success(), expected == "succeeded", "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_learned_is_unknown_and_never_success() {
    for (status, code, reason) in [
        (404, "404018", UnknownReason::Forgotten),
        (400, "400031", UnknownReason::Forgotten),
        (403, "403004", UnknownReason::NotPermitted),
        (403, "403000", UnknownReason::NotPermitted),
    ] {
        let outcome = wait(move |_| fake::error(status, code)).await.unwrap();
        assert_eq!(outcome, JobOutcome::Unknown(reason), "{code}");
        assert!(!outcome.is_success() && outcome.status().is_none());
    }
    assert_eq!(
        wait(|_| job(&json!({ "completedAt": AT }))).await.unwrap(),
        JobOutcome::Unknown(UnknownReason::NoFinishCode)
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_forgotten_between_two_questions_is_unknown() {
    let outcome = wait(|number| if number < 3 { job(&json!({})) } else { fake::error(404, "404018") }).await;
    assert_eq!(outcome.unwrap(), JobOutcome::Unknown(UnknownReason::Forgotten));
}

#[tokio::test(start_paused = true)]
async fn what_the_server_tells_of_a_failure_is_kept() {
    let outcome = wait(|_| {
        job(&json!({"type": "UpdateUploadedFile", "completedAt": AT, "finishCode": "1",
            "updateUploadedFileJob": {"datasource": {"id": "d-1"}, "notes": "410012 no such table"}}))
    });
    let JobOutcome::Failed(status) = outcome.await.unwrap() else { panic!("it failed") };
    assert_eq!((status.finish_code, status.kind.as_deref()), (Some(FinishCode::Error), Some("UpdateUploadedFile")));
    assert_eq!(
        (status.notes.as_slice(), status.datasource),
        (&["410012 no such table".to_owned()][..], Some("d-1".into()))
    );
    let silent = wait(|_| job(&json!({"completedAt": AT, "finishCode": "1"}))).await.unwrap();
    assert!(silent.status().is_some_and(|status: &JobStatus| status.notes.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn questions_come_at_growing_distances_up_to_the_longest() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&asked);
    let (client, _) = fake::client(move |number, _| {
        times.lock().unwrap().push(Instant::now());
        if number < 20 { job(&json!({})) } else { job(&json!({"completedAt": AT, "finishCode": 0})) }
    });
    client.sign_in().await.unwrap();
    let begun = Instant::now();
    assert!(client.jobs().handle("j-1".into()).wait(WaitPolicy::default()).await.unwrap().is_success());
    let times = asked.lock().unwrap().clone();
    let mut before = begun;
    let mut expected = 0.1_f64;
    for at in times {
        let pause = (at - before).as_secs_f64();
        assert!((pause - expected).abs() < 0.02, "{pause} instead of {expected}");
        (before, expected) = (at, (expected * 1.5).min(30.0));
    }
    assert!(expected >= 30.0, "the longest pause was reached");
}

#[tokio::test(start_paused = true)]
async fn who_hears_of_the_end_elsewhere_asks_at_once() {
    let slow = WaitPolicy::new(Duration::from_hours(2)).first_poll(Duration::from_hours(1));
    // A nudge may come too early; then it is asked again soon. Without any, the pauses are those of the policy.
    for (ends, nudges, expected) in [(3, 3_u64, 13), (2, 1, 11), (1, 1, 10), (1, 0, 3_600)] {
        let ended = || job(&json!({"completedAt": AT, "finishCode": 0}));
        let (client, _) = fake::client(move |number, _| if number < ends { job(&json!({})) } else { ended() });
        client.sign_in().await.unwrap();
        let nudges = stream::iter(0..nudges).then(|_| tokio::time::sleep(Duration::from_secs(10)));
        let begun = Instant::now();
        let handle = client.jobs().handle("j-1".into());
        assert!(handle.wait_nudged(slow, nudges.boxed()).await.unwrap().is_success());
        assert_eq!(begun.elapsed().as_secs(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_its_limit_after_a_last_look() {
    let (client, log) = fake::client(|_, _| job(&json!({"progress": "10"})));
    client.sign_in().await.unwrap();
    let begun = Instant::now();
    let policy = WaitPolicy::new(Duration::from_secs(10)).longest_poll(Duration::from_secs(4));
    let outcome = client.jobs().handle("j-1".into()).wait(policy).await.unwrap();
    assert_eq!(outcome.status().unwrap().progress, Some(10));
    assert_eq!(name(&outcome), "running");
    assert!(begun.elapsed() >= Duration::from_secs(10) && begun.elapsed() < Duration::from_secs(11));
    assert_eq!(log.last().uri().path(), "/api/3.29/sites/site-1/jobs/j-1");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_for_a_moment_does_not_end_the_wait() {
    let away = |number: usize| {
        if number < 7 { fake::lost() } else { job(&json!({"completedAt": AT, "finishCode": 0})) }
    };
    let (client, _) = fake::client(move |number, _| away(number));
    let outcome = client.jobs().handle("j-1".into()).wait(WaitPolicy::default()).await.unwrap();
    assert!(outcome.is_success());
    let (client, _) = fake::client(|_, _| fake::lost());
    let error = client.jobs().handle("j-1".into()).wait(WaitPolicy::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
}

#[tokio::test]
async fn a_job_is_read_and_cancelled_by_its_id() {
    let (client, log) = fake::client(|_, request| match request.method() {
        &http::Method::PUT => fake::answer(200, ""),
        _ => job(&json!({"startedAt": AT})),
    });
    let status = client.jobs().get(&"j-1".into()).await.unwrap();
    assert_eq!((status.started_at, status.is_complete()), (Some(AT.parse().unwrap()), false));
    client.jobs().cancel(&"j-1".into()).await.unwrap();
    assert_eq!(log.lines(), ["GET jobs/j-1", "PUT jobs/j-1"]);
    for code in ["403091", "403081", "403080"] {
        let (client, _) = fake::client(move |_, _| fake::error(403, code));
        assert_eq!(client.jobs().cancel(&"j-1".into()).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
}
