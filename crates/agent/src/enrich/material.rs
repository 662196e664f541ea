//! From a version to its better document: what the model is told comes from the
//! store, so that it is of exactly that version, and what it answers goes there.
//!
//! Must not know when that is worth it.

use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::{ChunkId, EntryHash, SessionId};
use ccpeer_core::limits;
use ccpeer_core::manifest::{FileEntry, Manifest, Slot};
use ccpeer_formats::snapshot::{self, Material, Snapshot};
use ccpeer_store::{Store, StoreError};

use super::program::{self, Program};
use super::run::{self, Failure};
use crate::api::SummaryBy;
use crate::driver::Shared;
use crate::home::Home;
use crate::pool::blocking;

/// A version that is to be told.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) session: SessionId,
    pub(crate) version: EntryHash,
    pub(crate) manifest: ContentRef,
    pub(crate) snapshot: ContentRef,
    pub(crate) by: SummaryBy,
    pub(crate) time_max: Duration,
}

/// What the program is given.
struct Asked {
    facts: Snapshot,
    request: String,
    program: Program,
}

/// Has it told, and makes the document durable.
pub(crate) async fn write(shared: &Arc<Shared>, job: &Job) -> Result<ContentRef, Failure> {
    let (with, wanted) = (Arc::clone(shared), job.clone());
    let asked = blocking(move || prepare(&with.store, &with.home, &wanted)).await?;
    let home = &shared.home;
    let dir = home.scratch();
    let said = run::ask(
        &asked.program,
        &dir,
        home.user(),
        asked.request,
        job.time_max,
    )
    .await;
    let emptied = home.clone();
    let _next_time = blocking(move || make_ready(&emptied)).await;
    let document = snapshot::answer(&said?, &asked.facts)?;
    let bytes = document.to_bytes();
    let store = Arc::clone(&shared.store);
    let kept = blocking(move || {
        let id = ChunkId::of(&bytes);
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        store.put_chunks(&[(id, bytes)])?;
        Ok::<_, StoreError>(ContentRef { id, len })
    });
    kept.await.map_err(|e| Failure::Keep(e.to_string()))
}

fn prepare(store: &Store, home: &Home, job: &Job) -> Result<Asked, Failure> {
    let env = |name: &str| std::env::var_os(name);
    let program = program::program(&job.by, home.user(), &env).ok_or(Failure::Missing)?;
    let material = |e: &dyn std::fmt::Display| Failure::Material(e.to_string());
    let chunk = |id: &ChunkId| match store.get_chunk(id) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(material(&"a part of it is not here")),
        Err(e) => Err(material(&e)),
    };
    let facts = Snapshot::from_bytes(&chunk(&job.snapshot.id)?).map_err(|e| material(&e))?;
    let manifest = Manifest::from_bytes(&chunk(&job.manifest.id)?).map_err(|e| material(&e))?;
    let main = manifest.file(&Slot::Main);
    let main = main.ok_or_else(|| material(&"it has no transcript"))?;
    let transcript = end_of(store, main).map_err(|e| material(&e))?;
    let written = main.segments.last();
    let origin = written.and_then(|s| manifest.origins.get(usize::from(s.origin)));
    make_ready(home).map_err(|e| Failure::Start(e.kind().to_string()))?;
    let mark = crate::random::bytes::<16>().map_err(|e| material(&e))?;
    let mark: String = mark.iter().map(|b| format!("{b:02x}")).collect();
    let request = snapshot::request(&Material {
        facts: &facts,
        transcript: &transcript,
        project: origin.map(|o| o.project.as_str()),
        home: origin.map(|o| o.home.as_str()),
        mark: &mark,
    });
    Ok(Asked {
        facts,
        request,
        program,
    })
}

/// The last bytes of a file, by whole chunks.
fn end_of(store: &Store, file: &FileEntry) -> Result<Vec<u8>, StoreError> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0usize;
    'all: for segment in file.segments.iter().rev() {
        for chunk in store.segment_refs(segment)?.iter().rev() {
            if bytes >= limits::MODEL_TRANSCRIPT_BYTES_MAX {
                break 'all;
            }
            let Some(content) = store.get_chunk(&chunk.id)? else {
                break 'all;
            };
            bytes += content.len();
            parts.push(content);
        }
    }
    parts.reverse();
    Ok(parts.concat())
}

/// The program's directory, empty.
fn make_ready(home: &Home) -> std::io::Result<()> {
    empty(home);
    crate::start::private_dir(&home.scratch())
}

/// Whatever it left there goes.
fn empty(home: &Home) {
    let gone = std::fs::remove_dir_all(home.scratch());
    if let Err(e) = gone
        && e.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(error = %e, "the scratch directory cannot be emptied");
    }
}
