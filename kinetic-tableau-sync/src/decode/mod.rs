//! From the bytes of an OData page straight into columns.
//!
//! No row is ever built as a value of its own: the scanner walks the page once and puts each selected property into its slot.
//! Numbers go from their text to an exact integer or decimal, never through floating point. The scanner is strict: a page that is
//! cut, has a property twice, lacks a selected one or holds a value that does not fit its column is an error, never fewer rows.
//!
//! ```
//! use std::sync::Arc;
//! use kinetic_tableau_sync::{Column, ColumnType, Schema, decode::PageDecoder};
//!
//! let column = |name: &str, kind| Column { name: name.into(), source: name.into(), kind, nullable: true, landed: true };
//! let schema = Schema {
//!     columns: vec![column("VendorNum", ColumnType::Int32), column("Balance", ColumnType::Decimal { precision: 18, scale: 4 })],
//!     key: vec![0], version: None, row_id: None, stamp: None, stamp_seconds: None, dimensions: vec![],
//! };
//! let page = br#"{"value":[{"VendorNum":7,"Balance":13.845},{"Balance":-0.05,"VendorNum":8}]}"#;
//! let page = PageDecoder::new(Arc::new(schema)).decode(page)?;
//! assert_eq!(page.batch.rows(), 2);
//! assert_eq!(page.batch.columns()[1].i64_at(1), Some(-500));
//! # Ok::<(), kinetic_tableau_sync::decode::DecodeError>(())
//! ```

mod calendar;
#[cfg(feature = "kinetic")]
mod lines;
mod number;
mod scan;

use std::collections::HashMap;
use std::sync::Arc;

#[cfg(feature = "kinetic")]
pub(crate) use self::lines::LinesDecoder;
use self::number::Number;
use self::scan::{Plain, Scanner};
use crate::batch::{Batch, BatchFull, ColumnData, RowReject, Size, Values};
use crate::model::{Column, ColumnType, Schema};

/// One page, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedPage {
    /// Its rows.
    pub batch: Batch,
    /// `@odata.count`, where it was asked for.
    pub count: Option<u64>,
    /// `@odata.nextLink`, where the server sent one.
    pub next_link: Option<String>,
}

/// Decodes the pages of one dataset. Keeps what it learned of the order of properties from row to row.
#[derive(Debug)]
pub struct PageDecoder {
    schema: Arc<Schema>,
    properties: Vec<Property>,
    by_name: HashMap<Vec<u8>, usize>,
    /// Names in the order of the last row, quoted and with their colons, with the property they fill, if any.
    order: Vec<(Vec<u8>, Option<usize>)>,
    rejects: Vec<RowReject>,
    /// What the columns of the last page held: pages are alike, and columns that grow are copied again and again.
    sizes: Vec<Size>,
}

#[derive(Debug)]
struct Property {
    /// The columns that this property fills: one, but for change stamps, which are also kept as sent.
    slots: Vec<Slot>,
    /// Number of the last row that had it, counted from one within the page.
    seen_in: usize,
}

/// A column, with what is needed of it for each value.
#[derive(Debug)]
struct Slot {
    at: usize,
    kind: ColumnType,
    nullable: bool,
    /// Whether a value that does not fit marks its row instead of being an error.
    cast: bool,
}

impl PageDecoder {
    /// A decoder for a dataset's schema.
    #[must_use]
    pub fn new(schema: Arc<Schema>) -> Self {
        let mut properties: Vec<Property> = Vec::new();
        let mut by_name: HashMap<Vec<u8>, usize> = HashMap::new();
        for (at, column) in schema.columns.iter().enumerate() {
            let index = *by_name.entry(column.source.clone().into_bytes()).or_insert_with(|| {
                properties.push(Property { slots: Vec::new(), seen_in: 0 });
                properties.len() - 1
            });
            if let Some(property) = properties.get_mut(index) {
                let nullable = column.nullable && !schema.key.contains(&at);
                property.slots.push(Slot { at, kind: column.kind, nullable, cast: false });
            }
        }
        Self { schema, properties, by_name, order: Vec::new(), rejects: Vec::new(), sizes: Vec::new() }
    }

