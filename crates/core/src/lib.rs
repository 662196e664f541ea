//! What is true in ccpeer: ids, signed entries, logs, lineage, trust, and the
//! sync machine.
//!
//! The promise of this crate: it is fully deterministic. It names no clock, no
//! file, no socket, no thread and no source of randomness; the compiler keeps it
//! so, because the crate is `no_std`. Time, seeds and bytes are arguments. The
//! same events give the same effects, byte for byte, on every machine.
//!
//! Where to look first: [`sync::event::Event`] and [`sync::effect::Effect`] are
//! everything that can happen and everything that can be asked for;
//! [`limits`] is every bound; [`entry`] and [`manifest`] are what is signed and
//! what is stored.
#![no_std]
#![warn(missing_docs)]
#![warn(clippy::indexing_slicing)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod codec;
pub mod digest;
pub mod entry;
pub mod id;
pub mod limits;
pub mod lineage;
pub mod log;
pub mod manifest;
#[cfg(feature = "mutants")]
pub mod mutant;
pub mod presence;
pub mod roll;
pub mod safety;
pub mod sharing;
pub mod store;
pub mod sync;
pub mod text;
pub mod time;
pub mod trust;
pub mod wire;
