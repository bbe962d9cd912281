//! Times in which nothing is begun.

use std::fmt;
use std::str::FromStr;

use chrono::{
    DateTime, Datelike as _, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _, Utc, Weekday,
};

use super::{ScheduleError, Zone, strip_word};

const DAYS: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

/// A time of the day, on all days of the week or some, in which nothing is begun: while the nightly posting runs, or while people work.
///
/// By the clock of its zone. One that ends at or before its beginning goes on into the next day; a weekday is the one on which it begins.
///
/// ```
/// use kinetic_tableau_sync::Blackout;
///
/// let nightly: Blackout = "mon-fri 22:00-02:00".parse()?;
/// let friday_night = "2026-11-27T23:30:00Z".parse()?;
/// assert_eq!(nightly.end(friday_night), Some("2026-11-28T02:00:00Z".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blackout {
    /// Monday first.
    days: [bool; 7],
    /// Minutes since midnight; the end is up to 24:00.
    from: u32,
    until: u32,
    zone: Zone,
}

impl Blackout {
    /// When it ends, where a moment lies in it. The moment of its end lies behind it.
    #[must_use]
    pub fn end(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let here = at.with_timezone(&self.zone.clock()).naive_local();
        let today = here.date();
        // One that began yesterday may still go on.
        let begun = [today.checked_sub_days(Days::new(1)), Some(today)].into_iter().flatten();
        let ends = begun.filter(|day| self.begins_on(*day)).filter_map(|day| {
            let (from, until) = self.on(day)?;
            (from..until).contains(&here).then_some(until)
        });
        // In an hour that comes twice the end must not lie before the moment itself.
        let end = self.moment(ends.max()?);
        Some(if end > at { end } else { at + chrono::Duration::minutes(1) })
    }

    fn begins_on(&self, day: NaiveDate) -> bool {
        let nth = usize::try_from(day.weekday().num_days_from_monday()).unwrap_or_default();
        self.days.get(nth).copied().unwrap_or_default()
    }

    /// Beginning and end of the one that begins on a day.
    fn on(&self, day: NaiveDate) -> Option<(NaiveDateTime, NaiveDateTime)> {
        let time = |minutes: u32| {
            let days = Days::new(u64::from(minutes / 1_440));
            let time = NaiveTime::from_num_seconds_from_midnight_opt(minutes % 1_440 * 60, 0)?;
            Some(day.checked_add_days(days)?.and_time(time))
        };
        let until = if self.until <= self.from { self.until + 1_440 } else { self.until };
        Some((time(self.from)?, time(until)?))
    }

    /// The moment of a time of the zone's clock: the later one where it comes twice, the first behind a gap.
    fn moment(&self, local: NaiveDateTime) -> DateTime<Utc> {
        let mut local = local;
        // No gap is longer than a day.
        for _ in 0..=1_440 {
            match self.zone.clock().from_local_datetime(&local) {
                LocalResult::Single(moment) | LocalResult::Ambiguous(_, moment) => return moment.with_timezone(&Utc),
                LocalResult::None => local += chrono::Duration::minutes(1),
            }
        }
        local.and_utc()
    }
}

impl FromStr for Blackout {
    type Err = ScheduleError;

    /// Reads `22:00-02:00`, `mon-fri 08:00-18:00`, `sat,sun` (whole days), each with ` in ZONE` behind it where that is not UTC.
    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let refuse = || {
            ScheduleError::new(format!(
                "'{text}' is no time of the day; write it as 22:00-02:00, mon-fri 08:00-18:00 or sat,sun, and behind it a zone \
                 where that is not UTC: 22:00-02:00 in Europe/Zurich"
            ))
        };
        let (words, zone) = match text.trim().split_once(" in ") {
            Some((words, zone)) => (words.trim(), Zone::named(zone.trim())?),
            None => (text.trim(), Zone::UTC),
        };
        let mut days = [true; 7];
        let (mut from, mut until) = (0, 1_440);
        let mut times = words;
        if words.starts_with(|first: char| first.is_ascii_alphabetic()) {
            let first = words.split_whitespace().next().unwrap_or_default();
            days = days_of(first).ok_or_else(refuse)?;
            times = strip_word(words, first).unwrap_or_default();
        } else if words.is_empty() {
            return Err(refuse());
        }
        if !times.is_empty() {
            let (begin, end) = times.split_once('-').ok_or_else(refuse)?;
            (from, until) = (minutes(begin).ok_or_else(refuse)?, minutes(end).ok_or_else(refuse)?);
        }
        if from >= 1_440 || from == until {
            return Err(refuse());
        }
        Ok(Self { days, from, until, zone })
    }
}

/// Days such as `mon-fri`, `sat,sun` or `fri-mon`.
fn days_of(text: &str) -> Option<[bool; 7]> {
    let nth = |name: &str| {
        let day: Weekday = name.parse().ok()?;
        usize::try_from(day.num_days_from_monday()).ok()
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (nth(first)?, nth(last)?);
        let count = (last + 7 - first) % 7 + 1;
        for at in (first..first + count).map(|at| at % 7) {
            *days.get_mut(at)? = true;
        }
    }
    Some(days)
}

