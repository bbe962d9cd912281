//! The server of the benchmark: rows made beforehand as JSON, of which each page is a slice, and a simulated Tableau.

use std::fmt::Write as _;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, header};
use percent_encoding::percent_decode_str;
use simulators::tableau::TableauSim;

use super::Outcome;

/// Rows in the order of their versions.
struct Table {
    /// All rows as JSON, each with a comma behind it.
    text: Bytes,
    /// Where each row ends.
    ends: Vec<u64>,
    /// The version of each row, ascending.
    versions: Vec<i64>,
    /// The number of each row, and its amount in cents.
    rows: Vec<(u64, i64)>,
}

struct Shared {
    table: RwLock<Arc<Table>>,
    count: u64,
    latency: Duration,
    tableau: TableauSim,
}

const FIRST: i64 = 2_000_000_000;

/// One row: what it holds depends on its number and how often it has changed.
fn row(text: &mut String, number: u64, edit: u64, version: i64) -> i64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ edit;
    let cents = i64::try_from(mixed % 100_000_000).unwrap_or_default();
    let day = 1 + number % 28;
    let (month, vendor) = (1 + number % 12, number % 20_000);
    let (whole, part) = (cents / 100, cents % 100);
    let minute = (version / 60) % 60;
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{{\"Company\":\"EPIC06\",\"VendorNum\":{vendor},\"InvoiceNum\":\"INV-{number:09}\",\"VendorNumVendorID\":\"V{vendor:06}\",\
         \"VendorNumName\":\"Supplier {vendor} of Parts and Services GmbH\",\"InvoiceDate\":\"2025-{month:02}-{day:02}T00:00:00\",\
         \"DueDate\":\"2026-{month:02}-{day:02}T00:00:00\",\"ApplyDate\":\"2025-{month:02}-{day:02}T00:00:00\",\
         \"InvoiceAmt\":{whole}.{part:02},\"DocInvoiceAmt\":{whole}.{part:02},\"InvoiceBal\":{part}.{part:02},\
         \"CurrencyCode\":\"EUR\",\"ExchangeRate\":1.{part:02}25,\"TermsCode\":\"N30\",\"FiscalYear\":2025,\"FiscalPeriod\":{month},\
         \"GroupID\":\"G{}\",\"EntryPerson\":\"clerk{}\",\"Description\":\"Delivery {number} as agreed, see the order for the details of it\",\
         \"PONum\":{},\"DebitMemo\":false,\"OpenPayable\":true,\"Posted\":true,\"ChangedBy\":\"clerk{}\",\
         \"ChangedOn\":\"2026-03-{day:02}T08:{minute:02}:{:02}\",\"SysRevID\":{version},\
         \"SysRowID\":\"{:08x}-0000-4000-8000-{number:012x}\"}},",
        number % 900,
        number % 40,
        number % 300_000,
        edit % 40,
        version % 60,
        mixed & 0xffff_ffff,
    );
    cents
}

fn table(rows: impl Iterator<Item = (u64, u64)>, count: u64) -> Table {
    let capacity = usize::try_from(count).unwrap_or_default();
    let mut text = String::with_capacity(capacity * 760);
    let (mut ends, mut versions, mut kept) =
        (Vec::with_capacity(capacity), Vec::with_capacity(capacity), Vec::with_capacity(capacity));
    for (number, edit) in rows {
        let version = FIRST + i64::try_from(number + edit * count).unwrap_or_default();
        let cents = row(&mut text, number, edit, version);
        ends.push(text.len() as u64);
        versions.push(version);
        kept.push((number, cents));
    }
    Table { text: Bytes::from(text), ends, versions, rows: kept }
}

impl Table {
    fn slice(&self, from: usize, to: usize) -> Bytes {
        let (from, to) = (from.min(self.ends.len()), to.min(self.ends.len()));
        let at = |row: usize| row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        let (start, end) = (at(from), at(to));
        let (start, end) = (usize::try_from(start).unwrap_or_default(), usize::try_from(end).unwrap_or_default());
        // Without the last comma.
        if end > start { self.text.slice(start..end - 1) } else { Bytes::new() }
    }

    fn sums(&self) -> String {
        let amounts: i64 = self.rows.iter().map(|row| row.1).sum();
        let versions: i64 = self.versions.iter().sum();
        format!("{0} {0} {amounts} {versions}", self.rows.len())
    }
}

