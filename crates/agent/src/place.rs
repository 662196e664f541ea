//! Store → Claude's directory: a version of a session becomes files here.
//!
//! Nothing that lies here is lost: a file is replaced only by one that it is the
//! beginning of, and kept in the backups even then; everything else lands beside
//! it as a new session. A session becomes visible when it is complete, and
//! whoever finds a placement half done can tell what to do with it. Must not
//! know peers, and decides nothing about who may have what.

mod error;
mod incoming;
mod journal;
mod plan;
mod policy;
mod stage;
mod standing;

use std::fs::File;
use std::path::{Path, PathBuf};

use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::manifest::{
    FileEntry, Manifest, Origin, ProjectIdentity, Segment, Slot, Want, WantKind,
};
use ccpeer_core::time::Timestamp;
use ccpeer_formats::claude::layout;
use ccpeer_formats::claude::slug::project_slug;
use ccpeer_store::{Namespace, SegmentReader, Store, StoreError};

use crate::api::{ApiError, Placed, PlacedHow};
use crate::capture;
use crate::confined::{ConfinedError, Root, Stamp};
use crate::home::Home;
use crate::local::LocalState;
use crate::{git, live, problem, scan};

pub(crate) use error::PlaceError;

use incoming::Incoming;
use journal::{Site, Stops};
use plan::{Plan, remembered};
use policy::{Finding, Policy};
use standing::{Cut, LocalLog, Standing};

/// What is to be placed.
#[derive(Debug, Clone)]
pub(crate) struct PlaceRequest {
    /// The version.
    pub(crate) version: EntryHash,
    /// Its manifest.
    pub(crate) manifest: ContentRef,
    /// Its session.
    pub(crate) session: SessionId,
    /// The project's directory here, resolved.
    pub(crate) project_dir: PathBuf,
    /// How.
    pub(crate) mode: Mode,
    /// The name of the device it comes from, for the title of a fork.
    pub(crate) device_name: String,
    /// The version is a statement of this device.
    pub(crate) from_me: bool,
    /// Somebody has the session open here, as far as the caller knows.
    pub(crate) live: bool,
    /// By the wall clock: a label.
    pub(crate) now: Timestamp,
    /// Drawn at random: names the placement, and the session if it is a fork.
    pub(crate) new_id: SessionId,
}

/// How a version is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As itself where that loses nothing, else as a new session.
    Auto,
    /// As a new session.
    ForceFork,
}

/// A placement that was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Undone {
    /// The session as which it had been placed.
    pub(crate) session: SessionId,
    /// Files restored from the backup.
    pub(crate) restored: u64,
    /// Files removed because there were none before.
    pub(crate) removed: u64,
}

/// Places a version, and says how. `progress` is told bytes done and in all.
///
/// # Errors
/// See [`PlaceError`]. Nothing was changed then.
pub(crate) fn place(
    store: &Store,
    home: &Home,
    request: &PlaceRequest,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Placed, PlaceError> {
    place_with(store, home, request, progress, &Stops::none())
}

/// Finishes or takes back what was left half done, and says what was done.
///
/// # Errors
/// When files or the store cannot be touched; it is tried again at the next
/// start.
pub(crate) fn recover(store: &Store, home: &Home) -> Result<Vec<String>, PlaceError> {
    recover_with(store, home, &Stops::none())
}

/// Takes back the last placement, byte for byte.
///
/// # Errors
/// When somebody has changed the files since, or has the session open.
pub(crate) fn undo(store: &Store, home: &Home) -> Result<Undone, PlaceError> {
    undo_with(store, home, &Stops::none())
}

/// The project that a version belongs to; of a version that is not here,
/// nothing is known.
///
/// # Errors
/// When the store cannot be read or the manifest is none.
pub(crate) fn identity_of(
    store: &Store,
    manifest: Option<ContentRef>,
) -> Result<ProjectIdentity, ApiError> {
    let Some(content) = manifest else {
        return Ok(ProjectIdentity::default());
    };
    match store
        .get_chunk(&content.id)
        .map_err(|e| problem::store(&e))?
    {
        None => Ok(ProjectIdentity::default()),
        Some(bytes) => match Manifest::from_bytes(&bytes) {
            Ok(manifest) => Ok(manifest.project),
            Err(e) => Err(PlaceError::from(e).into()),
        },
    }
}

/// The project's directory of a session that lies here.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn placed_dir(
    store: &Store,
    home: &Home,
    session: &SessionId,
) -> Result<Option<PathBuf>, ApiError> {
    if scan::find_session(home, session).is_empty() {
        return Ok(None);
    }
    let state = LocalState::load(store, session).map_err(|e| problem::store(&e))?;
    Ok(state
        .map(|s| PathBuf::from(s.here.project))
        .filter(|dir| dir.is_dir()))
}

