//! Filters invoices by typed conditions and reads them in the order of their revision, in two sittings: what a reader remembers in
//! between is one small text.

use epicor_kinetic::{Client, Continuation, EntitySet, KeysetColumns, field};
use serde::Deserialize;
use simulators::kinetic::{KineticSim, Seed};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    vendor_num: i64,
    invoice_num: String,
    #[serde(rename = "SysRevID")]
    revision: i64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kinetic = KineticSim::builder().start().await?;
    kinetic.seed(Seed { vendors: 50, ap_invoices: 1_000, ..Seed::default() });
    let client = Client::builder(kinetic.url())
        .company("EPIC06")
        .api_key(kinetic.api_key())
        .basic(kinetic.user(), kinetic.password())
        .build()?;

    let first = read(&client, None, 2).await?;
    let (first, remembered) = (first.0, first.1.ok_or("nothing was read")?);
    println!("first sitting: {} invoices, up to revision {}", first.len(), first.last().map_or(0, |row| row.revision));

    let (rest, _) = read(&client, Some(remembered), usize::MAX).await?;
    println!("second sitting: {} invoices", rest.len());

    let mut all: Vec<(i64, String)> =
        first.into_iter().chain(rest).map(|invoice| (invoice.vendor_num, invoice.invoice_num)).collect();
    let read = all.len();
    all.sort();
    all.dedup();
    let there = client.entity_set(EntitySet::AP_INVOICES).select(["InvoiceNum"]).filter(wanted()).top(1).count();
    let there = there.send::<serde_json::Value>().await?.count.ok_or("the server did not count")?;
    if all.len() != read || u64::try_from(read)? != there {
        return Err(format!("read {read} invoices, {} different ones, of {there}", all.len()).into());
    }
    println!("ok: read each of the {there} invoices once");
    Ok(())
}

/// The condition; a quote or umlaut in a value would do no harm.
fn wanted() -> epicor_kinetic::Filter {
    field("OpenPayable").eq(true).and(field("VendorNum").gt(0)).and(field("InvoiceNum").ne("O'Brien"))
}

/// Reads some pages, and answers where to continue.
async fn read(
    client: &Client,
    from: Option<Continuation>,
    pages: usize,
) -> epicor_kinetic::Result<(Vec<Row>, Option<Continuation>)> {
    let mut rows = client
        .entity_set(EntitySet::AP_INVOICES)
        .select(["VendorNum", "InvoiceNum", "SysRevID"])
        .filter(wanted())
        .page_size(200)
        .keyset(KeysetColumns::new().integer("SysRevID"));
    if let Some(continuation) = from {
        rows = rows.resume(continuation)?;
    }
    let mut found = Vec::new();
    for _ in 0..pages {
        let Some(page) = rows.next_page().await? else {
            break;
        };
        found.extend(page.items);
    }
    Ok((found, rows.continuation()))
}
