//! Tablesets: what business-object methods take and answer, an object of arrays of rows.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::error::{Error, Result};

/// What is to happen to a row: Kinetic's `RowMod`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RowMod {
    /// Nothing; beside an updated row of the same `SysRowID` it is what that row was before. Written as `""`.
    #[default]
    Unchanged,
    /// It is added. Written as `"A"`.
    Added,
    /// It is updated. Written as `"U"`.
    Updated,
    /// It is deleted. Written as `"D"`.
    Deleted,
}

impl RowMod {
    /// The letter, as it stands in the row.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "",
            Self::Added => "A",
            Self::Updated => "U",
            Self::Deleted => "D",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "A" => Self::Added,
            "U" => Self::Updated,
            "D" => Self::Deleted,
            _ => Self::Unchanged,
        }
    }
}

/// A row of a tableset: its columns in the order of the server, each with the text of its value, so that rows go back
/// exactly as they came.
#[derive(Clone, Default)]
pub struct Row {
    columns: Vec<(Box<str>, Box<RawValue>)>,
}

impl Row {
    /// A row without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// The names of its columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_ref())
    }

    /// Whether it has a column of this name.
    pub fn has(&self, column: &str) -> bool {
        self.raw(column).is_some()
    }

    /// The JSON text of a value. Names are case-sensitive.
    pub fn raw(&self, column: &str) -> Option<&RawValue> {
        self.columns.iter().find(|(name, _)| **name == *column).map(|(_, value)| value.as_ref())
    }

    /// A value as `T`. `Option<T>` takes null, and a column that the row does not have.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when it does not fit.
    pub fn get<T: DeserializeOwned>(&self, column: &str) -> Result<T> {
        let text = self.raw(column).map_or("null", RawValue::get);
        serde_json::from_str(text).map_err(|error| {
            let why = crate::raw::describe(&error);
            Error::decode("read row", format!("column {column} does not fit its type: {why}"))
                .with_hint("compare name and type with the metadata; names are case-sensitive")
        })
    }

    /// The whole row as `T`.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when it does not fit.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        let unfit = |error: &serde_json::Error| Error::decode("read row", crate::raw::describe(error));
        let text = serde_json::to_string(self).map_err(|error| unfit(&error))?;
        serde_json::from_str(&text).map_err(|error| unfit(&error))
    }

    /// Sets a value, of a column that the row has or of a new one. Returns whether that changed anything.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the name can be no column's or the value cannot be written
    /// as JSON.
    pub fn set(&mut self, column: &str, value: impl Serialize) -> Result<bool> {
        crate::query::check_column(column)?;
        let value = serde_json::value::to_raw_value(&value).map_err(|error| {
            let why = crate::raw::describe(&error);
            Error::config("change row", format!("the value for column {column} cannot be written as JSON: {why}"))
        })?;
        if let Some((_, old)) = self.columns.iter_mut().find(|(name, _)| **name == *column) {
            let changes = old.get() != value.get();
            *old = value;
            return Ok(changes);
        }
        self.columns.push((column.into(), value));
        Ok(true)
    }

    /// The same row with this value, for rows built by hand.
    ///
    /// # Errors
    /// As [`Row::set`].
    pub fn with(mut self, column: &str, value: impl Serialize) -> Result<Self> {
        self.set(column, value)?;
        Ok(self)
    }

    /// What is to happen to it.
    pub fn row_mod(&self) -> RowMod {
        self.raw("RowMod")
            .and_then(|value| serde_json::from_str::<String>(value.get()).ok())
            .map_or(RowMod::Unchanged, |text| RowMod::read(&text))
    }

    /// The same row with another mark.
    #[must_use]
    pub fn marked(mut self, mark: RowMod) -> Self {
        if let Ok(value) = serde_json::value::to_raw_value(mark.as_str()) {
            match self.columns.iter_mut().find(|(name, _)| **name == *"RowMod") {
                Some((_, old)) => *old = value,
                None => self.columns.push(("RowMod".into(), value)),
            }
        }
        self
    }

    pub(crate) fn push_raw(&mut self, column: &str, value: Box<RawValue>) {
        self.columns.push((column.into(), value));
    }

    pub(crate) fn raw_columns(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.columns.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// `SysRowID`, unless the row is new and has none yet.
    pub(crate) fn id(&self) -> Option<String> {
        let id: String = serde_json::from_str(self.raw("SysRowID")?.get()).ok()?;
        (!id.is_empty() && id.bytes().any(|byte| !matches!(byte, b'0' | b'-'))).then(|| id.to_ascii_lowercase())
    }
}

