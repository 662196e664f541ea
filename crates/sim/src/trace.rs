//! What happened, kept short enough to be kept always: a hash over everything,
//! to compare two runs of a seed, and the last lines, to read a failure.

use std::collections::VecDeque;
use std::fmt;

use ccpeer_core::id::LogId;
use ccpeer_core::sync::effect::{Effect, Notice};
use ccpeer_core::sync::event::{Event, Received};
use ccpeer_core::wire::Message;

/// Lines that are kept for a failure.
pub const LINES_MAX: usize = 50;

/// The trace of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    /// Things that happened.
    pub steps: u64,
    lines: VecDeque<Line>,
    keep: usize,
}

/// One thing that happened on one device.
#[derive(Debug, Clone)]
pub struct Line {
    /// Virtual time in milliseconds.
    pub at: u64,
    /// Which device.
    pub device: usize,
    /// What.
    pub what: Brief,
}

/// A few words and numbers instead of a whole event or effect.
#[derive(Debug, Clone, Default)]
pub struct Brief {
    /// What kind of thing.
    pub verb: &'static str,
    /// A peer: the beginning of its id.
    pub peer: Option<u8>,
    /// A log: the beginnings of device and epoch.
    pub log: Option<(u8, u8)>,
    /// Two numbers that say the most about it.
    pub numbers: (u64, u64),
}

impl Trace {
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            steps: 0,
            lines: VecDeque::new(),
            keep,
        }
    }

    pub(crate) fn note(&mut self, at: u64, device: usize, what: Brief) {
        self.steps += 1;
        let log = what
            .log
            .map_or(0, |(d, e)| u64::from(d) << 8 | u64::from(e) | 1 << 16);
        let peer = what.peer.map_or(0, |p| u64::from(p) | 1 << 8);
        for part in [at, device as u64, log, peer, what.numbers.0, what.numbers.1] {
            self.mix(part);
        }
        what.verb.bytes().for_each(|b| self.mix(u64::from(b)));
        if self.lines.len() == self.keep {
            self.lines.pop_front();
        }
        self.lines.push_back(Line { at, device, what });
    }

    fn mix(&mut self, value: u64) {
        self.hash = (self.hash ^ value)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(23);
    }

    /// The hash over everything that happened.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines, or all of them in a replay.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>9} ms  device {}  {:<22}",
            self.at, self.device, self.what.verb
        )?;
        if let Some(peer) = self.what.peer {
            write!(f, "  peer {peer}")?;
        }
        if let Some((device, epoch)) = self.what.log {
            write!(f, "  log {device}/{epoch:02x}")?;
        }
        write!(f, "  {} {}", self.what.numbers.0, self.what.numbers.1)
    }
}

impl Brief {
    pub(crate) fn of(verb: &'static str, a: u64, b: u64) -> Self {
        Self {
            verb,
            numbers: (a, b),
            ..Self::default()
        }
    }

    pub(crate) fn event(event: &Event, name: impl Fn(&ccpeer_core::id::DeviceId) -> u8) -> Self {
        let peer = |verb, device, a: usize, b: u64| Self {
            verb,
            peer: Some(name(device)),
            log: None,
            numbers: (a as u64, b),
        };
        match event {
            Event::PeerUp(d) => peer("> peer up", d, 0, 0),
            Event::PeerDown(d) => peer("> peer down", d, 0, 0),
            Event::Received(d, Received::Have(f)) => peer(
                "> have",
                d,
                f.len(),
                f.iter().fold(0, |n: u64, h| n.wrapping_add(h.seq.0)),
            ),
            Event::Received(d, Received::Entries(e)) => {
                let first = e.first();
                Self {
                    log: first.map(|e| short(&e.log(), &name)),
                    ..peer("> entries", d, e.len(), first.map_or(0, |e| e.seq().0))
                }
            }
            Event::Received(d, Received::Complete(c)) => peer(
                "> complete",
                d,
                c.len(),
                c.first().map_or(0, |c| id(&c.id.0)),
            ),
            Event::Received(d, Received::Digests(_)) => peer("> digests", d, 0, 0),
            Event::Received(d, Received::Unlike(parts)) => peer(
                "> unlike",
                d,
                parts.0.count_ones() as usize,
                u64::from(parts.0),
            ),
            Event::Append(e) => Self {
                log: Some(short(&e.log(), &name)),
                ..Self::of("> append", e.seq().0, id(&e.hash().0))
            },
            Event::Checked(w, m) => Self::of("> checked", m.len() as u64, id(&w.id.0)),
            Event::Fetched { want, missing, .. } => {
                Self::of("> fetched", missing.len() as u64, id(&want.id.0))
            }
            Event::FetchFailed { from, want, why } => {
                peer("> fetch failed", from, *why as usize, id(&want.id.0))
            }
            Event::Need(w) => Self::of("> need", 0, id(&w.id.0)),
            Event::Forgotten(roots) => Self::of(
                "> forgotten",
                roots.len() as u64,
                roots.first().map_or(0, |r| id(&r.id.0)),
            ),
            Event::Sharing(s) => Self::of("> sharing", s.default as u64, s.sessions.len() as u64),
            Event::Share(s, how) => Self::of("> share", *how as u64, id(&s.0)),
            Event::DocumentsOnly(d) => Self::of("> documents only", d.len() as u64, 0),
            Event::Introducers(d) => Self::of("> introducers", d.len() as u64, 0),
            Event::Quotas(q) => Self::of("> quotas", q.each, q.of.len() as u64),
            Event::Charged(c) => Self::of("> charged", c.len() as u64, c.values().sum()),
            Event::NewEpoch(e) => Self::of("> new epoch", id(&e.0), 0),
            Event::Tick => Self::of("> tick", 0, 0),
        }
    }

