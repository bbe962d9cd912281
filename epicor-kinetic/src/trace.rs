//! Spans and events behind the feature `tracing`, counts behind the feature `metrics`. Names and fields are fixed; no address, body or
//! secret in them.

use std::future::Future;

use crate::error::Error;

#[cfg(feature = "tracing")]
pub(crate) async fn call<F: Future>(operation: &str, work: F) -> F::Output {
    use tracing::Instrument as _;
    work.instrument(tracing::debug_span!("kinetic.call", operation)).await
}

#[cfg(not(feature = "tracing"))]
pub(crate) async fn call<F: Future>(_operation: &str, work: F) -> F::Output {
    work.await
}

#[cfg(feature = "tracing")]
pub(crate) fn failed(error: &Error, attempt: u32) {
    let status = error.status().map(|status| status.as_u16());
    tracing::debug!(kind = ?error.kind(), delivery = ?error.delivery(), status, attempt, "attempt failed");
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn failed(_error: &Error, _attempt: u32) {}

#[cfg(feature = "tracing")]
pub(crate) fn licence_wait() {
    tracing::warn!("several calls in a row took over 20 s: probably all web service licences are in use");
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn licence_wait() {}

/// An attempt is made once more.
#[cfg(feature = "metrics")]
pub(crate) fn repeated(operation: &str) {
    metrics::counter!("epicor_kinetic_retries_total", "operation" => operation.to_owned()).increment(1);
}

#[cfg(not(feature = "metrics"))]
pub(crate) fn repeated(_operation: &str) {}
