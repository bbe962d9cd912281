//! Rows in the binary form of `COPY`: fields behind their lengths, big endian. What a type of Postgres does not hold is refused here, with
//! the column's name, before anything is sent.

use bytes::{BufMut as _, BytesMut};

use super::names::Wanted;
use crate::batch::{Batch, ColumnData, TextColumn, Values};
use crate::destination::{DestinationError, DestinationErrorKind};
use crate::model::{ColumnType, Schema};

/// What stands before the first row: the mark, no flags, no extension.
pub(super) const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands behind the last one.
pub(super) const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Days and microseconds from 1970 to 2000, from which Postgres counts.
const EPOCH_DAYS: i64 = 10_957;
const MICROS_A_DAY: i64 = 86_400_000_000;
/// 0001-01-01 and 9999-12-31, as days since 1970-01-01.
const DATES: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;

/// One column of a batch, ready to be written value by value. None where the batch has no such column.
struct Slot<'a> {
    wanted: &'a Wanted,
    data: Option<(&'a [bool], Form<'a>)>,
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
    Decimal64(&'a [i64], u8, i128),
    Decimal128(&'a [i128], u8, i128),
}

/// Why a value could not be written.
enum Unfit {
    Null,
    Range,
    Form,
    Zero,
}

/// Appends a range of rows of a batch, numbered from `first` on. Of a batch of keys (`gone`) the other columns are null.
pub(super) fn rows(
    batch: &Batch,
    some: std::ops::Range<usize>,
    wanted: &[Wanted],
    gone: bool,
    first: u64,
    out: &mut BytesMut,
) -> Result<(), DestinationError> {
    let schema = batch.schema();
    let slots = wanted.iter().map(|wanted| slot(schema, batch, wanted, gone)).collect::<Result<Vec<_>, _>>()?;
    let fields = i16::try_from(slots.len() + 2)
        .map_err(|_| super::names::config("there are more columns than Postgres takes").with_hint("select fewer"))?;
    for (number, row) in (first..).zip(some) {
        out.put_i16(fields);
        out.put_i32(8);
        out.put_u64(number);
        out.put_i32(1);
        out.put_u8(u8::from(gone));
        for slot in &slots {
            let written = match &slot.data {
                Some((nulls, form)) if !nulls.get(row).copied().unwrap_or(true) => write(form, row, out),
                _ if slot.wanted.key => Err(Unfit::Null),
                _ => {
                    out.put_i32(-1);
                    Ok(())
                }
            };
            written.map_err(|why| unfit(slot.wanted, number, &why))?;
        }
    }
    Ok(())
}

fn slot<'a>(schema: &Schema, batch: &'a Batch, wanted: &'a Wanted, gone: bool) -> Result<Slot<'a>, DestinationError> {
    let at = if gone { schema.columns.iter().position(|column| column.name == wanted.name) } else { Some(wanted.at) };
    let data = match at.and_then(|at| batch.column(at)) {
        Some(data) => {
            let form = form_of(wanted.kind, data).ok_or_else(|| unfit(wanted, 0, &Unfit::Form))?;
            Some((data.nulls.as_slice(), form))
        }
        None => None,
    };
    Ok(Slot { wanted, data })
}

fn form_of(kind: ColumnType, data: &ColumnData) -> Option<Form<'_>> {
    let limit = |precision: u8| 10_i128.checked_pow(precision.into()).unwrap_or(i128::MAX);
    Some(match (kind, &data.values) {
        (ColumnType::Text, Values::Text(texts)) => Form::Text(texts),
        (ColumnType::Bool, Values::Bool(values)) => Form::Bool(values),
        (ColumnType::Double, Values::F64(values)) => Form::Double(values),
        (ColumnType::Int16, Values::I64(values)) => Form::Int16(values),
        (ColumnType::Int32, Values::I64(values)) => Form::Int32(values),
        (ColumnType::Int64, Values::I64(values)) => Form::Int64(values),
        (ColumnType::Date, Values::I64(values)) => Form::Date(values),
        (ColumnType::Timestamp, Values::I64(values)) => Form::Timestamp(values),
        (ColumnType::Decimal { precision, scale }, Values::I64(values)) => {
            Form::Decimal64(values, scale, limit(precision))
        }
        (ColumnType::Decimal { precision, scale }, Values::I128(values)) => {
            Form::Decimal128(values, scale, limit(precision))
        }
        _ => return None,
    })
}

