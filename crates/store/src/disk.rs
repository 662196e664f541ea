//! The open database, and how it is opened again after a failure. Knows
//! transactions, but no table's meaning.
//!
//! redb gives up a handle after the first failed read, write or sync, and that
//! is right: after a failed sync nobody can say what is on the disk. So the
//! handle is dropped and the file opened anew, which recovers the last commit
//! that is known to be durable. What was under way is reported as failed, never
//! retried as if nothing had happened.
//!
//! Where even opening fails for want of space, the store goes on read-only, over
//! an [`Overlay`]; each write tries to open the real thing first.

use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use ccpeer_core::limits;
use redb::{
    BackendError, Builder, Database, ReadTransaction, ReadableDatabase, StorageBackend,
    WriteTransaction,
};

use crate::backend::{self, Backing, OpenOnly, Overlay, Volume};
use crate::error::{StoreError, Trouble, guarded};

/// One store's bytes and the database in them.
pub(crate) struct Disk {
    volume: Box<dyn Volume>,
    wanted: Mode,
    state: RwLock<State>,
    len: Arc<AtomicU64>,
}

struct State {
    /// `None` while opening fails.
    db: Option<Opened>,
    /// Rises with every opening, so that of several callers who met the same
    /// failure only one opens anew.
    generation: u64,
}

struct Opened {
    db: Database,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Full,
    ReadOnly,
}

impl Disk {
    /// Opens the database, creating one in an empty backend.
    pub(crate) fn open(volume: Box<dyn Volume>) -> Result<Self, StoreError> {
        Self::open_as(Mode::Full, volume)
    }

    /// Opens the database and never writes a byte to it.
    pub(crate) fn open_read_only(volume: Box<dyn Volume>) -> Result<Self, StoreError> {
        Self::open_as(Mode::ReadOnly, volume)
    }

    fn open_as(wanted: Mode, volume: Box<dyn Volume>) -> Result<Self, StoreError> {
        let len = Arc::new(AtomicU64::new(0));
        let opened = match open_database(wanted, volume.as_ref(), &len) {
            Err(e) if wanted == Mode::Full && may_be_read(&e) => {
                open_database(Mode::ReadOnly, volume.as_ref(), &len).map_err(|_| e)?
            }
            opened => opened?,
        };
        let state = State {
            db: Some(opened),
            generation: 0,
        };
        Ok(Self {
            volume,
            wanted,
            state: RwLock::new(state),
            len,
        })
    }

    /// Bytes of the file.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    /// Runs `f` in a read transaction. `f` may run twice, and must not call back
    /// into this disk.
    pub(crate) fn read<T>(
        &self,
        mut f: impl FnMut(&ReadTransaction) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        self.with(Mode::ReadOnly, |db| f(&db.begin_read()?))
    }

    /// Runs `f` in a write transaction and makes it durable. `f` may run twice,
    /// and must not call back into this disk. One caller at a time.
    pub(crate) fn write<T>(
        &self,
        f: impl Fn(&WriteTransaction) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        self.with(Mode::Full, |db| {
            let mut txn = db.begin_write()?;
            // Two-phase: what a crash leaves is exactly one of two states, and
            // not by grace of a checksum that an attacker could have met.
            txn.set_two_phase_commit(true);
            txn.set_quick_repair(true);
            let out = f(&txn)?;
            txn.commit()?;
            Ok(out)
        })
    }

