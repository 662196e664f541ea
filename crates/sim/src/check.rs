//! The invariants, judged from outside: by what lies on the disks and by a
//! second, plainer reading of the same entries, never by asking the machine
//! about itself.

use std::collections::{BTreeMap, BTreeSet};

use ccpeer_core::entry::{Payload, TrustChange, VerifiedEntry};
use ccpeer_core::id::{ChunkId, DeviceId, EntryHash, LogId, SessionId};
use ccpeer_core::limits;
use ccpeer_core::lineage::VersionNode;
use ccpeer_core::manifest::{Want, WantKind};
use ccpeer_core::store::Batch;
use ccpeer_core::wire::Message;

use crate::world::World;

/// Who trusts whom by the entries that a device holds.
#[derive(Debug, Default, Clone)]
pub struct TrustModel {
    added: BTreeSet<(DeviceId, DeviceId)>,
    revoked: BTreeSet<(DeviceId, DeviceId)>,
}

impl TrustModel {
    pub(crate) fn of<'a>(entries: impl Iterator<Item = &'a VerifiedEntry>) -> Self {
        let mut model = Self::default();
        entries.for_each(|e| model.learn(e));
        model
    }

    pub(crate) fn learn(&mut self, entry: &VerifiedEntry) {
        let author = entry.log().device;
        match entry.payload() {
            Some(Payload::Trust(TrustChange::Add(d))) => {
                self.added.insert((author, *d));
            }
            Some(Payload::Trust(TrustChange::Revoke(d))) => {
                self.revoked.insert((author, *d));
            }
            _ => {}
        }
    }

    fn trusts(&self, a: &DeviceId, b: &DeviceId) -> bool {
        self.added.contains(&(*a, *b)) && !self.revoked.contains(&(*a, *b))
    }
}

impl World {
    /// S1, S3, S10, and trust: what a device is about to keep.
    pub(crate) fn check_batch(&mut self, device: usize, batch: &Batch) {
        let me = self.devices[device].id;
        // It holds from the moment it is durable; within the batch, from entry to
        // entry.
        let mut model = self.devices[device].model.clone();
        for entry in &batch.entries {
            let author = entry.log().device;
            let Some(genuine) = self.genuine.get(&entry.hash()) else {
                return self.fail("S3", format!("device {device} keeps a forged entry"));
            };
            if genuine.signed() != entry.signed() {
                return self.fail("S3", format!("device {device} keeps an altered entry"));
            }
            if author != me {
                if !self.durable_once.contains(&entry.hash()) {
                    let what = format!("{:?} {}", entry.log(), entry.seq());
                    return self.fail(
                        "S1",
                        format!(
                            "device {device} keeps {what}, which its author never had for sure"
                        ),
                    );
                }
                if model.revoked.contains(&(me, author)) {
                    let what = format!("device {device} accepts from revoked {author:?}");
                    return self.fail("S10", what);
                }
                if !model.trusts(&me, &author) {
                    let what = format!("device {device} accepts from stranger {author:?}");
                    return self.fail("INV-5", what);
                }
            }
            model.learn(entry);
        }
    }

    /// S10 for anything that is said to a peer.
    pub(crate) fn check_talk(&mut self, device: usize, to: &DeviceId) {
        let me = self.devices[device].id;
        if self.devices[device].model.revoked.contains(&(me, *to)) {
            self.fail("S10", format!("device {device} talks to revoked {to:?}"));
        }
    }

    /// Entries go only to those who may have them.
    pub(crate) fn check_serve(&mut self, device: usize, to: &DeviceId, author: &DeviceId) {
        self.check_talk(device, to);
        let d = &self.devices[device];
        let mutual = d.model.trusts(to, author) && d.model.trusts(author, to);
        if *author != d.id && author != to && !mutual {
            let what = format!("device {device} tells {to:?} what {author:?} said");
            self.fail("K-P09", what);
        }
    }

    /// S9 and entitlement for a message.
    pub(crate) fn check_send(&mut self, device: usize, to: &DeviceId, message: &Message) {
        self.check_talk(device, to);
        if let Message::Entries(entries) = message {
            let authors: BTreeSet<DeviceId> = entries
                .iter()
                .filter_map(|e| self.genuine.get(&e.hash()).map(|e| e.log().device))
                .collect();
            authors
                .iter()
                .for_each(|author| self.check_serve(device, to, author));
        }
        if self.options.encoded && message.to_bytes().len() > limits::MESSAGE_BYTES_MAX {
            self.fail(
                "S9",
                format!("device {device} sends a message that is too long"),
            );
        }
    }

    /// S5: what is called whole has every chunk, durably.
    pub(crate) fn check_whole(&mut self, device: usize, root: &ChunkId) {
        let image = &self.devices[device].disk.durable;
        let kind = if self.snapshots.contains(root) {
            WantKind::Data
        } else {
            WantKind::Manifest
        };
        let want = Want { id: *root, kind };
        let missing = image.missing(&want, &mut self.memo).len();
        if missing > 0 {
            let what =
                format!("device {device} calls {root:?} whole; {missing} chunks are missing");
            self.fail("S5", what);
        }
    }

