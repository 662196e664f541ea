//! Claude's directory → store: one session's files become a version.
//!
//! Order: content durable, then the manifest; the entry that names it is the
//! driver's, and only after that entry the memory of it here. Whatever is lost
//! in between is read again. Must not know peers, and never writes below
//! Claude's directory.

pub(crate) mod chunking;
mod describe;
mod digest;
mod files;
mod fitting;
pub(crate) mod foreign;
mod known;
pub(crate) mod opaque;
mod worktree;

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use ccpeer_core::entry::{ContentRef, SessionMeta};
use ccpeer_core::id::{ChunkId, EntryHash, SessionId};
use ccpeer_core::limits;
use ccpeer_core::manifest::{FileEntry, MANIFEST_VERSION, Manifest, Origin, ProjectIdentity, Slot};
use ccpeer_core::presence::SessionState;
use ccpeer_core::time::Timestamp;
use ccpeer_formats::claude::hook;
use ccpeer_formats::claude::layout::{self, Classified, Only, Place};
use ccpeer_formats::claude::transcript::Summary;
use ccpeer_store::{NoteWrite, Store, StoreError};

use crate::api::{ApiError, ErrorCode};
use crate::confined::{ConfinedError, Dir, Root};
use crate::home::Home;
use crate::local::LocalState;
use crate::{git, place, problem, scan};

use chunking::{ChunkError, Sink};
use files::{Change, Reader, Taken};
use fitting::{drop_unused_origins, fit, position};
use known::{Files, Known};

pub(crate) use digest::Recent;

/// Names in one directory of a session that are looked at.
const NAMES_MAX: usize = 16 * 1024;

/// What is to be captured.
#[derive(Debug, Clone)]
pub(crate) struct CaptureRequest {
    /// Which session.
    pub(crate) session: SessionId,
    /// The last reply as the Stop hook told it: the file may not have it yet.
    pub(crate) last_assistant_message: Option<String>,
    /// It has all but certainly changed: git is asked at once.
    pub(crate) changed: bool,
    /// That nothing changed is not worth a flush: it is seen again.
    pub(crate) in_passing: bool,
    /// Where the session stands.
    pub(crate) state: SessionState,
    /// This device's name, for the hand-off document.
    pub(crate) device_name: String,
    /// By the wall clock: a label.
    pub(crate) now: Timestamp,
}

/// What a capture came to.
#[derive(Debug)]
pub(crate) enum Captured {
    /// The files are those of this version.
    Unchanged {
        /// The version, if it was ever stated.
        base: Option<EntryHash>,
    },
    /// The session's transcript is not in Claude's directory: cleaned up, moved
    /// away, or never written. Nothing is deleted anywhere because of that.
    Vanished,
    /// There is a new version; its content is durable, or with it.
    New(Box<NewVersion>),
}

/// A version that has not been stated yet.
#[derive(Debug)]
pub(crate) struct NewVersion {
    /// Its manifest.
    pub(crate) manifest: ContentRef,
    /// Its hand-off document.
    pub(crate) snapshot: ContentRef,
    /// What lists show.
    pub(crate) meta: SessionMeta,
    /// The version that the files grew from, as far as is remembered.
    pub(crate) base: Option<EntryHash>,
    /// Another version that the files contain as well: the two were joined.
    pub(crate) joined: Option<EntryHash>,
    /// Where a fork came from; only before its first version.
    pub(crate) derived_from: Option<(SessionId, EntryHash)>,
    /// The files are those of the version before, and git says something else by now.
    pub(crate) restated: bool,
    /// A program started it, and no person at a prompt.
    pub(crate) by_program: bool,
    session: SessionId,
    pub(crate) state: LocalState,
    /// What is remembered and forgotten beside it.
    notes: Vec<NoteWrite>,
    /// Chunks that are not durable yet: they become so before the version is
    /// stated, or together with it.
    pub(crate) content: Vec<(ChunkId, Vec<u8>)>,
}

/// Why a session cannot be captured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    /// A place below Claude's directory is not fit to be read.
    #[error(transparent)]
    Place(#[from] ConfinedError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file changed again and again while it was read.
    #[error("session {0} changes faster than it can be read")]
    Restless(SessionId),
    /// More than can be carried.
    #[error("session {session} has {bytes} bytes, more than {max}", max = limits::SESSION_BYTES_MAX)]
    TooLarge {
        /// Which session.
        session: SessionId,
        /// All its files together.
        bytes: u64,
    },
    /// Too many files.
    #[error("the files of session {0} do not fit into a manifest")]
    TooMany(SessionId),
}

