//! `ccpeer resume`

use ccpeer_agent::api::{Policy, PolicyChange, Request};

use crate::context::{Context, say_json, talk};
use crate::error::CommandError;

/// End a pause: exchange with other machines again
///
/// The same as `ccpeer policy resume`. To go on with a session, use `ccpeer
/// continue`.
#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    /// Nothing; a task belongs to `continue`
    #[arg(hide = true)]
    task: Option<String>,
    /// Print the policy as one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ResumeArgs, context: &Context) -> Result<(), CommandError> {
    if args.task.is_some() {
        return Err(CommandError::usage(
            "`resume` ends a pause and takes no task",
            "`ccpeer continue TASK` goes on with a session",
        ));
    }
    end(args.json, context)
}

/// Ends the pause.
pub(crate) fn end(as_json: bool, context: &Context) -> Result<(), CommandError> {
    let change = Some(PolicyChange::Resume);
    let policy: Policy = context.get(&Request::Policy { change })?;
    if as_json {
        return say_json(&policy);
    }
    talk("No pause: sessions are exchanged with your other machines.");
    Ok(())
}
