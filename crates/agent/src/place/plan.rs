//! What a placement does, found out file by file: what is staged, what lies in
//! the way, what is kept of it. Nothing is touched before the plan is complete.
//!
//! Must not know why a version is placed as itself or as a new session.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::manifest::{FileEntry, Origin, Slot};
use ccpeer_core::time::Timestamp;
use ccpeer_core::{limits, text};
use ccpeer_formats::claude::transcript::Digest;
use ccpeer_store::Namespace;

use super::incoming::Incoming;
use super::journal::{Content, Record, Site, Step, Who};
use super::policy::{Finding, Findings};
use super::stage::{Notes, Staged, Staging};
use super::standing::{self, Cut, LocalLog, Standing};
use super::{Here, Mode, PlaceError, PlaceRequest, Placing, main_of, place_of, unknown};
use crate::api::{Placed, PlacedHow};
use crate::confined::{ConfinedError, Stamp};
use crate::local::{LocalFile, LocalState, Print, section};
use crate::{live, projects};

/// Bytes at the end of a transcript in which open tool calls are looked for.
const END_BYTES: u64 = 1024 * 1024;
/// Progress is told when so much more is done, and at the end.
const TELL_BYTES: u64 = 512 * 1024;

/// The steps of a placement, as they are found out.
pub(super) struct Plan<'p> {
    record: Record,
    staging: Staging<'p>,
    /// A version that the files contain from now on beside the local one.
    pub(super) joined: Option<EntryHash>,
    pub(super) findings: Findings,
    next: u32,
    /// The clock, if files keep their times.
    times_at: Option<Timestamp>,
    done: u64,
    /// What of it was told.
    told: u64,
    total: u64,
    progress: &'p mut dyn FnMut(u64, u64),
}

/// A placement that has happened.
pub(super) struct Concluded {
    backup: Option<PathBuf>,
    dropped: Vec<String>,
}

impl<'p> Plan<'p> {
    pub(super) fn new(
        job: &Placing<'p>,
        to: &Origin,
        session: SessionId,
        progress: &'p mut dyn FnMut(u64, u64),
    ) -> Result<Self, PlaceError> {
        unknown::recognise(job.store, main_of(job.manifest)?)?;
        let asked = (job.request.session, job.request.version);
        let before = job.store.note(Namespace::Session, &session.0)?;
        let drawn = (job.request.new_id.0, job.request.now);
        let record = Record::new(drawn, asked, session, &to.slug, before);
        let staging = Staging::make(job.disk, job.root, &record.name())?;
        let total = job.manifest.total_bytes();
        Ok(Self {
            record,
            staging,
            joined: None,
            findings: Findings::default(),
            next: 0,
            times_at: job.request.keep_times.then_some(job.request.now),
            done: 0,
            told: 0,
            total,
            progress,
        })
    }

    pub(super) fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    pub(super) fn add(&mut self, slot: Slot, staged: &Staged, old: Option<(Print, Stamp)>) {
        self.record.steps.push(Step {
            slot,
            number: staged.number,
            new: Content::of(&staged.print),
            old: old.map(|(print, stamp)| (Content::of(&print), stamp)),
        });
    }

    /// Stages every file but the main transcript.
    pub(super) fn side_files(
        &mut self,
        job: &Placing<'_>,
        incoming: &Incoming<'_>,
        here: Option<&Here>,
        state: &mut LocalState,
    ) -> Result<(), PlaceError> {
        for entry in incoming
            .manifest
            .files
            .iter()
            .filter(|f| f.slot != Slot::Main && f.slot.opaque().is_none())
        {
            let names = place_of(&entry.slot, &self.record.session, &self.record.slug)?;
            let lying = job.root.file(&names)?;
            let path = job.root.join(&names);
            let local = match lying {
                None => self.new_file(incoming, entry)?,
                Some((file, stamp)) if entry.slot.is_log() => {
                    self.log_over(incoming, entry, here, (&file, stamp, &path))?
                }
                Some((file, stamp)) => {
                    self.file_over(incoming, entry, here, (&file, stamp, &path))?
                }
            };
            state.files.extend(local);
        }
        Ok(())
    }

    pub(super) fn new_file(
        &mut self,
        incoming: &Incoming<'_>,
        entry: &FileEntry,
    ) -> Result<Option<LocalFile>, PlaceError> {
        let number = self.number();
        let staged = match entry.slot.is_log() {
            true => self.log(incoming, entry, number, None)?,
            false => self.whole(incoming, entry, number)?,
        };
        self.add(entry.slot.clone(), &staged, None);
        Ok(Some(remembered(&entry.slot, &staged)))
    }

