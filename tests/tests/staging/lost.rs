//! The wire to the database is cut at every message of a run, before the server has it or behind its answer, as by a death of the process;
//! the next runs make everything right, and each load lands once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use kinetic_tableau_sync::store::MemoryStore;
use kinetic_tableau_sync::{
    AuditEvent, AuditFilter, AuditStore as _, Clock, DatasetSpec, Deletes, Disposition, KineticSource,
    PostgresDestination, RunSummary, StagingOptions, SyncError, Syncer,
};
use simulators::kinetic::KineticSim;
use simulators::postgres::{Database, PostgresServer};
use simulators::tableau::TableauSim;

use super::engine::assert_landed;
use super::proxy::{self, Cut};
use super::{database, text};
use crate::e2e::support::{World, vendors};

/// A clock that can be put forward, and never waits for long.
#[derive(Debug, Default)]
struct Jumping(AtomicI64);

#[async_trait]
impl Clock for Jumping {
    fn now(&self) -> DateTime<Utc> {
        Utc::now() + chrono::Duration::seconds(self.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration.min(Duration::from_millis(50))).await;
    }
}

struct Wired {
    world: World<MemoryStore>,
    clock: Arc<Jumping>,
    database: Database,
    port: u16,
    cut: Arc<Cut>,
    spec: DatasetSpec,
}

/// What becomes of the process when the wire is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It dies.
    Dies,
    /// It goes on, and may connect again.
    GoesOn,
}

impl Wired {
    async fn new() -> Self {
        let clock = Arc::new(Jumping::default());
        let store = Arc::new(MemoryStore::with_clock(Arc::clone(&clock) as _));
        let world = World::on(store, KineticSim::builder(), TableauSim::builder()).await;
        let (database, cut) = (database().await, Arc::new(Cut::default()));
        cut.never();
        let port = proxy::start(PostgresServer::shared().await.unwrap().port(), Arc::clone(&cut)).await;
        Self { world, clock, database, port, cut, spec: vendors() }
    }

    /// As a process that was started anew.
    async fn run(&self) -> Result<RunSummary, SyncError> {
        let options = StagingOptions::new(self.database.url_at("127.0.0.1", self.port)).deletes(Deletes::Hard);
        let destination = PostgresDestination::new(options).unwrap();
        let source = KineticSource::new(self.world.kinetic_client());
        let store = Arc::clone(&self.world.store);
        let syncer =
            Syncer::builder(Arc::new(source), Arc::new(destination), store).clock(Arc::clone(&self.clock) as _);
        syncer.build().run(&self.spec).await
    }

    /// Runs until one ends well; answers whether the wire was cut.
    async fn until_landed(&self, then: Then, place: &str) -> bool {
        for _ in 0..4 {
            let ended = tokio::select! {
                ended = self.run() => Some(ended),
                () = self.cut.struck(), if then == Then::Dies => None,
            };
            // Whatever lease there was lapses.
            self.clock.0.fetch_add(600, Ordering::SeqCst);
            match ended {
                Some(Ok(_)) => {
                    let struck = self.cut.has_struck();
                    self.cut.never();
                    return struck;
                }
                Some(Err(error)) => {
                    assert!(self.cut.has_struck(), "{place}: {error}");
                    assert!(
                        matches!(error.disposition(), Disposition::Retry { .. }),
                        "{place}: {error}: {:?}",
                        error.hint()
                    );
                }
                None => {}
            }
        }
        panic!("{place}: four runs were not enough");
    }

    /// Each landing in the trail has one receipt, and no receipt is without one. Answers how many were full loads.
    async fn assert_once(&self, place: &str) -> String {
        assert_landed(&self.world, &self.database, &self.spec).await;
        let client = self.database.connect().await.unwrap();
        let events = self.world.store.events(&AuditFilter::default()).await.unwrap();
        let landed = events.iter().filter(|entry| matches!(entry.event, AuditEvent::Landed { .. })).count();
        let receipts: usize = text(&client, "SELECT count(*) FROM tableau_loads.receipt").await.parse().unwrap();
        let landings: usize = text(&client, "SELECT landings FROM tableau_loads.landed").await.parse().unwrap();
        assert_eq!((landed, landings), (receipts, receipts), "{place}");
        assert_eq!(self.world.store.verify().await.unwrap().first_broken, None);
        text(&client, "SELECT count(*) FROM tableau_loads.receipt WHERE kind = 'full'").await
    }

    /// What could not be removed is by the next load.
    async fn assert_cleared(&self) {
        self.world.kinetic.random_changes("Vendors", 2, 9_999);
        self.run().await.unwrap();
        let client = self.database.connect().await.unwrap();
        let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'stage%' AND relkind = 'r'";
        assert_eq!(text(&client, left).await, "0", "no stage is left");
    }
}

/// A full load, and changes behind it again and again, while the wire is cut at one message after the other until none is left.
async fn changes(after: bool, step: usize, then: Then) {
    let wired = Wired::new().await;
    wired.run().await.unwrap();
    for nth in (1_i64..).step_by(step) {
        let place = format!("message {nth}, after: {after}, then: {then:?}");
        wired.world.kinetic.random_changes("Vendors", 5, u64::try_from(nth).unwrap());
        wired.cut.at(nth, after);
        let struck = wired.until_landed(then, &place).await;
        let full = wired.assert_once(&place).await;
        assert_eq!(full, "1", "{place}: a lost answer is looked up, so that no full load follows");
        if !struck {
            assert!(nth > 50, "only {nth} messages were found to be cut at");
            break;
        }
    }
    wired.assert_cleared().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_at_any_message_loses_nothing_and_lands_each_load_once() {
    tokio::join!(changes(false, 2, Then::Dies), changes(true, 1, Then::Dies));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_at_any_message_costs_a_run_at_most() {
    tokio::join!(changes(false, 5, Then::GoesOn), changes(true, 3, Then::GoesOn));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_load_that_dies_at_any_message_lands_once() {
    for (after, step) in [(false, 11), (true, 7)] {
        for nth in (1..).step_by(step) {
            let wired = Wired::new().await;
            let place = format!("message {nth}, after: {after}");
            wired.cut.at(nth, after);
            let struck = wired.until_landed(Then::Dies, &place).await;
            wired.assert_once(&place).await;
            wired.assert_cleared().await;
            if !struck {
                assert!(nth > 30, "only {nth} messages");
                break;
            }
        }
    }
}