/// Starts both servers, tells their addresses, and serves until standard input ends.
pub(crate) async fn serve(arguments: &[String]) -> Outcome<()> {
    let count: u64 = arguments.first().ok_or("how many rows?")?.parse()?;
    let latency = Duration::from_millis(arguments.get(1).ok_or("how slow?")?.parse()?);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    // A file is looked at when its rows are changed; to look at it as it comes would be work of the server that is not measured.
    let tableau = TableauSim::builder().switches(|switches| switches.check_extracts = false).start().await?;
    let fresh = table((0..count).map(|number| (number, 0)), count);
    // Not before the rows are made: making them is no part of what is measured.
    println!(
        "http://{address}/SaaS1 {} {} {} {}",
        tableau.url(),
        tableau.site(),
        tableau.pat_name(),
        tableau.pat_secret()
    );
    let shared = Arc::new(Shared { table: RwLock::new(Arc::new(fresh)), count, latency, tableau });
    let app = axum::Router::new().fallback(answer).with_state(shared);
    let ended = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        ended = ended => drop(ended??),
    }
    Ok(())
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let current = || shared.table.read().map(|table| Arc::clone(&table));
    let Ok(now) = current() else { return text(500, "text/plain", "poisoned".into()) };
    match path.rsplit('/').next().unwrap_or_default() {
        "$metadata" => text(200, "application/xml", metadata().into()),
        "APInvoices" => {
            tokio::time::sleep(shared.latency).await;
            page(&now, &query)
        }
        "landed" => {
            let file = shared.tableau.extract_path("APInvoices").map(|path| path.display().to_string());
            text(200, "text/plain", file.unwrap_or_default().into())
        }
        "sums" => text(200, "text/plain", now.sums().into()),
        what @ ("change" | "reset") => {
            let (count, every) = (shared.count, if what == "change" { 100 } else { u64::MAX });
            // What changed goes to the end of the order, as it does in a database.
            let same = (0..count).filter(|number| number % every != 1).map(|number| (number, 0));
            let changed = (0..count).filter(|number| number % every == 1).map(|number| (number, 1));
            let fresh = if what == "reset" {
                table((0..count).map(|number| (number, 0)), count)
            } else {
                table(same.chain(changed), count)
            };
            if let Ok(mut table) = shared.table.write() {
                *table = Arc::new(fresh);
            }
            text(200, "text/plain", "done".into())
        }
        _ => text(404, "text/plain", path.into()),
    }
}

fn text(status: u16, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// A page: by row version, as our engine asks, or by a number of rows, as the script does.
fn page(table: &Table, query: &str) -> Response<Body> {
    let decoded = percent_decode_str(&query.replace('+', " ")).decode_utf8_lossy().into_owned();
    let option = |name: &str| decoded.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let number = |name: &str| option(name).and_then(|value| value.parse::<usize>().ok());
    let filter = option("$filter").unwrap_or_default();
    let bound = |operator: &str| {
        let at = filter.find(operator)?;
        filter.get(at + operator.len()..)?.split([' ', ')']).next()?.parse::<i64>().ok()
    };
    let top = number("$top").unwrap_or(100);
    let first = bound("SysRevID gt ").map_or(0, |after| table.versions.partition_point(|version| *version <= after));
    let last = bound("SysRevID le ")
        .map_or(table.versions.len(), |to| table.versions.partition_point(|version| *version <= to));
    let descending = option("$orderby").is_some_and(|order| order.contains(" desc"));
    let (from, to) = if descending {
        (last.saturating_sub(top), last)
    } else {
        let from = first + number("$skip").unwrap_or(0);
        (from.min(last), (from + top).min(last))
    };
    let parts = [Bytes::from_static(b"{\"value\":["), table.slice(from, to), Bytes::from_static(b"]}")];
    let stream = futures_util::stream::iter(parts.map(Ok::<_, std::io::Error>));
    text(200, "application/json", Body::from_stream(stream))
}

fn metadata() -> String {
    let kind = |name: &str| match name {
        "VendorNum" | "FiscalYear" | "FiscalPeriod" | "PONum" => "Edm.Int32\"",
        "SysRevID" => "Edm.Int64\"",
        "InvoiceAmt" | "DocInvoiceAmt" | "InvoiceBal" => "Edm.Decimal\" Precision=\"17\" Scale=\"3\"",
        "ExchangeRate" => "Edm.Decimal\" Precision=\"17\" Scale=\"6\"",
        "DebitMemo" | "OpenPayable" | "Posted" => "Edm.Boolean\"",
        "InvoiceDate" | "DueDate" | "ApplyDate" | "ChangedOn" => "Edm.DateTimeOffset\"",
        "SysRowID" => "Edm.Guid\"",
        _ => "Edm.String\"",
    };
    let properties: Vec<String> =
        super::COLUMNS.iter().map(|name| format!("<Property Name=\"{name}\" Type=\"{}/>", kind(name))).collect();
    let properties = properties.concat();
    format!(
        "<?xml version=\"1.0\"?><edmx:Edmx Version=\"4.0\" xmlns:edmx=\"http://docs.oasis-open.org/odata/ns/edmx\"><edmx:DataServices>\
         <Schema Namespace=\"Erp\" xmlns=\"http://docs.oasis-open.org/odata/ns/edm\"><EntityType Name=\"APInvHed\"><Key>\
         <PropertyRef Name=\"Company\"/><PropertyRef Name=\"VendorNum\"/><PropertyRef Name=\"InvoiceNum\"/></Key>{properties}</EntityType>\
         <EntityContainer Name=\"Container\"><EntitySet Name=\"APInvoices\" EntityType=\"Erp.APInvHed\"/></EntityContainer></Schema>\
         </edmx:DataServices></edmx:Edmx>"
    )
}
