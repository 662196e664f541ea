//! Placing without being asked: what other devices wrote lies in Claude Code's
//! directory here soon after their turn has ended, so that its own picker shows
//! it, and grows as they go on.
//!
//! Only where the user wants it, where the project is known without a doubt, and
//! where nothing of anybody's work is touched: a session is new here, or what
//! lies here is its beginning. One at a time, after a moment of quiet, and
//! nothing at all happens while nothing changes.

mod queue;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ccpeer_core::codec;
use ccpeer_core::id::SessionId;
use ccpeer_core::limits;
use ccpeer_core::manifest::{Manifest, ProjectIdentity, Slot};
use ccpeer_core::presence::{EndReason, SessionState};
use ccpeer_core::sync::effect::Notice;
use ccpeer_core::time::Timestamp;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::api::{ApiError, ErrorCode, Place, PlacedHow};
use crate::driver::{Ask, Busy, Handle, Head, Outlook, Shared, cleanup_days, wall};
use crate::jobs::bring;
use crate::local::LocalState;
use crate::policy::Policy;
use crate::pool::blocking;
use crate::projects::Finder;
use crate::{place, problem, scan};

use queue::Queue;

/// A device that went away in the middle of a turn may be away for ever; what it
/// said before that turn is placed after this long.
const AWAY_MAX: Duration = Duration::from_secs(600);
/// A session that is a day from its end by Claude Code's own sweep is not placed:
/// it would be gone at once.
const LAST_DAY_MS: u64 = 24 * 3600 * 1000;
/// What was found out about a project's place is true for this long.
const PLACES_KNOWN: Duration = Duration::from_secs(600);
/// Projects whose place is remembered.
const PLACES_MAX: usize = 1024;
/// Directories of sessions that have just begun, waiting to be looked at.
const DIRS_MAX: usize = 64;

/// Tells the task of this module that there is something to look at.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Notify,
    begun: Mutex<Begun>,
}

/// Where sessions have begun.
#[derive(Default)]
struct Begun {
    /// Not looked at yet.
    new: BTreeSet<PathBuf>,
    /// In this life of the agent.
    all: BTreeSet<PathBuf>,
}

impl Bell {
    /// The user's choice has changed.
    pub(crate) fn chosen(&self) {
        self.rung.notify_one();
    }

    /// A session begins in this directory, which may be a checkout that nobody
    /// knew of.
    pub(crate) fn begins_in(&self, dir: PathBuf) {
        let mut begun = self.begun();
        if begun.all.len() >= PLACES_MAX {
            begun.all.clear();
        }
        if begun.all.insert(dir.clone()) && begun.new.len() < DIRS_MAX {
            begun.new.insert(dir);
            self.rung.notify_one();
        }
    }

    fn begun(&self) -> MutexGuard<'_, Begun> {
        // Nothing in here panics half-way through a change.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a session is not placed without being asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Not {
    /// It was written here.
    Ours,
    /// It is here, and up to date.
    Here,
    /// The user was not asked yet.
    Undecided,
    /// The user does not want it.
    Off,
    /// Not in this project.
    Project,
    /// Not from this device.
    Device,
    /// There are several lines.
    Lines,
    /// Only its snapshot was shared.
    SnapshotOnly,
    /// It is still being fetched.
    Incomplete,
    /// It is finished, by the user's word.
    Done,
    /// Its files are gone everywhere.
    Archived,
    /// A program ran it; Claude Code's picker would not show it either.
    Script,
    /// It is open here.
    Open,
    /// Somebody is in a turn of it.
    Busy(Busy),
    /// The user has taken it back.
    TakenBack,
    /// It lay here, and somebody removed it.
    Removed,
    /// This ccpeer does not understand it.
    Unplaceable,
    /// Claude Code would delete it at once.
    Old,
    /// Which directory here is its project is not beyond doubt.
    Doubt,
}

