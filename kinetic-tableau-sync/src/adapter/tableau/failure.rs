//! Failures of the engine, as the sync sees them.

use crate::adapter::site::failure::with;
use crate::destination::{DestinationError, DestinationErrorKind};
use crate::hyper::{HyperError, HyperErrorKind};

/// A failure of Tableau's extract engine.
pub(super) fn engine_failed(error: HyperError) -> DestinationError {
    let kind = match error.kind() {
        HyperErrorKind::Value | HyperErrorKind::DuplicateKey => DestinationErrorKind::Value,
        _ => DestinationErrorKind::Engine,
    };
    let hint = error.hint().map(ToOwned::to_owned);
    with(DestinationError::new(kind, error.to_string()), hint, error)
}
