//! A made-up machine: a home, a project, an agent, and commands run on it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::context::say;
use crate::error::CommandError;
use crate::starting::READY;

/// How long an agent may take until it accepts work, and until it has ended.
const AGENT_MAX: Duration = Duration::from_secs(15);

/// Why the story did not come to its end.
pub(super) enum Failure {
    /// Our own output could not be written.
    Output(CommandError),
    /// Something in it did not hold.
    Story(String),
}

impl From<CommandError> for Failure {
    fn from(e: CommandError) -> Self {
        Self::Output(e)
    }
}

pub(super) fn failure(why: impl Into<String>) -> Failure {
    Failure::Story(why.into())
}

/// One made-up machine.
pub(super) struct Machine {
    /// What it is called.
    pub(super) name: String,
    /// Its user's home directory.
    pub(super) root: PathBuf,
    /// Where the project lies on it.
    pub(super) project: PathBuf,
    program: PathBuf,
    agent: Option<Child>,
}

impl Machine {
    /// Makes its directories.
    pub(super) fn new(name: &str, scratch: &Path, project: &str) -> Result<Self, Failure> {
        let program = std::env::current_exe();
        let root = scratch.join(name);
        let machine = Self {
            name: name.to_owned(),
            project: root.join(project),
            program: program.map_err(|e| failure(format!("cannot find this program: {e}")))?,
            root,
            agent: None,
        };
        for dir in [machine.claude(), machine.project.clone()] {
            fs::create_dir_all(&dir).map_err(|e| failure(format!("{}: {e}", dir.display())))?;
        }
        say(format!("  {name:<7} {}", machine.root.display()))?;
        Ok(machine)
    }

    /// Claude Code's directory on it.
    pub(super) fn claude(&self) -> PathBuf {
        self.root.join(".claude")
    }

    /// Starts its agent and gives it its name.
    pub(super) fn start_agent(&mut self) -> Result<(), Failure> {
        let args = ["agent", "--listen", "127.0.0.1:0", "--no-mdns"];
        self.typed(&args, "")?;
        let log = fs::File::create(self.root.join("agent.err"))
            .map_err(|e| failure(format!("cannot write its log: {e}")))?;
        let mut agent = self
            .command(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|e| failure(format!("cannot start an agent: {e}")))?;
        let lines = lines_of(&mut agent);
        self.agent = Some(agent);
        match lines.recv_timeout(AGENT_MAX) {
            Ok(line) if line.starts_with(READY) => {}
            _ => {
                let name = &self.name;
                return Err(failure(format!("the agent on the {name} did not start")));
            }
        }
        let name = self.name.clone();
        self.run(&["rename", &name], &[], b"", "").map(|_| ())
    }

    /// Stops its agent.
    pub(super) fn stop_agent(&mut self) -> Result<(), Failure> {
        self.run(&["down"], &[], b"", "")?;
        let until = Instant::now() + AGENT_MAX;
        if let Some(agent) = &mut self.agent {
            wait(agent, until).map_err(|_| failure("an agent did not end"))?;
        }
        self.agent = None;
        Ok(())
    }

    /// Shows a command as it is typed, runs it, and gives its output.
    pub(super) fn run(
        &self,
        args: &[&str],
        env: &[(&str, &str)],
        input: &[u8],
        input_name: &str,
    ) -> Result<Vec<u8>, Failure> {
        self.typed(args, input_name)?;
        self.quietly(args, env, input)
    }

    /// The same, with its output shown.
    pub(super) fn show(&self, args: &[&str]) -> Result<(), Failure> {
        let out = self.run(args, &[], b"", "")?;
        for line in String::from_utf8_lossy(&out).lines() {
            say(format!("  {line}"))?;
        }
        Ok(())
    }

    /// What a command with `--json` says, without showing it.
    pub(super) fn ask<T: DeserializeOwned>(&self, args: &[&str]) -> Result<T, Failure> {
        let out = self.quietly(args, &[], b"")?;
        serde_json::from_slice(&out)
            .map_err(|_| failure(format!("`{}` said no JSON", args.join(" "))))
    }

    /// Shows a command and starts it, to read what it says while it runs.
    pub(super) fn begin(&self, args: &[&str]) -> Result<Running, Failure> {
        self.typed(args, "")?;
        let mut child = self
            .command(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| failure(format!("cannot run `ccpeer {}`: {e}", args.join(" "))))?;
        let lines = lines_of(&mut child);
        let what = args.first().copied().unwrap_or_default().to_owned();
        Ok(Running { child, lines, what })
    }

    fn quietly(
        &self,
        args: &[&str],
        env: &[(&str, &str)],
        input: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let failed = |why: &dyn std::fmt::Display| {
            failure(format!(
                "`ccpeer {}` on the {}: {why}",
                args.join(" "),
                self.name
            ))
        };
        let mut child = self
            .command(args)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| failed(&e))?;
        if let Some(mut stdin) = child.stdin.take() {
            // Less than a pipe holds; a command that reads none of it is fine.
            let _ = stdin.write_all(input);
        }
        let output = child.wait_with_output().map_err(|e| failed(&e))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(failed(&said.lines().next().unwrap_or("it said nothing")))
    }

    fn typed(&self, args: &[&str], input_name: &str) -> Result<(), Failure> {
        let home = self.root.to_string_lossy();
        let args = args.join(" ").replace(&*home, "~");
        let from = if input_name.is_empty() { "" } else { " < " };
        Ok(say(format!(
            "  {}$ ccpeer {args}{from}{input_name}",
            self.name
        ))?)
    }

    /// A command in this machine's environment, and in no other.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).env_clear().current_dir(&self.project);
        for name in ["PATH", "TMPDIR", "LANG", "SystemRoot", "CCPEER_LOG"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("HOME", &self.root)
            .env("USERPROFILE", &self.root)
            .env("CCPEER_HOME", self.root.join(".ccpeer"));
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

/// A command under way.
pub(super) struct Running {
    child: Child,
    lines: Receiver<String>,
    what: String,
}

impl Running {
    /// The next line that it prints.
    pub(super) fn line(&mut self, wait_max: Duration) -> Result<String, Failure> {
        self.lines
            .recv_timeout(wait_max)
            .map_err(|_| failure(format!("`ccpeer {}` said nothing", self.what)))
    }

    /// Waits until it has ended well.
    pub(super) fn succeed(mut self, wait_max: Duration) -> Result<(), Failure> {
        match wait(&mut self.child, Instant::now() + wait_max) {
            Ok(true) => Ok(()),
            _ => Err(failure(format!("`ccpeer {}` failed", self.what))),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of a child's standard output as they come. The thread ends with it.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let (found, lines) = channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if found.send(line).is_err() {
                    return;
                }
            }
        });
    }
    lines
}

/// Whether it has ended well; an error if it has not ended in time.
fn wait(child: &mut Child, until: Instant) -> Result<bool, ()> {
    while Instant::now() < until {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Err(_) => return Err(()),
        }
    }
    Err(())
}
