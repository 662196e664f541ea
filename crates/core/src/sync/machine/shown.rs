//! What of our sessions others may have, as the driver tells it and asks for it. What
//! follows for single entries is the ledger's business.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Machine;
use crate::entry::Version;
use crate::id::{ChunkId, DeviceId, EntryHash, LogId, Seq};
use crate::limits;
use crate::manifest::Want;
use crate::sharing::{Share, Sharing};
use crate::sync::effect::Effect;
use crate::time::Instant;

impl Machine {
    /// To be called between [`Machine::recover`] and [`Machine::start`]: what of our
    /// sessions others may have. Later it is [`Event::Sharing`].
    pub fn set_sharing(&mut self, sharing: Sharing) {
        self.ledger.sharing = Arc::new(sharing);
    }

    /// A version of ours as it is to be stated, and what is to be stated before it
    /// where others are shown something else in its place: its document alone. The
    /// version then gets the name of that as one more parent.
    #[must_use]
    pub fn prepare(&self, mut version: Version) -> (Option<Version>, Version) {
        let share = self.ledger.sharing.of(&version.session);
        if share == Share::Local {
            return (None, version);
        }
        let known = self.ledger.shown_before(&version.session, &version.parents);
        let from = version.derived_from;
        let from = from.filter(|(of, _)| self.ledger.sharing.of(of) != Share::Local);
        if share == Share::Document && version.manifest.is_some() {
            version.parents.truncate(limits::PARENTS_MAX - 1);
            let shown = Version {
                parents: known,
                derived_from: from,
                manifest: None,
                ..version.clone()
            };
            return (Some(shown), version);
        }
        for id in known {
            if !version.parents.contains(&id) && version.parents.len() < limits::PARENTS_MAX {
                version.parents.push(id);
            }
        }
        version.derived_from = from;
        (None, version)
    }

    /// What of our sessions others may have.
    #[must_use]
    pub fn sharing(&self) -> &Arc<Sharing> {
        &self.ledger.sharing
    }

    /// Manifests and documents that are here and not for others, because nothing
    /// names them but what we say of sessions that we share not, or not whole.
    pub fn withheld(&self) -> impl Iterator<Item = Want> + '_ {
        self.ledger.withheld()
    }

    /// Whether a statement of anybody names a chunk as a root.
    #[must_use]
    pub fn is_named(&self, id: &ChunkId) -> bool {
        let named = |root: &Want| self.ledger.namings(root).next().is_some();
        Want::data(*id).all_kinds().any(|root| named(&root))
    }

    /// Whether a chunk is one of them, and nothing else that others may have.
    #[must_use]
    pub fn is_kept_back(&self, id: &ChunkId) -> bool {
        let named = |root: &Want| self.ledger.namings(root).next().is_some();
        let mut roots = Want::data(*id).all_kinds().filter(named).peekable();
        roots.peek().is_some() && roots.all(|root| self.ledger.is_withheld(&root))
    }

    /// Whether a manifest or a document is one of [`Machine::withheld`].
    #[must_use]
    pub fn is_withheld(&self, root: &Want) -> bool {
        self.ledger.is_withheld(root)
    }

    /// What others know in the place of a version that is kept here.
    #[must_use]
    pub fn shown_form(&self, version: &EntryHash) -> Option<EntryHash> {
        let node = self.ledger.version(version).filter(|n| n.log.is_kept())?;
        let record = self.ledger.session(&node.version.session)?;
        Some(self.ledger.shown_form(record, node)?.id)
    }

    /// The linked peers that hold an entry, by their own word.
    #[must_use]
    pub fn knowers(&self, log: &LogId, seq: Seq) -> Vec<DeviceId> {
        let knowers = self.peers.iter().filter(|(_, p)| p.holds(log) >= seq);
        knowers.map(|(d, _)| *d).collect()
    }

    /// What left stays where it is. What is to be said again is for the driver; who
    /// was told nothing at all is told now.
    pub(super) fn share(&mut self, sharing: Sharing, now: Instant, out: &mut Vec<Effect>) {
        let opened = self.ledger.sharing.closed && !sharing.closed;
        self.ledger.sharing = Arc::new(sharing);
        if opened {
            for device in self.peers.keys().copied().collect::<Vec<_>>() {
                self.offer_all(device, now, out);
            }
        }
    }
}
