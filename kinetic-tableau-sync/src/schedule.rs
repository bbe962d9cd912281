//! When a dataset is due: by hand, at an interval, or by a cron expression in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};

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
    /// By a cron expression of five fields (minute, hour, day, month, weekday) or six (seconds first), in UTC.
    Cron(CronExpression),
}

impl Schedule {
    /// The first moment behind `now` that is due; none when it never is.
    #[must_use]
    pub fn next_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Manual => None,
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
            Self::Cron(expression) => f.write_str(expression.as_str()),
        }
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    /// Reads `manual`, `every 15m`, or a cron expression.
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
        if !(text.starts_with('@') || (5..=7).contains(&text.split_whitespace().count())) {
            return Err(ScheduleError::new(format!(
                "'{text}' is no schedule; use 'manual', 'every 15m' or a cron expression such as '0 6 * * 1-5'"
            )));
        }
        CronExpression::new(text).map(Self::Cron)
    }
}

/// A cron expression that was checked.
#[derive(Clone)]
pub struct CronExpression {
    text: String,
    #[cfg(feature = "cron")]
    pattern: Box<croner::Cron>,
}

impl CronExpression {
    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    #[cfg(feature = "cron")]
    fn new(text: &str) -> Result<Self, ScheduleError> {
        let pattern = text.parse::<croner::Cron>().map_err(|error| {
            ScheduleError::new(format!("'{text}' is no cron expression: {}", lower_first(&error.to_string())))
        })?;
        let expression = Self { text: text.to_owned(), pattern: Box::new(pattern) };
        // For instance the 30th of February: better said now than waited for.
        if expression.next_after(DateTime::UNIX_EPOCH).is_none() {
            return Err(ScheduleError::new(format!(
                "the cron expression '{text}' never comes due; check day and month"
            )));
        }
        Ok(expression)
    }

    #[cfg(not(feature = "cron"))]
    fn new(text: &str) -> Result<Self, ScheduleError> {
        Err(ScheduleError::new(format!(
            "'{text}' looks like a cron expression, and this build has none; build with the feature `cron`, or use 'every 15m'"
        )))
    }

    #[cfg(feature = "cron")]
    fn next_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.pattern.find_next_occurrence(&now, false).ok()
    }

    #[cfg(not(feature = "cron"))]
    #[expect(clippy::unused_self, reason = "without the feature no expression can be made")]
    fn next_after(&self, _: DateTime<Utc>) -> Option<DateTime<Utc>> {
        None
    }
}

impl fmt::Debug for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CronExpression").field(&self.text).finish()
    }
}

impl PartialEq for CronExpression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CronExpression {}

/// Reads a length of time such as `90s`, `15m`, `1h30m` or `2d`.
///
/// # Errors
/// When a number has no unit, or there is none at all.
pub fn parse_duration(text: &str) -> Result<Duration, ScheduleError> {
    let refuse = || ScheduleError::new(format!("'{text}' is no length of time; write it as 90s, 15m, 1h30m or 2d"));
    let mut seconds = 0_u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit = match unit {
            "s" | "sec" | "second" | "seconds" => 1,
            "m" | "min" | "minute" | "minutes" => 60,
            "h" | "hour" | "hours" => 3_600,
            "d" | "day" | "days" => 86_400,
            _ => return Err(refuse()),
        };
        let number: u64 = number.parse().map_err(|_| refuse())?;
        seconds = number.checked_mul(unit).and_then(|more| seconds.checked_add(more)).ok_or_else(refuse)?;
        rest = tail.trim_start();
    }
    Ok(Duration::from_secs(seconds))
}

fn write_duration(f: &mut fmt::Formatter<'_>, duration: Duration) -> fmt::Result {
    let mut seconds = duration.as_secs();
    if seconds == 0 {
        return f.write_str("0s");
    }
    for (size, unit) in [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')] {
        if seconds >= size {
            write!(f, "{}{unit}", seconds / size)?;
            seconds %= size;
        }
    }
    Ok(())
}

#[cfg(feature = "cron")]
fn lower_first(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
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

    #[cfg(not(feature = "cron"))]
    #[test]
    fn a_cron_expression_is_refused_by_name_without_the_feature() {
        let error = "0 6 * * *".parse::<Schedule>().unwrap_err();
        assert!(error.to_string().contains("`cron`"));
    }
}
