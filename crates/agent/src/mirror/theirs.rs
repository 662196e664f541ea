//! What the two programs before keep in a repository that is imported: hand-off
//! files become versions that are a document alone, bundles are told with their
//! blobs. All of it is a stranger's; a file that cannot be used is told, and the
//! others are taken all the same.
//!
//! Must not know who states a version, nor what a bundle holds.

use std::collections::BTreeSet;

use ccpeer_core::entry::{ContentRef, SessionMeta, Version};
use ccpeer_core::id::{ChunkId, SessionId};
use ccpeer_core::presence::SessionState;
use ccpeer_core::time::Timestamp;
use ccpeer_formats::bundle_v1::{self, PACKED_BYTES_MAX, names};
use ccpeer_formats::tasks_md;
use ccpeer_store::{Store, StoreError};

use super::found::Found;
use super::repo::{Node, Oid};
use super::restore::{RestoreError, shown};
use super::run::GitError;

/// Hand-off files of one repository.
const TASKS_MAX: usize = 20_000;
/// Bundles of one repository.
const BUNDLES_MAX: usize = 100_000;
/// Bytes of a hand-off file.
const TASK_BYTES_MAX: u64 = tasks_md::FILE_BYTES_MAX as u64;
/// Files that do not say when they changed, and of which git is asked.
const DATED_MAX: usize = 500;

/// What a repository holds.
#[derive(Debug, Default)]
pub(crate) struct Theirs {
    /// Documents, the oldest first; what they refer to is in the store.
    pub(crate) documents: Vec<Version>,
    pub(crate) bundles: Vec<FoundBundle>,
    /// Files that cannot be used: which, and why.
    pub(crate) failed: Vec<(String, String)>,
}

/// A bundle that has not been read.
#[derive(Debug, Clone)]
pub(crate) struct FoundBundle {
    /// Where it lies, fit to be shown.
    pub(crate) path: String,
    /// What its name says.
    pub(crate) session: SessionId,
    pub(crate) node: Node,
}

impl Theirs {
    pub(crate) fn is_empty(&self) -> bool {
        self.documents.is_empty() && self.bundles.is_empty() && self.failed.is_empty()
    }

    /// Looks for both. Documents are put into the store.
    pub(crate) fn look(found: &Found<'_>, store: &Store) -> Result<Self, RestoreError> {
        let mut theirs = Self::default();
        theirs.tasks(found, store)?;
        let mut seen = BTreeSet::new();
        theirs.bundles_at(found, &found.tip, &mut seen)?;
        for tip in found.besides()? {
            theirs.bundles_at(found, &tip, &mut seen)?;
        }
        Ok(theirs)
    }

    fn fail(&mut self, path: &str, why: impl Into<String>) {
        self.failed.push((shown(path), why.into()));
    }

    fn tasks(&mut self, found: &Found<'_>, store: &Store) -> Result<(), RestoreError> {
        let mut files: Vec<(String, Node)> = Vec::new();
        for (path, node) in found.repo.files(&found.tip, "tasks/")? {
            let name = path.strip_prefix("tasks/").unwrap_or_default();
            if name.contains('/') || tasks_md::split_name(name).is_none() {
                continue;
            }
            if files.len() >= TASKS_MAX {
                self.fail(&path, "there are too many");
                break;
            }
            match node.is_file() && node.size.is_some_and(|s| s <= TASK_BYTES_MAX) {
                true => files.push((path, node)),
                false => self.fail(&path, "it is no file, or too long"),
            }
        }
        let blobs: Vec<(Oid, u64)> = files
            .iter()
            .map(|(_, n)| (n.oid.clone(), n.size.unwrap_or_default()))
            .collect();
        let mut read: Vec<(String, tasks_md::Task)> = Vec::new();
        found.repo.read(&blobs, &mut |n, bytes| {
            if let Some((path, _)) = files.get(n) {
                match task(path, &bytes) {
                    Ok(task) => read.push((path.clone(), task)),
                    Err(why) => self.fail(path, why),
                }
            }
            true
        })?;
        let dates = Dates::new(found)?;
        let mut documents = Vec::new();
        for (n, (path, task)) in read.iter().enumerate() {
            let otherwise = match task.updated {
                Some(at) => at,
                None => dates.of(found, path, n)?,
            };
            documents.push(document(task, otherwise, store)?);
        }
        // The newest of a session is stated last. A label, as its file tells it.
        documents.sort_by_key(|v| (v.session, v.meta.updated));
        self.documents = documents;
        Ok(())
    }

    fn bundles_at(
        &mut self,
        found: &Found<'_>,
        tip: &Oid,
        seen: &mut BTreeSet<Oid>,
    ) -> Result<(), GitError> {
        let below = format!("{}/", names::DIRECTORY);
        for (path, node) in found.repo.files(tip, &below)? {
            if !path.ends_with(bundle_v1::FILE_SUFFIX) || !seen.insert(node.oid.clone()) {
                continue;
            }
            let Some((_, session)) = names::of_path(&path) else {
                self.fail(&path, "its name names no session");
                continue;
            };
            let fits = node.size.is_some_and(|s| s <= PACKED_BYTES_MAX as u64);
            if !node.is_file() || !fits {
                self.fail(&path, "it is no file, or too long");
                continue;
            }
            if self.bundles.len() >= BUNDLES_MAX {
                self.fail(&path, "there are too many");
                break;
            }
            self.bundles.push(FoundBundle {
                path: shown(&path),
                session,
                node,
            });
        }
        Ok(())
    }
}

/// A file that is a hand-off.
fn task(path: &str, bytes: &[u8]) -> Result<tasks_md::Task, &'static str> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let (task, warnings) = tasks_md::read(name, bytes).ok_or("it is no hand-off file")?;
    // Whatever else is kept there says neither whose nor what.
    if task.made_up && warnings.contains(&tasks_md::Warning::NoPrompt) {
        return Err("it is no hand-off file");
    }
    Ok(task)
}

/// A version that is this document alone.
fn document(
    task: &tasks_md::Task,
    otherwise: Timestamp,
    store: &Store,
) -> Result<Version, StoreError> {
    let snapshot = task.snapshot(otherwise);
    let content = snapshot.to_bytes();
    let id = ChunkId::of(&content);
    let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
    store.put_chunks(&[(id, content)])?;
    Ok(Version {
        session: task.session,
        parents: Vec::new(),
        derived_from: None,
        manifest: None,
        snapshot: Some(ContentRef { id, len }),
        // Whoever ended it would have taken the file away.
        state: SessionState::Interrupted,
        meta: SessionMeta {
            title: snapshot.title,
            project: snapshot.project,
            branch: snapshot.branch,
            updated: snapshot.updated,
            ..SessionMeta::default()
        },
    })
}

/// When files changed that do not say so themselves.
struct Dates {
    tip: Timestamp,
}

impl Dates {
    fn new(found: &Found<'_>) -> Result<Self, GitError> {
        let tip = found.repo.changed_s(&found.tip, None)?;
        Ok(Self {
            tip: Timestamp(tip.unwrap_or_default().saturating_mul(1000)),
        })
    }

    fn of(&self, found: &Found<'_>, path: &str, n: usize) -> Result<Timestamp, GitError> {
        if n >= DATED_MAX {
            return Ok(self.tip);
        }
        let at = found.repo.changed_s(&found.tip, Some(path))?;
        Ok(at.map_or(self.tip, |s| Timestamp(s.saturating_mul(1000))))
    }
}
