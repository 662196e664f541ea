//! Relays: which ones this device uses, whether they answer, and one of one's
//! own (`host`). A relay passes on packets between devices that cannot reach each
//! other; what it passes on is sealed between them.
//!
//! None is used unless the user names one. `address` is a relay as text, `tls` by
//! which certificate it is known, `watch` how it does. Nothing here decides who is
//! trusted.

mod address;
pub mod host;
mod tls;
mod watch;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ccpeer_core::limits;
use iroh::{Endpoint, RelayConfig, RelayMap, RelayMode, RelayUrl};
use tokio::sync::Notify;

pub use address::{Relay, RelayAddress, RelayError};
pub use watch::{RelayHealth, RelayStatus};

pub(crate) use address::{read_all, texts};
pub(crate) use watch::watch;

use tls::Pins;

/// Random bytes as a word that can be a token.
#[must_use]
pub fn to_word(bytes: &[u8]) -> String {
    crate::pairing::to_base32(bytes)
}

/// The relays of one network.
pub(crate) struct Relays {
    state: Mutex<State>,
    pins: Arc<Pins>,
    map: RelayMap,
    changed: Notify,
}

#[derive(Default)]
struct State {
    list: Vec<Relay>,
    /// How it does, by what was seen last.
    health: Option<RelayStatus>,
}

impl Relays {
    pub(crate) fn new(list: Vec<Relay>) -> Self {
        let relays = Self {
            state: Mutex::default(),
            pins: Arc::default(),
            map: RelayMap::empty(),
            changed: Notify::new(),
        };
        for relay in list {
            relays.add(relay);
        }
        relays
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the endpoint. An empty map speaks to nobody.
    pub(crate) fn mode(&self) -> RelayMode {
        RelayMode::Custom(self.map.clone())
    }

    pub(crate) fn tls(&self) -> iroh::tls::CaTlsConfig {
        self.pins.config()
    }

    /// What is to be told to a device that is to use the same ones.
    pub(crate) fn list(&self) -> Vec<Relay> {
        self.state().list.clone()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state().list.is_empty()
    }

    /// Where peers may be found.
    pub(crate) fn urls(&self) -> Vec<RelayUrl> {
        self.map.urls()
    }

    /// Takes one more; false if it is there already, or there is no room. Of one
    /// place the later word counts, unless it lacks the token.
    pub(crate) fn add(&self, relay: Relay) -> bool {
        let mut state = self.state();
        if let Some(known) = state.list.iter_mut().find(|r| r.is_same_place(&relay)) {
            if known == &relay || relay.has_less_than(known) {
                return false;
            }
            *known = relay.clone();
        } else if state.list.len() < limits::RELAYS_MAX {
            state.list.push(relay.clone());
        } else {
            return false;
        }
        drop(state);
        self.open(&relay);
        self.changed.notify_one();
        true
    }

    /// Uses some for one attempt, until what is returned is dropped.
    pub(crate) fn lend(&self, relays: &[Relay]) -> Lent<'_> {
        let known = self.list();
        let is_known = |relay: &Relay| {
            let mut known = known.iter().filter(|k| k.is_same_place(relay));
            known.any(|k| k == relay || relay.has_less_than(k))
        };
        let new: Vec<_> = relays.iter().filter(|r| !is_known(r)).cloned().collect();
        new.iter().for_each(|relay| self.open(relay));
        Lent { of: self, new }
    }

    fn open(&self, relay: &Relay) {
        for config in relay.configs() {
            self.map.insert(config.url.clone(), Arc::new(config));
        }
        if let Relay::Own(address) = relay {
            self.pins.add(address);
        }
    }

    /// How the relay does; none while none is used.
    pub(crate) fn status(&self) -> Option<RelayStatus> {
        self.state().health.clone()
    }

    fn set_status(&self, status: Option<RelayStatus>) {
        let mut state = self.state();
        if state.health != status {
            if let Some(status) = &status {
                tracing::info!(relay = %status.url, health = %status.health, "relay");
            }
            state.health = status;
        }
    }

    /// Makes the endpoint look at its relays anew.
    pub(crate) async fn tell(&self, endpoint: &Endpoint) {
        for config in self.configs() {
            endpoint.insert_relay(config.url.clone(), config).await;
        }
    }

    fn configs(&self) -> Vec<Arc<RelayConfig>> {
        self.map.relays()
    }
}

/// Relays that are used for one attempt.
pub(crate) struct Lent<'a> {
    of: &'a Relays,
    new: Vec<Relay>,
}

impl Lent<'_> {
    /// From now on they are used like all others. Returns those that are new.
    pub(crate) fn keep(mut self) -> Vec<Relay> {
        let mut kept = std::mem::take(&mut self.new);
        kept.retain(|relay| self.of.add(relay.clone()));
        kept
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        for config in self.new.iter().flat_map(Relay::configs) {
            self.of.map.remove(&config.url);
        }
        // One of them may be known with less.
        self.of.list().iter().for_each(|relay| self.of.open(relay));
    }
}

impl fmt::Debug for Relays {
    /// Never the tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.urls()).finish()
    }
}
