//! No secret leaves the client in anything that is printed.

use std::error::Error as _;
use std::fmt::Debug;

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use serde_json::json;
use tableau_rest::{ClientBuilder, FileSource, FileType, PublishRequest, RetryPolicy};

use super::fake::{self, Answer};

/// All canaries hold this, whatever the case.
fn clean(what: &str, text: &str) {
    assert!(!text.to_ascii_lowercase().contains("canary"), "{what}: {text}");
}

fn printed(what: &str, value: &impl Debug) {
    clean(what, &format!("{value:?} {value:#?}"));
}

fn checked(error: &tableau_rest::Error) {
    printed("error", error);
    clean("error", &error.to_string());
    let texts = [error.summary(), error.detail(), error.code(), error.body_excerpt(), error.hint(), error.request_id()];
    for text in texts.into_iter().flatten() {
        clean("error", text);
    }
    let mut source = error.source();
    while let Some(cause) = source {
        clean("cause", &format!("{cause} {cause:?}"));
        source = cause.source();
    }
}

/// All that the request held, as a careless server or proxy might send it back.
fn echo(request: &Request<Bytes>) -> String {
    let headers: Vec<_> = request.headers().values().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    format!("{} {} {}", request.uri(), headers.join(" "), String::from_utf8_lossy(request.body()))
}

fn in_form(form: &str, text: &str) -> Answer {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    match form {
        "json" => fake::json(400, &json!({"error": {"summary": text, "detail": text, "code": text}})),
        "xml" => {
            let body = format!("<tsResponse><error code=\"400000\"><summary>{escaped}</summary></error></tsResponse>");
            fake::answer(400, body)
        }
        "html" => fake::answer(400, format!("<html>{escaped}</html>")),
        "wrapped" => fake::json(400, &json!({"status": 400, "message": text})),
        _ => fake::answer(400, text.to_owned()),
    }
}

fn identities(builder: impl Fn() -> ClientBuilder) -> [ClientBuilder; 3] {
    [
        builder().personal_access_token(fake::unique(), "CANARY\"secret<1>&more"),
        builder().password("user", "Canary+pass word"),
        builder().jwt("canary.header.signature"),
    ]
}

#[tokio::test]
async fn a_sign_in_that_is_echoed_is_scrubbed() {
    for form in ["json", "xml", "html", "text", "wrapped"] {
        let builder = || {
            let server = fake::raw(move |request| match request.uri().path() {
                path if path.ends_with("/serverinfo") => fake::server_info("3.29"),
                _ => in_form(form, &echo(request)),
            });
            server.0.retry(RetryPolicy::none())
        };
        for builder in identities(builder) {
            printed("builder", &builder);
            let client = builder.build().unwrap();
            printed("client", &client);
            checked(&client.sign_in().await.unwrap_err());
        }
    }
}

#[tokio::test]
async fn a_session_token_that_is_echoed_is_scrubbed() {
    for form in ["json", "xml", "html", "text"] {
        let (builder, log) = fake::builder(move |_, request| {
            let token = fake::token(request);
            let answer = in_form(form, &format!("{token} {}", token.split('|').next().unwrap()));
            fake::with_header(answer, "x-request-id", token)
        });
        let client = builder.build().unwrap();
        checked(&client.datasources().get(&"d-1".into()).await.unwrap_err());
        checked(&client.datasources().refresh(&"d-1".into()).await.unwrap_err());
        let sent = log.last();
        assert!(sent.headers()["x-tableau-auth"].is_sensitive());
        printed("request", &sent.headers());
    }
}

#[tokio::test]
async fn what_a_job_says_is_scrubbed() {
    let (client, _) = fake::client(|_, request| {
        let token = fake::token(request);
        let note = json!({"type": "errorCode", "value": token, "text": format!("refused {token}")});
        let job = json!({
            "id": "j-1", "progress": 100, "finishCode": 1, "completedAt": "2026-11-26T10:00:00Z",
            "statusNotes": {"statusNote": [note]},
            "publishDatasourceJob": {"notes": format!("no session {token}")},
        });
        fake::json(200, &json!({ "job": job }))
    });
    let status = client.jobs().get(&"j-1".into()).await.unwrap();
    assert_eq!(status.notes, ["no session [redacted]", "refused [redacted]"]);
    assert_eq!(status.status_notes[0].value.as_deref(), Some("[redacted]"));
}

#[tokio::test]
async fn nothing_that_can_be_printed_holds_a_secret_or_a_body() {
    let (client, _) = fake::client(|_, _| fake::json(200, &json!({"job": {"id": "j-1"}, "row": "canary row"})));
    printed("client", &client);
    printed("session", &client.sign_in().await.unwrap());
    printed("projects", &client.projects());
    printed("datasources", &client.datasources());
    printed("listing", &client.datasources().list());
    printed("workbooks", &client.workbooks());
    printed("tasks", &client.tasks());
    printed("jobs", &client.jobs());
    printed("refresh", &client.datasources().refresh(&"d-1".into()).await.unwrap());
    let file = FileSource::bytes(FileType::Hyper, &b"canary row"[..]);
    printed("file", &file);
    printed("publish", &PublishRequest::new("p-1".into(), "x", file));
    let request = client.request(Method::PUT, "datasources/d-1/connections/c-1");
    printed("request", &request);
    let body = json!({"connection": {"password": "canary password"}});
    printed("request", &client.request(Method::PUT, "x?password=canary").json(&body));
    let text = HeaderValue::from_static("text/plain");
    let response = client.request(Method::PUT, "x").body(text, "canary password").send().await.unwrap();
    printed("response", &response);
    let download = client.datasources().download(&"d-1".into()).await.unwrap();
    printed("download", &download);
}

#[test]
fn settings_that_are_refused_do_not_show_what_they_hold() {
    for url in ["https://user:canary@h", "canary://h", "https://h/?token=canary", "canary"] {
        let builder = tableau_rest::Client::builder(url).password("u", "canary");
        printed("builder", &builder);
        checked(&builder.build().unwrap_err());
    }
}
