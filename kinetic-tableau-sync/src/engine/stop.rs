//! Ending runs from outside.

use std::sync::Arc;

use tokio::sync::watch;

/// Ends the runs of the syncers that it was given to, for instance on a signal: see [`SyncerBuilder::stop`](super::SyncerBuilder::stop).
/// Clones are one and the same.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// One that has not been used.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Ends every run that is under way, and refuses later ones. A run ends at once: what it was staging is abandoned, what it had
    /// sealed is delivered by the next run, and its lease is given back before it answers with [`Cause::Stopped`](super::Cause::Stopped).
    pub fn now(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was used.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is used.
    pub async fn stopped(&self) {
        let mut watched = self.0.subscribe();
        // The sender is ours, so that waiting never fails.
        if watched.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}