impl Not {
    /// The end of a sentence.
    pub(crate) fn because(&self) -> String {
        match self {
            Self::Ours => "it was written here".to_owned(),
            Self::Here => "it lies here already".to_owned(),
            Self::Undecided => "nobody has said yet that sessions are to be placed by \
                                themselves; `ccpeer policy place default auto` says so"
                .to_owned(),
            Self::Off => "that is switched off; `ccpeer policy place default auto` switches \
                          it on"
                .to_owned(),
            Self::Project => "that is switched off for its project; see `ccpeer policy`".to_owned(),
            Self::Device => "that is switched off for the device that wrote it; see \
                             `ccpeer policy`"
                .to_owned(),
            Self::Lines => "it went on in more than one place; `ccpeer continue` lets you \
                            choose"
                .to_owned(),
            Self::SnapshotOnly => "only its snapshot was shared".to_owned(),
            Self::Incomplete => "not all of it is here yet".to_owned(),
            Self::Done => "it was marked as done".to_owned(),
            Self::Archived => "its files are gone where they were".to_owned(),
            Self::Script => {
                "a program ran it, and Claude Code does not list such sessions".to_owned()
            }
            Self::Open => "it is open here".to_owned(),
            Self::Busy(busy) => format!("{} is in a turn of it", busy.name),
            Self::TakenBack => "its placement was taken back".to_owned(),
            Self::Removed => "it lay here, and its file was deleted".to_owned(),
            Self::Unplaceable => "this ccpeer does not understand it".to_owned(),
            Self::Old => "Claude Code would soon delete it for its age".to_owned(),
            Self::Doubt => "which directory here is its project is not beyond doubt".to_owned(),
        }
    }

    /// When it is worth to look again although nobody says anything.
    fn again(&self) -> Option<Duration> {
        match self {
            Self::Busy(busy) => Some(AWAY_MAX.saturating_sub(busy.away.unwrap_or_default())),
            _ => None,
        }
    }
}

/// A version that is to be placed, and where.
pub(crate) struct Ready {
    head: Head,
    dir: PathBuf,
}

/// Runs until the agent ends. Returns by being dropped.
pub(crate) async fn run(handle: Handle) {
    let mut notices = handle.notices();
    let mut queue = Queue::default();
    let mut places = Places::default();
    let mut wanted = false;
    let mut look = true;
    loop {
        if std::mem::take(&mut look) {
            wanted = is_wanted(&handle).await;
            if wanted {
                look_at_all(&handle, &mut queue).await;
            } else {
                queue = Queue::default();
            }
        }
        let due = queue.next();
        tokio::select! {
            notice = notices.recv() => match notice {
                Ok(Notice::Session(session) | Notice::Complete(session, _)) if wanted => {
                    queue.changed(session, Instant::now());
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => look = wanted,
                Err(RecvError::Closed) => return,
            },
            () = handle.shared.bell.rung.notified() => {
                let begun = std::mem::take(&mut handle.shared.bell.begun().new);
                places.look_into(begun);
                look = true;
            }
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let Some(session) = queue.take(Instant::now()) else { continue };
                match one(&handle, session, &mut places).await {
                    Ok(Ok(())) => queue.done(session),
                    Ok(Err(not)) => {
                        tracing::debug!(session = %session.short(), ?not, "not placed by itself");
                        queue.done(session);
                        if let Some(after) = not.again() {
                            queue.later(session, Instant::now() + after);
                        }
                    }
                    Err(e) if e.code == ErrorCode::Agent => return,
                    Err(e) => {
                        let again = queue.failed(session, Instant::now());
                        tracing::warn!(session = %session.short(), error = %e.message, again,
                            "a session was not placed by itself");
                    }
                }
                look = wanted && queue.ask_for_more();
            }
        }
    }
}

async fn is_wanted(handle: &Handle) -> bool {
    let shared = Arc::clone(&handle.shared);
    let policy = blocking(move || Policy::load(&shared.store)).await;
    policy.is_ok_and(|p| p.places.any(Place::Auto))
}

async fn look_at_all(handle: &Handle, queue: &mut Queue) {
    let Ok(heads) = handle.ask(Ask::Sessions).await else {
        return;
    };
    let now = Instant::now();
    // The newest come first in the list, and are placed first.
    for (head, _) in heads.iter().filter(|(h, _)| !h.from_me) {
        queue.found(head.version.session, now);
    }
}

/// Places one session, if it is to be.
async fn one(
    handle: &Handle,
    session: SessionId,
    places: &mut Places,
) -> Result<Result<(), Not>, ApiError> {
    let Ready { head, dir } = match look(handle, session, places).await? {
        Ok(ready) => ready,
        Err(not) => return Ok(Err(not)),
    };
    match bring::unasked(handle, &head, dir).await {
        Ok(placed) => {
            if placed.placed != PlacedHow::UpToDate {
                tracing::info!(session = %session.short(), how = ?placed.placed, "placed by itself");
            }
            Ok(Ok(()))
        }
        Err(e) if e.code == ErrorCode::Live => Ok(Err(Not::Open)),
        Err(e) if e.code == ErrorCode::Incomplete => Ok(Err(Not::Incomplete)),
        // Looking again changes nothing.
        Err(e) if e.code == ErrorCode::Unplaceable => Ok(Err(Not::Unplaceable)),
        Err(e) if e.code == ErrorCode::Refused => {
            tracing::info!(session = %session.short(), why = %e.message, "not placed by itself");
            Ok(Err(Not::Lines))
        }
        Err(e) => Err(e),
    }
}

