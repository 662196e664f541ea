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
}

/// Every mutant, with a name for people.
pub const ALL: [(Mutant, &str); 14] = [
    (Mutant::Machine(Planted::GapAccepted), "gap accepted"),
    (Mutant::Machine(Planted::ForkAccepted), "fork accepted"),
    (Mutant::Machine(Planted::NoPeriodicHave), "no periodic have"),
    (Mutant::Machine(Planted::ServeToAnybody), "serve to anybody"),
    (Mutant::Machine(Planted::AcceptFromRevoked), "accept from revoked"),
    (Mutant::SendBeforePersist, "send before persist"),
    (Mutant::AckBeforePersist, "ack before persist"),
    (Mutant::LostFsync, "lost fsync"),
    (Mutant::WallClockOrder, "wall-clock order"),
    (Mutant::VanishPropagated, "vanish propagated"),
    (Mutant::EntryBeforeChunks, "entry before chunks"),
    (Mutant::CompleteTooEarly, "complete too early"),
    (Mutant::FailureSwallowed, "failure swallowed"),
    (Mutant::NoNewEpoch, "no new epoch"),
];

/// Seeds within which a mutant must be found.
pub const SEEDS_MAX: u64 = 2_000;

/// The first seed that finds a mutant, and how many seeds it took.
#[must_use]
pub fn hunt(mutant: Mutant) -> Option<(u64, Outcome)> {
    (0..SEEDS_MAX).find_map(|seed| {
        let outcome = run(seed, Run { mutant: Some(mutant), whole_trace: false });
        outcome.failure.is_some().then_some((seed + 1, outcome))
    })
}
