//! Lines below headers: which columns belong to which, and how rows are asked for by their keys.

use std::collections::HashSet;
use std::sync::Arc;

use epicor_kinetic::Query;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, stream};

use super::lookup;
use crate::batch::Batch;
use crate::decode::LinesDecoder;
use crate::engine::rows::RowHasher;
use crate::model::{Column, Schema};
use crate::source::{SourceError, SourceErrorKind};

/// What is known of the headers of a dataset of lines.
#[derive(Debug)]
pub(super) struct Headers {
    /// Navigation property of the lines.
    pub(super) navigation: String,
    /// Key columns of the headers, in key order.
    pub(super) key: Vec<Column>,
    /// Whether the server takes `$select` within `$expand`.
    pub(super) nested: bool,
}

/// The name of a line's column without its navigation property; none for a column of the header.
pub(super) fn of_line<'a>(source: &'a str, navigation: &str) -> Option<&'a str> {
    source.strip_prefix(navigation)?.strip_prefix('/')
}

impl Headers {
    /// The columns of the headers that are needed for these rows: their key, and what lands of them or tracks them.
    pub(super) fn schema(&self, joined: &Schema) -> Arc<Schema> {
        let mut columns: Vec<Column> = self.key.clone();
        let mut place = |column: &Column| {
            let same = |other: &Column| other.source == column.source && other.kind == column.kind;
            columns.iter().position(same).unwrap_or_else(|| {
                columns.push(column.clone());
                columns.len() - 1
            })
        };
        let (mut version, mut stamp, mut stamp_seconds) = (None, None, None);
        for (at, column) in joined.columns.iter().enumerate() {
            if of_line(&column.source, &self.navigation).is_some() || column.source.is_empty() {
                continue;
            }
            let here = place(column);
            if joined.version == Some(at) {
                version = Some(here);
            }
            if joined.stamp == Some(at) {
                stamp = Some(here);
            }
            if joined.stamp_seconds == Some(at) {
                stamp_seconds = Some(here);
            }
        }
        let key = (0..self.key.len()).collect();
        Arc::new(Schema { columns, key, version, row_id: None, stamp, stamp_seconds, dimensions: Vec::new() })
    }

    pub(super) fn decoder(&self, joined: &Arc<Schema>) -> LinesDecoder {
        LinesDecoder::new(Arc::clone(joined), self.schema(joined), &self.navigation)
    }

    /// The query with the lines brought along.
    pub(super) fn expanded(&self, query: Query, joined: &Schema) -> Query {
        if !self.nested {
            return query.expand(self.navigation.as_str());
        }
        let mut columns: Vec<&str> =
            joined.columns.iter().filter_map(|column| of_line(&column.source, &self.navigation)).collect();
        columns.sort_unstable();
        columns.dedup();
        query.expand_select(self.navigation.as_str(), columns)
    }

    /// The lines of these keys that are there: all lines of their headers, without those that were not asked for.
    pub(super) fn rows<'a>(
        &self,
        query: Query,
        joined: &Arc<Schema>,
        keys: &Batch,
    ) -> BoxStream<'a, Result<Batch, SourceError>> {
        let headers = match self.header_keys(keys) {
            Ok(headers) => headers,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let mut hasher = RowHasher::default();
        let wanted: HashSet<u128> = (0..keys.rows()).map(|row| hasher.key(keys.schema(), keys, row)).collect();
        let query = self.expanded(query, joined);
        let lines = (Arc::clone(joined), self.schema(joined), self.navigation.clone());
        let found = lookup::rows(query, self.schema(joined), headers, Some(lines));
        found
            .map(move |batch| {
                let batch = batch?;
                let kept = (0..batch.rows()).filter(|&row| wanted.contains(&hasher.key(batch.schema(), &batch, row)));
                let kept: Vec<usize> = kept.collect();
                batch.only(&kept).map_err(|full| SourceError::new(SourceErrorKind::Decode, full.to_string()))
            })
            .boxed()
    }

    /// The keys of the headers of some lines. Both name their columns alike, but for case (`PONum` and `PONUM`).
    fn header_keys(&self, keys: &Batch) -> Result<Batch, SourceError> {
        let mut places = Vec::with_capacity(self.key.len());
        for column in &self.key {
            let at = keys.schema().columns.iter().position(|of| {
                of_line(&of.source, &self.navigation).unwrap_or(&of.source).eq_ignore_ascii_case(&column.source)
            });
            places.push(at.ok_or_else(|| {
                let message = format!("the key of the lines does not hold {} of their headers", column.source);
                SourceError::new(SourceErrorKind::Config, message)
                    .with_hint("name all key columns of the header in `key` beside those of the line")
            })?);
        }
        let schema = Arc::new(Schema {
            columns: self.key.clone(),
            key: (0..self.key.len()).collect(),
            version: None,
            row_id: None,
            stamp: None,
            stamp_seconds: None,
            dimensions: Vec::new(),
        });
        let columns = places.iter().filter_map(|at| keys.column(*at).cloned()).collect();
        let all = Batch::from_columns(Arc::clone(&schema), columns)
            .map_err(|_| SourceError::new(SourceErrorKind::Other, "keys of unequal length"))?;
        let (mut hasher, mut seen) = (RowHasher::default(), HashSet::new());
        let first: Vec<usize> = (0..all.rows()).filter(|&row| seen.insert(hasher.key(&schema, &all, row))).collect();
        all.only(&first).map_err(|full| SourceError::new(SourceErrorKind::Decode, full.to_string()))
    }
}
