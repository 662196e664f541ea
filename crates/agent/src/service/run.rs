//! Running a service manager's own program, for no longer than a while.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take.
const RUN_MAX: Duration = Duration::from_secs(30);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes of what it says that are read.
const SAID_BYTES_MAX: u64 = 32 * 1024;

/// One call of such a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) program: &'static str,
    pub(super) args: Vec<String>,
    /// That it fails is no failure of the whole.
    pub(super) may_fail: bool,
}

impl Call {
    pub(super) fn new(program: &'static str, args: &[&str]) -> Self {
        Self {
            program,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            may_fail: false,
        }
    }

    /// A path among the arguments.
    pub(super) fn with(mut self, path: &Path) -> Self {
        self.args.push(path.display().to_string());
        self
    }

    pub(super) fn may_fail(mut self) -> Self {
        self.may_fail = true;
        self
    }

    /// As a person would type it.
    pub(super) fn shown(&self) -> String {
        format!("{} {}", self.program, self.args.join(" "))
    }
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ran {
    pub(super) ok: bool,
    /// Both of its voices.
    pub(super) said: String,
}

/// # Errors
/// `NotFound` where there is no such program, `TimedOut`, and what the system says.
pub(super) fn run(call: &Call) -> io::Result<Ran> {
    let mut child = Command::new(call.program)
        .args(&call.args)
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        .env("SYSTEMD_PAGER", "")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let begun = Instant::now();
    // What these programs say fits into a pipe; one that says more is given up.
    let ok = loop {
        match child.try_wait()? {
            Some(status) => break status.success(),
            None if begun.elapsed() < RUN_MAX => std::thread::sleep(LOOK),
            None => {
                let _ended = child.kill();
                let _reaped = child.wait();
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no answer within {} s", RUN_MAX.as_secs()),
                ));
            }
        }
    };
    let mut said = Vec::new();
    if let Some(out) = child.stdout.take() {
        out.take(SAID_BYTES_MAX).read_to_end(&mut said)?;
    }
    if let Some(err) = child.stderr.take() {
        err.take(SAID_BYTES_MAX).read_to_end(&mut said)?;
    }
    Ok(Ran {
        ok,
        said: String::from_utf8_lossy(&said).into_owned(),
    })
}
