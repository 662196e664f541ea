//! A small world for end-to-end tests: devices with homes of their own on one
//! machine, real agents on loopback, real connections, the real binary.
//!
//! Nothing is slept for: every wait has a condition and a deadline.
#![expect(clippy::print_stdout, reason = "figures are of use to who sees them")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Generous, because tests share two cores with each other.
pub(super) const DEADLINE: Duration = Duration::from_secs(40);

const PROGRAM: &str = env!("CARGO_BIN_EXE_ccpeer");

/// A directory with devices in it. Agents end with it.
pub(super) struct World {
    dir: tempfile::TempDir,
}

/// One machine: a user's home, Claude Code's directory, ccpeer's home.
pub(super) struct Device {
    pub(super) name: &'static str,
    pub(super) root: PathBuf,
    /// The network namespace it lives in; else the machine's own, on loopback.
    pub(super) netns: Option<String>,
    /// The UDP port on loopback: the same after a restart, as on a real machine.
    port: u16,
    /// Further variables for the program.
    pub(super) env: Vec<(&'static str, std::ffi::OsString)>,
    agent: Option<Child>,
}

/// What a command did.
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A device that is not running yet.
    pub(super) fn device(&self, name: &'static str) -> Device {
        let root = self.dir.path().canonicalize().unwrap().join(name);
        fs::create_dir_all(root.join("home/.claude/projects")).unwrap();
        let port = std::net::UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Device {
            name,
            root,
            netns: None,
            port,
            env: Vec::new(),
            agent: None,
        }
    }

    /// A device whose agent runs, under its own name.
    pub(super) fn running(&self, name: &'static str) -> Device {
        let mut device = self.device(name);
        device.start();
        device.ok(&["rename", name]);
        device
    }
}

impl Device {
    pub(super) fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    pub(super) fn ccpeer_home(&self) -> PathBuf {
        self.root.join("ccpeer")
    }

    pub(super) fn claude(&self) -> PathBuf {
        self.home().join(".claude")
    }

