//! Queries of entity sets and BAQs.
//!
//! Options as in the Epicor REST guide: `$select $expand $filter $orderby $top $skip $count`. Without `$top` the server
//! silently stops after 100 rows (observed), so `$top` is always sent.

mod filter;
mod literal;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use url::Url;

pub(crate) use filter::check_column;
pub use filter::{Field, Filter, field};
pub use literal::Literal;
pub(crate) use literal::{Moment, is_guid};

use crate::client::Client;
use crate::entity::EntitySet;
use crate::error::{Error, Result};
use crate::exchange::Call;
use crate::paging::{Keyset, KeysetColumns, Page, Pages};

/// What a query without [`Query::top`] asks for, and the size of pages unless set.
pub(crate) const DEFAULT_PAGE: u64 = 100;

/// The direction of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// A query in the making. Ends with [`Query::send`], [`Query::bytes`], [`Query::pages`], [`Query::stream`] or
/// [`Query::keyset`].
#[must_use = "a query does nothing until it is sent"]
#[derive(Clone, Debug)]
pub struct Query {
    client: Client,
    target: Target,
    parameters: Vec<(String, String)>,
    select: Vec<String>,
    filter: Option<Filter>,
    order: Vec<(String, Order)>,
    expand: Vec<String>,
    pub(crate) top: Option<u64>,
    pub(crate) skip: Option<u64>,
    pub(crate) count: bool,
    pub(crate) page_size: u64,
}

#[derive(Clone, Debug)]
enum Target {
    Set(EntitySet),
    Baq(String),
}

impl Query {
    pub(crate) fn of_set(client: Client, set: EntitySet) -> Self {
        Self::new(client, Target::Set(set))
    }

    pub(crate) fn of_baq(client: Client, id: String) -> Self {
        Self::new(client, Target::Baq(id))
    }

    fn new(client: Client, target: Target) -> Self {
        Self {
            client,
            target,
            parameters: Vec::new(),
            select: Vec::new(),
            filter: None,
            order: Vec::new(),
            expand: Vec::new(),
            top: None,
            skip: None,
            count: false,
            page_size: DEFAULT_PAGE,
        }
    }

    /// Only these columns. Rows are wide (an AP invoice has over 500), so nearly every query should say which.
    pub fn select<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.select = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Only rows that meet this condition, instead of any set before.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Only rows that meet this condition too.
    pub fn and_filter(mut self, filter: Filter) -> Self {
        self.filter = Some(match self.filter {
            Some(first) => first.and(filter),
            None => filter,
        });
        self
    }

    /// Orders by this column, after those named before.
    pub fn order_by(mut self, column: impl Into<String>, order: Order) -> Self {
        self.order.push((column.into(), order));
        self
    }

    /// At most this many rows. 100 unless set; for [`Query::pages`] and [`Query::stream`] there is no limit unless
    /// set.
    pub fn top(mut self, rows: u64) -> Self {
        self.top = Some(rows);
        self
    }

    /// Leaves out this many rows at the beginning. Only meaningful with an order.
    pub fn skip(mut self, rows: u64) -> Self {
        self.skip = Some(rows);
        self
    }

    /// Asks how many rows meet the condition in all, see [`Page::count`].
    pub fn count(mut self) -> Self {
        self.count = true;
        self
    }

    /// Brings the rows of a navigation property along, for example the lines of an invoice.
    pub fn expand(mut self, property: impl Into<String>) -> Self {
        self.expand.push(property.into());
        self
    }

    /// Gives a BAQ parameter its value. Repeat it for parameters that take a list. Dates are written as ISO text.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// How many rows a page has in [`Query::pages`], [`Query::stream`] and [`Query::keyset`]. 100 unless set; 0
    /// counts as 1. The server may answer with fewer.
    pub fn page_size(mut self, rows: u64) -> Self {
        self.page_size = rows.max(1);
        self
    }

