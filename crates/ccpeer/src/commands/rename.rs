//! `ccpeer rename`

use ccpeer_agent::api::{Done, Request};

use crate::context::{Context, tell};
use crate::error::CommandError;

/// Change the name under which this device is shown
#[derive(Debug, clap::Args)]
pub(crate) struct RenameArgs {
    /// The new name, at most 32 characters
    name: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &RenameArgs, context: &Context) -> Result<(), CommandError> {
    let done: Done = context.get(&Request::Rename {
        name: args.name.clone(),
    })?;
    tell(&done, args.json)
}
