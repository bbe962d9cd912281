//! Events of one dataset, folded into runs and sums while they are read.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use kinetic_tableau_sync::{AuditEntry, AuditEvent, Counts, Findings, FullReason, LoadKind};

use crate::failure::one_line;
use crate::output;

/// So many of the newest runs are kept one by one.
pub(in super::super) const KEPT_RUNS: usize = 120;

/// So many of the newest comparisons.
const KEPT_COMPARISONS: usize = 60;

/// So many kinds of messages of Tableau, those that came last.
const KEPT_TOLD: usize = 40;

/// So many kinds of failures, those that happened last.
const KEPT_FAILURES: usize = 60;

/// One run, as far as the trail tells of it in the time that is looked at.
#[derive(Clone, Debug)]
pub(in super::super) struct Run {
    pub(in super::super) id: String,
    pub(in super::super) kind: Option<LoadKind>,
    pub(in super::super) reason: Option<FullReason>,
    /// None where it began before the time that is looked at.
    pub(in super::super) started: Option<DateTime<Utc>>,
    /// The last that is known of it.
    pub(in super::super) at: DateTime<Utc>,
    pub(in super::super) end: End,
    pub(in super::super) counts: Counts,
    pub(in super::super) landed_rows: Option<u64>,
    pub(in super::super) findings: Option<Findings>,
    /// What could not be refreshed behind it.
    pub(in super::super) unrefreshed: Vec<String>,
    pub(in super::super) message: Option<String>,
    ended: Option<DateTime<Utc>>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum End {
    /// It goes on, or its process has died.
    Open,
    /// Another one has begun behind it, which waits for the end of a run, or for its lease.
    BrokenOff,
    Landed,
    Idle,
    Failed,
}

impl Run {
    /// How long it took until its rows had landed or it had failed, in milliseconds.
    pub(in super::super) fn took(&self) -> Option<u64> {
        let length = self.ended? - self.started?;
        u64::try_from(length.num_milliseconds()).ok()
    }
}

/// Sums of an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Bin {
    pub(in super::super) inserted: u64,
    pub(in super::super) updated: u64,
    pub(in super::super) deleted: u64,
    pub(in super::super) runs: u64,
    pub(in super::super) failed: u64,
    /// Whether a full load is part of it.
    pub(in super::super) full: bool,
}

impl Bin {
    /// Both together.
    pub(in super::super) fn add(&mut self, other: &Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
        self.runs += other.runs;
        self.failed += other.failed;
        self.full |= other.full;
    }
}

/// Failures with the same words at the same step.
#[derive(Clone, Debug)]
pub(in super::super) struct FailureGroup {
    pub(in super::super) stage: String,
    pub(in super::super) message: String,
    pub(in super::super) hint: Option<String>,
    pub(in super::super) count: u64,
    pub(in super::super) first: DateTime<Utc>,
    pub(in super::super) last: DateTime<Utc>,
    pub(in super::super) run: String,
}

/// The same message of Tableau, whoever began what it tells of.
#[derive(Clone, Debug)]
pub(in super::super) struct ToldGroup {
    /// Tableau's name of what happened.
    pub(in super::super) what: String,
    /// What it happened to.
    pub(in super::super) resource: String,
    pub(in super::super) count: u64,
    pub(in super::super) last: DateTime<Utc>,
}

/// Sums over all the time.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Totals {
    pub(in super::super) runs: u64,
    pub(in super::super) landed: u64,
    pub(in super::super) idle: u64,
    pub(in super::super) failed: u64,
    pub(in super::super) counts: Counts,
    pub(in super::super) comparisons: u64,
    pub(in super::super) refused: u64,
    /// What all comparisons have found.
    pub(in super::super) findings: Findings,
}

/// All that is kept of the events of a dataset.
#[derive(Debug, Default)]
pub(in super::super) struct Ledger {
    /// Oldest first.
    pub(in super::super) runs: VecDeque<Run>,
    /// By the number of the hour.
    pub(in super::super) hours: BTreeMap<i64, Bin>,
    pub(in super::super) totals: Totals,
    /// Newest last.
    pub(in super::super) comparisons: VecDeque<(DateTime<Utc>, String, Findings)>,
    pub(in super::super) failures: Vec<FailureGroup>,
    /// What Tableau told by webhooks.
    pub(in super::super) told: Vec<ToldGroup>,
}

