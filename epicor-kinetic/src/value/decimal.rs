//! Decimals from their text, digit by digit, since amounts must not pass through a floating point number.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::error::Error;
use crate::query::Literal;

/// No number of a database has more digits than this on either side of the point.
const MOST_DIGITS: usize = 1_000;

/// An exact decimal number of any length.
///
/// Reads JSON numbers and, since calculated BAQ columns bring them so (observed), strings that hold one. Writes JSON
/// numbers with the same digits. Numbers of the same value are equal, however they are written.
///
/// ```
/// use epicor_kinetic::Decimal;
/// let amount: Decimal = serde_json::from_str("12345678901234567890.120")?;
/// assert_eq!(amount.to_string(), "12345678901234567890.120");
/// assert_eq!(amount, "12345678901234567890.12".parse()?);
/// assert_eq!(amount.unscaled(), Some((12345678901234567890120, 3)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decimal(Box<str>);

impl Decimal {
    /// The number without its point, and how many of its digits stood behind the point. `None` beyond 128 bits.
    pub fn unscaled(&self) -> Option<(i128, u32)> {
        let scale = self.0.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let digits: String = self.0.chars().filter(|letter| *letter != '.').collect();
        Some((digits.parse().ok()?, u32::try_from(scale).ok()?))
    }

    /// The nearest floating point number, for charts and not for accounts.
    pub fn to_f64(&self) -> f64 {
        self.0.parse().unwrap_or(f64::NAN)
    }

    /// The digits, for example `-12.50`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Sign, digits before the point without leading zeros, digits behind it without trailing zeros.
    fn parts(&self) -> (bool, &str, &str) {
        let (negative, digits) = self.0.strip_prefix('-').map_or((false, &*self.0), |digits| (true, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        (negative && !(whole.is_empty() && fraction.is_empty()), whole, fraction)
    }
}

impl FromStr for Decimal {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for what is no number, or one of over 1,000 digits.
    fn from_str(text: &str) -> Result<Self, Error> {
        plain(text.trim())
            .map(|text| Self(text.into()))
            .ok_or_else(|| Error::config("read decimal", "this is no number; write it like -12.50"))
    }
}

/// The number without an exponent.
fn plain(text: &str) -> Option<String> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (sign, unsigned) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let sound = !whole.is_empty() && digits(whole) && digits(fraction) && !unsigned.ends_with('.');
    if !sound || whole.len() > MOST_DIGITS || fraction.len() > MOST_DIGITS {
        return None;
    }
    if exponent == 0 {
        return Some(mantissa.to_owned());
    }
    let shift = usize::try_from(exponent.unsigned_abs()).ok().filter(|shift| *shift <= MOST_DIGITS)?;
    let zeros = "0".repeat(shift);
    let (whole, fraction) = if exponent > 0 {
        let padded = format!("{fraction}{zeros}");
        let (moved, left) = padded.split_at(shift);
        (format!("{whole}{moved}"), left.trim_end_matches('0').to_owned())
    } else {
        let padded = format!("{zeros}{whole}");
        let (left, moved) = padded.split_at(padded.len() - shift);
        (left.to_owned(), format!("{moved}{fraction}"))
    };
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Decimal {}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((minus, whole, fraction), (minus_too, whole_too, fraction_too)) = (self.parts(), other.parts());
        let size = whole
            .len()
            .cmp(&whole_too.len())
            .then_with(|| whole.cmp(whole_too))
            .then_with(|| fraction.cmp(fraction_too));
        match (minus, minus_too) {
            (false, false) => size,
            (true, true) => size.reverse(),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Default for Decimal {
    fn default() -> Self {
        Self("0".into())
    }
}

impl From<i64> for Decimal {
    fn from(number: i64) -> Self {
        Self(number.to_string().into())
    }
}

impl From<i32> for Decimal {
    fn from(number: i32) -> Self {
        i64::from(number).into()
    }
}

impl From<&Decimal> for Literal {
    fn from(decimal: &Decimal) -> Self {
        Self::bare(decimal.0.to_string())
    }
}

impl From<Decimal> for Literal {
    fn from(decimal: Decimal) -> Self {
        (&decimal).into()
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // JSON has no number that begins with two zeros.
        let (negative, digits) = self.0.strip_prefix('-').map_or((false, &*self.0), |digits| (true, digits));
        let whole = digits.split('.').next().unwrap_or_default().len();
        let spare = digits.bytes().take(whole.saturating_sub(1)).take_while(|digit| *digit == b'0').count();
        let text = format!("{}{}", if negative { "-" } else { "" }, digits.get(spare..).unwrap_or_default());
        RawValue::from_string(text).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = match serde_json::from_str::<String>(raw.get()) {
            Ok(text) => text,
            Err(_) => raw.get().to_owned(),
        };
        plain(text.trim()).map(|text| Self(text.into())).ok_or_else(|| D::Error::custom("expected a decimal number"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_digit_survives_the_way_in_and_out(whole in "-?[1-9][0-9]{0,40}", fraction in "[0-9]{1,40}") {
            let text = format!("{whole}.{fraction}");
            let read: Decimal = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read.as_str(), &text);
            prop_assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }

        #[test]
        fn the_order_is_that_of_numbers(one in any::<i64>(), two in any::<i64>(), scale in 0_usize..12) {
            let text = |number: i64| {
                let digits = format!("{:020}", number.unsigned_abs());
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                let sign = if number < 0 { "-" } else { "" };
                let point = if scale == 0 { "" } else { "." };
                format!("{sign}{whole}{point}{fraction}").parse::<Decimal>().unwrap()
            };
            prop_assert_eq!(text(one).cmp(&text(two)), one.cmp(&two));
            prop_assert_eq!(text(one) == text(two), one == two);
        }

        #[test]
        fn exponents_move_the_point(digits in 1_i64..1_000_000, exponent in -9_i32..9) {
            let written: Decimal = format!("{digits}E{exponent}").parse().unwrap();
            let (unscaled, scale) = written.unscaled().unwrap();
            // digits * 10^exponent == unscaled / 10^scale, in whole numbers
            let lift = 10_i128.pow(18);
            let wanted = i128::from(digits) * lift * 10_i128.pow(exponent.max(0).unsigned_abs()) / 10_i128.pow((-exponent).max(0).unsigned_abs());
            prop_assert_eq!(unscaled * lift / 10_i128.pow(scale), wanted);
        }
    }

    #[test]
    fn strings_that_hold_a_number_are_read_and_others_are_not() {
        assert_eq!(serde_json::from_str::<Decimal>("\" 8.37 \"").unwrap().as_str(), "8.37");
        for bad in ["\"\"", "\"eight\"", "true", "null", "\"1.\"", "\".5\"", "\"1e99999\"", "[1]", "\"--1\"", "\"NaN\""]
        {
            assert!(serde_json::from_str::<Decimal>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_a_json_number() {
        for (text, json) in [("007.50", "7.50"), ("-0", "-0"), ("00", "0"), ("1E3", "1000"), ("1.5e-3", "0.0015")] {
            let decimal: Decimal = text.parse().unwrap();
            assert_eq!(serde_json::to_string(&decimal).unwrap(), json);
            serde_json::from_str::<serde_json::Value>(json).unwrap();
        }
    }

    #[test]
    fn a_value_tree_gives_them_too() {
        let value = serde_json::json!({ "amount": 8.37 });
        assert_eq!(serde_json::from_value::<Decimal>(value["amount"].clone()).unwrap().as_str(), "8.37");
    }
}
