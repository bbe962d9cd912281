//! Delivery as Parquet: whole tables, which the server turns into extracts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kinetic_tableau_sync::conformance::{self, Ground};
use kinetic_tableau_sync::hyper::{Engine, ExtractReader};
use kinetic_tableau_sync::{
    Batch, Column, ColumnData, ColumnType, Destination, KineticSource, LoadKind, LoadPlan, ParquetDestination, RunId,
    Schema, Syncer, Target, Values,
};
use serde_json::Value as Json;
use tableau_rest::WaitPolicy;

use super::support::{World, accounts, customers, invoices, location, vendors};
use crate::python;

pub(super) fn destination(world: &World) -> ParquetDestination {
    let wait = WaitPolicy::new(Duration::from_secs(30))
        .first_poll(Duration::from_millis(10))
        .longest_poll(Duration::from_millis(40));
    ParquetDestination::new(world.tableau_client(), world.directory.path().join("spool")).wait_policy(wait)
}

/// Rows of an extract, as texts in the form of the suite.
async fn read(file: PathBuf) -> Vec<Vec<Option<String>>> {
    let engine = Engine::start(&location()).await.unwrap();
    let copy = file.with_extension("copy.hyper");
    std::fs::copy(&file, &copy).unwrap();
    let reader = ExtractReader::open(&engine, &copy).await.unwrap();
    let kinds: Vec<String> = reader.columns().iter().map(|column| column.name.clone()).collect();
    let rows = reader.rows_as_text(&[]).await.unwrap();
    reader.close().await.unwrap();
    std::fs::remove_file(copy).unwrap();
    let form = |name: &str, text: String| match name {
        "Moment" => {
            let moment = text.replace(' ', "T");
            if moment.contains('.') {
                let (second, part) = moment.split_once('.').unwrap();
                format!("{second}.{part:0<6}")
            } else {
                format!("{moment}.000000")
            }
        }
        "Open" => (if text.starts_with('t') { "true" } else { "false" }).to_owned(),
        "Ratio" => text.parse::<f64>().unwrap().to_string(),
        _ => text,
    };
    rows.into_iter()
        .map(|row| row.into_iter().zip(&kinds).map(|(text, name)| text.map(|text| form(name, text))).collect())
        .collect()
}

/// How rows get to the simulated Tableau.
struct Place {
    world: World,
    as_parquet: bool,
}

#[async_trait]
impl Ground for Place {
    async fn destination(&self) -> Arc<dyn Destination> {
        if self.as_parquet { Arc::new(destination(&self.world)) } else { Arc::new(self.world.destination()) }
    }

