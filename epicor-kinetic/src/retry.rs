//! When and how long to wait before a request is tried again.
//!
//! Not sent: again. No complete answer: again only if repeating is harmless. Answered: 429 again, 503 when it names a
//! delay, other server failures only if repeating is harmless.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use crate::error::{Delivery, Error, ErrorKind, Fate};

/// How often, how long and how fast a failed request is repeated. Within one call; scheduling is the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    attempts: u32,
    first_delay: Duration,
    longest_delay: Duration,
    total: Duration,
}

impl Default for RetryPolicy {
    /// Four attempts, delays from up to 0.5 s to up to 20 s, all within 5 minutes.
    fn default() -> Self {
        Self {
            attempts: 4,
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_secs(20),
            total: Duration::from_mins(5),
        }
    }
}

impl RetryPolicy {
    /// One attempt only.
    #[must_use]
    pub fn none() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// At most this many attempts in all; 0 counts as 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// The upper bound of the first delay. It doubles with each attempt; the delay itself is random below the bound.
    #[must_use]
    pub fn first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self
    }

    /// The upper bound of any delay that the server did not ask for.
    #[must_use]
    pub fn longest_delay(mut self, delay: Duration) -> Self {
        self.longest_delay = delay;
        self
    }

    /// No attempt begins later than this after the first one began. A longer `Retry-After` ends the call with an
    /// error that names it.
    #[must_use]
    pub fn total(mut self, total: Duration) -> Self {
        self.total = total;
        self
    }

    /// The delay before the next attempt, or `None` when the error is to be returned.
    pub(crate) fn delay(&self, error: &Error, idempotent: bool, attempts: u32, elapsed: Duration) -> Option<Duration> {
        if attempts >= self.attempts || !worth_it(error, idempotent) {
            return None;
        }
        let doublings = attempts.saturating_sub(1).min(16);
        let bound = self.first_delay.saturating_mul(1 << doublings).min(self.longest_delay);
        let delay = match error.retry_after() {
            // A little more than asked for, so that many clients do not come back in the same moment.
            Some(asked) => asked.saturating_add(random_below(self.first_delay)),
            None => random_below(bound),
        };
        (elapsed.saturating_add(delay) <= self.total).then_some(delay)
    }
}

fn worth_it(error: &Error, idempotent: bool) -> bool {
    if error.fate() == Fate::Final {
        return false;
    }
    let asked_to_wait = error.status() == Some(StatusCode::SERVICE_UNAVAILABLE) && error.retry_after().is_some();
    match (error.delivery(), error.kind()) {
        (Delivery::NotSent, ErrorKind::Transport | ErrorKind::Throttled | ErrorKind::Server)
        | (Delivery::Answered, ErrorKind::Throttled) => true,
        (Delivery::Unknown, ErrorKind::Transport | ErrorKind::Server) => idempotent,
        (Delivery::Answered, ErrorKind::Server) => idempotent || asked_to_wait,
        _ => false,
    }
}

/// `Retry-After` in seconds or as a date, the latter measured against the server's own clock if it tells the time.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| DateTime::parse_from_rfc2822(text).ok();
    let now = headers
        .get(DATE)
        .and_then(|now| now.to_str().ok())
        .and_then(date)
        .map_or_else(Utc::now, |now| now.with_timezone(&Utc));
    let wait = date(value)?.with_timezone(&Utc) - now;
    Some(wait.to_std().unwrap_or(Duration::ZERO))
}

/// A random duration from zero to `bound`. The standard library's hash keys are random enough for spreading load.
pub(crate) fn random_below(bound: Duration) -> Duration {
    let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
    let random = RandomState::new().build_hasher().finish();
    Duration::from_nanos(random % nanos.saturating_add(1).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_delay_in_seconds_is_read() {
        assert_eq!(retry_after(&headers(&[("retry-after", "17")])), Some(Duration::from_secs(17)));
    }

    #[test]
    fn a_date_is_measured_against_the_clock_of_the_server() {
        let headers =
            headers(&[("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")]);
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(30)));
    }

    #[test]
    fn a_date_in_the_past_means_now_and_nonsense_means_nothing() {
        let past = headers(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert_eq!(retry_after(&past), Some(Duration::ZERO));
        assert_eq!(retry_after(&headers(&[("retry-after", "soon")])), None);
    }

    #[test]
    fn delays_stay_below_their_bound_and_the_total() {
        let policy = RetryPolicy::default().attempts(10).total(Duration::from_secs(8));
        let error = Error::new(ErrorKind::Transport, Delivery::NotSent, "read", "broken");
        for attempts in 1..9 {
            let delay = policy.delay(&error, false, attempts, Duration::ZERO);
            assert!(delay.is_none_or(|delay| delay <= Duration::from_secs(8)));
        }
        assert_eq!(policy.delay(&error, false, 10, Duration::ZERO), None);
        assert_eq!(policy.delay(&error, false, 1, Duration::from_secs(9)), None);
    }

    #[test]
    fn an_unknown_outcome_is_repeated_only_if_harmless() {
        let policy = RetryPolicy::default();
        let error = Error::new(ErrorKind::Transport, Delivery::Unknown, "call", "broken");
        assert!(policy.delay(&error, true, 1, Duration::ZERO).is_some());
        assert!(policy.delay(&error, false, 1, Duration::ZERO).is_none());
    }

    #[test]
    fn the_random_part_uses_its_whole_range() {
        let bound = Duration::from_secs(1);
        let draws: Vec<_> = (0..200).map(|_| random_below(bound)).collect();
        assert!(draws.iter().all(|draw| *draw <= bound));
        assert!(draws.iter().any(|draw| *draw < bound / 4) && draws.iter().any(|draw| *draw > bound * 3 / 4));
    }
}
