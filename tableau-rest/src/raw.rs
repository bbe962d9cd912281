//! The way out: any request below the site, with the same session, retry and errors as the typed calls.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::{Answer, Call, JSON, Scope};
use crate::client::Client;
use crate::error::{Error, Result};

/// A request of the caller's own making.
#[must_use]
pub struct RequestBuilder {
    client: Client,
    method: Method,
    path: String,
    body: Result<Option<(HeaderValue, Bytes)>>,
    idempotent: Option<bool>,
}

impl RequestBuilder {
    pub(crate) fn new(client: Client, method: Method, path: String) -> Self {
        Self { client, method, path, body: Ok(None), idempotent: None }
    }

    /// A JSON body.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.body = serde_json::to_vec(body)
            .map(|body| Some((JSON, Bytes::from(body))))
            .map_err(|_| Error::config("call Tableau", "the body cannot be written as JSON; check its type"));
        self
    }

    /// A body of another type.
    pub fn body(mut self, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        self.body = Ok(Some((content_type, body.into())));
        self
    }

    /// Whether repeating it is harmless, so that it is repeated when the answer is lost. For `GET` it is so unless set.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// Sends it.
    ///
    /// # Errors
    /// Every status other than 2xx, by kind, and everything that can go wrong between here and the server.
    pub async fn send(self) -> Result<Response> {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let path = path.trim_start_matches('/');
        // Dots as segments would lead out of the site, encoded or not.
        let leads_out = path.split('/').any(|part| {
            let plain = part.to_ascii_lowercase().replace("%2e", ".");
            plain == "." || plain == ".."
        });
        if leads_out || path.contains(['\\', '#']) || path.contains("://") {
            return Err(Error::config("call Tableau", "the path leads out of the site; give it relative to the site"));
        }
        let mut call = Call::new(format!("call {path}"), self.method, Scope::Site, &[])?;
        path.clone_into(&mut call.path);
        query.clone_into(&mut call.query);
        if let Some((kind, body)) = self.body? {
            call = call.body(kind, body);
        }
        call.idempotent = self.idempotent.unwrap_or(call.idempotent);
        let answer = self.client.run(&call).await?;
        Ok(Response { answer })
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither query nor body: both may hold a password or the caller's data.
        let path = self.path.split(['?', '#']).next().unwrap_or_default();
        f.debug_struct("RequestBuilder").field("method", &self.method).field("path", &path).finish_non_exhaustive()
    }
}

/// An answer that is a success.
pub struct Response {
    answer: Answer,
}

impl Response {
    /// The status, one of 200 to 299.
    pub fn status(&self) -> StatusCode {
        self.answer.head.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.answer.head.headers
    }

    /// The body as it came.
    pub fn body(&self) -> &Bytes {
        &self.answer.body
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when it is no JSON or not of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.answer.body).map_err(|error| self.answer.not_json(&error))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the body: it is the caller's data.
        f.debug_struct("Response").field("status", &self.answer.head.status).finish_non_exhaustive()
    }
}
