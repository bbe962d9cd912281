//! Paging by `$top` and `$skip`, with a check that no row slipped through between two pages.
//!
//! Each page begins with the last row of the one before (with some more where equal rows follow each other). If another
//! row stands there, rows have moved in the meantime; then everything is read again from the start, handing out only rows that were not handed out before, until one pass
//! goes through without a break.

use std::collections::HashMap;
use std::marker::PhantomData;

use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;
use url::Url;

use super::ahead::read_ahead;
use super::row::Identities;
use super::{Page, RawPage, decode_row};
use crate::error::{Delivery, Error, ErrorKind, Fate, Result};
use crate::exchange::Call;
use crate::query::{Order, Query};

const MOST_REREADS: u32 = 3;

/// All rows of a query, page after page, by offset. Made by [`Query::pages`].
///
/// Orders by the key columns where the query has no order of its own and they are known. A row that rests while the
/// pages are read is handed out exactly once. A row that changes its place may be missed if another row takes the
/// opposite way at the same time; where rows change often, page by key with [`Query::keyset`] instead.
///
/// Rows of a BAQ have no key; they are compared as a whole. Where they repeat over half a page and more, a move among
/// them cannot be noticed.
///
/// Where the server sends a next link with a token of its own (`$skiptoken`), that is followed instead, as long as it
/// stays below the root address.
///
/// Keeps about 32 bytes for each row handed out.
#[derive(Debug)]
#[must_use = "pages are read by next_page"]
pub struct Pages<T> {
    query: Query,
    start: u64,
    limit: Option<u64>,
    identities: Identities,
    /// How often each row was handed out.
    given: HashMap<u128, u32>,
    /// How often each row was met in this pass; none in the first pass, where that is the same as `given`.
    met: Option<HashMap<u128, u32>>,
    delivered: u64,
    /// How many rows this pass has gone through.
    position: u64,
    /// The last rows of this pass, with which the next page must begin.
    tail: Vec<u128>,
    /// The most rows that came in one answer.
    largest: usize,
    rereads: u32,
    most_rereads: u32,
    /// The server's own way to the next page, instead of ours.
    link: Option<Url>,
    ahead: usize,
    done: bool,
    rows: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Pages<T> {
    pub(crate) fn new(mut query: Query) -> Self {
        let keys = query.keys();
        if !query.is_ordered() {
            for key in &keys {
                query = query.order_by(key, Order::Ascending);
            }
        }
        Self {
            start: query.skip.unwrap_or(0),
            limit: query.top,
            identities: Identities::by(keys),
            given: HashMap::new(),
            met: None,
            delivered: 0,
            position: 0,
            tail: Vec::new(),
            largest: 0,
            rereads: 0,
            most_rereads: MOST_REREADS,
            link: None,
            ahead: 0,
            done: false,
            query,
            rows: PhantomData,
        }
    }

    /// How often everything may be read again because rows moved. 3 unless set; 0 makes every move an error.
    pub fn most_rereads(mut self, times: u32) -> Self {
        self.most_rereads = times;
        self
    }

    /// How many pages the streams read before they are asked for. None unless set. Needs a tokio runtime around; each
    /// page is held in memory.
    pub fn prefetch(mut self, pages: usize) -> Self {
        self.ahead = pages;
        self
    }

    /// How often everything was read again so far because rows moved.
    pub fn rereads(&self) -> u32 {
        self.rereads
    }

    /// The next page, or `None` at the end. After an error the same page is tried again.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when rows keep moving, otherwise as [`Query::send`].
    pub async fn next_page(&mut self) -> Result<Option<Page<T>>> {
        while !self.done {
            if self.limit == Some(self.delivered) {
                self.done = true;
                break;
            }
            let (call, seam) = self.next_call()?;
            let response = self.query.client().execute(&call).await?;
            let page = RawPage::decode(&response)?;
            let mut ids = Vec::with_capacity(page.value.len());
            for row in &page.value {
                ids.push(self.identities.of(row).map_err(|error| response.not_json(&error))?);
            }
            if seam > 0 && ids.get(..seam) != Some(self.tail.as_slice()) {
                self.begin_again()?;
                continue;
            }
            let link = self.next_link(page.next_link.as_deref())?;
            if link.as_ref().is_some_and(|link| *link == call.url) {
                return Err(Error::decode(call.operation, "the link to the next page leads to the same page")
                    .with_hint("page by key instead"));
            }
            let fresh = ids.len() - seam;
            if fresh == 0 && (self.link.is_some() || link.is_some()) {
                // Where the links end, our own counting takes over: they may only have gone as far as `$top`.
                self.link = link;
                continue;
            }
            if fresh == 0 {
                if seam > 0 && ids.len() >= self.largest {
                    self.prove_end().await?;
                }
                self.done = true;
                break;
            }
            self.largest = self.largest.max(ids.len());
            // Decoded before anything is noted, so that after an error the page can be tried again.
            let mut items = Vec::with_capacity(fresh);
            let mut taken: HashMap<u128, u32> = HashMap::new();
            let room = self.limit.map_or(u64::MAX, |limit| limit - self.delivered);
            for (at, (row, id)) in page.value.iter().zip(&ids).enumerate().skip(seam) {
                let times = taken.entry(*id).or_default();
                *times += 1;
                if self.is_new(*id, *times) && (items.len() as u64) < room {
                    items.push((*id, decode_row(&response, at, row)?));
                }
            }
            for (id, times) in taken {
                if let Some(met) = &mut self.met {
                    *met.entry(id).or_default() += times;
                }
            }
            self.position += fresh as u64;
            self.tail = self.next_tail(&ids);
            self.delivered += items.len() as u64;
            self.link = link;
            self.done = self.link.is_none() && page.count.is_some_and(|count| self.start + self.position >= count);
            let items: Vec<T> = items
                .into_iter()
                .map(|(id, item)| {
                    *self.given.entry(id).or_default() += 1;
                    item
                })
                .collect();
            if !items.is_empty() {
                return Ok(Some(Page { items, count: page.count, next_link: page.next_link, continuation: None }));
            }
        }
        Ok(None)
    }

    /// The request for the next page, and with how many rows of the one before it begins.
    fn next_call(&self) -> Result<(Call, usize)> {
        if let Some(link) = &self.link {
            return Ok((Call::get(self.query.operation(), link.clone()), 0));
        }
        let seam = self.tail.len();
        let mut query = self.query.clone();
        query.skip = Some(self.start + self.position - seam as u64);
        query.top = Some(self.wanted().saturating_add(seam as u64));
        Ok((query.call()?, seam))
    }

    /// A link that is better than counting rows: one with a token of the server's own. Links that only count are left,
    /// since nobody checks their seams. Key and identity go along, so that it must stay below the root.
    fn next_link(&self, link: Option<&str>) -> Result<Option<Url>> {
        let Some(link) = link.filter(|link| link.to_ascii_lowercase().contains("skiptoken=")) else { return Ok(None) };
        let (root, astray) = (self.query.client().root(), || {
            Error::decode(self.query.operation(), "the link to the next page leads away from the root address")
                .with_hint("use the address as root that the server itself goes by")
        });
        let url = self.query.url()?.join(link).map_err(|_| astray())?;
        if url.origin() != root.origin() || !url.path().starts_with(root.path()) {
            return Err(astray());
        }
        Ok(Some(url))
    }

    /// The pages as a stream that ends after the first error.
    pub fn into_page_stream(self) -> futures_core::stream::BoxStream<'static, Result<Page<T>>>
    where
        T: Send + 'static,
    {
        let ahead = self.ahead;
        let pages =
            stream::try_unfold(self, |mut pages| async move { Ok(pages.next_page().await?.map(|page| (page, pages))) });
        read_ahead(pages.boxed(), ahead)
    }

    /// The rows as a stream that ends after the first error.
    pub fn into_stream(self) -> futures_core::stream::BoxStream<'static, Result<T>>
    where
        T: Send + 'static,
    {
        self.into_page_stream().map_ok(|page| stream::iter(page.items.into_iter().map(Ok))).try_flatten().boxed()
    }

    /// Rows per request. The limit shortens it in the first pass only: later ones meet rows they have seen.
    fn wanted(&self) -> u64 {
        match (self.limit, &self.met) {
            (Some(limit), None) => self.query.page_size.min(limit - self.delivered),
            _ => self.query.page_size,
        }
    }

    /// Whether the row, met for the `times`th time on this page, has not been handed out that often.
    fn is_new(&self, id: u128, times: u32) -> bool {
        let Some(met) = &self.met else { return true };
        met.get(&id).copied().unwrap_or(0) + times > self.given.get(&id).copied().unwrap_or(0)
    }

    /// The rows that the next page must begin with: the last one; where it has equals before it, those and the one
    /// before them, since a run of equal rows looks the same when it has moved. Never more than half of what the
    /// server gives out at once, so that there is room for new rows.
    fn next_tail(&self, ids: &[u128]) -> Vec<u128> {
        let run = ids.iter().rev().take_while(|id| Some(*id) == ids.last()).count();
        let wanted = if run > 1 { run + 1 } else { run };
        let length = wanted.min((self.largest / 2).max(1)).min(ids.len());
        ids.get(ids.len() - length..).unwrap_or_default().to_vec()
    }

    /// The page held nothing but the seam. If the server never gave out more than that at once, this may be its limit
    /// and not the end.
    async fn prove_end(&self) -> Result<()> {
        let mut query = self.query.clone();
        query.skip = Some(self.start + self.position);
        query.top = Some(1);
        let response = query.client().execute(&query.call()?).await?;
        if RawPage::decode(&response)?.value.is_empty() {
            return Ok(());
        }
        Err(Error::decode(self.query.operation(), "the server gives out too few rows at once to page by offset")
            .with_hint("page by key instead"))
    }

    fn begin_again(&mut self) -> Result<()> {
        if self.rereads >= self.most_rereads {
            return Err(Error::new(
                ErrorKind::Conflict,
                Delivery::Answered,
                self.query.operation(),
                format!("rows keep moving between pages, {} times so far", self.rereads + 1),
            )
            .with_hint("order by a column that does not change, or page by key instead of offset")
            .with_fate(Fate::Final));
        }
        self.rereads += 1;
        self.position = 0;
        self.tail.clear();
        self.met = Some(HashMap::new());
        Ok(())
    }
}
