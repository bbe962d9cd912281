//! Full loads and deltas of all kinds of datasets.

use std::time::Duration;

use kinetic_tableau_sync::{
    AuditFilter, AuditStore as _, DatasetSpec, LoadKind, RefreshOutcome, RefreshTarget, Resolution, SourceObject,
    Target, Track,
};
use simulators::kinetic::{DateForm, KineticSim, Value};
use simulators::tableau::TableauSim;

use super::support::{World, accounts, customers, invoices, orders, transactions, vendors};

#[tokio::test]
async fn every_kind_of_dataset_lands_whole_and_is_kept_up_to_date() {
    let world = World::new().await;
    for spec in [vendors(), invoices(), orders(), accounts(), transactions(), customers()] {
        let run = world.run(&spec).await.unwrap();
        assert_eq!(run.kind, Some(LoadKind::Full), "{}", spec.id);
        world.assert_landed(&spec).await;
    }
    for (set, count) in
        [("Vendors", 9), ("APInvoices", 60), ("POes", 30), ("GLAccounts", 4), ("APTrans", 11), ("Customers", 3)]
    {
        world.kinetic.random_changes(set, count, 7);
    }
    for spec in [vendors(), invoices(), orders(), accounts(), transactions(), customers()] {
        let run = world.run(&spec).await.unwrap();
        assert_eq!(run.kind, Some(LoadKind::Delta), "{}", spec.id);
        assert!(run.counts.balance() && run.counts.inserted + run.counts.updated > 0, "{}: {:?}", spec.id, run.counts);
        world.assert_landed(&spec).await;
        let idle = world.run(&spec).await.unwrap();
        assert_eq!((idle.counts.inserted, idle.counts.updated), (0, 0), "{}", spec.id);
    }
    let spec = invoices();
    let filter = AuditFilter { dataset: Some(spec.id.clone()), limit: Some(1), ..AuditFilter::default() };
    let record = world.store.records(&filter).await.unwrap().remove(0);
    assert!(record.landed && record.job_id.is_some() && !record.row_id.is_empty(), "{record:?}");
    assert!(record.version > i64::from(u32::MAX) / 2, "{record:?}");
    assert_eq!(record.dimensions.len(), 2);
}

#[tokio::test]
async fn rows_that_move_between_pages_are_neither_lost_nor_doubled() {
    for spec in [invoices(), orders()] {
        let world = World::new().await;
        let set = match &spec.source {
            SourceObject::EntitySet { set, .. } => set.clone(),
            SourceObject::Baq { .. } | SourceObject::Lines { .. } => unreachable!(),
        };
        // With each page somebody changes what was read, and what was not.
        let mut seed = 0;
        world.kinetic.on_page(move |database, _| {
            seed += 1;
            if seed <= 12 {
                let rows = database.rows("APInvoices");
                let orders = database.rows("POes");
                let pick = |count: usize| usize::try_from(seed * 37).unwrap() % count;
                let invoice = &rows[pick(rows.len())];
                let key = |name: &str| invoice.get(name).unwrap().clone();
                database.write(
                    "APInvoices",
                    [
                        ("VendorNum", key("VendorNum")),
                        ("InvoiceNum", key("InvoiceNum")),
                        ("InvoiceBal", Value::Decimal(i128::from(seed), 3)),
                    ],
                );
                let order = orders[pick(orders.len())].get("PONum").unwrap().clone();
                database.write("POes", [("PONum", order), ("CommentText", format!("moved {seed}").into())]);
                database.write("POes", [("PONum", Value::Int(90_000 + i64::from(seed))), ("BuyerID", "NEW".into())]);
            }
        });
        world.run(&spec).await.unwrap();
        world.run(&spec).await.unwrap();
        world.assert_landed(&spec).await;
        assert!(world.kinetic.faults().requests().iter().all(|request| !request.contains("$skip")), "{set}");
    }
}