impl PartialEq for Row {
    /// Rows are equal when they hold the same columns with the same texts, in whatever order.
    fn eq(&self, other: &Self) -> bool {
        self.columns.len() == other.columns.len()
            && self.columns.iter().all(|(name, value)| other.raw(name).is_some_and(|its| its.get() == value.get()))
    }
}

impl Eq for Row {}

impl fmt::Debug for Row {
    /// Names only: values are business data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("row_mod", &self.row_mod()).field("columns", &self.columns.len()).finish()
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (name, value) in &self.columns {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Columns;
        impl<'de> Visitor<'de> for Columns {
            type Value = Row;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
                let mut columns: Vec<(Box<str>, Box<RawValue>)> = Vec::new();
                while let Some(column) = map.next_entry()? {
                    columns.push(column);
                }
                Ok(Row { columns })
            }
        }
        deserializer.deserialize_map(Columns)
    }
}

/// Tables with their rows, in the order of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tableset {
    tables: Vec<(Box<str>, Vec<Row>)>,
}

impl Tableset {
    /// A tableset without tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// The names of its tables.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|(name, _)| name.as_ref())
    }

    /// The rows of a table; none when it is not there.
    pub fn rows(&self, table: &str) -> &[Row] {
        self.tables.iter().find(|(name, _)| **name == *table).map_or(&[], |(_, rows)| rows)
    }

    /// The rows of a table as `T`.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when one does not fit.
    pub fn rows_as<T: DeserializeOwned>(&self, table: &str) -> Result<Vec<T>> {
        self.rows(table).iter().map(Row::decode).collect()
    }

    /// Adds a row to a table.
    pub fn push(&mut self, table: &str, row: Row) {
        match self.tables.iter_mut().find(|(name, _)| **name == *table) {
            Some((_, rows)) => rows.push(row),
            None => self.tables.push((table.into(), vec![row])),
        }
    }

    /// The same tableset with one more row.
    #[must_use]
    pub fn with(mut self, table: &str, row: Row) -> Self {
        self.push(table, row);
        self
    }

    /// How many rows it has in all.
    pub fn len(&self) -> usize {
        self.tables.iter().map(|(_, rows)| rows.len()).sum()
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids of all rows that have one.
    pub(crate) fn ids(&self) -> HashSet<String> {
        self.tables.iter().flat_map(|(_, rows)| rows).filter_map(Row::id).collect()
    }

    /// Leaves out the rows with these ids.
    pub(crate) fn leave_out(&mut self, ids: &HashSet<String>) {
        for (_, rows) in &mut self.tables {
            rows.retain(|row| row.id().is_none_or(|id| !ids.contains(&id)));
        }
    }

    pub(super) fn into_tables(self) -> Vec<(Box<str>, Vec<Row>)> {
        self.tables
    }

    pub(super) fn of_tables(tables: Vec<(Box<str>, Vec<Row>)>) -> Self {
        Self { tables }
    }
}

impl Serialize for Tableset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.tables.len()))?;
        for (name, rows) in &self.tables {
            map.serialize_entry(name, rows)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Tableset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tables;
        impl<'de> Visitor<'de> for Tables {
            type Value = Tableset;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a tableset")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tableset, A::Error> {
                let mut tables: Vec<(Box<str>, Vec<Row>)> = Vec::new();
                while let Some(name) = map.next_key::<Box<str>>()? {
                    match map.next_value::<Rows>()? {
                        Rows::Some(rows) => tables.push((name, rows)),
                        // `@odata.context` and `morePages` have been seen among the tables.
                        Rows::None => {}
                    }
                }
                Ok(Tableset { tables })
            }
        }
        deserializer.deserialize_map(Tables)
    }
}

