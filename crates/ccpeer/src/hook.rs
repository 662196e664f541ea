//! The hook client: what Claude Code starts at every event, and waits for.
//!
//! Standard input goes unparsed to the agent; if the agent does not take it in
//! time, into the spool. It always exits 0, within [`limits::HOOK_DEADLINE_MS`],
//! and prints nothing, except one line of the agent's at the start of a session.
//! It must not know clap, tokio, or what an event means.
//!
//! The main thread only waits, with a deadline for each step. Everything that can
//! block (reading a pipe that never closes, connecting to a stopped agent,
//! flushing to a slow disk) is done by a thread that ends with the process.

use std::ffi::OsString;
use std::fs;
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ccpeer_agent::api::{API_VERSION, FRAME_HOOK, FRAME_REPLY, HookHeader, Reply};
use ccpeer_agent::client::{read_frame, write_frame};
use ccpeer_agent::home::Home;
use ccpeer_agent::{ipc, spool};
use ccpeer_core::{limits, text};

/// Longest wait for the end of standard input.
const INPUT_MS: u64 = 150;
/// Longest wait for the agent, from the first byte to its answer.
const AGENT_MS: u64 = 120;
/// When the process ends whatever is still under way. The rest up to
/// [`limits::HOOK_DEADLINE_MS`] is for starting and ending the process.
const END_MS: u64 = 350;
/// Longest name of an event.
const EVENT_CHARS_MAX: usize = 64;
/// The only event at which something may be printed.
const EVENT_WITH_LINE: &str = "SessionStart";
/// How that line begins; another one is not ours.
const LINE_PREFIX: &str = "ccpeer: ";

/// One call of the hook client.
pub(crate) struct Call {
    /// The event's name.
    event: String,
    /// Standard input, where it had to be read to know that this is a call.
    input: Option<(Vec<u8>, bool)>,
    /// When the process has to end.
    end: Instant,
}

impl Call {
    /// `ccpeer hook <Event>`.
    pub(crate) fn of(event: &str) -> Self {
        Self {
            event: text::one_line(event, EVENT_CHARS_MAX),
            input: None,
            end: Instant::now() + Duration::from_millis(END_MS),
        }
    }

    /// `ccpeer` alone: Claude Code up to 2.1.54 runs a hook without its
    /// arguments. Then the event's JSON names the event. Asked only where
    /// Claude Code's own variable says that this may be a hook, so that nobody
    /// else's standard input is read.
    fn bare() -> Option<Self> {
        std::env::var_os("CLAUDE_PROJECT_DIR")?;
        let call = Self::of("");
        let (input, cut) = read_input();
        let event = event_in(&input)?;
        Some(Self {
            event: text::one_line(&event, EVENT_CHARS_MAX),
            input: Some((input, cut)),
            ..call
        })
    }
}

/// The call, if this is one of the hook client. A call for help is none.
pub(crate) fn call(mut args: impl Iterator<Item = OsString>) -> Option<Call> {
    args.next()?;
    match args.next() {
        None => Call::bare(),
        Some(command) if command == "hook" => event_in_args(args).map(|event| Call::of(&event)),
        Some(_) => None,
    }
}

/// The event after `hook`; none if help is asked for.
fn event_in_args(args: impl Iterator<Item = OsString>) -> Option<String> {
    let args: Vec<OsString> = args.collect();
    let wants_help = |arg: &OsString| matches!(arg.to_str(), Some("-h" | "--help"));
    if args.iter().any(wants_help) {
        return None;
    }
    let event = args.into_iter().next().unwrap_or_default();
    Some(event.to_string_lossy().into_owned())
}

fn event_in(input: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        hook_event_name: String,
    }
    let named: Named = serde_json::from_slice(input).ok()?;
    Some(named.hook_event_name)
}

/// Takes in one event. Always succeeds.
pub(crate) fn run(call: Call) -> ExitCode {
    if std::env::var_os("CCPEER_CHILD").is_some() {
        return ExitCode::SUCCESS;
    }
    // A mistake of ours must not show in somebody's session.
    std::panic::set_hook(Box::new(|_| {}));
    let _ = std::panic::catch_unwind(|| take_in(call));
    ExitCode::SUCCESS
}

fn take_in(call: Call) {
    let Ok(home) = Home::from_process() else {
        return;
    };
    let (event, end, bare) = (&call.event, call.end, call.input.is_some());
    let (input, cut) = call.input.unwrap_or_else(read_input);
    let bytes = Arc::new(spool::encode(&header(event, cut), &input));
    drop(input);

    let home = Arc::new(home);
    let delivered = background({
        let (home, bytes) = (Arc::clone(&home), Arc::clone(&bytes));
        move || deliver(&home, &bytes)
    });
    match delivered.recv_timeout(Duration::from_millis(AGENT_MS)) {
        Ok(Ok(line)) if !bare => say(event, line),
        Ok(Ok(_)) => {}
        outcome => {
            let why = match outcome {
                Ok(Err(NotTaken::Absent)) => None,
                Ok(Err(NotTaken::Failed(why))) => Some(why),
                _ => Some("the agent did not answer in time".to_owned()),
            };
            let spooled = background(move || {
                if let Err(e) = spool::write(&home, &bytes) {
                    note(&home, &format!("event is lost: cannot spool it: {e}"));
                }
                if let Some(why) = why {
                    note(&home, &format!("event is spooled: {why}"));
                }
            });
            let _ = spooled.recv_timeout(end.saturating_duration_since(Instant::now()));
        }
    }
}

/// Why the agent has not taken an event.
enum NotTaken {
    /// None is running: nothing to talk about.
    Absent,
    /// For people.
    Failed(String),
}

