//! Store → Claude's directory: a version of a session becomes files here.
//!
//! Nothing that lies here is lost: a file is replaced only by one that it is the
//! beginning of, and kept in the backups even then; everything else lands beside
//! it as a new session. A session becomes visible when it is complete, and
//! whoever finds a placement half done can tell what to do with it. Must not
//! know peers, and decides nothing about who may have what.

mod incoming;
mod journal;
mod policy;
mod stage;
mod standing;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ccpeer_core::codec::DecodeError;
use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::manifest::{FileEntry, Manifest, Origin, ProjectIdentity, Slot, Want, WantKind};
use ccpeer_core::time::Timestamp;
use ccpeer_core::{limits, text};
use ccpeer_formats::claude::layout;
use ccpeer_formats::claude::slug::project_slug;
use ccpeer_formats::claude::transcript::Digest;
use ccpeer_store::{Namespace, Store, StoreError};

use crate::api::{ApiError, ErrorCode, Placed, PlacedHow};
use crate::capture;
use crate::confined::{ConfinedError, Root, Stamp};
use crate::home::Home;
use crate::local::{LocalFile, LocalState, Print, section};
use crate::{git, live, problem, projects, scan};

use incoming::Incoming;
use journal::{Content, Record, Site, Step, Stops};
use policy::{Finding, Findings, Policy};
use stage::{Notes, Staged, Staging};
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

