//! `ccpeer agent`

use std::io::Write;

use ccpeer_agent::api::ErrorCode;

use crate::context::Context;
use crate::error::CommandError;
use crate::starting::{self, FAILED, Network};
use crate::{bug, json};

/// Run the agent in the foreground
///
/// This is what a service manager runs. One line that begins with `ready` is
/// printed when the agent accepts work. It ends on `ccpeer down`, on an
/// interrupt, and with exit code 3 if another agent of the same home runs.
#[derive(Debug, clap::Args)]
pub(crate) struct AgentArgs {
    #[command(flatten)]
    pub(crate) network: Network,
    /// Leave the terminal and log to the file only
    #[arg(long, hide = true)]
    background: bool,
}

pub(crate) fn run(args: &AgentArgs, context: &Context) -> Result<(), CommandError> {
    starting::with_one_heap();
    run_with(&args.network, args.background, context)
}

pub(crate) fn run_with(
    network: &Network,
    background: bool,
    context: &Context,
) -> Result<(), CommandError> {
    bug::tell_on_panic();
    let say = |line: &str| {
        let mut out = std::io::stdout();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    };
    let home = context.home.clone();
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        starting::run_here(home, network, background, &mut |line| say(&line))
    }));
    match ran {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => {
            if background {
                say(&format!("{FAILED}{}", json::line(&e)?));
            }
            Err(e.into())
        }
        Err(_) => Err(CommandError::Exit(ErrorCode::Bug.exit())),
    }
}
