//! The seam to the network: one method from request to answer.

#[cfg(feature = "reqwest")]
mod reqwest;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};

use crate::error::Delivery;

#[cfg(feature = "reqwest")]
pub(crate) use self::reqwest::ReqwestTransport;

/// Sends one request and reads the whole answer. Any status is an answer, never an error.
///
/// An implementation must not follow redirects to another origin, must not retry, and must not log headers: the API
/// key and the identity travel in headers marked sensitive.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends `request` and returns the answer with its complete body.
    ///
    /// # Errors
    /// When no complete answer arrived. The kind says whether the server may have seen the request.
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError>;
}

/// Where the exchange broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// No connection was made; the server has not seen the request.
    Connect,
    /// The request could not be built.
    Invalid,
    /// No answer in time.
    Timeout,
    /// The connection broke before the head of an answer.
    Interrupted,
    /// The body ended before it was complete.
    Truncated,
    /// The answer came from another origin than the one that was asked.
    Redirected,
}

/// A failed exchange.
#[derive(Clone, Debug)]
pub struct TransportError {
    kind: TransportErrorKind,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl TransportError {
    /// A failure without a cause worth keeping.
    pub fn new(kind: TransportErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// A failure with its cause. The text of the cause must not hold secrets.
    pub fn with_source(kind: TransportErrorKind, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind, source: Some(Arc::from(source.into())) }
    }

    /// Where the exchange broke.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// Whether the server may have acted on the request.
    pub fn delivery(&self) -> Delivery {
        match self.kind {
            TransportErrorKind::Connect | TransportErrorKind::Invalid => Delivery::NotSent,
            TransportErrorKind::Timeout
            | TransportErrorKind::Interrupted
            | TransportErrorKind::Truncated
            | TransportErrorKind::Redirected => Delivery::Unknown,
        }
    }

    pub(crate) fn into_source(self) -> Option<Arc<dyn std::error::Error + Send + Sync>> {
        self.source
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TransportErrorKind::Connect => "no connection to the server",
            TransportErrorKind::Invalid => "the request cannot be sent as it is",
            TransportErrorKind::Timeout => "no answer in time",
            TransportErrorKind::Interrupted => "the connection broke before an answer arrived",
            TransportErrorKind::Truncated => "the answer ended before it was complete",
            TransportErrorKind::Redirected => "another server answered than the one that was asked",
        })
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
