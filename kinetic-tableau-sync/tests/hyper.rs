//! Extracts written by the vendor's engine and read back by it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kinetic_tableau_sync::decode::PageDecoder;
use kinetic_tableau_sync::hyper::{
    Engine, EngineLocation, ExtractReader, ExtractWriter, FileVersion, HyperErrorKind, InstallOptions, find_or_install,
};
use kinetic_tableau_sync::{Batch, Column, ColumnType, Schema};
use tempfile::TempDir;

/// The engine of this machine, fetched when it is not there.
fn location() -> EngineLocation {
    find_or_install(&InstallOptions::default()).expect("the extract engine is needed for this test")
}

async fn engine() -> Engine {
    Engine::start(&location()).await.unwrap()
}

fn schema(columns: &[(&str, ColumnType)], keys: usize) -> Arc<Schema> {
    let columns = columns
        .iter()
        .enumerate()
        .map(|(at, (name, kind))| Column {
            name: (*name).to_owned(),
            source: (*name).to_owned(),
            kind: *kind,
            nullable: at >= keys,
            landed: true,
        })
        .collect();
    Arc::new(Schema {
        columns,
        key: (0..keys).collect(),
        version: None,
        row_id: None,
        stamp: None,
        stamp_seconds: None,
        dimensions: Vec::new(),
    })
}

fn decimal(precision: u8, scale: u8) -> ColumnType {
    ColumnType::Decimal { precision, scale }
}

fn batch(schema: &Arc<Schema>, rows: &str) -> Batch {
    PageDecoder::new(Arc::clone(schema)).decode(format!("{{\"value\":[{rows}]}}").as_bytes()).unwrap().batch
}

fn vendors() -> Arc<Schema> {
    schema(&[("Company", ColumnType::Text), ("Num", ColumnType::Int32), ("Name", ColumnType::Text)], 2)
}

fn vendor(num: i32, name: &str) -> String {
    format!(r#"{{"Company":"E1","Num":{num},"Name":"{name}"}}"#)
}

fn vendor_rows(from: i32, to: i32, name: &str) -> String {
    (from..=to).map(|num| vendor(num, name)).collect::<Vec<_>>().join(",")
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("x.hyper")
}

async fn texts(engine: &Engine, path: &Path, order: &str) -> Vec<Vec<Option<String>>> {
    let reader = ExtractReader::open(engine, path).await.unwrap();
    let rows = reader.rows_as_text(&[order]).await.unwrap();
    reader.close().await.unwrap();
    rows
}

#[tokio::test]
async fn every_type_comes_back_as_it_went_in() {
    let schema = schema(
        &[
            ("Id", ColumnType::Int64),
            ("T", ColumnType::Text),
            ("B", ColumnType::Bool),
            ("S", ColumnType::Int16),
            ("I", ColumnType::Int32),
            ("F", ColumnType::Double),
            ("D18", decimal(18, 4)),
            ("D38", decimal(38, 10)),
            ("Day", ColumnType::Date),
            ("At", ColumnType::Timestamp),
            ("Quoted \"name\"", ColumnType::Text),
        ],
        1,
    );
    let rows = [
        r#"{"Id":1,"T":"Größe 東京 🚚 e\u0301\t\n'\"","B":true,"S":-32768,"I":-2147483648,"F":-1.5,"D18":-0.0001,"D38":-0.05,
            "Day":"0001-01-01","At":"0001-01-01T00:00:00","Quoted \"name\"":"x"}"#,
        r#"{"Id":2,"T":"","B":false,"S":32767,"I":2147483647,"F":1e300,"D18":99999999999999.9999,
            "D38":9999999999999999999999999999.9999999999,"Day":"9999-12-31","At":"9999-12-31T23:59:59.999999",
            "Quoted \"name\"":""}"#,
        r#"{"Id":9223372036854775807,"T":null,"B":null,"S":null,"I":null,"F":null,"D18":null,"D38":null,"Day":null,"At":null,
            "Quoted \"name\"":null}"#,
        r#"{"Id":4,"T":" nul:\u0000: trailing  ","B":true,"S":0,"I":0,"F":0,"D18":-99999999999999.9999,
            "D38":-9999999999999999999999999999.9999999999,"Day":"2024-02-29","At":"2024-05-22T23:30:00.5-05:00",
            "Quoted \"name\"":"y"}"#,
    ];
    let (engine, directory) = (engine().await, tempfile::tempdir().unwrap());
    let mut writer = ExtractWriter::create(&engine, file(&directory), &schema).await.unwrap();
    writer.insert(&batch(&schema, &rows.join(","))).await.unwrap();
    let staged = writer.seal().await.unwrap();
    assert_eq!((staged.rows, staged.bytes), (4, std::fs::metadata(&staged.path).unwrap().len()));

    let some = |text: &str| Some(text.to_owned());
    let found = texts(&engine, &staged.path, "Id").await;
    let expected = [
        vec![
            "1",
            "Größe 東京 🚚 e\u{301}\t\n'\"",
            "true",
            "-32768",
            "-2147483648",
            "-1.5",
            "-0.0001",
            "-0.0500000000",
            "0001-01-01",
            "0001-01-01 00:00:00",
            "x",
        ],
        vec![
            "2",
            "",
            "false",
            "32767",
            "2147483647",
            "1e+300",
            "99999999999999.9999",
            "9999999999999999999999999999.9999999999",
            "9999-12-31",
            "9999-12-31 23:59:59.999999",
            "",
        ],
        vec![
            "4",
            " nul:\0: trailing  ",
            "true",
            "0",
            "0",
            "0",
            "-99999999999999.9999",
            "-9999999999999999999999999999.9999999999",
            "2024-02-29",
            "2024-05-23 04:30:00.5",
            "y",
        ],
    ];
    for (row, wanted) in found.iter().zip(&expected) {
        assert_eq!(row, &wanted.iter().map(|text| some(text)).collect::<Vec<_>>());
    }
    assert_eq!(found[3][0], some("9223372036854775807"));
    assert!(found[3][1..].iter().all(Option::is_none), "null and \"\" stay different");

    let reader = ExtractReader::open(&engine, &staged.path).await.unwrap();
    let columns: Vec<_> =
        reader.columns().iter().map(|column| (column.name.as_str(), column.kind.as_str(), column.nullable)).collect();
    assert_eq!(columns[0], ("Id", "bigint", false), "the key is not null");
    assert_eq!(columns[7], ("D38", "numeric(38,10)", true));
    assert_eq!(columns[10].0, "Quoted \"name\"");
    assert_eq!(reader.row_count().await.unwrap(), 4);
}

