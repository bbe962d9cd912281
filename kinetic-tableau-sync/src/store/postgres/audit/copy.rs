//! Records in the binary form of `COPY`: a header, then rows of fields behind their lengths, big endian, then an end.

use bytes::{BufMut as _, Bytes, BytesMut};
use chrono::{DateTime, Utc};

use crate::audit::AuditSegment;
use crate::batch::TextColumn;
use crate::store::StateError;
use crate::store::postgres::error::storage;
use crate::store::postgres::{indexed, last_part, stored};

pub(super) const STATEMENT: &str = "COPY audit_record \
    (at, entry, version, position, action, hash, key, key_part, row_id, stamp, reason, dimensions) \
    FROM STDIN (FORMAT binary)";

const FIELDS: i16 = 12;
/// What stands before the first row: the mark, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Microseconds from 1970 to 2000, from which Postgres counts.
const EPOCH: i64 = 946_684_800_000_000;
/// Type of the elements of a list of texts.
const TEXT: i32 = 25;
/// Bytes that are sent at once.
const PIECE: usize = 1 << 18;

/// The records of a segment as rows of an entry, in pieces.
pub(super) fn encode(segment: &AuditSegment, entry: i64) -> Result<Vec<Bytes>, StateError> {
    let records = &segment.records;
    let at = micros(segment.at);
    let mut pieces = Vec::new();
    let mut out = BytesMut::with_capacity(PIECE + PIECE / 8);
    out.extend_from_slice(HEADER);
    let columns = records.actions.iter().zip(&records.versions).zip(&records.hashes);
    for (row, ((action, version), hash)) in columns.enumerate() {
        let position = i32::try_from(row).map_err(|_| too_large())?;
        out.put_i16(FIELDS);
        number(&mut out, at);
        number(&mut out, entry);
        number(&mut out, *version);
        out.put_i32(4);
        out.put_i32(position);
        out.put_i32(2);
        out.put_i16(i16::from(action.code()));
        field(&mut out, &hash.to_be_bytes())?;
        let key = records.keys.at(row);
        field(&mut out, stored(key).as_bytes())?;
        field(&mut out, indexed(&stored(&last_part(key))).as_bytes())?;
        for texts in [&records.row_ids, &records.stamps, &records.reasons] {
            match texts.at(row) {
                "" => out.put_i32(-1),
                text => field(&mut out, stored(text).as_bytes())?,
            }
        }
        list(&mut out, &records.dimensions, row)?;
        if out.len() >= PIECE {
            pieces.push(out.split().freeze());
        }
    }
    out.put_i16(-1);
    pieces.push(out.freeze());
    Ok(pieces)
}

/// Microseconds since 2000, without the part below.
fn micros(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros().saturating_sub(EPOCH)
}

fn number(out: &mut BytesMut, value: i64) {
    out.put_i32(8);
    out.put_i64(value);
}

fn field(out: &mut BytesMut, bytes: &[u8]) -> Result<(), StateError> {
    out.put_i32(i32::try_from(bytes.len()).map_err(|_| too_large())?);
    out.extend_from_slice(bytes);
    Ok(())
}

/// The dimensions of a row as one list of texts; null when there are none.
fn list(out: &mut BytesMut, dimensions: &[TextColumn], row: usize) -> Result<(), StateError> {
    if dimensions.is_empty() {
        out.put_i32(-1);
        return Ok(());
    }
    let texts: Vec<_> = dimensions.iter().map(|texts| stored(texts.at(row))).collect();
    let length = 20 + texts.iter().map(|text| 4 + text.len()).sum::<usize>();
    out.put_i32(i32::try_from(length).map_err(|_| too_large())?);
    // One dimension, no nulls, from 1 on.
    out.put_i32(1);
    out.put_i32(0);
    out.put_i32(TEXT);
    out.put_i32(i32::try_from(texts.len()).map_err(|_| too_large())?);
    out.put_i32(1);
    texts.iter().try_for_each(|text| field(out, text.as_bytes()))
}

fn too_large() -> StateError {
    storage("a segment of the audit trail is too large for Postgres")
}
