//! The demonstration: two homes in one scratch directory.

use crate::error::CommandError;

pub(crate) fn run(keep: bool) -> Result<(), CommandError> {
    let _ = keep;
    Err(CommandError::usage("not yet", ""))
}
