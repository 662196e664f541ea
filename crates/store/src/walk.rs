//! From a manifest over its list pages to content: what is missing, and the
//! bytes of a segment one chunk at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Write};

use ccpeer_core::id::ChunkId;
use ccpeer_core::limits;
use ccpeer_core::manifest::{ChunkRef, ListPage, Manifest, Segment, Want, WantKind};

use crate::error::{Place, StoreError};
use crate::{Store, chunks};

/// What of a want and of everything that it refers to is not in the store: the
/// want itself if even that is absent. List pages that are absent hide what they
/// refer to; ask again when they are there.
pub(crate) fn missing(
    store: &Store,
    want: Want,
    beside: &[(ChunkId, Vec<u8>)],
) -> Result<Vec<Want>, StoreError> {
    let mut missing = Vec::new();
    let beside: BTreeMap<ChunkId, &[u8]> = beside.iter().map(|(i, c)| (*i, &c[..])).collect();
    visit(store, want, Look::Asked, &beside, &mut |want, here| {
        if !here {
            missing.push(want);
        }
        true
    })?;
    Ok(missing)
}

/// Whether something that is held for complete needs any of these, or has lost
/// something already, or is not of its kind.
pub(crate) fn needs_any(
    store: &Store,
    want: Want,
    ids: &BTreeSet<ChunkId>,
) -> Result<bool, StoreError> {
    let mut found = false;
    let visited = visit(
        store,
        want,
        Look::Aside,
        &BTreeMap::new(),
        &mut |want, here| {
            found |= !here || ids.contains(&want.id);
            !found
        },
    );
    match visited {
        Ok(()) => Ok(found),
        Err(StoreError::Wrong { .. }) => Ok(true),
        Err(e) => Err(e),
    }
}

/// What a chunk of which it is only known that it was held for complete is
/// complete as, if it still is: a store of format 1 did not say. What reads as a
/// manifest is taken for one; if it is needed as something else, that is looked
/// for anew.
pub(crate) fn complete_by_content(store: &Store, id: ChunkId) -> Result<Option<Want>, StoreError> {
    let content = store.disk.read(|txn| chunks::get(txn, &id))?;
    let Some(Ok(content)) = content else {
        return Ok(None);
    };
    let want = match Manifest::from_bytes(&content) {
        Ok(_) => Want::manifest(id),
        Err(_) => Want::data(id),
    };
    let lacks = needs_any(store, want, &BTreeSet::new())?;
    Ok((!lacks).then_some(want))
}

/// On whose behalf the store is looked at.
#[derive(Clone, Copy)]
enum Look {
    /// Somebody will rely on what was here.
    Asked,
    /// Nobody will, and what is damaged is somebody else's business.
    Aside,
}

/// Calls `see` for a want and everything below it that can be reached, once
/// each, with whether it is here, until `see` says no. What is `beside` the store
/// counts as here.
fn visit(
    store: &Store,
    want: Want,
    look: Look,
    beside: &BTreeMap<ChunkId, &[u8]>,
    see: &mut dyn FnMut(Want, bool) -> bool,
) -> Result<(), StoreError> {
    let mut seen = BTreeSet::from([want]);
    let mut level = vec![want];
    let mut unread = VecDeque::new();
    loop {
        let ids: Vec<ChunkId> = level.iter().map(|w| w.id).collect();
        let here = match look {
            Look::Asked => store.has(&ids)?,
            Look::Aside => store.has_aside(&ids)?,
        };
        for (want, here) in level.drain(..).zip(here) {
            let here = here || beside.contains_key(&want.id);
            if !see(want, here) {
                return Ok(());
            }
            if here && want.kind != WantKind::Data {
                unread.push_back(want);
            }
        }
        let Some(want) = unread.pop_front() else {
            return Ok(());
        };
        let content = match (beside.get(&want.id), look) {
            (Some(content), _) => Ok(Some(content.to_vec())),
            (None, Look::Asked) => store.get_chunk(&want.id),
            (None, Look::Aside) => store
                .disk
                .read(|txn| chunks::get(txn, &want.id))
                .map(|c| c?.ok()),
        };
        let content = match content {
            Ok(Some(content)) => content,
            // Damaged, and by now forgotten if it was asked for.
            Ok(None) | Err(StoreError::Corrupt { .. }) => {
                if !see(want, false) {
                    return Ok(());
                }
                continue;
            }
            Err(e) => return Err(e),
        };
        let refused = |why| StoreError::Wrong {
            place: Place::Chunk(want.id),
            why,
        };
        let children = want.children(&content).map_err(|_| {
            refused(match want.kind {
                WantKind::Manifest => "it is not a manifest",
                WantKind::List => "it is not a list page",
                WantKind::Data => "it cannot be read",
            })
        })?;
        level.extend(children.into_iter().filter(|child| seen.insert(*child)));
        if seen.len() > limits::WANTS_MAX {
            return Err(refused("it refers to too many chunks"));
        }
    }
}

/// Everything that can be reached from roots, as it is asked for when that
/// decides what may go.
#[derive(Default)]
pub(crate) struct Reach<'b> {
    /// What need not be looked at again.
    base: Option<&'b Reach<'b>>,
    ids: BTreeSet<ChunkId>,
    /// What has been looked into. By kind, because what one author refers to as
    /// content may be the list page of another.
    nodes: BTreeSet<Want>,
    /// What is damaged and should have been looked into.
    pub(crate) obscured: Vec<Want>,
}

impl<'b> Reach<'b> {
    /// What can be reached in addition to `base`.
    pub(crate) fn beyond(base: &'b Reach<'b>) -> Self {
        Self {
            base: Some(base),
            ..Self::default()
        }
    }