fn place_with(
    store: &Store,
    home: &Home,
    request: &PlaceRequest,
    progress: &mut dyn FnMut(u64, u64),
    stops: &Stops<'_>,
) -> Result<Placed, PlaceError> {
    let manifest = load(store, request)?;
    let is_live = request.live || live::live_sessions(home).contains_key(&request.session);
    if is_live && request.mode == Mode::Auto {
        return Err(PlaceError::Live(request.session));
    }
    let root = Root::open_or_make(home.claude())?;
    let job = Placing {
        store,
        home,
        root: &root,
        request,
        manifest: &manifest,
        stops,
    };
    let here = job.look_here()?;
    match (request.mode, here) {
        (Mode::ForceFork, _) => job.fork(progress),
        (Mode::Auto, None) => {
            let to = job.target(&request.project_dir, None)?;
            job.bring(&to, None, progress)
        }
        (Mode::Auto, Some(here)) => match job.stand(&here)? {
            Standing::Behind(cut) => job.bring(&here.to, Some((&here, cut)), progress),
            Standing::Same(_) => {
                job.adopt(&here)?;
                Ok(job.up_to_date(&here.to, None))
            }
            Standing::Ahead(_) => Ok(job.up_to_date(&here.to, None)),
            Standing::Diverged => job.fork_once(progress),
        },
    }
}

fn recover_with(store: &Store, home: &Home, stops: &Stops<'_>) -> Result<Vec<String>, PlaceError> {
    let Some(root) = Root::open(home.claude())? else {
        let waiting = store.notes(Namespace::Journal)?.len();
        let line = "placements in progress wait for Claude's directory to come back".to_owned();
        return Ok((waiting > 0).then_some(line).into_iter().collect());
    };
    journal::recover(&Site {
        store,
        home,
        root: &root,
        stops,
    })
}

fn undo_with(store: &Store, home: &Home, stops: &Stops<'_>) -> Result<Undone, PlaceError> {
    let root = Root::open(home.claude())?.ok_or(PlaceError::NothingToUndo)?;
    journal::undo(&Site {
        store,
        home,
        root: &root,
        stops,
    })
}

/// What a version may have grown by to be looked at for bookkeeping; measured
/// tails have less than 1 KiB.
const BOOKKEEPING_BYTES_MAX: usize = 1024 * 1024;

/// Whether a later version of this device's adds nothing but bookkeeping to an
/// earlier one: lines that Claude Code wrote after its last hook.
pub(crate) fn adds_only_bookkeeping(
    store: &Store,
    earlier: ContentRef,
    later: ContentRef,
) -> Result<bool, PlaceError> {
    let (earlier, later) = (manifest_of(store, earlier)?, manifest_of(store, later)?);
    let mut before = Bytes::of(store, main_of(&earlier)?);
    let mut after = Bytes::of(store, main_of(&later)?);
    while before.fill()? {
        if !after.fill()? {
            return Ok(false);
        }
        let len = before.rest().len().min(after.rest().len());
        if before.rest().get(..len) != after.rest().get(..len) {
            return Ok(false);
        }
        before.at += len;
        after.at += len;
    }
    let mut added = Vec::new();
    while after.fill()? {
        added.extend_from_slice(after.rest());
        after.at += after.rest().len();
        if added.len() > BOOKKEEPING_BYTES_MAX {
            return Ok(false);
        }
    }
    let mut lines = added.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    Ok(lines.all(ccpeer_formats::claude::transcript::is_bookkeeping))
}

