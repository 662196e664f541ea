//! Files of a session that no slot knows: found in the directories that are the
//! session's alone, and carried as they are, within bounds.
//!
//! Nothing here keeps a session from being captured: what cannot be read or has
//! no room is left out, and told. Must not know what any of it means.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use ccpeer_core::id::SessionId;
use ccpeer_core::limits;
use ccpeer_core::manifest::{FileEntry, OpaqueName, Slot};
use ccpeer_formats::claude::layout::{self, Classified, Only, Source};

use crate::confined::{ConfinedError, Root, Stamp};

/// What lies beside the files that we know.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// To be carried, the newest first.
    pub(crate) files: Vec<Unknown>,
    /// Not carried, and why.
    pub(crate) left: Vec<(String, Left)>,
    names: usize,
}

/// A file of a kind that is not known.
#[derive(Debug)]
pub(crate) struct Unknown {
    pub(crate) label: OpaqueName,
    /// Where it lies below Claude's directory.
    pub(crate) names: Vec<String>,
    stamp: Stamp,
}

/// Why a file is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Left {
    /// Longer than [`limits::OPAQUE_FILE_BYTES_MAX`].
    Long,
    /// Deeper than [`limits::OPAQUE_DEPTH_MAX`].
    Deep,
    /// There are more, or more bytes in all, than are carried.
    Many,
    /// A link, a pipe, of another user, or not readable.
    Odd,
}

impl Left {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Long => "too long",
            Self::Deep => "in too deep a directory",
            Self::Many => "more than are carried",
            Self::Odd => "no plain file, or not readable",
        }
    }
}

/// Looks through the directories that belong to this session alone.
pub(crate) fn survey(root: &Root, session: &SessionId, slug: &str) -> Survey {
    let mut survey = Survey::default();
    for source in layout::sources(session, slug) {
        // What sessions share is not looked through.
        if let (Only::All, Some(words)) = (&source.only, layout::own_words(source.place)) {
            survey.walk(root, &source, words, &mut Vec::new());
        }
    }
    survey.choose();
    survey
}

/// Of files that were carried before and do not lie here, those for which there
/// is room beside what does: the newest.
pub(super) fn with_room<'e>(
    present: &[FileEntry],
    mut before: Vec<&'e FileEntry>,
) -> Vec<&'e FileEntry> {
    let mut room = Room::default();
    for file in present.iter().filter(|f| f.slot.opaque().is_some()) {
        room.take(file.len());
    }
    before.sort_by_key(|f| Reverse(f.modified));
    before.retain(|f| f.slot.opaque().is_none() || room.take(f.len()));
    before
}

/// How much may still be carried.
struct Room {
    files: usize,
    bytes: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            files: limits::OPAQUE_FILES_MAX,
            bytes: limits::OPAQUE_BYTES_MAX,
        }
    }
}

impl Room {
    /// Whether there is room for a file of this length; if so, it is taken.
    fn take(&mut self, len: u64) -> bool {
        match (self.files.checked_sub(1), self.bytes.checked_sub(len)) {
            (Some(files), Some(bytes)) => {
                *self = Self { files, bytes };
                true
            }
            _ => false,
        }
    }
}

impl Survey {
    fn walk(&mut self, root: &Root, source: &Source, words: &[&str], below: &mut Vec<String>) {
        let at: Vec<String> = source.dir.iter().chain(below.iter()).cloned().collect();
        let room = limits::OPAQUE_NAMES_MAX.saturating_sub(self.names);
        let names = match root.list(&at, super::NAMES_MAX) {
            Ok(names) => names,
            Err(_) => return self.leave(words, below, Left::Odd),
        };
        let at_top = below.is_empty();
        let is_unknown = |name: &String| match at_top {
            true => layout::slot_of(source, name) == Classified::Unknown,
            false => !layout::is_passing(name),
        };
        let unknown: Vec<String> = names.into_iter().filter(is_unknown).collect();
        let too_many = unknown.len() > room;
        for name in unknown.into_iter().take(room) {
            self.names += 1;
            below.push(name);
            self.look(root, source, words, below);
            below.pop();
        }
        if too_many {
            self.leave(words, below, Left::Many);
        }
    }

    fn look(&mut self, root: &Root, source: &Source, words: &[&str], below: &mut Vec<String>) {
        let names: Vec<String> = source.dir.iter().chain(below.iter()).cloned().collect();
        match root.stamp(&names) {
            Ok(Some(stamp)) if stamp.len > limits::OPAQUE_FILE_BYTES_MAX => {
                self.leave(words, below, Left::Long);
            }
            Ok(Some(stamp)) => match layout::label(words, below) {
                Some(label) => self.files.push(Unknown {
                    label,
                    names,
                    stamp,
                }),
                None => self.leave(words, below, Left::Deep),
            },
            // Gone since it was listed.
            Ok(None) => {}
            Err(ConfinedError::Kind(_)) if root.dir(&names).is_ok_and(|is_dir| is_dir) => {
                if below.len() > limits::OPAQUE_DEPTH_MAX {
                    self.leave(words, below, Left::Deep);
                } else {
                    self.walk(root, source, words, below);
                }
            }
            Err(_) => self.leave(words, below, Left::Odd),
        }
    }

    fn leave(&mut self, words: &[&str], below: &[String], why: Left) {
        if self.left.len() < limits::OPAQUE_FILES_MAX {
            let names = below.get(..limits::OPAQUE_DEPTH_MAX).unwrap_or(below);
            let label = layout::label(words, names);
            let label = label.map_or_else(|| words.join(":"), |l| l.as_str().to_owned());
            self.left.push((label, why));
        }
    }

    /// Keeps what there is room for, the newest first.
    fn choose(&mut self) {
        let files = &mut self.files;
        files.sort_by(|a, b| {
            let by_age = b.stamp.modified_ns.cmp(&a.stamp.modified_ns);
            by_age.then_with(|| a.label.cmp(&b.label))
        });
        let (mut room, mut seen) = (Room::default(), BTreeSet::new());
        let mut left = Vec::new();
        files.retain(|file| {
            // A twin could only come of a hash that is the same.
            let fits =
                seen.insert(file.label.as_str().to_ascii_lowercase()) && room.take(file.stamp.len);
            if !fits {
                left.push((file.label.as_str().to_owned(), Left::Many));
            }
            fits
        });
        self.left.extend(left);
    }
}

/// Files of a manifest that nobody here knows.
pub(crate) fn labels(files: &[FileEntry]) -> impl Iterator<Item = &OpaqueName> {
    files.iter().filter_map(|f| f.slot.opaque())
}

/// Whether the content of two entries is the same, whoever wrote it.
pub(super) fn is_same(a: &FileEntry, b: &FileEntry) -> bool {
    let of = |f: &FileEntry| -> Vec<_> {
        let parts = f.segments.iter();
        parts
            .map(|s| (s.len, s.pages.clone(), s.tail.clone()))
            .collect()
    };
    of(a) == of(b)
}

/// The slot of a label.
pub(super) fn slot(label: &OpaqueName) -> Slot {
    Slot::Opaque(label.clone())
}