    async fn rows(&self, target: &Target) -> Vec<Vec<Option<String>>> {
        read(self.world.tableau.landed_file(&target.project, &target.datasource).unwrap()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_to_tableau_keep_what_every_destination_promises() {
    for as_parquet in [true, false] {
        let place = Place { world: World::new().await, as_parquet };
        let target = Target { project: "Finance".to_owned(), datasource: "All kinds".to_owned() };
        conformance::destination(&place, target).await;
        let left = std::fs::read_dir(place.world.directory.path().join("spool/conformance")).unwrap();
        assert!(left.count() <= 1, "what was given up is cleared away");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_tables_land_equal_to_the_source_and_only_when_something_has_changed() {
    let world = World::new().await;
    let syncer = || {
        let source = KineticSource::new(world.kinetic_client());
        Syncer::builder(Arc::new(source), Arc::new(destination(&world)), Arc::clone(&world.store)).build()
    };
    for spec in [vendors(), invoices(), accounts(), customers()] {
        let run = syncer().run(&spec).await.unwrap();
        assert_eq!(run.kind, Some(LoadKind::Full), "{}", spec.id);
        world.assert_landed(&spec).await;
        let before = published_so_far(&world);
        let run = syncer().run(&spec).await.unwrap();
        assert_eq!((run.counts.inserted, run.counts.updated), (0, 0), "{}", spec.id);
        assert_eq!(published_so_far(&world), before, "nothing is published");
    }
    let before = published_so_far(&world);
    world.kinetic.random_changes("Vendors", 7, 3);
    let run = syncer().run(&vendors()).await.unwrap();
    assert_eq!(run.kind, Some(LoadKind::Full), "a change makes a full load");
    assert_eq!(published_so_far(&world), before + 1);
    world.assert_landed(&vendors()).await;
    // Deletes are found by a comparison, as ever.
    let key = world.kinetic.rows("Vendors").first().map(|row| [row.get("VendorNum").unwrap().clone()]).unwrap();
    assert!(world.kinetic.database().delete("Vendors", &key));
    syncer().reconcile(&vendors()).await.unwrap();
    world.assert_landed(&vendors()).await;
    assert!(world.audited(&vendors()).await > 0);
}

fn published_so_far(world: &World) -> usize {
    world.tableau.faults().count("overwrite=true")
}

const COLUMNS: [(&str, ColumnType); 9] = [
    ("ID", ColumnType::Int64),
    ("Small", ColumnType::Int16),
    ("Text", ColumnType::Text),
    ("Price", ColumnType::Decimal { precision: 9, scale: 2 }),
    ("Sum", ColumnType::Decimal { precision: 18, scale: 4 }),
    ("Wide", ColumnType::Decimal { precision: 38, scale: 10 }),
    ("Day", ColumnType::Date),
    ("Moment", ColumnType::Timestamp),
    ("Open", ColumnType::Bool),
];

/// Rows of which every seventh is null wherever it may be.
fn batch(schema: &Arc<Schema>, ids: std::ops::Range<i64>, times: i64) -> Batch {
    let columns = schema.columns.iter().map(|column| {
        let mut data = ColumnData::for_type(column.kind);
        for id in ids.clone() {
            if id % 7 == 0 && column.name != "ID" {
                data.push_null();
                continue;
            }
            let sign = if id % 2 == 0 { 1 } else { -1 };
            match &mut data.values {
                Values::Text(texts) => texts.push(&format!("Łódź {id} × {times}")).unwrap(),
                Values::Bool(values) => values.push(id % 2 == 0),
                Values::I64(values) => values.push(match column.name.as_str() {
                    "ID" => id,
                    "Small" => id % 30_000 * sign,
                    "Price" => (999_999_999 - id) * sign,
                    "Sum" => (999_999_999_999_999_999 - id) * sign,
                    "Day" => id % 20_000,
                    _ => id * 86_400_000_001,
                }),
                Values::I128(values) => values.push((10_i128.pow(38) - 1 - i128::from(id)) * i128::from(sign)),
                _ => unreachable!("no column of this form"),
            }
            data.nulls.push(false);
        }
        data
    });
    Batch::from_columns(Arc::clone(schema), columns.collect()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_reader_finds_every_type_null_and_replaced_row() {
    let world = World::new().await;
    let column = |(name, kind): (&str, ColumnType)| Column {
        name: name.to_owned(),
        source: name.to_owned(),
        kind,
        nullable: name != "ID",
        landed: true,
    };
    let (version, row_id, stamp, stamp_seconds, dimensions) = (None, None, None, None, Vec::new());
    let columns = COLUMNS.into_iter().map(column).collect();
    let schema = Arc::new(Schema { columns, key: vec![0], version, row_id, stamp, stamp_seconds, dimensions });
    let run = RunId::random();
    let plan = LoadPlan {
        dataset: "all".into(),
        request_id: run.to_string(),
        run,
        kind: LoadKind::Full,
        schema: Arc::clone(&schema),
        target: Target { project: "Finance".to_owned(), datasource: "All".to_owned() },
        target_id: None,
    };
    let mut load = destination(&world).begin(&plan).await.unwrap();
    // Several row groups, and replaced rows in all of them and in what waits.
    for start in (0..150_000).step_by(10_000) {
        load.insert(&batch(&schema, start..start + 10_000, 1)).await.unwrap();
    }
    assert_eq!(load.upsert(&batch(&schema, 65_000..66_000, 2)).await.unwrap(), 1_000);
    assert_eq!(load.upsert(&batch(&schema, 149_990..150_010, 2)).await.unwrap(), 10);
    assert_eq!(load.upsert(&batch(&schema, 65_500..65_510, 3)).await.unwrap(), 10);
    let staged = load.seal().await.unwrap();
    assert_eq!(staged.rows, 150_010);
    let found = with_pyarrow(&staged.path);
    assert_eq!(found["rows"], 150_010);
    assert_eq!(
        found["schema"],
        serde_json::json!([
            "ID int64 required",
            "Small int16",
            "Text string",
            "Price decimal128(9, 2)",
            "Sum decimal128(18, 4)",
            "Wide decimal128(38, 10)",
            "Day date32[day]",
            "Moment timestamp[us]",
            "Open bool",
        ])
    );
    assert!(found["groups"].as_u64().unwrap() > 2, "{found}");
    assert_eq!(found["nulls"], 150_010_u64.div_ceil(7));
    let times = |which: &str| found["times"][which].as_u64().unwrap();
    assert_eq!(times("1") + times("2") + times("3") + found["nulls"].as_u64().unwrap(), 150_010);
    assert_eq!(
        (times("3"), found["first"].clone()),
        (
            (65_500..65_510).filter(|id| id % 7 != 0).count() as u64,
            serde_json::json!([
                "1",
                "-1",
                "Łódź 1 × 1",
                "-9999999.98",
                "-99999999999999.9998",
                "-9999999999999999999999999999.9999999998",
                "1970-01-02",
                "1970-01-02 00:00:00.000001",
                "False"
            ]),
        )
    );
}

/// What pyarrow finds in a file.
fn with_pyarrow(path: &Path) -> Json {
    let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vendor/parquet.txt");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vendor/read_parquet.py");
    let python = python::made("python-for-parquet", requirements).join("python");
    let ran = Command::new(python).arg(script).arg(path).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}
