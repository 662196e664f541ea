//! `ccpeer demo`

use crate::context::Context;
use crate::error::CommandError;

/// Show the whole story with two made-up machines
///
/// In a directory of its own: starts two agents, pairs them, continues a made-up
/// session on the other one and brings it back. Nothing of yours is touched.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Leave the directory there afterwards
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(args: &DemoArgs, _: &Context) -> Result<(), CommandError> {
    crate::demo::run(args.keep)
}