#[tokio::test]
async fn an_upsert_replaces_by_key_and_adds_the_rest() {
    let (schema, engine, directory) = (vendors(), engine().await, tempfile::tempdir().unwrap());
    let mut writer = ExtractWriter::create(&engine, file(&directory), &schema).await.unwrap();
    writer.insert(&batch(&schema, &vendor_rows(1, 5, "old"))).await.unwrap();
    assert_eq!(writer.upsert(&batch(&schema, &vendor_rows(4, 8, "new"))).await.unwrap(), 2);
    assert_eq!(writer.upsert(&batch(&schema, &vendor_rows(8, 8, "newest"))).await.unwrap(), 1);
    writer.insert(&batch(&schema, &vendor_rows(9, 9, "last"))).await.unwrap();
    let staged = writer.seal().await.unwrap();
    assert_eq!(staged.rows, 9);
    let names: Vec<_> =
        texts(&engine, &staged.path, "Num").await.into_iter().map(|row| row[2].clone().unwrap()).collect();
    assert_eq!(names, ["old", "old", "old", "new", "new", "new", "new", "newest", "last"]);
}

#[tokio::test]
async fn many_batches_larger_than_a_piece_arrive_whole() {
    let (schema, engine, directory) = (vendors(), engine().await, tempfile::tempdir().unwrap());
    let mut writer = ExtractWriter::create(&engine, file(&directory), &schema).await.unwrap();
    let long = "x".repeat(3_000);
    for nth in 0..4 {
        writer.insert(&batch(&schema, &vendor_rows(nth * 500 + 1, nth * 500 + 500, &long))).await.unwrap();
    }
    let staged = writer.seal().await.unwrap();
    let rows = texts(&engine, &staged.path, "Num").await;
    assert_eq!(rows.len(), 2_000);
    assert!(rows.iter().all(|row| row[2].as_deref() == Some(long.as_str())));
}

#[tokio::test]
async fn an_empty_extract_has_its_columns() {
    let (schema, engine, directory) = (vendors(), engine().await, tempfile::tempdir().unwrap());
    let staged = ExtractWriter::create(&engine, file(&directory), &schema).await.unwrap().seal().await.unwrap();
    assert_eq!(staged.rows, 0);
    let reader = ExtractReader::open(&engine, &staged.path).await.unwrap();
    assert_eq!(reader.columns().len(), 3);
}

#[tokio::test]
async fn a_doubled_key_is_refused_and_leaves_no_file() {
    let (schema, engine, directory) = (vendors(), engine().await, tempfile::tempdir().unwrap());
    let mut writer = ExtractWriter::create(&engine, file(&directory), &schema).await.unwrap();
    writer.insert(&batch(&schema, &vendor_rows(1, 5, "a"))).await.unwrap();
    writer.insert(&batch(&schema, &vendor_rows(5, 6, "b"))).await.unwrap();
    let error = writer.seal().await.unwrap_err();
    assert_eq!(error.kind(), HyperErrorKind::DuplicateKey);
    assert!(error.to_string().contains("Company, Num") && error.hint().is_some(), "{error}");
    assert!(!file(&directory).exists());
}

