//! What discovery remembers, within its bounds: anybody in the network can say
//! anything, as often as they like. Pure: the time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;

/// Announcements of one device that are remembered: it draws a new name at every
/// start, and the old one lives on in caches for two minutes.
const NAMES_MAX: usize = 4;
const FRESH_WITHIN: Duration = Duration::from_secs(10);

/// One announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) device: DeviceId,
    pub(crate) name: String,
    pub(crate) addrs: Vec<SocketAddr>,
    pub(crate) inviting: bool,
}

/// All that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    devices: BTreeMap<DeviceId, Sighting>,
    /// When unknown devices were taken in, and from which address; the latest
    /// last.
    fresh: VecDeque<(Instant, IpAddr)>,
    clock: u64,
}

#[derive(Debug)]
struct Sighting {
    /// The latest first.
    records: Vec<Record>,
    used: u64,
    heard: Instant,
}

impl Sightings {
    /// Takes an announcement in; false if it was dropped because too many unknown
    /// devices appear. Trusted ones are always taken.
    pub(crate) fn sight(
        &mut self,
        record: Record,
        from: IpAddr,
        trusted: bool,
        now: Instant,
    ) -> bool {
        self.clock += 1;
        if !self.devices.contains_key(&record.device) {
            if !trusted && !self.has_room_for_unknown(from, now) {
                return false;
            }
            if self.devices.len() >= limits::SIGHTINGS_MAX {
                let oldest = self
                    .devices
                    .iter()
                    .min_by_key(|(_, s)| s.used)
                    .map(|(d, _)| *d);
                oldest.map(|device| self.devices.remove(&device));
            }
        }
        let sighting = self
            .devices
            .entry(record.device)
            .or_insert_with(|| Sighting {
                records: Vec::new(),
                used: 0,
                heard: now,
            });
        sighting.used = self.clock;
        sighting.heard = now;
        sighting.records.retain(|r| r.name != record.name);
        sighting.records.insert(0, record);
        sighting.records.truncate(NAMES_MAX);
        true
    }

    /// So many from one address, and so many in all: an address can be forged, too.
    fn has_room_for_unknown(&mut self, from: IpAddr, now: Instant) -> bool {
        while self
            .fresh
            .front()
            .is_some_and(|(t, _)| now.duration_since(*t) >= FRESH_WITHIN)
        {
            self.fresh.pop_front();
        }
        let (of_one, of_all) = limits::SIGHTINGS_NEW_PER_10S;
        let same = self.fresh.iter().filter(|(_, f)| *f == from).count();
        if self.fresh.len() >= of_all || same >= of_one {
            return false;
        }
        self.fresh.push_back((now, from));
        true
    }

    /// An announcement was taken back.
    pub(crate) fn gone(&mut self, name: &str) {
        for sighting in self.devices.values_mut() {
            sighting.records.retain(|r| r.name != name);
        }
        self.devices.retain(|_, s| !s.records.is_empty());
    }

    /// Where a device says it is, the latest first.
    pub(crate) fn addrs(&self, device: &DeviceId) -> Vec<SocketAddr> {
        let mut all = Vec::new();
        let Some(sighting) = self.devices.get(device) else {
            return all;
        };
        for addr in sighting.records.iter().flat_map(|r| &r.addrs) {
            if !all.contains(addr) {
                all.push(*addr);
            }
        }
        all.truncate(limits::ADDRESSES_PER_PEER_MAX);
        all
    }

    /// Each device, and how long ago it was last heard.
    pub(crate) fn heard(&self, now: Instant) -> Vec<(DeviceId, Duration)> {
        let ago = |s: &Sighting| now.duration_since(s.heard);
        self.devices.iter().map(|(d, s)| (*d, ago(s))).collect()
    }

    /// Devices whose latest announcement says that an invitation stands, the
    /// latest first. Longer than an invitation stands it is not believed.
    pub(crate) fn inviting(&self, now: Instant) -> Vec<(DeviceId, Vec<SocketAddr>)> {
        let stands = Duration::from_millis(limits::PAIR_WINDOW_MS);
        let inviting = |s: &&Sighting| {
            s.records.first().is_some_and(|r| r.inviting) && now.duration_since(s.heard) < stands
        };
        let mut found: Vec<_> = self.devices.values().filter(inviting).collect();
        found.sort_by_key(|s| std::cmp::Reverse(s.used));
        found
            .into_iter()
            .filter_map(|s| s.records.first())
            .map(|r| (r.device, self.addrs(&r.device)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    fn record(n: u32, name: &str) -> Record {
        let mut id = [0u8; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        Record {
            device: DeviceId(id),
            name: name.to_owned(),
            addrs: vec![SocketAddr::from((
                [192, 0, 2, 1],
                1000 + u16::try_from(n % 1000).unwrap(),
            ))],
            inviting: n % 2 == 1,
        }
    }

    #[test]
    fn k_n08_a_flood_is_bounded_and_does_not_hide_a_trusted_device() {
        let mut sightings = Sightings::default();
        let start = Instant::now();
        let mut taken = 0;
        for n in 0..200_000u32 {
            let now = start + Duration::from_millis(u64::from(n) / 20);
            taken +=
                usize::from(sightings.sight(record(n + 10, &n.to_string()), ip(1), false, now));
        }
        assert_eq!(taken, limits::SIGHTINGS_NEW_PER_10S.0);
        // Whoever lies about the address too is bounded all the same.
        for n in 0..200_000u32 {
            let now = start + Duration::from_millis(u64::from(n) / 20);
            let record = record(n + 900_000, &n.to_string());
            taken += usize::from(sightings.sight(record, ip(n), false, now));
        }
        assert_eq!(taken, limits::SIGHTINGS_NEW_PER_10S.1);
        assert!(sightings.sight(record(1, "friend"), ip(2), true, start));
        assert_eq!(sightings.inviting(start)[0].0, record(1, "").device);
        for n in 0..1000u32 {
            let now = start + Duration::from_secs(10 * u64::from(n + 2));
            assert!(sightings.sight(record(n + 300_000, &n.to_string()), ip(3), false, now));
            assert!(sightings.devices.len() <= limits::SIGHTINGS_MAX);
        }
    }

    #[test]
    fn the_latest_announcement_of_a_device_counts() {
        let mut sightings = Sightings::default();
        let now = Instant::now();
        for name in ["a", "b", "c", "d", "e", "f"] {
            assert!(sightings.sight(record(1, name), ip(1), false, now));
        }
        let mut closed = record(1, "g");
        closed.inviting = false;
        closed.addrs = vec!["192.0.2.9:9".parse().unwrap()];
        assert!(sightings.sight(closed, ip(1), false, now));
        assert_eq!(sightings.inviting(now), []);
        assert_eq!(sightings.addrs(&record(1, "").device).len(), 2);
        assert_eq!(sightings.addrs(&record(1, "").device)[0].port(), 9);
        for name in ["d", "e", "f", "g"] {
            sightings.gone(name);
        }
        assert!(sightings.devices.is_empty());
    }
}
