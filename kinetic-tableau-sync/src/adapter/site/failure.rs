//! Failures of the client, as the sync sees them.

use tableau_rest::{Delivery, Error, ErrorKind};

use crate::destination::{DestinationError, DestinationErrorKind};

/// A failure of the REST client.
pub(in crate::adapter) fn failed(error: Error) -> DestinationError {
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

/// A failure with a hint, where there is one, and its cause.
pub(in crate::adapter) fn with(
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
