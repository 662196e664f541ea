//! Running the agent in this process and starting it as another one.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use ccpeer_agent::api::{ApiError, ErrorCode};
use ccpeer_agent::client::Client;
use ccpeer_agent::home::Home;
#[cfg(target_os = "linux")]
use ccpeer_agent::service::HEAP;
use ccpeer_agent::service::Service;
use ccpeer_agent::{start, starts};

use crate::error::CommandError;
use crate::relay_choice;

/// How long a new agent may take until it accepts work.
const READY_MAX: Duration = Duration::from_secs(15);
/// How often it is looked at whether it does, where it cannot tell us.
const READY_LOOK: Duration = Duration::from_millis(50);
/// Begins the line that says that the agent accepts work.
pub(crate) const READY: &str = "ready";
/// Begins the line on which an agent in the background says why it ended.
pub(crate) const FAILED: &str = "failed ";

/// How an agent is started.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Network {
    /// Listen for other devices on this address and port only
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Neither announce this device in the local network nor look for others
    #[arg(long)]
    pub(crate) no_mdns: bool,
    /// Also reach devices through this relay: its address, `n0` for the public
    /// ones, `-` to read the address from standard input, `off` for none. It is
    /// remembered; none is used otherwise
    #[arg(long, value_name = "URL")]
    pub(crate) relay: Option<String>,
    /// If the store is damaged, set it aside and keep what can be read of it
    #[arg(long)]
    pub(crate) salvage: bool,
}

/// Becomes the same program again with a heap as [`HEAP`] says, unless the
/// environment says something about it. Returns where that is not to be had, and the
/// agent runs all the same.
#[cfg(target_os = "linux")]
pub(crate) fn with_one_heap() {
    use std::os::unix::process::CommandExt as _;

    if HEAP
        .iter()
        .any(|(name, _)| std::env::var_os(name).is_some())
    {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        let mut again = Command::new(program);
        again.args(std::env::args_os().skip(1));
        again.envs(HEAP);
        // It only returns where it failed, and then the agent is merely larger.
        let _ = again.exec();
    }
}

/// Elsewhere the heap is another one.
#[cfg(not(target_os = "linux"))]
pub(crate) fn with_one_heap() {}

/// Starts an agent that outlives us and waits until it accepts work.
///
/// # Errors
/// What the agent said, or that it said nothing in time.
pub(crate) fn start_in_background(home: &Home, network: &Network) -> Result<(), CommandError> {
    let failed = |what: &str, e: std::io::Error| {
        CommandError::new(ErrorCode::Agent, format!("{what}: {e}"), "")
    };
    let program = std::env::current_exe().map_err(|e| failed("cannot find this program", e))?;
    let log = open_log(home).map_err(|e| {
        let what = format!("cannot write the log {}: {e}", home.log().display());
        CommandError::new(ErrorCode::Disk, what, "check who owns CCPEER_HOME")
    })?;
    let mut command = Command::new(program);
    command
        .arg("agent")
        .arg("--background")
        .args(network.as_args())
        .env("CCPEER_HOME", home.root())
        .env_remove("CCPEER_CHILD")
        .current_dir(home.root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    if std::env::var_os("CLAUDE_CONFIG_DIR").is_some_and(|v| !v.is_empty()) {
        command.env("CLAUDE_CONFIG_DIR", home.claude());
    }
    let mut child = command
        .spawn()
        .map_err(|e| failed("cannot start the agent", e))?;

    let (found, first) = channel();
    if let Some(stdout) = child.stdout.take() {
        // Ends with us at the latest; the agent prints nothing after this line.
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = found.send(line);
        });
    }
    match first.recv_timeout(READY_MAX) {
        Ok(line) if line.split_whitespace().next() == Some(READY) => Ok(()),
        Ok(line) => Err(why_it_ended(&line, home).into()),
        Err(_) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(CommandError::new(
                ErrorCode::Agent,
                format!("the agent was not ready after {} s", READY_MAX.as_secs()),
                &look_into_log(home),
            ))
        }
    }
}

/// Has the service start the agent and waits until it accepts work.
///
/// # Errors
/// What the service manager said, or what the agent left behind.
pub(crate) fn start_service(home: &Home, service: &Service<'_>) -> Result<(), CommandError> {
    // The user asks for it: earlier failures do not count.
    starts::forget(home);
    service.start()?;
    let until = Instant::now() + READY_MAX;
    while Instant::now() < until {
        if Client::connect(home).is_ok() {
            return Ok(());
        }
        if let Some(why) = starts::last_failure(home) {
            let message = format!("the agent failed to start: {why}");
            return Err(CommandError::new(ErrorCode::Agent, message, ""));
        }
        std::thread::sleep(READY_LOOK);
    }
    Err(CommandError::new(
        ErrorCode::Agent,
        format!(
            "the agent was not ready {} s after its service was started",
            READY_MAX.as_secs()
        ),
        &format!("see {}", service.logs().join(", or ")),
    ))
}

impl Network {
    /// Nothing is said about how it is to be started.
    pub(crate) fn is_usual(&self) -> bool {
        self.listen.is_none() && !self.no_mdns && !self.salvage
    }

    fn as_args(&self) -> Vec<String> {
        let mut args = Vec::new();
        if let Some(listen) = self.listen {
            args.extend(["--listen".to_owned(), listen.to_string()]);
        }
        // The relay is told to the running agent: its address may hold a token.
        if self.salvage {
            args.push("--salvage".to_owned());
        }
        if self.no_mdns {
            args.push("--no-mdns".to_owned());
        }
        args
    }
}

fn why_it_ended(line: &str, home: &Home) -> ApiError {
    let said = line.strip_prefix(FAILED).unwrap_or_default();
    serde_json::from_str(said).unwrap_or_else(|_| ApiError {
        code: ErrorCode::Agent,
        message: "the agent ended before it was ready".to_owned(),
        hint: Some(look_into_log(home)),
        choices: Vec::new(),
        elsewhere: None,
    })
}

fn look_into_log(home: &Home) -> String {
    format!("see {}", home.log().display())
}

fn open_log(home: &Home) -> std::io::Result<std::fs::File> {
    let mut dir = std::fs::DirBuilder::new();
    let mut file = std::fs::OpenOptions::new();
    dir.recursive(true);
    file.create(true).append(true);
    #[cfg(unix)]
    {
        std::os::unix::fs::DirBuilderExt::mode(&mut dir, 0o700);
        std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    }
    dir.create(home.log_dir())?;
    file.open(home.log())
}

/// Runs the agent in this process until it ends. `ready` is given the line to
/// print.
///
/// # Errors
/// Why it cannot run, or could not go on.
pub(crate) fn run_here(
    home: Home,
    network: &Network,
    background: bool,
    ready: &mut dyn FnMut(String),
) -> Result<(), ApiError> {
    let relay = match &network.relay {
        Some(said) => {
            let relay = relay_choice::read(said)?;
            relay_choice::warn(&relay);
            Some(relay)
        }
        None => None,
    };
    let options = start::Options {
        home,
        listen: network.listen,
        mdns: !network.no_mdns,
        relay,
        background,
        salvage: network.salvage,
    };
    start::run(options, &mut |is: &start::Ready| {
        // One word a value: a name may hold spaces.
        let name = is.device.name.replace(char::is_whitespace, "_");
        let (id, listen) = (&is.device.id, is.listen.join(","));
        ready(format!("{READY} device={id} name={name} listen={listen}"));
    })
}
