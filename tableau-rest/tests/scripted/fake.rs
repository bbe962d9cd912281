//! A transport that answers from a closure and remembers what it was asked.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use tableau_rest::{Body, Client, ClientBuilder, Transport, TransportError, TransportErrorKind};

pub(crate) type Answer = Result<Response<Body>, TransportError>;

pub(crate) const SECRET: &str = "CANARY-SECRET-1";

/// Requests whose path ends with `/slow` are answered after five seconds.
struct Fake<F> {
    answer: F,
    log: Arc<Log>,
}

#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<Request<Bytes>>>, AtomicBool);

impl Log {
    pub(crate) fn all(&self) -> Vec<Request<Bytes>> {
        self.0.lock().unwrap().clone()
    }

    /// From now on listings of datasources are empty and not remembered: for publishes, which look first whether the name is free.
    pub(crate) fn names_are_free(&self) {
        self.1.store(true, Ordering::SeqCst);
    }

    /// What was asked below a site, which leaves out sign-ins and server info.
    pub(crate) fn calls(&self) -> Vec<Request<Bytes>> {
        self.all().into_iter().filter(|request| request.uri().path().contains("/sites/")).collect()
    }

    /// The calls as method and address below the site.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.calls().iter().map(line).collect()
    }

    pub(crate) fn sign_ins(&self) -> usize {
        self.all().iter().filter(|request| request.uri().path().ends_with("/auth/signin")).count()
    }

    pub(crate) fn last(&self) -> Request<Bytes> {
        self.all().pop().expect("a request")
    }
}

impl<F> fmt::Debug for Fake<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

#[async_trait]
impl<F> Transport for Fake<F>
where
    F: Fn(&Request<Bytes>) -> Answer + Send + Sync + 'static,
{
    async fn send(&self, request: Request<Bytes>) -> Answer {
        let lists = request.method() == "GET" && request.uri().path().ends_with("/datasources");
        if lists && self.log.1.load(Ordering::SeqCst) {
            return json(200, &json!({"pagination": {"totalAvailable": "0"}, "datasources": {}}));
        }
        self.log.0.lock().unwrap().push(request.clone());
        // Others come in between, as they do over a network.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        if request.uri().path().ends_with("/slow") {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        (self.answer)(&request)
    }
}

