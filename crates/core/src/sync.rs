//! The sync machine: per-device hash-chained logs, a frontier, and chunks that
//! follow by hash. [`machine::Machine`] is the only door.

pub mod effect;
pub mod event;
