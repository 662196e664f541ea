//! Which chunks are missing and who is asked for them. A **root** is a manifest
//! or a snapshot that we want whole; its chunks are unfolded as manifests and
//! list pages arrive. Wants are derived from the heads and never stored.
//!
//! Everything goes by [`Want`]: the same bytes under another kind are another
//! want, because whether they are whole depends on how they are read, and who
//! calls one author's manifest a snapshot must not decide that.
//!
//! It knows no entry and no link: the machine tells it who might hold a root.

use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::id::{DeviceId, SessionId};
use crate::limits;
use crate::manifest::Want;
use crate::sync::effect::Effect;
use crate::time::Instant;

mod answers;
mod chunk;
mod quota;
mod root;
pub(crate) use chunk::Candidate;
use chunk::{Choice, Chunk, ChunkStage, Pace};
use quota::Quota;
pub(crate) use root::Wanted;
use root::{Plan, Rank, Root, Stage};

/// The chunks' side of the machine.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    complete: BTreeSet<Want>,
    quota: Quota,
    roots: BTreeMap<Want, Root>,
    /// Roots of which something can be asked for now, in the order in which they
    /// are served. Events come by the hundred thousand and roots by the thousand,
    /// so those with nothing to do are not in here; see `file`.
    order: BTreeSet<(Reverse<Rank>, Want)>,
    /// Roots about which the store is to be asked, in the same order.
    unchecked: BTreeSet<(Reverse<Rank>, Want)>,
    /// Roots that nobody holds who is linked now.
    parked: BTreeSet<Want>,
    /// Roots of devices that have used up their quota.
    held_back: BTreeSet<Want>,
    chunks: BTreeMap<Want, Chunk>,
    /// Chunks that wait before they are asked for again.
    waiting: BTreeSet<(Instant, Want)>,
    in_flight: BTreeMap<DeviceId, BTreeSet<Want>>,
    /// Chunks that are here, because they came as something else: the store is to
    /// be asked what they refer to.
    unfold: BTreeSet<Want>,
    /// What each session's heads need.
    by_session: BTreeMap<SessionId, BTreeSet<Want>>,
    checking: usize,
    /// Our own disk refused a chunk; nothing is asked for until then.
    paused_until: Option<Instant>,
    random: u64,
    #[cfg(feature = "mutants")]
    pub(crate) planted: Option<crate::mutant::Mutant>,
}

/// How far a manifest has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Chunks found to be needed since we looked, including those that have come
    /// since; grows while list pages unfold.
    pub known: u64,
    /// Those of them that are not here yet.
    pub missing: u64,
}

impl Fetch {
    pub(crate) fn new(complete: BTreeSet<Want>, seed: u64) -> Self {
        Self {
            complete,
            quota: Quota::default(),
            roots: BTreeMap::new(),
            order: BTreeSet::new(),
            unchecked: BTreeSet::new(),
            parked: BTreeSet::new(),
            held_back: BTreeSet::new(),
            chunks: BTreeMap::new(),
            waiting: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            unfold: BTreeSet::new(),
            by_session: BTreeMap::new(),
            checking: 0,
            paused_until: None,
            random: seed,
            #[cfg(feature = "mutants")]
            planted: None,
        }
    }

    pub(crate) fn is_complete(&self, root: &Want) -> bool {
        #[cfg(feature = "mutants")]
        if self.planted == Some(crate::mutant::Mutant::KindsMixedUp) {
            return root.all_kinds().any(|want| self.complete.contains(&want));
        }
        self.complete.contains(root)
    }

    /// Ours by definition, or found whole.
    pub(crate) fn set_complete(&mut self, root: Want) {
        self.complete.insert(root);
        self.drop_root(&root);
    }

    /// It is not whole any more.
    pub(crate) fn forget(&mut self, root: &Want) {
        self.complete.remove(root);
    }