    /// Reads one page: the rows from [`Query::skip`] on, at most [`Query::top`] of them.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for impossible names or values,
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) for columns the server does not know,
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when the rows do not fit `T`, and everything that can go wrong
    /// between here and the server.
    pub async fn send<T: DeserializeOwned>(&self) -> Result<Page<T>> {
        let response = self.client.execute(&self.call()?).await?;
        Page::decode(&response)
    }

    /// Reads one page as [`Query::send`] does, and hands out its bytes for the caller to decode:
    /// `{"@odata.context": …, "@odata.count": …, "value": [ … ]}`. The body is not copied.
    ///
    /// # Errors
    /// As [`Query::send`], except that the body is not looked at; only an HTML page is refused.
    pub async fn bytes(&self) -> Result<Bytes> {
        let response = self.client.execute(&self.call()?).await?;
        response.refuse_html()?;
        Ok(response.into_body())
    }

    /// Reads all rows by offset, page after page, see [`Pages`].
    pub fn pages<T: DeserializeOwned>(self) -> Pages<T> {
        Pages::new(self)
    }

    /// Reads all rows by offset, row after row. Ends after the first error.
    pub fn stream<T: DeserializeOwned + Send + 'static>(self) -> futures_core::stream::BoxStream<'static, Result<T>> {
        self.pages().into_stream()
    }

    /// Reads all rows in the order of these columns, each page beginning behind the last row of the one before, see
    /// [`Keyset`].
    pub fn keyset(self, columns: KeysetColumns) -> Keyset {
        Keyset::new(self, columns)
    }

    /// Reads one row by its key, in the order of the key columns, the company first.
    ///
    /// Of the other options only select, filter and expand count. Keys that hold a slash are refused by some servers
    /// (observed); filter by the key columns then.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is no such row, otherwise as [`Query::send`].
    pub async fn get<T: DeserializeOwned>(&self, key: impl IntoIterator<Item = Literal> + Send) -> Result<T> {
        let key: Vec<String> = key.into_iter().map(|part| part.to_string()).collect();
        let operation = format!("get one of {}", self.name());
        if key.is_empty() {
            return Err(Error::config(operation, "the key is empty; give the values of all key columns"));
        }
        let base = self.base_url(&operation)?;
        let mut url = base.clone();
        url.set_path(&format!("{}{}", base.path(), crate::address::segment(&format!("({})", key.join(",")))));
        self.write_options(&mut url, false)?;
        self.client.execute(&Call::get(operation, url)).await?.json()
    }

    /// The address of the page that [`Query::send`] would read.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for impossible names or values.
    pub fn url(&self) -> Result<Url> {
        let mut url = self.base_url(&self.operation())?;
        self.write_options(&mut url, true)?;
        Ok(url)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn call(&self) -> Result<Call> {
        Ok(Call::get(self.operation(), self.url()?))
    }

    pub(crate) fn operation(&self) -> String {
        format!("read {}", self.name())
    }

    fn name(&self) -> &str {
        match &self.target {
            Target::Set(set) => set.name(),
            Target::Baq(id) => id,
        }
    }

    /// The key columns, as far as they are known.
    pub(crate) fn keys(&self) -> Vec<String> {
        match &self.target {
            Target::Set(set) => set.keys().map(ToOwned::to_owned).collect(),
            Target::Baq(_) => Vec::new(),
        }
    }

    pub(crate) fn is_ordered(&self) -> bool {
        !self.order.is_empty()
    }

    /// Adds columns to a selection; without one, all columns come anyway.
    pub(crate) fn also_select<'a>(&mut self, columns: impl Iterator<Item = &'a str>) {
        if self.select.is_empty() {
            return;
        }
        for column in columns {
            if !self.select.iter().any(|selected| selected == column) {
                self.select.push(column.to_owned());
            }
        }
    }

    fn base_url(&self, operation: &str) -> Result<Url> {
        match &self.target {
            Target::Set(set) => self.client.odata_url(operation, &[set.service(), set.name()]),
            Target::Baq(id) => self.client.odata_url(operation, &["BaqSvc", id, "Data"]),
        }
    }

    fn write_options(&self, url: &mut Url, paged: bool) -> Result<()> {
        let mut options: Vec<(&str, String)> = Vec::new();
        if matches!(self.target, Target::Set(_)) && !self.parameters.is_empty() {
            return Err(Error::config(
                self.operation(),
                "parameters belong to BAQs only; use a filter for entity sets",
            ));
        }
        for (name, value) in &self.parameters {
            // A name that begins with $ would be taken for an option of OData.
            check_column(name)?;
            options.push((name, value.clone()));
        }
        for column in self.select.iter().chain(&self.expand).chain(self.order.iter().map(|(column, _)| column)) {
            check_column(column)?;
        }
        if !self.select.is_empty() {
            options.push(("$select", self.select.join(",")));
        }
        if !self.expand.is_empty() {
            options.push(("$expand", self.expand.join(",")));
        }
        if let Some(filter) = &self.filter {
            options.push(("$filter", filter.to_odata()?));
        }
        if paged {
            self.write_paging(&mut options);
        }
        let text: Vec<String> = options
            .iter()
            .map(|(name, value)| format!("{}={}", encode_name(name), crate::address::value(value)))
            .collect();
        url.set_query((!text.is_empty()).then_some(text.join("&")).as_deref());
        Ok(())
    }

    fn write_paging(&self, options: &mut Vec<(&str, String)>) {
        if !self.order.is_empty() {
            let order: Vec<String> = self
                .order
                .iter()
                .map(|(column, order)| match order {
                    Order::Ascending => column.clone(),
                    Order::Descending => format!("{column} desc"),
                })
                .collect();
            options.push(("$orderby", order.join(",")));
        }
        options.push(("$top", self.top.unwrap_or(DEFAULT_PAGE).to_string()));
        if let Some(skip) = self.skip {
            options.push(("$skip", skip.to_string()));
        }
        if self.count {
            options.push(("$count", "true".to_owned()));
        }
    }
}

/// The dollar sign of OData's options stays as it is; not every server looks for it encoded.
pub(crate) fn encode_name(name: &str) -> String {
    match name.strip_prefix('$') {
        Some(rest) => format!("${}", crate::address::value(rest)),
        None => crate::address::value(name),
    }
}
