//! How two transcripts stand to each other by their lines: where one is the
//! beginning of the other, where they part, and whether one is the other after
//! Claude Code left lines out of it.
//!
//! A transcript mostly grows at its end, but not by contract: removing single
//! records and compacting a large file write it anew without some of its lines.
//! Such a file is no fork: everything new in it grew from the other's end. Two
//! files that were written on different machines are compared in the paths of
//! one of them. Must not know what is in a line.
//!
//! ```
//! use ccpeer_formats::claude::compare::{Relation, Sketch};
//! let sketch = |file: &[u8]| {
//!     let mut sketch = Sketch::default();
//!     sketch.feed(file);
//!     sketch
//! };
//! let (old, new) = (sketch(b"1\n2\n3\n"), sketch(b"1\n3\n4\n"));
//! assert_eq!(old.relation(&new), Relation::Trimmed { lines: 1, first: 1 });
//! ```

use ccpeer_core::limits;
use sha2::{Digest as _, Sha256};

/// A file's lines, each as sixteen bytes of its hash and its end.
#[derive(Debug, Clone, Default)]
pub struct Sketch {
    lines: Vec<([u8; 16], u64)>,
    /// Of the line that has begun.
    hash: Sha256,
    /// Bytes read, and those of them that are in whole lines.
    bytes: u64,
    closed: u64,
    overflows: bool,
}

/// A place in both files: everything before it is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct At {
    /// Bytes before it; it is the beginning of a line.
    pub bytes: u64,
    /// Lines before it.
    pub lines: u64,
}

/// How a file (`self`) stands to a later one (`other`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// They have the same lines.
    Same,
    /// It is the beginning of the other one, up to here; what it may have
    /// behind that is an unfinished line.
    Begins(At),
    /// The other one is its beginning, up to here; likewise.
    Extends(At),
    /// The other one is this one without some of its lines, and may have grown:
    /// it was rewritten or compacted, and nothing parted.
    Trimmed {
        /// How many lines are left out.
        lines: u64,
        /// The first of them, counted from 0.
        first: u64,
    },
    /// Each has something that the other has not, from here on.
    Parted(At),
    /// One has more lines than are remembered.
    Unknown,
}

impl Sketch {
    /// Reads on.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (line, behind) = rest.split_at(at);
            rest = behind.get(1..).unwrap_or_default();
            self.hash.update(line);
            self.bytes += line.len() as u64 + 1;
            self.closed = self.bytes;
            let hash = short(&std::mem::take(&mut self.hash));
            if self.lines.len() < limits::JOIN_RECORDS_MAX {
                self.lines.push((hash, self.bytes));
            } else {
                self.overflows = true;
            }
        }
        self.hash.update(rest);
        self.bytes += rest.len() as u64;
    }

    /// How this file stands to a later one.
    #[must_use]
    pub fn relation(&self, other: &Self) -> Relation {
        if self.overflows || other.overflows {
            return Relation::Unknown;
        }
        let same = self
            .lines
            .iter()
            .zip(&other.lines)
            .take_while(|(a, b)| a == b)
            .count();
        let at = At {
            bytes: same
                .checked_sub(1)
                .and_then(|n| self.lines.get(n))
                .map_or(0, |(_, end)| *end),
            lines: same as u64,
        };
        let (mine, theirs) = (self.lines.len() > same, other.lines.len() > same);
        match (mine, theirs) {
            (false, false) => self.relation_of_rests(other, at),
            // What is unfinished here may be whole there, or be something else:
            // in neither case is anything of it lost.
            (false, true) => Relation::Begins(at),
            (true, false) if same > 0 => Relation::Extends(at),
            _ => self.trimmed(other, same).unwrap_or(Relation::Parted(at)),
        }
    }

    /// All whole lines are the same.
    fn relation_of_rests(&self, other: &Self, at: At) -> Relation {
        match (self.bytes > self.closed, other.bytes > other.closed) {
            (false, false) => Relation::Same,
            (false, true) => Relation::Begins(at),
            (true, false) => Relation::Extends(at),
            (true, true) if short(&self.hash) == short(&other.hash) => Relation::Same,
            (true, true) => Relation::Begins(at),
        }
    }

    /// Whether the other file's lines are some of these in their order up to the
    /// last one, and then others.
    fn trimmed(&self, other: &Self, same: usize) -> Option<Relation> {
        let mut next = same;
        let mut first = None;
        for (hash, _) in other.lines.get(same..)? {
            let Some(skipped) = self.lines.get(next..)?.iter().position(|(h, _)| h == hash) else {
                break;
            };
            if skipped > 0 {
                first.get_or_insert(next);
            }
            next += skipped + 1;
        }
        // A file whose end is gone has lost something.
        (next == self.lines.len() && first.is_some()).then(|| {
            let kept = self.kept(other, same);
            Relation::Trimmed {
                lines: (self.lines.len() - kept) as u64,
                first: first.unwrap_or(same) as u64,
            }
        })
    }

    /// How many of these lines the other file has, in their order.
    fn kept(&self, other: &Self, same: usize) -> usize {
        let mut theirs = other.lines.iter().skip(same).peekable();
        let behind = self.lines.iter().skip(same);
        same + behind
            .filter(|(hash, _)| theirs.next_if(|(h, _)| h == hash).is_some())
            .count()
    }
}

fn short(hash: &Sha256) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes
        .iter_mut()
        .zip(hash.clone().finalize())
        .for_each(|(byte, hash)| *byte = hash);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(file: &str) -> Sketch {
        let mut whole = Sketch::default();
        whole.feed(file.as_bytes());
        let mut pieces = Sketch::default();
        file.as_bytes().chunks(2).for_each(|p| pieces.feed(p));
        assert_eq!((&whole.lines, whole.bytes), (&pieces.lines, pieces.bytes));
        whole
    }

    #[test]
    fn every_relation() {
        let check = |a: &str, b: &str, want: Relation| {
            assert_eq!(sketch(a).relation(&sketch(b)), want, "{a:?} {b:?}");
        };
        let at = |bytes, lines| At { bytes, lines };
        let trimmed = |lines, first| Relation::Trimmed { lines, first };
        check("", "", Relation::Same);
        check("a\nb\n", "a\nb\n", Relation::Same);
        check("a\nb", "a\nb", Relation::Same);
        check("a\n", "a\nb\n", Relation::Begins(at(2, 1)));
        check("", "a\n", Relation::Begins(at(0, 0)));
        check("a\nb", "a\nbc\n", Relation::Begins(at(2, 1)));
        check("a\n", "a\nb", Relation::Begins(at(2, 1)));
        check("a\nb\n", "a\n", Relation::Extends(at(2, 1)));
        check("a\nb", "a\n", Relation::Extends(at(2, 1)));
        check("a\nb\n", "a\nc\n", Relation::Parted(at(2, 1)));
        check("a\n", "b\n", Relation::Parted(at(0, 0)));
        check("a\nb\nc\n", "a\nc\n", trimmed(1, 1));
        // Compacted, and gone on with.
        check("a\nb\nc\nd\n", "c\nd\ne\nf\n", trimmed(2, 0));
        check("a\nb\nc\nd\ne\n", "a\nc\ne\n", trimmed(2, 1));
        // Its end is gone, or stands elsewhere: something may be lost.
        check("a\nb\nc\n", "a\nd\n", Relation::Parted(at(2, 1)));
        check("a\nb\nc\n", "a\nd\nc\n", Relation::Parted(at(2, 1)));
        check("a\nb\nc\n", "b\nd\n", Relation::Parted(at(0, 0)));
        check("a\nb\n", "", Relation::Parted(at(0, 0)));
    }
}
