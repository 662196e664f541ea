//! The records of both sides in one tree, and which of them Claude Code would
//! continue if only some of them were there. Must not know lines.

use std::collections::{HashMap, HashSet};

use ccpeer_core::id::SessionId;
use sha2::{Digest as _, Sha256};

/// A record's id in sixteen bytes: those of the UUID, or a hash of what is none.
/// A peer chooses ids; none can be chosen to be taken for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    bytes: [u8; 16],
    is_uuid: bool,
}

impl Key {
    pub(super) fn of(text: &str) -> Self {
        // A session id is a UUID in its one spelling.
        if let Ok(id) = text.parse::<SessionId>() {
            return Self {
                bytes: id.0,
                is_uuid: true,
            };
        }
        let hash = Sha256::digest(text.as_bytes());
        let mut bytes = [0; 16];
        bytes
            .iter_mut()
            .zip(hash)
            .for_each(|(byte, hash)| *byte = hash);
        Self {
            bytes,
            is_uuid: false,
        }
    }
}

/// Which records are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum World {
    /// Those of the base.
    Base,
    /// Those of the local file.
    Here,
    /// Those of the other side's.
    There,
    /// All, with one of them hung on another.
    Joined {
        /// Which.
        seam: u32,
        /// On which.
        on: u32,
    },
}

/// The records in the order of the joined file.
#[derive(Debug, Default)]
pub(super) struct Tree {
    keys: Vec<Key>,
    /// [`NONE`] at a root, [`LATE`] where the parent came after its child.
    parents: Vec<u32>,
    index: HashMap<Key, u32>,
    late: HashMap<u32, Key>,
    /// How many are of the base, and of the local file.
    base: u32,
    local: u32,
    /// Local ones that the other side has, too.
    shared: HashSet<u32>,
    /// What the last `last-prompt` names: in the base, in the local part, in
    /// theirs. Nothing where there is none.
    leaves: [Option<Option<Key>>; 3],
    part: usize,
    open: bool,
}

const NONE: u32 = u32::MAX;
const LATE: u32 = u32::MAX - 1;

impl Tree {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Takes up a record; nothing if it is there already.
    pub(super) fn insert(&mut self, key: Key, parent: Option<Key>) -> Option<u32> {
        let node = u32::try_from(self.keys.len()).ok().filter(|n| *n < LATE)?;
        if let Some(there) = self.index.get(&key) {
            if self.part == 2 && (self.base..self.local).contains(there) {
                self.shared.insert(*there);
            }
            return None;
        }
        let parent = match parent {
            None => NONE,
            Some(parent) => self.index.get(&parent).copied().unwrap_or_else(|| {
                self.late.insert(node, parent);
                LATE
            }),
        };
        self.index.insert(key, node);
        self.keys.push(key);
        self.parents.push(parent);
        Some(node)
    }

    /// What a `last-prompt` names.
    pub(super) fn set_leaf(&mut self, leaf: Option<String>) {
        if let Some(place) = self.leaves.get_mut(self.part) {
            *place = Some(leaf.map(|l| Key::of(&l)));
        }
    }

    pub(super) fn end_base(&mut self) {
        (self.base, self.part) = (self.count(), 1);
    }

    /// `open`: its last line has no line break.
    pub(super) fn end_local(&mut self, open: bool) {
        (self.local, self.part, self.open) = (self.count(), 2, open);
    }

    pub(super) fn local_is_open(&self) -> bool {
        self.open
    }

    /// Whether the parent of a record of theirs is one, as far as is known now.
    pub(super) fn hangs_on_theirs(&self, node: u32) -> bool {
        let parent = self.parents.get(node as usize).copied().unwrap_or(NONE);
        parent < LATE && parent >= self.local
    }

    /// The record's id as it is written; nothing if it is no UUID.
    pub(super) fn name(&self, node: u32) -> Option<String> {
        let key = self.keys.get(node as usize).filter(|k| k.is_uuid)?;
        Some(SessionId(key.bytes).to_string())
    }

