//! Makes many files durable, some at a time, while the next ones are written: each
//! waits for the disk, and the disk serves several who wait as fast as one.
//!
//! Must not know what is in them.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::Out;
use super::behind::Behind;

/// Files that are waited for at the same time.
const THREADS_MAX: usize = 6;
/// Files that wait their turn, and are open.
const WAITING_MAX: usize = 16;

/// A file that is written, and what was asked of the disk meanwhile.
struct Written {
    file: std::fs::File,
    behind: Behind,
}

/// Files that are becoming durable. Dropped before its end, it promises nothing.
#[derive(Default)]
pub(crate) struct Syncing {
    /// The last file: most placements have one, which is not worth a thread.
    last: Option<(PathBuf, Written)>,
    pool: Option<Pool>,
}

struct Pool {
    give: SyncSender<Written>,
    take: Arc<Mutex<Receiver<Written>>>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Syncing {
    /// Takes a file that is complete.
    ///
    /// # Errors
    /// What the system says, and of which file.
    pub(crate) fn add(&mut self, mut out: Out<'_>) -> Result<(), (PathBuf, io::Error)> {
        if out.disk.watch.is_some() {
            // Who watches wants to see the steps one after another.
            return out.sync().map_err(|e| (out.path, e));
        }
        let written = Written {
            file: out.file,
            behind: out.behind,
        };
        match self.last.replace((out.path, written)) {
            Some((path, before)) => self.hand_over(before).map_err(|e| (path, e)),
            None => Ok(()),
        }
    }

    /// Waits until all of them are durable.
    ///
    /// # Errors
    /// What the disk said of one of them.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let last = self.last.take().map_or(Ok(()), |(_, last)| last.sync());
        let Some(Pool { give, threads, .. }) = self.pool.take() else {
            return last;
        };
        drop(give);
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(synced) => synced,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // All of them, whatever the first one says.
        joined.fold(last, io::Result::and)
    }

    fn hand_over(&mut self, written: Written) -> io::Result<()> {
        let pool = self.pool.get_or_insert_with(Pool::new);
        if pool.threads.len() < THREADS_MAX {
            pool.grow();
        }
        if pool.threads.is_empty() {
            return written.sync();
        }
        // The threads take until nobody gives any more.
        let _taken = pool.give.send(written);
        Ok(())
    }
}

impl Pool {
    fn new() -> Self {
        let (give, take) = sync_channel(WAITING_MAX);
        Self {
            give,
            take: Arc::new(Mutex::new(take)),
            threads: Vec::new(),
        }
    }

    fn grow(&mut self) {
        let take = Arc::clone(&self.take);
        let work = move || {
            let mut synced = Ok(());
            loop {
                let next = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
                match next {
                    // What comes after a failure is taken all the same: whoever gives
                    // waits for room.
                    Ok(written) => synced = synced.and_then(|()| written.sync()),
                    Err(_) => return synced,
                }
            }
        };
        self.threads.extend(thread::Builder::new().spawn(work).ok());
    }
}

impl Written {
    fn sync(mut self) -> io::Result<()> {
        // What the disk refused before, it does not say again.
        self.behind.end().and_then(|()| self.file.sync_all())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::Disk;
    use super::*;

    #[test]
    fn many_files_are_taken_whatever_their_number() {
        let dir = tempfile::tempdir().unwrap();
        for count in [0, 1, 2, 100] {
            let mut syncing = Syncing::default();
            for n in 0..count {
                let path = dir.path().join(format!("{count}-{n}"));
                let mut out = Disk::default().create(&path).unwrap();
                out.write_all(b"x").unwrap();
                assert!(syncing.add(out).is_ok());
            }
            syncing.end().unwrap();
            syncing.end().unwrap();
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 103);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn one_that_the_disk_refuses_is_told_and_nobody_waits_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (_reader, pipe) = std::io::pipe().unwrap();
        let mut syncing = Syncing::default();
        for n in 0..3 * WAITING_MAX {
            let mut out = Disk::default()
                .create(&dir.path().join(n.to_string()))
                .unwrap();
            // A pipe cannot be flushed.
            out.file = std::fs::File::from(std::os::fd::OwnedFd::from(pipe.try_clone().unwrap()));
            assert!(syncing.add(out).is_ok());
        }
        assert!(syncing.end().is_err());
    }
}
