//! A whole sync, measured beside a careful Python script that does the same: read a table of 27 columns over OData, write an extract,
//! publish it; then 1 % of the rows change, and only they are to land.
//!
//! Beside both stands the limit: the same pages fetched and thrown away, while Tableau's engine is given as many rows. It does nothing
//! else, so that nothing that lands rows can be faster on the same machine.
//!
//! `cargo bench --package simulators --bench sync` takes a million rows; `-- --rows 5000000` another number, `-- --no-peer` leaves
//! script and limit out, `-- --latency-ms 100` lets each page take that long. Server, sync and script run in processes of their own on the same machine; the server answers slices of pages that were
//! made beforehand, so that it is not what is measured. What lands is read back by Tableau's engine and compared with the server's
//! sums. Prints ratios; only a wrong result ends it with an error.

mod limit;
mod peer;
mod server;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use kinetic_tableau_sync::hyper::{Engine, EngineLocation, ExtractReader, InstallOptions, find_or_install};
use kinetic_tableau_sync::store::SqliteStore;
use kinetic_tableau_sync::{
    DatasetId, DatasetSpec, HyperOptions, KineticSource, Progress, ProgressEvent, SourceObject, Syncer,
    TableauDestination, Target,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The columns, as the script names them as well.
pub(crate) const COLUMNS: [&str; 27] = [
    "Company",
    "VendorNum",
    "InvoiceNum",
    "VendorNumVendorID",
    "VendorNumName",
    "InvoiceDate",
    "DueDate",
    "ApplyDate",
    "InvoiceAmt",
    "DocInvoiceAmt",
    "InvoiceBal",
    "CurrencyCode",
    "ExchangeRate",
    "TermsCode",
    "FiscalYear",
    "FiscalPeriod",
    "GroupID",
    "EntryPerson",
    "Description",
    "PONum",
    "DebitMemo",
    "OpenPayable",
    "Posted",
    "ChangedBy",
    "ChangedOn",
    "SysRevID",
    "SysRowID",
];

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = match arguments.first().map(String::as_str) {
        Some("serve") => runtime.block_on(server::serve(arguments.get(1..).unwrap_or_default())),
        Some("limit") => runtime.block_on(limit::run(arguments.get(1..).unwrap_or_default())),
        Some("ours") => runtime.block_on(ours(arguments.get(1..).unwrap_or_default())),
        _ => runtime.block_on(compare(&arguments)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// The process that syncs once with our engine; prints what it took.
async fn ours(arguments: &[String]) -> Outcome<()> {
    let [odata, tableau, site, name, secret, work] = arguments else { return Err("six arguments are needed".into()) };
    let work = Path::new(work);
    let client =
        epicor_kinetic::Client::builder(odata).company("EPIC06").api_key("bench").basic("bench", "bench").build()?;
    let tableau = tableau_rest::Client::builder(tableau)
        .site(site)
        .personal_access_token(name, secret)
        .chunk_size(8 << 20)
        .build()?;
    let options = HyperOptions { spool: work.join("spool"), engine: EngineLocation::find()? };
    let store = Arc::new(SqliteStore::open(work.join("state.db"))?);
    let source = SourceObject::EntitySet { service: "Erp.BO.APInvoiceSvc".to_owned(), set: "APInvoices".to_owned() };
    let target = Target { project: "Bench".to_owned(), datasource: "APInvoices".to_owned() };
    let spec = DatasetSpec::new("ap_invoices", source, COLUMNS, target);
    let destination = TableauDestination::new(tableau, options);
    let begun = Instant::now();
    let steps = Arc::new(Steps { begun, publishing: AtomicU64::new(0), landed: AtomicU64::new(0) });
    let syncer = Syncer::builder(Arc::new(KineticSource::new(client)), Arc::new(destination), store)
        .progress(Arc::clone(&steps) as _)
        .build();
    let run = syncer.run(&spec).await?;
    let seconds = begun.elapsed().as_secs_f64();
    // While the extract engine still runs, which is a process of its own.
    let cpu = cpu_seconds(std::process::id())?;
    let published = steps.landed.load(Relaxed).saturating_sub(steps.publishing.load(Relaxed));
    let published = Duration::from_millis(published).as_secs_f64();
    println!("{seconds} {cpu} {} {published} {} {}", peak_mib()?, run.counts.inserted, run.counts.updated);
    Ok(())
}

/// Notes when each step was reached, and tells so on standard error when it is asked to.
#[derive(Debug)]
struct Steps {
    begun: Instant,
    /// Milliseconds.
    publishing: AtomicU64,
    landed: AtomicU64,
}

impl Progress for Steps {
    fn report(&self, _: &DatasetId, event: &ProgressEvent) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        match event {
            ProgressEvent::Publishing => self.publishing.store(now, Relaxed),
            ProgressEvent::Landed { .. } => self.landed.store(now, Relaxed),
            _ => {}
        }
        if !matches!(event, ProgressEvent::Read { .. }) && std::env::var_os("BENCH_STEPS").is_some() {
            let (cpu, peak) = (cpu_seconds(std::process::id()), peak_mib());
            let own = own_cpu_seconds(std::process::id());
            eprintln!(
                "{:>6} ms  {own:?} own, {cpu:?} CPU s  {peak:?} MiB  {event:?}",
                self.begun.elapsed().as_millis()
            );
        }
    }
}

/// CPU seconds of a process alone.
fn own_cpu_seconds(process: u32) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no fields")?.1.split_whitespace().collect();
    let ticks = fields.get(11..13).ok_or("too few fields")?.iter().map(|field| field.parse::<u32>());
    // Linux counts a hundred a second.
    Ok(f64::from(ticks.sum::<Result<u32, _>>()?) / 100.0)
}

/// CPU seconds of a process, of those it has waited for, and of those that it has started and that still run.
fn cpu_seconds(process: u32) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no fields")?.1.split_whitespace().collect();
    let ticks = fields.get(11..15).ok_or("too few fields")?.iter().map(|field| field.parse::<u32>());
    let ticks = ticks.sum::<Result<u32, _>>()?;
    let mut children = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
        let named = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in named.split_whitespace() {
            children += cpu_seconds(child.parse()?)?;
        }
    }
    // Linux counts a hundred a second.
    Ok(f64::from(ticks) / 100.0 + children)
}

