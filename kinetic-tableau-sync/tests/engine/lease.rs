//! What a run makes of a lease that cannot be renewed, in simulated time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kinetic_tableau_sync::store::{Lease, MemoryStore, Versioned};
use kinetic_tableau_sync::*;
use tokio::time::{Instant, sleep};

use super::faulty::FaultyStore;
use super::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// Follows the time of the runtime, which is simulated.
#[derive(Debug)]
struct Simulated(Instant);

#[async_trait]
impl Clock for Simulated {
    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        chrono::DateTime::UNIX_EPOCH + self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        sleep(duration).await;
    }
}

/// A state store of which some renewals fail.
#[derive(Debug)]
struct Shaky {
    inner: Arc<FaultyStore>,
    /// So many renewals fail.
    failing: AtomicI64,
    /// Failing ones give no answer at all.
    silent: AtomicBool,
}

#[async_trait]
impl StateStore for Shaky {
    async fn load(&self, dataset: &DatasetId) -> Result<Option<Versioned>, StateError> {
        self.inner.load(dataset).await
    }

    async fn store(&self, lease: &Lease, expected: Option<u64>, next: &Checkpoint) -> Result<u64, StateError> {
        self.inner.store(lease, expected, next).await
    }

    async fn list(&self) -> Result<Vec<(DatasetId, Versioned)>, StateError> {
        self.inner.list().await
    }

    async fn lease(&self, dataset: &DatasetId, owner: &str, ttl: Duration) -> Result<Lease, StateError> {
        self.inner.lease(dataset, owner, ttl).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, StateError> {
        if self.failing.fetch_sub(1, Ordering::SeqCst) > 0 {
            if self.silent.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            return Err(StateError::new(StateErrorKind::Unavailable, "the connection was lost"));
        }
        self.inner.renew(lease, ttl).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StateError> {
        self.inner.release(lease).await
    }
}

/// A world whose source takes five minutes, and a store of which so many renewals fail.
fn slow(failing: i64, silent: bool) -> (World, Arc<Shaky>, Syncer) {
    let mut world = World::new();
    world.seed(20);
    *world.source.takes.lock().unwrap() = SECOND * 300;
    let clock = Arc::new(Simulated(Instant::now()));
    let inner = MemoryStore::with_clock(Arc::clone(&clock) as _);
    world.store = Arc::new(FaultyStore { inner, fault: Arc::clone(&world.fault) });
    let state = Arc::new(Shaky { inner: Arc::clone(&world.store), failing: failing.into(), silent: silent.into() });
    let syncer = world.syncer().clock(clock).state(Arc::clone(&state) as _).lease(SECOND * 60).build();
    (world, state, syncer)
}

/// The failures that the trail tells of, by their steps.
async fn told(world: &World) -> Vec<String> {
    let events = world.store.events(&AuditFilter::default()).await.unwrap();
    let stages = events.into_iter().filter_map(|entry| match entry.event {
        AuditEvent::Failed { stage, .. } => Some(stage),
        _ => None,
    });
    stages.collect()
}

#[tokio::test(start_paused = true)]
async fn renewals_that_fail_for_a_while_end_no_run() {
    for (failing, silent) in [(1, false), (8, false), (1, true), (3, true)] {
        let (world, _, syncer) = slow(failing, silent);
        let ended = syncer.run(&world.spec).await;
        assert!(ended.is_ok(), "{failing} renewals failed, silently: {silent}: {ended:?}");
        assert_eq!(world.landed(), world.truth());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_ends_the_run_when_its_time_is_over_and_not_later() {
    for silent in [false, true] {
        let (world, state, syncer) = slow(i64::MAX, silent);
        let began = Instant::now();
        let watch = async {
            sleep(SECOND * 59).await;
            assert!(state.inner.lease(&world.spec.id, "another", SECOND).await.is_err(), "it is still ours");
        };
        let (ended, ()) = tokio::join!(syncer.run(&world.spec), watch);
        let took = began.elapsed();
        let error = ended.unwrap_err();
        assert_eq!(error.stage(), Stage::Lease);
        assert!(error.run().is_some(), "{error}");
        assert!(matches!(error.disposition(), Disposition::Retry { .. }), "{error}");
        // What is noted of it may take some seconds more; nothing is published behind the lease.
        assert!((SECOND * 60..SECOND * 75).contains(&took), "{took:?}");
        assert_eq!(told(&world).await, ["lease"], "the trail takes no lease");
        assert!(world.landed().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_to_renew_is_noted_once_the_store_is_there_again() {
    let (world, state, syncer) = slow(i64::MAX, false);
    let back = async {
        // Behind the last renewal of the run, and before it is given up.
        sleep(SECOND * 59 + SECOND / 2).await;
        state.failing.store(0, Ordering::SeqCst);
    };
    let (ended, ()) = tokio::join!(syncer.run(&world.spec), back);
    let checkpoint = state.load(&world.spec.id).await.unwrap().map(|found| found.checkpoint).unwrap_or_default();
    ended.expect_err("the run was given up");
    assert_eq!(checkpoint.failures, 1);
    assert!(checkpoint.retry_at.is_some(), "the next try waits");
    assert!(checkpoint.last_run.unwrap().error.unwrap().contains("could not be renewed"));
    assert_eq!(told(&world).await, ["lease"]);
    assert!(state.inner.lease(&world.spec.id, "another", SECOND).await.is_ok(), "it was given back");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_else_has_taken_ends_the_run_and_the_trail_says_so() {
    let (world, state, syncer) = slow(0, false);
    let other = async {
        sleep(SECOND * 10).await;
        // As if it had lapsed: given back behind the run's back, and taken.
        let ours =
            Lease { dataset: world.spec.id.clone(), owner: String::new(), fence: 1, expires: chrono::Utc::now() };
        state.inner.release(&ours).await.unwrap();
        state.inner.lease(&world.spec.id, "another", SECOND * 600).await.unwrap()
    };
    let (ended, lease) = tokio::join!(syncer.run(&world.spec), other);
    let error = ended.unwrap_err();
    assert!(matches!(error.cause(), Cause::State(cause) if cause.kind() == StateErrorKind::Leased), "{error}");
    assert_eq!(told(&world).await, ["lease"]);
    assert!(state.load(&world.spec.id).await.unwrap().is_none(), "the state is left to its new holder");
    state.inner.renew(&lease, SECOND).await.unwrap();
}
