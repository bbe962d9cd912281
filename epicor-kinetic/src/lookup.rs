//! `GetRows` and `GetList`: reading by where clauses, which are not OData.
//!
//! The clauses are written in the manner of Progress (`VendorNum = 7 BY Name`), one for each table of the tableset, and
//! all of them must be there (observed). Pages may be shorter than asked for while there are more: `morePages` decides.

use std::collections::HashSet;
use std::fmt;

use serde_json::{Map, Value};

use crate::draft::Tableset;
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::query::{Literal, check_column};
use crate::service::{MethodResponse, Service};

const DEFAULT_PAGE: u32 = 100;
/// Pages without a row that are taken for a pause and not for a server that does not end.
const MOST_EMPTY: u32 = 3;

/// A condition for [`GetRows`], and perhaps an order behind it.
///
/// ```
/// use epicor_kinetic::WhereClause;
/// let clause = WhereClause::compare("PartNum", "=", "O'Hara")?.and(WhereClause::compare("SysRevID", ">", 555)?);
/// assert_eq!(clause.by("SysRevID")?.to_string(), "PartNum = 'O''Hara' AND SysRevID > 555 BY SysRevID");
/// # Ok::<(), epicor_kinetic::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhereClause {
    condition: String,
    is_or: bool,
    order: Vec<String>,
}

impl WhereClause {
    /// All rows.
    pub fn all() -> Self {
        Self::default()
    }

    /// A comparison by `=`, `<>`, `<`, `<=`, `>` or `>=`. Texts are quoted, embedded quotes doubled; dates are quoted
    /// too, as the database reads them.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for a name that can be no column's, another operator, and null,
    /// which no comparison meets.
    pub fn compare(column: &str, operator: &str, value: impl Into<Literal>) -> Result<Self> {
        check_column(column)?;
        if !matches!(operator, "=" | "<>" | "<" | "<=" | ">" | ">=") {
            return Err(Error::config("write where clause", "the operator is none of = <> < <= > >=; use one of them"));
        }
        let value: Literal = value.into();
        if value.is_null() {
            return Err(Error::config("write where clause", "nothing compares with null; leave the condition out"));
        }
        let text = value.to_string();
        let is_moment = crate::query::Moment::parse(&text).is_some();
        let text = if is_moment { format!("'{text}'") } else { text };
        Ok(Self { condition: format!("{column} {operator} {text}"), ..Self::default() })
    }

    /// Text that goes to the server as it is. The caller answers for quoting; never paste a user's text into it.
    pub fn raw(text: impl Into<String>) -> Self {
        Self { condition: text.into(), is_or: true, order: Vec::new() }
    }

    /// Both conditions.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.join(other, "AND")
    }

    /// At least one of the conditions.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.join(other, "OR")
    }

    /// Orders by this column, after those named before.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for a name that can be no column's.
    pub fn by(mut self, column: &str) -> Result<Self> {
        check_column(column)?;
        self.order.push(column.to_owned());
        Ok(self)
    }

    fn join(mut self, other: Self, word: &str) -> Self {
        let apart = |text: String, is_or: bool| if is_or && word == "AND" { format!("({text})") } else { text };
        self.order.extend(other.order);
        if self.condition.is_empty() || other.condition.is_empty() {
            // Everything and something is something; everything or something is everything.
            let (condition, is_or) = match (word, self.condition.is_empty()) {
                ("AND", true) => (other.condition, other.is_or),
                ("AND", false) => (self.condition, self.is_or),
                _ => (String::new(), false),
            };
            return Self { condition, is_or, order: self.order };
        }
        let (one, two) = (apart(self.condition, self.is_or), apart(other.condition, other.is_or));
        Self { condition: format!("{one} {word} {two}"), is_or: word == "OR", order: self.order }
    }
}

impl fmt::Display for WhereClause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.condition)?;
        if self.order.is_empty() {
            return Ok(());
        }
        let space = if self.condition.is_empty() { "" } else { " " };
        write!(f, "{space}BY {}", self.order.join(", "))
    }
}

/// All pages of `GetRows` or `GetList`. Made by [`Service::get_rows`] and [`Service::get_list`].
///
/// The server counts pages, so that rows that come or go in between can be missed. Order by a column that does not
/// change; for large tables read the entity set by key ([`Query::keyset`](crate::Query::keyset)) instead.
#[derive(Clone)]
#[must_use = "pages are read by next_page"]
pub struct GetRows {
    service: Service,
    method: &'static str,
    clauses: Vec<(String, WhereClause)>,
    page_size: u32,
    page: u32,
    last: Option<bytes::Bytes>,
    /// The rows of the page asked for as 0, by id, until it is known whether 1 is another.
    first: HashSet<String>,
    empty: u32,
    done: bool,
}

impl Service {
    /// Reads whole tablesets by where clauses.
    pub fn get_rows(&self) -> GetRows {
        GetRows::new(self.clone(), "GetRows", Vec::new())
    }

    /// Reads the light rows of the list that belongs to the service, by one where clause.
    pub fn get_list(&self, clause: WhereClause) -> GetRows {
        GetRows::new(self.clone(), "GetList", vec![(String::new(), clause)])
    }
}

