//! What the formats promise about much and about large: many generated files
//! and lines, one huge line, one huge session. Each test has a quick form; the
//! full one runs under `CCPEER_BULK=full` (`just bulk`, in release, because a
//! speed is part of it).
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod corpus;
mod generate;
mod join;
mod large;
mod measure;
