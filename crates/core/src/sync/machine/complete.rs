//! The machine's talk about what is whole: here, and at its peers. As a link
//! begins the two compare digests, and name only what lies in parts that differ;
//! after that each root is named as it becomes whole.

use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::Machine;
use crate::digest::{Digests, Parts};
use crate::id::{DeviceId, LogId, Seq, SessionId};
use crate::limits;
use crate::lineage::{SessionRecord, VersionNode};
use crate::manifest::Want;
use crate::sync::effect::{Effect, Notice};
use crate::sync::ledger::Naming;
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
    pub(super) fn say_digests(&self, to: DeviceId, out: &mut Vec<Effect>) {
        let roots = self.complete_for(&to);
        if !roots.is_empty() {
            out.push(Effect::Send(to, Message::Digests(Digests::of(&roots))));
        }
    }

    /// A peer's digests: where ours are the same, it holds what we hold, and what
    /// it holds in the other parts it is asked for. Once for each link, because
    /// ours cost more than theirs.
    pub(super) fn compare(&mut self, from: DeviceId, theirs: &Digests, out: &mut Vec<Effect>) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        if core::mem::replace(&mut peer.compared, true) {
            return;
        }
        let mut roots = self.complete_for(&from);
        let unlike = Digests::of(&roots).unlike(theirs);
        #[cfg(feature = "mutants")]
        let unlike = match self.ledger.planted {
            Some(crate::mutant::Mutant::DigestsIgnored) => Parts::default(),
            _ => unlike,
        };
        roots.retain(|root| !unlike.has(root));
        self.hear_complete(from, &roots, out);
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
        let mut roots = self.complete_for(&to);
        roots.retain(|root| parts.has(root));
        for some in roots.chunks(limits::MESSAGE_ENTRIES_MAX) {
            out.push(Effect::Send(to, Message::Complete(some.to_vec())));
        }
    }

    /// What is whole here of the heads, and of what comes with them, as far as a
    /// peer may be told of it: newest first, and no more than
    /// [`limits::HINTS_AT_START_MAX`].
    fn complete_for(&self, to: &DeviceId) -> Vec<Want> {
        let records = self.ledger.sessions();
        let heads = records.flat_map(|(session, record)| {
            let heads = record.heads().into_iter();
            heads.map(move |head| (session, record, head))
        });
        let mut heads: Vec<_> = heads
            .filter(|(_, _, head)| self.ledger.may_tell(to, &head.log))
            .collect();
        heads.sort_unstable_by_key(|(_, _, head)| Reverse(head.lamport));
        let mut roots: Vec<Want> = Vec::new();
        for alike in heads.chunk_by(|(_, _, a), (_, _, b)| a.lamport == b.lamport) {
            let begin = roots.len();
            for (session, record, head) in alike {
                self.complete_of(to, **session, record, head, &mut roots);
            }
            if let Some(new) = roots.get_mut(begin..) {
                new.sort_unstable();
            }
            if roots.len() >= limits::HINTS_AT_START_MAX {
                break;
            }
        }
        roots.truncate(limits::HINTS_AT_START_MAX);
        roots
    }

    fn complete_of(
        &self,
        to: &DeviceId,
        session: SessionId,
        record: &SessionRecord,
        head: &VersionNode,
        roots: &mut Vec<Want>,
    ) {
        let document = record.nearest_document(&head.id);
        let document = document.map(|(_, d)| (d.order.log, d.order.seq, d.root()));
        let capsule = record.nearest_capsule(&head.id);
        let capsule = capsule.map(|(_, c)| (c.order.log, c.order.seq, c.root()));
        let own = head.roots().map(|root| (head.log, head.seq, root));
        let told = |(log, seq, root): &(LogId, Seq, Want)| {
            let naming = Naming {
                session,
                log: *log,
                seq: *seq,
            };
            self.ledger.may_name(to, &naming, root) && self.is_complete(root)
        };
        let all = own.chain(document).chain(capsule).filter(told);
        roots.extend(all.map(|(_, _, root)| root));
    }
}
