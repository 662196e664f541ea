//! Planted bugs. A simulator that does not find them would not find ours either.

use ccpeer_core::mutant::Mutant as Planted;

use crate::survey::with_good_clocks_too;
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
    /// A full disk is taken for a disk.
    FullIgnored,
    /// Chunks are served as they lie on the disk.
    ServedUnchecked,
    /// Chunks from peers are kept without a look at their hash.
    ContentUnchecked,
    /// What is no manifest is kept as one.
    KindUnchecked,
    /// Damage that was found stays on the list of what is whole.
    DamageNotForgotten,
    /// The machine is not told of damage that was found.
    DamageNotTold,
    /// Signatures are not looked at.
    ForgeryAccepted,
    /// The disk does not keep as what something is whole.
    MarksWithoutKinds,
    /// Manifests and documents are served to whoever can name them.
    WithheldServed,
}

/// Every mutant, with a name for people, and a seed before which none finds it,
/// so that the tests need not look there again.
pub const ALL: [(Mutant, &str, u64); 45] = [
    (Mutant::Machine(Planted::GapAccepted), "gap accepted", 7),
    (Mutant::Machine(Planted::ForkAccepted), "fork accepted", 65),
    (
        Mutant::Machine(Planted::NoPeriodicHave),
        "no periodic have",
        259,
    ),
    (
        Mutant::Machine(Planted::ServeToAnybody),
        "serve to anybody",
        0,
    ),
    (
        Mutant::Machine(Planted::AcceptFromRevoked),
        "accept from revoked",
        54,
    ),
    (
        Mutant::Machine(Planted::RevocationForgotten),
        "revocation forgotten",
        55,
    ),
    (
        Mutant::Machine(Planted::QuarantineIgnored),
        "quarantine ignored",
        0,
    ),
    (
        Mutant::Machine(Planted::IntroducerRevives),
        "introducer revives",
        0,
    ),
    (Mutant::Machine(Planted::ForkSettled), "fork settled", 0),
    (Mutant::Machine(Planted::NoPassingOn), "no passing on", 44),
    (
        Mutant::Machine(Planted::NeverSentAgain),
        "never sent again",
        220,
    ),
    (
        Mutant::Machine(Planted::NeverAskedAgain),
        "never asked again",
        0,
    ),
    (
        Mutant::Machine(Planted::LinkLossIgnored),
        "link loss ignored",
        650,
    ),
    (Mutant::Machine(Planted::NoProofAsked), "no proof asked", 7),
    (
        Mutant::Machine(Planted::RepeatedForEver),
        "repeated for ever",
        159,
    ),
    (
        Mutant::Machine(Planted::StrippedAccepted),
        "stripped accepted",
        22,
    ),
    (
        Mutant::Machine(Planted::ClaimBelieved),
        "claim believed",
        12,
    ),
    (Mutant::Machine(Planted::ClockJumps), "clock jumps", 12),
    (
        Mutant::Machine(Planted::ReplayMovesBack),
        "replay moves back",
        0,
    ),
    (
        Mutant::Machine(Planted::LossUnderWay),
        "loss under way",
        109,
    ),
    (
        Mutant::Machine(Planted::NoPauseWhenFull),
        "no pause when full",
        335,
    ),
    (
        Mutant::Machine(Planted::NewestByWallClock),
        "newest by wall clock",
        8,
    ),
    (Mutant::SendBeforePersist, "send before persist", 0),
    (Mutant::AckBeforePersist, "ack before persist", 0),
    (Mutant::LostFsync, "lost fsync", 0),
    (Mutant::WallClockOrder, "wall-clock order", 0),
    (Mutant::VanishPropagated, "vanish propagated", 0),
    (Mutant::EntryBeforeChunks, "entry before chunks", 0),
    (Mutant::CompleteTooEarly, "complete too early", 0),
    (Mutant::FailureSwallowed, "failure swallowed", 7),
    (Mutant::NoNewEpoch, "no new epoch", 65),
    (Mutant::NoRestatement, "no restatement", 65),
    (Mutant::FullIgnored, "full disk ignored", 9),
    (Mutant::ServedUnchecked, "served unchecked", 0),
    (Mutant::ContentUnchecked, "content unchecked", 12),
    (Mutant::KindUnchecked, "kind unchecked", 39),
    (Mutant::DamageNotForgotten, "damage not forgotten", 9),
    (Mutant::DamageNotTold, "damage not told", 9),
    (Mutant::ForgeryAccepted, "forgery accepted", 0),
    (Mutant::Machine(Planted::KindsMixedUp), "kinds mixed up", 7),
    (
        Mutant::Machine(Planted::DigestsIgnored),
        "digests ignored",
        0,
    ),
    (Mutant::MarksWithoutKinds, "marks without kinds", 39),
    (
        Mutant::Machine(Planted::LocalServed),
        "local-only served",
        0,
    ),
    (
        Mutant::Machine(Planted::TightenedServed),
        "tightened served",
        0,
    ),
    (Mutant::WithheldServed, "withheld chunks served", 0),
];

/// Seeds within which a mutant must be found.
pub const SEEDS_MAX: u64 = 2_000;

/// The first seed from `from` on that finds a mutant.
#[must_use]
pub fn hunt(mutant: Mutant, from: u64) -> Option<Outcome> {
    (from..from + SEEDS_MAX)
        .map(|seed| examine(seed, Some(mutant)))
        .find(|outcome| outcome.failure.is_some())
}

/// Everything that is looked at in a seed: the run itself, and for every fourth
/// one what wrong clocks changed.
#[must_use]
pub fn examine(seed: u64, mutant: Option<Mutant>) -> Outcome {
    if seed.is_multiple_of(4) {
        return with_good_clocks_too(seed, mutant);
    }
    let how = Run {
        mutant,
        ..Run::default()
    };
    run(seed, how)
}
