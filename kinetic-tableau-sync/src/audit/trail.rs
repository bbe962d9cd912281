//! The trail as every store keeps it: entries in a hash chain, and how they are searched.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::{Action, AuditEntry, AuditError, AuditEvent, AuditFilter, AuditRecord, AuditSegment, Verification, codec};
use crate::destination::Receipt;
use crate::digest;
use crate::model::RunId;

/// Length of a hash in bytes.
pub(crate) const HASH: usize = 32;

/// What an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Records.
    Segment,
    /// An event, as JSON.
    Event,
}

impl Kind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Segment => 1,
            Self::Event => 2,
        }
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Segment),
            2 => Some(Self::Event),
            _ => None,
        }
    }
}

/// One entry as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// From 1 on, without gaps.
    pub(crate) sequence: u64,
    pub(crate) kind: Kind,
    pub(crate) body: Vec<u8>,
    pub(crate) hash: [u8; HASH],
}

/// The last entry that was removed; the beginning of everything when none was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) sequence: u64,
    pub(crate) hash: [u8; HASH],
}

impl Entry {
    /// When it was written, and in which run; none when it cannot be read.
    pub(crate) fn stamp(&self) -> Option<(DateTime<Utc>, RunId)> {
        match self.kind {
            Kind::Segment => codec::decode(&self.body).map(|segment| (segment.at, segment.run)),
            Kind::Event => serde_json::from_slice::<AuditEntry>(&self.body).ok().map(|entry| (entry.at, entry.run)),
        }
    }
}

/// How many of the oldest entries can go: those from before a moment, but no part of a run that went on after it, and never the last.
///
/// Nothing goes from a broken trail: what is left would pass for whole.
#[derive(Debug)]
pub(crate) struct Cut {
    before: DateTime<Utc>,
    verifier: Verifier,
    /// The first and the last entry of each run.
    spans: HashMap<RunId, (u64, u64)>,
    /// The first entry that is too young to go.
    keep_from: Option<u64>,
    last: u64,
}

impl Cut {
    /// `anchor` is where the trail begins.
    pub(crate) fn new(before: DateTime<Utc>, anchor: &Anchor) -> Self {
        Self { before, verifier: Verifier::behind(anchor), spans: HashMap::new(), keep_from: None, last: 0 }
    }

    /// Looks at the next entry. One that cannot be read stays, and so does what follows.
    pub(crate) fn look(&mut self, entry: &Entry) {
        self.verifier.look(entry);
        self.last = entry.sequence;
        let stamp = entry.stamp();
        if stamp.as_ref().is_none_or(|(at, _)| *at >= self.before) {
            self.keep_from.get_or_insert(entry.sequence);
        }
        if let Some((_, run)) = stamp {
            self.spans.entry(run).or_insert((entry.sequence, entry.sequence)).1 = entry.sequence;
        }
    }

    /// The last entry that can go.
    ///
    /// # Errors
    /// When the trail is broken.
    pub(crate) fn through(&self) -> Result<Option<u64>, AuditError> {
        if let Some((entry, why)) = &self.verifier.found.first_broken {
            return Err(altered(*entry, why));
        }
        let mut from = self.keep_from.unwrap_or(self.last);
        // A run that is kept in part is kept as a whole, which may cut another one in two.
        while let Some(first) =
            self.spans.values().filter(|(first, last)| *first < from && *last >= from).map(|span| span.0).min()
        {
            from = first;
        }
        Ok(from.checked_sub(1).filter(|through| *through > 0))
    }
}

/// Nothing is removed from a trail that is broken: what is left would look as if it were whole.
pub(crate) fn altered(entry: u64, why: &str) -> AuditError {
    AuditError::new(format!("it was altered, so that nothing is removed from it: entry {entry}: {why}"))
}

/// The bytes of a segment.
pub(crate) fn segment_body(segment: &AuditSegment) -> Result<Vec<u8>, AuditError> {
    codec::encode(segment).ok_or_else(|| AuditError::new("a segment is too large"))
}

/// The bytes of an event.
pub(crate) fn event_body(entry: &AuditEntry) -> Result<Vec<u8>, AuditError> {
    serde_json::to_vec(entry).map_err(|error| AuditError::new("an event cannot be written").with_cause(error))
}

/// The hash of an entry: of the hash before it, its number, its kind and its bytes.
pub(crate) fn hash(before: &[u8; HASH], sequence: u64, kind: Kind, body: &[u8]) -> [u8; HASH] {
    let mut hasher = Sha256::new();
    hasher.update(before);
    hasher.update(sequence.to_le_bytes());
    hasher.update([kind.code()]);
    hasher.update(body);
    hasher.finalize().into()
}

/// Recomputes the chain, entry by entry.
#[derive(Debug)]
pub(crate) struct Verifier {
    before: [u8; HASH],
    found: Verification,
}

impl Verifier {
    /// Begins behind the part of the trail that was removed.
    pub(crate) fn behind(anchor: &Anchor) -> Self {
        let pruned = anchor.sequence;
        let found = Verification { entries: 0, records: 0, pruned, first_broken: None, head: String::new() };
        Self { before: anchor.hash, found }
    }

