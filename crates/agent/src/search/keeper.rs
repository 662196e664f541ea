//! When the index is brought up to date: a while after something came, or at once
//! when somebody asks. Nothing at all happens while nothing changes.
//!
//! The work itself has a thread of the lowest priority, and ends with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ccpeer_core::id::SessionId;
use ccpeer_core::sync::effect::Notice;
use ccpeer_store::Store;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, oneshot};
use tokio::time::Instant;

use super::Standing;
use super::fill::{self, Wanted, Way};
use super::index::{Index, IndexError};
use crate::doctor::free_space;
use crate::driver::{Ask, AskSearch, Handle};
use crate::exposed::Exposed;

/// The first look comes so long after a start, when the start is over.
const FIRST: Duration = Duration::from_secs(20);
/// What came waits so long for more, if nobody asks.
const WAIT: Duration = Duration::from_secs(60);
/// Pauses after failures in a row; the last one stays.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(3600),
];
/// After so many failures in a row the index is made anew.
const FAILURES_MAX: usize = 3;
/// An index that nobody asks is closed after this long.
const OPEN_MAX: Duration = Duration::from_secs(60);
/// Sessions that wait one by one; where there are more, all are looked at.
const PENDING_MAX: usize = 256;
/// With less room than this on the disk nothing is indexed.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// How much gentler than the agent's other threads the work is.
#[cfg(target_os = "linux")]
const NICE: i32 = 15;

/// What waits to be indexed.
#[derive(Debug)]
enum Pending {
    /// These; none of them: nothing.
    Some(BTreeSet<SessionId>),
    /// Everything is to be looked at.
    All,
}

impl Pending {
    fn add(&mut self, session: SessionId) {
        if let Self::Some(sessions) = self {
            sessions.insert(session);
            if sessions.len() > PENDING_MAX {
                *self = Self::All;
            }
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Some(sessions) if sessions.is_empty())
    }
}

struct Keeper {
    handle: Handle,
    notices: broadcast::Receiver<Notice>,
    pending: Pending,
    /// What was brought into the index in this life.
    filled: BTreeMap<SessionId, [u8; 8]>,
    /// The index was not looked at in this life.
    unchecked: bool,
    /// Not before.
    at: Option<Instant>,
    /// When an index that is open is closed.
    close_at: Option<Instant>,
    failures: usize,
    /// Ends the work that is under way with this task.
    _stop: StopAtEnd,
}

