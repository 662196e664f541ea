//! The interpreter of the machine's effects. It carries out and decides nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::entry::Version;
use ccpeer_core::id::{ChunkId, DeviceId, Epoch, LogId, Seq};
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use ccpeer_core::sharing::{Share, Sharing};
use ccpeer_core::sync::effect::{Effect, Notice};
use ccpeer_core::sync::event::{Event, FetchFault};
use ccpeer_core::sync::machine::Machine;
use ccpeer_core::wire::Message;
use ccpeer_net::Net;
use ccpeer_store::{NoteWrite, Store, StoreError};
use tokio::task::JoinHandle;

use super::arrived::{Arrived, fetch_failed, keep};
use super::{Driver, Input, near};
use crate::findings::Kind;
use crate::parcels;
use crate::policy::Introduce;
use crate::pool::blocking;

/// What becomes durable together with an entry: the content that it speaks of, and
/// what is remembered of it here.
#[derive(Default)]
pub(super) struct With {
    pub(super) content: Vec<(ChunkId, Vec<u8>)>,
    pub(super) notes: Vec<NoteWrite>,
    /// Goes ahead of what is said of it, once it is durable.
    pub(super) ahead: Option<Ahead>,
}

/// Content that peers are given before they ask, being packed while it becomes
/// durable.
pub(super) struct Ahead {
    to: Vec<DeviceId>,
    packing: JoinHandle<Option<Message>>,
}

impl Ahead {
    async fn send(self, net: &Net) {
        // Without it they ask.
        if let Ok(Some(parcel)) = self.packing.await {
            for to in self.to {
                let _queued = net.send(to, parcel.clone());
            }
        }
    }
}

impl Driver {
    /// Gives an event to the machine and carries out what it asks for.
    ///
    /// # Errors
    /// When something could not be made durable. The machine has then been
    /// rebuilt from what is, as after a crash, and nothing was said to anyone.
    pub(super) async fn apply(&mut self, event: Event) -> Result<(), StoreError> {
        let now = self.now();
        let effects = self.machine.handle(event, now);
        self.run_effects(effects, With::default()).await
    }

    /// Gives several events to the machine. What it asks for is carried out in one
    /// go, and content that came becomes durable with what it completes.
    pub(super) async fn apply_together(
        &mut self,
        events: Vec<Event>,
        content: Vec<(ChunkId, Vec<u8>)>,
    ) {
        let now = self.now();
        let mut effects = Vec::new();
        for event in events {
            effects.extend(self.machine.handle(event, now));
        }
        let with = With {
            content,
            ..With::default()
        };
        self.run_kept(effects, with).await;
    }

    /// Carries out what the machine asks for, knowing that content has come: it takes
    /// it for kept, so that it becomes durable first, or with the first that does.
    pub(super) async fn run_kept(&mut self, mut effects: Vec<Effect>, mut with: With) {
        if !matches!(effects.first(), Some(Effect::Persist(_))) && !with.content.is_empty() {
            let store = Arc::clone(&self.shared.store);
            let content = std::mem::take(&mut with.content);
            if let Err(e) = blocking(move || store.put_chunks(&content)).await {
                // The machine takes them for kept.
                self.failed("cannot keep chunks", &e);
                effects = self.rebuild().await;
            }
        }
        let _logged = self.run_effects(effects, with).await;
    }

    pub(super) async fn carry_out(&mut self, effects: Vec<Effect>) {
        let _logged = self.run_effects(effects, With::default()).await;
    }

