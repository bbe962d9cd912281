//! Failed answers in all their forms.

use std::error::Error as _;

use serde_json::json;
use tableau_rest::{Client, Delivery, Error, ErrorKind};

use super::fake;

async fn read(client: &Client) -> Error {
    client.datasources().get(&"d-1".into()).await.unwrap_err()
}

async fn of(status: u16, body: &'static str) -> Error {
    let (builder, _) = fake::builder(move |_, _| fake::answer(status, body));
    read(&builder.retry(tableau_rest::RetryPolicy::none()).build().unwrap()).await
}

#[tokio::test]
async fn json_and_xml_say_the_same() {
    for body in [
        r#"{"error":{"summary":"Resource Not Found","detail":"No \"A & B\"","code":"404004"}}"#,
        r#"{"error":{"summary":"Resource Not Found","detail":"No \"A & B\"","code":404004}}"#,
        "\u{feff}<?xml version='1.0' encoding='UTF-8'?><tsResponse xmlns=\"http://tableau.com/api\"><error code=\"404004\">\
         <summary>Resource Not Found</summary><detail>No &quot;A &amp; B&quot;</detail></error></tsResponse>",
    ] {
        let error = of(404, body).await;
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotFound, Delivery::Answered));
        assert_eq!(error.status().unwrap().as_u16(), 404);
        assert_eq!((error.code(), error.summary()), (Some("404004"), Some("Resource Not Found")));
        assert_eq!((error.detail(), error.body_excerpt()), (Some("No \"A & B\""), None));
    }
}

#[tokio::test]
async fn what_is_wrong_on_the_server_itself_is_in_the_message() {
    let full = r#"{"error":{"summary":"Internal Server Error","detail":"No space left on device","code":"500000"}}"#;
    let error = of(500, full).await;
    assert_eq!(error.kind(), ErrorKind::Server);
    assert!(error.to_string().contains("the server failed (500000): No space left on device"), "{error}");
}

#[tokio::test]
async fn pages_and_other_bodies_are_kept_in_excerpt_and_judged_by_their_status() {
    let spring = r#"{"timestamp":1,"status":503,"error":"Service Unavailable","message":"m","path":"/p"}"#;
    for (status, body, kind, delivery) in [
        (502, "<html><body>Bad  Gateway</body></html>", ErrorKind::Server, Delivery::Unknown),
        (403, "<html>proxy says no</html>", ErrorKind::Forbidden, Delivery::Answered),
        (401, "", ErrorKind::Auth, Delivery::Answered),
        (413, "", ErrorKind::PayloadTooLarge, Delivery::Answered),
        (503, spring, ErrorKind::Server, Delivery::Answered),
        (500, "", ErrorKind::Server, Delivery::Unknown),
        (418, "teapot", ErrorKind::Rejected, Delivery::Answered),
    ] {
        let error = of(status, body).await;
        assert_eq!((error.kind(), error.delivery(), error.code()), (kind, delivery, None), "{status}");
        assert_eq!(error.body_excerpt().is_some(), !body.is_empty());
        assert!(!error.to_string().contains("proxy says no"), "a body is never in the message");
    }
    assert_eq!(
        of(502, "<html><body>Bad  Gateway</body></html>").await.body_excerpt().unwrap().matches("Bad Gateway").count(),
        1
    );
}

#[tokio::test]
async fn the_code_counts_more_than_the_status() {
    for (status, code, kind) in [
        (400, "409004", ErrorKind::Rejected),
        (400, "404006", ErrorKind::NotFound),
        (400, "400031", ErrorKind::NotFound),
        (400, "400011", ErrorKind::Rejected),
        (403, "403007", ErrorKind::Forbidden),
        (403, "403008", ErrorKind::Rejected),
        (403, "403010", ErrorKind::Forbidden),
        (403, "403131", ErrorKind::Conflict),
        (404, "404001", ErrorKind::Unsupported),
        (409, "409015", ErrorKind::AlreadyExists),
        (405, "405000", ErrorKind::Config),
        (409, "BAD_REQUEST", ErrorKind::Conflict),
    ] {
        let (client, _) = fake::client(move |_, _| fake::error(status, code));
        let error = read(&client).await;
        assert_eq!((error.kind(), error.code()), (kind, Some(code)));
        assert!(error.to_string().contains(code) && error.hint().is_some(), "{error}");
    }
}

#[tokio::test]
async fn a_message_is_one_line_with_operation_cause_and_next_step() {
    let (client, _) = fake::client(|_, _| {
        fake::json(404, &json!({"error": {"summary": "a\nb", "detail": "row 4711", "code": "404004"}}))
    });
    let error = read(&client).await;
    let text = error.to_string();
    assert!(text.starts_with("read datasource: ") && text.ends_with(error.hint().unwrap()), "{text}");
    assert!(!text.contains('\n') && !text.contains("4711"), "{text}");
}

#[tokio::test]
async fn what_names_the_request_in_the_servers_log_is_kept() {
    for header in ["x-tableau-request-id", "x-request-id"] {
        let (client, _) = fake::client(move |_, _| fake::with_header(fake::error(404, "404004"), header, "abc-123"));
        assert_eq!(read(&client).await.request_id(), Some("abc-123"));
    }
}

#[tokio::test]
async fn the_cause_of_a_broken_exchange_is_its_source() {
    let (client, _) = fake::client(|_, _| {
        let kind = tableau_rest::TransportErrorKind::Invalid;
        Err(tableau_rest::TransportError::with_source(kind, "a cause"))
    });
    let error = read(&client).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Config, Delivery::NotSent));
    assert_eq!(error.source().unwrap().to_string(), "a cause");
}

#[tokio::test]
async fn ids_and_paths_that_would_lead_elsewhere_are_refused() {
    let (client, log) = fake::client(|_, _| fake::datasource());
    for id in ["", "..", "a\nb"] {
        assert_eq!(client.datasources().get(&id.into()).await.unwrap_err().kind(), ErrorKind::Config, "{id:?}");
    }
    for path in ["../x", "a/%2E%2e/b", "https://evil.example.com", "a#b", "a\\b"] {
        let error = client.request(http::Method::GET, path).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{path}");
    }
    assert!(log.calls().is_empty());
    client.datasources().get(&"a/b?c".into()).await.unwrap();
    assert_eq!(log.last().uri().path(), "/api/3.29/sites/site-1/datasources/a%2Fb%3Fc");
}
