//! The driver's part in what others may have: which rule a session falls under,
//! found before anything is stated of it; and what a change of the rules means for
//! what was stated before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ccpeer_core::entry::{Payload, Version};
use ccpeer_core::id::{ChunkId, DeviceId, EntryHash, SessionId};
use ccpeer_core::lineage::{SessionRecord, VersionNode};
use ccpeer_core::manifest::{Manifest, Want};
use ccpeer_core::sharing::{Share, Sharing};
use ccpeer_core::sync::event::Event;
use ccpeer_core::sync::machine::Machine;
use ccpeer_core::time::Timestamp;
use ccpeer_store::{Store, StoreError};
use tokio::sync::oneshot;

use super::effects::With;
use super::{Driver, Input};
use crate::api::{self, ShareLeft};
use crate::home::Home;
use crate::local::LocalState;
use crate::pool::blocking;
use crate::sharing::gate::{self, Manifests};
use crate::sharing::{Rules, RulesError, held, told};

/// The rules, or why there are none.
pub(crate) type Known = Result<Arc<Rules>, RulesError>;

/// A session of which this device has stated versions out of Claude's directory.
pub(crate) struct OwnSession {
    session: SessionId,
    /// Of the newest of them.
    manifest: Option<ChunkId>,
    /// Some were stated for this device alone.
    kept: bool,
}

impl OwnSession {
    /// All of them; `taken_in` came from other programs.
    pub(crate) fn all(machine: &Machine, taken_in: &BTreeSet<EntryHash>) -> Vec<Self> {
        let sessions = machine.sessions().filter_map(|(session, record)| {
            let own = record.nodes().filter(|n| is_own(machine, &n.log.device));
            let own: Vec<_> = own.filter(|n| !taken_in.contains(&n.id)).collect();
            let whole = own.iter().filter(|n| n.version.manifest.is_some());
            let newest = whole.max_by_key(|n| n.order());
            (!own.is_empty()).then(|| Self {
                session: *session,
                manifest: newest.and_then(|n| Some(n.version.manifest?.id)),
                kept: own.iter().any(|n| n.log.is_kept()),
            })
        });
        sessions.collect()
    }
}

/// What the machine is told, by the directories in which sessions work. Sessions
/// whose directory nobody knows fall under the default, unless they were kept before
/// and nobody says why. Blocking.
pub(crate) fn classify(
    rules: &Known,
    own: Vec<OwnSession>,
    store: &Store,
    home: &Home,
) -> Result<Sharing, StoreError> {
    let Ok(rules) = rules else {
        return Ok(Sharing {
            closed: true,
            ..Sharing::default()
        });
    };
    if rules.is_plain() {
        return Ok(Sharing::default());
    }
    let default = held(rules.default_share());
    let states = LocalState::load_all(store)?.into_iter();
    let mut dirs: BTreeMap<SessionId, String> =
        states.map(|(s, state)| (s, state.here.project)).collect();
    let mut unsure = BTreeSet::new();
    for own in own {
        if dirs.contains_key(&own.session) {
            continue;
        }
        let dir = own.manifest.and_then(|m| written_in(store, home, &m));
        if let Some(dir) = dir {
            dirs.insert(own.session, dir);
        } else if own.kept {
            unsure.insert(own.session);
        }
    }
    let ruled = dirs
        .into_iter()
        .map(|(s, d)| (s, held(rules.of_dir(&d).share)));
    let ruled = ruled.chain(unsure.into_iter().map(|s| (s, Share::Local)));
    let sessions = ruled.filter(|(_, share)| *share != default).collect();
    Ok(Sharing {
        closed: false,
        default,
        sessions,
    })
}

fn is_own(machine: &Machine, device: &DeviceId) -> bool {
    machine.current(device) == machine.me()
}

/// Where a version was written last, if that was on this machine.
fn written_in(store: &Store, home: &Home, manifest: &ChunkId) -> Option<String> {
    let content = store.get_chunk(manifest).ok()??;
    let manifest = Manifest::from_bytes(&content).ok()?;
    let user = home.user().to_str()?;
    let mut here = manifest.origins.into_iter().rev();
    here.find(|o| o.home == user).map(|o| o.project)
}

