//! Drafts: marks, before-images, exact texts, and what happens to them when a save fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use epicor_kinetic::{
    Client, Delivery, Draft, ErrorKind, Row, RowMod, Tableset, TransportError, TransportErrorKind, UpdateExt,
    UpdateMaster,
};
use http::Request;
use serde_json::{Value, json};

use crate::fake;

const ONE: &str = "00000000-0000-0000-0000-00000000000a";
const TWO: &str = "00000000-0000-0000-0000-00000000000b";

fn body(request: &Request<Bytes>) -> Value {
    serde_json::from_slice(request.body()).unwrap()
}

fn read(rows: &Value) -> fake::Answer {
    fake::answer(200, json!({ "returnObj": rows }).to_string())
}

fn saved(ds: &Value) -> fake::Answer {
    fake::answer(200, json!({ "parameters": { "ds": ds } }).to_string())
}

async fn invoice(client: &Client) -> Draft {
    let keys = json!({ "vendorNum": 7, "invoiceNum": "A" });
    client.service("Erp.BO.APInvoiceSvc").get_by_id(&keys).await.unwrap()
}

fn two_lines() -> Value {
    json!({
        "APInvHed": [{ "InvoiceNum": "A", "VendorNum": 7, "SysRowID": ONE, "SysRevID": 5, "RowMod": "" }],
        "APInvDtl": [
            { "InvoiceLine": 1, "Description": "x", "SysRowID": TWO, "SysRevID": 6, "RowMod": "" },
            { "InvoiceLine": 2, "Description": "y", "SysRowID": "c", "SysRevID": 7, "RowMod": "" },
        ],
    })
}

#[tokio::test]
async fn a_changed_row_goes_with_what_it_was_before_and_the_others_as_they_are() {
    let (client, log) = fake::client(|number, _| if number == 1 { read(&two_lines()) } else { saved(&json!({})) });
    let mut draft = invoice(&client).await;
    assert!(!draft.is_changed());
    draft.edit("APInvDtl", 0).unwrap().set("Description", "new").unwrap();
    draft.remove("APInvDtl", 1).unwrap();
    assert_eq!(draft.rows("APInvDtl").count(), 1);
    draft.update().await.unwrap();
    let sent = body(&log.last());
    let lines = sent["ds"]["APInvDtl"].as_array().unwrap();
    let marks: Vec<_> = lines.iter().map(|row| (row["Description"].as_str(), row["RowMod"].as_str())).collect();
    assert_eq!(marks, [(Some("x"), Some("")), (Some("new"), Some("U")), (Some("y"), Some("D"))]);
    assert_eq!(lines[0]["SysRowID"], lines[1]["SysRowID"]);
    assert_eq!(lines[1]["SysRevID"], 6);
    assert_eq!(sent["ds"]["APInvHed"][0]["RowMod"], "");
    assert_eq!(sent.as_object().unwrap().len(), 1);
    assert!(!draft.is_changed());
}

