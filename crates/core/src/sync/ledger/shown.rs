//! What of the entries is for others: which logs they hear of, where we state what,
//! and in which form they know a version that is kept here. It decides by
//! [`Sharing`] and the entries alone.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Ledger, Naming};
use crate::entry::Payload;
use crate::id::{DeviceId, EntryHash, LogId, SessionId};
use crate::limits;
use crate::lineage::{SessionRecord, VersionNode};
use crate::manifest::{Want, WantKind};
use crate::sharing::{Share, Sharing};

impl Ledger {
    /// Whether `peer` may be told of a log at all.
    pub(crate) fn may_tell(&self, peer: &DeviceId, log: &LogId) -> bool {
        #[cfg(feature = "mutants")]
        if self.planted == Some(crate::mutant::Mutant::LocalServed) && log.is_kept() {
            return true;
        }
        let closed = self.sharing.closed && self.is_me(&log.device);
        !log.is_kept() && !closed && self.entitled(peer, &log.device)
    }

    /// Whether `peer` may be told that a root is whole here because of a statement
    /// that names it.
    pub(crate) fn may_name(&self, peer: &DeviceId, naming: &Naming, root: &Want) -> bool {
        self.may_tell(peer, &naming.log) && self.is_shown(naming, root)
    }

    /// Whether what a statement names is for others.
    fn is_shown(&self, naming: &Naming, root: &Want) -> bool {
        if naming.log.is_kept() {
            return false;
        }
        let share = if self.is_me(&naming.log.device) {
            self.sharing.of(&naming.session)
        } else {
            Share::Whole
        };
        match share {
            Share::Whole => true,
            Share::Document => root.kind == WantKind::Data,
            Share::Local => false,
        }
    }

    /// Whether a root is named by statements of ours alone that are not for others.
    pub(crate) fn is_withheld(&self, root: &Want) -> bool {
        let mut namings = self.namings(root).peekable();
        namings.peek().is_some() && !namings.any(|n| self.is_shown(&n, root))
    }

    /// All such roots.
    pub(crate) fn withheld(&self) -> impl Iterator<Item = Want> + '_ {
        let none = self.sharing.is_plain() && !self.logs.keys().any(LogId::is_kept);
        let roots = self.by_root.keys().chain(self.by_document.keys());
        let roots = roots.take(if none { 0 } else { usize::MAX });
        roots.filter(|root| self.is_withheld(root)).copied()
    }

    /// What is to be left out of a log when it is read to others.
    pub(crate) fn withholding(&self, log: &LogId) -> Option<Arc<Sharing>> {
        #[cfg(feature = "mutants")]
        if self.planted == Some(crate::mutant::Mutant::TightenedServed) {
            return None;
        }
        let some = self.is_me(&log.device) && self.sharing.keeps_any();
        some.then(|| Arc::clone(&self.sharing))
    }

    /// Where we state something: what is not for others stays in a log of its own.
    pub(crate) fn log_for(&self, payload: &Payload) -> LogId {
        let share = payload.session().map(|session| self.sharing.of(&session));
        let shown = match share {
            None | Some(Share::Whole) => true,
            Some(Share::Local) => false,
            Some(Share::Document) => match payload {
                Payload::Version(version) => version.manifest.is_none(),
                Payload::Enriched(enriched) => self
                    .version(&enriched.version)
                    .is_none_or(|node| !node.log.is_kept()),
                // It is worth more than the transcript.
                Payload::Capsule(_) => false,
                Payload::Device(_)
                | Payload::Trust(_)
                | Payload::Presence(_)
                | Payload::Mark(_)
                | Payload::Claim(_)
                | Payload::Roll(_) => true,
            },
        };
        if shown {
            self.own_log()
        } else {
            LogId::kept(self.me)
        }
    }

    /// Whether a head of ours is to be said again: it was said in an epoch that is
    /// over, or others may have more of it, or less, than the last word about it
    /// gave them, or that word may have gone to somebody without what it says.
    pub(super) fn is_due(&self, record: &SessionRecord, head: &VersionNode, share: Share) -> bool {
        if !self.is_me(&head.log.device) {
            return false;
        }
        let old = self.is_over(&head.log);
        match share {
            Share::Local => false,
            _ if head.log == self.own_log() && record.was_closed_after(head) => true,
            Share::Whole if head.log.is_kept() => true,
            Share::Document if head.log.is_kept() => self
                .shown_form(record, head)
                .is_none_or(|n| self.is_over(&n.log) || record.was_closed_after(n)),
            Share::Document if head.version.manifest.is_some() => {
                head.log.device == self.me && (!old || !self.is_said(record, head))
            }
            Share::Whole | Share::Document => old && !self.is_said(record, head),
        }
    }

    /// Whether a log is ours, of an epoch that is over.
    pub(super) fn is_over(&self, log: &LogId) -> bool {
        log.device == self.me && log.epoch != self.epoch
    }

    /// Whether a session that is local now has versions that others may hold, and
    /// nothing in the log that is kept tells yet that it was closed after them. Who
    /// asks from now on gets them without what they say, and when the session is
    /// shared again, be it after a restart, they are to be [said again](Self::is_due).
    pub(super) fn closes(&self, record: &SessionRecord) -> bool {
        let own = self.own_log();
        let open = |n: &VersionNode| n.log == own && !record.was_closed_after(n);
        !self.sharing.closed && record.nodes().any(open)
    }

    /// What others are shown in the place of a version that is kept here: its
    /// document alone, stated right before it.
    pub(crate) fn shown_form<'a>(
        &self,
        record: &'a SessionRecord,
        kept: &VersionNode,
    ) -> Option<&'a VersionNode> {
        let parents = kept.version.parents.iter().rev();
        parents.filter_map(|p| record.node(p)).find(|n| {
            !n.log.is_kept()
                && self.is_me(&n.log.device)
                && n.version.manifest.is_none()
                && n.version.snapshot == kept.version.snapshot
        })
    }

    /// The nearest versions that others know, on the lines that these end.
    pub(crate) fn shown_before(&self, session: &SessionId, ids: &[EntryHash]) -> Vec<EntryHash> {
        let Some(record) = self.sessions.get(session) else {
            return ids.to_vec();
        };
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        let mut next: Vec<EntryHash> = ids.iter().rev().copied().collect();
        while let Some(id) = next.pop() {
            if !seen.insert(id) {
                continue;
            }
            match record.node(&id).filter(|n| n.log.is_kept()) {
                None => found.push(id),
                Some(kept) => match self.shown_form(record, kept) {
                    Some(shown) => next.push(shown.id),
                    None => next.extend(kept.version.parents.iter().rev()),
                },
            }
        }
        let last = found.clone();
        found.retain(|id| !last.iter().any(|other| record.is_ancestor(id, other)));
        found.truncate(limits::PARENTS_MAX);
        found
    }
}
