//! A store that several workers share, and whose effects can fail or be the last of a process.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use kinetic_tableau_sync::store::{
    FingerprintStore, Layer, Lease, MemoryStore, Prints, Reject, RejectStore, Seen, Slice, StateError, StateErrorKind,
    StateStore, Versioned,
};
use kinetic_tableau_sync::{
    AuditEntry, AuditError, AuditFilter, AuditRecord, AuditSegment, AuditStore, Checkpoint, DatasetId, RunId,
    Verification,
};

use super::chaos::{Blow, Chaos};

/// One worker's way to the shared store.
#[derive(Clone, Debug)]
pub(crate) struct ChaosStore {
    pub(crate) inner: MemoryStore,
    pub(crate) chaos: Chaos,
    pub(crate) worker: usize,
    /// Commits are not checked against the lease and the version that was read: to show that they must be.
    pub(crate) unfenced: bool,
}

fn storage() -> StateError {
    StateError::new(StateErrorKind::Storage, "a fault")
}

macro_rules! effect {
    ($self:ident, $name:literal, $error:expr, $call:expr) => {{
        match $self.chaos.effect($self.worker, $name, false).await {
            Blow::FailBefore => Err($error),
            Blow::FailAfter => {
                $call.await?;
                Err($error)
            }
            Blow::DieAfter => {
                $call.await?;
                $self.chaos.die($self.worker).await;
                Err($error)
            }
            _ => $call.await,
        }
    }};
}

impl ChaosStore {
    /// Whoever asks counts as the newest holder, where fencing is left out.
    fn as_newest(&self, lease: &Lease) -> Lease {
        let newest = self.inner.newest_fence(&lease.dataset).filter(|_| self.unfenced);
        Lease { fence: newest.unwrap_or(lease.fence), ..lease.clone() }
    }

    async fn commit(&self, lease: &Lease, expected: Option<u64>, next: &Checkpoint) -> Result<u64, StateError> {
        if !self.unfenced {
            return self.inner.store(lease, expected, next).await;
        }
        let known = self.inner.load(&lease.dataset).await?.map(|known| known.version);
        self.inner.store(&self.as_newest(lease), known, next).await
    }
}

#[async_trait]
impl RejectStore for ChaosStore {
    async fn keep(&self, rejects: Vec<Reject>) -> Result<(), StateError> {
        effect!(self, "keep", storage(), self.inner.keep(rejects))
    }

    async fn rejects(&self, dataset: &DatasetId, after: Option<&str>, limit: usize) -> Result<Vec<Reject>, StateError> {
        self.inner.rejects(dataset, after, limit).await
    }

    async fn count_rejects(&self, dataset: &DatasetId) -> Result<u64, StateError> {
        self.inner.count_rejects(dataset).await
    }

    async fn forget(&self, lease: &Lease, keys: &[String]) -> Result<(), StateError> {
        effect!(self, "forget", storage(), self.inner.forget(lease, keys))
    }

    async fn forget_others(&self, lease: &Lease, run: &RunId) -> Result<(), StateError> {
        // No effect to be broken while there are no rejects: the schedules of earlier seeds stay as they were.
        self.inner.forget_others(&self.as_newest(lease), run).await
    }
}

#[async_trait]
impl StateStore for ChaosStore {
    async fn load(&self, dataset: &DatasetId) -> Result<Option<Versioned>, StateError> {
        self.inner.load(dataset).await
    }

    async fn store(&self, lease: &Lease, expected: Option<u64>, next: &Checkpoint) -> Result<u64, StateError> {
        effect!(self, "store", storage(), self.commit(lease, expected, next))
    }

    async fn list(&self) -> Result<Vec<(DatasetId, Versioned)>, StateError> {
        self.inner.list().await
    }

    async fn lease(&self, dataset: &DatasetId, owner: &str, ttl: Duration) -> Result<Lease, StateError> {
        self.inner.lease(dataset, owner, ttl).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, StateError> {
        self.inner.renew(lease, ttl).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StateError> {
        self.inner.release(lease).await
    }
}

#[async_trait]
impl FingerprintStore for ChaosStore {
    async fn append(
        &self,
        dataset: &DatasetId,
        generation: u64,
        run: &RunId,
        prints: Prints,
    ) -> Result<(), StateError> {
        effect!(
            self,
            "fingerprints",
            storage(),
            FingerprintStore::append(&self.inner, dataset, generation, run, prints.clone())
        )
    }

    async fn lookup(
        &self,
        dataset: &DatasetId,
        generation: u64,
        keys: HashMap<u128, Option<Seen>>,
    ) -> Result<HashMap<u128, Option<Seen>>, StateError> {
        self.inner.lookup(dataset, generation, keys).await
    }

    async fn lookup_staged(
        &self,
        dataset: &DatasetId,
        run: &RunId,
        keys: HashMap<u128, Option<Seen>>,
    ) -> Result<HashMap<u128, Option<Seen>>, StateError> {
        self.inner.lookup_staged(dataset, run, keys).await
    }

    async fn slice(
        &self,
        dataset: &DatasetId,
        layer: Layer<'_>,
        slice: Slice,
    ) -> Result<HashMap<u128, Seen>, StateError> {
        self.inner.slice(dataset, layer, slice).await
    }

    async fn key_texts(
        &self,
        dataset: &DatasetId,
        layer: Layer<'_>,
        wanted: &HashSet<u128>,
    ) -> Result<HashMap<u128, String>, StateError> {
        self.inner.key_texts(dataset, layer, wanted).await
    }

    async fn promote(&self, lease: &Lease, generation: u64, run: &RunId) -> Result<(), StateError> {
        let lease = &self.as_newest(lease);
        effect!(self, "promote", storage(), self.inner.promote(lease, generation, run))
    }

    async fn discard_staged(&self, lease: &Lease, keep: Option<&RunId>) -> Result<(), StateError> {
        let lease = &self.as_newest(lease);
        effect!(self, "discard staged", storage(), self.inner.discard_staged(lease, keep))
    }
}

#[async_trait]
impl AuditStore for ChaosStore {
    async fn append(&self, segment: AuditSegment) -> Result<(), AuditError> {
        effect!(self, "audit", AuditError::new("a fault"), AuditStore::append(&self.inner, segment.clone()))
    }

    async fn record(&self, entry: AuditEntry) -> Result<(), AuditError> {
        effect!(self, "audit event", AuditError::new("a fault"), self.inner.record(entry.clone()))
    }

    async fn records(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>, AuditError> {
        self.inner.records(filter).await
    }

    async fn events(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, AuditError> {
        self.inner.events(filter).await
    }

    async fn verify(&self) -> Result<Verification, AuditError> {
        self.inner.verify().await
    }
}
