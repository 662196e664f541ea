//! The machine's talk about what is whole: here, and at its peers. As a link
//! begins the two compare digests, and name only what lies in parts that differ;
//! after that each root is named as it becomes whole.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::Machine;
use crate::digest::{Digests, Parts};
use crate::id::{DeviceId, EntryHash, LogId, Seq, SessionId};
use crate::limits;
use crate::lineage::{SessionRecord, VersionNode};
use crate::manifest::Want;
use crate::sync::effect::{Effect, Notice};
use crate::sync::ledger::Naming;
use crate::sync::peers::Peer;
use crate::sync::told::Told;
use crate::wire::Message;

impl Machine {
    /// A root became whole here: those who may know are told.
    pub(super) fn tell_complete(&self, root: &Want, out: &mut Vec<Effect>) {
        for device in self.peers.keys() {
            let told = self
                .ledger
                .namings(root)
                .any(|n| self.ledger.may_name(device, &n, root));
            if told {
                out.push(Effect::Send(*device, Message::Complete(vec![*root])));
            }
        }
    }

    /// A peer names what is whole there.
    pub(super) fn hear_complete(&mut self, from: DeviceId, roots: &[Want], out: &mut Vec<Effect>) {
        for root in roots {
            let Some(peer) = self.peers.get_mut(&from) else {
                return;
            };
            if !peer.note_complete(*root) {
                continue;
            }
            self.fetch.hint(&from, root);
            let Some(peer) = self.peers.get(&from) else {
                return;
            };
            for version in self.ledger.versions_of_root(root) {
                if self.ledger.is_me(&version.log.device)
                    && version.roots().all(|r| peer.has_complete(&r))
                {
                    out.push(Effect::Notice(Notice::Replicated(from, version.id)));
                }
            }
        }
    }

    /// A link begins: the digests of what the peer may be told.
    pub(super) fn say_digests(&mut self, to: DeviceId, out: &mut Vec<Effect>) {
        let told = self.told_to(&to);
        if !told.is_empty() {
            out.push(Effect::Send(to, Message::Digests(told.digests().clone())));
        }
    }

    /// A peer's digests: where ours are the same, it holds what we hold, and what
    /// it holds in the other parts it is asked for. Once for each link, because
    /// ours cost more than theirs.
    pub(super) fn compare(&mut self, from: DeviceId, theirs: &Digests, out: &mut Vec<Effect>) {
        if self.peers.get(&from).is_none_or(Peer::is_compared) {
            return;
        }
        let told = self.told_to(&from);
        let unlike = told.digests().unlike(theirs);
        #[cfg(feature = "mutants")]
        let unlike = match self.ledger.planted {
            Some(crate::mutant::Mutant::DigestsIgnored) => Parts::default(),
            _ => unlike,
        };
        for version in told.own_but(unlike) {
            out.push(Effect::Notice(Notice::Replicated(from, version)));
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.note_alike(told, unlike);
        }
        if !unlike.is_empty() {
            out.push(Effect::Send(from, Message::Unlike(unlike)));
        }
    }

    /// Names what is whole here in some parts, newest first; each part once for
    /// each link, since what changes later is told as it changes.
    pub(super) fn tell_parts(&mut self, to: DeviceId, parts: Parts, out: &mut Vec<Effect>) {
        let Some(peer) = self.peers.get_mut(&to) else {
            return;
        };
        let parts = parts.without(peer.parts_told);
        peer.parts_told = peer.parts_told.and(parts);
        if parts.is_empty() {
            return;
        }
        let (mut roots, _) = self.complete_for(&to);
        roots.retain(|root| parts.has(root));
        for some in roots.chunks(limits::MESSAGE_ENTRIES_MAX) {
            out.push(Effect::Send(to, Message::Complete(some.to_vec())));
        }
    }

    /// What a peer may be told; worked out once as long as nothing changes, since
    /// it is needed as a link begins, and links come and go.
    fn told_to(&mut self, to: &DeviceId) -> Arc<Told> {
        if let Some((device, told)) = &self.told
            && device == to
        {
            return Arc::clone(told);
        }
        let (roots, own) = self.complete_for(to);
        let told = Arc::new(Told::new(roots, own));
        self.told = Some((*to, Arc::clone(&told)));
        told
    }

    /// What is whole here of the heads, and of what comes with them, as far as a
    /// peer may be told of it: newest first, and no more than
    /// [`limits::HINTS_AT_START_MAX`]. And which versions of ours are whole with it.
    fn complete_for(&self, to: &DeviceId) -> (Vec<Want>, Vec<(EntryHash, Parts)>) {
        let records = self.ledger.sessions();
        // Most heads are beyond the bound: they are put in order by what their
        // record knows, and only those within are looked at.
        let mut heads: Vec<(u64, EntryHash, SessionId, &SessionRecord)> = records
            .flat_map(|(session, record)| {
                let names = record.head_names();
                names.map(move |(lamport, id)| (*lamport, *id, *session, record))
            })
            .collect();
        heads.sort_unstable_by_key(|(lamport, ..)| Reverse(*lamport));
        let (mut roots, mut own): (Vec<Want>, Vec<_>) = (Vec::new(), Vec::new());
        // Heads of one clock have no order: they come together or not at all, so that
        // two who hold the same tell the same.
        for alike in heads.chunk_by(|(a, ..), (b, ..)| a == b) {
            let (begin, begin_own) = (roots.len(), own.len());
            for (_, id, session, record) in alike {
                let head = record.node(id);
                let Some(head) = head.filter(|h| self.ledger.may_tell(to, &h.log)) else {
                    continue;
                };
                let is_whole = self.complete_of(to, *session, record, head, &mut roots);
                if is_whole && self.ledger.is_me(&head.log.device) {
                    own.push((head.id, Parts::of(head.roots())));
                }
            }
            if roots.len() > limits::HINTS_AT_START_MAX {
                roots.truncate(begin);
                own.truncate(begin_own);
                break;
            }
        }
        (roots, own)
    }

    /// Adds what is whole of one head and of what comes with it; whether all of the
    /// head is among it.
    fn complete_of(
        &self,
        to: &DeviceId,
        session: SessionId,
        record: &SessionRecord,
        head: &VersionNode,
        roots: &mut Vec<Want>,
    ) -> bool {
        let is_told = |log: LogId, seq: Seq, root: &Want| {
            let naming = Naming { session, log, seq };
            self.ledger.may_name(to, &naming, root) && self.is_complete(root)
        };
        let mut is_whole = true;
        for root in head.roots() {
            if is_told(head.log, head.seq, &root) {
                roots.push(root);
            } else {
                is_whole = false;
            }
        }
        let document = record.nearest_document(&head.id);
        let document = document.map(|(_, d)| (d.order, d.root()));
        let capsule = record.nearest_capsule(&head.id);
        let capsule = capsule.map(|(_, c)| (c.order, c.root()));
        let beside = document.into_iter().chain(capsule);
        let beside = beside.filter(|(order, root)| is_told(order.log, order.seq, root));
        roots.extend(beside.map(|(_, root)| root));
        is_whole
    }
}
