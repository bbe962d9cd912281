//! Filters and sorts of listings (Tableau REST API reference, Filtering and Sorting).

use crate::error::{Error, Result};

/// How a filter compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operator {
    /// Equal, with regard to case.
    Equal,
    /// Equal, without regard to case. Not known for all fields.
    EqualIgnoringCase,
    /// Greater.
    Greater,
    /// Greater or equal.
    AtLeast,
    /// Less.
    Less,
    /// Less or equal.
    AtMost,
    /// Contains. For jobs only.
    Has,
}

impl Operator {
    fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "eq",
            Self::EqualIgnoringCase => "cieq",
            Self::Greater => "gt",
            Self::AtLeast => "gte",
            Self::Less => "lt",
            Self::AtMost => "lte",
            Self::Has => "has",
        }
    }
}

/// One condition of a listing; several are joined by "and". A field counts once: the server keeps the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    expression: String,
}

impl Filter {
    /// `field` compared with `value`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the value holds a comma or an ampersand: the server cannot
    /// take these in any encoding. List without the filter then, and choose here.
    pub fn new(field: &str, operator: Operator, value: &str) -> Result<Self> {
        let name = !field.is_empty() && field.chars().all(|c| c.is_ascii_alphanumeric());
        if !name {
            return Err(Error::config("filter", "the field of a filter is one word; check its spelling"));
        }
        if !Self::can_hold(value) {
            return Err(Error::config(
                "filter",
                "a filter cannot hold commas or ampersands; list without it and choose afterwards",
            ));
        }
        Ok(Self { expression: format!("{field}:{}:{value}", operator.as_str()) })
    }

    /// `field` equals `value`.
    ///
    /// # Errors
    /// As [`Filter::new`].
    pub fn equal(field: &str, value: &str) -> Result<Self> {
        Self::new(field, Operator::Equal, value)
    }

    /// Whether a filter can look for this value.
    pub fn can_hold(value: &str) -> bool {
        !value.is_empty() && !value.contains([',', '&']) && !value.chars().any(char::is_control)
    }

    pub(crate) fn join(filters: &[Self]) -> String {
        filters.iter().map(|filter| filter.expression.as_str()).collect::<Vec<_>>().join(",")
    }
}

/// Ascending or descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The smallest first.
    Ascending,
    /// The largest first.
    Descending,
}

/// The order of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    expression: String,
}

impl Sort {
    /// By `field`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the field is not one word.
    pub fn by(field: &str, direction: Direction) -> Result<Self> {
        if field.is_empty() || !field.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(Error::config("sort", "the field of a sort is one word; check its spelling"));
        }
        let direction = match direction {
            Direction::Ascending => "asc",
            Direction::Descending => "desc",
        };
        Ok(Self { expression: format!("{field}:{direction}") })
    }

    pub(crate) fn join(sorts: &[Self]) -> String {
        sorts.iter().map(|sort| sort.expression.as_str()).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_joined_and_values_that_cannot_travel_are_refused() {
        let filters = [Filter::equal("name", "A: b").unwrap(), Filter::new("size", Operator::AtLeast, "5").unwrap()];
        assert_eq!(Filter::join(&filters), "name:eq:A: b,size:gte:5");
        for value in ["a,b", "a&b", "", "a\nb"] {
            assert!(Filter::equal("name", value).is_err(), "{value:?}");
        }
        assert!(Filter::equal("name:eq:x,type", "y").is_err());
        assert_eq!(Sort::join(&[Sort::by("createdAt", Direction::Descending).unwrap()]), "createdAt:desc");
    }
}
