//! `report`: one page of HTML about all that the store knows, for people who do not work at a terminal.
//!
//! It is read from the store alone, and holds everything that it shows: no server is asked, neither when it is made nor when it is looked
//! at. Gathering the figures ([`gather`]), drawing them ([`chart`]) and writing the page ([`page`]) know nothing of each other's insides.

mod chart;
mod gather;
mod html;
mod page;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::Path;

use chrono::Utc;

use self::gather::{Report, Wanted};
use super::standing::Stores;
use crate::args;
use crate::config::Config;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, grouped, say};
use crate::store::Store;

/// How far back the page looks unless it is told.
const DAYS: i64 = 30;

pub(super) async fn run(config: &Config, options: &args::Report) -> Outcome<Exit> {
    let Some(store) = Store::open_for_reading(config).await? else {
        return Err(Failure::new("nothing has been synced yet, so there is nothing to report")
            .next("run `kinetic-tableau sync` first; paths in the configuration start at its own directory"));
    };
    let report = gathered(config, &Stores::of(&store), options).await?;
    let page = page::write(&report).map_err(|error| Failure::of(&error, None))?;
    if options.out == Path::new("-") {
        // Its texts are visible already.
        output::say_lines(&page);
    } else {
        save(&options.out, &page)?;
        say(format_args!("{} ({})", options.out.display(), output::size(page.len() as u64)));
        let runs = report.datasets.iter().map(|dataset| dataset.ledger.totals.runs).sum();
        say(format_args!("{} datasets, {} runs since {}", report.datasets.len(), grouped(runs), day(&report)));
        for key in &report.unknown {
            say(format_args!("no record has '{key}' as its key, or as a part of it"));
        }
    }
    match &report.proof.first_broken {
        None => Ok(Exit::Done),
        Some((entry, why)) => Err(Failure::new(format!("the audit trail was altered: entry {entry}: {why}"))
            .next("the page says so too; entries before it are as they were written; compare the file with a backup")),
    }
}

/// Writes the page about the last days into a file.
pub(super) async fn to_file(config: &Config, out: &Path) -> Outcome<()> {
    let options = args::Report { out: out.to_owned(), ..args::Report::default() };
    let Some(store) = Store::open_for_reading(config).await? else { return Ok(()) };
    let report = gathered(config, &Stores::of(&store), &options).await?;
    save(out, &page::write(&report).map_err(|error| Failure::of(&error, None))?)
}

/// Everything the page shows.
async fn gathered(config: &Config, stores: &Stores, options: &args::Report) -> Outcome<Report> {
    let now = Utc::now();
    let since = options.since.or_else(|| now.checked_sub_signed(chrono::Duration::days(DAYS))).unwrap_or(now);
    if since >= now {
        return Err(Failure::usage("--since: that is not in the past").next("for instance --since 30d"));
    }
    let wanted = Wanted {
        datasets: options.datasets.clone(),
        keys: options.keys.clone(),
        records: options.records,
        since,
        until: now,
    };
    gather::gather(config, stores, wanted).await
}

/// Writes beside the file first, so that whoever looks at it meanwhile sees a whole page, the old one or the new one.
fn save(path: &Path, page: &str) -> Outcome<()> {
    let failed = |error: &std::io::Error| {
        Failure::new(format!("{} cannot be written: {error}", path.display()))
            .next("name another file with --out, or - for standard output")
    };
    let name = path.file_name().ok_or_else(|| failed(&std::io::Error::other("it is no file name")))?;
    if path.is_dir() {
        return Err(failed(&std::io::Error::other("it is a directory")));
    }
    let mut beside = name.to_owned();
    beside.push(".part");
    let beside = path.with_file_name(beside);
    write_private(&beside, page).and_then(|()| std::fs::rename(&beside, path)).map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        failed(&error)
    })
}

/// Keys of records are not for everybody on this machine.
fn write_private(path: &Path, page: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(page.as_bytes())
}

fn day(report: &Report) -> String {
    report.wanted.since.format("%Y-%m-%d").to_string()
}
