//! When a model is asked to tell a session better than facts alone do, and how
//! often. It decides and does nothing: its clock is an argument, and whether a
//! session has grown at all is the caller's knowledge.
//!
//! A request costs the user something, so every doubt is decided against it: one
//! at a time, a pause between two about one session, bounds for an hour and a
//! day, longer and longer pauses after failures; and what was spent is
//! remembered over a restart.

pub(crate) mod material;
pub(crate) mod program;
pub(crate) mod run;

use std::collections::BTreeMap;

use ccpeer_core::id::SessionId;
use ccpeer_core::time::{Instant, Timestamp};
use ccpeer_store::{Namespace, NoteWrite};
use serde::{Deserialize, Serialize};

use crate::api::{SummaryBy, SummaryPolicy};

/// Key in [`Namespace::Setting`] of what was spent.
const KEY: &[u8] = b"enriched";
/// Minutes between two requests about one session, unless the user says otherwise.
pub(crate) const EVERY_MIN: u64 = 30;
/// Bounds of that choice.
pub(crate) const EVERY_MIN_BOUNDS: (u64, u64) = (5, 24 * 60);
/// Requests in an hour, and in a day, about all sessions, unless the user says
/// otherwise.
pub(crate) const PER_HOUR: u64 = 6;
pub(crate) const PER_DAY: u64 = 40;
/// More of them than this is a mistake.
pub(crate) const PER_DAY_MAX: u64 = 1000;
/// A session is idle so long after its last turn.
const IDLE_MS: u64 = 3 * 60_000;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// The pause after a failure, and the longest one after many.
const BACK_OFF_MS: (u64, u64) = (5 * MINUTE_MS, 6 * HOUR_MS);
/// Failures about one session after which it is left alone until it grows.
const TRIES_MAX: u32 = 3;
/// Sessions that wait at once; the one that waits longest is dropped for a new one.
const WAITING_MAX: usize = 256;
/// The caller's clock begins at zero; what was before it must have a time, too.
const CLOCK_BASE_MS: u64 = 2 * DAY_MS;
/// Lines of a transcript below which facts alone say it all.
pub(crate) const RECORDS_MIN: u64 = 12;

/// The plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct Enrich {
    policy: Chosen,
    waiting: BTreeMap<SessionId, Waiting>,
    /// The requests of the last day, the oldest first.
    runs: Vec<Run>,
    running: Option<SessionId>,
    /// Failures since the last success.
    failures: u32,
    failed: Option<Failed>,
}

/// The part of the user's choice that matters here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Chosen {
    on: bool,
    every_ms: u64,
    per_hour: usize,
    per_day: usize,
}

/// A session that has grown since it was told.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// Since when.
    since: Instant,
    /// Its last turn.
    changed: Instant,
    /// It was closed, or is about to be compacted.
    pressing: bool,
    /// The user asked.
    forced: bool,
    tries: u32,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    at: Instant,
    session: SessionId,
}

#[derive(Debug, Clone)]
struct Failed {
    at: Instant,
    words: String,
}

/// As it is kept. Times are the wall's, because the agent's own clock ends with
/// it: the one place where that decides something, and only ever to wait longer.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    #[serde(default)]
    runs: Vec<(u64, String)>,
    #[serde(default)]
    waiting: Vec<String>,
    #[serde(default)]
    failures: u32,
    #[serde(default)]
    failed: Option<(u64, String)>,
}

/// Why the user's request is not carried out now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// So many requests were made in the last hour.
    Hour(usize),
    /// Or in the last day.
    Day(usize),
}

impl Enrich {
    /// The user's choice, from now on.
    pub(crate) fn choose(&mut self, policy: &SummaryPolicy) {
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        self.policy = Chosen {
            on: policy.by != SummaryBy::Off,
            every_ms: policy.every_min.saturating_mul(MINUTE_MS),
            per_hour: count(policy.per_hour),
            per_day: count(policy.per_day),
        };
        if !self.policy.on {
            self.waiting.clear();
        }
    }

    /// Whether anybody is asked at all.
    pub(crate) fn is_on(&self) -> bool {
        self.policy.on
    }

