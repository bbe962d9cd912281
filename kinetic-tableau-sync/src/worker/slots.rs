//! Limits that hold across workers: at most so many runs of a connection at once, and a sign-in that only one worker may have.
//!
//! A slot is a lease in the state store under a name that no dataset can have. It is renewed as long as it is held, lapses with a dead
//! process, and is free again at once when it is given back. Whether it was renewed in time is told by this process's own clock, which the
//! store need not be reached for: before another worker can have it, the loss is known here.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::engine::renew;
use crate::model::DatasetId;
use crate::store::{Lease, StateError, StateErrorKind, StateStore};

/// How long a slot is held unless it is renewed. It is renewed after a third of that.
const TTL: Duration = Duration::from_mins(1);

/// At most so many at once, under one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limit {
    name: String,
    most: u32,
}

impl Limit {
    /// A limit. Workers that are to keep it together use the same name and number.
    pub fn new(name: impl Into<String>, most: u32) -> Self {
        Self { name: name.into(), most: most.max(1) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many at once.
    pub fn most(&self) -> u32 {
        self.most
    }
}

/// Slots that workers share through their state store.
#[derive(Clone, Debug)]
pub struct Slots {
    state: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
    owner: String,
    ttl: Duration,
}

impl Slots {
    /// Slots in a store, taken in the name of a worker.
    pub fn new(state: Arc<dyn StateStore>, clock: Arc<dyn Clock>, owner: impl Into<String>) -> Self {
        Self { state, clock, owner: owner.into(), ttl: TTL }
    }

    /// How long a slot is held unless it is renewed, which is done after a third of that; a minute by default. Others wait so long for what
    /// a worker that has died has held.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl.max(Duration::from_millis(1));
        self
    }

    /// Takes one of the slots of a limit; none when all are taken.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn take(&self, limit: &Limit) -> Result<Option<Slot>, StateError> {
        let names: Vec<String> = (0..limit.most).map(|nth| format!("{}#{nth}", limit.name)).collect();
        Ok(self.take_one_of(&names).await?.map(|(_, slot)| slot))
    }

