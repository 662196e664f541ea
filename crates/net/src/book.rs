//! Where one peer may be reached, and when it is tried again. Pure: the time is
//! an argument.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ccpeer_core::limits;

/// Addresses of one peer by where we have them from, and the pause between
/// attempts.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Typed, saved, or seen on a link; the last one first.
    known: Vec<SocketAddr>,
    /// What discovery says now.
    found: Vec<SocketAddr>,
    attempts: u32,
    refusals: u32,
    /// It said so because we are revoked.
    revoked: bool,
    faults: u32,
    next: Option<Instant>,
    /// Until when the peer is kept out because of what it did.
    barred: Option<Instant>,
}

impl Book {
    /// All addresses, the most promising first.
    pub(crate) fn candidates(&self) -> Vec<SocketAddr> {
        let mut all = self.found.clone();
        for addr in &self.known {
            if !all.contains(addr) {
                all.push(*addr);
            }
        }
        all
    }

    /// Remembers an address that was typed, saved, or seen on a link. True if
    /// that is news.
    pub(crate) fn learn(&mut self, addr: SocketAddr) -> bool {
        let news = !self.known.contains(&addr);
        self.known.retain(|a| *a != addr);
        self.known.insert(0, addr);
        self.known.truncate(limits::ADDRESSES_PER_PEER_MAX);
        news
    }

    /// Replaces what discovery says. True if there is an address in it that was
    /// not there before.
    pub(crate) fn found(&mut self, mut addrs: Vec<SocketAddr>) -> bool {
        addrs.truncate(limits::ADDRESSES_PER_PEER_MAX);
        let news = addrs.iter().any(|a| !self.found.contains(a));
        self.found = addrs;
        news
    }

    /// When to dial; `None` means at once.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Something happened that makes an attempt promising.
    pub(crate) fn encourage(&mut self, at: Option<Instant>) {
        self.attempts = 0;
        self.next = at;
    }

    /// An attempt failed, or a link that had hardly begun.
    pub(crate) fn failed(&mut self, now: Instant, range: (Duration, Duration), jitter: f64) {
        self.next = Some(now + pause(range, self.attempts, jitter));
        self.attempts = self.attempts.saturating_add(1);
        self.refusals = 0;
    }

    /// The peer said that it does not trust us.
    pub(crate) fn refused(&mut self, now: Instant, range: (Duration, Duration), jitter: f64) {
        self.next = Some(now + pause(range, self.refusals, jitter));
        self.refusals = self.refusals.saturating_add(1);
        self.revoked = false;
    }

    /// The peer said that we were revoked. That stays so until it says otherwise,
    /// also while it cannot be reached.
    pub(crate) fn revoked(&mut self, now: Instant, range: (Duration, Duration), jitter: f64) {
        self.refused(now, range, jitter);
        self.revoked = true;
    }

    /// Whether the last word of the peer was that we were revoked.
    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked
    }

    /// Whether the last word of the peer was a refusal.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusals > 0
    }

    /// The peer broke the protocol: it is neither dialled nor let in for a while.
    pub(crate) fn faulted(&mut self, now: Instant, range: (Duration, Duration), jitter: f64) {
        let until = now + pause(range, self.faults, jitter);
        self.faults = self.faults.saturating_add(1);
        self.barred = Some(until);
        self.next = Some(until);
    }

    /// Whether the peer is kept out.
    pub(crate) fn is_barred(&self, now: Instant) -> bool {
        self.barred.is_some_and(|until| until > now)
    }

    /// A link ended that had stood for a while without a fault.
    pub(crate) fn behaved(&mut self) {
        self.faults = 0;
    }

    /// A link is up.
    pub(crate) fn linked(&mut self) {
        self.attempts = 0;
        self.refusals = 0;
        self.revoked = false;
        self.next = None;
    }
}

/// Doubles from the first to the second of `range`, then times `jitter`.
fn pause(range: (Duration, Duration), attempts: u32, jitter: f64) -> Duration {
    let doubled = range.0.saturating_mul(1 << attempts.min(16));
    doubled.min(range.1).mul_f64(jitter.clamp(0.5, 1.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn addresses_are_bounded_and_the_newest_come_first() {
        let mut book = Book::default();
        for port in 1..=20 {
            assert!(book.learn(addr(port)));
        }
        assert!(!book.learn(addr(15)));
        let all = book.candidates();
        assert_eq!(all.len(), limits::ADDRESSES_PER_PEER_MAX);
        assert_eq!(all[..2], [addr(15), addr(20)]);
        assert!(book.found(vec![addr(77), addr(15)]));
        assert!(!book.found(vec![addr(15)]), "one that went is no news");
        assert!(book.found(vec![addr(77), addr(15)]));
        assert_eq!(book.candidates()[..3], [addr(77), addr(15), addr(20)]);
    }

    #[test]
    fn pauses_grow_to_their_bound_and_begin_anew() {
        let ms = Duration::from_millis;
        let range = (ms(500), ms(30_000));
        let now = Instant::now();
        let mut book = Book::default();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            book.failed(now, range, 1.0);
            pauses.push(book.next().unwrap() - now);
        }
        let expected = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000];
        assert_eq!(pauses, expected.map(ms));
        book.encourage(None);
        assert_eq!(book.next(), None);
        book.refused(now, range, 1.0);
        assert!(book.is_refused());
        book.encourage(None);
        assert!(book.is_refused(), "a state until the peer says otherwise");
        book.linked();
        assert!(!book.is_refused());
    }

    #[test]
    fn whoever_breaks_the_protocol_is_kept_out_longer_each_time() {
        let seconds = Duration::from_secs;
        let range = (seconds(1), seconds(60));
        let mut now = Instant::now();
        let mut book = Book::default();
        for length in [1, 2, 4, 8, 16, 32, 60, 60] {
            book.faulted(now, range, 1.0);
            assert!(book.is_barred(now));
            now += seconds(length);
            assert!(!book.is_barred(now));
            book.linked();
        }
        book.behaved();
        book.faulted(now, range, 1.0);
        assert!(!book.is_barred(now + seconds(1)));
    }
}
