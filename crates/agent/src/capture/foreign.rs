//! A bundle of claude-sync-sessions → store: what another program carried here
//! becomes a version.
//!
//! It is written in the paths of the machine that it comes from, which stay data:
//! the tokens in it become those paths again, and from there on it is like any
//! other session of a foreign machine. It grew from the version that is its
//! beginning, line for line, and keeps that one's bytes with their origins; only
//! what is new is cut. What has nothing in common with what is known is a line of
//! its own: nothing is overwritten by what comes later.
//!
//! Never touches Claude's directory, and must not know how the bundle came here.

mod compare;
mod pieces;
#[cfg(test)]
mod tests;

use std::thread;

use ccpeer_core::entry::{ContentRef, Version};
use ccpeer_core::id::EntryHash;
use ccpeer_core::limits;
use ccpeer_core::manifest::{
    FileEntry, MANIFEST_VERSION, Manifest, Origin, ProjectIdentity, Segment, Slot,
};
use ccpeer_core::presence::SessionState;
use ccpeer_core::time::Timestamp;
use ccpeer_formats::bundle_v1::{Bundle, tokens};
use ccpeer_formats::claude::tasks;
use ccpeer_formats::claude::transcript::Digest;
use ccpeer_formats::remote_path::RemotePath;
use ccpeer_store::{Store, StoreError};

use super::CaptureRequest;
use super::chunking::{ChunkError, SegmentBuilder, Sink};
use super::describe::describe;
use super::fitting::{drop_unused_origins, fit, position};
use compare::{Found, find};
use pieces::Pieces;

/// A line of the session that is known here.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Its newest version.
    pub(crate) id: EntryHash,
    pub(crate) manifest: ContentRef,
    /// What it grew from, the nearest first.
    pub(crate) older: Vec<(EntryHash, ContentRef)>,
}

/// What is known beside the bundle.
#[derive(Debug, Clone)]
pub(crate) struct Around {
    /// The lines of the session.
    pub(crate) lines: Vec<Line>,
    /// Where it stands, if nothing is known of it here.
    pub(crate) state: SessionState,
    /// By the wall clock: a label.
    pub(crate) now: Timestamp,
}

/// What a bundle came to.
#[derive(Debug)]
pub(crate) enum TakenIn {
    /// There is nothing new in it.
    Known,
    /// A version that has not been stated yet; its content is durable.
    New(Box<Version>, Growth),
}

/// How a version stands to those that were known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    /// The session was not known.
    First,
    /// It goes on from one.
    Grown,
    /// It is a line beside the others.
    Beside,
}

/// Why a bundle cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForeignError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not what it was when it was opened.
    #[error("the bundle cannot be read")]
    Unreadable,
    /// More than can be carried.
    #[error("the bundle holds {0} bytes, more than a session may have")]
    TooLarge(u64),
    /// Too many files.
    #[error("the files of the bundle do not fit into a manifest")]
    TooMany,
}

impl From<ChunkError> for ForeignError {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Store(e) => Self::Store(e),
            ChunkError::Read(_) => Self::Unreadable,
        }
    }
}

/// Makes durable what is new in a bundle, and says what it is. Blocking.
///
/// # Errors
/// See [`ForeignError`].
pub(crate) fn take_in(
    store: &Store,
    bundle: &Bundle<'_>,
    around: &Around,
) -> Result<TakenIn, ForeignError> {
    let origin = tokens::origin_of(bundle.head());
    let found = find(store, bundle, &origin, &around.lines)?;
    let (parent, before, same, growth) = match found {
        Found::Known => return Ok(TakenIn::Known),
        Found::GrewFrom {
            id,
            manifest,
            same_lines,
        } => (vec![id], Some(*manifest), same_lines, Growth::Grown),
        Found::Apart if around.lines.is_empty() => (Vec::new(), None, 0, Growth::First),
        Found::Apart => (Vec::new(), None, 0, Growth::Beside),
    };
    thread::scope(|scope| {
        let (pieces, sender) = Pieces::new();
        let giving = scope.spawn(move || sender.send_all(bundle));
        let mut taking = Taking {
            sink: Sink::new(store, scope),
            bundle,
            origin,
            before,
            same_lines: same,
            around,
            pieces,
        };
        let taken = taking.run(parent);
        // Nobody takes any more of it: whoever gives it must not wait.
        drop(taking);
        let given = giving
            .join()
            .unwrap_or_else(|p| std::panic::resume_unwind(p));
        let version = taken?;
        given.map_err(|_| ForeignError::Unreadable)?;
        Ok(TakenIn::New(Box::new(version), growth))
    })
}

/// How a bundle stands to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They say the same.
    Same,
    /// The version has all of it, and more.
    Contained,
    /// It has something that the version has not, or nobody can tell.
    Apart,
}

/// How a bundle stands to a version that is here. Blocking.
///
/// # Errors
/// See [`ForeignError`].
pub(crate) fn standing(
    store: &Store,
    bundle: &Bundle<'_>,
    manifest: ContentRef,
) -> Result<Standing, ForeignError> {
    let origin = tokens::origin_of(bundle.head());
    compare::standing(store, bundle, &origin, manifest)
}

/// One bundle on its way in.
struct Taking<'s, 'a> {
    sink: Sink<'s, 'a>,
    bundle: &'a Bundle<'a>,
    origin: Origin,
    /// What it grew from.
    before: Option<Manifest>,
    /// Lines of the transcript that are those of `before`; 0 if its bytes are not
    /// to be kept.
    same_lines: u64,
    around: &'a Around,
    pieces: Pieces,
}

