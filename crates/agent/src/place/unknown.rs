//! What cannot be placed because nobody here knows what it is: files of kinds
//! that only have a label, and transcripts in which nothing is recognised as a
//! conversation. Both stay in the store as they are.
//!
//! Must not know where anything would go.

use std::collections::BTreeSet;

use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::{FileEntry, Manifest};
use ccpeer_core::text;
use ccpeer_formats::claude::shape::{Shape, Verdict};
use ccpeer_store::Store;

use super::PlaceError;
use crate::capture::opaque;
use crate::confined::Root;

/// Characters of labels that one line shows.
const LABELS_CHARS_MAX: usize = 110;

/// Whether a transcript is one. Read only as far as it takes to see somebody say
/// something: nearly always the first piece.
///
/// # Errors
/// [`PlaceError::Unrecognised`] if it is none.
pub(super) fn recognise(store: &Store, main: &FileEntry) -> Result<(), PlaceError> {
    match judge(store, main)? {
        Verdict::Transcript => Ok(()),
        Verdict::Foreign { version } => Err(PlaceError::Unrecognised(version)),
    }
}

fn judge(store: &Store, main: &FileEntry) -> Result<Verdict, PlaceError> {
    let mut shape = Shape::default();
    for segment in &main.segments {
        for chunk in store.read_segment(segment) {
            shape.feed(&chunk?);
            if shape.is_settled() {
                return Ok(shape.verdict());
            }
        }
    }
    Ok(shape.verdict())
}

/// What the answer of a placement says about files of kinds that are not known,
/// and do not lie here already.
pub(super) fn told(
    root: &Root,
    manifest: &Manifest,
    (session, slug): (&SessionId, &str),
) -> Option<String> {
    let labels: Vec<&str> = opaque::labels(&manifest.files)
        .map(|label| label.as_str())
        .collect();
    if labels.is_empty() {
        return None;
    }
    let here = opaque::survey(root, session, slug);
    let here: BTreeSet<&str> = here.files.iter().map(|f| f.label.as_str()).collect();
    let away: Vec<&str> = labels.into_iter().filter(|l| !here.contains(l)).collect();
    (!away.is_empty()).then(|| {
        format!(
            "{} × file of a kind that this ccpeer does not know, kept but not placed: {}",
            away.len(),
            some_of(&away)
        )
    })
}

/// Some labels, and how many more there are.
pub(crate) fn some_of(labels: &[&str]) -> String {
    let mut shown = Vec::new();
    let mut chars = 0;
    for label in labels {
        let label = text::one_line(label, LABELS_CHARS_MAX);
        chars += label.chars().count() + 2;
        if !shown.is_empty() && chars > LABELS_CHARS_MAX {
            break;
        }
        shown.push(label);
    }
    let more = labels.len() - shown.len();
    let shown = shown.join(", ");
    match more {
        0 => shown,
        n => format!("{shown} and {n} more"),
    }
}