fn manifest_of(store: &Store, manifest: ContentRef) -> Result<Manifest, PlaceError> {
    let bytes = store
        .get_chunk(&manifest.id)?
        .ok_or(PlaceError::Incomplete(1))?;
    Ok(Manifest::from_bytes(&bytes)?)
}

/// The bytes of a stored file, a chunk at a time.
struct Bytes<'a> {
    store: &'a Store,
    segments: std::slice::Iter<'a, Segment>,
    reader: Option<SegmentReader<'a>>,
    chunk: Vec<u8>,
    at: usize,
}

impl<'a> Bytes<'a> {
    fn of(store: &'a Store, file: &'a FileEntry) -> Self {
        Self {
            store,
            segments: file.segments.iter(),
            reader: None,
            chunk: Vec::new(),
            at: 0,
        }
    }

    /// What of the present chunk was not taken yet.
    fn rest(&self) -> &[u8] {
        self.chunk.get(self.at..).unwrap_or_default()
    }

    /// Makes sure that something is left; `false` at the end.
    fn fill(&mut self) -> Result<bool, PlaceError> {
        while self.rest().is_empty() {
            if let Some(chunk) = self.reader.as_mut().and_then(Iterator::next) {
                (self.chunk, self.at) = (chunk?, 0);
                continue;
            }
            let Some(segment) = self.segments.next() else {
                return Ok(false);
            };
            self.reader = Some(self.store.read_segment(segment));
        }
        Ok(true)
    }
}

/// The manifest, checked again, with everything it refers to in the store.
fn load(store: &Store, request: &PlaceRequest) -> Result<Manifest, PlaceError> {
    let want = Want {
        id: request.manifest.id,
        kind: WantKind::Manifest,
    };
    let missing = match store.missing(want) {
        Ok(missing) => missing.len() as u64,
        Err(StoreError::Wrong { why, .. }) => return Err(PlaceError::Malformed(why)),
        Err(e) => return Err(e.into()),
    };
    if missing > 0 {
        return Err(PlaceError::Incomplete(missing));
    }
    let bytes = store
        .get_chunk(&request.manifest.id)?
        .ok_or(PlaceError::Incomplete(1))?;
    let manifest = Manifest::from_bytes(&bytes)?;
    if manifest.session != request.session {
        return Err(PlaceError::Malformed("its manifest is of another session"));
    }
    if manifest.file(&Slot::Main).is_none() {
        return Err(PlaceError::Malformed("it has no transcript"));
    }
    Ok(manifest)
}

/// One placement.
struct Placing<'a> {
    store: &'a Store,
    home: &'a Home,
    root: &'a Root,
    request: &'a PlaceRequest,
    manifest: &'a Manifest,
    stops: &'a Stops<'a>,
}

/// A session that lies here already.
struct Here {
    /// In whose paths it is written.
    to: Origin,
    main: File,
    stamp: Stamp,
    path: PathBuf,
    state: Option<LocalState>,
    /// The manifest that its files stand for.
    known: Option<Manifest>,
}

impl Here {
    fn log<'h>(&'h self, slot: &Slot, file: &'h File, stamp: Stamp) -> LocalLog<'h> {
        let entry = self
            .known
            .as_ref()
            .and_then(|m| Some((m.file(slot)?, m.origins.as_slice())));
        let local = self.state.as_ref().and_then(|s| s.file(slot));
        let known = entry
            .zip(local)
            .map(|((entry, origins), local)| (entry, origins, local));
        LocalLog { file, stamp, known }
    }
}