/// Whether a session is to be placed, and why not. Looks, and changes nothing.
pub(crate) async fn verdict(handle: &Handle, session: SessionId) -> Result<Option<Not>, ApiError> {
    let looked = look(handle, session, &mut Places::default()).await?;
    let not = looked.err();
    if not != Some(Not::Here) {
        return Ok(not);
    }
    let shared = Arc::clone(&handle.shared);
    let lies = blocking(move || !scan::find_session(&shared.home, &session).is_empty()).await;
    Ok(Some(if lies { Not::Here } else { Not::Removed }))
}

async fn look(
    handle: &Handle,
    session: SessionId,
    places: &mut Places,
) -> Result<Result<Ready, Not>, ApiError> {
    let Some(outlook) = handle.ask(|to| Ask::Outlook(session, to)).await? else {
        return Ok(Err(Not::Ours));
    };
    if let Some(not) = by_what_is_said(&outlook) {
        return Ok(Err(not));
    }
    let shared = Arc::clone(&handle.shared);
    let mut known = std::mem::take(places);
    let (known, looked) = blocking(move || {
        let looked = on_disk(&shared, session, &outlook, &mut known);
        (known, looked)
    })
    .await;
    *places = known;
    looked
}

/// What the statements of all devices say about it.
fn by_what_is_said(outlook: &Outlook) -> Option<Not> {
    let head = &outlook.head;
    if head.from_me {
        return Some(Not::Ours);
    }
    match head.state {
        SessionState::Done => return Some(Not::Done),
        SessionState::Archived => return Some(Not::Archived),
        SessionState::Ended(EndReason::Script) => return Some(Not::Script),
        SessionState::Live
        | SessionState::Idle
        | SessionState::Interrupted
        | SessionState::Ended(_) => {}
    }
    if outlook.lines > 1 {
        return Some(Not::Lines);
    }
    if head.version.manifest.is_none() {
        return Some(Not::SnapshotOnly);
    }
    if !head.complete {
        return Some(Not::Incomplete);
    }
    if outlook.open_here {
        return Some(Not::Open);
    }
    // A terminal that waits for its user loses nothing; one in a turn is about to
    // say more.
    let busy = outlook.busy.clone()?;
    let waits = busy.away.is_none_or(|away| away < AWAY_MAX);
    waits.then_some(Not::Busy(busy))
}

/// What this disk says about it.
fn on_disk(
    shared: &Shared,
    session: SessionId,
    outlook: &Outlook,
    places: &mut Places,
) -> Result<Result<Ready, Not>, ApiError> {
    let (store, home) = (&*shared.store, &shared.home);
    let broken = |e| problem::store(&e);
    let head = &outlook.head;
    let policy = Policy::load(store).map_err(broken)?;
    if policy.places.of_device(&outlook.author) == Some(Place::Never) {
        return Ok(Err(Not::Device));
    }
    if place::was_taken_back(store, &session).map_err(broken)? {
        return Ok(Err(Not::TakenBack));
    }
    let Some(manifest) = manifest(shared, head)? else {
        return Ok(Err(Not::Incomplete));
    };
    let days = cleanup_days(home);
    if is_old(&manifest, days, wall()) {
        return Ok(Err(Not::Old));
    }
    let local = LocalState::load(store, &session).map_err(broken)?;
    if local.as_ref().and_then(|l| l.base) == Some(head.id) {
        return Ok(Err(Not::Here));
    }
    if local.is_some() && scan::find_session(home, &session).is_empty() {
        return Ok(Err(Not::Removed));
    }
    let dir = match local.map(|l| PathBuf::from(l.here.project)) {
        Some(dir) => dir,
        None => match places.of(shared, &manifest.project, &head.version.meta.branch)? {
            Some(dir) => dir,
            None => return Ok(Err(Not::Doubt)),
        },
    };
    let (how, own) = policy.places.of_dir(&dir);
    Ok(match how {
        Place::Auto => Ok(Ready {
            head: head.clone(),
            dir,
        }),
        Place::Ask | Place::Never if own => Err(Not::Project),
        Place::Never => Err(Not::Off),
        Place::Ask => Err(Not::Undecided),
    })
}

