//! Lines below their headers: orders with details and releases, invoices with lines.

use kinetic_tableau_sync::hyper::{Engine, ExtractReader};
use kinetic_tableau_sync::{
    DatasetSpec, Derive, DerivedColumn, LoadKind, OnNull, RejectStore as _, SourceObject, Target, Track,
};
use simulators::kinetic::{KineticSim, Seed, Value};
use simulators::tableau::TableauSim;

use super::support::{World, location};

fn lines(service: &str, set: &str, navigation: &str, select: &[&str]) -> DatasetSpec {
    let source =
        SourceObject::Lines { service: service.to_owned(), set: set.to_owned(), navigation: navigation.to_owned() };
    let target = Target { project: "Finance/Lines".to_owned(), datasource: navigation.to_owned() };
    let mut spec = DatasetSpec::new(navigation.to_lowercase(), source, select.iter().copied(), target);
    spec.track = Track::Snapshot;
    spec.page_size = 17;
    spec
}

fn details() -> DatasetSpec {
    let columns = ["PODetails/LineDesc", "PODetails/OrderQty", "PODetails/UnitCost", "BuyerID", "OrderDate"];
    lines("Erp.BO.POSvc", "POes", "PODetails", &columns)
}

fn releases() -> DatasetSpec {
    lines("Erp.BO.POSvc", "POes", "PORels", &["PORels/DueDate", "PORels/RelQty", "PORels/Plant", "VendorNum"])
}

fn invoice_lines() -> DatasetSpec {
    let columns = ["APInvDtls/Description", "APInvDtls/ExtCost", "InvoiceDate", "Posted"];
    lines("Erp.BO.APInvoiceSvc", "APInvoices", "APInvDtls", &columns)
}

/// What has landed, and what it should be: each line with the columns of its header. `shared` are the columns by which the simulated
/// tables belong together, as the header and as the line names them.
async fn assert_lines(world: &World, spec: &DatasetSpec, shared: &[(&str, &str)]) {
    let SourceObject::Lines { set, navigation, .. } = &spec.source else { panic!("no lines") };
    let engine = Engine::start(&location()).await.unwrap();
    let reader = ExtractReader::open(&engine, world.landed_copy(spec)).await.unwrap();
    let columns: Vec<String> = reader.columns().iter().map(|column| column.name.clone()).collect();
    let mut landed = reader.rows_as_text(&[]).await.unwrap();
    let (headers, lines) = (world.kinetic.rows(set), world.kinetic.rows(navigation));
    let mut truth: Vec<Vec<Option<String>>> = Vec::new();
    for line in &lines {
        let header = headers.iter().find(|header| shared.iter().all(|(ours, its)| header.get(ours) == line.get(its)));
        let Some(header) = header else { continue };
        let value = |name: &String| {
            let of_line = !spec.select.contains(name);
            if of_line { line.text(name) } else { header.text(name) }
        };
        truth.push(columns.iter().map(value).collect());
    }
    landed.sort();
    truth.sort();
    assert!(!truth.is_empty());
    assert_eq!(landed, truth, "{}: {columns:?}", spec.id);
}

/// Writes every seventh line without its header.
fn touch_lines(world: &World, spec: &DatasetSpec, shared: &[(&str, &str)], again: bool) {
    let SourceObject::Lines { navigation, .. } = &spec.source else { panic!("no lines") };
    let (number, column) = match navigation.as_str() {
        "PODetails" => (vec!["POLine"], "LineDesc"),
        "PORels" => (vec!["POLine", "PORelNum"], "Plant"),
        _ => (vec!["InvoiceLine"], "Description"),
    };
    let key: Vec<&str> = shared.iter().map(|(_, its)| *its).chain(number).collect();
    let text = if again { "touched" } else { "touched as well" };
    for row in world.kinetic.rows(navigation).iter().step_by(7) {
        let columns = key.iter().map(|name| (*name, row.get(name).unwrap().clone()));
        world.kinetic.database().write(navigation, columns.chain([(column, text.into())]));
    }
}

const ORDER_LINES: &[(&str, &str)] = &[("Company", "Company"), ("PONum", "PONUM")];
const RELEASES: &[(&str, &str)] = &[("Company", "Company"), ("PONum", "PONum")];
const INVOICE_LINES: &[(&str, &str)] =
    &[("Company", "Company"), ("VendorNum", "VendorNum"), ("InvoiceNum", "InvoiceNum")];

