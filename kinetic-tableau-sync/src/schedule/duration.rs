//! Lengths of time as people write them.

use std::fmt;
use std::time::Duration;

use super::ScheduleError;

/// Reads a length of time such as `90s`, `15m`, `1h30m` or `2d`.
///
/// # Errors
/// When a number has no unit, or there is none at all.
pub fn parse_duration(text: &str) -> Result<Duration, ScheduleError> {
    let refuse = || ScheduleError::new(format!("'{text}' is no length of time; write it as 90s, 15m, 1h30m or 2d"));
    let mut seconds = 0_u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit = match unit {
            "s" | "sec" | "second" | "seconds" => 1,
            "m" | "min" | "minute" | "minutes" => 60,
            "h" | "hour" | "hours" => 3_600,
            "d" | "day" | "days" => 86_400,
            _ => return Err(refuse()),
        };
        let number: u64 = number.parse().map_err(|_| refuse())?;
        seconds = number.checked_mul(unit).and_then(|more| seconds.checked_add(more)).ok_or_else(refuse)?;
        rest = tail.trim_start();
    }
    Ok(Duration::from_secs(seconds))
}

pub(super) fn write_duration(f: &mut fmt::Formatter<'_>, duration: Duration) -> fmt::Result {
    let mut seconds = duration.as_secs();
    if seconds == 0 {
        return f.write_str("0s");
    }
    for (size, unit) in [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')] {
        if seconds >= size {
            write!(f, "{}{unit}", seconds / size)?;
            seconds %= size;
        }
    }
    Ok(())
}
