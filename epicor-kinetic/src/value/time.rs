//! Dates and times as the server wrote them.

use std::fmt;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::query::{Literal, Moment};

/// A date, or a date and time, exactly as the server wrote it.
///
/// Kinetic's times are those of the server, and nobody outside knows whether it writes an offset behind them: all three
/// forms are read (`2024-05-22T00:00:00`, `…Z`, `…-05:00`) and none is converted. Of calendar dates only
/// [`ServerTime::date`] counts, whatever time and offset stand behind it.
///
/// ```
/// use epicor_kinetic::ServerTime;
/// let due: ServerTime = serde_json::from_str("\"2024-05-22T00:00:00-05:00\"")?;
/// assert_eq!(due.date().to_string(), "2024-05-22");
/// assert_eq!(due.as_str(), "2024-05-22T00:00:00-05:00");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerTime(Box<str>);

impl ServerTime {
    /// The text, as it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The calendar date as it is written. No zone is converted.
    pub fn date(&self) -> NaiveDate {
        self.local().date()
    }

    /// Date and time as they are written, without their offset. Midnight when there is only a date.
    pub fn local(&self) -> NaiveDateTime {
        match Moment::parse(&self.0) {
            Some(Moment::Local(time)) => time,
            Some(Moment::Offset(time)) => time.naive_local(),
            // Every constructor has checked it.
            None => NaiveDateTime::default(),
        }
    }

    /// The moment, when the server wrote an offset.
    pub fn with_offset(&self) -> Option<DateTime<FixedOffset>> {
        match Moment::parse(&self.0)? {
            Moment::Offset(time) => Some(time),
            Moment::Local(_) => None,
        }
    }

    fn read(text: &str) -> Option<Self> {
        Moment::parse(text).map(|_| Self(text.into()))
    }
}

impl From<NaiveDate> for ServerTime {
    /// As servers take dates: `2024-05-22T00:00:00` (observed).
    fn from(date: NaiveDate) -> Self {
        Self(date.format("%Y-%m-%dT00:00:00").to_string().into())
    }
}

impl From<NaiveDateTime> for ServerTime {
    fn from(time: NaiveDateTime) -> Self {
        Self(time.format("%Y-%m-%dT%H:%M:%S%.f").to_string().into())
    }
}

impl From<&ServerTime> for Literal {
    fn from(time: &ServerTime) -> Self {
        Self::bare(time.0.to_string())
    }
}

impl From<ServerTime> for Literal {
    fn from(time: ServerTime) -> Self {
        (&time).into()
    }
}

impl fmt::Display for ServerTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ServerTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ServerTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::read(&text).ok_or_else(|| D::Error::custom("expected a date like 2024-05-22T00:00:00"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_keep_their_date_and_their_text() {
        for text in ["2024-05-22", "2024-05-22T23:30:00", "2024-05-22T23:30:00Z", "2024-05-22T23:30:00.123-11:00"] {
            let time: ServerTime = serde_json::from_value(text.into()).unwrap();
            assert_eq!(time.date(), NaiveDate::from_ymd_opt(2024, 5, 22).unwrap(), "{text}");
            assert_eq!(serde_json::to_value(&time).unwrap(), text);
            assert_eq!(Literal::from(&time).to_string(), text);
            assert_eq!(time.with_offset().is_some(), text.len() > 19, "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in ["", "soon", "2024-02-30T00:00:00", "22.05.2024", "2024-05-22T25:00:00"] {
            assert!(serde_json::from_value::<ServerTime>(text.into()).is_err(), "{text}");
        }
    }

    #[test]
    fn dates_of_ours_are_written_as_the_server_takes_them() {
        let date = NaiveDate::from_ymd_opt(2024, 5, 22).unwrap();
        assert_eq!(ServerTime::from(date).as_str(), "2024-05-22T00:00:00");
        assert_eq!(ServerTime::from(date).date(), date);
    }
}
