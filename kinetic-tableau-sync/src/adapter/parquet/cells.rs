//! Columns as Parquet takes them: the values that are there, and for each row whether there is one.

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::{Type, TypePtr};

use crate::batch::{Batch, Values};
use crate::destination::{DestinationError, DestinationErrorKind};
use crate::model::{Column, ColumnType, Schema};

const MICROS_A_DAY: i64 = 86_400_000_000;
/// 0001-01-01 and 9999-12-31, as days since 1970-01-01.
const DATES: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;
/// Bytes of a decimal that does not fit into 64 bits.
const WIDE: i32 = 16;

/// Values by the form in which they are stored.
#[derive(Debug)]
pub(super) enum Cells {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

/// A part of a column.
#[derive(Debug)]
pub(super) struct Chunk {
    cells: Cells,
    /// One for a value, zero for null.
    levels: Vec<i16>,
}

/// How a type is stored.
pub(super) fn physical(kind: ColumnType) -> Physical {
    match kind {
        ColumnType::Text => Physical::BYTE_ARRAY,
        ColumnType::Bool => Physical::BOOLEAN,
        ColumnType::Int16 | ColumnType::Int32 | ColumnType::Date | ColumnType::Decimal { precision: ..=9, .. } => {
            Physical::INT32
        }
        ColumnType::Int64 | ColumnType::Timestamp | ColumnType::Decimal { precision: ..=18, .. } => Physical::INT64,
        ColumnType::Double => Physical::DOUBLE,
        ColumnType::Decimal { .. } => Physical::FIXED_LEN_BYTE_ARRAY,
    }
}

/// The schema of the file: the landed columns, of which only those of the key are required.
pub(super) fn schema(schema: &Schema) -> Result<TypePtr> {
    let fields = schema.landed().map(|(at, column)| field(column, schema.key.contains(&at)).map(TypePtr::new));
    let fields = fields.collect::<Result<Vec<_>>>()?;
    Type::group_type_builder("rows").with_fields(fields).build().map(TypePtr::new)
}

fn field(column: &Column, required: bool) -> Result<Type> {
    let repetition = if required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
    let builder = Type::primitive_type_builder(&column.name, physical(column.kind)).with_repetition(repetition);
    match column.kind {
        ColumnType::Text => builder.with_logical_type(Some(LogicalType::String)),
        ColumnType::Int16 => builder.with_logical_type(Some(LogicalType::integer(16, true))),
        ColumnType::Date => builder.with_logical_type(Some(LogicalType::Date)),
        ColumnType::Timestamp => builder.with_logical_type(Some(LogicalType::timestamp(false, TimeUnit::MICROS))),
        ColumnType::Decimal { precision, scale } => {
            let (precision, scale) = (i32::from(precision), i32::from(scale));
            let length = if precision > 18 { WIDE } else { -1 };
            builder
                .with_logical_type(Some(LogicalType::decimal(scale, precision)))
                .with_length(length)
                .with_precision(precision)
                .with_scale(scale)
        }
        ColumnType::Bool | ColumnType::Int32 | ColumnType::Int64 | ColumnType::Double => builder,
    }
    .build()
}

impl Chunk {
    pub(super) fn empty(kind: ColumnType) -> Self {
        let cells = match physical(kind) {
            Physical::BOOLEAN => Cells::Bool(Vec::new()),
            Physical::INT32 => Cells::Int32(Vec::new()),
            Physical::INT64 => Cells::Int64(Vec::new()),
            Physical::DOUBLE => Cells::Double(Vec::new()),
            Physical::FIXED_LEN_BYTE_ARRAY => Cells::Fixed(Vec::new()),
            _ => Cells::Bytes(Vec::new()),
        };
        Self { cells, levels: Vec::new() }
    }

    /// Writes it as the whole of a column of a row group.
    pub(super) fn write(&self, writer: &mut ColumnWriter<'_>, required: bool) -> Result<()> {
        let levels = (!required).then_some(self.levels.as_slice());
        match (&self.cells, writer) {
            (Cells::Bool(values), ColumnWriter::BoolColumnWriter(to)) => to.write_batch(values, levels, None),
            (Cells::Int32(values), ColumnWriter::Int32ColumnWriter(to)) => to.write_batch(values, levels, None),
            (Cells::Int64(values), ColumnWriter::Int64ColumnWriter(to)) => to.write_batch(values, levels, None),
            (Cells::Double(values), ColumnWriter::DoubleColumnWriter(to)) => to.write_batch(values, levels, None),
            (Cells::Bytes(values), ColumnWriter::ByteArrayColumnWriter(to)) => to.write_batch(values, levels, None),
            (Cells::Fixed(values), ColumnWriter::FixedLenByteArrayColumnWriter(to)) => {
                to.write_batch(values, levels, None)
            }
            _ => Err(ParquetError::General("a column is of another form than its schema".to_owned())),
        }
        .map(|_| ())
    }

