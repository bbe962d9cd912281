//! Changes found by a stamp.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use kinetic_tableau_sync::{Cursor, DatasetSpec, KineticSource, Source as _, SourceObject, Target, Track, Window};
use simulators::kinetic::{KineticSim, Seed, Value};

async fn customers() -> KineticSim {
    let sim = KineticSim::builder().start().await.unwrap();
    sim.seed(Seed { vendors: 2, ap_invoices: 2, purchase_orders: 2, customers: 12, ..Seed::default() });
    sim
}

fn source(sim: &KineticSim) -> KineticSource {
    let client = epicor_kinetic::Client::builder(sim.url()).company("EPIC06").api_key(sim.api_key());
    KineticSource::new(client.basic(sim.user(), sim.password()).build().unwrap())
}

fn spec(page_size: u32) -> DatasetSpec {
    let object = SourceObject::EntitySet { service: "Erp.BO.CustomerSvc".to_owned(), set: "Customers".to_owned() };
    let target = Target { project: "P".to_owned(), datasource: "D".to_owned() };
    let mut spec = DatasetSpec::new("c", object, ["CustNum", "Name"], target);
    spec.track = Track::date_and_time("ChangeDate", "ChangeTime");
    spec.page_size = page_size;
    spec
}

/// The numbers of the rows that a window yields, each once, in their order.
async fn read(source: &KineticSource, spec: &DatasetSpec, window: Window) -> Vec<i64> {
    let schema = Arc::new(source.schema(spec).await.unwrap());
    let at = schema.columns.iter().position(|column| column.source == "CustNum").unwrap();
    let batches: Vec<_> = source.read(spec, schema, window).try_collect().await.unwrap();
    let mut numbers: Vec<i64> = batches
        .iter()
        .flat_map(|batch| (0..batch.rows()).map(|row| batch.column(at).unwrap().i64_at(row).unwrap()))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[tokio::test]
async fn a_row_without_seconds_stops_no_page() {
    let sim = customers().await;
    // Each row on a day of its own; some have no time, or one that no day has.
    let day = sim.database().now();
    for number in 0..12_i64 {
        let time = match number % 4 {
            1 => Value::Null,
            2 => Value::Int(86_400 + number),
            3 => Value::Int(-1),
            _ => Value::Int(number),
        };
        let date = Value::Date(day.date() + chrono::Duration::days(number / 2));
        sim.database()
            .write_silently("Customers", [("CustNum", number.into()), ("ChangeDate", date), ("ChangeTime", time)]);
    }
    let source = source(&sim);
    for page_size in [1, 2, 5, 100] {
        let spec = spec(page_size);
        let schema = source.schema(&spec).await.unwrap();
        let through = source.head(&spec, &schema).await.unwrap().unwrap();
        let after = format!("{}T00:00:00 0", (day - Duration::from_hours(48)).date());
        let window = Window { after: Some(Cursor::new(after)), overlap: true, through };
        assert_eq!(read(&source, &spec, window).await, (0..12).collect::<Vec<i64>>(), "pages of {page_size}");
    }
}
