//! `ccpeer done`

use ccpeer_agent::api::{Done, Request};

use crate::context::{Context, tell};
use crate::error::CommandError;

/// Mark a task as finished, on all machines
#[derive(Debug, clap::Args)]
pub(crate) struct DoneArgs {
    /// Number in the last list, or unique beginning of a session id
    task: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &DoneArgs, context: &Context) -> Result<(), CommandError> {
    mark(&args.task, true, args.json, context)
}

pub(crate) fn mark(
    task: &str,
    done: bool,
    as_json: bool,
    context: &Context,
) -> Result<(), CommandError> {
    let answer: Done = context.get(&Request::Mark {
        task: task.to_owned(),
        done,
    })?;
    tell(&answer, as_json)
}
