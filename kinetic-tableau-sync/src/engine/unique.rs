//! Whether keys tell rows apart.
//!
//! A row that one run reads twice has moved in between, or there are two rows of one key: then one of them would be lost without a
//! word. The source tells which, when it is asked for the key.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::fill::{Filling, KEYS, Work};
use super::reading::{Reader, What};
use super::sift::Chunk;
use super::{Cause, Stage, SyncError};
use crate::batch::Batch;
use crate::source::SourceErrorKind;
use crate::store::Seen;

impl Work<'_> {
    /// Refuses a key that belongs to two rows. Only keys that this run has read twice, and not as the same, are asked for: as many as fit
    /// into one question, since where one key is not unique many are not.
    pub(super) async fn check_keys(
        &self,
        filling: &mut Filling<'_>,
        chunk: &Chunk,
        staged: &HashMap<u128, Option<Seen>>,
    ) -> Result<(), SyncError> {
        let mut twice = chunk.read_twice(staged);
        twice.truncate(KEYS);
        if twice.is_empty() {
            return Ok(());
        }
        let mut texts = HashSet::new();
        for (batch, row) in twice {
            texts.insert(filling.hasher.key_text(batch.schema(), batch, row).to_owned());
        }
        // In one order, so that the same events always have the same course.
        let mut texts: Vec<String> = texts.into_iter().collect();
        texts.sort_unstable();
        let keys = self.key_batch(texts.iter().map(String::as_str))?;
        let schema = Arc::new(self.mapper.read().key_only());
        let source = Arc::clone(&self.parts.source);
        let mut reader = Reader::start(source, self.spec.clone(), schema, None, What::Keys(keys));
        let mut seen = HashSet::new();
        loop {
            let batch: Option<Batch> = match reader.next().await {
                // The rows that it answers are not in the order of their keys.
                Err(error) if error.kind() == SourceErrorKind::Order => return Err(self.not_unique()),
                // This source, or this key, is one that rows cannot be looked up by.
                Err(error) if error.kind() == SourceErrorKind::Config => return Ok(()),
                answer => answer.map_err(|error| self.error(Stage::Read, error))?,
            };
            let Some(batch) = batch else { return Ok(()) };
            for row in 0..batch.rows() {
                if !seen.insert(filling.hasher.key(batch.schema(), &batch, row)) {
                    return Err(self.not_unique());
                }
            }
        }
    }

    fn not_unique(&self) -> SyncError {
        let names: Vec<&str> = self.schema.key_columns().map(|column| column.source.as_str()).collect();
        let message = format!("keys of ({}) belong to more than one row; nothing was published", names.join(", "));
        let hint = "name the columns that tell rows apart in the dataset's `key`".to_owned();
        self.error(Stage::Load, Cause::Mapping { message, hint: Some(hint) })
    }
}
