//! What the engine computes of a row: the hash of its key, the hash of its landed values, and its key as text.
//!
//! The hashes are XXH3 of a canonical form that does not depend on how the server wrote the row: for each column a byte that tells
//! null from value, then the value in little endian, texts behind their length. They tell versions apart; they are no signature.

use std::fmt::Write as _;

use xxhash_rust::xxh3::xxh3_128;

use crate::batch::{Batch, ColumnData, Values};
use crate::model::{ColumnType, Schema};

/// Scratch space for one row after the other.
#[derive(Debug, Default)]
pub(crate) struct RowHasher {
    bytes: Vec<u8>,
    text: String,
}

impl RowHasher {
    /// Hash of the key.
    pub(crate) fn key(&mut self, schema: &Schema, batch: &Batch, row: usize) -> u128 {
        self.bytes.clear();
        for column in schema.key.iter().filter_map(|&at| batch.column(at)) {
            canonical(&mut self.bytes, column, row);
        }
        xxh3_128(&self.bytes)
    }

    /// Hash of the values that land.
    pub(crate) fn landed(&mut self, schema: &Schema, batch: &Batch, row: usize) -> u128 {
        self.bytes.clear();
        for (at, _) in schema.landed() {
            if let Some(column) = batch.column(at) {
                canonical(&mut self.bytes, column, row);
            }
        }
        xxh3_128(&self.bytes)
    }

    /// The key as a JSON array.
    pub(crate) fn key_text(&mut self, schema: &Schema, batch: &Batch, row: usize) -> &str {
        self.text.clear();
        self.text.push('[');
        for (nth, &at) in schema.key.iter().enumerate() {
            if nth > 0 {
                self.text.push(',');
            }
            if let (Some(column), Some(of)) = (batch.column(at), schema.columns.get(at)) {
                json(&mut self.text, of.kind, column, row);
            }
        }
        self.text.push(']');
        &self.text
    }

    /// The row as a JSON object of what was read, under its source names.
    pub(crate) fn row_text(&mut self, schema: &Schema, batch: &Batch, row: usize) -> String {
        self.text.clear();
        for column in schema.columns.iter().zip(batch.columns()) {
            self.text.push(if self.text.is_empty() { '{' } else { ',' });
            // Writing to a String cannot fail.
            let _ = write!(self.text, "{}:", serde_json::Value::from(column.0.source.as_str()));
            json(&mut self.text, column.0.kind, column.1, row);
        }
        self.text.push('}');
        self.text.clone()
    }

    /// One value as plain text, as kept for dimensions; empty for null.
    pub(crate) fn plain_text(&mut self, batch: &Batch, at: usize, row: usize) -> &str {
        self.text.clear();
        let schema = batch.schema();
        if let (Some(column), Some(of)) =
            (batch.column(at).filter(|column| !column.is_null(row)), schema.columns.get(at))
        {
            match column.text_at(row) {
                Some(text) => self.text.push_str(text),
                None => plain(&mut self.text, of.kind, column, row),
            }
        }
        &self.text
    }
}

fn canonical(bytes: &mut Vec<u8>, column: &ColumnData, row: usize) {
    if column.is_null(row) {
        bytes.push(0);
        return;
    }
    bytes.push(1);
    match &column.values {
        Values::Text(texts) => {
            let text = texts.bytes_at(row);
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text);
        }
        Values::Bool(values) => bytes.push(u8::from(values.get(row).copied().unwrap_or_default())),
        Values::I64(values) => {
            bytes.extend_from_slice(&values.get(row).copied().unwrap_or_default().to_le_bytes());
        }
        Values::I128(values) => {
            bytes.extend_from_slice(&values.get(row).copied().unwrap_or_default().to_le_bytes());
        }
        Values::F64(values) => {
            bytes.extend_from_slice(&values.get(row).copied().unwrap_or_default().to_bits().to_le_bytes());
        }
    }
}

/// One value as JSON. Numbers stay numbers; dates and times become texts.
fn json(text: &mut String, kind: ColumnType, column: &ColumnData, row: usize) {
    if column.is_null(row) {
        text.push_str("null");
    } else if let Some(value) = column.text_at(row) {
        if value.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
            text.push('"');
            text.push_str(value);
            text.push('"');
        } else {
            let _ = write!(text, "{}", serde_json::Value::from(value));
        }
    } else if matches!(kind, ColumnType::Date | ColumnType::Timestamp) {
        text.push('"');
        plain(text, kind, column, row);
        text.push('"');
    } else {
        plain(text, kind, column, row);
    }
}