    /// A sub-agent's log where one lies already.
    pub(super) fn log_over(
        &mut self,
        incoming: &Incoming<'_>,
        entry: &FileEntry,
        here: Option<&Here>,
        (file, stamp, path): (&File, Stamp, &Path),
    ) -> Result<Option<LocalFile>, PlaceError> {
        let log = match here {
            Some(here) => here.log(&entry.slot, file, stamp),
            None => LocalLog {
                file,
                stamp,
                known: None,
            },
        };
        let io = |e| ConfinedError::io(path, e).into();
        let kept = match standing::compare(&log, incoming, entry, &io)? {
            Standing::Same(cut) | Standing::Ahead(cut) => {
                let mut head = section(file, 0, cut.keep);
                let print = Print::of(&mut head).map_err(io)?;
                return Ok(Some(LocalFile {
                    slot: entry.slot.clone(),
                    stamp: Stamp::default(),
                    settled: false,
                    extents: cut.extents,
                    print,
                }));
            }
            Standing::Behind(cut) => Some(cut),
            Standing::Diverged => {
                self.findings.add(Finding::Replaced);
                None
            }
        };
        let number = self.number();
        let staged = self.log(
            incoming,
            entry,
            number,
            kept.as_ref().map(|cut| (file, cut)),
        )?;
        let old = self.print(file, path)?;
        self.add(entry.slot.clone(), &staged, Some((old, stamp)));
        Ok(Some(remembered(&entry.slot, &staged)))
    }

    /// Any other file where one lies already.
    fn file_over(
        &mut self,
        incoming: &Incoming<'_>,
        entry: &FileEntry,
        here: Option<&Here>,
        (file, stamp, path): (&File, Stamp, &Path),
    ) -> Result<Option<LocalFile>, PlaceError> {
        let old = self.print(file, path)?;
        let number = self.number();
        let staged = self.whole(incoming, entry, number)?;
        if staged.print == old {
            return Ok(Some(remembered(&entry.slot, &staged)));
        }
        // Plans of all sessions lie in one place, and the names are the model's.
        let shared = matches!(entry.slot, Slot::Plan(_));
        let ours = here
            .and_then(|h| h.state.as_ref()?.file(&entry.slot))
            .map(|f| &f.print);
        if shared && ours != Some(&old) {
            self.findings.add(Finding::Foreign);
            return Ok(None);
        }
        self.add(entry.slot.clone(), &staged, Some((old, stamp)));
        Ok(Some(remembered(&entry.slot, &staged)))
    }

    pub(super) fn log(
        &mut self,
        incoming: &Incoming<'_>,
        entry: &FileEntry,
        number: u32,
        kept: Option<(&File, &Cut)>,
    ) -> Result<Staged, PlaceError> {
        self.staging(None, |staging, notes| {
            staging.log(number, incoming, entry, kept, notes)
        })
    }

    fn whole(
        &mut self,
        incoming: &Incoming<'_>,
        entry: &FileEntry,
        number: u32,
    ) -> Result<Staged, PlaceError> {
        self.staging(None, |staging, notes| {
            staging.whole(number, incoming, entry, notes)
        })
    }

    /// A fork's transcript says at its end what the session is called now.
    pub(super) fn fork_log(
        &mut self,
        incoming: &Incoming<'_>,
        entry: &FileEntry,
        number: u32,
        kept: Option<(&File, &Cut)>,
        (request, fork): (&PlaceRequest, SessionId),
    ) -> Result<Staged, PlaceError> {
        let closing = title_records(request, fork);
        self.staging(Some(&closing), |staging, notes| {
            staging.log(number, incoming, entry, kept, notes)
        })
    }

    /// Notes which tool calls at the end of a staged transcript have no result.
    pub(super) fn note_pending(&mut self, staged: &Staged) -> Result<(), PlaceError> {
        let path = self.staging.file(staged.number);
        let io = |e: io::Error| PlaceError::from(ConfinedError::io(&path, e));
        let file = File::open(&path).map_err(io)?;
        let from = staged.print.len.saturating_sub(END_BYTES);
        let mut end = Vec::new();
        let mut reader = section(&file, from, staged.print.len);
        reader.read_to_end(&mut end).map_err(io)?;
        let lines = match from {
            0 => end.as_slice(),
            _ => end.splitn(2, |b| *b == b'\n').nth(1).unwrap_or_default(),
        };
        let mut digest = Digest::default();
        digest.feed(lines);
        for _ in &digest.summary().pending {
            self.findings.add(Finding::Pending);
        }
        Ok(())
    }

    pub(super) fn staged_path(&self, number: u32) -> PathBuf {
        self.staging.file(number)
    }