    /// `with` becomes durable together with what these make so first.
    pub(super) async fn run_effects(
        &mut self,
        effects: Vec<Effect>,
        mut with: With,
    ) -> Result<(), StoreError> {
        let mut queue: VecDeque<Effect> = effects.into();
        let mut outcome = Ok(());
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Persist(mut batch) => {
                    batch.complete.extend(also_complete(&mut queue));
                    let store = Arc::clone(&self.shared.store);
                    let With {
                        content,
                        notes,
                        ahead,
                    } = std::mem::take(&mut with);
                    let result =
                        blocking(move || store.commit_with(&batch, &content, &notes)).await;
                    if let (Ok(()), Some(ahead)) = (&result, ahead) {
                        ahead.send(&self.shared.net).await;
                    }
                    if let Err(e) = result {
                        self.failed("cannot write to the store", &e);
                        let first = outcome.is_ok();
                        outcome = Err(e);
                        queue.clear();
                        if first {
                            queue.extend(self.rebuild().await);
                        }
                    }
                }
                Effect::Send(to, message) => {
                    // A link whose queue is full is closed; it catches up later.
                    let _queued = self.shared.net.send(to, message);
                }
                Effect::ServeRange {
                    to,
                    log,
                    after,
                    upto,
                    withhold,
                } => self.serve(to, log, (after, upto), withhold),
                Effect::Check(want) => {
                    let mut wants = vec![want];
                    while let Some(Effect::Check(want)) = queue.front() {
                        wants.push(*want);
                        queue.pop_front();
                    }
                    self.check(wants);
                }
                Effect::Fetch { from, mut wants } => {
                    join_fetches(from, &mut wants, &mut queue);
                    self.fetch(from, wants);
                }
                Effect::Disconnect(device, fault) => {
                    tracing::warn!(peer = %device.short(), ?fault, "link closed by us");
                    self.shared.net.disconnect(device, fault);
                }
                Effect::WakeAt(at) => self.wake = Some(at),
                Effect::Notice(notice) => {
                    let mut restate = self.machine.may_restate(&notice);
                    if let Some(epoch) = self.notice(notice) {
                        let now = self.now();
                        queue.extend(self.machine.handle(Event::NewEpoch(epoch), now));
                        restate = true;
                    }
                    if restate {
                        // Not from here: it would carry out effects within effects.
                        let tx = self.tx.clone();
                        tokio::spawn(async move { tx.send(Input::Restate).await });
                    }
                }
            }
        }
        outcome
    }

    /// The only way back after a failed write: what the store says is what is.
    async fn rebuild(&mut self) -> Vec<Effect> {
        let store = Arc::clone(&self.shared.store);
        match blocking(move || store.recovered()).await {
            Ok(stored) => {
                let sharing = Sharing::clone(self.machine.sharing());
                self.machine = Machine::recover(self.shared.me, stored, self.seed);
                self.machine.set_sharing(sharing);
                let now = self.now();
                // What it asks for by itself comes with what is said again.
                let auto = self.introduce.iter();
                let auto = auto.filter(|(_, how)| **how == Introduce::Auto);
                let auto = auto.map(|(device, _)| *device).collect();
                // Before anything else: what it would look for now is looked for then.
                self.machine.pause(now);
                let mut effects = self.machine.handle(Event::Introducers(auto), now);
                let frugal = self.documents_only.clone();
                effects.extend(self.machine.handle(Event::DocumentsOnly(frugal), now));
                effects.retain(|effect| !matches!(effect, Effect::Notice(_)));
                // What was to be said again is said when there may be room.
                let tx = self.tx.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(limits::FETCH_SLOW_MS.1)).await;
                    tx.send(Input::Restate).await
                });
                effects.extend(self.machine.start(now));
                for device in self.links.clone() {
                    effects.extend(self.machine.handle(Event::PeerUp(device), now));
                }
                effects
            }
            Err(e) => {
                self.failed("cannot read the store", &e);
                Vec::new()
            }
        }
    }

    /// Tells whoever listens; answers with a fresh epoch where one is needed.
    fn notice(&mut self, notice: Notice) -> Option<Epoch> {
        tracing::debug!(?notice, "notice");
        let mut epoch = None;
        match notice {
            Notice::Trust => self.trust_changed(),
            Notice::OwnLogBehind => {
                self.failed(
                    "this device's store is older than what a peer holds of it",
                    &"restored from a backup, or its key is used twice; a new log was begun",
                );
                self.found(Kind::OwnLog, None);
                epoch = crate::random::bytes().map(Epoch).ok();
            }
            Notice::Equivocation(log) => {
                let name = self.name_of(&log.device).name;
                self.failed("a device said two things under one number", &name);
                if log.device != self.shared.me {
                    self.found(Kind::Twin, Some(log.device));
                }
            }
            Notice::Rolled(device) => {
                if device == self.machine.me() {
                    self.failed(
                        "this device's key was replaced",
                        &"it goes on elsewhere under another key; this copy is not heard any more",
                    );
                }
            }
            Notice::OverQuota(device) => {
                let name = self.name_of(&device).name;
                self.failed("the quota of a device is used up", &name);
            }
            Notice::LogFull(device) => {
                let name = self.name_of(&device).name;
                self.failed("the log of a device has grown beyond its bound", &name);
            }
            Notice::Replicated(_, version) => self.note_held(&version),
            Notice::Complete(_, version) => self.came_whole(&version),
            Notice::Session(_) | Notice::Device(_) => {}
        }
        // Nobody listening is fine.
        let _listeners = self.shared.notices.send(notice);
        epoch
    }

    /// Begins to pack what peers will ask for as soon as they hear of a version:
    /// those that hold the one before it whole. Nothing if there are none, or if it
    /// is too much to be sent unasked.
    pub(super) fn send_ahead(
        &self,
        version: &Version,
        content: &[(ChunkId, Vec<u8>)],
    ) -> Option<Ahead> {
        if self.machine.sharing().of(&version.session) != Share::Whole {
            return None;
        }
        let record = self.machine.session(&version.session)?;
        let before = record.node(version.parents.first()?)?;
        let to = self
            .machine
            .holders(&Want::manifest(before.version.manifest?.id));
        let wants: Vec<Want> = version.roots().collect();
        let at_hand = |want: &Want| content.iter().any(|(id, _)| *id == want.id);
        if to.is_empty() || !wants.iter().any(at_hand) {
            return None;
        }
        let before = (before.version.manifest, before.version.snapshot);
        let (store, me) = (Arc::clone(&self.shared.store), self.shared.me);
        let content = content.to_vec();
        let pack = move || {
            let ask = near::ask(&store, wants, Some(before));
            parcels::pack(me, store, content, &ask)
        };
        let packing = tokio::spawn(blocking(pack));
        Some(Ahead { to, packing })
    }

    fn serve(
        &self,
        to: DeviceId,
        log: LogId,
        (after, upto): (Seq, Seq),
        withhold: Option<Arc<Sharing>>,
    ) {
        let (store, net) = (Arc::clone(&self.shared.store), self.shared.net.clone());
        let gate = Arc::clone(&self.shared.gate);
        let own = self.machine.current(&log.device) == self.shared.me;
        tokio::spawn(async move {
            let mut after = after;
            while after < upto {
                let reader = Arc::clone(&store);
                let range =
                    blocking(move || reader.range(log, after, upto, limits::MESSAGE_ENTRY_BYTES));
                let mut entries = match range.await {
                    Ok(entries) => entries,
                    Err(e) => {
                        tracing::error!(error = %e, "cannot read a range of entries");
                        return;
                    }
                };
                entries.truncate(limits::MESSAGE_ENTRIES_MAX);
                if entries.is_empty() {
                    return;
                }
                after = Seq(after.0 + entries.len() as u64);
                if own {
                    // It may take long, and the user may think better of it.
                    let whole = entries.len();
                    entries = gate.shown(entries, withhold.as_deref());
                    if entries.is_empty() {
                        return;
                    }
                    if entries.len() < whole {
                        after = upto;
                    }
                }
                if !net.send_paced(to, Message::Entries(entries)).await {
                    return;
                }
            }
        });
    }

    fn check(&self, wants: Vec<Want>) {
        let (store, tx) = (Arc::clone(&self.shared.store), self.tx.clone());
        tokio::spawn(async move {
            let checked = blocking(move || check(&store, wants)).await;
            let _ending = tx.send(Input::Together(checked, Vec::new())).await;
        });
    }

    fn fetch(&self, from: DeviceId, wants: Vec<Want>) {
        let (store, net) = (Arc::clone(&self.shared.store), self.shared.net.clone());
        let tx = self.tx.clone();
        let before = wants
            .iter()
            .find_map(|want| self.machine.version_before(want));
        let before = before.map(|v| (v.version.manifest, v.version.snapshot));
        tokio::spawn(async move {
            let reader = Arc::clone(&store);
            let asked = wants.clone();
            let ask = blocking(move || near::ask(&reader, asked, before)).await;
            let together = ask.since.is_some();
            let mut answers = net.fetch(from, ask);
            let mut asked: Vec<Want> = wants;
            let mut arrived = Arrived::default();
            while let Some((want, answer)) = answers.recv().await {
                let known = asked.iter().position(|w| *w == want);
                match (known, answer) {
                    (Some(at), answer) => {
                        asked.remove(at);
                        match answer {
                            Ok(content) => arrived.asked(want, content),
                            Err(why) => fetch_failed(&tx, from, want, why).await,
                        }
                    }
                    (None, Ok(content)) => arrived.along(want.id, content),
                    (None, Err(_)) => {}
                }
                // What came along is told together with what it belongs to.
                if arrived.bytes() >= limits::FETCH_GATHERED_BYTES_MAX && !together {
                    let full = std::mem::take(&mut arrived);
                    keep(Arc::clone(&store), &tx, from, full).await;
                }
            }
            for want in asked {
                fetch_failed(&tx, from, want, FetchFault::Link).await;
            }
            keep(store, &tx, from, arrived).await;
        });
    }
}