impl GetRows {
    fn new(service: Service, method: &'static str, clauses: Vec<(String, WhereClause)>) -> Self {
        let page_size = DEFAULT_PAGE;
        Self { service, method, clauses, page_size, page: 0, last: None, first: HashSet::new(), empty: 0, done: false }
    }

    /// The clause for a table of the tableset, for example `Vendor`.
    pub fn where_clause(mut self, table: &str, clause: WhereClause) -> Self {
        match self.clauses.iter_mut().find(|(name, _)| name == table) {
            Some((_, old)) => *old = clause,
            None => self.clauses.push((table.to_owned(), clause)),
        }
        self
    }

    /// The other tables of the tableset, all of whose rows come along: the server wants a clause for each table.
    pub fn tables<'t>(mut self, tables: impl IntoIterator<Item = &'t str>) -> Self {
        for table in tables {
            if !self.clauses.iter().any(|(name, _)| name == table) {
                self.clauses.push((table.to_owned(), WhereClause::all()));
            }
        }
        self
    }

    /// The other tables as the service's own metadata names them.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when the document does not list the method with its
    /// parameters.
    pub fn tables_of(self, metadata: &Metadata) -> Result<Self> {
        let parameters = metadata.action(self.method).map(|action| action.parameters.as_slice()).unwrap_or_default();
        let tables: Vec<&str> =
            parameters.iter().filter_map(|parameter| parameter.name.strip_prefix("whereClause")).collect();
        if tables.is_empty() {
            return Err(Error::config(
                self.operation(),
                "the metadata does not say which where clauses the method takes; name the tables yourself",
            ));
        }
        Ok(self.tables(tables))
    }

    /// How many rows of the main table a page has. 100 unless set; some servers refuse 0, which others take for all.
    pub fn page_size(mut self, rows: u32) -> Self {
        self.page_size = rows;
        self
    }

    /// The next page, or `None` at the end. After an error the same page is tried again.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) for clauses that the server cannot read,
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when it answers the same page again and again.
    pub async fn next_page(&mut self) -> Result<Option<Tableset>> {
        while !self.done {
            let response = self.service.read(self.method, &self.parameters()).await?;
            let more = more_pages(&response);
            let mut tableset = response.return_obj_as::<Option<Tableset>>()?.unwrap_or_default();
            let repeated = self.last.as_ref() == Some(response.body());
            if repeated && !tableset.is_empty() {
                // Servers disagree on whether the first page is 0 or 1, so that both may be the first.
                if self.page > 1 {
                    return Err(Error::decode(self.operation(), "the server answers the same page again and again")
                        .with_hint("ask for all rows in one page, or read the entity set instead"));
                }
                self.page += 1;
                self.done = !more;
                continue;
            }
            match self.page {
                0 => self.first = tableset.ids(),
                // The same page again, though a row in it may have changed meanwhile.
                1 => tableset.leave_out(&std::mem::take(&mut self.first)),
                _ => {}
            }
            self.page += 1;
            self.done = !more;
            self.last = Some(response.body().clone());
            if !tableset.is_empty() {
                self.empty = 0;
                return Ok(Some(tableset));
            }
            self.empty += 1;
            if more && self.empty >= MOST_EMPTY {
                return Err(Error::decode(
                    self.operation(),
                    "the server says that there are more pages, but sends none",
                )
                .with_hint("ask for larger pages, or read the entity set instead"));
            }
        }
        Ok(None)
    }

    /// All pages in one tableset. Holds all rows in memory.
    ///
    /// # Errors
    /// As [`GetRows::next_page`].
    pub async fn all(mut self) -> Result<Tableset> {
        let mut all = Tableset::new();
        while let Some(page) = self.next_page().await? {
            let tables: Vec<String> = page.tables().map(str::to_owned).collect();
            for table in tables {
                for row in page.rows(&table) {
                    all.push(&table, row.clone());
                }
            }
        }
        Ok(all)
    }

    fn operation(&self) -> String {
        format!("call {}.{}", self.service.name(), self.method)
    }

    fn parameters(&self) -> Map<String, Value> {
        let clauses = self.clauses.iter().map(|(table, clause)| (format!("whereClause{table}"), clause.to_string()));
        let mut parameters: Map<String, Value> = clauses.map(|(name, clause)| (name, clause.into())).collect();
        parameters.insert("pageSize".to_owned(), self.page_size.into());
        parameters.insert("absolutePage".to_owned(), self.page.into());
        parameters
    }
}

impl fmt::Debug for GetRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables: Vec<&str> = self.clauses.iter().map(|(table, _)| table.as_str()).collect();
        f.debug_struct("GetRows")
            .field("service", &self.service.name())
            .field("tables", &tables)
            .field("page", &self.page)
            .finish_non_exhaustive()
    }
}

/// It stands among the parameters, and has been seen in the return value.
fn more_pages(response: &MethodResponse) -> bool {
    let places = [response.parameters.get("morePages"), response.return_obj.get("morePages")];
    places.into_iter().flatten().any(|more| more == &Value::Bool(true))
}
