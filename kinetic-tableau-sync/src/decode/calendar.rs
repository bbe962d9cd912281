//! Dates and times from their text. What was written counts: a calendar date is never moved by a zone.

use chrono::NaiveDate;

use super::Reason;

/// Days since 1970-01-01. Accepts `2024-05-22`, and a time part only where it is midnight.
pub(super) fn date(text: &[u8]) -> Result<i64, Reason> {
    let parts = Parts::read(text)?;
    if parts.micros_of_day != 0 {
        return Err(Reason::TimeInDate);
    }
    Ok(parts.days)
}

/// Microseconds since 1970-01-01T00:00:00: in UTC when the text has an offset, else as written. Digits beyond the microsecond are
/// cut off, since Tableau's engine holds no finer ones.
pub(super) fn timestamp(text: &[u8]) -> Result<i64, Reason> {
    let parts = Parts::read(text)?;
    Ok(parts.days * 86_400_000_000 + parts.micros_of_day - parts.offset_minutes * 60_000_000)
}

struct Parts {
    days: i64,
    micros_of_day: i64,
    offset_minutes: i64,
}

impl Parts {
    fn read(text: &[u8]) -> Result<Self, Reason> {
        let mut text = Text(text);
        let year = text.digits(4)?;
        text.byte(b'-')?;
        let month = text.digits(2)?;
        text.byte(b'-')?;
        let day = text.digits(2)?;
        let days = days_since_epoch(year, month, day)?;
        if text.0.is_empty() {
            return Ok(Self { days, micros_of_day: 0, offset_minutes: 0 });
        }
        if text.byte(b'T').is_err() {
            text.byte(b' ')?;
        }
        let hour = text.digits(2)?;
        text.byte(b':')?;
        let minute = text.digits(2)?;
        // OData allows the seconds to be left out.
        let (mut second, mut micros) = (0, 0);
        if text.byte(b':').is_ok() {
            second = text.digits(2)?;
            if text.byte(b'.').is_ok() {
                micros = text.fraction()?;
            }
        }
        if hour > 23 || minute > 59 || second > 59 {
            return Err(Reason::Date);
        }
        let offset_minutes = text.offset()?;
        if !text.0.is_empty() {
            return Err(Reason::Date);
        }
        let micros_of_day = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros;
        Ok(Self { days, micros_of_day, offset_minutes })
    }
}

fn days_since_epoch(year: i64, month: i64, day: i64) -> Result<i64, Reason> {
    let number = |value: i64| u32::try_from(value).map_err(|_| Reason::Date);
    let year = i32::try_from(year).map_err(|_| Reason::Date)?;
    let date = NaiveDate::from_ymd_opt(year, number(month)?, number(day)?).ok_or(Reason::Date)?;
    Ok(i64::from(date.to_epoch_days()))
}

struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn byte(&mut self, byte: u8) -> Result<(), Reason> {
        match self.0.split_first() {
            Some((&first, rest)) if first == byte => {
                self.0 = rest;
                Ok(())
            }
            _ => Err(Reason::Date),
        }
    }

    fn digit(&mut self) -> Option<i64> {
        match self.0.split_first() {
            Some((digit, rest)) if digit.is_ascii_digit() => {
                self.0 = rest;
                Some(i64::from(digit - b'0'))
            }
            _ => None,
        }
    }

    fn digits(&mut self, count: usize) -> Result<i64, Reason> {
        let mut value = 0;
        for _ in 0..count {
            value = value * 10 + self.digit().ok_or(Reason::Date)?;
        }
        Ok(value)
    }

    fn fraction(&mut self) -> Result<i64, Reason> {
        let mut micros = self.digit().ok_or(Reason::Date)?;
        for place in 1.. {
            match self.digit() {
                Some(digit) if place < 6 => micros = micros * 10 + digit,
                Some(_) => {}
                None => {
                    for _ in place..6 {
                        micros *= 10;
                    }
                    break;
                }
            }
        }
        Ok(micros)
    }

    fn offset(&mut self) -> Result<i64, Reason> {
        if self.0.is_empty() || self.byte(b'Z').is_ok() {
            return Ok(0);
        }
        let east = self.byte(b'+').is_ok();
        if !east {
            self.byte(b'-')?;
        }
        let hours = self.digits(2)?;
        // Some Microsoft writers leave the colon out.
        let _ = self.byte(b':');
        let minutes = self.digits(2)?;
        if hours > 14 || minutes > 59 {
            return Err(Reason::Date);
        }
        let offset = hours * 60 + minutes;
        Ok(if east { offset } else { -offset })
    }
}
