//! Store → Claude's directory: a version of a session becomes files here.
//!
//! Nothing that lies here is lost: a file is replaced only by one that it is the
//! beginning of, and kept in the backups even then; everything else lands beside
//! it as a new session. A session becomes visible when it is complete, and
//! whoever finds a placement half done can tell what to do with it. Must not
//! know peers, and decides nothing about who may have what.

mod backups;
mod beside;
mod blocks;
mod error;
mod growth;
mod incoming;
mod join;
mod journal;
mod kin;
mod plan;
mod policy;
mod rehome;
mod stage;
mod standing;
mod unasked;
mod unknown;

use std::path::{Path, PathBuf};

use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::manifest::{FileEntry, Manifest, Origin, ProjectIdentity, Slot, Want};
use ccpeer_core::time::Timestamp;
use ccpeer_formats::claude::layout;
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};

use crate::api::{ApiError, Placed, PlacedHow};
use crate::capture;
use crate::confined::Root;
use crate::disk::Disk;
use crate::home::Home;
use crate::local::LocalState;
use crate::{git, live, problem, slugs};

pub(crate) use error::PlaceError;
pub(crate) use growth::adds_only_bookkeeping;
pub(crate) use rehome::{Rehomed, Rehoming, rehome};
pub(crate) use unknown::some_of;

use incoming::Incoming;
use journal::Site;
use kin::{Here, Kin};
use plan::{Plan, remembered};
use policy::{Finding, Policy};
use standing::{Cut, Standing};

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
    /// What it is called, and the device that it comes from: a fork is called by both.
    pub(crate) title: String,
    pub(crate) device_name: String,
    /// The version is a statement of this device.
    pub(crate) from_me: bool,
    /// Somebody has the session open here, as far as the caller knows.
    pub(crate) live: bool,
    /// By the wall clock: a label.
    pub(crate) now: Timestamp,
    /// Files keep the times that they have elsewhere, as long as Claude Code does
    /// not take them for old; else they are of now, and first in its lists.
    pub(crate) keep_times: bool,
    /// The directory is where the project lies from now on; else it is one for this
    /// session alone.
    pub(crate) remember: bool,
    /// Drawn at random: names the placement, and the session if it is a fork.
    pub(crate) new_id: SessionId,
    /// The versions that it grew from, the nearest first, with their manifests.
    pub(crate) grew_from: Vec<Relative>,
    /// The versions that grew from it.
    pub(crate) grown_into: Vec<Relative>,
}

/// A version of the same line, and its manifest if it has one.
pub(crate) type Relative = (EntryHash, Option<ContentRef>);

/// How a version is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As itself where that loses nothing, else as a new session.
    Auto,
    /// As a new session.
    ForceFork,
    /// As a part of what lies here, where both went on.
    Join,
    /// As itself where nothing is or over its own beginning, else not at all;
    /// nobody asked for it.
    Unasked,
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
    place_with(store, home, request, progress, Disk::default())
}

/// Finishes or takes back what was left half done, and says what was done.
///
/// # Errors
/// When files or the store cannot be touched; it is tried again at the next
/// start.
pub(crate) fn recover(store: &Store, home: &Home) -> Result<Vec<String>, PlaceError> {
    recover_with(store, home, Disk::default())
}

/// The version that a session's files contain beside the one that they grew
/// from, and the note that forgets it once a version of both is stated.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn joined(
    store: &Store,
    session: &SessionId,
) -> Result<Option<(EntryHash, NoteWrite)>, StoreError> {
    let joined = journal::joined(store, session)?;
    Ok(joined.map(|version| (version, journal::joined_note(session, None))))
}

/// Removes backups that were kept long enough, and says how many. For once a day.
///
/// # Errors
/// When files or the store cannot be touched.
pub(crate) fn sweep_backups(store: &Store, home: &Home, now: Timestamp) -> Result<u64, PlaceError> {
    let Some(root) = Root::open(home.claude())? else {
        return Ok(0);
    };
    let disk = Disk::default();
    let root = &root;
    backups::sweep(
        &Site {
            store,
            home,
            root,
            disk,
        },
        now,
    )
}

/// The sessions that were placed without being asked for, and can be taken back.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn unasked(store: &Store) -> Result<Vec<SessionId>, PlaceError> {
    Ok(unasked::all(store)?.iter().map(|r| r.session).collect())
}

