//! Where each dataset stands, read from the store alone: for `status` and `report`.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use kinetic_tableau_sync::worker::{Control, Controls, Pause, WorkerPresence, next_due, workers};
use kinetic_tableau_sync::{
    AuditStore, Checkpoint, LoadKind, NoteStore, Reconciled, RefreshTarget, RejectStore, RunSummary, StateStore, Timing,
};
use serde::Serialize;

use crate::config::Config;
use crate::failure::Outcome;
use crate::store::Store;
use crate::unconnected::{self, Unconnected};

/// The parts of a store that are looked at.
#[derive(Clone, Debug)]
pub(super) struct Stores {
    pub(super) state: Arc<dyn StateStore>,
    pub(super) audit: Arc<dyn AuditStore>,
    pub(super) rejects: Arc<dyn RejectStore>,
    pub(super) notes: Arc<dyn NoteStore>,
}

impl Stores {
    pub(super) fn of(store: &Store) -> Self {
        Self { state: store.state(), audit: store.audit(), rejects: store.rejects(), notes: store.notes() }
    }
}

/// All datasets, and the processes that work on them.
#[derive(Debug, Default, Serialize)]
pub(super) struct Standings {
    pub(super) datasets: Vec<Standing>,
    /// The processes that work by the schedules.
    pub(super) workers: Vec<WorkerPresence>,
    /// Why nothing can be begun, if that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unconnected: Option<Unconnected>,
}

#[derive(Debug, Serialize)]
pub(super) struct Standing {
    pub(super) name: String,
    /// Whether the configuration still names it.
    pub(super) configured: bool,
    pub(super) schedule: Option<String>,
    pub(super) landed_rows: Option<u64>,
    pub(super) cursor: Option<String>,
    pub(super) failures: u32,
    /// When `run` tries again after a failure; where a person must mend it by its schedule, but not within half an hour.
    pub(super) retry_at: Option<DateTime<Utc>>,
    /// When `run` looks at it next; none while only a request or the end of a batch process makes it due.
    pub(super) next_due: Option<DateTime<Utc>>,
    /// When Tableau was last known to hold all of the source, and nothing else.
    pub(super) whole_at: Option<DateTime<Utc>>,
    pub(super) reconciled: Option<Reconciled>,
    pub(super) last_run: Option<RunSummary>,
    pub(super) last_success: Option<RunSummary>,
    pub(super) pending_delivery: Option<Pending>,
    pub(super) pending_refresh: Vec<RefreshTarget>,
    /// Rows that could not land, and are kept with the reason.
    pub(super) rejected: u64,
    /// What an operator has asked for.
    #[serde(flatten)]
    pub(super) control: Control,
    #[serde(skip)]
    pub(super) timing: Option<Timing>,
}

#[derive(Debug, Serialize)]
pub(super) struct Pending {
    pub(super) run: String,
    pub(super) kind: LoadKind,
    pub(super) rows: u64,
    pub(super) confirmed: bool,
}

/// How it is with a dataset, in one word or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Paused,
    Failing,
    DeliveryPending,
    RefreshPending,
    Well,
    NotSynced,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Failing => "failing",
            Self::DeliveryPending => "delivery pending",
            Self::RefreshPending => "refresh pending",
            Self::Well => "well",
            Self::NotSynced => "not synced yet",
        }
    }
}

/// Looks at the store. Without one, nothing has ever been synced.
pub(super) async fn gather(config: &Config, stores: Option<&Stores>, now: DateTime<Utc>) -> Outcome<Standings> {
    let mut known: Vec<(String, (Checkpoint, u64))> = Vec::new();
    let (mut controls, mut alive, mut unconnected) = (HashMap::new(), Vec::new(), None);
    if let Some(stores) = stores {
        controls = Controls::new(Arc::clone(&stores.notes)).all().await?;
        alive = workers(&*stores.notes, now).await?;
        unconnected = unconnected::find(&*stores.notes).await?;
        for (id, found) in stores.state.list().await? {
            let rejected = stores.rejects.count_rejects(&id).await?;
            known.push((id.to_string(), (found.checkpoint, rejected)));
        }
    }
    let mut datasets: Vec<Standing> = Vec::new();
    let mut stand = |name: &str, timing: Option<&Timing>, found: Option<(Checkpoint, u64)>| {
        let control = controls.remove(&name.into()).unwrap_or_default();
        datasets.push(standing(name, timing, found.unwrap_or_default(), control, now));
    };
    for dataset in &config.datasets {
        let at = known.iter().position(|(name, _)| name == dataset.name());
        let found = at.map(|at| known.swap_remove(at).1);
        stand(dataset.name(), Some(&dataset.timing), found);
    }
    // What the store knows beyond the configuration is shown too: rows that nobody keeps up to date any more.
    for (name, found) in known {
        stand(&name, None, Some(found));
    }
    // A run that has ended well since shows that it is over, also where nobody had to connect anew for it.
    let runs = || datasets.iter().filter_map(|dataset| dataset.last_success.as_ref());
    let unconnected = unconnected.filter(|noted| !runs().any(|run| run.started > noted.at));
    Ok(Standings { datasets, workers: alive, unconnected })
}

