//! Typed rows: what they take, keep and give back.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[test]
fn a_row_keeps_what_it_has_no_field_for() {
    let text = r#"{"Company":"EPIC06","VendorNum":7,"Name":"A","Rating_c":12345678901234567890.5,"@odata.etag":"x","Approved":null}"#;
    let vendor: Vendor = serde_json::from_str(text).unwrap();
    assert_eq!((vendor.vendor_num, vendor.name.as_deref(), vendor.approved), (7, Some("A"), None));
    assert_eq!(vendor.extra.columns().collect::<Vec<_>>(), ["Rating_c"]);
    assert_eq!(vendor.extra.raw("Rating_c").unwrap().get(), "12345678901234567890.5");
    assert_eq!(vendor.terms_code, None);
    let back: Value = serde_json::from_str(&serde_json::to_string(&vendor).unwrap()).unwrap();
    assert_eq!(back["Name"], "A");
    assert!(serde_json::to_string(&vendor).unwrap().contains("12345678901234567890.5"));
    assert!(back.get("Approved").is_none());
}

#[test]
fn a_row_without_its_key_is_refused_by_name() {
    let error = serde_json::from_value::<Vendor>(json!({ "Company": "EPIC06", "Name": "A" })).unwrap_err();
    assert!(error.to_string().contains("missing field `VendorNum`"), "{error}");
}

#[test]
fn children_come_along_when_they_are_expanded() {
    let order: PurchaseOrder = serde_json::from_value(json!({
        "Company": "EPIC06", "PONum": 7,
        "PODetails": [{ "Company": "EPIC06", "PONUM": 7, "POLine": 1, "OrderQty": "2.50" }],
        "PORels": null,
    }))
    .unwrap();
    assert_eq!(order.details[0].order_qty, Some("2.5".parse().unwrap()));
    assert!(order.releases.is_empty());
}

#[test]
fn the_status_of_a_task_is_read_in_any_case() {
    let status = |text: &str| {
        serde_json::from_value::<SysTask>(json!({ "SysTaskNum": 1, "TaskStatus": text })).unwrap().status()
    };
    assert_eq!(status("ACTIVE"), TaskStatus::Active);
    assert_eq!(status("Complete"), TaskStatus::Complete);
    assert!(status("error").is_over() && status("Canceled").is_over() && !status("Pending").is_over());
    assert_eq!(status("Held"), TaskStatus::Other("Held".to_owned()));
}

#[test]
fn keys_come_first_and_columns_are_named_once() {
    fn check<E: Entity>() {
        let keys: Vec<String> = E::SET.keys().map(str::to_owned).collect();
        assert_eq!(E::COLUMNS.get(..keys.len()).unwrap(), keys);
        let distinct: std::collections::BTreeSet<_> = E::COLUMNS.iter().collect();
        assert_eq!(distinct.len(), E::COLUMNS.len());
        assert!(E::COLUMNS.contains(&"SysRevID"));
    }
    check::<Vendor>();
    check::<ApInvoice>();
    check::<ApInvoiceLine>();
    check::<ApInvoiceGroup>();
    check::<PurchaseOrder>();
    check::<PurchaseOrderDetail>();
    check::<PurchaseOrderRelease>();
    check::<Payment>();
    check::<ApTransaction>();
    check::<Customer>();
    check::<Part>();
    check::<GlAccount>();
    check::<GlJournalDetail>();
    check::<SysTask>();
}

proptest! {
    #[test]
    fn any_row_goes_out_as_it_came_in(
        num in any::<i32>(), name in any::<Option<String>>(), amount in "-?[1-9][0-9]{0,30}\\.[0-9]{1,9}",
        own in any::<String>(), own_name in "[A-Z][a-z]{1,8}_c",
    ) {
        let text = format!(
            r#"{{"Company":"EPIC06","VendorNum":{num},"InvoiceNum":{},"InvoiceAmt":{amount},"{own_name}":{}}}"#,
            serde_json::to_string(&name.clone().unwrap_or_default()).unwrap(), serde_json::to_string(&own).unwrap()
        );
        let invoice: ApInvoice = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(invoice.invoice_amt.as_ref().unwrap().as_str(), amount);
        prop_assert_eq!(invoice.extra.get::<String>(&own_name).unwrap(), own);
        let again: ApInvoice = serde_json::from_str(&serde_json::to_string(&invoice).unwrap()).unwrap();
        prop_assert_eq!(again, invoice);
    }
}
