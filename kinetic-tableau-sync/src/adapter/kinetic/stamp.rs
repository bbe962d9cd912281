//! Change stamps: dates and times as one server writes them, compared and moved without ever changing their zone.
//!
//! Whether Kinetic writes an offset behind its times, and which form its filters take, differs between versions, so both are taken
//! from the server itself.

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike as _};
use epicor_kinetic::{Filter, Literal, field};

use crate::decode::timestamp_micros;
use crate::model::{DatasetSpec, Track};
use crate::source::{SourceError, SourceErrorKind};

const SECONDS_OF_DAY: i64 = 86_400;

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

/// A moment for comparison: microseconds in UTC, or as written where there is no offset; and the rest of the fraction in picoseconds,
/// since SQL Server's `datetime2` has seven digits.
pub(super) type Moment = (i64, u32);

/// The moment that a text tells; none when it is no date.
pub(super) fn moment_of(text: &str) -> Option<Moment> {
    let micros = timestamp_micros(text)?;
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).skip(6).chain(std::iter::repeat(b'0'));
    Some((micros, digits.take(6).fold(0, |rest, digit| rest * 10 + u32::from(digit - b'0'))))
}

/// A moment as the server wrote it.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    /// The written date and time, up to the microsecond.
    local: NaiveDateTime,
    /// What stood behind it: nothing, `Z` or an offset.
    suffix: String,
    moment: Moment,
}

impl Stamp {
    /// Reads what the server wrote.
    pub(super) fn parse(spec: &DatasetSpec, text: &str) -> Result<Self, SourceError> {
        Self::read(text).ok_or_else(|| no_position(spec))
    }

    fn read(text: &str) -> Option<Self> {
        let moment = moment_of(text)?;
        let time = text.find(['T', ' ']).unwrap_or(text.len());
        let cut = text.get(time..)?.find(['Z', 'z', '+', '-']).map_or(text.len(), |at| time + at);
        let (written, suffix) = text.split_at_checked(cut)?;
        let micros_as_written = timestamp_micros(written)?;
        let local = chrono::DateTime::from_timestamp_micros(micros_as_written)?.naive_utc();
        Some(Self { local, suffix: suffix.to_owned(), moment })
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
        Literal::datetime_text(format!("{}{suffix}", self.written()))
    }

    /// The date and time as they were written, to the last digit that is not zero.
    fn written(&self) -> String {
        match self.moment.1 {
            0 => self.local.format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
            rest => {
                let digits = format!("{}{rest:06}", self.local.format("%Y-%m-%dT%H:%M:%S.%6f"));
                digits.trim_end_matches('0').to_owned()
            }
        }
    }

    /// The moment that much earlier.
    pub(super) fn earlier(&self, by: Duration) -> Self {
        let by = chrono::Duration::from_std(by).unwrap_or(chrono::Duration::MAX);
        let beginning = Self::beginning();
        match self.local.checked_sub_signed(by) {
            Some(local) if local >= beginning.local => {
                let micros = self.moment.0.saturating_sub(by.num_microseconds().unwrap_or(i64::MAX));
                Self { local, suffix: self.suffix.clone(), moment: (micros, self.moment.1) }
            }
            _ => Self { suffix: self.suffix.clone(), ..beginning },
        }
    }

    /// The same day at another time.
    fn at_time(&self, time: NaiveTime) -> Self {
        let local = self.local.date().and_time(time);
        let moved = local.signed_duration_since(self.local).num_microseconds().unwrap_or_default();
        Self { local, suffix: self.suffix.clone(), moment: (self.moment.0.saturating_add(moved), 0) }
    }

    /// Before all stamps: the first moment that the server's dates can hold.
    pub(super) fn beginning() -> Self {
        let local = NaiveDate::from_ymd_opt(1, 1, 1).unwrap_or_default().and_time(NaiveTime::MIN);
        Self { local, suffix: String::new(), moment: (local.and_utc().timestamp_micros(), 0) }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.written(), self.suffix)
    }
}

impl PartialEq for Stamp {
    fn eq(&self, other: &Self) -> bool {
        self.moment == other.moment
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
        self.moment.cmp(&other.moment)
    }
}

/// A position in the order of stamps: a stamp, and the second of its day where that stands in a column of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) stamp: Stamp,
    pub(super) seconds: Option<i64>,
}

