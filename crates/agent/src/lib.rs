//! The running peer: one driver task owns the sync machine; capture and
//! placement connect it with Claude Code's directory; a local socket connects it
//! with commands and hooks.
//!
//! Entry points: `start::run` is the agent; [`client::Client`] is how every
//! other process talks to it, in the words of [`api`]. [`home::Home`] knows every
//! path that ccpeer owns.
#![warn(clippy::indexing_slicing)]

pub mod api;
pub mod client;
pub mod home;
pub mod ipc;
