//! Rows in columns: what travels from a source's pages to a destination's encoder and the audit.
//!
//! Values sit in typed slots, one vector a column, so that no row is ever an object of its own and a decimal is never a float.

use std::borrow::Cow;
use std::sync::Arc;

use crate::model::{ColumnType, Schema};

/// Many texts in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextColumn {
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl TextColumn {
    /// Adds one text.
    ///
    /// # Errors
    /// [`BatchFull`] when the buffer would pass 4 GiB; nothing is added then.
    pub fn push(&mut self, text: &str) -> Result<(), BatchFull> {
        let end = u32::try_from(self.bytes.len() + text.len()).map_err(|_| BatchFull)?;
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(end);
        Ok(())
    }

    /// The bytes of the text at `row`, valid UTF-8; empty when there is no such row.
    pub fn bytes_at(&self, row: usize) -> &[u8] {
        let Some(&end) = self.ends.get(row) else {
            return &[];
        };
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.bytes.get(start as usize..end as usize).unwrap_or_default()
    }

    /// The text at `row`; empty when there is no such row.
    pub fn at(&self, row: usize) -> &str {
        std::str::from_utf8(self.bytes_at(row)).unwrap_or_default()
    }

    /// Room for as much as another one holds.
    pub(crate) fn reserve_like(&mut self, other: &Self) {
        self.ends.reserve_exact(other.ends.len());
        self.bytes.reserve_exact(other.bytes.len());
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Length of all texts together, in bytes.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }
}

/// A batch cannot take more: a text buffer holds 4 GiB at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("text of one batch passes 4 GiB; ask for smaller pages")]
pub struct BatchFull;

/// The values of one column. Where [`ColumnData::nulls`] is set the slot holds a zero or an empty text.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Values {
    /// [`ColumnType::Text`].
    Text(TextColumn),
    /// [`ColumnType::Bool`].
    Bool(Vec<bool>),
    /// Integers of all widths; dates as days and timestamps as microseconds since 1970-01-01; decimals of up to 18 digits as
    /// their unscaled value.
    I64(Vec<i64>),
    /// Decimals of more than 18 digits, unscaled.
    I128(Vec<i128>),
    /// [`ColumnType::Double`].
    F64(Vec<f64>),
}

