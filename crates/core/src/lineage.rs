//! Versions of a session as a graph: what grew from what, and which tips there
//! are. A fork is a value here, more than one head, and never an error; nothing
//! is ever dropped. It knows no store, no peer and no policy.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::entry::{Capsule, Claim, ContentRef, Enriched, Mark, Presence, Version};
use crate::id::{DeviceId, EntryHash, LogId, Seq};
use crate::limits;
use crate::manifest::Want;
use crate::presence::SessionState;
use crate::time::Timestamp;

/// Everything that is known of one session, from every device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionRecord {
    /// Boxed: a map makes room for eleven where it holds one, and most sessions
    /// have few versions.
    nodes: BTreeMap<EntryHash, Box<VersionNode>>,
    /// Every hash that a known node names as its parent, whether or not we hold
    /// that parent: it is no head when it comes.
    superseded: BTreeSet<EntryHash>,
    heads: BTreeSet<(u64, EntryHash)>,
    /// The newest statement of each device about the session's state.
    states: BTreeMap<DeviceId, (Order, SessionState, Timestamp)>,
    mark: Option<(Order, bool)>,
    /// The newest claim.
    claim: Option<(Order, Claim, Timestamp)>,
    /// The newest version, head or not.
    newest: Option<(Order, Timestamp)>,
    /// The newest statement that says somebody works on it.
    activity: Option<Order>,
    /// The lamport clock of our newest word about its state that we kept to
    /// ourselves.
    kept_state: Option<u64>,
    /// The newest better document of each version, by who states it: it may come
    /// before the version does, whose author decides whether it counts.
    documents: BTreeMap<(EntryHash, DeviceId), Document>,
    /// The newest capsule of each version, likewise.
    capsules: BTreeMap<(EntryHash, DeviceId), WorkInProgress>,
}

/// A document that a model has worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document {
    /// Where its statement stands.
    pub order: Order,
    /// The author's wall clock: a label.
    pub at: Timestamp,
    /// The document.
    pub snapshot: ContentRef,
}

impl Document {
    /// The chunk that it is.
    #[must_use]
    pub fn root(&self) -> Want {
        Want::data(self.snapshot.id)
    }
}

/// How a work tree stood at a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkInProgress {
    /// Where its statement stands.
    pub order: Order,
    /// The author's wall clock: a label.
    pub at: Timestamp,
    /// The capsule's manifest.
    pub manifest: ContentRef,
}

impl WorkInProgress {
    /// The manifest, which stands for all that it names.
    #[must_use]
    pub fn root(&self) -> Want {
        Want::manifest(self.manifest.id)
    }
}

/// One version of a session: a node of its lineage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionNode {
    /// The entry that states it; its name.
    pub id: EntryHash,
    /// Whose statement, in which epoch.
    pub log: LogId,
    /// Its number there.
    pub seq: Seq,
    /// The author's lamport clock.
    pub lamport: u64,
    /// The author's wall clock: a label.
    pub at: Timestamp,
    /// What it says.
    pub version: Version,
}

/// Which of two statements is the newer one, the same on every device whatever
/// came first. Lamport says it where one author knew of the other; the rest is
/// there to make it total. The epoch tells the halves of a log that was rolled
/// back and used its numbers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// Lamport clock.
    pub lamport: u64,
    /// Log, device before epoch.
    pub log: LogId,
    /// Number in the log.
    pub seq: Seq,
}

impl SessionRecord {
    /// The versions that no known version grew from, ordered by (lamport, id),
    /// the newest last. More than one is a fork.
    #[must_use]
    pub fn heads(&self) -> Vec<&VersionNode> {
        self.heads
            .iter()
            .filter_map(|(_, id)| self.node(id))
            .collect()
    }

    /// Whether any version is known.
    #[must_use]
    pub fn has_versions(&self) -> bool {
        !self.heads.is_empty()
    }

    /// The lamport clocks and the names of the same.
    pub(crate) fn head_names(&self) -> impl Iterator<Item = &(u64, EntryHash)> {
        self.heads.iter()
    }

