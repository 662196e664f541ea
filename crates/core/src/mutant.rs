//! Bugs that can be planted into the machine, so that the simulator can prove
//! that it would see them. Compiled only with the feature `mutants`; bugs of a
//! driver or a disk live in the simulator itself.

use crate::entry::VerifiedEntry;
use crate::lineage::Order;
use crate::log::{Fit, Tip};
use crate::time::Timestamp;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// An entry is accepted although one before it is missing.
    GapAccepted,
    /// An entry is accepted although it does not grow from ours.
    ForkAccepted,
    /// Frontiers are only compared when something happens.
    NoPeriodicHave,
    /// Everybody is told everything.
    ServeToAnybody,
    /// What a revoked device says is still accepted from others.
    AcceptFromRevoked,
    /// Trust that was given again after a revocation counts.
    RevocationForgotten,
    /// Whom another member has revoked is served and believed as before.
    QuarantineIgnored,
    /// Whom we revoked is trusted again when an introducer of ours adds it.
    IntroducerRevives,
    /// A fork is settled by whoever comes last.
    ForkSettled,
    /// What others said is kept and not passed on.
    NoPassingOn,
    /// What was sent once is taken for received.
    NeverSentAgain,
    /// A chunk that nobody had is not asked for again.
    NeverAskedAgain,
    /// A link that went away is not noticed by the fetcher.
    LinkLossIgnored,
    /// A peer whose frontier contradicts ours is not shown our branch.
    NoProofAsked,
    /// Twins repeat each other's versions.
    RepeatedForEver,
    /// An entry is accepted without what it says.
    StrippedAccepted,
    /// A peer that claims to hold more of our own log is believed.
    ClaimBelieved,
    /// An entry moves our lamport clock on as far as it likes.
    ClockJumps,
    /// An entry that was held already takes the log back to where it stood.
    ReplayMovesBack,
    /// A chunk that is lost while the rest of its root comes in is not missed.
    LossUnderWay,
    /// A full disk is tried again at once, for ever.
    NoPauseWhenFull,
    /// Of two statements, the one with the later wall clock is the newer one.
    NewestByWallClock,
    /// What is here as one thing is taken to be here as any other.
    KindsMixedUp,
    /// A peer is taken to hold what we hold, whatever its digests say.
    DigestsIgnored,
    /// What is kept here is told to others.
    LocalServed,
    /// What was stated before its session became local is read to others as ever.
    TightenedServed,
}

/// What a planted bug makes of a statement's place among others.
pub(crate) fn order(planted: Option<Mutant>, order: Order, at: Timestamp) -> Order {
    match planted {
        Some(Mutant::NewestByWallClock) => Order {
            lamport: at.0,
            ..order
        },
        _ => order,
    }
}

/// What a planted bug makes of an entry's standing, if it has a say in it.
pub(crate) fn fit(planted: Option<Mutant>, tip: Tip, entry: &VerifiedEntry) -> Option<Fit> {
    match (planted?, tip.compare(entry)) {
        (Mutant::GapAccepted, Fit::Gap) => Some(Fit::Next),
        (Mutant::ForkAccepted, Fit::Fork) if entry.seq() == tip.seq.next() => Some(Fit::Next),
        _ => None,
    }
}
