//! What things are called in the database, and what they are there.

use crate::destination::{DestinationError, DestinationErrorKind};
use crate::model::{ColumnType, Schema, Target};
use crate::store::postgres::quoted;

/// Postgres cuts longer names off, and two of them would become one.
const LONGEST: usize = 63;
/// What is put behind the schema's name for the schema of stages and receipts.
pub(super) const BESIDE: &str = "_loads";
/// When a row landed as it is now.
pub(super) const SYNCED: &str = "_synced_at";
/// When a row was deleted in the source, where deletes are soft.
pub(super) const DELETED: &str = "_deleted_at";
/// Every table of Postgres has these.
const SYSTEM: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// The schema of tables, and the one of stages and receipts.
#[derive(Clone, Debug)]
pub(super) struct Schemas {
    pub(super) tables: String,
    pub(super) loads: String,
}

impl Schemas {
    pub(super) fn new(schema: &str) -> Result<Self, DestinationError> {
        if schema.len() + BESIDE.len() > LONGEST {
            return Err(config(format!("the schema's name '{schema}' has more than {} bytes", LONGEST - BESIDE.len()))
                .with_hint("choose a shorter one"));
        }
        Ok(Self { tables: schema.to_owned(), loads: format!("{schema}{BESIDE}") })
    }

    /// A table of rows.
    pub(super) fn table(&self, name: &str) -> String {
        format!("{}.{}", quoted(&self.tables), quoted(name))
    }

    /// A stage, or a table about landings.
    pub(super) fn load(&self, name: &str) -> String {
        format!("{}.{}", quoted(&self.loads), quoted(name))
    }
}

/// The table of a target: it is called as the datasource is.
pub(super) fn table(target: &Target) -> Result<&str, DestinationError> {
    let name = target.datasource.as_str();
    fits(name, "the datasource's name", "give the dataset a shorter `datasource`").map(|()| name)
}

/// The landed columns, each with its type and whether it is part of the key; checked for what a table cannot have.
pub(super) fn columns(schema: &Schema) -> Result<Vec<Wanted>, DestinationError> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for (at, column) in schema.landed() {
        let name = column.name.as_str();
        let rename = format!("land {name} under another name (`rename`), or take it out of `select`");
        fits(name, "a column's name", &rename)?;
        if SYSTEM.contains(&name) || [SYNCED, DELETED].contains(&name) {
            let why = format!("a column cannot be called '{name}': the table has one of its own by that name");
            return Err(config(why).with_hint(rename));
        }
        if wanted.iter().any(|other| other.name == name) {
            return Err(config(format!("two columns land as '{name}'")).with_hint(rename));
        }
        wanted.push(Wanted { at, name: name.to_owned(), kind: column.kind, key: schema.key.contains(&at) });
    }
    Ok(wanted)
}

/// A column that is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its position in the schema.
    pub(super) at: usize,
    pub(super) name: String,
    pub(super) kind: ColumnType,
    pub(super) key: bool,
}

/// The key columns in key order.
pub(super) fn keys(schema: &Schema) -> Vec<&str> {
    schema.key_columns().map(|column| column.name.as_str()).collect()
}

fn fits(name: &str, what: &str, hint: &str) -> Result<(), DestinationError> {
    if name.is_empty() || name.len() > LONGEST || name.contains('\0') {
        let why =
            format!("{what} cannot be one of Postgres, which takes 1 to {LONGEST} bytes: '{}'", name.escape_debug());
        return Err(config(why).with_hint(hint));
    }
    Ok(())
}

pub(super) fn config(message: impl std::fmt::Display) -> DestinationError {
    DestinationError::new(DestinationErrorKind::Config, format!("staging: {message}"))
}

/// The type of a column, as Postgres itself spells it.
pub(super) fn spelled(kind: ColumnType) -> String {
    match kind {
        ColumnType::Text => "text".to_owned(),
        ColumnType::Bool => "boolean".to_owned(),
        ColumnType::Int16 => "smallint".to_owned(),
        ColumnType::Int32 => "integer".to_owned(),
        ColumnType::Int64 => "bigint".to_owned(),
        ColumnType::Double => "double precision".to_owned(),
        ColumnType::Decimal { precision, scale } => format!("numeric({precision},{scale})"),
        ColumnType::Date => "date".to_owned(),
        ColumnType::Timestamp => "timestamp without time zone".to_owned(),
    }
}

/// The type that is spelled so, where it is one of ours.
pub(super) fn read(spelled: &str) -> Option<ColumnType> {
    Some(match spelled {
        "text" => ColumnType::Text,
        "boolean" => ColumnType::Bool,
        "smallint" => ColumnType::Int16,
        "integer" => ColumnType::Int32,
        "bigint" => ColumnType::Int64,
        "double precision" => ColumnType::Double,
        "date" => ColumnType::Date,
        "timestamp without time zone" => ColumnType::Timestamp,
        other => return other.strip_prefix("numeric").and_then(|facets| format!("decimal{facets}").parse().ok()),
    })
}

/// Whether every value of one type is one of the other.
pub(super) fn widens(from: ColumnType, to: ColumnType) -> bool {
    let digits = |kind| match kind {
        ColumnType::Int16 => Some(5),
        ColumnType::Int32 => Some(10),
        ColumnType::Int64 => Some(19),
        _ => None,
    };
    match (from, to) {
        (ColumnType::Int16 | ColumnType::Int32, ColumnType::Double) | (ColumnType::Date, ColumnType::Timestamp) => true,
        (ColumnType::Decimal { precision: p, scale: s }, ColumnType::Decimal { precision, scale }) => {
            scale >= s && precision - scale >= p - s
        }
        (from, ColumnType::Decimal { precision, scale }) => {
            digits(from).is_some_and(|digits| precision - scale >= digits)
        }
        (from, to) => matches!((digits(from), digits(to)), (Some(from), Some(to)) if from < to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_they_are_spelled() {
        let decimal = ColumnType::Decimal { precision: 38, scale: 10 };
        for kind in [
            ColumnType::Text,
            ColumnType::Bool,
            ColumnType::Int16,
            ColumnType::Int32,
            ColumnType::Int64,
            ColumnType::Double,
            decimal,
            ColumnType::Date,
            ColumnType::Timestamp,
        ] {
            assert_eq!(read(&spelled(kind)), Some(kind));
        }
        for other in ["character varying(20)", "numeric", "timestamp with time zone", "uuid"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn only_what_loses_nothing_widens() {
        let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
        for (from, to) in [
            (ColumnType::Int16, ColumnType::Int64),
            (ColumnType::Int32, ColumnType::Double),
            (ColumnType::Int32, decimal(12, 2)),
            (decimal(18, 2), decimal(20, 4)),
            (ColumnType::Date, ColumnType::Timestamp),
        ] {
            assert!(widens(from, to), "{from} to {to}");
        }
        for (from, to) in [
            (ColumnType::Int64, ColumnType::Int32),
            (ColumnType::Int64, ColumnType::Double),
            (ColumnType::Int32, decimal(11, 2)),
            (decimal(18, 2), decimal(19, 4)),
            (decimal(18, 4), decimal(38, 2)),
            (ColumnType::Timestamp, ColumnType::Date),
            (ColumnType::Int32, ColumnType::Text),
            (ColumnType::Text, ColumnType::Int32),
        ] {
            assert!(!widens(from, to), "{from} to {to}");
        }
    }
}
