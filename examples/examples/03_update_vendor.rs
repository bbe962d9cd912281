//! Changes a vendor as Kinetic wants it done: get the row, change it, send it back, and see that a stale copy is refused.

use epicor_kinetic::{Client, EntitySet, ErrorKind, Literal, Order};
use serde_json::{Value, json};
use simulators::kinetic::{KineticSim, Seed};

const NAME: &str = "Zoë Ø'Brien & Söhne 東京";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kinetic = KineticSim::builder().start().await?;
    kinetic.seed(Seed { vendors: 10, ..Seed::default() });
    // A token of Kinetic's own service instead of the password with each call; it is renewed before it runs out.
    let client = Client::builder(kinetic.url())
        .company("EPIC06")
        .api_key(kinetic.api_key())
        .token_resource(kinetic.user(), kinetic.password())
        .build()?;

    let first =
        client.entity_set(EntitySet::VENDORS).select(["VendorNum"]).order_by("VendorNum", Order::Ascending).top(1);
    let page = first.send::<Value>().await?;
    let number = page.items.first().and_then(|row| row.get("VendorNum")).and_then(Value::as_i64).ok_or("no vendor")?;

    let vendors = client.service("Erp.BO.VendorSvc");
    let stale = vendors.read("GetByID", &json!({ "vendorNum": number })).await?.return_obj;

    vendors.call("Update", &json!({ "ds": renamed(stale.clone(), NAME) })).await?;
    println!("vendor {number} renamed");

    // Somebody who still holds the old copy must not undo it unseen.
    match vendors.call("Update", &json!({ "ds": renamed(stale, "Somebody else") })).await {
        Ok(_) => return Err("a stale row was taken".into()),
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Rejected) => {
            println!("stale copy refused: {error}");
        }
        Err(error) => return Err(error.into()),
    }

    let key = [Literal::from("EPIC06"), Literal::from(number)];
    let row: Value = client.entity_set(EntitySet::VENDORS).select(["Name"]).get(key).await?;
    if row.get("Name").and_then(Value::as_str) != Some(NAME) {
        return Err("the vendor has another name".into());
    }
    println!("ok: vendor {number} is now {NAME}");
    Ok(())
}

/// The row changed, with the mark that says so.
fn renamed(mut tableset: Value, name: &str) -> Value {
    if let Some(row) = tableset.pointer_mut("/Vendor/0").and_then(Value::as_object_mut) {
        row.insert("Name".to_owned(), json!(name));
        row.insert("RowMod".to_owned(), json!("U"));
    }
    tableset
}
