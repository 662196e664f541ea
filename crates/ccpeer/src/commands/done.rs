//! `ccpeer done`

use ccpeer_agent::api::{Done, Request};

use crate::context::{Context, talk};
use crate::error::CommandError;

/// Mark a task as finished, on all machines
#[derive(Debug, clap::Args)]
pub(crate) struct DoneArgs {
    /// Number in the last list, or unique beginning of a session id
    task: String,
}

pub(crate) fn run(args: &DoneArgs, context: &Context) -> Result<(), CommandError> {
    mark(&args.task, true, context)
}

pub(crate) fn mark(task: &str, done: bool, context: &Context) -> Result<(), CommandError> {
    let answer: Done = context.get(&Request::Mark {
        task: task.to_owned(),
        done,
    })?;
    talk(answer.message);
    Ok(())
}