    /// A session has grown here. Whether that is worth remembering over a restart.
    pub(crate) fn grown(&mut self, session: SessionId, closed: bool, now: Instant) -> bool {
        if !self.policy.on {
            return false;
        }
        let now = shifted(now);
        let new = !self.waiting.contains_key(&session);
        let waiting = self.waiting_for(session, now);
        waiting.changed = now;
        waiting.tries = 0;
        waiting.pressing |= closed;
        new
    }

    /// What Claude knows of a session is about to be compacted.
    pub(crate) fn compacting(&mut self, session: SessionId, now: Instant) {
        if self.policy.on {
            self.waiting_for(session, shifted(now)).pressing = true;
        }
    }

    /// The user asks for it now.
    pub(crate) fn force(&mut self, session: SessionId, now: Instant) -> Result<(), Refused> {
        let now = shifted(now);
        self.forget_old(now);
        if self.runs_in(HOUR_MS, now) >= self.policy.per_hour {
            return Err(Refused::Hour(self.policy.per_hour));
        }
        if self.runs_in(DAY_MS, now) >= self.policy.per_day {
            return Err(Refused::Day(self.policy.per_day));
        }
        self.waiting_for(session, now).forced = true;
        Ok(())
    }

    /// There is nothing to tell about a session.
    pub(crate) fn forget(&mut self, session: &SessionId) {
        self.waiting.remove(session);
    }

    /// The session that is to be told now, and whether the user asked.
    pub(crate) fn due(&mut self, now: Instant) -> Option<(SessionId, bool)> {
        let now = shifted(now);
        self.forget_old(now);
        if !self.policy.on || self.running.is_some() || self.is_spent(now) {
            return None;
        }
        let due = |(session, w): (&SessionId, &Waiting)| {
            (self.due_at(session, w) <= now).then_some((!w.forced, w.since, *session))
        };
        let (patient, _, session) = self.waiting.iter().filter_map(due).min()?;
        Some((session, !patient))
    }

    /// A request is about to be made: to be remembered before it is.
    pub(crate) fn began(&mut self, session: SessionId, now: Instant) {
        let at = shifted(now);
        self.running = Some(session);
        self.runs.push(Run { at, session });
    }

    /// It is over. What grew meanwhile still waits.
    pub(crate) fn ended(&mut self, result: Result<(), String>, now: Instant) {
        let now = shifted(now);
        let Some(session) = self.running.take() else {
            return;
        };
        let began = self.runs.last().map_or(now, |r| r.at);
        match result {
            Ok(()) => {
                self.failures = 0;
                self.failed = None;
                match self.waiting.get_mut(&session) {
                    Some(w) if w.changed > began => {
                        *w = Waiting {
                            since: now,
                            forced: false,
                            ..*w
                        };
                    }
                    _ => {
                        self.waiting.remove(&session);
                    }
                }
            }
            Err(words) => {
                self.failures = self.failures.saturating_add(1);
                self.failed = Some(Failed { at: now, words });
                if let Some(w) = self.waiting.get_mut(&session) {
                    w.tries += 1;
                    w.forced = false;
                    if w.tries >= TRIES_MAX {
                        self.waiting.remove(&session);
                    }
                }
            }
        }
    }

    /// Whether a request is under way.
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Requests of the last day.
    pub(crate) fn runs_today(&self) -> u64 {
        self.runs.len() as u64
    }

    /// Failures since the last success, and the last one: how many milliseconds
    /// ago, and in words.
    pub(crate) fn trouble(&self, now: Instant) -> (u64, Option<(u64, &str)>) {
        let now = shifted(now);
        let last = self.failed.as_ref();
        let last = last.map(|f| (now.since_ms(f.at), f.words.as_str()));
        (u64::from(self.failures), last)
    }