    pub(crate) fn effect(effect: &Effect, name: impl Fn(&ccpeer_core::id::DeviceId) -> u8) -> Self {
        let peer = |verb, device, a: u64, b: u64| Self {
            verb,
            peer: Some(name(device)),
            log: None,
            numbers: (a, b),
        };
        match effect {
            Effect::Persist(batch) => Self {
                log: batch.entries.first().map(|e| short(&e.log(), &name)),
                ..Self::of(
                    "< persist",
                    batch.entries.len() as u64,
                    batch.complete.len() as u64,
                )
            },
            Effect::Send(d, Message::Have(f)) => peer(
                "< send have",
                d,
                f.len() as u64,
                f.iter().fold(0, |n: u64, h| n.wrapping_add(h.seq.0)),
            ),
            Effect::Send(d, Message::Entries(e)) => peer(
                "< send entries",
                d,
                e.len() as u64,
                e.first().map_or(0, |e| id(&e.hash().0)),
            ),
            Effect::Send(d, Message::Complete(c)) => peer(
                "< send complete",
                d,
                c.len() as u64,
                c.first().map_or(0, |c| id(&c.id.0)),
            ),
            Effect::Send(d, Message::Digests(_)) => peer("< send digests", d, 0, 0),
            Effect::Send(d, Message::Unlike(parts)) => peer(
                "< send unlike",
                d,
                u64::from(parts.0.count_ones()),
                u64::from(parts.0),
            ),
            Effect::Send(
                d,
                Message::Hello(_) | Message::Ping(_) | Message::Pong(_) | Message::Parcel(_),
            ) => peer("< send other", d, 0, 0),
            Effect::ServeRange {
                to,
                log,
                after,
                upto,
                withhold: _,
            } => Self {
                log: Some(short(log, &name)),
                ..peer("< serve", to, after.0, upto.0)
            },
            Effect::Check(w) => Self::of("< check", w.kind as u64, id(&w.id.0)),
            Effect::Fetch { from, wants } => peer(
                "< fetch",
                from,
                wants.len() as u64,
                wants.first().map_or(0, |w| id(&w.id.0)),
            ),
            Effect::Disconnect(d, fault) => peer("< disconnect", d, *fault as u64, 0),
            Effect::WakeAt(at) => Self::of("< wake", at.0, 0),
            Effect::Notice(notice) => match notice {
                Notice::Rolled(d) => peer("< notice rolled", d, 0, 0),
                Notice::OverQuota(d) => peer("< notice over quota", d, 0, 0),
                Notice::LogFull(d) => peer("< notice log full", d, 0, 0),
                Notice::Session(s) => Self::of("< notice session", id(&s.0), 0),
                Notice::Complete(s, v) => Self::of("< notice complete", id(&s.0), id(&v.0)),
                Notice::Replicated(d, v) => peer("< notice replicated", d, id(&v.0), 0),
                Notice::Trust => Self::of("< notice trust", 0, 0),
                Notice::Device(d) => peer("< notice device", d, 0, 0),
                Notice::Equivocation(log) => Self {
                    log: Some(short(log, &name)),
                    ..Self::of("< notice fork", 0, 0)
                },
                Notice::OwnLogBehind => Self::of("< notice behind", 0, 0),
            },
        }
    }
}

fn short(log: &LogId, name: impl Fn(&ccpeer_core::id::DeviceId) -> u8) -> (u8, u8) {
    (name(&log.device), log.epoch.0.first().copied().unwrap_or(0))
}

/// The first bytes of an id as a number: enough to follow it through a trace.
fn id(bytes: &[u8]) -> u64 {
    bytes.iter().take(3).fold(0, |n, b| n << 8 | u64::from(*b))
}
