//! What a version of a session consists of: typed slots, each a list of
//! segments, each a list of chunks.
//!
//! **No file name is in here.** A slot says what a file *is*; the receiver
//! derives where it goes from ids that it has validated.
//!
//! **Segments** make hand-overs exact and cheap. A file that began on A and went
//! on on B is kept as A's bytes followed by B's bytes, each with the [`Origin`]
//! in whose paths it is written. Placing it rewrites each segment from its own
//! origin, and a device's own segments need no rewriting at all: going from A to
//! B and back gives A its own bytes, whatever they contain. Nothing that was
//! shared before is captured, stored or sent a second time.
//!
//! **Lists** keep the manifest small: a segment names full pages of
//! [`limits::LIST_REFS_MAX`] chunk references by their hash and only the last,
//! unfilled one inline, so an append changes a bounded number of bytes however
//! long the session is.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError};
use crate::id::{ChunkId, SessionId};
use crate::limits;
use crate::time::Timestamp;

mod opaque;
pub use opaque::OpaqueName;

/// Version of manifest and list page.
pub const MANIFEST_VERSION: u8 = 1;

/// Version of a manifest that says where its project lies there, beyond what
/// the first one can say.
pub const MANIFEST_VERSION_PLACED: u8 = 2;

/// One version of a session, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: u8,
    /// Which session.
    pub session: SessionId,
    /// In whose paths the segments are written.
    pub origins: Vec<Origin>,
    /// Which project it belongs to, in terms that mean something elsewhere.
    pub project: ProjectIdentity,
    /// The files, in ascending order of slot, each slot once.
    pub files: Vec<FileEntry>,
}

/// The places of one machine, as text to look for. Never used as a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// How paths are written there.
    pub flavour: PathFlavour,
    /// The user's home directory.
    pub home: String,
    /// The project's directory: where the session was started.
    pub project: String,
    /// Claude Code's directory.
    pub claude_dir: String,
    /// The name that Claude Code gave the project's directory under `projects/`.
    pub slug: String,
}

/// How a machine writes paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PathFlavour {
    /// `/home/ann`.
    Unix,
    /// `C:\Users\ann`.
    Windows,
}

/// What identifies a project on another machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProjectIdentity {
    /// Last part of its path.
    pub name: String,
    /// Normalised remote URLs of its git repository, sorted.
    pub remotes: Vec<String>,
    /// Hash of the repository's first commit, or empty.
    pub root_commit: String,
    /// Where in the repository the session was started, `/`-separated; empty at
    /// its top.
    pub subdir: String,
    /// Path below the home directory, `/`-separated, if it lies there.
    pub below_home: Option<String>,
    /// Path below a directory that holds projects, as the user said there.
    #[serde(skip)]
    pub below_root: Option<String>,
    /// Name of the linked worktree that it lies in, if it lies in one.
    #[serde(skip)]
    pub worktree: Option<String>,
}

/// What version 2 says of a project beside its [`ProjectIdentity`]; there only
/// if it says something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ProjectPlace {
    below_root: Option<String>,
    worktree: Option<String>,
}

/// A manifest of version 2.
#[derive(Serialize, Deserialize)]
struct Placed {
    manifest: Manifest,
    place: ProjectPlace,
}

/// One file of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// What it is.
    pub slot: Slot,
    /// Its content, in order.
    pub segments: Vec<Segment>,
    /// When it last changed, by the capturing machine's clock. A label.
    pub modified: Timestamp,
}

/// A run of a file written on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Index into [`Manifest::origins`].
    pub origin: u8,
    /// Bytes.
    pub len: u64,
    /// Full pages of [`limits::LIST_REFS_MAX`] references each.
    pub pages: Vec<ChunkId>,
    /// The references after the last full page.
    pub tail: Vec<ChunkRef>,
}

/// A chunk and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// Hash of the content.
    pub id: ChunkId,
    /// Length in bytes.
    pub len: u32,
}

/// A full page of references, itself kept as a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListPage {
    /// [`MANIFEST_VERSION`].
    pub version: u8,
    /// Exactly [`limits::LIST_REFS_MAX`] of them.
    pub refs: Vec<ChunkRef>,
}