impl Taking<'_, '_> {
    fn run(&mut self, parents: Vec<EntryHash>) -> Result<Version, ForeignError> {
        let head = self.bundle.head();
        let modified = head.updated.unwrap_or(self.around.now);
        let modified = modified.min(self.around.now);
        let before = self.before.clone();
        let mut origins = before.as_ref().map_or_else(Vec::new, |m| m.origins.clone());
        if origins.len() >= limits::ORIGINS_MAX && !origins.contains(&self.origin) {
            origins.clear();
            self.before = None;
            self.same_lines = 0;
        }
        let at = position(&mut origins, &self.origin);
        let mut digest = Digest::default();
        let mut todos = Vec::new();
        let mut files = Vec::new();
        while let Some(slot) = self.pieces.next_slot() {
            let segments = self.file(&slot, at, &mut digest, &mut todos)?;
            files.push(FileEntry {
                slot,
                segments,
                modified,
            });
        }
        // Files without a byte are not given.
        for file in self.bundle.files() {
            if !files.iter().any(|f: &FileEntry| f.slot == file.slot) {
                files.push(FileEntry {
                    slot: file.slot.clone(),
                    segments: Vec::new(),
                    modified,
                });
            }
        }
        // What a bundle has no place for, or its program did not find, stays.
        if let Some(before) = &self.before {
            let kept = before.files.iter();
            let kept: Vec<_> = kept
                .filter(|b| !files.iter().any(|f| f.slot == b.slot))
                .cloned()
                .collect();
            files.extend(kept);
        }
        files.sort_by(|a, b| a.slot.cmp(&b.slot));
        let mut manifest = Manifest {
            version: MANIFEST_VERSION,
            session: head.session,
            origins,
            project: before.map_or_else(|| self.project(), |m| m.project),
            files,
        };
        drop_unused_origins(&mut manifest);
        let bytes = manifest.total_bytes();
        if bytes > limits::SESSION_BYTES_MAX {
            return Err(ForeignError::TooLarge(bytes));
        }
        let encoded = fit(&mut manifest).ok_or(ForeignError::TooMany)?;
        let request = CaptureRequest {
            session: head.session,
            last_assistant_message: None,
            changed: false,
            in_passing: false,
            state: self.around.state,
            device_name: head.device.clone(),
            now: self.around.now,
        };
        let said = (&digest.summary(), None);
        let described = describe(&request, &self.origin, &manifest, said, todos);
        let snapshot = self.sink.keep(described.snapshot)?;
        let content = self.sink.keep(encoded)?;
        self.sink.flush()?;
        let of = |chunk: ccpeer_core::manifest::ChunkRef| ContentRef {
            id: chunk.id,
            len: chunk.len,
        };
        Ok(Version {
            session: head.session,
            parents,
            derived_from: None,
            manifest: Some(of(content)),
            snapshot: Some(of(snapshot)),
            state: self.around.state,
            meta: described.meta,
        })
    }

    /// The segments of the file that comes next.
    fn file(
        &mut self,
        slot: &Slot,
        at: u8,
        digest: &mut Digest,
        todos: &mut Vec<tasks::Todo>,
    ) -> Result<Vec<Segment>, ForeignError> {
        let mut kept = Vec::new();
        let mut skip = 0;
        if *slot == Slot::Main && self.same_lines > 0 {
            let main = self.before.as_ref().and_then(|m| m.file(slot));
            kept = main.map_or_else(Vec::new, |m| m.segments.clone());
            skip = self.same_lines;
        }
        let resumed = match kept.last() {
            Some(last) if last.origin == at => SegmentBuilder::resume(last, 0, &self.sink)?,
            _ => None,
        };
        if resumed.is_none() && kept.len() >= limits::SEGMENTS_MAX {
            (kept, skip) = (Vec::new(), 0);
        }
        let mut builder = match resumed {
            Some(builder) => {
                kept.pop();
                builder
            }
            None => SegmentBuilder::new(at),
        };
        let todo = matches!(slot, Slot::Todo(_)).then(Vec::new);
        let mut reader = self.pieces.file(slot, &self.origin, skip, todo);
        if *slot == Slot::Main {
            reader.told_to(digest);
        }
        builder.append(&mut reader, &mut self.sink)?;
        if let Some(text) = reader.seen() {
            todos.extend(tasks::parse_todos(&text));
            todos.truncate(limits::DIGEST_ITEMS_MAX);
        }
        let segment = builder.finish();
        if segment.len > 0 {
            kept.push(segment);
        }
        let whole = self.before.as_ref().and_then(|m| m.file(slot));
        Ok(match whole {
            // The same bytes as before were not written anew on that machine.
            Some(whole) if same_content(&whole.segments, &kept) => whole.segments.clone(),
            _ => kept,
        })
    }

    /// What is known of the project, in terms that mean something elsewhere.
    fn project(&self) -> ProjectIdentity {
        let said = &self.bundle.head().project;
        let parse = |path: &str| RemotePath::parse(path, self.origin.flavour).ok();
        let below_home = parse(&self.origin.project)
            .zip(parse(&self.origin.home))
            .and_then(|(project, home)| project.strip_prefix(&home));
        let name = parse(&self.origin.project).and_then(|p| p.file_name().map(str::to_owned));
        ProjectIdentity {
            name: name.unwrap_or_else(|| said.name.clone()),
            below_home: below_home.filter(|b| !b.is_empty()),
            below_root: said.below_root.clone(),
            ..ProjectIdentity::default()
        }
    }
}

fn same_content(a: &[Segment], b: &[Segment]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| (a.len, &a.pages, &a.tail) == (b.len, &b.pages, &b.tail))
}
