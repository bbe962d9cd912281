//! A store that ends with the process: for tests and trials.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    FingerprintStore, Layer, Lease, Note, NoteStore, Prints, Reject, RejectStore, Seen, Slice, StateError,
    StateErrorKind, StateStore, Versioned, lease_ends, packed,
};
use crate::audit::trail::{self, Anchor, Cut, Entry, Kind, Search, Verifier};
use crate::audit::{AuditEntry, AuditError, AuditFilter, AuditRecord, AuditSegment, AuditStore, Verification};
use crate::checkpoint::Checkpoint;
use crate::clock::{Clock, SystemClock};
use crate::model::{DatasetId, RunId};

/// Keeps everything in memory. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Inner {
    checkpoints: BTreeMap<DatasetId, Versioned>,
    leases: HashMap<DatasetId, Lease>,
    last_fence: u64,
    fingerprints: Vec<Block>,
    rejects: BTreeMap<(DatasetId, String), Reject>,
    notes: BTreeMap<String, Note>,
    last_note: u64,
    trail: Vec<Entry>,
    /// Where the trail begins.
    anchor: Anchor,
}

#[derive(Debug)]
struct Block {
    dataset: DatasetId,
    generation: u64,
    run: RunId,
    live: bool,
    packed: Vec<u8>,
    keys: Vec<u8>,
}

