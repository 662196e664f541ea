//! Which records hang on which, and which of them are on the branch that Claude
//! Code would continue.

use std::collections::HashMap;

use ccpeer_core::limits;
use serde::{Deserialize, Serialize};

/// The tree of a transcript. Ids are kept as hashes: a collision, by chance or
/// by intent, misleads this summary and nothing else.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Packed", into = "Packed")]
pub(super) struct Chain {
    /// How many of the oldest records are forgotten.
    base: u32,
    nodes: Vec<Node>,
    /// Where each id stands, counted from the first record ever.
    index: HashMap<u64, u32>,
    /// What the last `last-prompt` names.
    leaf: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    id: u64,
    /// 0 at a root.
    parent: u64,
    /// Where the parent stands, counted from the first record ever; [`LATER`] if it
    /// did not stand anywhere yet when this one came.
    up: u32,
}

/// No place.
const LATER: u32 = u32::MAX;

/// The branch that would be continued.
pub(super) struct Branch {
    base: u32,
    on: Vec<bool>,
}

impl Branch {
    /// Whether a record is on it. A record without an id, or one that was
    /// forgotten, is given the benefit of the doubt.
    pub(super) fn contains(&self, node: Option<u32>) -> bool {
        let place = node.and_then(|n| n.checked_sub(self.base));
        place.is_none_or(|p| self.on.get(p as usize).copied().unwrap_or(false))
    }
}

impl Chain {
    /// Takes up a record; nothing if it is there already (a doubled line).
    pub(super) fn insert(&mut self, id: &str, parent: Option<&str>) -> Option<u32> {
        if self.nodes.len() >= limits::DIGEST_NODES_MAX {
            self.forget_half();
        }
        let parent = parent.map_or(0, hash);
        let node = Node {
            id: hash(id),
            parent,
            up: self.index.get(&parent).copied().unwrap_or(LATER),
        };
        let place = self
            .base
            .saturating_add(u32::try_from(self.nodes.len()).ok()?);
        if self.index.contains_key(&node.id) {
            return None;
        }
        self.index.insert(node.id, place);
        self.nodes.push(node);
        Some(place)
    }

    /// Remembers what a `last-prompt` names. One that names a record which is not
    /// in the file is ignored, as Claude Code does; so is the nil id of a rewind.
    pub(super) fn set_leaf(&mut self, id: &str) {
        self.leaf = Some(hash(id));
    }

    /// The branch that would be continued.
    pub(super) fn branch(&self) -> Branch {
        let mut on = vec![false; self.nodes.len()];
        let mut next = self.tip();
        while let Some(place) = next {
            match (on.get_mut(place), self.nodes.get(place)) {
                (Some(seen), Some(node)) if !*seen => {
                    *seen = true;
                    next = self.parent_of(node);
                }
                // A circle; no honest file has one.
                _ => break,
            }
        }
        Branch {
            base: self.base,
            on,
        }
    }

    /// The record that would be continued.
    fn tip(&self) -> Option<usize> {
        let last = self.nodes.len().checked_sub(1);
        let Some(leaf) = self.leaf.and_then(|leaf| self.place_of(leaf)) else {
            return last;
        };
        let mut tip = leaf;
        let mut descends = vec![true];
        for (place, node) in self.nodes.iter().enumerate().skip(leaf + 1) {
            let of_leaf = self
                .parent_of(node)
                .and_then(|parent| parent.checked_sub(leaf))
                .and_then(|parent| descends.get(parent).copied())
                .unwrap_or(false);
            descends.push(of_leaf);
            if of_leaf {
                tip = place;
            }
        }
        Some(tip)
    }

    fn place_of(&self, id: u64) -> Option<usize> {
        let place = self.index.get(&id)?.checked_sub(self.base)?;
        usize::try_from(place).ok()
    }

    fn parent_of(&self, node: &Node) -> Option<usize> {
        if node.up == LATER {
            return self.place_of(node.parent);
        }
        usize::try_from(node.up.checked_sub(self.base)?).ok()
    }

    fn forget_half(&mut self) {
        let half = self.nodes.len() / 2;
        for node in self.nodes.drain(..half) {
            self.index.remove(&node.id);
        }
        self.base = self
            .base
            .saturating_add(u32::try_from(half).unwrap_or(u32::MAX));
    }
}

/// FNV-1a, never 0.
fn hash(id: &str) -> u64 {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1)
}

/// The form in which a tree is laid aside: eight bytes a record and mostly one
/// more, since a record mostly hangs on the one before it.
#[derive(Serialize, Deserialize)]
struct Packed {
    base: u32,
    leaf: Option<u64>,
    nodes: Vec<u8>,
}

/// The parent is this far back, in one byte; 0 is a root.
const FAR: u8 = u8::MAX;