impl Position {
    /// Reads what [`Display`](fmt::Display) writes.
    pub(super) fn parse(spec: &DatasetSpec, text: &str) -> Result<Self, SourceError> {
        if !matches!(spec.track, Track::DateAndTime { .. }) {
            return Ok(Self { stamp: Stamp::parse(spec, text)?, seconds: None });
        }
        let parts = text.rsplit_once(' ').and_then(|(stamp, seconds)| Some((stamp, seconds.parse().ok()?)));
        let Some((stamp, seconds)) = parts else { return Err(no_position(spec)) };
        Ok(Self { stamp: Stamp::parse(spec, stamp)?, seconds: Some(seconds) })
    }

    /// Before all stamps.
    pub(super) fn beginning(spec: &DatasetSpec) -> Self {
        let seconds = matches!(spec.track, Track::DateAndTime { .. }).then_some(0);
        Self { stamp: Stamp::beginning(), seconds }
    }

    /// The position that much earlier.
    pub(super) fn earlier(&self, by: Duration) -> Self {
        let Some(seconds) = self.seconds else {
            return Self { stamp: self.stamp.earlier(by), seconds: None };
        };
        // From the midnight of its date, whatever time of day the date itself may hold: too early is never wrong.
        let of_day = u32::try_from(seconds.clamp(0, SECONDS_OF_DAY - 1)).unwrap_or_default();
        let time = NaiveTime::from_num_seconds_from_midnight_opt(of_day, 0).unwrap_or_default();
        let from = self.stamp.at_time(time).earlier(by);
        let seconds = i64::from(from.local.time().num_seconds_from_midnight());
        Self { stamp: from.at_time(NaiveTime::MIN), seconds: Some(seconds) }
    }

    /// The moment of the stamp.
    pub(super) fn moment(&self) -> Moment {
        self.stamp.moment
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            None => self.stamp.fmt(f),
            Some(seconds) => write!(f, "{} {seconds}", self.stamp),
        }
    }
}

/// The columns of a stamp.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns<'a> {
    pub(super) stamp: &'a str,
    /// Where the second of the day stands, if that is a column of its own.
    pub(super) seconds: Option<&'a str>,
}

impl<'a> Columns<'a> {
    /// None where a dataset is not tracked by a stamp.
    pub(super) fn of(track: &'a Track) -> Option<Self> {
        match track {
            Track::Timestamp { column, .. } => Some(Self { stamp: column, seconds: None }),
            Track::DateAndTime { date, seconds, .. } => Some(Self { stamp: date, seconds: Some(seconds) }),
            Track::Revision { .. } | Track::Snapshot => None,
        }
    }

    /// Rows without a stamp.
    pub(super) fn missing(self) -> Filter {
        let missing = field(self.stamp).is_null();
        match self.seconds {
            Some(seconds) => missing.or(field(seconds).is_null()),
            None => missing,
        }
    }

    /// Rows at a position or behind it; without those at it where that is not `inclusive`.
    pub(super) fn from(self, position: &Position, form: Form, inclusive: bool) -> epicor_kinetic::Result<Filter> {
        let last = |column: &str, value| if inclusive { field(column).ge(value) } else { field(column).gt(value) };
        self.bound(position, form, |column, value| field(column).gt(value), last)
    }

    /// Rows up to a position, which is included.
    pub(super) fn through(self, position: &Position, form: Form) -> epicor_kinetic::Result<Filter> {
        self.bound(position, form, |column, value| field(column).lt(value), |column, value| field(column).le(value))
    }

    fn bound(
        self,
        position: &Position,
        form: Form,
        strictly: impl Fn(&str, Literal) -> Filter,
        last: impl Fn(&str, Literal) -> Filter,
    ) -> epicor_kinetic::Result<Filter> {
        let stamp = position.stamp.literal(form)?;
        Ok(match (self.seconds, position.seconds) {
            (Some(column), Some(seconds)) => strictly(self.stamp, stamp.clone())
                .or(field(self.stamp).eq(stamp).and(last(column, Literal::integer(seconds)))),
            _ => last(self.stamp, stamp),
        })
    }
}