    /// The heads that differ in content: what a person would call the lines of a
    /// fork. A head that says, under another name, exactly what another line has
    /// said already is no line of its own, and neither is one that only says again
    /// what others went on from. That happens when a device whose store was restored
    /// from a backup states again what it holds, before it hears what it had said
    /// since; and when git has something new to say of a version that grows elsewhere.
    #[must_use]
    pub fn lines(&self) -> Vec<&VersionNode> {
        let heads = self.heads();
        if heads.len() < 2 {
            return heads;
        }
        let lines: Vec<&VersionNode> = heads
            .iter()
            .filter(|h| !self.nodes().any(|twin| self.stands_for(twin, h)))
            .filter(|h| !self.repeats_past(h, &heads))
            .copied()
            .collect();
        // Where each has said what the others say, nobody's word stands for another's.
        if lines.is_empty() { heads } else { lines }
    }

    /// Whether a head has nothing in it but what a version of its own past had, and
    /// another head grew from that one. Of two that repeat the same, the newer stays.
    fn repeats_past(&self, head: &VersionNode, heads: &[&VersionNode]) -> bool {
        let content = head.version.manifest;
        let mut first = head;
        while let [parent] = first.version.parents.as_slice()
            && let Some(before) = self.node(parent)
            && before.version.manifest == content
        {
            first = before;
        }
        first.id != head.id
            && content.is_some()
            && heads.iter().any(|other| {
                (other.version.manifest != content || other.order() > head.order())
                    && self.is_ancestor(&first.id, &other.id)
                    && other.id != head.id
            })
    }

    /// Whether a node stands for a head: the same content, on a line that is not
    /// the head's own past, and grown from, or newer.
    fn stands_for(&self, twin: &VersionNode, head: &VersionNode) -> bool {
        twin.id != head.id
            && head.version.manifest.is_some()
            && twin.version.manifest == head.version.manifest
            && (self.superseded.contains(&twin.id) || twin.order() > head.order())
            && !self.is_ancestor(&twin.id, &head.id)
    }

    /// The newest head.
    #[must_use]
    pub fn latest(&self) -> Option<&VersionNode> {
        self.heads.last().and_then(|(_, id)| self.node(id))
    }

    /// A version by its name.
    #[must_use]
    pub fn node(&self, id: &EntryHash) -> Option<&VersionNode> {
        self.nodes.get(id).map(Box::as_ref)
    }

    /// Every version that is known, in no meaningful order.
    pub fn nodes(&self) -> impl Iterator<Item = &VersionNode> {
        self.nodes.values().map(Box::as_ref)
    }

    /// Whether `b` grew from `a`, as far as is known. A version is not its own
    /// ancestor. Walks each known version at most once.
    #[must_use]
    pub fn is_ancestor(&self, a: &EntryHash, b: &EntryHash) -> bool {
        let mut seen = BTreeSet::new();
        let mut next: Vec<EntryHash> = Vec::new();
        let parents = |id: &EntryHash| {
            self.nodes
                .get(id)
                .map(|n| n.version.parents.as_slice())
                .unwrap_or_default()
        };
        next.extend_from_slice(parents(b));
        while let Some(id) = next.pop() {
            if &id == a {
                return true;
            }
            if seen.insert(id) {
                next.extend_from_slice(parents(&id));
            }
        }
        false
    }

    /// The better document of a version, if its author has stated one.
    #[must_use]
    pub fn document(&self, version: &VersionNode) -> Option<&Document> {
        self.documents.get(&(version.id, version.log.device))
    }