/// One value, neither null nor text, as it would be written.
fn plain(text: &mut String, kind: ColumnType, column: &ColumnData, row: usize) {
    // Writing to a String cannot fail.
    let _ = match &column.values {
        Values::I64(values) => {
            let value = values.get(row).copied().unwrap_or_default();
            match kind {
                ColumnType::Decimal { scale, .. } => return decimal(text, value.into(), scale),
                ColumnType::Date => {
                    let date = i32::try_from(value).ok().and_then(chrono::NaiveDate::from_epoch_days);
                    write!(text, "{}", date.unwrap_or_default())
                }
                ColumnType::Timestamp => {
                    let at = chrono::DateTime::from_timestamp_micros(value).unwrap_or_default().naive_utc();
                    write!(text, "{}", at.format("%Y-%m-%dT%H:%M:%S%.f"))
                }
                _ => write!(text, "{value}"),
            }
        }
        Values::I128(values) => match kind {
            ColumnType::Decimal { scale, .. } => {
                return decimal(text, values.get(row).copied().unwrap_or_default(), scale);
            }
            _ => write!(text, "{}", values.get(row).copied().unwrap_or_default()),
        },
        Values::Bool(values) => write!(text, "{}", values.get(row).copied().unwrap_or_default()),
        Values::F64(values) => write!(text, "{}", values.get(row).copied().unwrap_or_default()),
        Values::Text(_) => Ok(()),
    };
}

/// An unscaled decimal with its point.
fn decimal(text: &mut String, unscaled: i128, scale: u8) {
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    let sign = if unscaled < 0 { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    let _ = write!(text, "{sign}{whole}{point}{fraction}");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decode::PageDecoder;
    use crate::model::Column;

    fn schema() -> Arc<Schema> {
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            source: name.to_owned(),
            kind,
            nullable: true,
            landed: name != "SysRevID",
        };
        Arc::new(Schema {
            columns: vec![
                column("Company", ColumnType::Text),
                column("Num", ColumnType::Int32),
                column("Amount", ColumnType::Decimal { precision: 12, scale: 3 }),
                column("Big", ColumnType::Decimal { precision: 38, scale: 10 }),
                column("On", ColumnType::Date),
                column("At", ColumnType::Timestamp),
                column("SysRevID", ColumnType::Int64),
            ],
            key: vec![0, 1],
            version: Some(6),
            row_id: None,
            stamp: None,
            stamp_seconds: None,
            dimensions: Vec::new(),
        })
    }

    fn batch(rows: &str) -> Batch {
        let body = format!("{{\"value\":[{rows}]}}");
        PageDecoder::new(schema()).decode(body.as_bytes()).unwrap().batch
    }

    const ROW: &str = r#"{"Company":"E\"1","Num":7,"Amount":-0.05,"Big":1.5,"On":"1969-12-31","At":"2024-02-29T01:02:03.5Z","SysRevID":9}"#;

    #[test]
    fn values_are_written_as_people_write_them() {
        let (batch, mut hasher) = (batch(ROW), RowHasher::default());
        assert_eq!(hasher.key_text(&schema(), &batch, 0), r#"["E\"1",7]"#);
        assert_eq!(hasher.plain_text(&batch, 2, 0), "-0.050");
        assert_eq!(hasher.plain_text(&batch, 3, 0), "1.5000000000");
        assert_eq!(hasher.plain_text(&batch, 4, 0), "1969-12-31");
        assert_eq!(hasher.plain_text(&batch, 5, 0), "2024-02-29T01:02:03.500");
    }

    #[test]
    fn the_hash_of_a_row_follows_what_lands_and_nothing_else() {
        let mut hasher = RowHasher::default();
        let mut hash = |row: &str| {
            let batch = batch(row);
            (hasher.key(&schema(), &batch, 0), hasher.landed(&schema(), &batch, 0))
        };
        let one = hash(ROW);
        assert_eq!(one, hash(&ROW.replace("\"SysRevID\":9", "\"SysRevID\":10")), "the version does not land");
        assert_eq!(one, hash(&ROW.replace("-0.05", "-0.0500")), "the same number, written otherwise");
        assert_eq!(one.0, hash(&ROW.replace("-0.05", "0.05")).0, "the key does not hold the amount");
        for (from, to) in [("-0.05", "0.05"), ("1.5,", "null,"), ("1969-12-31", "1970-01-01"), ("03.5Z", "03.6Z")] {
            assert_ne!(one.1, hash(&ROW.replace(from, to)).1, "{from} became {to}");
        }
    }
}
