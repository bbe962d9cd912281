//! The columns to page by: reading their values, comparing them, and asking for what comes behind.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::query::{Filter, Literal, Moment, field, is_guid};

/// The columns of a total order, first the most significant. Together they must tell all rows apart, and none may be
/// null.
///
/// ```
/// use epicor_kinetic::KeysetColumns;
/// let by_revision = KeysetColumns::new().integer("SysRevID");
/// let by_change = KeysetColumns::new().datetime("ChangeDate").integer("VendorNum").string("InvoiceNum");
/// # let _ = (by_revision, by_change);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct KeysetColumns(Vec<Column>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Column {
    name: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Integer,
    Decimal,
    Text,
    Datetime,
    Guid,
}

impl KeysetColumns {
    /// No columns yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A whole number of up to 64 bits, for example `SysRevID`.
    pub fn integer(self, name: impl Into<String>) -> Self {
        self.with(name, Kind::Integer)
    }

    /// A decimal number.
    pub fn decimal(self, name: impl Into<String>) -> Self {
        self.with(name, Kind::Decimal)
    }

    /// A text. Its order is that of the server's collation, which cannot be checked from here.
    pub fn string(self, name: impl Into<String>) -> Self {
        self.with(name, Kind::Text)
    }

    /// A date, or a date and time with or without offset; it is sent back exactly as it came.
    pub fn datetime(self, name: impl Into<String>) -> Self {
        self.with(name, Kind::Datetime)
    }

    /// A guid. Its order is the database's own, which cannot be checked from here.
    pub fn guid(self, name: impl Into<String>) -> Self {
        self.with(name, Kind::Guid)
    }

    fn with(mut self, name: impl Into<String>, kind: Kind) -> Self {
        self.0.push(Column { name: name.into(), kind });
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|column| column.name.as_str())
    }

    /// The values of a row, or the name of the column in which it has none of the right kind.
    pub(super) fn place(&self, values: &[Option<&RawValue>]) -> Result<Vec<String>, &str> {
        self.0
            .iter()
            .zip(values)
            .map(|(column, value)| value.and_then(|value| column.kind.read(value)).ok_or(column.name.as_str()))
            .collect()
    }

    /// `(a gt x) or (a eq x and b gt y) or …`
    pub(super) fn behind(&self, after: &[String]) -> Result<Filter> {
        let values = self.literals(after)?;
        let pairs: Vec<(&Column, Literal)> = self.0.iter().zip(values).collect();
        let mut any: Option<Filter> = None;
        for (at, (column, value)) in pairs.iter().enumerate() {
            let mut all: Option<Filter> = None;
            for (before, equal) in pairs.iter().take(at) {
                let part = field(&before.name).eq(equal.clone());
                all = Some(all.map_or(part.clone(), |all| all.and(part)));
            }
            let part = field(&column.name).gt(value.clone());
            let all = all.map_or(part.clone(), |all| all.and(part));
            any = Some(any.map_or(all.clone(), |any| any.or(all)));
        }
        any.ok_or_else(|| Error::config("page by key", "no columns are given; name those of a total order"))
    }

    pub(super) fn literals(&self, values: &[String]) -> Result<Vec<Literal>> {
        if values.len() != self.0.len() {
            return Err(Error::config(
                "page by key",
                format!("{} columns, but {} values to continue from; give one for each", self.0.len(), values.len()),
            ));
        }
        self.0.iter().zip(values).map(|(column, value)| column.kind.literal(value)).collect()
    }

    pub(super) fn compare(&self, one: &[String], two: &[String]) -> Option<Ordering> {
        for (column, (one, two)) in self.0.iter().zip(one.iter().zip(two)) {
            match column.kind.compare(one, two) {
                Some(Ordering::Equal) => {}
                other => return other,
            }
        }
        Some(Ordering::Equal)
    }
}

impl Kind {
    fn literal(self, text: &str) -> Result<Literal> {
        match self {
            Self::Integer => text
                .parse::<i64>()
                .map(Literal::integer)
                .map_err(|_| Error::config("page by key", "a value to continue from is no whole number; check it")),
            Self::Decimal => Literal::decimal(text),
            Self::Text => Ok(Literal::string(text)),
            Self::Datetime => Literal::datetime_text(text),
            Self::Guid => Literal::guid(text),
        }
    }

