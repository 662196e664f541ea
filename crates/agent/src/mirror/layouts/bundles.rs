//! The bundle of each session, where claude-sync-sessions looks for it. Its clients
//! write there, too, and the last one wins: so what they wrote is left alone, and of
//! what another ccpeer wrote only what ours goes on from is replaced.

use std::collections::BTreeMap;

use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::SessionId;
use ccpeer_core::time::Timestamp;
use ccpeer_formats::bundle_v1::{Bounds, Bundle, PACKED_BYTES_MAX, names};
use ccpeer_formats::secrets;

use super::super::MirrorError;
use super::super::repo::{Commit, Node, is_path};
use super::super::sync::is_free;
use super::{Kind, Look, Ours, Written};
use crate::capture::foreign::{self, ForeignError, Standing};
use crate::serve::give::{self, Form, GiveError};
use crate::view;

pub(super) struct Bundles<'b, 'l> {
    look: &'b mut Look<'l>,
    /// By session: a project may have been called otherwise.
    there: BTreeMap<SessionId, Vec<(String, Node)>>,
}

/// What becomes of a place.
enum Place {
    /// It is written.
    Free(String),
    /// It holds the same already.
    Same(String, Node),
    /// It stays as it is.
    Left(String, Node),
    /// Nothing can be there.
    None,
}

impl<'b, 'l> Bundles<'b, 'l> {
    pub(super) fn new(look: &'b mut Look<'l>, files: BTreeMap<String, Node>) -> Self {
        let mut there: BTreeMap<SessionId, Vec<(String, Node)>> = BTreeMap::new();
        for (path, node) in files {
            if let Some((_, session)) = names::of_path(&path) {
                there.entry(session).or_default().push((path, node));
            }
        }
        Self { look, there }
    }

    pub(super) fn all(mut self, ours: &[&Ours<'_>]) -> Result<(), MirrorError> {
        for one in ours {
            if let Some(manifest) = one.head.version.manifest {
                self.one(one, manifest)?;
            }
            if (self.look.stop)() {
                return Err(super::super::run::GitError::Stopping.into());
            }
        }
        Ok(())
    }

    fn one(&mut self, ours: &Ours<'_>, manifest: ContentRef) -> Result<(), MirrorError> {
        let form = if ours.redact { " redacted" } else { "" };
        let of = format!("{}{form}", manifest.id);
        let kept = self.look.kept(Kind::Bundle, &ours.key).cloned();
        let there = self.there.get(&ours.session.session);
        let there: Vec<(String, Node)> = there.cloned().unwrap_or_default();
        // Also where somebody took it away since.
        if let Some(kept) = kept.as_ref().filter(|k| k.of == of)
            && (!kept.left || there.iter().any(|(_, n)| Some(&n.oid) == kept.oid.as_ref()))
        {
            return Ok(());
        }
        if !self.look.is_due(Kind::Bundle, ours.session) {
            return Ok(());
        }
        match self.place(ours, manifest, kept.as_ref(), there)? {
            Place::Free(path) => self.write(ours, manifest, path, of)?,
            Place::Same(path, node) => self.found(ours, path, node, of, false),
            Place::Left(path, node) => self.found(ours, path, node, of, true),
            Place::None => {}
        }
        Ok(())
    }

    /// Where it is to be, and what is there.
    fn place(
        &self,
        ours: &Ours<'_>,
        manifest: ContentRef,
        kept: Option<&Written>,
        mut there: Vec<(String, Node)>,
    ) -> Result<Place, MirrorError> {
        let Some((path, node)) = there.pop() else {
            return self.new_place(ours);
        };
        let own = |p: &str, n: &Node| {
            kept.is_some_and(|k| !k.left && k.path == p && k.oid.as_ref() == Some(&n.oid))
        };
        if own(&path, &node) && there.is_empty() {
            return Ok(Place::Free(path));
        }
        let fits = node.size.is_some_and(|s| s <= PACKED_BYTES_MAX as u64);
        // Of two in different places, which one a client takes nobody can tell.
        if !there.is_empty() || !node.is_file() || !fits || !is_path(&path) {
            return Ok(Place::Left(path, node));
        }
        let packed = self.look.repo.read_one(&node)?;
        let session = ours.session.session;
        let standing = match Bundle::open(&packed, Some(session), Bounds::default()) {
            Ok((bundle, _)) if bundle.head().ours => {
                foreign::standing(&self.look.work.store, &bundle, manifest)
            }
            _ => Ok(Standing::Apart),
        };
        match standing {
            Ok(Standing::Same) => Ok(Place::Same(path, node)),
            Ok(Standing::Contained) => Ok(Place::Free(path)),
            Ok(Standing::Apart) => Ok(Place::Left(path, node)),
            Err(ForeignError::Store(e)) => Err(e.into()),
            Err(_) => Ok(Place::Left(path, node)),
        }
    }

    fn new_place(&self, ours: &Ours<'_>) -> Result<Place, MirrorError> {
        let (look, session) = (&self.look, &ours.session.session);
        let project = &ours.head.version.meta.project;
        let mut path = names::path(project, session);
        if !is_path(&path) {
            // A name that means something to git.
            path = names::path(&format!("_{project}"), session);
        }
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        let free = is_path(&path) && is_free(look.repo, look.tip, dir)? && !look.is_taken(&path)?;
        Ok(if free { Place::Free(path) } else { Place::None })
    }

    fn found(&mut self, ours: &Ours<'_>, path: String, node: Node, of: String, left: bool) {
        let written = Written {
            path,
            of,
            oid: Some(node.oid),
            left,
        };
        self.look.remember(Kind::Bundle, &ours.key, Some(written));
        self.look
            .out
            .paced
            .push((Kind::Bundle, ours.session.session));
    }

    fn write(
        &mut self,
        ours: &Ours<'_>,
        manifest: ContentRef,
        path: String,
        of: String,
    ) -> Result<(), MirrorError> {
        let (work, session) = (self.look.work, ours.session.session);
        let now = Timestamp(work.now_ms);
        let form = match ours.redact {
            true => Form::Redacted,
            false => Form::Whole,
        };
        let made = give::bundle(&work.store, (manifest, form), &work.outgoing.name, now);
        let bundle = match made {
            Ok(bundle) if bundle.len() <= PACKED_BYTES_MAX => bundle,
            Ok(_) => return Ok(()),
            Err(GiveError::Store(e)) => return Err(e.into()),
            Err(e) => {
                tracing::warn!(%session, error = %e, "not written as a bundle");
                return Ok(());
            }
        };
        let meta = &ours.head.version.meta;
        let title = match ours.redact {
            true => secrets::redact(&view::title(meta)),
            false => view::title(meta),
        };
        self.look.out.commits.push(Commit {
            subject: names::label(&session, &meta.project, &title),
            files: BTreeMap::from([(path.clone(), bundle)]),
            removed: Vec::new(),
        });
        self.look.write(Kind::Bundle, ours, path, of);
        Ok(())
    }
}
