//! Pages of rows, by offset ([`Pages`]) and by key ([`Keyset`]).
//!
//! A page that is shorter than asked for is never taken for the end: the server cuts pages silently (observed). The end
//! is an empty page, or the count if it was asked for.

mod ahead;
mod columns;
mod keyset;
mod offset;
mod row;

#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

pub use columns::KeysetColumns;
pub use keyset::{Continuation, Keyset};
pub use offset::Pages;

use crate::error::{Error, Result};
use crate::raw::{Response, describe};

/// Rows, and what came with them.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Page<T> {
    /// The rows.
    #[serde(rename = "value")]
    pub items: Vec<T>,
    /// How many rows meet the condition in all, when [`Query::count`](crate::Query::count) asked. Of a page by key:
    /// how many there are from this page on.
    #[serde(rename = "@odata.count", default)]
    pub count: Option<u64>,
    /// The link to the next page, if the server sent one. Kinetic is not known to; [`Pages`] follows it by itself.
    #[serde(rename = "@odata.nextLink", default)]
    pub next_link: Option<String>,
    /// Where to go on behind this page: of pages by key only.
    #[serde(skip)]
    pub continuation: Option<Continuation>,
}

impl<T: DeserializeOwned> Page<T> {
    pub(crate) fn decode(response: &Response) -> Result<Self> {
        serde_json::from_slice(response.body()).map_err(|error| match RawPage::decode(response) {
            // The envelope is sound, so one of the rows is not: the row is easier to find than a column of the text.
            Ok(page) => {
                match page.value.iter().enumerate().find_map(|(at, row)| decode_row::<T>(response, at, row).err()) {
                    Some(error) => error,
                    None => response.not_json(&error),
                }
            }
            Err(error) => error,
        })
    }
}

/// A page whose rows are still text.
#[derive(Deserialize)]
pub(crate) struct RawPage<'a> {
    #[serde(borrow)]
    value: Vec<&'a RawValue>,
    #[serde(rename = "@odata.count", default)]
    count: Option<u64>,
    #[serde(rename = "@odata.nextLink", default)]
    next_link: Option<String>,
}

impl<'a> RawPage<'a> {
    pub(crate) fn decode(response: &'a Response) -> Result<Self> {
        serde_json::from_slice(response.body()).map_err(|error| response.not_json(&error))
    }
}

fn decode_row<T: DeserializeOwned>(response: &Response, at: usize, row: &RawValue) -> Result<T> {
    serde_json::from_str(row.get()).map_err(|error| {
        Error::decode(response.operation().to_owned(), format!("row {} of the page: {}", at + 1, describe(&error)))
            .with_hint("check that the row type fits the columns that were asked for")
    })
}
