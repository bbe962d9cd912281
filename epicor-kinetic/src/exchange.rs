//! How a request travels: headers, identity, time limit, redirects, renewal of the identity, and retries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use crate::auth::Credential;
use crate::budget::Bucket;
use crate::client::Client;
use crate::error::{Delivery, Error, ErrorKind, Fate, Result, Scrubber};
use crate::raw::Response;
use crate::retry::RetryPolicy;
use crate::trace;
use crate::transport::{Transport, TransportError, TransportErrorKind};

const MOST_REDIRECTS: u32 = 5;

/// Calls that take this long without much to do are waiting for a shared licence (observed).
pub(crate) const LICENCE_WAIT: Duration = Duration::from_secs(20);
/// One slow call says nothing; so many one after the other do.
const SLOW_IN_A_ROW: u32 = 3;

/// What all clones of a client have in common.
pub(crate) struct Shared {
    pub(crate) root: Url,
    pub(crate) api_key: HeaderValue,
    pub(crate) license: Option<HeaderValue>,
    pub(crate) bucket: Bucket,
    pub(crate) slow: SlowCalls,
    pub(crate) credential: Arc<dyn Credential>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) timeout: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) permits: Semaphore,
}

/// One request as it is repeated until it succeeds or fails for good.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) operation: String,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) accept: HeaderValue,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether repeating it is harmless: a property of the operation, not of the verb.
    pub(crate) idempotent: bool,
}

impl Client {
    /// Sends a call, again if that can help, until it succeeds or fails for good.
    pub(crate) async fn execute(&self, call: &Call) -> Result<Response> {
        trace::call(&call.operation, self.execute_untraced(call)).await
    }

    async fn execute_untraced(&self, call: &Call) -> Result<Response> {
        let begun = Instant::now();
        let mut url = call.url.clone();
        let (mut attempts, mut redirects, mut renewed) = (0_u32, 0_u32, false);
        loop {
            let (error, sent) = match self.attempt(call, &url).await {
                Ok(Answer::Done(response)) => {
                    self.shared().bucket.give();
                    return Ok(response);
                }
                Ok(Answer::Elsewhere(next)) if redirects < MOST_REDIRECTS => {
                    redirects += 1;
                    url = next;
                    continue;
                }
                Ok(Answer::Elsewhere(_)) => {
                    return Err(Error::new(
                        ErrorKind::Config,
                        Delivery::Answered,
                        call.operation.clone(),
                        "the server redirects in a circle",
                    )
                    .with_hint("check the root address"));
                }
                Err(failed) => *failed,
            };
            attempts = attempts.saturating_add(1);
            trace::failed(&error, attempts);
            let stale = error.fate() == Fate::StaleToken && error.status() == Some(StatusCode::UNAUTHORIZED);
            if let Some(sent) = sent.filter(|_| stale && !renewed)
                && self.shared().credential.invalidate(&sent).await
            {
                // Refused before anything was done, so that even a write may go out again.
                renewed = true;
                continue;
            }
            match self.shared().retry.delay(&error, call.idempotent, attempts, begun.elapsed()) {
                Some(_) if !self.shared().bucket.take() => {
                    let error = error.with_attempts(attempts).without_budget();
                    return Err(if call.idempotent { error } else { error.for_unrepeatable() });
                }
                Some(delay) => {
                    trace::repeated(&call.operation);
                    tokio::time::sleep(delay).await;
                }
                None if call.idempotent => return Err(error.with_attempts(attempts)),
                None => return Err(error.with_attempts(attempts).for_unrepeatable()),
            }
        }
    }

    /// One attempt. A failure comes with the headers that were sent, if any were.
    async fn attempt(&self, call: &Call, url: &Url) -> Result<Answer, Box<(Error, Option<HeaderMap>)>> {
        // Held while the answer is on its way, not while waiting for the next attempt.
        let _permit = self.shared().permits.acquire().await.ok();
        let mut request = self.assemble_request(call, url).map_err(|error| Box::new((error, None)))?;
        if let Err(error) = self.shared().credential.apply(&mut request).await {
            return Err(Box::new((error.before(&call.operation), None)));
        }
        let sent = request.headers().clone();
        let begun = Instant::now();
        let answer = tokio::time::timeout(self.shared().timeout, self.shared().transport.send(request))
            .await
            .unwrap_or_else(|_| Err(TransportError::new(TransportErrorKind::Timeout)))
            .and_then(|answer| complete(call, answer));
        let (head, body) = match answer {
            Ok(answer) => answer.into_parts(),
            Err(error) => {
                return Err(Box::new((Error::transport(call.operation.clone(), error), Some(sent))));
            }
        };
        if head.status.is_success() {
            if self.shared().slow.note(begun.elapsed()) {
                trace::licence_wait();
            }
            let scrubber = Scrubber::of(&sent);
            return Ok(Answer::Done(Response::new(call.operation.clone(), head, body, scrubber)));
        }
        match self.redirect(call, url, head.status, &head.headers) {
            Ok(Some(next)) => return Ok(Answer::Elsewhere(next)),
            Ok(None) => {}
            Err(error) => return Err(Box::new((error, Some(sent)))),
        }
        let scrubber = Scrubber::of(&sent);
        let error = Error::response(call.operation.clone(), head.status, &head.headers, &body, &scrubber);
        Err(Box::new((error, Some(sent))))
    }

