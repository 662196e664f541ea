//! The interpreter of the machine's effects. It carries out and decides nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::id::{ChunkId, DeviceId, Epoch, LogId, Seq};
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use ccpeer_core::sync::effect::{Effect, Notice};
use ccpeer_core::sync::event::{Event, FetchFault};
use ccpeer_core::sync::machine::Machine;
use ccpeer_core::wire::Message;
use ccpeer_store::{Store, StoreError};
use tokio::sync::mpsc;

use super::{Driver, Input};
use crate::findings::Kind;
use crate::policy::Introduce;
use crate::pool::blocking;

impl Driver {
    /// Gives an event to the machine and carries out what it asks for.
    ///
    /// # Errors
    /// When something could not be made durable. The machine has then been
    /// rebuilt from what is, as after a crash, and nothing was said to anyone.
    pub(super) async fn apply(&mut self, event: Event) -> Result<(), StoreError> {
        let now = self.now();
        let effects = self.machine.handle(event, now);
        self.run_effects(effects).await
    }

    pub(super) async fn carry_out(&mut self, effects: Vec<Effect>) {
        let _logged = self.run_effects(effects).await;
    }

    async fn run_effects(&mut self, effects: Vec<Effect>) -> Result<(), StoreError> {
        let mut queue: VecDeque<Effect> = effects.into();
        let mut outcome = Ok(());
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Persist(batch) => {
                    let store = Arc::clone(&self.shared.store);
                    let result = blocking(move || store.commit(&batch)).await;
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
                } => self.serve(to, log, after, upto),
                Effect::Check(want) => self.check(want),
                Effect::Fetch { from, wants } => self.fetch(from, wants),
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
                self.machine = Machine::recover(self.shared.me, stored, self.seed);
                let now = self.now();
                // What it asks for by itself comes with what is said again.
                let auto = self.introduce.iter();
                let auto = auto.filter(|(_, how)| **how == Introduce::Auto);
                let auto = auto.map(|(device, _)| *device).collect();
                let _told_later = self.machine.handle(Event::Introducers(auto), now);
                self.machine.pause(now);
                // What was to be said again is said when there may be room.
                let tx = self.tx.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(limits::FETCH_SLOW_MS.1)).await;
                    tx.send(Input::Restate).await
                });
                let mut effects = self.machine.start(now);
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
            Notice::Session(_) | Notice::Complete(..) | Notice::Device(_) => {}
        }
        // Nobody listening is fine.
        let _listeners = self.shared.notices.send(notice);
        epoch
    }

    fn serve(&self, to: DeviceId, log: LogId, after: Seq, upto: Seq) {
        let (store, net) = (Arc::clone(&self.shared.store), self.shared.net.clone());
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
                if !net.send_paced(to, Message::Entries(entries)).await {
                    return;
                }
            }
        });
    }

    fn check(&self, want: Want) {
        let (store, tx) = (Arc::clone(&self.shared.store), self.tx.clone());
        tokio::spawn(async move {
            let missing = blocking(move || store.missing(want))
                .await
                .unwrap_or_else(|e| {
                    match e {
                        // A newer ccpeer put it there; peers are asked once.
                        StoreError::Wrong { .. } => {
                            tracing::info!(error = %e, "what is here cannot be read");
                        }
                        e => tracing::error!(error = %e, "cannot look for chunks"),
                    }
                    vec![want]
                });
            let _ending = tx
                .send(Input::Machine(Box::new(Event::Checked(want, missing))))
                .await;
        });
    }

    fn fetch(&self, from: DeviceId, wants: Vec<Want>) {
        let (store, net) = (Arc::clone(&self.shared.store), self.shared.net.clone());
        let tx = self.tx.clone();
        tokio::spawn(async move {
            let mut answers = net.fetch(from, wants.clone());
            let mut asked: Vec<Want> = wants;
            let mut arrived: Vec<(Want, Vec<u8>)> = Vec::new();
            while let Some((want, answer)) = answers.recv().await {
                asked.retain(|w| *w != want);
                match answer {
                    Ok(content) => arrived.push((want, content)),
                    Err(why) => fetch_failed(&tx, from, want, why).await,
                }
            }
            for want in asked {
                fetch_failed(&tx, from, want, FetchFault::Link).await;
            }
            keep(store, tx, from, arrived).await;
        });
    }
}

/// Makes what arrived durable in one go, then tells the machine what each of
/// it refers to that is still missing.
async fn keep(
    store: Arc<Store>,
    tx: mpsc::Sender<Input>,
    from: DeviceId,
    arrived: Vec<(Want, Vec<u8>)>,
) {
    let mut good: Vec<(Want, Vec<u8>)> = Vec::with_capacity(arrived.len());
    for (want, content) in arrived {
        // A manifest or list that is not one must not stay: it would be looked
        // at again for ever.
        if want.children(&content).is_ok() {
            good.push((want, content));
        } else {
            fetch_failed(&tx, from, want, FetchFault::Malformed).await;
        }
    }
    let wants: Vec<(Want, u64)> = good.iter().map(|(w, c)| (*w, c.len() as u64)).collect();
    let looked_for = wants.clone();
    let result = blocking(move || {
        let chunks: Vec<(ChunkId, Vec<u8>)> = good.into_iter().map(|(w, c)| (w.id, c)).collect();
        store.put_chunks(&chunks)?;
        wants
            .iter()
            .map(|(want, bytes)| {
                Ok(Event::Fetched {
                    want: *want,
                    missing: store.missing(*want)?,
                    bytes: *bytes,
                })
            })
            .collect::<Result<Vec<_>, StoreError>>()
    });
    match result.await {
        Ok(found) => {
            for event in found {
                let _ending = tx.send(Input::Machine(Box::new(event))).await;
            }
        }
        Err(e) => {
            tracing::error!(error = %e, "cannot keep chunks");
            for (want, _) in looked_for {
                fetch_failed(&tx, from, want, FetchFault::Store).await;
            }
        }
    }
}

async fn fetch_failed(tx: &mpsc::Sender<Input>, from: DeviceId, want: Want, why: FetchFault) {
    let event = Event::FetchFailed { from, want, why };
    let _ending = tx.send(Input::Machine(Box::new(event))).await;
}