/// Takes back what nobody asked for, where the user wants the session in another
/// directory than the one in which it was placed by itself. What somebody has gone
/// on with stays where it is.
///
/// # Errors
/// When files or the store cannot be touched.
pub(crate) fn make_way(
    store: &Store,
    home: &Home,
    session: &SessionId,
    dir: &Path,
) -> Result<(), PlaceError> {
    let lies_in = LocalState::load(store, session)?.map(|s| PathBuf::from(s.here.project));
    if unasked::of(store, session)?.is_none() || lies_in.is_none_or(|there| there == dir) {
        return Ok(());
    }
    match undo(store, home, session) {
        Ok(_) | Err(PlaceError::ChangedSince(_) | PlaceError::NothingToUndo) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Whether the user took the last placement of a session back.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn was_taken_back(store: &Store, session: &SessionId) -> Result<bool, StoreError> {
    unasked::was_taken_back(store, session)
}

/// The session whose files the next [`undo`] would change: the one of the last
/// placement that the user asked for.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn undo_next(store: &Store) -> Result<Option<SessionId>, PlaceError> {
    Ok(journal::undo_next(store)?)
}

/// Takes back the last placement that wrote the session `of`, byte for byte:
/// captures of that one are kept away meanwhile, and of no other.
///
/// # Errors
/// When there is none, somebody has changed the files since, or has the session
/// open.
pub(crate) fn undo(store: &Store, home: &Home, of: &SessionId) -> Result<Undone, PlaceError> {
    undo_with(store, home, of, Disk::default())
}

/// What is to be said of a version that is here whole, before anybody places it.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    /// Labels of files whose kind is not known.
    pub(crate) opaque: Vec<String>,
    /// Why it would not be placed at all.
    pub(crate) refused: Option<PlaceError>,
}

/// Looks at a version without placing it. What is not here says nothing.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn outlook(store: &Store, manifest: ContentRef) -> Result<Outlook, ApiError> {
    let (opaque, main) = match manifest_of(store, manifest) {
        Ok(manifest) => (
            capture::opaque::labels(&manifest.files)
                .map(|label| label.as_str().to_owned())
                .collect(),
            main_of(&manifest).and_then(|main| unknown::recognise(store, main)),
        ),
        Err(e) => (Vec::new(), Err(e)),
    };
    let refused = match main {
        Ok(()) => None,
        Err(e @ (PlaceError::Unrecognised(_) | PlaceError::Unreadable)) => Some(e),
        Err(PlaceError::Store(e)) => return Err(problem::store(&e)),
        Err(_) => None,
    };
    Ok(Outlook { opaque, refused })
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

fn place_with(
    store: &Store,
    home: &Home,
    request: &PlaceRequest,
    progress: &mut dyn FnMut(u64, u64),
    disk: Disk<'_>,
) -> Result<Placed, PlaceError> {
    let manifest = load(store, request)?;
    let is_live = request.live || live::live_sessions(home).contains_key(&request.session);
    if is_live && request.mode != Mode::ForceFork {
        return Err(PlaceError::Live(request.session));
    }
    let root = Root::open_or_make(&disk, home.claude())?;
    let job = Placing {
        store,
        home,
        root: &root,
        request,
        manifest: &manifest,
        disk,
    };
    let here = job.look(request.session)?;
    match (request.mode, here) {
        (Mode::ForceFork, _) => job.fork(progress),
        (Mode::Join, Some(here)) => job.join(&here, progress),
        (Mode::Auto | Mode::Join | Mode::Unasked, None) => {
            let to = job.target(&request.project_dir, None)?;
            job.bring(&to, None, progress)
        }
        (Mode::Unasked, Some(here)) => {
            match job.stand(&here).map_err(|e| job.or_unrecognised(e))? {
                Standing::Behind(cut) => job.bring(&here.to, Some((&here, cut)), progress),
                Standing::Same(cut) => job.same(&here, cut, progress),
                Standing::Ahead(_) => Ok(job.up_to_date(&here.to, None)),
                Standing::Diverged => Err(PlaceError::OwnLine(request.session)),
            }
        }
        (Mode::Auto, Some(here)) => match job.stand(&here).map_err(|e| job.or_unrecognised(e))? {
            Standing::Behind(cut) => job.bring(&here.to, Some((&here, cut)), progress),
            Standing::Same(cut) => job.same(&here, cut, progress),
            standing @ (Standing::Ahead(_) | Standing::Diverged) => match job.kin(&here)? {
                Some(Kin::Ancestor) => {
                    let cut = Cut::nothing(main_of(&manifest)?);
                    job.bring(&here.to, Some((&here, cut)), progress)
                }
                Some(Kin::Descendant) => Ok(job.up_to_date(&here.to, None)),
                None if standing == Standing::Diverged => job.fork_once(progress),
                None => Ok(job.up_to_date(&here.to, None)),
            },
        },
    }
}

fn recover_with(store: &Store, home: &Home, disk: Disk<'_>) -> Result<Vec<String>, PlaceError> {
    let Some(root) = Root::open(home.claude())? else {
        let waiting = store.notes(Namespace::Journal)?.len();
        let line = "placements in progress wait for Claude's directory to come back".to_owned();
        return Ok((waiting > 0).then_some(line).into_iter().collect());
    };
    journal::recover(&Site {
        store,
        home,
        root: &root,
        disk,
    })
}

fn undo_with(
    store: &Store,
    home: &Home,
    of: &SessionId,
    disk: Disk<'_>,
) -> Result<Undone, PlaceError> {
    let root = Root::open(home.claude())?.ok_or(PlaceError::NothingToUndo)?;
    let site = Site {
        store,
        home,
        root: &root,
        disk,
    };
    journal::undo(&site, of)
}

