//! Rows in the engine's binary form, `HYPERBINARY` (observed): a header, then value after value, little endian, nothing between rows.
//!
//! A byte before each value of a *nullable* column tells null from value; columns that are `NOT NULL` have none. The engine does not
//! check the range of decimals, so that is done here.

use std::ops::Range;

use super::error::{HyperError, HyperErrorKind};
use crate::batch::{Batch, ColumnData, TextColumn, Values};
use crate::model::{ColumnType, Schema};

/// What stands before the first row.
pub(super) const HEADER: [u8; 19] = *b"HPRCPY\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The Julian day of 1970-01-01.
const EPOCH: i64 = 2_440_588;
const MICROS_A_DAY: i64 = 86_400_000_000;
/// 0001-01-01 and 9999-12-31, as days since 1970-01-01.
const DATES: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;

/// Whether a landed column is declared `NOT NULL`: the key is, nothing else.
pub(super) fn is_required(schema: &Schema, at: usize) -> bool {
    schema.key.contains(&at)
}

/// One column of a batch, ready to be written value by value.
struct Slot<'a> {
    at: usize,
    nulls: &'a [bool],
    required: bool,
    form: Form<'a>,
}

enum Form<'a> {
    Text(&'a TextColumn),
    Bool(&'a [bool]),
    Double(&'a [f64]),
    Int16(&'a [i64]),
    Int32(&'a [i64]),
    Int64(&'a [i64]),
    Date(&'a [i64]),
    Timestamp(&'a [i64]),
    Decimal64(&'a [i64], i64),
    Decimal128(&'a [i128], i128),
}

/// Why a value could not be written.
enum Unfit {
    Null,
    Range,
    Form,
}

/// Appends some rows of a batch. `row_before` rows have been written before the batch, for messages.
pub(super) fn rows(batch: &Batch, some: Range<usize>, row_before: u64, out: &mut Vec<u8>) -> Result<(), HyperError> {
    let schema = batch.schema();
    let mut slots = Vec::with_capacity(batch.columns().len());
    for (at, column) in schema.landed() {
        let Some(data) = batch.column(at) else { continue };
        let form = form_of(column.kind, data).ok_or_else(|| unfit(schema, at, row_before, &Unfit::Form))?;
        slots.push(Slot { at, nulls: &data.nulls, required: is_required(schema, at), form });
    }
    for row in some {
        for slot in &slots {
            if slot.nulls.get(row).copied().unwrap_or(true) {
                if slot.required {
                    return Err(unfit(schema, slot.at, row_before + row as u64, &Unfit::Null));
                }
                out.push(1);
                continue;
            }
            if !slot.required {
                out.push(0);
            }
            write(&slot.form, row, out).map_err(|why| unfit(schema, slot.at, row_before + row as u64, &why))?;
        }
    }
    Ok(())
}

fn form_of(kind: ColumnType, data: &ColumnData) -> Option<Form<'_>> {
    Some(match (kind, &data.values) {
        (ColumnType::Text, Values::Text(texts)) => Form::Text(texts),
        (ColumnType::Bool, Values::Bool(values)) => Form::Bool(values),
        (ColumnType::Double, Values::F64(values)) => Form::Double(values),
        (ColumnType::Int16, Values::I64(values)) => Form::Int16(values),
        (ColumnType::Int32, Values::I64(values)) => Form::Int32(values),
        (ColumnType::Int64, Values::I64(values)) => Form::Int64(values),
        (ColumnType::Date, Values::I64(values)) => Form::Date(values),
        (ColumnType::Timestamp, Values::I64(values)) => Form::Timestamp(values),
        (ColumnType::Decimal { precision, .. }, Values::I64(values)) => {
            Form::Decimal64(values, 10_i64.checked_pow(precision.into()).unwrap_or(i64::MAX))
        }
        (ColumnType::Decimal { precision, .. }, Values::I128(values)) => {
            Form::Decimal128(values, 10_i128.checked_pow(precision.into()).unwrap_or(i128::MAX))
        }
        _ => return None,
    })
}

fn write(form: &Form<'_>, row: usize, out: &mut Vec<u8>) -> Result<(), Unfit> {
    fn at<T: Copy>(values: &[T], row: usize) -> Result<T, Unfit> {
        values.get(row).copied().ok_or(Unfit::Form)
    }
    match form {
        Form::Text(texts) => {
            let text = texts.bytes_at(row);
            out.extend_from_slice(&u32::try_from(text.len()).map_err(|_| Unfit::Range)?.to_le_bytes());
            out.extend_from_slice(text);
        }
        Form::Bool(values) => out.push(u8::from(at(values, row)?)),
        Form::Double(values) => out.extend_from_slice(&at(values, row)?.to_le_bytes()),
        Form::Int16(values) => {
            out.extend_from_slice(&i16::try_from(at(values, row)?).map_err(|_| Unfit::Range)?.to_le_bytes());
        }
        Form::Int32(values) => {
            out.extend_from_slice(&i32::try_from(at(values, row)?).map_err(|_| Unfit::Range)?.to_le_bytes());
        }
        Form::Int64(values) => out.extend_from_slice(&at(values, row)?.to_le_bytes()),
        Form::Date(values) => {
            let days = at(values, row)?;
            if !DATES.contains(&days) {
                return Err(Unfit::Range);
            }
            out.extend_from_slice(&u32::try_from(days + EPOCH).map_err(|_| Unfit::Range)?.to_le_bytes());
        }
        Form::Timestamp(values) => {
            let micros = at(values, row)?;
            if !DATES.contains(&micros.div_euclid(MICROS_A_DAY)) {
                return Err(Unfit::Range);
            }
            out.extend_from_slice(&(micros + EPOCH * MICROS_A_DAY).to_le_bytes());
        }
        Form::Decimal64(values, limit) => {
            let value = at(values, row)?;
            if value <= -limit || value >= *limit {
                return Err(Unfit::Range);
            }
            out.extend_from_slice(&value.to_le_bytes());
        }
        Form::Decimal128(values, limit) => {
            let value = at(values, row)?;
            if value <= -limit || value >= *limit {
                return Err(Unfit::Range);
            }
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
    Ok(())
}

fn unfit(schema: &Schema, at: usize, row: u64, why: &Unfit) -> HyperError {
    let (name, kind) =
        schema.columns.get(at).map_or(("?", ColumnType::Text), |column| (column.name.as_str(), column.kind));
    let why = match why {
        Unfit::Null => "is null, but part of the key".to_owned(),
        Unfit::Range => format!("is outside of {kind}"),
        Unfit::Form => format!("is not of the form of {kind}"),
    };
    HyperError::new(HyperErrorKind::Value, format!("column {name} of row {} {why}", row + 1)).with_hint(format!(
        "give {name} a wider type in `types`, for instance \"decimal(38,10)\", or take it out of `select`"
    ))
}
