//! When something is to run again and again (Tableau REST API reference, Create Cloud Extract Refresh Task; Create Server
//! Schedule). The rules are the server's; breaking one is refused here, with the rule in the error, before anything is sent.

use std::fmt;

use chrono::{NaiveTime, Timelike as _};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are the days of the week")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Weekday {
    /// Monday to Friday.
    pub const WORKING: [Self; 5] = [Self::Monday, Self::Tuesday, Self::Wednesday, Self::Thursday, Self::Friday];
    /// All seven.
    pub const ALL: [Self; 7] =
        [Self::Monday, Self::Tuesday, Self::Wednesday, Self::Thursday, Self::Friday, Self::Saturday, Self::Sunday];
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A day of the month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MonthDay {
    /// The day of this number, 1 to 31; months without it are left out.
    Day(u8),
    /// The last day, whatever its number.
    Last,
}

/// When something is to run. Times are those of the site (Cloud) or server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recurrence {
    /// Each hour between two times.
    Hourly {
        /// From when on.
        start: NaiveTime,
        /// Until when, at the same minute.
        end: NaiveTime,
        /// On which days.
        days: Vec<Weekday>,
    },
    /// Every so many hours: 2, 4, 6, 8, 12 or 24.
    Daily {
        /// From when on.
        start: NaiveTime,
        /// Until when; needed for less than 24 hours.
        end: Option<NaiveTime>,
        /// Every so many hours.
        hours: u8,
        /// On which days.
        days: Vec<Weekday>,
    },
    /// Once a week.
    Weekly {
        /// When.
        start: NaiveTime,
        /// On which day.
        day: Weekday,
    },
    /// Once a month.
    Monthly {
        /// When.
        start: NaiveTime,
        /// On which day.
        day: MonthDay,
    },
}

impl Recurrence {
    /// Once a day, on all days.
    pub fn daily_at(start: NaiveTime) -> Self {
        Self::Daily { start, end: None, hours: 24, days: Weekday::ALL.to_vec() }
    }

