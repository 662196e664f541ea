//! Links between devices: ordered, delayed, cut, clogged, partitioned, replaced.
//! A link delivers a prefix of what was said in each direction; both ends learn
//! of its end at times of their own, so one of them may believe in it for long
//! after the other has dialled anew. What a dead device sent may still arrive.
//!
//! It knows no machine: who hears what, and when, is all there is.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ccpeer_core::manifest::Want;
use ccpeer_core::wire::Message;

use crate::rng::Rng;

/// What travels.
#[derive(Debug, Clone)]
pub(crate) enum Packet {
    Words(Message),
    /// Chunks that are asked for.
    Ask(Vec<Want>),
    /// The answer: content, or `None` where it is not held.
    Chunks(Vec<(Want, Option<Rc<Vec<u8>>>)>),
}

/// Both ends of a link, the smaller index first.
pub(crate) type Pair = (usize, usize);

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) ends: Pair,
    /// By direction: 0 is from the smaller index to the greater.
    lanes: [Lane; 2],
    pub(crate) closing: bool,
    /// Ends that have not heard of the end yet.
    open_ends: BTreeSet<usize>,
}

#[derive(Debug, Default)]
struct Lane {
    sent: u64,
    delivered: u64,
    /// Words stay in order: none before this. Chunks have streams of their own.
    floor: u64,
    /// The last arrival of anything.
    last: u64,
    /// Packets from this number on never arrive.
    cut: Option<u64>,
}

/// How something is sent.
pub(crate) struct Sending {
    pub(crate) now: u64,
    pub(crate) latency_ms: (u64, u64),
    /// Behind everything that was sent in order before.
    pub(crate) ordered: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    links: BTreeMap<u64, Link>,
    /// Directions that are blocked, until when.
    pub(crate) blocked: BTreeMap<(usize, usize), u64>,
    /// Directions that stand still, until when.
    pub(crate) clogged: BTreeMap<(usize, usize), u64>,
    next_id: u64,
}

pub(crate) fn pair(a: usize, b: usize) -> Pair {
    (a.min(b), a.max(b))
}

impl Network {
    /// A new link; both ends are to hear of it until the given time.
    pub(crate) fn open(&mut self, ends: Pair, at: u64) -> u64 {
        self.next_id += 1;
        let lane = || Lane {
            floor: at + 1,
            last: at + 1,
            ..Lane::default()
        };
        let link = Link {
            ends,
            lanes: [lane(), lane()],
            closing: false,
            open_ends: BTreeSet::from([ends.0, ends.1]),
        };
        self.links.insert(self.next_id, link);
        self.next_id
    }

    /// The links that nobody has begun to close.
    pub(crate) fn standing(&self) -> Vec<u64> {
        let standing = self.links.iter().filter(|(_, l)| !l.closing);
        standing.map(|(id, _)| *id).collect()
    }

    /// The link of two devices that nobody has begun to close.
    pub(crate) fn between(&self, a: usize, b: usize) -> Option<u64> {
        let ends = pair(a, b);
        let mut links = self.links.iter();
        links
            .find(|(_, l)| l.ends == ends && !l.closing)
            .map(|(id, _)| *id)
    }

    pub(crate) fn ends(&self, id: u64) -> Option<Pair> {
        self.links.get(&id).map(|l| l.ends)
    }

    /// Whether an end has not heard yet that its link is gone.
    pub(crate) fn is_open(&self, id: u64, end: usize) -> bool {
        self.links
            .get(&id)
            .is_some_and(|l| l.open_ends.contains(&end))
    }

    /// Sends something: number and time of arrival, if the link stands.
    pub(crate) fn send(
        &mut self,
        id: u64,
        (from, to): (usize, usize),
        how: &Sending,
        rng: &mut Rng,
    ) -> Option<(u64, u64)> {
        let clogged = self.clogged.get(&(from, to)).copied().unwrap_or(0);
        let link = self.links.get_mut(&id).filter(|l| !l.closing)?;
        let lane = &mut link.lanes[usize::from(from > to)];
        let number = lane.sent;
        lane.sent += 1;
        let arrives = how.now + rng.between(how.latency_ms.0, how.latency_ms.1);
        let mut arrives = arrives.max(clogged);
        if how.ordered {
            lane.floor = lane.floor.max(arrives);
            arrives = lane.floor;
        }
        lane.last = lane.last.max(arrives);
        Some((number, arrives))
    }

    /// Whether a packet arrives, or was lost with its link.
    pub(crate) fn deliver(&mut self, id: u64, (from, to): (usize, usize), number: u64) -> bool {
        let Some(link) = self.links.get_mut(&id) else {
            return false;
        };
        let lane = &mut link.lanes[usize::from(from > to)];
        if lane.cut.is_some_and(|cut| number >= cut) || !link.open_ends.contains(&to) {
            return false;
        }
        lane.delivered = lane.delivered.max(number + 1);
        true
    }

    /// Breaks a link. Gives when each open end hears of it, within its time.
    pub(crate) fn close(
        &mut self,
        id: u64,
        now: u64,
        slow_ms: [(u64, u64); 2],
        rng: &mut Rng,
    ) -> Vec<(usize, u64)> {
        let Some(link) = self.links.get_mut(&id).filter(|l| !l.closing) else {
            return Vec::new();
        };
        link.closing = true;
        let mut heard = Vec::new();
        for (n, end) in [link.ends.0, link.ends.1].into_iter().enumerate() {
            // What arrives at this end comes by the other direction's lane.
            let lane = &mut link.lanes[usize::from(n == 0)];
            let under_way = lane.sent - lane.delivered;
            let arrives = rng.below(under_way + 1);
            lane.cut = Some(lane.cut.unwrap_or(u64::MAX).min(lane.delivered + arrives));
            let last = if arrives > 0 { lane.last } else { now };
            if link.open_ends.contains(&end) {
                let (low, high) = slow_ms[n];
                heard.push((end, last.max(now + rng.between(low, high)) + 1));
            }
        }
        if link.open_ends.is_empty() {
            self.links.remove(&id);
        }
        heard
    }

    /// An end has heard that its link is gone, or died itself.
    pub(crate) fn end_gone(&mut self, id: u64, end: usize) {
        if let Some(link) = self.links.get_mut(&id) {
            link.open_ends.remove(&end);
            if link.open_ends.is_empty() {
                self.links.remove(&id);
            }
        }
    }

    /// Nothing more arrives in this direction, although both ends still believe
    /// in the link.
    pub(crate) fn silence(&mut self, id: u64, (from, to): (usize, usize)) {
        if let Some(link) = self.links.get_mut(&id) {
            let lane = &mut link.lanes[usize::from(from > to)];
            lane.cut = Some(lane.cut.unwrap_or(u64::MAX).min(lane.delivered));
        }
    }

    /// Standing links that do not carry anything any more in some direction.
    pub(crate) fn silenced(&self) -> Vec<u64> {
        let dead = |link: &Link| !link.closing && link.lanes.iter().any(|l| l.cut.is_some());
        let silenced = self.links.iter().filter(|(_, link)| dead(link));
        silenced.map(|(id, _)| *id).collect()
    }

    pub(crate) fn is_blocked(&self, a: usize, b: usize, now: u64) -> bool {
        [(a, b), (b, a)]
            .iter()
            .any(|d| self.blocked.get(d).is_some_and(|until| *until > now))
    }
}
