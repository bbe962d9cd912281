//! Faults on command, and a log of what was asked; shared by both simulators.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// What goes wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// This status and body, and nothing is done.
    Status {
        /// The status.
        status: u16,
        /// The body.
        body: String,
        /// `Retry-After` in seconds.
        retry_after: Option<u64>,
    },
    /// This status, with an error that repeats all headers, the address and the body of the request, as careless servers do; and nothing
    /// is done.
    Echo(u16),
    /// A page of a gateway, and nothing is done.
    Html(u16),
    /// The connection breaks, and nothing is done.
    DropBefore,
    /// All is done, but the connection breaks before the answer is through.
    DropAfter,
    /// All is done, but the body ends after so many bytes; its length is announced in full.
    CutBody(usize),
    /// All is done, but the body ends after so many bytes, and its length is announced accordingly: only its content tells.
    CutQuietly(usize),
    /// All is done, later.
    Delay(Duration),
}

/// One fault, for requests whose method and path contain a text.
#[derive(Clone, Debug)]
pub struct Fault {
    matching: String,
    skip: u64,
    times: u64,
    effect: Effect,
}

impl Fault {
    /// Strikes the next request that contains `matching` in `METHOD path?query`, once.
    pub fn on(matching: impl Into<String>, effect: Effect) -> Self {
        Self { matching: matching.into(), skip: 0, times: 1, effect }
    }

    /// Strikes the `nth` matching request, counted from one.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.skip = nth.saturating_sub(1);
        self
    }

    /// Strikes so many times in a row.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }
}

/// The faults to come, and the requests so far. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    pending: VecDeque<Fault>,
    requests: Vec<String>,
}

impl Faults {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a fault.
    pub fn push(&self, fault: Fault) {
        self.inner().pending.push_back(fault);
    }

    /// Forgets the faults that have not struck.
    pub fn clear(&self) {
        self.inner().pending.clear();
    }

    /// All requests so far, as `METHOD path?query`. Headers and bodies, and with them all secrets, are not kept.
    pub fn requests(&self) -> Vec<String> {
        self.inner().requests.clone()
    }

    /// How many requests so far contain a text.
    pub fn count(&self, text: &str) -> usize {
        self.inner().requests.iter().filter(|request| request.contains(text)).count()
    }

    /// Notes a request and says what is to go wrong with it.
    pub(crate) fn meet(&self, request: &str) -> Option<Effect> {
        let mut inner = self.inner();
        inner.requests.push(request.to_owned());
        let at = inner.pending.iter_mut().position(|fault| {
            let fits = request.contains(&fault.matching);
            let skipped = fits && fault.skip > 0;
            if skipped {
                fault.skip -= 1;
            }
            fits && !skipped
        })?;
        let fault = inner.pending.get_mut(at)?;
        let effect = fault.effect.clone();
        fault.times = fault.times.saturating_sub(1);
        if fault.times == 0 {
            inner.pending.remove(at);
        }
        Some(effect)
    }
}

/// The answer of a fault that keeps the request from being served.
pub(crate) fn instead(effect: &Effect) -> Option<Response<Body>> {
    match effect {
        Effect::Status { status, body, retry_after } => {
            let mut response = plain(*status, "application/json", body.clone());
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
            }
            Some(response)
        }
        Effect::Html(status) => {
            let page = "<html><head><title>Bad Gateway</title></head><body>nginx</body></html>";
            Some(plain(*status, "text/html", page.to_owned()))
        }
        Effect::DropBefore => Some(broken(Bytes::new(), 1)),
        Effect::Echo(_) | Effect::DropAfter | Effect::CutBody(_) | Effect::CutQuietly(_) | Effect::Delay(_) => None,
    }
}

/// The answer of a fault that repeats the request: each header as it is and escaped for an address, then the address and the body.
pub(crate) fn echo(effect: Option<&Effect>, head: &Parts, body: &[u8]) -> Option<Response<Body>> {
    let Some(Effect::Echo(status)) = effect else { return None };
    let mut said = String::from("echo");
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let escaped = utf8_percent_encode(&value, NON_ALPHANUMERIC);
        // Writing to a String cannot fail.
        let _ = write!(said, " | {name}: {value} | {escaped}");
    }
    let _ = write!(said, " | {} | {}", head.uri, String::from_utf8_lossy(body));
    // In the forms of both servers.
    let answer = serde_json::json!({
        "ErrorMessage": said,
        "ErrorType": "Echo",
        "error": { "code": "400000", "summary": said, "detail": said, "message": said },
    });
    Some(plain(*status, "application/json", answer.to_string()))
}

/// The answer of a fault that strikes behind the work.
pub(crate) async fn spoil(effect: Option<Effect>, response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    let whole = |body| async { axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default() };
    match effect {
        Some(Effect::DropAfter) => {
            // The work is done only once the body was made.
            let _ = whole(body).await;
            broken(Bytes::new(), 1)
        }
        Some(Effect::CutBody(length)) => {
            let body = whole(body).await;
            let announced = body.len();
            let sent = body.slice(..length.min(announced));
            let pieces = stream::iter([Ok(sent), Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))]);
            // What was sent must be out before the connection breaks, or the client does not even get the head.
            let pieces = pieces.then(|piece: std::io::Result<Bytes>| async {
                if piece.is_err() {
                    tokio::task::yield_now().await;
                }
                piece
            });
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(announced));
            Response::from_parts(head, Body::from_stream(pieces))
        }
        Some(Effect::CutQuietly(length)) => {
            let body = whole(body).await;
            head.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(head, Body::from(body.slice(..length.min(body.len()))))
        }
        Some(Effect::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            Response::from_parts(head, body)
        }
        _ => Response::from_parts(head, body),
    }
}

/// An answer that announces more than it sends, and then breaks the connection.
fn broken(sent: Bytes, announced: usize) -> Response<Body> {
    let pieces = [Ok(sent), Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))];
    let mut response = Response::new(Body::from_stream(stream::iter(pieces)));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(announced));
    response
}

pub(crate) fn plain(status: u16, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