    fn assemble_request(&self, call: &Call, url: &Url) -> Result<Request<Bytes>> {
        let mut request = Request::new(call.body.clone());
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = to_uri(url, &call.operation)?;
        let headers = request.headers_mut();
        headers.clone_from(&call.headers);
        headers.insert(ACCEPT, call.accept.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("epicor-kinetic/", env!("CARGO_PKG_VERSION"))));
        if call.method == Method::POST && call.body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        headers.insert(HeaderName::from_static("x-api-key"), self.shared().api_key.clone());
        if let Some(license) = &self.shared().license {
            headers.insert(HeaderName::from_static("license"), license.clone());
        }
        if let Some(settings) = self.call_settings() {
            let settings = HeaderValue::from_str(&settings).map_err(|_| {
                Error::config(
                    call.operation.clone(),
                    "plant, language or culture cannot be sent; check their characters",
                )
            })?;
            headers.insert(HeaderName::from_static("callsettings"), settings);
        }
        Ok(request)
    }

    /// The `CallSettings` header, only when there is something to set. Headers are ASCII, so the rest is escaped.
    fn call_settings(&self) -> Option<String> {
        let given = self.settings()?;
        let mut settings = serde_json::Map::new();
        settings.insert("Company".to_owned(), self.company().into());
        for (name, value) in given.named() {
            settings.insert(name.to_owned(), value.into());
        }
        let json = serde_json::Value::Object(settings).to_string();
        let mut ascii = String::with_capacity(json.len());
        for unit in json.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => ascii.push(char::from(byte)),
                _ => ascii.extend(format!("\\u{unit:04x}").chars()),
            }
        }
        Some(ascii)
    }

    /// Follows within the origin, for reads. Everything else would carry the key elsewhere or repeat a write.
    fn redirect(&self, call: &Call, url: &Url, status: StatusCode, headers: &HeaderMap) -> Result<Option<Url>> {
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let target = headers
            .get(LOCATION)
            .and_then(|location| location.to_str().ok())
            .and_then(|location| url.join(location).ok());
        let Some(target) = target else { return Ok(None) };
        if target.origin() != self.shared().root.origin() {
            let host = target.host_str().unwrap_or("another host");
            return Err(Error::new(
                ErrorKind::Config,
                Delivery::Answered,
                call.operation.clone(),
                format!("the server redirects to {}://{host}", target.scheme()),
            )
            .with_hint("use the final address as root address, if it is the right one")
            .with_fate(Fate::Final));
        }
        let read = matches!(call.method, Method::GET | Method::HEAD);
        Ok(read.then_some(target))
    }
}

/// Counts calls in a row that took so long that they must have waited for a shared licence.
#[derive(Debug, Default)]
pub(crate) struct SlowCalls(AtomicU32);

impl SlowCalls {
    /// Whether this was the one from which on it is no chance any more.
    fn note(&self, elapsed: Duration) -> bool {
        if elapsed < LICENCE_WAIT {
            self.0.store(0, Ordering::Relaxed);
            return false;
        }
        self.0.fetch_add(1, Ordering::Relaxed) + 1 == SLOW_IN_A_ROW
    }

    pub(crate) fn suspicious(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= SLOW_IN_A_ROW
    }
}

enum Answer {
    Done(Response),
    Elsewhere(Url),
}

impl Call {
    pub(crate) fn get(operation: String, url: Url) -> Self {
        Self {
            operation,
            method: Method::GET,
            url,
            accept: HeaderValue::from_static("application/json"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            idempotent: true,
        }
    }

    pub(crate) fn post_json(operation: String, url: Url, body: Vec<u8>, idempotent: bool) -> Self {
        let mut call = Self { method: Method::POST, body: Bytes::from(body), idempotent, ..Self::get(operation, url) };
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        call
    }
}

/// Refuses a body that is shorter or longer than its head promised; not every transport checks that.
fn complete(call: &Call, answer: http::Response<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
    let bodiless = call.method == Method::HEAD
        || matches!(answer.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || answer.headers().contains_key(CONTENT_ENCODING);
    let promised =
        answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse::<usize>().ok());
    match promised {
        Some(length) if !bodiless && length != answer.body().len() => {
            Err(TransportError::new(TransportErrorKind::Truncated))
        }
        _ => Ok(answer),
    }
}

pub(crate) fn to_uri(url: &Url, operation: &str) -> Result<Uri> {
    url.as_str().parse().map_err(|_| {
        Error::config(operation.to_owned(), "the address is too long or malformed; shorten filter and column list")
    })
}