impl Ledger {
    /// Adds the next event.
    pub(super) fn add(&mut self, entry: &AuditEntry) {
        let (at, id) = (entry.at, entry.run.as_str());
        match &entry.event {
            AuditEvent::Started { kind, reason, .. } => {
                for other in self.runs.iter_mut().filter(|run| run.end == End::Open && run.id != id) {
                    other.end = End::BrokenOff;
                }
                let run = self.run(id, at);
                (run.kind, run.reason, run.started) = (Some(*kind), *reason, Some(at));
            }
            AuditEvent::Landed { counts, landed_rows, .. } => {
                let run = self.run(id, at);
                if run.end == End::Landed {
                    // Told twice.
                    return;
                }
                (run.end, run.counts, run.landed_rows) = (End::Landed, *counts, Some(*landed_rows));
                run.ended = Some(at);
                let full = run.kind == Some(LoadKind::Full);
                let bin = Bin {
                    inserted: counts.inserted,
                    updated: counts.updated,
                    deleted: counts.deleted,
                    full,
                    ..Bin::default()
                };
                self.hour(at).add(&bin);
                self.totals.landed += 1;
                self.totals.counts = self.totals.counts.and(*counts);
            }
            AuditEvent::Idle { counts, .. } => {
                let run = self.run(id, at);
                (run.end, run.counts, run.ended) = (End::Idle, *counts, Some(at));
                self.totals.idle += 1;
                self.totals.counts = self.totals.counts.and(*counts);
            }
            AuditEvent::Reconciled { findings } => {
                self.run(id, at).findings = Some(findings.clone());
                self.compared(at, id, findings);
            }
            AuditEvent::Refreshed { report } => {
                let run = self.run(id, at);
                if !report.outcome.is_settled() {
                    run.unrefreshed.push(output::refreshed(report));
                }
            }
            AuditEvent::Failed { stage, message, hint } => {
                let run = self.run(id, at);
                if matches!(run.end, End::Open | End::BrokenOff) {
                    (run.end, run.ended) = (End::Failed, Some(at));
                }
                run.message = Some(message.clone());
                self.hour(at).failed += 1;
                self.totals.failed += 1;
                self.failed(at, id, stage, message, hint.as_deref());
            }
            AuditEvent::Told { what, resource, .. } => self.told(at, what, resource.as_deref().unwrap_or_default()),
            _ => {}
        }
    }

    /// The run of this id, which is nearly always the last one.
    fn run(&mut self, id: &str, at: DateTime<Utc>) -> &mut Run {
        let found = self.runs.iter().rposition(|run| run.id == id);
        if found.is_none() {
            if self.runs.len() >= KEPT_RUNS {
                self.runs.pop_front();
            }
            self.runs.push_back(Run {
                id: id.to_owned(),
                kind: None,
                reason: None,
                started: None,
                at,
                end: End::Open,
                counts: Counts::default(),
                landed_rows: None,
                findings: None,
                unrefreshed: Vec::new(),
                message: None,
                ended: None,
            });
            self.totals.runs += 1;
            self.hour(at).runs += 1;
        }
        let last = self.runs.len().saturating_sub(1);
        let index = found.unwrap_or(last).min(last);
        #[expect(clippy::indexing_slicing, reason = "one was pushed if there was none")]
        let run = &mut self.runs[index];
        run.at = run.at.max(at);
        run
    }

    fn hour(&mut self, at: DateTime<Utc>) -> &mut Bin {
        self.hours.entry(at.timestamp().div_euclid(3_600)).or_default()
    }

    fn compared(&mut self, at: DateTime<Utc>, id: &str, findings: &Findings) {
        let totals = &mut self.totals;
        totals.comparisons += 1;
        totals.refused += u64::from(findings.refused.is_some());
        let sum = &mut totals.findings;
        sum.listed += findings.listed;
        sum.missed += findings.missed;
        sum.silent += findings.silent;
        sum.gone += findings.gone;
        sum.reappeared += findings.reappeared;
        sum.deleted += findings.deleted;
        if self.comparisons.len() >= KEPT_COMPARISONS {
            self.comparisons.pop_front();
        }
        self.comparisons.push_back((at, id.to_owned(), findings.clone()));
    }

    fn told(&mut self, at: DateTime<Utc>, what: &str, resource: &str) {
        let same = self.told.iter_mut().find(|group| group.what == what && group.resource == resource);
        if let Some(group) = same {
            (group.count, group.last) = (group.count + 1, at);
            return;
        }
        if self.told.len() >= KEPT_TOLD {
            let oldest = self.told.iter().enumerate().min_by_key(|(_, group)| group.last).map(|(nth, _)| nth);
            oldest.map(|nth| self.told.swap_remove(nth));
        }
        self.told.push(ToldGroup { what: what.to_owned(), resource: resource.to_owned(), count: 1, last: at });
    }

    fn failed(&mut self, at: DateTime<Utc>, id: &str, stage: &str, message: &str, hint: Option<&str>) {
        // The message ends with the hint, which has a line of its own here.
        let message = match hint.and_then(|hint| message.strip_suffix(hint)) {
            Some(message) => one_line(message.trim_end().trim_end_matches(';')),
            None => one_line(message),
        };
        let same = self.failures.iter_mut().find(|group| group.stage == stage && group.message == message);
        if let Some(group) = same {
            group.count += 1;
            group.last = at;
            id.clone_into(&mut group.run);
            return;
        }
        if self.failures.len() >= KEPT_FAILURES {
            let oldest = self.failures.iter().enumerate().min_by_key(|(_, group)| group.last).map(|(nth, _)| nth);
            oldest.map(|nth| self.failures.swap_remove(nth));
        }
        self.failures.push(FailureGroup {
            stage: stage.to_owned(),
            message,
            hint: hint.map(one_line),
            count: 1,
            first: at,
            last: at,
            run: id.to_owned(),
        });
    }
}