    /// Lets redb walk the whole file and compare every checksum. Holds up
    /// everybody else. `false`: it was damaged and redb repaired it.
    pub(crate) fn check_integrity(&self) -> Result<bool, StoreError> {
        let generation = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            let Some(opened) = state.db.as_mut().filter(|o| o.mode == Mode::Full) else {
                return Err(StoreError::Full);
            };
            match guarded(|| Ok(opened.db.check_integrity()?)) {
                Ok(clean) => return Ok(clean),
                Err(Trouble::Answer(e)) => return Err(e),
                Err(Trouble::Reopen(e)) => {
                    let generation = state.generation;
                    drop(state);
                    // The caller hears of the damage, which says more.
                    let _ = self.reopen(generation);
                    return Err(e);
                }
                Err(Trouble::Retry) => state.generation,
            }
        };
        self.reopen(generation).map(|()| false)
    }

    /// A new, empty database beside this one. When it fails it is not opened
    /// anew: whoever fills it has to begin again.
    pub(crate) fn beside(&self) -> Result<Self, StoreError> {
        let inner = self.volume.open_beside();
        let inner = Mutex::new(Some(inner.map_err(|e| StoreError::io("rewrite", &e))?));
        Self::open(Box::new(OpenOnly(move || {
            let inner = inner.lock().unwrap_or_else(PoisonError::into_inner).take();
            inner.ok_or_else(|| io::Error::other("it has failed"))
        })))
    }

    /// Lets the database beside this one, which is closed and durable, take its
    /// place. Nobody may be writing.
    pub(crate) fn adopt(&self) -> Result<(), StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state
            .db
            .as_ref()
            .is_none_or(|opened| opened.mode != Mode::Full)
        {
            return Err(StoreError::Full);
        }
        close(&mut state);
        let adopted = self.volume.adopt();
        // Whichever it is now; if it cannot be opened, the next call tries again.
        let opened = open_database(self.wanted, self.volume.as_ref(), &self.len);
        let opened = opened.map(|opened| state.db = Some(opened));
        adopted.map_err(|e| StoreError::io("replace", &e))?;
        opened
    }

    /// Removes what lies beside.
    pub(crate) fn discard(&self) -> Result<(), StoreError> {
        let discarded = self.volume.discard();
        discarded.map_err(|e| StoreError::io("tidy up beside", &e))
    }

    fn with<T>(
        &self,
        mode: Mode,
        mut f: impl FnMut(&Database) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        let mut last = StoreError::Full;
        for _ in 0..ATTEMPTS {
            let state = self.state();
            let usable = state
                .db
                .as_ref()
                .filter(|o| mode == Mode::ReadOnly || o.mode == mode);
            let result = match usable {
                Some(opened) => guarded(|| f(&opened.db)),
                None => Err(Trouble::Retry),
            };
            let generation = state.generation;
            drop(state);
            match result {
                Ok(out) => return Ok(out),
                Err(Trouble::Answer(e)) => return Err(e),
                Err(Trouble::Reopen(e)) => {
                    tracing::warn!(error = %e, "store failed, opening it anew");
                    // If that fails too, the next call says so.
                    let _ = self.reopen(generation);
                    return Err(e);
                }
                Err(Trouble::Retry) => {
                    if let Err(e) = self.reopen(generation) {
                        if mode == Mode::Full || !self.is_open() {
                            return Err(e);
                        }
                        last = e;
                    }
                }
            }
        }
        Err(last)
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_open(&self) -> bool {
        self.state().db.is_some()
    }

    /// Opens anew, unless somebody has done so since `generation`. An error says
    /// why the store cannot be written; it may be readable nevertheless.
    fn reopen(&self, generation: u64) -> Result<(), StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.generation != generation {
            return Ok(());
        }
        close(&mut state);
        let error = match open_database(self.wanted, self.volume.as_ref(), &self.len) {
            Ok(opened) => {
                state.db = Some(opened);
                return Ok(());
            }
            Err(e) => e,
        };
        if self.wanted == Mode::Full && may_be_read(&error) {
            state.db = open_database(Mode::ReadOnly, self.volume.as_ref(), &self.len).ok();
        }
        Err(error)
    }
}

fn close(state: &mut State) {
    state.generation += 1;
    if let Some(old) = state.db.take() {
        // Closing a failed database may fail again; it holds nothing that was
        // acknowledged and is not on the disk.
        let _ = guarded(|| {
            drop(old);
            Ok(())
        });
    }
}

/// One failure that others had met before us, one opening that fails for reading
/// only.
const ATTEMPTS: usize = 3;

/// Whether a file that cannot be opened for writing is worth a look.
fn may_be_read(error: &StoreError) -> bool {
    matches!(error, StoreError::Full | StoreError::Io { .. })
}

fn open_database(
    mode: Mode,
    volume: &dyn Volume,
    len: &Arc<AtomicU64>,
) -> Result<Opened, StoreError> {
    let failed = |e| StoreError::io("open", &e);
    let inner = volume.open().map_err(failed)?;
    let inner = match mode {
        Mode::Full => inner,
        Mode::ReadOnly => Box::new(Overlay::new(inner).map_err(failed)?),
    };
    let backing = Backing::new(inner, Arc::clone(len));
    if backend::is_stillborn(&backing).map_err(failed)? {
        start_over(&backing)?;
    }
    let opened = guarded(|| {
        Ok(Builder::new()
            .set_cache_size(limits::STORE_CACHE_BYTES)
            .create_with_backend(backing)?)
    });
    match opened {
        Ok(db) => Ok(Opened { db, mode }),
        Err(Trouble::Answer(e) | Trouble::Reopen(e)) => Err(e),
        Err(Trouble::Retry) => Err(StoreError::Io {
            doing: "open",
            kind: std::io::ErrorKind::Other,
            message: "it failed while being opened".into(),
        }),
    }
}

/// Empties a file whose creation was cut off. Under the lock, because another
/// process may be creating it just now.
fn start_over(backing: &Backing) -> Result<(), StoreError> {
    let failed = |e| StoreError::io("open", &e);
    let whole = (Bound::Unbounded, Bound::Unbounded);
    let locked = match backing.try_lock_range(whole.0, whole.1) {
        Ok(true) => true,
        Ok(false) => return Err(StoreError::Locked),
        Err(BackendError::Unsupported) => false,
        Err(e) => return Err(failed(e.into())),
    };
    if backend::is_stillborn(backing).map_err(failed)? {
        backing.set_len(0).map_err(failed)?;
    }
    if locked {
        let unlocked = backing.unlock_range(whole.0, whole.1);
        unlocked.map_err(|e| failed(e.into()))?;
    }
    Ok(())
}
