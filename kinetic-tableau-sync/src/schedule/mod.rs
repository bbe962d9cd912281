//! When a dataset is due: by hand, at an interval, by a cron expression, or behind a batch process in Epicor; and when it is not.

mod blackout;
mod cron;
mod duration;
mod timing;
mod zone;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use self::blackout::Blackout;
pub use self::cron::CronExpression;
pub use self::duration::parse_duration;
use self::duration::write_duration;
pub use self::timing::Timing;
pub use self::zone::Zone;

/// When a dataset is due.
///
/// ```
/// use kinetic_tableau_sync::Schedule;
/// use std::time::Duration;
///
/// let schedule: Schedule = "every 15m".parse()?;
/// assert_eq!(schedule, Schedule::Every(Duration::from_secs(900)));
/// # Ok::<(), kinetic_tableau_sync::ScheduleError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schedule {
    /// Only when asked for.
    #[default]
    Manual,
    /// This long after the last run began.
    Every(Duration),
    /// By a cron expression of five fields (minute, hour, day, month, weekday) or six (seconds first).
    Cron(CronExpression),
    /// When a batch process in Epicor has ended, named as the task monitor describes it (`Post AP Invoices`).
    AfterProcess(String),
}

impl Schedule {
    /// The first moment behind `now` that is due; none when the time alone never makes it due.
    #[must_use]
    pub fn next_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Manual | Self::AfterProcess(_) => None,
            Self::Every(interval) => now.checked_add_signed(chrono::Duration::from_std(*interval).ok()?),
            Self::Cron(expression) => expression.next_after(now),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manual => f.write_str("manual"),
            Self::Every(interval) => {
                f.write_str("every ")?;
                write_duration(f, *interval)
            }
            Self::Cron(expression) => expression.fmt(f),
            Self::AfterProcess(name) => write!(f, "after process {name}"),
        }
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    /// Reads `manual`, `every 15m`, a cron expression (`0 6 * * 1-5`, `0 6 * * 1-5 in Europe/Zurich`), or
    /// `after process Post AP Invoices`.
    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("manual") {
            return Ok(Self::Manual);
        }
        let mut words = text.split_whitespace();
        if words.next().is_some_and(|word| word.eq_ignore_ascii_case("every")) {
            let interval = parse_duration(&words.collect::<String>())?;
            if interval < Duration::from_secs(1) {
                return Err(ScheduleError::new(
                    "an interval of less than a second is no schedule; use at least 'every 1s'",
                ));
            }
            return Ok(Self::Every(interval));
        }
        if let Some(name) = strip_word(text, "after").and_then(|rest| strip_word(rest, "process")) {
            if name.is_empty() {
                return Err(ScheduleError::new(
                    "'after process' names no process; write 'after process Post AP Invoices'",
                ));
            }
            return Ok(Self::AfterProcess(name.to_owned()));
        }
        let (expression, zone) = match text.split_once(" in ") {
            Some((expression, zone)) => (expression.trim_end(), Zone::named(zone.trim())?),
            None => (text, Zone::UTC),
        };
        if !(expression.starts_with('@') || (5..=7).contains(&expression.split_whitespace().count())) {
            return Err(ScheduleError::new(format!(
                "'{text}' is no schedule; use 'manual', 'every 15m', a cron expression such as '0 6 * * 1-5' or \
                 '0 6 * * 1-5 in Europe/Zurich', or 'after process NAME'"
            )));
        }
        CronExpression::new(expression, zone).map(Self::Cron)
    }
}

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScheduleError {
    message: String,
}

