//! Bad input: one clear error that says what to do next, and nothing lands.

use kinetic_tableau_sync::{Disposition, Resolution, SourceObject, Stage, SyncError, Track};
use simulators::kinetic::KineticSim;
use simulators::tableau::TableauSim;

use super::support::{World, invoices, vendors};

fn check(world: &World, error: &SyncError, stage: Stage, words: &[&str]) {
    let text = format!("{error} / {}", error.hint().expect("every error says what to do next"));
    assert_eq!(error.stage(), stage, "{text}");
    assert_eq!(error.disposition(), Disposition::Operator, "{text}");
    for word in words {
        assert!(text.contains(word), "'{word}' is not in: {text}");
    }
    for secret in [world.kinetic.api_key(), world.kinetic.password(), world.tableau.pat_secret()] {
        assert!(!text.contains(secret) && !format!("{error:?}").contains(secret), "a secret is in: {text}");
    }
}

#[tokio::test]
async fn a_wrong_column_service_or_key_is_named_with_the_nearest_right_one() {
    let world = World::new().await;
    let mut spec = vendors();
    spec.select.push("VendorNumm".to_owned());
    check(&world, &world.run(&spec).await.unwrap_err(), Stage::Schema, &["VendorNumm", "VendorNum?"]);
    let mut spec = vendors();
    spec.source = SourceObject::EntitySet { service: "Erp.BO.VendorSvc".into(), set: "Vendor".into() };
    check(&world, &world.run(&spec).await.unwrap_err(), Stage::Schema, &["Vendors?"]);
    let mut spec = vendors();
    spec.track = Track::Revision { column: "Name".to_owned(), overlap: 0 };
    check(&world, &world.run(&spec).await.unwrap_err(), Stage::Schema, &["Name", "no revision"]);
    let mut spec = vendors();
    spec.dimensions = vec!["Names".to_owned()];
    check(&world, &world.run(&spec).await.unwrap_err(), Stage::Schema, &["dimensions", "Name?"]);
    let mut spec = vendors();
    spec.filter = Some("Naem eq 'x'".to_owned());
    check(&world, &world.run(&spec).await.unwrap_err(), Stage::Read, &["Naem"]);
}

#[tokio::test]
async fn a_set_that_hides_its_rows_from_filters_lands_nothing() {
    let world = World::new().await;
    let mut spec = vendors();
    spec.source = SourceObject::EntitySet { service: "Erp.BO.POSvc".into(), set: "PODetails".into() };
    spec.select = vec!["LineDesc".to_owned(), "OrderQty".to_owned()];
    spec.types.clear();
    check(&world, &world.run(&spec).await.unwrap_err(), Stage::Read, &["has rows there", "BAQ"]);
    // By a stamp the first page comes without a filter, and the second one is empty.
    spec.track = Track::timestamp("ChangeDate", Resolution::Second);
    check(&world, &world.run(&spec).await.unwrap_err(), Stage::Read, &["has rows there", "BAQ"]);
    assert!(!world.target_is_there(&spec).await);
}

#[tokio::test]
async fn a_key_that_does_not_tell_rows_apart_publishes_nothing() {
    let world = World::new().await;
    let mut spec = invoices();
    spec.key = vec!["VendorNum".to_owned()];
    for page_size in [1, 23, 100, 5_000] {
        for (track, overlap) in [(true, 5_000), (true, 20), (false, 0)] {
            spec.page_size = page_size;
            spec.track =
                if track { Track::Revision { column: "SysRevID".to_owned(), overlap } } else { Track::Snapshot };
            let error = world.run(&spec).await.unwrap_err();
            let stage = error.stage();
            let words: &[&str] = if stage == Stage::Load {
                &["VendorNum", "more than one row"]
            } else {
                &["order of VendorNum", "`key`"]
            };
            check(&world, &error, stage, words);
            assert!(!world.target_is_there(&spec).await, "{page_size} {track} {overlap}");
        }
    }
    // Only two rows share a key, and one of them is young.
    spec.key = vec!["InvoiceNum".to_owned()];
    spec.track = Track::Revision { column: "SysRevID".to_owned(), overlap: 20 };
    let number = world.kinetic.rows("APInvoices")[3].get("InvoiceNum").unwrap().clone();
    world.kinetic.database().write("APInvoices", [("VendorNum", 999_999.into()), ("InvoiceNum", number)]);
    let error = world.run(&spec).await.unwrap_err();
    assert!(error.to_string().contains("InvoiceNum"), "{error}");
    assert!(!world.target_is_there(&spec).await);
}

