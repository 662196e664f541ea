//! What we remember of other devices beside trust: names, addresses, when they
//! were last seen. All of it is hint or label; losing it loses nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use ccpeer_core::text;
use ccpeer_core::time::Timestamp;
use ccpeer_core::wire::Hello;
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};

/// Addresses remembered of one device, newest first.
const ADDRESSES_MAX: usize = 8;

/// One device, as remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct PeerNote {
    #[serde(default)]
    name: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    addrs: Vec<SocketAddr>,
    #[serde(default)]
    last_seen_ms: u64,
}

/// All devices that we ever met.
#[derive(Debug, Default)]
pub(crate) struct PeerBook(BTreeMap<DeviceId, PeerNote>);

impl PeerBook {
    /// As stored. An unreadable note is forgotten.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let notes = store.notes(Namespace::Address)?;
        Ok(Self(
            notes
                .into_iter()
                .filter_map(|(key, value)| {
                    let id = DeviceId(key.try_into().ok()?);
                    Some((id, serde_json::from_slice(&value).ok()?))
                })
                .collect(),
        ))
    }

    /// The write that keeps what is known of a device.
    pub(crate) fn note(&self, device: &DeviceId) -> Option<NoteWrite> {
        let value = serde_json::to_vec(self.0.get(device)?).ok()?;
        Some(NoteWrite {
            ns: Namespace::Address,
            key: device.0.to_vec(),
            value: Some(value),
        })
    }

    /// Where each device was reached.
    pub(crate) fn addresses(&self) -> BTreeMap<DeviceId, Vec<SocketAddr>> {
        self.0.iter().map(|(d, n)| (*d, n.addrs.clone())).collect()
    }

    pub(crate) fn get(&self, device: &DeviceId) -> Option<&PeerNote> {
        self.0.get(device)
    }

    /// The name it gave itself when we last spoke.
    pub(crate) fn name(&self, device: &DeviceId) -> Option<String> {
        self.0
            .get(device)
            .map(|n| n.name.clone())
            .filter(|n| !n.is_empty())
    }

    /// When it was last connected.
    pub(crate) fn last_seen(&self, device: &DeviceId) -> Option<Timestamp> {
        self.0
            .get(device)
            .map(|n| Timestamp(n.last_seen_ms))
            .filter(|t| t.0 > 0)
    }

    /// A link came up.
    pub(crate) fn up(
        &mut self,
        device: &DeviceId,
        hello: &Hello,
        addr: Option<SocketAddr>,
        at: Timestamp,
    ) {
        self.describe(device, &hello.name, &hello.os);
        if let Some(note) = self.0.get_mut(device) {
            note.last_seen_ms = at.0;
        }
        self.found(device, addr.as_slice());
    }

    /// It went away.
    pub(crate) fn down(&mut self, device: &DeviceId, at: Timestamp) {
        if let Some(note) = self.0.get_mut(device) {
            note.last_seen_ms = at.0;
        }
    }

    /// What a device says of itself.
    pub(crate) fn describe(&mut self, device: &DeviceId, name: &str, os: &str) {
        let note = self.0.entry(*device).or_default();
        note.name = text::one_line(name, limits::DEVICE_NAME_CHARS_MAX);
        note.os = text::one_line(os, limits::DEVICE_NAME_CHARS_MAX);
    }

    /// Addresses at which it may be reached; tells whether any is new.
    pub(crate) fn found(&mut self, device: &DeviceId, addrs: &[SocketAddr]) -> bool {
        let note = self.0.entry(*device).or_default();
        let before = note.addrs.clone();
        for addr in addrs {
            note.addrs.retain(|a| a != addr);
            note.addrs.insert(0, *addr);
        }
        note.addrs.truncate(ADDRESSES_MAX);
        let set = |v: &[SocketAddr]| v.iter().copied().collect::<std::collections::BTreeSet<_>>();
        set(&before) != set(&note.addrs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k_p14_what_a_device_calls_itself_is_one_short_visible_line() {
        let mut book = PeerBook::default();
        let device = DeviceId([1; 32]);
        let long = "x".repeat(10_000);
        let names = [
            (long.as_str(), &long[..limits::DEVICE_NAME_CHARS_MAX]),
            ("", ""),
            ("\u{202e}desk\u{2066}", "desk"),
            ("\u{1b}]0;x\u{7}desk", "desk"),
            ("\u{e0001}\u{e0064}desk\u{e007f}", "desk"),
            ("de\u{200b}sk\u{feff}", "desk"),
            ("two\nlines\tand more", "two lines and more"),
            ("<img onerror=x>", "<img onerror=x>"),
            ("\u{1f980}", "\u{1f980}"),
            ("..", ".."),
            ("CON", "CON"),
        ];
        for (says, shown) in names {
            book.describe(&device, says, says);
            assert_eq!(book.name(&device).unwrap_or_default(), shown, "{says:?}");
            assert_eq!(book.get(&device).map(|n| n.os.as_str()), Some(shown));
        }
    }
}
