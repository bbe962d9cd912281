//! The way out: any request, any answer, with the same identity, retry and errors as the typed calls.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode, response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::error::{Error, Result, Scrubber};
use crate::exchange::Call;

/// An answer that is a success.
#[derive(Clone)]
pub struct Response {
    operation: String,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    scrubber: Scrubber,
}

impl Response {
    pub(crate) fn new(operation: String, head: response::Parts, body: Bytes, scrubber: Scrubber) -> Self {
        Self { operation, status: head.status, headers: head.headers, body, scrubber }
    }

    /// The status, one of 200 to 299.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body as it came.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body as it came, without a copy.
    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when it is no JSON or not of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| self.not_json(&error))
    }

    /// Sign-in pages and proxies answer 200 too; for callers that decode the body themselves.
    pub(crate) fn refuse_html(&self) -> Result<()> {
        if self.is_html() { Err(self.page_instead_of_data()) } else { Ok(()) }
    }

    fn is_html(&self) -> bool {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        kind.is_some_and(|kind| kind.to_ascii_lowercase().contains("html"))
    }

    fn page_instead_of_data(&self) -> Error {
        Error::decode(self.operation.clone(), "the answer is a page, not data")
            .with_hint("check the root address: a sign-in page or a proxy may have answered instead of Kinetic")
    }

    pub(crate) fn operation(&self) -> &str {
        &self.operation
    }

    pub(crate) fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }

    /// The JSON library quotes values in its messages, so only the place is kept.
    pub(crate) fn not_json(&self, error: &serde_json::Error) -> Error {
        if self.is_html() || self.body.trim_ascii_start().starts_with(b"<") {
            return self.page_instead_of_data();
        }
        Error::decode(self.operation.clone(), describe(error))
            .with_hint("check that the row type fits the columns that were asked for")
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("operation", &self.operation)
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What is wrong with a JSON text, without any of its values.
pub(crate) fn describe(error: &serde_json::Error) -> String {
    let place = format!("at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    // These name columns and no values.
    for start in ["missing field `", "unknown field `", "duplicate field `"] {
        if let Some((name, _)) = text.strip_prefix(start).and_then(|rest| rest.split_once('`')) {
            return format!("{start}{name}` {place}");
        }
    }
    match error.classify() {
        serde_json::error::Category::Eof => format!("the JSON ends too early {place}"),
        serde_json::error::Category::Data => {
            // Only serde's own messages end in what was expected; others may quote the value there.
            let expected = ["invalid type: ", "invalid value: ", "invalid length "]
                .iter()
                .any(|start| text.starts_with(start))
                .then(|| text.rsplit_once(", expected "))
                .flatten()
                .map(|(_, rest)| rest.split(" at line ").next().unwrap_or(""));
            match expected {
                Some(expected) if !expected.is_empty() => format!("expected {expected} {place}"),
                _ => format!("a value of another type than expected {place}"),
            }
        }
        _ => format!("no valid JSON {place}"),
    }
}

/// A request below the root address. See [`Client::request`].
#[must_use = "a request does nothing until it is sent"]
#[derive(Clone, Debug)]
pub struct RequestBuilder {
    client: Client,
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Result<Vec<u8>, String>,
    idempotent: bool,
}

impl RequestBuilder {
    pub(crate) fn new(client: Client, method: Method, path: String) -> Self {
        let idempotent = matches!(method, Method::GET | Method::HEAD);
        Self { client, method, path, query: Vec::new(), headers: HeaderMap::new(), body: Ok(Vec::new()), idempotent }
    }

    /// Adds a pair to the query. Both sides are encoded.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Sets a header, for example `ContextHeader`. Key, identity and licence cannot be replaced here.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets a JSON body.
    pub fn json(mut self, body: &(impl Serialize + ?Sized)) -> Self {
        self.body = serde_json::to_vec(body).map_err(|error| describe(&error));
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self
    }

    /// Says that repeating the request is harmless, so that it may be sent again when its answer was lost. `GET` and
    /// `HEAD` are so from the start.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Sends the request.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for a path that leads elsewhere, any other kind by what
    /// happened on the way or what the server answered.
    pub async fn send(self) -> Result<Response> {
        // The path without its query: a query may hold values.
        let name = self.path.split(['?', '#']).next().unwrap_or_default();
        let operation = format!("{} {name}", self.method);
        let mut url = self.client.join(&operation, &self.path)?;
        if !self.query.is_empty() {
            let mut query = url.query().map(|query| format!("{query}&")).unwrap_or_default();
            let pairs: Vec<String> = self
                .query
                .iter()
                .map(|(name, value)| format!("{}={}", crate::query::encode_name(name), crate::address::value(value)))
                .collect();
            query.push_str(&pairs.join("&"));
            url.set_query(Some(&query));
        }
        let body = self.body.map_err(|why| {
            Error::config(operation.clone(), format!("the body cannot be written as JSON: {why}; check its type"))
        })?;
        let mut call = Call::get(operation, url);
        call.method = self.method;
        call.headers = self.headers;
        call.body = Bytes::from(body);
        call.idempotent = self.idempotent;
        self.client.execute(&call).await
    }
}
