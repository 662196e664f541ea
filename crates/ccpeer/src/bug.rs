//! What a mistake of ours looks like from outside: one short message, exit code
//! 70, and never the content of what was being worked on.

use std::io::Write;
use std::panic::PanicHookInfo;

use ccpeer_agent::api::ErrorCode;

/// Ends the process at the first panic of any thread: a command has nothing to
/// save.
pub(crate) fn end_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        tell(info);
        std::process::exit(ErrorCode::Bug.exit().into());
    }));
}

/// Says where a panic happened and lets it unwind: the agent goes on without
/// the task that failed.
pub(crate) fn tell_on_panic() {
    std::panic::set_hook(Box::new(tell));
}

// The payload of a panic may quote what was being read, so only the place is told.
fn tell(info: &PanicHookInfo<'_>) {
    let mut err = std::io::stderr().lock();
    let _ = match info.location() {
        Some(at) => writeln!(
            err,
            "error: this is a bug in ccpeer, at {}:{}",
            at.file(),
            at.line()
        ),
        None => writeln!(err, "error: this is a bug in ccpeer"),
    };
    let _ = writeln!(err, "hint: nothing was lost; please report the line above");
}
