//! Flows: invoices and orders, whole, refused half way, and broken at every single call.

use std::time::Duration;

use chrono::NaiveDate;
use epicor_kinetic::{ErrorKind, NewApInvoice, NewApInvoiceLine, NewPurchaseOrder, NewPurchaseOrderLine};
use simulators::faults::{Effect, Fault};
use simulators::kinetic::{KineticSim, Row};

use super::{client, company};

fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 20).unwrap()
}

fn invoice() -> NewApInvoice {
    let line = |text: &str, cost: &str| {
        NewApInvoiceLine::new(
            text,
            "2.5".parse::<epicor_kinetic::Decimal>().unwrap(),
            cost.parse::<epicor_kinetic::Decimal>().unwrap(),
        )
    };
    NewApInvoice::new("KT1", "V1003", "NEW-1", day(), "1234567.125".parse::<epicor_kinetic::Decimal>().unwrap())
        .column("Description", "two lines")
        .line(line("first", "10.12345"))
        .line(line("second", "0.00001"))
}

fn of(sim: &KineticSim, set: &str, column: &str, value: &str) -> Vec<Row> {
    sim.rows(set).into_iter().filter(|row| row.text(column).as_deref() == Some(value)).collect()
}

fn holder(sim: &KineticSim) -> Option<String> {
    of(sim, "APInvGrps", "GroupID", "KT1").first().and_then(|row| row.text("ActiveUserID"))
}

#[tokio::test]
async fn an_invoice_is_entered_header_and_lines_and_its_group_is_free_again() {
    let sim = company(KineticSim::builder()).await;
    let invoices = client(&sim).ap_invoices();
    let created = invoices.create(&invoice()).await.unwrap();
    assert_eq!((created.vendor_num, created.invoice_num.as_str()), (1_003, "NEW-1"));
    assert_eq!(created.lines, [1, 2]);
    assert_eq!(created.group_total.unwrap().as_str(), "1234567.125");
    assert!(created.notices.contains(&"Check the fiscal period.".to_owned()));
    let header = of(&sim, "APInvoices", "InvoiceNum", "NEW-1").remove(0);
    assert_eq!(header.text("DocInvoiceVendorAmt").unwrap(), "1234567.125");
    assert_eq!(
        (header.text("InvoiceDate").unwrap(), header.text("GroupID").unwrap()),
        ("2026-11-20".to_owned(), "KT1".to_owned())
    );
    let lines = of(&sim, "APInvDtls", "InvoiceNum", "NEW-1");
    let costs: Vec<_> =
        lines.iter().map(|row| (row.text("DocUnitCost").unwrap(), row.text("VendorQty").unwrap())).collect();
    assert_eq!(
        costs,
        [("10.12345".to_owned(), "2.50000000".to_owned()), ("0.00001".to_owned(), "2.50000000".to_owned())]
    );
    assert_eq!(holder(&sim).as_deref(), Some(""));
    let read = invoices.get(1_003, "NEW-1").await.unwrap();
    assert_eq!(read.lines.len(), 2);
    // The same again is a conflict, and does not touch the one that is there.
    let again = invoices.create(&invoice()).await.unwrap_err();
    assert_eq!((again.step, again.error.kind()), ("save header", ErrorKind::Conflict));
    assert!(!again.is_partial() && again.cleanup.is_empty(), "{again}");
    assert_eq!(of(&sim, "APInvDtls", "InvoiceNum", "NEW-1").len(), 2);
    assert_eq!(holder(&sim).as_deref(), Some(""));
}

