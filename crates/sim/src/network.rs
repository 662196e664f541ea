//! Links between devices: ordered, delayed, cut, clogged, partitioned. A link
//! delivers a prefix of what was sent in each direction; both ends learn of its
//! end at times of their own, and what a dead device sent may still arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ccpeer_core::id::ChunkId;
use ccpeer_core::manifest::Want;
use ccpeer_core::wire::Message;

use crate::rng::Rng;
use crate::swarm::Options;

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
    pub(crate) id: u64,
    /// By direction: 0 is from the smaller index to the greater.
    lanes: [Lane; 2],
    pub(crate) closing: bool,
    /// Ends that have not heard of the end yet.
    pub(crate) open_ends: BTreeSet<usize>,
}

#[derive(Debug, Default)]
struct Lane {
    sent: u64,
    delivered: u64,
    /// Deliveries stay in order: none before this.
    floor: u64,
    /// Packets from this number on never arrive.
    cut: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) links: BTreeMap<Pair, Link>,
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
    /// A new link; both ends are to hear of it at the given time.
    pub(crate) fn open(&mut self, ends: Pair, at: u64) -> u64 {
        self.next_id += 1;
        let lane = || Lane {
            floor: at + 1,
            ..Lane::default()
        };
        let link = Link {
            id: self.next_id,
            lanes: [lane(), lane()],
            closing: false,
            open_ends: BTreeSet::from([ends.0, ends.1]),
        };
        self.links.insert(ends, link);
        self.next_id
    }

    /// Sends something: link id, number and time of arrival, if there is a link.
    pub(crate) fn send(
        &mut self,
        from: usize,
        to: usize,
        now: u64,
        options: &Options,
        rng: &mut Rng,
    ) -> Option<(u64, u64, u64)> {
        let clogged = self.clogged.get(&(from, to)).copied().unwrap_or(0);
        let link = self.links.get_mut(&pair(from, to)).filter(|l| !l.closing)?;
        let lane = &mut link.lanes[usize::from(from > to)];
        let number = lane.sent;
        lane.sent += 1;
        let delay = rng.between(options.latency_ms.0, options.latency_ms.1);
        lane.floor = lane.floor.max(now + delay).max(clogged);
        Some((link.id, number, lane.floor))
    }

    /// Whether a packet arrives, or was lost with its link.
    pub(crate) fn deliver(&mut self, from: usize, to: usize, link: u64, number: u64) -> bool {
        let Some(link) = self.links.get_mut(&pair(from, to)).filter(|l| l.id == link) else {
            return false;
        };
        let lane = &mut link.lanes[usize::from(from > to)];
        if lane.cut.is_some_and(|cut| number >= cut) || !link.open_ends.contains(&to) {
            return false;
        }
        lane.delivered = number + 1;
        true
    }

    /// Breaks a link. Gives its id and when each open end hears of it.
    pub(crate) fn close(
        &mut self,
        ends: Pair,
        now: u64,
        slow_ms: u64,
        rng: &mut Rng,
    ) -> Option<(u64, Vec<(usize, u64)>)> {
        let link = self.links.get_mut(&ends).filter(|l| !l.closing)?;
        link.closing = true;
        let mut heard = Vec::new();
        for end in [ends.0, ends.1] {
            // What arrives at this end comes by the other direction's lane.
            let lane = &mut link.lanes[usize::from(end == ends.0)];
            let under_way = lane.sent - lane.delivered;
            let arrives = rng.below(under_way + 1);
            lane.cut = Some(lane.cut.unwrap_or(u64::MAX).min(lane.delivered + arrives));
            let last = if arrives > 0 { lane.floor } else { now };
            if link.open_ends.contains(&end) {
                heard.push((end, last.max(now + rng.below(slow_ms + 1)) + 1));
            }
        }
        let id = link.id;
        if link.open_ends.is_empty() {
            self.links.remove(&ends);
        }
        Some((id, heard))
    }

    /// An end has heard that its link is gone, or died itself.
    pub(crate) fn end_gone(&mut self, ends: Pair, id: u64, end: usize) {
        if let Some(link) = self.links.get_mut(&ends).filter(|l| l.id == id) {
            link.open_ends.remove(&end);
            if link.open_ends.is_empty() {
                self.links.remove(&ends);
            }
        }
    }

    /// Nothing more arrives in this direction, although both ends still believe
    /// in the link.
    pub(crate) fn silence(&mut self, from: usize, to: usize) {
        if let Some(link) = self.links.get_mut(&pair(from, to)) {
            let lane = &mut link.lanes[usize::from(from > to)];
            lane.cut = Some(lane.cut.unwrap_or(u64::MAX).min(lane.delivered));
        }
    }

    /// Links that do not carry anything any more in some direction.
    pub(crate) fn silenced(&self) -> Vec<Pair> {
        let dead = |link: &Link| link.lanes.iter().any(|lane| lane.cut.is_some());
        self.links
            .iter()
            .filter(|(_, link)| dead(link))
            .map(|(ends, _)| *ends)
            .collect()
    }

    pub(crate) fn is_blocked(&self, a: usize, b: usize, now: u64) -> bool {
        [(a, b), (b, a)]
            .iter()
            .any(|d| self.blocked.get(d).is_some_and(|until| *until > now))
    }
}

impl Packet {
    /// The chunk ids of a request, for its failure.
    pub(crate) fn ids(wants: &[Want]) -> Vec<ChunkId> {
        wants.iter().map(|w| w.id).collect()
    }
}
