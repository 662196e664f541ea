//! When something is said by multicast. Few words: a question and an announcement
//! repeated a little at the beginning and after a change, a question now and then
//! while somebody is missing, an answer when asked. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// Pauses after each of the first words, which may be lost.
const REPEATS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// Between questions while somebody is missing: the first, and the longest.
const MISSING: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(60));
/// No two announcements are closer to each other (RFC 6762, section 6).
const TOLD_GAP_MIN: Duration = Duration::from_secs(1);
/// Several may answer one question; each waits a little of this (section 6).
const ANSWER_AFTER: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(100));

/// What is to be said next.
#[derive(Debug)]
pub(crate) struct Plan {
    ask: Option<Instant>,
    asked: usize,
    pause: Duration,
    tell: Option<Instant>,
    /// Announcements that are made without being asked.
    told: usize,
    last_told: Option<Instant>,
}

impl Plan {
    /// Begins with both.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            ask: Some(now),
            asked: 0,
            pause: MISSING.0,
            tell: Some(now),
            told: 0,
            last_told: None,
        }
    }

    /// Something changed here: both are said anew.
    pub(crate) fn refresh(&mut self, now: Instant) {
        *self = Self {
            last_told: self.last_told,
            ..Self::new(now)
        };
        self.tell = Some(self.told_gap(now));
    }

    /// Somebody asks. `chance` is from 0 to 1.
    pub(crate) fn asked(&mut self, now: Instant, chance: f64) {
        let at = self.told_gap(now + ANSWER_AFTER.0 + ANSWER_AFTER.1.mul_f64(chance));
        self.tell = Some(self.tell.map_or(at, |planned| planned.min(at)));
    }

    /// Whether somebody is missing who may be around.
    pub(crate) fn missing(&mut self, somebody: bool, now: Instant) {
        let at_first = self.asked < REPEATS.len();
        match (somebody, self.ask) {
            (true, None) => {
                self.pause = MISSING.0;
                self.ask = Some(now);
            }
            (false, Some(_)) if !at_first => self.ask = None,
            _ => {}
        }
    }

    /// When to look again.
    pub(crate) fn next(&self) -> Option<Instant> {
        [self.ask, self.tell].into_iter().flatten().min()
    }

    /// Whether the question is to be asked now.
    pub(crate) fn asks(&mut self, now: Instant) -> bool {
        if self.ask.is_none_or(|at| at > now) {
            return false;
        }
        let pause = match REPEATS.get(self.asked) {
            Some(pause) => *pause,
            None => {
                let pause = self.pause;
                self.pause = (pause * 2).min(MISSING.1);
                pause
            }
        };
        self.asked += 1;
        self.ask = Some(now + pause);
        true
    }

    /// Whether we are to be announced now.
    pub(crate) fn tells(&mut self, now: Instant) -> bool {
        if self.tell.is_none_or(|at| at > now) {
            return false;
        }
        self.tell = REPEATS.get(self.told).map(|pause| now + *pause);
        self.told += 1;
        self.last_told = Some(now);
        true
    }

    fn told_gap(&self, at: Instant) -> Instant {
        self.last_told
            .map_or(at, |last| at.max(last + TOLD_GAP_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that is said within so many seconds, by tenths of one.
    fn run(plan: &mut Plan, start: Instant, seconds: u32, missing: bool) -> (Vec<u32>, Vec<u32>) {
        let (mut asked, mut told) = (Vec::new(), Vec::new());
        for tenth in 0..seconds * 10 {
            let now = start + Duration::from_millis(100) * tenth;
            plan.missing(missing, now);
            if plan.asks(now) {
                asked.push(tenth);
            }
            if plan.tells(now) {
                told.push(tenth);
            }
        }
        (asked, told)
    }

    #[test]
    fn k_n10_an_idle_device_falls_silent() {
        let start = Instant::now();
        let mut plan = Plan::new(start);
        let (asked, told) = run(&mut plan, start, 600, false);
        assert_eq!(asked, [0, 10, 30]);
        assert_eq!(told, [0, 10, 30, 70]);
        assert_eq!(plan.next(), None);
    }

    #[test]
    fn who_is_missing_is_looked_for_less_and_less() {
        let start = Instant::now();
        let mut plan = Plan::new(start);
        let (asked, _) = run(&mut plan, start, 600, true);
        assert_eq!(asked[..6], [0, 10, 30, 70, 150, 310]);
        assert!(asked.len() <= 15, "{asked:?}");
        assert_eq!(asked.last_chunk().map(|[a, b]| b - a), Some(600));
        plan.missing(false, start);
        plan.missing(true, start);
        assert!(plan.asks(start), "somebody got lost");
    }

    #[test]
    fn a_flood_of_questions_is_answered_once_a_second() {
        let start = Instant::now();
        let mut plan = Plan::new(start);
        run(&mut plan, start, 60, false);
        let mut told = 0;
        for ms in 60_000..70_000 {
            let now = start + Duration::from_millis(ms);
            plan.asked(now, 0.5);
            told += u32::from(plan.tells(now));
        }
        assert!((9..=10).contains(&told), "{told}");
    }
}
