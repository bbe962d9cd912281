//! Compares what has landed in an extract with what is true in the Kinetic simulator, cell by cell.
//!
//! The extract is read by the vendor's engine and the truth is taken from the simulator's store, so neither the encoder nor the
//! decoder under test has a say in it.

use std::collections::HashMap;
use std::path::Path;

use kinetic_tableau_sync::hyper::{Engine, ExtractReader, HyperError};

/// How many differences are named; the others are only counted.
const NAMED: usize = 5;

/// A row as the source holds it: the text of a column, none for null or where there is no such column.
///
/// Decimals are exact texts, dates `2024-05-22`, moments `2024-05-22T08:00:00`, truth values `true` and `false`.
pub(crate) trait TrueRow {
    /// The text of a column.
    fn text(&self, column: &str) -> Option<String>;
}

/// What a comparison has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Rows in the source.
    pub(crate) source_rows: usize,
    /// Rows in the extract.
    pub(crate) landed_rows: usize,
    /// Cells that were compared.
    pub(crate) cells: usize,
    /// Everything that differs.
    pub(crate) differences: usize,
    /// The first of the differences: key, column and what is wrong, never a value.
    pub(crate) named: Vec<String>,
}

impl Comparison {
    /// Whether every row is there once, and every cell is the same.
    pub(crate) fn matches(&self) -> bool {
        self.differences == 0 && self.source_rows == self.landed_rows
    }

    fn differs(&mut self, how: impl FnOnce() -> String) {
        self.differences += 1;
        if self.named.len() < NAMED {
            self.named.push(how());
        }
    }
}

/// Compares all rows of an extract with the truth. The file must not be in use by anybody else.
///
/// # Errors
/// When the file is no extract with one table.
pub(crate) async fn compare<R: TrueRow>(
    engine: &Engine,
    extract: &Path,
    key: &[&str],
    truth: &[R],
) -> Result<Comparison, HyperError> {
    let reader = ExtractReader::open(engine, extract).await?;
    let columns: Vec<(String, String)> =
        reader.columns().iter().map(|column| (column.name.clone(), column.kind.clone())).collect();
    let rows = reader.rows_as_text(&[]).await?;
    reader.close().await?;

    let mut found = Comparison { source_rows: truth.len(), landed_rows: rows.len(), ..Comparison::default() };
    let places: Vec<usize> =
        key.iter().filter_map(|name| columns.iter().position(|(column, _)| column == name)).collect();
    if places.len() != key.len() {
        found.differs(|| "a key column has not landed".to_owned());
        return Ok(found);
    }
    let mut landed: HashMap<Vec<Option<String>>, Vec<Option<String>>> = HashMap::with_capacity(rows.len());
    for row in rows {
        let key: Vec<Option<String>> = places.iter().map(|&place| row.get(place).cloned().flatten()).collect();
        if let Some(double) = landed.insert(key.clone(), row) {
            drop(double);
            found.differs(|| format!("{}: landed twice", named(&key)));
        }
    }
    for row in truth {
        let key: Vec<Option<String>> = key.iter().map(|column| row.text(column)).collect();
        let Some(cells) = landed.remove(&key) else {
            found.differs(|| format!("{}: has not landed", named(&key)));
            continue;
        };
        for ((column, kind), cell) in columns.iter().zip(cells) {
            found.cells += 1;
            let expected = row.text(column).map(|text| as_landed(&text, kind));
            if expected != cell {
                found.differs(|| format!("{}: {column} differs", named(&key)));
            }
        }
    }
    for key in landed.into_keys() {
        found.differs(|| format!("{}: is not in the source", named(&key)));
    }
    Ok(found)
}

fn named(key: &[Option<String>]) -> String {
    key.iter().map(|part| part.as_deref().unwrap_or("null")).collect::<Vec<_>>().join("/")
}

/// The text of a value as the engine writes a column of this type.
fn as_landed(text: &str, kind: &str) -> String {
    if let Some(facets) = kind.strip_prefix("numeric(").and_then(|rest| rest.strip_suffix(')')) {
        let scale = facets.split_once(',').and_then(|(_, scale)| scale.trim().parse().ok()).unwrap_or(0);
        return with_scale(text, scale);
    }
    if kind == "date" {
        return text.split(['T', ' ']).next().unwrap_or_default().to_owned();
    }
    if kind.starts_with("timestamp") {
        let text = text.trim_end_matches('Z').replacen('T', " ", 1);
        let text = if text.contains(':') { text } else { format!("{text} 00:00:00") };
        return match text.split_once('.') {
            Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole.to_owned(),
            Some((whole, fraction)) => format!("{whole}.{}", fraction.trim_end_matches('0')),
            None => text,
        };
    }
    text.to_owned()
}

/// A decimal with exactly `scale` digits behind the point. One that has more is left as it is, and so matches nothing.
fn with_scale(text: &str, scale: usize) -> String {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > scale {
        return text.to_owned();
    }
    let zero = whole.trim_start_matches('-').bytes().chain(fraction.bytes()).all(|digit| digit == b'0');
    let whole = if zero { whole.trim_start_matches('-') } else { whole };
    if scale == 0 { whole.to_owned() } else { format!("{whole}.{fraction:0<scale$}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_engine_writes_them() {
        for (text, kind, landed) in [
            ("12.5", "numeric(18,3)", "12.500"),
            ("-0.10", "numeric(18,2)", "-0.10"),
            ("-0.000", "numeric(18,2)", "0.00"),
            ("7", "numeric(18,0)", "7"),
            ("1.2345", "numeric(18,3)", "1.2345"),
            ("2024-05-22T00:00:00", "date", "2024-05-22"),
            ("2024-05-22T08:00:00.500", "timestamp", "2024-05-22 08:00:00.5"),
            ("2024-05-22T08:00:00Z", "timestamp without time zone", "2024-05-22 08:00:00"),
            ("2024-05-22", "timestamp", "2024-05-22 00:00:00"),
            ("1.50", "text", "1.50"),
        ] {
            assert_eq!(as_landed(text, kind), landed, "{text} as {kind}");
        }
    }

    #[test]
    fn rows_that_are_missing_do_not_match() {
        let mut found = Comparison { source_rows: 2, landed_rows: 1, ..Comparison::default() };
        assert!(!found.matches());
        found.landed_rows = 2;
        assert!(found.matches());
        found.differs(|| "x".to_owned());
        assert!(!found.matches());
    }
}
