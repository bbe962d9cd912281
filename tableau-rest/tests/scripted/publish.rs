//! Publishing: in one request, in blocks, and with answers that are lost on the way.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use serde_json::json;
use tableau_rest::{Client, ClientBuilder, Delivery, ErrorKind, FileSource, FileType, PublishRequest, Published};

use super::fake::{self, Answer};

const CONTENT: &[u8] = b"0123456789abc";

fn request() -> PublishRequest {
    PublishRequest::new("p-1".into(), "AP invoices", FileSource::bytes(FileType::Hyper, CONTENT))
}

/// Takes uploads; each begins a session `7:s-N`. The closure may answer instead.
fn uploads(
    instead: impl Fn(usize, &Request<Bytes>) -> Option<Answer> + Send + Sync + 'static,
) -> impl Fn(usize, &Request<Bytes>) -> Answer + Send + Sync + 'static {
    let sessions = Mutex::new(0);
    move |number, request| {
        if let Some(answer) = instead(number, request) {
            return answer;
        }
        let path = request.uri().path();
        if path.ends_with("/fileUploads") {
            let mut sessions = sessions.lock().unwrap();
            *sessions += 1;
            let id = format!("7:s-{sessions}");
            return fake::json(201, &json!({"fileUpload": {"uploadSessionId": id, "fileSize": "0"}}));
        }
        if path.contains("/fileUploads/") {
            return fake::json(200, &json!({"fileUpload": {"uploadSessionId": "x", "fileSize": "1"}}));
        }
        fake::datasource()
    }
}

/// Of a server that has no datasource of the name yet, and whose listings are not remembered.
fn quiet<T>((client, log): (T, Arc<fake::Log>)) -> (T, Arc<fake::Log>) {
    log.names_are_free();
    (client, log)
}

fn blocks(builder: ClientBuilder) -> Client {
    builder.chunk_size(5).build().unwrap()
}

fn published(result: Published) -> String {
    match result {
        Published::Datasource(datasource) => datasource.id.into_string(),
        Published::Job(job) => format!("job {}", job.id()),
    }
}

#[tokio::test]
async fn a_small_file_goes_in_one_request_with_exactly_these_bytes() {
    let (client, log) = quiet(fake::client(|_, _| fake::datasource()));
    let name = "A/P \"Kreditoren\" <&> 'ß'";
    let request = PublishRequest::new("p-1".into(), name, FileSource::bytes(FileType::Hyper, CONTENT));
    assert_eq!(published(client.datasources().publish(request.description("x\"y")).await.unwrap()), "d-1");
    let sent = log.last();
    assert_eq!(fake::line(&sent), "POST datasources");
    let payload = "<tsRequest><datasource name=\"A/P &quot;Kreditoren&quot; &lt;&amp;&gt; &apos;ß&apos;\" \
                   description=\"x&quot;y\"><project id=\"p-1\"/></datasource></tsRequest>";
    let file = "Content-Disposition: form-data; name=\"tableau_datasource\"; filename=\"datasource.hyper\"\r\n\
                Content-Type: application/octet-stream";
    let kind = sent.headers()["content-type"].to_str().unwrap();
    let expected = fake::multipart(kind, &[(fake::PAYLOAD, payload.as_bytes()), (file, CONTENT)]);
    assert_eq!(sent.body(), &expected);
    assert_eq!(sent.headers()["accept"], "application/json");
}

#[tokio::test]
async fn options_travel_in_the_query_and_a_job_is_handed_on() {
    let (client, log) = quiet(fake::client(|_, _| fake::job()));
    let result = client.datasources().publish(request().overwrite().as_job()).await.unwrap();
    assert_eq!(published(result), "job j-1");
    assert_eq!(log.lines(), ["POST datasources?overwrite=true&asJob=true"]);
    // A server that publishes at once although a job was asked for is understood too.
    let (client, _) = quiet(fake::client(|_, _| fake::datasource()));
    assert_eq!(published(client.datasources().publish(request().as_job()).await.unwrap()), "d-1");
}

#[tokio::test]
async fn a_large_file_goes_in_numbered_blocks() {
    let (builder, log) = quiet(fake::builder(uploads(|_, _| None)));
    assert_eq!(published(blocks(builder).datasources().publish(request().as_job()).await.unwrap()), "d-1");
    assert_eq!(
        log.lines(),
        [
            "POST fileUploads",
            "PUT fileUploads/7:s-1?sequenceID=0",
            "PUT fileUploads/7:s-1?sequenceID=1",
            "PUT fileUploads/7:s-1?sequenceID=2",
            "POST datasources?asJob=true&uploadSessionId=7%3As-1&datasourceType=hyper",
        ]
    );
    let calls = log.calls();
    assert_eq!(calls[0].headers()["content-length"], "0");
    let sent: Vec<_> = calls[1..4].iter().map(fake::block).collect();
    assert_eq!(sent, [&b"01234"[..], b"56789", b"abc"]);
    let payload = b"<tsRequest><datasource name=\"AP invoices\"><project id=\"p-1\"/></datasource></tsRequest>";
    let kind = calls[4].headers()["content-type"].to_str().unwrap();
    assert_eq!(calls[4].body(), &fake::multipart(kind, &[(fake::PAYLOAD, payload)]), "the commit carries no file");
}