/// Reads what changed of a session, makes most of it durable, and says what it is.
/// `recent` is of the same store.
///
/// # Errors
/// See [`CaptureError`]. What was remembered stays as it was.
pub(crate) fn capture(
    store: &Store,
    home: &Home,
    recent: &Recent,
    request: &CaptureRequest,
) -> Result<Captured, CaptureError> {
    let session = request.session;
    let Some(root) = Root::open(home.claude())? else {
        return Ok(Captured::Vanished);
    };
    let before = LocalState::known(store, &session)?;
    let asked = before.as_ref().filter(|_| request.changed);
    // Somebody waits for this version: what git said last will do for now.
    let asked =
        asked.map(|state| git::Later::recall_or_ask(Path::new(&state.here.project), &recent.git));
    let Some(found) = scan::find_session(home, &session).into_iter().next() else {
        return Ok(Captured::Vanished);
    };
    let manifest = match &before {
        Some(state) => state.manifest(store)?,
        None => None,
    };
    let known = Known {
        state: before,
        manifest,
    };
    thread::scope(|scope| {
        let capture = Capture {
            store,
            home,
            recent,
            root,
            request,
            slug: found.slug,
            known,
            asked,
            sink: Sink::new(store, scope),
        };
        capture.run()
    })
}

impl NewVersion {
    /// What is to be remembered once the version is durable under this name.
    pub(crate) fn notes(&self, version: EntryHash) -> Vec<NoteWrite> {
        let state = LocalState {
            base: Some(version),
            ..self.state.clone()
        };
        let mut notes = self.notes.clone();
        notes.push(LocalState::note_of(Arc::new(state), &self.session));
        notes
    }

    /// Makes its content durable, and remembers it under this name.
    pub(crate) fn keep(&self, store: &Store, version: EntryHash) -> Result<(), StoreError> {
        store.put_chunks(&self.content)?;
        store.put_notes(&self.notes(version))
    }
}

/// The notes that forget what a session's transcript said: another file took its
/// place.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn forget_digest(
    store: &Store,
    session: &SessionId,
) -> Result<Vec<NoteWrite>, StoreError> {
    digest::forget(store, session)
}

pub(crate) use describe::{FLAVOUR, here};

/// One capture.
struct Capture<'s, 'a> {
    store: &'a Store,
    home: &'a Home,
    recent: &'a Recent,
    root: Root,
    request: &'a CaptureRequest,
    slug: String,
    known: Known,
    /// Git takes as long as all the rest.
    asked: Option<git::Later>,
    sink: Sink<'s, 'a>,
}

/// What is said about the files.
struct Found {
    summary: Arc<Summary>,
    git: Option<git::State>,
    digest: Vec<NoteWrite>,
    /// Nothing but what git says is new.
    restated: bool,
}