    /// Reads a column of a row group without the rows that are not kept.
    pub(super) fn read(reader: ColumnReader, rows: usize, keep: &[bool]) -> Result<Self> {
        Ok(match reader {
            ColumnReader::BoolColumnReader(from) => kept(from, rows, keep, Cells::Bool)?,
            ColumnReader::Int32ColumnReader(from) => kept(from, rows, keep, Cells::Int32)?,
            ColumnReader::Int64ColumnReader(from) => kept(from, rows, keep, Cells::Int64)?,
            ColumnReader::DoubleColumnReader(from) => kept(from, rows, keep, Cells::Double)?,
            ColumnReader::ByteArrayColumnReader(from) => kept(from, rows, keep, Cells::Bytes)?,
            ColumnReader::FixedLenByteArrayColumnReader(from) => kept(from, rows, keep, Cells::Fixed)?,
            _ => return Err(ParquetError::General("a column is of a form that is never written".to_owned())),
        })
    }
}

fn kept<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
    keep: &[bool],
    cells: impl FnOnce(Vec<T::T>) -> Cells,
) -> Result<Chunk> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let (records, ..) = reader.read_records(rows - read, Some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Err(ParquetError::General("a row group ends before its rows do".to_owned()));
        }
        read += records;
    }
    // A required column has no levels.
    if levels.is_empty() {
        levels.resize(rows, 1);
    }
    let mut there = values.into_iter();
    let (mut kept_values, mut kept_levels) = (Vec::new(), Vec::new());
    for (level, keep) in levels.into_iter().zip(keep) {
        let value = if level == 1 { there.next() } else { None };
        if *keep {
            kept_values.extend(value);
            kept_levels.push(level);
        }
    }
    Ok(Chunk { cells: cells(kept_values), levels: kept_levels })
}

/// Appends the landed columns of a batch, in order; answers about how many bytes they take.
pub(super) fn append(chunks: &mut [Chunk], batch: &Batch, before: u64) -> std::result::Result<usize, DestinationError> {
    let schema = batch.schema();
    let mut bytes = 0;
    for ((at, column), chunk) in schema.landed().zip(chunks) {
        let Some(data) = batch.column(at) else { continue };
        let required = schema.key.contains(&at);
        let there = |row: usize| !data.nulls.get(row).copied().unwrap_or(true);
        for row in 0..batch.rows() {
            if required && !there(row) {
                return Err(unfit(column, before + row as u64, "is null, but part of the key"));
            }
            chunk.levels.push(i16::from(there(row)));
        }
        let out = |row: usize| unfit(column, before + row as u64, &format!("is outside of {}", column.kind));
        let rows = (0..batch.rows()).filter(|row| there(*row));
        match (&mut chunk.cells, &data.values) {
            (Cells::Bytes(cells), Values::Text(texts)) => {
                // All texts of the batch lie in one buffer that their values share.
                let mut whole = Vec::with_capacity(texts.byte_len());
                let mut ends = Vec::with_capacity(batch.rows());
                for row in rows {
                    whole.extend_from_slice(texts.bytes_at(row));
                    ends.push(whole.len());
                }
                bytes += whole.len();
                let whole = bytes::Bytes::from(whole);
                let mut start = 0;
                for end in ends {
                    cells.push(ByteArray::from(whole.slice(start..end)));
                    start = end;
                }
            }
            (Cells::Bool(cells), Values::Bool(values)) => {
                cells.extend(rows.filter_map(|row| values.get(row).copied()));
            }
            (Cells::Double(cells), Values::F64(values)) => {
                cells.extend(rows.filter_map(|row| values.get(row).copied()));
            }
            (Cells::Int32(cells), Values::I64(values)) => {
                for row in rows {
                    let value = values.get(row).copied().unwrap_or_default();
                    let fits = fits(column.kind, value.into());
                    cells.push(i32::try_from(value).ok().filter(|_| fits).ok_or_else(|| out(row))?);
                }
            }
            (Cells::Int64(cells), Values::I64(values)) => {
                for row in rows {
                    let value = values.get(row).copied().unwrap_or_default();
                    if !fits(column.kind, value.into()) {
                        return Err(out(row));
                    }
                    cells.push(value);
                }
            }
            (Cells::Fixed(cells), Values::I128(values)) => {
                for row in rows {
                    let value = values.get(row).copied().unwrap_or_default();
                    if !fits(column.kind, value) {
                        return Err(out(row));
                    }
                    cells.push(FixedLenByteArray::from(value.to_be_bytes().to_vec()));
                }
            }
            _ => return Err(unfit(column, before, &format!("is not of the form of {}", column.kind))),
        }
        bytes += batch.rows() * 8;
    }
    Ok(bytes)
}

fn fits(kind: ColumnType, value: i128) -> bool {
    match kind {
        ColumnType::Int16 => i16::try_from(value).is_ok(),
        ColumnType::Int32 => i32::try_from(value).is_ok(),
        ColumnType::Date => i64::try_from(value).is_ok_and(|days| DATES.contains(&days)),
        ColumnType::Timestamp => {
            i64::try_from(value).is_ok_and(|micros| DATES.contains(&micros.div_euclid(MICROS_A_DAY)))
        }
        ColumnType::Decimal { precision, .. } => {
            10_u128.checked_pow(precision.into()).is_none_or(|limit| value.unsigned_abs() < limit)
        }
        _ => true,
    }
}

fn unfit(column: &Column, row: u64, why: &str) -> DestinationError {
    let name = &column.name;
    DestinationError::new(DestinationErrorKind::Value, format!("column {name} of row {} {why}", row + 1)).with_hint(
        format!("give {name} a wider type in `types`, for instance \"decimal(38,10)\", or take it out of `select`"),
    )
}
