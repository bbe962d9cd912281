//! Tells the rows of a chunk apart: new, changed, unchanged, or older than what is known already.

use std::collections::HashMap;

use super::rows::RowHasher;
use crate::batch::Batch;
use crate::checkpoint::Counts;
use crate::store::{Fingerprint, Seen};

/// What becomes of a row that lands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its key is new.
    Insert,
    /// Its key has landed in an older version.
    Update,
    /// This run has staged its key already in an older version, which it replaces in the load.
    Replace,
}

/// Rows read together, with their fingerprints.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    batches: Vec<Batch>,
    /// For each row its batch, its place there and its fingerprint.
    rows: Vec<(usize, usize, Fingerprint)>,
}

impl Chunk {
    /// Adds a batch.
    pub(super) fn push(&mut self, batch: Batch, hasher: &mut RowHasher) {
        let at = self.batches.len();
        self.rows.extend((0..batch.rows()).map(|row| (at, row, fingerprint(hasher, &batch, row))));
        self.batches.push(batch);
    }

    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The version of the last row.
    pub(super) fn last_version(&self) -> Option<i64> {
        self.rows.last().map(|(_, _, print)| print.version)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The keys, to be looked up.
    pub(super) fn keys(&self) -> HashMap<u128, Option<Seen>> {
        self.rows.iter().map(|(_, _, print)| (print.key, None)).collect()
    }

    /// The rows whose keys this run has read before, in another version or with another content.
    pub(super) fn again<'s>(
        &'s self,
        staged: &'s HashMap<u128, Option<Seen>>,
    ) -> impl Iterator<Item = (&'s Batch, usize)> {
        let mut here = HashMap::with_capacity(self.rows.len());
        let again = self.rows.iter().filter(move |(_, _, print)| {
            let other = |seen: Seen| (seen.version, seen.row) != (print.version, print.row);
            let now = Seen { version: print.version, row: print.row };
            here.insert(print.key, now).is_some_and(other) || known(staged, print.key).is_some_and(other)
        });
        again.filter_map(|&(at, row, _)| Some((self.batches.get(at)?, row)))
    }

    /// Decides on every row, in the order in which they were read, and counts. Calls `land` for the rows that land; of several
    /// versions of one key in the chunk only the newest lands, and of equally new ones the last.
    ///
    /// Adds to `older_rows` how many rows contradict what has landed: their version is older. (The same version with another content is none: columns
    /// that Kinetic looks up in other tables change without it.)
    ///
    /// `landed` is what earlier runs have landed, `staged` what this run has staged; both answer [`Chunk::keys`].
    pub(super) fn sift<E>(
        &self,
        landed: &HashMap<u128, Option<Seen>>,
        staged: &HashMap<u128, Option<Seen>>,
        counts: &mut Counts,
        older_rows: &mut u64,
        mut land: impl FnMut(&Batch, usize, Fingerprint, Fate) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut newest: HashMap<u128, (usize, i64)> = HashMap::with_capacity(self.rows.len());
        for (nth, (_, _, print)) in self.rows.iter().enumerate() {
            let best = newest.entry(print.key).or_insert((nth, print.version));
            if print.version >= best.1 {
                *best = (nth, print.version);
            }
        }
        for (nth, &(at, row, print)) in self.rows.iter().enumerate() {
            counts.read += 1;
            if newest.get(&print.key).is_some_and(|best| best.0 != nth) {
                counts.superseded += 1;
                continue;
            }
            let fate = match (known(staged, print.key), known(landed, print.key)) {
                (Some(seen), _) if print.row != seen.row && print.version >= seen.version => {
                    // What was staged first is superseded; it was counted as landing then.
                    counts.superseded += 1;
                    Fate::Replace
                }
                (None, Some(seen)) if print.row != seen.row && print.version >= seen.version => {
                    counts.updated += 1;
                    Fate::Update
                }
                (None, None) => {
                    counts.inserted += 1;
                    Fate::Insert
                }
                (Some(seen), _) | (None, Some(seen)) => {
                    let older = known(staged, print.key).is_none() && print.version < seen.version;
                    *older_rows += u64::from(older);
                    if print.row == seen.row {
                        counts.unchanged += 1;
                    } else {
                        counts.superseded += 1;
                    }
                    continue;
                }
            };
            if let Some(batch) = self.batches.get(at) {
                land(batch, row, print, fate)?;
            }
        }
        Ok(())
    }
}

/// What is known of a key.
pub(super) fn known(seen: &HashMap<u128, Option<Seen>>, key: u128) -> Option<Seen> {
    seen.get(&key).copied().flatten()
}

/// The fingerprint of one row.
pub(super) fn fingerprint(hasher: &mut RowHasher, batch: &Batch, row: usize) -> Fingerprint {
    let schema = batch.schema();
    let version =
        schema.version.and_then(|at| batch.column(at)).and_then(|column| column.i64_at(row)).unwrap_or_default();
    Fingerprint { key: hasher.key(schema, batch, row), version, row: hasher.landed(schema, batch, row) }
}