    /// Our own disk refuses to write: what we would find out could not be kept.
    pub(crate) fn pause(&mut self, now: Instant) {
        #[cfg(feature = "mutants")]
        if self.planted == Some(crate::mutant::Mutant::NoPauseWhenFull) {
            return;
        }
        self.paused_until = Some(now.after_ms(limits::FETCH_SLOW_MS.1));
    }

    /// Whether our own disk refused something a short while ago.
    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| until > now)
    }

    /// Chunks are gone that were here. What is being fetched may have counted on
    /// them: the store is looked at once more before it is called whole.
    pub(crate) fn distrust(&mut self) {
        #[cfg(feature = "mutants")]
        if self.planted == Some(crate::mutant::Mutant::LossUnderWay) {
            return;
        }
        for root in self.roots.values_mut() {
            root.look_again |= root.stage != Stage::Unchecked;
        }
    }

    pub(crate) fn progress(&self, root: &Want) -> Option<Progress> {
        let root = self.roots.get(root)?;
        Some(Progress {
            known: root.known,
            missing: root.missing.len() as u64,
        })
    }

    pub(crate) fn is_unreadable(&self, root: &Want) -> bool {
        let missing = self
            .roots
            .get(root)
            .into_iter()
            .flat_map(|r| r.missing.keys());
        let mut chunks = missing.filter_map(|want| self.chunks.get(want));
        chunks.any(|chunk| chunk.stage == ChunkStage::Malformed)
    }

    /// What a session's heads consist of now, with the clock of the newest head
    /// that names it. What no head needs any more is no longer asked for.
    pub(crate) fn set_session(&mut self, session: SessionId, wants: &BTreeMap<Want, Wanted>) {
        let before = self.by_session.remove(&session).unwrap_or_default();
        let mut now = BTreeSet::new();
        for (want, wanted) in wants {
            if self.is_complete(want) {
                continue;
            }
            now.insert(*want);
            let root = self.root(
                *want,
                Rank {
                    needed: false,
                    lamport: wanted.lamport,
                },
            );
            // What one device wrote and another one wrote again is the first one's;
            // what is ours as well is nobody's.
            if root.sessions.is_empty() || wanted.author.is_none() {
                root.author = wanted.author;
            }
            root.sessions.insert(session);
            // Another author may have written it too.
            self.parked.remove(want);
            self.file(want);
        }
        for want in before.difference(&now) {
            let Some(root) = self.roots.get_mut(want) else {
                continue;
            };
            root.sessions.remove(&session);
            if root.sessions.is_empty() && !root.rank.needed {
                self.drop_root(want);
            }
        }
        if !now.is_empty() {
            self.by_session.insert(session, now);
        }
    }

    /// Somebody asks for this explicitly: the store is looked at whatever we
    /// believe.
    pub(crate) fn need(&mut self, want: Want) {
        let needed = self.roots.values().filter(|r| r.rank.needed).count();
        if needed >= limits::NEEDS_MAX {
            return;
        }
        let rank = Rank {
            needed: true,
            lamport: u64::MAX,
        };
        let before = self.root(want, rank).rank;
        self.order.remove(&(Reverse(before), want));
        self.unchecked.remove(&(Reverse(before), want));
        self.root(want, rank).rank = rank;
        self.held_back.remove(&want);
        self.file(&want);
    }

    /// A peer is gone: what it was asked for is asked of others.
    pub(crate) fn peer_down(&mut self, device: &DeviceId) {
        #[cfg(feature = "mutants")]
        if self.planted == Some(crate::mutant::Mutant::LinkLossIgnored) {
            return;
        }
        for want in self.in_flight.remove(device).unwrap_or_default() {
            let chunk = self.chunks.get(&want);
            if chunk.is_some_and(|chunk| chunk.stage == ChunkStage::Asked) {
                self.set_stage(&want, ChunkStage::Idle);
            }
        }
        for chunk in self.chunks.values_mut() {
            chunk.tried.remove(device);
        }
    }

    /// A peer holds more than we knew: what nobody held may be there.
    pub(crate) fn peer_holds_more(&mut self) {
        for root in core::mem::take(&mut self.parked) {
            self.file(&root);
        }
    }

    /// A link is up: whoever comes may hold what the others did not.
    pub(crate) fn peer_up(&mut self) {
        for (_, want) in core::mem::take(&mut self.waiting) {
            self.set_stage(&want, ChunkStage::Idle);
            if let Some(chunk) = self.chunks.get_mut(&want) {
                chunk.attempts = 0;
            }
        }
    }

    /// A peer said that it holds a root whole: it is asked at once, also for
    /// what it did not hold before.
    pub(crate) fn hint(&mut self, device: &DeviceId, root: &Want) {
        self.parked.remove(root);
        self.file(root);
        let Some(root) = self.roots.get(root) else {
            return;
        };
        for want in root.missing.keys().copied().collect::<Vec<_>>() {
            let Some(chunk) = self.chunks.get_mut(&want) else {
                continue;
            };
            chunk.tried.remove(device);
            if matches!(chunk.stage, ChunkStage::Waiting(_)) {
                self.set_stage(&want, ChunkStage::Idle);
            }
        }
    }

    /// Asks the store about roots and peers for chunks, as far as the bounds
    /// allow. `candidates` says who may hold a root.
    pub(crate) fn pump(
        &mut self,
        candidates: impl Fn(&Want) -> Vec<Candidate>,
        peers: &[DeviceId],
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        self.release(now);
        if self.is_paused(now) {
            return;
        }
        self.paused_until = None;
        self.look(out);
        let mut room: BTreeMap<DeviceId, usize> = BTreeMap::new();
        for peer in peers {
            let asked = self.in_flight.get(peer).map_or(0, BTreeSet::len);
            let left = limits::FETCH_IN_FLIGHT_PER_PEER_MAX.saturating_sub(asked);
            if left > 0 {
                room.insert(*peer, left);
            }
        }
        let mut plan = Plan {
            room,
            ..Plan::default()
        };
        for (_, want) in &self.order {
            if plan.room.is_empty() || plan.busy >= limits::FETCH_LOOKS_MAX {
                break;
            }
            if self.is_over_quota(want) {
                plan.over.push(*want);
                continue;
            }
            let able = candidates(want);
            if able.is_empty() {
                plan.homeless.push(*want);
            } else if let Some(root) = self.roots.get(want) {
                self.plan_root(root, &able, &mut plan);
            }
        }
        for root in plan.homeless {
            self.parked.insert(root);
            self.file(&root);
        }
        for root in plan.over {
            self.held_back.insert(root);
            self.file(&root);
        }
        for (want, pace) in plan.pauses {
            self.wait(&want, now, pace);
        }
        self.ask(plan.asks, out);
    }

    /// Finds somebody to ask for what a root lacks.
    fn plan_root(&self, root: &Root, able: &[Candidate], plan: &mut Plan) {
        for (_, want) in &root.idle {
            if plan.room.is_empty() || plan.busy >= limits::FETCH_LOOKS_MAX {
                return;
            }
            // Another root may have asked for it already.
            let unasked = |_: &&Chunk| !plan.asked.contains(want);
            let Some(chunk) = self.chunks.get(want).filter(unasked) else {
                continue;
            };
            match chunk.choose(able, &plan.room) {
                Choice::Ask(peer) => {
                    plan.asked.insert(*want);
                    plan.asks.push((*want, peer));
                    if let Some(left) = plan.room.get_mut(&peer) {
                        *left -= 1;
                        if *left == 0 {
                            plan.room.remove(&peer);
                        }
                    }
                }
                Choice::Busy => {
                    plan.busy += 1;
                    if chunk.tried.is_empty() && chunk.refused.is_empty() {
                        // Nothing sets it apart from the rest of the root.
                        return;
                    }
                }
                Choice::Nobody(pace) => plan.pauses.push((*want, pace)),
            }
        }
    }

    /// When the next pump has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        let waiting = self.waiting.first().map(|(at, _)| *at);
        match (waiting, self.paused_until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Chunks that are wanted and chunks that were asked for: both are bounded.
    pub(crate) fn load(&self) -> (usize, usize) {
        (
            self.chunks.len(),
            self.in_flight.values().map(BTreeSet::len).sum(),
        )
    }

    fn root(&mut self, want: Want, rank: Rank) -> &mut Root {
        self.roots.entry(want).or_insert_with(|| {
            self.unchecked.insert((Reverse(rank), want));
            Root {
                rank,
                author: None,
                sessions: BTreeSet::new(),
                stage: Stage::Unchecked,
                known: 0,
                missing: BTreeMap::new(),
                idle: BTreeSet::new(),
                look_again: false,
            }
        })
    }

    /// Puts a root into the queue where it belongs after a change, if into any.
    fn file(&mut self, want: &Want) {
        let Some(root) = self.roots.get(want) else {
            return;
        };
        let key = (Reverse(root.rank), *want);
        if root.stage == Stage::Unchecked {
            self.unchecked.insert(key);
        } else {
            self.unchecked.remove(&key);
        }
        let kept_out = self.parked.contains(want) || self.held_back.contains(want);
        if root.stage == Stage::Open && !root.idle.is_empty() && !kept_out {
            self.order.insert(key);
        } else {
            self.order.remove(&key);
        }
    }

    fn drop_root(&mut self, want: &Want) {
        let Some(root) = self.roots.remove(want) else {
            return;
        };
        self.order.remove(&(Reverse(root.rank), *want));
        self.unchecked.remove(&(Reverse(root.rank), *want));
        self.parked.remove(want);
        self.held_back.remove(want);
        if root.stage == Stage::Checking {
            self.checking = self.checking.saturating_sub(1);
        }
        for missing in root.missing.into_keys() {
            let Some(chunk) = self.chunks.get_mut(&missing) else {
                continue;
            };
            chunk.roots.remove(want);
            if chunk.roots.is_empty() {
                self.remove_chunk(&missing);
            }
        }
        for session in root.sessions {
            if let Some(needs) = self.by_session.get_mut(&session) {
                needs.remove(want);
            }
        }
    }

    fn remove_chunk(&mut self, want: &Want) -> Option<Chunk> {
        let chunk = self.chunks.remove(want)?;
        self.leave_stage(want, chunk.stage);
        Some(chunk)
    }

    fn add_chunks(&mut self, root_want: Want, wants: &[Want]) {
        let Some(root) = self.roots.get_mut(&root_want) else {
            return;
        };
        for want in wants {
            if self.chunks.len() >= limits::WANTS_MAX && !self.chunks.contains_key(want) {
                root.look_again = true;
                continue;
            }
            let Entry::Vacant(vacant) = root.missing.entry(*want) else {
                continue;
            };
            vacant.insert(root.known);
            root.known += 1;
            let chunk = self.chunks.entry(*want).or_insert_with(|| {
                let asked = self.in_flight.values().any(|a| a.contains(want));
                Chunk {
                    roots: BTreeSet::new(),
                    stage: if asked {
                        ChunkStage::Asked
                    } else {
                        ChunkStage::Idle
                    },
                    tried: BTreeSet::new(),
                    refused: BTreeSet::new(),
                    attempts: 0,
                }
            });
            chunk.roots.insert(root_want);
            if chunk.stage == ChunkStage::Idle {
                root.idle.insert((root.known - 1, *want));
            }
        }
    }

    fn set_stage(&mut self, want: &Want, stage: ChunkStage) {
        let Some(chunk) = self.chunks.get_mut(want) else {
            return;
        };
        let before = core::mem::replace(&mut chunk.stage, stage);
        let roots = chunk.roots.clone();
        self.leave_stage(want, before);
        match stage {
            ChunkStage::Waiting(at) => {
                self.waiting.insert((at, *want));
            }
            ChunkStage::Unfolding => {
                self.unfold.insert(*want);
            }
            ChunkStage::Idle | ChunkStage::Asked | ChunkStage::Malformed => {}
        }
        for root_want in roots {
            let Some(root) = self.roots.get_mut(&root_want) else {
                continue;
            };
            let before = root.idle.is_empty();
            if let Some(place) = root.missing.get(want) {
                if stage == ChunkStage::Idle {
                    root.idle.insert((*place, *want));
                } else {
                    root.idle.remove(&(*place, *want));
                }
            }
            if root.idle.is_empty() != before {
                self.file(&root_want);
            }
        }
    }

    fn leave_stage(&mut self, want: &Want, stage: ChunkStage) {
        match stage {
            ChunkStage::Waiting(at) => {
                self.waiting.remove(&(at, *want));
            }
            ChunkStage::Unfolding => {
                self.unfold.remove(want);
            }
            ChunkStage::Idle | ChunkStage::Asked | ChunkStage::Malformed => {}
        }
    }

    /// Everybody was asked, or the link failed: a pause that grows, and never
    /// the same on two devices.
    fn wait(&mut self, want: &Want, now: Instant, pace: Pace) {
        let Some(chunk) = self.chunks.get_mut(want) else {
            return;
        };
        chunk.tried.clear();
        chunk.attempts = chunk.attempts.saturating_add(1);
        let (first, longest) = limits::FETCH_RETRY_MS;
        let slow = pace == Pace::Slow || chunk.attempts > limits::FETCH_ATTEMPTS_MAX;
        let pause = if slow {
            limits::FETCH_SLOW_MS.0
        } else {
            first
                .saturating_mul(1 << chunk.attempts.saturating_sub(1))
                .min(longest)
        };
        let jitter = self.random() % (pause / 4 + 1);
        self.set_stage(want, ChunkStage::Waiting(now.after_ms(pause + jitter)));
    }

    fn release(&mut self, now: Instant) {
        #[cfg(feature = "mutants")]
        if self.planted == Some(crate::mutant::Mutant::NeverAskedAgain) {
            return;
        }
        while let Some((at, want)) = self.waiting.first().copied() {
            if at > now {
                break;
            }
            self.set_stage(&want, ChunkStage::Idle);
        }
    }

    fn look(&mut self, out: &mut Vec<Effect>) {
        // As many as came at once, and what they refer to is small.
        for want in core::mem::take(&mut self.unfold) {
            out.push(Effect::Check(want));
        }
        if self.chunks.len() >= limits::WANTS_MAX {
            return;
        }
        while self.checking < limits::CHECKS_IN_FLIGHT_MAX {
            let Some((_, want)) = self.unchecked.pop_first() else {
                break;
            };
            let Some(root) = self.roots.get_mut(&want) else {
                continue;
            };
            root.stage = Stage::Checking;
            self.checking += 1;
            out.push(Effect::Check(want));
        }
    }

    /// In the order of the plan: what lies side by side is packed together.
    fn ask(&mut self, asks: Vec<(Want, DeviceId)>, out: &mut Vec<Effect>) {
        let mut by_peer: BTreeMap<DeviceId, Vec<Want>> = BTreeMap::new();
        for (want, peer) in asks {
            self.set_stage(&want, ChunkStage::Asked);
            self.in_flight.entry(peer).or_default().insert(want);
            by_peer.entry(peer).or_default().push(want);
        }
        for (from, wants) in by_peer {
            for batch in wants.chunks(limits::FETCH_BATCH_MAX) {
                out.push(Effect::Fetch {
                    from,
                    wants: batch.to_vec(),
                });
            }
        }
    }

    /// splitmix64: the numbers need only differ, not be secret.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
