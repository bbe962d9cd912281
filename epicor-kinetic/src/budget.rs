//! A budget of retries over all calls of a client: a server that fails everywhere is not asked four times as often.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one retry costs, in the units that are counted.
const COST: u64 = 10;

/// How many retries all calls of a client may make together.
///
/// A bucket that is full at first: each retry takes one, each call that succeeds gives back a tenth of one. When it is
/// empty, failed calls return their error at once. So a few failures are retried freely, and while a server is down as
/// a whole, retries stay at a tenth of what still succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    retries: u32,
}

impl Default for RetryBudget {
    /// 100 retries.
    fn default() -> Self {
        Self::new(100)
    }
}

impl RetryBudget {
    /// A bucket of this many retries.
    #[must_use]
    pub fn new(retries: u32) -> Self {
        Self { retries }
    }

    /// As many as the policy allows for each call.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(u32::MAX)
    }
}

/// What is left of a budget; shared by all clones of a client.
#[derive(Debug)]
pub(crate) struct Bucket {
    full: u64,
    left: AtomicU64,
}

impl Bucket {
    pub(crate) fn new(budget: RetryBudget) -> Self {
        let full = u64::from(budget.retries) * COST;
        Self { full, left: AtomicU64::new(full) }
    }

    /// Takes one retry, if there is one.
    pub(crate) fn take(&self) -> bool {
        if self.full == u64::from(u32::MAX) * COST {
            return true;
        }
        let taken = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(COST));
        taken.is_ok()
    }

    /// A call has succeeded.
    pub(crate) fn give(&self) {
        // Nothing is lost when it was full.
        let _ = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
            (left < self.full).then(|| (left + 1).min(self.full))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_successes_pay_for_one_retry() {
        let bucket = Bucket::new(RetryBudget::new(2));
        assert!(bucket.take() && bucket.take() && !bucket.take());
        for _ in 0..9 {
            bucket.give();
        }
        assert!(!bucket.take());
        bucket.give();
        assert!(bucket.take() && !bucket.take());
    }

    #[test]
    fn a_bucket_never_holds_more_than_at_first() {
        let bucket = Bucket::new(RetryBudget::new(1));
        for _ in 0..100 {
            bucket.give();
        }
        assert!(bucket.take() && !bucket.take());
    }

    #[test]
    fn without_a_limit_there_is_always_one_and_with_none_never() {
        let bucket = Bucket::new(RetryBudget::unlimited());
        assert!((0..1_000).all(|_| bucket.take()));
        assert!(!Bucket::new(RetryBudget::new(0)).take());
    }
}
