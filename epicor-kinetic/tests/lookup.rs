//! `GetRows`, `GetList`, functions, service documents and the limits of a client.

use std::sync::atomic::{AtomicUsize, Ordering};

use epicor_kinetic::{CallSettings, ErrorKind, Literal, RetryBudget, RetryPolicy, Tableset, WhereClause};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fake;

fn page(ids: &[u32], more: bool) -> fake::Answer {
    let rows: Vec<Value> = ids
        .iter()
        .map(|id| json!({ "VendorNum": id, "SysRowID": format!("{id:08x}-0000-0000-0000-000000000001") }))
        .collect();
    fake::answer(200, json!({ "returnObj": { "Vendor": rows }, "parameters": { "morePages": more } }).to_string())
}

fn numbers(tableset: &Tableset) -> Vec<u32> {
    tableset.rows("Vendor").iter().map(|row| row.get("VendorNum").unwrap()).collect()
}

#[tokio::test]
async fn pages_go_on_while_there_are_more_however_short_they_are() {
    let (client, log) = fake::client(|number, _| match number {
        1 => page(&[1, 2], true),
        2 => page(&[3], true),
        3 => page(&[], true),
        _ => page(&[4], false),
    });
    let rows = client.service("Erp.BO.VendorSvc").get_rows().where_clause("Vendor", WhereClause::all());
    let all = rows.tables(["VendBank"]).page_size(2).all().await.unwrap();
    assert_eq!(numbers(&all), [1, 2, 3, 4]);
    let sent: Value = serde_json::from_slice(log.last().body()).unwrap();
    assert_eq!(sent, json!({ "whereClauseVendor": "", "whereClauseVendBank": "", "pageSize": 2, "absolutePage": 3 }));
}

#[tokio::test]
async fn a_server_that_counts_pages_from_one_does_not_double_the_first() {
    // The row numbered 2 was changed in between, so that the answers differ.
    let (client, _) = fake::client(|number, _| match number {
        1 => page(&[1, 2], true),
        2 => page(&[2, 1], true),
        3 => page(&[3], false),
        _ => unreachable!("the end was told"),
    });
    let all = client.service("Erp.BO.VendorSvc").get_rows().all().await.unwrap();
    assert_eq!(numbers(&all), [1, 2, 3]);
}

#[tokio::test]
async fn a_server_that_never_ends_is_an_error() {
    let (client, log) = fake::client(|_, _| page(&[1], true));
    let error = client.service("Erp.BO.VendorSvc").get_rows().all().await.unwrap_err();
    assert_eq!((error.kind(), log.len()), (ErrorKind::Decode, 3));
    let (client, log) = fake::client(|_, _| page(&[], true));
    let error = client.service("Erp.BO.VendorSvc").get_rows().all().await.unwrap_err();
    assert_eq!((error.kind(), log.len()), (ErrorKind::Decode, 3));
}

