//! How many packets of multicast are looked at: somebody who sends without end
//! costs a bounded share of a processor, and does not silence the others. Pure:
//! the time is an argument.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ccpeer_core::limits;

/// Sources that are told apart; the others share one allowance.
const SOURCES_MAX: usize = 256;
/// A source that was silent for this long has its whole allowance again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(1);

/// Allowances of each source and of all.
#[derive(Debug)]
pub(crate) struct Budget {
    reads: Bucket,
    all: Bucket,
    others: Bucket,
    sources: BTreeMap<IpAddr, Bucket>,
    /// Packets that were not looked at.
    pub(crate) dropped: u64,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        let (of_one, of_all) = limits::DISCOVERY_PACKETS_PER_S;
        Self {
            reads: Bucket::new(limits::DISCOVERY_READS_PER_S, now),
            all: Bucket::new(of_all, now),
            others: Bucket::new(of_one, now),
            sources: BTreeMap::new(),
            dropped: 0,
        }
    }

    /// Whether one more packet may be taken from the system. While it may not,
    /// the system drops what comes.
    pub(crate) fn may_read(&mut self, now: Instant) -> bool {
        self.reads.take(now)
    }

    /// Whether a packet that was read is looked at.
    pub(crate) fn admits(&mut self, from: IpAddr, now: Instant) -> bool {
        let of_one = limits::DISCOVERY_PACKETS_PER_S.0;
        if !self.sources.contains_key(&from) && self.sources.len() >= SOURCES_MAX {
            self.sources
                .retain(|_, b| now.duration_since(b.since) < FORGIVEN_AFTER);
        }
        let room = self.sources.len() < SOURCES_MAX;
        let source = match self.sources.get_mut(&from) {
            Some(known) => known,
            None if room => self
                .sources
                .entry(from)
                .or_insert_with(|| Bucket::new(of_one, now)),
            None => &mut self.others,
        };
        let admitted = source.take(now) && self.all.take(now);
        self.dropped += u64::from(!admitted);
        admitted
    }
}

/// So many in each second.
#[derive(Debug)]
struct Bucket {
    per_second: u32,
    left: u32,
    since: Instant,
}

impl Bucket {
    fn new(per_second: u32, now: Instant) -> Self {
        Self {
            per_second,
            left: per_second,
            since: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            self.since = now;
            self.left = self.per_second;
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn k_n08_one_source_does_not_silence_another() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let (of_one, of_all) = limits::DISCOVERY_PACKETS_PER_S;
        let mut taken = 0;
        for n in 0..200_000u64 {
            let now = start + Duration::from_micros(n * 25);
            taken += u32::from(budget.admits(ip(1), now));
            if n % 1000 == 0 {
                assert!(budget.admits(ip(2), now), "after {n}");
            }
        }
        assert_eq!(taken, 5 * of_one, "in five seconds");
        assert!(5 * of_one < of_all * 5);
        assert!(budget.dropped >= 199_000);
    }

    #[test]
    fn whoever_lies_about_the_source_is_bounded_too() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let mut taken = 0;
        for n in 0..200_000 {
            taken += u32::from(budget.admits(ip(n), start));
            assert!(budget.sources.len() <= SOURCES_MAX);
        }
        let (of_one, of_all) = limits::DISCOVERY_PACKETS_PER_S;
        let known = u32::try_from(SOURCES_MAX).unwrap();
        assert_eq!(taken, (known + of_one).min(of_all));
        let later = start + Duration::from_secs(1);
        assert!(budget.admits(ip(7_000_000), later));
        assert_eq!(budget.sources.len(), 1, "the silent ones are forgotten");
        let reads = (0..20_000).filter(|_| budget.may_read(start)).count();
        assert_eq!(reads, limits::DISCOVERY_READS_PER_S as usize);
    }
}