    /// The program with an environment of its own and nothing inherited.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        match &self.netns {
            None => self.bare(args),
            Some(ns) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", ns, PROGRAM]);
                self.fill(command, args)
            }
        }
    }

    /// The same, without being taken to its network: whoever starts it is there.
    pub(super) fn bare(&self, args: &[&str]) -> Command {
        self.fill(Command::new(PROGRAM), args)
    }

    fn fill(&self, mut command: Command, args: &[&str]) -> Command {
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("CCPEER_HOME", self.ccpeer_home())
            .env("LANG", "C.UTF-8")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(log) = std::env::var_os("CCPEER_LOG") {
            command.env("CCPEER_LOG", log);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the agent and waits until it is ready.
    pub(super) fn start(&mut self) {
        self.start_with(&[]);
    }

    pub(super) fn start_with(&mut self, more: &[&str]) {
        if let Err(told) = self.try_start_with(more) {
            panic!("{} did not start: {told}", self.name);
        }
    }

    /// Starts the agent; what it said if it does not come up.
    pub(super) fn try_start(&mut self) -> Result<(), String> {
        self.try_start_with(&[])
    }

    fn try_start_with(&mut self, more: &[&str]) -> Result<(), String> {
        assert!(self.agent.is_none(), "{} already runs", self.name);
        let listen = format!("127.0.0.1:{}", self.port);
        let args: &[&str] = match self.netns {
            None => &["agent", "--listen", &listen, "--no-mdns"],
            Some(_) => &["agent"],
        };
        let args = [args, more].concat();
        let mut child = self.command(&args).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        if line.starts_with("ready") {
            self.agent = Some(child);
            return Ok(());
        }
        let mut talk = String::new();
        let mut stderr = child.stderr.take().unwrap();
        stderr.read_to_string(&mut talk).unwrap();
        child.wait().unwrap();
        Err(format!("{line}{talk}"))
    }

    /// Whether the agent that was started still runs.
    pub(super) fn is_up(&mut self) -> bool {
        let agent = self.agent.as_mut();
        agent.is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Kills the agent as a power cut would, as far as a process can be.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.agent.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(super) fn agent_pid(&self) -> u32 {
        self.agent.as_ref().unwrap().id()
    }

    /// Stops the agent in order.
    pub(super) fn stop(&mut self) {
        self.ok(&["down"]);
        let child = self.agent.take().unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(
            out.status.success(),
            "{}: {}",
            self.name,
            String::from_utf8_lossy(&out.stderr)
        );
    }

    pub(super) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, b"")
    }

    pub(super) fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        feed(self.command(args), input)
    }

    /// Runs a command that must succeed.
    pub(super) fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(
            ran.code, 0,
            "{}: ccpeer {args:?}: {}{}",
            self.name, ran.stdout, ran.stderr
        );
        ran.stdout
    }

    /// Runs a command that must succeed and prints one JSON document.
    pub(super) fn json(&self, args: &[&str]) -> Value {
        let out = self.ok(args);
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("ccpeer {args:?}: {e}: {out}"))
    }

    /// Whether this device says that it has a link to that one.
    pub(super) fn is_linked(&self, other: &Device) -> bool {
        let status = self.json(&["status", "--json"]);
        let peers = status["peers"].as_array().unwrap();
        peers
            .iter()
            .any(|p| p["name"] == other.name && p["state"] == "connected")
    }

    /// Whether it holds a session with so many lines, and all of it.
    pub(super) fn holds(&self, session: &str, records: u64) -> bool {
        let sessions = self.json(&["sessions", "--json"]);
        let known = sessions
            .as_array()
            .unwrap()
            .iter()
            .any(|s| s["session_id"] == session && s["records"].as_u64() == Some(records));
        known && self.rows(session).iter().all(|t| t["complete"] == true)
    }

    pub(super) fn tasks(&self) -> Vec<Value> {
        self.json(&["tasks", "--json", "--all"])
            .as_array()
            .unwrap()
            .clone()
    }

    /// The rows of one session.
    pub(super) fn rows(&self, session: &str) -> Vec<Value> {
        self.tasks()
            .into_iter()
            .filter(|t| t["session_id"] == session)
            .collect()
    }

    /// A project's directory under this device's home.
    pub(super) fn project(&self, name: &str) -> PathBuf {
        let dir = self.home().join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// Fires a hook as Claude Code does.
    pub(super) fn hook(&self, event: &str, payload: &Value) -> Ran {
        let ran = self.run_with(&["hook", event], payload.to_string().as_bytes());
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (0, ""),
            "hook {event}: {}",
            ran.stderr
        );
        ran
    }

    /// Begins a session with one turn and returns it. No hook fires.
    pub(super) fn session(&self, id: &str, project: &Path) -> Session {
        let slug: String = project
            .to_str()
            .unwrap()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let dir = self.claude().join("projects").join(slug);
        fs::create_dir_all(&dir).unwrap();
        Session {
            id: id.to_owned(),
            project: project.to_path_buf(),
            transcript: dir.join(format!("{id}.jsonl")),
            leaf: None,
            turns: 0,
        }
    }

    /// One more turn in a session, with its Stop hook.
    pub(super) fn turn(&self, session: &mut Session, prompt: &str) {
        session.append(prompt);
        self.stop_hook(session);
    }

    pub(super) fn stop_hook(&self, session: &Session) {
        self.hook("Stop", &session.payload("Stop"));
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A session on one device, as Claude Code would grow it.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) project: PathBuf,
    pub(super) transcript: PathBuf,
    leaf: Option<String>,
    turns: u32,
}

impl Session {
    pub(super) fn payload(&self, event: &str) -> Value {
        json!({
            "session_id": self.id,
            "transcript_path": self.transcript,
            "cwd": self.project,
            "hook_event_name": event,
            "stop_hook_active": false,
            "last_assistant_message": "done",
        })
    }

    /// The same session where it was placed.
    pub(super) fn at(&self, transcript: &Path, project: &Path) -> Self {
        let text = fs::read_to_string(transcript).unwrap();
        let leaf = text.lines().rev().find_map(|l| {
            let v: Value = serde_json::from_str(l).ok()?;
            Some(v["uuid"].as_str()?.to_owned())
        });
        Self {
            id: transcript.file_stem().unwrap().to_str().unwrap().to_owned(),
            project: project.to_path_buf(),
            transcript: transcript.to_path_buf(),
            leaf,
            turns: 1000 + self.turns,
        }
    }

