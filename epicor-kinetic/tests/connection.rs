//! What only real connections show: broken bodies, refused connections, redirects.

use epicor_kinetic::{Client, Delivery, EntitySet, Error, ErrorKind, RetryPolicy};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn client(root: &str, policy: RetryPolicy) -> Client {
    Client::builder(root)
        .company("EPIC06")
        .api_key("CANARY-KEY")
        .basic("u", "CANARY-PASS")
        .retry(policy)
        .build()
        .unwrap()
}

async fn read(client: &Client) -> Result<usize, Error> {
    client.entity_set(EntitySet::VENDORS).bytes().await.map(|body| body.len())
}

/// Answers each connection with the next of `answers` and closes it.
async fn serve(answers: Vec<&'static [u8]>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let root = format!("http://{}/live", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
                if stream.read_buf(&mut seen).await.unwrap() == 0 {
                    break;
                }
            }
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.ok();
        }
    });
    root
}

#[tokio::test]
async fn a_body_that_ends_early_is_a_failure_of_the_transport() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"value\":[";
    let root = serve(vec![cut]).await;
    let error = read(&client(&root, RetryPolicy::none())).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
    let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"value\":[]}";
    let root = serve(vec![cut, whole]).await;
    assert_eq!(read(&client(&root, RetryPolicy::default())).await.unwrap(), 12);
}

#[tokio::test]
async fn a_chunked_body_that_ends_early_is_one_too() {
    let cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"val\r\n";
    let root = serve(vec![cut]).await;
    let error = read(&client(&root, RetryPolicy::none())).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
}

#[tokio::test]
async fn a_body_in_many_pieces_arrives_whole() {
    let root = serve(vec![
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"v\r\n4\r\nalue\r\n2\r\n\":\r\n3\r\n[]}\r\n0\r\n\r\n",
    ])
    .await;
    let body = client(&root, RetryPolicy::none()).entity_set(EntitySet::VENDORS).bytes().await.unwrap();
    assert_eq!(body.as_ref(), b"{\"value\":[]}");
}

#[tokio::test]
async fn a_connection_that_closes_without_an_answer_leaves_a_write_unknown() {
    let root = serve(vec![b""]).await;
    let error =
        client(&root, RetryPolicy::default()).service("Erp.BO.VendorSvc").call("Update", &json!({})).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery(), error.attempts()), (ErrorKind::Transport, Delivery::Unknown, 1));
}

#[tokio::test]
async fn a_refused_connection_was_never_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let root = format!("http://{}/live", listener.local_addr().unwrap());
    drop(listener);
    let error =
        client(&root, RetryPolicy::none()).service("Erp.BO.VendorSvc").call("Update", &json!({})).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::NotSent));
    let source = std::error::Error::source(&error).expect("the cause");
    assert!(!format!("{error} {error:?} {source}").contains("CANARY"));
}

#[tokio::test]
async fn a_redirect_to_another_origin_is_not_followed() {
    let (server, other) = (MockServer::start().await, MockServer::start().await);
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(302).insert_header("location", format!("{}/live/x", other.uri())))
        .expect(1)
        .mount(&server)
        .await;
    let error = read(&client(&format!("{}/live", server.uri()), RetryPolicy::default())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(other.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_followed_for_reads_only() {
    let server = MockServer::start().await;
    Mock::given(path("/live/api/v2/odata/EPIC06/Erp.BO.VendorSvc/Vendors"))
        .respond_with(ResponseTemplate::new(307).insert_header("location", "/moved"))
        .mount(&server)
        .await;
    Mock::given(path("/live/api/v2/odata/EPIC06/Erp.BO.VendorSvc/Update"))
        .respond_with(ResponseTemplate::new(307).insert_header("location", "/moved"))
        .mount(&server)
        .await;
    Mock::given(path("/moved"))
        .and(header("x-api-key", "CANARY-KEY"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "value": [] })))
        .expect(1)
        .mount(&server)
        .await;
    let client = client(&format!("{}/live", server.uri()), RetryPolicy::none());
    read(&client).await.unwrap();
    let error = client.service("Erp.BO.VendorSvc").call("Update", &json!({})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_redirect_in_a_circle_ends() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(301).insert_header("location", "/live/again"))
        .expect(6)
        .mount(&server)
        .await;
    let error = read(&client(&format!("{}/live", server.uri()), RetryPolicy::default())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_supplied_client_that_follows_redirects_is_caught() {
    let (server, other) = (MockServer::start().await, MockServer::start().await);
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(302).insert_header("location", format!("{}/x", other.uri())))
        .mount(&server)
        .await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(200)).mount(&other).await;
    let client = Client::builder(server.uri())
        .company("EPIC06")
        .api_key("k")
        .basic("u", "p")
        .http_client(reqwest::Client::new())
        .build()
        .unwrap();
    assert_eq!(read(&client).await.unwrap_err().kind(), ErrorKind::Config);
}
