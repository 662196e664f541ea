//! Starting the system's git for a mirror, and for code that goes along: a deadline
//! for everything, no prompt, no hook, no filter, no helper that a repository names.
//!
//! Plumbing that stays on this machine sees no configuration but its own. What
//! talks to a remote sees the user's, because that says how he logs in there; what
//! asks about a work tree of his does, because that says what counts as changed.
//! Must not know what a mirror holds.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use ccpeer_core::text;
use ccpeer_formats::secrets;

/// How long plumbing on this machine may take.
pub(crate) const LOCAL_MAX: Duration = Duration::from_secs(300);
/// How long one talk with a remote may take. A first push of everything is long.
pub(crate) const REMOTE_MAX: Duration = Duration::from_secs(1800);
/// How often somebody looks whether the agent ends while git works.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Bytes of what git complains about that are kept.
const COMPLAINT_BYTES_MAX: u64 = 16 * 1024;
/// Characters of it that are shown.
const COMPLAINT_CHARS_MAX: usize = 240;
/// Variables by which the place of a repository, or of a program, would come from
/// whoever started us.
const MISLEADING: [&str; 20] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_PREFIX",
    "GIT_NAMESPACE",
    "GIT_CEILING_DIRECTORIES",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_EXTERNAL_DIFF",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_TEMPLATE_DIR",
    "GIT_ASKPASS",
    "SSH_ASKPASS",
    "GIT_EDITOR",
    "GIT_TRACE",
    "GIT_TRACE2",
];
/// Said to every git: nothing that a repository or its configuration would have us
/// start. An empty path of hooks names a directory that is not there.
const ALWAYS: [&str; 10] = [
    "core.hooksPath=/dev/null/none",
    "core.fsmonitor=false",
    "core.askPass=",
    "core.pager=cat",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.allow=never",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "credential.interactive=false",
];
/// Said to a git that talks to a remote: the ways that are allowed, and nothing
/// that is pushed or fetched beside what we name.
const REMOTE: [&str; 13] = [
    "protocol.file.allow=always",
    "protocol.ssh.allow=always",
    "protocol.https.allow=always",
    "protocol.http.allow=always",
    "protocol.git.allow=always",
    "push.followTags=false",
    "push.gpgSign=false",
    "push.recurseSubmodules=no",
    "fetch.recurseSubmodules=no",
    "fetch.prune=false",
    "remote.pushDefault=",
    "http.lowSpeedLimit=100",
    "http.lowSpeedTime=60",
];

/// Whether a talk leaves this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It does not.
    Here,
    /// It does not, and the repository is the user's own: how he has set git up says
    /// what counts as changed and what as unknown.
    User,
    /// It may.
    Remote,
}