    pub(crate) fn contains(&self, id: &ChunkId) -> bool {
        self.ids.contains(id)
    }

    /// Whether it is reached as what it is.
    pub(crate) fn has(&self, want: &Want) -> bool {
        match want.kind {
            WantKind::Data => self.contains(&want.id),
            WantKind::Manifest | WantKind::List => self.nodes.contains(want),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Adds all that these refer to. `see` is shown what is new, a bounded number
    /// at a time; when it says no, the walk ends and so does this.
    pub(crate) fn extend(
        &mut self,
        store: &Store,
        roots: &[Want],
        see: &mut dyn FnMut(&[ChunkId]) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let mut unread = Vec::new();
        for some in roots.chunks(limits::COLLECT_ROWS_MAX) {
            if !see(&self.add(some, &mut unread))? {
                return Ok(false);
            }
            while let Some(want) = unread.pop() {
                let children = self.look_into(store, want)?;
                if !see(&self.add(&children, &mut unread))? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn add(&mut self, wants: &[Want], unread: &mut Vec<Want>) -> Vec<ChunkId> {
        let mut fresh = Vec::new();
        for want in wants {
            let known = self.base.is_some_and(|base| base.ids.contains(&want.id));
            if !known && self.ids.insert(want.id) {
                fresh.push(want.id);
            }
            let known = self.base.is_some_and(|base| base.nodes.contains(want));
            if want.kind != WantKind::Data && !known && self.nodes.insert(*want) {
                unread.push(*want);
            }
        }
        fresh
    }

    fn look_into(&mut self, store: &Store, want: Want) -> Result<Vec<Want>, StoreError> {
        let (content, struck_off) = store.disk.read(|txn| {
            let content = chunks::get(txn, &want.id)?;
            Ok((content, chunks::is_struck_off(txn, &want.id)?))
        })?;
        match content {
            // What is not of its kind refers to nothing.
            Some(Ok(content)) => Ok(want.children(&content).unwrap_or_default()),
            None if !struck_off => Ok(Vec::new()),
            Some(Err(_)) | None => {
                self.obscured.push(want);
                Ok(Vec::new())
            }
        }
    }
}

/// All references of a segment, in order.
pub(crate) fn segment_refs(store: &Store, segment: &Segment) -> Result<Vec<ChunkRef>, StoreError> {
    let mut refs = Vec::new();
    for page in &segment.pages {
        refs.extend(page_refs(store, page)?);
    }
    refs.extend_from_slice(&segment.tail);
    Ok(refs)
}

fn page_refs(store: &Store, page: &ChunkId) -> Result<Vec<ChunkRef>, StoreError> {
    let place = Place::Chunk(*page);
    let content = store.get_chunk(page)?.ok_or(StoreError::Absent { place })?;
    let page = ListPage::from_bytes(&content).map_err(|_| StoreError::Wrong {
        place,
        why: "it is not a list page",
    })?;
    Ok(page.refs)
}

/// The content of a segment, chunk by chunk, each checked against its hash and
/// length. Holds one chunk and one list page in memory. After an error, and
/// where the segment is not as long as it claims, it ends with the error.
#[derive(Debug)]
pub struct SegmentReader<'s> {
    store: &'s Store,
    pages: VecDeque<ChunkId>,
    refs: VecDeque<ChunkRef>,
    tail: Vec<ChunkRef>,
    left: u64,
    last: Option<ChunkId>,
}

impl<'s> SegmentReader<'s> {
    pub(crate) fn new(store: &'s Store, segment: &Segment) -> Self {
        Self {
            store,
            pages: segment.pages.iter().copied().collect(),
            refs: VecDeque::new(),
            tail: segment.tail.clone(),
            left: segment.len,
            last: None,
        }
    }

    /// Writes all that is left and returns its length.
    ///
    /// # Errors
    /// Those of the store as [`io::Error::other`], and those of `out`.
    pub fn copy_to(&mut self, out: &mut dyn Write) -> io::Result<u64> {
        let mut copied = 0;
        for chunk in self {
            let chunk = chunk.map_err(io::Error::other)?;
            out.write_all(&chunk)?;
            copied += chunk.len() as u64;
        }
        Ok(copied)
    }

    fn step(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        while self.refs.is_empty() {
            match self.pages.pop_front() {
                Some(page) => self.refs.extend(page_refs(self.store, &page)?),
                None if self.tail.is_empty() => break,
                None => self.refs.extend(std::mem::take(&mut self.tail)),
            }
        }
        let wrong = |id: Option<ChunkId>, why| StoreError::Wrong {
            place: id.map_or(Place::File, Place::Chunk),
            why,
        };
        let Some(next) = self.refs.pop_front() else {
            if self.left > 0 {
                return Err(wrong(self.last, "its segment ends before its length"));
            }
            return Ok(None);
        };
        self.last = Some(next.id);
        let place = Place::Chunk(next.id);
        let content = self
            .store
            .get_chunk(&next.id)?
            .ok_or(StoreError::Absent { place })?;
        if content.len() as u64 != u64::from(next.len) {
            return Err(wrong(
                Some(next.id),
                "it is not as long as its reference says",
            ));
        }
        self.left = self
            .left
            .checked_sub(content.len() as u64)
            .ok_or_else(|| wrong(Some(next.id), "its segment goes on beyond its length"))?;
        Ok(Some(content))
    }
}

impl Iterator for SegmentReader<'_> {
    type Item = Result<Vec<u8>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.step();
        if next.is_err() {
            (self.pages, self.refs, self.tail, self.left) = Default::default();
        }
        next.transpose()
    }
}