#[tokio::test]
async fn one_pair_of_rows_with_one_key_is_noticed_wherever_a_page_ends() {
    let world = World::new().await;
    // Two orders of one buyer on one day, among many that differ.
    let orders: Vec<i64> = (0..40).map(|nth| 5_000 + nth).collect();
    for number in &orders {
        let buyer = if *number == 5_017 { 5_018 } else { *number };
        let columns = [("PONum", (*number).into()), ("BuyerID", format!("B{buyer}").as_str().into())];
        world.kinetic.database().write("POes", columns);
    }
    let mut spec = super::support::orders();
    spec.filter = Some("PONum ge 5000".to_owned());
    spec.key = vec!["BuyerID".to_owned()];
    for page_size in 15..22 {
        for track in [Track::Snapshot, Track::timestamp("ChangeDate", Resolution::Second), Track::revision()] {
            (spec.page_size, spec.track) = (page_size, track);
            let error = world.run(&spec).await.unwrap_err();
            assert!(error.to_string().contains("BuyerID"), "{page_size}: {error}");
            assert!(!world.target_is_there(&spec).await, "{page_size}: {:?}", spec.track);
        }
    }
    // What tells them apart lands.
    spec.key = vec!["PONum".to_owned()];
    assert_eq!(world.run(&spec).await.unwrap().landed_rows, 40);
}

#[tokio::test]
async fn a_value_that_does_not_fit_names_its_column() {
    let world = World::new().await;
    let mut spec = invoices();
    spec.types.insert("InvoiceAmt".to_owned(), "decimal(6,1)".parse().unwrap());
    check(&world, &world.run(&spec).await.unwrap_err(), Stage::Read, &["InvoiceAmt", "types"]);
    assert!(!world.target_is_there(&spec).await);
}

#[tokio::test]
async fn a_name_that_exists_twice_and_a_foreign_datasource_are_left_alone() {
    let world = World::new().await;
    let spec = vendors();
    world.run(&spec).await.unwrap();
    world.tableau.duplicate_datasource("Vendors");
    check(&world, &world.run(&spec).await.unwrap_err(), Stage::Inspect, &["2 datasources", "Vendors"]);

    world.tableau.add_datasource_with_upstream("Finance/Payables", "AP invoices");
    let spec = invoices();
    check(&world, &world.run(&spec).await.unwrap_err(), Stage::Inspect, &["connection of its own"]);
    assert_eq!(world.tableau.datasource("Finance/Payables", "AP invoices").unwrap().kind, "sqlserver");
}

#[tokio::test]
async fn wrong_credentials_are_told_apart() {
    let world = World::new().await;
    let other_key = World::with(KineticSim::builder().api_key("another-key"), TableauSim::builder()).await;
    let client = epicor_kinetic::Client::builder(other_key.kinetic.url())
        .company("EPIC06")
        .api_key(world.kinetic.api_key())
        .basic(world.kinetic.user(), world.kinetic.password())
        .build()
        .unwrap();
    let source = kinetic_tableau_sync::KineticSource::new(client);
    let syncer = kinetic_tableau_sync::Syncer::builder(
        std::sync::Arc::new(source),
        std::sync::Arc::new(world.destination()),
        std::sync::Arc::clone(&world.store),
    )
    .build();
    check(&world, &syncer.run(&vendors()).await.unwrap_err(), Stage::Schema, &["API Key Maintenance"]);

    let forbidden = KineticSim::builder().switches(|switches| {
        switches.forbidden = vec!["Erp.BO.VendorSvc".to_owned()];
        switches.forbidden_status = 403;
    });
    let forbidden = World::with(forbidden, TableauSim::builder()).await;
    check(&forbidden, &forbidden.run(&vendors()).await.unwrap_err(), Stage::Schema, &["right"]);

    let wrong_token = World::with(KineticSim::builder(), TableauSim::builder().token("kinetic-sync", "another")).await;
    let client = tableau_rest::Client::builder(wrong_token.tableau.url())
        .site("finance")
        .personal_access_token("kinetic-sync", world.tableau.pat_secret())
        .build()
        .unwrap();
    let error = client.sign_in().await.unwrap_err();
    assert_eq!(error.kind(), tableau_rest::ErrorKind::Auth);
    assert!(!format!("{error} {error:?}").contains(world.tableau.pat_secret()));
}
