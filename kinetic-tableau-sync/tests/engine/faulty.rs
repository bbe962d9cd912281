//! A store whose effects fail on command.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kinetic_tableau_sync::store::{Layer, Lease, MemoryStore, Prints, Seen, Slice, Versioned};
use kinetic_tableau_sync::*;

use super::world::{Blow, Fault, effect};

/// A [`MemoryStore`] whose effects can fail.
#[derive(Debug)]
pub(super) struct FaultyStore {
    pub(super) inner: MemoryStore,
    pub(super) fault: Arc<Fault>,
}

fn storage() -> StateError {
    StateError::new(StateErrorKind::Storage, "died")
}

#[async_trait]
impl StateStore for FaultyStore {
    async fn load(&self, dataset: &DatasetId) -> Result<Option<Versioned>, StateError> {
        self.inner.load(dataset).await
    }

    async fn store(&self, lease: &Lease, expected: Option<u64>, next: &Checkpoint) -> Result<u64, StateError> {
        effect!(self.fault, storage(), self.inner.store(lease, expected, next).await)
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
impl RejectStore for FaultyStore {
    async fn keep(&self, rejects: Vec<Reject>) -> Result<(), StateError> {
        effect!(self.fault, storage(), self.inner.keep(rejects).await)
    }

    async fn rejects(&self, dataset: &DatasetId, after: Option<&str>, limit: usize) -> Result<Vec<Reject>, StateError> {
        self.inner.rejects(dataset, after, limit).await
    }

    async fn count_rejects(&self, dataset: &DatasetId) -> Result<u64, StateError> {
        self.inner.count_rejects(dataset).await
    }

    async fn forget(&self, lease: &Lease, keys: &[String]) -> Result<(), StateError> {
        effect!(self.fault, storage(), self.inner.forget(lease, keys).await)
    }

    async fn forget_others(&self, lease: &Lease, run: &RunId) -> Result<(), StateError> {
        effect!(self.fault, storage(), self.inner.forget_others(lease, run).await)
    }
}

#[async_trait]
impl FingerprintStore for FaultyStore {
    async fn append(
        &self,
        dataset: &DatasetId,
        generation: u64,
        run: &RunId,
        prints: Prints,
    ) -> Result<(), StateError> {
        effect!(self.fault, storage(), FingerprintStore::append(&self.inner, dataset, generation, run, prints).await)
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

    async fn promote(&self, lease: &Lease, generation: u64, run: &RunId) -> Result<(), StateError> {
        effect!(self.fault, storage(), self.inner.promote(lease, generation, run).await)
    }

    async fn discard_staged(&self, lease: &Lease, keep: Option<&RunId>) -> Result<(), StateError> {
        effect!(self.fault, storage(), self.inner.discard_staged(lease, keep).await)
    }
}

#[async_trait]
impl AuditStore for FaultyStore {
    async fn append(&self, segment: AuditSegment) -> Result<(), AuditError> {
        effect!(self.fault, AuditError::new("died"), AuditStore::append(&self.inner, segment).await)
    }

    async fn record(&self, entry: AuditEntry) -> Result<(), AuditError> {
        effect!(self.fault, AuditError::new("died"), self.inner.record(entry).await)
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
