//! Queries of the company's own (BAQs): run one with typed rows, and see before trusting it whether it can be synced.

use epicor_kinetic::Client;
use serde::Deserialize;
use simulators::kinetic::{KineticSim, Seed};

#[derive(Debug, Deserialize)]
struct Row {
    #[serde(rename = "APInvHed_InvoiceNum")]
    invoice: String,
    #[serde(rename = "APInvHed_VendorNum")]
    vendor: i64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kinetic = KineticSim::builder().start().await?;
    kinetic.seed(Seed { vendors: 20, ap_invoices: 80, ..Seed::default() });
    // A vendor without invoices: an outer join has a row without an invoice number then.
    kinetic.database().write("Vendors", [("VendorNum", 7.into()), ("VendorID", "LONELY".into())]);
    let client = Client::builder(kinetic.url())
        .company("EPIC06")
        .api_key(kinetic.api_key())
        .basic(kinetic.user(), kinetic.password())
        .build()?;

    let rows = client.baq("KT-Invoices").send::<Row>().await?.items;
    let row = rows.first().ok_or("the query has no rows")?;
    println!("{} rows, the first is invoice {} of vendor {}", rows.len(), row.invoice, row.vendor);

    let mut usable = Vec::new();
    for (baq, keys) in [
        ("KT-Invoices", ["APInvHed_VendorNum", "APInvHed_InvoiceNum"]),
        ("KT-VendorInvoices", ["Vendor_VendorNum", "APInvHed_InvoiceNum"]),
    ] {
        let check = client.check_baq(&client.baq(baq), &keys).await?;
        println!("{baq}: usable for sync: {}; {} rows looked at", check.is_usable(), check.rows);
        for finding in &check.findings {
            println!("  {} → {}", finding.message, finding.hint);
        }
        usable.push(check.is_usable());
    }
    if usable != [true, false] {
        return Err("the check came to another end".into());
    }
    println!("ok: one can be synced, the other not");
    Ok(())
}