#[tokio::test]
async fn lines_land_with_their_headers_and_follow_every_change() {
    // With and without `$select` inside of `$expand`; pages are capped silently, and `PODetails` answers nothing to a filter.
    for nested in [true, false] {
        let kinetic = KineticSim::builder().switches(|switches| {
            switches.nested_select = nested;
            switches.cap = Some(11);
        });
        let world = World::with(kinetic, TableauSim::builder()).await;
        world.kinetic.seed(Seed { ap_invoices: 80, invoice_lines: 2, ..Seed::default() });
        let all = [(details(), ORDER_LINES), (releases(), RELEASES), (invoice_lines(), INVOICE_LINES)];
        for (spec, shared) in all.into_iter().take(if nested { 3 } else { 1 }) {
            let SourceObject::Lines { set, .. } = &spec.source else { unreachable!() };
            let full = world.run(&spec).await.unwrap();
            assert_eq!(full.kind, Some(LoadKind::Full));
            assert_lines(&world, &spec, shared).await;
            // Lines alone, then headers alone: neither touches the other in Kinetic.
            touch_lines(&world, &spec, shared, nested);
            let delta = world.run(&spec).await.unwrap();
            assert_eq!(delta.kind, Some(LoadKind::Delta), "{}", spec.id);
            assert!(delta.counts.updated > 3, "{}: {delta:?}", spec.id);
            assert_lines(&world, &spec, shared).await;
            world.kinetic.random_changes(set, 5, 5);
            world.run(&spec).await.unwrap();
            assert_lines(&world, &spec, shared).await;
            let idle = world.run(&spec).await.unwrap();
            assert_eq!((idle.counts.inserted, idle.counts.updated, idle.counts.deleted), (0, 0, 0));
        }
    }
}

#[tokio::test]
async fn a_line_that_is_gone_goes_from_tableau() {
    let world = World::new().await;
    let spec = details();
    world.run(&spec).await.unwrap();
    let gone: Vec<Vec<Value>> = world
        .kinetic
        .rows("PODetails")
        .iter()
        .step_by(29)
        .map(|row| ["PONUM", "POLine"].map(|column| row.get(column).unwrap().clone()).to_vec())
        .collect();
    for key in &gone {
        assert!(world.kinetic.database().delete("PODetails", key));
    }
    let run = world.run(&spec).await.unwrap();
    assert_eq!(run.counts.deleted, gone.len() as u64, "{run:?}");
    assert_lines(&world, &spec, ORDER_LINES).await;
}

#[tokio::test]
async fn by_the_revision_of_headers_a_comparison_finds_the_lines_that_changed_alone() {
    let world = World::new().await;
    let mut spec = details();
    spec.track = Track::Revision { column: "SysRevID".to_owned(), overlap: 0 };
    spec.compare_rows = true;
    world.run(&spec).await.unwrap();
    assert_lines(&world, &spec, ORDER_LINES).await;
    let row = world.kinetic.rows("PODetails").swap_remove(3);
    let columns = ["Company", "PONUM", "POLine"].map(|name| (name, row.get(name).unwrap().clone()));
    world.kinetic.database().write("PODetails", columns.into_iter().chain([("LineDesc", "changed alone".into())]));
    let cycle = world.run(&spec).await.unwrap();
    assert_eq!(cycle.counts.updated, 0, "no header has moved");
    let compared = world.syncer().reconcile(&spec).await.unwrap();
    assert_eq!(compared.counts.updated, 1);
    assert_lines(&world, &spec, ORDER_LINES).await;
    // A change of a header brings its lines along.
    world.kinetic.random_changes("POes", 4, 8);
    world.run(&spec).await.unwrap();
    assert_lines(&world, &spec, ORDER_LINES).await;
}

#[tokio::test]
async fn lines_that_are_not_there_are_named() {
    let world = World::new().await;
    let mut spec = details();
    spec.source = SourceObject::Lines {
        service: "Erp.BO.POSvc".to_owned(),
        set: "POes".to_owned(),
        navigation: "PODetail".to_owned(),
    };
    let error = world.run(&spec).await.unwrap_err();
    assert!(error.to_string().contains("POes has no lines named PODetail"), "{error}");
    assert_eq!(error.hint(), Some("did you mean PODetails?"));
    let mut spec = details();
    spec.select.push("PODetails/LineDes".to_owned());
    let error = world.run(&spec).await.unwrap_err();
    assert_eq!(error.hint(), Some("did you mean LineDesc? Case matters"), "{error}");
}

