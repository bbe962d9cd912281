//! What fails beside the runs, again and again: the state store, or what else a worker looks at.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::processes::ProcessError;
use crate::store::StateError;

/// What has failed for so long, and so often, does not pass by itself soon.
const LASTS: Duration = Duration::from_mins(5);
const OFTEN: u32 = 3;
/// What has not failed for so long is over. Everything is tried more often than that, also where each try takes its time to fail.
const QUIET: Duration = Duration::from_mins(15);

/// What is failing now, by what it is.
#[derive(Debug, Default)]
pub(super) struct Outages {
    known: HashMap<String, Outage>,
}

#[derive(Debug)]
struct Outage {
    since: DateTime<Utc>,
    last: DateTime<Utc>,
    failures: u32,
    /// What people were told, and when.
    told: Option<(String, DateTime<Utc>)>,
}

impl Outages {
    /// Something has failed. What is to be told of it, if anything: what it is, whether it is told for the first time, the message, and how
    /// often it has failed.
    pub(super) fn met(
        &mut self,
        doing: &str,
        error: &(dyn Error + 'static),
        said: &str,
        now: DateTime<Utc>,
        remind: Duration,
    ) -> Option<(String, bool, String, u32)> {
        // The store is one, whatever it was wanted for.
        let key = if is_of_store(error) { "using the state store" } else { doing };
        let new = Outage { since: now, last: now, failures: 0, told: None };
        let outage = self.known.entry(key.to_owned()).or_insert(new);
        if outage.told.is_none() && since(outage.last, now) >= QUIET {
            (outage.since, outage.failures) = (now, 0);
        }
        outage.last = now;
        outage.failures = outage.failures.saturating_add(1);
        let is_new = outage.told.is_none();
        let is_due = match &outage.told {
            None => outage.failures >= OFTEN && since(outage.since, now) >= LASTS,
            Some((_, at)) => since(*at, now) >= remind,
        };
        if !is_due {
            return None;
        }
        let message = format!("{key} has failed since {}: {said}", outage.since.format("%H:%M UTC"));
        outage.told = Some((message.clone(), now));
        Some((key.to_owned(), is_new, message, outage.failures))
    }

    /// In what time it is over, if it does not fail once more. None when it is not known.
    pub(super) fn quiet_in(&self, key: &str, now: DateTime<Utc>) -> Option<Duration> {
        self.known.get(key).map(|outage| QUIET.saturating_sub(since(outage.last, now)))
    }

    /// Forgets what is over. Answers what people were told of it.
    pub(super) fn end(&mut self, key: &str) -> Option<String> {
        self.known.remove(key)?.told.map(|(message, _)| message)
    }
}

fn since(before: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - before).to_std().unwrap_or_default()
}

fn is_of_store(error: &(dyn Error + 'static)) -> bool {
    error.is::<StateError>() || matches!(error.downcast_ref(), Some(ProcessError::State(_)))
}