#[tokio::test]
async fn dates_are_compared_in_whatever_form_the_server_takes() {
    for (form, strict) in
        [(DateForm::Bare, false), (DateForm::Bare, true), (DateForm::Zulu, true), (DateForm::Zulu, false)]
    {
        let kinetic = KineticSim::builder().switches(|switches| {
            (switches.date_form, switches.strict_dates) = (form, strict);
        });
        let world = World::with(kinetic, TableauSim::builder()).await;
        let spec = orders();
        world.run(&spec).await.unwrap();
        world.kinetic.random_changes("POes", 12, 3);
        let run = world.run(&spec).await.unwrap();
        assert_eq!(run.kind, Some(LoadKind::Delta));
        world.assert_landed(&spec).await;
    }
    // With an offset moments land in UTC; calendar dates keep the written day.
    let kinetic = KineticSim::builder().switches(|switches| switches.date_form = DateForm::Offset(-300));
    let world = World::with(kinetic, TableauSim::builder()).await;
    let mut spec = orders();
    spec.select.retain(|column| column != "ChangeDate");
    world.run(&spec).await.unwrap();
    world.kinetic.random_changes("POes", 12, 3);
    let run = world.run(&spec).await.unwrap();
    assert!(run.counts.updated > 0, "{:?}", run.counts);
    world.assert_landed(&spec).await;
}

#[tokio::test]
async fn a_stamp_in_two_columns_finds_every_change_over_midnight() {
    let world = World::new().await;
    let mut spec = customers();
    spec.track = Track::date_and_time("ChangeDate", "ChangeTime");
    let first = world.run(&spec).await.unwrap();
    assert_eq!(first.landed_rows, world.kinetic.rows("Customers").len() as u64);
    world.assert_landed(&spec).await;
    let midnight = world.kinetic.database().now().date().and_time(chrono::NaiveTime::MIN) + chrono::Duration::days(1);
    for (seed, seconds) in (1..).zip([-3, 0, 3, 86_397, 86_400]) {
        world.kinetic.database().set_clock(midnight + chrono::Duration::seconds(seconds));
        world.kinetic.random_changes("Customers", 2, seed);
        let run = world.run(&spec).await.unwrap();
        assert_eq!(run.kind, Some(LoadKind::Delta));
        assert!(run.counts.inserted + run.counts.updated > 0, "{seconds}: {:?}", run.counts);
        // Two minutes behind the checkpoint, not the day. (The first time all rows are as young as that.)
        assert!(run.counts.read < 12 || seconds < 0, "{seconds}: {:?}", run.counts);
        world.assert_landed(&spec).await;
    }
    // Without one of the two, nothing tells of a change.
    world.kinetic.database().write_silently("Customers", [("CustNum", 3.into()), ("ChangeTime", Value::Null)]);
    world
        .kinetic
        .database()
        .write_unstamped("Customers", [("CustNum", 3.into()), ("Name", "seen all the same".into())]);
    assert_eq!(world.run(&spec).await.unwrap().counts.updated, 1);
    world.assert_landed(&spec).await;
    let filter = AuditFilter { dataset: Some(spec.id.clone()), limit: Some(8), ..AuditFilter::default() };
    let records = world.store.records(&filter).await.unwrap();
    assert!(
        records.iter().any(|record| record.stamp.ends_with("-02T00:00:00 86398")),
        "the trail has both: {records:?}"
    );

    spec.id = "wrong".into();
    spec.track = Track::date_and_time("ChangeDate", "Name");
    let refused = world.run(&spec).await.unwrap_err();
    assert!(refused.to_string().contains("Name is Edm.String, no number of seconds"), "{refused}");
}

#[tokio::test]
async fn rows_without_a_stamp_are_kept_up_to_date_too() {
    let world = World::new().await;
    world.kinetic.database().write_silently("POes", [("PONum", 3_001.into()), ("ChangeDate", Value::Null)]);
    let spec = orders();
    world.run(&spec).await.unwrap();
    world.assert_landed(&spec).await;
    world
        .kinetic
        .database()
        .write_unstamped("POes", [("PONum", 3_001.into()), ("CommentText", "nobody stamped this".into())]);
    let run = world.run(&spec).await.unwrap();
    assert_eq!(run.counts.updated, 1);
    world.assert_landed(&spec).await;
}