#[tokio::test]
async fn a_mapping_lands_through_the_real_engine_and_rejects_what_does_not_fit() {
    let world = World::new().await;
    let source = SourceObject::EntitySet { service: "Erp.BO.VendorSvc".to_owned(), set: "Vendors".to_owned() };
    let target = Target { project: "Finance".to_owned(), datasource: "Vendors".to_owned() };
    let mut spec = DatasetSpec::new("mapped", source, ["VendorNum", "VendorID", "Name", "Rating_c"], target);
    spec.mapping.rename.insert("VendorNum".to_owned(), "Number".to_owned());
    spec.mapping.nulls.insert("Rating_c".to_owned(), OnNull::Replace("-1".to_owned()));
    spec.mapping.derived.push(DerivedColumn {
        name: "Label".to_owned(),
        kind: kinetic_tableau_sync::ColumnType::Text,
        from: Derive::Template("{VendorID} {Name}".to_owned()),
    });
    // A number that is text by choice, and one that does not fit by choice.
    spec.types.insert("VendorNum".to_owned(), kinetic_tableau_sync::ColumnType::Int32);
    spec.types.insert("Name".to_owned(), kinetic_tableau_sync::ColumnType::Text);
    world.run(&spec).await.unwrap();
    world.kinetic.random_changes("Vendors", 7, 3);
    world.run(&spec).await.unwrap();

    let engine = Engine::start(&location()).await.unwrap();
    let reader = ExtractReader::open(&engine, world.landed_copy(&spec)).await.unwrap();
    let columns: Vec<String> = reader.columns().iter().map(|column| column.name.clone()).collect();
    assert_eq!(columns, ["Company", "Number", "VendorID", "Name", "Rating_c", "Label"]);
    let mut landed = reader.rows_as_text(&[]).await.unwrap();
    let mut truth: Vec<Vec<Option<String>>> = world
        .kinetic
        .rows("Vendors")
        .iter()
        .map(|row| {
            let (id, name) = (row.text("VendorID"), row.text("Name"));
            let label = id.clone().zip(name.clone()).map(|(id, name)| format!("{id} {name}"));
            let rating = row.text("Rating_c").or_else(|| Some("-1".to_owned()));
            vec![row.text("Company"), row.text("VendorNum"), id, name, rating, label]
        })
        .collect();
    landed.sort();
    truth.sort();
    assert_eq!(landed, truth);

    // Another type, which some names do not fit: they are rejected, the others land.
    spec.mapping.derived.push(DerivedColumn {
        name: "Digits".to_owned(),
        kind: kinetic_tableau_sync::ColumnType::Int16,
        from: Derive::Coalesce(vec!["VendorNum".to_owned()]),
    });
    let few = world.kinetic.rows("Vendors").len() as u64;
    spec.max_rejects = few;
    let last = world.kinetic.rows("Vendors").swap_remove(0);
    let columns = ["Company"].map(|name| (name, last.get(name).unwrap().clone()));
    let big = [("VendorNum", Value::Int(70_000)), ("VendorID", "BIG".into()), ("Name", "Too big".into())];
    world.kinetic.database().write("Vendors", columns.into_iter().chain(big));
    let run = world.run(&spec).await.unwrap();
    let number = |row: &simulators::kinetic::Row| row.text("VendorNum").unwrap().parse::<i64>().unwrap();
    let too_big = world.kinetic.rows("Vendors").iter().filter(|row| number(row) > i64::from(i16::MAX)).count() as u64;
    assert!(too_big > 0);
    assert_eq!((run.kind, run.counts.rejected), (Some(LoadKind::Full), too_big), "{run:?}");
    let rejects = world.store.rejects(&spec.id, None, 99).await.unwrap();
    assert!(rejects.iter().all(|reject| reject.column == "Digits"));
    assert!(rejects.iter().any(|reject| reject.key == r#"["EPIC06",70000]"#), "{rejects:?}");
    assert_eq!(run.landed_rows, few + 1 - too_big);
}
