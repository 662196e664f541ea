//! The hook client: what Claude Code starts at every event, and waits for.
//!
//! Standard input goes unparsed to the agent; if the agent does not take it in
//! time, into the spool. It always exits 0, within [`limits::HOOK_DEADLINE_MS`],
//! and prints nothing, except one line of the agent's at the start of a session.
//! It must not know clap, tokio, or what an event means.
//!
//! The main thread asks the agent, where the system keeps to a deadline at every step
//! of that, and otherwise only waits. What can block for longer (flushing to a slow
//! disk, or all of it where there are no such deadlines) is done by a thread that ends
//! with the process.

use std::ffi::OsString;
use std::fs;
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ccpeer_agent::api::{API_VERSION, FRAME_HOOK, FRAME_SPOOLED, HookHeader, HookTaken, Reply};
use ccpeer_agent::client::{read_frame, write_frame};
use ccpeer_agent::home::Home;
use ccpeer_agent::spool::Written;
use ccpeer_agent::{hooks, ipc, spool};
use ccpeer_core::{limits, text};

/// Longest wait for the end of standard input.
const INPUT: Duration = Duration::from_millis(150);
/// Longest wait for the agent, from the first byte to its answer.
const AGENT: Duration = Duration::from_millis(120);
/// When the process ends whatever is still under way. The rest up to
/// [`limits::HOOK_DEADLINE_MS`] is for starting and ending the process.
const END: Duration = Duration::from_millis(350);
/// The one exception: as long as the event is not even written down, which takes
/// a millisecond where we are let run, it would be lost. 200 hooks at once may take
/// a second (K-H12), and Claude Code kills what SessionEnd started after 1.5 s.
const LAST: Duration = Duration::from_millis(1_000);
/// Standard input is read in pieces of this size.
const PIECE_BYTES: usize = 64 * 1024;
/// Longest name of an event.
const EVENT_CHARS_MAX: usize = 64;
/// The only event at which something may be printed.
const EVENT_WITH_LINE: &str = "SessionStart";
/// By this a plugin's hook says what it is.
const PLUGIN_WORD: &str = hooks::PLUGIN_WORD;
/// How that line begins; another one is not ours.
const LINE_PREFIX: &str = "ccpeer: ";

/// One call of the hook client.
pub(crate) struct Call {
    /// The event's name.
    event: String,
    /// A plugin's hook, which does nothing where the settings have the same.
    of_plugin: bool,
    /// Standard input, where it had to be read to know that this is a call.
    input: Option<(Vec<u8>, bool)>,
    /// When the process was started, as far as it knows.
    begin: Instant,
}

impl Call {
    /// `ccpeer hook <Event>`.
    pub(crate) fn of(event: &str) -> Self {
        Self {
            event: text::one_line(event, EVENT_CHARS_MAX),
            of_plugin: false,
            input: None,
            begin: Instant::now(),
        }
    }

