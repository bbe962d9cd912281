//! What no reader can beat on this machine: all pages are fetched and thrown away, while Tableau's engine is given as many rows of the
//! same columns. Nothing is decoded, compared, audited or published.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kinetic_tableau_sync::decode::PageDecoder;
use kinetic_tableau_sync::hyper::{Engine, EngineLocation, ExtractWriter};
use kinetic_tableau_sync::{Batch, Column, ColumnData, ColumnType, Schema, Values};
use tokio::sync::mpsc;

use super::{COLUMNS, Outcome, cpu_seconds, peak_mib};

const PAGE: u64 = 5_000;

fn kind(name: &str) -> ColumnType {
    match name {
        "VendorNum" | "FiscalYear" | "FiscalPeriod" | "PONum" => ColumnType::Int32,
        "SysRevID" => ColumnType::Int64,
        "InvoiceAmt" | "DocInvoiceAmt" | "InvoiceBal" => ColumnType::Decimal { precision: 17, scale: 3 },
        "ExchangeRate" => ColumnType::Decimal { precision: 17, scale: 6 },
        "DebitMemo" | "OpenPayable" | "Posted" => ColumnType::Bool,
        "InvoiceDate" | "DueDate" | "ApplyDate" => ColumnType::Date,
        "ChangedOn" => ColumnType::Timestamp,
        _ => ColumnType::Text,
    }
}

fn schema() -> Arc<Schema> {
    let column = |name: &&str| Column {
        name: (*name).to_owned(),
        source: (*name).to_owned(),
        kind: kind(name),
        nullable: true,
        landed: true,
    };
    // By the vendor's number alone, which is made different in each row: no time goes into keys of text.
    Arc::new(Schema {
        columns: COLUMNS.iter().map(column).collect(),
        key: vec![1],
        version: None,
        row_id: None,
        stamp: None,
        stamp_seconds: None,
        dimensions: Vec::new(),
    })
}

/// The rows of the first page under other keys.
fn renumbered(first: &Batch, from: u64) -> Outcome<Batch> {
    let mut columns: Vec<ColumnData> = first.columns().to_vec();
    if let Some(Values::I64(numbers)) = columns.get_mut(1).map(|column| &mut column.values) {
        for (number, nth) in numbers.iter_mut().zip(from..) {
            *number = i64::try_from(nth)?;
        }
    }
    Batch::from_columns(Arc::clone(first.schema()), columns).map_err(|_| "columns of unequal length".into())
}

/// The process of the limit; prints what it took.
pub(crate) async fn run(arguments: &[String]) -> Outcome<()> {
    let [odata, rows, work] = arguments else { return Err("three arguments are needed".into()) };
    let rows: u64 = rows.parse()?;
    let address = format!("{odata}/api/v2/odata/EPIC06/Erp.BO.APInvoiceSvc/APInvoices");
    let select = COLUMNS.join(",");
    let begun = Instant::now();
    let (send, mut pages) = mpsc::channel(2);
    let reading = tokio::spawn(async move {
        let client = reqwest::Client::new();
        for skip in (0..rows).step_by(usize::try_from(PAGE).unwrap_or(usize::MAX)) {
            let page = client.get(format!("{address}?$select={select}&$top={PAGE}&$skip={skip}&$orderby=SysRevID"));
            let page = page.send().await?.error_for_status()?.bytes().await?;
            if send.send(page).await.is_err() {
                break;
            }
        }
        Ok::<_, reqwest::Error>(())
    });
    let engine = Engine::start(&EngineLocation::find()?).await?;
    let schema = schema();
    let mut writer = ExtractWriter::create(&engine, Path::new(work).join("limit.hyper"), &schema).await?;
    let (mut first, mut done) = (None, 0);
    while let Some(page) = pages.recv().await {
        if first.is_none() {
            first = Some(PageDecoder::new(Arc::clone(&schema)).decode(&page)?.batch);
        }
        let Some(batch) = &first else { break };
        writer.insert(&renumbered(batch, done)?).await?;
        done += batch.rows() as u64;
    }
    reading.await??;
    let staged = writer.seal().await?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{seconds} {} {} {}", cpu_seconds(std::process::id())?, peak_mib()?, staged.rows);
    Ok(())
}
