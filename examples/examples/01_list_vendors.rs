//! Lists vendors: a typed read, page after page. Runs against the simulator, so it needs no server.

use epicor_kinetic::{Client, EntitySet, Order};
use serde::Deserialize;
use simulators::kinetic::{KineticSim, Seed};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Vendor {
    #[serde(rename = "VendorNum")]
    number: i64,
    name: String,
    currency_code: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kinetic = KineticSim::builder().start().await?;
    kinetic.seed(Seed { vendors: 250, ..Seed::default() });

    let client = Client::builder(kinetic.url())
        .company("EPIC06")
        .api_key(kinetic.api_key())
        .basic(kinetic.user(), kinetic.password())
        .build()?;

    // A server hands out 100 rows unless it is asked for more, and says nothing about it: pages are asked for until one is empty.
    let mut pages = client
        .entity_set(EntitySet::VENDORS)
        .select(["VendorNum", "Name", "CurrencyCode"])
        .order_by("VendorNum", Order::Ascending)
        .page_size(100)
        .pages::<Vendor>();
    let mut vendors = Vec::new();
    while let Some(page) = pages.next_page().await? {
        vendors.extend(page.items);
    }

    for vendor in vendors.iter().take(5) {
        println!("{:>6}  {}  {}", vendor.number, vendor.currency_code, vendor.name);
    }
    if vendors.len() != 250 {
        return Err(format!("expected 250 vendors, read {}", vendors.len()).into());
    }
    println!("ok: read all {} vendors", vendors.len());
    Ok(())
}
