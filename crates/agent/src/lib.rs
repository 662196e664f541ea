//! The running peer: one driver task owns the sync machine; capture and
//! placement connect it with Claude Code's directory; a local socket connects it
//! with commands and hooks.
//!
//! Entry points: [`start::run`] is the agent; [`client::Client`] is how every
//! other process talks to it, in the words of [`api`]. [`home::Home`] knows every
//! path that ccpeer owns.
#![warn(clippy::indexing_slicing)]

pub mod api;
pub mod client;
pub mod doctor;
pub mod dumps;
pub mod home;
pub mod hooks;
pub mod ipc;
pub mod relay_host;
pub mod service;
pub mod spool;
pub mod start;
pub mod starts;

mod binding;
mod capture;
mod code;
mod confined;
mod disk;
mod driver;
mod enrich;
mod exposed;
mod findings;
mod former;
mod frames;
mod git;
mod inbox;
mod intake;
mod jobs;
mod keys;
mod listen;
mod lists;
mod live;
mod local;
mod logging;
mod memo;
mod mirror;
mod parcels;
mod pause;
mod peers;
mod place;
mod policy;
mod pool;
mod problem;
mod process;
mod projects;
mod random;
mod registry_watch;
mod relays;
mod retention;
mod rounds;
mod scan;
mod search;
mod serve;
mod server;
mod sharing;
mod slugs;
mod spare;
mod start_line;
mod states;
#[cfg(test)]
mod testing;
mod transcript;
mod ui;
mod unasked;
mod view;
mod wake;
