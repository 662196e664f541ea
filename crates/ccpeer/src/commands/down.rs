//! `ccpeer down`

use std::time::{Duration, Instant};

use ccpeer_agent::api::{Done, ErrorCode, Request};
use ccpeer_agent::client::Client;
use ccpeer_agent::home::Home;
use ccpeer_agent::ipc::{self, ConnectError};
use ccpeer_agent::start;

use crate::context::{Context, tell};
use crate::error::CommandError;

/// How long an agent may take to end.
const END_MAX: Duration = Duration::from_secs(15);
/// How often it is asked whether it is still there.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Stop the agent
///
/// Sessions and hooks stay as they are; events of Claude Code wait in the spool
/// until the agent runs again.
#[derive(Debug, clap::Args)]
pub(crate) struct DownArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &DownArgs, context: &Context) -> Result<(), CommandError> {
    let connected = ipc::connect(&context.home, Duration::from_secs(1));
    let message = if matches!(connected, Err(ConnectError::Absent)) {
        "No agent was running."
    } else {
        drop(connected);
        end(&context.home)?;
        "The agent has ended."
    };
    let message = message.to_owned();
    tell(&Done { message }, args.json)
}

/// Tells the agent to end, and waits until it has let go of its files.
///
/// # Errors
/// That there is none, or that it goes on.
pub(crate) fn end(home: &Home) -> Result<(), CommandError> {
    let _: Done = Client::connect(home)?.get(&Request::Down)?;
    let until = Instant::now() + END_MAX;
    while Instant::now() < until {
        // It stops answering before it has let go of its files.
        if !start::is_running(home) {
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err(CommandError::new(
        ErrorCode::Agent,
        format!("the agent has not ended after {} s", END_MAX.as_secs()),
        "see the log in CCPEER_HOME",
    ))
}
