//! F14: a bundle of claude-sync-sessions. Whatever is taken of it lies where a
//! file of its session lies, is as long as was said, and written and read anew it
//! is the same.

use std::io::Write as _;

use ccpeer_core::id::SessionId;
use ccpeer_core::time::Timestamp;
use ccpeer_formats::bundle_v1::{Bounds, Bundle, Description, Writer, canonical};
use ccpeer_formats::claude::layout::path_of;

/// The oracle. What is no gzip is taken for the document in one.
pub(crate) fn check(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(once) = canonical(text)
    {
        assert_eq!(canonical(&once).unwrap(), once, "done once is done");
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    for packed in [bytes.to_vec(), gzip.finish().unwrap()] {
        if let Ok((bundle, _)) = Bundle::open(&packed, None, Bounds::default()) {
            taken(&bundle);
        }
    }
}

fn taken(bundle: &Bundle<'_>) {
    let head = bundle.head().clone();
    let about = Description {
        session: head.session,
        device: head.device,
        exported: Timestamp(0),
        updated: Timestamp(0),
        project: head.project,
    };
    let mut writer = Writer::new(&about, None);
    for file in bundle.files() {
        let path = path_of(&file.slot, &head.session, "slug").unwrap();
        let id = head.session.to_string();
        assert!(
            path.iter().any(|part| part.starts_with(&id))
                || path.contains(&id)
                || path[0] == "projects"
        );
        let content = bundle.file(&file.slot).unwrap();
        assert_eq!(content.len() as u64, file.bytes);
        // Parts that come in another order than ours are none of the writer's.
        if writer.begin(&file.slot).is_ok() {
            writer.push(&content);
        }
    }
    let again = writer.finish();
    let named: Option<SessionId> = Some(head.session);
    if let Ok((again, warnings)) = Bundle::open(&again, named, Bounds::default()) {
        assert!(warnings.is_empty() || again.head().project.name.is_empty());
    }
}
