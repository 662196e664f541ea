//! One go of a mirror: fetch, see what of ours is missing at the remote's tip, add
//! it there, push; again from the start if somebody else was faster. Blocks.
//!
//! Nothing is kept of an attempt that did not come through but objects that git
//! lets go by itself, so being killed anywhere costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::entry::SignedEntry;
use ccpeer_core::id::{ChunkId, DeviceId, LogId, Seq, SessionId};
use ccpeer_core::manifest::{Manifest, Want};
use ccpeer_core::sharing::Sharing;
use ccpeer_store::{Store, StoreError};
use ed25519_dalek::SigningKey;

use super::carried::{Carried, Place};
use super::config::Mirror;
use super::layouts::{self, Outcome, Paces};
use super::part::{PART_BYTES, PART_ENTRIES_MAX, PARTS_MAX, Part};
use super::repo::{Commit, Oid, Pushed, Repo};
use super::run::Stop;
use super::seal::{Identities, Recipients};
use super::{MirrorError, OWN, gate};
use crate::api::Gate;
use crate::driver::{OutSession, Outgoing};
use crate::home::Home;
use crate::keys::DeviceKey;

/// Attempts when others push at the same time.
const ATTEMPTS_MAX: u32 = 12;
/// The pause before the second one; it doubles, up to the last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(150), Duration::from_secs(5));
/// What a commit says of itself: nothing.
const SUBJECT: &str = "ccpeer: what is new";
/// Bytes of parts that are given to git at once.
const BATCH_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of entries that are read at once.
const RANGE_BYTES: usize = 1024 * 1024;

/// What is mirrored, and by whom.
pub(crate) struct Work {
    pub(crate) home: Home,
    pub(crate) store: Arc<Store>,
    pub(crate) outgoing: Outgoing,
    /// By the wall clock.
    pub(crate) now_ms: u64,
    /// A number that nobody else has, to wait differently.
    pub(crate) dice: u64,
    /// The remote may have gone back.
    pub(crate) repush: bool,
    /// Files that have a clock do not wait for it.
    pub(crate) force: bool,
}

/// What it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Synced {
    /// Commits that were pushed.
    pub(crate) commits: u64,
    /// Bytes of files in them.
    pub(crate) bytes: u64,
    /// Attempts that it took.
    pub(crate) attempts: u32,
    /// How long something waits for its clock.
    pub(crate) pending: Option<Duration>,
}

/// Brings a mirror up to date. What is remembered of it changes with it; the
/// caller keeps that.
pub(crate) fn sync(
    mirror: &mut Mirror,
    work: &Work,
    paces: &mut Paces,
    stop: Stop<'_>,
) -> Result<Synced, MirrorError> {
    let key = DeviceKey::load(&work.home.key())
        .map_err(|e| MirrorError::Key(e.to_string()))?
        .ok_or_else(|| MirrorError::Key("the device key is gone".to_owned()))?
        .signing;
    let mut identities = Identities::of_device(&key)?;
    let mut recipients = None;
    if mirror.config.encrypted {
        let recovery = Identities::load_or_draw(&work.home.recovery_key())?;
        recipients = Some(Recipients::new(&recovery, &work.outgoing.readers));
        identities = identities.and(recovery);
    }
    let mut go = Go {
        mirror,
        work,
        paces,
        stop,
        key,
        identities,
        recipients,
    };
    let mut pause = PAUSE.0;
    for attempt in 1..=ATTEMPTS_MAX {
        match go.attempt() {
            Ok(Some(mut synced)) => {
                synced.attempts = attempt;
                return Ok(synced);
            }
            Ok(None) => {}
            // What a killed git has left is no reason to stay away for ever.
            Err(MirrorError::Git(e)) if attempt == 1 && is_ours(&e) => {
                tracing::warn!(error = %e, "the repository of a mirror is made anew");
                let _none = std::fs::remove_dir_all(go.mirror.repo());
                continue;
            }
            Err(e) => return Err(e),
        }
        // Everybody waits for another time, or they would meet again.
        let spread = u64::from(attempt).wrapping_add(work.dice) % 7;
        wait(pause + pause.mul_f64(spread as f64 / 7.0), stop);
        pause = (pause * 2).min(PAUSE.1);
    }
    Err(MirrorError::Raced(ATTEMPTS_MAX))
}

/// Whether the fault lies in the repository that is only ours.
fn is_ours(error: &super::run::GitError) -> bool {
    use super::run::GitError;
    match error {
        GitError::Nonsense(_) => true,
        GitError::Refused { what, .. } => {
            !matches!(*what, "push" | "ls-remote" | "fetch" | "clone")
        }
        _ => false,
    }
}