/// What a file is. A kind that is not in this list makes the whole manifest
/// unreadable: there is no way to name settings, hooks, skills, commands,
/// plugins or anything else that would be executed or obeyed.
///
/// New kinds go to the end: a kind is its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Slot {
    /// The main transcript.
    Main,
    /// Transcript of a sub-agent.
    Subagent(SlotName),
    /// What Claude Code keeps about a sub-agent.
    SubagentMeta(SlotName),
    /// Output of a tool that was too long for the transcript.
    ToolResult(SlotName),
    /// One item of the task list.
    Task(u32),
    /// The task list's highest number so far.
    TaskHighWater,
    /// Todo list of an agent (Claude Code before 2.1.197).
    Todo(SlotName),
    /// A file as it was before a change, for rewinding.
    FileHistory {
        /// First 16 hex digits of the SHA-256 of the file's path.
        path_hash: [u8; 8],
        /// Version number.
        version: u32,
    },
    /// A plan of plan mode.
    Plan(SlotName),
    /// A file of the session's own directories that the capturing ccpeer did not
    /// know. It is kept and passed on as it is, and placed by nobody: the name
    /// is a label and gives no place.
    Opaque(OpaqueName),
}

/// A name that is safe as a part of a file name on every system:
/// `[A-Za-z0-9_-]`, 1 to 64 characters, no device name of Windows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SlotName(String);

impl SlotName {
    /// Accepts a safe name.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let safe = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
            && !is_device_name(text);
        safe.then(|| Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_device_name(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    matches!(
        lower.as_str(),
        "con" | "prn" | "aux" | "nul" | "conin" | "conout"
    ) || matches!(lower.as_bytes(), [b'c', b'o', b'm', d] | [b'l', b'p', b't', d] if d.is_ascii_digit())
}

impl Slot {
    /// Whether the content is text of Claude Code in which paths are rewritten.
    /// Everything else is placed as it was.
    #[must_use]
    pub fn is_rewritten(&self) -> bool {
        match self {
            Self::Main
            | Self::Subagent(_)
            | Self::SubagentMeta(_)
            | Self::ToolResult(_)
            | Self::Task(_)
            | Self::Todo(_)
            | Self::Plan(_) => true,
            Self::TaskHighWater | Self::FileHistory { .. } | Self::Opaque(_) => false,
        }
    }

    /// Whether the file grows by whole lines and is otherwise left alone.
    #[must_use]
    pub fn is_log(&self) -> bool {
        matches!(self, Self::Main | Self::Subagent(_))
    }

    /// The label, if this is a file of a kind that is not known.
    #[must_use]
    pub fn opaque(&self) -> Option<&OpaqueName> {
        match self {
            Self::Opaque(name) => Some(name),
            _ => None,
        }
    }

    /// Whether the name in it, if there is one, is what it has to be.
    fn is_named_safely(&self) -> bool {
        match self {
            Self::Subagent(n)
            | Self::SubagentMeta(n)
            | Self::ToolResult(n)
            | Self::Todo(n)
            | Self::Plan(n) => SlotName::new(&n.0).is_some(),
            Self::Opaque(name) => name.is_sound(),
            Self::Main | Self::Task(_) | Self::TaskHighWater | Self::FileHistory { .. } => true,
        }
    }

    /// The slot with its name folded, to find twins that a case-insensitive
    /// disk would make one file.
    fn folded(&self) -> Self {
        let fold = |n: &SlotName| SlotName(n.0.to_ascii_lowercase());
        match self {
            Self::Subagent(n) => Self::Subagent(fold(n)),
            Self::SubagentMeta(n) => Self::SubagentMeta(fold(n)),
            Self::ToolResult(n) => Self::ToolResult(fold(n)),
            Self::Todo(n) => Self::Todo(fold(n)),
            Self::Plan(n) => Self::Plan(fold(n)),
            Self::Opaque(name) => Self::Opaque(name.folded()),
            other => other.clone(),
        }
    }
}

impl FileEntry {
    /// Bytes of the whole file.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.segments
            .iter()
            .map(|s| s.len)
            .fold(0, u64::saturating_add)
    }

    /// Whether the file has no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Manifest {
    /// Encodes a manifest of ours, in the first version that can say it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let project = &self.project;
        if project.below_root.is_none() && project.worktree.is_none() {
            return codec::encode(self);
        }
        codec::encode(&Placed {
            manifest: Self {
                version: MANIFEST_VERSION_PLACED,
                ..self.clone()
            },
            place: ProjectPlace {
                below_root: project.below_root.clone(),
                worktree: project.worktree.clone(),
            },
        })
    }

