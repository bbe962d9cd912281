//! Publishing: the bytes on the wire, blocks, and answers that get lost.

use tableau_rest::{Client, Delivery, ErrorKind, FileSource, FileType, PublishRequest, Published};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::server::{InTurn, builder, job, lost, refused, requests, start};

fn file(bytes: &'static [u8]) -> FileSource {
    FileSource::bytes(FileType::Hyper, bytes)
}

fn request(bytes: &'static [u8]) -> PublishRequest {
    PublishRequest::new("p<1>".into(), "A & \"B\"", file(bytes))
}

fn published() -> ResponseTemplate {
    ResponseTemplate::new(201).set_body_json(serde_json::json!({"datasource": {"id": "d", "name": "A"}}))
}

fn text(request: &Request) -> String {
    String::from_utf8_lossy(&request.body).into_owned()
}

/// A server of a version that takes blocks and publishes.
async fn uploads(version: &str, blocks: Vec<ResponseTemplate>, commits: Vec<ResponseTemplate>) -> MockServer {
    let server = start(version).await;
    let site = format!("/api/{version}/sites/site-1");
    let begun = serde_json::json!({"fileUpload": {"uploadSessionId": "7:ab:0", "fileSize": "0"}});
    Mock::given(method("POST"))
        .and(path(format!("{site}/fileUploads")))
        .respond_with(ResponseTemplate::new(201).set_body_json(begun))
        .mount(&server)
        .await;
    Mock::given(method("PUT"))
        .and(path(format!("{site}/fileUploads/7:ab:0")))
        .respond_with(InTurn::new(blocks))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path(format!("{site}/datasources")))
        .respond_with(InTurn::new(commits))
        .mount(&server)
        .await;
    server
}

fn taken() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(serde_json::json!({"fileUpload": {"fileSize": "1"}}))
}

fn small_chunks(server: &MockServer) -> Client {
    builder(server).chunk_size(4).build().unwrap()
}

/// The contents of the file parts, in the order of the requests.
fn contents(requests: &[Request]) -> Vec<String> {
    requests
        .iter()
        .map(|request| {
            let text = text(request);
            let (_, behind) = text.split_once("application/octet-stream\r\n\r\n").unwrap();
            behind.split("\r\n--").next().unwrap().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn a_small_file_goes_in_one_request_of_two_parts() {
    let server = uploads("3.29", vec![], vec![published()]).await;
    let client = builder(&server).build().unwrap();
    let Published::Datasource(done) =
        client.datasources().publish(request(b"bytes of the file").overwrite()).await.unwrap()
    else {
        panic!("it is no job")
    };
    assert_eq!(done.id.as_str(), "d");
    let sent = requests(&server, "/datasources").await.remove(0);
    assert_eq!(sent.url.query(), Some("overwrite=true"));
    let kind = sent.headers.get("content-type").unwrap().to_str().unwrap();
    let boundary = kind.strip_prefix("multipart/mixed; boundary=").unwrap();
    assert_eq!(
        text(&sent),
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"request_payload\"\r\nContent-Type: text/xml\r\n\r\n\
             <tsRequest><datasource name=\"A &amp; &quot;B&quot;\"><project id=\"p&lt;1&gt;\"/></datasource></tsRequest>\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"tableau_datasource\"; filename=\"datasource.hyper\"\r\n\
             Content-Type: application/octet-stream\r\n\r\nbytes of the file\r\n--{boundary}--\r\n"
        )
    );
    assert!(sent.headers.contains_key("content-length"));
}

#[tokio::test]
async fn a_large_file_goes_in_numbered_blocks_and_a_lost_one_is_sent_again() {
    let server = uploads("3.29", vec![taken(), lost(), taken()], vec![job()]).await;
    let published =
        small_chunks(&server).datasources().publish(request(b"0123456789").overwrite().as_job()).await.unwrap();
    let Published::Job(job) = published else { panic!("it is a job") };
    assert_eq!(job.id().as_str(), "job-1");
    let blocks = requests(&server, "7:ab:0").await;
    let numbers: Vec<_> = blocks.iter().map(|block| block.url.query().unwrap()).collect();
    assert_eq!(numbers, ["sequenceID=0", "sequenceID=1", "sequenceID=1", "sequenceID=2"]);
    assert_eq!(contents(&blocks), ["0123", "4567", "4567", "89"]);
    assert!(text(&blocks[0]).contains("text/xml\r\n\r\n\r\n--"), "the empty part has its empty line");
    let commit = requests(&server, "/datasources").await.remove(0);
    let query: Vec<(String, String)> = commit.url.query_pairs().into_owned().collect();
    let query: Vec<_> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        query,
        [("overwrite", "true"), ("asJob", "true"), ("uploadSessionId", "7:ab:0"), ("datasourceType", "hyper")]
    );
}

#[tokio::test]
async fn without_numbers_a_lost_block_makes_the_upload_begin_anew() {
    let server = uploads("3.20", vec![taken(), lost(), taken()], vec![job()]).await;
    small_chunks(&server).datasources().publish(request(b"01234567").overwrite().as_job()).await.unwrap();
    let blocks = requests(&server, "7:ab:0").await;
    assert!(blocks.iter().all(|block| block.url.query().is_none()));
    assert_eq!(contents(&blocks), ["0123", "4567", "0123", "4567"]);
    assert_eq!(
        requests(&server, "/fileUploads").await.iter().filter(|request| request.method.as_str() == "POST").count(),
        2
    );
}

#[tokio::test]
async fn an_upload_is_used_up_by_one_attempt() {
    let server = uploads("3.29", vec![taken()], vec![lost(), refused(404, "404015"), job()]).await;
    small_chunks(&server).datasources().publish(request(b"01234567").overwrite().as_job()).await.unwrap();
    assert_eq!(
        requests(&server, "/fileUploads").await.iter().filter(|request| request.method.as_str() == "POST").count(),
        3
    );
}

#[tokio::test]
async fn a_publish_that_does_not_overwrite_is_never_repeated_blindly() {
    let server = uploads("3.29", vec![], vec![lost()]).await;
    let error = builder(&server).build().unwrap().datasources().publish(request(b"x")).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Unknown);
    assert!(error.hint().unwrap().contains("may have been done"), "{error}");
    let sent = requests(&server, "/datasources").await;
    assert_eq!(sent.iter().filter(|request| request.method.as_str() == "POST").count(), 1);
}

#[tokio::test]
async fn what_cannot_be_published_is_refused_before_anything_is_sent() {
    let server = start("3.29").await;
    let client = builder(&server).build().unwrap();
    let publish = |request| async { client.datasources().publish(request).await.unwrap_err() };
    assert_eq!(publish(PublishRequest::new("p".into(), " ", file(b"x"))).await.kind(), ErrorKind::Config);
    assert_eq!(publish(request(b"")).await.kind(), ErrorKind::Config);
    let missing = PublishRequest::new("p".into(), "A", FileSource::path("/no/such.hyper"));
    assert_eq!(publish(missing).await.kind(), ErrorKind::File);
    assert!(server.received_requests().await.unwrap().is_empty());
}