impl Values {
    /// Empty slots of the form that `kind` uses.
    #[must_use]
    pub fn for_type(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Text => Self::Text(TextColumn::default()),
            ColumnType::Bool => Self::Bool(Vec::new()),
            ColumnType::Double => Self::F64(Vec::new()),
            ColumnType::Decimal { precision, .. } if precision > 18 => Self::I128(Vec::new()),
            _ => Self::I64(Vec::new()),
        }
    }

    /// Empty slots of the same form.
    pub(crate) fn emptied(&self) -> Self {
        match self {
            Self::Text(_) => Self::Text(TextColumn::default()),
            Self::Bool(_) => Self::Bool(Vec::new()),
            Self::I64(_) => Self::I64(Vec::new()),
            Self::I128(_) => Self::I128(Vec::new()),
            Self::F64(_) => Self::F64(Vec::new()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(texts) => texts.len(),
            Self::Bool(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::I128(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }
}

/// How much a column holds: rows, and bytes of text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    rows: usize,
    bytes: usize,
}

/// One column of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnData {
    /// The values.
    pub values: Values,
    /// Which rows are null; as long as the values.
    pub nulls: Vec<bool>,
}

impl ColumnData {
    /// An empty column of a type.
    #[must_use]
    pub fn for_type(kind: ColumnType) -> Self {
        Self { values: Values::for_type(kind), nulls: Vec::new() }
    }

    /// An empty column of a type with room for as much as another one holds, and a little more.
    pub(crate) fn sized_like(kind: ColumnType, size: Size) -> Self {
        let (rows, bytes) = (size.rows + size.rows / 32, size.bytes + size.bytes / 16);
        let mut column = Self::for_type(kind);
        column.nulls.reserve_exact(rows);
        match &mut column.values {
            Values::Text(texts) => {
                texts.ends.reserve_exact(rows);
                texts.bytes.reserve_exact(bytes);
            }
            Values::Bool(values) => values.reserve_exact(rows),
            Values::I64(values) => values.reserve_exact(rows),
            Values::I128(values) => values.reserve_exact(rows),
            Values::F64(values) => values.reserve_exact(rows),
        }
        column
    }

    /// How much it holds.
    pub(crate) fn size(&self) -> Size {
        let bytes = if let Values::Text(texts) = &self.values { texts.byte_len() } else { 0 };
        Size { rows: self.nulls.len(), bytes }
    }

    /// Adds a null.
    pub fn push_null(&mut self) {
        match &mut self.values {
            // An empty text always fits.
            Values::Text(texts) => drop(texts.push("")),
            Values::Bool(values) => values.push(false),
            Values::I64(values) => values.push(0),
            Values::I128(values) => values.push(0),
            Values::F64(values) => values.push(0.0),
        }
        self.nulls.push(true);
    }

    /// Whether the value at `row` is null (or there is no such row).
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.get(row).copied().unwrap_or(true)
    }

    /// The value at `row` where the slots are 64-bit integers.
    pub fn i64_at(&self, row: usize) -> Option<i64> {
        match &self.values {
            Values::I64(values) if !self.is_null(row) => values.get(row).copied(),
            _ => None,
        }
    }

    /// The text at `row` where the slots are texts.
    pub fn text_at(&self, row: usize) -> Option<&str> {
        match &self.values {
            Values::Text(texts) if !self.is_null(row) => Some(texts.at(row)),
            _ => None,
        }
    }

    /// Adds the value at `row` of `other`, which has the same type.
    ///
    /// # Errors
    /// [`BatchFull`] as for [`TextColumn::push`].
    pub fn push_from(&mut self, other: &Self, row: usize) -> Result<(), BatchFull> {
        match (&mut self.values, &other.values) {
            (Values::Text(to), Values::Text(from)) => to.push(from.at(row))?,
            (Values::Bool(to), Values::Bool(from)) => to.push(from.get(row).copied().unwrap_or_default()),
            (Values::I64(to), Values::I64(from)) => to.push(from.get(row).copied().unwrap_or_default()),
            (Values::I128(to), Values::I128(from)) => to.push(from.get(row).copied().unwrap_or_default()),
            (Values::F64(to), Values::F64(from)) => to.push(from.get(row).copied().unwrap_or_default()),
            _ => debug_assert!(false, "columns of one schema have one type"),
        }
        self.nulls.push(other.is_null(row));
        Ok(())
    }
}

/// Why a row of a batch is not to land.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowReject {
    /// The row.
    pub row: usize,
    /// The column that cannot be read or mapped.
    pub column: String,
    /// What is wrong with it.
    pub reason: String,
    /// What the operator should do next, where there is something.
    pub hint: Option<String>,
    /// The row as the source sent it, a JSON object.
    pub raw: String,
}