#[tokio::test]
async fn a_table_without_any_stamp_lands_whole() {
    let world = World::new().await;
    let spec = orders();
    let orders: Vec<Value> = world.kinetic.rows("POes").iter().map(|row| row.get("PONum").unwrap().clone()).collect();
    for order in &orders {
        world.kinetic.database().write_silently("POes", [("PONum", order.clone()), ("ChangeDate", Value::Null)]);
    }
    assert_eq!(world.run(&spec).await.unwrap().landed_rows, orders.len() as u64);
    world.assert_landed(&spec).await;
    let idle = world.run(&spec).await.unwrap();
    assert_eq!((idle.kind, idle.counts.unchanged), (Some(LoadKind::Delta), orders.len() as u64));
    world.kinetic.random_changes("POes", 10, 4);
    world.run(&spec).await.unwrap();
    world.assert_landed(&spec).await;
}

#[tokio::test]
async fn a_late_commit_is_found_by_the_overlap() {
    let world = World::new().await;
    let spec = vendors();
    world.kinetic.database().write_late("Vendors", [("VendorNum", 7.into()), ("VendorID", "late".into())]);
    world.kinetic.database().write("Vendors", [("VendorNum", 8.into()), ("VendorID", "early".into())]);
    world.run(&spec).await.unwrap();
    world.kinetic.database().commit();
    let run = world.run(&spec).await.unwrap();
    assert_eq!(run.counts.inserted, 1);
    world.assert_landed(&spec).await;
}

#[tokio::test]
async fn a_silent_cap_of_pages_loses_nothing() {
    let kinetic = KineticSim::builder().switches(|switches| switches.cap = Some(13));
    let world = World::with(kinetic, TableauSim::builder()).await;
    for spec in [invoices(), orders()] {
        world.run(&spec).await.unwrap();
        world.assert_landed(&spec).await;
    }
}

#[tokio::test]
async fn a_baq_lands_by_its_own_key_and_stamp() {
    let world = World::new().await;
    let object = SourceObject::Baq {
        id: "KT-VendorSpend".to_owned(),
        parameters: vec![("MinRating".to_owned(), "0".to_owned())],
    };
    let target = Target { project: "Finance".to_owned(), datasource: "Spend".to_owned() };
    let columns = ["Vendor_VendorID", "Vendor_Name", "Calculated_Spend", "Calculated_Invoices"];
    let mut spend = DatasetSpec::new("spend", object, columns, target);
    spend.key = vec!["Vendor_VendorID".to_owned()];
    spend.track = Track::timestamp("Calculated_UpdatedOn", Resolution::Second);
    spend.page_size = 20;
    let first = world.run(&spend).await.unwrap();
    assert_eq!(first.landed_rows, 50);
    world.kinetic.random_changes("APInvoices", 10, 5);
    let second = world.run(&spend).await.unwrap();
    assert_eq!(second.kind, Some(LoadKind::Delta));
    assert_eq!(second.landed_rows, 50);

    let object = SourceObject::Baq { id: "KT-Invoices".to_owned(), parameters: Vec::new() };
    let target = Target { project: "Finance".to_owned(), datasource: "BAQ invoices".to_owned() };
    let mut by_revision = DatasetSpec::new("baq_invoices", object, ["APInvHed_InvoiceAmt"], target);
    by_revision.key = ["APInvHed_Company", "APInvHed_VendorNum", "APInvHed_InvoiceNum"].map(str::to_owned).to_vec();
    by_revision.track = Track::Revision { column: "APInvHed_SysRevID".to_owned(), overlap: 100 };
    let run = world.run(&by_revision).await.unwrap();
    assert_eq!(run.landed_rows, world.kinetic.rows("APInvoices").len() as u64);
}

