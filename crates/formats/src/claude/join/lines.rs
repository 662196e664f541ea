//! Lines out of pieces of any size, in bounded memory. Must not know what is in
//! a line.

use ccpeer_core::limits::PLACED_LINE_BYTES_MAX as LINE_BYTES_MAX;

/// A line that has begun.
#[derive(Debug)]
pub(super) struct Lines {
    held: Vec<u8>,
    /// Whether what was fed last ended with a line break; also of nothing.
    pub(super) closed: bool,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            held: Vec::new(),
            closed: true,
        }
    }
}

impl Lines {
    /// Takes a piece and gives the lines that end in it, without their line
    /// breaks; `false` if one is too long to be held.
    pub(super) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) -> bool {
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (front, behind) = rest.split_at(at);
            rest = behind.get(1..).unwrap_or_default();
            if self.held.len() + front.len() > LINE_BYTES_MAX {
                return false;
            }
            if self.held.is_empty() {
                line(front);
            } else {
                self.held.extend_from_slice(front);
                line(&self.held);
                self.held.clear();
                self.held.shrink_to(64 * 1024);
            }
        }
        if self.held.len() + rest.len() > LINE_BYTES_MAX {
            return false;
        }
        self.held.extend_from_slice(rest);
        true
    }

    /// The line that has begun; nothing is left.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}
