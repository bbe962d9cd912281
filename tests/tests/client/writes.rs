//! Writing: vendors, drafts, and saves whose answer was lost.

use epicor_kinetic::{Delivery, EntitySet, ErrorKind, NewVendor, Row, RowMod, Tableset, UpdateExt, UpdateMaster};
use serde_json::json;
use simulators::faults::{Effect, Fault};
use simulators::kinetic::KineticSim;

use super::{client, company};

fn vendors_called(sim: &KineticSim, id: &str) -> usize {
    sim.rows("Vendors").iter().filter(|row| row.text("VendorID").as_deref() == Some(id)).count()
}

#[tokio::test]
async fn a_vendor_is_made_found_changed_and_deleted() {
    let sim = company(KineticSim::builder()).await;
    let vendors = client(&sim).vendors();
    let new = NewVendor::new("ACME", "Acme \"& Söhne\"").column("TermsCode", "N30").column("Rating_c", 4);
    let made = vendors.create(&new).await.unwrap();
    assert_eq!((made.vendor_id.as_deref(), made.terms_code.as_deref()), (Some("ACME"), Some("N30")));
    assert!(made.vendor_num > 0 && made.sys_rev_id.unwrap() > i64::from(i32::MAX));
    let found = vendors.find("ACME").await.unwrap().unwrap();
    assert_eq!((found.vendor_num, found.name.as_deref()), (made.vendor_num, Some("Acme \"& Söhne\"")));
    let changed = vendors.update(made.vendor_num, |row| row.set("Name", "Acme 2").map(drop)).await.unwrap();
    assert_eq!((changed.name.as_deref(), changed.terms_code.as_deref()), (Some("Acme 2"), Some("N30")));
    assert!(changed.sys_rev_id > made.sys_rev_id);
    // The whole row went back: what was not changed is still there.
    assert_eq!(
        sim.rows("Vendors")
            .iter()
            .find(|row| row.text("VendorID").as_deref() == Some("ACME"))
            .unwrap()
            .text("Rating_c")
            .unwrap(),
        "4"
    );
    let before = sim.faults().requests().len();
    vendors.update(made.vendor_num, |row| row.set("Name", "Acme 2").map(drop)).await.unwrap();
    assert_eq!(sim.faults().requests().len(), before + 1, "nothing changed, so nothing is saved");
    vendors.delete(made.vendor_num).await.unwrap();
    assert_eq!(vendors.get(made.vendor_num).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(vendors.find("ACME").await.unwrap(), None);
    assert_eq!(vendors.delete(made.vendor_num).await.unwrap_err().kind(), ErrorKind::NotFound);
    let service = client(&sim).service(EntitySet::VENDORS.service());
    let by_id = service.get_by("GetByVendID", &json!({ "vendorID": "V1003" })).await.unwrap();
    assert_eq!(by_id.row("Vendor", 0).unwrap().get::<i64>("VendorNum").unwrap(), 1_003);
}

#[tokio::test]
async fn a_rule_refuses_with_the_words_of_the_server_and_nothing_is_saved() {
    let sim = company(KineticSim::builder()).await;
    let count = sim.truth_count("Vendors");
    let error = client(&sim).vendors().create(&NewVendor::new("", "Nobody")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.service_error().unwrap().says("Supplier ID is required."));
    let unknown =
        client(&sim).vendors().create(&NewVendor::new("X", "X").column("Termscode", "N30")).await.unwrap_err();
    assert!(unknown.to_string().contains("there is TermsCode"), "{unknown}");
    assert_eq!(sim.truth_count("Vendors"), count);
}

#[tokio::test]
async fn a_row_that_somebody_changed_in_between_is_a_conflict() {
    let sim = company(KineticSim::builder()).await;
    let vendors = client(&sim).vendors();
    let mut draft = vendors.draft(1_003).await.unwrap();
    draft.edit("Vendor", 0).unwrap().set("Name", "mine").unwrap();
    sim.database().write("Vendors", [("VendorNum", 1_003.into()), ("Comment", "theirs".into())]);
    assert_eq!(draft.update().await.unwrap_err().kind(), ErrorKind::Conflict);
    vendors.update(1_003, |row| row.set("Name", "mine").map(drop)).await.unwrap();
    let row = sim.rows("Vendors").into_iter().find(|row| row.text("VendorNum").as_deref() == Some("1003")).unwrap();
    assert_eq!((row.text("Name").unwrap(), row.text("Comment").unwrap()), ("mine".to_owned(), "theirs".to_owned()));
}

#[tokio::test]
async fn a_save_is_sent_once_whatever_happens_to_its_answer() {
    for (effect, saved) in [
        (Effect::DropBefore, 0),
        (Effect::DropAfter, 1),
        (Effect::CutBody(10), 1),
        (Effect::Html(502), 0),
        (Effect::Html(504), 0),
    ] {
        let sim = company(KineticSim::builder()).await;
        let client = client(&sim);
        sim.faults().push(Fault::on("VendorSvc/Update", effect.clone()));
        let error = client.vendors().create(&NewVendor::new("ACME", "Acme")).await.unwrap_err();
        assert_eq!(error.delivery(), Delivery::Unknown, "{effect:?}");
        assert!(error.hint().unwrap().contains("VendorID"), "{error}");
        assert_eq!(sim.faults().count("VendorSvc/Update"), 1, "{effect:?}");
        assert_eq!(vendors_called(&sim, "ACME"), saved, "{effect:?}");
        assert_eq!(client.vendors().find("ACME").await.unwrap().is_some(), saved == 1);
    }
}

#[tokio::test]
async fn reading_methods_are_sent_again_and_others_are_not() {
    let sim = company(KineticSim::builder()).await;
    let client = client(&sim);
    for method in ["GetByID", "GetNewVendor"] {
        sim.faults().push(Fault::on(method, Effect::DropAfter));
        sim.faults().push(Fault::on(method, Effect::Html(503)));
    }
    assert!(!client.vendors().draft(1_003).await.unwrap().is_changed());
    client.vendors().create(&NewVendor::new("ACME", "Acme")).await.unwrap();
    assert_eq!((sim.faults().count("GetByID"), sim.faults().count("GetNewVendor")), (3, 3));
    sim.faults().push(Fault::on("DeleteByID", Effect::DropAfter));
    assert_eq!(client.vendors().delete(1_004).await.unwrap_err().delivery(), Delivery::Unknown);
    assert_eq!(sim.faults().count("DeleteByID"), 1);
}

#[tokio::test]
async fn update_ext_takes_keys_and_changes_and_reports_refusals() {
    let sim = company(KineticSim::builder()).await;
    let service = client(&sim).service(EntitySet::VENDORS.service());
    let row = |number: i64| {
        Row::new().with("VendorNum", number).unwrap().with("Name", "short").unwrap().marked(RowMod::Updated)
    };
    let before = sim.rows("Vendors").into_iter().find(|row| row.text("VendorNum").as_deref() == Some("1003")).unwrap();
    let saved = service.update_ext(&Tableset::new().with("Vendor", row(1_003)), &UpdateExt::default()).await.unwrap();
    assert_eq!(saved.rows("Vendor")[0].get::<String>("Name").unwrap(), "short");
    let after = sim.rows("Vendors").into_iter().find(|row| row.text("VendorNum").as_deref() == Some("1003")).unwrap();
    assert_eq!(after.text("VendorID"), before.text("VendorID"));
    let both = Tableset::new().with("Vendor", row(1_004)).with("Vendor", row(77));
    let error = service.update_ext(&both, &UpdateExt::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.service_error().unwrap().says("Record not found."));
}

#[tokio::test]
async fn a_question_of_the_server_is_no_success_unless_it_answers_itself() {
    let sim = company(KineticSim::builder().switches(|switches| switches.update_master_asks = true)).await;
    let invoices = client(&sim).ap_invoices();
    let row = sim.rows("APInvoices").into_iter().find(|row| !row.text("InvoiceNum").unwrap().contains('/')).unwrap();
    let vendor: i32 = row.text("VendorNum").unwrap().parse().unwrap();
    let mut draft = invoices.draft(vendor, &row.text("InvoiceNum").unwrap()).await.unwrap();
    draft.edit("APInvHed", 0).unwrap().set("Description", "asked").unwrap();
    let error = draft.update_master(&UpdateMaster::new("", "APInvHed")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.service_error().unwrap().says("The invoice has a question for you."));
    let outcome = draft.update_master(&UpdateMaster::new("", "APInvHed").suppress_user_prompts(true)).await.unwrap();
    assert!(outcome.update_ran);
    assert!(!draft.is_changed());
}
