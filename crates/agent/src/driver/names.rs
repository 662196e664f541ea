//! How devices are called here. Must not know where names are shown.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ccpeer_core::entry::Version;
use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::{limits, text};
use ccpeer_formats::snapshot::Snapshot;

use super::Driver;
use crate::api::DeviceName;
use crate::view;

/// Documents whose machine is remembered; of more, it is read again.
const WRITERS_MAX: usize = 4096;

/// Who wrote the documents that came without a session, by document.
#[derive(Debug, Default)]
pub(super) struct Writers(Mutex<BTreeMap<ChunkId, Option<String>>>);

impl Driver {
    /// The machine that a document comes from, where nothing else is known of its
    /// session: it may be one without ccpeer, and is whatever the document says.
    pub(super) fn writer_of(&self, version: &Version) -> Option<String> {
        if version.manifest.is_some() {
            return None;
        }
        let document = version.snapshot?.id;
        let mut known = self
            .writers
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = known.get(&document) {
            return writer.clone();
        }
        let content = self.shared.store.get_chunk(&document).ok().flatten()?;
        let snapshot = Snapshot::from_bytes(&content).ok();
        let name = snapshot.map(|s| text::one_line(&s.device, limits::DEVICE_NAME_CHARS_MAX));
        let writer = name.filter(|n| !n.is_empty());
        if known.len() >= WRITERS_MAX {
            known.clear();
        }
        known.insert(document, writer.clone());
        writer
    }

    /// The name under which a device is shown here: the one it gave itself, and
    /// the beginning of its id where another device is called so, too.
    pub(super) fn name_of(&self, device: &DeviceId) -> DeviceName {
        // Who replaced his key is still the same.
        let device = &self.machine.current(device);
        let own = self.bare_name(device);
        let members = self.machine.members();
        let revoked =
            self.machine.revoked().any(|d| d == device) || members.against(device).is_some();
        let lower = own.to_lowercase();
        let alike: Vec<String> = self
            .machine
            .trusted()
            .chain(std::iter::once(&self.shared.me))
            .filter(|d| *d != device && self.bare_name(d).to_lowercase() == lower)
            .map(ToString::to_string)
            .collect();
        let id = device.to_string();
        // A device that is out for good takes nobody's name away.
        let name = if revoked || !alike.is_empty() || view::is_marked(&own) {
            view::marked(&own, &id, &alike)
        } else {
            own
        };
        DeviceName { id, name }
    }

    /// The name that a device gave itself; not always one device's alone.
    pub(super) fn bare_name(&self, device: &DeviceId) -> String {
        let own = self.machine.device_info(device).map(|i| i.name.clone());
        let offered = || self.introduced_as(device).map(|i| i.name.clone());
        let name = own.or_else(|| self.peers.name(device)).or_else(offered);
        let name = name.unwrap_or_default();
        let name = text::one_line(&name, limits::DEVICE_NAME_CHARS_MAX);
        if name.is_empty() {
            device.short()
        } else {
            name
        }
    }
}