fn peak_mib() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(|line| line.split_whitespace().next());
    Ok(peak.ok_or("the system does not tell the memory of a process")?.parse::<u64>()?.div_ceil(1_024))
}

/// What one process took.
#[derive(Debug)]
pub(crate) struct Took {
    pub(crate) seconds: f64,
    pub(crate) cpu: f64,
    pub(crate) peak_mib: u64,
}

pub(crate) fn figures(output: &std::process::Output) -> Outcome<(Took, Vec<String>)> {
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let said = String::from_utf8(output.stdout.clone())?;
    let words: Vec<String> = said.lines().last().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let [seconds, cpu, peak, rest @ ..] = words.as_slice() else { return Err("the process told no figures".into()) };
    Ok((Took { seconds: seconds.parse()?, cpu: cpu.parse()?, peak_mib: peak.parse()? }, rest.to_vec()))
}

async fn compare(arguments: &[String]) -> Outcome<()> {
    let number = |name: &str, otherwise: u64| match arguments.iter().position(|argument| argument == name) {
        Some(at) => {
            let text = arguments.get(at + 1).ok_or_else(|| format!("{name} needs a number"))?;
            text.parse::<u64>().map_err(|error| format!("{name}: {error}"))
        }
        None => Ok(otherwise),
    };
    let (rows, latency) = (number("--rows", 1_000_000)?, number("--latency-ms", 0)?);
    tokio::task::spawn_blocking(|| find_or_install(&InstallOptions::default())).await??;
    let directory = tempfile::tempdir()?;
    let mut server = tokio::process::Command::new(std::env::current_exe()?)
        .args(["serve", &rows.to_string(), &latency.to_string()])
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(server.stdout.take().ok_or("no output")?).lines();
    let first = lines.next_line().await?.ok_or("the server did not start")?;
    let words: Vec<String> = first.split_whitespace().map(str::to_owned).collect();
    let [odata, tableau, site, name, secret] = words.as_slice() else {
        return Err("the server told no address".into());
    };
    let control = |what: &str| format!("{odata}/control/{what}");
    println!("{rows} rows of {} columns, {latency} ms a page; full load, then 1 % changed", COLUMNS.len());

    let mut found = Vec::new();
    for mode in ["full", "1 % changed"] {
        if mode != "full" {
            reqwest::get(control("change")).await?.error_for_status()?;
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["ours", odata, tableau, site, name, secret]).arg(directory.path()).stderr(Stdio::inherit());
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let (took, said) = figures(&output)?;
        let [published, inserted, updated] = said.as_slice() else { return Err("the process told no counts".into()) };
        println!(
            "ours, {mode}: {inserted} rows inserted, {updated} updated; {published} s of it from publishing to landing"
        );
        let landed: String = reqwest::get(control("landed")).await?.text().await?;
        check(
            Path::new(&landed),
            &directory.path().join("landed.hyper"),
            &reqwest::get(control("sums")).await?.text().await?,
        )
        .await?;
        found.push(("ours", mode, took));
    }
    if !arguments.iter().any(|argument| argument == "--no-peer") {
        reqwest::get(control("reset")).await?.error_for_status()?;
        for mode in ["full", "1 % changed"] {
            if mode != "full" {
                reqwest::get(control("change")).await?.error_for_status()?;
            }
            let took = peer::run(odata, tableau, [site, name, secret], directory.path(), mode == "full").await?;
            found.push(("script", mode, took));
        }
        reqwest::get(control("reset")).await?.error_for_status()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["limit", odata, &rows.to_string()]).arg(directory.path()).stderr(Stdio::inherit());
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        found.push(("limit", "full", figures(&output)?.0));
    }
    println!("\n{:<10} {:<12} {:>9} {:>14} {:>22}", "", "", "seconds", "CPU seconds", "peak memory (MiB)");
    for (who, mode, took) in &found {
        println!("{who:<10} {mode:<12} {:>9.2} {:>14.2} {:>22}", took.seconds, took.cpu, took.peak_mib);
    }
    if let [full, changed, peer_full, peer_changed, limit] = found.as_slice() {
        let ratio = |one: f64, other: f64| one / other;
        println!(
            "\nthe script takes {:.1} times as long for a full load, {:.1} times the CPU and {:.0} times the memory; for 1 % {:.1} times as long",
            ratio(peer_full.2.seconds, full.2.seconds),
            ratio(peer_full.2.cpu, full.2.cpu),
            ratio(mib(&peer_full.2), mib(&full.2)),
            ratio(peer_changed.2.seconds, changed.2.seconds),
        );
        println!(
            "a full load takes {:.1} times as long as the limit, and {:.1} times its CPU",
            ratio(full.2.seconds, limit.2.seconds),
            ratio(full.2.cpu, limit.2.cpu),
        );
    }
    println!(
        "CPU seconds are those of the whole tree of processes, memory is that of the process itself, without Tableau's engine"
    );
    Ok(())
}

