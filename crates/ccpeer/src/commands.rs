//! One file a command: its arguments, whose doc comments are its help, and
//! `run`. A command asks the agent and prints; it decides nothing that another
//! client of the agent would have to decide again.

pub(crate) mod accept;
pub(crate) mod agent;
pub(crate) mod completions;
pub(crate) mod continue_task;
pub(crate) mod demo;
pub(crate) mod devices;
pub(crate) mod dial;
pub(crate) mod doctor;
pub(crate) mod done;
pub(crate) mod down;
pub(crate) mod git;
pub(crate) mod hook;
pub(crate) mod hooks;
pub(crate) mod join;
pub(crate) mod man;
pub(crate) mod mcp;
pub(crate) mod mv;
pub(crate) mod pair;
pub(crate) mod pause;
pub(crate) mod policy;
pub(crate) mod projects;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod rekey;
pub(crate) mod relay;
pub(crate) mod rename;
pub(crate) mod reopen;
pub(crate) mod resume;
pub(crate) mod revoke;
pub(crate) mod search;
pub(crate) mod secrets;
pub(crate) mod serve;
pub(crate) mod service;
pub(crate) mod sessions;
pub(crate) mod show;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod tasks;
pub(crate) mod tui;
pub(crate) mod ui;
pub(crate) mod undo;
pub(crate) mod up;
pub(crate) mod verify;
pub(crate) mod why;