struct StopAtEnd(Arc<Way>);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// Keeps the index up to date until the agent ends. Returns by being dropped.
pub(crate) async fn run(handle: Handle) {
    let fast = crate::rounds::hurry().unwrap_or(1);
    let mut keeper = Keeper {
        notices: handle.notices(),
        _stop: StopAtEnd(Arc::clone(&handle.shared.search.way)),
        handle,
        pending: Pending::All,
        filled: BTreeMap::new(),
        unchecked: true,
        at: Some(Instant::now() + FIRST / fast),
        close_at: None,
        failures: 0,
    };
    loop {
        let search = &keeper.handle.shared.search;
        let next = [keeper.at, keeper.close_at].into_iter().flatten().min();
        tokio::select! {
            notice = keeper.notices.recv() => {
                match notice {
                    Ok(notice) => keeper.heed(notice),
                    Err(RecvError::Lagged(_)) => keeper.pending = Pending::All,
                    Err(RecvError::Closed) => return,
                }
                if !keeper.pending.is_empty() && keeper.at.is_none() {
                    keeper.at = Some(Instant::now() + WAIT / fast);
                }
            }
            () = search.bell.notified() => {
                keeper.close_at = Some(Instant::now() + OPEN_MAX);
                keeper.bring(true).await;
            }
            () = sleep_until(next), if next.is_some() => {
                let now = Instant::now();
                if keeper.close_at.is_some_and(|at| at <= now) {
                    keeper.close_at = None;
                    search.close();
                }
                if keeper.at.is_some_and(|at| at <= now) {
                    keeper.bring(false).await;
                }
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

impl Keeper {
    fn heed(&mut self, notice: Notice) {
        if let Notice::Session(session) | Notice::Complete(session, _) = notice {
            self.pending.add(session);
        }
    }

    /// Brings the index up to date. One that failed a moment ago is not tried again
    /// at once because somebody asks.
    async fn bring(&mut self, asked: bool) {
        let search = &self.handle.shared.search;
        let ticket = search.asked.load(Ordering::SeqCst);
        if search.anew.load(Ordering::SeqCst) {
            self.pending = Pending::All;
            self.unchecked = true;
        }
        loop {
            match self.notices.try_recv() {
                Ok(notice) => self.heed(notice),
                Err(TryRecvError::Lagged(_)) => self.pending = Pending::All,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        let pausing = asked && self.failures > 0 && self.at.is_some_and(|at| at > Instant::now());
        let behind = if self.pending.is_empty() {
            self.at = None;
            false
        } else if pausing {
            true
        } else {
            self.work().await
        };
        let standing = Standing {
            answered: ticket,
            behind,
        };
        self.handle.shared.search.standing.send_replace(standing);
    }

    /// Does what waits; whether some of it is left.
    async fn work(&mut self) -> bool {
        self.at = None;
        let mut again = false;
        loop {
            let pending = std::mem::replace(&mut self.pending, Pending::Some(BTreeSet::new()));
            let all = matches!(pending, Pending::All);
            let only = match pending {
                Pending::All => None,
                Pending::Some(sessions) => Some(sessions.into_iter().collect::<Vec<_>>()),
            };
            let asked = only.clone();
            let wanted = self
                .handle
                .ask(|to| Ask::Search(AskSearch::Wanted(asked, to)));
            let Ok(mut wanted) = wanted.await else {
                // The agent ends.
                return true;
            };
            if !all {
                // Most of what is said about a session is where it stands.
                wanted.retain(|w| self.filled.get(&w.session) != Some(&w.mark()));
                if wanted.is_empty() {
                    return false;
                }
            }
            let marks: Vec<_> = wanted.iter().map(|w| (w.session, w.mark())).collect();
            let done = self.on_a_thread(wanted, all).await;
            let search = &self.handle.shared.search;
            search.close();
            match done {
                Ok(Done::Filled) => {
                    if all {
                        self.filled.clear();
                    }
                    self.filled.extend(marks);
                    self.unchecked = false;
                    search.anew.store(false, Ordering::SeqCst);
                    self.failures = 0;
                    return false;
                }
                // There was none, so that all of it is to come.
                Ok(Done::New) if !again => {
                    self.pending = Pending::All;
                    again = true;
                }
                Ok(Done::New) => return self.failed(&IndexError::Absent),
                Err(e) => return self.failed(&e),
            }
        }
    }

    fn failed(&mut self, error: &IndexError) -> bool {
        let pause = PAUSES.get(self.failures).or(PAUSES.last()).copied();
        self.failures += 1;
        if self.failures == 1 {
            tracing::warn!(%error, "the search index is not brought up to date");
        }
        self.at = pause.map(|pause| Instant::now() + pause);
        self.pending = Pending::All;
        self.filled.clear();
        true
    }

    async fn on_a_thread(&self, wanted: Vec<Wanted>, all: bool) -> Result<Done, IndexError> {
        let shared = &self.handle.shared;
        let task = Task {
            dir: shared.home.search(),
            store: Arc::clone(&shared.store),
            exposed: Arc::clone(&shared.exposed),
            wanted,
            all,
            check: self.unchecked,
            anew: shared.search.anew.load(Ordering::SeqCst) || self.failures >= FAILURES_MAX,
            way: Arc::clone(&shared.search.way),
        };
        let (tx, rx) = oneshot::channel();
        let started = std::thread::Builder::new()
            .name("search-index".to_owned())
            .spawn(move || {
                be_gentle();
                // The library may fall over what is damaged.
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.run()));
                let done = done.unwrap_or(Err(IndexError::Damaged("it cannot be read")));
                let _ending = tx.send(done);
            });
        started?;
        rx.await.unwrap_or(Err(IndexError::Ending))
    }
}

/// What came of it.
enum Done {
    /// What was wanted is in the index.
    Filled,
    /// The index had to be made, and not everything was wanted.
    New,
}

struct Task {
    dir: PathBuf,
    store: Arc<Store>,
    exposed: Arc<Exposed>,
    wanted: Vec<Wanted>,
    all: bool,
    check: bool,
    anew: bool,
    way: Arc<Way>,
}

impl Task {
    fn run(&self) -> Result<Done, IndexError> {
        match self.fill(self.anew) {
            // Once more from nothing: whatever was wrong with it is gone then.
            Err(IndexError::Damaged(_) | IndexError::Absent) if !self.anew => self.fill(true),
            // A thread of the library that fell does not say over what.
            Err(IndexError::Io(_)) if !self.anew && self.is_damaged() => self.fill(true),
            other => other,
        }
    }

    fn is_damaged(&self) -> bool {
        let looked_at = Index::open(&self.dir).and_then(|index| index.check());
        matches!(looked_at, Err(IndexError::Damaged(_) | IndexError::Absent))
    }

    fn fill(&self, anew: bool) -> Result<Done, IndexError> {
        // The store needs the last of the disk more.
        if free_space(&self.dir).is_some_and(|free| free < FREE_BYTES_MIN) {
            return Err(IndexError::Io(std::io::ErrorKind::StorageFull));
        }
        if anew
            && let Err(e) = std::fs::remove_dir_all(&self.dir)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            return Err(e.into());
        }
        let (index, created) = fill::open_or_create(&self.dir, self.check)?;
        if created && !self.all {
            return Ok(Done::New);
        }
        let from = (&*self.store, &*self.exposed);
        fill::fill(&index, from, &self.wanted, self.all, &self.way)?;
        Ok(Done::Filled)
    }
}

/// Whatever else this machine does comes first.
fn be_gentle() {
    #[cfg(target_os = "linux")]
    let _refused = rustix::process::nice(NICE);
}