fn mib(took: &Took) -> f64 {
    f64::from(u32::try_from(took.peak_mib).unwrap_or(u32::MAX))
}

/// Compares what has landed with the server's own sums: rows, keys and amounts.
async fn check(landed: &Path, copy: &Path, sums: &str) -> Outcome<()> {
    std::fs::copy(landed, copy)?;
    let engine = Engine::start(&EngineLocation::find()?).await?;
    let reader = ExtractReader::open(&engine, copy).await?;
    let connection = engine.connect().await?;
    drop(reader);
    connection.attach(copy, "landed").await?;
    let query = "SELECT count(*), count(DISTINCT \"InvoiceNum\"), CAST(sum(\"InvoiceAmt\") * 100 AS BIGINT), \
                 CAST(sum(\"SysRevID\") AS BIGINT) FROM \"landed\".\"Extract\".\"Extract\"";
    let answers = connection.client().simple_query(query).await?;
    let row = answers.iter().find_map(|answer| match answer {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.ok_or("the engine answers nothing")?;
    let found: Vec<&str> = (0..4).map(|at| row.get(at).unwrap_or_default()).collect();
    if found.join(" ") != sums {
        return Err(format!("what has landed ({}) is not what the server has ({sums})", found.join(" ")).into());
    }
    println!("  read back: rows, keys and sums are the server's");
    Ok(())
}
