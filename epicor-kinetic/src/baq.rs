//! Whether a BAQ can be read without losing rows, found out by reading a little of it.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::client::Client;
use crate::draft::Row;
use crate::error::{Error, Result};
use crate::metadata::{EdmType, EntityType, Property};
use crate::query::{Literal, Order, Query, field};

/// How many rows are looked at.
const SAMPLE: u64 = 200;
/// The server ends queries after about 30 s unless told otherwise (observed); from here on it is close.
const SLOW: Duration = Duration::from_secs(15);

/// What was found about a BAQ. Made by [`Client::check_baq`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BaqCheck {
    /// Its columns with their types, as the server declares them.
    pub columns: Vec<Property>,
    /// Columns by which changes could be found: row versions first, then dates and times.
    pub change_columns: Vec<String>,
    /// What stands against it, or should be known.
    pub findings: Vec<BaqFinding>,
    /// How many rows were looked at.
    pub rows: usize,
    /// How long the server took for them.
    pub elapsed: Duration,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BaqFinding {
    /// Whether rows could be lost or doubled because of it.
    pub fatal: bool,
    /// What it is. Names columns and no values.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl BaqCheck {
    /// Whether nothing was found by which rows could be lost or doubled.
    pub fn is_usable(&self) -> bool {
        self.findings.iter().all(|finding| !finding.fatal)
    }

    fn find(&mut self, fatal: bool, message: impl Into<String>, hint: &'static str) {
        self.findings.push(BaqFinding { fatal, message: message.into(), hint });
    }
}

impl Client {
    /// Finds out whether a BAQ can be read completely by these key columns: that they are there, never null and tell
    /// rows apart, that the server orders and filters by them, and what could serve to find changes. Reads at most 200
    /// rows, a few times; what holds for them need not hold for all.
    ///
    /// `query` is the BAQ with its parameters, from [`Client::baq`].
    ///
    /// # Errors
    /// When the BAQ cannot be read at all: [`ErrorKind::NotFound`](crate::ErrorKind::NotFound),
    /// [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) and their like;
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when `query` is no BAQ or no key is given.
    pub async fn check_baq(&self, query: &Query, keys: &[&str]) -> Result<BaqCheck> {
        let Some(id) = query.baq_id() else {
            return Err(Error::config("check BAQ", "this is a query of an entity set; begin with Client::baq"));
        };
        if keys.is_empty() {
            return Err(Error::config("check BAQ", "no key is given; name the columns that tell rows apart"));
        }
        let metadata = self.baq_metadata(id).await?;
        let entity = metadata.entity_type_of("Data").or_else(|| metadata.entity_types().first());
        let columns = entity.map(|entity| entity.properties.clone()).unwrap_or_default();
        let mut check = BaqCheck {
            change_columns: change_columns(&columns),
            columns,
            findings: Vec::new(),
            rows: 0,
            elapsed: Duration::ZERO,
        };
        if !look_at_columns(&mut check, entity, keys) {
            return Ok(check);
        }
        let begun = Instant::now();
        let ordered = keys.iter().fold(query.clone().top(SAMPLE), |query, key| query.order_by(*key, Order::Ascending));
        let rows = ordered.send::<Row>().await?.items;
        (check.elapsed, check.rows) = (begun.elapsed(), rows.len());
        if check.elapsed >= SLOW {
            check.find(
                false,
                format!("a page took {} s, and every page runs the whole query", check.elapsed.as_secs()),
                "narrow it by parameters: the server ends queries after about 30 s",
            );
        }
        look_at_keys(&mut check, &rows, keys);
        if rows.len() >= 2 && check.is_usable() {
            self.look_at_order(&mut check, query, &rows, keys).await?;
        }
        Ok(check)
    }