/// `HH:MM` as minutes since midnight, up to 24:00.
fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let two = |text: &str| {
        (text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse::<u32>().ok())?
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (minutes < 60 && hours * 60 + minutes <= 1_440).then_some(hours * 60 + minutes)
}

impl fmt::Display for Blackout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = false;
        if self.days != [true; 7] {
            for (day, _) in DAYS.iter().zip(self.days).filter(|(_, on)| *on) {
                write!(f, "{}{}", if before { "," } else { "" }, day.to_string().to_lowercase())?;
                before = true;
            }
        }
        if self.days == [true; 7] || (self.from, self.until) != (0, 1_440) {
            let time = |minutes: u32| format!("{:02}:{:02}", minutes / 60, minutes % 60);
            write!(f, "{}{}-{}", if before { " " } else { "" }, time(self.from), time(self.until))?;
        }
        if self.zone == Zone::UTC { Ok(()) } else { write!(f, " in {}", self.zone) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(blackout: &str, moment: &str) -> String {
        let blackout: Blackout = blackout.parse().unwrap();
        assert_eq!(blackout.to_string().parse::<Blackout>().unwrap(), blackout);
        let end = blackout.end(moment.parse().unwrap());
        end.map_or_else(|| "none".to_owned(), |end| end.format("%Y-%m-%dT%H:%M:%SZ").to_string())
    }

    #[test]
    fn a_moment_lies_in_it_up_to_its_end() {
        assert_eq!(end("08:00-18:00", "2026-11-26T08:00:00Z"), "2026-11-26T18:00:00Z");
        assert_eq!(end("08:00-18:00", "2026-11-26T17:59:59Z"), "2026-11-26T18:00:00Z");
        assert_eq!(end("08:00-18:00", "2026-11-26T18:00:00Z"), "none");
        assert_eq!(end("08:00-18:00", "2026-11-26T07:59:59Z"), "none");
        assert_eq!(end("22:00-02:00", "2026-11-26T23:00:00Z"), "2026-11-27T02:00:00Z");
        assert_eq!(end("22:00-02:00", "2026-11-27T01:00:00Z"), "2026-11-27T02:00:00Z");
        assert_eq!(end("00:00-24:00", "2026-11-27T01:00:00Z"), "2026-11-28T00:00:00Z");
    }

    #[test]
    fn a_weekday_is_the_one_on_which_it_begins() {
        // The 27th of November 2026 is a Friday.
        assert_eq!(end("fri 22:00-02:00", "2026-11-28T01:00:00Z"), "2026-11-28T02:00:00Z");
        assert_eq!(end("fri 22:00-02:00", "2026-11-27T01:00:00Z"), "none", "Thursday's night");
        assert_eq!(end("sat,sun", "2026-11-28T05:00:00Z"), "2026-11-29T00:00:00Z");
        assert_eq!(end("Fri-Mon 10:00-11:00", "2026-11-30T10:30:00Z"), "2026-11-30T11:00:00Z");
        assert_eq!(end("fri-mon 10:00-11:00", "2026-12-01T10:30:00Z"), "none");
    }

    #[cfg(feature = "cron")]
    #[test]
    fn it_goes_by_the_clock_of_its_zone_also_where_that_jumps() {
        assert_eq!(end("08:00-18:00 in Europe/Zurich", "2026-07-01T06:00:00Z"), "2026-07-01T16:00:00Z");
        assert_eq!(end("08:00-18:00 in Europe/Zurich", "2026-12-01T06:30:00Z"), "none");
        // The end lies in the gap from 02:00 to 03:00, and then in the hour that comes twice.
        assert_eq!(end("22:00-02:30 in Europe/Zurich", "2026-03-28T23:00:00Z"), "2026-03-29T01:00:00Z");
        assert_eq!(end("22:00-02:30 in Europe/Zurich", "2026-10-24T23:00:00Z"), "2026-10-25T01:30:00Z");
        assert_eq!(end("22:00-02:30 in Europe/Zurich", "2026-10-25T00:15:00Z"), "2026-10-25T01:30:00Z");
        // 02:15 of the second time.
        assert_eq!(end("22:00-02:30 in Europe/Zurich", "2026-10-25T01:15:00Z"), "2026-10-25T01:30:00Z");
        assert_eq!(end("22:00-02:30 in Europe/Zurich", "2026-10-25T01:30:00Z"), "none");
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "22:00",
            "22-02",
            "25:00-26:00",
            "24:00-02:00",
            "08:00-08:00",
            "08:60-09:00",
            "fun 08:00-09:00",
            "mon- 1:00-2:00",
            "08:00-18:00 in Nowhere/Here",
            "mon-fri08:00-18:00",
        ] {
            assert!(text.parse::<Blackout>().is_err(), "{text:?} was taken");
        }
    }
}
