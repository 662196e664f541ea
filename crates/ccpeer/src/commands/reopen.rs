//! `ccpeer reopen`

use crate::commands::done::mark;
use crate::context::Context;
use crate::error::CommandError;

/// Mark a finished task as unfinished again
#[derive(Debug, clap::Args)]
pub(crate) struct ReopenArgs {
    /// Number in the last list (see `tasks --all`), or unique beginning of a session id
    task: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ReopenArgs, context: &Context) -> Result<(), CommandError> {
    mark(&args.task, false, args.json, context)
}
