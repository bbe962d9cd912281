//! Sessions: signed in once for all, renewed once, never against wrong credentials.

use serde_json::json;
use tableau_rest::{Client, ErrorKind};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::server::{InTurn, SECRET, SITE, body, builder, refused, requests, start};

async fn jobs_answer(server: &MockServer, answers: Vec<ResponseTemplate>) {
    Mock::given(method("GET"))
        .and(path(format!("{SITE}/jobs/j")))
        .respond_with(InTurn::new(answers))
        .mount(server)
        .await;
}

fn done() -> ResponseTemplate {
    let job = json!({"job": {"id": "j", "progress": "100", "completedAt": "2026-11-23T10:00:00Z", "finishCode": "0"}});
    ResponseTemplate::new(200).set_body_json(job)
}

#[tokio::test]
async fn many_calls_at_once_sign_in_once() {
    let server = start("3.29").await;
    jobs_answer(&server, vec![done()]).await;
    let client = builder(&server).build().unwrap();
    let job = "j".into();
    let calls = (0..16).map(|_| {
        let jobs = client.jobs();
        let job = &job;
        async move { jobs.get(job).await }
    });
    for result in futures_util::future::join_all(calls).await {
        result.unwrap();
    }
    let signs = requests(&server, "signin").await;
    assert_eq!(signs.len(), 1);
    assert_eq!(
        body(&signs[0]),
        json!({"credentials": {"personalAccessTokenName": "nightly", "personalAccessTokenSecret": SECRET,
            "site": {"contentUrl": "finance"}}})
    );
}

#[tokio::test]
async fn a_session_that_was_ended_is_renewed_once_and_the_call_sent_again() {
    let server = start("3.29").await;
    Mock::given(header("x-tableau-auth", "token-1")).respond_with(refused(401, "401002")).mount(&server).await;
    jobs_answer(&server, vec![done()]).await;
    let client = builder(&server).build().unwrap();
    client.jobs().get(&"j".into()).await.unwrap();
    assert_eq!(requests(&server, "signin").await.len(), 2);
}

#[tokio::test]
async fn a_session_that_ends_again_and_again_is_an_error_that_tells_why() {
    let server = start("3.29").await;
    jobs_answer(&server, vec![refused(401, "401002")]).await;
    let client = builder(&server).build().unwrap();
    let error = client.jobs().get(&"j".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.hint().unwrap().contains("one session at a time"), "{error}");
    assert_eq!(requests(&server, "signin").await.len(), 2);
}

#[tokio::test]
async fn wrong_credentials_are_tried_once_and_never_shown() {
    let server = MockServer::start().await;
    Mock::given(path("/api/3.29/serverinfo"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"serverInfo": {"restApiVersion": "3.29"}})))
        .mount(&server)
        .await;
    Mock::given(path("/api/3.29/auth/signin"))
        .respond_with(refused(401, "401001").set_body_json(json!({"error": {
            "summary": "Signin Error", "detail": format!("wrong: {SECRET}"), "code": "401001"}})))
        .mount(&server)
        .await;
    let client: Client = builder(&server).build().unwrap();
    for _ in 0..3 {
        let error = client.jobs().get(&"j".into()).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Auth, Some("401001")));
        let shown = format!("{error} {error:?} {:?} {client:?}", error.detail());
        assert!(!shown.contains(SECRET), "{shown}");
    }
    assert_eq!(requests(&server, "signin").await.len(), 1);
}

#[tokio::test]
async fn signing_out_ends_the_session_and_a_gone_one_is_fine() {
    let server = start("3.29").await;
    Mock::given(path("/api/3.29/auth/signout")).respond_with(refused(401, "401002")).expect(1).mount(&server).await;
    let client = builder(&server).build().unwrap();
    client.sign_out().await.unwrap();
    client.sign_in().await.unwrap();
    client.sign_out().await.unwrap();
    client.sign_out().await.unwrap();
}

#[tokio::test]
async fn an_older_server_is_spoken_to_in_its_own_version() {
    let server = start("3.20").await;
    Mock::given(path("/api/3.20/sites/site-1/jobs/j")).respond_with(done()).expect(1).mount(&server).await;
    let client = builder(&server).build().unwrap();
    client.jobs().get(&"j".into()).await.unwrap();
    assert_eq!(client.api_version().await.unwrap().to_string(), "3.20");
}

#[tokio::test]
async fn errors_are_read_from_json_xml_and_pages() {
    let server = start("3.29").await;
    let xml = "<tsResponse xmlns=\"http://tableau.com/api\"><error code=\"404018\"><summary>S</summary><detail>D</detail></error></tsResponse>";
    let answers = vec![
        refused(404, "404018"),
        ResponseTemplate::new(404).set_body_raw(xml, "application/xml"),
        ResponseTemplate::new(404).set_body_raw("<html>nothing here</html>", "text/html"),
    ];
    jobs_answer(&server, answers).await;
    let client = builder(&server).build().unwrap();
    let mut codes = Vec::new();
    for _ in 0..3 {
        let error = client.jobs().get(&"j".into()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        codes.push(error.code().map(str::to_owned));
    }
    assert_eq!(codes, [Some("404018".to_owned()), Some("404018".to_owned()), None]);
}
