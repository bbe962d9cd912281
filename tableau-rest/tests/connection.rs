//! How connections break, where they must not lead, and an update from its first block to the end of its job.

use std::time::Duration;

use serde_json::{Value, json};
use tableau_rest::{
    Action, Client, Condition, Delivery, ErrorKind, FileSource, FileType, RetryPolicy, UpdateData, WaitPolicy, source,
    target,
};
use wiremock::matchers::{header, method, path, path_regex, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::server::{SECRET, SITE, builder, refused, start};

fn json(status: u16, body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

async fn sent(server: &MockServer, verb: &str) -> Vec<Request> {
    let all = server.received_requests().await.unwrap();
    all.into_iter().filter(|request| request.url.path().starts_with(SITE) && request.method == verb).collect()
}

/// The length is announced and right, and the body is not sent in pieces of unknown number.
fn has_known_length(request: &Request) {
    assert_eq!(request.headers["content-length"].to_str().unwrap(), request.body.len().to_string());
    assert!(!request.headers.contains_key("transfer-encoding"));
}

#[tokio::test]
async fn an_update_in_blocks_arrives_and_its_job_is_waited_for() {
    let server = start("3.29").await;
    let upload = json!({"fileUpload": {"uploadSessionId": "7720:ab-1:0", "fileSize": "0"}});
    Mock::given(method("POST"))
        .and(path(format!("{SITE}/fileUploads")))
        .respond_with(json(201, &upload))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("PUT"))
        .and(path(format!("{SITE}/fileUploads/7720:ab-1:0")))
        .respond_with(json(200, &upload))
        .expect(3)
        .mount(&server)
        .await;
    Mock::given(method("PATCH"))
        .and(path(format!("{SITE}/datasources/d-1/data")))
        .and(query_param("uploadSessionId", "7720:ab-1:0"))
        .and(header("requestid", "r-1"))
        .respond_with(json(202, &json!({"job": {"id": "j-1", "type": "UpdateUploadedFile"}})))
        .expect(1)
        .mount(&server)
        .await;
    let running = json!({"job": {"id": "j-1", "progress": "0"}});
    let jobs = || Mock::given(method("GET")).and(path(format!("{SITE}/jobs/j-1")));
    jobs().respond_with(json(200, &running)).up_to_n_times(2).expect(2).mount(&server).await;
    let done =
        json!({"job": {"id": "j-1", "progress": "100", "finishCode": "0", "completedAt": "2026-11-23T10:00:00Z"}});
    jobs().respond_with(json(200, &done)).expect(1).mount(&server).await;

    let client = builder(&server).chunk_size(4).build().unwrap();
    let update = UpdateData::new("r-1").action(Action::upsert(Condition::eq(target("k"), source("k"))));
    let file = FileSource::bytes(FileType::Hyper, &b"0123456789"[..]);
    let job = client.datasources().update_data(&"d-1".into(), update, Some(file)).await.unwrap();
    let policy = WaitPolicy::default().first_poll(Duration::from_millis(1));
    assert!(job.wait(policy).await.unwrap().is_success());

    let blocks = sent(&server, "PUT").await;
    let numbers: Vec<_> = blocks.iter().map(|block| block.url.query().unwrap().to_owned()).collect();
    assert_eq!(numbers, ["sequenceID=0", "sequenceID=1", "sequenceID=2"]);
    for (block, content) in blocks.iter().zip(["0123", "4567", "89"]) {
        has_known_length(block);
        let kind = block.headers["content-type"].to_str().unwrap();
        let boundary = kind.strip_prefix("multipart/mixed; boundary=").unwrap();
        let expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"request_payload\"\r\nContent-Type: text/xml\r\n\r\n\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"tableau_file\"; filename=\"block\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n{content}\r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8_lossy(&block.body), expected);
    }
    has_known_length(&sent(&server, "POST").await[0]);
    let patch = &sent(&server, "PATCH").await[0];
    has_known_length(patch);
    assert_eq!(
        patch.body_json::<Value>().unwrap(),
        json!({"actions": [{"action": "upsert", "target-schema": "Extract", "target-table": "Extract",
            "source-schema": "Extract", "source-table": "Extract",
            "condition": {"op": "eq", "target-col": "k", "source-col": "k"}}]})
    );
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_lost_and_a_change_is_not_repeated() {
    let server = start("3.29").await;
    let late = json(202, &json!({"job": {"id": "j-1"}})).set_delay(Duration::from_secs(30));
    Mock::given(method("POST")).and(path_regex("refresh$")).respond_with(late).mount(&server).await;
    let client = builder(&server).timeout(Duration::from_millis(500)).build().unwrap();
    client.sign_in().await.unwrap();
    let error = client.datasources().refresh(&"d-1".into()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
    assert_eq!(sent(&server, "POST").await.len(), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_has_not_seen_the_request() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client =
        Client::builder(format!("http://{free}")).password("u", SECRET).retry(RetryPolicy::none()).build().unwrap();
    let error = client.datasources().refresh(&"d-1".into()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::NotSent));
}

#[tokio::test]
async fn a_redirect_is_reported_and_never_followed() {
    let (server, elsewhere) = (start("3.29").await, MockServer::start().await);
    let moved = ResponseTemplate::new(301).insert_header("location", format!("{}/x", elsewhere.uri()));
    Mock::given(method("GET")).and(path(format!("{SITE}/datasources/d-1"))).respond_with(moved).mount(&server).await;
    let error = builder(&server).build().unwrap().datasources().get(&"d-1".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint().unwrap().contains("127.0.0.1"));
    assert!(elsewhere.received_requests().await.unwrap().is_empty(), "the session went nowhere else");
}

#[tokio::test]
async fn a_download_is_there_whole_or_not_at_all() {
    let server = start("3.29").await;
    let content: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let file = ResponseTemplate::new(200)
        .set_body_bytes(content.clone())
        .insert_header("content-disposition", "name=\"tableau_datasource\"; filename=\"../AP.tdsx\"");
    Mock::given(method("GET"))
        .and(path(format!("{SITE}/datasources/d-1/content")))
        .and(query_param("includeExtract", "true"))
        .respond_with(file)
        .mount(&server)
        .await;
    let client = builder(&server).build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("AP.tdsx");
    let download = client.datasources().download(&"d-1".into()).await.unwrap();
    assert_eq!((download.file_name.as_deref(), download.size), (Some("AP.tdsx"), Some(300_000)));
    assert_eq!(download.save(&target).await.unwrap(), 300_000);
    assert!(std::fs::read(&target).unwrap() == content);

    let mut short = client.datasources().download(&"d-1".into()).await.unwrap();
    short.size = Some(300_001);
    let other = directory.path().join("other.tdsx");
    assert_eq!(short.save(&other).await.unwrap_err().kind(), ErrorKind::Transport);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing half is left behind");
}

#[tokio::test]
async fn a_download_that_is_refused_is_an_error_with_its_code() {
    let server = start("3.29").await;
    Mock::given(method("GET")).and(path_regex("content$")).respond_with(refused(403, "403028")).mount(&server).await;
    let error = builder(&server).build().unwrap().datasources().download(&"d-1".into()).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Forbidden, Some("403028")));
}
