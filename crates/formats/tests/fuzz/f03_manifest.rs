//! F3: a manifest of a peer, and the places that its files would be given. What
//! is taken keeps its bounds, and no place is outside of the session's.

use std::collections::BTreeSet;

use ccpeer_core::id::ChunkId;
use ccpeer_core::limits;
use ccpeer_core::manifest::{ListPage, Manifest, Want, WantKind};
use ccpeer_formats::claude::layout;

/// The oracle.
pub(crate) fn check(bytes: &[u8]) {
    if let Ok(page) = ListPage::from_bytes(bytes) {
        assert!(page.to_bytes() == bytes, "one spelling each");
    }
    let Ok(manifest) = Manifest::from_bytes(bytes) else {
        return;
    };
    assert!(bytes.len() <= limits::MANIFEST_BYTES_MAX);
    assert!(manifest.to_bytes() == bytes, "one spelling each");
    assert!(manifest.files.len() <= limits::MANIFEST_SLOTS_MAX);
    assert!(manifest.total_bytes() <= limits::SESSION_BYTES_MAX);
    let mut seen = BTreeSet::new();
    for file in &manifest.files {
        let path = layout::path_of(&file.slot, &manifest.session, "-w-proj");
        let Some(path) = path else {
            let Some(label) = file.slot.opaque() else {
                panic!("a checked manifest has a place for every known kind");
            };
            let odd = |c: char| !c.is_ascii_alphanumeric() && !"._~-:".contains(c);
            assert!(!label.as_str().contains(odd), "{label:?}");
            let hidden = label.as_str().split(':').any(|p| p.starts_with('.'));
            assert!(!hidden && label.as_str().len() <= limits::OPAQUE_NAME_BYTES_MAX);
            continue;
        };
        assert!(file.slot.opaque().is_none(), "a label has no place");
        for part in &path {
            let step = part == "." || part == "..";
            let odd = part
                .chars()
                .any(|c| c.is_control() || "/\\:*?\"<>|".contains(c));
            assert!(
                !part.is_empty() && part.len() <= 255 && !step && !odd,
                "{part}"
            );
        }
        let top = ["projects", "file-history", "tasks", "todos", "plans"];
        assert!(top.contains(&path[0].as_str()) && path.len() >= 2);
        // Also on a system that knows no case.
        let plain: Vec<String> = path.iter().map(|p| p.to_lowercase()).collect();
        assert!(seen.insert(plain), "two files in one place");
        for segment in &file.segments {
            assert!(usize::from(segment.origin) < manifest.origins.len());
        }
    }
    let want = Want {
        id: ChunkId::of(bytes),
        kind: WantKind::Manifest,
    };
    assert_eq!(
        want.children(bytes).ok().map(|c| c.len()),
        Some(manifest.wants().len())
    );
}
