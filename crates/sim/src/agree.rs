//! L1 and what belongs to it: once everything works again, all who may exchange
//! something hold the same, within bounded time.

use std::collections::{HashMap, VecDeque};

use ccpeer_core::entry::{Payload, Version};
use ccpeer_core::id::{DeviceId, EntryHash, LogId};
use ccpeer_core::limits;
use ccpeer_core::lineage::{SessionRecord, VersionNode};
use ccpeer_core::sharing::Share;

use crate::swarm::{FaultKind, Habit};
use crate::world::{Device, HEAL_MS_MAX, World};

/// What a world needs beyond two rounds for each hop: devices that start late,
/// links that are dialled, and disks and networks as slow as they come.
const HEAL_SLACK_MS: u64 = 60_000;

impl World {
    /// How long a healed world may take: two rounds of frontiers for each hop,
    /// where nothing happened that takes a slower pace.
    pub(crate) fn heal_bound(&self) -> u64 {
        let slow_pace = [FaultKind::Clone, FaultKind::BitFlip, FaultKind::DiskFull];
        if slow_pace.iter().any(|kind| self.options.has(*kind)) || self.options.hostile.is_some() {
            return HEAL_MS_MAX;
        }
        2 * limits::HAVE_INTERVAL_MS * self.diameter().max(1) + HEAL_SLACK_MS
    }

    /// Hops between the two devices that are furthest apart, of those that reach
    /// each other at all.
    pub(crate) fn diameter(&self) -> u64 {
        let honest = self.honest();
        let mut widest = 0;
        for from in &honest {
            let mut hops = vec![u64::MAX; self.devices.len()];
            hops[*from] = 0;
            let mut next = VecDeque::from([*from]);
            while let Some(at) = next.pop_front() {
                widest = widest.max(hops[at]);
                for to in &honest {
                    if hops[*to] == u64::MAX && self.can_talk(at, *to) {
                        hops[*to] = hops[at] + 1;
                        next.push_back(*to);
                    }
                }
            }
        }
        widest
    }

    /// L1: why the world does not agree yet, if it does not.
    pub(crate) fn disagreement(&self) -> Option<String> {
        let honest = self.honest();
        if let Some(off) = honest.iter().find(|d| self.devices[**d].machine.is_none()) {
            return Some(format!("device {off} is off"));
        }
        for from in honest.iter().copied() {
            for to in honest.iter().copied() {
                if to == from || !self.can_talk(from, to) {
                    continue;
                }
                let why = self
                    .log_lacks(from, to)
                    .or_else(|| self.chunk_lacks(from, to))
                    .or_else(|| self.trust_lacks(from, to))
                    .or_else(|| self.head_lacks(from, to))
                    .or_else(|| self.name_lacks(from, to))
                    .or_else(|| self.alarm_lacks(from, to));
                if why.is_some() {
                    return why;
                }
            }
        }
        None
    }