fn manifest(shared: &Shared, head: &Head) -> Result<Option<Manifest>, ApiError> {
    let Some(content) = head.version.manifest else {
        return Ok(None);
    };
    let bytes = shared.store.get_chunk(&content.id);
    let bytes = bytes.map_err(|e| problem::store(&e))?;
    Ok(bytes.and_then(|b| Manifest::from_bytes(&b).ok()))
}

/// Whether Claude Code would soon delete it. It goes by the file's own time, which
/// stays as it was; past the bound it could not, and would come first in a list
/// of which it is the last.
fn is_old(manifest: &Manifest, cleanup_days: u64, now: Timestamp) -> bool {
    let Some(main) = manifest.file(&Slot::Main) else {
        return true;
    };
    let period = cleanup_days.saturating_mul(LAST_DAY_MS);
    let kept = period
        .saturating_sub(LAST_DAY_MS)
        .min(limits::PLACED_AGE_MS_MAX);
    now.0.saturating_sub(main.modified.0) >= kept
}

/// Which directory is which project, as far as it was found out lately: asking
/// git costs a few processes.
#[derive(Default)]
struct Places {
    known: BTreeMap<[u8; 32], (Instant, Option<PathBuf>)>,
    /// Where sessions have begun that nobody has captured yet.
    begun: BTreeSet<PathBuf>,
}

impl Places {
    fn look_into(&mut self, dirs: BTreeSet<PathBuf>) {
        self.known.retain(|_, (_, dir)| dir.is_some());
        self.begun.extend(dirs);
        while self.begun.len() > DIRS_MAX {
            self.begun.pop_first();
        }
    }

    /// The directory of a project, if it is that beyond doubt. `branch` is the
    /// session's.
    fn of(
        &mut self,
        shared: &Shared,
        want: &ProjectIdentity,
        branch: &str,
    ) -> Result<Option<PathBuf>, ApiError> {
        let key = *blake3::hash(&codec::encode(&(want, branch))).as_bytes();
        if let Some((at, dir)) = self.known.get(&key)
            && at.elapsed() < PLACES_KNOWN
            && dir.as_deref().is_none_or(Path::is_dir)
        {
            return Ok(dir.clone());
        }
        let finder = Finder::new(&shared.store, &shared.home);
        let finder = finder.map_err(|e| problem::store(&e))?;
        let begun: Vec<&Path> = self.begun.iter().map(PathBuf::as_path).collect();
        let dir = finder.certain(want, branch, &begun);
        if self.known.len() >= PLACES_MAX {
            self.known.clear();
        }
        self.known.insert(key, (Instant::now(), dir.clone()));
        Ok(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{CaptureRequest, Captured, Recent, capture};
    use crate::testing::World;

    #[test]
    fn what_would_be_swept_at_once_is_old() {
        let world = World::in_memory("ann");
        let session: SessionId = "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b".parse().unwrap();
        let path = world.transcript("-p", &session);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let line = r#"{"type":"user","cwd":"/p","message":{"content":"x"}}"#;
        std::fs::write(&path, format!("{line}\n")).unwrap();
        let request = CaptureRequest {
            session,
            last_assistant_message: None,
            changed: false,
            in_passing: false,
            state: SessionState::Idle,
            device_name: "desk".to_owned(),
            now: wall(),
        };
        let Captured::New(new) =
            capture(&world.store, &world.home, &Recent::default(), &request).unwrap()
        else {
            panic!("nothing was captured");
        };
        new.keep(&world.store, ccpeer_core::id::EntryHash([1; 32]))
            .unwrap();
        let bytes = world.store.get_chunk(&new.manifest.id).unwrap().unwrap();
        let manifest = Manifest::from_bytes(&bytes).unwrap();
        let written = manifest.file(&Slot::Main).unwrap().modified.0;
        let check = |days: u64, period: u64, want: bool| {
            let now = Timestamp(written + days * LAST_DAY_MS);
            assert_eq!(is_old(&manifest, period, now), want, "{days} of {period}");
        };
        check(0, 30, false);
        check(24, 30, false);
        check(25, 30, true);
        check(25, 365, true);
        check(5, 7, false);
        check(6, 7, true);
        check(0, 1, true);
        assert!(
            !is_old(&manifest, 30, Timestamp(0)),
            "a clock that is behind"
        );
    }
}
