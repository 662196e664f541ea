//! From versions to the index: what of a session is not in it yet, and putting it
//! there. Of a version that begins with what is indexed, that is what was appended.
//!
//! Must not know when that is done, nor what is asked of the index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::{ChunkId, SessionId};
use ccpeer_core::manifest::{Manifest, Slot};
use ccpeer_formats::claude::transcript::{By, matter};
use ccpeer_store::{Store, StoreError};

use super::content::Content;
use super::index::{
    Entry, Index, IndexError, Known, KnownLine, KnownPart, Role, Sessions, Writer, known,
    part_number,
};
use crate::driver::wall;
use crate::exposed::{Exposed, Sighting};

/// Bytes of text after which what was indexed is kept.
const KEEP_BYTES: usize = 24 * 1024 * 1024;
/// Files of one version that are looked into: the transcript and its sub-agents'.
const PARTS_MAX: usize = 256;

/// A session as it is to be in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) session: SessionId,
    /// Its title and the name of its project.
    pub(crate) title: String,
    /// Seconds since 1970.
    pub(crate) updated: u64,
    /// What is here in full of its lines.
    pub(crate) manifests: Vec<ContentRef>,
    /// This device wrote a version of it: what is new is looked at for secrets.
    pub(crate) own: bool,
}

impl Wanted {
    /// Another one when something of it is another.
    pub(super) fn mark(&self) -> [u8; 8] {
        let mut hasher = blake3::Hasher::new();
        for manifest in &self.manifests {
            hasher.update(&manifest.id.0);
        }
        hasher.update(self.title.as_bytes());
        let hash = hasher.finalize();
        hash.as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

/// How far it has come, for whoever asks meanwhile; and whether to go on.
#[derive(Debug, Default)]
pub(super) struct Way {
    pub(super) done: AtomicU64,
    pub(super) total: AtomicU64,
    pub(super) stop: AtomicBool,
}

/// Brings the index up to date with these sessions. `all` of them: what is not
/// among them leaves the index. What looks like a secret on the way is noted.
pub(super) fn fill(
    index: &Index,
    (store, exposed): (&Store, &Exposed),
    wanted: &[Wanted],
    all: bool,
    way: &Way,
) -> Result<(), IndexError> {
    if all {
        let held = wanted.iter().map(|w| w.session).collect();
        exposed.keep_only(store, &held)?;
    }
    let searcher = index.searcher()?;
    let sessions = Sessions::of(&searcher, index.fields)?;
    let mut due = Vec::new();
    for want in wanted {
        let before = match sessions.by_id.get(&want.session) {
            Some((number, at)) => {
                let known = known(&searcher, index.fields, *at)?;
                // What cannot be read is as good as nothing, but for its number.
                Some((*number, known.filter(|k| k.session == want.session)))
            }
            None => None,
        };
        let is_known = before.as_ref().and_then(|(_, k)| k.as_ref());
        if !is_known.is_some_and(|k| is_current(k, want)) {
            due.push((want, before));
        }
    }
    let gone: Vec<u64> = if all {
        let wanted: BTreeSet<&SessionId> = wanted.iter().map(|w| &w.session).collect();
        let by_id = sessions.by_id.iter();
        let gone = by_id.filter(|(id, _)| !wanted.contains(id));
        gone.map(|(_, (number, _))| *number).collect()
    } else {
        Vec::new()
    };
    way.total.store(due.len() as u64, Ordering::Relaxed);
    way.done.store(0, Ordering::Relaxed);
    if due.is_empty() && gone.is_empty() {
        return Ok(());
    }
    let mut filling = Filling {
        store,
        exposed,
        writer: index.writer()?,
        next: sessions.next_number(),
        bytes: 0,
        way,
    };
    drop((searcher, sessions));
    for number in gone {
        filling.writer.forget(number);
    }
    for (want, before) in due {
        filling.session(want, before)?;
        way.done.fetch_add(1, Ordering::Relaxed);
    }
    filling.writer.keep()?;
    filling.writer.finish()
}

fn is_current(known: &Known, want: &Wanted) -> bool {
    let is_there = |m: &ContentRef| known.lines.iter().any(|l| l.manifest == m.id && l.whole);
    known.title == title_hash(&want.title)
        && want.manifests.iter().all(is_there)
        && known
            .lines
            .iter()
            .all(|l| want.manifests.iter().any(|m| m.id == l.manifest))
}

fn title_hash(title: &str) -> [u8; 8] {
    let hash = blake3::hash(title.as_bytes());
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

struct Filling<'s> {
    store: &'s Store,
    exposed: &'s Exposed,
    writer: Writer,
    next: u64,
    /// Text since the last time that it was kept.
    bytes: usize,
    way: &'s Way,
}

/// What is indexed of a file, by one line or another.
struct Base<'s> {
    slot: Slot,
    content: Content<'s>,
    upto: u64,
    lines: u64,
}

/// A session while it is indexed.
struct Session<'w> {
    number: u64,
    want: &'w Wanted,
    known: Known,
    /// What looks like a secret in it, as long as nothing was told of it.
    sighting: Option<Sighting>,
}

