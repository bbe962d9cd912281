//! Checkpoints and leases.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a suite for tests: a broken promise is a panic")]

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;

use super::ManualClock;
use crate::checkpoint::Checkpoint;
use crate::clock::Clock;
use crate::model::{Cursor, DatasetId};
use crate::store::{StateErrorKind, StateStore};

const TTL: Duration = Duration::from_mins(1);

fn at(cursor: &str) -> Checkpoint {
    Checkpoint { cursor: Some(Cursor::new(cursor)), ..Checkpoint::default() }
}

/// Checks a [`StateStore`]. `make` gives an empty store whose leases lapse by the clock.
pub async fn state_store<S: StateStore>(make: impl Fn(Arc<dyn Clock>) -> Arc<S>) {
    let clock = ManualClock::at(DateTime::UNIX_EPOCH + Duration::from_hours(500_000));
    let fresh = || make(Arc::new(clock.clone()));
    let (one, other): (DatasetId, DatasetId) = ("one".into(), "two".into());

    // Compare-and-swap.
    let store = fresh();
    assert!(store.load(&one).await.unwrap().is_none(), "an empty store has no checkpoint");
    let lease = store.lease(&one, "a", TTL).await.unwrap();
    let version = store.store(&lease, None, &at("1")).await.unwrap();
    let found = store.load(&one).await.unwrap().unwrap();
    assert_eq!((found.version, found.checkpoint), (version, at("1")), "what was stored is loaded");
    let stale = store.store(&lease, None, &at("2")).await.unwrap_err();
    assert_eq!(stale.kind(), StateErrorKind::Stale, "a first write does not replace a checkpoint");
    let second = store.store(&lease, Some(version), &at("2")).await.unwrap();
    let stale = store.store(&lease, Some(version), &at("3")).await.unwrap_err();
    assert_eq!(stale.kind(), StateErrorKind::Stale, "a write by an old version is refused");
    let found = store.load(&one).await.unwrap().unwrap();
    assert_eq!((found.version, found.checkpoint), (second, at("2")), "a refused write changes nothing");

    // Leases exclude each other, by dataset.
    let refused = store.lease(&one, "b", TTL).await.unwrap_err();
    assert_eq!(refused.kind(), StateErrorKind::Leased, "a lease excludes others");
    let beside = store.lease(&other, "b", TTL).await.unwrap();
    store.store(&beside, None, &at("9")).await.unwrap();
    let listed: Vec<_> = store.list().await.unwrap().into_iter().map(|(dataset, _)| dataset).collect();
    assert_eq!(listed, [one.clone(), other.clone()], "all checkpoints are listed, by name");
    store.release(&lease).await.unwrap();
    let next = store.lease(&one, "b", TTL).await.unwrap();
    assert!(next.fence > lease.fence, "each holder has a larger fence");
    let late = store.store(&lease, Some(second), &at("4")).await.unwrap_err();
    assert_eq!(late.kind(), StateErrorKind::Leased, "a holder that has released cannot write");
    store.release(&lease).await.unwrap();
    store.store(&next, Some(second), &at("5")).await.unwrap();

    // A lease lapses, and its holder is fenced off.
    let store = fresh();
    let lapsed = store.lease(&one, "a", TTL).await.unwrap();
    clock.advance(TTL / 2);
    let lapsed = store.renew(&lapsed, TTL).await.unwrap();
    clock.advance(TTL / 2 + Duration::from_secs(1));
    assert!(store.lease(&one, "b", TTL).await.is_err(), "a renewed lease lasts");
    clock.advance(TTL);
    let taken = store.lease(&one, "b", TTL).await.unwrap();
    assert!(taken.fence > lapsed.fence, "a lapsed lease is taken over with a larger fence");
    let refused = store.store(&lapsed, None, &at("1")).await.unwrap_err();
    assert_eq!(refused.kind(), StateErrorKind::Leased, "a holder whose lease was taken over cannot write");
    assert!(store.renew(&lapsed, TTL).await.is_err(), "nor renew");
    store.release(&lapsed).await.unwrap();
    store.store(&taken, None, &at("2")).await.unwrap();
    assert!(store.lease(&one, "c", TTL).await.is_err(), "nor release what is not its own");
}