impl Capture<'_, '_> {
    fn run(mut self) -> Result<Captured, CaptureError> {
        let session = self.request.session;
        let main = layout::path_of(&Slot::Main, &session, &self.slug);
        let Some((names, opened)) = main.and_then(|names| {
            let opened = self.root.file(&names);
            Some((names, opened.transpose()?))
        }) else {
            return Ok(Captured::Vanished);
        };
        let (file, stamp) = opened?;
        let reader = Reader::new(file, stamp, self.root.join(&names), self.request.now);
        let known_main = self.known.file(&Slot::Main);
        let view = reader.log_view(known_main.map(|(_, local)| local))?;
        let same = known_main.is_some_and(|(_, local)| view.grew && view.end == local.print.len);
        if let (Some(state), false, None) = (&self.known.state, same, &self.asked) {
            self.asked = Some(git::Later::ask(Path::new(&state.here.project)));
        }
        let (reading, taken) = self.read(&reader, &view)?;
        let summary = reading.summary();
        let here = self.here(&summary);
        if self.is_named_now(&here) {
            self.known.manifest = None;
        }
        let mut origins = self.origins(&here);
        let here_at = position(&mut origins, &here);

        let main = match taken {
            Some(taken) => taken,
            None => self.take(&Slot::Main, &reader, Some(&view), here_at)?,
        };
        let digest = reading.done(&session, &reader, &main.local.print, self.recent);
        let mut files = Files::default();
        files.add(main);
        self.take_side_files(&summary, here_at, &mut files)?;
        self.take_unknown(here_at, &mut files)?;
        files.keep_vanished(&self.known, &origins);
        files.entries.sort_by(|a, b| a.slot.cmp(&b.slot));
        files.local.sort_by(|a, b| a.slot.cmp(&b.slot));

        let mut state = self
            .known
            .state
            .as_deref()
            .cloned()
            .unwrap_or_else(|| LocalState::new(here.clone()));
        let same_place = state.here == here;
        state.here = here;
        state.files = files.local;
        let restated = !files.content && self.known.manifest.is_some();
        if restated && !self.git_says_otherwise() {
            return self.unchanged(state, digest);
        }
        let dir = Path::new(&state.here.project).to_owned();
        let before = state.project.take().filter(|_| same_place);
        let (identity, project) = self.project_of(&dir, before)?;
        state.project = project;
        let git = self.git_says(&dir);
        let found = Found {
            summary,
            git,
            digest,
            restated,
        };
        self.conclude(state, origins, files.entries, identity, found)
    }

    /// Makes everything durable that a version consists of.
    fn conclude(
        mut self,
        mut state: LocalState,
        origins: Vec<Origin>,
        entries: Vec<FileEntry>,
        project: ProjectIdentity,
        found: Found,
    ) -> Result<Captured, CaptureError> {
        let Found {
            summary,
            git,
            digest,
            restated,
        } = found;
        let session = self.request.session;
        let mut manifest = Manifest {
            version: MANIFEST_VERSION,
            session,
            origins,
            project,
            files: entries,
        };
        drop_unused_origins(&mut manifest);
        if manifest.total_bytes() > limits::SESSION_BYTES_MAX {
            manifest.files.retain(|f| f.slot.opaque().is_none());
        }
        let bytes = manifest.total_bytes();
        if bytes > limits::SESSION_BYTES_MAX {
            return Err(CaptureError::TooLarge { session, bytes });
        }
        let encoded = fit(&mut manifest).ok_or(CaptureError::TooMany(session))?;
        let todos = describe::todos(&self.root, &session, &manifest, &self.slug);
        let described =
            describe::describe(self.request, &state.here, &manifest, (&summary, git), todos);
        let snapshot = self.sink.keep(described.snapshot)?;
        let content = self.sink.keep(encoded)?;
        if self.sink.bytes() > limits::STORE_TOGETHER_BYTES_MAX {
            self.sink.flush()?;
        }
        let fresh = self.sink.take_rest()?;
        tracing::debug!(%session, chunks = self.sink.fresh(), "captured");
        let manifest = ContentRef {
            id: content.id,
            len: content.len,
        };
        let base = state.base;
        state.manifest = Some(manifest);
        let (joined, mut notes) = match place::joined(self.store, &session)? {
            Some((version, forgotten)) => (Some(version), vec![forgotten]),
            None => (None, Vec::new()),
        };
        notes.extend(digest);
        Ok(Captured::New(Box::new(NewVersion {
            manifest,
            snapshot: ContentRef {
                id: snapshot.id,
                len: snapshot.len,
            },
            meta: described.meta,
            base,
            joined,
            derived_from: state.derived_from.filter(|_| base.is_none()),
            restated,
            by_program: summary.entrypoint.as_deref().is_some_and(hook::is_program),
            session,
            state,
            notes,
            content: fresh,
        })))
    }

    /// Remembers how the files look now, so that the next look is a short one.
    fn unchanged(
        &self,
        state: LocalState,
        digest: Vec<NoteWrite>,
    ) -> Result<Captured, CaptureError> {
        let base = state.base;
        let mut notes = digest;
        // A digest that is to be laid aside counts as laid aside from here on.
        let in_passing = self.request.in_passing && notes.is_empty();
        if !in_passing && self.known.state.as_deref() != Some(&state) {
            notes.push(LocalState::note_of(Arc::new(state), &self.request.session));
        }
        self.store.put_notes(&notes)?;
        Ok(Captured::Unchanged { base })
    }