impl Block {
    fn is_of(&self, dataset: &DatasetId, layer: Layer<'_>) -> bool {
        self.dataset == *dataset
            && match layer {
                Layer::Landed(generation) => self.live && self.generation == generation,
                Layer::Staged(run) => !self.live && self.run == *run,
            }
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty store whose leases lapse by this clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::default(), clock }
    }

    /// The fencing token of the newest lease, for tests that break into it.
    #[cfg(feature = "test-util")]
    pub fn newest_fence(&self, dataset: &DatasetId) -> Option<u64> {
        self.inner().leases.get(dataset).map(|lease| lease.fence)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it holds the lock half way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn probe(
        &self,
        fits: impl Fn(&Block) -> bool,
        mut keys: HashMap<u128, Option<Seen>>,
    ) -> Result<HashMap<u128, Option<Seen>>, StateError> {
        let inner = self.inner();
        let whole = inner
            .fingerprints
            .iter()
            .filter(|prints| fits(prints))
            .all(|prints| packed::probe(&prints.packed, &mut keys));
        if whole { Ok(keys) } else { Err(super::damaged_fingerprints()) }
    }

    fn append_to_trail(&self, kind: Kind, body: Vec<u8>) {
        let mut inner = self.inner();
        let last = inner.trail.last().map(|entry| Anchor { sequence: entry.sequence, hash: entry.hash });
        let Anchor { sequence, hash: before } = last.unwrap_or(inner.anchor);
        let sequence = sequence + 1;
        let hash = trail::hash(&before, sequence, kind, &body);
        inner.trail.push(Entry { sequence, kind, body, hash });
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    /// Whether a lease is still the newest of its dataset.
    fn holds(&self, lease: &Lease) -> bool {
        self.leases.get(&lease.dataset).is_some_and(|newest| newest.fence == lease.fence)
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn load(&self, dataset: &DatasetId) -> Result<Option<Versioned>, StateError> {
        Ok(self.inner().checkpoints.get(dataset).cloned())
    }

    async fn store(&self, lease: &Lease, expected: Option<u64>, next: &Checkpoint) -> Result<u64, StateError> {
        let mut inner = self.inner();
        if !inner.holds(lease) {
            return Err(super::taken_over(lease));
        }
        if inner.checkpoints.get(&lease.dataset).map(|found| found.version) != expected {
            return Err(super::stale(&lease.dataset));
        }
        let version = expected.unwrap_or_default() + 1;
        inner.checkpoints.insert(lease.dataset.clone(), Versioned { version, checkpoint: next.clone() });
        Ok(version)
    }

    async fn list(&self) -> Result<Vec<(DatasetId, Versioned)>, StateError> {
        Ok(self.inner().checkpoints.iter().map(|(dataset, found)| (dataset.clone(), found.clone())).collect())
    }

    async fn lease(&self, dataset: &DatasetId, owner: &str, ttl: Duration) -> Result<Lease, StateError> {
        let now = self.clock.now();
        let mut inner = self.inner();
        if let Some(held) = inner.leases.get(dataset).filter(|held| held.expires > now) {
            return Err(StateError::new(
                StateErrorKind::Leased,
                format!(
                    "dataset {dataset} is being worked on by {} until {}",
                    held.owner,
                    held.expires.format("%H:%M:%SZ")
                ),
            ));
        }
        inner.last_fence += 1;
        let lease = Lease {
            dataset: dataset.clone(),
            owner: owner.to_owned(),
            fence: inner.last_fence,
            expires: lease_ends(now, ttl),
        };
        inner.leases.insert(dataset.clone(), lease.clone());
        Ok(lease)
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, StateError> {
        let renewed = Lease { expires: lease_ends(self.clock.now(), ttl), ..lease.clone() };
        let mut inner = self.inner();
        if !inner.holds(lease) {
            return Err(super::taken_over(lease));
        }
        inner.leases.insert(lease.dataset.clone(), renewed.clone());
        Ok(renewed)
    }

    async fn release(&self, lease: &Lease) -> Result<(), StateError> {
        let mut inner = self.inner();
        if inner.holds(lease) {
            inner.leases.remove(&lease.dataset);
        }
        Ok(())
    }
}

#[async_trait]
impl RejectStore for MemoryStore {
    async fn keep(&self, rejects: Vec<Reject>) -> Result<(), StateError> {
        let mut inner = self.inner();
        let rejects = rejects.into_iter().map(|reject| ((reject.dataset.clone(), reject.key.clone()), reject));
        inner.rejects.extend(rejects);
        Ok(())
    }

    async fn rejects(&self, dataset: &DatasetId, after: Option<&str>, limit: usize) -> Result<Vec<Reject>, StateError> {
        let inner = self.inner();
        let of = inner.rejects.values().filter(|reject| reject.dataset == *dataset);
        let behind = of.filter(|reject| after.is_none_or(|after| reject.key.as_str() > after));
        Ok(behind.take(limit).cloned().collect())
    }

    async fn count_rejects(&self, dataset: &DatasetId) -> Result<u64, StateError> {
        Ok(self.inner().rejects.values().filter(|reject| reject.dataset == *dataset).count() as u64)
    }

    async fn forget(&self, lease: &Lease, keys: &[String]) -> Result<(), StateError> {
        let mut inner = self.inner();
        if !inner.holds(lease) {
            return Err(super::taken_over(lease));
        }
        inner.rejects.retain(|(dataset, key), _| *dataset != lease.dataset || !keys.contains(key));
        Ok(())
    }

    async fn forget_others(&self, lease: &Lease, run: &RunId) -> Result<(), StateError> {
        let mut inner = self.inner();
        if !inner.holds(lease) {
            return Err(super::taken_over(lease));
        }
        inner.rejects.retain(|(dataset, _), reject| *dataset != lease.dataset || reject.run == *run);
        Ok(())
    }
}

#[async_trait]
impl NoteStore for MemoryStore {
    async fn note(&self, name: &str) -> Result<Option<Note>, StateError> {
        Ok(self.inner().notes.get(name).cloned())
    }

    async fn notes(&self, prefix: &str) -> Result<Vec<(String, Note)>, StateError> {
        let inner = self.inner();
        let behind = inner.notes.range(prefix.to_owned()..);
        let found = behind.take_while(|(name, _)| name.starts_with(prefix));
        Ok(found.map(|(name, note)| (name.clone(), note.clone())).collect())
    }

    async fn write_note(&self, name: &str, expected: Option<u64>, body: &str) -> Result<u64, StateError> {
        let mut inner = self.inner();
        if inner.notes.get(name).map(|note| note.version) != expected {
            return Err(super::stale_note(name));
        }
        inner.last_note += 1;
        let version = inner.last_note;
        inner.notes.insert(name.to_owned(), Note { version, body: body.to_owned() });
        Ok(version)
    }

    async fn remove_note(&self, name: &str, expected: u64) -> Result<(), StateError> {
        let mut inner = self.inner();
        if inner.notes.get(name).map(|note| note.version) != Some(expected) {
            return Err(super::stale_note(name));
        }
        inner.notes.remove(name);
        Ok(())
    }
}

#[async_trait]
impl FingerprintStore for MemoryStore {
    async fn append(
        &self,
        dataset: &DatasetId,
        generation: u64,
        run: &RunId,
        prints: Prints,
    ) -> Result<(), StateError> {
        let (packed, keys) = (packed::pack(&prints.entries), packed::pack_keys(&prints.keys));
        let block = Block { dataset: dataset.clone(), generation, run: run.clone(), live: false, packed, keys };
        self.inner().fingerprints.push(block);
        Ok(())
    }

    async fn lookup(
        &self,
        dataset: &DatasetId,
        generation: u64,
        keys: HashMap<u128, Option<Seen>>,
    ) -> Result<HashMap<u128, Option<Seen>>, StateError> {
        self.probe(|block| block.is_of(dataset, Layer::Landed(generation)), keys)
    }

    async fn lookup_staged(
        &self,
        dataset: &DatasetId,
        run: &RunId,
        keys: HashMap<u128, Option<Seen>>,
    ) -> Result<HashMap<u128, Option<Seen>>, StateError> {
        self.probe(|block| block.is_of(dataset, Layer::Staged(run)), keys)
    }

    async fn slice(
        &self,
        dataset: &DatasetId,
        layer: Layer<'_>,
        slice: Slice,
    ) -> Result<HashMap<u128, Seen>, StateError> {
        let mut found = HashMap::new();
        let inner = self.inner();
        let mut blocks = inner.fingerprints.iter().filter(|block| block.is_of(dataset, layer));
        let whole = blocks.all(|block| packed::gather(&block.packed, slice, &mut found));
        if whole { Ok(found) } else { Err(super::damaged_fingerprints()) }
    }

    async fn key_texts(
        &self,
        dataset: &DatasetId,
        layer: Layer<'_>,
        wanted: &HashSet<u128>,
    ) -> Result<HashMap<u128, String>, StateError> {
        let mut found = HashMap::new();
        let inner = self.inner();
        let mut blocks = inner.fingerprints.iter().filter(|block| block.is_of(dataset, layer));
        let whole = blocks.all(|block| packed::texts(&block.packed, &block.keys, wanted, &mut found));
        if whole { Ok(found) } else { Err(super::damaged_fingerprints()) }
    }

    async fn promote(&self, lease: &Lease, generation: u64, run: &RunId) -> Result<(), StateError> {
        let dataset = &lease.dataset;
        let mut inner = self.inner();
        if !inner.holds(lease) {
            return Err(super::taken_over(lease));
        }
        for prints in inner.fingerprints.iter_mut().filter(|prints| prints.dataset == *dataset && prints.run == *run) {
            prints.live = true;
        }
        inner
            .fingerprints
            .retain(|prints| prints.dataset != *dataset || (prints.live && prints.generation == generation));
        Ok(())
    }

    async fn entries(&self, dataset: &DatasetId, generation: u64) -> Result<u64, StateError> {
        let inner = self.inner();
        let blocks = inner.fingerprints.iter().filter(|block| block.is_of(dataset, Layer::Landed(generation)));
        Ok(blocks.map(|block| block.packed.len() / packed::LENGTH).sum::<usize>() as u64)
    }

    async fn compact(&self, lease: &Lease, generation: u64, _: u64) -> Result<(), StateError> {
        let mut inner = self.inner();
        if !inner.holds(lease) {
            return Err(super::taken_over(lease));
        }
        let counts = |block: &Block| block.is_of(&lease.dataset, Layer::Landed(generation));
        let mut gathered = HashMap::new();
        for block in inner.fingerprints.iter().filter(|block| counts(block)) {
            if !packed::gather_with_keys(&block.packed, &block.keys, Slice::WHOLE, &mut gathered) {
                return Err(super::damaged_fingerprints());
            }
        }
        let prints = packed::prints(gathered)?;
        inner.fingerprints.retain(|block| !counts(block));
        inner.fingerprints.push(Block {
            dataset: lease.dataset.clone(),
            generation,
            run: RunId::new("compacted"),
            live: true,
            packed: packed::pack(&prints.entries),
            keys: packed::pack_keys(&prints.keys),
        });
        Ok(())
    }

    async fn discard_staged(&self, lease: &Lease, keep: Option<&RunId>) -> Result<(), StateError> {
        let dataset = &lease.dataset;
        let mut inner = self.inner();
        if !inner.holds(lease) {
            return Err(super::taken_over(lease));
        }
        inner.fingerprints.retain(|prints| prints.dataset != *dataset || prints.live || Some(&prints.run) == keep);
        Ok(())
    }
}

#[async_trait]
impl AuditStore for MemoryStore {
    async fn append(&self, segment: AuditSegment) -> Result<(), AuditError> {
        self.append_to_trail(Kind::Segment, trail::segment_body(&segment)?);
        Ok(())
    }

    async fn record(&self, entry: AuditEntry) -> Result<(), AuditError> {
        self.append_to_trail(Kind::Event, trail::event_body(&entry)?);
        Ok(())
    }

    async fn records(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>, AuditError> {
        let inner = self.inner();
        let landings =
            AuditFilter { dataset: filter.dataset.clone(), run: filter.run.clone(), ..AuditFilter::default() };
        let mut search = Search::new(filter, trail::events(inner.trail.iter(), &landings)?);
        inner.trail.iter().try_for_each(|entry| search.look(entry))?;
        Ok(search.finish())
    }

    async fn events(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, AuditError> {
        trail::events(self.inner().trail.iter(), filter)
    }

    async fn verify(&self) -> Result<Verification, AuditError> {
        let inner = self.inner();
        let mut verifier = Verifier::behind(&inner.anchor);
        inner.trail.iter().for_each(|entry| verifier.look(entry));
        Ok(verifier.finish())
    }

    async fn prune(&self, before: DateTime<Utc>) -> Result<u64, AuditError> {
        let mut inner = self.inner();
        let mut cut = Cut::new(before, &inner.anchor);
        inner.trail.iter().for_each(|entry| cut.look(entry));
        let Some(through) = cut.through()? else { return Ok(0) };
        let count = inner.trail.iter().take_while(|entry| entry.sequence <= through).count();
        let removed: Vec<Entry> = inner.trail.drain(..count).collect();
        if let Some(last) = removed.last() {
            inner.anchor = Anchor { sequence: last.sequence, hash: last.hash };
        }
        Ok(removed.len() as u64)
    }
}
