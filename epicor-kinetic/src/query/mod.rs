//! Queries of entity sets and BAQs.
//!
//! Options as in the Epicor REST guide: `$select $expand $filter $orderby $top $skip $count`. Without `$top` the server
//! silently stops after 100 rows (observed), so `$top` is always sent.

mod batches;
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
use crate::error::{Delivery, Error, ErrorKind, Fate, Result};
use crate::exchange::Call;
use crate::paging::{Keyset, KeysetColumns, Page, Pages};

/// What a query without [`Query::top`] asks for, and the size of pages unless set.
pub(crate) const DEFAULT_PAGE: u64 = 100;

/// Below the 2,048 bytes that IIS takes for a query string unless told otherwise.
const DEFAULT_QUERY_LENGTH: usize = 2_000;

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
    /// What is expanded with some columns alone.
    expand_select: Vec<(String, Vec<String>)>,
    pub(crate) top: Option<u64>,
    pub(crate) skip: Option<u64>,
    pub(crate) count: bool,
    pub(crate) page_size: u64,
    max_query_length: usize,
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
            expand_select: Vec::new(),
            top: None,
            skip: None,
            count: false,
            page_size: DEFAULT_PAGE,
            max_query_length: DEFAULT_QUERY_LENGTH,
        }
    }

    /// Only these columns. Rows are wide (an AP invoice has over 500), so nearly every query should say which.
    pub fn select<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.select = columns.into_iter().map(Into::into).collect();
        self
    }

    /// These columns too, for example columns of your own beside those of a typed row. Without a selection all columns
    /// come anyway.
    pub fn also_select<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        if !self.select.is_empty() {
            for column in columns.into_iter().map(Into::into) {
                if !self.select.contains(&column) {
                    self.select.push(column);
                }
            }
        }
        self
    }

    /// Leaves out of the selection what the service does not have, since naming one such column fails the whole read:
    /// columns differ between releases. See [`Client::metadata`].
    pub fn only_known(mut self, entity: &crate::metadata::EntityType) -> Self {
        let asked = !self.select.is_empty();
        self.select.retain(|column| entity.property(column).is_some());
        if asked && self.select.is_empty() {
            // Nothing selected would mean everything.
            self.select.clone_from(&entity.keys);
        }
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

    /// Brings the rows of a navigation property along, with these columns alone: `$expand=PODetails($select=POLine,PartNum)`. Part of
    /// OData v4; not every server was seen to take it (then [`ErrorKind::Rejected`](crate::ErrorKind::Rejected)).
    pub fn expand_select(
        mut self,
        property: impl Into<String>,
        columns: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.expand_select.push((property.into(), columns.into_iter().map(Into::into).collect()));
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
    /// Of the other options only select, filter and expand count. Servers lose keys that hold a slash on the way, even
    /// encoded (observed); such rows are found by a filter on the key columns instead, where those are known.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is no such row,
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the number of values is not that of the key columns, null
    /// among them, or when a key with a slash meets a set whose key columns are not known; otherwise as
    /// [`Query::send`].
    pub async fn get<T: DeserializeOwned>(&self, key: impl IntoIterator<Item = Literal> + Send) -> Result<T> {
        let key: Vec<Literal> = key.into_iter().collect();
        let (operation, names) = (format!("get one of {}", self.name()), self.keys());
        let refuse = |why: String| Err(Error::config(operation.clone(), why));
        if key.is_empty() {
            return refuse("the key is empty; give the values of all key columns".to_owned());
        }
        if !names.is_empty() && names.len() != key.len() {
            return refuse(format!(
                "{} values for a key of {} columns: {}; give one for each, the company first",
                key.len(),
                names.len(),
                names.join(", ")
            ));
        }
        if key.iter().any(Literal::is_null) {
            return refuse("null is no value of a key; use an empty string where the key has none".to_owned());
        }
        if key.iter().filter_map(Literal::as_text).any(|text| text.contains(['/', '\\'])) {
            if names.is_empty() {
                return refuse("the key holds a slash; name the key columns with EntitySet::with_keys".to_owned());
            }
            return self.get_by_filter(operation, names, key).await;
        }
        let key: Vec<String> = key.iter().map(ToString::to_string).collect();
        let base = self.base_url(&operation)?;
        let mut url = base.clone();
        url.set_path(&format!("{}{}", base.path(), crate::address::segment(&format!("({})", key.join(",")))));
        self.write_options(&mut url, false)?;
        self.client.execute(&Call::get(operation, url)).await?.json()
    }

    async fn get_by_filter<T: DeserializeOwned>(
        &self,
        operation: String,
        names: Vec<String>,
        key: Vec<Literal>,
    ) -> Result<T> {
        let mut query = self.clone().top(2);
        (query.order, query.skip, query.count) = (Vec::new(), None, false);
        for (name, value) in names.into_iter().zip(key) {
            query = query.and_filter(field(name).eq(value));
        }
        let mut call = query.call()?;
        call.operation = operation;
        let response = self.client.execute(&call).await?;
        let mut items = Page::<T>::decode(&response)?.items;
        match (items.len(), items.pop()) {
            (1, Some(item)) => Ok(item),
            (0, _) => Err(Error::new(ErrorKind::NotFound, Delivery::Answered, call.operation, "no such record")
                .with_hint("check the key values")
                .with_fate(Fate::Final)),
            _ => Err(Error::decode(call.operation, "several rows have this key")
                .with_hint("check the key columns of the set against its metadata")),
        }
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

    /// The id, if this is the query of a BAQ.
    pub(crate) fn baq_id(&self) -> Option<&str> {
        match &self.target {
            Target::Set(_) => None,
            Target::Baq(id) => Some(id),
        }
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
        for column in self.expand_select.iter().flat_map(|(property, columns)| columns.iter().chain([property])) {
            check_column(column)?;
        }
        if !self.select.is_empty() {
            options.push(("$select", self.select.join(",")));
        }
        let some =
            self.expand_select.iter().map(|(property, columns)| format!("{property}($select={})", columns.join(",")));
        let expand: Vec<String> = self.expand.iter().cloned().chain(some).collect();
        if !expand.is_empty() {
            options.push(("$expand", expand.join(",")));
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