    /// Marks rows that hold a value which does not fit its column ([`Batch::rejects`]), instead of refusing their page; the value is
    /// null then. What tells rows apart must fit all the same: key, version and stamp. Numbers and booleans become texts in text
    /// columns that are no key.
    #[must_use]
    pub fn lenient(mut self) -> Self {
        for slot in self.properties.iter_mut().flat_map(|property| &mut property.slots) {
            slot.cast = !is_identity(&self.schema, slot.at);
        }
        self
    }

    /// Decodes one page.
    ///
    /// # Errors
    /// [`DecodeError`] naming the row and property, when the page is not exactly what it should be.
    pub fn decode(&mut self, body: &[u8]) -> Result<DecodedPage, DecodeError> {
        // A byte order mark is not JSON, yet some proxies add one.
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        if std::str::from_utf8(body).is_err() {
            return Err(DecodeError::page(Reason::NotUtf8));
        }
        let mut columns = self.begin();
        let mut scanner = Scanner::new(body);
        let (mut value_seen, mut count, mut next_link) = (false, None, None);

        scanner.expect(b'{').map_err(DecodeError::page)?;
        let mut first = true;
        while scanner.next_member(&mut first).map_err(DecodeError::page)? {
            let name = scanner.key().map_err(DecodeError::page)?;
            match &*name {
                b"value" if value_seen => return Err(DecodeError::page(Reason::Twice)),
                b"value" => {
                    value_seen = true;
                    self.rows(&mut scanner, &mut columns, 0)?;
                }
                b"@odata.count" => count = Some(scanner.count().map_err(DecodeError::page)?),
                b"@odata.nextLink" => next_link = scanner.optional_string().map_err(DecodeError::page)?,
                _ => scanner.skip_value().map_err(DecodeError::page)?,
            }
        }
        scanner.end().map_err(DecodeError::page)?;
        if !value_seen {
            return Err(DecodeError::page(Reason::NoRows));
        }
        self.sizes = columns.iter().map(ColumnData::size).collect();
        let batch =
            Batch::from_columns(Arc::clone(&self.schema), columns).map_err(|_| DecodeError::page(Reason::Uneven))?;
        let batch = batch.with_rejects(std::mem::take(&mut self.rejects));
        Ok(DecodedPage { batch, count, next_link })
    }

    /// Forgets the rows of the page before; answers empty columns.
    fn begin(&mut self) -> Vec<ColumnData> {
        for property in &mut self.properties {
            property.seen_in = 0;
        }
        self.rejects.clear();
        let size = |at: usize| self.sizes.get(at).copied().unwrap_or_default();
        let sized = |(at, column): (usize, &Column)| ColumnData::sized_like(column.kind, size(at));
        self.schema.columns.iter().enumerate().map(sized).collect()
    }

    /// Reads a list of rows, before which so many rows of the page have been read; answers how many there are now.
    fn rows(
        &mut self,
        scanner: &mut Scanner<'_>,
        columns: &mut [ColumnData],
        before: usize,
    ) -> Result<usize, DecodeError> {
        scanner.expect(b'[').map_err(DecodeError::page)?;
        let mut first = true;
        let mut row = before;
        while scanner.next_element(&mut first).map_err(|reason| DecodeError::row(row + 1, reason))? {
            row += 1;
            self.row(scanner, columns, row)?;
        }
        Ok(row)
    }