    /// Stages a file that the caller writes.
    pub(super) fn written(
        &mut self,
        number: u32,
        fill: &mut dyn FnMut(&mut dyn Write, &mut Findings) -> Result<(), PlaceError>,
    ) -> Result<Staged, PlaceError> {
        self.staging(None, |staging, notes| {
            staging.written(number, None, &mut |out| fill(out, notes.findings))
        })
    }

    fn staging<T>(
        &mut self,
        closing: Option<&[u8]>,
        work: impl FnOnce(&Staging<'_>, &mut Notes<'_>) -> Result<T, PlaceError>,
    ) -> Result<T, PlaceError> {
        let Self {
            staging,
            findings,
            times_at,
            done,
            told,
            total,
            progress,
            ..
        } = self;
        let mut tell = |bytes: u64| {
            *done += bytes;
            if *done - *told >= TELL_BYTES || *done >= *total {
                *told = *done;
                progress((*done).min(*total), *total);
            }
        };
        work(
            staging,
            &mut Notes {
                findings,
                progress: &mut tell,
                closing,
                times_at: *times_at,
            },
        )
    }

    pub(super) fn print(&self, file: &File, path: &Path) -> Result<Print, PlaceError> {
        let io = |e: io::Error| PlaceError::from(ConfinedError::io(path, e));
        Print::of(&mut section(file, 0, u64::MAX)).map_err(io)
    }

    /// Takes the steps that were staged, or removes what was staged of them.
    pub(super) fn conclude(
        mut self,
        job: &Placing<'_>,
        staged: Result<(), PlaceError>,
        state: LocalState,
    ) -> Result<Concluded, PlaceError> {
        let ready = staged
            .and_then(|()| Ok(job.disk.pass("files are staged")?))
            .and_then(|()| self.staging.sync())
            .and_then(|()| self.record.note_missing_dirs(job.root));
        match ready {
            Ok(()) => {}
            Err(e @ PlaceError::Stopped) => return Err(e),
            Err(e) => {
                self.staging.remove();
                return Err(e);
            }
        }
        let Placing {
            store,
            home,
            root,
            disk,
            ..
        } = *job;
        let site = Site {
            store,
            home,
            root,
            disk,
        };
        let dir = PathBuf::from(&state.here.project);
        let unasked = job.request.mode == Mode::Unasked;
        let session = &self.record.session;
        if unasked && live::live_sessions(home).contains_key(session) {
            // Staging took a while, and nobody who opens it expects this.
            self.staging.remove();
            return Err(PlaceError::Live(*session));
        }
        let who = if unasked { Who::Unasked } else { Who::User };
        site.carry_out(&self.record, state, self.joined, who)?;
        let remembered = projects::placed_in(store, &job.manifest.project, &dir)
            .map_err(PlaceError::from)
            // Where a project lies is for the user to say.
            .map(|note| note.filter(|_| !unasked && job.request.remember))
            .and_then(|note| Ok(disk.put_notes(store, note.as_slice())?));
        if let Err(e) = remembered {
            tracing::warn!(error = %e, "where the project lies is not remembered");
        }
        let replaced = self.record.has_backups();
        let mut dropped = self.findings.lines();
        let at = (&self.record.session, self.record.slug.as_str());
        dropped.extend(unknown::told(root, job.manifest, at));
        Ok(Concluded {
            backup: replaced.then(|| site.backups(&self.record)),
            dropped,
        })
    }
}

impl Concluded {
    pub(super) fn answer(
        self,
        job: &Placing<'_>,
        how: PlacedHow,
        to: &Origin,
        forked: Option<SessionId>,
    ) -> Result<Placed, PlaceError> {
        Ok(job.answer(how, to, forked, self.backup, self.dropped))
    }
}

/// What is remembered of a staged file; how it looks in its place is added when
/// it is there.
pub(super) fn remembered(slot: &Slot, staged: &Staged) -> LocalFile {
    LocalFile {
        slot: slot.clone(),
        stamp: Stamp::default(),
        settled: false,
        extents: staged.extents.clone(),
        print: staged.print.clone(),
    }
}

/// The records that give a fork its title, as Claude Code writes them.
fn title_records(request: &PlaceRequest, fork: SessionId) -> Vec<u8> {
    let device = text::one_line(&request.device_name, limits::DEVICE_NAME_CHARS_MAX);
    let title = text::one_line(&request.title, limits::TITLE_CHARS_MAX);
    let title = match title.is_empty() {
        true => format!("(from {device})"),
        false => format!("{title} (from {device})"),
    };
    let session = fork.to_string();
    let name = |kind: &str, key: &str| {
        serde_json::json!({ "type": kind, key: title, "sessionId": session }).to_string()
    };
    let mut out = Vec::new();
    for record in [
        name("custom-title", "customTitle"),
        name("agent-name", "agentName"),
    ] {
        out.extend_from_slice(record.as_bytes());
        out.push(b'\n');
    }
    out
}
