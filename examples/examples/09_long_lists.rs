//! More keys than fit into one address, and pages read ahead while the last one is worked on.

use std::time::{Duration, Instant};

use epicor_kinetic::entities::ApInvoice;
use epicor_kinetic::{Client, EntitySet, KeysetColumns};
use futures_util::TryStreamExt;
use serde_json::Value;
use simulators::kinetic::{KineticSim, Seed};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A server that takes its time, as real ones do.
    let slow = Duration::from_millis(20);
    let kinetic = KineticSim::builder().switches(|switches| switches.latency = slow).start().await?;
    kinetic.seed(Seed { ap_invoices: 600, ..Seed::default() });
    let client = Client::builder(kinetic.url())
        .company("EPIC06")
        .api_key(kinetic.api_key())
        .basic(kinetic.user(), kinetic.password())
        .build()?;

    // 1,500 numbers, of which every other one exists: as many requests as the length of addresses needs, and no more.
    let wanted = (0..1_500).map(|number| format!("INV-{number}"));
    let found: Vec<ApInvoice> = client.query::<ApInvoice>().stream_in("InvoiceNum", wanted)?.try_collect().await?;
    println!("{} invoices found by number, in {} requests", found.len(), kinetic.faults().count("APInvoices"));

    // Working on a page while the next ones are on their way.
    let mut taken = Vec::new();
    for ahead in [0, 3] {
        let begun = Instant::now();
        let rows =
            client.entity_set(EntitySet::AP_INVOICES).select(["VendorNum", "InvoiceNum", "SysRevID"]).page_size(50);
        let mut pages =
            rows.keyset(KeysetColumns::new().integer("SysRevID")).prefetch(ahead).into_page_stream::<Value>();
        let mut read = 0;
        while let Some(page) = pages.try_next().await? {
            read += page.items.len();
            tokio::time::sleep(slow).await;
        }
        println!("{read} rows with {ahead} pages ahead: {} ms", begun.elapsed().as_millis());
        if read != 600 {
            return Err("rows are missing".into());
        }
        taken.push(begun.elapsed());
    }
    let expected = kinetic
        .rows("APInvoices")
        .iter()
        .filter(|row| row.text("InvoiceNum").is_some_and(|text| text.starts_with("INV-")))
        .count();
    if found.len() != expected || taken.first() <= taken.last() {
        return Err(format!("found {} of {expected}, in {taken:?}", found.len()).into());
    }
    println!("ok: found all {expected}, and reading ahead was faster");
    Ok(())
}
