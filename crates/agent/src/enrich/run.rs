//! One run of the program: the request goes in, its answer comes out, and nothing
//! of it is left. Bounded in time and in what it may say. What it says of a
//! session is never logged.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::program::{self, Program};
use ccpeer_formats::snapshot::AnswerError;

/// A run that takes longer is ended.
pub(crate) const RUN_MAX: Duration = Duration::from_secs(120);
/// After its end, what it has said may take so long to be read.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// More than any document has.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Of what it complains about, so much is looked at.
const COMPLAINT_BYTES_MAX: u64 = 8 * 1024;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The program is not there.
    #[error("the program that writes summaries is not found")]
    Missing,
    /// It cannot be started.
    #[error("the program that writes summaries cannot be started: {0}")]
    Start(String),
    /// It took too long.
    #[error("the program that writes summaries did not answer within {} s and was ended", .0.as_secs())]
    TimedOut(Duration),
    /// It said too much.
    #[error("the program that writes summaries said more than a summary can be")]
    TooMuch,
    /// It is not logged in.
    #[error("Claude Code is not logged in for the agent")]
    Login,
    /// A limit of the account.
    #[error("a usage limit of the account is reached")]
    Limit,
    /// There is no network.
    #[error("the model cannot be reached")]
    Network,
    /// It ended with an error.
    #[error("the program that writes summaries ended with {0}")]
    Ended(String),
    /// What it said is no document.
    #[error("the answer was thrown away: {0}")]
    Answer(#[from] AnswerError),
    /// The session cannot be read.
    #[error("the session cannot be read: {0}")]
    Material(String),
    /// What was written cannot be kept.
    #[error("the summary cannot be kept: {0}")]
    Keep(String),
}

/// Runs it once. `dir` is an empty directory of our own.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn ask(
    what: &Program,
    dir: &Path,
    user: &Path,
    request: String,
    time_max: Duration,
) -> Result<String, Failure> {
    let mut command = Command::new(&what.path);
    command.args(&what.arguments).current_dir(dir);
    command.env_clear();
    let passed = std::env::vars_os().filter(|(name, _)| program::is_passed_on(name));
    command.envs(passed);
    let env = |name: &str| std::env::var_os(name);
    command.envs(program::path_for(&what.path, user, &env).map(|path| ("PATH", path)));
    // Whatever it starts must not come back to us as a hook.
    command.env("CCPEER_CHILD", "1");
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    // Its own group, so that what it starts ends with it.
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Failure::Missing,
        kind => Failure::Start(kind.to_string()),
    })?;
    let group = Group(child.id());
    let (input, output, complaints) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let writing = tokio::spawn(async move {
        if let Some(mut input) = input {
            // One that does not read to the end may still answer.
            let _unread = input.write_all(request.as_bytes()).await;
        }
    });
    let complaining = tokio::spawn(read(complaints, COMPLAINT_BYTES_MAX, true));
    let (tell, too_much) = tokio::sync::oneshot::channel();
    let reading = tokio::spawn(async move {
        let said = read(output, ANSWER_BYTES_MAX, false).await;
        if !said.whole {
            let _ended = tell.send(());
        }
        said
    });
    let result = tokio::select! {
        status = child.wait() => Ok(status.ok()),
        Ok(()) = too_much => Err(Failure::TooMuch),
        () = tokio::time::sleep(time_max) => Err(Failure::TimedOut(time_max)),
    };
    // Also what it has left behind when it ended by itself.
    group.end();
    end(&mut child).await;
    writing.abort();
    let status = result?;
    let drained = async {
        let said = reading.await.unwrap_or_default();
        (said, complaining.await.unwrap_or_default())
    };
    let drained = tokio::time::timeout(DRAIN_MAX, drained).await;
    let (said, complaints) = drained.unwrap_or_default();
    if !said.whole {
        return Err(Failure::TooMuch);
    }
    match status {
        Some(status) if status.success() => Ok(said.text),
        status => Err(why(status, &said.text, &complaints.text)),
    }
}

/// Waits for the program itself: nothing of it stays in the table of processes.
async fn end(child: &mut Child) {
    let _ended = child.start_kill();
    let _reaped = tokio::time::timeout(DRAIN_MAX, child.wait()).await;
}

#[derive(Debug, Default)]
struct Said {
    text: String,
    /// Whether that is all of it.
    whole: bool,
}

/// Reads to the end or to a bound. What is beyond is passed over if `all`, so that
/// a talker is not blocked; else the reading ends there.
async fn read(from: Option<impl AsyncRead + Unpin>, bytes_max: u64, all: bool) -> Said {
    let Some(mut from) = from else {
        return Said::default();
    };
    let mut bytes = Vec::new();
    let read = (&mut from)
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .await;
    let whole = read.is_ok() && bytes.len() as u64 <= bytes_max;
    if all {
        let _passed_over = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    Said {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        whole,
    }
}

/// What a program that failed complains about, as one of our own sentences.
fn why(status: Option<ExitStatus>, said: &str, complaints: &str) -> Failure {
    let front = |text: &str| -> String { text.chars().take(4096).collect() };
    let words = format!("{}\n{}", front(said), front(complaints)).to_lowercase();
    let any = |of: &[&str]| of.iter().any(|word| words.contains(word));
    if any(&[
        "/login",
        "not logged in",
        "invalid api key",
        "authentication",
        "oauth token",
    ]) {
        return Failure::Login;
    }
    if any(&[
        "usage limit",
        "rate limit",
        "limit reached",
        "credit balance",
        "quota",
    ]) {
        return Failure::Limit;
    }
    let network = [
        "econnrefused",
        "enotfound",
        "etimedout",
        "econnreset",
        "connection error",
        "unable to connect",
        "certificate",
        "network error",
    ];
    if any(&network) {
        return Failure::Network;
    }
    Failure::Ended(match status.and_then(|s| s.code()) {
        Some(code) => format!("code {code}"),
        None => "a signal".to_owned(),
    })
}

/// The program and all that it starts; ended with this at the latest.
struct Group(Option<u32>);

impl Group {
    #[cfg(unix)]
    fn end(&self) {
        use nix::sys::signal::{Signal, killpg};
        let raw = self.0.and_then(|id| i32::try_from(id).ok());
        if let Some(raw) = raw.filter(|raw| *raw > 1) {
            let _none_left = killpg(nix::unistd::Pid::from_raw(raw), Signal::SIGKILL);
        }
    }

    /// By the system's own program, which knows who started whom.
    #[cfg(windows)]
    fn end(&self) {
        if let Some(id) = self.0 {
            let mut command = std::process::Command::new("taskkill");
            command.args(["/T", "/F", "/PID", &id.to_string()]);
            command.stdin(Stdio::null());
            let _none_left = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }

    #[cfg(not(any(unix, windows)))]
    fn end(&self) {
        let _cannot = self.0;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
