//! Typed rows of the standard tables, with the columns that only this company has, and lines below their order.

use epicor_kinetic::entities::{ApInvoice, PurchaseOrder, Vendor};
use epicor_kinetic::{Client, EntitySet, field};
use futures_util::TryStreamExt;
use simulators::kinetic::{KineticSim, Seed};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kinetic = KineticSim::builder().start().await?;
    kinetic.seed(Seed { vendors: 30, ap_invoices: 120, purchase_orders: 10, ..Seed::default() });
    let client = Client::builder(kinetic.url())
        .company("EPIC06")
        .api_key(kinetic.api_key())
        .basic(kinetic.user(), kinetic.password())
        .build()?;

    // What this company's server has, columns of its own included; what it lacks is not asked for.
    let metadata = client.metadata(EntitySet::VENDORS.service()).await?;
    let vendor = metadata.entity_type_of("Vendors").ok_or("no vendors there")?;
    let own: Vec<&str> = vendor.user_defined().map(|property| property.name.as_str()).collect();
    println!("columns of this company's own: {}", own.join(", "));
    let query = client.query::<Vendor>().also_select(own).also_select(["OnlyElsewhere_c"]).only_known(vendor);
    let vendors: Vec<Vendor> = query.stream().try_collect().await?;
    let first = vendors.first().ok_or("no vendor")?;
    let rating: i64 = first.extra.get("Rating_c")?;
    println!("vendor {} {:?} is rated {rating}", first.vendor_num, first.name.as_deref().unwrap_or_default());

    // Amounts are exact: decimals keep every digit the server wrote.
    let large =
        client.query::<ApInvoice>().filter(field("InvoiceAmt").gt("1000000.005".parse::<epicor_kinetic::Decimal>()?));
    let invoices: Vec<ApInvoice> = large.stream().try_collect().await?;
    for invoice in invoices.iter().take(3) {
        let amount = invoice.invoice_amt.as_ref().ok_or("an invoice without an amount")?;
        println!("{:>14} {amount}", invoice.invoice_num);
    }

    let orders = client.query::<PurchaseOrder>().expand("PODetails").top(1).send::<PurchaseOrder>().await?.items;
    let order = orders.first().ok_or("no order")?;
    println!("order {} has {} lines", order.po_num, order.details.len());

    let all = vendors.len() == 30 && invoices.iter().all(|invoice| invoice.invoice_amt > Some(1_000_000.into()));
    if !all || order.details.len() != 2 {
        return Err("rows are missing or wrong".into());
    }
    println!("ok: {} vendors, {} large invoices", vendors.len(), invoices.len());
    Ok(())
}