/// What of these is here. Blocking.
pub(super) fn check(store: &Store, wants: Vec<Want>) -> Vec<Event> {
    let checked = |want| Event::Checked(want, missing(store, want));
    wants.into_iter().map(checked).collect()
}

/// What a want lacks, where that can be said; else all of it.
fn missing(store: &Store, want: Want) -> Vec<Want> {
    store.missing(want).unwrap_or_else(|e| {
        match e {
            // A newer ccpeer put it there; peers are asked once.
            StoreError::Wrong { .. } => tracing::info!(error = %e, "what is here cannot be read"),
            e => tracing::error!(error = %e, "cannot look for chunks"),
        }
        vec![want]
    })
}

/// What else is found complete in one go needs no flush of its own.
fn also_complete(queue: &mut VecDeque<Effect>) -> Vec<Want> {
    let mut complete = Vec::new();
    queue.retain_mut(|effect| match effect {
        Effect::Persist(batch) if batch.entries.is_empty() && batch.epoch.is_none() => {
            complete.append(&mut batch.complete);
            false
        }
        _ => true,
    });
    complete
}

/// What else is asked of the same peer in one go is asked in one request.
fn join_fetches(peer: DeviceId, wants: &mut Vec<Want>, queue: &mut VecDeque<Effect>) {
    queue.retain(|effect| match effect {
        Effect::Fetch { from, wants: more }
            if *from == peer && wants.len() + more.len() <= limits::FETCH_BATCH_MAX =>
        {
            wants.extend(more);
            false
        }
        _ => true,
    });
}
