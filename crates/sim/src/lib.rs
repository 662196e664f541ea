//! The bench: a whole world of devices from one seed.
//!
//! Each device is the shipping [`Machine`](ccpeer_core::sync::machine::Machine)
//! with a small driver around it, a disk that loses what was not synced, and a
//! network that fails in the ways networks fail. Everything, the kind of world
//! included, follows from one `u64`; a seed that fails once fails always.
//!
//! Start with [`world::run`]. Nothing in here is ever shipped.
#![warn(missing_docs)]

mod adversary;
mod agree;
pub mod check;
mod clock;
mod courier;
pub mod disk;
mod driver;
mod faults;
mod members;
pub mod mutants;
mod network;
mod policy;
mod rng;
pub mod survey;
pub mod swarm;
pub mod trace;
mod workload;
pub mod world;

#[cfg(test)]
mod tests;