impl Driver {
    /// Finds out what a session falls under, before something is stated of it. `dir`:
    /// the directory in which it works, where that is known better than from before.
    pub(super) async fn heed_share(&mut self, session: SessionId, dir: Option<String>) {
        let Ok(rules) = &self.rules else { return };
        if rules.is_plain() {
            return;
        }
        let (rules, store) = (Arc::clone(rules), Arc::clone(&self.shared.store));
        let find = move || {
            let known = || Some(LocalState::load(&store, &session).ok()??.here.project);
            let dir = dir.filter(|dir| !dir.is_empty()).or_else(known)?;
            Some(held(rules.of_dir(&dir).share))
        };
        // Of what is not known, what was said last goes on.
        let Some(share) = blocking(find).await else {
            return;
        };
        let before = self.machine.sharing().of(&session);
        if share == before {
            return;
        }
        let now = self.now();
        let effects = self.machine.handle(Event::Share(session, share), now);
        self.close_gate().await;
        self.carry_out(effects).await;
        self.restate_soon();
    }

    fn restate_soon(&self) {
        let tx = self.tx.clone();
        tokio::spawn(async move { tx.send(Input::Restate).await });
    }

    /// What is served beside this task is told what the machine says by now.
    async fn close_gate(&self) {
        let (sharing, roots) = gate::roots_of(&self.machine);
        let manifests = Manifests::of(&self.machine);
        let shared = Arc::clone(&self.shared);
        shared.gate.tell(Arc::clone(&sharing), &roots);
        let open = blocking(move || {
            shared
                .gate
                .close_below(sharing, roots, &manifests, &shared.store);
            manifests.into_open()
        });
        self.let_through(open.await);
    }

    /// What others may have is not kept back because something else consists of it.
    pub(super) fn let_through(&self, open: Vec<Want>) {
        let shared = Arc::clone(&self.shared);
        if !open.is_empty() && shared.gate.is_closed_below() {
            tokio::task::spawn_blocking(move || shared.gate.let_through(&open, &shared.store));
        }
    }

    /// A version is here whole: what it consists of may be for others.
    pub(super) fn came_whole(&self, version: &EntryHash) {
        let Some(node) = self.machine.version_of(version) else {
            return;
        };
        let open = node.roots().filter(|r| !self.machine.is_withheld(r));
        let open: Vec<Want> = open.collect();
        self.shared.gate.release(open.iter().map(|root| root.id));
        self.let_through(open);
    }

    /// States a version, and before it what others see in its place. Its content
    /// becomes durable with the first of the two.
    pub(super) async fn state_version(
        &mut self,
        version: Version,
        at: Timestamp,
        mut content: Vec<(ChunkId, Vec<u8>)>,
        with: impl FnOnce(EntryHash) -> With,
    ) -> Result<EntryHash, StoreError> {
        let (shown, mut version) = self.machine.prepare(version);
        if let Some(shown) = shown {
            let first = With {
                content: std::mem::take(&mut content),
                ..With::default()
            };
            let shown = Payload::Version(shown);
            let shown = self.append_with(&shown, at, |_| first).await?;
            version.parents.push(shown);
        }
        let payload = Payload::Version(version);
        let with = |hash| With {
            content,
            ..with(hash)
        };
        self.append_with(&payload, at, with).await
    }

    /// Something is about to be stated: what it names is for others, or is not served
    /// to them either.
    pub(super) fn guard(&self, payload: &Payload, kept: bool) {
        let roots: Vec<Want> = match payload {
            Payload::Version(version) => version.roots().collect(),
            Payload::Enriched(enriched) => vec![Want::data(enriched.snapshot.id)],
            Payload::Capsule(capsule) => vec![Want::manifest(capsule.manifest.id)],
            Payload::Device(_)
            | Payload::Trust(_)
            | Payload::Presence(_)
            | Payload::Mark(_)
            | Payload::Claim(_)
            | Payload::Roll(_) => return,
        };
        // What others know already, or are about to, stays theirs.
        let known = |root: &Want| self.machine.is_named(&root.id);
        if kept {
            let new = roots.iter().filter(|root| !known(root));
            self.shared.gate.keep(new.map(|root| root.id));
        } else {
            self.shared.gate.release(roots.iter().map(|root| root.id));
        }
    }

