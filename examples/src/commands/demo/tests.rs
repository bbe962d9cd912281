//! The comparison of the demo, against extracts of the vendor's own engine: it must find what is wrong, or it proves nothing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use kinetic_tableau_sync::hyper::{Engine, ExtractWriter, InstallOptions, find_or_install};
use kinetic_tableau_sync::{Batch, Column, ColumnData, ColumnType, Schema, TextColumn, Values};

use super::compare::{Comparison, TrueRow, compare};

type Truth = HashMap<&'static str, &'static str>;

impl TrueRow for Truth {
    fn text(&self, column: &str) -> Option<String> {
        self.get(column).map(ToString::to_string)
    }
}

fn schema() -> Arc<Schema> {
    let kinds = [
        ("Name", ColumnType::Text, false),
        ("Number", ColumnType::Int32, false),
        ("Revision", ColumnType::Int64, true),
        ("Amount", ColumnType::Decimal { precision: 18, scale: 3 }, true),
        ("Wide", ColumnType::Decimal { precision: 38, scale: 10 }, true),
        ("Day", ColumnType::Date, true),
        ("Moment", ColumnType::Timestamp, true),
        ("Flag", ColumnType::Bool, true),
    ];
    let columns = kinds.map(|(name, kind, nullable)| Column {
        name: name.to_owned(),
        source: name.to_owned(),
        kind,
        nullable,
        landed: true,
    });
    Arc::new(Schema {
        columns: columns.into(),
        key: vec![0, 1],
        version: None,
        row_id: None,
        stamp: None,
        stamp_seconds: None,
        dimensions: Vec::new(),
    })
}

/// Two rows: one with a value everywhere, one with nulls.
fn rows() -> Batch {
    let mut names = TextColumn::default();
    names.push("Zoë Ø'Brien 東京 😀").unwrap();
    names.push("").unwrap();
    let full = |values| ColumnData { values, nulls: vec![false, false] };
    let half = |values| ColumnData { values, nulls: vec![false, true] };
    let columns = vec![
        full(Values::Text(names)),
        full(Values::I64(vec![1, -2])),
        half(Values::I64(vec![2_226_299_042, 0])),
        half(Values::I64(vec![-12_500, 0])),
        half(Values::I128(vec![123_456_789_012_345_678_901_234_567, 0])),
        half(Values::I64(vec![-1, 0])),
        half(Values::I64(vec![1_500_000, 0])),
        half(Values::Bool(vec![true, false])),
    ];
    Batch::from_columns(schema(), columns).unwrap()
}

fn truth() -> Vec<Truth> {
    vec![
        HashMap::from([
            ("Name", "Zoë Ø'Brien 東京 😀"),
            ("Number", "1"),
            ("Revision", "2226299042"),
            ("Amount", "-12.5"),
            ("Wide", "12345678901234567.8901234567"),
            ("Day", "1969-12-31T00:00:00"),
            ("Moment", "1970-01-01T00:00:01.500"),
            ("Flag", "true"),
        ]),
        HashMap::from([("Name", ""), ("Number", "-2")]),
    ]
}

async fn engine() -> Engine {
    let location = tokio::task::spawn_blocking(|| find_or_install(&InstallOptions::default())).await.unwrap().unwrap();
    Engine::start(&location).await.unwrap()
}

async fn found(engine: &Engine, extract: &Path, truth: &[Truth]) -> Comparison {
    compare(engine, extract, &["Name", "Number"], truth).await.unwrap()
}

#[tokio::test]
async fn what_is_equal_matches_and_whatever_is_wrong_is_found() {
    let engine = engine().await;
    let directory = tempfile::tempdir().unwrap();
    let extract = directory.path().join("rows.hyper");
    let mut writer = ExtractWriter::create(&engine, &extract, &schema()).await.unwrap();
    writer.insert(&rows()).await.unwrap();
    writer.seal().await.unwrap();

    let equal = found(&engine, &extract, &truth()).await;
    assert!(equal.matches(), "{equal:?}");
    assert_eq!((equal.source_rows, equal.landed_rows, equal.cells), (2, 2, 16));

    for (column, other) in [
        ("Revision", "2226299043"),
        ("Amount", "-12.501"),
        ("Amount", "-12.5001"),
        ("Wide", "12345678901234567.8901234568"),
        ("Day", "1970-01-01"),
        ("Moment", "1970-01-01T00:00:01.501"),
        ("Flag", "false"),
    ] {
        let mut truth = truth();
        truth[0].insert(column, other);
        let wrong = found(&engine, &extract, &truth).await;
        assert_eq!((wrong.differences, wrong.matches()), (1, false), "{column} {other}");
        assert!(wrong.named[0].ends_with(&format!("{column} differs")), "{wrong:?}");
        truth[0].remove(column);
        assert!(!found(&engine, &extract, &truth).await.matches(), "null is not a value");
        truth[0].insert("Number", "7");
        assert_eq!(found(&engine, &extract, &truth).await.differences, 2, "one is missing, one is too many");
    }

    let one = &truth()[..1];
    assert!(!found(&engine, &extract, one).await.matches(), "a row that is gone in the source was not noticed");
}

#[tokio::test]
async fn a_row_that_has_landed_twice_is_found() {
    let engine = engine().await;
    let directory = tempfile::tempdir().unwrap();
    let extract = directory.path().join("rows.hyper");
    let mut writer = ExtractWriter::create(&engine, &extract, &schema()).await.unwrap();
    writer.insert(&rows()).await.unwrap();
    writer.seal().await.unwrap();
    // The writer itself refuses doubled keys, so the engine is asked past it.
    let connection = engine.connect().await.unwrap();
    connection.attach(&extract, "x").await.unwrap();
    connection.run("doubling a row", "INSERT INTO \"x\".\"Extract\".\"Extract\" SELECT * FROM \"x\".\"Extract\".\"Extract\" WHERE \"Number\" = 1").await.unwrap();
    connection.detach("x").await.unwrap();
    let double = found(&engine, &extract, &truth()).await;
    assert!(!double.matches());
    assert_eq!((double.source_rows, double.landed_rows, double.differences), (2, 3, 1));
}
