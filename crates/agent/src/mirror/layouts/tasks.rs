//! The hand-off of each unfinished session, in the words that claude-code-session-
//! sharing looks for. It goes when the session is finished, or goes on elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use ccpeer_core::id::{ChunkId, SessionId};
use ccpeer_formats::snapshot::Snapshot;
use ccpeer_formats::{secrets, tasks_md};

use super::super::MirrorError;
use super::super::repo::{Commit, Node, is_path};
use super::super::sync::chunk;
use super::{Kind, Look, Ours, Written};

/// What a commit says: nothing.
const SUBJECT: &str = "ccpeer: hand-offs";

pub(super) struct Tasks<'t, 'l> {
    look: &'t mut Look<'l>,
    there: BTreeMap<String, Node>,
    commit: Commit,
}

impl<'t, 'l> Tasks<'t, 'l> {
    pub(super) fn new(look: &'t mut Look<'l>, there: BTreeMap<String, Node>) -> Self {
        Self {
            look,
            there,
            commit: Commit {
                subject: SUBJECT.to_owned(),
                files: BTreeMap::new(),
                removed: Vec::new(),
            },
        }
    }

    pub(super) fn all(
        mut self,
        ours: &[&Ours<'_>],
        held: &BTreeSet<SessionId>,
    ) -> Result<(), MirrorError> {
        let mut wanted = BTreeSet::new();
        for one in ours.iter().filter(|o| o.session.unfinished) {
            wanted.insert(one.key.clone());
            self.one(one)?;
        }
        // One that is held back by now stays as it was.
        let held: BTreeSet<String> = held.iter().map(ToString::to_string).collect();
        for (key, kept) in &self.look.mirror.state.tasks {
            if !wanted.contains(key) && !held.contains(key) {
                self.remove(kept);
                self.look.remember(Kind::Task, key, None);
            }
        }
        if !self.commit.files.is_empty() || !self.commit.removed.is_empty() {
            self.look.out.commits.push(self.commit);
        }
        Ok(())
    }

    fn one(&mut self, ours: &Ours<'_>) -> Result<(), MirrorError> {
        let session = ours.session.session;
        let path = tasks_md::path(&self.look.work.outgoing.name, &session);
        let Some(of) = source(ours).filter(|_| is_path(&path)) else {
            return Ok(());
        };
        let kept = self.look.kept(Kind::Task, &ours.key).cloned();
        // Also where somebody took it away since.
        if kept.as_ref().is_some_and(|k| k.of == of && k.path == path) {
            return Ok(());
        }
        let there = self.there.get(&path).cloned();
        let is_kept = |n: &Node| {
            let kept = kept.as_ref().filter(|k| k.path == path);
            kept.is_some_and(|k| k.oid.as_ref() == Some(&n.oid))
        };
        let mut before = None;
        let free = match &there {
            None => !self.look.is_taken(&path)?,
            Some(node) if is_kept(node) => true,
            Some(node) => {
                before = self.ours_there(&path, node, &session)?;
                before.is_some()
            }
        };
        if !free || !self.look.is_due(Kind::Task, ours.session) {
            return Ok(());
        }
        let Some(text) = self.text(ours)? else {
            return Ok(());
        };
        if let (Some(before), Some(node)) = (before, there)
            && before == text.as_bytes()
        {
            // It was pushed, and the memory of that is gone.
            let oid = Some(node.oid);
            let left = false;
            let written = Written {
                path,
                of,
                oid,
                left,
            };
            self.look.remember(Kind::Task, &ours.key, Some(written));
            return Ok(());
        }
        if let Some(kept) = kept.filter(|k| k.path != path) {
            self.remove(&kept);
        }
        self.commit.files.insert(path.clone(), text.into_bytes());
        self.look.write(Kind::Task, ours, path, of);
        Ok(())
    }

    /// The file that is there, if ccpeer wrote it.
    fn ours_there(
        &self,
        path: &str,
        node: &Node,
        session: &SessionId,
    ) -> Result<Option<Vec<u8>>, MirrorError> {
        let small = node
            .size
            .is_some_and(|s| s <= tasks_md::FILE_BYTES_MAX as u64);
        if !node.is_file() || !small {
            return Ok(None);
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        let content = self.look.repo.read_one(node)?;
        let read = tasks_md::read(name, &content);
        let ours = read.is_some_and(|(task, _)| task.ours && task.session == *session);
        Ok(ours.then_some(content))
    }

    /// The document, told as well as can be.
    fn text(&self, ours: &Ours<'_>) -> Result<Option<String>, MirrorError> {
        let read = |id: ChunkId| -> Result<Option<Snapshot>, MirrorError> {
            let content = chunk(&self.look.work.store, &id)?;
            Ok(content.and_then(|c| Snapshot::from_bytes(&c).ok()))
        };
        let Some(of) = ours.head.version.snapshot else {
            return Ok(None);
        };
        let Some(mut snapshot) = read(of.id)? else {
            return Ok(None);
        };
        if let Some(better) = ours.head.document
            && let Some(prose) = read(better.id)?
            && prose.session_id == snapshot.session_id
        {
            snapshot = snapshot.told_with(&prose);
        }
        let text = snapshot.to_markdown(&self.look.work.outgoing.name);
        if !ours.redact {
            return Ok(Some(text));
        }
        let less = secrets::redact_text(text.as_bytes());
        Ok(String::from_utf8(less).ok())
    }

    /// Takes away a file that is still what we wrote.
    fn remove(&mut self, kept: &Written) {
        let there = self.there.get(&kept.path).map(|n| &n.oid);
        if there.is_some() && there == kept.oid.as_ref() && is_path(&kept.path) {
            self.commit.removed.push(kept.path.clone());
        }
    }
}

/// What the file is made of.
fn source(ours: &Ours<'_>) -> Option<String> {
    let snapshot = ours.head.version.snapshot?;
    let document = ours.head.document.map(|d| d.id.to_string());
    let form = if ours.redact { " redacted" } else { "" };
    let document = document.unwrap_or_default();
    Some(format!("{} {document}{form}", snapshot.id))
}
