//! Planted bugs. A simulator that does not find them would not find ours either.

use ccpeer_core::mutant::Mutant as Planted;

use crate::world::{Outcome, Run, run};

/// A bug that can be planted, in the machine or in what surrounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// In the machine.
    Machine(Planted),
    /// Messages leave before what they speak of is durable.
    SendBeforePersist,
    /// A user is told that something is safe before it is.
    AckBeforePersist,
    /// One disk says that it synced, and did not.
    LostFsync,
    /// The newest head is the one with the latest wall clock.
    WallClockOrder,
    /// A file that vanished at its source is thrown away by everybody.
    VanishPropagated,
    /// An entry is written before the chunks that it speaks of.
    EntryBeforeChunks,
    /// A manifest is called whole while a chunk is missing.
    CompleteTooEarly,
    /// A peer's "I do not hold it" gets lost in the driver.
    FailureSwallowed,
    /// A device that found its own log behind goes on in the old epoch.
    NoNewEpoch,
    /// What the old epoch said is not said again in the new one.
    NoRestatement,
}

/// Every mutant, with a name for people, and a seed before which none finds it,
/// so that the tests need not look there again.
pub const ALL: [(Mutant, &str, u64); 22] = [
    (Mutant::Machine(Planted::GapAccepted), "gap accepted", 0),
    (Mutant::Machine(Planted::ForkAccepted), "fork accepted", 41),
    (
        Mutant::Machine(Planted::NoPeriodicHave),
        "no periodic have",
        258,
    ),
    (
        Mutant::Machine(Planted::ServeToAnybody),
        "serve to anybody",
        0,
    ),
    (
        Mutant::Machine(Planted::AcceptFromRevoked),
        "accept from revoked",
        46,
    ),
    (
        Mutant::Machine(Planted::RevocationForgotten),
        "revocation forgotten",
        4,
    ),
    (Mutant::Machine(Planted::ForkSettled), "fork settled", 0),
    (Mutant::Machine(Planted::NoPassingOn), "no passing on", 41),
    (
        Mutant::Machine(Planted::NeverSentAgain),
        "never sent again",
        187,
    ),
    (
        Mutant::Machine(Planted::NeverAskedAgain),
        "never asked again",
        0,
    ),
    (
        Mutant::Machine(Planted::LinkLossIgnored),
        "link loss ignored",
        788,
    ),
    (
        Mutant::Machine(Planted::NoProofAsked),
        "no proof asked",
        1473,
    ),
    (Mutant::SendBeforePersist, "send before persist", 0),
    (Mutant::AckBeforePersist, "ack before persist", 8),
    (Mutant::LostFsync, "lost fsync", 0),
    (Mutant::WallClockOrder, "wall-clock order", 0),
    (Mutant::VanishPropagated, "vanish propagated", 0),
    (Mutant::EntryBeforeChunks, "entry before chunks", 0),
    (Mutant::CompleteTooEarly, "complete too early", 0),
    (Mutant::FailureSwallowed, "failure swallowed", 0),
    (Mutant::NoNewEpoch, "no new epoch", 41),
    (Mutant::NoRestatement, "no restatement", 41),
];

/// Seeds within which a mutant must be found.
pub const SEEDS_MAX: u64 = 2_000;

/// The first seed from `from` on that finds a mutant.
#[must_use]
pub fn hunt(mutant: Mutant, from: u64) -> Option<Outcome> {
    (from..from + SEEDS_MAX)
        .map(|seed| {
            run(
                seed,
                Run {
                    mutant: Some(mutant),
                    whole_trace: false,
                },
            )
        })
        .find(|outcome| outcome.failure.is_some())
}