    /// The text of a value in a row, if the value is of this kind.
    fn read(self, value: &RawValue) -> Option<String> {
        // Calculated BAQ columns bring numbers as strings (observed).
        let text = match serde_json::from_str::<String>(value.get()) {
            Ok(text) => text,
            Err(_) if matches!(self, Self::Integer | Self::Decimal) => value.get().to_owned(),
            Err(_) => return None,
        };
        let sound = match self {
            Self::Integer => text.parse::<i64>().is_ok(),
            Self::Decimal => Literal::decimal(text.as_str()).is_ok(),
            Self::Text => true,
            Self::Datetime => Moment::parse(&text).is_some(),
            Self::Guid => is_guid(&text),
        };
        sound.then_some(text)
    }

    /// `None` when only the server can tell.
    fn compare(self, one: &str, two: &str) -> Option<Ordering> {
        if one == two {
            return Some(Ordering::Equal);
        }
        match self {
            Self::Integer => Some(one.parse::<i64>().ok()?.cmp(&two.parse().ok()?)),
            Self::Decimal => Some(compare_decimals(one, two)),
            Self::Datetime => Moment::parse(one)?.compare(&Moment::parse(two)?),
            Self::Text | Self::Guid => None,
        }
    }
}

/// Compares decimal texts of any length, as [`Literal::decimal`] accepts them.
fn compare_decimals(one: &str, two: &str) -> Ordering {
    fn parts(text: &str) -> (bool, &str, &str) {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        (negative && !(whole.is_empty() && fraction.is_empty()), whole, fraction)
    }
    let ((minus_one, whole_one, rest_one), (minus_two, whole_two, rest_two)) = (parts(one), parts(two));
    let size = whole_one
        .len()
        .cmp(&whole_two.len())
        .then_with(|| whole_one.cmp(whole_two))
        .then_with(|| rest_one.cmp(rest_two));
    match (minus_one, minus_two) {
        (false, false) => size,
        (true, true) => size.reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_condition_for_what_comes_behind_covers_every_column() {
        let columns = KeysetColumns::new().datetime("D").integer("N").string("S");
        let after = ["2024-05-22T00:00:00".to_owned(), "7".to_owned(), "O'x".to_owned()];
        assert_eq!(
            columns.behind(&after).unwrap().to_odata().unwrap(),
            "D gt 2024-05-22T00:00:00 or (D eq 2024-05-22T00:00:00 and N gt 7) \
             or (D eq 2024-05-22T00:00:00 and N eq 7 and S gt 'O''x')"
        );
        assert_eq!(KeysetColumns::new().integer("N").behind(&["7".to_owned()]).unwrap().to_odata().unwrap(), "N gt 7");
    }

    #[test]
    fn values_that_do_not_fit_their_column_are_refused() {
        let columns = KeysetColumns::new().integer("N").guid("G");
        for bad in [vec!["7"], vec!["seven", ""], vec!["7", "no guid"]] {
            assert!(columns.literals(&bad.into_iter().map(str::to_owned).collect::<Vec<_>>()).is_err());
        }
    }

    proptest! {
        #[test]
        fn decimals_compare_as_numbers(one in -1_000_000_000_i64..1_000_000_000, two in -1_000_000_000_i64..1_000_000_000) {
            let text = |number: i64| {
                let digits = number.unsigned_abs();
                format!("{}{}.{:04}", if number < 0 { "-" } else { "" }, digits / 10_000, digits % 10_000)
            };
            prop_assert_eq!(compare_decimals(&text(one), &text(two)), one.cmp(&two));
        }
    }

    #[test]
    fn decimals_of_different_spelling_are_equal() {
        for (one, two) in [("1", "1.0"), ("-0", "0.00"), ("007.50", "7.5"), ("-3.10", "-3.1")] {
            assert_eq!(compare_decimals(one, two), Ordering::Equal, "{one} {two}");
        }
        assert_eq!(compare_decimals("9.9", "10"), Ordering::Less);
        assert_eq!(compare_decimals("1.09", "1.1"), Ordering::Less);
    }
}