    /// States something that is no version.
    pub(super) async fn state_other(
        &mut self,
        payload: &Payload,
        at: Timestamp,
    ) -> Result<EntryHash, StoreError> {
        let mut payload = payload.clone();
        if let Payload::Enriched(enriched) = &mut payload
            && let Some(shown) = self.machine.shown_form(&enriched.version)
        {
            // Others know the version by another name.
            enriched.version = shown;
        }
        self.append_with(&payload, at, |_| With::default()).await
    }

    /// Other rules hold from now on. Answered when nothing leaves any more that may
    /// not.
    pub(super) async fn heed_rules(
        &mut self,
        rules: Known,
        done: oneshot::Sender<Result<ShareLeft, String>>,
    ) {
        let before = Arc::clone(self.machine.sharing());
        self.rules = rules;
        let found = {
            let own = OwnSession::all(&self.machine, &self.taken_in);
            let (rules, shared) = (self.rules.clone(), Arc::clone(&self.shared));
            blocking(move || classify(&rules, own, &shared.store, &shared.home)).await
        };
        let answer = found.as_ref().map(|_| ()).map_err(ToString::to_string);
        if let Err(e) = &found {
            // Better nothing than too much.
            self.failed("cannot find out what is shared", e);
            self.rules = Err(RulesError::Unreadable(e.to_string()));
        }
        let sharing = found.unwrap_or_else(|_| Sharing {
            closed: true,
            ..Sharing::default()
        });
        let now = self.now();
        let effects = self.machine.handle(Event::Sharing(sharing), now);
        self.close_gate().await;
        let left = self.left_behind(&before);
        self.carry_out(effects).await;
        self.restate_soon();
        let _gone = done.send(answer.map(|()| left));
    }

    /// What others hold of sessions of which less is shared than before.
    fn left_behind(&self, before: &Sharing) -> ShareLeft {
        let mut left = ShareLeft::default();
        let mut devices = BTreeSet::new();
        for (session, record) in self.machine.sessions() {
            let (was, is) = (before.of(session), self.machine.sharing().of(session));
            let own = record
                .nodes()
                .filter(|n| is_own(&self.machine, &n.log.device));
            let shown: Vec<_> = own.filter(|n| !n.log.is_kept()).collect();
            if is < was {
                let some = record.nodes().any(|n| is_own(&self.machine, &n.log.device));
                left.opened += u64::from(some);
            }
            if is <= was || shown.is_empty() {
                continue;
            }
            left.sessions += 1;
            for node in shown {
                let roots = node.roots().flat_map(|root| self.machine.holders(&root));
                devices.extend(roots);
                devices.extend(self.machine.knowers(&node.log, node.seq));
            }
        }
        left.devices = devices.iter().map(|d| self.name_of(d)).collect();
        left
    }

    /// What others may have of what this device says of a session; all of it where it
    /// says nothing.
    pub(super) fn share_here(&self, record: &SessionRecord, session: &SessionId) -> api::Share {
        let own = |n: &VersionNode| is_own(&self.machine, &n.log.device);
        if record.stated_on(&self.shared.me).is_none() && !record.nodes().any(own) {
            return api::Share::Sync;
        }
        told(self.machine.sharing().of(session))
    }

    /// What a session falls under.
    pub(super) fn ruling(&self, session: &SessionId) -> (api::Share, Option<Arc<Rules>>) {
        let share = told(self.machine.sharing().of(session));
        (share, self.rules.as_ref().ok().cloned())
    }

    /// That nothing leaves, if so.
    pub(super) fn told_of_sharing(&self) -> Option<api::Finding> {
        let why = self.rules.as_ref().err()?;
        Some(api::Finding {
            kind: "sharing_closed".to_owned(),
            message: format!("{why}; nothing about any session leaves this device"),
            hint: "put the file `sharing.json` in the home of ccpeer back and start it again, or \
                   run `ccpeer policy share default sync --anew`, which forgets all rules"
                .to_owned(),
            since: crate::view::time(super::wall()),
            device: None,
        })
    }
}