    /// Takes the first free one of some slots by their names, such as those of personal access tokens, of which each is good for one session
    /// at a time. Answers which; none when all are taken.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn take_one_of(&self, names: &[String]) -> Result<Option<(usize, Slot)>, StateError> {
        for (nth, name) in names.iter().enumerate() {
            // No dataset's name begins so.
            let id = DatasetId::new(format!("@{name}"));
            let asked = Instant::now();
            match self.state.lease(&id, &self.owner, self.ttl).await {
                Ok(lease) => return Ok(Some((nth, self.hold(lease, asked)))),
                Err(error) if error.kind() == StateErrorKind::Leased => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Takes one slot of each limit, or none at all.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn take_all(&self, limits: &[Limit]) -> Result<Option<Vec<Slot>>, StateError> {
        // In one order everywhere, so that two workers do not take turns in getting half of what they need.
        let mut limits: Vec<&Limit> = limits.iter().collect();
        limits.sort();
        limits.dedup();
        let mut slots = Vec::with_capacity(limits.len());
        for limit in limits {
            let Some(slot) = self.take(limit).await? else {
                for slot in slots {
                    Slot::release(slot).await;
                }
                return Ok(None);
            };
            slots.push(slot);
        }
        Ok(Some(slots))
    }

    /// A slot by a lease that was asked for then.
    fn hold(&self, lease: Lease, asked: Instant) -> Slot {
        let (lost, watched) = watch::channel(false);
        let (slots, held) = (self.clone(), lease.clone());
        let task = tokio::spawn(async move {
            slots.keep(held, asked).await;
            lost.send_replace(true);
        });
        Slot { state: Arc::clone(&self.state), lease, watched, task }
    }

    /// Renews a lease that was asked for then; ends only when it is lost.
    async fn keep(&self, mut lease: Lease, mut asked: Instant) {
        loop {
            let due = asked + self.ttl / 3;
            self.clock.sleep(due.saturating_duration_since(Instant::now())).await;
            let renewed = renew(&*self.state, &lease, self.ttl, asked + self.ttl).await;
            let Ok(renewed) = renewed else { return };
            (lease, asked) = renewed;
        }
    }
}

/// A slot while it is held. Dropping it lets it lapse within a minute; [`release`](Slot::release) frees it at once.
#[derive(Debug)]
pub struct Slot {
    state: Arc<dyn StateStore>,
    lease: Lease,
    watched: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Slot {
    /// Gives it back.
    pub async fn release(self) {
        self.task.abort();
        // One that cannot be given back lapses by itself.
        let _ = self.state.release(&self.lease).await;
    }

    /// Whether it was lost: another worker has it, or may have it.
    pub fn is_lost(&self) -> bool {
        *self.watched.borrow()
    }

    /// Waits until it is lost, because it could not be renewed in time: another worker has it, or may have it. It must not be used from
    /// then on.
    pub async fn lost(&self) {
        let mut watched = self.watched.clone();
        if watched.wait_for(|lost| *lost).await.is_err() && !*watched.borrow() {
            // The task was ended by `release` or `drop`: nothing is lost any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::store::MemoryStore;

    fn slots(store: &Arc<MemoryStore>, owner: &str) -> Slots {
        Slots::new(Arc::clone(store) as _, Arc::new(SystemClock), owner)
    }

    #[tokio::test]
    async fn no_more_than_the_limit_are_held_by_all_workers_together() {
        let store = Arc::new(MemoryStore::new());
        let (one, two) = (slots(&store, "one"), slots(&store, "two"));
        let limit = Limit::new("kinetic", 2);
        let first = one.take(&limit).await.unwrap().unwrap();
        let second = two.take(&limit).await.unwrap().unwrap();
        assert!(one.take(&limit).await.unwrap().is_none());
        assert!(one.take(&Limit::new("tableau", 1)).await.unwrap().is_some(), "another limit is another matter");
        first.release().await;
        assert!(two.take(&limit).await.unwrap().is_some());
        drop(second);
    }

    #[tokio::test]
    async fn all_or_none_are_taken() {
        let store = Arc::new(MemoryStore::new());
        let (one, two) = (slots(&store, "one"), slots(&store, "two"));
        let (kinetic, tableau) = (Limit::new("kinetic", 1), Limit::new("tableau", 1));
        let held = two.take(&tableau).await.unwrap().unwrap();
        assert!(one.take_all(&[tableau.clone(), kinetic.clone()]).await.unwrap().is_none());
        assert!(two.take(&kinetic).await.unwrap().is_some(), "what could not be used was given back");
        held.release().await;
    }

    #[tokio::test]
    async fn a_token_is_used_by_one_worker_at_a_time() {
        let store = Arc::new(MemoryStore::new());
        let names = ["tableau-token/a".to_owned(), "tableau-token/b".to_owned()];
        let (one, two, three) = (slots(&store, "one"), slots(&store, "two"), slots(&store, "three"));
        let (first, slot) = one.take_one_of(&names).await.unwrap().unwrap();
        let (second, _other) = two.take_one_of(&names).await.unwrap().unwrap();
        assert_eq!((first, second), (0, 1));
        assert!(three.take_one_of(&names).await.unwrap().is_none());
        slot.release().await;
        assert_eq!(three.take_one_of(&names).await.unwrap().unwrap().0, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_renewed_while_it_is_held_and_its_loss_is_told() {
        #[derive(Debug)]
        struct Simulated(Instant);
        #[async_trait::async_trait]
        impl Clock for Simulated {
            fn now(&self) -> chrono::DateTime<chrono::Utc> {
                chrono::DateTime::UNIX_EPOCH + self.0.elapsed()
            }
            async fn sleep(&self, duration: Duration) {
                tokio::time::sleep(duration).await;
            }
        }
        let clock: Arc<dyn Clock> = Arc::new(Simulated(Instant::now()));
        let store = Arc::new(MemoryStore::with_clock(Arc::clone(&clock)));
        let one = Slots::new(Arc::clone(&store) as _, Arc::clone(&clock), "one");
        let two = Slots::new(Arc::clone(&store) as _, Arc::clone(&clock), "two");
        let limit = Limit::new("kinetic", 1);
        let held = one.take(&limit).await.unwrap().unwrap();
        tokio::time::sleep(TTL * 10).await;
        assert!(two.take(&limit).await.unwrap().is_none(), "it is renewed");
        assert!(tokio::time::timeout(TTL, held.lost()).await.is_err(), "and not lost");
        // It stands still for longer than the slot lasts, and nobody wants it.
        tokio::time::advance(TTL * 2).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(two.take(&limit).await.unwrap().is_none() && !held.is_lost(), "it has asked once more");
        // Its process is stopped for longer than the slot lasts.
        held.task.abort();
        tokio::time::sleep(TTL * 2).await;
        let taken = two.take(&limit).await.unwrap();
        assert!(taken.is_some());
        let again = one.hold(held.lease.clone(), Instant::now());
        tokio::time::timeout(TTL, again.lost()).await.expect("the loss is told");
    }
}
