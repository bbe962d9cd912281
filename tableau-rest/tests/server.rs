//! A server that signs in, and what tests want of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tableau_rest::{Client, ClientBuilder, RetryPolicy};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// Stands for the secret of the token: it must appear nowhere.
pub(crate) const SECRET: &str = "CANARY-SECRET";
pub(crate) const SITE: &str = "/api/3.29/sites/site-1";

pub(crate) fn builder(server: &MockServer) -> ClientBuilder {
    let retry = RetryPolicy::default()
        .attempts(3)
        .first_delay(Duration::from_millis(1))
        .longest_delay(Duration::from_millis(2));
    Client::builder(server.uri()).site("finance").personal_access_token("nightly", SECRET).retry(retry)
}

/// A server of a version, which hands out `token-1`, `token-2`, … at sign-in.
pub(crate) async fn start(version: &str) -> MockServer {
    let server = MockServer::start().await;
    let info =
        json!({"serverInfo": {"productVersion": {"value": "2026.2.0", "build": "1"}, "restApiVersion": version}});
    Mock::given(method("GET"))
        .and(wiremock::matchers::path_regex("^/api/[0-9.]+/serverinfo$"))
        .respond_with(ResponseTemplate::new(200).set_body_json(info))
        .mount(&server)
        .await;
    let number = AtomicUsize::new(0);
    Mock::given(method("POST"))
        .and(path(format!("/api/{version}/auth/signin")))
        .respond_with(move |_: &Request| {
            let number = number.fetch_add(1, Ordering::SeqCst) + 1;
            signed_in(&format!("token-{number}")).set_delay(Duration::from_millis(20))
        })
        .mount(&server)
        .await;
    server
}

pub(crate) fn signed_in(token: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"credentials": {
        "token": token, "site": {"id": "site-1", "contentUrl": "finance"}, "user": {"id": "user-1"},
        "estimatedTimeToExpiration": "100:00:00"
    }}))
}

pub(crate) fn refused(status: u16, code: &str) -> ResponseTemplate {
    let error = json!({"error": {"summary": "Refused", "detail": format!("the detail of {code}"), "code": code}});
    ResponseTemplate::new(status).set_body_json(error)
}

pub(crate) fn job() -> ResponseTemplate {
    ResponseTemplate::new(202)
        .set_body_json(json!({"job": {"id": "job-1", "mode": "Asynchronous", "type": "X", "progress": "0"}}))
}

/// Answers one after the other; the last one again and again.
pub(crate) struct InTurn(pub(crate) Vec<ResponseTemplate>, pub(crate) AtomicUsize);

impl InTurn {
    pub(crate) fn new(answers: Vec<ResponseTemplate>) -> Self {
        Self(answers, AtomicUsize::new(0))
    }
}

impl Respond for InTurn {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        let nth = self.1.fetch_add(1, Ordering::SeqCst).min(self.0.len() - 1);
        self.0[nth].clone()
    }
}

/// An answer whose body ends early, as when the connection breaks.
pub(crate) fn lost() -> ResponseTemplate {
    ResponseTemplate::new(504).set_body_raw("<html>gateway timeout</html>", "text/html")
}

/// The requests whose path contains a text.
pub(crate) async fn requests(server: &MockServer, text: &str) -> Vec<Request> {
    let all = server.received_requests().await.unwrap();
    all.into_iter().filter(|request| request.url.path().contains(text)).collect()
}

pub(crate) fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}
