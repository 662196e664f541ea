//! How many attempts to pair may fail before pairing is locked, and for how
//! long. Pure: the time is an argument.
//!
//! With at most three attempts before a lock of a minute, and two minutes after
//! the next three, a code of thirty bits is guessed with a chance of less than
//! three in a billion for each lock.

use std::time::{Duration, Instant};

use ccpeer_core::limits;

/// Counts failed attempts.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// Since the last lock or success.
    failed: u32,
    locks: u32,
    locked_until: Option<Instant>,
}

impl Guard {
    /// How long pairing is still locked.
    pub(crate) fn locked_for(&self, now: Instant) -> Option<Duration> {
        self.locked_until
            .and_then(|until| until.checked_duration_since(now))
            .filter(|d| !d.is_zero())
    }

    /// Whether one more attempt may reach the key exchange.
    pub(crate) fn may_try(&self, now: Instant) -> bool {
        self.locked_for(now).is_none() && self.failed < limits::PAIR_TRIES_MAX
    }

    /// An attempt reached the key exchange and did not end well. True if pairing
    /// is locked now.
    pub(crate) fn failed(&mut self, now: Instant, lock: (Duration, Duration)) -> bool {
        self.failed += 1;
        if self.failed < limits::PAIR_TRIES_MAX {
            return false;
        }
        let length = lock.0.saturating_mul(1 << self.locks.min(16)).min(lock.1);
        self.locked_until = Some(now + length);
        self.locks = self.locks.saturating_add(1);
        self.failed = 0;
        true
    }

    /// Two devices were paired: whoever is at the keyboard knows what they do.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k_p04_locks_double_up_to_their_bound() {
        let seconds = Duration::from_secs;
        let lock = (seconds(60), seconds(3600));
        let mut guard = Guard::default();
        let mut now = Instant::now();
        for length in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
            for _ in 0..limits::PAIR_TRIES_MAX - 1 {
                assert!(guard.may_try(now));
                assert!(!guard.failed(now, lock));
            }
            assert!(guard.may_try(now));
            assert!(guard.failed(now, lock));
            assert!(!guard.may_try(now));
            assert_eq!(guard.locked_for(now), Some(seconds(length)));
            now += seconds(length);
            assert_eq!(guard.locked_for(now), None);
        }
        guard.succeeded();
        assert!(!guard.failed(now, lock));
    }
}
