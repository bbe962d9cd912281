//! What is written beside a load while it is being staged: an audit record and a fingerprint for every row that will land.
//!
//! Both go out in blocks, so that memory stays flat however many rows there are.

use chrono::{DateTime, Utc};

use super::rows::RowHasher;
use super::{Parts, Stage, SyncError};
use crate::audit::{Action, AuditSegment, Records};
use crate::batch::{Batch, BatchFull};
use crate::model::{DatasetSpec, RunId, Schema};
use crate::store::{Fingerprint, Prints};

/// Rows per audit segment and per block of fingerprints.
const BLOCK: usize = 20_000;

/// Writes records and fingerprints of one run.
#[derive(Debug)]
pub(super) struct Journal<'a> {
    parts: &'a Parts,
    spec: &'a DatasetSpec,
    run: RunId,
    generation: u64,
    request_id: String,
    at: DateTime<Utc>,
    dimension_names: Vec<String>,
    hasher: RowHasher,
    records: Records,
    prints: Prints,
    /// Rows noted in all.
    noted: u64,
}

impl<'a> Journal<'a> {
    pub(super) fn new(
        parts: &'a Parts,
        spec: &'a DatasetSpec,
        run: &RunId,
        generation: u64,
        request_id: &str,
        schema: &Schema,
    ) -> Self {
        let dimension_names: Vec<String> = schema
            .dimensions
            .iter()
            .filter_map(|&at| schema.columns.get(at))
            .map(|column| column.name.clone())
            .collect();
        Self {
            parts,
            spec,
            run: run.clone(),
            generation,
            request_id: request_id.to_owned(),
            at: parts.clock.now(),
            records: Records::with_dimensions(dimension_names.len()),
            dimension_names,
            hasher: RowHasher::default(),
            prints: Prints::default(),
            noted: 0,
        }
    }

    /// Notes one row that will land.
    pub(super) fn note(
        &mut self,
        action: Action,
        batch: &Batch,
        row: usize,
        print: Fingerprint,
    ) -> Result<(), BatchFull> {
        let schema = batch.schema();
        let text_of = |at: Option<usize>| {
            at.and_then(|at| batch.column(at))
                .filter(|column| !column.is_null(row))
                .and_then(|column| column.text_at(row))
                .unwrap_or_default()
        };
        let (row_id, stamp) = (text_of(schema.row_id), batch.stamp(row).unwrap_or_default());
        let key = self.hasher.key_text(schema, batch, row);
        self.records.push(action, key, print.version, row_id, &stamp, print.row, "")?;
        self.prints.push(print, key)?;
        for (column, &at) in self.records.dimensions.iter_mut().zip(&schema.dimensions) {
            column.push(self.hasher.plain_text(batch, at, row))?;
        }
        self.noted += 1;
        Ok(())
    }

    /// Notes that a row is to be deleted, which had landed in this version.
    pub(super) fn note_delete(&mut self, key: u128, text: &str, version: i64) -> Result<(), BatchFull> {
        self.records.push(Action::Delete, text, version, "", "", 0, "the source has it no more")?;
        for column in &mut self.records.dimensions {
            column.push("")?;
        }
        self.prints.push(Fingerprint::gone(key, version), text)?;
        self.noted += 1;
        Ok(())
    }

    /// Notes a row that lies in the target and is not in the load that takes the place of all of it.
    pub(super) fn note_replaced(&mut self, text: &str, version: i64) -> Result<(), BatchFull> {
        self.records.push(Action::Delete, text, version, "", "", 0, "it is not in the full load")?;
        for column in &mut self.records.dimensions {
            column.push("")?;
        }
        Ok(())
    }

    /// Notes a row that will not land, and why.
    pub(super) fn note_reject(
        &mut self,
        batch: &Batch,
        row: usize,
        print: Fingerprint,
        reason: &str,
    ) -> Result<(), BatchFull> {
        let schema = batch.schema();
        let text_of = |at: Option<usize>| {
            at.and_then(|at| batch.column(at)).and_then(|column| column.text_at(row)).unwrap_or_default()
        };
        let (row_id, stamp) = (text_of(schema.row_id), batch.stamp(row).unwrap_or_default());
        let key = self.hasher.key_text(schema, batch, row);
        self.records.push(Action::Reject, key, print.version, row_id, &stamp, print.row, reason)?;
        for (column, &at) in self.records.dimensions.iter_mut().zip(&schema.dimensions) {
            column.push(self.hasher.plain_text(batch, at, row))?;
        }
        Ok(())
    }

    /// How many rows were noted in all that change the target.
    pub(super) fn noted(&self) -> u64 {
        self.noted
    }

    /// Writes out what has gathered once it fills a block.
    pub(super) async fn flush_full_blocks(&mut self) -> Result<(), SyncError> {
        if self.records.len() >= BLOCK { self.flush().await } else { Ok(()) }
    }

    /// Writes out all that has gathered.
    pub(super) async fn flush(&mut self) -> Result<(), SyncError> {
        if self.records.is_empty() {
            return Ok(());
        }
        let next = Records::sized_like(&self.records);
        let records = std::mem::replace(&mut self.records, next);
        let segment = AuditSegment {
            dataset: self.spec.id.clone(),
            run: self.run.clone(),
            at: self.at,
            company: self.parts.source.company().to_owned(),
            project: self.spec.target.project.clone(),
            datasource: self.spec.target.datasource.clone(),
            request_id: self.request_id.clone(),
            dimension_names: self.dimension_names.clone(),
            records,
        };
        self.parts.audit.append(segment).await.map_err(|error| self.failed(Stage::Audit, error))?;
        let mut next = Prints::default();
        next.entries.reserve_exact(self.prints.entries.len());
        next.keys.reserve_like(&self.prints.keys);
        let prints = std::mem::replace(&mut self.prints, next);
        if prints.entries.is_empty() {
            return Ok(());
        }
        self.parts
            .fingerprints
            .append(&self.spec.id, self.generation, &self.run, prints)
            .await
            .map_err(|error| self.failed(Stage::State, error))
    }

    fn failed(&self, stage: Stage, cause: impl Into<super::Cause>) -> SyncError {
        SyncError::new(&self.spec.id, Some(&self.run), stage, cause)
    }
}
