//! A capsule as content: a manifest of its own, with the document and the packs as
//! its files. No path is in it but those below a repository's top.

use std::io;
use std::thread;

use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::{ChunkId, SessionId};
use ccpeer_core::manifest::{
    FileEntry, MANIFEST_VERSION, Manifest, OpaqueName, Origin, ProjectIdentity, Slot, Want,
};
use ccpeer_core::time::Timestamp;
use ccpeer_formats::capsule::{CAPSULE_BYTES_MAX, Capsule};
use ccpeer_store::Store;

use super::take::Taken;
use super::{CodeError, PACK_BYTES_MAX};
use crate::capture::FLAVOUR;
use crate::capture::chunking::{ChunkError, SegmentBuilder, Sink};

/// The document.
const ABOUT: &str = "code:about";
/// A pack; its number follows.
const PACK: &str = "code:pack:";

/// Keeps a capsule. Durable when this returns; the same state gives the same content.
pub(crate) fn keep(
    store: &Store,
    session: SessionId,
    taken: &Taken,
) -> Result<ContentRef, CodeError> {
    let about = taken.capsule.to_bytes();
    if about.len() > CAPSULE_BYTES_MAX {
        return Err(CodeError::Shape);
    }
    let packs = taken.packs.iter().zip(0u32..);
    let packs = packs.map(|(bytes, n)| (format!("{PACK}{n}"), bytes.as_slice()));
    let all = std::iter::once((ABOUT.to_owned(), about.as_slice())).chain(packs);
    thread::scope(|scope| {
        let mut sink = Sink::new(store, scope);
        let mut files = Vec::new();
        for (label, bytes) in all {
            let mut segment = SegmentBuilder::new(0);
            segment.append(bytes, &mut sink).map_err(chunks)?;
            files.push(FileEntry {
                slot: Slot::Opaque(OpaqueName::new(&label).ok_or(CodeError::Shape)?),
                segments: vec![segment.finish()],
                modified: Timestamp(0),
            });
        }
        files.sort_by(|a, b| a.slot.cmp(&b.slot));
        let manifest = Manifest {
            version: MANIFEST_VERSION,
            session,
            // It is in nobody's paths.
            origins: vec![Origin {
                flavour: FLAVOUR,
                home: String::new(),
                project: String::new(),
                claude_dir: String::new(),
                slug: String::new(),
            }],
            project: ProjectIdentity::default(),
            files,
        };
        let bytes = manifest.to_bytes();
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let id = ChunkId::of(&bytes);
        sink.keep(bytes)?;
        sink.flush()?;
        Ok(ContentRef { id, len })
    })
}

fn chunks(error: ChunkError) -> CodeError {
    match error {
        ChunkError::Store(e) => e.into(),
        ChunkError::Read(e) => CodeError::Disk(e),
    }
}

/// A capsule as it is kept, of this device or another.
pub(crate) struct Kept<'s> {
    store: &'s Store,
    manifest: Manifest,
    pub(crate) capsule: Capsule,
}

impl<'s> Kept<'s> {
    /// Reads the document; nothing if it is not here whole.
    pub(crate) fn load(
        store: &'s Store,
        session: SessionId,
        content: ContentRef,
    ) -> Result<Option<Self>, CodeError> {
        let missing = store.missing(Want::manifest(content.id));
        if !missing.is_ok_and(|m| m.is_empty()) {
            return Ok(None);
        }
        let Some(bytes) = store.get_chunk(&content.id)? else {
            return Ok(None);
        };
        let manifest = Manifest::from_bytes(&bytes).map_err(|_| CodeError::Shape)?;
        if manifest.session != session {
            return Err(CodeError::Refused("it belongs to another session"));
        }
        let about = file(store, &manifest, ABOUT, CAPSULE_BYTES_MAX as u64)?;
        let capsule = Capsule::from_bytes(&about)?;
        Ok(Some(Self {
            store,
            manifest,
            capsule,
        }))
    }

    /// One of its packs.
    pub(crate) fn pack(&self, number: u32) -> Result<Vec<u8>, CodeError> {
        let label = format!("{PACK}{number}");
        file(self.store, &self.manifest, &label, PACK_BYTES_MAX)
    }
}

fn file(store: &Store, manifest: &Manifest, label: &str, max: u64) -> Result<Vec<u8>, CodeError> {
    let is_it = |f: &&FileEntry| f.slot.opaque().is_some_and(|o| o.as_str() == label);
    let file = manifest.files.iter().find(is_it);
    let file = file.ok_or(CodeError::Refused("it lacks a part"))?;
    if file.len() > max {
        return Err(CodeError::Refused("a part of it is too large"));
    }
    let mut bytes = Vec::new();
    for segment in &file.segments {
        let copied = store.read_segment(segment).copy_to(&mut bytes);
        copied.map_err(|e: io::Error| CodeError::Disk(e))?;
    }
    Ok(bytes)
}
