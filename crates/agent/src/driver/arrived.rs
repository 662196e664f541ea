//! Content that came: compared with what was asked for, looked through for what it
//! refers to, and told to the machine with what is still missing. What came ahead
//! of an entry is told together with it. Must not know who is asked for what.

use std::sync::Arc;

use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use ccpeer_core::sync::effect::Effect;
use ccpeer_core::sync::event::{Event, FetchFault, Received};
use ccpeer_store::{Store, StoreError};
use tokio::sync::mpsc;

use super::effects::{With, check};
use super::{Driver, Input, near};
use crate::pool::blocking;

/// What has come and is not kept yet.
#[derive(Default)]
pub(super) struct Arrived {
    asked: Vec<(Want, Vec<u8>)>,
    along: Vec<(ChunkId, Vec<u8>)>,
    bytes: usize,
}

impl Arrived {
    pub(super) fn asked(&mut self, want: Want, content: Vec<u8>) {
        self.bytes += content.len();
        self.asked.push((want, content));
    }

    pub(super) fn along(&mut self, id: ChunkId, content: Vec<u8>) {
        self.bytes += content.len();
        self.along.push((id, content));
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Looks through it. Blocking.
    fn examine(self, store: &Store, from: DeviceId) -> Examined {
        let mut out = Examined::default();
        let mut good: Vec<(Want, Vec<u8>)> = Vec::with_capacity(self.asked.len());
        for (want, content) in self.asked {
            // A manifest or list that is not one must not stay: it would be looked
            // at again for ever.
            if want.children(&content).is_ok() {
                good.push((want, content));
            } else {
                out.events.push(Event::FetchFailed {
                    from,
                    want,
                    why: FetchFault::Malformed,
                });
            }
        }
        let along = near::belonging(&good, self.along);
        // Somebody pays for what came along.
        let mut extra: u64 = along.iter().map(|(_, c)| c.len() as u64).sum();
        let wants: Vec<(Want, u64)> = good.iter().map(|(w, c)| (*w, c.len() as u64)).collect();
        out.content = good.into_iter().map(|(w, c)| (w.id, c)).collect();
        out.content.extend(along);
        let found = wants.iter().map(|(want, bytes)| {
            Ok(Event::Fetched {
                want: *want,
                missing: store.missing_beside(*want, &out.content)?,
                bytes: bytes.saturating_add(std::mem::take(&mut extra)),
            })
        });
        match found.collect::<Result<Vec<_>, StoreError>>() {
            Ok(found) => out.events.extend(found),
            // Nothing of it is kept that nobody would pay for.
            Err(e) => {
                out.content.clear();
                let failed = wants.iter().map(|(want, _)| not_kept(&e, from, *want));
                out.events.extend(failed);
            }
        }
        out
    }
}

/// What arrived, looked through.
#[derive(Default)]
struct Examined {
    /// What the machine is to be told.
    events: Vec<Event>,
    /// What is to become durable before anybody is told.
    content: Vec<(ChunkId, Vec<u8>)>,
}

impl Driver {
    /// Hears what a peer says. If that makes us ask for what the peer has sent ahead,
    /// it is here already: both become durable in one go.
    pub(super) async fn hear(&mut self, device: DeviceId, received: Received) {
        let now = self.now();
        let mut effects = self.machine.handle(Event::Received(device, received), now);
        let ahead = self.shared.net.ahead_of(device);
        let mut looked_for = Vec::new();
        effects.retain(|effect| match effect {
            Effect::Check(want) if ahead.contains(&want.id) => {
                looked_for.push(*want);
                false
            }
            _ => true,
        });
        if !looked_for.is_empty() {
            let store = Arc::clone(&self.shared.store);
            for event in blocking(move || check(&store, looked_for)).await {
                let now = self.now();
                effects.extend(self.machine.handle(event, now));
            }
        }
        let mut arrived = Arrived::default();
        for effect in &mut effects {
            if let Effect::Fetch { from, wants } = effect
                && *from == device
            {
                let asked = wants.clone();
                for (want, content) in self.shared.net.sent_ahead(device, wants) {
                    match content {
                        Ok(content) if asked.contains(&want) => arrived.asked(want, content),
                        Ok(content) => arrived.along(want.id, content),
                        Err(_) => {}
                    }
                }
            }
        }
        let mut with = With::default();
        if !arrived.asked.is_empty() {
            effects.retain(|e| !matches!(e, Effect::Fetch { wants, .. } if wants.is_empty()));
            let store = Arc::clone(&self.shared.store);
            let examined = blocking(move || arrived.examine(&store, device)).await;
            with.content = examined.content;
            for event in examined.events {
                let now = self.now();
                effects.extend(self.machine.handle(event, now));
            }
        }
        self.run_kept(effects, with).await;
    }
}

/// Tells the machine what arrived, and what each of it refers to that is still
/// missing. The driver makes it durable with what it completes, if it is not much.
pub(super) async fn keep(
    store: Arc<Store>,
    tx: &mpsc::Sender<Input>,
    from: DeviceId,
    arrived: Arrived,
) {
    let together = arrived.bytes <= limits::STORE_TOGETHER_BYTES_MAX;
    let examined = blocking(move || {
        let mut examined = arrived.examine(&store, from);
        if !together && let Err(e) = store.put_chunks(&examined.content) {
            for event in &mut examined.events {
                if let Event::Fetched { want, .. } = event {
                    *event = not_kept(&e, from, *want);
                }
            }
        }
        examined
    });
    let Examined { events, content } = examined.await;
    let content = if together { content } else { Vec::new() };
    let _ending = tx.send(Input::Together(events, content)).await;
}

fn not_kept(error: &StoreError, from: DeviceId, want: Want) -> Event {
    tracing::error!(%error, "cannot keep chunks");
    Event::FetchFailed {
        from,
        want,
        why: FetchFault::Store,
    }
}

pub(super) async fn fetch_failed(
    tx: &mpsc::Sender<Input>,
    from: DeviceId,
    want: Want,
    why: FetchFault,
) {
    let event = Event::FetchFailed { from, want, why };
    let _ending = tx.send(Input::Machine(Box::new(event))).await;
}