impl From<Chain> for Packed {
    fn from(chain: Chain) -> Self {
        let mut nodes = Vec::with_capacity(chain.nodes.len() * 9);
        for (place, node) in chain.nodes.iter().enumerate() {
            nodes.extend_from_slice(&node.id.to_le_bytes());
            let back = chain.parent_of(node).and_then(|p| place.checked_sub(p));
            match back.and_then(|b| u8::try_from(b).ok()) {
                _ if node.parent == 0 => nodes.push(0),
                Some(back) if back > 0 && back < FAR => nodes.push(back),
                _ => {
                    nodes.push(FAR);
                    nodes.extend_from_slice(&node.parent.to_le_bytes());
                }
            }
        }
        Self {
            base: chain.base,
            leaf: chain.leaf,
            nodes,
        }
    }
}

impl From<Packed> for Chain {
    fn from(packed: Packed) -> Self {
        let mut chain = Self {
            base: packed.base,
            leaf: packed.leaf,
            ..Self::default()
        };
        let mut rest = packed.nodes.as_slice();
        while let Some((id, after)) = rest.split_first_chunk::<8>() {
            let Some((&back, after)) = after.split_first() else {
                break;
            };
            rest = after;
            let parent = if back == FAR {
                let Some((parent, after)) = rest.split_first_chunk::<8>() else {
                    break;
                };
                rest = after;
                u64::from_le_bytes(*parent)
            } else {
                let place = chain.nodes.len().checked_sub(usize::from(back));
                place
                    .filter(|_| back > 0)
                    .and_then(|p| chain.nodes.get(p))
                    .map_or(0, |n| n.id)
            };
            let id = u64::from_le_bytes(*id);
            let Ok(place) = u32::try_from(chain.nodes.len()) else {
                break;
            };
            let up = chain.index.get(&parent).copied().unwrap_or(LATER);
            chain.index.insert(id, chain.base.saturating_add(place));
            chain.nodes.push(Node { id, parent, up });
        }
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters name records, `ab` hangs `b` on `a`, `.a` makes `a` a root.
    fn chain(links: &[&str]) -> Chain {
        let mut chain = Chain::default();
        for link in links {
            let (parent, id) = link.split_at(1);
            chain.insert(id, (parent != ".").then_some(parent));
        }
        chain
    }

    fn on(chain: &Chain) -> Vec<u32> {
        let branch = chain.branch();
        (0..chain.nodes.len() as u32)
            .filter(|n| branch.contains(Some(*n)))
            .collect()
    }

    #[test]
    fn the_leaf_rule() {
        // a - b - c and a - d - e
        let links = [".a", "ab", "bc", "ad", "de"];
        assert_eq!(
            on(&chain(&links)),
            [0, 3, 4],
            "without a leaf the last line"
        );
        let mut named = chain(&links);
        named.set_leaf("b");
        assert_eq!(on(&named), [0, 1, 2], "the last line below the leaf");
        named.set_leaf("00000000-0000-0000-0000-000000000000");
        assert_eq!(on(&named), [0, 3, 4], "an unknown leaf is ignored");
        let reversed = chain(&["bc", "ab", ".a"]);
        assert_eq!(on(&reversed), [2]);
        let circle = chain(&["ba", "ab"]);
        assert_eq!(on(&circle), [0, 1]);
        assert!(on(&Chain::default()).is_empty());
        assert!(
            chain(&[".a", ".a"]).nodes.len() == 1,
            "a doubled line counts once"
        );
    }

    #[test]
    fn laid_aside_and_taken_up() {
        let mut before = chain(&[".a", "ab", "xc", "ad"]);
        for n in 0..600 {
            before.insert(&format!("n{n}"), Some("a"));
        }
        before.set_leaf("b");
        let after = Chain::from(Packed::from(before.clone()));
        assert_eq!(on(&after), on(&before));
        assert_eq!(after.nodes.len(), before.nodes.len());
        let again = Packed::from(after);
        assert_eq!(again.nodes, Packed::from(before).nodes);
        let torn = Packed {
            base: 0,
            leaf: None,
            nodes: vec![1; 12],
        };
        assert_eq!(Chain::from(torn).nodes.len(), 1);
    }

    #[test]
    fn very_many_records_are_bounded() {
        let mut chain = Chain::default();
        let mut before = String::new();
        for n in 0..limits::DIGEST_NODES_MAX + 10 {
            let id = n.to_string();
            chain.insert(&id, Some(&before));
            before = id;
        }
        assert!(chain.nodes.len() <= limits::DIGEST_NODES_MAX);
        assert_eq!(chain.index.len(), chain.nodes.len());
        let branch = chain.branch();
        assert!(branch.contains(Some(5)) && branch.contains(None));
        assert!(branch.contains(Some(chain.base + 1)));
    }
}
