//! How often somebody may do something: a bucket each, filled steadily.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Buckets that are remembered. Beyond it, full ones are forgotten.
const REMEMBERED: usize = 20_000;

/// A bucket for each key.
#[derive(Debug)]
pub(super) struct Limiter<K> {
    burst: u32,
    /// How long it takes until one more is possible.
    every: Duration,
    /// When each bucket will be full again.
    buckets: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Limiter<K> {
    pub(super) fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every, buckets: Mutex::default() }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&self, key: K, now: Instant) -> bool {
        let whole = self.every.saturating_mul(self.burst);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED {
            buckets.retain(|_, full| *full > now);
        }
        if buckets.len() >= REMEMBERED && !buckets.contains_key(&key) {
            return false;
        }
        let full = buckets.entry(key).or_insert(now);
        let then = (*full).max(now) + self.every;
        let possible = then <= now + whole;
        if possible {
            *full = then;
        }
        possible
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_one_after_the_other() {
        let limiter = Limiter::new(3, Duration::from_secs(1));
        let start = Instant::now() + Duration::from_secs(60);
        let passed = |key, at| limiter.take(key, start + Duration::from_millis(at));
        assert_eq!([0, 0, 0, 0].map(|at| passed("a", at)), [true, true, true, false]);
        assert!(passed("b", 0), "each has its own");
        assert_eq!([500, 1000, 1100, 2000].map(|at| passed("a", at)), [false, true, false, true]);
        assert_eq!(
            [9000; 4].map(|at| passed("a", at)),
            [true, true, true, false],
            "no more than a burst is kept"
        );
    }
}
