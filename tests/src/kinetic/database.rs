//! The database behind the server: tables, one counter of row versions for all of them, and a clock of its own.

use std::collections::HashMap;

use chrono::{Duration, NaiveDate, NaiveDateTime, Timelike as _};
use uuid::Uuid;

use super::catalog;
use super::table::{Definition, Row, Table, set};
use super::value::{Kind, Value};

/// The company.
pub const COMPANY: &str = "EPIC06";

/// The first row version: above what 32 bits hold, as on servers that have run for years.
const FIRST_REVISION: i64 = 2_226_299_042;

/// Tables and what they share.
#[derive(Clone, Debug)]
pub struct Database {
    tables: Vec<Table>,
    sets: HashMap<String, usize>,
    revision: i64,
    now: NaiveDateTime,
    writes: u32,
    /// The row version of the next write, where it was taken before.
    forced: Option<i64>,
}

/// Why a write was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    UnknownColumn(String),
    UnknownRow,
    Exists,
    Stale,
}

impl Database {
    pub(crate) fn new() -> Self {
        let tables: Vec<Table> = catalog::tables().into_iter().map(Table::new).collect();
        let sets = tables.iter().enumerate().map(|(at, table)| (table.definition.set.clone(), at)).collect();
        let now = NaiveDate::from_ymd_opt(2026, 11, 1).and_then(|day| day.and_hms_opt(8, 0, 0)).unwrap_or_default();
        Self { tables, sets, revision: FIRST_REVISION, now, writes: 0, forced: None }
    }

    pub(crate) fn table(&self, set: &str) -> Option<&Table> {
        self.tables.get(*self.sets.get(set)?)
    }

    pub(crate) fn tables(&self) -> &[Table] {
        &self.tables
    }

    fn table_mut(&mut self, set: &str) -> Option<&mut Table> {
        self.tables.get_mut(*self.sets.get(set)?)
    }

    /// The visible rows of a set.
    pub fn rows(&self, set: &str) -> Vec<Row> {
        self.table(set).map(Table::snapshot).unwrap_or_default()
    }