/// Rows of one dataset, in columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    schema: Arc<Schema>,
    columns: Vec<ColumnData>,
    rows: usize,
    rejects: Vec<RowReject>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn empty(schema: Arc<Schema>) -> Self {
        let columns = schema.columns.iter().map(|column| ColumnData::for_type(column.kind)).collect();
        Self { schema, columns, rows: 0, rejects: Vec::new() }
    }

    /// A batch of finished columns.
    ///
    /// # Errors
    /// The columns again, when their number or lengths differ from what the schema and each other say.
    pub fn from_columns(schema: Arc<Schema>, columns: Vec<ColumnData>) -> Result<Self, Vec<ColumnData>> {
        let rows = columns.first().map_or(0, |column| column.nulls.len());
        let fits = columns.len() == schema.columns.len()
            && columns.iter().all(|column| column.nulls.len() == rows && column.values.len() == rows);
        if fits { Ok(Self { schema, columns, rows, rejects: Vec::new() }) } else { Err(columns) }
    }

    /// The schema.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns, in schema order.
    pub fn columns(&self) -> &[ColumnData] {
        &self.columns
    }

    /// One column.
    pub fn column(&self, at: usize) -> Option<&ColumnData> {
        self.columns.get(at)
    }

    /// The change stamp of a row as sent; where it stands in two columns, the date and behind a space the second of the day. None where
    /// there is no such column, or one of them is null.
    #[must_use]
    pub fn stamp(&self, row: usize) -> Option<Cow<'_, str>> {
        let column = |at: usize| self.columns.get(at).filter(|column| !column.is_null(row));
        let text = column(self.schema.stamp?)?.text_at(row)?;
        Some(match self.schema.stamp_seconds {
            None => Cow::Borrowed(text),
            Some(at) => Cow::Owned(format!("{text} {}", column(at)?.i64_at(row)?)),
        })
    }

    /// Marks rows that must not land. Their keys, version and stamp are as sent; what cannot be read is null.
    #[must_use]
    pub fn with_rejects(mut self, rejects: Vec<RowReject>) -> Self {
        self.rejects.extend(rejects);
        self
    }

    /// Some rows of the batch, in ascending order, with their marks.
    #[cfg(feature = "kinetic")]
    pub(crate) fn only(self, rows: &[usize]) -> Result<Self, BatchFull> {
        if rows.len() == self.rows {
            return Ok(self);
        }
        let mut some = Self::empty(Arc::clone(&self.schema));
        for (now, &row) in rows.iter().enumerate() {
            some.push_row(&self, row)?;
            let marks = self.rejects.iter().filter(|mark| mark.row == row);
            some.rejects.extend(marks.map(|mark| RowReject { row: now, ..mark.clone() }));
        }
        Ok(some)
    }

    /// The batch with all marks removed.
    #[cfg(feature = "kinetic")]
    pub(crate) fn without_rejects(mut self) -> Self {
        self.rejects.clear();
        self
    }

    /// The rows that must not land, in no order; a row may be there more than once.
    pub fn rejects(&self) -> &[RowReject] {
        &self.rejects
    }

    /// The rows that may land, and those that must not with their marks in order, once each.
    ///
    /// # Errors
    /// [`BatchFull`] as for [`TextColumn::push`].
    pub fn split(mut self) -> Result<(Self, Self), BatchFull> {
        let mut bad = Self::empty(Arc::clone(&self.schema));
        if self.rejects.is_empty() {
            return Ok((self, bad));
        }
        let mut rejects = std::mem::take(&mut self.rejects);
        // Stable: of several marks of a row the first counts.
        rejects.sort_by_key(|reject| reject.row);
        rejects.dedup_by_key(|reject| reject.row);
        let mut good = Self::empty(Arc::clone(&self.schema));
        let mut marks = rejects.into_iter().peekable();
        for row in 0..self.rows {
            match marks.next_if(|mark| mark.row == row) {
                Some(mark) => {
                    bad.push_row(&self, row)?;
                    bad.rejects.push(RowReject { row: bad.rows - 1, ..mark });
                }
                None => good.push_row(&self, row)?,
            }
        }
        Ok((good, bad))
    }

    /// The batch with other columns in some places.
    pub(crate) fn with_columns(mut self, columns: Vec<(usize, ColumnData)>) -> Self {
        for (at, column) in columns {
            debug_assert_eq!(column.nulls.len(), self.rows, "columns of a batch are equally long");
            if let Some(place) = self.columns.get_mut(at) {
                *place = column;
            }
        }
        self
    }

    /// The batch under a schema with columns behind its own.
    pub(crate) fn extended(mut self, schema: Arc<Schema>, columns: Vec<ColumnData>, rejects: Vec<RowReject>) -> Self {
        self.columns.extend(columns);
        self.schema = schema;
        debug_assert_eq!(self.columns.len(), self.schema.columns.len(), "each column has its data");
        self.with_rejects(rejects)
    }

    /// Adds row `row` of `other`, which has the same schema.
    ///
    /// # Errors
    /// [`BatchFull`] as for [`TextColumn::push`]; the batch must not be used further then.
    pub fn push_row(&mut self, other: &Self, row: usize) -> Result<(), BatchFull> {
        for (to, from) in self.columns.iter_mut().zip(&other.columns) {
            to.push_from(from, row)?;
        }
        self.rows += 1;
        Ok(())
    }
}
