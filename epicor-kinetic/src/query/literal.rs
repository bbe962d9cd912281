//! The one encoder for values in filters and keys.
//!
//! OData 4 as Kinetic takes it: strings in single quotes with embedded quotes doubled, numbers and guids bare, dates
//! as bare ISO text without the `datetime'…'` wrapper of version 1 (observed).

use std::fmt;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, SecondsFormat, TimeZone};

use crate::error::{Error, Result};

/// A value as it stands in a filter or a key.
///
/// ```
/// use epicor_kinetic::Literal;
/// assert_eq!(Literal::from("O'Neill").to_string(), "'O''Neill'");
/// assert_eq!(Literal::from(42).to_string(), "42");
/// assert_eq!(Literal::null().to_string(), "null");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Literal(Form);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Form {
    Null,
    Text(String),
    /// Already in its final spelling.
    Bare(String),
}

impl Literal {
    /// `null`.
    pub fn null() -> Self {
        Self(Form::Null)
    }

    /// A string; quotes are added and embedded ones doubled.
    pub fn string(text: impl Into<String>) -> Self {
        Self(Form::Text(text.into()))
    }

    /// A whole number.
    pub fn integer(number: i64) -> Self {
        Self(Form::Bare(number.to_string()))
    }

    /// `true` or `false`.
    pub fn boolean(value: bool) -> Self {
        Self(Form::Bare(value.to_string()))
    }

    /// A decimal from its text, so that no digit is lost: an optional minus, digits, and optionally a point and more
    /// digits.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for anything else, exponents included.
    pub fn decimal(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let unsigned = text.strip_prefix('-').unwrap_or(&text);
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let sound = match unsigned.split_once('.') {
            Some((whole, fraction)) => digits(whole) && digits(fraction),
            None => digits(unsigned),
        };
        if !sound {
            return Err(Error::config("write literal", "a decimal is no plain number; write it like -12.50"));
        }
        Ok(Self(Form::Bare(text)))
    }

    /// A guid from its text, in the form of 8-4-4-4-12 hexadecimal digits. Written without quotes, as OData 4 wants.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for anything else.
    pub fn guid(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        if !is_guid(&text) {
            return Err(Error::config(
                "write literal",
                "a guid is malformed; write it as 8-4-4-4-12 hexadecimal digits",
            ));
        }
        Ok(Self(Form::Bare(text)))
    }

    /// A calendar date: `2024-05-22`.
    pub fn date(date: NaiveDate) -> Self {
        Self(Form::Bare(date.format("%Y-%m-%d").to_string()))
    }

    /// A date and time without an offset: `2024-05-22T08:00:00`. Kinetic's times are those of the server.
    pub fn datetime(time: NaiveDateTime) -> Self {
        Self(Form::Bare(time.format("%Y-%m-%dT%H:%M:%S%.f").to_string()))
    }

    /// A date and time with its offset: `2024-05-22T08:00:00Z`, `2024-05-22T08:00:00-05:00`.
    pub fn datetime_offset<Z: TimeZone>(time: &DateTime<Z>) -> Self {
        Self(Form::Bare(time.fixed_offset().to_rfc3339_opts(SecondsFormat::AutoSi, true)))
    }

    /// A date or a date and time, with or without offset, exactly as a server wrote it before.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when it is no such text.
    pub fn datetime_text(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        if Moment::parse(&text).is_none() {
            return Err(Error::config("write literal", "a date is malformed; write it like 2024-05-22T08:00:00"));
        }
        Ok(Self(Form::Bare(text)))
    }

    /// Text that is in its final spelling already.
    pub(crate) fn bare(text: String) -> Self {
        Self(Form::Bare(text))
    }

    /// What a server that compares without case, accents aside, and ignores blanks at the end may take for the same.
    pub(crate) fn folded(&self) -> String {
        match &self.0 {
            Form::Null => "null".to_owned(),
            Form::Text(text) => format!("'{}", text.trim_end().to_lowercase()),
            Form::Bare(text) => text.to_lowercase(),
        }
    }

    /// The text of a string; `None` for everything else.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.0 {
            Form::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.0 == Form::Null
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Null => f.write_str("null"),
            Form::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Form::Bare(text) => f.write_str(text),
        }
    }
}

impl From<&str> for Literal {
    fn from(text: &str) -> Self {
        Self::string(text)
    }
}

impl From<String> for Literal {
    fn from(text: String) -> Self {
        Self::string(text)
    }
}

impl From<i64> for Literal {
    fn from(number: i64) -> Self {
        Self::integer(number)
    }
}

impl From<i32> for Literal {
    fn from(number: i32) -> Self {
        Self::integer(number.into())
    }
}

impl From<u32> for Literal {
    fn from(number: u32) -> Self {
        Self::integer(number.into())
    }
}

impl From<bool> for Literal {
    fn from(value: bool) -> Self {
        Self::boolean(value)
    }
}

impl From<NaiveDate> for Literal {
    fn from(date: NaiveDate) -> Self {
        Self::date(date)
    }
}

impl From<NaiveDateTime> for Literal {
    fn from(time: NaiveDateTime) -> Self {
        Self::datetime(time)
    }
}

impl<Z: TimeZone> From<DateTime<Z>> for Literal {
    fn from(time: DateTime<Z>) -> Self {
        Self::datetime_offset(&time)
    }
}

impl<T: Into<Literal>> From<Option<T>> for Literal {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(Self::null, Into::into)
    }
}

/// A date or date and time as servers write it. Those with and without offset do not compare with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Local(NaiveDateTime),
    Offset(DateTime<FixedOffset>),
}

impl Moment {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // The offset's plus sign and everything else must be ASCII of a fixed shape; chrono is lenient about spaces.
        if text.len() > 40 || !text.bytes().all(|b| b.is_ascii_digit() || b"-+:.TZ".contains(&b)) {
            return None;
        }
        if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return Some(Self::Local(date.and_time(chrono::NaiveTime::MIN)));
        }
        if let Ok(time) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f") {
            return Some(Self::Local(time));
        }
        DateTime::parse_from_rfc3339(text).ok().map(Self::Offset)
    }

    pub(crate) fn compare(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Local(one), Self::Local(two)) => Some(one.cmp(two)),
            (Self::Offset(one), Self::Offset(two)) => Some(one.cmp(two)),
            _ => None,
        }
    }
}

pub(crate) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