    /// The newest row version.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    fn next_revision(&mut self) -> i64 {
        if let Some(forced) = self.forced.take() {
            return forced;
        }
        // Other tables write as well, so that there are gaps.
        self.revision += 1 + i64::from(self.revision % 5 == 0);
        self.revision
    }

    /// Moves the clock on; a few writes share a second.
    fn stamp(&mut self) -> NaiveDateTime {
        self.writes = self.writes.wrapping_add(1);
        if self.writes.is_multiple_of(3) {
            self.now += Duration::seconds(1);
        }
        self.now
    }

    /// Writes a row: a new one, or the columns that are given of one that is there. Key columns decide which.
    ///
    /// # Panics
    /// When set or column do not exist.
    #[expect(clippy::panic, reason = "a test that names a column wrongly must fail")]
    pub fn write<'a>(&mut self, set: &str, columns: impl IntoIterator<Item = (&'a str, Value)>) {
        if let Err(refusal) = self.try_write(set, columns, false) {
            panic!("cannot write {set}: {refusal:?}");
        }
    }

    /// As [`write`](Database::write), but not visible before [`commit`](Database::commit), though its row version is taken now.
    ///
    /// # Panics
    /// As [`write`](Database::write).
    #[expect(clippy::panic, reason = "a test that names a column wrongly must fail")]
    pub fn write_late<'a>(&mut self, set: &str, columns: impl IntoIterator<Item = (&'a str, Value)>) {
        if let Err(refusal) = self.try_write(set, columns, true) {
            panic!("cannot write {set}: {refusal:?}");
        }
    }

    /// Makes visible what was written late.
    pub fn commit(&mut self) {
        self.tables.iter_mut().for_each(Table::commit);
    }

    pub(crate) fn try_write<'a>(
        &mut self,
        set_name: &str,
        columns: impl IntoIterator<Item = (&'a str, Value)>,
        pending: bool,
    ) -> Result<(), Refusal> {
        let (revision, stamp, id) = (self.next_revision(), self.stamp(), Uuid::new_v4());
        let table = self.table_mut(set_name).ok_or_else(|| Refusal::UnknownColumn(set_name.to_owned()))?;
        let definition = std::sync::Arc::clone(&table.definition);
        let mut values = table.blank();
        let given: Vec<(usize, Value)> = columns
            .into_iter()
            .map(|(name, value)| {
                definition.at(name).map(|at| (at, value)).ok_or_else(|| Refusal::UnknownColumn(name.to_owned()))
            })
            .collect::<Result<_, _>>()?;
        if let Some(at) = definition.at("Company") {
            set(&mut values, at, COMPANY.into());
        }
        for (at, value) in &given {
            set(&mut values, *at, value.clone());
        }
        if let Some(before) = table.find(&table.key_of(&values)).and_then(|at| table.values(at)) {
            values = before.to_vec();
            for (at, value) in given {
                set(&mut values, at, value);
            }
        }
        set_stamps(&definition, &mut values, stamp);
        table.put(values, revision, id, pending);
        Ok(())
    }

    /// Takes a row version that is written under later, by [`write_under`](Database::write_under): as a statement does whose
    /// transaction takes its time.
    pub fn reserve_revision(&mut self) -> i64 {
        self.next_revision()
    }

    /// As [`write`](Database::write), under a row version that was taken before, with the stamp of that time.
    ///
    /// # Panics
    /// As [`write`](Database::write).
    pub fn write_under<'a>(
        &mut self,
        revision: i64,
        stamp: NaiveDateTime,
        set: &str,
        columns: impl IntoIterator<Item = (&'a str, Value)>,
    ) {
        let now = self.now;
        // The next number that is given is the one that was reserved.
        self.now = stamp;
        self.forced = Some(revision);
        self.write(set, columns);
        self.now = now;
    }

    /// The clock of the database.
    pub fn now(&self) -> NaiveDateTime {
        self.now
    }

    /// Moves the clock of the database, back as well.
    pub fn set_clock(&mut self, now: NaiveDateTime) {
        self.now = now;
    }

    /// Changes columns of a row without moving its row version or stamp, as direct work on the database does.
    pub fn write_silently<'a>(&mut self, set_name: &str, columns: impl IntoIterator<Item = (&'a str, Value)>) {
        let Some(table) = self.table_mut(set_name) else { return };
        let definition = std::sync::Arc::clone(&table.definition);
        let mut values = table.blank();
        let given: Vec<(usize, Value)> =
            columns.into_iter().filter_map(|(name, value)| Some((definition.at(name)?, value))).collect();
        if let Some(at) = definition.at("Company") {
            set(&mut values, at, COMPANY.into());
        }
        for (at, value) in &given {
            set(&mut values, *at, value.clone());
        }
        if let Some(before) = table.find(&table.key_of(&values)).and_then(|at| table.values(at)) {
            values = before.to_vec();
            for (at, value) in given {
                set(&mut values, at, value);
            }
            table.put_silently(values);
        }
    }

    /// Changes columns of a row and its row version, but no stamp: as code does that does not maintain stamps. (No write can leave the
    /// row version of SQL Server alone.)
    pub fn write_unstamped<'a>(&mut self, set_name: &str, columns: impl IntoIterator<Item = (&'a str, Value)>) {
        let revision = self.next_revision();
        let Some(table) = self.table_mut(set_name) else { return };
        let definition = std::sync::Arc::clone(&table.definition);
        let mut values = table.blank();
        let given: Vec<(usize, Value)> =
            columns.into_iter().filter_map(|(name, value)| Some((definition.at(name)?, value))).collect();
        if let Some(at) = definition.at("Company") {
            set(&mut values, at, COMPANY.into());
        }
        for (at, value) in &given {
            set(&mut values, *at, value.clone());
        }
        if let Some(before) = table.find(&table.key_of(&values)).and_then(|at| table.values(at)) {
            values = before.to_vec();
            for (at, value) in given {
                set(&mut values, at, value);
            }
            table.put(values, revision, Uuid::new_v4(), false);
        }
    }

    /// Deletes a row by its key, without the company. Answers whether it was there.
    pub fn delete(&mut self, set: &str, key: &[Value]) -> bool {
        let Some(table) = self.table_mut(set) else { return false };
        let parts = std::iter::once(COMPANY.to_owned()).chain(key.iter().map(ToString::to_string));
        let key = parts.collect::<Vec<_>>().join("\u{1f}");
        table.delete(&key)
    }

    /// Writes a whole row as a client sent it; `revision` is the row version that the client has read.
    pub(crate) fn save(
        &mut self,
        set_name: &str,
        values: Vec<Value>,
        adds: bool,
        revision: Option<i64>,
    ) -> Result<Vec<Value>, Refusal> {
        let stamp = self.stamp();
        let next = self.next_revision();
        let table = self.table_mut(set_name).ok_or(Refusal::UnknownRow)?;
        let key = table.key_of(&values);
        let before = table.find(&key).and_then(|at| table.values(at)).map(<[Value]>::to_vec);
        match (&before, adds) {
            (Some(_), true) => return Err(Refusal::Exists),
            (None, false) => return Err(Refusal::UnknownRow),
            _ => {}
        }
        let is = before.as_ref().and_then(|values| values.get(table.revision));
        if let (Some(Value::Int(is)), Some(read)) = (is, revision.filter(|revision| *revision != 0))
            && *is != read
        {
            return Err(Refusal::Stale);
        }
        let mut values = values;
        set_stamps(&table.definition, &mut values, stamp);
        table.put(values, next, Uuid::new_v4(), false);
        Ok(table.find(&key).and_then(|at| table.values(at)).map(<[Value]>::to_vec).unwrap_or_default())
    }

    pub(crate) fn remove(&mut self, set: &str, key: &str) -> bool {
        self.table_mut(set).is_some_and(|table| table.delete(key))
    }

    /// Removes all rows whose key begins so.
    pub(crate) fn remove_below(&mut self, set: &str, prefix: &str) {
        if let Some(table) = self.table_mut(set) {
            for key in table.keys_below(prefix) {
                table.delete(&key);
            }
        }
    }

    /// The largest number in a column, for numbers that the server assigns.
    pub(crate) fn largest(&self, set: &str, column: &str) -> i64 {
        let Some(table) = self.table(set) else { return 0 };
        let Some(at) = table.definition.at(column) else { return 0 };
        let number = |values: &[Value]| if let Some(Value::Int(number)) = values.get(at) { *number } else { 0 };
        table.all().map(|(_, values)| number(values)).max().unwrap_or_default()
    }

    /// Takes the state of a copy, as after a restore, its row versions included.
    pub fn restore(&mut self, copy: &Self) {
        *self = copy.clone();
    }
}

/// Writes the moment of a change into the columns that a table has for it.
fn set_stamps(definition: &Definition, values: &mut [Value], stamp: NaiveDateTime) {
    for name in ["ChangeDate", "ChangedOn"] {
        if let Some(at) = definition.at(name) {
            let whole = definition.columns.get(at).is_some_and(|column| column.kind == Kind::Moment);
            set(values, at, if whole { Value::Moment(stamp) } else { Value::Date(stamp.date()) });
        }
    }
    if let Some(at) = definition.at("ChangeTime") {
        set(values, at, i64::from(stamp.time().num_seconds_from_midnight()).into());
    }
}
