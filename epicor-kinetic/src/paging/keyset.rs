//! Paging by key: each page asks for the rows behind the last one of the page before.
//!
//! Rows that come or go elsewhere in the set do not move what is still to be read, and no page costs the server more
//! than the first. The price is a total order over columns that are never null.

use std::cmp::Ordering;

use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ahead::read_ahead;
use super::columns::KeysetColumns;
use super::row::pick;
use super::{Page, RawPage, decode_row};
use crate::error::{Error, Result};
use crate::query::{Order, Query};

/// Where a [`Keyset`] stands. Can be stored, and given back with [`Keyset::resume`]. Holds key values of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuation {
    of: String,
    columns: KeysetColumns,
    after: Vec<String>,
}

/// All rows of a query in the order of some columns, page after page, by key. Made by [`Query::keyset`].
#[derive(Debug)]
#[must_use = "pages are read by next_page"]
pub struct Keyset {
    query: Query,
    columns: KeysetColumns,
    after: Option<Vec<String>>,
    remaining: Option<u64>,
    ahead: usize,
    done: bool,
}

impl Keyset {
    pub(crate) fn new(query: Query, columns: KeysetColumns) -> Self {
        Self { remaining: query.top, query, columns, after: None, ahead: 0, done: false }
    }

    /// Goes on behind the last row of the page before the continuation was taken.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when it belongs to another set or other columns.
    pub fn resume(self, continuation: Continuation) -> Result<Self> {
        if continuation.of != self.query.operation() || continuation.columns != self.columns {
            return Err(Error::config(
                self.query.operation(),
                "the continuation belongs to another query; begin again without it",
            ));
        }
        self.after(continuation.after)
    }

    /// Begins behind these values, one for each column.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when they do not fit the columns.
    pub fn after<V: Into<String>>(mut self, values: impl IntoIterator<Item = V>) -> Result<Self> {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        self.columns.literals(&values)?;
        self.after = Some(values);
        Ok(self)
    }

    /// Where to go on later; `None` before the first row.
    pub fn continuation(&self) -> Option<Continuation> {
        let after = self.after.clone()?;
        Some(Continuation { of: self.query.operation(), columns: self.columns.clone(), after })
    }

    /// The next page, or `None` at the end. After an error the same page is tried again.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when a row stands out of order or lacks a value in one of the
    /// columns, since rows could be lost then; otherwise as [`Query::send`].
    pub async fn next_page<T: DeserializeOwned>(&mut self) -> Result<Option<Page<T>>> {
        if self.done || self.remaining == Some(0) {
            return Ok(None);
        }
        let query = self.page_query()?;
        let response = query.client().execute(&query.call()?).await?;
        let page = RawPage::decode(&response)?;
        let names: Vec<String> = self.columns.names().map(str::to_owned).collect();
        let mut last = self.after.clone();
        let mut items = Vec::with_capacity(page.value.len());
        for (at, row) in page.value.iter().enumerate() {
            let values = pick(row, &names).map_err(|error| response.not_json(&error))?;
            let place = self.columns.place(&values).map_err(|column| {
                let message = format!("a row has no usable value in column {column} to page by");
                Error::decode(self.query.operation(), message)
                    .with_hint("page by columns that are never null and of the type that was named")
            })?;
            if let Some(last) = &last {
                self.check_order(last, &place)?;
            }
            last = Some(place);
            items.push(decode_row(&response, at, row)?);
        }
        if items.is_empty() {
            self.done = true;
            return Ok(None);
        }
        self.after = last;
        self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(items.len() as u64));
        Ok(Some(Page { items, count: page.count, next_link: page.next_link, continuation: self.continuation() }))
    }

    /// How many pages the streams read before they are asked for. None unless set. Needs a tokio runtime around; each
    /// page is held in memory.
    pub fn prefetch(mut self, pages: usize) -> Self {
        self.ahead = pages;
        self
    }

    /// The pages as a stream that ends after the first error. Each knows where to go on behind it
    /// ([`Page::continuation`]).
    pub fn into_page_stream<T: DeserializeOwned + Send + 'static>(
        self,
    ) -> futures_core::stream::BoxStream<'static, Result<Page<T>>> {
        let ahead = self.ahead;
        let pages = stream::try_unfold(self, |mut keyset| async move {
            Ok(keyset.next_page::<T>().await?.map(|page| (page, keyset)))
        });
        read_ahead(pages.boxed(), ahead)
    }

    /// The rows as a stream that ends after the first error.
    pub fn into_stream<T: DeserializeOwned + Send + 'static>(
        self,
    ) -> futures_core::stream::BoxStream<'static, Result<T>> {
        self.into_page_stream().map_ok(|page| stream::iter(page.items.into_iter().map(Ok))).try_flatten().boxed()
    }

    fn page_query(&self) -> Result<Query> {
        if self.query.is_ordered() || self.query.skip.is_some() {
            return Err(Error::config(
                self.query.operation(),
                "paging by key sets the order itself and skips nothing; leave out order_by and skip",
            ));
        }
        if self.columns.is_empty() {
            return Err(Error::config(self.query.operation(), "no columns to page by; name those of a total order"));
        }
        let mut query = self.query.clone().also_select(self.columns.names());
        for name in self.columns.names() {
            query = query.order_by(name, Order::Ascending);
        }
        if let Some(after) = &self.after {
            query = query.and_filter(self.columns.behind(after)?);
        }
        let size = self.query.page_size;
        query.top = Some(self.remaining.map_or(size, |remaining| size.min(remaining)));
        Ok(query)
    }

    fn check_order(&self, last: &[String], place: &[String]) -> Result<()> {
        if matches!(self.columns.compare(last, place), Some(Ordering::Less) | None) {
            return Ok(());
        }
        let names: Vec<&str> = self.columns.names().collect();
        let message = format!("rows are not in strictly rising order of {}", names.join(", "));
        Err(Error::decode(self.query.operation(), message).with_hint(
            "make sure that these columns tell all rows apart and that the server orders and filters by them",
        ))
    }
}
