//! What the page shows, read from the store: bounded, however long the trail is.

mod ledger;
mod records;
mod rejects;

use chrono::{DateTime, Utc};
use kinetic_tableau_sync::worker::WorkerPresence;
use kinetic_tableau_sync::{AuditFilter, DatasetId, Verification};

pub(super) use self::ledger::{Bin, End, FailureGroup, KEPT_RUNS, Ledger, Run};
pub(super) use self::records::{History, KEY_RECORDS};
pub(super) use self::rejects::Rejected;
use crate::commands::standing::{self, Standing, Stores};
use crate::config::{Config, offer};
use crate::failure::{Failure, Outcome};

/// Events are read in so many parts of the time that is looked at, so that only one of them is in memory.
const PARTS: i32 = 12;

/// So many datasets have charts and records; the others stand in the overview.
pub(super) const MOST_DATASETS: usize = 60;

/// Records of all datasets together: what a page of a few megabytes holds.
pub(super) const MOST_RECORDS: usize = 6_000;

/// What was asked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Only these; all when empty.
    pub(super) datasets: Vec<String>,
    /// The whole history of these records as well.
    pub(super) keys: Vec<String>,
    /// So many of the newest records of each dataset.
    pub(super) records: usize,
    pub(super) since: DateTime<Utc>,
    pub(super) until: DateTime<Utc>,
}

/// Everything the page shows.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) wanted: Wanted,
    /// Those with charts and records first.
    pub(super) datasets: Vec<Dataset>,
    pub(super) workers: Vec<WorkerPresence>,
    pub(super) proof: Verification,
    /// So many of the newest records of each dataset are shown.
    pub(super) records_each: usize,
    /// Keys that were asked for, and that no record of these datasets has.
    pub(super) unknown: Vec<String>,
}

/// One dataset.
#[derive(Debug)]
pub(super) struct Dataset {
    pub(super) standing: Standing,
    pub(super) ledger: Ledger,
    pub(super) rejected: Rejected,
    pub(super) histories: Vec<History>,
    /// Whether it has charts and records on the page.
    pub(super) in_detail: bool,
}

/// Reads everything.
pub(super) async fn gather(config: &Config, stores: &Stores, wanted: Wanted) -> Outcome<Report> {
    let found = standing::gather(config, Some(stores), wanted.until).await?;
    let standings = chosen(found.datasets, &wanted.datasets)?;
    let detailed = standings.len().clamp(1, MOST_DATASETS);
    let records_each = wanted.records.min(MOST_RECORDS / detailed);
    let mut unknown = wanted.keys.clone();
    let mut datasets = Vec::with_capacity(standings.len());
    for (nth, standing) in standings.into_iter().enumerate() {
        let id = DatasetId::new(standing.name.as_str());
        let in_detail = nth < MOST_DATASETS;
        let ledger = ledger(stores, &id, &wanted).await?;
        let rejected = rejects::gather(stores, &id).await?;
        // What was asked for is looked for in all of them.
        let most = if in_detail { records_each } else { 0 };
        let histories = records::gather(stores, &id, &wanted, most, &mut unknown).await?;
        datasets.push(Dataset { standing, ledger, rejected, histories, in_detail });
    }
    let proof = stores.audit.verify().await?;
    Ok(Report { wanted, datasets, workers: found.workers, proof, records_each, unknown })
}

/// The datasets that were named; all of them when none was.
fn chosen(standings: Vec<Standing>, names: &[String]) -> Outcome<Vec<Standing>> {
    for name in names {
        if standings.iter().all(|standing| standing.name != *name) {
            return Err(Failure::usage(format!("neither the configuration nor the store knows a dataset '{name}'"))
                .next(offer(name, standings.iter().map(|standing| standing.name.as_str()))));
        }
    }
    let mut chosen = standings;
    chosen.retain(|standing| names.is_empty() || names.contains(&standing.name));
    Ok(chosen)
}

/// The events of a dataset, folded part by part.
async fn ledger(stores: &Stores, id: &DatasetId, wanted: &Wanted) -> Outcome<Ledger> {
    let mut ledger = Ledger::default();
    let part = (wanted.until - wanted.since) / PARTS;
    for nth in 0..PARTS {
        let from = wanted.since + part * nth;
        // The last part has no end: what is written while the page is made belongs to it.
        let until = (nth + 1 < PARTS).then(|| wanted.since + part * (nth + 1));
        let filter = AuditFilter { dataset: Some(id.clone()), since: Some(from), until, ..AuditFilter::default() };
        for entry in stores.audit.events(&filter).await? {
            ledger.add(&entry);
        }
    }
    Ok(ledger)
}