fn wait(pause: Duration, stop: Stop<'_>) {
    let until = std::time::Instant::now() + pause;
    while std::time::Instant::now() < until && !stop() {
        std::thread::sleep(Duration::from_millis(25));
    }
}

struct Go<'g> {
    mirror: &'g mut Mirror,
    work: &'g Work,
    paces: &'g mut Paces,
    stop: Stop<'g>,
    key: SigningKey,
    identities: Identities,
    recipients: Option<Recipients>,
}

/// Commits that grow until they are made.
struct Growing<'r, 's> {
    repo: &'r Repo<'s>,
    tip: Option<Oid>,
    commits: Vec<Commit>,
    bytes: usize,
    now_s: u64,
    done: Synced,
}

impl Growing<'_, '_> {
    fn add(&mut self, commit: Commit) -> Result<(), MirrorError> {
        let bytes: usize = commit.files.values().map(Vec::len).sum();
        self.bytes += bytes;
        self.done.bytes += bytes as u64;
        self.commits.push(commit);
        if self.bytes >= BATCH_BYTES {
            self.make()?;
        }
        Ok(())
    }

    fn make(&mut self) -> Result<(), MirrorError> {
        if self.commits.is_empty() {
            return Ok(());
        }
        self.done.commits += self.commits.len() as u64;
        let commits = std::mem::take(&mut self.commits);
        self.tip = Some(self.repo.commit(self.tip.as_ref(), commits, self.now_s)?);
        self.bytes = 0;
        Ok(())
    }
}

