//! Numbers from their text, exactly.

use super::Reason;

/// A JSON number, still as text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
    text: &'a [u8],
}

fn power(exponent: usize) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(exponent).ok()?)
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

impl<'a> Number<'a> {
    /// Reads a number at the beginning of `text`; answers it and its length.
    #[inline]
    pub(super) fn scan(text: &'a [u8]) -> Result<(Self, usize), Reason> {
        let negative = text.first() == Some(&b'-');
        let start = usize::from(negative);
        let whole = text.get(start..).unwrap_or_default();
        let whole = whole.get(..digits(whole)).unwrap_or_default();
        match whole {
            [] => {
                return Err(if text.len() <= start { Reason::End } else { Reason::Syntax });
            }
            // JSON knows no leading zeros.
            [b'0', _, ..] => return Err(Reason::Syntax),
            _ => {}
        }
        let mut len = start + whole.len();
        let mut fraction: &[u8] = &[];
        if text.get(len) == Some(&b'.') {
            let rest = text.get(len + 1..).unwrap_or_default();
            fraction = rest.get(..digits(rest)).unwrap_or_default();
            if fraction.is_empty() {
                return Err(if rest.is_empty() { Reason::End } else { Reason::Syntax });
            }
            len += 1 + fraction.len();
        }
        let mut exponent = 0;
        if let Some(b'e' | b'E') = text.get(len) {
            let rest = text.get(len + 1..).unwrap_or_default();
            let sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
            let power = rest.get(sign..).unwrap_or_default();
            let power = power.get(..digits(power)).unwrap_or_default();
            if power.is_empty() {
                return Err(if rest.len() <= sign { Reason::End } else { Reason::Syntax });
            }
            // Far beyond what any column holds; zero keeps being zero.
            let size = power.iter().fold(0_i32, |sum, digit| (sum * 10 + i32::from(digit - b'0')).min(100_000));
            exponent = if rest.first() == Some(&b'-') { -size } else { size };
            len += 1 + sign + power.len();
        }
        let text = text.get(..len).unwrap_or_default();
        Ok((Self { negative, whole, fraction, exponent, text }, len))
    }

    pub(super) fn to_f64(self) -> Result<f64, Reason> {
        let text = std::str::from_utf8(self.text).map_err(|_| Reason::Syntax)?;
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(Reason::Range),
        }
    }

    #[inline]
    pub(super) fn to_i64(self) -> Result<i64, Reason> {
        if self.fraction.is_empty() && self.exponent == 0 && self.whole.len() <= 18 {
            let value = self.whole.iter().fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
            return Ok(if self.negative { -value } else { value });
        }
        i64::try_from(self.to_decimal(38, 0)?).map_err(|_| Reason::Range)
    }

    /// The unscaled value of a decimal of up to 18 digits.
    #[inline]
    pub(super) fn to_decimal64(self, precision: u8, scale: u8) -> Result<i64, Reason> {
        let scale = usize::from(scale);
        // The common case: no exponent, no more decimal places than the column, at most 18 digits after scaling.
        if self.exponent == 0 && self.fraction.len() <= scale && self.whole.len() + scale <= 18 {
            let mut value = 0_i64;
            for digit in self.whole.iter().chain(self.fraction) {
                value = value * 10 + i64::from(digit - b'0');
            }
            for _ in self.fraction.len()..scale {
                value *= 10;
            }
            if power(usize::from(precision)).is_none_or(|limit| i128::from(value) >= limit) {
                return Err(Reason::Range);
            }
            return Ok(if self.negative { -value } else { value });
        }
        let scale = u8::try_from(scale).map_err(|_| Reason::Scale)?;
        i64::try_from(self.to_decimal(precision, scale)?).map_err(|_| Reason::Range)
    }

    /// The unscaled value of a decimal. Never rounds: digits that the scale has no place for are an error unless they are zeros.
    pub(super) fn to_decimal(self, precision: u8, scale: u8) -> Result<i128, Reason> {
        // value = (whole ++ fraction) * 10^(exponent - len(fraction)); trailing zeros are moved into the exponent first.
        let all = || self.whole.iter().chain(self.fraction);
        let nonzero = |digit: &u8| *digit != b'0';
        let in_fraction = self.fraction.iter().rposition(nonzero).map(|at| self.whole.len() + at);
        let Some(last) = in_fraction.or_else(|| self.whole.iter().rposition(nonzero)) else {
            return Ok(0);
        };
        let places = i64::try_from(self.fraction.len()).map_err(|_| Reason::Range)?;
        let dropped = i64::try_from(self.whole.len() + self.fraction.len() - 1 - last).map_err(|_| Reason::Range)?;
        let shift = i64::from(self.exponent) - places + dropped + i64::from(scale);
        if shift < 0 {
            return Err(Reason::Scale);
        }
        let mut value = 0_i128;
        for digit in all().take(last + 1) {
            value = value
                .checked_mul(10)
                .and_then(|value| value.checked_add(i128::from(digit - b'0')))
                .ok_or(Reason::Range)?;
        }
        let factor = usize::try_from(shift).ok().and_then(power).ok_or(Reason::Range)?;
        let value = value.checked_mul(factor).ok_or(Reason::Range)?;
        if power(usize::from(precision)).is_none_or(|limit| value >= limit) {
            return Err(Reason::Range);
        }
        Ok(if self.negative { -value } else { value })
    }
}
