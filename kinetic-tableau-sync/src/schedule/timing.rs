//! All that decides when a dataset is begun.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Blackout, Schedule, ScheduleError};
use crate::model::DatasetId;

/// When a dataset is begun: one or more schedules, spread a little, and not in certain times of the day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    schedules: Vec<Schedule>,
    jitter: Duration,
    blackouts: Vec<Blackout>,
}

impl Timing {
    /// By one schedule, to the second, at any time of the day.
    #[must_use]
    pub fn new(schedule: Schedule) -> Self {
        Self { schedules: vec![schedule], ..Self::default() }
    }

    /// By another schedule as well: it is due when one of them is.
    #[must_use]
    pub fn or(mut self, schedule: Schedule) -> Self {
        self.schedules.push(schedule);
        self
    }

    /// Up to so much later, each dataset and each time by another length, so that not all of them begin in the same second. The same
    /// dataset and time always have the same length, in every process.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Nothing is begun in this time of the day; what is due in it is begun at its end.
    ///
    /// # Errors
    /// When nothing would ever be begun.
    pub fn except(mut self, blackout: Blackout) -> Result<Self, ScheduleError> {
        self.blackouts.push(blackout);
        let some = DateTime::UNIX_EPOCH + chrono::Duration::days(20_000);
        match self.allowed(some) {
            Some(_) => Ok(self),
            None => {
                Err(ScheduleError::new("the times in which nothing is begun leave none at all; shorten one of them"))
            }
        }
    }

    /// Its schedules.
    pub fn schedules(&self) -> &[Schedule] {
        &self.schedules
    }

    /// Whether it is never due but when asked for.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        self.schedules.iter().all(|schedule| *schedule == Schedule::Manual)
    }

    /// The batch processes whose end makes it due.
    pub fn processes(&self) -> impl Iterator<Item = &str> {
        self.schedules.iter().filter_map(|schedule| match schedule {
            Schedule::AfterProcess(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// When a dataset that was begun at `last` is due next by the time: the first moment behind it, spread, and not in a time in which
    /// nothing is begun. However many of its moments lie before now, it is due once for all of them.
    #[must_use]
    pub fn next_after(&self, dataset: &DatasetId, last: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let due = self.schedules.iter().filter_map(|schedule| schedule.next_after(last)).min()?;
        self.allowed(due.checked_add_signed(self.spread(dataset, due))?)
    }

    /// The first moment from `at` on at which something may be begun; none when there is none within a month.
    #[must_use]
    pub fn allowed(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let latest = at.checked_add_signed(chrono::Duration::days(31))?;
        let mut now = at;
        while now <= latest {
            match self.blackouts.iter().filter_map(|blackout| blackout.end(now)).max() {
                None => return Some(now),
                Some(end) => now = end,
            }
        }
        None
    }

    /// How much later than `due` it is begun.
    fn spread(&self, dataset: &DatasetId, due: DateTime<Utc>) -> chrono::Duration {
        let jitter = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        if jitter == 0 {
            return chrono::Duration::zero();
        }
        let text = format!("{dataset}@{}", due.timestamp_millis());
        let drawn = xxhash_rust::xxh3::xxh3_64(text.as_bytes()) % jitter;
        chrono::Duration::milliseconds(i64::try_from(drawn).unwrap_or_default())
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.schedules.is_empty() {
            return f.write_str("manual");
        }
        for (nth, schedule) in self.schedules.iter().enumerate() {
            write!(f, "{}{schedule}", if nth > 0 { ", or " } else { "" })?;
        }
        for blackout in &self.blackouts {
            write!(f, ", not {blackout}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn timing(schedule: &str) -> Timing {
        Timing::new(schedule.parse().unwrap())
    }

    #[test]
    fn what_was_missed_is_due_once_and_the_soonest_schedule_counts() {
        let timing = timing("every 15m").or("every 1h".parse().unwrap()).or(Schedule::Manual);
        let id = DatasetId::new("a");
        assert_eq!(timing.next_after(&id, at("2026-11-26T10:00:00Z")), Some(at("2026-11-26T10:15:00Z")));
        assert!(!timing.is_manual() && Timing::default().is_manual());
        assert_eq!(Timing::default().next_after(&id, at("2026-11-26T10:00:00Z")), None);
        assert_eq!(timing.to_string(), "every 15m, or every 1h, or manual");
        let after = Timing::new(Schedule::AfterProcess("Post".to_owned()));
        assert_eq!(after.processes().collect::<Vec<_>>(), ["Post"]);
    }

    #[test]
    fn what_is_due_in_a_blackout_is_begun_at_its_end() {
        let nightly = timing("every 15m").except("22:00-02:00".parse().unwrap()).unwrap();
        let nightly = nightly.except("02:00-03:30".parse().unwrap()).unwrap();
        let id = DatasetId::new("a");
        assert_eq!(nightly.next_after(&id, at("2026-11-26T21:50:00Z")), Some(at("2026-11-27T03:30:00Z")));
        assert_eq!(nightly.next_after(&id, at("2026-11-26T21:30:00Z")), Some(at("2026-11-26T21:45:00Z")));
        let never = timing("every 15m").except("00:00-12:00".parse().unwrap()).unwrap();
        let error = never.except("12:00-24:00".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("leave none at all"), "{error}");
    }

    #[test]
    fn jitter_spreads_datasets_and_is_the_same_in_every_process() {
        let timing = timing("every 15m").jitter(Duration::from_mins(1));
        let last = at("2026-11-26T10:00:00Z");
        let due: Vec<DateTime<Utc>> =
            (0..200).filter_map(|nth| timing.next_after(&DatasetId::new(format!("d{nth}")), last)).collect();
        let (first, latest) = (at("2026-11-26T10:15:00Z"), at("2026-11-26T10:16:00Z"));
        assert!(due.iter().all(|due| (first..latest).contains(due)));
        let early = due.iter().filter(|due| **due < first + chrono::Duration::seconds(20)).count();
        assert!((30..110).contains(&early), "{early} of 200 in the first third");
        assert_eq!(timing.next_after(&DatasetId::new("d0"), last), due.first().copied());
    }
}