    fn row(&mut self, scanner: &mut Scanner<'_>, columns: &mut [ColumnData], row: usize) -> Result<(), DecodeError> {
        let (begun, marked) = (scanner.position(), self.rejects.len());
        scanner.expect(b'{').map_err(|reason| DecodeError::row(row, reason))?;
        let (mut first, mut place, mut filled) = (true, 0, 0);
        while scanner.next_member(&mut first).map_err(|reason| DecodeError::row(row, reason))? {
            let property = self.property_at(scanner, place).map_err(|reason| DecodeError::row(row, reason))?;
            place += 1;
            let Some(index) = property else {
                scanner.skip_value().map_err(|reason| DecodeError::row(row, reason))?;
                continue;
            };
            let Some(property) = self.properties.get_mut(index) else {
                continue;
            };
            if property.seen_in == row {
                return Err(self.error(row, index, Reason::Twice));
            }
            property.seen_in = row;
            filled += 1;
            let start = scanner.position();
            let mut unfit = None;
            for (nth, slot) in property.slots.iter().enumerate() {
                if nth > 0 {
                    scanner.back_to(start);
                }
                let Some(data) = columns.get_mut(slot.at) else { continue };
                let Err(reason) = value(scanner, slot, data) else { continue };
                if !slot.cast || !reason.is_of_one_value() {
                    return Err(self.error(row, index, reason));
                }
                scanner.back_to(start);
                scanner.skip_value().map_err(|reason| DecodeError::row(row, reason))?;
                data.push_null();
                unfit = Some(reason);
            }
            if let Some(reason) = unfit {
                self.mark(row, index, reason);
            }
        }
        for reject in self.rejects.iter_mut().skip(marked) {
            let raw = scanner.since(begun);
            // Long texts are the least of what is needed to see what is wrong.
            let raw = raw.get(..LONGEST_RAW).unwrap_or(raw);
            String::from_utf8_lossy(raw).trim().clone_into(&mut reject.raw);
        }
        if filled != self.properties.len() {
            let missing = self.properties.iter().position(|property| property.seen_in != row).unwrap_or_default();
            return Err(self.error(row, missing, Reason::Missing));
        }
        Ok(())
    }

    /// Marks a row that must not land.
    #[cold]
    fn mark(&mut self, row: usize, property: usize, reason: Reason) {
        let error = self.error(row, property, reason);
        self.rejects.push(RowReject {
            row: row - 1,
            column: error.property.clone().unwrap_or_default(),
            reason: reason.text().to_owned(),
            hint: error.hint(),
            raw: String::new(),
        });
    }

    /// Reads a property name; answers the property that it fills. Servers repeat the order of properties from row to row, so the
    /// name is first compared with the one that stood here last time.
    fn property_at(&mut self, scanner: &mut Scanner<'_>, place: usize) -> Result<Option<usize>, Reason> {
        if let Some((member, property)) = self.order.get(place)
            && scanner.key_is(member)
        {
            return Ok(*property);
        }
        let name = scanner.key()?;
        let property = self.by_name.get(&*name).copied();
        // Rows with ever new names must not grow this without bound.
        if place < 4096 {
            self.order.truncate(place);
            let mut member = Vec::with_capacity(name.len() + 3);
            member.push(b'"');
            member.extend_from_slice(&name);
            member.extend_from_slice(b"\":");
            self.order.push((member, property));
        }
        Ok(property)
    }

    fn error(&self, row: usize, property: usize, reason: Reason) -> DecodeError {
        let name = self
            .properties
            .get(property)
            .and_then(|property| property.slots.first())
            .and_then(|slot| self.schema.columns.get(slot.at))
            .map(|column| column.source.clone());
        DecodeError { row: Some(row), property: name, reason }
    }
}

/// Microseconds since 1970-01-01T00:00:00 of a date and time as a server writes it: in UTC when it has an offset, else as written.
/// None when it is no such text.
#[cfg(feature = "kinetic")]
pub(crate) fn timestamp_micros(text: &str) -> Option<i64> {
    calendar::timestamp(text.as_bytes()).ok()
}

/// Most bytes that are kept of a row that cannot land.
const LONGEST_RAW: usize = 65_536;

/// Whether a column tells rows or their versions apart, so that a row cannot do without it.
fn is_identity(schema: &Schema, at: usize) -> bool {
    schema.key.contains(&at) || [schema.version, schema.stamp, schema.stamp_seconds].contains(&Some(at))
}