impl ScheduleError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// What follows a word at the beginning of a text.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    first.eq_ignore_ascii_case(word).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn intervals_are_read_written_and_counted_from_the_last_start() {
        for (text, seconds, written) in [
            ("every 15m", 900, "every 15m"),
            ("every 90s", 90, "every 1m30s"),
            ("Every 1h 30m", 5_400, "every 1h30m"),
            ("  every 2d ", 172_800, "every 2d"),
            ("every 2 hours", 7_200, "every 2h"),
        ] {
            let schedule: Schedule = text.parse().unwrap();
            assert_eq!(schedule, Schedule::Every(Duration::from_secs(seconds)), "{text}");
            assert_eq!(schedule.to_string(), written);
            assert_eq!(schedule.to_string().parse::<Schedule>().unwrap(), schedule);
        }
        let schedule: Schedule = "every 15m".parse().unwrap();
        assert_eq!(schedule.next_after(at("2026-11-23T10:00:00Z")), Some(at("2026-11-23T10:15:00Z")));
    }

    #[test]
    fn manual_is_never_due() {
        let schedule: Schedule = "manual".parse().unwrap();
        assert_eq!(schedule, Schedule::Manual);
        assert_eq!(schedule.next_after(at("2026-11-23T10:00:00Z")), None);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in
            ["", "often", "every", "every 15", "every m", "every 0s", "every 5 fortnights", "every -5m", "1 2 3"]
        {
            assert!(text.parse::<Schedule>().is_err(), "{text:?} was taken");
        }
        assert!(parse_duration("99999999999999999999d").is_err());
        assert!(parse_duration("999999999999999999d").is_err());
    }

    #[cfg(feature = "cron")]
    #[test]
    fn cron_expressions_are_evaluated_in_utc() {
        let schedule: Schedule = "30 6 * * 1-5".parse().unwrap();
        // The 21st of November 2026 is a Saturday.
        assert_eq!(schedule.next_after(at("2026-11-21T00:00:00Z")), Some(at("2026-11-23T06:30:00Z")));
        assert_eq!(schedule.next_after(at("2026-11-23T06:30:00Z")), Some(at("2026-11-24T06:30:00Z")));
        assert_eq!(schedule.to_string(), "30 6 * * 1-5");
        assert_eq!(schedule.to_string().parse::<Schedule>().unwrap(), schedule);
    }

    #[cfg(feature = "cron")]
    #[test]
    fn cron_expressions_that_are_wrong_or_never_due_are_refused() {
        for text in ["61 * * * *", "* * * * mon-x", "0 0 30 2 *"] {
            assert!(text.parse::<Schedule>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_batch_process_is_named_as_the_task_monitor_names_it() {
        let schedule: Schedule = "After process  Post AP Invoices ".parse().unwrap();
        assert_eq!(schedule, Schedule::AfterProcess("Post AP Invoices".to_owned()));
        assert_eq!(schedule.to_string().parse::<Schedule>().unwrap(), schedule);
        assert_eq!(schedule.next_after(at("2026-11-23T10:00:00Z")), None);
        for text in ["after", "after process", "after process ", "after noon", "process X"] {
            assert!(text.parse::<Schedule>().is_err(), "{text:?} was taken");
        }
    }

    /// Each line: the expression, the moment before, and the moments that follow.
    #[cfg(feature = "cron")]
    #[test]
    fn gaps_and_repeats_of_a_zone_s_clock_have_one_meaning() {
        for (expression, from, due) in [
            // On the 29th of March 2026 Zurich goes from 02:00 to 03:00, on the 25th of October from 03:00 back to 02:00.
            (
                "30 2 * * * in Europe/Zurich",
                "2026-03-28T12:00:00Z",
                &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"][..],
            ),
            ("0 3 * * * in Europe/Zurich", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]),
            (
                "*/30 * * * * in Europe/Zurich",
                "2026-03-29T00:15:00Z",
                &["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"],
            ),
            ("30 2 * * * in Europe/Zurich", "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
            (
                "*/30 * * * * in Europe/Zurich",
                "2026-10-25T00:15:00Z",
                &["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"],
            ),
            // Half an hour only, at Lord Howe; and a zone whose clock never moves.
            (
                "15 2 * * * in Australia/Lord_Howe",
                "2026-10-02T20:00:00Z",
                &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
            ),
            ("30 6 * * * in Asia/Kolkata", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]),
            ("0 6 * * 1-5 in america/chicago", "2026-11-20T13:00:00Z", &["2026-11-23T12:00:00Z"]),
            // With seconds; and without a zone, where no clock moves.
            ("15 30 2 * * *", "2026-03-28T12:00:00Z", &["2026-03-29T02:30:15Z", "2026-03-30T02:30:15Z"]),
        ] {
            let schedule: Schedule = expression.parse().unwrap();
            assert_eq!(schedule.to_string().parse::<Schedule>().unwrap(), schedule);
            let mut now = at(from);
            for expected in due {
                now = schedule.next_after(now).unwrap();
                assert_eq!(now, at(expected), "{expression} behind {from}");
            }
        }
        let error = "0 6 * * * in Mars/Olympus".parse::<Schedule>().unwrap_err().to_string();
        assert!(error.contains("'Mars/Olympus' is no time zone"), "{error}");
    }

    #[cfg(not(feature = "cron"))]
    #[test]
    fn a_cron_expression_is_refused_by_name_without_the_feature() {
        let error = "0 6 * * *".parse::<Schedule>().unwrap_err();
        assert!(error.to_string().contains("`cron`"));
    }
}