    /// S5 for a version of which a user is told.
    pub(crate) fn check_complete(&mut self, device: usize, version: &EntryHash) {
        for root in self.roots_of(device, version) {
            self.check_whole(device, &root);
            if !self.devices[device].disk.durable.complete.contains(&root) {
                let what = format!("device {device} announces {root:?} before it is durable");
                self.fail("S4", what);
            }
        }
    }

    /// What a user is told to be elsewhere is there.
    pub(crate) fn check_replicated(&mut self, device: usize, peer: &DeviceId, version: &EntryHash) {
        let Some(peer) = self.by_id.get(peer).copied() else {
            return;
        };
        for root in self.roots_of(device, version) {
            if !self.whole_once.contains(&(peer, root)) {
                let what = format!("device {device} believes that {peer} holds {root:?}");
                self.fail("S4", what);
            }
        }
    }

    fn roots_of(&self, device: usize, version: &EntryHash) -> Vec<ChunkId> {
        let machine = self.devices[device].machine.as_ref();
        let node = machine.and_then(|m| m.version_of(version));
        node.map(|n| n.roots().map(|r| r.id).collect())
            .unwrap_or_default()
    }

    /// S7: the heads are exactly the versions that nothing grew from, newest
    /// last by lamport and name, and that is what a user sees first.
    pub(crate) fn check_lineage(&mut self, device: usize) {
        let d = &self.devices[device];
        let Some(machine) = &d.machine else { return };
        if d.busy.is_some() || !d.effects.is_empty() {
            // Between handling and keeping, machine and disk may differ.
            return;
        }
        let want = heads_on(&d.disk.live);
        for session in &self.sessions {
            let have: Vec<(u64, EntryHash)> = machine
                .session(session)
                .map(|r| r.heads().iter().map(|n| (n.lamport, n.id)).collect())
                .unwrap_or_default();
            let heads: Vec<_> = want.get(session).into_iter().flatten().copied().collect();
            let first = self.newest(device, session).map(|n| (n.lamport, n.id));
            if have != heads || first != heads.last().copied() {
                let what = format!("device {device}, {session:?}: {have:?} instead of {heads:?}");
                return self.fail("S7", what);
            }
        }
    }

    /// S9: what is kept because of peers is bounded.
    pub(crate) fn check_bounds(&mut self, device: usize) {
        let Some(machine) = &self.devices[device].machine else {
            return;
        };
        let load = machine.load();
        let asked = load.peers * limits::FETCH_IN_FLIGHT_PER_PEER_MAX;
        if load.peers > limits::PEERS_MAX
            || load.wants > limits::WANTS_MAX
            || load.in_flight > asked
        {
            self.fail("S9", format!("device {device} keeps {load:?}"));
        }
    }

    /// S2, S5, S6 and S7 on every device, in the end.
    pub(crate) fn check_everything(&mut self) {
        for device in 0..self.devices.len() {
            self.check_lineage(device);
            self.check_bounds(device);
            let durable = &self.devices[device].disk.durable;
            let roots: Vec<ChunkId> = durable.complete.iter().copied().collect();
            let broken = durable.logs.iter().find(|(_, log)| {
                let mut prev = EntryHash::ZERO;
                log.iter().enumerate().any(|(n, e)| {
                    let header = e.header();
                    let fits = header.seq.0 == n as u64 + 1 && header.prev == prev;
                    prev = e.hash();
                    !fits
                })
            });
            if let Some((log, _)) = broken {
                self.fail("S2", format!("device {device}: {log:?} is no chain"));
            }
            for root in roots {
                self.check_whole(device, &root);
            }
        }
    }

    /// L1: why the world does not agree yet, if it does not.
    pub(crate) fn disagreement(&self) -> Option<String> {
        let count = self.devices.len();
        if let Some(off) = (0..count).find(|d| self.devices[*d].machine.is_none()) {
            return Some(format!("device {off} is off"));
        }
        for from in 0..count {
            for to in (0..count).filter(|to| *to != from && self.can_talk(from, *to)) {
                let why = self
                    .log_lacks(from, to)
                    .or_else(|| self.chunk_lacks(from, to));
                let why = why.or_else(|| self.trust_lacks(from, to));
                if let Some(why) = why.or_else(|| self.head_lacks(from, to)) {
                    return Some(why);
                }
            }
        }
        None
    }

