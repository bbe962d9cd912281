//! Values of columns: their order, their JSON, and their plain text.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};

use chrono::{NaiveDate, NaiveDateTime};
use uuid::Uuid;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// Decimal with precision and scale.
    Decimal(u8, u8),
    /// True or false.
    Bool,
    /// Calendar date.
    Date,
    /// Date and time.
    Moment,
    /// Guid.
    Guid,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// No value.
    Null,
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A decimal: unscaled value and scale.
    Decimal(i128, u8),
    /// True or false.
    Bool(bool),
    /// A calendar date.
    Date(NaiveDate),
    /// A date and time.
    Moment(NaiveDateTime),
    /// A guid.
    Guid(Uuid),
}

/// What the server writes behind a date and time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DateForm {
    /// Nothing.
    #[default]
    Bare,
    /// `Z`.
    Zulu,
    /// An offset of so many minutes.
    Offset(i32),
}

impl DateForm {
    pub(crate) fn suffix(self) -> String {
        match self {
            Self::Bare => String::new(),
            Self::Zulu => "Z".to_owned(),
            Self::Offset(minutes) => {
                let sign = if minutes < 0 { '-' } else { '+' };
                format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl Value {
    /// A decimal from its text.
    ///
    /// # Panics
    /// When it is none.
    #[expect(clippy::expect_used, reason = "for literals in tests")]
    pub fn decimal(text: &str) -> Self {
        parse_decimal(text).expect("a decimal")
    }

    /// The value as text: decimals exact, dates as `2024-05-22`, moments as `2024-05-22 08:00:00`; none for null.
    pub fn to_text(&self) -> Option<String> {
        (*self != Self::Null).then(|| self.to_string())
    }

    /// What a column of this kind holds when nothing is known.
    pub(crate) fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(String::new()),
            Kind::Int32 | Kind::Int64 => Self::Int(0),
            Kind::Decimal(_, scale) => Self::Decimal(0, scale),
            Kind::Bool => Self::Bool(false),
            Kind::Date | Kind::Moment => Self::Null,
            Kind::Guid => Self::Guid(Uuid::nil()),
        }
    }

    /// The value of a JSON value in a column of this kind.
    pub(crate) fn from_json(value: &serde_json::Value, kind: Kind) -> Option<Self> {
        use serde_json::Value as Json;
        Some(match (value, kind) {
            (Json::Null, _) => Self::Null,
            (Json::String(text), Kind::Text) => Self::Text(text.clone()),
            (Json::String(text), Kind::Guid) => Self::Guid(text.parse().ok()?),
            (Json::String(text), Kind::Date | Kind::Moment) => {
                let moment = parse_moment(text, DateForm::Bare)?;
                if kind == Kind::Date { Self::Date(moment.date()) } else { Self::Moment(moment) }
            }
            (Json::Bool(value), Kind::Bool) => Self::Bool(*value),
            (Json::Number(number), Kind::Int32 | Kind::Int64) => Self::Int(number.as_i64()?),
            (Json::Number(number), Kind::Decimal(_, scale)) => rescaled(&parse_decimal(&number.to_string())?, scale)?,
            _ => return None,
        })
    }

    pub(crate) fn write_json(&self, out: &mut String, form: DateForm) {
        // Writing to a String cannot fail.
        let _ = match self {
            Self::Null => write!(out, "null"),
            Self::Text(text) => write!(out, "{}", serde_json::Value::from(text.as_str())),
            Self::Int(number) => write!(out, "{number}"),
            Self::Bool(value) => write!(out, "{value}"),
            Self::Decimal(..) => write!(out, "{self}"),
            Self::Date(date) => write!(out, "\"{date}T00:00:00{}\"", form.suffix()),
            Self::Moment(moment) => write!(out, "\"{}{}\"", moment.format("%Y-%m-%dT%H:%M:%S%.f"), form.suffix()),
            Self::Guid(guid) => write!(out, "\"{guid}\""),
        };
    }

    /// How two values are ordered. Null comes before all others; values of different kinds are not ordered.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        Some(match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Less,
            (_, Self::Null) => Ordering::Greater,
            (Self::Text(one), Self::Text(two)) => one.cmp(two),
            (Self::Int(one), Self::Int(two)) => one.cmp(two),
            (Self::Bool(one), Self::Bool(two)) => one.cmp(two),
            (Self::Guid(one), Self::Guid(two)) => one.cmp(two),
            (Self::Date(_) | Self::Moment(_), Self::Date(_) | Self::Moment(_)) => self.moment()?.cmp(&other.moment()?),
            (Self::Int(_) | Self::Decimal(..), Self::Int(_) | Self::Decimal(..)) => {
                let scale = self.scale().max(other.scale());
                rescaled(self, scale)?.unscaled().cmp(&rescaled(other, scale)?.unscaled())
            }
            _ => return None,
        })
    }

    fn moment(&self) -> Option<NaiveDateTime> {
        match self {
            Self::Date(date) => date.and_hms_opt(0, 0, 0),
            Self::Moment(moment) => Some(*moment),
            _ => None,
        }
    }

    fn scale(&self) -> u8 {
        if let Self::Decimal(_, scale) = self { *scale } else { 0 }
    }

    fn unscaled(&self) -> i128 {
        match self {
            Self::Decimal(unscaled, _) => *unscaled,
            Self::Int(number) => (*number).into(),
            _ => 0,
        }
    }
}

/// The value as people write it: what a landed extract shows for it, but for null.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Text(text) => f.write_str(text),
            Self::Int(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Date(date) => write!(f, "{date}"),
            Self::Moment(moment) => write!(f, "{}", moment.format("%Y-%m-%d %H:%M:%S%.f")),
            Self::Guid(guid) => write!(f, "{guid}"),
            Self::Decimal(unscaled, scale) => {
                let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = usize::from(*scale) + 1);
                let (whole, fraction) = digits.split_at(digits.len() - usize::from(*scale));
                let sign = if *unscaled < 0 { "-" } else { "" };
                let point = if fraction.is_empty() { "" } else { "." };
                write!(f, "{sign}{whole}{point}{fraction}")
            }
        }
    }
}

/// A decimal with another scale, unless digits would be lost.
fn rescaled(value: &Value, scale: u8) -> Option<Value> {
    let (unscaled, has) = (value.unscaled(), value.scale());
    if has <= scale {
        return Some(Value::Decimal(unscaled.checked_mul(10_i128.checked_pow((scale - has).into())?)?, scale));
    }
    let divisor = 10_i128.checked_pow((has - scale).into())?;
    (unscaled % divisor == 0).then(|| Value::Decimal(unscaled / divisor, scale))
}

pub(crate) fn parse_decimal(text: &str) -> Option<Value> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unscaled: i128 = format!("{whole}{fraction}").parse().ok()?;
    Some(Value::Decimal(unscaled, u8::try_from(fraction.len()).ok()?))
}

/// A date or a date and time in a filter or a body, in the server's own local time.
pub(crate) fn parse_moment(text: &str, form: DateForm) -> Option<NaiveDateTime> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return date.and_hms_opt(0, 0, 0);
    }
    if let Ok(moment) = chrono::DateTime::parse_from_rfc3339(text) {
        let offset = match form {
            DateForm::Bare | DateForm::Zulu => 0,
            DateForm::Offset(minutes) => minutes,
        };
        return Some(moment.naive_utc() + chrono::Duration::minutes(offset.into()));
    }
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()
}
