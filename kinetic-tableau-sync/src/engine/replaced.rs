//! What a full load takes away: rows that have landed before and are not in it.
//!
//! The target loses them when the load takes its place, so the trail tells of each, like of any other row that is deleted.

use std::collections::HashMap;

use super::fill::{Filling, Work};
use super::{Stage, SyncError};
use crate::store::{Layer, Slice};

/// Keys whose texts are looked up together.
const TOGETHER: usize = 100_000;

impl<'a> Work<'a> {
    /// Notes the rows that have landed and are not in the load, slice by slice, so that memory stays bounded.
    pub(super) async fn note_replaced(&self, filling: &mut Filling<'a>) -> Result<(), SyncError> {
        if !self.replaces || self.landed_rows == 0 {
            return Ok(());
        }
        filling.journal.flush().await?;
        let state = |error| self.error(Stage::State, error);
        let prints = &self.parts.fingerprints;
        let mut gone = HashMap::new();
        for slice in Slice::for_rows(self.landed_rows.max(filling.counts.inserted)) {
            let landed = Layer::Landed(self.landed_generation);
            let landed = prints.slice(&self.spec.id, landed, slice).await.map_err(state)?;
            let staged = prints.slice(&self.spec.id, Layer::Staged(self.run), slice).await.map_err(state)?;
            let missing = landed.into_iter().filter(|(key, _)| !staged.contains_key(key));
            gone.extend(missing.map(|(key, seen)| (key, seen.version)));
            if gone.len() >= TOGETHER {
                self.note_gone(filling, std::mem::take(&mut gone)).await?;
            }
        }
        self.note_gone(filling, gone).await
    }

    async fn note_gone(&self, filling: &mut Filling<'a>, gone: HashMap<u128, i64>) -> Result<(), SyncError> {
        if gone.is_empty() {
            return Ok(());
        }
        let landed = Layer::Landed(self.landed_generation);
        let texts = self.parts.fingerprints.key_texts(&self.spec.id, landed, &gone.keys().copied().collect()).await;
        let mut texts: Vec<(String, u128)> = texts
            .map_err(|error| self.error(Stage::State, error))?
            .into_iter()
            .map(|(key, text)| (text, key))
            .collect();
        // In one order, so that the same events always have the same course.
        texts.sort_unstable();
        for (text, key) in texts {
            let version = gone.get(&key).copied().unwrap_or_default();
            filling.journal.note_replaced(&text, version).map_err(|full| self.full_batch(full))?;
            filling.journal.flush_full_blocks().await?;
        }
        Ok(())
    }
}
