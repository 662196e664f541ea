//! What the tests of the program share: a home of its own, the program in an
//! otherwise empty environment, and an agent that says what a test tells it to.

use std::fs;
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use ccpeer_agent::api::{FRAME_REQUEST, Json, Reply, Request};
use ccpeer_agent::client::{read_frame, write_frame};
use ccpeer_agent::home::Home;
use serde_json::Value;

/// How long anything is waited for before a test fails.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(20);

/// One user on one machine.
pub(crate) struct User {
    dir: tempfile::TempDir,
}

impl User {
    pub(crate) fn new() -> Self {
        let user = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(user.claude()).unwrap();
        user
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn claude(&self) -> PathBuf {
        self.root().join(".claude")
    }

    pub(crate) fn home(&self) -> Home {
        let root = self.root().to_owned();
        Home::from_env(&|name| match name {
            "CCPEER_HOME" => Some(root.join("cc").into_os_string()),
            "HOME" => Some(root.clone().into_os_string()),
            _ => None,
        })
        .unwrap()
    }

    /// The program, in an environment that holds nothing else.
    pub(crate) fn ccpeer(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ccpeer"));
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.root())
            .env("CCPEER_HOME", self.root().join("cc"))
            .current_dir(self.root())
            .stdin(Stdio::null());
        command
    }

    #[must_use]
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.ccpeer(args).output().unwrap()
    }

    /// Runs it with something on its standard input.
    #[must_use]
    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.ccpeer(args);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = std::thread::spawn(move || {
            // A program that does not read all of it is the test's business.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }

    /// Takes the agent's place: `serve` has each connection for itself.
    pub(crate) fn listen(&self, serve: impl Fn(UnixStream) + Send + Sync + 'static) {
        let listener = self.bind();
        let serve = std::sync::Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serve = std::sync::Arc::clone(&serve);
                std::thread::spawn(move || serve(stream));
            }
        });
    }

    /// A socket in the agent's place on which nobody answers.
    pub(crate) fn bind(&self) -> UnixListener {
        let home = self.home();
        fs::create_dir_all(home.run()).unwrap();
        UnixListener::bind(home.socket()).unwrap()
    }

    /// Takes the agent's place: answers each request with what `answer` makes
    /// of it. The requests can be looked at afterwards.
    pub(crate) fn answer(
        &self,
        answer: impl Fn(&Request) -> Vec<Reply> + Send + Sync + 'static,
    ) -> Receiver<Request> {
        let (seen, requests) = channel();
        self.listen(move |mut stream| {
            while let Ok((FRAME_REQUEST, body)) = read_frame(&mut stream) {
                let request: Request = serde_json::from_slice(&body).unwrap();
                let replies = answer(&request);
                // Before anybody can act on the answer.
                let _ = seen.send(request);
                for reply in replies {
                    let (kind, body) = reply.to_frame().unwrap();
                    if write_frame(&mut stream, kind, &body).is_err() {
                        return;
                    }
                }
            }
        });
        requests
    }
}

/// The end of an answer.
pub(crate) fn ok(value: Value) -> Vec<Reply> {
    vec![Reply::Ok(Json::of(&value).unwrap())]
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)))
}

#[track_caller]
pub(crate) fn assert_code(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "stdout: {}\nstderr: {}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Waits for the end of a child; kills it and fails if it does not come. Waits
/// asleep: a loop that looks takes the time that the child needs.
pub(crate) fn wait_for_end(child: &mut Child) -> i32 {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (ended, end) = channel::<()>();
    let watch = std::thread::spawn(move || {
        let late = end.recv_timeout(WAIT_MAX) == Err(RecvTimeoutError::Timeout);
        if late {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        late
    });
    let status = child.wait().unwrap();
    drop(ended);
    assert!(!watch.join().unwrap(), "the program has not ended");
    status.code().unwrap_or(-1)
}
