//! `ccpeer join`

use std::ffi::OsString;

use ccpeer_agent::api::{PairEvent, Request};
use ccpeer_agent::dumps;
use ccpeer_core::text;

use crate::commands::pair::{Outcome, name};
use crate::context::{Context, say_json, talk};
use crate::error::CommandError;
use crate::prompt;

/// Join a machine that runs `ccpeer pair`
///
/// Asks for the code or the ticket that the other machine shows, or reads it as
/// one line from standard input. It is never given as an argument, because other
/// users of the machine can see those.
#[derive(Debug, clap::Args)]
pub(crate) struct JoinArgs {
    /// Print one JSON document a line
    #[arg(long)]
    json: bool,
    /// Caught here so that no message of clap repeats it.
    #[arg(hide = true)]
    secret: Vec<OsString>,
}

pub(crate) fn run(args: &JoinArgs, context: &Context) -> Result<(), CommandError> {
    if !args.secret.is_empty() {
        return Err(CommandError::usage(
            "a code or ticket is not taken from the command line, where others can see it",
            "run `ccpeer join` and type it, or pipe it: `ccpeer join < file`",
        ));
    }
    dumps::forbid();
    let mut agent = context.agent()?;
    let secret = prompt::line("Code or ticket shown on the other machine: ")
        .filter(|secret| !secret.is_empty())
        .ok_or_else(|| {
            CommandError::usage(
                "no code or ticket was given",
                "run `ccpeer pair` on the other machine; it shows one",
            )
        })?;
    let mut outcome = Outcome::default();
    let ended = agent.ask::<serde_json::Value>(
        &Request::Join { secret },
        &mut |_, value| {
            if args.json {
                outcome.keep(say_json(&value));
            }
            if let Ok(event) = serde_json::from_value::<PairEvent>(value) {
                outcome.see(&event);
                if !args.json {
                    show(&event);
                }
            }
            Ok(())
        },
        &mut |_| {},
    );
    outcome.end(ended.map(|_| ()), args.json)
}

fn show(event: &PairEvent) {
    match event {
        PairEvent::Searching { found: 0 } => talk("Looking for the other machine …"),
        PairEvent::Searching { found } => talk(format!("Found {found}, trying …")),
        PairEvent::Waiting { device } => talk(format!("Waiting for the yes on {} …", name(device))),
        PairEvent::Relay { url } => talk(format!(
            "From now on this device also uses the relay {}.",
            text::one_line(url, 200)
        )),
        PairEvent::Paired { device } => {
            talk(format!(
                "Paired with {}. `ccpeer` lists the unfinished tasks of both machines.",
                name(device)
            ));
        }
        _ => {}
    }
}