    /// All better documents that count.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        let counts = |(version, device): &(EntryHash, DeviceId)| {
            let node = self.nodes.get(version);
            node.is_some_and(|n| n.log.device == *device)
        };
        let all = self.documents.iter();
        all.filter(move |(key, _)| counts(key)).map(|(_, d)| d)
    }

    /// The better document that is the nearest one on the line of a version, its
    /// own before that of a version it grew from, and whose it is. Looks back
    /// [`limits::ENRICHED_BACK_MAX`] versions.
    #[must_use]
    pub fn nearest_document(&self, head: &EntryHash) -> Option<(&VersionNode, &Document)> {
        if self.documents.is_empty() {
            return None;
        }
        self.nearest(head, |n| self.document(n), |document| document.order)
    }

    /// The capsule of a version, if its author has stated one.
    #[must_use]
    pub fn capsule(&self, version: &VersionNode) -> Option<&WorkInProgress> {
        self.capsules.get(&(version.id, version.log.device))
    }

    /// All capsules that count.
    pub fn capsules(&self) -> impl Iterator<Item = &WorkInProgress> {
        let counts = |(version, device): &(EntryHash, DeviceId)| {
            let node = self.nodes.get(version);
            node.is_some_and(|n| n.log.device == *device)
        };
        let all = self.capsules.iter();
        all.filter(move |(key, _)| counts(key)).map(|(_, c)| c)
    }

    /// The capsule that is the nearest one on the line of a version, and whose it
    /// is; looked for as [`SessionRecord::nearest_document`] does.
    #[must_use]
    pub fn nearest_capsule(&self, head: &EntryHash) -> Option<(&VersionNode, &WorkInProgress)> {
        if self.capsules.is_empty() {
            return None;
        }
        self.nearest(head, |n| self.capsule(n), |capsule| capsule.order)
    }

    fn nearest<'a, T>(
        &'a self,
        head: &EntryHash,
        of: impl Fn(&VersionNode) -> Option<&'a T>,
        order: impl Fn(&T) -> Order,
    ) -> Option<(&'a VersionNode, &'a T)> {
        let mut seen = BTreeSet::new();
        let mut row = alloc::vec![*head];
        while !row.is_empty() && seen.len() < limits::ENRICHED_BACK_MAX {
            let nodes = row.iter().filter_map(|id| self.node(id));
            let known = nodes.clone().filter_map(|n| Some((n, of(n)?)));
            if let Some(found) = known.max_by_key(|(_, it)| order(it)) {
                return Some(found);
            }
            let parents = nodes.flat_map(|n| n.version.parents.iter().copied());
            let mut next: Vec<EntryHash> = parents.filter(|p| seen.insert(*p)).collect();
            next.sort_unstable();
            row = next;
        }
        None
    }

    /// The newest statement about where the session stands: device, state and
    /// that device's wall clock as a label. A device that has lost its files
    /// speaks only for itself, so it counts where nobody says anything else.
    #[must_use]
    pub fn state(&self) -> Option<(DeviceId, SessionState, Timestamp)> {
        self.states
            .iter()
            .max_by_key(|(_, (order, state, _))| (*state != SessionState::Archived, *order))
            .map(|(device, (_, state, at))| (*device, *state, *at))
    }

    /// What a device last said about the session's state there.
    #[must_use]
    pub fn state_on(&self, device: &DeviceId) -> Option<(SessionState, Timestamp)> {
        self.states.get(device).map(|(_, state, at)| (*state, *at))
    }

    /// Where a device's last word about the session's state stands among all
    /// statements.
    #[must_use]
    pub fn stated_on(&self, device: &DeviceId) -> Option<Order> {
        self.states.get(device).map(|(order, _, _)| *order)
    }

    /// Whether we kept a word about the session's state to ourselves after this
    /// version was stated: in between, whoever asked for the version may have got it
    /// without what it says.
    #[must_use]
    pub fn was_closed_after(&self, version: &VersionNode) -> bool {
        self.kept_state > Some(version.lamport)
    }

    /// The devices that ever said something about the session's state, each
    /// with its last word.
    pub fn states(&self) -> impl Iterator<Item = (&DeviceId, SessionState, Timestamp)> {
        self.states
            .iter()
            .map(|(d, (_, state, at))| (d, *state, *at))
    }

    /// Who has the baton: the device that claimed the session last, or wrote the
    /// last version if that is newer, and its wall clock as a label. It tells
    /// people where work goes on; it keeps nobody from writing.
    #[must_use]
    pub fn baton(&self) -> Option<(DeviceId, Order, Timestamp)> {
        let claim = self.claim.map(|(order, _, at)| (order, at));
        claim
            .max(self.newest)
            .map(|(order, at)| (order.log.device, order, at))
    }

    /// The newest claim: when and by whom it was made, what it goes on from, and
    /// its label.
    #[must_use]
    pub fn claim(&self) -> Option<(Order, Claim, Timestamp)> {
        self.claim
    }

    /// Whether the user said that the task is finished and nothing later, a new
    /// version or somebody at work, takes it back. A statement that was made
    /// without knowing of the mark counts as later if its lamport clock does:
    /// an open task shown once too often is better than one forgotten.
    #[must_use]
    pub fn done(&self) -> bool {
        match (self.mark, self.activity) {
            (Some((marked, true)), Some(active)) => marked > active,
            (Some((_, done)), _) => done,
            (None, _) => false,
        }
    }

    /// The newest mark, if there is one: when it was made and what it says.
    #[must_use]
    pub fn mark(&self) -> Option<(Order, bool)> {
        self.mark
    }

    /// Takes a version in. Its parents may come later or never.
    pub(crate) fn add_version(&mut self, node: VersionNode) {
        let order = node.order();
        self.note_state(order, node.version.state, node.at);
        self.activity = self.activity.max(Some(order));
        self.newest = self.newest.max(Some((order, node.at)));
        for parent in &node.version.parents {
            self.superseded.insert(*parent);
            if let Some(known) = self.nodes.get(parent) {
                self.heads.remove(&(known.lamport, *parent));
            }
        }
        if !self.superseded.contains(&node.id) {
            self.heads.insert((node.lamport, node.id));
        }
        self.nodes.insert(node.id, Box::new(node));
    }

    /// Takes in that a session's state changed.
    pub(crate) fn add_presence(&mut self, order: Order, presence: &Presence, at: Timestamp) {
        self.note_state(order, presence.state, at);
        if order.log.is_kept() {
            self.kept_state = self.kept_state.max(Some(order.lamport));
        }
        if presence.state.is_open() {
            self.activity = self.activity.max(Some(order));
        }
    }

    /// Takes in that somebody works on it from now on.
    pub(crate) fn add_claim(&mut self, order: Order, claim: &Claim, at: Timestamp) {
        self.activity = self.activity.max(Some(order));
        if self.claim.is_none_or(|(before, _, _)| order > before) {
            self.claim = Some((order, *claim, at));
        }
    }

    /// Takes in a user's word.
    pub(crate) fn add_mark(&mut self, order: Order, mark: &Mark) {
        self.mark = self.mark.max(Some((order, mark.done)));
    }

    /// Takes in a better document.
    pub(crate) fn add_document(&mut self, order: Order, enriched: &Enriched, at: Timestamp) {
        let document = Document {
            order,
            at,
            snapshot: enriched.snapshot,
        };
        let newest = self
            .documents
            .entry((enriched.version, order.log.device))
            .or_insert(document);
        if order > newest.order {
            *newest = document;
        }
    }

    /// Takes in a capsule.
    pub(crate) fn add_capsule(&mut self, order: Order, capsule: &Capsule, at: Timestamp) {
        let stated = WorkInProgress {
            order,
            at,
            manifest: capsule.manifest,
        };
        let newest = self
            .capsules
            .entry((capsule.version, order.log.device))
            .or_insert(stated);
        if order > newest.order {
            *newest = stated;
        }
    }

    fn note_state(&mut self, order: Order, state: SessionState, at: Timestamp) {
        let newest = self
            .states
            .entry(order.log.device)
            .or_insert((order, state, at));
        if order > newest.0 {
            *newest = (order, state, at);
        }
    }
}

impl VersionNode {
    /// Where it stands among all statements.
    #[must_use]
    pub fn order(&self) -> Order {
        Order {
            lamport: self.lamport,
            log: self.log,
            seq: self.seq,
        }
    }

    /// The chunks that together are this version: its manifest, which stands
    /// for all that it names, and its snapshot.
    pub fn roots(&self) -> impl Iterator<Item = Want> + '_ {
        self.version.roots()
    }
}

#[cfg(test)]
mod tests;
