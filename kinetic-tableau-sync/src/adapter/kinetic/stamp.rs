//! Change stamps: dates and times as one server writes them, compared and moved without ever changing their zone.
//!
//! Whether Kinetic writes an offset behind its times, and which form its filters take, differs between versions, so both are taken
//! from the server itself.

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use epicor_kinetic::Literal;

use crate::decode::timestamp_micros;
use crate::model::DatasetSpec;
use crate::source::{SourceError, SourceErrorKind};

/// How a stamp is written in a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As the server writes it.
    AsSent,
    /// With `Z`, which OData's grammar demands where Kinetic writes nothing.
    Zulu,
    /// Without the offset that the server writes.
    Bare,
}

/// A moment as the server wrote it.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    /// The written date and time.
    local: NaiveDateTime,
    /// What stood behind it: nothing, `Z` or an offset.
    suffix: String,
    /// For comparison: microseconds in UTC, or as written where there is no offset.
    micros: i64,
}

impl Stamp {
    /// Reads what the server wrote.
    pub(super) fn parse(spec: &DatasetSpec, text: &str) -> Result<Self, SourceError> {
        Self::read(text).ok_or_else(|| {
            let message = format!("{} holds no date", spec.track.column().unwrap_or_default());
            SourceError::new(SourceErrorKind::Config, message).with_hint(
                "track the dataset by another column; if the way of tracking was changed, give it a new name",
            )
        })
    }

    fn read(text: &str) -> Option<Self> {
        let micros = timestamp_micros(text)?;
        let time = text.find(['T', ' ']).unwrap_or(text.len());
        let cut = text.get(time..)?.find(['Z', 'z', '+', '-']).map_or(text.len(), |at| time + at);
        let (written, suffix) = text.split_at_checked(cut)?;
        let micros_as_written = timestamp_micros(written)?;
        let local = chrono::DateTime::from_timestamp_micros(micros_as_written)?.naive_utc();
        Some(Self { local, suffix: suffix.to_owned(), micros })
    }

    /// The forms worth trying, the likeliest first.
    pub(super) fn forms(&self) -> [Form; 2] {
        if self.suffix.is_empty() { [Form::AsSent, Form::Zulu] } else { [Form::AsSent, Form::Bare] }
    }

    /// The stamp in a filter.
    pub(super) fn literal(&self, form: Form) -> epicor_kinetic::Result<Literal> {
        let suffix = match form {
            Form::AsSent => self.suffix.as_str(),
            Form::Zulu => "Z",
            Form::Bare => "",
        };
        Literal::datetime_text(format!("{}{suffix}", self.local.format("%Y-%m-%dT%H:%M:%S%.f")))
    }

    /// The moment that much earlier.
    pub(super) fn earlier(&self, by: Duration) -> Self {
        let by = chrono::Duration::from_std(by).unwrap_or(chrono::Duration::MAX);
        let beginning = Self::beginning();
        match self.local.checked_sub_signed(by) {
            Some(local) if local >= beginning.local => {
                let micros = self.micros.saturating_sub(by.num_microseconds().unwrap_or(i64::MAX));
                Self { local, suffix: self.suffix.clone(), micros }
            }
            _ => Self { suffix: self.suffix.clone(), ..beginning },
        }
    }

    /// Before all stamps: the first moment that the server's dates can hold.
    pub(super) fn beginning() -> Self {
        let local = NaiveDate::from_ymd_opt(1, 1, 1).unwrap_or_default().and_time(NaiveTime::MIN);
        Self { local, suffix: String::new(), micros: local.and_utc().timestamp_micros() }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.local.format("%Y-%m-%dT%H:%M:%S%.f"), self.suffix)
    }
}

impl PartialEq for Stamp {
    fn eq(&self, other: &Self) -> bool {
        self.micros == other.micros
    }
}

impl Eq for Stamp {}

impl PartialOrd for Stamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Stamp {
    fn cmp(&self, other: &Self) -> Ordering {
        self.micros.cmp(&other.micros)
    }
}

/// The stamp in the text of a row, as a literal.
pub(super) fn literal_of(text: &str, form: Form) -> Option<Literal> {
    Stamp::read(text)?.literal(form).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, form: Form) -> String {
        Stamp::read(text).unwrap().literal(form).unwrap().to_string()
    }

    #[test]
    fn each_form_keeps_the_written_time() {
        assert_eq!(written("2024-05-22T08:00:00.5", Form::AsSent), "2024-05-22T08:00:00.500");
        assert_eq!(written("2024-05-22T08:00:00", Form::Zulu), "2024-05-22T08:00:00Z");
        assert_eq!(written("2024-05-22T08:00:00-05:00", Form::Bare), "2024-05-22T08:00:00");
        assert_eq!(written("2024-05-22T08:00:00-05:00", Form::AsSent), "2024-05-22T08:00:00-05:00");
        assert_eq!(written("2024-05-22", Form::AsSent), "2024-05-22T00:00:00");
    }

    #[test]
    fn going_back_crosses_months_and_keeps_the_offset() {
        let stamp = Stamp::read("2024-03-01T00:00:30+02:00").unwrap().earlier(Duration::from_mins(1));
        assert_eq!(stamp.to_string(), "2024-02-29T23:59:30+02:00");
        assert!(stamp < Stamp::read("2024-02-29T22:00:00Z").unwrap());
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in ["", "today", "2024-13-01", "2024-05-22T25:00:00"] {
            assert!(Stamp::read(text).is_none(), "{text}");
        }
    }
}
