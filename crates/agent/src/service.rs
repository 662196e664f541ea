//! The agent as a service of the system: a systemd user unit, a launchd agent or a
//! task of the Windows task scheduler, so that it runs from login on and is started
//! again when it fails.
//!
//! What each service manager is told, where that lies and which of its programs are
//! run is a value, made by pure functions in the files below; here it is carried
//! out. Only a file that we wrote and nobody has changed is replaced or removed. Must
//! not know what an agent does.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ccpeer_core::text;
use serde::Serialize;

use crate::api::{ApiError, ErrorCode};
use crate::home::{Env, Home};
use crate::keys;

mod launchd;
mod run;
mod seal;
mod systemd;
mod tasks;

use run::{Call, Ran};

/// How the C library is told to keep its heap: it asks once, when a program starts.
///
/// By itself it keeps a heap for each thread, and in each what was freed: after a first
/// capture that is more than all the rest, and one heap for all halves an idle agent.
/// It also learns to keep ever larger buffers in it, between which little is given
/// back: what has 128 KiB and more, as most chunks have, is to go when it is freed.
pub const HEAP: [(&str, &str); 2] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
];
/// Seconds between the end of an agent that failed and the next start. Four starts
/// that fail within a minute and it stays down by itself: see [`crate::starts`].
const RESTART_S: u32 = 15;
/// No file of a service is longer.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Characters of what a service manager's program says that are passed on.
const SAID_CHARS_MAX: usize = 200;
/// Hexadecimal digits of a home's hash in the name of its service.
const NAME_DIGITS: usize = 8;

/// Who starts and watches programs here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// systemd's manager of the user.
    Systemd,
    /// launchd, for the user's session.
    Launchd,
    /// The Windows task scheduler.
    TaskScheduler,
}

impl Manager {
    /// The one of this platform; whether it runs is another question.
    #[must_use]
    pub fn of_platform() -> Option<Self> {
        if cfg!(target_os = "linux") {
            Some(Self::Systemd)
        } else if cfg!(target_os = "macos") {
            Some(Self::Launchd)
        } else if cfg!(windows) {
            Some(Self::TaskScheduler)
        } else {
            None
        }
    }

    /// What people call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Launchd => "launchd",
            Self::TaskScheduler => "the task scheduler",
        }
    }
}

/// How the agent is started, beyond what is told to a running one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// Listen on this address only.
    pub listen: Option<SocketAddr>,
    /// Neither announce this device nor look for others.
    pub no_mdns: bool,
}

/// What a service manager is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Job {
    /// Absolute, in UTF-8, without control characters; so is everything below.
    program: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    /// Where what it says goes if the manager keeps no log.
    log: String,
    /// Who it is for, where the manager wants to know.
    user: String,
    start: Start,
}

/// What is in the place of the service's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Nothing.
    Missing,
    /// What we wrote.
    Installed,
    /// What we wrote, changed by somebody.
    Changed,
    /// Something that we did not write.
    Foreign,
}

/// Whether the service manager runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Running {
    /// `running`, `stopped`, `failed`, or `unknown` where it cannot be asked.
    pub state: &'static str,
    /// The process that it watches.
    pub pid: Option<u32>,
    /// Why it failed, or why it cannot be asked.
    pub why: Option<String>,
}

/// `service status`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// Who starts it.
    pub manager: Manager,
    /// What it is called there.
    pub name: String,
    /// The file that tells it.
    pub file: String,
    /// What is in the place of that file.
    pub installed: Found,
    /// It is started at login.
    pub enabled: bool,
    /// It runs the program that asks.
    pub runs_this_program: bool,
    /// How it does.
    #[serde(flatten)]
    pub running: Running,
    /// How to see what it said: commands, and the agent's log.
    pub logs: Vec<String>,
}

