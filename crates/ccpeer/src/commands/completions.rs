//! `ccpeer completions`

use crate::context::{Context, say};
use crate::error::CommandError;

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// For this shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &CompletionsArgs, _: &Context) -> Result<(), CommandError> {
    // Into memory first: the generator panics where a pipe breaks.
    let mut script = Vec::new();
    let mut command = crate::cli::command();
    clap_complete::generate(args.shell, &mut command, "ccpeer", &mut script);
    say(String::from_utf8_lossy(&script).trim_end())
}
