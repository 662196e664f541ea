//! What one peer may be told to be whole here, in the form in which it is compared
//! with what the peer tells.

use alloc::vec::Vec;

use crate::digest::{Digests, Parts};
use crate::id::EntryHash;
use crate::manifest::Want;

/// The roots that a peer may be told of as a link begins.
#[derive(Debug)]
pub(crate) struct Told {
    /// Ascending, each once.
    roots: Vec<Want>,
    digests: Digests,
    /// Versions of ours of which all is among them, and the parts it lies in.
    own: Vec<(EntryHash, Parts)>,
}

impl Told {
    pub(crate) fn new(mut roots: Vec<Want>, own: Vec<(EntryHash, Parts)>) -> Self {
        roots.sort_unstable();
        roots.dedup();
        roots.shrink_to_fit();
        let digests = Digests::of_sorted(&roots);
        Self {
            roots,
            digests,
            own,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    pub(crate) fn has(&self, root: &Want) -> bool {
        self.roots.binary_search(root).is_ok()
    }

    pub(crate) fn digests(&self) -> &Digests {
        &self.digests
    }

    /// The versions of ours that a peer holds whose digests differ in these parts.
    pub(crate) fn own_but(&self, unlike: Parts) -> impl Iterator<Item = EntryHash> {
        let all = self.own.iter();
        let alike = all.filter(move |(_, parts)| parts.without(unlike) == *parts);
        alike.map(|(id, _)| *id)
    }
}
