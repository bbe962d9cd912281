//! Cron expressions, by the clock of a time zone.

use std::fmt;

use chrono::{DateTime, Utc};

use super::{ScheduleError, Zone};

/// A cron expression that was checked, in a time zone.
///
/// What the clock of the zone does twice a year: an expression that names hours and minutes runs once in either case, at the first moment
/// behind a gap, and the first time that an hour which comes twice shows it. One with `*` or steps in them goes on by the real time: nothing
/// runs in a gap, and in an hour that comes twice it runs twice.
#[derive(Clone)]
pub struct CronExpression {
    text: String,
    zone: Zone,
    #[cfg(feature = "cron")]
    pattern: Box<croner::Cron>,
}

impl CronExpression {
    /// The expression as it was written, without its zone.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The zone whose clock it goes by.
    pub fn zone(&self) -> Zone {
        self.zone
    }

    #[cfg(feature = "cron")]
    pub(super) fn new(text: &str, zone: Zone) -> Result<Self, ScheduleError> {
        let pattern = text.parse::<croner::Cron>().map_err(|error| {
            ScheduleError::new(format!("'{text}' is no cron expression: {}", lower_first(&error.to_string())))
        })?;
        let expression = Self { text: text.to_owned(), zone, pattern: Box::new(pattern) };
        // For instance the 30th of February: better said now than waited for.
        if expression.next_after(DateTime::UNIX_EPOCH).is_none() {
            return Err(ScheduleError::new(format!(
                "the cron expression '{text}' never comes due; check day and month"
            )));
        }
        Ok(expression)
    }

    #[cfg(not(feature = "cron"))]
    pub(super) fn new(text: &str, _: Zone) -> Result<Self, ScheduleError> {
        Err(ScheduleError::new(format!(
            "'{text}' looks like a cron expression, and this build has none; build with the feature `cron`, or use 'every 15m'"
        )))
    }

    #[cfg(feature = "cron")]
    pub(super) fn next_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let here = now.with_timezone(&self.zone.clock());
        self.pattern.find_next_occurrence(&here, false).ok().map(|next| next.with_timezone(&Utc))
    }

    #[cfg(not(feature = "cron"))]
    #[expect(clippy::unused_self, reason = "without the feature no expression can be made")]
    pub(super) fn next_after(&self, _: DateTime<Utc>) -> Option<DateTime<Utc>> {
        None
    }
}

impl fmt::Debug for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CronExpression").field("text", &self.text).field("zone", &self.zone).finish_non_exhaustive()
    }
}

impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.zone == Zone::UTC { Ok(()) } else { write!(f, " in {}", self.zone) }
    }
}

impl PartialEq for CronExpression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.zone == other.zone
    }
}

impl Eq for CronExpression {}

#[cfg(feature = "cron")]
fn lower_first(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