#[tokio::test]
async fn a_file_from_disk_is_never_in_memory_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("invoices.hyper");
    let content: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    std::fs::write(&path, &content).unwrap();
    let (builder, log) = quiet(fake::builder(uploads(|_, _| None)));
    let client = builder.chunk_size(64 * 1024).build().unwrap();
    client.datasources().publish(PublishRequest::new("p-1".into(), "x", FileSource::path(&path))).await.unwrap();
    let calls = log.calls();
    assert!(calls.iter().all(|call| call.body().len() < 65 * 1024));
    let sent: Vec<u8> = calls[1..calls.len() - 1].iter().flat_map(fake::block).collect();
    assert!(sent == content);
}

#[tokio::test]
async fn an_old_server_gets_blocks_without_numbers_one_after_the_other() {
    let (builder, log) = quiet(fake::builder_at("3.26", uploads(|_, _| None)));
    blocks(builder).datasources().publish(request()).await.unwrap();
    assert_eq!(
        log.lines(),
        [
            "POST fileUploads",
            "PUT fileUploads/7:s-1",
            "PUT fileUploads/7:s-1",
            "PUT fileUploads/7:s-1",
            "POST datasources?uploadSessionId=7%3As-1&datasourceType=hyper",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_numbered_block_whose_answer_was_lost_is_sent_again_unchanged() {
    let (builder, log) = quiet(fake::builder(uploads(|number, _| (number == 3).then(fake::lost))));
    blocks(builder).datasources().publish(request()).await.unwrap();
    let lines = log.lines();
    assert_eq!(lines[2], "PUT fileUploads/7:s-1?sequenceID=1");
    assert_eq!(lines[3], lines[2]);
    assert_eq!(log.calls()[2].body(), log.calls()[3].body());
    assert_eq!((lines.len(), lines[4].as_str()), (6, "PUT fileUploads/7:s-1?sequenceID=2"));
}

#[tokio::test(start_paused = true)]
async fn a_block_without_number_whose_answer_was_lost_makes_the_upload_begin_anew() {
    for trouble in [fake::lost as fn() -> Answer, || fake::answer(504, ""), || fake::answer(500, "")] {
        let (builder, log) = quiet(fake::builder_at("3.26", uploads(move |number, _| (number == 3).then(trouble))));
        blocks(builder).datasources().publish(request()).await.unwrap();
        assert_eq!(
            log.lines(),
            [
                "POST fileUploads",
                "PUT fileUploads/7:s-1",
                "PUT fileUploads/7:s-1",
                "POST fileUploads",
                "PUT fileUploads/7:s-2",
                "PUT fileUploads/7:s-2",
                "PUT fileUploads/7:s-2",
                "POST datasources?uploadSessionId=7%3As-2&datasourceType=hyper",
            ]
        );
        let sent: Vec<u8> = log.calls()[4..7].iter().flat_map(fake::block).collect();
        assert_eq!(sent, CONTENT);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_lapsed_begins_anew() {
    let (builder, log) = quiet(fake::builder(uploads(|number, _| (number == 3).then(|| fake::error(404, "404015")))));
    blocks(builder).datasources().publish(request()).await.unwrap();
    let lines = log.lines();
    assert_eq!((lines.len(), lines[3].as_str()), (8, "POST fileUploads"));
    assert!(lines[7].contains("7%3As-2"));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_never_succeeds_ends_and_has_published_nothing() {
    for version in ["3.26", "3.29"] {
        let (builder, log) = quiet(fake::builder_at(
            version,
            uploads(|_, request| request.uri().path().contains("/fileUploads/").then(fake::lost)),
        ));
        let error = blocks(builder).datasources().publish(request()).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::NotSent));
        assert_eq!(error.operation(), "publish datasource");
        let begun = log.lines().iter().filter(|line| *line == "POST fileUploads").count();
        assert_eq!(begun, 3, "{version}");
        assert!(!log.lines().iter().any(|line| line.starts_with("POST datasources")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_that_is_refused_is_not_uploaded_three_times() {
    let (builder, log) = quiet(fake::builder(uploads(|number, _| match number {
        2 => Some(fake::lost()),
        3 => Some(fake::error(400, "400016")),
        _ => None,
    })));
    let error = blocks(builder).datasources().publish(request()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::PayloadTooLarge, Delivery::NotSent));
    assert_eq!(log.calls().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_publish_whose_answer_was_lost_is_not_repeated_unless_it_overwrites() {
    let once = |number, _: &Request<Bytes>| if number == 1 { fake::lost() } else { fake::datasource() };
    let (client, log) = quiet(fake::client(once));
    let error = client.datasources().publish(request()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
    assert!(error.hint().unwrap().contains("look at the state"));
    assert_eq!(log.calls().len(), 1);
    let (client, log) = quiet(fake::client(once));
    client.datasources().publish(request().overwrite()).await.unwrap();
    assert_eq!(log.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_was_lost_is_repeated_with_an_upload_of_its_own_or_not_at_all() {
    let lost_commit = || uploads(|number, _| (number == 5).then(fake::lost));
    let (builder, log) = quiet(fake::builder(lost_commit()));
    let error = blocks(builder).datasources().publish(request()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
    assert_eq!(log.calls().len(), 5);
    let (builder, log) = quiet(fake::builder(lost_commit()));
    blocks(builder).datasources().publish(request().overwrite()).await.unwrap();
    let commits: Vec<_> = log.lines().into_iter().filter(|line| line.starts_with("POST datasources")).collect();
    assert_eq!(
        commits,
        [
            "POST datasources?overwrite=true&uploadSessionId=7%3As-1&datasourceType=hyper",
            "POST datasources?overwrite=true&uploadSessionId=7%3As-2&datasourceType=hyper",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_commit_is_not_forgotten_when_the_next_attempt_fails_in_another_way() {
    type Next = fn() -> Answer;
    let table: [(&str, Next, &str); 3] = [
        ("the next upload fails", fake::unreachable, "/fileUploads"),
        ("somebody changes it, and that is us", || fake::error(403, "403131"), "/datasources"),
        ("the upload is gone", || fake::error(404, "404015"), "/datasources"),
    ];
    for (what, next, place) in table {
        let (builder, _) = quiet(fake::builder(uploads(move |number, request| match number {
            0..=4 => None,
            5 => Some(fake::lost()),
            _ => request.uri().path().ends_with(place).then(next),
        })));
        let error = blocks(builder).datasources().publish(request().overwrite()).await.unwrap_err();
        assert_eq!(error.delivery(), Delivery::Unknown, "{what}");
    }
}

#[tokio::test]
async fn a_taken_name_is_refused_and_nothing_has_happened() {
    let (client, log) = quiet(fake::client(|_, _| fake::error(403, "403007")));
    let error = client.datasources().publish(request()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery(), error.code()),
        (ErrorKind::Forbidden, Delivery::Answered, Some("403007"))
    );
    assert!(error.hint().unwrap().contains("name is taken"));
    assert_eq!(log.calls().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_published_is_refused_before_anything_is_sent() {
    let (client, log) = quiet(fake::client(|_, _| fake::datasource()));
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("a.csv");
    std::fs::write(&text, "a,b").unwrap();
    let table = [
        ("missing", FileSource::path(directory.path().join("none.hyper")), ErrorKind::File),
        ("a directory", FileSource::path(directory.path()).file_type(FileType::Hyper), ErrorKind::File),
        ("another type", FileSource::path(text), ErrorKind::Config),
        ("empty", FileSource::bytes(FileType::Hyper, Bytes::new()), ErrorKind::Config),
    ];
    for (what, file, kind) in table {
        let request = PublishRequest::new("p-1".into(), "x", file);
        let error = client.datasources().publish(request).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (kind, Delivery::NotSent), "{what}");
    }
    for name in ["", "  ", &"x".repeat(256)] {
        let file = FileSource::bytes(FileType::Hyper, CONTENT);
        let error = client.datasources().publish(PublishRequest::new("p-1".into(), name, file)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
    assert!(log.all().is_empty());
}

#[tokio::test]
async fn a_file_that_changes_while_it_goes_up_is_not_committed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.hyper");
    std::fs::write(&path, CONTENT).unwrap();
    let grows = path.clone();
    let (builder, log) = quiet(fake::builder(uploads(move |number, _| {
        if number == 2 {
            std::fs::write(&grows, [CONTENT, b"more"].concat()).unwrap();
        }
        None
    })));
    let request = PublishRequest::new("p-1".into(), "x", FileSource::path(&path));
    let error = blocks(builder).datasources().publish(request).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::File, Delivery::NotSent));
    assert!(!log.lines().iter().any(|line| line.starts_with("POST datasources")));
}