/// The service of one home.
pub struct Service<'h> {
    home: &'h Home,
    manager: Manager,
    name: String,
    file: PathBuf,
    /// A link that has it started at login, and where it leads.
    link: Option<(PathBuf, PathBuf)>,
    /// Who is asked, where the manager has more than one session of a user.
    domain: String,
    run: &'h dyn Fn(&Call) -> io::Result<Ran>,
}

impl<'h> Service<'h> {
    /// The service of this home.
    ///
    /// # Errors
    /// [`ErrorCode::Refused`] on a system for which there is none.
    pub fn of(home: &'h Home) -> Result<Self, ApiError> {
        let manager = Manager::of_platform().ok_or_else(|| {
            ApiError::new(ErrorCode::Refused, "there is no service for this system")
                .hint("have `ccpeer agent` started by what starts programs here")
        })?;
        Ok(Self::with(home, manager, &from_process, &run::run))
    }

    fn with(
        home: &'h Home,
        manager: Manager,
        env: Env<'_>,
        run: &'h dyn Fn(&Call) -> io::Result<Ran>,
    ) -> Self {
        let name = name(home, env);
        let (file, link) = match manager {
            Manager::Systemd => {
                let dir = systemd::dir(home, env);
                let (file, link) = systemd::places(&dir, &name);
                let leads_to = file.clone();
                (file, Some((link, leads_to)))
            }
            Manager::Launchd => (launchd::place(home, &name), None),
            Manager::TaskScheduler => (home.service_task(), None),
        };
        Self {
            home,
            manager,
            name: match manager {
                Manager::Systemd => systemd::unit(&name),
                Manager::Launchd => launchd::label(&name),
                Manager::TaskScheduler => name,
            },
            file,
            link,
            domain: launchd::domain(user_number()),
            run,
        }
    }

    /// Who starts it.
    #[must_use]
    pub fn manager(&self) -> Manager {
        self.manager
    }

    /// The file that tells it.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether a program of the service manager is there to be asked.
    #[must_use]
    pub fn can_be_asked(&self) -> bool {
        !matches!(self.ask(), Err(e) if e.kind() == io::ErrorKind::NotFound)
    }

    /// What is in the place of its file.
    #[must_use]
    pub fn found(&self) -> Found {
        self.look().0
    }

    /// How it was told to start the agent.
    #[must_use]
    pub fn start_as_written(&self) -> Option<Start> {
        let (found, text) = self.look();
        (found == Found::Installed).then(|| seal::start(&text))
    }

    /// Writes its file, and has it started at every login. Returns whether anything
    /// was changed.
    ///
    /// # Errors
    /// [`ErrorCode::Refused`] where a path cannot be written down, or where a file is
    /// that is not ours; [`ErrorCode::Disk`].
    pub fn write(&self, program: &Path, start: &Start) -> Result<bool, ApiError> {
        let job = job(self.home, self.manager, program, start, &from_process)?;
        let (found, before) = self.look();
        self.refuse_foreign(found)?;
        let text = self.text(&job);
        let mut changed = false;
        if found != Found::Installed || before != text {
            let failed = |e: io::Error| disk("write", &self.file, &e);
            if let Some(dir) = self.file.parent() {
                fs::create_dir_all(dir).map_err(failed)?;
            }
            keys::write_private(&self.file, &self.encode(&text)).map_err(failed)?;
            changed = true;
        }
        if let Some((link, to)) = &self.link
            && !leads(link, to)
        {
            make_link(link, to).map_err(|e| disk("write", link, &e))?;
            changed = true;
        }
        Ok(changed)
    }

    /// Has the manager read what was written.
    ///
    /// # Errors
    /// [`ErrorCode::Refused`] when it cannot be reached, or does not want to.
    pub fn load(&self) -> Result<(), ApiError> {
        self.carry_out(&match self.manager {
            Manager::Systemd => vec![systemd::reload()],
            // It reads the file when it is started.
            Manager::Launchd => vec![launchd::reach(&self.domain)],
            Manager::TaskScheduler => vec![tasks::create(&self.name, &self.file)],
        })
    }

