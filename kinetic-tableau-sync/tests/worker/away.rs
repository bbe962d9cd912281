//! Workers whose store loses answers, or cannot be reached for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kinetic_tableau_sync::store::{Lease, MemoryStore, Note, StateError, StateErrorKind, Versioned};
use kinetic_tableau_sync::worker::{Slots, Worker, workers};
use kinetic_tableau_sync::*;
use tokio::time::sleep;

use super::fleet::{Fleet, start};
use super::{MINUTE, work};

/// The store of a fleet as one of its workers sees it.
#[derive(Debug)]
pub(super) struct Remote {
    inner: Arc<MemoryStore>,
    /// The answer to this write of a worker's note is lost, though it is written.
    loses: AtomicI64,
    /// Checkpoints cannot be read.
    pub(super) away: AtomicBool,
    /// Reading one ends whatever wants it.
    pub(super) breaks: AtomicBool,
    /// Renewals fail, but only after this.
    hangs: Option<Duration>,
}

impl Remote {
    pub(super) fn new(fleet: &Fleet) -> Self {
        let inner = Arc::clone(&fleet.store);
        Self {
            inner,
            loses: AtomicI64::default(),
            away: AtomicBool::default(),
            breaks: AtomicBool::default(),
            hangs: None,
        }
    }
}

fn away() -> StateError {
    StateError::new(StateErrorKind::Unavailable, "the connection was lost")
}

#[async_trait]
impl NoteStore for Remote {
    async fn note(&self, name: &str) -> Result<Option<Note>, StateError> {
        self.inner.note(name).await
    }

    async fn notes(&self, prefix: &str) -> Result<Vec<(String, Note)>, StateError> {
        self.inner.notes(prefix).await
    }

    async fn write_note(&self, name: &str, expected: Option<u64>, body: &str) -> Result<u64, StateError> {
        let written = self.inner.write_note(name, expected, body).await?;
        let lost = name.starts_with("worker/") && self.loses.fetch_sub(1, Ordering::SeqCst) == 1;
        if lost { Err(away()) } else { Ok(written) }
    }

    async fn remove_note(&self, name: &str, expected: u64) -> Result<(), StateError> {
        self.inner.remove_note(name, expected).await
    }
}

#[async_trait]
impl StateStore for Remote {
    async fn load(&self, dataset: &DatasetId) -> Result<Option<Versioned>, StateError> {
        assert!(!self.breaks.load(Ordering::SeqCst), "of the row of Miller");
        if self.away.load(Ordering::SeqCst) { Err(away()) } else { self.inner.load(dataset).await }
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
        match self.hangs {
            Some(hangs) => {
                sleep(hangs).await;
                Err(away())
            }
            None => self.inner.renew(lease, ttl).await,
        }
    }

    async fn release(&self, lease: &Lease) -> Result<(), StateError> {
        self.inner.release(lease).await
    }
}

#[tokio::test(start_paused = true)]
async fn one_lost_answer_does_not_silence_a_worker_and_it_clears_its_note_when_it_leaves() {
    for nth in [1, 2, 60] {
        let fleet = Fleet::new(Duration::from_secs(1));
        let store = Remote { loses: nth.into(), ..Remote::new(&fleet) };
        let one = Worker::builder(Arc::new(store))
            .clock(Arc::clone(&fleet.clock) as _)
            .owner("one")
            .job(fleet.job("one", "a", "every 15m"))
            .build();
        let look = async {
            sleep(MINUTE * 29).await;
            let alive = workers(&*fleet.store, fleet.clock.now()).await.unwrap();
            assert_eq!(alive.len(), 1, "beat {nth} was not answered, and it still counts as dead");
        };
        // The sixtieth beat is the last one.
        tokio::join!(work(&fleet, vec![one], 30), look);
        assert_eq!(fleet.store.notes("worker/").await.unwrap(), [], "beat {nth}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_told_as_lost_before_somebody_else_can_take_it() {
    // The store fails at once, or only after the time that a statement may take.
    for hangs in [0, 30] {
        let fleet = Fleet::new(Duration::from_secs(1));
        let remote = Remote { hangs: Some(Duration::from_secs(hangs)), ..Remote::new(&fleet) };
        let one = Slots::new(Arc::new(remote), Arc::clone(&fleet.clock) as _, "one");
        let two = Slots::new(Arc::clone(&fleet.store) as _, Arc::clone(&fleet.clock) as _, "two");
        let names = ["tableau-token/t".to_owned()];
        let (_, held) = one.take_one_of(&names).await.unwrap().unwrap();
        let taken = async {
            loop {
                sleep(Duration::from_millis(100)).await;
                if let Some((_, slot)) = two.take_one_of(&names).await.unwrap() {
                    return (slot, fleet.clock.now());
                }
            }
        };
        let lost = async {
            held.lost().await;
            fleet.clock.now()
        };
        let ((_slot, taken), lost) = tokio::join!(taken, lost);
        assert!(lost <= taken, "taken by another worker at {taken}, told as lost at {lost}");
        assert!((lost - start()).num_seconds() >= 50, "it is not given up at the first failure, but at {lost}");
    }
}
