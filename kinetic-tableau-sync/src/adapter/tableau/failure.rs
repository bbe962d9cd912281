//! Failures of the client and of the engine, as the sync sees them.

use tableau_rest::{Delivery, Error, ErrorKind};

use crate::destination::{DestinationError, DestinationErrorKind};
use crate::hyper::{HyperError, HyperErrorKind};

/// A failure of the REST client.
pub(super) fn failed(error: Error) -> DestinationError {
    let kind = match error.kind() {
        // It may have happened: the load is asked for again under the same request id.
        _ if error.delivery() == Delivery::Unknown => DestinationErrorKind::Unknown,
        ErrorKind::Auth | ErrorKind::Forbidden => DestinationErrorKind::Auth,
        ErrorKind::PayloadTooLarge => DestinationErrorKind::TooLarge,
        ErrorKind::Config | ErrorKind::NotFound => DestinationErrorKind::Config,
        ErrorKind::UpdateInProgress
        | ErrorKind::AlreadyQueued
        | ErrorKind::Throttled
        | ErrorKind::Server
        | ErrorKind::Transport => DestinationErrorKind::Unavailable,
        ErrorKind::Conflict | ErrorKind::AlreadyExists | ErrorKind::Unsupported | ErrorKind::Rejected => {
            DestinationErrorKind::Rejected
        }
        ErrorKind::File => DestinationErrorKind::Engine,
        _ => DestinationErrorKind::Other,
    };
    let message = format!("Tableau: {}: {}", error.operation(), error.message());
    let hint = match kind {
        // The client cannot know that the load is noted, and asked for again under the same request id.
        DestinationErrorKind::Unknown => {
            Some("run again: it finds out first whether the load has landed, and lands it once".to_owned())
        }
        _ => error.hint().map(ToOwned::to_owned),
    };
    with(DestinationError::new(kind, message), hint, error)
}

/// A failure of Tableau's extract engine.
pub(super) fn engine_failed(error: HyperError) -> DestinationError {
    let kind = match error.kind() {
        HyperErrorKind::Value | HyperErrorKind::DuplicateKey => DestinationErrorKind::Value,
        _ => DestinationErrorKind::Engine,
    };
    let hint = error.hint().map(ToOwned::to_owned);
    with(DestinationError::new(kind, error.to_string()), hint, error)
}

fn with(
    failure: DestinationError,
    hint: Option<String>,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> DestinationError {
    let failure = failure.with_cause(cause);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
