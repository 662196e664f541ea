//! The hook client as a program of its own, `ccpeer-hook`: it starts in half of
//! the time that the whole program takes. Claude Code's settings name it where it
//! lies beside `ccpeer`.
//!
//! It must not know anything but `hook.rs`, or it becomes the whole program.

#[path = "../hook.rs"]
mod hook;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(call) = hook::call(std::env::args_os()) {
        return hook::run(call);
    }
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args == ["--version"] {
        // Whoever writes it into settings asks for this.
        let said = writeln!(
            std::io::stdout(),
            "ccpeer-hook {}",
            env!("CARGO_PKG_VERSION")
        );
        return if said.is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let _nobody_reads = writeln!(
        std::io::stderr(),
        "ccpeer-hook is what Claude Code's hooks run\nhint: see `ccpeer hook --help`"
    );
    // Never 2: that would stop Claude Code's turn.
    ExitCode::FAILURE
}