fn manifest_of(store: &Store, manifest: ContentRef) -> Result<Manifest, PlaceError> {
    let bytes = store
        .get_chunk(&manifest.id)?
        .ok_or(PlaceError::Incomplete(1))?;
    Ok(Manifest::from_bytes(&bytes)?)
}

/// The manifest, checked again, with everything it refers to in the store.
fn load(store: &Store, request: &PlaceRequest) -> Result<Manifest, PlaceError> {
    // What it says of itself first: an unknown kind of file is told as such.
    let manifest = manifest_of(store, request.manifest)?;
    let want = Want::manifest(request.manifest.id);
    let missing = match store.missing(want) {
        Ok(missing) => missing.len() as u64,
        Err(StoreError::Wrong { why, .. }) => return Err(PlaceError::Malformed(why)),
        Err(e) => return Err(e.into()),
    };
    if missing > 0 {
        return Err(PlaceError::Incomplete(missing));
    }
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
    disk: Disk<'a>,
}

impl Placing<'_> {
    /// What is wrong with a transcript that cannot even be compared.
    fn or_unrecognised(&self, error: PlaceError) -> PlaceError {
        let main = main_of(self.manifest);
        match main.and_then(|main| unknown::recognise(self.store, main)) {
            Err(e @ PlaceError::Unrecognised(_)) => e,
            _ => error,
        }
    }

    /// The places of this machine for a project's directory.
    fn target(&self, project_dir: &Path, slug: Option<&str>) -> Result<Origin, PlaceError> {
        let refused = || PlaceError::Directory(project_dir.to_owned());
        let text = project_dir
            .to_str()
            .filter(|_| project_dir.is_absolute())
            .ok_or_else(refused)?;
        let slug = match slug {
            Some(slug) => slug.to_owned(),
            None => slugs::slug_for(self.store, self.home, self.root, text)?,
        };
        Ok(capture::here(self.home, &slug, text))
    }

    fn incoming(&self, to: &Origin) -> Result<Incoming<'_>, PlaceError> {
        self.incoming_of(self.manifest, to)
    }

    fn incoming_of<'m>(
        &'m self,
        manifest: &'m Manifest,
        to: &Origin,
    ) -> Result<Incoming<'m>, PlaceError> {
        let project = Path::new(&to.project);
        let top = git::place(project).map(|p| p.top);
        let policy = Policy::new(project, top.as_deref(), self.home.user(), to.flavour)
            .ok_or_else(|| PlaceError::Directory(project.to_owned()))?;
        Ok(Incoming::new(
            self.store,
            manifest,
            to,
            self.request.from_me,
            policy,
        ))
    }

    /// The same content is here: from now on it stands for this version.
    fn adopt(&self, here: &Here) -> Result<(), PlaceError> {
        let (Some(state), Some(known)) = (&here.state, &here.known) else {
            return Ok(());
        };
        // What is never placed makes no difference to what lies here.
        let placed = |m: &Manifest| -> Vec<FileEntry> {
            let files = m.files.iter();
            files
                .filter(|f| f.slot.opaque().is_none())
                .cloned()
                .collect()
        };
        let same = known.origins == self.manifest.origins && placed(known) == placed(self.manifest);
        if same && state.base != Some(self.request.version) {
            let state = LocalState {
                base: Some(self.request.version),
                manifest: Some(self.request.manifest),
                ..state.clone()
            };
            self.disk
                .put_notes(self.store, &[state.note(&self.request.session)])?;
        }
        Ok(())
    }

    /// The transcript is here. What lies beside it may be that of an earlier
    /// version: if it stayed so, the next turn here would grow from that one, and
    /// be a line of its own in which nobody disagrees.
    fn same(
        &self,
        here: &Here,
        cut: Cut,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Placed, PlaceError> {
        let known = here.known.as_ref();
        if known.is_some_and(|known| known.files != self.manifest.files)
            && self.kin(here)? == Some(Kin::Ancestor)
        {
            return self.bring(&here.to, Some((here, cut)), progress);
        }
        self.adopt(here)?;
        Ok(self.up_to_date(&here.to, None))
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
            ..LocalState::new(to.clone())
        };
        if let Some(before) = before {
            state.project = before.project;
            // They are not placed, and lie here as they did.
            state.files = before.files;
            state.files.retain(|f| f.slot.opaque().is_some());
        }
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
            if kept.is_some_and(|(_, cut)| cut.rewritten) {
                plan.findings.add(Finding::Rewritten);
            }
            let number = plan.number();
            let staged = plan.log(&incoming, entry, number, kept)?;
            let old = match &here {
                Some((h, _)) => Some((plan.print(&h.main, &h.path)?, h.stamp)),
                None => None,
            };
            plan.note_pending(&staged)?;
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
            notes: Vec::new(),
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