    /// Whether the last `last-prompt` of the joined file names a record of it.
    /// Without one nothing is named and nothing is wrong.
    pub(super) fn names_known_leaf(&self) -> bool {
        match self.leaves.iter().rev().find_map(Option::as_ref) {
            None => true,
            Some(leaf) => leaf.is_some_and(|leaf| self.index.contains_key(&leaf)),
        }
    }

    /// The record that would be continued: the last line that descends from what
    /// the last `last-prompt` names, else the last line.
    pub(super) fn tip(&self, world: World) -> Option<u32> {
        let nodes = || (0..self.count()).filter(|n| self.is_in(world, *n));
        let leaves = match world {
            World::Base => [self.leaves.first(), None, None],
            World::Here => [self.leaves.first(), self.leaves.get(1), None],
            World::There => [self.leaves.first(), None, self.leaves.get(2)],
            World::Joined { .. } => [self.leaves.first(), self.leaves.get(1), self.leaves.get(2)],
        };
        let named = leaves.into_iter().rev().flatten().flatten().next();
        let leaf = named
            .and_then(|leaf| self.index.get(leaf.as_ref()?).copied())
            .filter(|leaf| self.is_in(world, *leaf));
        let Some(leaf) = leaf else {
            return nodes().next_back();
        };
        let mut tip = leaf;
        let mut descends = vec![false; self.keys.len()];
        for node in nodes().skip_while(|n| *n < leaf) {
            let of_leaf = node == leaf
                || self
                    .parent(world, node)
                    .and_then(|p| descends.get(p as usize).copied())
                    .unwrap_or(false);
            if let Some(place) = descends.get_mut(node as usize) {
                *place = of_leaf;
            }
            if of_leaf {
                tip = node;
            }
        }
        Some(tip)
    }

    /// The way from a record to its root.
    pub(super) fn branch(&self, world: World, tip: u32) -> Branch {
        let mut on = vec![false; self.keys.len()];
        let mut nodes = Vec::new();
        let mut next = Some(tip);
        while let Some(node) = next {
            match on.get_mut(node as usize) {
                Some(seen) if !*seen => *seen = true,
                // A circle; no honest file has one.
                _ => break,
            }
            nodes.push(node);
            next = self.parent(world, node);
        }
        Branch { nodes, on }
    }

    /// Whether, with the seam hung on the local end, the way from the other side's
    /// end leads over all of its turns, then over all of the local ones.
    pub(super) fn in_a_row(&self, here: &Branch, there: &Branch, seam: u32, on: u32) -> bool {
        let Some(end) = there.nodes.first() else {
            return false;
        };
        let joined = self.branch(World::Joined { seam, on }, *end);
        let theirs = there.nodes.iter().take_while(|n| **n != seam);
        let want = theirs.chain([&seam]).chain(&here.nodes);
        joined.nodes.iter().eq(want)
    }

    fn count(&self) -> u32 {
        u32::try_from(self.keys.len()).unwrap_or(u32::MAX)
    }

    fn is_in(&self, world: World, node: u32) -> bool {
        match world {
            World::Base => node < self.base,
            World::Here => node < self.local,
            World::There => node < self.base || node >= self.local || self.shared.contains(&node),
            World::Joined { .. } => true,
        }
    }

    fn parent(&self, world: World, node: u32) -> Option<u32> {
        if let World::Joined { seam, on } = world
            && seam == node
        {
            return Some(on);
        }
        let parent = match *self.parents.get(node as usize)? {
            NONE => return None,
            LATE => *self.index.get(self.late.get(&node)?)?,
            parent => parent,
        };
        Some(parent).filter(|p| self.is_in(world, *p))
    }
}

/// A way from a record to its root.
#[derive(Debug)]
pub(super) struct Branch {
    nodes: Vec<u32>,
    on: Vec<bool>,
}

impl Branch {
    pub(super) fn contains(&self, node: &u32) -> bool {
        self.on.get(*node as usize).copied().unwrap_or(false)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &u32> {
        self.nodes.iter()
    }
}
