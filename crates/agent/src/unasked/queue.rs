//! Which sessions wait to be placed, and until when. Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use ccpeer_core::id::SessionId;
use tokio::time::Instant;

/// Sessions that wait at once. Of more, the rest is looked for again when these
/// are done.
const WAITING_MAX: usize = 4096;
/// After a change, more of it mostly follows within this long.
const QUIET: Duration = Duration::from_millis(600);
/// A session that never comes to rest does not wait for longer than this.
const RESTLESS: Duration = Duration::from_secs(3);
/// Pauses after a failure. After the last one nothing is tried until something
/// changes.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(5),
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(3600),
];

#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// Not before.
    at: Instant,
    /// When it first changed, while it has not come to rest.
    first: Instant,
    /// Where it stands among those of one moment.
    place: u64,
}

/// The sessions that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<SessionId, Waiting>,
    failures: BTreeMap<SessionId, usize>,
    places: u64,
    /// There were more than fit.
    more: bool,
}

impl Queue {
    /// Something about a session is new.
    pub(super) fn changed(&mut self, session: SessionId, now: Instant) {
        if self.failures.contains_key(&session) && self.waiting.contains_key(&session) {
            // It waits for its next try.
            return;
        }
        let first = self.waiting.get(&session).map_or(now, |w| w.first.min(now));
        let at = (now + QUIET).min(first + RESTLESS);
        self.put(session, first, at);
    }

    /// A session was found that has not changed.
    pub(super) fn found(&mut self, session: SessionId, now: Instant) {
        if !self.waiting.contains_key(&session) {
            self.put(session, now, now);
        }
    }

    /// To be looked at again then, whatever happens.
    pub(super) fn later(&mut self, session: SessionId, at: Instant) {
        self.put(session, at, at);
    }

    /// When there is something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.values().map(|w| w.at).min()
    }

    /// The session that is to be dealt with now.
    pub(super) fn take(&mut self, now: Instant) -> Option<SessionId> {
        let due = self.waiting.iter().filter(|(_, w)| w.at <= now);
        let (session, _) = due.min_by_key(|(_, w)| (w.at, w.place))?;
        let session = *session;
        self.waiting.remove(&session);
        Some(session)
    }

    /// It was dealt with.
    pub(super) fn done(&mut self, session: SessionId) {
        self.failures.remove(&session);
    }

    /// It could not be dealt with. Whether it is tried again by itself.
    pub(super) fn failed(&mut self, session: SessionId, now: Instant) -> bool {
        let failures = self.failures.entry(session).or_default();
        let pause = PAUSES.get(*failures).copied();
        *failures += 1;
        match pause {
            Some(pause) => self.put(session, now + pause, now + pause),
            None => self.done(session),
        }
        pause.is_some()
    }

    /// Whether there is room now for those that did not fit. Asked once.
    pub(super) fn ask_for_more(&mut self) -> bool {
        self.waiting.is_empty() && std::mem::take(&mut self.more)
    }

    fn put(&mut self, session: SessionId, first: Instant, at: Instant) {
        if self.waiting.len() >= WAITING_MAX && !self.waiting.contains_key(&session) {
            self.more = true;
            return;
        }
        self.places += 1;
        let place = self.places;
        self.waiting.insert(session, Waiting { at, first, place });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> SessionId {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&n.to_be_bytes());
        SessionId(bytes)
    }

    #[test]
    fn a_session_that_grows_waits_for_a_moment_of_quiet_and_no_longer() {
        let start = Instant::now();
        let mut queue = Queue::default();
        let mut now = start;
        queue.changed(id(1), now);
        assert_eq!(queue.take(now), None);
        while now < start + 2 * RESTLESS {
            queue.changed(id(1), now);
            if queue.take(now).is_some() {
                break;
            }
            now += QUIET / 2;
        }
        assert!(now >= start + RESTLESS && now < start + RESTLESS + QUIET);
        assert_eq!(queue.next(), None, "nothing to do when nothing changes");
        queue.changed(id(1), now);
        assert_eq!(queue.take(now + QUIET), Some(id(1)));
    }

    #[test]
    fn failures_are_tried_again_ever_more_seldom_and_not_for_ever() {
        let mut now = Instant::now();
        let mut queue = Queue::default();
        queue.found(id(1), now);
        let mut tries = 0;
        while let Some(at) = queue.next() {
            assert!(at >= now);
            now = at;
            if tries > 0 {
                // News do not make it try sooner, or later.
                queue.changed(id(1), now - Duration::from_millis(1));
            }
            assert_eq!(queue.take(now), Some(id(1)));
            tries += 1;
            assert_eq!(queue.failed(id(1), now), tries <= PAUSES.len());
        }
        assert_eq!(tries, PAUSES.len() + 1);
        queue.changed(id(1), now);
        assert!(queue.next().is_some(), "a change begins anew");
    }

    #[test]
    fn what_does_not_fit_is_asked_for_again() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for n in 0..WAITING_MAX as u64 + 1 {
            queue.found(id(n), now);
        }
        let mut order = Vec::new();
        while let Some(session) = queue.take(now) {
            order.push(session);
        }
        assert_eq!(order.len(), WAITING_MAX);
        assert!(order.is_sorted(), "as they were found");
        assert!(queue.ask_for_more());
        assert!(!queue.ask_for_more(), "once");
    }
}