    /// Reads what is new in the main transcript; where nothing is known of it, it is
    /// cut at the same time. All of it is read then, and its origin is the first
    /// one, whatever it says.
    fn read(
        &mut self,
        reader: &Reader,
        view: &files::LogView,
    ) -> Result<(digest::Reading, Option<Taken>), CaptureError> {
        let session = self.request.session;
        let (store, recent, known) = (self.store, self.recent, &self.known);
        let read = || {
            digest::read(
                store,
                &session,
                reader,
                view,
                known.state.as_deref(),
                recent,
            )
        };
        if known.manifest.is_some() {
            return Ok((read()?, None));
        }
        let sink = &mut self.sink;
        let (reading, taken) = thread::scope(|scope| {
            let reading = thread::Builder::new().spawn_scoped(scope, read);
            let taken = files::take(&Slot::Main, reader, Some(view), None, 0, sink);
            let reading = match reading {
                Ok(reading) => reading.join().unwrap_or_else(|panic| resume_unwind(panic)),
                // Where no thread can be started it only takes longer.
                Err(_) => read(),
            };
            (reading, taken)
        });
        let taken = taken.map_err(|e| e.into_capture(session, reader.path()))?;
        Ok((reading?, Some(taken)))
    }

    /// In whose paths this machine writes the session.
    fn here(&self, summary: &Summary) -> Origin {
        match &self.known.state {
            // As long as it lies there, it goes on as it began, whatever the
            // first record says.
            Some(state) if state.here.slug == self.slug && !state.here.project.is_empty() => {
                state.here.clone()
            }
            _ => describe::origin(self.home, &self.slug, summary),
        }
    }

    /// Whether the session was taken before any of its records named a directory,
    /// and now one does. What was taken then says that it belongs to no project,
    /// in whose paths nothing could be changed elsewhere: it is taken anew.
    fn is_named_now(&self, here: &Origin) -> bool {
        let unnamed = |s: &LocalState| s.here.slug == self.slug && s.here.project.is_empty();
        !here.project.is_empty() && self.known.state.as_deref().is_some_and(unnamed)
    }

    /// The origins to go on with. Where there is no room for another one, the
    /// files are taken as if they had been written here.
    fn origins(&mut self, here: &Origin) -> Vec<Origin> {
        let known = self
            .known
            .manifest
            .as_ref()
            .map(|m| m.origins.clone())
            .unwrap_or_default();
        if known.len() < limits::ORIGINS_MAX || known.contains(here) {
            return known;
        }
        self.known.manifest = None;
        Vec::new()
    }

    fn take(
        &mut self,
        slot: &Slot,
        reader: &Reader,
        view: Option<&files::LogView>,
        here: u8,
    ) -> Result<Taken, CaptureError> {
        let known = self.known.file(slot);
        files::take(slot, reader, view, known, here, &mut self.sink)
            .map_err(|e| e.into_capture(self.request.session, reader.path()))
    }

    fn take_side_files(
        &mut self,
        summary: &Summary,
        here: u8,
        files: &mut Files,
    ) -> Result<(), CaptureError> {
        for source in layout::sources(&self.request.session, &self.slug) {
            if source.place == Place::Transcript {
                continue;
            }
            let Some(dir) = self.root.open_dir(&source.dir)? else {
                continue;
            };
            for name in dir.list(NAMES_MAX)? {
                if let Classified::Slot(slot) = layout::slot_of(&source, &name) {
                    self.take_side_file(&dir, &name, &slot, here, files)?;
                }
            }
        }
        let agents = files.entries.iter().filter_map(|f| match &f.slot {
            Slot::Subagent(name) => Some(name.clone()),
            _ => None,
        });
        let agents: Vec<_> = agents.collect();
        for source in layout::plan_sources(&summary.plan_names, &agents) {
            let Only::Name(name) = source.only.clone() else {
                continue;
            };
            if let Classified::Slot(slot) = layout::slot_of(&source, &name)
                && let Some(dir) = self.root.open_dir(&source.dir)?
            {
                self.take_side_file(&dir, &name, &slot, here, files)?;
            }
        }
        Ok(())
    }