    fn can_talk(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.devices[a], &self.devices[b]);
        let takes = |one: &Device, other: &Device| {
            one.model.trusts(&one.id, &other.id) && !one.model.out.contains(&other.id)
        };
        takes(a, b) && takes(b, a)
    }

    /// Whether `from` may tell `to` what a device says, and `to` wants to hear it.
    fn may_pass(&self, from: usize, to: usize, author: &DeviceId) -> bool {
        let (giver, taker) = (&self.devices[from], &self.devices[to]);
        let mutual = giver.model.trusts(&taker.id, author) && giver.model.trusts(author, &taker.id);
        let told = *author == giver.id || *author == taker.id || mutual;
        // Of whoever is out at the giver's nothing is passed on; of whoever is out at
        // the taker's nothing is taken.
        let out = giver.model.out.contains(author)
            || giver.model.revoked.contains(&(giver.id, *author))
            || taker.model.out.contains(author);
        let wanted = *author == taker.id || taker.model.trusts(&taker.id, author);
        told && wanted && (!out || *author == taker.id)
    }

    /// Whether a device writes so much that there is no room for all of it, and never
    /// ends.
    fn floods(&self, author: &DeviceId) -> bool {
        let habits = self.options.hostile.as_ref();
        self.is_hostile(author) && habits.is_some_and(|h| h.contains(&Habit::Flood))
    }

    /// An entry that `from` holds and that `to` should hold and does not.
    fn log_lacks(&self, from: usize, to: usize) -> Option<String> {
        let (giver, taker) = (&self.devices[from], &self.devices[to]);
        for (log, held) in &giver.disk.durable.logs {
            let lacks = taker.disk.durable.logs.get(log).map_or(0, Vec::len);
            if log.is_kept() {
                continue;
            }
            if lacks >= held.len()
                || !self.may_pass(from, to, &log.device)
                || self.floods(&log.device)
                || !self.is_prefix(to, from, log)
            {
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
        let (holds, wants) = (giver.machine.as_ref()?, taker.machine.as_ref()?);
        let lacks = |node: &VersionNode| {
            // Whoever may not know of the version says nothing of it, but a giver
            // who holds its entry is a giver of its chunks. Of a flood there is always
            // something that was said a moment ago.
            let told = self.may_pass(from, to, &node.log.device)
                && !self.floods(&node.log.device)
                && holds.version_of(&node.id).is_some();
            node.roots()
                .filter(|_| told)
                .filter(|root| !holds.is_withheld(root))
                .find(|root| holds.is_complete(root) && !wants.is_complete(root))
        };
        // What is told of a head is told of the document that goes with it.
        let lacks_document = |record: &SessionRecord, head: &VersionNode| {
            let (of, document) = record.nearest_document(&head.id)?;
            let root = document.root();
            let told = self.may_pass(from, to, &of.log.device)
                && !self.floods(&of.log.device)
                && holds.version_of(&of.id).is_some()
                && holds.is_complete(&root)
                && !holds.is_withheld(&root)
                && !wants.is_complete(&root);
            told.then_some(root)
        };
        for (session, record) in wants.sessions() {
            let lost = |head| lacks(head).or_else(|| lacks_document(record, head));
            if let Some(root) = record.heads().into_iter().find_map(lost) {
                return Some(format!(
                    "device {to} lacks {root:?} of {session:?}, which {from} holds whole"
                ));
            }
        }
        None
    }

    /// What a device calls itself, as the other one knows it (K-D06).
    fn name_lacks(&self, from: usize, to: usize) -> Option<String> {
        // A name that was said in a lost branch may be the newer one for those who
        // hold that branch.
        if self.devices[from].may_fork {
            return None;
        }
        let id = self.devices[from].id;
        let said = self.devices[from].machine.as_ref()?.device_info(&id);
        let known = self.devices[to].machine.as_ref()?.device_info(&id);
        (said != known).then(|| format!("device {to} knows {from} by another name"))
    }

    /// Two branches of a log, one here and one there, of which nobody was told
    /// (K-N14, K-D05).
    fn alarm_lacks(&self, from: usize, to: usize) -> Option<String> {
        let (a, b) = (&self.devices[from], &self.devices[to]);
        for (log, held) in &a.disk.durable.logs {
            let Some(other) = b.disk.durable.logs.get(log) else {
                continue;
            };
            let differ = held.iter().zip(other).any(|(x, y)| x.hash() != y.hash());
            if !differ || log.is_kept() || !self.may_pass(from, to, &log.device) {
                continue;
            }
            if !b.reported.contains(log) {
                return Some(format!(
                    "device {to} was not told that {log:?} has two branches"
                ));
            }
        }
        None
    }

    /// What every device holds, without anything that follows from a wall clock:
    /// versions go by their number and not by their hash (K-D04).
    pub(crate) fn holdings(&self) -> Vec<String> {
        let honest = self.honest();
        honest.iter().filter_map(|d| self.holding(*d)).collect()
    }

    fn holding(&self, device: usize) -> Option<String> {
        let d = &self.devices[device];
        let machine = d.machine.as_ref()?;
        let mut names: HashMap<EntryHash, (LogId, u64)> = HashMap::new();
        for entry in d.disk.durable.entries() {
            names.insert(entry.hash(), (entry.log(), entry.seq().0));
        }
        let name = |id: &EntryHash| names.get(id).copied();
        let mut out = String::new();
        for entry in d.disk.durable.entries() {
            let (header, payload) = (entry.header(), entry.payload());
            let place = (entry.log(), header.seq, header.lamport);
            let said = match payload {
                Some(Payload::Version(version)) => {
                    let parents: Vec<_> = version.parents.iter().map(name).collect();
                    let plain = Version {
                        parents: Vec::new(),
                        ..version.clone()
                    };
                    format!("{plain:?} {parents:?}")
                }
                Some(Payload::Enriched(e)) => {
                    format!("{:?} {:?} {:?}", e.session, e.snapshot, name(&e.version))
                }
                other => format!("{other:?}"),
            };
            out.push_str(&format!("{place:?} {said}\n"));
        }
        for (session, record) in machine.sessions() {
            let mut heads: Vec<_> = record.heads().iter().map(|h| name(&h.id)).collect();
            heads.sort();
            let states: Vec<_> = record.states().map(|(d, state, _)| (*d, state)).collect();
            let state = record.state().map(|(d, state, _)| (d, state));
            let mark = record.mark();
            let mut documents: Vec<_> = record
                .heads()
                .into_iter()
                .filter_map(|h| record.nearest_document(&h.id))
                .map(|(of, d)| (name(&of.id), d.snapshot))
                .collect();
            documents.sort();
            out.push_str(&format!(
                "{session:?} {heads:?} {state:?} {states:?} {mark:?} {} {documents:?}\n",
                record.done()
            ));
        }
        let infos = machine.trusted().map(|t| machine.device_info(t));
        out.push_str(&format!("{:?}\n", infos.collect::<Vec<_>>()));
        out.push_str(&format!("{:?}\n", d.disk.durable.complete));
        Some(out)
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
            let share = self.devices[from].sharing.of(session);
            for head in record.heads() {
                if head.log.device != giver.me() || !giver.is_here(head) || share == Share::Local {
                    continue;
                }
                // Of some, others know the document alone.
                let manifest = head.version.manifest.filter(|_| share == Share::Whole);
                // Of two devices that share a key, one may have shown whole what the
                // other shows the document of.
                let same = |n: &VersionNode| {
                    n.id == head.id
                        || (n.version.manifest == manifest
                            && n.version.snapshot == head.version.snapshot)
                };
                // What the taker would hold of it, be it without what it says.
                let shown = giver.shown_form(&head.id);
                let told = shown.and_then(|id| giver.version_of(&id)).unwrap_or(head);
                if !taker.session(session).is_some_and(|r| r.nodes().any(same))
                    && !self.is_withheld_by_twin(from, to, told)
                {
                    return Some(format!(
                        "device {to} never heard of {:?} of {from}",
                        head.id
                    ));
                }
            }
        }
        None
    }

    /// Whether `to` holds a version without what it says, and another device that
    /// has the key of `from` may have chosen that: it is the same author to others.
    fn is_withheld_by_twin(&self, from: usize, to: usize, version: &VersionNode) -> bool {
        let id = self.devices[from].id;
        let twins = self.devices.iter().filter(|d| d.id == id).count();
        let held = self.devices[to].disk.durable.logs.get(&version.log);
        let held = held.and_then(|log| log.iter().find(|e| e.hash() == version.id));
        twins > 1 && held.is_some_and(|entry| self.is_withheld_by_author(entry))
    }
}