    fn own_trust(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.devices[a], &self.devices[b]);
        a.model.trusts(&a.id, &b.id)
    }

    fn can_talk(&self, a: usize, b: usize) -> bool {
        self.own_trust(a, b) && self.own_trust(b, a)
    }

    /// An entry that `from` holds and that `to` should hold and does not.
    fn log_lacks(&self, from: usize, to: usize) -> Option<String> {
        let (giver, taker) = (&self.devices[from], &self.devices[to]);
        for (log, held) in &giver.disk.durable.logs {
            let author = *self.by_id.get(&log.device)?;
            let allowed = author == from || author == to || self.can_talk(author, to);
            let accepted = author == to || self.own_trust(to, author);
            let lacks = taker.disk.durable.logs.get(log).map_or(0, Vec::len);
            if !allowed || !accepted || lacks >= held.len() {
                continue;
            }
            if !self.is_prefix(to, from, log) {
                continue;
            }
            return Some(format!(
                "device {to} holds {lacks} of {} entries that {from} holds of {log:?}",
                held.len()
            ));
        }
        None
    }

    /// Whether what `a` holds of a log is the beginning of what `b` holds: two
    /// branches of a fork never meet.
    fn is_prefix(&self, a: usize, b: usize, log: &LogId) -> bool {
        let entries = |d: usize| self.devices[d].disk.durable.logs.get(log);
        let (Some(a), Some(b)) = (entries(a), entries(b)) else {
            return true;
        };
        match a.last() {
            Some(last) => b.get(a.len() - 1).is_some_and(|e| e.hash() == last.hash()),
            None => true,
        }
    }

    /// A head that `to` wants whole, that `from` holds whole, and that `to` does
    /// not.
    fn chunk_lacks(&self, from: usize, to: usize) -> Option<String> {
        let (giver, taker) = (&self.devices[from], &self.devices[to]);
        let machine = taker.machine.as_ref()?;
        for (session, record) in machine.sessions() {
            for head in record.heads() {
                let author = *self.by_id.get(&head.log.device)?;
                if author != to && !self.own_trust(to, author) {
                    continue;
                }
                // Whoever may not know of the version says nothing of it, but a
                // giver who holds its entry is a giver of its chunks.
                let holds = giver.machine.as_ref()?.version_of(&head.id).is_some();
                let told = author == from || author == to || self.can_talk(author, to);
                for root in head.roots().filter(|_| holds && told) {
                    if giver.disk.durable.complete.contains(&root.id)
                        && !taker.disk.durable.complete.contains(&root.id)
                    {
                        return Some(format!(
                            "device {to} lacks {:?} of {session:?}, which {from} holds whole",
                            root.id
                        ));
                    }
                }
            }
        }
        None
    }

    /// A word of `from` about its own trust that `to` never heard.
    fn trust_lacks(&self, from: usize, to: usize) -> Option<String> {
        let (giver, taker) = (&self.devices[from], &self.devices[to]);
        let stands = |pair: &&(DeviceId, DeviceId)| !giver.model.revoked.contains(*pair);
        let added = giver.model.added.iter().filter(stands);
        let lacks = added.map(|pair| (pair, &taker.model.added)).chain(
            giver
                .model
                .revoked
                .iter()
                .map(|pair| (pair, &taker.model.revoked)),
        );
        lacks
            .filter(|((by, _), _)| *by == giver.id)
            .find(|(pair, heard)| !heard.contains(*pair))
            .map(|((_, about), _)| {
                format!("device {to} does not know what {from} says of {about:?}")
            })
    }

    /// A head that `from` wrote and of which `to` knows nothing, not even under
    /// another name: what was said in a log that forked must be said again.
    fn head_lacks(&self, from: usize, to: usize) -> Option<String> {
        let (giver, taker) = (self.devices[from].machine.as_ref()?, &self.devices[to]);
        let taker = taker.machine.as_ref()?;
        for (session, record) in giver.sessions() {
            for head in record.heads() {
                if head.log.device != giver.me() || !giver.is_here(head) {
                    continue;
                }
                let same = |n: &VersionNode| {
                    n.version.manifest == head.version.manifest
                        && n.version.snapshot == head.version.snapshot
                };
                if !taker.session(session).is_some_and(|r| r.nodes().any(same)) {
                    return Some(format!(
                        "device {to} never heard of {:?} of {from}",
                        head.id
                    ));
                }
            }
        }
        None
    }
}

/// The heads of every session by the entries on a disk, plainly computed.
fn heads_on(image: &crate::disk::Image) -> BTreeMap<SessionId, Vec<(u64, EntryHash)>> {
    let mut parents = BTreeSet::new();
    let mut out: BTreeMap<SessionId, Vec<(u64, EntryHash)>> = BTreeMap::new();
    for entry in image.entries() {
        if let Some(Payload::Version(version)) = entry.payload() {
            parents.extend(version.parents.iter().copied());
            let node = (entry.header().lamport, entry.hash());
            out.entry(version.session).or_default().push(node);
        }
    }
    for heads in out.values_mut() {
        heads.retain(|(_, id)| !parents.contains(id));
        heads.sort_unstable();
    }
    out
}