    /// `ccpeer` alone: Claude Code up to 2.1.54 runs a hook without its
    /// arguments. Then the event's JSON names the event. Asked only where
    /// Claude Code's own variable says that this may be a hook, so that nobody
    /// else's standard input is read.
    fn bare() -> Option<Self> {
        std::env::var_os("CLAUDE_PROJECT_DIR")?;
        let call = Self::of("");
        let (input, cut) = read_input(call.begin + INPUT);
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
        Some(command) if command == "hook" => {
            let args: Vec<OsString> = args.collect();
            let of_plugin = args.iter().skip(1).any(|arg| arg == PLUGIN_WORD);
            let event = event_in_args(args.into_iter())?;
            Some(Call {
                of_plugin,
                ..Call::of(&event)
            })
        }
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

/// What the threads tell the main one.
enum Step {
    /// It is written down in the spool, and not yet durable.
    Written(Arc<Written>),
    /// It is where it belongs, or lost and noted; with the agent's line, if the
    /// agent took it and sent one.
    Ended(Option<String>),
}

fn take_in(call: Call) {
    let Ok(home) = Home::from_process() else {
        return;
    };
    if call.of_plugin && hooks::is_in_settings_too(&home, &call.event) {
        // Claude Code runs that one as well: an event is told once.
        return;
    }
    let bare = call.input.is_some();
    let (input, cut) = call.input.unwrap_or_else(|| read_input(call.begin + INPUT));
    let event = Arc::new(Event {
        home,
        bytes: spool::encode(&header(&call.event, cut), &input),
        spooling: AtomicBool::new(false),
    });
    drop(input);

    let (tell, told) = channel();
    let mut written = None;
    let agent = Instant::now() + AGENT;
    if ipc::KEEPS_DEADLINES {
        // No thread as long as all goes well: starting one costs as much as the work.
        match deliver(&event.home, &event.bytes, agent) {
            Ok(line) => {
                if !bare {
                    say(&call.event, line);
                }
                return;
            }
            Err(why) => background(move || event.spool(why.words(), &tell)),
        }
    } else {
        // One thread does everything as long as nothing blocks it: where many want to
        // run, each change of threads costs more than all the work.
        background({
            let (event, tell) = (Arc::clone(&event), tell.clone());
            move || event.hand_over(agent, &tell)
        });
        if let Some(line) = wait(&told, agent, &mut written) {
            if !bare {
                say(&call.event, line);
            }
            return;
        }
        // The agent blocks the thread that asks it, or the disk the one that writes.
        background(move || event.spool(Some("the agent did not answer in time"), &tell));
    }
    if wait(&told, call.begin + END, &mut written).is_some() {
        return;
    }
    if written.is_none() {
        written = wait_for_name(&told, call.begin + LAST);
    }
    if let Some(written) = written {
        let _ = written.name();
    }
}

/// The end, if it comes by then; and what was written down before.
fn wait(
    told: &Receiver<Step>,
    by: Instant,
    written: &mut Option<Arc<Written>>,
) -> Option<Option<String>> {
    loop {
        match told.recv_timeout(left(by)).ok()? {
            Step::Written(kept) => *written = Some(kept),
            Step::Ended(line) => return Some(line),
        }
    }
}

/// What is written down, unless there is nothing more to be done.
fn wait_for_name(told: &Receiver<Step>, by: Instant) -> Option<Arc<Written>> {
    match told.recv_timeout(left(by)) {
        Ok(Step::Written(kept)) => Some(kept),
        Ok(Step::Ended(_)) | Err(_) => None,
    }
}

fn left(by: Instant) -> Duration {
    by.saturating_duration_since(Instant::now())
}

/// One event, for every thread that works on it.
struct Event {
    home: Home,
    bytes: Vec<u8>,
    /// Somebody puts it into the spool.
    spooling: AtomicBool,
}

impl Event {
    /// To the agent, else into the spool.
    fn hand_over(&self, by: Instant, tell: &Sender<Step>) {
        match deliver(&self.home, &self.bytes, by) {
            Ok(line) => {
                let _ = tell.send(Step::Ended(line));
            }
            Err(why) => self.spool(why.words(), tell),
        }
    }

    /// Leaves it for the agent, unless another thread does already.
    fn spool(&self, why: Option<&str>, tell: &Sender<Step>) {
        if self.spooling.swap(true, Ordering::Relaxed) {
            return;
        }
        let kept = spool::write_down(&self.home, &self.bytes).and_then(|written| {
            let written = Arc::new(written);
            let _ = tell.send(Step::Written(Arc::clone(&written)));
            written.keep()
        });
        if kept.is_ok() {
            self.say_spooled();
        }
        if let Err(e) = kept {
            let lost = format!("event is lost: cannot spool it: {e}");
            note(&self.home, &lost);
        } else if let Some(why) = why {
            note(&self.home, &format!("event is spooled: {why}"));
        }
        let _ = tell.send(Step::Ended(None));
    }

    /// Tells an agent that was busy, or has come meanwhile: it looks once when it
    /// begins to listen, so either it sees the event then or hears of it here.
    fn say_spooled(&self) {
        if let Ok(mut connection) = ipc::connect_by(&self.home, Instant::now() + AGENT) {
            let _it_looks_by_itself = write_frame(&mut connection, FRAME_SPOOLED, &[]);
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

impl NotTaken {
    /// For people, where there is something to be said.
    fn words(&self) -> Option<&str> {
        match self {
            Self::Absent => None,
            Self::Failed(why) => Some(why),
        }
    }
}

/// Hands the event over; the agent's line for the start of a session, if it
/// sent one.
fn deliver(home: &Home, bytes: &[u8], by: Instant) -> Result<Option<String>, NotTaken> {
    let failed = |e: &dyn std::fmt::Display| NotTaken::Failed(e.to_string());
    let mut connection = ipc::connect_by(home, by).map_err(|e| match e {
        ipc::ConnectError::Absent => NotTaken::Absent,
        e => failed(&e),
    })?;
    write_frame(&mut connection, FRAME_HOOK, bytes).map_err(|e| failed(&e))?;
    let (kind, body) = read_frame(&mut connection).map_err(|e| failed(&e))?;
    let another = || failed(&"the agent answers in another protocol");
    match Reply::of_frame(kind, body).ok_or_else(another)? {
        Reply::Ok(taken) => taken
            .read()
            .map(|t: HookTaken| t.line)
            .map_err(|_| another()),
        Reply::Error(e) => Err(failed(&e.message)),
        Reply::Item(_) | Reply::Progress(_) => Err(another()),
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

/// What has come in of an event.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    /// Something may be missing.
    cut: bool,
}

impl Input {
    /// What exceeds the bound is read and dropped: a writer whose pipe breaks
    /// would complain in the user's session.
    fn take(&mut self, piece: &[u8]) {
        let room = limits::HOOK_BYTES_MAX.saturating_sub(self.bytes.len());
        self.cut |= piece.len() > room;
        let fits = piece.get(..room).unwrap_or(piece);
        self.bytes.extend_from_slice(fits);
    }
}

/// Standard input up to its end, its bound or the deadline; and whether something
/// may be missing.
#[cfg(unix)]
fn read_input(by: Instant) -> (Vec<u8>, bool) {
    use std::os::fd::AsFd;
    let stdin = std::io::stdin();
    let file = stdin.as_fd().try_clone_to_owned().map(fs::File::from);
    let Ok(mut file) = file else {
        return (Vec::new(), true);
    };
    let mut input = Input::default();
    let mut piece = vec![0u8; PIECE_BYTES];
    if stdin.is_terminal() {
        return (input.bytes, true);
    }
    // Ready is looked at last: what is there when we are late is read.
    while ipc::is_readable(&file, left(by)).unwrap_or(false) {
        match file.read(&mut piece) {
            Ok(0) => return (input.bytes, input.cut),
            Ok(n) => input.take(piece.get(..n).unwrap_or_default()),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
        if left(by).is_zero() && (input.cut || left(by + INPUT).is_zero()) {
            break;
        }
    }
    (input.bytes, true)
}

/// As above, where a thread has to read because nothing tells what is there.
#[cfg(not(unix))]
fn read_input(by: Instant) -> (Vec<u8>, bool) {
    use std::sync::{Mutex, PoisonError};
    if std::io::stdin().is_terminal() {
        return (Vec::new(), true);
    }
    let shared = Arc::new(Mutex::new(Input::default()));
    let (tell, ended) = channel();
    background({
        let shared = Arc::clone(&shared);
        move || {
            let mut piece = vec![0u8; PIECE_BYTES];
            let mut stdin = std::io::stdin().lock();
            while let Ok(n) = stdin.read(&mut piece) {
                let mut input = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if n == 0 {
                    let _ = tell.send(input.cut);
                    return;
                }
                input.take(piece.get(..n).unwrap_or_default());
            }
        }
    });
    let cut = ended.recv_timeout(left(by)).unwrap_or(true);
    let mut input = shared.lock().unwrap_or_else(PoisonError::into_inner);
    (std::mem::take(&mut input.bytes), cut)
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
        entrypoint: var("CLAUDE_CODE_ENTRYPOINT", 64),
        cut,
    }
}

/// Starts work that may block. Where no thread can be started it is not done, and
/// who waits for it sees that nobody tells anything.
fn background(work: impl FnOnce() + Send + 'static) {
    let named = std::thread::Builder::new().name("hook".to_owned());
    let _ = named.spawn(work);
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
