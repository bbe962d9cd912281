//! Proof for stores of one's own: run these suites against them in a test.
//!
//! Each suite takes empty stores from a closure, one per case, and panics with the promise that was broken.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use std::sync::Arc;
//! use kinetic_tableau_sync::store::{MemoryStore, conformance};
//!
//! conformance::state_store(|clock| Arc::new(MemoryStore::with_clock(clock))).await;
//! conformance::fingerprint_store(|| Arc::new(MemoryStore::new())).await;
//! conformance::audit_store(|| Arc::new(MemoryStore::new())).await;
//! conformance::reject_store(|| Arc::new(MemoryStore::new())).await;
//! conformance::note_store(|| Arc::new(MemoryStore::new())).await;
//! # }
//! ```

mod audit;
mod fingerprints;
mod notes;
mod rejects;
mod state;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub use self::audit::audit_store;
pub use self::fingerprints::fingerprint_store;
pub use self::notes::note_store;
pub use self::rejects::reject_store;
pub use self::state::state_store;
use crate::clock::Clock;

/// A clock that moves only when it is told to.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<DateTime<Utc>>>);

impl ManualClock {
    /// A clock that stands at this moment.
    #[must_use]
    pub fn at(now: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now += by;
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}
