//! Reading: typed rows, keys, lists, pages, queries of a company, methods that read, functions, tasks.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime};
use epicor_kinetic::entities::{
    ApInvoice, ApInvoiceGroup, ApInvoiceLine, ApTransaction, Customer, GlAccount, GlJournalDetail, Part, Payment,
    PurchaseOrder, PurchaseOrderDetail, PurchaseOrderRelease, SysTask, Vendor,
};
use epicor_kinetic::{
    CallSettings, Client, Entity, EntitySet, ErrorKind, KeysetColumns, License, Literal, Row, WhereClause, field,
};
use futures_util::TryStreamExt;
use serde_json::{Value as Json, json};
use simulators::faults::{Effect, Fault};
use simulators::kinetic::{KineticSim, Seed, Value};

use super::{builder, client, company};

/// Reads a whole set typed, and compares the columns of all rows with the database.
async fn whole<E: Entity + serde::Serialize + Send + 'static>(sim: &KineticSim, client: &Client) {
    let set = E::SET.name().to_owned();
    let rows: Vec<E> = client.query::<E>().page_size(37).stream().try_collect().await.unwrap();
    let truth = sim.rows(&set);
    assert_eq!(rows.len(), truth.len(), "{set}");
    assert!(!rows.is_empty(), "{set}");
    let text = |row: &Row, column: &str| {
        let raw = row.raw(column)?.get().to_owned();
        Some(plain(serde_json::from_str::<String>(&raw).unwrap_or(raw)))
    };
    let mut read: Vec<Vec<Option<String>>> = rows
        .iter()
        .map(|row| {
            let row: Row = serde_json::from_str(&serde_json::to_string(row).unwrap()).unwrap();
            E::COLUMNS.iter().map(|column| text(&row, column)).collect()
        })
        .collect();
    let mut wanted: Vec<Vec<Option<String>>> =
        truth.iter().map(|row| E::COLUMNS.iter().map(|column| row.text(column).map(plain)).collect()).collect();
    read.sort();
    wanted.sort();
    for (read, wanted) in read.iter().zip(&wanted) {
        assert_eq!(read, wanted, "{set}");
    }
}

/// Numbers without zeros at their end, and times with a blank in the middle, so that both spellings compare; the exact
/// text is compared elsewhere.
fn plain(text: String) -> String {
    let is_decimal = text.contains('.') && text.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte));
    if is_decimal {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let is_time = text.len() == 19 && text.bytes().all(|byte| byte.is_ascii_digit() || b"-: T".contains(&byte));
    if is_time {
        let text = text.replace('T', " ");
        return text.strip_suffix(" 00:00:00").map(str::to_owned).unwrap_or(text);
    }
    text
}

#[tokio::test]
async fn every_typed_row_is_what_the_database_holds() {
    let sim = KineticSim::builder().start().await.unwrap();
    sim.seed(Seed { ap_invoices: 80, invoice_lines: 3, journal_lines: 90, ..Seed::default() });
    task(&sim, 1, "Active", Some(7));
    sim.database().write("APInvGrps", [("GroupID", "KT1".into()), ("BaseTotal", Value::decimal("12.500"))]);
    let client = client(&sim);
    whole::<Vendor>(&sim, &client).await;
    whole::<ApInvoice>(&sim, &client).await;
    whole::<PurchaseOrder>(&sim, &client).await;
    whole::<PurchaseOrderRelease>(&sim, &client).await;
    whole::<Payment>(&sim, &client).await;
    whole::<ApTransaction>(&sim, &client).await;
    whole::<Customer>(&sim, &client).await;
    whole::<Part>(&sim, &client).await;
    whole::<GlAccount>(&sim, &client).await;
    whole::<ApInvoiceLine>(&sim, &client).await;
    whole::<ApInvoiceGroup>(&sim, &client).await;
    whole::<PurchaseOrderDetail>(&sim, &client).await;
    whole::<GlJournalDetail>(&sim, &client).await;
    whole::<SysTask>(&sim, &client).await;
}

