//! The invariants, judged from outside: by what lies on the disks and by a
//! second, plainer reading of the same entries, never by asking the machine
//! about itself.

use std::collections::{BTreeMap, BTreeSet};

use ccpeer_core::entry::{Payload, TrustChange, VerifiedEntry};
use ccpeer_core::id::{ChunkId, DeviceId, EntryHash, SessionId};
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use ccpeer_core::store::Batch;
use ccpeer_core::sync::effect::Fault;
use ccpeer_core::wire::Message;

use crate::world::World;

/// A lamport clock that no world of ours reaches, whatever a peer claims.
const CLOCK_MAX: u64 = 1 << 56;

/// Who trusts whom by the entries that a device holds.
#[derive(Debug, Clone)]
pub struct TrustModel {
    pub(crate) added: BTreeSet<(DeviceId, DeviceId)>,
    pub(crate) revoked: BTreeSet<(DeviceId, DeviceId)>,
    /// By whom, who stays, and whose revocation does not count.
    pub(crate) overruled: BTreeSet<(DeviceId, DeviceId, DeviceId)>,
    me: DeviceId,
    /// Whom other members keep out, for `me`.
    pub(crate) out: BTreeSet<DeviceId>,
}

impl TrustModel {
    pub(crate) fn of<'a>(me: DeviceId, entries: impl Iterator<Item = &'a VerifiedEntry>) -> Self {
        let mut model = Self::nobodys(me);
        entries.for_each(|e| model.learn(e));
        model
    }

    pub(crate) fn nobodys(me: DeviceId) -> Self {
        Self {
            added: BTreeSet::new(),
            revoked: BTreeSet::new(),
            overruled: BTreeSet::new(),
            me,
            out: BTreeSet::new(),
        }
    }

    pub(crate) fn learn(&mut self, entry: &VerifiedEntry) {
        let author = entry.log().device;
        match entry.payload() {
            Some(Payload::Trust(TrustChange::Add { device: d, .. })) => {
                self.added.insert((author, *d));
            }
            Some(Payload::Trust(TrustChange::Revoke(d))) => {
                self.revoked.insert((author, *d));
            }
            Some(Payload::Trust(TrustChange::Overrule { device, by })) => {
                self.overruled.insert((author, *device, *by));
            }
            _ => return,
        }
        if !self.revoked.is_empty() {
            self.out = self.kept_out(&self.me);
        }
    }

    pub(crate) fn trusts(&self, a: &DeviceId, b: &DeviceId) -> bool {
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
        // What others say of third devices holds for what comes after it.
        let out = model.out.clone();
        for entry in &batch.entries {
            let author = entry.log().device;
            let hostile = self.is_hostile(&author);
            match self.genuine.get(&entry.hash()) {
                None if hostile && entry.signed().clone().verify().is_ok() => {}
                None => return self.fail("S3", format!("device {device} keeps a forged entry")),
                Some(_) if self.is_withheld_by_author(entry) => {}
                Some(genuine) if genuine.signed() != entry.signed() => {
                    return self.fail("S3", format!("device {device} keeps an altered entry"));
                }
                Some(_) => {}
            }
            if author != me {
                if !hostile && !self.durable_once.contains(&entry.hash()) {
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
                if out.contains(&author) {
                    let what = format!("device {device} accepts from {author:?}, who is out");
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

    pub(crate) fn is_hostile(&self, id: &DeviceId) -> bool {
        self.devices.iter().any(|d| d.hostile && d.id == *id)
    }

    /// S11: nobody who keeps to the rules is shut out for what others did.
    pub(crate) fn check_blame(&mut self, device: usize, peer: usize, fault: Fault) {
        let blamed = matches!(fault, Fault::Misbehaviour | Fault::ForeignLog);
        if blamed && self.devices[peer].hostile {
            self.count("hostile device shut out");
        } else if blamed {
            let what = format!("device {device} shuts honest {peer} out: {fault:?}");
            self.fail("S11", what);
        }
    }

    /// S10 for anything that is said to a peer.
    pub(crate) fn check_talk(&mut self, device: usize, to: &DeviceId) {
        let me = self.devices[device].id;
        let model = &self.devices[device].model;
        if model.revoked.contains(&(me, *to)) || model.out.contains(to) {
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
        if let Message::Complete(roots) = message {
            self.check_named(device, roots);
        }
        if let Message::Entries(entries) = message {
            self.check_shown(device, entries);
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
    pub(crate) fn check_whole(&mut self, device: usize, root: &Want) {
        let image = &self.devices[device].disk.durable;
        let missing = image.lacks(root, &mut self.memo);
        // Where damage was found a moment ago, the machine is about to hear of it.
        if missing > 0 && self.devices[device].lost.is_empty() {
            let what =
                format!("device {device} calls {root:?} whole; {missing} chunks are missing");
            self.fail("S5", what);
        }
    }

    /// S5 for a version of which a user is told.
    pub(crate) fn check_complete(&mut self, device: usize, version: &EntryHash) {
        for root in self.roots_of(device, version) {
            if self.devices[device].broken.contains(&root) {
                // Damage was found while the news was on its way.
                continue;
            }
            self.check_whole(device, &root);
            if !self.devices[device].disk.durable.complete.contains(&root) {
                let what = format!("device {device} announces {root:?} before it is durable");
                self.fail("S4", what);
            }
        }
    }

    /// What a user is told to be elsewhere is there.
    pub(crate) fn check_replicated(&mut self, device: usize, peer: &DeviceId, version: &EntryHash) {
        if self.is_hostile(peer) {
            return;
        }
        // A twin's word counts for both.
        let same = (0..self.devices.len()).filter(|d| self.devices[*d].id == *peer);
        let same: Vec<usize> = same.collect();
        for root in self.roots_of(device, version) {
            if !same.iter().any(|d| self.whole_once.contains(&(*d, root))) {
                let what = format!("device {device} believes that {same:?} holds {root:?}");
                self.fail("S4", what);
            }
        }
    }

    fn roots_of(&self, device: usize, version: &EntryHash) -> Vec<Want> {
        let machine = self.devices[device].machine.as_ref();
        let node = machine.and_then(|m| m.version_of(version));
        node.map(|n| n.roots().collect()).unwrap_or_default()
    }

    /// S7: the heads are exactly the versions that nothing grew from, newest
    /// last by lamport and name, and that is what a user sees first.
    pub(crate) fn check_lineage(&mut self, device: usize) {
        let d = &self.devices[device];
        if d.busy.is_some() || !d.effects.is_empty() {
            // Between handling and keeping, machine and disk may differ.
            return;
        }
        self.check_frontier(device);
        let d = &self.devices[device];
        let Some(machine) = &d.machine else { return };
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

    /// INV-4: every chunk is what its id says, but for the bits that we flipped.
    fn check_contents(&mut self, device: usize) {
        let image = &self.devices[device].disk.durable;
        let wrong = image.chunks.iter();
        let wrong = wrong
            .filter(|(id, content)| ChunkId::of(content) != **id)
            .find(|(id, _)| !image.flipped.contains(*id));
        if let Some((id, _)) = wrong {
            let what = format!("device {device} keeps something else as {id:?}");
            self.fail("INV-4", what);
        }
    }

    /// S2: what the machine believes to hold is what lies on the disk.
    pub(crate) fn check_frontier(&mut self, device: usize) {
        let d = &self.devices[device];
        let Some(machine) = &d.machine else { return };
        let logs = d.disk.live.logs.iter();
        let held = logs.map(|(log, entries)| (*log, entries.len() as u64));
        let believed = machine.frontier().0.into_iter();
        if !believed.map(|(log, seq)| (log, seq.0)).eq(held) {
            let what = format!("device {device} believes in another frontier than its disk's");
            self.fail("S2", what);
        }
    }

    /// S12: nobody else moves a device to a new epoch, or its clock to the end of
    /// time.
    pub(crate) fn check_composure(&mut self, device: usize) {
        let d = &self.devices[device];
        let own = |e: &&std::rc::Rc<VerifiedEntry>| e.log().device == d.id;
        let clock = d.disk.durable.entries().filter(own);
        let clock = clock.map(|e| e.header().lamport).max().unwrap_or(0);
        if clock > CLOCK_MAX {
            let what = format!("device {device} was moved to clock {clock}");
            self.fail("S12", what);
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
        for device in self.honest() {
            self.check_lineage(device);
            self.check_contents(device);
            self.check_composure(device);
            self.check_bounds(device);
            let durable = &self.devices[device].disk.durable;
            let roots: Vec<Want> = durable.complete.iter().copied().collect();
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
}

/// The heads of every session by the entries on a disk, plainly computed. A
/// version of another session is nobody's parent.
fn heads_on(image: &crate::disk::Image) -> BTreeMap<SessionId, Vec<(u64, EntryHash)>> {
    let mut parents = BTreeSet::new();
    let mut out: BTreeMap<SessionId, Vec<(u64, EntryHash)>> = BTreeMap::new();
    for entry in image.entries() {
        if let Some(Payload::Version(version)) = entry.payload() {
            let named = version.parents.iter();
            parents.extend(named.map(|parent| (version.session, *parent)));
            let node = (entry.header().lamport, entry.hash());
            out.entry(version.session).or_default().push(node);
        }
    }
    for (session, heads) in &mut out {
        heads.retain(|(_, id)| !parents.contains(&(*session, *id)));
        heads.sort_unstable();
    }
    out
}
