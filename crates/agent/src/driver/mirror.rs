//! What a git mirror of this device is made of, as the machine knows it.

use std::sync::Arc;

use ccpeer_core::entry::{ContentRef, Version};
use ccpeer_core::id::{DeviceId, EntryHash, LogId, Seq, SessionId};
use ccpeer_core::lineage::{Document, SessionRecord, VersionNode};
use ccpeer_core::sharing::{Share, Sharing};

use super::Driver;
use crate::view;

/// Everything that this device says, and may mirror.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) me: DeviceId,
    /// What it calls itself.
    pub(crate) name: String,
    /// Its logs, those of its former keys among them, and how far they go.
    pub(crate) logs: Vec<(LogId, Seq)>,
    /// Who may read what is encrypted: this device and those that are trusted.
    pub(crate) readers: Vec<DeviceId>,
    pub(crate) sessions: Vec<OutSession>,
    /// What others may have of them.
    pub(crate) sharing: Arc<Sharing>,
}

/// A session that this device has written of.
#[derive(Debug, Clone)]
pub(crate) struct OutSession {
    pub(crate) session: SessionId,
    /// The lines that it wrote itself; the newest last.
    pub(crate) heads: Vec<OutHead>,
    /// A process here has it open, as far as is known.
    pub(crate) open: bool,
    /// A list of what is unfinished would show it.
    pub(crate) unfinished: bool,
}

/// The newest version of a line.
#[derive(Debug, Clone)]
pub(crate) struct OutHead {
    pub(crate) id: EntryHash,
    pub(crate) log: LogId,
    pub(crate) seq: Seq,
    pub(crate) version: Version,
    /// The better document, if there is one for this very version.
    pub(crate) document: Option<ContentRef>,
}

/// A version that somebody else may have stated already.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) session: SessionId,
    /// The entry that said it elsewhere, if one did.
    pub(crate) version: Option<EntryHash>,
    pub(crate) manifest: Option<ContentRef>,
    pub(crate) snapshot: Option<ContentRef>,
}

impl Driver {
    /// Whether a version of the session is this one, or says just the same; a mere
    /// document says nothing new of a session that is here.
    pub(super) fn is_said(&self, candidate: &Candidate) -> bool {
        let Some(record) = self.machine.session(&candidate.session) else {
            return false;
        };
        if candidate.manifest.is_none() {
            let same = |n: &VersionNode| {
                n.version.manifest.is_some() || n.version.snapshot == candidate.snapshot
            };
            return record.nodes().any(same);
        }
        let whole = |n: &VersionNode| n.version.roots().all(|r| self.machine.is_complete(&r));
        let mut nodes = record.nodes().filter(|n| whole(n));
        nodes.any(|n| Some(n.id) == candidate.version || n.version.manifest == candidate.manifest)
    }

    pub(super) fn outgoing(&self) -> Outgoing {
        let me = self.shared.me;
        let own = |d: &DeviceId| self.machine.current(d) == me;
        let frontier = self.machine.frontier().0;
        let logs = frontier.into_iter();
        let logs = logs.filter(|(log, _)| own(&log.device) && !log.is_kept());
        let sharing = self.machine.sharing();
        let trusted = self.machine.trusted().copied();
        let sessions = self.machine.sessions().filter_map(|(session, record)| {
            let nodes = record.lines().into_iter();
            let shown = |n| self.shown_node(record, n);
            let nodes: Vec<_> = nodes
                .filter(|n| own(&n.log.device) && sharing.of(session) != Share::Local)
                .filter_map(shown)
                .collect();
            let newest = self.heads(record).into_iter().rev().find(|h| h.from_me);
            let unfinished = newest.is_some_and(|h| view::is_unfinished(h.state, &h.version.meta));
            (!nodes.is_empty()).then(|| OutSession {
                session: *session,
                open: self.open.contains_key(session) || self.state_here(session).is_open(),
                unfinished,
                heads: nodes
                    .iter()
                    .map(|n| OutHead {
                        id: n.id,
                        log: n.log,
                        seq: n.seq,
                        version: n.version.clone(),
                        document: record.document(n).map(|d: &Document| d.snapshot),
                    })
                    .collect(),
            })
        });
        Outgoing {
            me,
            name: self.bare_name(&me),
            logs: logs.collect(),
            readers: std::iter::once(me).chain(trusted).collect(),
            sessions: sessions.collect(),
            sharing: Arc::clone(sharing),
        }
    }

    /// A version as others know it, if they do.
    fn shown_node<'a>(
        &self,
        record: &'a SessionRecord,
        node: &'a VersionNode,
    ) -> Option<&'a VersionNode> {
        if node.log.is_kept() {
            return record.node(&self.machine.shown_form(&node.id)?);
        }
        let kept = |root| self.machine.is_withheld(&root);
        (!node.roots().any(kept)).then_some(node)
    }
}