/// Adds a value that is written as text: a number, a date, `true`, or any text where the column holds texts. Answers why it does not
/// fit; nothing is added then.
pub(crate) fn push_text(
    data: &mut ColumnData,
    kind: ColumnType,
    text: &str,
) -> Result<Result<(), &'static str>, BatchFull> {
    let number = || match Number::scan(text.as_bytes()) {
        Ok((number, len)) if len == text.len() => Ok(number),
        _ => Err(Reason::Type),
    };
    let integer = |least: i64, most: i64| {
        let value = number()?.to_i64()?;
        if (least..=most).contains(&value) { Ok(value) } else { Err(Reason::Range) }
    };
    let read = match (kind, &mut data.values) {
        (ColumnType::Text, Values::Text(texts)) => texts.push(text).map(Ok)?,
        (ColumnType::Bool, Values::Bool(values)) => {
            text.parse().map(|value| values.push(value)).map_err(|_| Reason::Type)
        }
        (ColumnType::Int16, Values::I64(values)) => {
            integer(i16::MIN.into(), i16::MAX.into()).map(|value| values.push(value))
        }
        (ColumnType::Int32, Values::I64(values)) => {
            integer(i32::MIN.into(), i32::MAX.into()).map(|value| values.push(value))
        }
        (ColumnType::Int64, Values::I64(values)) => integer(i64::MIN, i64::MAX).map(|value| values.push(value)),
        (ColumnType::Double, Values::F64(values)) => number().and_then(Number::to_f64).map(|value| values.push(value)),
        (ColumnType::Decimal { precision, scale }, Values::I64(values)) => {
            number().and_then(|number| number.to_decimal64(precision, scale)).map(|value| values.push(value))
        }
        (ColumnType::Decimal { precision, scale }, Values::I128(values)) => {
            number().and_then(|number| number.to_decimal(precision, scale)).map(|value| values.push(value))
        }
        (ColumnType::Date, Values::I64(values)) => calendar::date(text.as_bytes()).map(|value| values.push(value)),
        (ColumnType::Timestamp, Values::I64(values)) => {
            calendar::timestamp(text.as_bytes()).map(|value| values.push(value))
        }
        _ => Err(Reason::Type),
    };
    Ok(match read {
        Ok(()) => {
            data.nulls.push(false);
            Ok(())
        }
        Err(reason) => Err(reason.text()),
    })
}

/// Reads one value into its slot.
#[inline]
fn value(scanner: &mut Scanner<'_>, slot: &Slot, data: &mut ColumnData) -> Result<(), Reason> {
    if scanner.null()? {
        if !slot.nullable {
            return Err(Reason::NullKey);
        }
        data.push_null();
        return Ok(());
    }
    match (slot.kind, &mut data.values) {
        (ColumnType::Text, Values::Text(texts)) => {
            let text = if slot.cast { scanner.scalar()? } else { scanner.string()? };
            // The whole page was checked to be UTF-8, and escapes yield only whole characters.
            texts.push(std::str::from_utf8(&text).map_err(|_| Reason::NotUtf8)?)?;
        }
        (ColumnType::Bool, Values::Bool(values)) => values.push(scanner.boolean()?),
        (ColumnType::Int16, Values::I64(values)) => {
            values.push(integer(scanner, i64::from(i16::MIN), i64::from(i16::MAX))?);
        }
        (ColumnType::Int32, Values::I64(values)) => {
            values.push(integer(scanner, i64::from(i32::MIN), i64::from(i32::MAX))?);
        }
        (ColumnType::Int64, Values::I64(values)) => values.push(integer(scanner, i64::MIN, i64::MAX)?),
        (ColumnType::Double, Values::F64(values)) => values.push(scanner.number()?.to_f64()?),
        (ColumnType::Decimal { precision, scale }, Values::I64(values)) => {
            values.push(decimal64(scanner, precision, scale)?);
        }
        (ColumnType::Decimal { precision, scale }, Values::I128(values)) => {
            values.push(scanner.number()?.to_decimal(precision, scale)?);
        }
        (ColumnType::Date, Values::I64(values)) => values.push(calendar::date(&scanner.string()?)?),
        (ColumnType::Timestamp, Values::I64(values)) => values.push(calendar::timestamp(&scanner.string()?)?),
        _ => return Err(Reason::Uneven),
    }
    data.nulls.push(false);
    Ok(())
}

/// 10 to the power of 0 to 18.
const POWERS: [i64; 19] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
    100_000_000_000,
    1_000_000_000_000,
    10_000_000_000_000,
    100_000_000_000_000,
    1_000_000_000_000_000,
    10_000_000_000_000_000,
    100_000_000_000_000_000,
    1_000_000_000_000_000_000,
];