#[tokio::test]
async fn a_refused_line_takes_the_invoice_back_unless_it_is_to_stay() {
    for keep in [false, true] {
        let sim = company(KineticSim::builder()).await;
        let refusal = Effect::Status {
            status: 400,
            body: r#"{"ErrorType":"Ice.BLException","ErrorMessage":"no such unit"}"#.to_owned(),
            retry_after: None,
        };
        sim.faults().push(Fault::on("UpdateMaster", refusal).nth(2));
        let error = client(&sim).ap_invoices().create(&invoice().keep_partial(keep)).await.unwrap_err();
        assert_eq!(error.step, "save line");
        assert_eq!(error.saved, ["invoice header", "line 1"]);
        assert_eq!((error.undone, error.is_partial()), (!keep, keep));
        assert!(error.to_string().contains("save line") && error.to_string().contains("line 1"), "{error}");
        assert_eq!(of(&sim, "APInvoices", "InvoiceNum", "NEW-1").len(), usize::from(keep));
        assert_eq!(of(&sim, "APInvDtls", "InvoiceNum", "NEW-1").len(), usize::from(keep));
        assert_eq!(holder(&sim).as_deref(), Some(""));
    }
}

#[tokio::test]
async fn a_group_of_somebody_else_is_left_alone() {
    let sim = company(KineticSim::builder()).await;
    sim.database().write("APInvGrps", [("GroupID", "KT1".into()), ("ActiveUserID", "anna".into())]);
    let error = client(&sim).ap_invoices().create(&invoice()).await.unwrap_err();
    assert_eq!((error.step, error.error.kind()), ("lock group", ErrorKind::Rejected));
    assert!(!error.is_partial());
    assert_eq!(holder(&sim).as_deref(), Some("anna"));
    assert_eq!(sim.faults().count("UnlockGroup"), 0);
}

#[tokio::test]
async fn what_cannot_be_an_invoice_is_refused_before_anything_is_sent() {
    let sim = company(KineticSim::builder()).await;
    let invoices = client(&sim).ap_invoices();
    for (group, vendor, number) in
        [("", "V1003", "A"), ("TOOLONGGROUP", "V1003", "A"), ("G", "", "A"), ("G", "V1003", "")]
    {
        let error = invoices.create(&NewApInvoice::new(group, vendor, number, day(), 1)).await.unwrap_err();
        assert_eq!(error.error.kind(), ErrorKind::Config);
    }
    let long = NewApInvoice::new("G", "V1003", "9".repeat(51), day(), 1);
    assert!(invoices.create(&long).await.unwrap_err().to_string().contains("50"));
    assert_eq!(sim.faults().requests().len(), 0);
}

