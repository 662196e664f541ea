//! All spans of time that this crate waits for, as one value, so that a test can
//! shorten them. The program uses what `limits` says.

use std::time::Duration;

use ccpeer_core::limits;

/// See the constants of `limits` that each field is named after.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) dial: Duration,
    pub(crate) hello: Duration,
    /// After the last that was heard, until a ping.
    pub(crate) heartbeat: Duration,
    /// When a link is quiet, and the heartbeat of one that is.
    pub(crate) quiet: (Duration, Duration),
    /// After a ping.
    pub(crate) silence: Duration,
    pub(crate) progress: Duration,
    pub(crate) idle: Duration,
    pub(crate) redial: (Duration, Duration),
    pub(crate) redial_refused: (Duration, Duration),
    pub(crate) fault_pause: (Duration, Duration),
    pub(crate) stagger: Duration,
    pub(crate) pair_window: Duration,
    pub(crate) pair_answer: Duration,
    pub(crate) pair_lock: (Duration, Duration),
    pub(crate) pair_find: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let ms = Duration::from_millis;
        let pair = |(from, to)| (ms(from), ms(to));
        Self {
            dial: ms(limits::DIAL_TIMEOUT_MS),
            hello: ms(limits::HELLO_TIMEOUT_MS),
            heartbeat: ms(limits::HEARTBEAT_MS.0),
            quiet: pair(limits::QUIET_LINK_MS),
            silence: ms(limits::HEARTBEAT_MS.1),
            progress: ms(limits::PROGRESS_TIMEOUT_MS),
            idle: ms(limits::IDLE_TIMEOUT_MS),
            redial: pair(limits::REDIAL_MS),
            redial_refused: pair(limits::REDIAL_REFUSED_MS),
            fault_pause: pair(limits::FAULT_PAUSE_MS),
            stagger: ms(limits::DIAL_STAGGER_MS),
            pair_window: ms(limits::PAIR_WINDOW_MS),
            pair_answer: ms(limits::PAIR_ANSWER_MS),
            pair_lock: pair(limits::PAIR_LOCK_MS),
            pair_find: ms(limits::PAIR_FIND_MS),
        }
    }
}

impl Timing {
    /// Within this long after a link came up, a second one may still have been
    /// dialled in ignorance of it.
    pub(crate) fn crossing(&self) -> Duration {
        self.dial + self.hello
    }
}
