//! Each identity over real connections: what is sent where, how often, and what happens when it is refused.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use epicor_kinetic::{Client, ClientBuilder, Delivery, EntitySet, Error, ErrorKind, OAuth2, RetryPolicy};
use serde_json::json;
use wiremock::matchers::{body_string, header, method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const UNAUTHORISED: &str = "System.UnauthorizedAccessException";

fn builder(server: &MockServer) -> ClientBuilder {
    Client::builder(format!("{}/live", server.uri())).company("EPIC06").api_key("CANARY-KEY").retry(RetryPolicy::none())
}

async fn read(client: &Client) -> Result<(), Error> {
    client.entity_set(EntitySet::VENDORS).top(1).bytes().await.map(drop)
}

fn rows() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "value": [] }))
}

fn refused(message: &str) -> ResponseTemplate {
    ResponseTemplate::new(401).set_body_json(json!({
        "HttpStatus": 401, "ReasonPhrase": "REST API Exception", "ErrorMessage": message, "ErrorType": UNAUTHORISED
    }))
}

fn vendors() -> wiremock::MockBuilder {
    Mock::given(method("GET")).and(path("/live/api/v2/odata/EPIC06/Erp.BO.VendorSvc/Vendors"))
}

/// Hands out token-1, token-2, … at Kinetic's own token service.
async fn tokens(server: &MockServer, lifetime: u64, delay: Duration, expected: u64) {
    let number = AtomicUsize::new(0);
    Mock::given(method("POST"))
        .and(path("/live/TokenResource.svc/"))
        .and(header("username", "svc"))
        .and(header("password", "CANARY-PASS"))
        .respond_with(move |_: &Request| {
            let number = number.fetch_add(1, Ordering::SeqCst) + 1;
            ResponseTemplate::new(200).set_delay(delay).set_body_json(json!({
                "AccessToken": format!("token-{number}"), "ExpiresIn": lifetime, "RefreshToken": "", "TokenType": "Bearer"
            }))
        })
        .expect(expected)
        .mount(server)
        .await;
}

#[tokio::test]
async fn basic_sends_user_and_password_with_every_call() {
    let server = MockServer::start().await;
    vendors()
        .and(header("authorization", "Basic c3ZjOkNBTkFSWS1QQVNT"))
        .and(header("x-api-key", "CANARY-KEY"))
        .respond_with(rows())
        .expect(2)
        .mount(&server)
        .await;
    let client = builder(&server).basic("svc", "CANARY-PASS").build().unwrap();
    read(&client).await.unwrap();
    read(&client).await.unwrap();
}