#[tokio::test]
async fn what_depends_on_a_landing_is_refreshed_and_a_bare_extract_is_not() {
    let world = World::new().await;
    let upstream = world.tableau.add_datasource_with_upstream("Finance", "Ledger");
    let workbook = world.tableau.add_workbook("Finance", "Payables overview", "Vendors");
    let task = world.tableau.add_task(&upstream);
    let mut spec = vendors();
    let datasource =
        |project: &str, name: &str| RefreshTarget::Datasource { project: project.to_owned(), name: name.to_owned() };
    spec.refresh = vec![
        datasource("Finance", "Ledger"),
        RefreshTarget::Workbook { project: "Finance".to_owned(), name: "payables OVERVIEW".to_owned() },
        RefreshTarget::Task { id: task },
        datasource("Finance/Payables", "Vendors"),
        datasource("Finance", "Nowhere"),
    ];
    let run = world.run(&spec).await.unwrap();
    let outcomes: Vec<_> = run.refreshes.iter().map(|report| &report.outcome).collect();
    let done = RefreshOutcome::Succeeded;
    assert_eq!(outcomes[..4], [&done, &done, &done, &RefreshOutcome::NoUpstream]);
    assert!(matches!(outcomes[4], RefreshOutcome::Failed(why) if why.contains("Nowhere")), "{outcomes:?}");
    assert_eq!(world.tableau.datasource("Finance", "Ledger").unwrap().refreshes, 2);
    assert_eq!(world.tableau.workbook_refreshes(&workbook), 1);

    // What is due is tried again by a run that lands nothing.
    spec.refresh.truncate(2);
    world.tableau.fail_next_refresh("the gateway is down");
    world.kinetic.random_changes("Vendors", 1, 1);
    let run = world.run(&spec).await.unwrap();
    let failed: Vec<_> = run.refreshes.iter().filter(|report| !report.outcome.is_settled()).collect();
    assert!(
        matches!(&failed[..], [only] if matches!(&only.outcome, RefreshOutcome::Failed(note) if note.contains("gateway")))
    );
    let run = world.run(&spec).await.unwrap();
    assert_eq!(run.refreshes.len(), 1);
    assert!(run.refreshes[0].outcome.is_settled());
}

#[tokio::test]
async fn a_slow_server_is_asked_for_several_ranges_at_once_and_rows_that_move_are_neither_lost_nor_doubled() {
    let kinetic = KineticSim::builder().switches(|switches| switches.latency = Duration::from_millis(30));
    let world = World::with(kinetic, TableauSim::builder()).await;
    let mut spec = invoices();
    spec.page_size = 17;
    spec.track = Track::Revision { column: "SysRevID".to_owned(), overlap: 20 };
    // Whatever has been read already and whatever not moves meanwhile, one row a page.
    world.kinetic.on_page(|database, page| {
        let rows = database.rows("APInvoices");
        let row = &rows[usize::try_from(page * 37).unwrap() % rows.len()];
        let key = |name: &str| row.get(name).unwrap().clone();
        if page <= 40 {
            database.write(
                "APInvoices",
                [
                    ("VendorNum", key("VendorNum")),
                    ("InvoiceNum", key("InvoiceNum")),
                    ("Description", format!("moved {page}").into()),
                ],
            );
        }
        if page == 5 {
            database.delete("APInvoices", &[key("VendorNum"), key("InvoiceNum")]);
        }
    });
    let run = world.run(&spec).await.unwrap();
    assert_eq!(run.kind, Some(LoadKind::Full));
    assert!((3..=4).contains(&world.kinetic.most_at_once()), "{} at once", world.kinetic.most_at_once());
    assert!(world.kinetic.faults().requests().iter().all(|request| !request.contains("$skip")));
    world.run(&spec).await.unwrap();
    world.assert_landed(&spec).await;
    // The listing of a comparison is read in the same way.
    let findings = world.syncer().reconcile(&spec).await.unwrap().findings.unwrap();
    assert_eq!(findings.listed, world.kinetic.rows("APInvoices").len() as u64);
    assert!(findings.is_clean(), "{findings:?}");
}

#[tokio::test]
async fn a_row_that_comes_twice_in_a_full_load_lands_once() {
    let world = World::new().await;
    let mut spec = invoices();
    spec.track = Track::Revision { column: "SysRevID".to_owned(), overlap: 400 };
    // A transaction takes its row version, others write behind it, and it ends while the table is being read: what was read comes again.
    let (revision, at) = {
        let mut database = world.kinetic.database();
        (database.reserve_revision(), database.now())
    };
    world.kinetic.random_changes("APInvoices", 150, 3);
    let first = world.kinetic.rows("APInvoices").remove(0);
    let key = |name: &'static str| (name, first.get(name).unwrap().clone());
    let late = [key("VendorNum"), key("InvoiceNum"), ("Description", "written late".into())];
    world.kinetic.on_page(move |database, page| {
        if page == 2 {
            database.write_under(revision, at, "APInvoices", late.clone());
        }
    });
    let run = world.run(&spec).await.unwrap();
    assert_eq!(run.kind, Some(LoadKind::Full));
    assert_eq!(run.counts.superseded, 1, "{:?}", run.counts);
    world.assert_landed(&spec).await;
}