    /// What lies in the session's own directories and has no slot, as it is.
    fn take_unknown(&mut self, here: u8, files: &mut Files) -> Result<(), CaptureError> {
        let survey = opaque::survey(&self.root, &self.request.session, &self.slug);
        for (label, why) in &survey.left {
            tracing::debug!(label, why = why.words(), "a file of an unknown kind stays");
        }
        for unknown in &survey.files {
            let slot = opaque::slot(&unknown.label);
            let (file, stamp) = match self.root.file(&unknown.names) {
                Ok(Some(opened)) if opened.1.len <= limits::OPAQUE_FILE_BYTES_MAX => opened,
                Ok(_) => continue,
                Err(e) => {
                    tracing::debug!(error = %e, "a file of an unknown kind is left out");
                    continue;
                }
            };
            let path = self.root.join(&unknown.names);
            let reader = Reader::new(file, stamp, path, self.request.now);
            match self.take(&slot, &reader, None, here) {
                Ok(taken) => files.add(self.as_known(taken)),
                Err(e @ CaptureError::Store(_)) => return Err(e),
                Err(e) => {
                    tracing::debug!(error = %e, "a file of an unknown kind is left as it was");
                }
            }
        }
        Ok(())
    }

    /// A file that is never placed may differ here from what its version has. It
    /// is news only if it changed here since it was looked at last, or two devices
    /// would take turns in telling each other their own.
    fn as_known(&self, taken: Taken) -> Taken {
        let slot = &taken.entry.slot;
        let entry = self.known.manifest.as_ref().and_then(|m| m.file(slot));
        let before = self.known.state.as_ref().and_then(|s| s.file(slot));
        let untouched = before.is_some_and(|local| local.print == taken.local.print);
        match entry {
            Some(entry) if untouched || opaque::is_same(entry, &taken.entry) => Taken {
                entry: entry.clone(),
                change: Change::None,
                ..taken
            },
            _ => taken,
        }
    }

    fn take_side_file(
        &mut self,
        dir: &Dir,
        name: &str,
        slot: &Slot,
        here: u8,
        files: &mut Files,
    ) -> Result<(), CaptureError> {
        let known = self.known.file(slot);
        let opened = match dir.stamp(name) {
            Ok(Some(stamp)) => {
                match known.and_then(|known| files::untouched(slot, &stamp, known)) {
                    // Most of them, most of the time: one look and no more.
                    Some(taken) => {
                        files.add(taken);
                        return Ok(());
                    }
                    None => dir.file(name),
                }
            }
            Ok(None) => Ok(None),
            Err(e) => Err(e),
        };
        let (file, stamp) = match opened {
            Ok(Some(opened)) => opened,
            // Gone since it was listed.
            Ok(None) => return Ok(()),
            Err(
                e @ (ConfinedError::Link(_) | ConfinedError::Kind(_) | ConfinedError::Owner(_)),
            ) => {
                tracing::warn!(error = %e, "a file of the session is left out");
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        };
        let reader = Reader::new(file, stamp, dir.join(name), self.request.now);
        let view = match slot.is_log() {
            true => Some(reader.log_view(self.known.file(slot).map(|(_, local)| local))?),
            false => None,
        };
        match self.take(slot, &reader, view.as_ref(), here) {
            Ok(taken) => files.add(taken),
            // It is written all the time; the next capture has it.
            Err(CaptureError::Restless(_)) => {
                tracing::debug!(
                    ?slot,
                    "a file of the session is left as it was: it keeps changing"
                );
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }
}

impl From<ChunkError> for files::TakeError {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Read(e) => Self::Read(e),
            ChunkError::Store(e) => Self::Store(e),
        }
    }
}

impl From<CaptureError> for ApiError {
    fn from(error: CaptureError) -> Self {
        let message = error.to_string();
        match error {
            CaptureError::Store(e) => problem::store(&e),
            CaptureError::Place(ConfinedError::Io { .. }) => {
                Self::new(ErrorCode::Disk, message).hint("check that the file can be read")
            }
            CaptureError::Place(_) => Self::new(ErrorCode::Refused, message)
                .hint("replace the link by what it points to, or set CLAUDE_CONFIG_DIR"),
            CaptureError::Restless(_) => {
                Self::new(ErrorCode::Live, message).hint("try again when its turn has ended")
            }
            CaptureError::TooLarge { .. } | CaptureError::TooMany(_) => {
                Self::new(ErrorCode::Refused, message).hint("compact the session with `/compact`")
            }
        }
    }
}

#[cfg(test)]
mod tests;