#[tokio::test]
async fn without_before_images_each_row_goes_once() {
    let (client, log) = fake::client(|number, _| if number == 1 { read(&two_lines()) } else { saved(&json!({})) });
    let mut draft = invoice(&client).await.before_images(false);
    draft.edit("APInvHed", 0).unwrap().set("InvoiceNum", "B").unwrap();
    draft.update().await.unwrap();
    assert_eq!(body(&log.last())["ds"]["APInvHed"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn update_ext_gets_the_changed_rows_only() {
    let (client, log) = fake::client(|number, _| match number {
        1 => read(&two_lines()),
        _ => fake::answer(200, json!({ "parameters": { "ds": {}, "errorsOccurred": false } }).to_string()),
    });
    let mut draft = invoice(&client).await;
    draft.edit("APInvDtl", 1).unwrap().set("Description", "new").unwrap();
    draft.update_ext(&UpdateExt::default()).await.unwrap();
    let sent = body(&log.last());
    assert_eq!(sent["ds"].as_object().unwrap().keys().collect::<Vec<_>>(), ["APInvDtl"]);
    assert_eq!(sent["ds"]["APInvDtl"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&sent["continueProcessingOnError"], &sent["rollbackParentOnChildError"]),
        (&json!(false), &json!(true))
    );
}

#[tokio::test]
async fn every_digit_goes_back_as_it_came() {
    let text = format!(
        r#"{{"returnObj":{{"POHeader":[{{"SysRowID":"{ONE}","Total":12345678901234567890.10,"Note":"é","RowMod":""}}]}}}}"#
    );
    let (client, log) =
        fake::client(move |number, _| if number == 1 { fake::answer(200, text.clone()) } else { saved(&json!({})) });
    let mut draft = client.service("Erp.BO.POSvc").get_by_id(&json!({ "poNum": 1 })).await.unwrap();
    draft.edit("POHeader", 0).unwrap().set("Note", "new").unwrap();
    draft.update().await.unwrap();
    let sent = String::from_utf8(log.last().body().to_vec()).unwrap();
    assert_eq!(sent.matches("\"Total\":12345678901234567890.10").count(), 2, "{sent}");
}

#[tokio::test]
async fn a_new_row_is_marked_by_the_server_and_replaced_by_what_was_saved() {
    let fresh = json!({ "Vendor": [{ "VendorNum": 0, "VendorID": "", "SysRowID": "00000000-0000-0000-0000-000000000000", "RowMod": "A" }] });
    let done =
        json!({ "Vendor": [{ "VendorNum": 42, "VendorID": "ACME", "SysRowID": ONE, "SysRevID": 9, "RowMod": "" }] });
    let (client, log) = fake::client(move |number, _| saved(if number == 1 { &fresh } else { &done }));
    let mut draft = client.service("Erp.BO.VendorSvc").get_new("GetNewVendor", &json!({})).await.unwrap();
    assert_eq!(body(&log.last()), json!({ "ds": {} }));
    draft.edit("Vendor", 0).unwrap().set("VendorID", "ACME").unwrap();
    draft.update().await.unwrap();
    assert_eq!(body(&log.last())["ds"]["Vendor"].as_array().unwrap().len(), 1);
    assert_eq!(draft.row("Vendor", 0).unwrap().get::<i64>("VendorNum").unwrap(), 42);
    assert_eq!(draft.rows("Vendor").count(), 1);
}

#[tokio::test]
async fn what_a_change_method_answers_is_what_is_sent_next() {
    let changed = json!({ "APInvHed": [
        { "InvoiceNum": "A", "VendorNum": 7, "SysRowID": ONE, "SysRevID": 5, "RowMod": "" },
        { "InvoiceNum": "A", "VendorNum": 8, "SysRowID": ONE, "SysRevID": 5, "RowMod": "U" },
    ] });
    let (client, log) = fake::client(move |number, _| match number {
        1 => read(&two_lines()),
        2 => fake::answer(
            200,
            json!({ "parameters": { "ds": changed, "confirmMsg": "sure?", "cMessageText": " " } }).to_string(),
        ),
        _ => saved(&json!({})),
    });
    let mut draft = invoice(&client).await;
    let outputs = draft.change("ChangeVendorID", &json!({ "ProposedVendorID": "V8" })).await.unwrap();
    assert_eq!(outputs.messages(), [("confirmMsg", "sure?")]);
    assert_eq!(outputs.get::<String>("confirmMsg").unwrap(), "sure?");
    let sent = body(&log.last());
    assert_eq!(sent["ProposedVendorID"], "V8");
    assert_eq!(sent["ds"]["APInvDtl"].as_array().unwrap().len(), 2);
    draft.update().await.unwrap();
    let header = &body(&log.last())["ds"]["APInvHed"];
    assert_eq!((&header[0]["VendorNum"], &header[0]["RowMod"]), (&json!(7), &json!("")));
    assert_eq!((&header[1]["VendorNum"], &header[1]["RowMod"]), (&json!(8), &json!("U")));
    // The lines were not in the answer of the method, and are still there.
    assert_eq!(body(&log.last())["ds"]["APInvDtl"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_the_row_was_at_first_is_remembered_over_several_changes() {
    let echo = |_: usize, request: &Request<Bytes>| {
        if request.uri().path().ends_with("GetByID") { read(&two_lines()) } else { saved(&body(request)["ds"]) }
    };
    let (client, log) = fake::client(echo);
    let mut draft = invoice(&client).await;
    for number in ["B", "C", "D"] {
        draft.edit("APInvHed", 0).unwrap().set("InvoiceNum", number).unwrap();
        draft.change("OnChangeX", &json!({})).await.unwrap();
    }
    draft.update().await.unwrap();
    let header = &body(&log.last())["ds"]["APInvHed"];
    assert_eq!((&header[0]["InvoiceNum"], &header[1]["InvoiceNum"]), (&json!("A"), &json!("D")));
    assert_eq!(header.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn update_master_takes_seven_inputs_and_gives_nine_outputs() {
    let (client, log) = fake::client(|number, _| match number {
        1 => read(&two_lines()),
        _ => fake::answer(
            200,
            r#"{"parameters":{"ds":{},"grpTotalInvAmt":12345678901234567.125,"requiresUserInput":false,
               "opMessage":"m","opMsgChkBankRef":"b","opChkRevMsg":"r","lEnableGenLegalNum":true,"lUpdateRan":true,
               "opDUAMsg":"d"}}"#,
        ),
    });
    let mut draft = invoice(&client).await;
    draft.edit("APInvHed", 0).unwrap().set("InvoiceNum", "B").unwrap();
    let outcome = draft.update_master(&UpdateMaster::new("G1", "APInvHed").check_cpay(false)).await.unwrap();
    assert_eq!(outcome.group_total.unwrap().as_str(), "12345678901234567.125");
    assert!(outcome.enable_legal_number && outcome.update_ran && !outcome.requires_user_input);
    let texts = [outcome.message, outcome.bank_reference_message, outcome.reverse_charge_message, outcome.dua_message];
    assert_eq!(texts, ["m", "b", "r", "d"]);
    let sent = body(&log.last());
    let mut names: Vec<&str> = sent.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let mut seven =
        ["ds", "cGroupID", "cTableName", "runChkCPay", "runChkBankRef", "runChkRevChrg", "suppressUserPrompts"];
    seven.sort_unstable();
    assert_eq!(names, seven);
    assert_eq!((&sent["runChkCPay"], &sent["suppressUserPrompts"]), (&json!(false), &json!(false)));
}

#[tokio::test]
async fn a_refused_save_leaves_the_draft_to_be_corrected() {
    let (client, log) = fake::client(|number, _| match number {
        1 => read(&two_lines()),
        2 => fake::failure(400, "no such terms", "Ice.Common.BusinessObjectException"),
        3 => fake::failure(
            400,
            "Row has been modified by another user and couldn't be updated.",
            "Ice.Common.BusinessObjectException",
        ),
        _ => saved(&json!({})),
    });
    let mut draft = invoice(&client).await;
    draft.edit("APInvHed", 0).unwrap().set("InvoiceNum", "B").unwrap();
    assert_eq!(draft.update().await.unwrap_err().kind(), ErrorKind::Rejected);
    assert!(draft.is_changed() && !draft.is_in_doubt());
    assert_eq!(draft.update().await.unwrap_err().kind(), ErrorKind::Conflict);
    draft.update().await.unwrap();
    assert_eq!(log.len(), 4);
    assert_eq!(body(&log.last())["ds"]["APInvHed"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_save_whose_answer_was_lost_is_never_sent_again_before_somebody_has_looked() {
    let (client, log) = fake::client(|number, _| match number {
        1 => read(&two_lines()),
        2 => Err(TransportError::new(TransportErrorKind::Timeout)),
        _ => saved(&json!({})),
    });
    let mut draft = invoice(&client).await;
    draft.edit("APInvHed", 0).unwrap().set("InvoiceNum", "B").unwrap();
    let error = draft.update().await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Unknown);
    assert!(error.hint().unwrap().contains("VendorNum and InvoiceNum"), "{error}");
    assert!(draft.is_in_doubt());
    assert_eq!(draft.update().await.unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(draft.call("Anything", &json!({})).await.unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(log.len(), 2);
    draft.known_unsaved();
    draft.update().await.unwrap();
    assert_eq!(log.len(), 3);
}

#[tokio::test]
async fn the_answers_of_a_gateway_that_lost_the_server_count_as_lost() {
    for status in [502, 504] {
        let (client, log) = fake::client(move |number, _| match number {
            1 => read(&two_lines()),
            _ => fake::answer(status, "<html>bad gateway</html>"),
        });
        let mut draft = invoice(&client).await;
        draft.edit("APInvHed", 0).unwrap().set("InvoiceNum", "B").unwrap();
        let error = draft.update().await.unwrap_err();
        assert_eq!((error.delivery(), log.len()), (Delivery::Unknown, 2));
        assert!(draft.is_in_doubt());
    }
}

#[derive(Debug)]
struct Never(Arc<AtomicUsize>);

#[async_trait::async_trait]
impl epicor_kinetic::Transport for Never {
    async fn send(&self, _: Request<Bytes>) -> fake::Answer {
        if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
            return read(&two_lines());
        }
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_save_that_the_caller_gave_up_on_is_in_doubt() {
    let (builder, _) = fake::builder(|_, _| fake::answer(500, ""));
    let client = builder.transport(Arc::new(Never(Arc::default()))).build().unwrap();
    let mut draft = invoice(&client).await;
    draft.edit("APInvHed", 0).unwrap().set("InvoiceNum", "B").unwrap();
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(50), draft.update()).await;
    assert!(given_up.is_err() && draft.is_in_doubt());
}

#[tokio::test]
async fn rows_that_may_have_been_saved_in_part_must_be_read_again() {
    let refused = json!({
        "returnObj": { "BOUpdError": [{ "TableName": "APInvDtl", "ErrorLevel": "Error", "ErrorText": "no" }] },
        "parameters": { "errorsOccurred": true, "ds": {} }
    });
    for (options, blocked) in
        [(UpdateExt::default(), false), (UpdateExt::default().continue_processing_on_error(true), true)]
    {
        let refused = refused.clone();
        let (client, _) = fake::client(move |number, _| match number {
            1 => read(&two_lines()),
            2 => fake::answer(200, refused.to_string()),
            _ => saved(&json!({})),
        });
        let mut draft = invoice(&client).await;
        draft.edit("APInvDtl", 0).unwrap().set("Description", "new").unwrap();
        assert_eq!(draft.update_ext(&options).await.unwrap_err().kind(), ErrorKind::Rejected);
        let again = draft.update().await;
        assert_eq!(again.is_err(), blocked);
        if let Err(error) = again {
            assert!(error.to_string().contains("read the record again"), "{error}");
        }
    }
}

#[tokio::test]
async fn mistakes_are_told_before_anything_is_sent() {
    let (client, log) = fake::client(|_, _| read(&two_lines()));
    let mut draft = invoice(&client).await;
    let near = draft.edit("APInvHed", 0).unwrap().set("invoicenum", "B").unwrap_err();
    assert!(near.to_string().contains("there is InvoiceNum"), "{near}");
    assert!(draft.edit("APInvHed", 0).unwrap().set("RowMod", "U").is_err());
    assert!(draft.edit("APInvHed", 1).unwrap_err().to_string().contains("has 1"));
    assert!(draft.edit("APInvhed", 0).unwrap_err().to_string().contains("APInvDtl, APInvHed"));
    assert!(draft.remove("APInvDtl", 2).is_err() && draft.row("X", 0).is_err());
    // Setting what is there already changes nothing.
    draft.edit("APInvHed", 0).unwrap().set("InvoiceNum", "A").unwrap();
    assert!(draft.update().await.unwrap_err().to_string().contains("no row of the draft is changed"));
    assert!(draft.change("ChangeX", &json!({ "ds": 1 })).await.is_err());
    assert!(draft.change("ChangeX", &json!([1])).await.is_err());
    let service = client.service("Erp.BO.APInvoiceSvc");
    assert!(service.update_ext(&Tableset::new(), &UpdateExt::default()).await.is_err());
    assert_eq!(log.len(), 1);
    assert!(!format!("{draft:?}").contains("InvoiceNum"));
}

#[tokio::test]
async fn an_empty_tableset_is_no_record() {
    let (client, _) = fake::client(|_, _| read(&json!({ "Vendor": [], "ExtensionTables": [] })));
    let error = client.service("Erp.BO.VendorSvc").get_by_id(&json!({ "vendorNum": 1 })).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn rows_of_ones_own_are_saved_by_their_marks() {
    let (client, log) = fake::client(|_, _| {
        let ds = json!({ "Vendor": [{ "VendorNum": 7, "Name": "B" }] });
        fake::answer(200, json!({ "parameters": { "ds": ds, "errorsOccurred": false } }).to_string())
    });
    let row = Row::new().with("VendorNum", 7).unwrap().with("Name", "B").unwrap().marked(RowMod::Updated);
    let rows = Tableset::new().with("Vendor", row);
    let saved = client.service("Erp.BO.VendorSvc").update_ext(&rows, &UpdateExt::default()).await.unwrap();
    assert_eq!(saved.rows("Vendor")[0].get::<String>("Name").unwrap(), "B");
    assert_eq!(body(&log.last())["ds"]["Vendor"][0], json!({ "VendorNum": 7, "Name": "B", "RowMod": "U" }));
}