    /// A prompt, a tool call that names a path, its result, an answer.
    pub(super) fn append(&mut self, prompt: &str) {
        let file = self.project.join("src/main.rs");
        let mut lines = String::new();
        let tool = format!("toolu_{}_{}", self.turns, self.id);
        let bodies = [
            ("user", json!({"role": "user", "content": prompt})),
            (
                "assistant",
                json!({"role": "assistant", "id": format!("msg_{tool}"), "content": [
                    {"type": "tool_use", "id": tool, "name": "Edit",
                     "input": {"file_path": file, "old_string": "a", "new_string": "b"}}]}),
            ),
            (
                "user",
                json!({"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": tool,
                     "content": format!("The file {} has been updated.", file.display())}]}),
            ),
            (
                "assistant",
                json!({"role": "assistant", "id": format!("msg2_{tool}"),
                       "content": [{"type": "text", "text": format!("did: {prompt}")}]}),
            ),
        ];
        for (n, (kind, message)) in bodies.into_iter().enumerate() {
            let uuid = uuid(&format!(
                "{}/{}/{n}/{}",
                self.id,
                self.turns,
                self.project.display()
            ));
            let record = json!({
                "parentUuid": self.leaf, "isSidechain": false, "userType": "external",
                "cwd": self.project, "sessionId": self.id, "version": "2.1.329",
                "gitBranch": "main", "type": kind, "message": message, "uuid": uuid,
                "timestamp": format!("2026-11-20T10:{:02}:{:02}.000Z", self.turns / 60 % 60, self.turns % 60),
            });
            self.leaf = Some(uuid);
            lines.push_str(&record.to_string());
            lines.push('\n');
        }
        self.turns += 1;
        let mut out = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.transcript)
            .unwrap();
        out.write_all(lines.as_bytes()).unwrap();
    }

    pub(super) fn records(&self) -> u64 {
        self.bytes().iter().filter(|b| **b == b'\n').count() as u64
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        fs::read(&self.transcript).unwrap()
    }
}

fn uuid(text: &str) -> String {
    let hex = blake3::hash(text.as_bytes()).to_hex();
    format!(
        "{}-{}-4{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}

/// So many bytes of text, never the same, that compression makes half as long.
pub(super) fn random_text(bytes: usize) -> String {
    let hasher = std::hash::RandomState::new();
    let seed = std::hash::BuildHasher::hash_one(&hasher, bytes);
    let mut raw = vec![0; bytes / 2];
    let mut stream = blake3::Hasher::new();
    stream.update(&seed.to_le_bytes());
    stream.finalize_xof().fill(&mut raw);
    raw.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs a command with this on its standard input.
pub(super) fn feed(mut command: Command, input: &[u8]) -> Ran {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A command may end without reading all of it.
        let _closed = stdin.write_all(&input);
    });
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap();
    ran(&out)
}

fn ran(out: &Output) -> Ran {
    Ran {
        code: out.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

/// Pairs two running devices by ticket.
pub(super) fn pair(a: &Device, b: &Device) {
    let mut inviting = a
        .command(&["pair", "--ticket", "--yes", "--json"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(inviting.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let event: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let ticket = event["ticket"]
        .as_str()
        .unwrap_or_else(|| panic!("no ticket in {line}"));
    let joined = b.run_with(&["join", "--json"], format!("{ticket}\n").as_bytes());
    assert_eq!(joined.code, 0, "join: {}{}", joined.stdout, joined.stderr);
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\"paired\""), "pair: {rest}");
    assert!(inviting.wait().unwrap().success());
    connected(a, b);
}

/// Waits until two devices have a link.
pub(super) fn connected(a: &Device, b: &Device) {
    for (one, other) in [(a, b), (b, a)] {
        until(
            &format!("{} has a link to {}", one.name, other.name),
            || one.is_linked(other),
        );
    }
}

/// Waits for a condition; panics with its name after the deadline.
pub(super) fn until(what: &str, mut met: impl FnMut() -> bool) {
    let start = Instant::now();
    while !met() {
        assert!(start.elapsed() < DEADLINE, "never came true: {what}");
        // Each look starts processes, which paces the loop; this only keeps a
        // failing wait from taking both cores.
        std::thread::yield_now();
    }
}

/// Waits for a condition and tells how long it took since then. The bound holds in
/// the full form; in the quick one the machine may be busy.
pub(super) fn within(
    what: &str,
    bound: Duration,
    since: Instant,
    met: impl FnMut() -> bool,
) -> Duration {
    until(what, met);
    let took = since.elapsed();
    println!("{what}: {:.2} s", took.as_secs_f64());
    let full = crate::form::times(0, 1) == 1;
    assert!(!full || took <= bound, "{what}: {took:?}, not {bound:?}");
    took
}

/// Continues a session on a device, into a directory, without running anything.
pub(super) fn continue_into(device: &Device, task: &str, dir: &Path) -> Value {
    device.json(&[
        "continue",
        task,
        "--into",
        dir.to_str().unwrap(),
        "--no-exec",
        "--json",
    ])
}

/// Waits until a device holds all of a session as it stands there, by the number
/// of its lines: bytes differ with the lengths of paths.
pub(super) fn arrives(device: &Device, session: &str, there: &Session) {
    let records = there.records();
    until(
        &format!("{} holds {session} with {records} lines", device.name),
        || device.holds(session, records),
    );
}