fn standing(
    name: &str,
    timing: Option<&Timing>,
    (checkpoint, rejected): (Checkpoint, u64),
    control: Control,
    now: DateTime<Utc>,
) -> Standing {
    Standing {
        name: name.to_owned(),
        configured: timing.is_some(),
        schedule: timing.map(ToString::to_string),
        failures: checkpoint.failures,
        retry_at: checkpoint.retry_at,
        next_due: timing.and_then(|timing| next_due(&name.into(), timing, &checkpoint, &control, now)),
        landed_rows: checkpoint.landed.map(|landed| landed.rows),
        cursor: checkpoint.cursor.map(|cursor| cursor.to_string()),
        whole_at: checkpoint.whole_at,
        reconciled: checkpoint.reconciled,
        last_run: checkpoint.last_run,
        last_success: checkpoint.last_success,
        pending_delivery: checkpoint.intent.map(|intent| Pending {
            run: intent.run.to_string(),
            kind: intent.kind,
            rows: intent.staged.rows,
            confirmed: intent.receipt.is_some(),
        }),
        pending_refresh: checkpoint.pending_refresh,
        rejected,
        control,
        timing: timing.cloned(),
    }
}

impl Standing {
    /// How it is with it now.
    pub(super) fn state(&self, now: DateTime<Utc>) -> State {
        if self.pause(now).is_some() {
            State::Paused
        } else if self.last_run.as_ref().is_some_and(|run| run.error.is_some()) {
            State::Failing
        } else if self.pending_delivery.is_some() {
            State::DeliveryPending
        } else if !self.pending_refresh.is_empty() {
            State::RefreshPending
        } else if self.last_success.is_some() {
            State::Well
        } else {
            State::NotSynced
        }
    }

    /// The pause that is in force.
    pub(super) fn pause(&self, now: DateTime<Utc>) -> Option<&Pause> {
        self.control.paused.as_ref().filter(|pause| pause.until.is_none_or(|until| until > now))
    }

    /// The comparison that left rows alone which seem to be gone, unless everything was loaded or compared well since.
    pub(super) fn refused(&self) -> Option<(&Reconciled, &str)> {
        let last = self.reconciled.as_ref()?;
        let why = last.findings.refused.as_deref()?;
        self.whole_at.is_none_or(|whole| last.at >= whole).then_some((last, why))
    }

    /// What will be done about a failure, and when.
    pub(super) fn again(&self, workers: bool, now: DateTime<Utc>) -> String {
        let name = &self.name;
        let Some(timing) = &self.timing else {
            return "the configuration does not name it any more, so nothing runs it again".to_owned();
        };
        if let Some(pause) = self.pause(now) {
            return match pause.until {
                Some(until) => format!("it is paused, so `run` does not try again before {}", moment(until)),
                None => format!("it is paused, so `run` does not try again before `resume {name}`"),
            };
        }
        let by_hand = format!("`sync {name}` tries again now");
        match self.next_due {
            None if timing.is_manual() => {
                format!("its schedule is manual, so nothing tries again by itself; {by_hand}")
            }
            // It has no time at which it may be begun.
            None => format!("nothing tries again before a run is asked for; {by_hand}"),
            Some(at) if !workers => {
                format!("no worker is running: `run`, once started, tries again {}; {by_hand}", when(at, now))
            }
            Some(at) if self.retry_at.is_none() && at > now => {
                format!("`run` tries again {}, and no sooner, since a person must mend it; {by_hand}", when(at, now))
            }
            Some(at) => format!("`run` tries again {}", when(at, now)),
        }
    }
}

