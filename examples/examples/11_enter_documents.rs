//! A vendor, an invoice and an order entered as Kinetic wants it: every step in order, the group unlocked whatever happens, and what
//! was saved taken back when a later step is refused.

use chrono::NaiveDate;
use epicor_kinetic::{
    Client, Decimal, NewApInvoice, NewApInvoiceLine, NewPurchaseOrder, NewPurchaseOrderLine, NewVendor,
};
use simulators::kinetic::{KineticSim, Seed};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kinetic = KineticSim::builder().start().await?;
    kinetic.seed(Seed { vendors: 5, ..Seed::default() });
    let client = Client::builder(kinetic.url())
        .company("EPIC06")
        .api_key(kinetic.api_key())
        .basic(kinetic.user(), kinetic.password())
        .build()?;
    let day = NaiveDate::from_ymd_opt(2026, 11, 20).ok_or("no such day")?;

    let vendor = client.vendors().create(&NewVendor::new("HUBER", "Huber & Söhne").column("City", "Graz")).await?;
    println!("vendor {} has number {}", vendor.vendor_id.as_deref().unwrap_or_default(), vendor.vendor_num);

    let total: Decimal = "119.00".parse()?;
    let invoice = NewApInvoice::new("KT1", "HUBER", "2026/11-7", day, total.clone())
        .column("Description", "entered by an example")
        .line(NewApInvoiceLine::new("drill bits", 10, "9.90".parse::<Decimal>()?))
        .line(NewApInvoiceLine::new("freight", 1, 20));
    let entered = client.ap_invoices().create(&invoice).await?;
    println!("invoice {} with lines {:?}; the server says: {:?}", entered.invoice_num, entered.lines, entered.notices);

    // The same again is refused, and the first one is not touched.
    let Err(refused) = client.ap_invoices().create(&invoice).await else {
        return Err("the same invoice was entered twice".into());
    };
    println!("again: {refused}");

    let order = NewPurchaseOrder::new("HUBER")
        .line(NewPurchaseOrderLine::new("P-3", 12).unit_cost("0.35".parse::<Decimal>()?).due(day))
        .approve(true);
    let placed = client.purchase_orders().create(&order).await?;
    println!("order {} approved: {}", placed.po_num, placed.approved);

    // A line that is refused takes back what was saved before it.
    let before = kinetic.truth_count("POes");
    let bad = order.line(NewPurchaseOrderLine::new("P-3", -1));
    let Err(refused) = client.purchase_orders().create(&bad).await else {
        return Err("a negative quantity was taken".into());
    };
    println!("with a bad line: {refused}");

    let saved = client.ap_invoices().get(vendor.vendor_num, "2026/11-7").await?;
    let holder = kinetic.rows("APInvGrps").first().and_then(|group| group.text("ActiveUserID"));
    let sound = saved.doc_invoice_vendor_amt == Some(total) && saved.lines.len() == 2 && placed.approved;
    if !sound || holder.as_deref() != Some("") || kinetic.truth_count("POes") != before || !refused.undone {
        return Err("something is left that should not be, or missing".into());
    }
    println!("ok: entered once each, nothing half done, the group is free");
    Ok(())
}
