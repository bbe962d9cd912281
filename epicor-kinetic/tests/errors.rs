//! What errors say, and what they never say.

use epicor_kinetic::{EntitySet, Error, ErrorKind};
use serde::Deserialize;
use serde_json::json;

use crate::fake;

fn everything(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.extend(format!(" {cause} {cause:?}").chars());
        source = cause.source();
    }
    text
}

#[tokio::test]
async fn no_secret_survives_whatever_the_server_answers() {
    let basic = "c3ZjOkNBTkFSWS1QQVNTLTE=";
    let echo = format!("Invalid API Key CANARY-KEY-1\nCompany EPIC06 svc CANARY-PASS-1 {basic} canary-key-1");
    for (status, body) in [
        (401, json!({ "ErrorMessage": echo, "ErrorType": "System.UnauthorizedAccessException" }).to_string()),
        (400, json!({ "ErrorMessage": "x", "ErrorType": echo, "CorrelationId": echo }).to_string()),
        (400, json!({ "ErrorMessage": "x", "ErrorDetails": [{ "Message": echo, "Table": echo }] }).to_string()),
        (400, json!({ "error": { "code": echo, "message": echo } }).to_string()),
        (404, format!("<html>{echo}</html>")),
        (418, echo.clone()),
        (200, echo.clone()),
        (200, format!("<html>{echo}</html>")),
        (200, json!({ "value": [{ "VendorNum": echo }] }).to_string()),
        (200, json!({ "value": echo }).to_string()),
        (302, echo.clone()),
    ] {
        let text = body.clone();
        let (client, _) = fake::client(move |_, _| fake::answer(status, text.clone()));
        let error = client.entity_set(EntitySet::VENDORS).select(["VendorNum"]).send::<Vendor>().await.unwrap_err();
        let said = everything(&error);
        assert!(!said.to_lowercase().contains("canary") && !said.contains(basic), "{body}\n{said}");
        assert!(!error.to_string().contains('\n'));
        assert!(error.hint().is_some(), "{error}");
    }
}

#[derive(Debug, Deserialize)]
struct Vendor {
    #[serde(rename = "VendorNum")]
    _vendor_num: i64,
}

#[tokio::test]
async fn a_row_that_does_not_fit_is_named_without_its_values() {
    let (client, _) = fake::client(|_, _| {
        fake::rows(&[
            json!({ "VendorNum": 1 }),
            json!({ "VendorNum": "SECRET, expected SECRET" }),
            json!({ "VendorNum": 3 }),
        ])
    });
    let error = client.entity_set(EntitySet::VENDORS).send::<Vendor>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.message().contains("row 2") && error.message().contains("i64"), "{error}");
    assert!(!everything(&error).contains("SECRET"));
    let (client, _) = fake::client(|_, _| fake::rows(&[json!({ "Name": "SECRET" })]));
    let error = client.entity_set(EntitySet::VENDORS).send::<Vendor>().await.unwrap_err();
    assert!(error.message().contains("VendorNum") && !everything(&error).contains("SECRET"), "{error}");
}

#[tokio::test]
async fn a_page_of_a_proxy_is_not_taken_for_data() {
    let (client, _) = fake::client(|_, _| fake::answer(200, "<!DOCTYPE html><title>Sign in</title>"));
    let error = client.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.hint().unwrap().contains("root address"));
    let (client, _) = fake::client(|_, _| {
        let mut page = fake::answer(200, "Sign in")?;
        page.headers_mut().insert("content-type", http::HeaderValue::from_static("text/HTML; charset=utf-8"));
        Ok(page)
    });
    let error = client.entity_set(EntitySet::VENDORS).bytes().await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Decode, epicor_kinetic::Delivery::Answered));
    for body in ["", "{}", "[]", "null", "{\"value\":null}"] {
        let (client, _) = fake::client(move |_, _| fake::answer(200, body));
        assert_eq!(client.ping().await.unwrap_err().kind(), ErrorKind::Decode, "{body}");
    }
}

#[tokio::test]
async fn an_error_names_what_was_being_done() {
    let (client, _) = fake::client(|_, _| fake::failure(404, "no", "ApiException"));
    let read = client.baq("KT-Spend").bytes().await.unwrap_err();
    let called = client.service("Erp.BO.POSvc").call("Update", &json!({})).await.unwrap_err();
    let described = client.metadata("Erp.BO.POSvc").await.unwrap_err();
    let raw = client.request(http::Method::GET, "api/x?secret=CANARY").send().await.unwrap_err();
    assert_eq!(read.operation(), "read KT-Spend");
    assert_eq!(called.operation(), "call Erp.BO.POSvc.Update");
    assert_eq!(described.operation(), "read metadata of Erp.BO.POSvc");
    assert_eq!(raw.operation(), "GET api/x");
    assert_eq!(read.status().unwrap(), 404);
}
