//! `ccpeer undo`

use ccpeer_agent::api::{Request, Undone};

use crate::context::{Context, talk};
use crate::error::CommandError;

/// Take back the last placement, byte for byte
#[derive(Debug, clap::Args)]
pub(crate) struct UndoArgs {}

pub(crate) fn run(_: &UndoArgs, context: &Context) -> Result<(), CommandError> {
    let undone: Undone = context.get(&Request::Undo)?;
    talk(format!(
        "session {}: {} files restored, {} removed",
        undone.session_id, undone.restored, undone.removed
    ));
    Ok(())
}
