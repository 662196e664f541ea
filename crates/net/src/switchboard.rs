//! Who is trusted, who is linked, and where everybody may be reached: one small
//! table behind one lock that is never held across a wait. All decisions about
//! links are taken here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use tokio::sync::Notify;

use crate::Reach;
use crate::address::{self, Loopback};
use crate::book::Book;
use crate::error::{DialOutcome, DownReason};
use crate::link::{Dialler, Greeted, Link, LinkEnds};
use crate::relay::Relays;
use crate::timing::Timing;

/// The table.
#[derive(Debug)]
pub(crate) struct Switchboard {
    me: DeviceId,
    loopback: Loopback,
    /// Over these, peers can be dialled without an address.
    relays: Arc<Relays>,
    timing: Timing,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    trusted: BTreeSet<DeviceId>,
    /// Those whom it is told that they do not come back.
    revoked: BTreeSet<DeviceId>,
    peers: BTreeMap<DeviceId, Peer>,
    links_made: u64,
    /// The user wants no links for now.
    paused: bool,
    closed: bool,
}

#[derive(Debug, Default)]
struct Peer {
    link: Option<Arc<Link>>,
    book: Book,
    /// Tells the peer's supervisor that something changed.
    wake: Arc<Notify>,
    supervised: bool,
    /// How the last attempt to reach it ended, and when.
    dialled: Option<(Instant, DialOutcome)>,
    /// The lives of the device that were linked, the latest last.
    lives: VecDeque<[u8; 16]>,
    /// The driver has been told that there are two of it.
    cloned_told: bool,
}

/// What becomes of a new connection.
pub(crate) enum Verdict {
    /// It is the link now. The replaced one is closed already; the driver must
    /// hear of its end first.
    Admitted {
        link: Arc<Link>,
        ends: LinkEnds,
        replaced: Option<Arc<Link>>,
        /// Two machines use the device's key, and the driver does not know yet.
        cloned: bool,
    },
    /// Another one is kept.
    Duplicate {
        /// As above.
        cloned: bool,
    },
    NotTrusted,
    /// The user wants no links for now.
    Paused,
    /// It broke the protocol a short while ago.
    Barred,
    Full,
}

/// What a supervisor does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The peer is no longer trusted, or we shut down.
    Stop,
    /// Nothing until something changes.
    Wait,
    /// Dial, not before the given time.
    Dial {
        at: Option<Instant>,
        addrs: Vec<SocketAddr>,
    },
}

