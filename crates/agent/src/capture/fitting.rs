//! A manifest within its bounds: origins that are used, files that fit. Must not
//! know where any of it comes from.

use ccpeer_core::limits;
use ccpeer_core::manifest::{Manifest, Origin, Slot};
use ccpeer_core::time::Timestamp;

use crate::memo;

/// The index of an origin, which is added if it is not there.
pub(super) fn position(origins: &mut Vec<Origin>, here: &Origin) -> u8 {
    let at = origins.iter().position(|o| o == here).unwrap_or_else(|| {
        origins.push(here.clone());
        origins.len() - 1
    });
    u8::try_from(at).unwrap_or(u8::MAX)
}

/// Takes out the origins in which nothing is written.
pub(super) fn drop_unused_origins(manifest: &mut Manifest) {
    let used: Vec<bool> = (0..manifest.origins.len())
        .map(|at| {
            let mut segments = manifest.files.iter().flat_map(|f| &f.segments);
            segments.any(|s| usize::from(s.origin) == at)
        })
        .collect();
    if used.iter().all(|u| !u) {
        // An empty session: nothing is written in any paths, yet a manifest
        // names one.
        manifest.origins.truncate(1);
        return;
    }
    let mut next = 0u8;
    let places: Vec<u8> = used
        .iter()
        .map(|u| {
            let at = next;
            next += u8::from(*u);
            at
        })
        .collect();
    for segment in manifest.files.iter_mut().flat_map(|f| &mut f.segments) {
        if let Some(at) = places.get(usize::from(segment.origin)) {
            segment.origin = *at;
        }
    }
    let mut used = used.iter();
    manifest
        .origins
        .retain(|_| used.next().copied().unwrap_or(false));
}

/// Encodes a manifest that keeps its bounds. Where there are too many files,
/// what nobody here knows goes first, then the oldest of what is only needed for
/// rewinding.
pub(super) fn fit(manifest: &mut Manifest) -> Option<Vec<u8>> {
    loop {
        let bytes = manifest.to_bytes();
        let fits = bytes.len() <= limits::MANIFEST_BYTES_MAX
            && manifest.files.len() <= limits::MANIFEST_SLOTS_MAX;
        if fits {
            // What we write we must be able to read.
            return memo::manifest(&bytes).is_some().then_some(bytes);
        }
        let is_spare = |s: &Slot| {
            matches!(
                s,
                Slot::FileHistory { .. } | Slot::ToolResult(_) | Slot::Opaque(_)
            )
        };
        let mut spare: Vec<(bool, Timestamp, Slot)> = manifest
            .files
            .iter()
            .filter(|f| is_spare(&f.slot))
            .map(|f| (f.slot.opaque().is_none(), f.modified, f.slot.clone()))
            .collect();
        spare.sort();
        let half = spare.len().div_ceil(2).min(64);
        if half == 0 {
            return None;
        }
        tracing::warn!(files = half, "the oldest files for rewinding are left out");
        let goes: Vec<Slot> = spare
            .into_iter()
            .take(half)
            .map(|(.., slot)| slot)
            .collect();
        manifest.files.retain(|f| !goes.contains(&f.slot));
    }
}