#[tokio::test]
async fn a_list_takes_one_clause_without_a_name() {
    let (client, log) =
        fake::client(|_, _| fake::answer(200, r#"{"returnObj":{"VendorList":[{"VendorNum":1}],"morePages":false}}"#));
    let clause = WhereClause::compare("Name", "=", "O'Hara").unwrap();
    let all = client.service("Erp.BO.VendorSvc").get_list(clause).all().await.unwrap();
    assert_eq!(all.rows("VendorList").len(), 1);
    let sent: Value = serde_json::from_slice(log.last().body()).unwrap();
    assert_eq!(sent["whereClause"], "Name = 'O''Hara'");
}

#[test]
fn where_clauses_are_written_as_the_server_reads_them() {
    let compare = |column, operator, value: Literal| WhereClause::compare(column, operator, value);
    let date = chrono::NaiveDate::from_ymd_opt(2024, 5, 22).unwrap();
    assert_eq!(compare("DueDate", ">=", date.into()).unwrap().to_string(), "DueDate >= '2024-05-22'");
    assert_eq!(compare("Inactive", "=", false.into()).unwrap().to_string(), "Inactive = false");
    let either = compare("A", "=", 1.into()).unwrap().or(compare("B", "=", 2.into()).unwrap());
    assert_eq!(
        either.clone().and(WhereClause::raw("C = 3 OR D = 4")).to_string(),
        "(A = 1 OR B = 2) AND (C = 3 OR D = 4)"
    );
    assert_eq!(WhereClause::all().and(either.clone()).to_string(), "A = 1 OR B = 2");
    assert_eq!(WhereClause::all().or(either).to_string(), "");
    assert_eq!(WhereClause::all().by("MsgDate").unwrap().by("MsgTime").unwrap().to_string(), "BY MsgDate, MsgTime");
    for bad in [compare("a b", "=", 1.into()), compare("A", "like", 1.into()), compare("A", "=", Literal::null())] {
        assert_eq!(bad.unwrap_err().kind(), ErrorKind::Config);
    }
}

#[derive(Debug, Deserialize, PartialEq)]
struct Outputs {
    amount: epicor_kinetic::Decimal,
    #[serde(default)]
    note: Option<String>,
}

#[tokio::test]
async fn functions_take_and_give_flat_objects() {
    let (client, log) = fake::client(|_, _| fake::answer(200, r#"{"amount":12345678901234567890.5}"#));
    let call = client.function("My Lib", "Add").inputs(&json!({ "a": 1 })).staging();
    let outputs = call.send().await.unwrap();
    assert_eq!(log.last().uri().path(), "/live/api/v2/efx/staging/EPIC06/My%20Lib/Add");
    assert_eq!(outputs.get::<Option<String>>("note").unwrap(), None);
    assert_eq!(outputs.get::<String>("note").unwrap_err().kind(), ErrorKind::Decode);
    let all: Outputs = outputs.decode().unwrap();
    assert_eq!(all, Outputs { amount: "12345678901234567890.5".parse().unwrap(), note: None });
}

#[tokio::test]
async fn a_function_is_sent_once_unless_it_only_reads() {
    for (idempotent, times) in [(false, 1), (true, 3)] {
        let (builder, log) = fake::builder(|_, _| fake::answer(500, ""));
        let policy = RetryPolicy::default().attempts(3).first_delay(std::time::Duration::ZERO);
        let client = builder.retry(policy).build().unwrap();
        let call = client.function("Lib", "Fn");
        let call = if idempotent { call.idempotent() } else { call };
        assert_eq!(call.send().await.unwrap_err().kind(), ErrorKind::Server);
        assert_eq!(log.len(), times);
    }
}

#[tokio::test]
async fn a_missing_function_says_what_to_check() {
    let (client, log) = fake::client(|_, _| fake::answer(404, ""));
    let error = client.function("Lib", "Fn").send().await.unwrap_err();
    assert!(error.hint().unwrap().contains("published"), "{error}");
    for (library, function) in [("", "Fn"), ("Lib", "a/b"), ("..", "Fn")] {
        assert_eq!(client.function(library, function).send().await.unwrap_err().kind(), ErrorKind::Config);
    }
    assert!(client.function("Lib", "Fn").inputs(&[1]).send().await.is_err());
    assert_eq!(log.len(), 1);
}

#[tokio::test]
async fn a_service_document_names_the_sets() {
    let (client, log) = fake::client(|_, _| {
        fake::answer(
            200,
            r#"{"@odata.context":"x","value":[{"name":"Vendors","kind":"EntitySet","url":"Vendors"},{"name":"VendorPPs"}]}"#,
        )
    });
    let items = client.service_document("Erp.BO.VendorSvc").await.unwrap();
    assert_eq!(log.last().uri().path(), "/live/api/v2/odata/EPIC06/Erp.BO.VendorSvc");
    assert_eq!(
        items.iter().map(|item| (item.name.as_str(), item.kind.as_str())).collect::<Vec<_>>(),
        [("Vendors", "EntitySet"), ("VendorPPs", "EntitySet")]
    );
    assert_eq!(client.service_document("a/b").await.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn settings_of_a_call_go_along_with_the_company_of_the_client() {
    let (client, log) = fake::client(|_, _| fake::rows(&[]));
    let german = client.with_call_settings(CallSettings::new().plant("Werk").language("de").format_culture("de-CH"));
    let other = german.for_company("EPIC07").unwrap();
    other.entity_set(epicor_kinetic::EntitySet::VENDORS).send::<Value>().await.unwrap();
    let request = log.last();
    let settings: Value = serde_json::from_str(request.headers()["callsettings"].to_str().unwrap()).unwrap();
    let wanted = json!({ "Company": "EPIC07", "Plant": "Werk", "Language": "de", "FormatCulture": "de-CH" });
    assert_eq!(settings, wanted);
    german
        .with_call_settings(CallSettings::new())
        .entity_set(epicor_kinetic::EntitySet::VENDORS)
        .send::<Value>()
        .await
        .unwrap();
    assert!(!log.last().headers().contains_key("callsettings"));
}

#[tokio::test]
async fn retries_of_all_calls_together_have_a_budget() {
    let (builder, log) = fake::builder(|_, _| fake::answer(500, ""));
    let policy = RetryPolicy::default().attempts(4).first_delay(std::time::Duration::ZERO);
    let client = builder.retry(policy).retry_budget(RetryBudget::new(5)).build().unwrap();
    for _ in 0..4 {
        client.entity_set(epicor_kinetic::EntitySet::VENDORS).send::<Value>().await.unwrap_err();
    }
    // Four calls, and five retries among them.
    assert_eq!(log.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn calls_that_take_twenty_seconds_in_a_row_are_the_symptom_of_a_shared_licence() {
    #[derive(Debug, Default)]
    struct Slow(AtomicUsize);
    #[async_trait::async_trait]
    impl epicor_kinetic::Transport for Slow {
        async fn send(&self, _: http::Request<bytes::Bytes>) -> fake::Answer {
            let seconds = if self.0.fetch_add(1, Ordering::SeqCst) == 1 { 1 } else { 20 };
            tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
            fake::rows(&[])
        }
    }
    let (builder, _) = fake::builder(|_, _| fake::rows(&[]));
    let client = builder.transport(std::sync::Arc::new(Slow::default())).build().unwrap();
    for slow_in_a_row in [1, 0, 1, 2, 3] {
        client.entity_set(epicor_kinetic::EntitySet::VENDORS).send::<Value>().await.unwrap();
        assert_eq!(client.hint().is_some(), slow_in_a_row >= 3, "{slow_in_a_row}");
    }
    assert!(client.hint().unwrap().contains("licence"));
}
