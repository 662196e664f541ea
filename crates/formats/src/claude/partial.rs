//! The line that has begun, where a file is read in pieces of any size: kept up to
//! the longest line that is looked into, and counted beyond it. Must not know what
//! stands in it.

use ccpeer_core::limits;

/// A line without its end yet.
#[derive(Debug, Clone, Default)]
pub(super) struct PartialLine {
    /// Its bytes; none if it is too long to be looked into.
    bytes: Vec<u8>,
    /// How many there were, kept or not.
    len: u64,
}

impl PartialLine {
    /// Bytes so far, also those that were not kept.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.bytes.len()
    }

    /// Takes in more of it.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let whole = self.whole().is_some();
        self.len += bytes.len() as u64;
        if whole && self.bytes.len() + bytes.len() <= limits::TRANSCRIPT_LINE_BYTES_MAX {
            self.bytes.extend_from_slice(bytes);
        } else if !bytes.is_empty() {
            self.bytes = Vec::new();
        }
    }

    /// All of it so far, unless it is too long.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        (self.bytes.len() as u64 == self.len).then_some(self.bytes.as_slice())
    }

    /// Its end has come: all of it, unless it is too long. The next one is empty.
    pub(super) fn end(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(self);
        (line.bytes.len() as u64 == line.len).then_some(line.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_counted_and_not_kept() {
        let mut line = PartialLine::default();
        line.push(b"ab");
        line.push(b"");
        assert_eq!((line.len(), line.whole()), (2, Some(&b"ab"[..])));
        assert_eq!(line.end().as_deref(), Some(&b"ab"[..]));
        assert_eq!((line.len(), line.whole()), (0, Some(&b""[..])));
        line.push(&vec![b'x'; limits::TRANSCRIPT_LINE_BYTES_MAX]);
        assert!(line.whole().is_some());
        line.push(b"x");
        line.push(b"y");
        assert_eq!(line.len(), limits::TRANSCRIPT_LINE_BYTES_MAX as u64 + 2);
        assert_eq!(line.whole(), None);
        assert_eq!(line.end(), None);
        line.push(b"z");
        assert_eq!(
            line.end().as_deref(),
            Some(&b"z"[..]),
            "the next one begins anew"
        );
    }
}
