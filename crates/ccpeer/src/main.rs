//! The program: commands, views, and the hook client. It talks to the agent
//! through `ccpeer_agent::client` and starts it through `ccpeer_agent::start`; it
//! must not know how anything is stored or sent.

mod browser;
mod bug;
mod cli;
mod commands;
mod context;
mod demo;
mod environment;
mod error;
mod examples;
mod fence;
mod hook;
mod json;
mod paths;
mod prompt;
#[cfg(test)]
mod reference;
mod registered;
mod relay_choice;
mod starting;
mod table;
mod terminal;
mod tools;
mod tui;
mod when;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Claude Code waits for hooks: nothing else runs before this one.
    match hook::call(std::env::args_os()) {
        Some(call) => hook::run(call),
        None => cli::run(),
    }
}