/// Why nothing was placed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// Chunks are missing.
    #[error("{0} pieces of the session are not here yet")]
    Incomplete(u64),
    /// Somebody has it open here.
    #[error("session {0} is open on this device")]
    Live(SessionId),
    /// The content breaks a rule.
    #[error("the session's content is refused: {0}")]
    Malformed(&'static str),
    /// A line that cannot be checked.
    #[error("the session has a line of more than {max} bytes", max = limits::PLACED_LINE_BYTES_MAX)]
    LongLine,
    /// The directory is not one that a session can be placed in.
    #[error("{0} is not a directory that a session can be placed in")]
    Directory(PathBuf),
    /// Somebody wrote to the files meanwhile.
    #[error("the session's files here changed while it was placed")]
    Changed,
    /// Somebody wrote to the files after they were placed.
    #[error("session {0} has changed since it was placed")]
    ChangedSince(SessionId),
    /// No placement is remembered.
    #[error("there is no placement to take back")]
    NothingToUndo,
    /// A place below Claude's directory is not fit to be used.
    #[error(transparent)]
    Place(#[from] ConfinedError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A test stopped here as if the process had been killed.
    #[error("stopped")]
    Stopped,
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
    let Some(content) = manifest else { return Ok(ProjectIdentity::default()) };
    match store.get_chunk(&content.id).map_err(|e| problem::store(&e))? {
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
    Ok(state.map(|s| PathBuf::from(s.here.project)).filter(|dir| dir.is_dir()))
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
    let job = Placing { store, home, root: &root, request, manifest: &manifest, stops };
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

fn recover_with(
    store: &Store,
    home: &Home,
    stops: &Stops<'_>,
) -> Result<Vec<String>, PlaceError> {
    let Some(root) = Root::open(home.claude())? else {
        let waiting = store.notes(Namespace::Journal)?.len();
        let line = "placements in progress wait for Claude's directory to come back".to_owned();
        return Ok((waiting > 0).then_some(line).into_iter().collect());
    };
    journal::recover(&Site { store, home, root: &root, stops })
}

fn undo_with(store: &Store, home: &Home, stops: &Stops<'_>) -> Result<Undone, PlaceError> {
    let root = Root::open(home.claude())?.ok_or(PlaceError::NothingToUndo)?;
    journal::undo(&Site { store, home, root: &root, stops })
}

/// The manifest, checked again, with everything it refers to in the store.
fn load(store: &Store, request: &PlaceRequest) -> Result<Manifest, PlaceError> {
    let want = Want { id: request.manifest.id, kind: WantKind::Manifest };
    let missing = match store.missing(want) {
        Ok(missing) => missing.len() as u64,
        Err(StoreError::Wrong { why, .. }) => return Err(PlaceError::Malformed(why)),
        Err(e) => return Err(e.into()),
    };
    if missing > 0 {
        return Err(PlaceError::Incomplete(missing));
    }
    let bytes = store.get_chunk(&request.manifest.id)?.ok_or(PlaceError::Incomplete(1))?;
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
        let entry = self.known.as_ref().and_then(|m| Some((m.file(slot)?, m.origins.as_slice())));
        let local = self.state.as_ref().and_then(|s| s.file(slot));
        let known = entry.zip(local).map(|((entry, origins), local)| (entry, origins, local));
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
        let Some((main, stamp)) = self.root.file(&names)? else { return Ok(None) };
        let state = LocalState::load(self.store, &session)?;
        let known = match &state {
            Some(state) => state.manifest(self.store)?,
            None => None,
        };
        let to = match &state {
            Some(state) if state.here.slug == found.slug => state.here.clone(),
            _ => self.target(&self.request.project_dir, Some(&found.slug))?,
        };
        Ok(Some(Here { to, main, stamp, path: self.root.join(&names), state, known }))
    }

    /// The places of this machine for a project's directory.
    fn target(&self, project_dir: &Path, slug: Option<&str>) -> Result<Origin, PlaceError> {
        let refused = || PlaceError::Directory(project_dir.to_owned());
        let text = project_dir.to_str().filter(|_| project_dir.is_absolute()).ok_or_else(refused)?;
        let slug = slug.map_or_else(|| project_slug(text), str::to_owned);
        Ok(capture::here(self.home, &slug, text))
    }

    fn incoming(&self, to: &Origin) -> Result<Incoming<'_>, PlaceError> {
        let project = Path::new(&to.project);
        let top = git::place(project).map(|p| p.top);
        let policy = Policy::new(project, top.as_deref(), self.home.user(), to.flavour)
            .ok_or_else(|| PlaceError::Directory(project.to_owned()))?;
        Ok(Incoming::new(self.store, self.manifest, to, self.request.from_me, policy))
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
        let (Some(state), Some(known)) = (&here.state, &here.known) else { return Ok(()) };
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
        let mut plan = self.plan(to, session, progress)?;
        let staged = (|| {
            let local = here.as_ref().map(|(h, _)| *h);
            plan.side_files(self, &incoming, local, &mut state)?;
            let entry = main_of(self.manifest)?;
            let kept = here.as_ref().map(|(h, cut)| (&h.main, cut));
            if kept.is_some_and(|(_, cut)| cut.torn) {
                plan.findings.add(Finding::Torn);
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
        let how = if here.is_some() { PlacedHow::FastForward } else { PlacedHow::New };
        plan.conclude(self, staged, state)?.answer(self, how, to, None)
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
        let incoming = self.incoming(&to)?.as_session(&new);
        let mut plan = self.plan(&to, new, progress)?;
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
        plan.conclude(self, staged, state)?.answer(self, PlacedHow::Fork, &to, Some(new))
    }

    fn plan<'p>(
        &self,
        to: &Origin,
        session: SessionId,
        progress: &'p mut dyn FnMut(u64, u64),
    ) -> Result<Plan<'p>, PlaceError> {
        let asked = (self.request.session, self.request.version);
        let before = self.store.note(Namespace::Session, &session.0)?;
        let record = Record::new(self.request.new_id.0, asked, session, &to.slug, before);
        let staging = Staging::make(self.root, &record.name())?;
        let total = self.manifest.total_bytes();
        Ok(Plan { record, staging, findings: Findings::default(), next: 0, done: 0, total, progress })
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

/// The steps of a placement, as they are found out.
struct Plan<'p> {
    record: Record,
    staging: Staging,
    findings: Findings,
    next: u32,
    done: u64,
    total: u64,
    progress: &'p mut dyn FnMut(u64, u64),
}

/// A placement that has happened.
struct Concluded {
    backup: Option<PathBuf>,
    dropped: Vec<String>,
}

impl Plan<'_> {
    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn add(&mut self, slot: Slot, staged: &Staged, old: Option<(Print, Stamp)>) {
        self.record.steps.push(Step {
            slot,
            number: staged.number,
            new: Content::of(&staged.print),
            old: old.map(|(print, stamp)| (Content::of(&print), stamp)),
        });
    }

    /// Stages every file but the main transcript.
    fn side_files(
        &mut self,
        job: &Placing<'_>,
        incoming: &Incoming<'_>,
        here: Option<&Here>,
        state: &mut LocalState,
    ) -> Result<(), PlaceError> {
        for entry in incoming.manifest.files.iter().filter(|f| f.slot != Slot::Main) {
            let names = place_of(&entry.slot, &self.record.session, &self.record.slug)?;
            let lying = job.root.file(&names)?;
            let path = job.root.join(&names);
            let local = match lying {
                None => self.new_file(incoming, entry)?,
                Some((file, stamp)) if entry.slot.is_log() => {
                    self.log_over(incoming, entry, here, (&file, stamp, &path))?
                }
                Some((file, stamp)) => {
                    self.file_over(incoming, entry, here, (&file, stamp, &path))?
                }
            };
            state.files.extend(local);
        }
        Ok(())
    }

    fn new_file(
        &mut self,
        incoming: &Incoming<'_>,
        entry: &FileEntry,
    ) -> Result<Option<LocalFile>, PlaceError> {
        let number = self.number();
        let staged = match entry.slot.is_log() {
            true => self.log(incoming, entry, number, None)?,
            false => self.whole(incoming, entry, number)?,
        };
        self.add(entry.slot.clone(), &staged, None);
        Ok(Some(remembered(&entry.slot, &staged)))
    }

    /// A sub-agent's log where one lies already.
    fn log_over(
        &mut self,
        incoming: &Incoming<'_>,
        entry: &FileEntry,
        here: Option<&Here>,
        (file, stamp, path): (&File, Stamp, &Path),
    ) -> Result<Option<LocalFile>, PlaceError> {
        let log = match here {
            Some(here) => here.log(&entry.slot, file, stamp),
            None => LocalLog { file, stamp, known: None },
        };
        let io = |e| ConfinedError::io(path, e).into();
        let kept = match standing::compare(&log, incoming, entry, &io)? {
            Standing::Same(cut) | Standing::Ahead(cut) => {
                let mut head = section(file, 0, cut.keep).map_err(io)?;
                let print = Print::of(&mut head).map_err(io)?;
                return Ok(Some(LocalFile {
                    slot: entry.slot.clone(),
                    stamp: Stamp::default(),
                    settled: false,
                    extents: cut.extents,
                    print,
                }));
            }
            Standing::Behind(cut) => Some(cut),
            Standing::Diverged => {
                self.findings.add(Finding::Replaced);
                None
            }
        };
        let number = self.number();
        let staged = self.log(incoming, entry, number, kept.as_ref().map(|cut| (file, cut)))?;
        let old = self.print(file, path)?;
        self.add(entry.slot.clone(), &staged, Some((old, stamp)));
        Ok(Some(remembered(&entry.slot, &staged)))
    }

    /// Any other file where one lies already.
    fn file_over(
        &mut self,
        incoming: &Incoming<'_>,
        entry: &FileEntry,
        here: Option<&Here>,
        (file, stamp, path): (&File, Stamp, &Path),
    ) -> Result<Option<LocalFile>, PlaceError> {
        let old = self.print(file, path)?;
        let number = self.number();
        let staged = self.whole(incoming, entry, number)?;
        if staged.print == old {
            return Ok(Some(remembered(&entry.slot, &staged)));
        }
        // Plans of all sessions lie in one place, and the names are the model's.
        let shared = matches!(entry.slot, Slot::Plan(_));
        let ours = here.and_then(|h| h.state.as_ref()?.file(&entry.slot)).map(|f| &f.print);
        if shared && ours != Some(&old) {
            self.findings.add(Finding::Foreign);
            return Ok(None);
        }
        self.add(entry.slot.clone(), &staged, Some((old, stamp)));
        Ok(Some(remembered(&entry.slot, &staged)))
    }

    fn log(
        &mut self,
        incoming: &Incoming<'_>,
        entry: &FileEntry,
        number: u32,
        kept: Option<(&File, &Cut)>,
    ) -> Result<Staged, PlaceError> {
        self.staging(None, |staging, notes| staging.log(number, incoming, entry, kept, notes))
    }

    fn whole(
        &mut self,
        incoming: &Incoming<'_>,
        entry: &FileEntry,
        number: u32,
    ) -> Result<Staged, PlaceError> {
        self.staging(None, |staging, notes| staging.whole(number, incoming, entry, notes))
    }

    /// A fork's transcript says at its end what the session is called now.
    fn fork_log(
        &mut self,
        incoming: &Incoming<'_>,
        entry: &FileEntry,
        number: u32,
        request: &PlaceRequest,
    ) -> Result<Staged, PlaceError> {
        let closing = |digest: &Digest| title_records(digest, request);
        self.staging(Some(&closing), |staging, notes| {
            staging.log(number, incoming, entry, None, notes)
        })
    }

    fn staging<T>(
        &mut self,
        closing: Option<&dyn Fn(&Digest) -> Vec<u8>>,
        work: impl FnOnce(&Staging, &mut Notes<'_>) -> Result<T, PlaceError>,
    ) -> Result<T, PlaceError> {
        let Self { staging, findings, done, total, progress, .. } = self;
        let mut told = |bytes: u64| {
            *done += bytes;
            progress((*done).min(*total), *total);
        };
        work(staging, &mut Notes { findings, progress: &mut told, closing })
    }

    fn print(&self, file: &File, path: &Path) -> Result<Print, PlaceError> {
        let io = |e: io::Error| PlaceError::from(ConfinedError::io(path, e));
        Print::of(&mut section(file, 0, u64::MAX).map_err(io)?).map_err(io)
    }

    /// Takes the steps that were staged, or removes what was staged of them.
    fn conclude(
        mut self,
        job: &Placing<'_>,
        staged: Result<(), PlaceError>,
        state: LocalState,
    ) -> Result<Concluded, PlaceError> {
        let ready = staged
            .and_then(|()| job.stops.pass("files are staged"))
            .and_then(|()| self.staging.sync())
            .and_then(|()| self.missing_dirs(job.root));
        match ready {
            Ok(()) => {}
            Err(e @ PlaceError::Stopped) => return Err(e),
            Err(e) => {
                self.staging.remove();
                return Err(e);
            }
        }
        let Placing { store, home, root, stops, .. } = *job;
        let site = Site { store, home, root, stops };
        let dir = PathBuf::from(&state.here.project);
        site.carry_out(&self.record, state)?;
        if let Err(e) = store.put_notes(&[projects::mapping(&job.manifest.project, &dir)]) {
            tracing::warn!(error = %e, "where the project lies is not remembered");
        }
        let replaced = self.record.steps.iter().any(|s| s.old.is_some());
        Ok(Concluded {
            backup: replaced.then(|| site.backups(&self.record)),
            dropped: self.findings.lines(),
        })
    }

    /// Notes which directories are made, so that they can be removed again.
    fn missing_dirs(&mut self, root: &Root) -> Result<(), PlaceError> {
        let mut dirs = BTreeSet::new();
        for step in &self.record.steps {
            let names = place_of(&step.slot, &self.record.session, &self.record.slug)?;
            for depth in 1..names.len() {
                let dir = names.get(..depth).unwrap_or_default();
                if !root.dir(dir)? {
                    dirs.insert(dir.to_vec());
                }
            }
        }
        // A directory sorts before what lies in it.
        self.record.dirs = dirs.into_iter().collect();
        Ok(())
    }
}

impl Concluded {
    fn answer(
        self,
        job: &Placing<'_>,
        how: PlacedHow,
        to: &Origin,
        forked: Option<SessionId>,
    ) -> Result<Placed, PlaceError> {
        Ok(job.answer(how, to, forked, self.backup, self.dropped))
    }
}

/// What is remembered of a staged file; how it looks in its place is added when
/// it is there.
fn remembered(slot: &Slot, staged: &Staged) -> LocalFile {
    LocalFile {
        slot: slot.clone(),
        stamp: Stamp::default(),
        settled: false,
        extents: staged.extents.clone(),
        print: staged.print.clone(),
    }
}

/// The records that give a fork its title, as Claude Code writes them.
fn title_records(digest: &Digest, request: &PlaceRequest) -> Vec<u8> {
    let summary = digest.summary();
    let device = text::one_line(&request.device_name, limits::DEVICE_NAME_CHARS_MAX);
    let title = summary.title();
    let title = match title.is_empty() {
        true => format!("(from {device})"),
        false => format!("{title} (from {device})"),
    };
    let session = request.new_id.to_string();
    let name = |kind: &str, key: &str| {
        serde_json::json!({ "type": kind, key: title, "sessionId": session }).to_string()
    };
    let mut out = Vec::new();
    if summary.bytes > digest.offset() {
        // The last line was never ended.
        out.push(b'\n');
    }
    for record in [name("custom-title", "customTitle"), name("agent-name", "agentName")] {
        out.extend_from_slice(record.as_bytes());
        out.push(b'\n');
    }
    out
}

fn main_of(manifest: &Manifest) -> Result<&FileEntry, PlaceError> {
    manifest.file(&Slot::Main).ok_or(PlaceError::Malformed("it has no transcript"))
}

fn place_of(slot: &Slot, session: &SessionId, slug: &str) -> Result<Vec<String>, PlaceError> {
    layout::path_of(slot, session, slug).ok_or(PlaceError::Malformed("a file has no place"))
}

impl From<DecodeError> for PlaceError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Version(_) => Self::Malformed("it was made by a newer ccpeer"),
            _ => Self::Malformed("its manifest is malformed"),
        }
    }
}