impl Go<'_> {
    /// Nothing if somebody else was faster.
    fn attempt(&mut self) -> Result<Option<Synced>, MirrorError> {
        let config = self.mirror.config.clone();
        let repo = Repo::own(&self.mirror.repo(), self.stop)?;
        let tip = repo.fetch(&config.url, &config.branch)?;
        self.check_past(&repo, tip.as_ref())?;
        let devices = self.devices();
        let copy = self.mirror.carried();
        let mut carried = Carried::at(&repo, tip.as_ref(), &devices, &self.identities, &copy)?;
        let mut growing = Growing {
            repo: &repo,
            tip: tip.clone(),
            commits: Vec::new(),
            bytes: 0,
            now_s: self.work.now_ms / 1000,
            done: Synced::default(),
        };
        self.mirror.state.broken = carried.broken;
        let held = self.hold_back(&carried)?;
        if is_free(&repo, tip.as_ref(), OWN)? {
            self.own_form(&mut growing, &mut carried, &held)?;
        }
        let layouts = self.layouts(&mut growing, tip.as_ref(), &held)?;
        growing.make()?;
        let new = growing.tip.clone();
        let mut synced = growing.done;
        synced.pending = layouts.pending;
        if let Some(new) = new.filter(|new| Some(new) != tip.as_ref()) {
            if repo.push(&config.url, &config.branch, &new)? == Pushed::Raced {
                return Ok(None);
            }
            self.mirror.state.tip = Some(new.clone());
            carried.keep(&repo, &new, &devices, &copy)?;
            layouts.keep(&repo, &new, self.mirror, self.paces)?;
        } else if let Some(tip) = tip {
            if !carried.kept {
                carried.keep(&repo, &tip, &devices, &copy)?;
            }
            layouts.keep(&repo, &tip, self.mirror, self.paces)?;
            self.mirror.state.tip = Some(tip);
        }
        if let Err(e) = repo.tidy() {
            tracing::warn!(error = %e, "the repository of a mirror is not packed");
        }
        Ok(Some(synced))
    }

    /// Files that others read, where everybody may.
    fn layouts(
        &self,
        growing: &mut Growing<'_, '_>,
        tip: Option<&Oid>,
        held: &BTreeSet<SessionId>,
    ) -> Result<Outcome, MirrorError> {
        if self.mirror.config.encrypted {
            return Ok(Outcome::default());
        }
        let (mirror, paces) = (&*self.mirror, &*self.paces);
        let mut outcome =
            layouts::look(growing.repo, tip, mirror, self.work, paces, held, self.stop)?;
        for commit in std::mem::take(&mut outcome.commits) {
            growing.add(commit)?;
        }
        Ok(outcome)
    }

    /// What was seen there last has to be in the past of what is there now.
    fn check_past(&self, repo: &Repo<'_>, tip: Option<&Oid>) -> Result<(), MirrorError> {
        let Some(seen) = &self.mirror.state.tip else {
            return Ok(());
        };
        let grew = match tip {
            Some(tip) if tip == seen => true,
            Some(tip) => repo.is_ancestor(seen, tip)?,
            None => false,
        };
        match grew || self.work.repush {
            true => Ok(()),
            // The repository here may have been lost with what it knew of the past:
            // then the past is fetched with the tip, and the question has an answer.
            false => Err(MirrorError::RolledBack),
        }
    }

    /// This device, under its keys of today and before.
    fn devices(&self) -> BTreeSet<DeviceId> {
        let logs = self.work.outgoing.logs.iter().map(|(log, _)| log.device);
        logs.chain([self.work.outgoing.me]).collect()
    }

    /// Sessions that the mirror must not show as they are.
    fn hold_back(&mut self, carried: &Carried) -> Result<BTreeSet<SessionId>, MirrorError> {
        let mut held = BTreeSet::new();
        let gate = self.mirror.config.gate();
        let before = std::mem::take(&mut self.mirror.state.held);
        let warned = std::mem::take(&mut self.mirror.state.warned);
        if gate == Gate::Warn && self.mirror.config.encrypted {
            // Who can read it has the sessions: the user is told where they are.
            return Ok(held);
        }
        for session in &self.work.outgoing.sessions {
            let id = session.session.to_string();
            let looked: String = session.heads.iter().map(|h| h.id.to_string()).collect();
            let secret = match before.get(&id) {
                Some(of) if *of == looked => Some(true),
                // What is there already is not read again, and stays there.
                _ if warned.contains(&id) && gate == Gate::Warn => Some(true),
                _ => self.has_secret(session, carried)?,
            };
            match (secret, gate) {
                (Some(true), Gate::Warn) => drop(self.mirror.state.warned.insert(id)),
                (Some(true), _) => drop(self.mirror.state.held.insert(id, looked)),
                _ => {}
            }
            // What could not be looked at waits.
            if secret != Some(false) && gate != Gate::Warn {
                held.insert(session.session);
            }
        }
        Ok(held)
    }

    /// Nothing if not all of it is here.
    fn has_secret(
        &self,
        session: &OutSession,
        carried: &Carried,
    ) -> Result<Option<bool>, MirrorError> {
        let store = &self.work.store;
        for head in &session.heads {
            let meta = &head.version.meta;
            let said = format!("{}\n{}\n{}", meta.title, meta.project, meta.branch);
            if ccpeer_formats::secrets::holds(&said) {
                return Ok(Some(true));
            }
            let documents = head.version.snapshot.iter().chain(&head.document);
            let documents: Vec<ChunkId> = documents.map(|d| d.id).collect();
            let mut found = gate::in_documents(store, &documents, &carried.chunks)?;
            if let (Some(false), Some(m)) = (found, head.version.manifest)
                && !carried.chunks.contains(&m.id)
            {
                found = match read_manifest(store, m.id)? {
                    Some(m) => gate::in_files(store, &m, &carried.chunks, self.stop)?,
                    None => None,
                };
            }
            if found != Some(false) {
                return Ok(found);
            }
        }
        Ok(Some(false))
    }

    /// Parts with what is not there yet.
    fn own_form(
        &self,
        growing: &mut Growing<'_, '_>,
        carried: &mut Carried,
        held: &BTreeSet<SessionId>,
    ) -> Result<(), MirrorError> {
        let mut writer = Writer {
            go: self,
            part: Part::default(),
            bytes: 0,
            growing,
            next: carried.next,
        };
        for session in &self.work.outgoing.sessions {
            if held.contains(&session.session) {
                continue;
            }
            for head in &session.heads {
                let mut roots: Vec<Want> = head.version.roots().collect();
                roots.extend(head.document.map(|d| Want::data(d.id)));
                for root in roots {
                    writer.carry(root, &mut carried.chunks)?;
                }
            }
        }
        for (log, upto) in &self.work.outgoing.logs {
            let from = carried.logs.get(log).copied().unwrap_or(Seq::ZERO);
            let reached = writer.entries(*log, from, *upto, held, carried)?;
            carried.logs.insert(*log, reached);
        }
        for session in &self.work.outgoing.sessions {
            // Something that was held back once, and is not any more.
            let free = !held.contains(&session.session);
            for head in session.heads.iter().filter(|_| free) {
                if !carried.bare.contains(&head.id) {
                    continue;
                }
                let before = Seq(head.seq.0.saturating_sub(1));
                writer.entries(head.log, before, head.seq, held, carried)?;
            }
        }
        writer.close()?;
        carried.next = writer.next;
        Ok(())
    }
}

struct Writer<'w, 'g, 'r, 's> {
    go: &'w Go<'g>,
    part: Part,
    bytes: usize,
    growing: &'w mut Growing<'r, 's>,
    next: u64,
}