    /// Decodes and checks every bound: lengths, names, order, indices.
    ///
    /// # Errors
    /// See [`DecodeError`]; the name in `OutOfBounds` says which rule was broken.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let manifest = match bytes.first() {
            Some(&MANIFEST_VERSION) => codec::decode(bytes, limits::MANIFEST_BYTES_MAX)?,
            Some(&MANIFEST_VERSION_PLACED) => Self::placed(bytes)?,
            Some(&other) => return Err(DecodeError::Version(other)),
            None => return Err(DecodeError::Malformed),
        };
        manifest.check().map_err(DecodeError::OutOfBounds)?;
        Ok(manifest)
    }

    /// Decodes version 2. What it says more becomes a part of the project; the
    /// value is that of any other manifest.
    fn placed(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Placed { manifest, place } = codec::decode(bytes, limits::MANIFEST_BYTES_MAX)?;
        if place.below_root.is_none() && place.worktree.is_none() {
            // It has a shorter spelling.
            return Err(DecodeError::NotCanonical);
        }
        Ok(Self {
            version: MANIFEST_VERSION,
            project: ProjectIdentity {
                below_root: place.below_root,
                worktree: place.worktree,
                ..manifest.project
            },
            ..manifest
        })
    }

    fn check(&self) -> Result<(), &'static str> {
        let is = |ok: bool, what: &'static str| if ok { Ok(()) } else { Err(what) };
        is(
            !self.origins.is_empty() && self.origins.len() <= limits::ORIGINS_MAX,
            "origins",
        )?;
        for o in &self.origins {
            for path in [&o.home, &o.project, &o.claude_dir, &o.slug] {
                is(path.len() <= limits::FOREIGN_PATH_BYTES_MAX, "path length")?;
            }
        }
        is(
            self.project.name.len() <= 1024 && self.project.remotes.len() <= 32,
            "project",
        )?;
        for place in [&self.project.below_root, &self.project.worktree] {
            let len = place.as_ref().map_or(0, String::len);
            is(len <= limits::FOREIGN_PATH_BYTES_MAX, "project")?;
        }
        is(self.files.len() <= limits::MANIFEST_SLOTS_MAX, "files")?;
        let opaque = self.files.iter().filter(|f| f.slot.opaque().is_some());
        is(opaque.count() <= limits::OPAQUE_FILES_MAX, "opaque files")?;
        let mut folded = BTreeSet::new();
        let mut before: Option<&Slot> = None;
        let mut total = 0u64;
        for file in &self.files {
            is(before.is_none_or(|b| b < &file.slot), "order of slots")?;
            before = Some(&file.slot);
            is(file.slot.is_named_safely(), "slot name")?;
            if let Slot::FileHistory { version, .. } = file.slot {
                is(version <= 9999, "file history version")?;
            }
            is(folded.insert(file.slot.folded()), "twin slots")?;
            is(file.segments.len() <= limits::SEGMENTS_MAX, "segments")?;
            for s in &file.segments {
                is(usize::from(s.origin) < self.origins.len(), "origin index")?;
                is(s.pages.len() <= limits::LIST_PAGES_MAX, "pages")?;
                is(s.tail.len() <= limits::LIST_REFS_MAX, "tail")?;
                is(s.tail.iter().all(ChunkRef::is_bounded), "chunk length")?;
                let inline: u64 = s.tail.iter().map(|r| u64::from(r.len)).sum();
                let paged = (s.pages.len() * limits::LIST_REFS_MAX) as u64;
                is(
                    s.len >= inline && s.len - inline <= paged * limits::CHUNK_BYTES_MAX as u64,
                    "segment length",
                )?;
                is(!s.pages.is_empty() || s.len == inline, "segment length")?;
            }
            total = total.saturating_add(file.len());
        }
        is(total <= limits::SESSION_BYTES_MAX, "session length")
    }

    /// The file in this slot.
    #[must_use]
    pub fn file(&self, slot: &Slot) -> Option<&FileEntry> {
        let at = self.files.binary_search_by(|f| f.slot.cmp(slot)).ok()?;
        self.files.get(at)
    }

    /// Bytes of all files.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.files
            .iter()
            .map(FileEntry::len)
            .fold(0, u64::saturating_add)
    }

    /// What must be had besides `since`, whoever has that one whole: list pages and
    /// chunks, without repeats. `page` gives the content of a list page; what a page
    /// that it does not give refers to is left out.
    pub fn beyond(
        &self,
        since: &Self,
        mut page: impl FnMut(&ChunkId) -> Option<ListPage>,
    ) -> Vec<ChunkId> {
        let segments = || self.files.iter().flat_map(|f| &f.segments);
        let before = || since.files.iter().flat_map(|f| &f.segments);
        let mut had: BTreeSet<ChunkId> = before()
            .flat_map(|s| s.pages.iter().copied().chain(s.tail.iter().map(|r| r.id)))
            .collect();
        let mut out = Vec::new();
        for id in segments().flat_map(|s| &s.pages) {
            if had.insert(*id) {
                out.push(*id);
                let refs = page(id).into_iter().flat_map(|p| p.refs);
                out.extend(refs.map(|r| r.id).filter(|id| had.insert(*id)));
            }
        }
        for r in segments().flat_map(|s| &s.tail) {
            if had.insert(r.id) {
                out.push(r.id);
            }
        }
        out
    }

    /// The last chunks of the main transcript, in order: what is appended to it is
    /// most like them. At least one, if it has any here, and as many as fit.
    #[must_use]
    pub fn recent(&self, bytes_max: usize, max: usize) -> Vec<ChunkId> {
        let last = self.file(&Slot::Main).and_then(|f| f.segments.last());
        let mut recent = Vec::new();
        let mut bytes = 0;
        for r in last.iter().flat_map(|s| s.tail.iter().rev()).take(max) {
            bytes += r.len as usize;
            if bytes > bytes_max && !recent.is_empty() {
                break;
            }
            recent.push(r.id);
        }
        recent.reverse();
        recent
    }

    /// What else must be had: list pages and chunks, without repeats.
    #[must_use]
    pub fn wants(&self) -> Vec<Want> {
        let mut seen = BTreeSet::new();
        let mut out = Vec::new();
        for s in self.files.iter().flat_map(|f| &f.segments) {
            for page in &s.pages {
                let want = Want::list(*page);
                if seen.insert(want) {
                    out.push(want);
                }
            }
            for r in &s.tail {
                let want = Want::data(r.id);
                if seen.insert(want) {
                    out.push(want);
                }
            }
        }
        out
    }
}

