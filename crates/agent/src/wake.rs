//! Notices that the machine has slept, or that this process was held up: other
//! devices have given us up by then, and addresses may have changed. Both clocks
//! are monotonic; wall time is not asked.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ccpeer_net::Net;

/// How often the clocks are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A shorter sleep leaves links as they are.
const SLEEP_MIN: Duration = Duration::from_secs(3);

/// Dials and announces anew after each sleep. Returns by being dropped.
pub(crate) async fn watch(net: Net) {
    let began = Instant::now();
    let mut clocks = Clocks::default();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Some(slept) = clocks.look(began.elapsed(), with_sleep()) {
            tracing::info!(seconds = slept.as_secs(), "back after a sleep");
            net.dial_now();
        }
    }
}

/// How long the machine runs by now, sleep included where that can be told. Counts
/// from its start or from that of this process; see [`boot`].
pub(crate) fn running_for() -> Duration {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    with_sleep().unwrap_or_else(|| BEGAN.elapsed())
}

/// Another word after each start of the machine, so that what [`running_for`] said
/// can be compared. Where the system has none, another one in each process.
pub(crate) fn boot() -> String {
    static BOOT: LazyLock<String> = LazyLock::new(|| {
        #[cfg(target_os = "linux")]
        if let Ok(id) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
            return id.trim().to_owned();
        }
        let drawn: Result<[u8; 16], _> = crate::random::bytes();
        drawn.map_or_else(|_| String::new(), |b| u128::from_le_bytes(b).to_string())
    });
    BOOT.clone()
}

/// A clock that goes on while the machine sleeps, where the usual one does not.
fn with_sleep() -> Option<Duration> {
    #[cfg(unix)]
    {
        use nix::time::{ClockId, clock_gettime};
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
        clock_gettime(CLOCK).ok().map(Duration::from)
    }
    #[cfg(not(unix))]
    None
}

/// What the clocks showed last.
#[derive(Default)]
struct Clocks(Option<(Duration, Option<Duration>)>);

impl Clocks {
    /// How long there was a sleep since the last look, if there was one: the clock
    /// that goes on is ahead of the other one, or too much time has passed.
    fn look(&mut self, awake: Duration, total: Option<Duration>) -> Option<Duration> {
        let (last_awake, last_total) = self.0.replace((awake, total))?;
        let passed = awake.saturating_sub(last_awake);
        let passed_in_all = match (total, last_total) {
            (Some(now), Some(last)) => now.saturating_sub(last),
            _ => passed,
        };
        let slept = passed_in_all.max(passed).saturating_sub(LOOK_EVERY);
        (slept >= SLEEP_MIN).then_some(slept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_noticed_by_either_clock() {
        let s = Duration::from_secs;
        let mut clocks = Clocks::default();
        assert_eq!(clocks.look(s(0), Some(s(1000))), None, "the first look");
        assert_eq!(clocks.look(s(2), Some(s(1002))), None);
        assert_eq!(clocks.look(s(5), Some(s(1005))), None, "merely slow");
        let night = Some(s(8 * 3600));
        assert_eq!(clocks.look(s(7), Some(s(1007 + 8 * 3600))), night);
        assert_eq!(
            clocks.look(s(9), Some(s(1009 + 8 * 3600))),
            None,
            "told once"
        );
        // The process stood still while the machine did not.
        assert_eq!(clocks.look(s(71), Some(s(1071 + 8 * 3600))), Some(s(60)));
        let mut without = Clocks::default();
        assert_eq!(without.look(s(0), None), None);
        assert_eq!(without.look(s(2), None), None);
        assert_eq!(without.look(s(602), None), Some(s(598)));
    }
}