impl Placing<'_> {
    /// What lies here of the session.
    fn look_here(&self) -> Result<Option<Here>, PlaceError> {
        let session = self.request.session;
        let Some(found) = scan::find_session(self.home, &session).into_iter().next() else {
            return Ok(None);
        };
        let names = place_of(&Slot::Main, &session, &found.slug)?;
        let Some((main, stamp)) = self.root.file(&names)? else {
            return Ok(None);
        };
        let state = LocalState::load(self.store, &session)?;
        let known = match &state {
            Some(state) => state.manifest(self.store)?,
            None => None,
        };
        let to = match &state {
            Some(state) if state.here.slug == found.slug => state.here.clone(),
            _ => self.target(&self.request.project_dir, Some(&found.slug))?,
        };
        Ok(Some(Here {
            to,
            main,
            stamp,
            path: self.root.join(&names),
            state,
            known,
        }))
    }

    /// The places of this machine for a project's directory.
    fn target(&self, project_dir: &Path, slug: Option<&str>) -> Result<Origin, PlaceError> {
        let refused = || PlaceError::Directory(project_dir.to_owned());
        let text = project_dir
            .to_str()
            .filter(|_| project_dir.is_absolute())
            .ok_or_else(refused)?;
        let slug = slug.map_or_else(|| project_slug(text), str::to_owned);
        Ok(capture::here(self.home, &slug, text))
    }

    fn incoming(&self, to: &Origin) -> Result<Incoming<'_>, PlaceError> {
        let project = Path::new(&to.project);
        let top = git::place(project).map(|p| p.top);
        let policy = Policy::new(project, top.as_deref(), self.home.user(), to.flavour)
            .ok_or_else(|| PlaceError::Directory(project.to_owned()))?;
        Ok(Incoming::new(
            self.store,
            self.manifest,
            to,
            self.request.from_me,
            policy,
        ))
    }

    /// How the local transcript stands to the incoming one.
    fn stand(&self, here: &Here) -> Result<Standing, PlaceError> {
        let entry = main_of(self.manifest)?;
        let log = here.log(&Slot::Main, &here.main, here.stamp);
        let io = |e| ConfinedError::io(&here.path, e).into();
        standing::compare(&log, &self.incoming(&here.to)?, entry, &io)
    }

    /// The same content is here: from now on it stands for this version.
    fn adopt(&self, here: &Here) -> Result<(), PlaceError> {
        let (Some(state), Some(known)) = (&here.state, &here.known) else {
            return Ok(());
        };
        let same = known.origins == self.manifest.origins && known.files == self.manifest.files;
        if same && state.base != Some(self.request.version) {
            let state = LocalState {
                base: Some(self.request.version),
                manifest: Some(self.request.manifest),
                ..state.clone()
            };
            self.store.put_notes(&[state.note(&self.request.session)])?;
        }
        Ok(())
    }

    fn up_to_date(&self, to: &Origin, forked: Option<SessionId>) -> Placed {
        self.answer(PlacedHow::UpToDate, to, forked, None, Vec::new())
    }

    /// As itself: where nothing is, or over its own beginning.
    fn bring(
        &self,
        to: &Origin,
        here: Option<(&Here, Cut)>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Placed, PlaceError> {
        let session = self.request.session;
        let before = here.as_ref().and_then(|(h, _)| h.state.clone());
        let mut state = LocalState {
            base: Some(self.request.version),
            manifest: Some(self.request.manifest),
            project: before.and_then(|s| s.project),
            ..LocalState::new(to.clone())
        };
        let incoming = self.incoming(to)?;
        let mut plan = Plan::new(self, to, session, progress)?;
        let staged = (|| {
            let local = here.as_ref().map(|(h, _)| *h);
            plan.side_files(self, &incoming, local, &mut state)?;
            let entry = main_of(self.manifest)?;
            let kept = here.as_ref().map(|(h, cut)| (&h.main, cut));
            if kept.is_some_and(|(_, cut)| cut.torn) {
                plan.findings.add(Finding::Torn);
            }
            if kept.is_some_and(|(_, cut)| cut.bookkeeping) {
                plan.findings.add(Finding::Bookkeeping);
            }
            let number = plan.number();
            let staged = plan.log(&incoming, entry, number, kept)?;
            let old = match &here {
                Some((h, _)) => Some((plan.print(&h.main, &h.path)?, h.stamp)),
                None => None,
            };
            state.files.push(remembered(&Slot::Main, &staged));
            plan.add(Slot::Main, &staged, old);
            state.files.sort_by(|a, b| a.slot.cmp(&b.slot));
            Ok(())
        })();
        let how = if here.is_some() {
            PlacedHow::FastForward
        } else {
            PlacedHow::New
        };
        plan.conclude(self, staged, state)?
            .answer(self, how, to, None)
    }

    /// As a new session, unless this version has been placed so before.
    fn fork_once(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Placed, PlaceError> {
        let asked = (self.request.session, self.request.version);
        let before = journal::forked_as(self.store, asked)?;
        if let Some(before) = before
            && let Some(found) = scan::find_session(self.home, &before).first()
        {
            let to = match LocalState::load(self.store, &before)? {
                Some(state) => state.here,
                None => self.target(&self.request.project_dir, Some(&found.slug))?,
            };
            return Ok(self.up_to_date(&to, Some(before)));
        }
        self.fork(progress)
    }

    /// As a new session.
    fn fork(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Placed, PlaceError> {
        let new = self.request.new_id;
        if !scan::find_session(self.home, &new).is_empty() {
            return Err(PlaceError::Changed);
        }
        let to = self.target(&self.request.project_dir, None)?;
        let mut state = LocalState {
            derived_from: Some((self.request.session, self.request.version)),
            ..LocalState::new(to.clone())
        };
        let incoming = self.incoming(&to)?.forked(&new);
        let mut plan = Plan::new(self, &to, new, progress)?;
        let staged = (|| {
            plan.side_files(self, &incoming, None, &mut state)?;
            let entry = main_of(self.manifest)?;
            let number = plan.number();
            let staged = plan.fork_log(&incoming, entry, number, self.request)?;
            plan.add(Slot::Main, &staged, None);
            // It is captured as a whole: under its new name every line is new.
            state.files.clear();
            Ok(())
        })();
        plan.conclude(self, staged, state)?
            .answer(self, PlacedHow::Fork, &to, Some(new))
    }

    fn answer(
        &self,
        placed: PlacedHow,
        to: &Origin,
        forked: Option<SessionId>,
        backup: Option<PathBuf>,
        dropped: Vec<String>,
    ) -> Placed {
        let id = forked.unwrap_or(self.request.session);
        let path = layout::path_of(&Slot::Main, &id, &to.slug);
        Placed {
            session_id: self.request.session.to_string(),
            placed,
            path: path.map(|names| self.root.join(&names).display().to_string()),
            project_dir: Some(to.project.clone()),
            new_session_id: forked.map(|id| id.to_string()),
            backup: backup.map(|b| b.display().to_string()),
            dropped,
            command: vec!["claude".to_owned(), "--resume".to_owned(), id.to_string()],
            reason: None,
        }
    }
}

fn main_of(manifest: &Manifest) -> Result<&FileEntry, PlaceError> {
    manifest
        .file(&Slot::Main)
        .ok_or(PlaceError::Malformed("it has no transcript"))
}

fn place_of(slot: &Slot, session: &SessionId, slug: &str) -> Result<Vec<String>, PlaceError> {
    layout::path_of(slot, session, slug).ok_or(PlaceError::Malformed("a file has no place"))
}

#[cfg(test)]
mod tests;
