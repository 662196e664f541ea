//! A session whose project moved on this machine: its files leave one directory
//! below `projects/` for another, in the paths of the new place.
//!
//! They are taken as they lie here, not from the store: what was placed under the
//! rules of placing stays as it is, but for the paths. What they stand for does
//! not change either, so that the next version has the last one as its parent.
//! Must not know which sessions belong to a project.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::limits;
use ccpeer_core::manifest::{Origin, Slot};
use ccpeer_core::time::Timestamp;
use ccpeer_formats::claude::layout;
use ccpeer_formats::claude::rewrite::{Rewriter, TextKind};
use ccpeer_store::{Namespace, Store};

use super::journal::{Content, Left, LeftFile, Record, Site, Step, Who};
use super::policy;
use super::stage::{Staged, Staging};
use super::{PlaceError, place_of};
use crate::confined::{ConfinedError, Root, Stamp};
use crate::disk::Disk;
use crate::home::Home;
use crate::local::{Extent, LocalFile, LocalState, Print, section};
use crate::{capture, live, scan, slugs};

/// What is to be moved where.
#[derive(Debug, Clone)]
pub(crate) struct Rehoming {
    pub(crate) session: SessionId,
    /// The project's directory, resolved.
    pub(crate) project: String,
    /// By the wall clock: a label.
    pub(crate) now: Timestamp,
    /// Drawn at random: names the placement.
    pub(crate) id: [u8; 16],
}

/// What became of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rehomed {
    /// It lies there now; what it was is kept here.
    Moved {
        /// The main transcript.
        path: PathBuf,
        /// What lay in the old place.
        backup: PathBuf,
    },
    /// It lies there already.
    There,
}

/// Moves a session. It must have been captured as it lies here.
///
/// # Errors
/// See [`PlaceError`]. Nothing was changed then.
pub(crate) fn rehome(
    store: &Store,
    home: &Home,
    request: &Rehoming,
) -> Result<Rehomed, PlaceError> {
    rehome_with(store, home, request, Disk::default())
}

pub(super) fn rehome_with(
    store: &Store,
    home: &Home,
    request: &Rehoming,
    disk: Disk<'_>,
) -> Result<Rehomed, PlaceError> {
    let session = request.session;
    if live::live_sessions(home).contains_key(&session) {
        return Err(PlaceError::Live(session));
    }
    let root = Root::open_or_make(&disk, home.claude())?;
    let (Some(found), Some(state)) = (
        scan::find_session(home, &session).into_iter().next(),
        LocalState::load(store, &session)?,
    ) else {
        return Err(PlaceError::Changed);
    };
    if found.slug != state.here.slug {
        return Err(PlaceError::Changed);
    }
    let slug = slugs::slug_for(store, home, &root, &request.project)?;
    let to = capture::here(home, &slug, &request.project);
    if to == state.here {
        return Ok(Rehomed::There);
    }
    let asked = (session, state.base.unwrap_or(EntryHash([0; 32])));
    let before = store.note(Namespace::Session, &session.0)?;
    let mut record = Record::new((request.id, request.now), asked, session, &to.slug, before);
    record.left = Left {
        slug: state.here.slug.clone(),
        files: Vec::new(),
    };
    let staging = Staging::make(disk, &root, &record.name())?;
    let mut moving = Moving {
        root: &root,
        staging: &staging,
        rewriter: Rewriter::new(&state.here, &to),
        from: &state.here,
        to: &to,
        record,
    };
    let staged = moving.stage(&state).and_then(|files| {
        disk.pass("files are staged")?;
        staging.sync()?;
        moving.record.note_missing_dirs(&root)?;
        Ok(files)
    });
    let files = match staged {
        Ok(files) => files,
        Err(e @ PlaceError::Stopped) => return Err(e),
        Err(e) => {
            staging.remove();
            return Err(e);
        }
    };
    let site = Site {
        store,
        home,
        root: &root,
        disk,
    };
    let record = moving.record;
    let state = LocalState {
        here: to.clone(),
        files,
        project: None,
        ..state
    };
    site.carry_out(&record, state, None, Who::User)?;
    Ok(Rehomed::Moved {
        path: root.join(&place_of(&Slot::Main, &session, &to.slug)?),
        backup: site.backups(&record),
    })
}

/// One session on its way.
struct Moving<'a> {
    root: &'a Root,
    staging: &'a Staging<'a>,
    rewriter: Rewriter,
    from: &'a Origin,
    to: &'a Origin,
    record: Record,
}

