//! Tables: their definition, and their rows with the two indexes that reading needs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::value::{Kind, Value};

/// A column.
#[derive(Clone, Debug)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// What is fixed about a table.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The service that offers it.
    pub service: String,
    /// The entity set.
    pub set: String,
    /// The table, which is also the name of its rows in tablesets.
    pub table: String,
    /// The key columns.
    pub key: Vec<String>,
    /// All columns, `SysRevID` and `SysRowID` last.
    pub columns: Vec<ColumnDefinition>,
    /// Sets of the same service that can be expanded: the set, and which columns of ours meet which of its.
    pub children: Vec<(String, Vec<(String, String)>)>,
}

impl Definition {
    /// The place of a column, or the server's words for that there is none.
    pub(crate) fn column(&self, name: &str) -> Result<usize, String> {
        self.columns
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(|| format!("Could not find a property named '{name}' on type 'Erp.{}'.", self.table))
    }

    pub(crate) fn at(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// A row, as tests see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    names: Arc<Vec<String>>,
    values: Vec<Value>,
}

impl Row {
    /// The value of a column.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.values.get(self.names.iter().position(|name| name == column)?)
    }

    /// The value of a column as text; none for null and for columns that do not exist.
    pub fn text(&self, column: &str) -> Option<String> {
        self.get(column).and_then(Value::to_text)
    }
}

#[derive(Clone, Debug)]
struct Stored {
    values: Vec<Value>,
    /// Written, but its transaction has not committed.
    pending: bool,
}

/// A table with its rows.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) definition: Arc<Definition>,
    names: Arc<Vec<String>>,
    rows: Vec<Option<Stored>>,
    by_key: HashMap<String, usize>,
    by_revision: BTreeMap<i64, usize>,
    key: Vec<usize>,
    pub(crate) revision: usize,
    row_id: usize,
}

impl Table {
    pub(crate) fn new(definition: Definition) -> Self {
        let place = |name: &str| definition.at(name).unwrap_or_default();
        Self {
            names: Arc::new(definition.columns.iter().map(|column| column.name.clone()).collect()),
            key: definition.key.iter().map(|name| place(name)).collect(),
            revision: definition.at("SysRevID").unwrap_or(usize::MAX),
            row_id: definition.at("SysRowID").unwrap_or(usize::MAX),
            definition: Arc::new(definition),
            rows: Vec::new(),
            by_key: HashMap::new(),
            by_revision: BTreeMap::new(),
        }
    }

    /// A row with nothing in it.
    pub(crate) fn blank(&self) -> Vec<Value> {
        self.definition.columns.iter().map(|column| Value::empty(column.kind)).collect()
    }

    pub(crate) fn key_of(&self, values: &[Value]) -> String {
        let part = |at: &usize| values.get(*at).map(ToString::to_string).unwrap_or_default();
        self.key.iter().map(part).collect::<Vec<_>>().join("\u{1f}")
    }

    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// Writes a row with a new revision, in place of one of the same key. Answers whether there was one.
    pub(crate) fn put(&mut self, mut values: Vec<Value>, revision: i64, id: Uuid, pending: bool) -> bool {
        let key = self.key_of(&values);
        let before = self.find(&key);
        let kept = before.and_then(|at| self.rows.get(at)?.as_ref()).map(|stored| stored.values.clone());
        let row_id = kept.as_ref().and_then(|values| values.get(self.row_id).cloned()).unwrap_or(Value::Guid(id));
        set(&mut values, self.revision, Value::Int(revision));
        set(&mut values, self.row_id, row_id);
        let at = before.unwrap_or(self.rows.len());
        if let Some(Value::Int(old)) = kept.as_ref().and_then(|values| values.get(self.revision)) {
            self.by_revision.remove(old);
        }
        let stored = Some(Stored { values, pending });
        match self.rows.get_mut(at) {
            Some(slot) => *slot = stored,
            None => self.rows.push(stored),
        }
        self.by_key.insert(key, at);
        self.by_revision.insert(revision, at);
        before.is_some()
    }

    /// Adds a row of a query, which has no columns of the system.
    pub(crate) fn push_plain(&mut self, values: Vec<Value>, order: i64) {
        self.by_revision.insert(order, self.rows.len());
        self.rows.push(Some(Stored { values, pending: false }));
    }

    /// Changes a row without a trace in its revision.
    pub(crate) fn put_silently(&mut self, values: Vec<Value>) {
        let at = self.find(&self.key_of(&values));
        if let Some(Some(stored)) = at.and_then(|at| self.rows.get_mut(at)) {
            stored.values = values;
        }
    }

    pub(crate) fn delete(&mut self, key: &str) -> bool {
        let Some(at) = self.by_key.remove(key) else { return false };
        let gone = self.rows.get_mut(at).and_then(Option::take);
        if let Some(Value::Int(revision)) = gone.as_ref().and_then(|stored| stored.values.get(self.revision)) {
            self.by_revision.remove(revision);
        }
        gone.is_some()
    }

    pub(crate) fn keys_below(&self, prefix: &str) -> Vec<String> {
        self.by_key.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    pub(crate) fn commit(&mut self) {
        self.rows.iter_mut().flatten().for_each(|stored| stored.pending = false);
    }

    pub(crate) fn values(&self, at: usize) -> Option<&[Value]> {
        self.rows.get(at)?.as_ref().filter(|stored| !stored.pending).map(|stored| stored.values.as_slice())
    }

    /// The places of all visible rows.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, &[Value])> {
        (0..self.rows.len()).filter_map(|at| Some((at, self.values(at)?)))
    }

    /// The places of all visible rows with a revision in a range, in its order.
    pub(crate) fn by_revision(&self, from: i64, to: i64) -> impl DoubleEndedIterator<Item = (usize, &[Value])> {
        let to = to.max(from.saturating_sub(1));
        let range = if from > to { 0..0 } else { from..to.saturating_add(1) };
        self.by_revision.range(range).filter_map(|(_, &at)| Some((at, self.values(at)?)))
    }

    /// All visible rows.
    pub(crate) fn snapshot(&self) -> Vec<Row> {
        self.all().map(|(_, values)| Row { names: Arc::clone(&self.names), values: values.to_vec() }).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The keys of all rows, in no order that means anything.
    pub(crate) fn nth_key(&self, nth: usize) -> Option<String> {
        let stored = self.rows.iter().flatten().nth(nth)?;
        Some(self.key_of(&stored.values))
    }
}

pub(crate) fn set(values: &mut [Value], at: usize, value: Value) {
    if let Some(slot) = values.get_mut(at) {
        *slot = value;
    }
}
