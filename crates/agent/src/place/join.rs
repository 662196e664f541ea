//! Two lines of a session in one file: the local one, and behind it what the
//! other side said since they parted. Only where the user asked for it.
//!
//! The local file only grows; what a row of turns would be a lie about is
//! refused. Must not know how the joined version is stated.

use std::io::Read;

use ccpeer_core::manifest::{FileEntry, Slot};
use ccpeer_formats::claude::join::{Plan as Row, Planner};

use super::incoming::{Incoming, Position};
use super::kin::{Here, Kin};
use super::plan::Plan;
use super::policy::Findings;
use super::standing::{self, Cut, LocalLog, Standing};
use super::{PlaceError, Placing, main_of, place_of, unknown};
use crate::api::{Placed, PlacedHow};
use crate::confined::ConfinedError;
use crate::local::{LocalState, section};

/// Bytes that are read at once.
const BUFFER: usize = 256 * 1024;

impl Placing<'_> {
    /// As a part of what lies here; as itself where it contains that, or is
    /// contained in it.
    pub(super) fn join(
        &self,
        here: &Here,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Placed, PlaceError> {
        let entry = main_of(self.manifest)?;
        match self.stand(here)? {
            Standing::Behind(cut) => return self.bring(&here.to, Some((here, cut)), progress),
            Standing::Same(_) | Standing::Ahead(_) => return Ok(self.up_to_date(&here.to, None)),
            Standing::Diverged => {}
        }
        match self.kin(here)? {
            Some(Kin::Ancestor) => {
                return self.bring(&here.to, Some((here, Cut::nothing(entry))), progress);
            }
            Some(Kin::Descendant) => return Ok(self.up_to_date(&here.to, None)),
            None => {}
        }
        unknown::recognise(self.store, entry)?;
        let incoming = self.incoming(&here.to)?;
        let log = LocalLog {
            file: &here.main,
            stamp: here.stamp,
            known: None,
        };
        let parted = standing::parting(&log, &incoming, entry, &|e| here.io(e))?;
        let row = self.row(here, &incoming, entry, &parted)?;

        let session = self.request.session;
        let mut state = match &here.state {
            Some(state) => state.clone(),
            None => LocalState::new(here.to.clone()),
        };
        let remembered = state.files.clone();
        let mut plan = Plan::new(self, &here.to, session, progress)?;
        let staged = (|| {
            plan.unite_side_files(self, &incoming, here, &mut state)?;
            let number = plan.number();
            let path = plan.staged_path(number);
            let staged = plan.written(number, &mut |out, findings| {
                let io = |e| PlaceError::from(ConfinedError::io(&path, e));
                let mut own = section(&here.main, 0, here.stamp.len);
                if std::io::copy(&mut own, out).map_err(io)? != here.stamp.len {
                    return Err(PlaceError::Changed);
                }
                let mut joining = row.joining();
                let mut piece = Vec::new();
                theirs(&incoming, entry, parted.at, findings, &mut |line| {
                    piece.clear();
                    joining.push(line, &mut piece);
                    out.write_all(&piece).map_err(io)
                })?;
                piece.clear();
                joining
                    .finish(&mut piece)
                    .map_err(|_| PlaceError::Changed)?;
                out.write_all(&piece).map_err(io)
            })?;
            let old = plan.print(&here.main, &here.path)?;
            plan.add(Slot::Main, &staged, Some((old, here.stamp)));
            Ok(())
        })();
        // The file has grown since it was remembered, like any other.
        state.files = remembered;
        plan.joined = Some(self.request.version);
        plan.conclude(self, staged, state)?
            .answer(self, PlacedHow::Joined, &here.to, None)
    }

    /// How the two lines are put in a row.
    fn row(
        &self,
        here: &Here,
        incoming: &Incoming<'_>,
        entry: &FileEntry,
        parted: &Cut,
    ) -> Result<Row, PlaceError> {
        let mut planner = Planner::default();
        let mut buffer = vec![0; BUFFER];
        for (from, to) in [(0, parted.keep), (parted.keep, here.stamp.len)] {
            let mut part = section(&here.main, from, to);
            loop {
                let read = part.read(&mut buffer).map_err(|e| here.io(e))?;
                let bytes = buffer.get(..read).unwrap_or_default();
                match (read, from) {
                    (0, _) => break,
                    (_, 0) if to == parted.keep => planner.base(bytes),
                    _ => planner.local(bytes),
                }
            }
        }
        // What is left out is told when it is written.
        let mut findings = Findings::default();
        theirs(incoming, entry, parted.at, &mut findings, &mut |line| {
            planner.theirs(line);
            Ok(())
        })?;
        planner.plan().map_err(PlaceError::Join)
    }
}

impl Plan<'_> {
    /// Stages what the other side has beside the transcript and is not here. The
    /// task list stays the local one, and so does every file that both have.
    fn unite_side_files(
        &mut self,
        job: &Placing<'_>,
        incoming: &Incoming<'_>,
        here: &Here,
        state: &mut LocalState,
    ) -> Result<(), PlaceError> {
        for entry in &incoming.manifest.files {
            if matches!(
                entry.slot,
                Slot::Main | Slot::Task(_) | Slot::TaskHighWater | Slot::Todo(_) | Slot::Opaque(_)
            ) {
                continue;
            }
            let names = place_of(&entry.slot, &job.request.session, &here.to.slug)?;
            match job.root.file(&names)? {
                None => drop(self.new_file(incoming, entry)?),
                Some((file, stamp)) if entry.slot.is_log() => {
                    let path = job.root.join(&names);
                    let log = here.log(&entry.slot, &file, stamp);
                    let io = |e| ConfinedError::io(&path, e).into();
                    if standing::compare(&log, incoming, entry, &io)? == Standing::Diverged {
                        return Err(PlaceError::JoinSubagent);
                    }
                    let over = (&file, stamp, path.as_path());
                    drop(self.log_over(incoming, entry, Some(here), over)?);
                }
                Some(_) => {}
            }
        }
        state.files.sort_by(|a, b| a.slot.cmp(&b.slot));
        Ok(())
    }
}

/// The lines of a log from a place on, as they would lie here.
fn theirs(
    incoming: &Incoming<'_>,
    entry: &FileEntry,
    from: Position,
    findings: &mut Findings,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), PlaceError>,
) -> Result<(), PlaceError> {
    let mut lines = incoming.lines(entry, from);
    while let Some(line) = lines.next()? {
        let segment = entry.segments.get(line.start.segment);
        let origin = segment.map_or(0, |s| s.origin);
        let form = incoming.form(line.bytes, origin, findings);
        let Some(placed) = form.placed() else {
            continue;
        };
        sink(placed)?;
        if line.newline {
            sink(b"\n")?;
        }
    }
    Ok(())
}
