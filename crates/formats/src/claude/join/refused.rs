//! Why two lines are not put in a row. Positions, never content.

use ccpeer_core::limits;

/// A part of what is joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What both sides have.
    Base,
    /// What only this machine's file has.
    Local,
    /// What only the other side's has.
    Theirs,
}

/// Why two lines are not put in a row. Lines are counted from 1 in the whole file
/// of that side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// They have no turn in common.
    #[error("the two lines have no turn in common")]
    NoBase,
    /// The other side has no turn behind the base.
    #[error("there is no turn to join")]
    NothingToJoin,
    /// A conversation was compacted behind the base.
    #[error("line {line} of the {} compacts the conversation", side(.part))]
    Compacted {
        /// Whose.
        part: Part,
        /// Where.
        line: u64,
    },
    /// A sub-agent's record stands among the turns behind the base.
    #[error("line {line} of the {} belongs to a sub-agent", side(.part))]
    Sidechain {
        /// Whose.
        part: Part,
        /// Where.
        line: u64,
    },
    /// The other side moved the session to another project.
    #[error("line {line} of the {} moves the session to another directory", side(.part))]
    Relocated {
        /// Whose.
        part: Part,
        /// Where.
        line: u64,
    },
    /// A file ends within a record, or a line behind the base is none.
    #[error("line {line} of the {} is no whole record", side(.part))]
    Torn {
        /// Whose.
        part: Part,
        /// Where.
        line: u64,
    },
    /// A line is too long to be held.
    #[error("line {line} of the {} is longer than {} bytes", side(.part), limits::PLACED_LINE_BYTES_MAX)]
    LongLine {
        /// Whose.
        part: Part,
        /// Where.
        line: u64,
    },
    /// There are more records than are remembered.
    #[error("the two lines have more than {} records", limits::JOIN_RECORDS_MAX)]
    TooMany,
    /// A tool was called and its result is not there where the sides part, or
    /// where the local one ends.
    #[error("a tool call at the end of the {} has no result", side(.0))]
    PendingTool(Part),
    /// A side went back to before the base's end, or began anew.
    #[error("the {} went back to an earlier turn", side(.0))]
    Rewound(Part),
    /// The other side goes on in the middle of a turn.
    #[error("line {line} of the other side's line goes on within a turn")]
    MidTurn {
        /// Where.
        line: u64,
    },
    /// The sides share records in a way that has no order, or a record has no
    /// name that could be pointed at.
    #[error("the two lines are entangled")]
    Tangled,
}

fn side(part: &Part) -> &'static str {
    match part {
        Part::Base => "common base",
        Part::Local => "local line",
        Part::Theirs => "other side's line",
    }
}
