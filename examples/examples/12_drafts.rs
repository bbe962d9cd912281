//! Drafts: rows of a record, changed and sent back with the marks that Kinetic wants. A stale draft is refused, and an answer that was
//! lost leaves the draft in doubt instead of being sent again.

use epicor_kinetic::{Client, Delivery, EntitySet, ErrorKind, Row, RowMod, Tableset, UpdateExt, UpdateMaster};
use serde_json::json;
use simulators::faults::{Effect, Fault};
use simulators::kinetic::{KineticSim, Seed};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kinetic = KineticSim::builder().start().await?;
    kinetic.seed(Seed { vendors: 5, ap_invoices: 20, invoice_lines: 2, ..Seed::default() });
    let client = Client::builder(kinetic.url())
        .company("EPIC06")
        .api_key(kinetic.api_key())
        .basic(kinetic.user(), kinetic.password())
        .build()?;
    let service = client.service(EntitySet::VENDORS.service());
    let number = json!({ "vendorNum": 1_003 });

    let mut mine = service.get_by_id(&number).await?;
    let mut stale = service.get_by_id(&number).await?;
    mine.edit("Vendor", 0)?.set("Name", "Renamed")?.set("City", "Graz")?;
    mine.update().await?;
    stale.edit("Vendor", 0)?.set("Name", "Too late")?;
    match stale.update().await {
        Err(error) if error.kind() == ErrorKind::Conflict => println!("stale: {error}"),
        other => return Err(format!("a stale draft was taken: {other:?}").into()),
    }

    // The answer gets lost: it may have been saved, so the draft refuses to be sent again before somebody has looked.
    let mut lost = service.get_by_id(&number).await?;
    lost.edit("Vendor", 0)?.set("Name", "Saved, but who knows")?;
    kinetic.faults().push(Fault::on("VendorSvc/Update", Effect::DropAfter));
    match lost.update().await {
        Err(error) if error.delivery() == Delivery::Unknown => println!("lost: {error}"),
        other => return Err(format!("a lost answer went unseen: {other:?}").into()),
    }
    println!("in doubt: {}, so read it again: {}", lost.is_in_doubt(), lost.update().await.is_err());
    let now = service.get_by_id(&number).await?.row("Vendor", 0)?.get::<String>("Name")?;
    println!("it is {now:?}");

    // Only keys and changes, no read before: UpdateExt.
    let row = Row::new().with("VendorNum", 1_004)?.with("City", "Linz")?.marked(RowMod::Updated);
    service.update_ext(&Tableset::new().with("Vendor", row), &UpdateExt::default()).await?;

    // Invoices have a method of their own, with seven inputs and nine outputs.
    let invoice = kinetic.rows("APInvoices").into_iter().next().ok_or("no invoice")?;
    let text = |column: &str| invoice.text(column).unwrap_or_default();
    let mut draft = client.ap_invoices().draft(text("VendorNum").parse()?, &text("InvoiceNum")).await?;
    println!("tables of the draft: {}", draft.tables().collect::<Vec<_>>().join(", "));
    draft.edit("APInvHed", 0)?.set("Description", "seen")?;
    let outcome = draft.update_master(&UpdateMaster::new(text("GroupID"), "APInvHed")).await?;
    println!("saved: {}; {}", outcome.update_ran, outcome.message);

    let city = service.get_by_id(&json!({ "vendorNum": 1_004 })).await?.row("Vendor", 0)?.get::<String>("City")?;
    if now != "Saved, but who knows" || city != "Linz" || !outcome.update_ran {
        return Err("a change was lost".into());
    }
    println!("ok: every change is there once");
    Ok(())
}
