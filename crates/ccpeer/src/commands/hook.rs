//! `ccpeer hook`: only its help. `main` runs the hook client before clap.

use crate::context::Context;
use crate::error::CommandError;

/// Tell the agent about an event of Claude Code
///
/// This is what the installed hooks run. The event's JSON is read from standard
/// input. It ends with exit code 0 within 400 ms, whatever happens; what the
/// agent does not take waits in the spool.
#[derive(Debug, clap::Args)]
pub(crate) struct HookArgs {
    /// Name of the event, for example Stop
    #[arg(value_name = "EVENT")]
    event: Option<String>,
}

pub(crate) fn run(args: &HookArgs, _: &Context) -> Result<(), CommandError> {
    let event = args.event.as_deref().unwrap_or_default();
    crate::hook::run(crate::hook::Call::of(event));
    Ok(())
}