impl<'s> Filling<'s> {
    /// Indexes what is new in a session. One that cannot be read is taken out: half of
    /// it would never be made whole.
    fn session(
        &mut self,
        want: &Wanted,
        before: Option<(u64, Option<Known>)>,
    ) -> Result<(), IndexError> {
        let (number, known) = match before {
            Some((number, known)) => (number, known),
            None => {
                self.next += 1;
                (self.next - 1, None)
            }
        };
        match self.heads(want, number, known) {
            Err(IndexError::Store(e)) => {
                tracing::debug!(session = %want.session.short(), error = %e, "not indexed");
                self.writer.forget(number);
                Ok(())
            }
            other => other,
        }
    }

    fn heads(
        &mut self,
        want: &Wanted,
        number: u64,
        before: Option<Known>,
    ) -> Result<(), IndexError> {
        let mut heads: BTreeMap<ChunkId, Manifest> = BTreeMap::new();
        for head in &want.manifests {
            heads.insert(head.id, self.manifest(&head.id)?);
        }
        let mut session = Session {
            number,
            want,
            known: Known {
                session: want.session,
                title: title_hash(&want.title),
                lines: Vec::new(),
            },
            sighting: (want.own && !self.exposed.knows(&want.session)).then(Sighting::default),
        };
        let mut bases = Vec::new();
        if let Some(before) = before {
            match self.bases(&before, &heads) {
                Ok(Some(kept)) => {
                    bases = kept;
                    session.known.lines = before.lines;
                }
                Ok(None) | Err(StoreError::Absent { .. } | StoreError::Corrupt { .. }) => {
                    self.writer.forget(number);
                }
                Err(e) => return Err(e.into()),
            }
        }
        let old = session.known.lines.len();
        for (id, manifest) in &heads {
            session.known.lines.push(KnownLine {
                manifest: *id,
                whole: false,
                parts: Vec::new(),
            });
            let files = manifest.files.iter().filter(|f| f.slot.is_log());
            for file in files.take(PARTS_MAX) {
                let content = Content::of(self.store, file)?;
                let base = self.file(&mut session, &file.slot, content, &bases)?;
                bases.push(base);
            }
            if let Some(line) = session.known.lines.last_mut() {
                line.whole = true;
            }
        }
        // What they grew from has served.
        session.known.lines.drain(..old);
        self.tell(&mut session);
        self.remember(&session)
    }

    /// Notes what looks like a secret, once for a session, and before it counts as
    /// read.
    fn tell(&self, session: &mut Session<'_>) {
        if let Some(sighting) = session.sighting.take_if(|s| !s.is_empty()) {
            let id = session.want.session;
            if let Err(e) = self.exposed.add(self.store, id, sighting, wall()) {
                tracing::warn!(session = %id.short(), error = %e, "a finding is not kept");
            }
        }
    }

    fn manifest(&self, id: &ChunkId) -> Result<Manifest, StoreError> {
        let place = ccpeer_store::Place::Chunk(*id);
        let bytes = self
            .store
            .get_chunk(id)?
            .ok_or(StoreError::Absent { place })?;
        Manifest::from_bytes(&bytes).map_err(|_| StoreError::Wrong {
            place,
            why: "it is not a manifest",
        })
    }

