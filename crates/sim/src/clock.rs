//! The clocks of a device: a monotonic one that runs fast or slow and may stand
//! still while the lid is closed, and a wall clock that says anything.

use ccpeer_core::time::{Instant, Timestamp};

use crate::rng::Rng;
use crate::swarm::Options;
use crate::world::World;

/// What the wall clock says when a world begins.
const BEGIN_MS: i64 = 1_700_000_000_000;
const YEAR_MS: i64 = 365 * 86_400_000;
/// The last second that fits 32 bits, in 2106.
const LAST_32_BIT_MS: i64 = 4_294_967_295_000;

/// The clocks of one device.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    /// When it was last set going, and what the monotonic clock said then.
    set_at: u64,
    base: u64,
    /// Thousandths of true speed.
    rate: u64,
    /// How far the wall clock is off.
    pub(crate) skew_ms: i64,
}

impl Clock {
    pub(crate) fn draw(options: &Options, rng: &mut Rng) -> Self {
        let skew = rng.between(0, 2 * options.skew_ms) as i64 - options.skew_ms as i64;
        Self {
            set_at: 0,
            base: 0,
            rate: 1000 - options.drift + rng.below(2 * options.drift + 1),
            skew_ms: skew,
        }
    }

    fn at(&self, now: u64) -> u64 {
        self.base + now.saturating_sub(self.set_at) * self.rate / 1000
    }

    fn set(&mut self, now: u64, base: u64) {
        self.set_at = now;
        self.base = base;
    }
}

impl World {
    /// The device's monotonic clock.
    pub(crate) fn clock(&self, device: usize) -> Instant {
        Instant(self.devices[device].clock.at(self.now))
    }

    /// How long until the device's clock shows `at`.
    pub(crate) fn until(&self, device: usize, at: Instant) -> u64 {
        let left = at.since_ms(self.clock(device));
        (left.saturating_mul(1000) / self.devices[device].clock.rate.max(1))
            .saturating_add(u64::from(left > 0))
    }

    /// The device's wall clock.
    pub(crate) fn wall(&self, device: usize) -> Timestamp {
        let skew = if self.good_clocks {
            0
        } else {
            self.devices[device].clock.skew_ms
        };
        let shown = BEGIN_MS + self.now as i64 + skew;
        Timestamp(u64::try_from(shown).unwrap_or(0))
    }

    pub(crate) fn boot_clock(&mut self, device: usize) {
        let base = self.rng.below(1_000_000);
        let now = self.now;
        self.devices[device].clock.set(now, base);
    }

    /// Somebody, or the network, sets a wall clock.
    pub(crate) fn step_wall_clock(&mut self, device: usize) {
        let real = BEGIN_MS + self.now as i64;
        let back = self.rng.between(1, 7_200_000) as i64;
        let skew = &mut self.devices[device].clock.skew_ms;
        *skew = match self.rng.below(6) {
            0 => -real,
            1 => LAST_32_BIT_MS - real,
            2 => YEAR_MS,
            3 => -YEAR_MS,
            4 => 0,
            _ => *skew - back,
        };
    }

    /// A lid is closed. Nothing happens on the device until it wakes; its links
    /// are found dead by the others, and by itself when it wakes.
    pub(crate) fn sleep(&mut self, device: usize, ms: u64) {
        if self.devices[device].machine.is_none() || self.devices[device].asleep {
            return;
        }
        self.count("sleep");
        self.note(device, crate::trace::Brief::of("sleeps", ms, 0));
        // Most systems' monotonic clocks stand still meanwhile; some do not.
        let stands = self.rng.chance(600_000);
        let shown = self.clock(device).0;
        let d = &mut self.devices[device];
        d.asleep = true;
        if stands {
            d.clock.set(self.now + ms, shown);
        }
        let links: Vec<u64> = d.links.values().map(|end| end.id).collect();
        for link in links {
            let pause = self.rng.between(5_000, 15_000);
            self.after(pause, crate::world::Happening::Close { link });
        }
        self.after(ms, crate::world::Happening::Wake { device });
    }

    /// It opens again, and everything that waited comes at once.
    pub(crate) fn wake(&mut self, device: usize) {
        if !self.devices[device].asleep {
            return;
        }
        self.note(device, crate::trace::Brief::of("wakes", 0, 0));
        let now = self.now;
        let d = &mut self.devices[device];
        d.asleep = false;
        if d.clock.set_at > now {
            d.clock.set_at = now;
        }
        for happening in std::mem::take(&mut d.held) {
            self.happen(happening);
        }
        self.advance(device);
    }
}