/// What git made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// It succeeded.
    pub(crate) ok: bool,
    /// Its standard output.
    pub(crate) out: Vec<u8>,
    /// Its last words, fit to be shown and without a password.
    pub(crate) complaint: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GitError {
    /// There is no git.
    #[error("git is not installed, or not to be found")]
    Missing,
    /// It cannot be started.
    #[error("git cannot be started: {0}")]
    Start(std::io::ErrorKind),
    /// It took too long and was ended.
    #[error("git did not finish within {} s and was ended", .0.as_secs())]
    Late(Duration),
    /// The agent ends.
    #[error("the agent is stopping")]
    Stopping,
    /// It said more than is read.
    #[error("git says more than {0} bytes, which is more than a mirror may hold")]
    TooMuch(u64),
    /// It said no.
    #[error("git {what} failed: {words}")]
    Refused {
        /// The command.
        what: &'static str,
        /// What it said.
        words: String,
    },
    /// It said something that cannot be.
    #[error("git {0} gave an answer that makes no sense")]
    Nonsense(&'static str),
}

/// One call of git.
pub(crate) struct Call<'c> {
    /// The repository; none for a clone.
    pub(crate) dir: Option<&'c Path>,
    pub(crate) reach: Reach,
    /// Where it is started: the top of a work tree. Else in the repository.
    pub(crate) top: Option<&'c Path>,
    /// Further settings.
    pub(crate) settings: Vec<String>,
    /// Further variables.
    pub(crate) env: Vec<(&'static str, OsString)>,
    pub(crate) args: Vec<&'c str>,
    pub(crate) input: Option<Vec<u8>>,
    /// Bytes of the answer that are read.
    pub(crate) out_max: u64,
    pub(crate) time_max: Duration,
}

/// Whether the agent ends: long work stops then.
pub(crate) type Stop<'s> = &'s (dyn Fn() -> bool + Sync);

impl<'c> Call<'c> {
    pub(crate) fn here(dir: &'c Path, args: &[&'c str]) -> Self {
        Self {
            dir: Some(dir),
            reach: Reach::Here,
            top: None,
            settings: Vec::new(),
            env: Vec::new(),
            args: args.to_vec(),
            input: None,
            out_max: 1024 * 1024,
            time_max: LOCAL_MAX,
        }
    }

    pub(crate) fn remote(dir: Option<&'c Path>, args: &[&'c str]) -> Self {
        Self {
            dir,
            reach: Reach::Remote,
            out_max: 4 * 1024 * 1024,
            time_max: REMOTE_MAX,
            ..Self::here(Path::new(""), args)
        }
    }

    pub(crate) fn input(mut self, bytes: Vec<u8>) -> Self {
        self.input = Some(bytes);
        self
    }

    /// Another repository's work tree, as the user has set git up.
    pub(crate) fn user(dir: &'c Path, top: &'c Path, args: &[&'c str]) -> Self {
        Self {
            reach: Reach::User,
            top: Some(top),
            ..Self::here(dir, args)
        }
    }

    pub(crate) fn top(mut self, top: &'c Path) -> Self {
        self.top = Some(top);
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    pub(crate) fn out_max(mut self, bytes: u64) -> Self {
        self.out_max = bytes;
        self
    }

    /// Runs it. A no of git's is an answer.
    pub(crate) fn ask(self, stop: Stop<'_>) -> Result<Said, GitError> {
        let mut command = self.command();
        let Self {
            input,
            out_max,
            time_max,
            ..
        } = self;
        let mut child = command.spawn().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => GitError::Missing,
            kind => GitError::Start(kind),
        })?;
        let said = talk(&mut child, input, out_max, time_max, stop);
        if said.is_err() {
            end(&mut child);
        }
        let status = child.wait().ok();
        let (out, complaint) = said?;
        Ok(Said {
            ok: status.as_ref().is_some_and(ExitStatus::success),
            out,
            complaint: told(&complaint),
        })
    }

    /// The same where a no is a failure.
    pub(crate) fn must(self, what: &'static str, stop: Stop<'_>) -> Result<Vec<u8>, GitError> {
        let said = self.ask(stop)?;
        match said.ok {
            true => Ok(said.out),
            false => Err(GitError::Refused {
                what,
                words: said.complaint,
            }),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.args(["--no-optional-locks", "--no-pager", "--no-replace-objects"]);
        for setting in ALWAYS {
            command.args(["-c", setting]);
        }
        if self.reach == Reach::Remote {
            for setting in REMOTE {
                command.args(["-c", setting]);
            }
        }
        for setting in &self.settings {
            command.args(["-c", setting.as_str()]);
        }
        if let Some(dir) = self.dir {
            command.arg("--git-dir").arg(dir);
            command.current_dir(self.top.unwrap_or(dir));
        }
        command
            .args(&self.args)
            .stdin(match self.input {
                Some(_) => Stdio::piped(),
                None => Stdio::null(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GCM_INTERACTIVE", "never")
            .env("SSH_ASKPASS_REQUIRE", "never")
            // Whatever it starts must not come back to us as a hook.
            .env("CCPEER_CHILD", "1")
            .env("LC_ALL", "C");
        for name in MISLEADING {
            command.env_remove(name);
        }
        match self.reach {
            Reach::Here => {
                let none = if cfg!(windows) { "NUL" } else { "/dev/null" };
                command
                    .env("GIT_CONFIG_NOSYSTEM", "1")
                    .env("GIT_CONFIG_GLOBAL", none);
            }
            Reach::Remote if !names_ssh() => {
                // It asks nobody, and does not wait for ever for a host that is gone.
                command.env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oConnectTimeout=20");
            }
            Reach::Remote | Reach::User => {}
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        // Its own group, so that what it starts ends with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }
}

/// Whether the user says himself how ssh is to be started.
fn names_ssh() -> bool {
    if std::env::var_os("GIT_SSH_COMMAND").is_some() || std::env::var_os("GIT_SSH").is_some() {
        return true;
    }
    let mut command = Command::new("git");
    command
        .args([
            "config",
            "--global",
            "--includes",
            "--get",
            "core.sshCommand",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|s| s.success())
}

fn talk(
    child: &mut Child,
    input: Option<Vec<u8>>,
    out_max: u64,
    time_max: Duration,
    stop: Stop<'_>,
) -> Result<(Vec<u8>, Vec<u8>), GitError> {
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(GitError::Nonsense("itself"));
    };
    if let (Some(stdin), Some(bytes)) = (child.stdin.take(), input) {
        feed(stdin, bytes);
    }
    let complaint = read(err, COMPLAINT_BYTES_MAX);
    let answer = read(out, out_max + 1);
    let deadline = Instant::now() + time_max;
    let out = loop {
        match answer.recv_timeout(LOOK_EVERY) {
            Ok(bytes) => break bytes,
            Err(RecvTimeoutError::Disconnected) => break Vec::new(),
            Err(RecvTimeoutError::Timeout) if stop() => return Err(GitError::Stopping),
            Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                return Err(GitError::Late(time_max));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    };
    if out.len() as u64 > out_max {
        return Err(GitError::TooMuch(out_max));
    }
    let left = deadline.saturating_duration_since(Instant::now());
    match complaint.recv_timeout(left.max(LOOK_EVERY)) {
        Err(RecvTimeoutError::Timeout) => Err(GitError::Late(time_max)),
        words => Ok((out, words.unwrap_or_default())),
    }
}

fn feed(mut stdin: ChildStdin, bytes: Vec<u8>) {
    // One that does not read to the end says why on its own.
    let writer = thread::Builder::new().name("git in".to_owned());
    let _not_fed = writer.spawn(move || stdin.write_all(&bytes));
}

fn read(from: impl Read + Send + 'static, max: u64) -> mpsc::Receiver<Vec<u8>> {
    let (tx, rx) = mpsc::sync_channel(1);
    let reader = thread::Builder::new().name("git out".to_owned());
    let _no_thread = reader.spawn(move || {
        let mut from = from;
        let mut bytes = Vec::new();
        let _cut_off = (&mut from).take(max).read_to_end(&mut bytes);
        let _nobody_waits = tx.send(bytes);
        // Read on, so that it does not wait for us.
        let _drained = std::io::copy(&mut from, &mut std::io::sink());
    });
    rx
}

/// Ends it and what it has started.
fn end(child: &mut Child) {
    #[cfg(unix)]
    {
        use nix::sys::signal::{Signal, killpg};
        if let Some(raw) = i32::try_from(child.id()).ok().filter(|raw| *raw > 1) {
            let _none_left = killpg(nix::unistd::Pid::from_raw(raw), Signal::SIGKILL);
        }
    }
    let _gone_already = child.kill();
}

/// The last words of a complaint that say something.
fn told(complaint: &[u8]) -> String {
    let complaint = String::from_utf8_lossy(complaint);
    let noise = |line: &&str| {
        let line = line.trim();
        line.is_empty() || line.starts_with("hint:") || line.starts_with("Cloning into")
    };
    let said: Vec<&str> = complaint.lines().filter(|l| !noise(l)).collect();
    let fatal = said.iter().find(|l| {
        ["fatal:", "error:", "ERROR:", "remote: error"]
            .iter()
            .any(|p| l.trim_start().starts_with(p))
    });
    let line = fatal.or(said.last()).copied().unwrap_or_default();
    text::one_line(&without_login(&secrets::redact(line)), COMPLAINT_CHARS_MAX)
}

/// An address, or a text with addresses in it, without what stands before an `@`.
pub(crate) fn without_login(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after.find(['/', ' ', '\'', '"']).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        out.push_str(
            authority
                .rsplit_once('@')
                .map_or(authority, |(_, host)| host),
        );
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_login() {
        let check = |text: &str, want: &str| assert_eq!(without_login(text), want);
        check("https://ann:pw@h.example/r.git", "https://h.example/r.git");
        check(
            "fatal: 'https://t0k@h/r' not found",
            "fatal: 'https://h/r' not found",
        );
        check("git@h.example:r.git", "git@h.example:r.git");
        check("/a/b@c", "/a/b@c");
    }

    #[test]
    fn a_git_that_hangs_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let never = || false;
        // It waits for input that does not come to an end in time.
        let mut call = Call::here(dir.path(), &["hash-object", "--stdin-paths"]);
        call.input = None;
        call.time_max = Duration::from_millis(300);
        call.args = vec!["-c", "alias.wait=!sleep 60", "wait"];
        assert_eq!(
            call.ask(&never).unwrap_err(),
            GitError::Late(Duration::from_millis(300))
        );
        let call = Call::here(dir.path(), &["-c", "alias.wait=!sleep 60", "wait"]);
        assert_eq!(call.ask(&|| true).unwrap_err(), GitError::Stopping);
    }
}
