//! Which version a bundle grew from. Transcripts of different machines are
//! compared in the form that has no machine's paths: that of a bundle.

use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::EntryHash;
use ccpeer_core::limits;
use ccpeer_core::manifest::{Manifest, Origin, Slot};
use ccpeer_core::text::lossy;
use ccpeer_formats::bundle_v1::tokens::{Restorer, Tokeniser};
use ccpeer_formats::bundle_v1::{Bundle, part_of};
use ccpeer_formats::claude::compare::{Relation, Sketch};
use ccpeer_store::{Store, StoreError};

use super::{ForeignError, Line, Standing};

/// How a bundle stands to what is known.
pub(super) enum Found {
    /// There is nothing new in it.
    Known,
    /// It goes on from a version.
    GrewFrom {
        id: EntryHash,
        manifest: Box<Manifest>,
        /// So many of its lines are those of the version, which has no others and
        /// ends with a line; 0 if its bytes cannot be kept.
        same_lines: u64,
    },
    /// It has another beginning, or there is nothing else.
    Apart,
}

/// Looks for what a bundle grew from.
pub(super) fn find(
    store: &Store,
    bundle: &Bundle<'_>,
    origin: &Origin,
    lines: &[Line],
) -> Result<Found, ForeignError> {
    if lines.is_empty() {
        return Ok(Found::Apart);
    }
    let pushed = of_bundle(bundle, origin)?;
    let mut best: Option<(u64, Found)> = None;
    let mut consider = |id: EntryHash, manifest: ContentRef| -> Result<bool, ForeignError> {
        let Some((manifest, sketch, whole)) = of_version(store, manifest)? else {
            return Ok(false);
        };
        let (len, same_lines) = match sketch.relation(&pushed) {
            Relation::Same if has_all(&manifest, bundle) => return Ok(true),
            Relation::Same => (u64::MAX, u64::MAX),
            Relation::Extends(_) => return Ok(true),
            Relation::Begins(at) => (at.lines, if whole { at.lines } else { 0 }),
            // Written anew without some of its lines: nothing parted.
            Relation::Trimmed { first, .. } => (first, 0),
            Relation::Parted(_) | Relation::Unknown => return Ok(false),
        };
        let same_lines = if same_lines == u64::MAX && !whole {
            0
        } else {
            same_lines
        };
        if best.as_ref().is_none_or(|(before, _)| len > *before) {
            let found = Found::GrewFrom {
                id,
                manifest: Box::new(manifest),
                same_lines,
            };
            best = Some((len, found));
        }
        Ok(false)
    };
    for line in lines {
        if consider(line.id, line.manifest)? {
            return Ok(Found::Known);
        }
    }
    for line in lines {
        // A copy of long ago went on elsewhere.
        for (id, manifest) in line.older.iter().take(limits::RELATIVES_COMPARED_MAX) {
            if consider(*id, *manifest)? {
                return Ok(Found::Known);
            }
        }
    }
    Ok(best.map_or(Found::Apart, |(_, found)| found))
}

/// How a bundle stands to one version.
pub(super) fn standing(
    store: &Store,
    bundle: &Bundle<'_>,
    origin: &Origin,
    manifest: ContentRef,
) -> Result<Standing, ForeignError> {
    let there = of_bundle(bundle, origin)?;
    let Some((manifest, here, _)) = of_version(store, manifest)? else {
        return Ok(Standing::Apart);
    };
    if !has_all(&manifest, bundle) {
        return Ok(Standing::Apart);
    }
    let places = manifest.files.iter().filter(|f| part_of(&f.slot).is_some());
    let known = |slot: &Slot| bundle.files().iter().any(|f| f.slot == *slot);
    let all_there = places.filter(|f| !f.is_empty()).all(|f| known(&f.slot));
    Ok(match here.relation(&there) {
        Relation::Same if all_there => Standing::Same,
        Relation::Same | Relation::Extends(_) => Standing::Contained,
        _ => Standing::Apart,
    })
}

/// Whether a version has every file that a bundle has.
fn has_all(manifest: &Manifest, bundle: &Bundle<'_>) -> bool {
    bundle
        .files()
        .iter()
        .all(|f| f.bytes == 0 || manifest.file(&f.slot).is_some())
}

fn of_bundle(bundle: &Bundle<'_>, origin: &Origin) -> Result<Sketch, ForeignError> {
    let mut restorer = Restorer::new(origin);
    let mut tokeniser = Tokeniser::new(origin);
    let mut lines = Lines::default();
    let (mut restored, mut out) = (Vec::new(), Vec::new());
    let read = bundle.contents(&mut |slot, piece| {
        if *slot == Slot::Main {
            restored.clear();
            out.clear();
            restorer.push(piece, &mut restored);
            tokeniser.push(&restored, &mut out);
            lines.feed(&out);
        }
        true
    });
    read.map_err(|_| ForeignError::Unreadable)?;
    restored.clear();
    out.clear();
    restorer.finish(&mut restored);
    tokeniser.push(&restored, &mut out);
    tokeniser.finish(&mut out);
    lines.feed(&out);
    Ok(lines.end().0)
}

/// The transcript of a version; nothing if not all of it is here.
fn of_version(
    store: &Store,
    manifest: ContentRef,
) -> Result<Option<(Manifest, Sketch, bool)>, ForeignError> {
    let Some(bytes) = store.get_chunk(&manifest.id)? else {
        return Ok(None);
    };
    let Ok(manifest) = Manifest::from_bytes(&bytes) else {
        return Ok(None);
    };
    let mut lines = Lines::default();
    let segments = manifest.file(&Slot::Main).map(|f| f.segments.as_slice());
    for segment in segments.unwrap_or_default() {
        let Some(origin) = manifest.origins.get(usize::from(segment.origin)) else {
            return Ok(None);
        };
        let mut tokeniser = Tokeniser::new(origin);
        let mut out = Vec::new();
        for chunk in store.read_segment(segment) {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(StoreError::Absent { .. } | StoreError::Corrupt { .. }) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
            out.clear();
            tokeniser.push(&chunk, &mut out);
            lines.feed(&out);
        }
        out.clear();
        tokeniser.finish(&mut out);
        lines.feed(&out);
    }
    let (sketch, whole) = lines.end();
    Ok(Some((manifest, sketch, whole)))
}

/// The lines that a bundle would have: no blank ones, and all of them text.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    sketch: Sketch,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        if !self.line.trim_ascii().is_empty() {
            self.sketch.feed(lossy(&self.line).as_bytes());
        }
        self.line.clear();
    }

    /// The sketch, and whether the last line had its end.
    fn end(mut self) -> (Sketch, bool) {
        let whole = self.line.is_empty();
        if !whole {
            self.line.push(b'\n');
            self.end_line();
        }
        (self.sketch, whole)
    }
}
