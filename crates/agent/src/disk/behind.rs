//! Has the disk begin with a long file while it is still being written: the flush at
//! its end then waits for the last of it only.
//!
//! It is a help and no promise: where no thread can be had, the flush at the end does
//! it all. Must not know what is written.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// Bytes after which the disk is asked to begin. A shorter file has no thread.
const BEHIND_BYTES: usize = 8 * 1024 * 1024;

/// What is asked for behind the back of one who writes.
#[derive(Default)]
pub(super) struct Behind {
    /// Bytes that were written since it was asked last.
    written: usize,
    thread: Option<Flusher>,
}

struct Flusher {
    /// One request waits; one more would ask for the same.
    ask: SyncSender<()>,
    done: JoinHandle<io::Result<()>>,
}

impl Behind {
    /// So many bytes were written.
    pub(super) fn wrote(&mut self, file: &File, bytes: usize) {
        self.written += bytes;
        if self.written < BEHIND_BYTES {
            return;
        }
        self.written = 0;
        if self.thread.is_none() {
            self.thread = begin(file);
        }
        if let Some(flusher) = &self.thread {
            let _asked_already = flusher.ask.try_send(());
        }
    }

    /// Waits until nothing is under way.
    ///
    /// # Errors
    /// What the disk refused meanwhile: the file may lack any of what was written.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let Some(flusher) = self.thread.take() else {
            return Ok(());
        };
        drop(flusher.ask);
        match flusher.done.join() {
            Ok(flushed) => flushed,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn begin(file: &File) -> Option<Flusher> {
    let file = file.try_clone().ok()?;
    let (ask, asked) = sync_channel::<()>(1);
    let flush = move || asked.iter().try_for_each(|()| file.sync_data());
    let done = thread::Builder::new().spawn(flush).ok()?;
    Some(Flusher { ask, done })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_long_file_is_whole_and_a_short_one_has_no_thread() {
        let mut file = tempfile::tempfile().unwrap();
        let mut behind = Behind::default();
        let piece = vec![7; BEHIND_BYTES / 2];
        for n in 0..5 {
            file.write_all(&piece).unwrap();
            behind.wrote(&file, piece.len());
            assert_eq!(behind.thread.is_some(), n > 0);
        }
        behind.end().unwrap();
        behind.end().unwrap();
        assert_eq!(file.metadata().unwrap().len(), piece.len() as u64 * 5);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_disk_refused_meanwhile_is_told_at_the_end() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(writer));
        let mut behind = Behind::default();
        // A pipe cannot be flushed.
        behind.wrote(&pipe, BEHIND_BYTES);
        assert!(behind.end().is_err());
    }
}
