//! Directories as they are given on the command line.

use std::path::Path;

use ccpeer_agent::api::ErrorCode;

use crate::error::CommandError;

/// The absolute form of a path that need not exist.
///
/// # Errors
/// When it is no text, or empty.
pub(crate) fn absolute(path: &Path) -> Result<String, CommandError> {
    let absolute = std::path::absolute(path).map_err(|e| {
        CommandError::usage(
            format!("{} is no path: {e}", path.display()),
            "give the path of a directory",
        )
    })?;
    absolute.to_str().map(str::to_owned).ok_or_else(|| {
        CommandError::usage(
            format!("{} is not text", path.display()),
            "rename the directory",
        )
    })
}

/// The same of a directory that is there.
///
/// # Errors
/// As above, and when it is not.
pub(crate) fn directory(path: &Path) -> Result<String, CommandError> {
    let text = absolute(path)?;
    if Path::new(&text).is_dir() {
        return Ok(text);
    }
    Err(CommandError::new(
        ErrorCode::NotFound,
        format!("{text} is not a directory"),
        "give a directory that exists",
    ))
}
