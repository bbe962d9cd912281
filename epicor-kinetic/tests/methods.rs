//! Business-object methods: shapes, and failures inside a 200.

use epicor_kinetic::{EntitySet, ErrorKind};
use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::fake;

#[tokio::test]
async fn a_call_posts_its_parameters_and_reads_both_parts_of_the_answer() {
    let (client, log) = fake::client(|_, _| {
        fake::answer(200, r#"{"returnObj":{"Vendor":[{"VendorNum":7}]},"parameters":{"morePages":false}}"#)
    });
    let answer = client.service("Erp.BO.VendorSvc").read("GetByID", &json!({ "vendorNum": 7 })).await.unwrap();
    assert_eq!(answer.return_obj["Vendor"][0]["VendorNum"], 7);
    assert_eq!(answer.parameters["morePages"], false);
    let request = log.last();
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.uri().path(), "/live/api/v2/odata/EPIC06/Erp.BO.VendorSvc/GetByID");
    assert_eq!(request.headers()["content-type"], "application/json");
    assert_eq!(serde_json::from_slice::<Value>(request.body()).unwrap(), json!({ "vendorNum": 7 }));
}

#[tokio::test]
async fn without_parameters_an_empty_object_is_sent() {
    let (client, log) = fake::client(|_, _| fake::answer(200, "{}"));
    client.service("Erp.BO.POSvc").method("CloseAll").send().await.unwrap();
    assert_eq!(log.last().body().as_ref(), b"{}");
}

#[tokio::test]
async fn parts_may_be_missing_and_so_may_the_body() {
    for body in ["", "{}", r#"{"returnObj":null}"#, r#"{"parameters":{}}"#] {
        let (client, _) = fake::client(move |_, _| fake::answer(200, body));
        let answer = client.service("Erp.BO.POSvc").call("Update", &json!({})).await.unwrap();
        assert!(answer.return_obj.is_null() && answer.parameters.is_empty(), "{body}");
        assert_eq!(answer.return_obj_as::<Option<i64>>().unwrap(), None);
        assert_eq!(answer.parameter_as::<i64>("ds").unwrap_err().kind(), ErrorKind::Decode);
    }
}

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "Amount")]
    amount: Box<RawValue>,
}

#[tokio::test]
async fn long_decimals_keep_every_digit_on_request() {
    const AMOUNT: &str = "123456789012345678.90";
    let (client, _) =
        fake::client(|_, _| fake::answer(200, format!(r#"{{"parameters":{{"ds":{{"Amount":{AMOUNT}}}}}}}"#)));
    let answer = client.service("Erp.BO.POSvc").call("Update", &json!({})).await.unwrap();
    assert_eq!(answer.parameter_as::<Row>("ds").unwrap().amount.get(), AMOUNT);
}

#[tokio::test]
async fn a_success_that_saved_nothing_is_an_error() {
    for (body, said) in [
        (
            json!({
                "returnObj": { "BOUpdError": [{ "TableName": "Vendor", "ErrorLevel": "Error", "ErrorText": "no such terms" }] },
                "parameters": { "errorsOccurred": true, "ds": {} }
            }),
            "no such terms",
        ),
        (json!({ "parameters": { "requiresUserInput": true, "opMessage": "are you sure?" } }), "are you sure?"),
        (json!({ "parameters": { "lUpdateRan": false, "opDUAMsg": "amounts differ" } }), "amounts differ"),
    ] {
        let text = body.to_string();
        let (client, log) = fake::client(move |_, _| fake::answer(200, text.clone()));
        let error = client.service("Erp.BO.APInvoiceSvc").call("UpdateMaster", &json!({})).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.service_error().unwrap().says(said));
        assert!(!error.to_string().contains(said));
        assert_eq!(log.len(), 1);
    }
    let fine = json!({ "parameters": { "errorsOccurred": false, "requiresUserInput": false, "lUpdateRan": true } });
    let (client, _) = fake::client(move |_, _| fake::answer(200, fine.to_string()));
    client.service("Erp.BO.APInvoiceSvc").call("UpdateMaster", &json!({})).await.unwrap();
}

#[tokio::test]
async fn a_stale_row_is_a_conflict() {
    let (client, _) = fake::client(|_, _| {
        fake::failure(
            400,
            "Row has been modified by another user and couldn't be updated",
            "Ice.Common.BusinessObjectException",
        )
    });
    let error = client.service("Erp.BO.VendorSvc").call("Update", &json!({})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn impossible_calls_are_refused_before_anything_is_sent() {
    let (client, log) = fake::client(|_, _| fake::answer(200, "{}"));
    for (service, method) in [("", "Update"), ("Erp.BO.X/../Y", "Update"), ("Erp.BO.X", ""), ("Erp.BO.X", "a/b")] {
        let error = client.service(service).call(method, &json!({})).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
    let list = client.service("Erp.BO.X").call("Update", &json!([1])).await.unwrap_err();
    assert_eq!(list.kind(), ErrorKind::Config);
    assert_eq!(log.len(), 0);
    assert_eq!(EntitySet::PO_LINES.keys().collect::<Vec<_>>(), ["Company", "PONUM", "POLine"]);
}
