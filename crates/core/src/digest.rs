//! What two devices hold whole, compared without naming it: a set of roots cut
//! into parts by their hashes, and a digest of each part.
//!
//! Whoever is told digests makes its own of what it would tell in return. Where
//! two are the same, both hold the same; only the parts in which they differ are
//! worth a list. A device that comes back after a night finds nothing or little
//! changed, and what it says about that must not grow with what it holds.

use alloc::boxed::Box;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::manifest::Want;

const CONTEXT: &str = "ccpeer complete digest v1";
/// How many of the first bits of a root's hash say which part it is of.
const PART_BITS: u32 = limits::COMPLETE_PARTS.ilog2();

/// The digest of one part. Two sets of one digest take 2^64 tries to find.
pub type Digest = [u8; limits::COMPLETE_DIGEST_BYTES];

/// The digests of all parts of a set of roots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests(Box<[Digest; limits::COMPLETE_PARTS]>);

/// Some of the parts, one bit each, the first part the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Parts(pub u32);

impl Digests {
    /// Of these roots, whatever their order and however often one comes.
    #[must_use]
    pub fn of(roots: &[Want]) -> Self {
        let mut roots = roots.to_vec();
        roots.sort_unstable();
        roots.dedup();
        Self::of_sorted(&roots)
    }

    /// Of roots that ascend, each of them once.
    pub(crate) fn of_sorted(roots: &[Want]) -> Self {
        let mut digests = [Digest::default(); limits::COMPLETE_PARTS];
        // Roots are sorted by their hashes first, so a part lies in one piece.
        for part in roots.chunk_by(|a, b| part_of(a) == part_of(b)) {
            let Some(place) = part.first().and_then(|r| digests.get_mut(part_of(r))) else {
                continue;
            };
            let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
            for root in part {
                hasher.update(&root.id.0).update(&[root.kind as u8]);
            }
            hasher.finalize_xof().fill(place);
        }
        Self(Box::new(digests))
    }

    /// The parts in which the two differ.
    #[must_use]
    pub fn unlike(&self, other: &Self) -> Parts {
        let both = self.0.iter().zip(other.0.iter()).enumerate();
        let unlike = both.filter(|(_, (a, b))| a != b);
        Parts(unlike.fold(0, |bits, (part, _)| bits | 1 << part))
    }
}

impl Parts {
    /// Those that these roots are of.
    #[must_use]
    pub fn of(roots: impl IntoIterator<Item = Want>) -> Self {
        let parts = roots.into_iter().map(|root| 1 << part_of(&root));
        Self(parts.fold(0, |all, part| all | part))
    }

    /// Whether a root is of one of these.
    #[must_use]
    pub fn has(self, root: &Want) -> bool {
        self.0 & 1 << part_of(root) != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those of these that are not of the others.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// These and the others.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

fn part_of(root: &Want) -> usize {
    let [first, ..] = root.id.0;
    usize::from(first >> (u8::BITS - PART_BITS))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::id::ChunkId;

    fn roots(from: u8, upto: u8) -> Vec<Want> {
        (from..upto)
            .map(|n| Want::manifest(ChunkId([n; 32])))
            .collect()
    }

    #[test]
    fn sets_are_the_same_whatever_their_order() {
        let set = roots(0, 255);
        let mut other: Vec<Want> = set.iter().rev().copied().collect();
        other.push(set[7]);
        assert_eq!(Digests::of(&set), Digests::of(&other));
        assert!(Digests::of(&set).unlike(&Digests::of(&other)).is_empty());
        assert!(Digests::of(&[]).unlike(&Digests::of(&[])).is_empty());
    }

    #[test]
    fn what_differs_shows_in_its_part_alone() {
        let set = roots(0, 200);
        let whole = Digests::of(&set);
        for root in &set {
            let less: Vec<Want> = set.iter().filter(|r| *r != root).copied().collect();
            let unlike = whole.unlike(&Digests::of(&less));
            assert_eq!(unlike.0.count_ones(), 1);
            assert!(unlike.has(root));
            assert_eq!(Digests::of(&less).unlike(&whole), unlike);
            // The same bytes as another thing are another root.
            let mut kind = less;
            kind.push(Want::data(root.id));
            assert_eq!(whole.unlike(&Digests::of(&kind)), unlike);
        }
    }

    #[test]
    fn parts_are_sets() {
        let [low, high] = [0, 255].map(|n| Want::data(ChunkId([n; 32])));
        assert!(Parts(1).has(&low) && !Parts(1).has(&high));
        assert!(Parts(1 << 31).has(&high));
        assert_eq!(Parts(7).without(Parts(2)), Parts(5));
        assert_eq!(Parts(5).and(Parts(2)), Parts(7));
        assert!(Parts(5).without(Parts(7)).is_empty());
    }
}
