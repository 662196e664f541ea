//! The keys that this device used before, and what it said with them: for peers
//! that were away when a key was replaced. Only keys that our own log says were
//! replaced by the one in use; that of an original from which this home was
//! copied is none of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use ccpeer_core::entry::SignedEntry;
use ccpeer_core::id::{DeviceId, LogId, Seq};
use ccpeer_core::limits;
use ccpeer_core::sync::machine::Machine;
use ccpeer_net::{LastWords, Net};
use ccpeer_store::Store;
use ed25519_dalek::SigningKey;

use crate::home::Home;
use crate::keys::DeviceKey;
use crate::sharing::gate::Gate;

/// Those of the keys that are still here.
pub(crate) fn keys(home: &Home, machine: &Machine) -> Vec<SigningKey> {
    let key_of = |device: &DeviceId| {
        let key = DeviceKey::load(&home.old_key(&device.short())).ok()??;
        (key.device == *device).then_some(key.signing)
    };
    let former = machine.trust().former(&machine.me());
    former.iter().filter_map(key_of).collect()
}

/// Gives the network what it needs to tell whoever was away.
pub(crate) fn tell(
    net: &Net,
    home: &Home,
    (store, gate): (&Arc<Store>, &Arc<Gate>),
    machine: &Machine,
) {
    let former = machine.trust().former(&machine.me());
    let secrets = keys(home, machine).into_iter().map(|key| key.to_bytes());
    let secrets: Vec<[u8; 32]> = secrets.collect();
    if secrets.is_empty() {
        return;
    }
    let frontier = machine.frontier().0.into_iter();
    let logs = frontier
        .filter(|(log, _)| former.contains(&log.device) && !log.is_kept())
        .map(|(log, seq)| (log, seq.min(machine.trust().counts_upto(&log))))
        .collect();
    let words = Words {
        store: Arc::clone(store),
        gate: Arc::clone(gate),
        logs,
    };
    net.set_former(secrets, Arc::new(words));
}

/// The logs of former keys, up to where they were sealed. They do not grow.
struct Words {
    store: Arc<Store>,
    gate: Arc<Gate>,
    logs: BTreeMap<LogId, Seq>,
}

impl LastWords for Words {
    fn after(&self, device: &DeviceId, held: &BTreeMap<LogId, Seq>) -> Vec<SignedEntry> {
        for (log, upto) in self.logs.iter().filter(|(log, _)| log.device == *device) {
            let after = held.get(log).copied().unwrap_or_default();
            if after >= *upto {
                continue;
            }
            let range = self
                .store
                .range(*log, after, *upto, limits::MESSAGE_ENTRY_BYTES);
            let mut entries = range.unwrap_or_else(|e| {
                tracing::warn!(error = %e, "cannot read what a former key said");
                Vec::new()
            });
            entries.truncate(limits::MESSAGE_ENTRIES_MAX);
            entries = self.gate.shown(entries, None);
            if !entries.is_empty() {
                return entries;
            }
        }
        Vec::new()
    }
}