    /// What has to be remembered.
    pub(crate) fn note(&self, now: Instant, wall: Timestamp) -> Option<NoteWrite> {
        let now = shifted(now);
        let at = |at: Instant| wall.0.saturating_sub(now.since_ms(at));
        let kept = Kept {
            runs: self
                .runs
                .iter()
                .map(|r| (at(r.at), r.session.to_string()))
                .collect(),
            waiting: self.waiting.keys().map(ToString::to_string).collect(),
            failures: self.failures,
            failed: self.failed.as_ref().map(|f| (at(f.at), f.words.clone())),
        };
        Some(NoteWrite {
            ns: Namespace::Setting,
            key: KEY.to_vec(),
            value: Some(serde_json::to_vec(&kept).ok()?),
        })
    }

    /// The key under which it is remembered.
    pub(crate) fn key() -> &'static [u8] {
        KEY
    }

    /// Takes up what was remembered. What cannot be read counts as a day spent:
    /// the bound holds in any case.
    pub(crate) fn recall(&mut self, bytes: &[u8], now: Instant, wall: Timestamp) {
        let now = shifted(now);
        // A clock that went back makes it younger, not older.
        let at = |ms: u64| Instant(now.0.saturating_sub(wall.0.saturating_sub(ms)));
        let Ok(kept) = serde_json::from_slice::<Kept>(bytes) else {
            let session = SessionId([0; 16]);
            self.runs = vec![Run { at: now, session }; self.policy.per_day];
            return;
        };
        let runs = kept.runs.iter();
        let runs = runs.filter_map(|(ms, session)| {
            let session = session.parse().ok()?;
            let at = at(*ms);
            Some(Run { at, session })
        });
        self.runs = runs.collect();
        self.runs.sort_by_key(|run| run.at);
        self.failures = kept.failures;
        self.failed = kept.failed.map(|(ms, words)| Failed { at: at(ms), words });
        if self.policy.on {
            for session in kept.waiting.iter().filter_map(|s| s.parse().ok()) {
                self.waiting_for(session, now);
            }
        }
        self.forget_old(now);
    }

    fn waiting_for(&mut self, session: SessionId, now: Instant) -> &mut Waiting {
        if self.waiting.len() >= WAITING_MAX && !self.waiting.contains_key(&session) {
            let patient = self.waiting.iter().filter(|(_, w)| !w.forced);
            let oldest = patient.min_by_key(|(_, w)| w.changed);
            if let Some(oldest) = oldest.map(|(s, _)| *s) {
                self.waiting.remove(&oldest);
            }
        }
        self.waiting.entry(session).or_insert(Waiting {
            since: now,
            changed: now,
            pressing: false,
            forced: false,
            tries: 0,
        })
    }

    fn due_at(&self, session: &SessionId, w: &Waiting) -> Instant {
        if w.forced {
            return w.since.min(w.changed);
        }
        let idle = w.changed.after_ms(IDLE_MS);
        let grown = w.since.after_ms(self.policy.every_ms);
        let ready = if w.pressing {
            w.changed
        } else {
            idle.min(grown)
        };
        let before = self.runs.iter().rev().find(|run| run.session == *session);
        let again = before.map_or(ready, |run| run.at.after_ms(self.policy.every_ms));
        ready.max(again).max(self.backed_off())
    }

    /// Until when nothing is tried after failures.
    fn backed_off(&self) -> Instant {
        let Some(failed) = &self.failed else {
            return Instant(0);
        };
        let (first, longest) = BACK_OFF_MS;
        let doubled = self.failures.saturating_sub(1).min(16);
        failed.at.after_ms((first << doubled).min(longest))
    }

    fn is_spent(&self, now: Instant) -> bool {
        self.runs_in(HOUR_MS, now) >= self.policy.per_hour
            || self.runs_in(DAY_MS, now) >= self.policy.per_day
    }

    fn runs_in(&self, span_ms: u64, now: Instant) -> usize {
        let recent = |run: &&Run| now.since_ms(run.at) < span_ms;
        self.runs.iter().filter(recent).count()
    }

    fn forget_old(&mut self, now: Instant) {
        self.runs.retain(|run| now.since_ms(run.at) < DAY_MS);
    }
}

fn shifted(now: Instant) -> Instant {
    now.after_ms(CLOCK_BASE_MS)
}

#[cfg(test)]
mod tests;
