//! What we know of a device that we are linked with, and when it is to hear our
//! frontier again. All of it is forgotten when the link goes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::digest::Parts;
use crate::id::{DeviceId, LogId, Seq};
use crate::limits;
use crate::log::{Frontier, Held};
use crate::manifest::Want;
use crate::sync::ledger::Ledger;
use crate::sync::told::Told;
use crate::time::Instant;

/// One linked peer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    /// What it holds by its own word; `None` until its first word, before which
    /// nothing is offered.
    said: Option<Frontier>,
    /// What was sent over this link and not confirmed yet.
    sent: BTreeMap<LogId, Sent>,
    /// Logs of which it holds another branch than we do. Both sides have seen
    /// the proof; more of it would be of no use.
    pub(crate) forked: BTreeSet<LogId>,
    /// How far it holds the branch that we hold, by its word.
    agreed: BTreeMap<LogId, Seq>,
    /// Logs of which it was shown our branch, because its frontier speaks of
    /// another one.
    pub(crate) challenged: BTreeSet<LogId>,
    /// Manifests and snapshots that it holds whole, by its word.
    complete: BTreeSet<Want>,
    /// What it holds as we do, since its digests are ours.
    alike: Option<Alike>,
    /// The parts of which it was told what is whole here.
    pub(crate) parts_told: Parts,
    /// When it last heard our frontier.
    have_sent: Option<Instant>,
    /// It is to hear it soon.
    have_wanted: bool,
    /// Entries that it holds and we do not, as far as we accept them.
    pub(crate) behind: u64,
    pub(crate) faults: u32,
    #[cfg(feature = "mutants")]
    pub(crate) planted: Option<crate::mutant::Mutant>,
}

/// What we told of, but for the parts of it in which the peer differs.
#[derive(Debug, Clone)]
struct Alike {
    told: Arc<Told>,
    unlike: Parts,
}

/// Entries on their way.
#[derive(Debug, Clone, Copy)]
struct Sent {
    after: Seq,
    upto: Seq,
    /// When they were sent, or when the peer last got on with them.
    at: Instant,
}

impl Peer {
    /// How far it knows a log, counting what is on its way. `None` before its
    /// first word.
    pub(crate) fn knows(&self, log: &LogId) -> Option<Seq> {
        let said = self.said.as_ref()?.get(log);
        Some(self.sent.get(log).map_or(said, |s| s.upto.max(said)))
    }

    /// How far it holds a log by its own word.
    pub(crate) fn holds(&self, log: &LogId) -> Seq {
        self.said.as_ref().map_or(Seq::ZERO, |f| f.get(log))
    }

    /// Its frontier. True if this is its first word on this link.
    pub(crate) fn hear(&mut self, frontier: Frontier, now: Instant) -> bool {
        self.sent.retain(|log, sent| {
            let held = frontier.get(log);
            if held >= sent.upto {
                return false;
            }
            if held > sent.after {
                *sent = Sent {
                    after: held,
                    upto: sent.upto,
                    at: now,
                };
                return true;
            }
            #[cfg(feature = "mutants")]
            if self.planted == Some(crate::mutant::Mutant::NeverSentAgain) {
                return true;
            }
            // Neither arrived nor under way any more: it is offered again.
            now.since_ms(sent.at) < limits::RANGE_TIMEOUT_MS
        });
        self.said.replace(frontier).is_none()
    }

    /// It holds the same branch of a log as we do, this far.
    pub(crate) fn note_agreed(&mut self, held: &Held) {
        let agreed = self.agreed.entry(held.log).or_default();
        *agreed = held.seq.max(*agreed);
    }

    /// Whether it holds the same branch of a log as we do, up to a number.
    pub(crate) fn agrees(&self, log: &LogId, upto: Seq) -> bool {
        self.agreed.get(log).is_some_and(|seq| *seq >= upto)
    }

    /// It holds this log up to `seq`, because it sent us that.
    pub(crate) fn showed(&mut self, log: LogId, seq: Seq) {
        if let Some(said) = &mut self.said {
            let room = said.0.len() < limits::FRONTIER_LOGS_MAX || said.0.contains_key(&log);
            if room && seq > said.get(&log) {
                said.0.insert(log, seq);
            }
        }
    }

    /// Entries up to `upto` were sent to it.
    pub(crate) fn note_sent(&mut self, log: LogId, after: Seq, upto: Seq, now: Instant) {
        let sent = self.sent.entry(log).or_insert(Sent {
            after,
            upto,
            at: now,
        });
        sent.upto = sent.upto.max(upto);
    }

    /// It holds this whole. True if that is news.
    pub(crate) fn note_complete(&mut self, root: Want) -> bool {
        !self.is_alike(&root)
            && self.complete.len() < limits::HINTS_PER_PEER_MAX
            && self.complete.insert(root)
    }

    pub(crate) fn has_complete(&self, root: &Want) -> bool {
        self.complete.contains(root) || self.is_alike(root)
    }

    fn is_alike(&self, root: &Want) -> bool {
        let alike = self.alike.as_ref();
        alike.is_some_and(|a| !a.unlike.has(root) && a.told.has(root))
    }

    /// Its digests were compared with those of what we would tell it.
    pub(crate) fn note_alike(&mut self, told: Arc<Told>, unlike: Parts) {
        self.alike = Some(Alike { told, unlike });
    }

    /// Whether they were.
    pub(crate) fn is_compared(&self) -> bool {
        self.alike.is_some()
    }

    /// It is to hear our frontier soon: something changed or is missing.
    pub(crate) fn want_have(&mut self) {
        self.have_wanted = true;
    }

    pub(crate) fn note_have_sent(&mut self, now: Instant) {
        self.have_sent = Some(now);
        self.have_wanted = false;
    }

    /// When it is to hear our frontier next.
    pub(crate) fn have_due(&self) -> Instant {
        let Some(sent) = self.have_sent else {
            return Instant(0);
        };
        #[cfg(feature = "mutants")]
        if self.planted == Some(crate::mutant::Mutant::NoPeriodicHave) && !self.have_wanted {
            return Instant(u64::MAX);
        }
        sent.after_ms(if self.have_wanted {
            limits::HAVE_PAUSE_MS
        } else if self.behind > 0 {
            limits::RANGE_TIMEOUT_MS
        } else {
            limits::HAVE_INTERVAL_MS
        })
    }

    /// Entries that it holds and that we accept and lack.
    pub(crate) fn count_behind(&mut self, ledger: &Ledger) {
        let said = self.said.iter().flat_map(|f| &f.0);
        self.behind = said
            .filter(|(log, _)| !self.forked.contains(*log) && ledger.has_room(log))
            .map(|(log, seq)| (log, (*seq).min(ledger.accepts_upto(log))))
            .map(|(log, seq)| seq.0.saturating_sub(ledger.tip(log).seq.0))
            .fold(0, u64::saturating_add);
    }

    /// What it is told of our frontier: the logs that it may have, and those
    /// that it offers us, so that it knows what need not be sent.
    pub(crate) fn have_for(&self, device: &DeviceId, ledger: &Ledger) -> Vec<Held> {
        let told = |log: &LogId| {
            ledger.may_tell(device, log)
                || (!log.is_kept()
                    && self
                        .said
                        .as_ref()
                        .is_some_and(|said| said.0.contains_key(log)))
        };
        ledger
            .held()
            .filter(|held| told(&held.log))
            .take(limits::FRONTIER_LOGS_MAX)
            .collect()
    }
}
