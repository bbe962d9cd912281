//! What is not OData: `GetRows` and `GetList` with their own where clauses, functions (`efx`), any other method, and what a service says
//! of itself.

use epicor_kinetic::{Client, EntitySet, WhereClause};
use serde_json::{Value, json};
use simulators::kinetic::{KineticSim, Seed};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kinetic = KineticSim::builder().start().await?;
    kinetic.seed(Seed { vendors: 40, ap_invoices: 100, invoice_lines: 2, ..Seed::default() });
    let client = Client::builder(kinetic.url())
        .company("EPIC06")
        .api_key(kinetic.api_key())
        .basic(kinetic.user(), kinetic.password())
        .build()?;

    let invoices = client.service(EntitySet::AP_INVOICES.service());
    let metadata = client.metadata(invoices.name()).await?;
    let sets: Vec<String> = client.service_document(invoices.name()).await?.into_iter().map(|item| item.name).collect();
    println!("{} offers {} and {} methods", invoices.name(), sets.join(", "), metadata.actions().len());

    // Records with the rows below them, page after page.
    let clause = WhereClause::compare("VendorNum", ">=", 1_010)?.by("SysRevID")?;
    let rows = invoices.get_rows().where_clause("APInvHed", clause).tables_of(&metadata)?.page_size(25).all().await?;
    println!("GetRows: {} invoices with {} lines", rows.rows("APInvHed").len(), rows.rows("APInvDtl").len());

    let vendors = client.service(EntitySet::VENDORS.service());
    let list = vendors.get_list(WhereClause::compare("Inactive", "=", false)?).all().await?;
    println!("GetList: {} active vendors", list.rows("Vendor").len());

    // Any method by name; `read` for those that only read, so that they may be tried again.
    let vendor = vendors.read("GetByID", &json!({ "vendorNum": 1_003 })).await?.return_obj;
    println!("GetByID: {}", vendor.pointer("/Vendor/0/Name").and_then(Value::as_str).unwrap_or_default());

    let inputs = json!({ "amount": 12.5 });
    let echo: Value = client.function("KtLib", "Echo").inputs(&inputs).send().await?.get("echo")?;
    let Err(refused) = client.function("KtLib", "Refuse").send().await else {
        return Err("a refusal went unseen".into());
    };
    println!("function: {echo}; refused: {refused}");

    let truth = kinetic
        .rows("APInvoices")
        .into_iter()
        .filter(|row| row.text("VendorNum").is_some_and(|text| text.as_str() >= "1010"));
    let truth = truth.count();
    if rows.rows("APInvHed").len() != truth || rows.rows("APInvDtl").len() != truth * 2 || echo != inputs {
        return Err(format!("expected {truth} invoices with two lines each").into());
    }
    println!("ok: {truth} invoices by GetRows");
    Ok(())
}
