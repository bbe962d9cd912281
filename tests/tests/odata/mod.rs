//! What our client writes is OData, and not only what our own simulator takes for it: SAP's CAP, a server that nobody here wrote, gets
//! the same rows and the same queries, and must answer as the simulated Kinetic does.

mod model;
mod server;

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate};
use epicor_kinetic::{Client, EntitySet, ErrorKind, Filter, KeysetColumns, Literal, Order, Query, field};
use futures_util::TryStreamExt;
use serde_json::Value;
use simulators::kinetic::{KineticSim, Seed};

use self::server::Server;

/// Both servers with the same rows.
struct Pair {
    kinetic: Client,
    other: Client,
    _sim: KineticSim,
    _server: Server,
}

async fn pair() -> Pair {
    let sim = KineticSim::builder().start().await.unwrap();
    sim.seed(Seed { vendors: 60, ap_invoices: 230, parts: 60, ..Seed::default() });
    // What the seed does not have: signs that addresses, patterns and blanks make trouble with.
    for (number, name) in (2_000..).zip(["%20 off", "a+b & c=d #1?", "  nobody  ", "Kette GmbH", "''", "x/y\\z"]) {
        let columns = [("VendorNum", i64::from(number).into()), ("Name", name.into()), ("City", "Zürich".into())];
        sim.database().write("Vendors", columns);
    }
    let client = |root: &str| {
        Client::builder(root)
            .company("EPIC06")
            .api_key(sim.api_key())
            .basic(sim.user(), sim.password())
            .build()
            .unwrap()
    };
    let kinetic = client(sim.url());
    let (model, rows) = model::of(&kinetic).await;
    let server = tokio::task::spawn_blocking(move || Server::start(&model, &rows)).await.unwrap();
    let other = client(&format!("{}/inst", server.address()));
    if let Err(error) = other.service_document("Erp.BO.VendorSvc").await {
        panic!("{error}\n{}", server.log());
    }
    Pair { kinetic, other, _sim: sim, _server: server }
}

/// What stands in some columns of each row, sorted: what two servers must agree on.
fn seen(rows: &[Value], columns: &[&str]) -> BTreeSet<String> {
    let cell = |value: &Value| match value.as_f64() {
        // 0 and 0.0 are the same.
        Some(number) => number.to_string(),
        None => value.to_string(),
    };
    let row = |row: &Value| columns.iter().map(|column| cell(&row[column])).collect::<Vec<_>>().join("|");
    rows.iter().map(row).collect()
}

async fn read(query: Query) -> Vec<Value> {
    let address = query.url().unwrap();
    query.stream().try_collect().await.unwrap_or_else(|error| panic!("{address}: {error}"))
}

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

/// Filters on vendors.
fn on_vendors(middle: i64) -> Vec<Filter> {
    let name = || field("Name");
    let number = || field("VendorNum");
    vec![
        number().eq(1_004),
        number().ne(1_004),
        number().gt(1_010).and(number().le(1_020)),
        number().lt(1_005).or(number().ge(1_050)),
        number().lt(1_005).or(number().ge(1_050)).not(),
        number().in_([1_001, 1_002, 9_999]),
        number().in_list([1_001, 1_002, 9_999]),
        field("VendorID").in_list(["V1003", "V'1"]),
        field("Inactive").eq(false),
        field("Inactive").ne(true).and(number().gt(1_030)),
        name().eq("x/y\\z"),
        name().eq("''"),
        name().eq("a+b & c=d #1?"),
        name().contains("O'Hara"),
        name().contains("O'Hara").not(),
        name().contains("&"),
        name().contains("東京部品"),
        name().contains("🚚"),
        name().contains("\\"),
        name().contains("\""),
        name().contains("+").not(),
        name().startswith("Müller & S"),
        name().startswith("%").not(),
        name().endswith("GmbH").not(),
        name().tolower().contains("plain"),
        name().toupper().startswith("PLAIN"),
        name().trim().eq("nobody").not(),
        name().length().gt(20),
        field("City").eq("Austin").or(field("City").eq("").and(number().gt(1_020))),
        field("City").eq("Austin").and(number().gt(1_020).or(number().lt(1_010))),
        field("CurrencyCode").in_(["EUR", "JPY"]).and(field("PayHold").eq(false)),
        field("SysRevID").gt(middle).and(field("SysRevID").lt(9_007_199_254_740_993_i64)),
    ]
}