    fn frequency(&self) -> &'static str {
        match self {
            Self::Hourly { .. } => "Hourly",
            Self::Daily { .. } => "Daily",
            Self::Weekly { .. } => "Weekly",
            Self::Monthly { .. } => "Monthly",
        }
    }

    fn check(&self, operation: &str) -> Result<()> {
        let refuse = |message: &str| Err(Error::config(operation.to_owned(), message.to_owned()));
        let (start, end) = match self {
            Self::Hourly { start, end, .. } => (start, Some(end)),
            Self::Daily { start, end, .. } => (start, end.as_ref()),
            Self::Weekly { start, .. } | Self::Monthly { start, .. } => (start, None),
        };
        let odd = |time: &NaiveTime| !time.minute().is_multiple_of(5) || time.second() != 0;
        if odd(start) || end.is_some_and(odd) {
            return refuse("times lie on marks of five minutes");
        }
        match self {
            Self::Hourly { days, .. } | Self::Daily { days, .. } if days.is_empty() => {
                refuse("no day of the week is named")
            }
            Self::Hourly { start, end, .. } if start.minute() != end.minute() => {
                refuse("an hourly recurrence ends at the same minute as it starts")
            }
            Self::Daily { hours, .. } if ![2, 4, 6, 8, 12, 24].contains(hours) => {
                refuse("a daily recurrence is every 2, 4, 6, 8, 12 or 24 hours")
            }
            Self::Daily { hours, end: None, .. } if *hours < 24 => refuse("less than 24 hours need an end"),
            Self::Monthly { day: MonthDay::Day(day), .. } if !(1..=31).contains(day) => {
                refuse("a day of the month is 1 to 31")
            }
            _ => Ok(()),
        }
    }

    /// `frequency` and `frequencyDetails`.
    pub(crate) fn write(&self, operation: &str) -> Result<Map<String, Value>> {
        self.check(operation)?;
        let time = |time: &NaiveTime| time.format("%H:%M:%S").to_string();
        let on =
            |days: &[Weekday]| -> Vec<Value> { days.iter().map(|day| json!({ "weekDay": day.to_string() })).collect() };
        let mut details = Map::new();
        let intervals = match self {
            Self::Hourly { start, end, days } => {
                details.insert("start".to_owned(), time(start).into());
                details.insert("end".to_owned(), time(end).into());
                std::iter::once(json!({ "hours": "1" })).chain(on(days)).collect()
            }
            Self::Daily { start, end, hours, days } => {
                details.insert("start".to_owned(), time(start).into());
                if let Some(end) = end {
                    details.insert("end".to_owned(), time(end).into());
                }
                std::iter::once(json!({ "hours": hours.to_string() })).chain(on(days)).collect()
            }
            Self::Weekly { start, day } => {
                details.insert("start".to_owned(), time(start).into());
                on(&[*day])
            }
            Self::Monthly { start, day } => {
                details.insert("start".to_owned(), time(start).into());
                let day = match day {
                    MonthDay::Day(day) => day.to_string(),
                    MonthDay::Last => "LastDay".to_owned(),
                };
                vec![json!({ "monthDay": day })]
            }
        };
        let intervals: Vec<Value> = intervals;
        details.insert("intervals".to_owned(), json!({ "interval": intervals }));
        let mut schedule = Map::new();
        schedule.insert("frequency".to_owned(), self.frequency().into());
        schedule.insert("frequencyDetails".to_owned(), Value::Object(details));
        Ok(schedule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u32, minute: u32) -> NaiveTime {
        NaiveTime::from_hms_opt(hour, minute, 0).unwrap()
    }

    #[test]
    fn recurrences_are_written_as_documented() {
        let written = |recurrence: Recurrence| Value::Object(recurrence.write("t").unwrap());
        assert_eq!(
            written(Recurrence::Hourly { start: at(6, 30), end: at(20, 30), days: vec![Weekday::Monday] }),
            json!({ "frequency": "Hourly", "frequencyDetails": { "start": "06:30:00", "end": "20:30:00",
                "intervals": { "interval": [{ "hours": "1" }, { "weekDay": "Monday" }] } } })
        );
        assert_eq!(
            written(Recurrence::Monthly { start: at(3, 0), day: MonthDay::Last })["frequencyDetails"]["intervals"],
            json!({ "interval": [{ "monthDay": "LastDay" }] })
        );
        let daily = written(Recurrence::daily_at(at(2, 0)));
        assert_eq!(daily["frequencyDetails"]["intervals"]["interval"].as_array().unwrap().len(), 8);
        assert_eq!(
            written(Recurrence::Weekly { start: at(1, 5), day: Weekday::Sunday })["frequencyDetails"]["intervals"],
            json!({ "interval": [{ "weekDay": "Sunday" }] })
        );
    }

    #[test]
    fn what_breaks_a_rule_of_the_server_is_refused_with_the_rule() {
        let days = || vec![Weekday::Monday];
        for (recurrence, rule) in [
            (Recurrence::daily_at(at(2, 3)), "five minutes"),
            (Recurrence::Hourly { start: at(1, 0), end: at(2, 30), days: days() }, "same minute"),
            (Recurrence::Daily { start: at(1, 0), end: None, hours: 4, days: days() }, "an end"),
            (Recurrence::Daily { start: at(1, 0), end: None, hours: 5, days: days() }, "2, 4, 6"),
            (Recurrence::Daily { start: at(1, 0), end: None, hours: 24, days: Vec::new() }, "no day"),
            (Recurrence::Monthly { start: at(1, 0), day: MonthDay::Day(32) }, "1 to 31"),
        ] {
            let error = recurrence.write("t").unwrap_err();
            assert!(error.to_string().contains(rule), "{error}");
        }
    }
}