/// Whatever happens at whatever call: the group is free, and what the error says about what is left is true.
#[tokio::test]
async fn a_failure_at_any_call_leaves_a_free_group_and_tells_the_truth() {
    let calls = {
        let sim = company(KineticSim::builder()).await;
        client(&sim).ap_invoices().create(&invoice()).await.unwrap();
        sim.faults().requests().len()
    };
    let refusal = Effect::Status { status: 400, body: "{}".to_owned(), retry_after: None };
    for effect in [refusal, Effect::DropBefore, Effect::DropAfter, Effect::Html(502), Effect::CutBody(3)] {
        for nth in 1..=calls {
            let sim = company(KineticSim::builder()).await;
            sim.faults().push(Fault::on("SaaS1", effect.clone()).nth(nth.try_into().unwrap()));
            let result = client(&sim).ap_invoices().create(&invoice()).await;
            let at = format!("{effect:?} at call {nth}: {result:?}");
            let headers = of(&sim, "APInvoices", "InvoiceNum", "NEW-1").len();
            let lines = of(&sim, "APInvDtls", "InvoiceNum", "NEW-1").len();
            match &result {
                Ok(_) => assert_eq!((headers, lines), (1, 2), "{at}"),
                // The invoice was entered whole; only the lock is not given back, and that is said.
                Err(error) if error.step == "unlock group" => assert_eq!((headers, lines), (1, 2), "{at}"),
                Err(error) if error.undone || !error.is_partial() => assert_eq!((headers, lines), (0, 0), "{at}"),
                Err(_) => assert!(headers <= 1 && lines <= 2, "{at}"),
            }
            let unlocked_too_late =
                matches!(&result, Err(error) if error.step == "unlock group" || !error.cleanup.is_empty());
            for _ in 0..100 {
                if holder(&sim).unwrap_or_default().is_empty() || unlocked_too_late {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(unlocked_too_late || holder(&sim).unwrap_or_default().is_empty(), "{at}");
        }
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_no_lock_behind() {
    let sim = company(KineticSim::builder()).await;
    sim.faults().push(Fault::on("UpdateMaster", Effect::Delay(Duration::from_secs(30))));
    let invoices = client(&sim).ap_invoices();
    let given_up = tokio::time::timeout(Duration::from_millis(700), invoices.create(&invoice())).await;
    assert!(given_up.is_err());
    assert!(sim.faults().count("UpdateMaster") == 1 && holder(&sim).is_some());
    for _ in 0..200 {
        if sim.faults().count("UnlockGroup") > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(sim.faults().count("UnlockGroup"), 1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(holder(&sim).as_deref(), Some(""));
}

fn order() -> NewPurchaseOrder {
    let cost = |text: &str| text.parse::<epicor_kinetic::Decimal>().unwrap();
    NewPurchaseOrder::new("V1003")
        .column("BuyerID", "ANNA")
        .line(NewPurchaseOrderLine::new("P-7", 3).unit_cost(cost("9.99")).due(day()))
        .line(NewPurchaseOrderLine::new("P'1", cost("0.5")))
        .approve(true)
}

#[tokio::test]
async fn an_order_is_made_with_lines_and_releases_and_approved() {
    let sim = company(KineticSim::builder()).await;
    let orders = client(&sim).purchase_orders();
    let created = orders.create(&order()).await.unwrap();
    assert_eq!((created.lines.as_slice(), created.approved), (&[1, 2][..], true));
    let read = orders.get(created.po_num).await.unwrap();
    assert_eq!((read.vendor_num, read.approve, read.buyer_id.as_deref()), (Some(1_003), Some(true), Some("ANNA")));
    assert_eq!((read.details.len(), read.releases.len()), (2, 2));
    assert_eq!(read.details[0].unit_cost, Some("9.99".parse().unwrap()));
    assert_eq!(read.details[1].part_num.as_deref(), Some("P'1"));
}

#[tokio::test]
async fn a_refused_order_line_takes_the_order_back() {
    let sim = company(KineticSim::builder()).await;
    let count = sim.truth_count("POes");
    let orders = client(&sim).purchase_orders();
    let bad = order().line(NewPurchaseOrderLine::new("P-7", -1));
    let error = orders.create(&bad).await.unwrap_err();
    assert_eq!((error.step, error.undone), ("make line", true));
    assert_eq!(error.saved.len(), 3);
    assert_eq!(
        (sim.truth_count("POes"), sim.truth_count("PODetails"), sim.truth_count("PORels")),
        (count, count * 2, count * 2)
    );
    let unknown = orders.create(&NewPurchaseOrder::new("NOBODY")).await.unwrap_err();
    assert_eq!(unknown.step, "make header");
    assert!(unknown.saved.is_empty());
}

#[tokio::test]
async fn a_failure_at_any_call_of_an_order_tells_the_truth() {
    let calls = {
        let sim = company(KineticSim::builder()).await;
        client(&sim).purchase_orders().create(&order()).await.unwrap();
        sim.faults().requests().len()
    };
    let refusal = Effect::Status { status: 400, body: "{}".to_owned(), retry_after: None };
    for effect in [refusal, Effect::DropAfter, Effect::Html(504)] {
        for nth in 1..=calls {
            let sim = company(KineticSim::builder()).await;
            let before = sim.truth_count("POes");
            sim.faults().push(Fault::on("SaaS1", effect.clone()).nth(nth.try_into().unwrap()));
            let result = client(&sim).purchase_orders().create(&order()).await;
            let at = format!("{effect:?} at call {nth}: {result:?}");
            let made = sim.truth_count("POes") - before;
            match &result {
                Ok(_) => assert_eq!(made, 1, "{at}"),
                Err(error) if error.undone || !error.is_partial() => assert_eq!(made, 0, "{at}"),
                Err(_) => assert!(made <= 1, "{at}"),
            }
        }
    }
}