impl From<PlaceError> for ApiError {
    fn from(error: PlaceError) -> Self {
        let message = error.to_string();
        match error {
            PlaceError::Store(e) => problem::store(&e),
            PlaceError::Incomplete(_) => Self::new(ErrorCode::Incomplete, message)
                .hint("connect a device that holds it and try again"),
            PlaceError::Live(_) | PlaceError::Changed => Self::new(ErrorCode::Live, message)
                .hint("close it first, or use `--fork` to go on beside it"),
            PlaceError::Malformed(_) | PlaceError::LongLine => {
                Self::new(ErrorCode::Refused, message).hint("use `--handoff` to start from its snapshot")
            }
            PlaceError::Directory(_) => {
                Self::new(ErrorCode::NotFound, message).hint("name another one with `--into DIR`")
            }
            PlaceError::ChangedSince(_) => Self::new(ErrorCode::Refused, message)
                .hint("what it replaced is kept below the directory `backups` of CCPEER_HOME"),
            PlaceError::NothingToUndo => Self::new(ErrorCode::NotFound, message),
            PlaceError::Place(ConfinedError::Io { .. }) => Self::new(ErrorCode::Disk, message)
                .hint("check space and permissions of Claude's directory and CCPEER_HOME"),
            PlaceError::Place(_) => Self::new(ErrorCode::Refused, message)
                .hint("replace the link by what it points to, or set CLAUDE_CONFIG_DIR"),
            PlaceError::Stopped => Self::new(ErrorCode::Bug, message),
        }
    }
}

#[cfg(test)]
mod tests;
