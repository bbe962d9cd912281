//! Rows by their keys: as many keys in one request as its address takes.

use std::sync::Arc;

use epicor_kinetic::{Filter, Literal, Query, field};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, stream};

use super::walk::{Rank, Walk};
use super::{failed, key_ranks};
use crate::batch::Batch;
use crate::decode::LinesDecoder;
use crate::model::Schema;
use crate::source::{SourceError, SourceErrorKind};

/// Most bytes of an address, with room for the next page's condition: IIS takes 2,048 of a query unless told otherwise.
const LONGEST: usize = 1_700;
/// Most keys in one request: each one costs the server a seek.
const MOST: usize = 50;

/// The schema of lines and of their headers, and the navigation property between them.
pub(super) type Lines = (Arc<Schema>, Arc<Schema>, String);

/// The rows of these keys that are there; the lines below them where lines are wanted.
pub(super) fn rows<'a>(
    query: Query,
    schema: Arc<Schema>,
    keys: Batch,
    lines: Option<Lines>,
) -> BoxStream<'a, Result<Batch, SourceError>> {
    let (ranks, answered) = match (key_ranks(keys.schema()), key_ranks(&schema)) {
        (Ok(ranks), Ok(answered)) => (ranks, answered),
        (Err(error), _) | (_, Err(error)) => return stream::iter([Err(error)]).boxed(),
    };
    let columns: Vec<&str> = schema.columns.iter().map(|column| column.source.as_str()).collect();
    let mut unique = columns.clone();
    unique.sort_unstable();
    unique.dedup();
    let query = query.select(unique);
    let bare = match query.url() {
        Ok(url) => url.as_str().len(),
        Err(error) => return stream::iter([Err(failed(error))]).boxed(),
    };
    let state = Lookup { bare, query, schema, lines, ranks, answered, keys, next: 0, walk: None };
    stream::try_unfold(state, async |mut lookup| Ok(lookup.next().await?.map(|batch| (batch, lookup)))).boxed()
}

struct Lookup {
    query: Query,
    schema: Arc<Schema>,
    lines: Option<Lines>,
    /// The key columns, by their places among the keys and among the columns that are answered.
    ranks: Vec<Rank>,
    answered: Vec<Rank>,
    keys: Batch,
    next: usize,
    /// Length of the address without any key.
    bare: usize,
    /// The request that is being answered, and how many rows it may have in all.
    walk: Option<(Walk, u64)>,
}

impl Lookup {
    async fn next(&mut self) -> Result<Option<Batch>, SourceError> {
        loop {
            if let Some((walk, most)) = &mut self.walk {
                // A server may cap pages silently: only an empty page says that the rest is not there.
                if let Some(batch) = walk.next().await? {
                    if walk.came() > *most {
                        let message = "more rows were answered than keys were asked for".to_owned();
                        return Err(SourceError::new(SourceErrorKind::Order, message)
                            .with_hint("name columns in `key` that tell all rows apart"));
                    }
                    if walk.came() == *most {
                        self.walk = None;
                    }
                    return Ok(Some(batch));
                }
                self.walk = None;
            }
            let mut most = MOST.min(self.keys.rows() - self.next);
            if most == 0 {
                return Ok(None);
            }
            let any = loop {
                let any = self.some(most)?;
                let length = self.query.clone().and_filter(any.clone()).url().map_err(failed)?.as_str().len();
                // A long list of columns is the user's own choice.
                if length <= LONGEST.max(self.bare + LONGEST / 3) || most == 1 {
                    break any;
                }
                // In proportion, but always fewer.
                most = (most * LONGEST / length).clamp(1, most - 1);
            };
            self.next += most;
            // One more than there can be, to see where a key belongs to more than one row.
            let (query, schema) = (self.query.clone().top(most as u64 + 1), Arc::clone(&self.schema));
            let walk = Walk::new(query, schema, self.answered.clone(), Some(any), None);
            let walk = match &self.lines {
                Some((joined, headers, navigation)) => {
                    walk.with_lines(LinesDecoder::new(Arc::clone(joined), Arc::clone(headers), navigation))
                }
                None => walk,
            };
            self.walk = Some((walk, most as u64));
        }
    }

    /// The condition for the next so many keys.
    fn some(&self, most: usize) -> Result<Filter, SourceError> {
        let mut any: Option<Filter> = None;
        for row in self.next..self.next + most {
            let parts: Option<Vec<(&Rank, Literal)>> =
                self.ranks.iter().map(|rank| Some((rank, rank.literal(self.keys.column(rank.at())?, row)?))).collect();
            let one = parts.and_then(|parts| {
                parts.into_iter().map(|(rank, value)| field(rank.name()).eq(value)).reduce(Filter::and)
            });
            let one = one.ok_or_else(|| SourceError::new(SourceErrorKind::Other, "a key has no value"))?;
            any = Some(match any {
                Some(any) => any.or(one),
                None => one,
            });
        }
        any.ok_or_else(|| SourceError::new(SourceErrorKind::Other, "no key is asked for"))
    }
}