impl Writer<'_, '_, '_, '_> {
    /// Takes up a root and what it refers to; what refers to others after them. What
    /// is not whole here is not begun.
    fn carry(&mut self, root: Want, carried: &mut BTreeSet<ChunkId>) -> Result<(), MirrorError> {
        if carried.contains(&root.id) {
            return Ok(());
        }
        let store = Arc::clone(&self.go.work.store);
        let mut order: Vec<ChunkId> = Vec::new();
        let mut seen = BTreeSet::from([root.id]);
        let mut unread = vec![root];
        while let Some(want) = unread.pop() {
            order.push(want.id);
            if want.kind == ccpeer_core::manifest::WantKind::Data {
                continue;
            }
            let Some(content) = chunk(&store, &want.id)? else {
                return Ok(());
            };
            for child in want.children(&content).unwrap_or_default() {
                if !carried.contains(&child.id) && seen.insert(child.id) {
                    unread.push(child);
                }
            }
        }
        if !store.has(&order)?.iter().all(|here| *here) {
            return Ok(());
        }
        for id in order.into_iter().rev() {
            let Some(content) = chunk(&store, &id)? else {
                return Ok(());
            };
            self.bytes += content.len();
            self.part.chunks.push((id, content));
            carried.insert(id);
            if self.bytes >= PART_BYTES {
                self.close()?;
            }
            if (self.go.stop)() {
                return Err(super::run::GitError::Stopping.into());
            }
        }
        Ok(())
    }

    /// Takes up entries of a log, and says how far it came.
    fn entries(
        &mut self,
        log: LogId,
        from: Seq,
        upto: Seq,
        held: &BTreeSet<SessionId>,
        carried: &mut Carried,
    ) -> Result<Seq, MirrorError> {
        let mut at = from;
        while at < upto {
            let found = self.go.work.store.range(log, at, upto, RANGE_BYTES)?;
            if found.is_empty() {
                break;
            }
            for entry in found {
                let entry = withhold(entry, held, &self.go.work.outgoing.sharing, &self.go.key);
                if let Ok(verified) = entry.clone().verified_by_store() {
                    at = verified.seq();
                    carried.note(&verified);
                }
                self.bytes += entry.size();
                self.part.entries.push(entry);
                if self.part.entries.len() >= PART_ENTRIES_MAX || self.bytes >= PART_BYTES {
                    self.close()?;
                }
            }
        }
        Ok(at)
    }

    /// Writes the part that has gathered.
    fn close(&mut self) -> Result<(), MirrorError> {
        if self.part.is_empty() || self.next >= PARTS_MAX {
            return Ok(());
        }
        let part = std::mem::take(&mut self.part);
        self.bytes = 0;
        let mut content = part.to_bytes(&self.go.key, self.next)?;
        if let Some(recipients) = &self.go.recipients {
            content = recipients.seal(&content)?;
        }
        let place = Place {
            device: self.go.work.outgoing.me,
            number: self.next,
            sealed: self.go.recipients.is_some(),
        };
        self.next += 1;
        self.growing.add(Commit {
            subject: SUBJECT.to_owned(),
            files: BTreeMap::from([(place.path(), content)]),
            removed: Vec::new(),
        })
    }
}

/// An entry without what it says of a session that is held back, or that is for
/// nobody else.
fn withhold(
    mut entry: SignedEntry,
    held: &BTreeSet<SessionId>,
    sharing: &Sharing,
    key: &SigningKey,
) -> SignedEntry {
    use ccpeer_core::entry::Payload;
    if sharing.withholds(&entry) {
        let bare = entry.withheld(key);
        entry.payload = None;
        return bare.unwrap_or(entry);
    }
    let verified = entry.clone().verified_by_store().ok();
    let about = match verified.as_ref().and_then(|v| v.payload()) {
        Some(Payload::Version(version)) => Some(version.session),
        _ => None,
    };
    if about.is_some_and(|session| held.contains(&session)) {
        entry.payload = None;
    }
    entry
}

/// A chunk, or that it is not to be had: what is damaged is somebody else's
/// business.
pub(super) fn chunk(store: &Store, id: &ChunkId) -> Result<Option<Vec<u8>>, StoreError> {
    match store.get_chunk(id) {
        Err(StoreError::Corrupt { .. }) => Ok(None),
        other => other,
    }
}

fn read_manifest(store: &Store, id: ChunkId) -> Result<Option<Manifest>, StoreError> {
    let content = chunk(store, &id)?;
    Ok(content.and_then(|c| Manifest::from_bytes(&c).ok()))
}

/// Whether a directory of ours can be at this place: it is one, or nothing is.
pub(super) fn is_free(repo: &Repo<'_>, tip: Option<&Oid>, path: &str) -> Result<bool, MirrorError> {
    let Some(tip) = tip else { return Ok(true) };
    Ok(repo.node(tip, path)?.is_none_or(|node| node.is_dir()))
}