/// Hands the event over; the agent's line for the start of a session, if it
/// sent one.
fn deliver(home: &Home, bytes: &[u8]) -> Result<Option<String>, NotTaken> {
    let failed = |e: &dyn std::fmt::Display| NotTaken::Failed(e.to_string());
    let mut connection =
        ipc::connect(home, Duration::from_millis(AGENT_MS)).map_err(|e| match e {
            ipc::ConnectError::Absent => NotTaken::Absent,
            e => failed(&e),
        })?;
    write_frame(&mut connection, FRAME_HOOK, bytes).map_err(|e| failed(&e))?;
    let (kind, body) = read_frame(&mut connection).map_err(|e| failed(&e))?;
    if kind != FRAME_REPLY {
        return Err(failed(&"the agent answers in another protocol"));
    }
    match serde_json::from_slice(&body) {
        Ok(Reply::Ok { value }) => Ok(value
            .get("line")
            .and_then(|line| line.as_str())
            .map(str::to_owned)),
        Ok(Reply::Error(e)) => Err(failed(&e.message)),
        _ => Err(failed(&"the agent answers in another protocol")),
    }
}

/// Prints the one line that may be printed. It goes to a model: it is held to
/// its form here too.
fn say(event: &str, line: Option<String>) {
    let Some(line) = line.filter(|_| event == EVENT_WITH_LINE) else {
        return;
    };
    let shown = text::one_line(&line, limits::HOOK_LINE_CHARS_MAX);
    if shown == line && line.starts_with(LINE_PREFIX) {
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

/// Standard input up to its end, its bound or the deadline; and whether
/// something may be missing.
fn read_input() -> (Vec<u8>, bool) {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return (Vec::new(), true);
    }
    let shared = Arc::new(Mutex::new(Vec::new()));
    let ended = background({
        let shared = Arc::clone(&shared);
        move || {
            let mut piece = vec![0u8; 64 * 1024];
            let mut stdin = stdin.lock();
            let mut cut = false;
            loop {
                let n = match stdin.read(&mut piece) {
                    Ok(0) => return cut,
                    Ok(n) => n,
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(_) => return true,
                };
                // What exceeds the bound is read and dropped: a writer whose
                // pipe breaks would complain in the user's session.
                let mut input = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let room = limits::HOOK_BYTES_MAX.saturating_sub(input.len());
                cut |= n > room;
                input.extend(piece.iter().take(n.min(room)));
            }
        }
    });
    let cut = ended
        .recv_timeout(Duration::from_millis(INPUT_MS))
        .unwrap_or(true);
    let input = std::mem::take(&mut *shared.lock().unwrap_or_else(PoisonError::into_inner));
    (input, cut)
}

fn header(event: &str, cut: bool) -> HookHeader {
    let var = |name: &str, bytes_max: usize| {
        let value = std::env::var(name).ok()?;
        (!value.is_empty() && value.len() <= bytes_max).then_some(value)
    };
    HookHeader {
        v: API_VERSION,
        id: spool::draw_id(),
        event: event.to_owned(),
        pid: var("CLAUDE_PID", 16).and_then(|pid| pid.parse().ok()),
        project_dir: var("CLAUDE_PROJECT_DIR", limits::FOREIGN_PATH_BYTES_MAX),
        session: var("CLAUDE_CODE_SESSION_ID", 64),
        cut,
    }
}

/// Starts work that may block; its result arrives, or never does.
fn background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (done, result) = channel();
    let named = std::thread::Builder::new().name("hook".to_owned());
    let _ = named.spawn(move || {
        let _ = done.send(work());
    });
    result
}

/// One line for people who look; no content, no paths of sessions.
fn note(home: &Home, message: &str) {
    let path = home.hook_log();
    let log = || -> std::io::Result<()> {
        let mut dir = fs::DirBuilder::new();
        dir.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut dir, 0o700);
        dir.create(home.log_dir())?;
        let long = fs::metadata(&path).is_ok_and(|m| m.len() > limits::HOOK_LOG_BYTES_MAX);
        let mut options = fs::OpenOptions::new();
        options.create(true).append(!long);
        if long {
            options.write(true).truncate(true);
        }
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        writeln!(options.open(&path)?, "{now} {message}")
    };
    let _ = log();
}

#[cfg(test)]
mod tests {
    use super::{Call, call, event_in};
    use std::ffi::OsString;

    #[test]
    fn only_a_hook_call_is_taken_before_the_command_line_is_read() {
        let on = |args: &[&str]| call(args.iter().map(OsString::from)).map(|c: Call| c.event);
        assert_eq!(on(&["ccpeer", "hook", "Stop"]).as_deref(), Some("Stop"));
        assert_eq!(on(&["ccpeer", "hook", "A", "x"]).as_deref(), Some("A"));
        assert_eq!(on(&["ccpeer", "hook"]).as_deref(), Some(""));
        assert_eq!(on(&["ccpeer", "hook", "\u{1b}[2JX"]).as_deref(), Some("X"));
        assert_eq!(on(&["ccpeer", "hook", "--help"]), None);
        assert_eq!(on(&["ccpeer", "hooks", "install"]), None);
        assert_eq!(on(&[]), None);
    }

    #[test]
    fn an_event_names_itself() {
        let named = |input: &[u8]| event_in(input);
        assert_eq!(
            named(br#"{"a":1,"hook_event_name":"Stop"}"#).as_deref(),
            Some("Stop")
        );
        assert_eq!(named(b"{}"), None);
        assert_eq!(named(b"text"), None);
        assert_eq!(named(br#"{"hook_event_name":1}"#), None);
    }
}