fn write(form: &Form<'_>, row: usize, out: &mut BytesMut) -> Result<(), Unfit> {
    fn at<T: Copy>(values: &[T], row: usize) -> Result<T, Unfit> {
        values.get(row).copied().ok_or(Unfit::Form)
    }
    fn field<const N: usize>(out: &mut BytesMut, bytes: [u8; N]) -> Result<(), Unfit> {
        out.put_i32(i32::try_from(N).map_err(|_| Unfit::Range)?);
        out.extend_from_slice(&bytes);
        Ok(())
    }
    match form {
        Form::Text(texts) => {
            let text = texts.bytes_at(row);
            if memchr::memchr(0, text).is_some() {
                return Err(Unfit::Zero);
            }
            out.put_i32(i32::try_from(text.len()).map_err(|_| Unfit::Range)?);
            out.extend_from_slice(text);
            Ok(())
        }
        Form::Bool(values) => field(out, [u8::from(at(values, row)?)]),
        Form::Double(values) => field(out, at(values, row)?.to_be_bytes()),
        Form::Int16(values) => field(out, i16::try_from(at(values, row)?).map_err(|_| Unfit::Range)?.to_be_bytes()),
        Form::Int32(values) => field(out, i32::try_from(at(values, row)?).map_err(|_| Unfit::Range)?.to_be_bytes()),
        Form::Int64(values) => field(out, at(values, row)?.to_be_bytes()),
        Form::Date(values) => {
            let days = at(values, row)?;
            if !DATES.contains(&days) {
                return Err(Unfit::Range);
            }
            field(out, i32::try_from(days - EPOCH_DAYS).map_err(|_| Unfit::Range)?.to_be_bytes())
        }
        Form::Timestamp(values) => {
            let micros = at(values, row)?;
            if !DATES.contains(&micros.div_euclid(MICROS_A_DAY)) {
                return Err(Unfit::Range);
            }
            field(out, (micros - EPOCH_DAYS * MICROS_A_DAY).to_be_bytes())
        }
        Form::Decimal64(values, scale, limit) => decimal(i128::from(at(values, row)?), *scale, *limit, out),
        Form::Decimal128(values, scale, limit) => decimal(at(values, row)?, *scale, *limit, out),
    }
}

/// A decimal as digits of base 10,000 around the point, without zeros at either end, as Postgres itself writes it.
fn decimal(value: i128, scale: u8, limit: i128, out: &mut BytesMut) -> Result<(), Unfit> {
    if value <= -limit || value >= limit {
        return Err(Unfit::Range);
    }
    let size = value.unsigned_abs();
    let one = 10_u128.checked_pow(scale.into()).ok_or(Unfit::Form)?;
    // At most ten on each side of the point.
    let mut digits = [0_u16; 20];
    let mut count = 0;
    let mut push = |digit: u128| -> Result<(), Unfit> {
        *digits.get_mut(count).ok_or(Unfit::Range)? = u16::try_from(digit).map_err(|_| Unfit::Range)?;
        count += 1;
        Ok(())
    };
    let (mut whole, mut part) = (size / one, size % one);
    let mut before: i16 = 0;
    let mut power = 1_u128;
    while whole / power >= 10_000 {
        power *= 10_000;
    }
    if whole > 0 {
        while power > 0 {
            push(whole / power)?;
            whole %= power;
            power /= 10_000;
            before += 1;
        }
    }
    let mut left = scale;
    while left >= 4 {
        left -= 4;
        let unit = 10_u128.pow(left.into());
        push(part / unit)?;
        part %= unit;
    }
    if left > 0 {
        push(part * 10_u128.pow(u32::from(4 - left)))?;
    }
    let digits = digits.get(..count).unwrap_or_default();
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let trailing = digits.iter().rev().take_while(|digit| **digit == 0).count();
    let digits = digits.get(leading..digits.len().saturating_sub(trailing)).unwrap_or_default();
    let skipped = i16::try_from(leading).map_err(|_| Unfit::Range)?;
    let weight = if digits.is_empty() { 0 } else { before - 1 - skipped };
    let length = i16::try_from(digits.len()).map_err(|_| Unfit::Range)?;
    out.put_i32(8 + 2 * i32::from(length));
    out.put_i16(length);
    out.put_i16(weight);
    out.put_u16(if value < 0 { 0x4000 } else { 0 });
    out.put_u16(u16::from(scale));
    for digit in digits {
        out.put_u16(*digit);
    }
    Ok(())
}

fn unfit(wanted: &Wanted, number: u64, why: &Unfit) -> DestinationError {
    let Wanted { name, kind, .. } = wanted;
    let hint = match why {
        Unfit::Null => format!("take {name} out of `key`, or give the dataset another key"),
        Unfit::Zero => format!("correct the row in Kinetic, or take {name} out of `select`"),
        Unfit::Range | Unfit::Form => {
            format!("give {name} a wider type in `types`, for instance \"decimal(38,10)\", or take it out of `select`")
        }
    };
    let why = match why {
        Unfit::Null => "is null, but part of the key".to_owned(),
        Unfit::Range => format!("is outside of {kind}"),
        Unfit::Form => format!("is not of the form of {kind}"),
        Unfit::Zero => "holds the character U+0000, which Postgres does not keep".to_owned(),
    };
    let message = format!("staging: column {name} of row {} {why}", number + 1);
    DestinationError::new(DestinationErrorKind::Value, message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: i128, scale: u8) -> (i16, u16, Vec<u16>) {
        let mut out = BytesMut::new();
        assert!(decimal(value, scale, i128::MAX, &mut out).is_ok());
        let number = |at: usize| u16::from_be_bytes([out[at], out[at + 1]]);
        assert_eq!(out.len(), 12 + 2 * usize::from(number(4)));
        assert_eq!(number(10), u16::from(scale));
        let digits = (12..out.len()).step_by(2).map(number).collect();
        (i16::from_be_bytes([out[6], out[7]]), number(8), digits)
    }

    #[test]
    fn decimals_have_no_zeros_at_either_end() {
        assert_eq!(written(0, 3), (0, 0, vec![]));
        assert_eq!(written(1_234_567, 2), (1, 0, vec![1, 2345, 6700]));
        assert_eq!(written(-50, 3), (-1, 0x4000, vec![500]));
        assert_eq!(written(1, 8), (-2, 0, vec![1]));
        assert_eq!(written(100_000_000, 0), (2, 0, vec![1]));
        assert_eq!(
            written(10_i128.pow(38) - 1, 38),
            (-1, 0, vec![9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9900])
        );
    }
}