/// A name that no other test uses: clients of one personal access token share a session.
pub(crate) fn unique() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    format!("robot-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A client without credentials, all of whose requests the closure answers.
pub(crate) fn raw<F>(answer: F) -> (ClientBuilder, Arc<Log>)
where
    F: Fn(&Request<Bytes>) -> Answer + Send + Sync + 'static,
{
    let log = Arc::new(Log::default());
    let fake = Fake { answer, log: Arc::clone(&log) };
    (Client::builder("https://tableau.example.com").site("finance").transport(Arc::new(fake)), log)
}

/// A client of a server of this version that signs everybody in; the closure answers the calls below the site, with their number.
pub(crate) fn builder_at<F>(version: &'static str, answer: F) -> (ClientBuilder, Arc<Log>)
where
    F: Fn(usize, &Request<Bytes>) -> Answer + Send + Sync + 'static,
{
    let (calls, tokens) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (builder, log) = raw(move |request| {
        let path = request.uri().path();
        if path.ends_with("/serverinfo") {
            return server_info(version);
        }
        if path.ends_with("/auth/signin") {
            return signed_in(tokens.fetch_add(1, Ordering::SeqCst) + 1);
        }
        answer(calls.fetch_add(1, Ordering::SeqCst) + 1, request)
    });
    (builder.personal_access_token(unique(), SECRET), log)
}

pub(crate) fn builder<F>(answer: F) -> (ClientBuilder, Arc<Log>)
where
    F: Fn(usize, &Request<Bytes>) -> Answer + Send + Sync + 'static,
{
    builder_at("3.29", answer)
}

pub(crate) fn client<F>(answer: F) -> (Client, Arc<Log>)
where
    F: Fn(usize, &Request<Bytes>) -> Answer + Send + Sync + 'static,
{
    let (builder, log) = builder(answer);
    (builder.build().unwrap(), log)
}

pub(crate) fn server_info(version: &str) -> Answer {
    json(200, &json!({"serverInfo": {"productVersion": {"value": "x", "build": "b"}, "restApiVersion": version}}))
}

pub(crate) fn signed_in(number: usize) -> Answer {
    json(
        200,
        &json!({"credentials": {
            "token": format!("CANARY-TOKEN-{number}|canary-second-part|site-1"),
            "site": {"id": "site-1", "contentUrl": "finance"},
            "user": {"id": "user-1"},
            "estimatedTimeToExpiration": "2:12:30",
        }}),
    )
}

#[expect(clippy::unnecessary_wraps, reason = "it stands where a transport's answer is wanted")]
pub(crate) fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status.try_into().unwrap();
    Ok(response)
}

pub(crate) fn json(status: u16, body: &Value) -> Answer {
    answer(status, body.to_string())
}

pub(crate) fn with_header(answer: Answer, name: &'static str, value: &str) -> Answer {
    let mut response = answer?;
    response.headers_mut().insert(name, value.parse().unwrap());
    Ok(response)
}

pub(crate) fn error(status: u16, code: &str) -> Answer {
    json(status, &json!({"error": {"summary": "a summary", "detail": "a detail", "code": code}}))
}

/// The answer was lost on its way: the server may have acted.
pub(crate) fn lost() -> Answer {
    Err(TransportError::new(TransportErrorKind::Interrupted))
}

/// No connection was made: the server has not seen the request.
pub(crate) fn unreachable() -> Answer {
    Err(TransportError::new(TransportErrorKind::Connect))
}

pub(crate) fn datasource() -> Answer {
    json(200, &json!({"datasource": {"id": "d-1", "name": "AP invoices", "project": {"id": "p-1"}}}))
}

pub(crate) fn job() -> Answer {
    json(202, &json!({"job": {"id": "j-1", "mode": "Asynchronous", "progress": "0", "finishCode": "1"}}))
}

pub(crate) fn token(request: &Request<Bytes>) -> &str {
    request.headers()["x-tableau-auth"].to_str().unwrap()
}

/// Method and address below the site, with its query.
pub(crate) fn line(request: &Request<Bytes>) -> String {
    let address = request.uri().path_and_query().unwrap().as_str();
    let below = address.split_once("/sites/site-1/").map_or(address, |(_, below)| below);
    format!("{} {below}", request.method())
}

/// The value of a query parameter, decoded.
pub(crate) fn query(request: &Request<Bytes>, name: &str) -> Option<String> {
    let url = url::Url::parse(&request.uri().to_string()).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The body of a request whose parts are exactly these, as `(head, content)`.
pub(crate) fn multipart(content_type: &str, parts: &[(&str, &[u8])]) -> Vec<u8> {
    let boundary = content_type.strip_prefix("multipart/mixed; boundary=").expect("the one type that servers take");
    assert!(boundary.len() <= 70 && boundary.chars().all(|c| c.is_ascii_alphanumeric()), "{boundary}");
    let mut body = Vec::new();
    for (head, content) in parts {
        body.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

pub(crate) const PAYLOAD: &str = "Content-Disposition: form-data; name=\"request_payload\"\r\nContent-Type: text/xml";
pub(crate) const BLOCK: &str = "Content-Disposition: form-data; name=\"tableau_file\"; filename=\"block\"\r\n\
                                Content-Type: application/octet-stream";

/// The bytes of the file in an upload block; everything around them must be as documented.
pub(crate) fn block(request: &Request<Bytes>) -> Vec<u8> {
    let kind = request.headers()["content-type"].to_str().unwrap();
    let frame = multipart(kind, &[(PAYLOAD, b""), (BLOCK, b"")]);
    let body = request.body();
    let length = body.len() - frame.len();
    let begin = body.windows(4).enumerate().filter(|(_, four)| four == b"\r\n\r\n").map(|(at, _)| at + 4).nth(2);
    let content = body[begin.unwrap()..][..length].to_vec();
    assert_eq!(multipart(kind, &[(PAYLOAD, b""), (BLOCK, &content)]), body.to_vec());
    content
}
