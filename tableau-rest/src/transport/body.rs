//! The body of an answer: whole, or in pieces while it arrives.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::StreamExt as _;

use super::{TransportError, TransportErrorKind};

/// The body of an answer, as a stream of pieces.
pub struct Body {
    inner: Inner,
}

enum Inner {
    Whole(Option<Bytes>),
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>> + Send>>),
}

impl Body {
    /// A body that arrives in pieces.
    pub fn stream(pieces: impl Stream<Item = Result<Bytes, TransportError>> + Send + 'static) -> Self {
        Self { inner: Inner::Stream(Box::pin(pieces)) }
    }

    /// The whole body, as long as it has at most `limit` bytes.
    pub(crate) async fn collect(self, limit: usize) -> Result<Bytes, TransportError> {
        let mut pieces = match self.inner {
            Inner::Whole(whole) => return Ok(whole.unwrap_or_default()),
            Inner::Stream(pieces) => pieces,
        };
        let Some(first) = pieces.next().await.transpose()? else {
            return Ok(Bytes::new());
        };
        let mut whole = BytesMut::new();
        while let Some(piece) = pieces.next().await.transpose()? {
            if whole.is_empty() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&piece);
            if whole.len() > limit {
                return Err(TransportError::with_source(
                    TransportErrorKind::Truncated,
                    "the answer is longer than any that belongs here",
                ));
            }
        }
        Ok(if whole.is_empty() { first } else { whole.freeze() })
    }
}

impl From<Bytes> for Body {
    fn from(whole: Bytes) -> Self {
        Self { inner: Inner::Whole(Some(whole)) }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.inner {
            Inner::Whole(whole) => Poll::Ready(whole.take().filter(|whole| !whole.is_empty()).map(Ok)),
            Inner::Stream(pieces) => pieces.as_mut().poll_next(context),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the content: it is the caller's data.
        f.debug_struct("Body").field("whole", &matches!(self.inner, Inner::Whole(_))).finish_non_exhaustive()
    }
}