    /// Looks at the next entry. What follows a broken one is only counted.
    pub(crate) fn look(&mut self, entry: &Entry) {
        self.found.entries += 1;
        let records = match entry.kind {
            Kind::Segment => codec::decode(&entry.body).map(|segment| segment.records.len() as u64),
            Kind::Event => serde_json::from_slice::<AuditEntry>(&entry.body).ok().map(|_| 0),
        };
        self.found.records += records.unwrap_or_default();
        let expected = self.found.pruned + self.found.entries;
        let wrong = if entry.sequence != expected {
            Some((expected, format!("entry {expected} is missing; {} follows", entry.sequence)))
        } else if hash(&self.before, entry.sequence, entry.kind, &entry.body) != entry.hash {
            Some((entry.sequence, "its content or its place in the chain is not what was written".to_owned()))
        } else if records.is_none() {
            Some((entry.sequence, "it cannot be read".to_owned()))
        } else {
            None
        };
        if self.found.first_broken.is_none() {
            self.found.first_broken = wrong;
        }
        self.before = entry.hash;
    }

    pub(crate) fn finish(mut self) -> Verification {
        self.found.head = digest::hex(&self.before);
        self.found
    }
}

/// Gathers the events that match.
pub(crate) fn events<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    filter: &AuditFilter,
) -> Result<Vec<AuditEntry>, AuditError> {
    let mut found = Vec::new();
    for entry in entries.filter(|entry| entry.kind == Kind::Event) {
        let event: AuditEntry = serde_json::from_slice(&entry.body).map_err(|_| damaged(entry.sequence))?;
        let fits = filter.dataset.as_ref().is_none_or(|wanted| *wanted == event.dataset)
            && filter.run.as_ref().is_none_or(|wanted| *wanted == event.run)
            && filter.since.is_none_or(|since| event.at >= since)
            && filter.until.is_none_or(|until| event.at < until);
        if fits {
            found.push(event);
        }
    }
    Ok(found)
}

/// Gathers the records that match, the newest of them when there is a limit, oldest first.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    filter: &'a AuditFilter,
    landed: HashMap<RunId, Receipt>,
    found: VecDeque<AuditRecord>,
}

impl<'a> Search<'a> {
    /// `events` are all events that may tell of landings.
    pub(crate) fn new(filter: &'a AuditFilter, events: impl IntoIterator<Item = AuditEntry>) -> Self {
        let landed = events
            .into_iter()
            .filter_map(|entry| match entry.event {
                AuditEvent::Landed { receipt, .. } => Some((entry.run, receipt)),
                _ => None,
            })
            .collect();
        Self { filter, landed, found: VecDeque::new() }
    }

    /// Looks through the next entry.
    pub(crate) fn look(&mut self, entry: &Entry) -> Result<(), AuditError> {
        if entry.kind != Kind::Segment {
            return Ok(());
        }
        let segment = codec::decode(&entry.body).ok_or_else(|| damaged(entry.sequence))?;
        let filter = self.filter;
        let fits = filter.dataset.as_ref().is_none_or(|wanted| *wanted == segment.dataset)
            && filter.run.as_ref().is_none_or(|wanted| *wanted == segment.run)
            && filter.since.is_none_or(|since| segment.at >= since)
            && filter.until.is_none_or(|until| segment.at < until);
        if !fits {
            return Ok(());
        }
        let receipt = self.landed.get(&segment.run);
        let records = &segment.records;
        for (row, &action) in records.actions.iter().enumerate() {
            let key = records.keys.at(row);
            if filter.action.is_some_and(|wanted| wanted != action) || !filter.matches_key(key) {
                continue;
            }
            if filter.limit.is_some_and(|limit| self.found.len() >= limit.max(1)) {
                self.found.pop_front();
            }
            self.found.push_back(AuditRecord {
                dataset: segment.dataset.clone(),
                run: segment.run.clone(),
                at: segment.at,
                company: segment.company.clone(),
                project: segment.project.clone(),
                datasource: segment.datasource.clone(),
                request_id: segment.request_id.clone(),
                job_id: receipt.and_then(|receipt| receipt.job_id.clone()),
                landed: receipt.is_some() && action != Action::Reject,
                action,
                key: key.to_owned(),
                version: records.versions.get(row).copied().unwrap_or_default(),
                row_id: records.row_ids.at(row).to_owned(),
                stamp: records.stamps.at(row).to_owned(),
                hash: format!("{:032x}", records.hashes.get(row).copied().unwrap_or_default()),
                reason: records.reasons.at(row).to_owned(),
                dimensions: segment
                    .dimension_names
                    .iter()
                    .cloned()
                    .zip(records.dimensions.iter().map(|column| column.at(row).to_owned()))
                    .collect(),
            });
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Vec<AuditRecord> {
        self.found.into()
    }
}

fn damaged(sequence: u64) -> AuditError {
    AuditError::new(format!("entry {sequence} cannot be read; `audit --verify` tells where the trail is broken"))
}