#[tokio::test]
async fn columns_of_ones_own_arrive_in_extra_and_missing_ones_can_be_left_out() {
    let sim = company(KineticSim::builder()).await;
    let client = client(&sim);
    let query = client.query::<Vendor>().also_select(["Rating_c", "NotThere_c"]);
    let refused = query.send::<Vendor>().await.unwrap_err();
    assert!(refused.to_string().contains("NotThere_c"), "{refused}");
    let metadata = client.metadata(EntitySet::VENDORS.service()).await.unwrap();
    let query = query.only_known(metadata.entity_type_of("Vendors").unwrap());
    let page = query.send::<Vendor>().await.unwrap();
    let ratings: Vec<i64> = page.items.iter().map(|vendor| vendor.extra.get("Rating_c").unwrap()).collect();
    assert_eq!(ratings.len(), 40);
    assert!(ratings.iter().any(|rating| *rating > 0));
}

#[tokio::test]
async fn rows_are_found_by_keys_of_every_kind() {
    let sim = company(KineticSim::builder()).await;
    let client = client(&sim);
    for part in sim.rows("Parts") {
        let number = part.text("PartNum").unwrap();
        let found: Part = client.query::<Part>().get(["EPIC06".into(), number.as_str().into()]).await.unwrap();
        assert_eq!(found.part_num, number);
    }
    let payment = sim.rows("APTrans").into_iter().find(|row| row.get("Voided") == Some(&Value::Bool(true))).unwrap();
    let number = |column: &str| payment.text(column).unwrap().parse::<i64>().unwrap();
    let key = [
        "EPIC06".into(),
        number("HeadNum").into(),
        number("APTranNo").into(),
        payment.text("InvoiceNum").unwrap().into(),
        true.into(),
    ];
    let found: ApTransaction = client.query::<ApTransaction>().get(key).await.unwrap();
    assert!(found.voided);
    let missing = client.query::<Part>().get::<Part>(["EPIC06".into(), Literal::from("")]).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn orders_come_with_their_lines_by_the_header() {
    let sim = company(KineticSim::builder()).await;
    let client = client(&sim);
    let order = client.purchase_orders().get(3_007).await.unwrap();
    assert_eq!((order.details.len(), order.releases.len()), (2, 2));
    let lines = client.entity_set(EntitySet::PO_LINES).filter(field("PONUM").eq(3_007)).send::<Json>().await.unwrap();
    assert!(lines.items.is_empty(), "the quirk that the header works around");
}

#[tokio::test]
async fn five_hundred_keys_are_asked_for_in_addresses_that_servers_take() {
    let sim = company(KineticSim::builder()).await;
    let client = client(&sim);
    let invoices: Vec<String> = sim.rows("APInvoices").iter().map(|row| row.text("InvoiceNum").unwrap()).collect();
    let wanted: BTreeSet<String> = invoices.iter().cloned().collect();
    let asked = invoices.iter().cloned().chain((0..400).map(|number| format!("NONE/{number}'&")));
    let rows: Vec<ApInvoice> =
        client.query::<ApInvoice>().stream_in("InvoiceNum", asked).unwrap().try_collect().await.unwrap();
    let found: BTreeSet<String> = rows.iter().map(|row| row.invoice_num.clone()).collect();
    assert_eq!((found, rows.len()), (wanted, invoices.len()));
    let queries = sim.faults().requests();
    assert!(queries.len() > 10);
    assert!(queries.iter().all(|query| query.split_once('?').unwrap().1.len() <= 2_048));
}

#[tokio::test]
async fn functions_in_filters_are_understood() {
    let sim = company(KineticSim::builder()).await;
    let client = client(&sim);
    let count = |filter| {
        let query = client.query::<Vendor>().filter(filter).top(1_000);
        async move { query.send::<Vendor>().await.unwrap().items.len() }
    };
    let names: Vec<String> = sim.rows("Vendors").iter().map(|row| row.text("Name").unwrap()).collect();
    assert_eq!(
        count(field("Name").contains("O'Hara")).await,
        names.iter().filter(|name| name.contains("O'Hara")).count()
    );
    assert_eq!(count(field("VendorNum").in_([1_003, 1_004, 9_999])).await, 2);
    assert_eq!(count(field("VendorNum").ge(1_010).and(field("VendorNum").lt(1_015).not())).await, 25);
}

#[tokio::test]
async fn pages_read_ahead_by_key_lose_nothing_while_the_source_moves() {
    let sim = company(KineticSim::builder()).await;
    let resting: BTreeSet<i64> = sim
        .rows("Vendors")
        .iter()
        .filter_map(|row| match row.get("VendorNum") {
            Some(Value::Int(number)) if number % 2 == 0 => Some(*number),
            _ => None,
        })
        .collect();
    sim.on_page(|database, page| {
        // Vendors with an odd number move to the end of the order with each page.
        let odd = 1_001 + 2 * i64::try_from(page % 20).unwrap();
        database.write("Vendors", [("VendorNum", odd.into()), ("Comment", format!("moved {page}").into())]);
    });
    let client = client(&sim);
    let query = client.entity_set(EntitySet::VENDORS).select(["VendorNum"]).page_size(3).top(400);
    let rows: Vec<Json> =
        query.keyset(KeysetColumns::new().integer("SysRevID")).prefetch(4).into_stream().try_collect().await.unwrap();
    let met: Vec<i64> = rows.iter().map(|row| row["VendorNum"].as_i64().unwrap()).collect();
    for number in resting {
        assert_eq!(met.iter().filter(|met| **met == number).count(), 1, "{number}");
    }
}

#[tokio::test]
async fn links_of_the_server_are_followed_and_lead_through_the_whole_set() {
    for tokens in [false, true] {
        let sim = company(KineticSim::builder().switches(|switches| {
            (switches.next_links, switches.skip_tokens, switches.cap) = (true, tokens, Some(7));
        }))
        .await;
        let client = client(&sim);
        let rows: Vec<ApInvoice> = client.query::<ApInvoice>().page_size(50).stream().try_collect().await.unwrap();
        assert_eq!(rows.len(), 120);
        assert_eq!(sim.faults().count("$skiptoken") > 0, tokens);
    }
}

#[tokio::test]
async fn get_rows_brings_every_record_once_however_pages_are_counted() {
    for from_zero in [false, true] {
        let sim = company(KineticSim::builder().switches(|switches| switches.pages_from_zero = from_zero)).await;
        let client = client(&sim);
        let service = client.service(EntitySet::AP_INVOICES.service());
        let metadata = client.metadata(service.name()).await.unwrap();
        let clause = WhereClause::compare("InvoiceNum", "<>", "O'Neill").unwrap().by("SysRevID").unwrap();
        let rows = service.get_rows().where_clause("APInvHed", clause).page_size(17).tables_of(&metadata).unwrap();
        let all = rows.all().await.unwrap();
        let numbers: BTreeSet<String> =
            all.rows("APInvHed").iter().map(|row| row.get::<String>("InvoiceNum").unwrap()).collect();
        assert_eq!((all.rows("APInvHed").len(), numbers.len()), (120, 120), "from zero: {from_zero}");
    }
    let sim = company(KineticSim::builder()).await;
    let list = client(&sim).service(EntitySet::VENDORS.service()).get_list(WhereClause::all()).page_size(9);
    assert_eq!(list.all().await.unwrap().rows("Vendor").len(), 40);
}

#[tokio::test]
async fn a_query_of_the_company_is_looked_at_before_it_is_trusted() {
    let sim = company(KineticSim::builder()).await;
    sim.database().write("Vendors", [("VendorNum", 99.into()), ("VendorID", "LONELY".into())]);
    let client = client(&sim);
    let fine = client.baq("KT-Invoices");
    let keys = ["APInvHed_VendorNum", "APInvHed_InvoiceNum"];
    let check = client.check_baq(&fine, &keys).await.unwrap();
    assert!(check.is_usable(), "{check:?}");
    assert_eq!(check.change_columns, ["APInvHed_SysRevID", "APInvHed_ChangeDate"]);
    assert_eq!((check.rows, check.columns.len()), (120, 7));
    let doubled = client.check_baq(&fine, &["APInvHed_VendorNum"]).await.unwrap();
    assert!(!doubled.is_usable());
    let joined = client.baq("KT-VendorInvoices");
    let check = client.check_baq(&joined, &["Vendor_VendorNum", "APInvHed_InvoiceNum"]).await.unwrap();
    let told: Vec<&str> = check.findings.iter().map(|finding| finding.message.as_str()).collect();
    assert!(told.iter().any(|told| told.contains("APInvHed_InvoiceNum is null")), "{told:?}");
    assert!(told.iter().any(|told| told.contains("no column tells when")), "{told:?}");
    for keys in [&["RowIdent"][..], &["vendor_vendornum"]] {
        assert!(!client.check_baq(&joined, keys).await.unwrap().is_usable());
    }
    assert_eq!(client.check_baq(&client.baq("None"), &keys).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(client.check_baq(&joined, &[]).await.unwrap_err().kind(), ErrorKind::Config);
    let set = client.entity_set(EntitySet::VENDORS);
    assert_eq!(client.check_baq(&set, &keys).await.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn functions_are_called_published_or_not() {
    let sim = company(KineticSim::builder()).await;
    let client = client(&sim);
    let inputs = json!({ "amount": 12.5, "nothing": null });
    let told: Json = client.function("KtLib", "Echo").inputs(&inputs).send().await.unwrap().get("echo").unwrap();
    assert_eq!(told, json!({ "amount": 12.5 }));
    assert_eq!(client.function("KtLib", "Draft").send().await.unwrap_err().kind(), ErrorKind::NotFound);
    client.function("KtLib", "Draft").staging().send().await.unwrap();
    let refused = client.function("KtLib", "Refuse").send().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Rejected);
    assert!(refused.service_error().unwrap().says("The function refuses."));
}

#[tokio::test]
async fn services_tell_what_they_offer() {
    let sim = company(KineticSim::builder()).await;
    let client = client(&sim);
    let items = client.service_document("Erp.BO.POSvc").await.unwrap();
    assert_eq!(items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), ["POes", "PODetails", "PORels"]);
    assert_eq!(client.service_document("Erp.BO.NoneSvc").await.unwrap_err().kind(), ErrorKind::NotFound);
}

fn moment(second: u32) -> Value {
    let time: NaiveDateTime = NaiveDate::from_ymd_opt(2026, 11, 2).unwrap().and_hms_opt(8, 0, second).unwrap();
    Value::Moment(time)
}

fn task(sim: &KineticSim, number: i64, status: &str, ended: Option<u32>) {
    sim.database().write(
        "SysTasks",
        [
            ("SysTaskNum", number.into()),
            ("TaskDescription", "Post AP Invoices".into()),
            ("RunProcedure", "Erp.Internal.AP.APInvoicePost.dll".into()),
            ("TaskStatus", status.into()),
            ("StartedOn", moment(0)),
            ("EndedOn", ended.map_or(Value::Null, moment)),
        ],
    );
}

#[tokio::test]
async fn the_end_of_a_process_is_noticed_once_whatever_order_tasks_end_in() {
    let sim = company(KineticSim::builder()).await;
    let client = client(&sim);
    task(&sim, 1, "Complete", Some(1));
    task(&sim, 2, "Active", None);
    let mut watch = client.tasks().watch("Post AP Invoices").await.unwrap();
    assert_eq!(watch.ended(&client).await.unwrap(), []);
    task(&sim, 3, "Pending", None);
    task(&sim, 4, "COMPLETE", Some(4));
    let numbers = |tasks: Vec<SysTask>| tasks.iter().map(|task| task.sys_task_num).collect::<Vec<_>>();
    assert_eq!(numbers(watch.ended(&client).await.unwrap()), [4]);
    // It is kept between runs of a program, and a lost answer forgets nothing.
    let kept = serde_json::to_string(&watch).unwrap();
    let mut watch: epicor_kinetic::TaskWatch = serde_json::from_str(&kept).unwrap();
    task(&sim, 2, "Error", Some(5));
    sim.faults().push(Fault::on("SysTasks", Effect::Status { status: 400, body: "{}".to_owned(), retry_after: None }));
    watch.ended(&client).await.unwrap_err();
    assert_eq!(numbers(watch.ended(&client).await.unwrap()), [2]);
    task(&sim, 3, "Complete", Some(6));
    assert_eq!(numbers(watch.ended(&client).await.unwrap()), [3]);
    assert_eq!(numbers(watch.ended(&client).await.unwrap()), [] as [i64; 0]);
    let newest = client.tasks().newest("Erp.Internal.AP.APInvoicePost.dll", 2).await.unwrap();
    assert_eq!(numbers(newest), [4, 3]);
}

#[tokio::test]
async fn the_end_of_a_process_is_noticed_behind_a_restore_though_its_number_was_seen_before() {
    let sim = company(KineticSim::builder()).await;
    let client = client(&sim);
    let numbers = |tasks: Vec<SysTask>| tasks.iter().map(|task| task.sys_task_num).collect::<Vec<_>>();
    let nothing = sim.database().clone();
    task(&sim, 1, "Complete", Some(1));
    task(&sim, 2, "Active", None);
    let copy = sim.database().clone();
    let mut watch = client.tasks().watch("Post AP Invoices").await.unwrap();
    for number in 3..=9 {
        task(&sim, number.into(), "Complete", Some(number));
    }
    assert_eq!(numbers(watch.ended(&client).await.unwrap()), [3, 4, 5, 6, 7, 8, 9]);

    sim.database().restore(&copy);
    assert_eq!(numbers(watch.ended(&client).await.unwrap()), [] as [i64; 0]);
    task(&sim, 2, "Complete", Some(20));
    task(&sim, 3, "Complete", Some(21));
    assert_eq!(numbers(watch.ended(&client).await.unwrap()), [2, 3]);
    assert_eq!(numbers(watch.ended(&client).await.unwrap()), [] as [i64; 0]);

    // What ended between the restore and the look is told by the newest.
    task(&sim, 9, "Complete", Some(22));
    assert_eq!(numbers(watch.ended(&client).await.unwrap()), [9]);
    sim.database().restore(&copy);
    task(&sim, 2, "Error", Some(23));
    sim.faults().push(Fault::on("SysTasks", Effect::Status { status: 400, body: "{}".to_owned(), retry_after: None }));
    watch.ended(&client).await.unwrap_err();
    assert_eq!(numbers(watch.ended(&client).await.unwrap()), [2]);
    assert_eq!(numbers(watch.ended(&client).await.unwrap()), [] as [i64; 0]);

    sim.database().restore(&nothing);
    assert_eq!(numbers(watch.ended(&client).await.unwrap()), [] as [i64; 0]);
    task(&sim, 1, "Complete", Some(24));
    assert_eq!(numbers(watch.ended(&client).await.unwrap()), [1]);
}

#[tokio::test]
async fn waiting_for_a_task_ends_as_the_task_does() {
    let sim = company(KineticSim::builder()).await;
    let client = client(&sim);
    for (number, status) in [(1, "Complete"), (2, "Error"), (3, "Cancelled"), (4, "Active")] {
        task(&sim, number, status, None);
    }
    let wait = |number| {
        let tasks = client.tasks();
        async move { tasks.wait(number, Duration::from_millis(10)).await }
    };
    assert_eq!(wait(1).await.unwrap().sys_task_num, 1);
    assert_eq!(wait(2).await.unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(wait(3).await.unwrap_err().kind(), ErrorKind::Rejected);
    assert!(wait(4).await.unwrap_err().to_string().contains("has not ended"));
    assert_eq!(wait(5).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn licence_and_settings_travel_with_each_call() {
    for status in [400, 401, 503] {
        let sim = company(KineticSim::builder().switches(|switches| switches.no_default_licence = Some(status))).await;
        client(&sim).ping().await.unwrap();
        let bare = builder(&sim).basic(sim.user(), sim.password()).license(License::None).build().unwrap();
        let error = bare.ping().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Throttled);
        assert!(error.hint().unwrap().contains("Web Service"), "{error}");
    }
    let sim = company(KineticSim::builder()).await;
    let client = client(&sim).with_call_settings(CallSettings::new().plant("MfgSys"));
    client.ping().await.unwrap();
    let settings: Json = serde_json::from_str(&sim.call_settings()[0]).unwrap();
    assert_eq!(settings, json!({ "Company": "EPIC06", "Plant": "MfgSys" }));
}