fn no_position(spec: &DatasetSpec) -> SourceError {
    let message = format!("{} holds no date", spec.track.column().unwrap_or_default());
    SourceError::new(SourceErrorKind::Config, message)
        .with_hint("track the dataset by another column; if the way of tracking was changed, give it a new name")
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
        // Seven digits, as `datetime2` has: cut off, the newest row would lie behind its own stamp.
        for text in ["2024-05-22T08:00:00.1234567Z", "2024-05-22T08:00:00.0000001Z", "2024-05-22T08:00:00.000300Z"] {
            let exact = written(text, Form::AsSent);
            assert_eq!(moment_of(&exact), moment_of(text), "{exact}");
            assert_eq!(Stamp::read(text).unwrap().to_string(), exact);
        }
        assert_eq!(written("2024-05-22T08:00:00.1234567Z", Form::Bare), "2024-05-22T08:00:00.1234567");
        let (early, late) = ("2024-05-22T08:00:00.1234561", "2024-05-22T08:00:00.1234567");
        assert!(Stamp::read(early).unwrap() < Stamp::read(late).unwrap());
    }

    #[test]
    fn going_back_crosses_months_and_keeps_the_offset() {
        let stamp = Stamp::read("2024-03-01T00:00:30+02:00").unwrap().earlier(Duration::from_mins(1));
        assert_eq!(stamp.to_string(), "2024-02-29T23:59:30+02:00");
        assert!(stamp < Stamp::read("2024-02-29T22:00:00Z").unwrap());
    }

    #[test]
    fn a_position_in_two_columns_goes_back_over_midnight_and_is_read_as_it_is_written() {
        let position = |text: &str, seconds| Position { stamp: Stamp::read(text).unwrap(), seconds: Some(seconds) };
        let after = position("2024-03-01T00:00:00", 30).earlier(Duration::from_mins(2));
        assert_eq!(after.to_string(), "2024-02-29T00:00:00 86310");
        assert!(after < position("2024-03-01", 30) && after < position("2024-02-29", 86_311));
        assert!(position("2024-03-01", 5) > position("2024-02-29", 80_000), "the date counts first");
        // A date with a time of its own, and seconds beyond the day, only make it earlier.
        assert_eq!(
            position("2024-03-01T10:00:00", 90_000).earlier(Duration::ZERO).to_string(),
            "2024-03-01T00:00:00 86399"
        );
        assert_eq!(position("0001-01-01", 5).earlier(Duration::from_mins(2)).to_string(), "0001-01-01T00:00:00 0");
        let target = crate::Target { project: String::new(), datasource: String::new() };
        let object = crate::SourceObject::Baq { id: "b".to_owned(), parameters: Vec::new() };
        let mut spec = DatasetSpec::new("d", object, ["A"], target);
        spec.track = Track::date_and_time("D", "T");
        let read = Position::parse(&spec, &after.to_string()).unwrap();
        assert_eq!((read.to_string(), read), (after.to_string(), after));
        for text in ["", "2024-03-01", "2024-03-01 x", "5"] {
            assert!(Position::parse(&spec, text).is_err(), "{text}");
        }
    }

    #[test]
    fn bounds_of_two_columns_are_told_date_by_date() {
        let position = Position { stamp: Stamp::read("2024-03-01T00:00:00").unwrap(), seconds: Some(30) };
        let columns = Columns { stamp: "D", seconds: Some("T") };
        let from = |inclusive| columns.from(&position, Form::AsSent, inclusive).unwrap().to_odata().unwrap();
        let day = "2024-03-01T00:00:00";
        assert_eq!(from(true), format!("D gt {day} or (D eq {day} and T ge 30)"));
        assert_eq!(from(false), format!("D gt {day} or (D eq {day} and T gt 30)"));
        let through = columns.through(&position, Form::AsSent).unwrap().to_odata().unwrap();
        assert_eq!(through, format!("D lt {day} or (D eq {day} and T le 30)"));
        assert_eq!(columns.missing().to_odata().unwrap(), "D eq null or T eq null");
        let alone = Columns { seconds: None, ..columns };
        let position = Position { seconds: None, ..position };
        assert_eq!(alone.from(&position, Form::Zulu, true).unwrap().to_odata().unwrap(), format!("D ge {day}Z"));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in ["", "today", "2024-13-01", "2024-05-22T25:00:00"] {
            assert!(Stamp::read(text).is_none(), "{text}");
        }
    }
}