    /// What is indexed, if each line of it goes on in one of these versions: else
    /// something would be found that is in none.
    fn bases(
        &self,
        known: &Known,
        heads: &BTreeMap<ChunkId, Manifest>,
    ) -> Result<Option<Vec<Base<'s>>>, StoreError> {
        let mut bases = Vec::new();
        for line in &known.lines {
            let manifest = self.manifest(&line.manifest)?;
            let mut mine = Vec::new();
            for part in &line.parts {
                let Some(file) = manifest.file(&part.slot) else {
                    return Ok(None);
                };
                mine.push(Base {
                    slot: part.slot.clone(),
                    content: Content::of(self.store, file)?,
                    upto: part.upto,
                    lines: part.lines,
                });
            }
            let mut goes_on = false;
            for (id, head) in heads {
                goes_on |= *id == line.manifest || self.grew_from(head, &mine)?;
            }
            if !goes_on {
                return Ok(None);
            }
            bases.append(&mut mine);
        }
        Ok(Some(bases))
    }

    fn grew_from(&self, head: &Manifest, parts: &[Base<'_>]) -> Result<bool, StoreError> {
        for part in parts {
            let Some(file) = head.file(&part.slot) else {
                return Ok(false);
            };
            let content = Content::of(self.store, file)?;
            if !content.begins_with(&part.content, part.upto)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Indexes what is new in a file.
    fn file(
        &mut self,
        session: &mut Session<'_>,
        slot: &Slot,
        content: Content<'s>,
        bases: &[Base<'s>],
    ) -> Result<Base<'s>, IndexError> {
        let (mut from, mut lines, mut shared) = (0, 0, 0);
        for base in bases.iter().filter(|b| b.slot == *slot) {
            if base.upto > from && content.begins_with(&base.content, base.upto)? {
                (from, lines) = (base.upto, base.lines);
            }
            // What another line has as well is indexed by now, as far as that one is.
            shared = shared.max(content.shared(&base.content).min(base.upto));
        }
        let part = part_number(slot);
        let mut upto = from;
        content.lines(from, &mut |line| {
            lines += 1;
            upto = line.end;
            if line.end <= shared {
                return Ok(());
            }
            if let Some(sighting) = &mut session.sighting {
                sighting.look(slot, lines, line.bytes);
            }
            if let Some(said) = matter(line.bytes) {
                let role = match said.by {
                    By::User => Role::User,
                    By::Claude => Role::Claude,
                    By::Tool => Role::Tool,
                    By::Output => Role::Output,
                };
                self.writer.add(&Entry {
                    session: session.number,
                    part,
                    line: lines,
                    offset: line.start,
                    seconds: said.at.map_or(session.want.updated, |ms| ms / 1000),
                    role,
                    text: &said.text,
                    files: &said.files,
                })?;
                self.bytes += said.text.len();
            }
            if self.bytes >= KEEP_BYTES {
                self.keep(session, slot, upto, lines)?;
            }
            if self.way.stop.load(Ordering::Relaxed) {
                return Err(IndexError::Ending);
            }
            Ok(())
        })?;
        note(session, slot, upto, lines);
        Ok(Base {
            slot: slot.clone(),
            content,
            upto,
            lines,
        })
    }

    /// Keeps what is indexed so far, and how far that is, so that whoever goes on
    /// after a crash goes on from there.
    fn keep(
        &mut self,
        session: &mut Session<'_>,
        slot: &Slot,
        upto: u64,
        lines: u64,
    ) -> Result<(), IndexError> {
        note(session, slot, upto, lines);
        self.tell(session);
        self.remember(session)?;
        self.writer.keep()?;
        self.bytes = 0;
        Ok(())
    }

    fn remember(&mut self, session: &Session<'_>) -> Result<(), IndexError> {
        let title = Entry {
            session: session.number,
            part: None,
            line: 0,
            offset: 0,
            seconds: session.want.updated,
            role: Role::Title,
            text: &session.want.title,
            files: &[],
        };
        self.writer.remember(&title, &session.known)
    }
}

/// Notes how far a file of the last line is indexed.
fn note(session: &mut Session<'_>, slot: &Slot, upto: u64, lines: u64) {
    let Some(line) = session.known.lines.last_mut() else {
        return;
    };
    line.parts.retain(|p| p.slot != *slot);
    line.parts.push(KnownPart {
        slot: slot.clone(),
        upto,
        lines,
    });
}

/// Opens the index that lies here, or makes one; and whether it did. One that was
/// not looked at in this life is read and checked once.
pub(super) fn open_or_create(dir: &Path, check: bool) -> Result<(Index, bool), IndexError> {
    let opened = Index::open(dir).and_then(|index| {
        if check {
            index.check()?;
        }
        index.searcher().map(drop)?;
        Ok(index)
    });
    match opened {
        Ok(index) => Ok((index, false)),
        Err(e @ (IndexError::Absent | IndexError::Damaged(_))) => {
            tracing::info!(why = %e, "the search index is made");
            Ok((Index::create(dir)?, true))
        }
        Err(e) => Err(e),
    }
}

/// What is remembered of a session, for tests.
#[cfg(test)]
pub(super) fn remembered(index: &Index, session: &SessionId) -> Option<Known> {
    let searcher = index.searcher().unwrap();
    let sessions = Sessions::of(&searcher, index.fields).unwrap();
    let fields = index.fields;
    let (_, at) = sessions.by_id.get(session)?;
    known(&searcher, fields, *at).unwrap()
}
