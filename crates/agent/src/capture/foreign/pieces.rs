//! The files of a bundle as a row of readers, in the paths of the machine that it
//! comes from, in bounded memory. Must not know where they go.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use ccpeer_core::manifest::{Origin, Slot};
use ccpeer_formats::bundle_v1::tokens::{Restorer, has_tokens};
use ccpeer_formats::bundle_v1::{Bundle, Fault};
use ccpeer_formats::claude::transcript::Digest;

/// Pieces that wait to be taken.
const WAITING_MAX: usize = 16;
/// Bytes of a small file that are looked at beside being kept.
const SEEN_BYTES_MAX: usize = 256 * 1024;

/// What comes of a bundle.
pub(super) struct Pieces {
    from: Receiver<(Slot, Vec<u8>)>,
    next: Option<(Slot, Vec<u8>)>,
}

/// Where a bundle is given.
pub(super) struct Sender(SyncSender<(Slot, Vec<u8>)>);

impl Sender {
    /// Gives all of it, until nobody takes any more.
    pub(super) fn send_all(self, bundle: &Bundle<'_>) -> Result<(), Fault> {
        bundle.contents(&mut |slot, piece| self.0.send((slot.clone(), piece.to_vec())).is_ok())
    }
}

impl Pieces {
    pub(super) fn new() -> (Self, Sender) {
        let (to, from) = sync_channel(WAITING_MAX);
        (Self { from, next: None }, Sender(to))
    }

    /// Which file comes next.
    pub(super) fn next_slot(&mut self) -> Option<Slot> {
        if self.next.is_none() {
            self.next = self.from.recv().ok();
        }
        self.next.as_ref().map(|(slot, _)| slot.clone())
    }

    /// The file that comes next, without its first `skip` lines.
    pub(super) fn file<'p>(
        &'p mut self,
        slot: &Slot,
        origin: &Origin,
        skip: u64,
        seen: Option<Vec<u8>>,
    ) -> FileReader<'p> {
        FileReader {
            pieces: self,
            slot: slot.clone(),
            restorer: has_tokens(slot).then(|| Restorer::new(origin)),
            skip,
            digest: None,
            seen,
            buffer: Vec::new(),
            at: 0,
            whole_lines: true,
            ended: false,
        }
    }
}

/// A file of a bundle.
pub(super) struct FileReader<'p> {
    pieces: &'p mut Pieces,
    slot: Slot,
    restorer: Option<Restorer>,
    skip: u64,
    digest: Option<&'p mut Digest>,
    seen: Option<Vec<u8>>,
    buffer: Vec<u8>,
    at: usize,
    whole_lines: bool,
    ended: bool,
}

impl<'p> FileReader<'p> {
    /// Whoever is told all of it, what is skipped as well.
    pub(super) fn told_to(&mut self, digest: &'p mut Digest) {
        self.digest = Some(digest);
    }

    /// What was seen of a small file.
    pub(super) fn seen(self) -> Option<Vec<u8>> {
        self.seen
    }

    fn fill(&mut self) {
        let mut bytes = Vec::new();
        if self.pieces.next_slot().as_ref() == Some(&self.slot) {
            if let Some((_, piece)) = self.pieces.next.take() {
                match &mut self.restorer {
                    Some(restorer) => restorer.push(&piece, &mut bytes),
                    None => bytes = piece,
                }
            }
        } else {
            self.ended = true;
            if let Some(restorer) = &mut self.restorer {
                restorer.finish(&mut bytes);
            }
            // The program leaves out the last one; what is appended must not become
            // a part of that line.
            let whole = bytes.last().map_or(self.whole_lines, |b| *b == b'\n');
            if self.slot.is_log() && !whole {
                bytes.push(b'\n');
            }
        }
        if let Some(last) = bytes.last() {
            self.whole_lines = *last == b'\n';
        }
        if let Some(digest) = &mut self.digest {
            digest.feed(&bytes);
        }
        if let Some(seen) = &mut self.seen {
            let room = SEEN_BYTES_MAX.saturating_sub(seen.len());
            seen.extend_from_slice(bytes.get(..room).unwrap_or(&bytes));
        }
        self.at = 0;
        while self.skip > 0 && self.at < bytes.len() {
            let rest = bytes.get(self.at..).unwrap_or_default();
            match rest.iter().position(|b| *b == b'\n') {
                Some(end) => {
                    self.at += end + 1;
                    self.skip -= 1;
                }
                None => self.at = bytes.len(),
            }
        }
        self.buffer = bytes;
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.buffer.len() {
            if self.ended {
                return Ok(0);
            }
            self.fill();
        }
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let len = rest.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..len), rest.get(..len)) {
            to.copy_from_slice(from);
        }
        self.at += len;
        Ok(len)
    }
}
