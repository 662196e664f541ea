//! `ccpeer agent`

use std::io::Write;
use std::path::PathBuf;

use ccpeer_agent::api::ErrorCode;
use ccpeer_agent::home::Home;

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
    /// Instead of CCPEER_HOME: for a task of Windows, which has no environment
    #[arg(long, hide = true)]
    home: Option<PathBuf>,
    /// Instead of CLAUDE_CONFIG_DIR, likewise
    #[arg(long, hide = true)]
    claude_dir: Option<PathBuf>,
}

pub(crate) fn run(args: &AgentArgs, context: &Context) -> Result<(), CommandError> {
    starting::with_one_heap();
    let said = |name: &str| match name {
        "CCPEER_HOME" => args.home.as_ref(),
        "CLAUDE_CONFIG_DIR" => args.claude_dir.as_ref(),
        _ => None,
    };
    if args.home.is_none() && args.claude_dir.is_none() {
        return run_with(&args.network, args.background, context);
    }
    let env = |name: &str| {
        let said = said(name).map(|path| path.clone().into_os_string());
        said.or_else(|| std::env::var_os(name))
    };
    let home = Home::from_env(&env)?;
    run_with(&args.network, args.background, &Context { home })
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
