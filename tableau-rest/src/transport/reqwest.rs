//! The default transport.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response};

use super::{Body, Transport, TransportError, TransportErrorKind};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Sends through a `reqwest::Client`.
#[derive(Clone, Debug)]
pub(crate) struct ReqwestTransport {
    client: ::reqwest::Client,
}

impl ReqwestTransport {
    /// With our own settings: no redirects, since they would carry the session away and turn a POST into a GET.
    pub(crate) fn with_defaults() -> Result<Self, TransportError> {
        let client = ::reqwest::Client::builder()
            .redirect(::reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| TransportError::with_source(TransportErrorKind::Invalid, error))?;
        Ok(Self { client })
    }

    pub(crate) fn new(client: ::reqwest::Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl Transport for ReqwestTransport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, TransportError> {
        let request = ::reqwest::Request::try_from(request).map_err(translate)?;
        let origin = request.url().origin();
        let mut answer = self.client.execute(request).await.map_err(translate)?;
        // Only a supplied client can follow redirects; its answer then is not the one that was asked for.
        if answer.url().origin() != origin {
            return Err(TransportError::new(TransportErrorKind::Redirected));
        }
        let mut response = Response::new(Body::from(Bytes::new()));
        *response.status_mut() = answer.status();
        *response.version_mut() = answer.version();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        let pieces = answer.bytes_stream().map(|piece| {
            // Whatever breaks after the head of the answer leaves the body incomplete.
            piece.map_err(|error| {
                let timeout = error.is_timeout();
                let kind = if timeout { TransportErrorKind::Timeout } else { TransportErrorKind::Truncated };
                TransportError::with_source(kind, error.without_url())
            })
        });
        *response.body_mut() = Body::stream(pieces);
        Ok(response)
    }
}

/// The address may hold names from the site, so it does not travel with the error.
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
