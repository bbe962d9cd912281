//! Lengths in a drawing, and round values for axes.

use std::fmt;

use crate::output::grouped;

/// A length in tenths of a unit, as SVG reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tenths(pub(super) u64);

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 10 {
            0 => write!(f, "{}", self.0 / 10),
            tenth => write!(f, "{}.{tenth}", self.0 / 10),
        }
    }
}

/// The part of a length that belongs to `value` out of `whole`, however large they are.
pub(super) fn share(value: u64, whole: u64, length: u64) -> u64 {
    let part = u128::from(value) * u128::from(length) / u128::from(whole.max(1));
    u64::try_from(part).unwrap_or(length)
}

/// Round values from zero to the first one that is not below `largest`: about four steps of 1, 2 or 5 times a power of ten.
pub(super) fn ticks(largest: u64) -> Vec<u64> {
    let mut power = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            let step = power.saturating_mul(factor);
            if step.saturating_mul(5) >= largest {
                return upward(step, largest);
            }
        }
        power = power.saturating_mul(10);
    }
}

/// Round lengths of time in milliseconds, from zero to the first one that is not below `largest`.
pub(super) fn time_ticks(largest: u64) -> Vec<u64> {
    const SECOND: u64 = 1_000;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;
    const STEPS: [u64; 20] = [
        50,
        100,
        200,
        500,
        SECOND,
        2 * SECOND,
        5 * SECOND,
        10 * SECOND,
        15 * SECOND,
        30 * SECOND,
        MINUTE,
        2 * MINUTE,
        5 * MINUTE,
        10 * MINUTE,
        15 * MINUTE,
        30 * MINUTE,
        HOUR,
        2 * HOUR,
        6 * HOUR,
        12 * HOUR,
    ];
    match STEPS.into_iter().find(|step| step * 5 >= largest) {
        Some(step) => upward(step, largest),
        None => ticks(largest.div_ceil(HOUR)).into_iter().map(|hours| hours * HOUR).collect(),
    }
}

fn upward(step: u64, largest: u64) -> Vec<u64> {
    let steps = largest.div_ceil(step).max(1);
    (0..=steps).map(|nth| step.saturating_mul(nth)).collect()
}

/// A count on an axis: all digits up to a hundred thousand, then in thousands or millions.
pub(super) fn short(count: u64) -> String {
    let millions = count / 1_000_000;
    if count < 100_000 {
        grouped(count)
    } else if millions == 0 {
        format!("{} k", count / 1_000)
    } else if count.is_multiple_of(1_000_000) {
        format!("{} M", grouped(millions))
    } else {
        format!("{}.{} M", grouped(millions), count % 1_000_000 / 100_000)
    }
}

/// A length of time on an axis, from milliseconds.
pub(super) fn short_time(milliseconds: u64) -> String {
    let (seconds, rest) = (milliseconds / 1_000, milliseconds % 1_000);
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    if milliseconds == 0 {
        "0".to_owned()
    } else if minutes == 0 && rest == 0 {
        format!("{seconds} s")
    } else if minutes == 0 && rest.is_multiple_of(100) {
        format!("{seconds}.{} s", rest / 100)
    } else if minutes == 0 {
        format!("{seconds}.{:02} s", rest / 10)
    } else if hours == 0 && seconds.is_multiple_of(60) {
        format!("{minutes} min")
    } else if hours == 0 {
        format!("{minutes}:{:02} min", seconds % 60)
    } else if seconds.is_multiple_of(3_600) {
        format!("{hours} h")
    } else {
        format!("{hours}:{:02} h", seconds % 3_600 / 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_begin_at_zero_and_reach_beyond_the_largest_value() {
        for (largest, expected) in [
            (0, vec![0, 1]),
            (1, vec![0, 1]),
            (5, vec![0, 1, 2, 3, 4, 5]),
            (6, vec![0, 2, 4, 6]),
            (11, vec![0, 5, 10, 15]),
            (99, vec![0, 20, 40, 60, 80, 100]),
            (1_234, vec![0, 500, 1_000, 1_500]),
        ] {
            assert_eq!(ticks(largest), expected, "{largest}");
        }
        for largest in (0..3_000).chain([u64::MAX / 3, u64::MAX]) {
            let found = ticks(largest);
            assert!((2..=6).contains(&found.len()), "{largest}: {found:?}");
            assert!(found.last().is_some_and(|last| *last >= largest) && found.first() == Some(&0), "{largest}");
        }
    }

    #[test]
    fn lengths_of_time_have_ticks_of_whole_seconds_minutes_and_hours() {
        let named = |largest: u64| time_ticks(largest).into_iter().map(short_time).collect::<Vec<_>>();
        assert_eq!(named(230), ["0", "0.05 s", "0.1 s", "0.15 s", "0.2 s", "0.25 s"]);
        assert_eq!(named(4_100), ["0", "1 s", "2 s", "3 s", "4 s", "5 s"]);
        assert_eq!(named(70_000), ["0", "15 s", "30 s", "45 s", "1 min", "1:15 min"]);
        assert_eq!(named(7_000_000), ["0", "30 min", "1 h", "1:30 h", "2 h"]);
        assert_eq!(named(500 * 3_600_000), ["0", "100 h", "200 h", "300 h", "400 h", "500 h"]);
        for largest in (0..100_000_000).step_by(37_003) {
            let found = time_ticks(largest);
            assert!((2..=6).contains(&found.len()) && found.last().is_some_and(|last| *last >= largest), "{found:?}");
        }
    }

    #[test]
    fn a_share_of_a_length_is_right_for_large_values_and_for_none() {
        assert_eq!(share(1, 2, 1_000), 500);
        assert_eq!(share(u64::MAX, u64::MAX, 1_560), 1_560);
        assert_eq!(share(0, 0, 1_560), 0);
        assert_eq!((Tenths(0).to_string(), Tenths(1_234).to_string()), ("0".to_owned(), "123.4".to_owned()));
    }

    #[test]
    fn large_counts_are_short() {
        let shown: Vec<String> = [0, 999, 99_999, 250_000, 1_500_000, 40_000_000].map(short).to_vec();
        assert_eq!(shown, ["0", "999", "99,999", "250 k", "1.5 M", "40 M"]);
    }
}
