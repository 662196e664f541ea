//! The sync machine: per-device hash-chained logs, a frontier, and chunks that
//! follow by hash. [`machine::Machine`] is the only door.
//!
//! Inside, from the ground up: `ledger` is what the entries say, `peers` is what
//! we know of those we are linked with, `fetch` is which chunks are missing and
//! who is asked for them, `told` what a peer may know to be whole; `machine` turns events into effects with their help.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod effect;
pub mod event;
pub(crate) mod fetch;
pub(crate) mod ledger;
pub mod machine;
pub(crate) mod peers;
pub(crate) mod told;
