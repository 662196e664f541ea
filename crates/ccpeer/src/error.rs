//! How a command ends without success: what happened, why, what to do, and the
//! exit code. Messages are shown as they are and hold no content of sessions.

use std::io::{self, Write};
use std::process::ExitCode;

use ccpeer_agent::api::{ApiError, ErrorCode};
use ccpeer_agent::home::HomeError;
use ccpeer_core::text;

use crate::json;

/// Longest message and hint that is shown, characters.
const MESSAGE_CHARS_MAX: usize = 1000;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// Something to tell the user.
    Told(ApiError),
    /// Whoever read our output has stopped reading: that is success.
    Pipe,
    /// All was said already; only the exit code is left.
    Exit(u8),
}

impl CommandError {
    /// With a code, a message and a hint.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>, hint: &str) -> Self {
        Self::Told(ApiError {
            code,
            message: message.into(),
            hint: (!hint.is_empty()).then(|| hint.to_owned()),
            choices: Vec::new(),
            elsewhere: None,
        })
    }

    /// The command line itself is wrong.
    pub(crate) fn usage(message: impl Into<String>, hint: &str) -> Self {
        Self::new(ErrorCode::Usage, message, hint)
    }

    /// Says it on standard error and gives the exit code.
    pub(crate) fn report(self, as_json: bool) -> ExitCode {
        match self {
            Self::Pipe => ExitCode::SUCCESS,
            Self::Exit(code) => ExitCode::from(code),
            Self::Told(e) => {
                // If standard error is closed there is nobody left to tell.
                let _ = if as_json { tell_json(&e) } else { tell(&e) };
                ExitCode::from(e.code.exit())
            }
        }
    }
}

fn tell(e: &ApiError) -> io::Result<()> {
    let line = |s: &str| text::one_line(s, MESSAGE_CHARS_MAX);
    let mut err = io::stderr().lock();
    writeln!(err, "error: {}", line(&e.message))?;
    for choice in &e.choices {
        writeln!(err, "  {}", line(choice))?;
    }
    if let Some(hint) = &e.hint {
        writeln!(err, "hint: {}", line(hint))?;
    }
    Ok(())
}

fn tell_json(e: &ApiError) -> io::Result<()> {
    #[derive(serde::Serialize)]
    struct Outer<'a> {
        error: &'a ApiError,
    }
    let text = json::line(&Outer { error: e }).unwrap_or_default();
    writeln!(io::stderr(), "{text}")
}

impl From<ApiError> for CommandError {
    fn from(e: ApiError) -> Self {
        Self::Told(e)
    }
}

impl From<io::Error> for CommandError {
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::BrokenPipe {
            return Self::Pipe;
        }
        Self::new(ErrorCode::Disk, format!("cannot write the output: {e}"), "")
    }
}

impl From<HomeError> for CommandError {
    fn from(e: HomeError) -> Self {
        Self::usage(e.to_string(), "set HOME or CCPEER_HOME")
    }
}