/// A moment that something is due.
pub(super) fn when(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if at <= now { "at once".to_owned() } else { format!("at {}", moment(at)) }
}

pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use kinetic_tableau_sync::Findings;
    use kinetic_tableau_sync::worker::{OpenRequest, Request, RequestedRun};

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-26T{text}:00Z").parse().unwrap()
    }

    fn failed(schedule: Option<&str>, retry: Option<&str>, control: Control) -> Standing {
        let run = serde_json::json!({
            "run": "r", "kind": null, "started": at("10:00"), "ended": at("10:01"), "landed_rows": 0, "refreshes": [],
            "error": "gone", "counts": {"read": 0, "inserted": 0, "updated": 0, "unchanged": 0, "superseded": 0},
        });
        let checkpoint = Checkpoint {
            failures: 1,
            retry_at: retry.map(at),
            last_run: Some(serde_json::from_value(run).unwrap()),
            ..Checkpoint::default()
        };
        let timing = schedule.map(|schedule| Timing::new(schedule.parse().unwrap()));
        standing("ap", timing.as_ref(), (checkpoint, 0), control, at("10:02"))
    }

    #[test]
    fn what_will_be_done_about_a_failure_depends_on_the_schedule_the_pause_and_the_workers() {
        let now = at("10:02");
        let said = |standing: &Standing, workers| standing.again(workers, now);
        let retried = failed(Some("every 1h"), Some("10:05"), Control::default());
        assert_eq!(said(&retried, true), "`run` tries again at 2026-11-26 10:05:00Z");
        assert!(said(&retried, false).starts_with("no worker is running: `run`, once started, tries again at "));
        let refused = |schedule| said(&failed(Some(schedule), None, Control::default()), true);
        assert!(refused("every 1h").starts_with("`run` tries again at 2026-11-26 11:00:00Z, and no sooner, since"));
        assert!(refused("every 1m").starts_with("`run` tries again at 2026-11-26 10:31:00Z, and no sooner, since"));
        assert!(
            refused("after process Post AP").starts_with("`run` tries again at 2026-11-26 10:31:00Z, and no sooner")
        );

        // The engine notes a retry whatever the schedule is, but nobody follows it.
        let manual = failed(Some("manual"), Some("10:05"), Control::default());
        let words = "its schedule is manual, so nothing tries again by itself; `sync ap` tries again now";
        assert_eq!((said(&manual, true), said(&manual, false)), (words.to_owned(), words.to_owned()));
        let request = Request { run: RequestedRun::Changes, at: at("10:01"), by: "ann".to_owned(), waits: false };
        let request = OpenRequest { id: "1".to_owned(), request, tried: false };
        let requests = vec![request];
        for retry in [Some("10:05"), None] {
            let asked = failed(Some("manual"), retry, Control { paused: None, requests: requests.clone() });
            assert_eq!(said(&asked, true), "`run` tries again at once", "somebody has asked for a run");
        }

        let pause = Pause { since: at("09:00"), until: None, by: "ann".to_owned(), reason: None };
        let paused = failed(Some("every 1h"), Some("10:05"), Control { paused: Some(pause), requests: Vec::new() });
        assert!(said(&paused, true).contains("not try again before `resume ap`"));
        assert!(said(&failed(None, Some("10:05"), Control::default()), true).contains("nothing runs it again"));
    }

    #[test]
    fn rows_that_were_left_alone_are_told_of_until_everything_is_whole_again() {
        let mut standing = failed(Some("every 1h"), None, Control::default());
        assert!(standing.refused().is_none());
        let findings = Findings { gone: 9, refused: Some("too many".to_owned()), ..Findings::default() };
        standing.reconciled = Some(Reconciled { at: at("10:00"), findings });
        assert!(standing.refused().is_some(), "it was never whole");
        standing.whole_at = Some(at("09:00"));
        assert!(standing.refused().is_some(), "the full load was before");
        standing.whole_at = Some(at("10:01"));
        assert!(standing.refused().is_none(), "the full load was since");
    }
}
