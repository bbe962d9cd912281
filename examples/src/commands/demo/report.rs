//! What the demo ends with: a short text for people, or JSON for machines.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kinetic_tableau_sync::{Findings, RefreshReport, RunSummary};
use serde::Serialize;

use super::Cycle;
use super::compare::Comparison;
use super::scene::PARTS;
use crate::output::{self, Table, grouped};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    datasets: Vec<Dataset>,
    matches: bool,
    directory: PathBuf,
    /// What `report` makes of the store.
    page: PathBuf,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Dataset {
    name: &'static str,
    /// In the end.
    source_rows: usize,
    /// In the end.
    landed_rows: usize,
    /// After both cycles and the reconcile, every cell.
    matches: bool,
    extract: PathBuf,
    full: Half,
    incremental: Half,
    reconcile: Half,
    /// What was refreshed after the landings, and how it ended.
    refreshes: Vec<RefreshReport>,
}

/// One cycle or reconcile of one dataset.
#[derive(Debug, Serialize)]
struct Half {
    matches: bool,
    source_rows: usize,
    landed_rows: usize,
    cells_compared: usize,
    differences: Vec<String>,
    rows_read: u64,
    inserted: u64,
    updated: u64,
    unchanged: u64,
    superseded: u64,
    deleted: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<Findings>,
    seconds: f64,
}

impl Half {
    fn new(run: &RunSummary, found: &Comparison) -> Self {
        let counts = &run.counts;
        Self {
            matches: found.matches(),
            source_rows: found.source_rows,
            landed_rows: found.landed_rows,
            cells_compared: found.cells,
            differences: found.named.clone(),
            rows_read: counts.read,
            inserted: counts.inserted,
            updated: counts.updated,
            unchanged: counts.unchanged,
            superseded: counts.superseded,
            deleted: counts.deleted,
            findings: run.findings.clone(),
            seconds: (run.ended - run.started).to_std().unwrap_or_default().as_secs_f64(),
        }
    }
}

impl Report {
    pub(super) fn new(
        full: &Cycle,
        incremental: &Cycle,
        reconciled: &Cycle,
        place: &Path,
        page: PathBuf,
        took: Duration,
    ) -> Self {
        let firsts = full.runs.iter().zip(&full.found);
        let seconds = incremental.runs.iter().zip(&incremental.found);
        let thirds = reconciled.runs.iter().zip(&reconciled.found);
        let datasets: Vec<Dataset> = PARTS
            .iter()
            .zip(firsts.zip(seconds).zip(thirds))
            .map(|(part, ((first, second), third))| Dataset {
                name: part.name,
                source_rows: third.1.source_rows,
                landed_rows: third.1.landed_rows,
                matches: [first, second, third].iter().all(|(_, found)| found.matches()),
                extract: place.join(format!("{}.hyper", part.name)),
                full: Half::new(first.0, first.1),
                incremental: Half::new(second.0, second.1),
                reconcile: Half::new(third.0, third.1),
                refreshes: [first, second, third].iter().flat_map(|(run, _)| run.refreshes.clone()).collect(),
            })
            .collect();
        let matches = datasets.len() == PARTS.len() && datasets.iter().all(|dataset| dataset.matches);
        Self { datasets, matches, directory: place.to_owned(), page, seconds: took.as_secs_f64() }
    }

    pub(super) fn matches(&self) -> bool {
        self.matches
    }
}

/// One line about the comparison of all datasets.
pub(super) fn verdict(found: &[Comparison]) -> String {
    let cells: usize = found.iter().map(|found| found.cells).sum();
    match found.iter().find(|found| !found.matches()) {
        None => format!("read back and compared with the source: all {} cells are the same", number(cells)),
        Some(wrong) => format!(
            "read back and compared with the source: {} of {} cells or rows DIFFER",
            number(
                found
                    .iter()
                    .map(|found| found.differences)
                    .sum::<usize>()
                    .max(wrong.source_rows.abs_diff(wrong.landed_rows))
            ),
            number(cells)
        ),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new([
            "dataset",
            "in Kinetic",
            "in Tableau",
            "equal",
            "full load",
            "changes: new",
            "changed",
            "reconcile: edited",
            "deleted",
            "time",
        ]);
        for dataset in &self.datasets {
            table.row([
                dataset.name.to_owned(),
                number(dataset.source_rows),
                number(dataset.landed_rows),
                if dataset.matches { "✓ every cell" } else { "✗ NO" }.to_owned(),
                grouped(dataset.full.inserted),
                grouped(dataset.incremental.inserted),
                grouped(dataset.incremental.updated),
                grouped(dataset.reconcile.updated),
                grouped(dataset.reconcile.deleted),
                format!(
                    "{:.1} s + {:.1} s + {:.1} s",
                    dataset.full.seconds, dataset.incremental.seconds, dataset.reconcile.seconds
                ),
            ]);
        }
        writeln!(f, "{table}")?;
        for dataset in &self.datasets {
            let halves = [&dataset.full, &dataset.incremental, &dataset.reconcile];
            for difference in halves.iter().flat_map(|half| &half.differences) {
                writeln!(f, "✗ {}: {difference}", dataset.name)?;
            }
        }
        writeln!(f)?;
        for report in self.datasets.iter().flat_map(|dataset| &dataset.refreshes) {
            writeln!(f, "after landing: {}", output::refreshed(report))?;
        }
        writeln!(f, "the extracts are in {} ({:.1} s in all)", self.directory.display(), self.seconds)?;
        write!(f, "what was done is told in {}: open it in a browser", self.page.display())
    }
}

fn number(count: usize) -> String {
    grouped(u64::try_from(count).unwrap_or(u64::MAX))
}
