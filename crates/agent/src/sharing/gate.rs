//! What may be served to others, for whoever reads from the store beside the
//! driver: content that is asked for by its id, and ranges of our own log. It is
//! told by the driver, before anything that is new may leave.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use ccpeer_core::entry::{SignedEntry, device_of};
use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::manifest::{Want, WantKind};
use ccpeer_core::sharing::Sharing;
use ccpeer_core::sync::machine::Machine;
use ccpeer_store::Store;
use ed25519_dalek::SigningKey;

/// The gate.
pub(crate) struct Gate {
    /// Of this device, those that it used before among them: what is withheld is
    /// signed anew.
    keys: BTreeMap<DeviceId, SigningKey>,
    guarded: RwLock<Guarded>,
}

#[derive(Debug, Default)]
struct Guarded {
    sharing: Arc<Sharing>,
    /// Manifests and documents that are not for others.
    roots: BTreeSet<ChunkId>,
    /// What lies below those of them that others were shown once.
    below: BTreeSet<ChunkId>,
}

/// What the machine knows of manifests, for the gate.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    /// Others were shown these, and may not have them any more.
    tightened: Vec<Want>,
    /// Others may have these.
    open: Vec<Want>,
}

impl Manifests {
    pub(crate) fn of(machine: &Machine) -> Self {
        let mut all = Self::default();
        let mut tightened = BTreeSet::new();
        let mut open = BTreeSet::new();
        if machine.withheld().next().is_none() {
            return all;
        }
        for (_, record) in machine.sessions() {
            let versions = record.nodes().filter_map(|node| {
                let manifest = node.version.manifest?;
                Some((Want::manifest(manifest.id), node.log))
            });
            let capsules = record.capsules().map(|c| (c.root(), c.order.log));
            for (manifest, log) in versions.chain(capsules) {
                if !machine.is_withheld(&manifest) {
                    open.insert(manifest);
                } else if !log.is_kept() {
                    tightened.insert(manifest);
                }
            }
        }
        if !tightened.is_empty() {
            all.tightened = tightened.into_iter().collect();
            all.open = open.into_iter().collect();
        }
        all
    }
}

impl Gate {
    pub(crate) fn new(keys: impl IntoIterator<Item = SigningKey>) -> Self {
        let keys = keys.into_iter().map(|key| (device_of(&key), key));
        Self {
            keys: keys.collect(),
            guarded: RwLock::default(),
        }
    }

    /// Entries of our own as others may see them today, up to the first one that
    /// cannot be shown; `also`: by what was so when they were asked for.
    pub(crate) fn shown(
        &self,
        entries: Vec<SignedEntry>,
        also: Option<&Sharing>,
    ) -> Vec<SignedEntry> {
        let today = self.sharing();
        if today.closed {
            return Vec::new();
        }
        let withheld = |e: &SignedEntry| today.withholds(e) || also.is_some_and(|s| s.withholds(e));
        let shown = entries.into_iter().map_while(|entry| {
            if !withheld(&entry) {
                return Some(entry);
            }
            self.keys.values().find_map(|key| entry.withheld(key))
        });
        shown.collect()
    }

    /// What holds from now on. Everything below what was tightened is closed until
    /// [`Gate::let_through`] has found what else names it. Reads the store.
    pub(crate) fn close(&self, machine: &Machine, manifests: &Manifests, store: &Store) {
        let (sharing, roots) = roots_of(machine);
        self.close_below(sharing, roots, manifests, store);
    }

    /// The same, where the machine cannot be waited for.
    pub(crate) fn close_below(
        &self,
        sharing: Arc<Sharing>,
        roots: BTreeSet<ChunkId>,
        manifests: &Manifests,
        store: &Store,
    ) {
        let mut below = BTreeSet::new();
        for manifest in &manifests.tightened {
            each_below(*manifest, store, |id| {
                below.insert(id);
            });
        }
        let mut guarded = self.guarded.write().unwrap_or_else(PoisonError::into_inner);
        *guarded = Guarded {
            sharing,
            roots,
            below,
        };
    }

    /// Takes over what holds, before what lies below is looked for: nothing that was
    /// closed opens by it.
    pub(crate) fn tell(&self, sharing: Arc<Sharing>, roots: &BTreeSet<ChunkId>) {
        let mut guarded = self.guarded.write().unwrap_or_else(PoisonError::into_inner);
        guarded.sharing = sharing;
        guarded.roots.extend(roots);
    }

    /// A root that was just stated for this device alone.
    pub(crate) fn keep(&self, ids: impl IntoIterator<Item = ChunkId>) {
        let mut guarded = self.guarded.write().unwrap_or_else(PoisonError::into_inner);
        guarded.roots.extend(ids);
    }

    /// Roots that others may have by now.
    pub(crate) fn release(&self, ids: impl IntoIterator<Item = ChunkId>) {
        let closed = {
            let guarded = self.guarded.read().unwrap_or_else(PoisonError::into_inner);
            let held = ids.into_iter().filter(|id| guarded.roots.contains(id));
            held.collect::<Vec<_>>()
        };
        if !closed.is_empty() {
            let mut guarded = self.guarded.write().unwrap_or_else(PoisonError::into_inner);
            guarded.roots.retain(|id| !closed.contains(id));
        }
    }

    /// What others may have is let through, although something tightened consists of
    /// it, too. Reads the store; takes long where much is held, and nothing where
    /// nothing was tightened.
    pub(crate) fn let_through(&self, manifests: &[Want], store: &Store) {
        for manifest in manifests {
            if !self.is_closed_below() {
                return;
            }
            let mut open = BTreeSet::new();
            each_below(*manifest, store, |id| {
                open.insert(id);
            });
            let mut guarded = self.guarded.write().unwrap_or_else(PoisonError::into_inner);
            guarded.below.retain(|id| !open.contains(id));
        }
    }

    /// Whether something below a manifest is kept back.
    pub(crate) fn is_closed_below(&self) -> bool {
        let guarded = self.guarded.read().unwrap_or_else(PoisonError::into_inner);
        !guarded.below.is_empty()
    }

    /// Whether a chunk may be given to others.
    pub(crate) fn serves(&self, id: &ChunkId) -> bool {
        let guarded = self.guarded.read().unwrap_or_else(PoisonError::into_inner);
        !(guarded.sharing.closed || guarded.roots.contains(id) || guarded.below.contains(id))
    }

    /// What of our sessions others may have.
    pub(crate) fn sharing(&self) -> Arc<Sharing> {
        let guarded = self.guarded.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&guarded.sharing)
    }
}

impl Manifests {
    pub(crate) fn into_open(self) -> Vec<Want> {
        self.open
    }
}

/// What the machine says about roots.
pub(crate) fn roots_of(machine: &Machine) -> (Arc<Sharing>, BTreeSet<ChunkId>) {
    let roots = machine.withheld().map(|root| root.id);
    let roots = roots.filter(|id| machine.is_kept_back(id)).collect();
    (Arc::clone(machine.sharing()), roots)
}

/// Everything that a manifest refers to, as far as it is here.
fn each_below(manifest: Want, store: &Store, mut tell: impl FnMut(ChunkId)) {
    let mut unread = vec![manifest];
    while let Some(want) = unread.pop() {
        let content = store.get_chunk(&want.id).ok().flatten();
        let children = content.and_then(|bytes| want.children(&bytes).ok());
        for child in children.unwrap_or_default() {
            tell(child.id);
            if child.kind != WantKind::Data {
                unread.push(child);
            }
        }
    }
}
