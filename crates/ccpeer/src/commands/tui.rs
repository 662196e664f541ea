//! `ccpeer tui`

use crate::context::Context;
use crate::error::CommandError;
use crate::tui;

/// Look at everything in the terminal, and work with it
///
/// Tasks, sessions by project, devices, and what is on its way, as it changes. Keys
/// continue a session here (c), push (p), pull (l), undo (u), and mark a task as done
/// (d); `?` lists all of them. Works over ssh, without a mouse and without colour.
#[derive(Debug, clap::Args)]
pub(crate) struct TuiArgs {}

pub(crate) fn run(_: &TuiArgs, context: &Context) -> Result<(), CommandError> {
    tui::run(context)
}