#[tokio::test]
async fn a_writer_that_is_dropped_or_aborted_leaves_no_file() {
    let (schema, engine, directory) = (vendors(), engine().await, tempfile::tempdir().unwrap());
    for abort in [true, false] {
        let mut writer = ExtractWriter::create(&engine, file(&directory), &schema).await.unwrap();
        writer.insert(&batch(&schema, &vendor_rows(1, 5, "a"))).await.unwrap();
        assert!(file(&directory).exists());
        if abort {
            writer.abort().await.unwrap();
        } else {
            drop(writer);
        }
        assert!(!file(&directory).exists(), "abort: {abort}");
    }
    // The engine is none the worse for it.
    let mut writer = ExtractWriter::create(&engine, file(&directory), &schema).await.unwrap();
    writer.insert(&batch(&schema, &vendor_rows(1, 5, "a"))).await.unwrap();
    assert_eq!(writer.seal().await.unwrap().rows, 5);
}

#[cfg(unix)]
fn kill(engine: &Engine) {
    let id = engine.process_id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-9", &id]).status().unwrap().success());
}

#[cfg(unix)]
#[tokio::test]
async fn the_death_of_the_engine_before_the_seal_leaves_nothing_and_after_it_everything() {
    let (schema, directory) = (vendors(), tempfile::tempdir().unwrap());
    let first = engine().await;
    let mut writer = ExtractWriter::create(&first, file(&directory), &schema).await.unwrap();
    writer.insert(&batch(&schema, &vendor_rows(1, 5, "a"))).await.unwrap();
    kill(&first);
    let error = writer.seal().await.unwrap_err();
    assert_eq!(error.kind(), HyperErrorKind::Connection, "{error}");
    assert!(error.hint().is_some());
    assert!(!file(&directory).exists());

    let second = engine().await;
    let mut writer = ExtractWriter::create(&second, file(&directory), &schema).await.unwrap();
    writer.insert(&batch(&schema, &vendor_rows(1, 5, "a"))).await.unwrap();
    let staged = writer.seal().await.unwrap();
    kill(&second);
    assert_eq!(texts(&engine().await, &staged.path, "Num").await.len(), 5);
}

#[cfg(unix)]
#[tokio::test]
async fn an_engine_that_does_not_start_is_reported_at_once_in_its_own_words() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let fake = directory.path().join("hyperd");
    std::fs::write(&fake, "#!/bin/sh\necho 'licence of the moon has run out' >&2\nexit 7\n").unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let began = std::time::Instant::now();
    let error = Engine::start(&EngineLocation::at(&fake).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), HyperErrorKind::Start);
    assert!(error.to_string().contains("licence of the moon has run out"), "{error}");
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = Engine::start(&EngineLocation::at(&fake).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), HyperErrorKind::Start);
}

#[tokio::test]
async fn a_stopped_or_dropped_engine_is_gone_and_leaves_no_litter() {
    let engine = engine().await;
    let id = engine.process_id().unwrap();
    engine.connect().await.unwrap().client().simple_query("SELECT 1").await.unwrap();
    engine.stop().await.unwrap();
    #[cfg(target_os = "linux")]
    assert!(!Path::new(&format!("/proc/{id}")).exists());
    assert!(!Path::new("hyperd.log").exists());
    let _ = id;
}

#[tokio::test]
async fn a_file_that_another_engine_has_open_is_waited_for() {
    let (schema, one, other) = (vendors(), engine().await, engine().await);
    let directory = tempfile::tempdir().unwrap();
    let mut writer = ExtractWriter::create(&one, file(&directory), &schema).await.unwrap();
    writer.insert(&batch(&schema, &vendor_rows(1, 5, "a"))).await.unwrap();
    let staged = writer.seal().await.unwrap();
    let held = ExtractReader::open(&one, &staged.path).await.unwrap();
    let (waited, ()) = tokio::join!(ExtractReader::open(&other, &staged.path), async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        held.close().await.unwrap();
    });
    assert_eq!(waited.unwrap().row_count().await.unwrap(), 5);
}

#[test]
fn the_oldest_file_version_that_can_hold_the_columns_is_written() {
    assert_eq!(FileVersion::for_schema(&schema(&[("K", ColumnType::Text), ("A", decimal(18, 4))], 1)), FileVersion::V2);
    assert_eq!(FileVersion::for_schema(&schema(&[("K", ColumnType::Text), ("A", decimal(19, 4))], 1)), FileVersion::V3);
}
