//! Keeping leases, of runs and of slots. One renewal that fails is no lost lease: it is ours until its own time is over.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::Parts;
use crate::store::{Lease, StateError, StateErrorKind, StateStore};

/// How long the store may take for an answer while a lease is at stake.
pub(super) fn patience(lease: Duration) -> Duration {
    lease / 6
}

/// Renews a lease for ever. Ends when somebody else has taken it, or when its time is over and it could not be renewed.
///
/// `asked` is the moment before the lease was asked for: counted from there by our own clock, it lapses here before it does for others.
pub(super) async fn keep(parts: &Parts, lease: &Lease, mut asked: Instant) -> StateError {
    let mut lease = lease.clone();
    loop {
        parts.clock.sleep(parts.lease / 3).await;
        match renew(&*parts.state, &lease, parts.lease, asked + parts.lease).await {
            Ok(renewed) => (lease, asked) = renewed,
            Err(error) => return error,
        }
    }
}

/// Renews a lease of such a length, trying again until its end. Answers it with the moment before it was asked for.
pub(crate) async fn renew(
    state: &dyn StateStore,
    lease: &Lease,
    length: Duration,
    end: Instant,
) -> Result<(Lease, Instant), StateError> {
    // Whoever was stopped for longer than the lease may ask once: perhaps nobody has taken it.
    let mut last = Instant::now() + patience(length);
    loop {
        let asked = Instant::now();
        let error = match timeout_at(last, state.renew(lease, length)).await {
            Ok(Ok(renewed)) => return Ok((renewed, asked)),
            Ok(Err(error)) if error.kind() == StateErrorKind::Leased => return Err(error),
            Ok(Err(error)) => error,
            Err(_) => StateError::new(StateErrorKind::Unavailable, "the store does not answer"),
        };
        // Not at once: a store that is starting again has enough to do.
        sleep_until(end.min(Instant::now() + length / 30)).await;
        let now = Instant::now();
        if now >= end {
            let message = format!("the lease of dataset {} could not be renewed in time: {error}", lease.dataset);
            return Err(StateError::new(StateErrorKind::Unavailable, message).with_cause(error));
        }
        last = end.min(now + patience(length));
    }
}
