//! Writers that wait for one another share one transaction. Knows what a job
//! writes, not why.
//!
//! Who comes first leads: it takes everything that waits, writes it, and hands
//! each caller its own result. While it waits for the disk, the next ones queue
//! up and will share the next transaction. Two hundred hooks at once cost two or
//! three syncs, not two hundred.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ccpeer_core::id::ChunkId;
use ccpeer_core::limits;
use redb::WriteTransaction;

use crate::disk::Disk;
use crate::error::{StoreError, Trouble};
use crate::{chunks, gc, log, notes};

/// Something to be made durable, encoded and checked as far as that can be done
/// without the tables.
#[derive(Debug)]
pub(crate) enum Job {
    /// Entries, completeness, epoch.
    Commit(log::Rows),
    /// The same, with the content that the entries speak of, and notes about it.
    Together(log::Rows, Vec<chunks::Packed>, Vec<notes::Row>),
    /// Chunks, packed.
    Chunks(Vec<chunks::Packed>),
    /// What was found out about chunks and manifests.
    Amend(chunks::Amendment),
    /// A step of the collector.
    Sweep(gc::Sweep),
    /// Notes.
    Notes(Vec<notes::Row>),
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Commit(rows) => rows.bytes(),
            Self::Together(rows, packed, noted) => {
                let content: usize = packed.iter().map(chunks::Packed::bytes).sum();
                let noted: usize = noted.iter().map(notes::Row::bytes).sum();
                rows.bytes() + content + noted
            }
            Self::Chunks(packed) => packed.iter().map(chunks::Packed::bytes).sum(),
            Self::Amend(amendment) => amendment.bytes(),
            Self::Sweep(sweep) => sweep.bytes(),
            Self::Notes(rows) => rows.iter().map(notes::Row::bytes).sum(),
        }
    }

    /// The rows that it may change, except for those of small tables, which
    /// nobody needs to tell apart.
    fn touched(&self, see: &mut dyn FnMut(Touched)) {
        match self {
            Self::Commit(rows) => rows.keys().for_each(|k| see(Touched::Entry(k))),
            Self::Together(rows, packed, noted) => {
                rows.keys().for_each(|k| see(Touched::Entry(k)));
                packed.iter().for_each(|p| see(Touched::Chunk(p.id())));
                for row in noted {
                    see(Touched::Note(row.key().to_vec()));
                }
            }
            Self::Chunks(packed) => packed.iter().for_each(|p| see(Touched::Chunk(p.id()))),
            Self::Amend(amendment) => amendment.ids().for_each(|id| see(Touched::Chunk(id))),
            Self::Sweep(sweep) => sweep.freed().for_each(|id| see(Touched::Chunk(id))),
            Self::Notes(rows) => {
                rows.iter()
                    .for_each(|row| see(Touched::Note(row.key().to_vec())));
            }
        }
    }

    /// All of the job, or an answer and nothing of it: whatever can be refused is
    /// looked at before the first row is written.
    fn apply(&self, txn: &WriteTransaction) -> Result<(), Trouble> {
        match self {
            Self::Commit(rows) => rows.apply(txn),
            Self::Together(rows, packed, noted) => {
                rows.apply(txn)?;
                chunks::apply(packed, txn)?;
                notes::apply(noted, txn)
            }
            Self::Chunks(packed) => chunks::apply(packed, txn),
            Self::Amend(amendment) => amendment.apply(txn),
            Self::Sweep(sweep) => sweep.apply(txn),
            Self::Notes(rows) => notes::apply(rows, txn),
        }
    }
}

/// A row that a job has changed, or was about to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Touched {
    /// An entry, by its key.
    Entry([u8; 56]),
    /// All rows of a chunk.
    Chunk(ChunkId),
    /// A note, by its key.
    Note(Vec<u8>),
}

/// The queue before the one writer of a [`Disk`]. It is bounded by the number
/// of callers: each has one job and waits for it.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<VecDeque<Arc<Ticket>>>,
    leader: Mutex<()>,
    /// What was touched since somebody began to take note.
    touched: Mutex<Option<BTreeSet<Touched>>>,
}

struct Ticket {
    job: Job,
    outcome: Mutex<Option<Result<(), StoreError>>>,
}

impl Queue {
    /// Makes a job durable, together with others that wait, and returns its own
    /// result.
    pub(crate) fn run(&self, disk: &Disk, job: Job) -> Result<(), StoreError> {
        let ticket = Arc::new(Ticket {
            job,
            outcome: Mutex::new(None),
        });
        lock(&self.waiting).push_back(Arc::clone(&ticket));
        let _leading = lock(&self.leader);
        loop {
            // Somebody may have led for us while we waited to lead.
            if let Some(result) = lock(&ticket.outcome).take() {
                return result;
            }
            let load = self.next_load();
            if let Some(touched) = &mut *lock(&self.touched) {
                for ticket in &load {
                    ticket.job.touched(&mut |row| {
                        touched.insert(row);
                    });
                }
            }
            perform(disk, &load);
        }
    }

    /// Takes note from now on of what is touched.
    pub(crate) fn take_note(&self) {
        // What is under way has been noted by nobody.
        let _leading = lock(&self.leader);
        *lock(&self.touched) = Some(BTreeSet::new());
    }

    /// What was touched since, and is durable or has failed by now.
    pub(crate) fn noted(&self) -> BTreeSet<Touched> {
        let _leading = lock(&self.leader);
        let mut touched = lock(&self.touched);
        touched.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes note no longer.
    pub(crate) fn let_be(&self) {
        *lock(&self.touched) = None;
    }

    /// Lets all writers wait while the guard is held, and returns with it what
    /// was touched.
    pub(crate) fn pause(&self) -> (MutexGuard<'_, ()>, BTreeSet<Touched>) {
        let leading = lock(&self.leader);
        let touched = lock(&self.touched).take();
        (leading, touched.unwrap_or_default())
    }

    /// From the front, so that the leader's own job comes up after finitely many.
    fn next_load(&self) -> Vec<Arc<Ticket>> {
        let mut waiting = lock(&self.waiting);
        let mut load = Vec::new();
        let mut bytes = 0usize;
        while let Some(next) = waiting.front() {
            bytes = bytes.saturating_add(next.job.bytes());
            let full = bytes > limits::STORE_COMMIT_BYTES_MAX
                || load.len() >= limits::STORE_COMMIT_JOBS_MAX;
            if full && !load.is_empty() {
                break;
            }
            load.extend(waiting.pop_front());
        }
        load
    }
}

fn perform(disk: &Disk, load: &[Arc<Ticket>]) {
    let written = disk.write(|txn| {
        let mut results = Vec::with_capacity(load.len());
        for ticket in load {
            results.push(match ticket.job.apply(txn) {
                Ok(()) => Ok(()),
                Err(Trouble::Answer(e)) => Err(e),
                Err(trouble) => return Err(trouble),
            });
        }
        Ok(results)
    });
    match (written, load) {
        (Ok(results), _) => {
            for (ticket, result) in load.iter().zip(results) {
                *lock(&ticket.outcome) = Some(result);
            }
        }
        (Err(error), [only]) => *lock(&only.outcome) = Some(Err(error)),
        // One that is too large for what is left of the disk must not take the
        // small ones with it.
        (Err(_), several) => {
            for one in several {
                perform(disk, std::slice::from_ref(one));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half-changed under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
