//! How devices are called here. Must not know where names are shown.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ccpeer_core::entry::Version;
use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::{limits, text};
use ccpeer_formats::snapshot::Snapshot;

use super::Driver;
use super::questions::PREFIX_CHARS_MIN;
use crate::api::{ApiError, DeviceName, ErrorCode};
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

    /// The device that a word means: as it is shown, as it calls itself, or the
    /// beginning of its id.
    pub(super) fn find_device(&self, wanted: &str) -> Result<DeviceName, ApiError> {
        let known: Vec<DeviceName> = self.nameable().iter().map(|d| self.name_of(d)).collect();
        let lower = wanted.trim().to_lowercase();
        let is_called = |d: &DeviceName| {
            let id: Option<DeviceId> = d.id.parse().ok();
            id.is_some_and(|id| self.bare_name(&id).to_lowercase() == lower)
        };
        let named = |d: &DeviceName| d.name.to_lowercase() == lower || d.id == lower;
        let begins = |d: &DeviceName| lower.len() >= PREFIX_CHARS_MIN && d.id.starts_with(&lower);
        let ways: [&dyn Fn(&DeviceName) -> bool; 3] = [&named, &is_called, &begins];
        let found: Vec<&DeviceName> = ways
            .iter()
            .map(|way| known.iter().filter(|d| way(d)).collect::<Vec<_>>())
            .find(|found| !found.is_empty())
            .unwrap_or_default();
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(ApiError::new(ErrorCode::NotFound, "no such device")
                .hint("run `ccpeer devices` and give a name or the beginning of an id")),
            many => Err(
                ApiError::new(ErrorCode::Ambiguous, "more than one device fits")
                    .hint("give the beginning of its id")
                    .choices(
                        many.iter()
                            .map(|d| format!("{}  {}", d.id, d.name))
                            .collect(),
                    ),
            ),
        }
    }
}
