//! What the world does to devices: everything that may break at a moment. What
//! goes wrong on the way of a message is in `courier.rs`.

use std::collections::{BTreeMap, BTreeSet};

use ccpeer_core::id::{ChunkId, EntryHash, Epoch};

use crate::clock::Clock;
use crate::disk::Disk;
use crate::swarm::FaultKind;
use crate::trace::Brief;
use crate::world::{Device, Happening, World, key};

/// Devices of one world, with those that were copied or paired anew.
const DEVICES_MAX: usize = 8;
/// A link of which one end has heard nothing is found dead by it within this.
const HALF_OPEN_MS: (u64, u64) = (10_000, 120_000);

impl World {
    /// Something breaks.
    pub(crate) fn fault(&mut self) {
        let faults = self.options.faults.clone();
        let Some(kind) = self.rng.pick(&faults).copied() else {
            return;
        };
        let honest = self.honest();
        let Some(device) = self.rng.pick(&honest).copied() else {
            return;
        };
        match kind {
            FaultKind::Crash => self.stop(device, 100, 5_000),
            FaultKind::Off => {
                self.count("off");
                self.stop(device, 20_000, 200_000);
            }
            FaultKind::Cut | FaultKind::HalfOpen => {
                let links = self.net.standing();
                if let Some(link) = self.rng.pick(&links).copied() {
                    self.cut(link, kind);
                }
            }
            FaultKind::Partition => self.partition(),
            FaultKind::Clog => {
                self.count("clog");
                let other = self.rng.index(self.devices.len());
                let until = self.now + self.rng.between(1_000, 30_000);
                self.net.clogged.insert((device, other), until);
            }
            FaultKind::Swizzle => self.swizzle(),
            FaultKind::DiskFull => {
                self.count("disk full");
                self.devices[device].disk.full = true;
                let pause = self.rng.between(500, 40_000);
                self.after(pause, Happening::DiskFree { device });
            }
            FaultKind::BitFlip => {
                for _ in 0..self.rng.between(1, 3) {
                    let chunks = &self.devices[device].disk.durable.chunks;
                    let ids: Vec<ChunkId> = chunks.keys().copied().collect();
                    if let Some(id) = self.rng.pick(&ids) {
                        self.count("bit flip");
                        let bit = self.rng.next();
                        self.devices[device].disk.flip(id, bit);
                    }
                }
            }
            FaultKind::Verify => self.verify_disk(device),
            FaultKind::ClockStep => {
                self.count("clock step");
                self.step_wall_clock(device);
            }
            FaultKind::Sleep => {
                let long = self.options.chaos_ms > 3_600_000;
                let ms = if long {
                    self.rng.between(600_000, 10_800_000)
                } else {
                    self.rng.between(20_000, 120_000)
                };
                self.sleep(device, ms);
            }
            FaultKind::Restore => self.restore(device),
            FaultKind::Clone => self.copy_device(device),
            FaultKind::NewKey => self.new_key(device),
        }
    }

    fn stop(&mut self, device: usize, low: u64, high: u64) {
        if self.devices[device].asleep {
            return;
        }
        self.die(device);
        let pause = self.rng.between(low, high);
        self.after(pause, Happening::Start { device });
    }

    fn cut(&mut self, link: u64, kind: FaultKind) {
        if kind == FaultKind::Cut {
            self.count("cut");
            return self.close(link, 10_000);
        }
        self.count("half-open link");
        let Some((a, b)) = self.net.ends(link) else {
            return;
        };
        let slow = HALF_OPEN_MS;
        let times = if self.rng.chance(500_000) {
            [(0, 0), slow]
        } else {
            [slow, (0, 0)]
        };
        self.close_each(link, times);
        // In half the cases the other end cannot dial anew meanwhile.
        if self.rng.chance(500_000) {
            let until = self.now + self.rng.between(slow.0, slow.1);
            self.net.blocked.insert((a, b), until);
        }
    }

    /// Two groups cannot talk for a while, or only in one direction.
    fn partition(&mut self) {
        let count = self.devices.len();
        let until = self.now + self.rng.between(5_000, 60_000);
        let one_way = self.rng.chance(300_000);
        self.count(if one_way {
            "one-way partition"
        } else {
            "partition"
        });
        let side: BTreeMap<usize, bool> =
            (0..count).map(|d| (d, self.rng.chance(500_000))).collect();
        for a in 0..count {
            for b in 0..count {
                if a == b
                    || side.get(&a) == side.get(&b)
                    || (one_way && side.get(&a) == Some(&true))
                {
                    continue;
                }
                self.net.blocked.insert((a, b), until);
                if let Some(link) = self.net.between(a, b) {
                    self.net.silence(link, (a, b));
                    let pause = self.rng.between(3_000, 30_000);
                    self.after(pause, Happening::Close { link });
                }
            }
        }
    }