fn on_invoices() -> Vec<Filter> {
    let date = || field("InvoiceDate");
    let decimal = |text: &str| Literal::decimal(text).unwrap();
    vec![
        date().eq(day(2024, 3, 1)).not().and(date().is_not_null()),
        date().is_null(),
        date().is_not_null(),
        date().ge(day(2025, 1, 1)),
        date().lt(day(2025, 1, 1)).and(date().gt(day(1, 1, 1))),
        date().year().eq(2025),
        date().month().in_([3, 4, 5]),
        date().day().le(10),
        field("InvoiceAmt").gt(decimal("1000.500")),
        field("InvoiceAmt").lt(0).and(field("InvoiceAmt").gt(decimal("-123456.789"))),
        field("InvoiceAmt").ge(decimal("-0.005")).and(field("InvoiceAmt").le(decimal("0.005"))),
        field("OpenPayable").eq(true).and(field("VendorNum").in_([1_001, 1_002, 1_003])),
    ]
}

#[tokio::test]
async fn filters_mean_the_same_to_a_server_of_others() {
    let pair = pair().await;
    let revisions = read(pair.kinetic.entity_set(EntitySet::VENDORS).select(["SysRevID"])).await;
    let middle = revisions[revisions.len() / 2]["SysRevID"].as_i64().unwrap();
    for (set, columns, filters) in [
        (EntitySet::VENDORS, ["VendorNum", "Name"].as_slice(), on_vendors(middle)),
        (EntitySet::AP_INVOICES, ["VendorNum", "InvoiceNum", "InvoiceAmt"].as_slice(), on_invoices()),
    ] {
        let all = read(pair.other.entity_set(set.clone()).select(columns.iter().copied())).await.len();
        let mut blunt = Vec::new();
        for filter in &filters {
            let ask = |client: &Client| {
                read(client.entity_set(set.clone()).select(columns.iter().copied()).filter(filter.clone()))
            };
            let (ours, theirs) = (ask(&pair.kinetic).await, ask(&pair.other).await);
            let text = filter.to_odata().unwrap();
            assert_eq!(seen(&ours, columns), seen(&theirs, columns), "{text}");
            assert_eq!(ours.len(), theirs.len(), "{text}");
            // A filter that keeps all or nothing on both sides proves little.
            if ours.is_empty() || ours.len() == all {
                blunt.push(text);
            }
        }
        assert!(blunt.is_empty(), "these cut nothing: {blunt:#?}");
    }
}

#[tokio::test]
async fn every_row_comes_once_from_a_server_of_others() {
    let pair = pair().await;
    let invoices = || pair.other.entity_set(EntitySet::AP_INVOICES).select(["VendorNum", "InvoiceNum", "SysRevID"]);
    let there = read(pair.kinetic.entity_set(EntitySet::AP_INVOICES)).await;
    let columns = ["VendorNum", "InvoiceNum"];
    let all = seen(&there, &columns);
    assert_eq!(all.len(), 230);

    for size in [1, 7, 100, 230, 1_000] {
        let by_offset = invoices().order_by("SysRevID", Order::Ascending).page_size(size);
        let by_offset = read(by_offset).await;
        assert_eq!((by_offset.len(), seen(&by_offset, &columns)), (230, all.clone()), "by offset, {size} a page");

        let keys = KeysetColumns::new().integer("VendorNum").integer("SysRevID");
        let mut by_key = invoices().page_size(size).keyset(keys);
        let mut found = Vec::new();
        while let Some(page) = by_key.next_page::<Value>().await.unwrap() {
            // Stopped and resumed after each page.
            let left = serde_json::to_string(&by_key.continuation()).unwrap();
            let keys = KeysetColumns::new().integer("VendorNum").integer("SysRevID");
            by_key = invoices().page_size(size).keyset(keys).resume(serde_json::from_str(&left).unwrap()).unwrap();
            found.extend(page.items);
        }
        assert_eq!((found.len(), seen(&found, &columns)), (230, all.clone()), "by key, {size} a page");
    }

    // Keys that are text and guids.
    let parts = pair.other.entity_set(EntitySet::PARTS).page_size(7).keyset(KeysetColumns::new().string("PartNum"));
    let parts: Vec<Value> = parts.into_stream().try_collect().await.unwrap();
    let there = read(pair.kinetic.entity_set(EntitySet::PARTS)).await;
    assert_eq!((parts.len(), seen(&parts, &["PartNum"])), (60, seen(&there, &["PartNum"])));
    let accounts = pair.other.entity_set(EntitySet::GL_ACCOUNTS).page_size(7);
    let accounts: Vec<Value> =
        accounts.keyset(KeysetColumns::new().guid("SysRowID")).into_stream().try_collect().await.unwrap();
    assert_eq!(accounts.len(), 60);

    let counted = invoices().filter(field("VendorNum").gt(1_030)).count().top(1).send::<Value>().await.unwrap();
    let expected = read(invoices().filter(field("VendorNum").gt(1_030))).await.len();
    assert_eq!(counted.count, Some(expected.try_into().unwrap()));
    let descending =
        read(invoices().order_by("VendorNum", Order::Descending).order_by("InvoiceNum", Order::Ascending)).await;
    let order: Vec<i64> = descending.iter().map(|row| row["VendorNum"].as_i64().unwrap()).collect();
    assert!(order.is_sorted_by(|one, two| one >= two) && order.first() != order.last());
    let skipped = invoices().order_by("SysRevID", Order::Ascending).skip(3).top(2).send::<Value>().await.unwrap();
    let whole = read(invoices().order_by("SysRevID", Order::Ascending)).await;
    assert_eq!(skipped.items, whole[3..5]);
}

