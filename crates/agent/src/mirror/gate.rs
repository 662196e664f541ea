//! The gate before a bridge: whether something in a session looks like a secret.
//! What a mirror holds already has passed it and is not read again. What becomes of
//! the session is the user's choice, and not known here.

use std::collections::BTreeSet;

use ccpeer_core::id::ChunkId;
use ccpeer_core::manifest::Manifest;
use ccpeer_formats::secrets;
use ccpeer_store::{Store, StoreError};

use super::run::Stop;

/// Bytes that are looked at in one go.
const WINDOW: usize = 1024 * 1024;
/// Bytes before a piece that are looked at with it: a secret may lie across.
const OVERLAP: usize = 8 * 1024;

/// Whether there is a secret in a version's documents, as far as they are not
/// carried already. Nothing where one is not here.
pub(crate) fn in_documents(
    store: &Store,
    documents: &[ChunkId],
    carried: &BTreeSet<ChunkId>,
) -> Result<Option<bool>, StoreError> {
    for document in documents.iter().filter(|d| !carried.contains(d)) {
        match store.get_chunk(document)? {
            Some(content) if looks(&content) => return Ok(Some(true)),
            Some(_) => {}
            None => return Ok(None),
        }
    }
    Ok(Some(false))
}

/// The same of its files.
pub(crate) fn in_files(
    store: &Store,
    manifest: &Manifest,
    carried: &BTreeSet<ChunkId>,
    stop: Stop<'_>,
) -> Result<Option<bool>, StoreError> {
    for file in &manifest.files {
        let mut window = Window::default();
        for segment in &file.segments {
            let refs = match store.segment_refs(segment) {
                Ok(refs) => refs,
                Err(StoreError::Absent { .. }) => return Ok(None),
                Err(e) => return Err(e),
            };
            for chunk in refs {
                if carried.contains(&chunk.id) {
                    if window.end() {
                        return Ok(Some(true));
                    }
                    window.before = Some(chunk.id);
                    continue;
                }
                if stop() {
                    return Ok(None);
                }
                if let Some(before) = window.before.take()
                    && let Some(content) = store.get_chunk(&before)?
                {
                    let from = content.len().saturating_sub(OVERLAP);
                    window.bytes = content.get(from..).unwrap_or_default().to_vec();
                }
                let Some(content) = store.get_chunk(&chunk.id)? else {
                    return Ok(None);
                };
                if window.add(&content) {
                    return Ok(Some(true));
                }
            }
        }
        if window.end() {
            return Ok(Some(true));
        }
    }
    Ok(Some(false))
}

#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
    /// The chunk before, which was not read.
    before: Option<ChunkId>,
}

impl Window {
    fn add(&mut self, content: &[u8]) -> bool {
        self.bytes.extend_from_slice(content);
        if self.bytes.len() < WINDOW {
            return false;
        }
        let found = looks(&self.bytes);
        let keep = self.bytes.len().saturating_sub(OVERLAP);
        self.bytes.drain(..keep);
        found
    }

    fn end(&mut self) -> bool {
        self.before = None;
        looks(&std::mem::take(&mut self.bytes))
    }
}

fn looks(bytes: &[u8]) -> bool {
    !bytes.is_empty() && secrets::holds(&String::from_utf8_lossy(bytes))
}
