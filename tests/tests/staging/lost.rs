//! The wire to the database is cut at every message of a run, before the server has it or behind its answer, as by a death of the process;
//! the next runs make everything right, and each load lands once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kinetic_tableau_sync::store::SqliteStore;
use kinetic_tableau_sync::{
    AuditEvent, AuditFilter, AuditStore as _, DatasetSpec, Deletes, Disposition, KineticSource, LoadKind,
    PostgresDestination, RunSummary, StagingOptions, SyncError, Syncer,
};
use simulators::postgres::{Database, PostgresServer};

use super::engine::assert_landed;
use super::proxy::{self, Cut};
use super::{database, text};
use crate::e2e::support::{World, vendors};

struct Wired {
    world: World<SqliteStore>,
    database: Database,
    port: u16,
    cut: Arc<Cut>,
    spec: DatasetSpec,
}

impl Wired {
    async fn new() -> Self {
        let (world, database, cut) = (World::new().await, database().await, Arc::new(Cut::default()));
        cut.never();
        let port = proxy::start(PostgresServer::shared().await.unwrap().port(), Arc::clone(&cut)).await;
        Self { world, database, port, cut, spec: vendors() }
    }

    /// As a process that was started anew.
    async fn run(&self) -> Result<RunSummary, SyncError> {
        let options = StagingOptions::new(self.database.url_at("127.0.0.1", self.port)).deletes(Deletes::Hard);
        let destination = PostgresDestination::new(options).unwrap();
        let source = KineticSource::new(self.world.kinetic_client());
        let store = Arc::clone(&self.world.store);
        Syncer::builder(Arc::new(source), Arc::new(destination), store).build().run(&self.spec).await
    }

    /// Runs until one ends well; answers whether the wire was cut.
    async fn until_landed(&self, place: &str) -> bool {
        for _ in 0..4 {
            let ended = self.run().await;
            let struck = self.cut.strikes.load(Ordering::SeqCst) > 0;
            self.cut.never();
            match ended {
                Ok(_) => return struck,
                Err(error) => {
                    assert!(struck, "{place}: {error}");
                    assert!(
                        matches!(error.disposition(), Disposition::Retry { .. }),
                        "{place}: {error}: {:?}",
                        error.hint()
                    );
                    // Only that it was cut is of interest from here on.
                    self.cut.strikes.store(1, Ordering::SeqCst);
                }
            }
        }
        panic!("{place}: four runs were not enough");
    }

    /// Each landing in the trail has one receipt, and no receipt is without one.
    async fn assert_once(&self, place: &str) {
        let client = self.database.connect().await.unwrap();
        let events = self.world.store.events(&AuditFilter::default()).await.unwrap();
        let landed = events.iter().filter(|entry| matches!(entry.event, AuditEvent::Landed { .. })).count();
        let receipts: usize = text(&client, "SELECT count(*) FROM tableau_loads.receipt").await.parse().unwrap();
        let landings: usize = text(&client, "SELECT landings FROM tableau_loads.landed").await.parse().unwrap();
        assert_eq!((landed, landings), (receipts, receipts), "{place}");
        // What could not be removed is by the next load.
        self.world.kinetic.random_changes("Vendors", 2, 9);
        self.run().await.unwrap();
        let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'stage%' AND relkind = 'r'";
        assert_eq!(text(&client, left).await, "0", "{place}: no stage is left");
        assert_landed(&self.world, &self.database, &self.spec).await;
        assert_eq!(self.world.store.verify().await.unwrap().first_broken, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_at_any_message_each_load_lands_once() {
    for after in [false, true] {
        let (mut cuts, mut kept) = (0, 0);
        let mut nth = 1;
        loop {
            let wired = Wired::new().await;
            let place = format!("message {nth}, after: {after}");
            wired.run().await.unwrap();
            wired.world.kinetic.random_changes("Vendors", 9, 3);
            wired.cut.at(nth, after);
            let struck = wired.until_landed(&place).await;
            assert_landed(&wired.world, &wired.database, &wired.spec).await;
            let client = wired.database.connect().await.unwrap();
            let kinds = "SELECT string_agg(kind, ' ' ORDER BY landed_at) FROM tableau_loads.receipt";
            kept += usize::from(text(&client, kinds).await == "full delta");
            wired.assert_once(&place).await;
            if !struck {
                break;
            }
            cuts += 1;
            // An answer that is lost is the harder case.
            nth += if after { 1 } else { 3 };
        }
        assert!(nth > 50, "only {nth} messages were found to cut at");
        assert_eq!(kept, cuts + 1, "a lost answer is looked up: no cut makes a full load of a delta");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_load_that_is_cut_off_lands_once() {
    for after in [false, true] {
        for nth in (1..).step_by(3) {
            let wired = Wired::new().await;
            let place = format!("message {nth}, after: {after}");
            wired.cut.at(nth, after);
            let struck = wired.until_landed(&place).await;
            assert_landed(&wired.world, &wired.database, &wired.spec).await;
            wired.assert_once(&place).await;
            assert_eq!(wired.run().await.unwrap().kind, Some(LoadKind::Delta), "{place}");
            if !struck {
                assert!(nth > 30, "only {nth} messages");
                break;
            }
        }
    }
}
