//! The default transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{Request, Response};

use super::{Transport, TransportError, TransportErrorKind};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A promised length is trusted for the allocation up to here; beyond, the buffer grows as the bytes arrive.
const LARGEST_PROMISE: u64 = 64 * 1024 * 1024;

/// An answer whose first two pieces have more bytes than this is likely to be as long as the last one.
const LONG: usize = 4 * 1024;

/// No more than this is set aside for an answer that does not tell its length.
const LONGEST_GUESS: usize = 16 * 1024 * 1024;

/// Sends through a `reqwest::Client`.
#[derive(Clone, Debug)]
pub(crate) struct ReqwestTransport {
    client: ::reqwest::Client,
    /// Length of the last answer of many pieces: pages are alike, and a buffer that grows is copied again and again.
    last: Arc<AtomicUsize>,
}

impl ReqwestTransport {
    /// With our own settings: no redirects, since they would carry the API key away.
    pub(crate) fn with_defaults() -> Result<Self, TransportError> {
        let client = ::reqwest::Client::builder()
            .redirect(::reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| TransportError::with_source(TransportErrorKind::Invalid, error))?;
        Ok(Self::new(client))
    }

    pub(crate) fn new(client: ::reqwest::Client) -> Self {
        Self { client, last: Arc::default() }
    }
}

#[async_trait]
impl Transport for ReqwestTransport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let request = ::reqwest::Request::try_from(request).map_err(translate)?;
        let origin = request.url().origin();
        let mut answer = self.client.execute(request).await.map_err(translate)?;
        // Only a supplied client can follow redirects; its answer then is not the one that was asked for.
        if answer.url().origin() != origin {
            return Err(TransportError::new(TransportErrorKind::Redirected));
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.version_mut() = answer.version();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        let promised = answer.content_length().map(|length| length.min(LARGEST_PROMISE));
        *response.body_mut() = self.collect(&mut answer, promised).await?;
        Ok(response)
    }
}

impl ReqwestTransport {
    /// Reads the body. A body of one piece is handed on as it is; a longer one is copied once, into its final place.
    async fn collect(&self, answer: &mut ::reqwest::Response, promised: Option<u64>) -> Result<Bytes, TransportError> {
        let Some(first) = next(answer).await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = next(answer).await? else {
            return Ok(first);
        };
        let promised = promised.and_then(|length| usize::try_from(length).ok());
        let expected = promised.unwrap_or_else(|| {
            let last = self.last.load(Ordering::Relaxed);
            // Only where the answer has become long already.
            if first.len() + second.len() > LONG { last + last / 32 } else { 0 }
        });
        let mut body = BytesMut::with_capacity(expected.max(first.len() + second.len()));
        body.extend_from_slice(&first);
        body.extend_from_slice(&second);
        drop((first, second));
        while let Some(piece) = next(answer).await? {
            body.extend_from_slice(&piece);
        }
        self.last.store(body.len().min(LONGEST_GUESS), Ordering::Relaxed);
        Ok(body.freeze())
    }
}

/// Whatever breaks after the head of the answer leaves the body incomplete.
async fn next(answer: &mut ::reqwest::Response) -> Result<Option<Bytes>, TransportError> {
    answer.chunk().await.map_err(|error| {
        let kind = if error.is_timeout() { TransportErrorKind::Timeout } else { TransportErrorKind::Truncated };
        TransportError::with_source(kind, error.without_url())
    })
}

/// The address may hold filter values, so it does not travel with the error.
fn translate(error: ::reqwest::Error) -> TransportError {
    let kind = if error.is_connect() {
        TransportErrorKind::Connect
    } else if error.is_builder() {
        TransportErrorKind::Invalid
    } else if error.is_timeout() {
        TransportErrorKind::Timeout
    } else {
        TransportErrorKind::Interrupted
    };
    TransportError::with_source(kind, error.without_url())
}