    /// Has it started now.
    ///
    /// # Errors
    /// As [`Service::load`].
    pub fn start(&self) -> Result<(), ApiError> {
        self.carry_out(&match self.manager {
            Manager::Systemd => vec![systemd::start(&self.name)],
            Manager::Launchd => launchd::start(&self.domain, &self.name, &self.file),
            Manager::TaskScheduler => vec![tasks::start(&self.name)],
        })
    }

    /// Stops it, takes away its file and all that was made with it. Returns whether
    /// anything was there, and why it could not be stopped, which keeps the file from
    /// nothing.
    ///
    /// # Errors
    /// [`ErrorCode::Refused`] where the file is not ours, [`ErrorCode::Disk`].
    pub fn remove(&self) -> Result<(bool, Option<ApiError>), ApiError> {
        let (found, _) = self.look();
        self.refuse_foreign(found)?;
        let mut changed = false;
        let mut stopped = Ok(());
        if found == Found::Installed {
            stopped = self.carry_out(&match self.manager {
                Manager::Systemd => vec![systemd::stop(&self.name)],
                Manager::Launchd => vec![launchd::stop(&self.domain, &self.name)],
                Manager::TaskScheduler => tasks::remove(&self.name),
            });
            fs::remove_file(&self.file).map_err(|e| disk("remove", &self.file, &e))?;
            changed = true;
        }
        if let Some((link, to)) = &self.link
            && leads(link, to)
        {
            fs::remove_file(link).map_err(|e| disk("remove", link, &e))?;
            // Made for it, perhaps; with anything else in it, it stays.
            let _full = link.parent().map(fs::remove_dir);
            changed = true;
        }
        if changed && self.manager == Manager::Systemd && stopped.is_ok() {
            stopped = self.carry_out(&[systemd::reload()]);
        }
        Ok((changed, stopped.err()))
    }

    /// How it does. Asks the manager only where there is something to ask about.
    #[must_use]
    pub fn status(&self, program: Option<&Path>) -> ServiceStatus {
        let (found, text) = self.look();
        let running = match found {
            Found::Missing => Running::told("stopped"),
            _ => self.running(),
        };
        let program = program.and_then(Path::to_str);
        ServiceStatus {
            manager: self.manager,
            name: self.name.clone(),
            file: self.file.display().to_string(),
            installed: found,
            enabled: found != Found::Missing
                && self.link.as_ref().is_none_or(|(link, to)| leads(link, to)),
            runs_this_program: program.is_some_and(|p| self.names(&text, p)),
            running,
            logs: self.logs(),
        }
    }

    /// How to see what it said.
    #[must_use]
    pub fn logs(&self) -> Vec<String> {
        let mut logs = Vec::new();
        if self.manager == Manager::Systemd {
            logs.push(systemd::logs(&self.name));
        }
        logs.push(self.home.log().display().to_string());
        logs
    }

    fn running(&self) -> Running {
        let ran = match self.ask() {
            Ok(ran) => ran,
            Err(e) => {
                let why = format!("{} cannot be asked: {e}", self.manager.as_str());
                return Running {
                    why: Some(why),
                    ..Running::told("unknown")
                };
            }
        };
        match self.manager {
            Manager::Systemd => systemd::read(&ran),
            Manager::Launchd => launchd::read(&ran),
            Manager::TaskScheduler => tasks::read(&ran),
        }
    }

    fn ask(&self) -> io::Result<Ran> {
        (self.run)(&match self.manager {
            Manager::Systemd => systemd::ask(&self.name),
            Manager::Launchd => launchd::ask(&self.domain, &self.name),
            Manager::TaskScheduler => tasks::ask(&self.name),
        })
    }

    fn text(&self, job: &Job) -> String {
        match self.manager {
            Manager::Systemd => systemd::text(job),
            Manager::Launchd => launchd::text(job, &self.name),
            Manager::TaskScheduler => tasks::text(job),
        }
    }

