//! Listings by pages (Tableau REST API reference, Using Pagination).

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use serde::de::DeserializeOwned;

use crate::address;
use crate::call::{Call, Scope};
use crate::client::Client;
use crate::error::Result;
use crate::filter::{Filter, Sort};
use crate::wire;

const LARGEST_PAGE: u32 = 1_000;

pub(crate) mod sealed {
    /// Where a listing is found, and how its answer is wrapped.
    pub trait Wrapped {
        const PATH: &'static str;
        const OUTER: &'static str;
        const INNER: &'static str;
        /// Whether it lies above all sites.
        const OF_SERVER: bool = false;
    }
}

/// What can be listed. Sealed.
pub trait Listed: sealed::Wrapped + DeserializeOwned + Send + 'static {}

impl<T: sealed::Wrapped + DeserializeOwned + Send + 'static> Listed for T {}

/// One page of a listing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Its number, from 1 on.
    pub number: u32,
    /// How many entries there are in all, as the server counted them for this page.
    pub total: Option<u64>,
}

/// A listing that is about to be read.
///
/// The server counts through a fixed order page by page: while somebody deletes, an entry can slip from one page to the
/// one before and be missed. Pages are large (1,000) so that this is rare; identity should rest on ids.
#[must_use]
pub struct Listing<T> {
    client: Client,
    path: Vec<String>,
    fields: Option<String>,
    filters: Vec<Filter>,
    sorts: Vec<Sort>,
    page_size: u32,
    item: PhantomData<fn() -> T>,
}

impl<T: Listed> Listing<T> {
    pub(crate) fn new(client: Client) -> Self {
        Self::at(client, T::PATH.split('/').map(str::to_owned).collect())
    }

    /// A listing below something, for example the users of a group.
    pub(crate) fn at(client: Client, path: Vec<String>) -> Self {
        let (filters, sorts) = (Vec::new(), Vec::new());
        Self { client, path, fields: None, filters, sorts, page_size: LARGEST_PAGE, item: PhantomData }
    }

    /// Which fields the server is to answer, in Tableau's own words: `_default_` or `_all_`, which must come first, and names
    /// such as `owner.name`. Without it, those that it answers by default. Where it leaves out an id, the entry cannot be read.
    pub fn fields<S: AsRef<str>>(mut self, fields: impl IntoIterator<Item = S>) -> Self {
        let fields: Vec<String> = fields.into_iter().map(|field| field.as_ref().trim().to_owned()).collect();
        self.fields = Some(fields.join(","));
        self
    }

    /// Adds a condition.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// Adds an order.
    pub fn sort(mut self, sort: Sort) -> Self {
        self.sorts.push(sort);
        self
    }

    /// How many entries a page has: 1 to 1,000, which it is unless set.
    pub fn page_size(mut self, entries: u32) -> Self {
        self.page_size = entries.clamp(1, LARGEST_PAGE);
        self
    }

    /// Reads one page, from 1 on. A page behind the last is empty.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the server cannot use filter or sort, and everything
    /// that can go wrong between here and there.
    pub async fn page(&self, number: u32) -> Result<Page<T>> {
        let segments: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let scope = if T::OF_SERVER { Scope::Server } else { Scope::Site };
        let mut call = Call::new(format!("list {}", T::OUTER), Method::GET, scope, &segments)?
            .query("pageSize", &self.page_size.to_string())
            .query("pageNumber", &number.to_string());
        if let Some(fields) = &self.fields {
            call = call.encoded_query("fields", &address::expression(fields));
        }
        if !self.filters.is_empty() {
            call = call.encoded_query("filter", &address::expression(&Filter::join(&self.filters)));
        }
        if !self.sorts.is_empty() {
            call = call.encoded_query("sort", &address::expression(&Sort::join(&self.sorts)));
        }
        let answer = match self.client.run(&call).await {
            // The server calls a page behind the last one an error.
            Err(error) if number > 1 && error.code() == Some("400006") => {
                return Ok(Page { items: Vec::new(), number, total: None });
            }
            other => other?,
        };
        let value = answer.value()?;
        if value.get(T::OUTER).is_none() && value.get("pagination").is_none() {
            return Err(answer.unfit("the answer is no listing"));
        }
        let items = wire::entries(value.get(T::OUTER), T::INNER)
            .into_iter()
            .map(|entry| answer.read(entry.clone()))
            .collect::<Result<Vec<T>>>()?;
        let total = value.get("pagination").and_then(|pagination| wire::count(pagination.get("totalAvailable")));
        Ok(Page { items, number, total })
    }

    /// The pages, one after the other, until an empty one or the server's count.
    pub fn pages(self) -> BoxStream<'static, Result<Page<T>>> {
        let begin = Some((self, 1_u32, 0_u64));
        stream::try_unfold(begin, async |position| {
            let Some((listing, number, seen)) = position else {
                return Ok(None);
            };
            let page = listing.page(number).await?;
            let seen = seen.saturating_add(u64::try_from(page.items.len()).unwrap_or(u64::MAX));
            let full = u64::from(listing.page_size) == u64::try_from(page.items.len()).unwrap_or(u64::MAX);
            // A short page ends the listing only where the server does not count.
            let more = !page.items.is_empty() && page.total.map_or(full, |total| seen < total);
            let next = more.then(|| (listing, number.saturating_add(1), seen));
            Ok(Some((page, next)))
        })
        .boxed()
    }

    /// The entries, one after the other.
    pub fn stream(self) -> BoxStream<'static, Result<T>> {
        self.pages().map_ok(|page| stream::iter(VecDeque::from(page.items).into_iter().map(Ok))).try_flatten().boxed()
    }

    /// All entries.
    ///
    /// # Errors
    /// As [`Listing::page`].
    pub async fn all(self) -> Result<Vec<T>> {
        self.stream().try_collect().await
    }
}

impl<T> fmt::Debug for Listing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing")
            .field("filters", &self.filters)
            .field("sorts", &self.sorts)
            .field("page_size", &self.page_size)
            .finish_non_exhaustive()
    }
}