impl ChunkRef {
    fn is_bounded(&self) -> bool {
        self.len > 0 && self.len as usize <= limits::CHUNK_BYTES_MAX
    }
}

impl ListPage {
    /// Encodes a full page.
    ///
    /// # Panics
    /// If the page is not full: a mistake of ours.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        assert_eq!(self.refs.len(), limits::LIST_REFS_MAX);
        codec::encode(self)
    }

    /// Decodes a full page.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes.first() {
            Some(&MANIFEST_VERSION) => {}
            Some(&other) => return Err(DecodeError::Version(other)),
            None => return Err(DecodeError::Malformed),
        }
        let page: Self = codec::decode(bytes, limits::LIST_REFS_MAX * 48 + 16)?;
        if page.refs.len() != limits::LIST_REFS_MAX || !page.refs.iter().all(ChunkRef::is_bounded) {
            return Err(DecodeError::OutOfBounds("list page"));
        }
        Ok(page)
    }
}

/// A chunk that is needed, and how to read it once it is there. The same bytes
/// under two kinds are two wants: what is needed below them differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Want {
    /// Which chunk.
    pub id: ChunkId,
    /// What it is.
    pub kind: WantKind,
}

/// What a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WantKind {
    /// A [`Manifest`].
    Manifest,
    /// A [`ListPage`].
    List,
    /// Content: of a file, or a snapshot document.
    Data,
}

impl WantKind {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Manifest, Self::List, Self::Data];

    /// Whether a version can consist of this: a page is only ever part of a
    /// manifest.
    #[must_use]
    pub fn is_root(self) -> bool {
        match self {
            Self::Manifest | Self::Data => true,
            Self::List => false,
        }
    }
}

impl Want {
    /// A manifest.
    #[must_use]
    pub fn manifest(id: ChunkId) -> Self {
        let kind = WantKind::Manifest;
        Self { id, kind }
    }

    /// A list page.
    #[must_use]
    pub fn list(id: ChunkId) -> Self {
        let kind = WantKind::List;
        Self { id, kind }
    }

    /// Content, or a snapshot's document.
    #[must_use]
    pub fn data(id: ChunkId) -> Self {
        let kind = WantKind::Data;
        Self { id, kind }
    }

    /// The same bytes as everything that they can be called, this kind included.
    pub fn all_kinds(&self) -> impl Iterator<Item = Self> + use<> {
        let id = self.id;
        WantKind::ALL.into_iter().map(move |kind| Self { id, kind })
    }

    /// What the content of this chunk refers to.
    ///
    /// # Errors
    /// If the content is not of the kind that was asked for: the author's fault.
    pub fn children(&self, content: &[u8]) -> Result<Vec<Want>, DecodeError> {
        match self.kind {
            WantKind::Manifest => Ok(Manifest::from_bytes(content)?.wants()),
            WantKind::List => Ok(ListPage::from_bytes(content)?
                .refs
                .iter()
                .map(|r| Want::data(r.id))
                .collect()),
            WantKind::Data => Ok(Vec::new()),
        }
    }
}