    fn names(&self, text: &str, program: &str) -> bool {
        let program = match self.manager {
            Manager::Systemd => format!("={} ", systemd::program(program)),
            // The whole of an element.
            Manager::Launchd | Manager::TaskScheduler => {
                format!(">{}<", seal::escape_xml(program))
            }
        };
        text.contains(&program)
    }

    fn encode(&self, text: &str) -> Vec<u8> {
        match self.manager {
            Manager::TaskScheduler => tasks::encode(text),
            _ => text.as_bytes().to_vec(),
        }
    }

    fn look(&self) -> (Found, String) {
        let foreign = (Found::Foreign, String::new());
        match fs::symlink_metadata(&self.file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return (Found::Missing, String::new());
            }
            Ok(meta) if meta.is_file() && meta.len() <= FILE_BYTES_MAX => {}
            _ => return foreign,
        }
        let Ok(bytes) = fs::read(&self.file) else {
            return foreign;
        };
        let text = match self.manager {
            Manager::TaskScheduler => tasks::decode(&bytes),
            _ => String::from_utf8(bytes).ok(),
        };
        text.map_or(foreign, |text| (seal::check(&text), text))
    }

    fn refuse_foreign(&self, found: Found) -> Result<(), ApiError> {
        let how = match found {
            Found::Missing | Found::Installed => return Ok(()),
            Found::Changed => "was changed by hand",
            Found::Foreign => "was not written by ccpeer",
        };
        let message = format!("{} {how} and was left alone", self.file.display());
        Err(ApiError::new(ErrorCode::Refused, message).hint("move it away and run this again"))
    }

    fn carry_out(&self, calls: &[Call]) -> Result<(), ApiError> {
        for call in calls {
            let ran = (self.run)(call).map_err(|e| self.unreachable(call, &e.to_string()))?;
            if !ran.ok && !call.may_fail {
                return Err(self.unreachable(call, &ran.said));
            }
        }
        Ok(())
    }

    fn unreachable(&self, call: &Call, said: &str) -> ApiError {
        let said = text::one_line(said.trim(), SAID_CHARS_MAX);
        let message = format!("`{}` failed: {said}", call.shown());
        let hint = match self.manager {
            Manager::Systemd => {
                "run this in a login session of your own (not `su` or `sudo`) on a system with systemd"
            }
            Manager::Launchd => "run this in a terminal of the graphical session",
            Manager::TaskScheduler => "look at the task in the Task Scheduler",
        };
        ApiError::new(ErrorCode::Refused, message).hint(hint)
    }
}

impl Running {
    fn told(state: &'static str) -> Self {
        Self {
            state,
            pid: None,
            why: None,
        }
    }
}