/// The value of a member of a tableset: rows, or something that is no table.
enum Rows {
    Some(Vec<Row>),
    None,
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Rows;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of rows")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Rows, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = seq.next_element()? {
                    rows.push(row);
                }
                Ok(Rows::Some(rows))
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Rows, E> {
                Ok(Rows::None)
            }

            fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Rows, E> {
                Ok(Rows::None)
            }

            fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Rows, E> {
                Ok(Rows::None)
            }

            fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Rows, E> {
                Ok(Rows::None)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rows, A::Error> {
                // A table must not be dropped because it came in another shape.
                if map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    return Err(A::Error::custom("expected an array of rows"));
                }
                Ok(Rows::None)
            }
        }
        deserializer.deserialize_any(Members)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_tableset_goes_back_exactly_as_it_came() {
        let text = r#"{"POHeader":[{"PONum":7,"TotalOrder":12345678901234567890.10,"Note":"a\u00e9\"","RowMod":""}],"ExtensionTables":[]}"#;
        let tableset: Tableset = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&tableset).unwrap(), text);
        assert_eq!(tableset.tables().collect::<Vec<_>>(), ["POHeader", "ExtensionTables"]);
        assert_eq!(tableset.len(), 1);
    }

    #[test]
    fn what_is_no_table_is_left_out_and_what_is_a_broken_one_is_refused() {
        let tableset: Tableset =
            serde_json::from_value(json!({ "morePages": false, "A": null, "n": 1, "s": "x", "T": [] })).unwrap();
        assert_eq!(tableset.tables().collect::<Vec<_>>(), ["T"]);
        for bad in [json!({ "T": [1] }), json!({ "T": { "a": 1 } }), json!([]), json!({ "T": [null] })] {
            assert!(serde_json::from_value::<Tableset>(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_read_and_set_by_name() {
        let mut row: Row = serde_json::from_value(json!({ "VendorNum": 7, "Name": "A", "RowMod": "" })).unwrap();
        assert_eq!(row.get::<i64>("VendorNum").unwrap(), 7);
        assert_eq!(row.get::<Option<String>>("name").unwrap(), None);
        assert_eq!(row.get::<i64>("Name").unwrap_err().kind(), ErrorKind::Decode);
        assert!(!row.set("Name", "A").unwrap() && row.set("Name", "B").unwrap() && row.set("Fresh_c", 1).unwrap());
        assert_eq!(row.set("a b", 1).unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(row.clone().marked(RowMod::Updated).row_mod(), RowMod::Updated);
        assert_eq!(row.row_mod(), RowMod::Unchanged);
        assert!(!format!("{row:?}").contains('B'));
    }

    #[test]
    fn a_row_without_a_real_id_has_none() {
        let id = |value: serde_json::Value| Row::new().with("SysRowID", value).unwrap().id();
        assert_eq!(id(json!("00000000-0000-0000-0000-000000000000")), None);
        assert_eq!(id(json!("")), None);
        assert_eq!(id(json!(null)), None);
        assert_eq!(id(json!("0000000A-0000-0000-0000-000000000000")).unwrap(), "0000000a-0000-0000-0000-000000000000");
    }

    proptest! {
        #[test]
        fn every_text_survives_in_a_row(name in "[A-Z][A-Za-z0-9_]{0,20}", value in any::<String>()) {
            prop_assume!(name != "RowMod");
            let row = Row::new().with(&name, &value).unwrap().marked(RowMod::Added);
            let back: Row = serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap();
            prop_assert_eq!(back.get::<String>(&name).unwrap(), value);
            prop_assert_eq!(back, row);
        }
    }
}