#[tokio::test]
async fn many_calls_at_once_make_one_token_request() {
    let server = MockServer::start().await;
    tokens(&server, 3_600, Duration::from_millis(50), 1).await;
    vendors().and(header("authorization", "Bearer token-1")).respond_with(rows()).expect(40).mount(&server).await;
    let client = builder(&server).token_resource("svc", "CANARY-PASS").max_concurrency(40).build().unwrap();
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { read(&client).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_password_goes_to_the_token_service_only_and_the_key_not_there() {
    let server = MockServer::start().await;
    tokens(&server, 3_600, Duration::ZERO, 1).await;
    vendors().respond_with(rows()).mount(&server).await;
    let client = builder(&server).token_resource("svc", "CANARY-PASS").build().unwrap();
    read(&client).await.unwrap();
    let requests = server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 2);
    assert!(!requests[0].headers.contains_key("x-api-key"));
    assert_eq!(requests[0].headers["accept"], "application/json");
    assert!(!requests[1].headers.contains_key("password") && !requests[1].headers.contains_key("username"));
}

#[tokio::test]
async fn an_answer_in_xml_is_understood() {
    let server = MockServer::start().await;
    let xml = "<?xml version=\"1.0\" encoding=\"utf-8\"?><Token xmlns=\"http://example.com\"><AccessToken>token-x</AccessToken>\
               <ExpiresIn>3600</ExpiresIn><RefreshToken></RefreshToken><TokenType>Bearer</TokenType></Token>";
    Mock::given(method("POST"))
        .and(path("/live/TokenResource.svc/"))
        .respond_with(ResponseTemplate::new(200).set_body_raw(xml, "application/xml"))
        .mount(&server)
        .await;
    vendors().and(header("authorization", "Bearer token-x")).respond_with(rows()).expect(1).mount(&server).await;
    read(&builder(&server).token_resource("svc", "p").build().unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_even_for_a_write() {
    let server = MockServer::start().await;
    tokens(&server, 3_600, Duration::ZERO, 2).await;
    let update = || Mock::given(method("POST")).and(path("/live/api/v2/odata/EPIC06/Erp.BO.VendorSvc/Update"));
    update()
        .and(header("authorization", "Bearer token-1"))
        .respond_with(refused("expired"))
        .expect(1)
        .mount(&server)
        .await;
    update()
        .and(header("authorization", "Bearer token-2"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({})))
        .expect(1)
        .mount(&server)
        .await;
    let client = builder(&server).token_resource("svc", "CANARY-PASS").build().unwrap();
    client.service("Erp.BO.VendorSvc").call("Update", &json!({})).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_always_refused_is_not_renewed_in_a_loop() {
    let server = MockServer::start().await;
    tokens(&server, 3_600, Duration::ZERO, 2).await;
    vendors().respond_with(refused("no")).expect(2).mount(&server).await;
    let client = builder(&server).token_resource("svc", "CANARY-PASS").retry(RetryPolicy::default()).build().unwrap();
    let error = read(&client).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Auth, 2));
}

#[tokio::test]
async fn a_wrong_key_or_a_missing_right_renews_nothing() {
    for (message, kind) in [
        ("Invalid API Key CANARY-KEY\nCompany EPIC06", ErrorKind::Auth),
        ("Access denied (Erp.BO.Vendor.GetRows).", ErrorKind::Forbidden),
    ] {
        let server = MockServer::start().await;
        tokens(&server, 3_600, Duration::ZERO, 1).await;
        vendors().respond_with(refused(message)).expect(1).mount(&server).await;
        let client = builder(&server).token_resource("svc", "CANARY-PASS").build().unwrap();
        let error = read(&client).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(!format!("{error:?}").contains("CANARY"));
    }
}

#[tokio::test]
async fn basic_is_not_repeated_when_it_is_refused() {
    let server = MockServer::start().await;
    vendors().respond_with(refused("Invalid username or password.")).expect(1).mount(&server).await;
    let client = builder(&server).basic("svc", "CANARY-PASS").build().unwrap();
    assert_eq!(read(&client).await.unwrap_err().kind(), ErrorKind::Auth);
}

#[tokio::test]
async fn a_failed_login_leaves_the_operation_unsent_and_tells_no_secret() {
    let server = MockServer::start().await;
    Mock::given(path("/live/TokenResource.svc/"))
        .respond_with(refused("Invalid username or password. CANARY-PASS"))
        .expect(1)
        .mount(&server)
        .await;
    let client = builder(&server).token_resource("svc", "CANARY-PASS").retry(RetryPolicy::default()).build().unwrap();
    let error = client.service("Erp.BO.VendorSvc").call("Update", &json!({})).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Auth, Delivery::NotSent));
    assert_eq!(error.operation(), "call Erp.BO.VendorSvc.Update");
    assert!(!format!("{error} {error:?}").contains("CANARY"));
}

#[tokio::test]
async fn client_credentials_go_as_a_form_to_the_token_address() {
    let (server, idp) = (MockServer::start().await, MockServer::start().await);
    Mock::given(method("POST"))
        .and(path("/connect/token"))
        .and(header("content-type", "application/x-www-form-urlencoded"))
        .and(body_string(
            "grant_type=client_credentials&client_id=app%26id&client_secret=CANARY%2DS%2BC%20T&scope=epicor%5Ferp",
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "access_token": "idp-token", "expires_in": 3600, "token_type": "Bearer"
        })))
        .expect(1)
        .mount(&idp)
        .await;
    vendors().and(header("authorization", "Bearer idp-token")).respond_with(rows()).expect(2).mount(&server).await;
    let settings = OAuth2::client_credentials(format!("{}/connect/token", idp.uri()), "app&id", "CANARY-S+C T")
        .scope("epicor_erp");
    let client = builder(&server).oauth2(settings).build().unwrap();
    read(&client).await.unwrap();
    read(&client.for_company("EPIC06").unwrap()).await.unwrap();
    assert!(!format!("{client:?}").contains("CANARY"));
    let asked = &idp.received_requests().await.unwrap()[0];
    assert!(!asked.headers.contains_key("x-api-key") && !asked.headers.contains_key("license"));
}

#[tokio::test]
async fn a_wrong_client_is_told_as_such_whatever_the_status() {
    for status in [400, 401] {
        let idp = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(status).set_body_json(json!({
                "error": "invalid_client", "error_description": "secret CANARY-SECRET is wrong"
            })))
            .expect(1)
            .mount(&idp)
            .await;
        let settings = OAuth2::client_credentials(idp.uri(), "app", "CANARY-SECRET");
        let client = builder(&idp).oauth2(settings).build().unwrap();
        let error = read(&client).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Auth, Delivery::NotSent));
        assert!(!format!("{error} {error:?}").contains("CANARY"));
    }
}

#[tokio::test]
async fn a_token_address_without_encryption_is_refused() {
    let server = MockServer::start().await;
    let settings = OAuth2::client_credentials("http://login.example.com/token", "app", "s");
    assert_eq!(builder(&server).oauth2(settings).build().unwrap_err().kind(), ErrorKind::Config);
}
