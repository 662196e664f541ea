//! Bugs that can be planted into the machine, so that the simulator can prove
//! that it would see them. Compiled only with the feature `mutants`; bugs of a
//! driver or a disk live in the simulator itself.

use crate::entry::VerifiedEntry;
use crate::log::{Fit, Tip};

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
}

/// What a planted bug makes of an entry's standing, if it has a say in it.
pub(crate) fn fit(planted: Option<Mutant>, tip: Tip, entry: &VerifiedEntry) -> Option<Fit> {
    match (planted?, tip.compare(entry)) {
        (Mutant::GapAccepted, Fit::Gap) => Some(Fit::Next),
        (Mutant::ForkAccepted, Fit::Fork) if entry.seq() == tip.seq.next() => Some(Fit::Next),
        _ => None,
    }
}