impl Switchboard {
    pub(crate) fn new(
        me: DeviceId,
        loopback: Loopback,
        relays: Arc<Relays>,
        timing: Timing,
    ) -> Self {
        Self {
            me,
            loopback,
            relays,
            timing,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_trusted(&self, device: &DeviceId) -> bool {
        let state = self.state();
        !state.closed && state.trusted.contains(device)
    }

    /// Ends all links and makes no others, or makes them again, at once.
    pub(crate) fn set_paused(&self, paused: bool) {
        let mut state = self.state();
        state.paused = paused;
        for peer in state.peers.values_mut() {
            match &peer.link {
                Some(link) if paused => link.close(DownReason::PausedHere),
                Some(_) => {}
                None => peer.book.encourage(None),
            }
            peer.wake.notify_one();
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.state().paused
    }

    /// Replaces the set of devices that are told that they were revoked.
    pub(crate) fn set_revoked(&self, revoked: BTreeSet<DeviceId>) {
        self.state().revoked = revoked;
    }

    pub(crate) fn is_revoked(&self, device: &DeviceId) -> bool {
        self.state().revoked.contains(device)
    }

    /// Replaces the set of trusted devices. Links to others end at once. Returns
    /// the devices that need a supervisor.
    pub(crate) fn set_trusted(&self, mut trusted: BTreeSet<DeviceId>) -> Vec<DeviceId> {
        trusted.remove(&self.me);
        let mut state = self.state();
        if state.closed {
            return Vec::new();
        }
        let mut unsupervised = Vec::new();
        for device in trusted.iter().take(limits::TRUSTED_MAX) {
            let peer = state.peers.entry(*device).or_default();
            if !peer.supervised {
                peer.supervised = true;
                unsupervised.push(*device);
            }
        }
        state.trusted = trusted.into_iter().take(limits::TRUSTED_MAX).collect();
        let State {
            trusted,
            revoked,
            peers,
            ..
        } = &mut *state;
        for (device, peer) in peers
            .iter()
            .filter(|(device, _)| !trusted.contains(*device))
        {
            peer.wake.notify_one();
            if let Some(link) = &peer.link {
                link.close(if revoked.contains(device) {
                    DownReason::RevokedHere
                } else {
                    DownReason::NotTrustedHere
                });
            }
        }
        unsupervised
    }

    /// Decides about a connection on which both have said hello, or are about to.
    ///
    /// A restarted peer, and one that dialled again, has no use for the old link:
    /// the new one takes its place at once. Where two connections crossed, both
    /// sides keep the one that was dialled by the device with the smaller id.
    ///
    /// An incarnation is drawn at every start, so one that comes back after
    /// another was linked is a second machine under the same key. Whichever is
    /// linked then stays: if each replaced the other, they would do so for ever.
    pub(crate) fn admit(&self, device: DeviceId, greeted: Greeted) -> Verdict {
        let mut state = self.state();
        if state.closed || !state.trusted.contains(&device) {
            return Verdict::NotTrusted;
        }
        if state.paused {
            return Verdict::Paused;
        }
        let links = state.peers.values().filter(|p| p.link.is_some()).count();
        let peer = state.peers.entry(device).or_default();
        if peer.book.is_barred(Instant::now()) {
            return Verdict::Barred;
        }
        let life = greeted.hello.incarnation;
        let is_back = peer.lives.contains(&life) && peer.lives.back() != Some(&life);
        let cloned = is_back && !std::mem::replace(&mut peer.cloned_told, true);
        match &peer.link {
            None if links >= limits::PEERS_MAX => return Verdict::Full,
            Some(old) if is_back && old.conn.close_reason().is_none() => {
                return Verdict::Duplicate { cloned };
            }
            Some(old) if !self.replaces(device, old, &greeted) => {
                return Verdict::Duplicate { cloned };
            }
            _ => {}
        }
        peer.lives.retain(|l| *l != life);
        peer.lives.push_back(life);
        if peer.lives.len() > LIVES_MAX {
            peer.lives.pop_front();
        }
        state.links_made += 1;
        let number = state.links_made;
        let (link, ends) = Link::new(number, device, greeted);
        let peer = state.peers.entry(device).or_default();
        let replaced = peer.link.replace(Arc::clone(&link));
        if let Some(old) = &replaced {
            old.close(DownReason::Replaced);
        }
        peer.book.linked();
        peer.wake.notify_one();
        Verdict::Admitted {
            link,
            ends,
            replaced,
            cloned,
        }
    }

    fn replaces(&self, device: DeviceId, old: &Link, new: &Greeted) -> bool {
        if old.hello.incarnation != new.hello.incarnation
            || old.dialler == new.dialler
            || old.conn.close_reason().is_some()
            // Nobody dials who believes to have a link: had the other side known
            // of this one, it would not have dialled so long after its begin.
            || old.since.elapsed() > self.timing.crossing()
        {
            return true;
        }
        let smaller = if self.me < device {
            Dialler::Us
        } else {
            Dialler::Them
        };
        new.dialler == smaller
    }

    /// A link ended; when it was the current one, the supervisor goes to work.
    pub(crate) fn ended(&self, link: &Link, reason: DownReason, jitter: f64) {
        let mut state = self.state();
        let Some(peer) = state.peers.get_mut(&link.device) else {
            return;
        };
        if peer
            .link
            .as_ref()
            .is_some_and(|current| current.number == link.number)
        {
            peer.link = None;
            let now = Instant::now();
            let first = (self.timing.redial.0, self.timing.redial.0);
            let stayed = link.since.elapsed() > self.timing.heartbeat;
            let fault = matches!(reason, DownReason::Fault(_) | DownReason::ClosedHere);
            if stayed && !fault {
                peer.book.behaved();
            }
            match reason {
                DownReason::NotTrustedThere => {
                    peer.book.refused(now, self.timing.redial_refused, jitter);
                }
                DownReason::RevokedThere => {
                    peer.book.revoked(now, self.timing.redial_refused, jitter);
                }
                _ if fault => {
                    peer.book.faulted(now, self.timing.fault_pause, jitter);
                }
                // A link that stood for a while says that dialling is worth it.
                DownReason::Bye | DownReason::Lost | DownReason::Silent if stayed => {
                    peer.book.failed(now, first, jitter);
                }
                _ => peer.book.failed(now, self.timing.redial, jitter),
            }
        }
        peer.wake.notify_one();
    }

    /// What the supervisor of a device does next. After [`Step::Stop`] it must
    /// end: a later trust starts another one.
    pub(crate) fn step(&self, device: &DeviceId) -> (Step, Arc<Notify>) {
        let mut state = self.state();
        let trusted = !state.closed && state.trusted.contains(device);
        let paused = state.paused;
        let peer = state.peers.entry(*device).or_default();
        let wake = Arc::clone(&peer.wake);
        if !trusted {
            peer.supervised = false;
            return (Step::Stop, wake);
        }
        let addrs = peer.book.candidates();
        if paused || peer.link.is_some() || (addrs.is_empty() && self.relays.is_empty()) {
            return (Step::Wait, wake);
        }
        (
            Step::Dial {
                at: peer.book.next(),
                addrs,
            },
            wake,
        )
    }

    /// A dial ended.
    pub(crate) fn dialled(&self, device: &DeviceId, outcome: DialOutcome, jitter: f64) {
        let now = Instant::now();
        let mut state = self.state();
        let Some(peer) = state.peers.get_mut(device) else {
            return;
        };
        peer.dialled = Some((now, outcome));
        match outcome {
            DialOutcome::Linked => {}
            // The peer came to us meanwhile.
            DialOutcome::Duplicate if peer.link.is_some() => {}
            _ if outcome.is_revocation() => {
                peer.book.revoked(now, self.timing.redial_refused, jitter);
            }
            _ if outcome.is_refusal() => {
                peer.book.refused(now, self.timing.redial_refused, jitter);
            }
            _ => peer.book.failed(now, self.timing.redial, jitter),
        }
    }

    /// Every trusted device, where it would be dialled, and how the last attempt
    /// ended.
    pub(crate) fn reach(&self) -> Vec<Reach> {
        let now = Instant::now();
        let state = self.state();
        let of = |device: &DeviceId| {
            let peer = state.peers.get(device);
            let dialled = peer.and_then(|p| p.dialled);
            Reach {
                device: *device,
                addrs: peer.map(|p| p.book.candidates()).unwrap_or_default(),
                dialled: dialled.map(|(at, outcome)| (now.duration_since(at), outcome)),
            }
        };
        state.trusted.iter().map(of).collect()
    }

    /// Remembers an address that was typed, saved or seen. True if it is news.
    pub(crate) fn learn(&self, device: DeviceId, addr: SocketAddr) -> bool {
        if device == self.me || !address::is_dialable(&addr) {
            return false;
        }
        let stagger = self.staggered(&device);
        let mut state = self.state();
        // Whoever is remembered without being trusted is being paired with.
        if !state.peers.contains_key(&device) && state.peers.len() >= 2 * limits::TRUSTED_MAX {
            return false;
        }
        let peer = state.peers.entry(device).or_default();
        let news = peer.book.learn(addr);
        if peer.link.is_none() {
            peer.book.encourage(stagger);
            peer.wake.notify_one();
        }
        news
    }

    /// What discovery says of a device, if we trust it. Returns the addresses if
    /// any is new.
    pub(crate) fn found(&self, device: &DeviceId, addrs: &[SocketAddr]) -> Option<Vec<SocketAddr>> {
        let addrs: Vec<_> = addrs
            .iter()
            .filter(|a| self.loopback.admits(a))
            .copied()
            .collect();
        let stagger = self.staggered(device);
        let mut state = self.state();
        if !state.trusted.contains(device) || addrs.is_empty() {
            return None;
        }
        let peer = state.peers.get_mut(device)?;
        let news = peer.book.found(addrs.clone());
        match &peer.link {
            // Discovery is unauthenticated: it may make us ask, never close.
            Some(link) if news => link.probe(),
            Some(_) => {}
            None => {
                if news {
                    peer.book.encourage(stagger);
                }
                peer.wake.notify_one();
            }
        }
        news.then_some(addrs)
    }

    fn staggered(&self, device: &DeviceId) -> Option<Instant> {
        (*device < self.me).then(|| Instant::now() + self.timing.stagger)
    }

    /// Dials everybody who is not linked, now, and asks the others for a sign of
    /// life.
    pub(crate) fn encourage_all(&self) {
        for peer in self.state().peers.values_mut() {
            match &peer.link {
                Some(link) => link.probe(),
                None => peer.book.encourage(None),
            }
            peer.wake.notify_one();
        }
    }

    /// Whether there is a trusted device without a link.
    pub(crate) fn somebody_is_missing(&self) -> bool {
        let state = self.state();
        let linked = |d: &DeviceId| state.peers.get(d).is_some_and(|p| p.link.is_some());
        state.trusted.iter().any(|device| !linked(device))
    }

    pub(crate) fn link(&self, device: &DeviceId) -> Option<Arc<Link>> {
        self.state().peers.get(device)?.link.clone()
    }

    /// Waits until there is a link to a device. For its supervisor alone: the words
    /// that would wake it are heard here.
    pub(crate) async fn linked(&self, device: &DeviceId) {
        loop {
            let wake = {
                let mut state = self.state();
                let peer = state.peers.entry(*device).or_default();
                if peer.link.is_some() {
                    return;
                }
                Arc::clone(&peer.wake)
            };
            wake.notified().await;
        }
    }

    /// Every trusted device, its link, and whether it refuses us, and as revoked.
    pub(crate) fn peers(&self) -> Vec<(DeviceId, Option<Arc<Link>>, bool, bool)> {
        let state = self.state();
        let of = |device: &DeviceId| {
            let peer = state.peers.get(device);
            let link = peer.and_then(|p| p.link.clone());
            let refused = peer.is_some_and(|p| p.book.is_refused());
            let revoked = peer.is_some_and(|p| p.book.is_revoked());
            (*device, link, refused, revoked)
        };
        state.trusted.iter().map(of).collect()
    }

    /// Nobody is trusted and nothing is admitted from now on.
    pub(crate) fn close(&self) -> Vec<Arc<Link>> {
        let mut state = self.state();
        state.closed = true;
        for peer in state.peers.values() {
            peer.wake.notify_one();
            if let Some(link) = &peer.link {
                link.close(DownReason::Shutdown);
            }
        }
        state
            .peers
            .values()
            .filter_map(|p| p.link.clone())
            .collect()
    }
}

/// A factor for pauses, so that devices which lost each other at the same moment
/// do not meet again and again.
pub(crate) fn jitter() -> f64 {
    let mut byte = [0u8; 1];
    // Without randomness the pause is merely regular.
    let _ = getrandom::fill(&mut byte);
    0.75 + f64::from(byte[0]) / 512.0
}

/// Lives of one device that are remembered.
const LIVES_MAX: usize = 8;

/// At least this long between two dials of one peer, whatever happens.
pub(crate) const DIAL_GAP_MIN: Duration = Duration::from_millis(50);
