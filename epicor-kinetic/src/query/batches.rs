//! Long lists of values, split into as many queries as the length of addresses needs.
//!
//! Web servers cut off query strings at about 2,048 bytes unless told otherwise (IIS's default), so that a list of
//! hundreds of values cannot be asked for at once.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;

use super::{Filter, Literal, Query, field};
use crate::error::{Error, Result};

impl Query {
    /// Splits the question for rows whose column equals one of `values` into queries whose addresses stay below
    /// [`Query::max_query_length`]. Each can be read as any other query; no row is in two of them.
    ///
    /// Values that repeat are asked for once. Values that differ in case or in blanks at the end only are asked for
    /// together, since many databases take them for the same.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for an impossible name, for null among the values, and when
    /// select and filter alone, or one value, are too long.
    pub fn batches<V: Into<Literal>>(&self, column: &str, values: impl IntoIterator<Item = V>) -> Result<Vec<Self>> {
        super::check_column(column)?;
        let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut literals: BTreeMap<String, Literal> = BTreeMap::new();
        for value in values {
            let value: Literal = value.into();
            if value.is_null() {
                return Err(Error::config(
                    self.operation(),
                    format!("null is among the values for column {column}; ask for it with is_null"),
                ));
            }
            groups.entry(value.folded()).or_default().insert(value.to_string());
            literals.insert(value.to_string(), value);
        }
        let mut batches = Vec::new();
        let mut open: Vec<Literal> = Vec::new();
        let room = self.room()?;
        let mut left = room;
        for group in groups.into_values() {
            let group: Vec<Literal> = group.iter().filter_map(|text| literals.get(text).cloned()).collect();
            let needed: usize = group.iter().map(|value| self.length_of(column, value)).sum();
            if needed > room {
                return Err(Error::config(
                    self.operation(),
                    format!("a value for column {column} is too long for an address; filter by another column"),
                ));
            }
            if needed > left {
                batches.push(self.with_values(column, std::mem::take(&mut open)));
                left = room;
            }
            left -= needed;
            open.extend(group);
        }
        if !open.is_empty() {
            batches.push(self.with_values(column, open));
        }
        Ok(batches)
    }

    /// Reads all rows whose column equals one of `values`, in as many queries as needed, one after the other. Ends
    /// after the first error. [`Query::top`] counts for each of them.
    ///
    /// # Errors
    /// As [`Query::batches`]; reading fails inside of the stream.
    pub fn stream_in<T: DeserializeOwned + Send + 'static, V: Into<Literal>>(
        &self,
        column: &str,
        values: impl IntoIterator<Item = V>,
    ) -> Result<futures_core::stream::BoxStream<'static, Result<T>>> {
        let batches = self.batches(column, values)?;
        let rows = stream::iter(batches.into_iter().map(|query| Ok::<_, Error>(query.stream::<T>())));
        Ok(rows.try_flatten().boxed())
    }

    /// How long the query string of an address may be, encoded, in bytes. 2,000 unless set, which leaves room below
    /// what IIS takes unless told otherwise. Only [`Query::batches`] and [`Query::stream_in`] keep to it.
    pub fn max_query_length(mut self, bytes: usize) -> Self {
        self.max_query_length = bytes;
        self
    }

    /// How many bytes are left for values.
    fn room(&self) -> Result<usize> {
        // Pages by offset add order and skip; a long number stands for any.
        const PAGING: usize = "&$skip=18446744073709551615&$top=18446744073709551615&$orderby=".len();
        let order: usize = self.keys().iter().map(|key| key.len() + 3).sum();
        let filter = self.filter.clone();
        let probe = match filter {
            Some(filter) => self.clone().filter(filter.and(field("A").in_([1, 2]))),
            None => self.clone().filter(field("A").in_([1, 2])),
        };
        let used = probe.url()?.query().map_or(0, str::len) + PAGING + order;
        self.max_query_length.checked_sub(used).filter(|room| *room > 0).ok_or_else(|| {
            Error::config(
                self.operation(),
                "columns and filter alone are too long for an address; select fewer, or raise max_query_length",
            )
        })
    }

    /// What ` or column eq value` takes in an address.
    #[expect(clippy::unused_self, reason = "it belongs to the others")]
    fn length_of(&self, column: &str, value: &Literal) -> usize {
        crate::address::value(&format!(" or {column} eq {value}")).len()
    }

    fn with_values(&self, column: &str, values: Vec<Literal>) -> Self {
        let list: Filter = field(column).in_(values);
        self.clone().and_filter(list)
    }
}