/// The unscaled value of a decimal of up to 18 digits.
#[inline]
fn decimal64(scanner: &mut Scanner<'_>, precision: u8, scale: u8) -> Result<i64, Reason> {
    let start = scanner.position();
    if let Some(Plain { value, fraction }) = scanner.plain_number()
        && let Some(shift) = usize::from(scale).checked_sub(fraction)
        && let (Some(factor), Some(limit)) = (POWERS.get(shift), POWERS.get(usize::from(precision)))
        && let Some(value) = value.checked_mul(*factor)
    {
        return if value.abs() < *limit { Ok(value) } else { Err(Reason::Range) };
    }
    scanner.back_to(start);
    scanner.number()?.to_decimal64(precision, scale)
}

#[inline]
fn integer(scanner: &mut Scanner<'_>, least: i64, most: i64) -> Result<i64, Reason> {
    let start = scanner.position();
    let value = if let Some(Plain { value, fraction: 0 }) = scanner.plain_number() {
        value
    } else {
        scanner.back_to(start);
        scanner.number()?.to_i64()?
    };
    if (least..=most).contains(&value) { Ok(value) } else { Err(Reason::Range) }
}

/// Why a page could not be decoded. Names places, never contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    row: Option<usize>,
    property: Option<String>,
    reason: Reason,
}

impl DecodeError {
    fn page(reason: Reason) -> Self {
        Self { row: None, property: None, reason }
    }

    fn row(row: usize, reason: Reason) -> Self {
        Self { row: Some(row), property: None, reason }
    }

    /// Row within the page, counted from one.
    pub fn row_number(&self) -> Option<usize> {
        self.row
    }

    /// Name of the property.
    pub fn property(&self) -> Option<&str> {
        self.property.as_deref()
    }

    /// Whether the page was cut or garbled on its way, so that asking again may help.
    pub fn is_damage(&self) -> bool {
        matches!(self.reason, Reason::Syntax | Reason::End | Reason::NotUtf8 | Reason::Trailing | Reason::NoRows)
    }

    /// What the operator should do next, where there is something.
    pub fn hint(&self) -> Option<String> {
        let property = self.property.as_deref().unwrap_or("the column");
        Some(match self.reason {
            Reason::Range | Reason::Scale => {
                format!("give {property} a wider type in `types`, for instance {property} = \"decimal(38,10)\"")
            }
            Reason::TimeInDate => format!("set {property} = \"timestamp\" in `types`"),
            Reason::Type => format!("set the type that the server sends for {property} in `types`"),
            Reason::Missing => {
                format!("the server leaves {property} out; take it out of `select` or check its spelling")
            }
            Reason::NullKey => format!("{property} is null in a key; choose another `key`"),
            _ => return None,
        })
    }
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.property, self.row) {
            (Some(property), Some(row)) => write!(f, "row {row} of the page, property {property}: ")?,
            (None, Some(row)) => write!(f, "row {row} of the page: ")?,
            _ => f.write_str("page: ")?,
        }
        f.write_str(self.reason.text())
    }
}

impl Reason {
    /// Whether only one value is wrong, and the rest of the row can be read.
    fn is_of_one_value(self) -> bool {
        matches!(self, Self::Type | Self::Range | Self::Scale | Self::TimeInDate | Self::Date | Self::NullKey)
    }

    fn text(self) -> &'static str {
        match self {
            Self::Syntax => "not valid JSON",
            Self::End => "ends too early",
            Self::NotUtf8 => "not valid UTF-8",
            Self::Trailing => "something follows behind the end",
            Self::NoRows => "has no `value` list",
            Self::Depth => "nested too deeply",
            Self::Type => "value is of another type than the column",
            Self::Range => "number does not fit the column",
            Self::Scale => "number has more decimal places than the column",
            Self::TimeInDate => "date column holds a time of day",
            Self::Date => "not a date",
            Self::NullKey => "null in a key",
            Self::Missing => "selected, but not there",
            Self::Twice => "there twice",
            Self::Uneven => "columns of unequal length",
            Self::TooLong => "text of the page passes 4 GiB",
        }
    }
}

impl std::error::Error for DecodeError {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Syntax,
    End,
    NotUtf8,
    Trailing,
    NoRows,
    Depth,
    Type,
    Range,
    Scale,
    TimeInDate,
    Date,
    NullKey,
    Missing,
    Twice,
    Uneven,
    TooLong,
}

impl From<BatchFull> for Reason {
    fn from(_: BatchFull) -> Self {
        Self::TooLong
    }
}

#[cfg(test)]
mod tests;