#[tokio::test]
async fn keys_lists_lines_and_moments_are_understood_by_a_server_of_others() {
    let pair = pair().await;
    // Keys of each type, with signs that have a meaning in addresses.
    let parts = read(pair.kinetic.entity_set(EntitySet::PARTS).select(["PartNum"])).await;
    for part in &parts {
        let number = part["PartNum"].as_str().unwrap();
        let row: Value = pair
            .other
            .entity_set(EntitySet::PARTS.with_keys(["PartNum"]))
            .get([number.into()])
            .await
            .unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(row["PartNum"].as_str(), Some(number));
    }
    assert!(
        ["/", "'", "%", " "]
            .iter()
            .all(|sign| parts.iter().any(|part| part["PartNum"].as_str().unwrap().contains(sign)))
    );
    let accounts = EntitySet::GL_ACCOUNTS.with_keys(["SysRowID"]);
    let first = read(pair.other.entity_set(accounts.clone()).select(["SysRowID", "GLAccount1"])).await.remove(0);
    let guid = Literal::guid(first["SysRowID"].as_str().unwrap()).unwrap();
    let row: Value = pair.other.entity_set(accounts).select(["SysRowID", "GLAccount1"]).get([guid]).await.unwrap();
    assert_eq!(row["GLAccount1"], first["GLAccount1"]);
    let customers = EntitySet::CUSTOMERS.with_keys(["CustNum"]);
    let row: Value = pair.other.entity_set(customers.clone()).get([7.into()]).await.unwrap();
    assert_eq!(row["CustNum"], 7);
    let missing = pair.other.entity_set(customers).get::<Value>([70_000.into()]).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);

    // A list too long for one address.
    let numbers: Vec<i64> = (1_000..1_060).chain(5_000..7_000).collect();
    let vendors = pair.other.entity_set(EntitySet::VENDORS).select(["VendorNum"]);
    let batches = vendors.batches("VendorNum", numbers).unwrap();
    assert!(batches.len() > 3, "{}", batches.len());
    let mut found = Vec::new();
    for batch in batches {
        found.extend(read(batch).await);
    }
    assert_eq!((found.len(), seen(&found, &["VendorNum"]).len()), (60, 60));

    // Lines below their invoice.
    let with_lines =
        pair.other.entity_set(EntitySet::AP_INVOICES).select(["VendorNum", "InvoiceNum"]).expand("APInvDtls");
    assert!(read(with_lines).await.iter().all(|row| row["APInvDtls"].is_array()));

    // Moments with an offset are the same instant wherever they are written.
    let parts = || pair.other.entity_set(EntitySet::PARTS).select(["PartNum", "CreatedOn"]);
    let middle = DateTime::parse_from_rfc3339("2026-01-01T00:30:00+02:00").unwrap();
    let (before, since) = (field("CreatedOn").lt(middle), field("CreatedOn").ge(middle));
    let (before, since) = (read(parts().filter(before)).await.len(), read(parts().filter(since)).await.len());
    let without = read(parts().filter(field("CreatedOn").is_null())).await.len();
    assert_eq!(before + since + without, 60);

    // What it refuses is told as such.
    let wrong =
        pair.other.entity_set(EntitySet::PARTS).filter(field("NoSuchColumn").eq(1)).send::<Value>().await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Rejected);
    let columns = pair.other.metadata("Erp.BO.VendorSvc").await.unwrap();
    let vendor = columns.entity_type_of("Vendors").unwrap();
    assert!(vendor.property("VendorNum").is_some() && vendor.user_defined().count() == 2);
}