impl Moving<'_> {
    /// Stages what lies in the project's directory, the main transcript last, and
    /// says what is remembered of all files from now on.
    fn stage(&mut self, state: &LocalState) -> Result<Vec<LocalFile>, PlaceError> {
        let mut files: Vec<LocalFile> = state.files.clone();
        let (main, others): (Vec<_>, Vec<_>) = files.iter_mut().partition(|f| f.slot == Slot::Main);
        if main.is_empty() {
            return Err(PlaceError::Changed);
        }
        for file in others.into_iter().chain(main) {
            let path = layout::path_of(&file.slot, &self.record.session, &self.from.slug);
            if path.is_some_and(|names| names.first().is_some_and(|n| n == "projects")) {
                self.stage_file(file)?;
            }
        }
        Ok(files)
    }

    fn stage_file(&mut self, file: &mut LocalFile) -> Result<(), PlaceError> {
        let session = self.record.session;
        let old = place_of(&file.slot, &session, &self.from.slug)?;
        let new = place_of(&file.slot, &session, &self.to.slug)?;
        let Some((source, stamp)) = self.root.file(&old)? else {
            return match file.slot {
                Slot::Main => Err(PlaceError::Changed),
                // Claude Code has cleaned it up; what was captured stays.
                _ => Ok(()),
            };
        };
        let io = |e| PlaceError::from(ConfinedError::io(&self.root.join(&old), e));
        // What lies here is what was captured, or something would be lost.
        let known: u64 = file.extents.iter().map(|e| e.len).sum();
        let print = Print::of(&mut section(&source, 0, u64::MAX)).map_err(io)?;
        if print != file.print || known != print.len {
            return Err(PlaceError::Changed);
        }
        if old != new && self.root.stamp(&new)?.is_some() {
            return Err(PlaceError::Taken(session));
        }
        let number = u32::try_from(self.record.steps.len()).unwrap_or(u32::MAX) * 2;
        let (staged, extents) = self.rewritten(file, &source, stamp, number)?;
        let content = Content::of(&print);
        let stays = old == new;
        self.record.steps.push(Step {
            slot: file.slot.clone(),
            number,
            new: Content::of(&staged.print),
            old: stays.then_some((content, stamp)),
        });
        if !stays {
            self.record.left.files.push(LeftFile {
                slot: file.slot.clone(),
                number: number + 1,
                content,
                stamp,
            });
        }
        file.stamp = Stamp::default();
        file.settled = false;
        file.extents = extents;
        file.print = staged.print;
        Ok(())
    }

    /// Stages a file in the paths of the new place, with the time that it has.
    fn rewritten(
        &self,
        file: &LocalFile,
        source: &File,
        stamp: Stamp,
        number: u32,
    ) -> Result<(Staged, Vec<Extent>), PlaceError> {
        let kind = match &file.slot {
            slot if slot.is_log() => TextKind::JsonLines,
            Slot::SubagentMeta(_) => TextKind::Json,
            _ => TextKind::Plain,
        };
        let path = self.staging.file(number);
        let io = |e| PlaceError::from(ConfinedError::io(&path, e));
        let at = UNIX_EPOCH + Duration::from_nanos(stamp.modified_ns);
        let mut extents = Vec::new();
        let staged = self.staging.written(number, Some(at), &mut |out| {
            extents.clear();
            let mut from = 0;
            for extent in &file.extents {
                let mut piece = BufReader::new(section(source, from, from + extent.len));
                from += extent.len;
                let (mut len, mut verbatim) = (0, extent.verbatim);
                while let Some(bytes) = self.next_piece(&mut piece, kind).map_err(io)? {
                    if bytes.len() > limits::PLACED_LINE_BYTES_MAX {
                        return Err(PlaceError::LongLine);
                    }
                    let new = self.piece(kind, &bytes);
                    verbatim &= new == bytes;
                    len += new.len() as u64;
                    out.write_all(&new).map_err(io)?;
                }
                extents.push(Extent { len, verbatim });
            }
            Ok(())
        })?;
        Ok((staged, extents))
    }

    /// A line of a log, its end included, or all of any other file.
    fn next_piece(
        &self,
        from: &mut impl BufRead,
        kind: TextKind,
    ) -> std::io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let mut bounded = from.take(limits::PLACED_LINE_BYTES_MAX as u64 + 1);
        match kind {
            TextKind::JsonLines => bounded.read_until(b'\n', &mut bytes)?,
            _ => bounded.read_to_end(&mut bytes)?,
        };
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    fn piece(&self, kind: TextKind, bytes: &[u8]) -> Vec<u8> {
        if self.rewriter.is_identity() {
            return bytes.to_vec();
        }
        let (new, report) = self.rewriter.bytes(kind, bytes);
        // A record must still be one.
        let spoiled =
            || kind == TextKind::JsonLines && !policy::is_json(&new) && policy::is_json(bytes);
        if report.replacements == 0 || spoiled() {
            return bytes.to_vec();
        }
        new
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::testing::World;
    use std::fs;

    /// A session of this world is to move to a directory of its user.
    pub(in crate::place) fn moving(world: &World, session: SessionId, below: &str) -> Rehoming {
        let dir = world.home.user().join(below);
        fs::create_dir_all(&dir).unwrap();
        Rehoming {
            session,
            project: dir.to_str().unwrap().to_owned(),
            now: Timestamp(0),
            id: *blake3::hash(below.as_bytes())
                .as_bytes()
                .first_chunk()
                .unwrap(),
        }
    }
}