    /// Whether the server does what it is asked: order the other way round, and filter.
    async fn look_at_order(&self, check: &mut BaqCheck, query: &Query, rows: &[Row], keys: &[&str]) -> Result<()> {
        let (Some(key), Some(middle)) = (keys.first(), rows.get(rows.len() / 2)) else { return Ok(()) };
        let down = keys.iter().fold(query.clone().top(1), |query, key| query.order_by(*key, Order::Descending));
        let last = down.send::<Row>().await?.items;
        let texts = |row: &Row| {
            keys.iter().map(|key| row.raw(key).map(RawValue::get).unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        if let (Some(first), Some(last)) = (rows.first(), last.first())
            && texts(first) == texts(last)
        {
            check.find(
                true,
                "the server does not order by the key",
                "let the BAQ itself order by it, or choose another key",
            );
        }
        let Some(value) = literal(check.columns.iter().find(|column| column.name == **key), middle, key) else {
            return Ok(());
        };
        let wanted = query.clone().and_filter(field(*key).eq(value.clone())).top(SAMPLE).send::<Row>().await?.items;
        if wanted.is_empty() {
            check.find(
                true,
                format!("a filter on column {key} answers nothing, though rows with that value are there"),
                "do not filter; read it whole each time, or read the tables behind it",
            );
        }
        let behind = query.clone().and_filter(field(*key).gt(value)).top(SAMPLE).send::<Row>().await?.items;
        let first = rows.first().map(&texts);
        if behind.iter().any(|row| Some(texts(row)) == first) {
            check.find(
                true,
                format!("a filter on column {key} lets rows through that do not meet it"),
                "choose another key; the server ignores filters on this one",
            );
        }
        Ok(())
    }
}

/// Row versions first: they move with every write, where dates may not.
fn change_columns(columns: &[Property]) -> Vec<String> {
    let version = |column: &&Property| column.name.ends_with("SysRevID");
    let time = |column: &&Property| {
        matches!(column.edm_type, EdmType::DateTimeOffset | EdmType::Date)
            && ["chang", "updat", "modif"].iter().any(|word| column.name.to_ascii_lowercase().contains(word))
    };
    let names = |columns: Vec<&Property>| columns.into_iter().map(|column| column.name.clone()).collect::<Vec<_>>();
    let mut found = names(columns.iter().filter(version).collect());
    found.extend(names(columns.iter().filter(|column| !version(column) && time(column)).collect()));
    found
}

/// Whether it is worth reading any further.
fn look_at_columns(check: &mut BaqCheck, entity: Option<&EntityType>, keys: &[&str]) -> bool {
    let Some(entity) = entity else {
        check.find(true, "the metadata names no columns", "open the BAQ in Kinetic and check that it is valid");
        return false;
    };
    let mut complete = true;
    for key in keys {
        if *key == "RowIdent" {
            check.find(
                true,
                "RowIdent is a counter of the answer and no key",
                "name the columns of the tables behind the BAQ that tell rows apart",
            );
        } else if entity.property(key).is_none() {
            complete = false;
            check.find(
                true,
                format!("there is no column {key}"),
                "columns are named TableAlias_Field or Calculated_Name, and case-sensitive",
            );
        }
    }
    if check.change_columns.is_empty() {
        check.find(
            false,
            "no column tells when a row was changed",
            "add SysRevID of the main table to the BAQ; without it every run reads all rows",
        );
    }
    complete
}

fn look_at_keys(check: &mut BaqCheck, rows: &[Row], keys: &[&str]) {
    if rows.is_empty() {
        check.find(false, "there are no rows to look at", "check the parameters; then check again");
    }
    for key in keys {
        let missing = rows.iter().any(|row| row.raw(key).is_none_or(|value| value.get() == "null"));
        if missing {
            check.find(
                true,
                format!("column {key} is null in some rows"),
                "an outer join leaves it empty; choose a key that is always there",
            );
        }
    }
    let mut seen = HashSet::new();
    let texts = rows.iter().map(|row| keys.iter().map(|key| row.raw(key).map(RawValue::get)).collect::<Vec<_>>());
    let doubled = texts.filter(|texts| !seen.insert(texts.clone())).count();
    if doubled > 0 {
        check.find(
            true,
            format!("{doubled} of {} rows have a key that another row has, too", rows.len()),
            "add columns to the key until it tells all rows apart, or group the BAQ",
        );
    }
}

/// A value of a row as it can stand in a filter.
fn literal(column: Option<&Property>, row: &Row, key: &str) -> Option<Literal> {
    let raw = row.raw(key)?.get();
    let text: Option<String> = serde_json::from_str(raw).ok();
    match (&column?.edm_type, text) {
        (EdmType::Guid, Some(text)) => Literal::guid(text).ok(),
        (EdmType::DateTimeOffset | EdmType::Date, Some(text)) => Literal::datetime_text(text).ok(),
        (EdmType::String, Some(text)) => Some(text.into()),
        (EdmType::Boolean, None) => raw.parse::<bool>().ok().map(Literal::from),
        (_, None) => Literal::decimal(raw).ok(),
        (_, Some(_)) => None,
    }
}