    /// Directions stand still one after the other and come back in another order.
    fn swizzle(&mut self) {
        self.count("swizzle");
        let mut lanes = Vec::new();
        for link in self.net.standing() {
            let Some((a, b)) = self.net.ends(link) else {
                continue;
            };
            for lane in [(a, b), (b, a)] {
                if self.rng.chance(500_000) {
                    lanes.push(lane);
                }
            }
        }
        for (from, to) in lanes {
            let begin = self.rng.below(5_000);
            let until = self.now + begin + self.rng.between(2_000, 30_000);
            self.after(begin, Happening::Clog { from, to, until });
        }
    }

    /// A user has everything read and checked.
    fn verify_disk(&mut self, device: usize) {
        if self.devices[device].machine.is_none() || self.devices[device].asleep {
            return;
        }
        self.count("verify");
        let image = &self.devices[device].disk.live;
        let unsound =
            |(id, content): &(&ChunkId, &std::rc::Rc<Vec<u8>>)| ChunkId::of(content) != **id;
        let damaged: BTreeSet<ChunkId> = image
            .chunks
            .iter()
            .filter(unsound)
            .map(|(id, _)| *id)
            .collect();
        if damaged != image.flipped {
            let what = format!("a look at everything on {device} misses damage");
            return self.fail("INV-4", what);
        }
        self.found_damaged(device, &damaged);
        self.advance(device);
    }

    fn restore(&mut self, device: usize) {
        if self.devices[device].asleep {
            return;
        }
        let Some(image) = self.devices[device].backup.take() else {
            let backup = self.devices[device].disk.durable.clone();
            self.devices[device].backup = Some(backup);
            return;
        };
        self.count("restored backup");
        self.stop(device, 1_000, 60_000);
        let d = &mut self.devices[device];
        d.may_fork = true;
        let kept: BTreeSet<EntryHash> = image.entries().map(|e| e.hash()).collect();
        d.acked.retain(|hash| kept.contains(hash));
        d.placed.clear();
        d.broken.clear();
        d.disk.restore(image);
    }

    /// Somebody copies a whole disk to another machine, and uses both.
    fn copy_device(&mut self, device: usize) {
        // Two pairs of twins might link up among themselves and be content.
        if self.devices.len() >= DEVICES_MAX || self.counts.faults.contains_key("cloned device") {
            return;
        }
        self.count("cloned device");
        let number = self.devices.len();
        let clock = Clock::draw(&self.options, &mut self.rng);
        let d = &self.devices[device];
        let mut disk = Disk::default();
        disk.restore(d.disk.durable.clone());
        let mut twin = Device::new(d.key.clone(), disk, clock);
        let held: BTreeSet<EntryHash> = twin.disk.durable.entries().map(|e| e.hash()).collect();
        twin.acked = d.acked.intersection(&held).copied().collect();
        twin.slow = d.slow;
        twin.sharing = d.sharing.clone();
        twin.may_fork = true;
        self.devices[device].may_fork = true;
        self.devices.push(twin);
        self.note(number, Brief::of("is a copy", device as u64, 0));
        let pause = self.rng.between(1_000, 20_000);
        self.after(pause, Happening::Start { device: number });
    }

    /// Somebody sets a device up anew: its store is gone, its key is another one,
    /// and the others revoke the old one, or do not.
    fn new_key(&mut self, device: usize) {
        if self.devices.len() >= DEVICES_MAX || self.honest().len() < 2 {
            return;
        }
        self.count("new key");
        self.die(device);
        let number = self.devices.len();
        let disk = Disk::fresh(Epoch(self.rng.bytes()));
        let clock = Clock::draw(&self.options, &mut self.rng);
        let new = Device::new(key(number), disk, clock);
        self.by_id.insert(new.id, number);
        let old = &mut self.devices[device];
        old.gone = true;
        let old = old.id;
        self.devices.push(new);
        self.note(number, Brief::of("takes over from", device as u64, 0));
        self.start(number);
        self.name_itself(number);
        for other in self.honest() {
            if other == number {
                continue;
            }
            if self.rng.chance(700_000) {
                self.pair(number, other);
            }
            if self.rng.chance(500_000) {
                self.revoke(other, old);
            }
        }
    }
}