fn from_process(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

/// A home where nobody said otherwise has the plain name; each other one has its own.
fn name(home: &Home, env: Env<'_>) -> String {
    if is_usual(home, env) {
        return "ccpeer".to_owned();
    }
    let hash = blake3::hash(home.root().as_os_str().as_encoded_bytes()).to_hex();
    let digits: String = hash.chars().take(NAME_DIGITS).collect();
    format!("ccpeer-{digits}")
}

/// Whether an environment that says nothing but where the user is at home leads to
/// the same place.
fn is_usual(home: &Home, env: Env<'_>) -> bool {
    let bare = |name: &str| {
        matches!(name, "HOME" | "USERPROFILE" | "LOCALAPPDATA")
            .then(|| env(name))
            .flatten()
    };
    Home::from_env(&bare).is_ok_and(|usual| usual.root() == home.root())
}

/// What is to be run, with what of our environment decides where it works.
fn job(
    home: &Home,
    manager: Manager,
    program: &Path,
    start: &Start,
    env: Env<'_>,
) -> Result<Job, ApiError> {
    let program_text = writable("the ccpeer program", program.as_os_str())?;
    if !program.is_absolute() {
        return Err(unwritable("the ccpeer program", "is not absolute"));
    }
    let mut args = vec!["agent".to_owned()];
    if let Some(listen) = start.listen {
        args.extend(["--listen".to_owned(), listen.to_string()]);
    }
    if start.no_mdns {
        args.push("--no-mdns".to_owned());
    }
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    let mut places = Vec::new();
    if set("CCPEER_HOME").is_some() || !is_usual(home, env) {
        let root = writable("CCPEER_HOME", home.root().as_os_str())?;
        places.push(("CCPEER_HOME", "--home", root));
    }
    if set("CLAUDE_CONFIG_DIR").is_some() {
        let claude = writable("CLAUDE_CONFIG_DIR", home.claude().as_os_str())?;
        places.push(("CLAUDE_CONFIG_DIR", "--claude-dir", claude));
    }
    let mut vars = Vec::new();
    for (variable, option, value) in places {
        // The task scheduler has no environment to give.
        if manager == Manager::TaskScheduler {
            args.extend([option.to_owned(), value]);
        } else {
            vars.push((variable.to_owned(), value));
        }
    }
    if manager == Manager::Systemd {
        for (name, value) in HEAP {
            let own = set(name).map(|own| writable(name, &own));
            vars.push((
                name.to_owned(),
                own.unwrap_or_else(|| Ok(value.to_owned()))?,
            ));
        }
    }
    // `git` and `claude` are found as they are now. Where these cannot be written
    // down, the service does without.
    for name in ["PATH", "CLAUDE_CODE_PROJECT_DIR_NAME", "CCPEER_MACHINE_ID"] {
        if manager != Manager::TaskScheduler
            && let Some(Ok(value)) = set(name).map(|value| writable(name, &value))
        {
            vars.push((name.to_owned(), value));
        }
    }
    let said = |name: &str| set(name).and_then(|value| value.into_string().ok());
    let user = match (said("USERDOMAIN"), said("USERNAME")) {
        (Some(domain), Some(user)) => format!("{domain}\\{user}"),
        (None, user) => user.unwrap_or_default(),
        (_, None) => String::new(),
    };
    Ok(Job {
        program: program_text,
        args,
        env: vars,
        log: writable("the log", home.log().as_os_str())?,
        user,
        start: start.clone(),
    })
}

/// A value that can stand in every manager's file.
fn writable(what: &str, value: &std::ffi::OsStr) -> Result<String, ApiError> {
    let text = value
        .to_str()
        .ok_or_else(|| unwritable(what, "is not text in UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(unwritable(what, "holds a control character"));
    }
    Ok(text.to_owned())
}

fn unwritable(what: &str, how: &str) -> ApiError {
    let message = format!("the path of {what} {how}, so that no service can be told of it");
    ApiError::new(ErrorCode::Refused, message).hint("give it a plain absolute path")
}

fn leads(link: &Path, to: &Path) -> bool {
    fs::read_link(link).is_ok_and(|found| found == to)
}

#[cfg(unix)]
fn make_link(link: &Path, to: &Path) -> io::Result<()> {
    if let Some(dir) = link.parent() {
        fs::create_dir_all(dir)?;
    }
    // One of ours that leads elsewhere is renewed; a file of somebody stays.
    if fs::read_link(link).is_ok() {
        fs::remove_file(link)?;
    }
    std::os::unix::fs::symlink(to, link)
}

#[cfg(not(unix))]
fn make_link(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(unix)]
fn user_number() -> u32 {
    nix::unistd::getuid().as_raw()
}

#[cfg(not(unix))]
fn user_number() -> u32 {
    0
}

fn disk(verb: &str, path: &Path, e: &io::Error) -> ApiError {
    let message = format!("cannot {verb} {}: {e}", path.display());
    ApiError::new(ErrorCode::Disk, message).hint("check who owns it and whether the disk is full")
}

#[cfg(test)]
mod tests;
