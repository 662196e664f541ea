//! Looks at everything around ccpeer that can be wrong, and says what to do about
//! it. It changes nothing, and works with the agent down: whether one answers is
//! one of the questions.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ccpeer_core::limits;
use ccpeer_core::text;
use serde::Serialize;

use crate::api::{ApiError, Status, SummaryStatus};
use crate::binding::{self, Standing};
use crate::home::Home;
use crate::hooks::{self, Installed};
use crate::keys::{DeviceKey, KeyError};
use crate::service::{Found, Service};
use crate::{exposed, spool, start, starts};

pub mod net;
mod system;
pub(crate) use system::free_space;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing has to be done.
    Note,
    /// Something does not work, or soon will not.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name: stable.
    pub id: &'static str,
    /// How it went.
    pub state: State,
    /// What was found, in one sentence.
    pub message: String,
    /// What to do about it, in the imperative.
    pub hint: Option<String>,
}

/// What the checks are told by their caller.
#[derive(Debug)]
pub struct Around<'a> {
    /// Whose agent.
    pub home: &'a Home,
    /// What the agent says, or why it says nothing.
    pub agent: Result<Status, ApiError>,
    /// The program that asks.
    pub program: Option<&'a Path>,
    /// Its version.
    pub version: &'a str,
}

/// Free space below which nothing good will come.
const SPACE_LOW: u64 = 256 * 1024 * 1024;
/// Free space below which it is worth a word.
const SPACE_NOTE: u64 = 2 * 1024 * 1024 * 1024;
/// Days after which Claude Code deletes sessions, unless told otherwise.
const CLEANUP_DAYS: u64 = 30;
/// Fewer of them than this is worth a word.
const CLEANUP_DAYS_FEW: u64 = 7;
/// A clock that shows an earlier time is wrong: 2025-01-01.
const CLOCK_MIN_S: u64 = 1_735_689_600;
/// So is one that shows a later one: 2100-01-01.
const CLOCK_MAX_S: u64 = 4_102_444_800;
/// What of ours may lie in the future before the clock is doubted.
const CLOCK_SLACK: Duration = Duration::from_secs(86_400);

/// Looks at everything, in the order in which it is told.
#[must_use]
pub fn examine(around: &Around<'_>) -> Vec<Check> {
    let home = around.home;
    let mut out = vec![
        home_dir(home),
        system::file_system(home.root()),
        space(system::free_space(home.root())),
        key(home),
        store(home),
        agent(around),
    ];
    out.extend(starts::why(home).map(|e| problem("starts", e.message, hint_of(&e.hint))));
    out.extend(service(around));
    out.push(waiting(home));
    out.extend(settings(around));
    out.push(system::claude());
    out.push(system::git());
    out.push(clock(home));
    if let Ok(status) = &around.agent {
        out.extend(peers(status));
        out.extend(told(status));
    }
    out
}

fn ok(id: &'static str, message: impl Into<String>) -> Check {
    Check {
        id,
        state: State::Ok,
        message: message.into(),
        hint: None,
    }
}

fn note(id: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Check {
    let hint = hint.into();
    Check {
        id,
        state: State::Note,
        message: message.into(),
        hint: (!hint.is_empty()).then_some(hint),
    }
}

fn problem(id: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Check {
    Check {
        state: State::Problem,
        ..note(id, message, hint)
    }
}

fn hint_of(hint: &Option<String>) -> String {
    hint.clone().unwrap_or_default()
}

fn home_dir(home: &Home) -> Check {
    let root = home.root();
    let shown = root.display();
    match std::fs::metadata(root) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => note(
            "home",
            format!("{shown} does not exist yet"),
            "run `ccpeer up`",
        ),
        Err(e) => problem(
            "home",
            format!("{shown} cannot be read: {e}"),
            "check who owns it, or set CCPEER_HOME",
        ),
        Ok(m) if !m.is_dir() => problem(
            "home",
            format!("{shown} is not a directory"),
            "move it away, or set CCPEER_HOME to a directory",
        ),
        Ok(_) => match system::open_to_others(root) {
            Some(mode) => problem(
                "home",
                format!("{shown} can be entered by others (mode {mode:o})"),
                format!("run `chmod 700 {shown}`"),
            ),
            None => ok("home", format!("{shown} is there and private")),
        },
    }
}

/// What `free` bytes on the disk of `CCPEER_HOME` mean; `None`: not known.
fn space(free: Option<u64>) -> Check {
    let Some(free) = free else {
        return note("space", "free space cannot be told here", "");
    };
    let said = format!("{} MiB free", free / (1024 * 1024));
    if free < SPACE_LOW {
        problem(
            "space",
            said,
            "make room on the disk of CCPEER_HOME; nothing is taken in while it is full",
        )
    } else if free < SPACE_NOTE {
        note("space", said, "make room on the disk of CCPEER_HOME soon")
    } else {
        ok("space", said)
    }
}

fn key(home: &Home) -> Check {
    let key = match DeviceKey::load(&home.key()) {
        Ok(Some(key)) => key,
        Ok(None) => return note("key", "there is no device key yet", "run `ccpeer up`"),
        Err(e) => {
            let hint = match e {
                KeyError::Exposed => format!("run `chmod 600 {}`", home.key().display()),
                _ => "restore it from a backup, or move it aside and pair anew".to_owned(),
            };
            return problem("key", e.to_string(), hint);
        }
    };
    match binding::standing(home) {
        Standing::Copied => problem(
            "key",
            "this home was copied: its key belongs to another place",
            "run `ccpeer up`, then `ccpeer rekey --separate` if the original still runs",
        ),
        Standing::Same | Standing::Moved | Standing::Unbound => {
            ok("key", format!("device {} is private", key.device.short()))
        }
    }
}

fn store(home: &Home) -> Check {
    match system::first_bytes(&home.store()) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            note("store", "there is no store yet", "run `ccpeer up`")
        }
        Err(e) => problem(
            "store",
            format!("{} cannot be read: {e}", home.store().display()),
            "check its permissions and the disk",
        ),
        Ok((len, magic)) if len > 0 && !magic => problem(
            "store",
            format!("{} is not a store (any more)", home.store().display()),
            "run `ccpeer up --salvage`: it is set aside, and what can be read is kept",
        ),
        Ok((len, _)) => {
            let aside = system::set_aside(home.root());
            let said = format!("{} KiB", len / 1024);
            if aside > 0 {
                note(
                    "store",
                    format!(
                        "{said}; {aside} damaged ones are set aside in {}",
                        home.root().display()
                    ),
                    "delete them once nothing is missed",
                )
            } else {
                ok("store", said)
            }
        }
    }
}

fn agent(around: &Around<'_>) -> Check {
    match &around.agent {
        Ok(status) if status.version != around.version => problem(
            "agent",
            format!(
                "version {} runs, this program is {}",
                text::one_line(&status.version, 40),
                around.version
            ),
            "run `ccpeer down`, then `ccpeer up`",
        ),
        Ok(status) => {
            let pid = status
                .pid
                .map_or(String::new(), |pid| format!(", process {pid}"));
            ok("agent", format!("runs, version {}{pid}", around.version))
        }
        Err(_) if start::is_running(around.home) => problem(
            "agent",
            "an agent holds this home and does not answer",
            "wait a moment; if it stays so, end its process and run `ccpeer up`",
        ),
        Err(_) => note(
            "agent",
            "no agent runs; hook events wait in the spool",
            "run `ccpeer up`",
        ),
    }
}

/// The service, where there is something that could run one.
fn service(around: &Around<'_>) -> Option<Check> {
    const ID: &str = "service";
    let service = Service::of(around.home).ok()?;
    let install = "run `ccpeer service install`";
    let status = service.status(around.program);
    let logs = || format!("see {}", status.logs.join(", or "));
    Some(match status.installed {
        Found::Missing if !service.can_be_asked() => return None,
        Found::Missing => note(ID, "none: the agent does not start at login", install),
        Found::Changed | Found::Foreign => note(
            ID,
            format!("{} is not as ccpeer wrote it", status.file),
            "move it away and run `ccpeer service install`, or leave it so",
        ),
        Found::Installed if !status.enabled => {
            problem(ID, "installed, but does not start at login", install)
        }
        Found::Installed if around.program.is_some() && !status.runs_this_program => {
            note(ID, "it runs another ccpeer than this one", install)
        }
        Found::Installed if status.running.state == "failed" => {
            let why = status.running.why.as_deref().unwrap_or("it failed");
            problem(ID, text::one_line(why, 200), logs())
        }
        Found::Installed => ok(
            ID,
            format!(
                "{}, starts at login ({}); logs: {}",
                status.running.state,
                status.manager.as_str(),
                status.logs.join(", ")
            ),
        ),
    })
}

fn waiting(home: &Home) -> Check {
    let (count, rejected) = (
        spool::count(home),
        system::count_files(&home.spool_rejected()),
    );
    let full = count as usize >= limits::SPOOL_FILES_MAX;
    if full {
        return problem(
            "spool",
            format!("{count} hook events wait; the oldest are given up"),
            "run `ccpeer up`",
        );
    }
    if rejected > 0 {
        return note(
            "spool",
            format!("{count} hook events wait, {rejected} could not be read"),
            format!("have a look at {}", home.spool_rejected().display()),
        );
    }
    ok("spool", format!("{count} hook events wait"))
}

fn settings(around: &Around<'_>) -> Vec<Check> {
    let home = around.home;
    let claude = home.claude();
    if !claude.is_dir() {
        return vec![note(
            "claude_dir",
            format!("{} does not exist", claude.display()),
            "run Claude Code once, or set CLAUDE_CONFIG_DIR, then run `ccpeer up`",
        )];
    }
    let mut out = vec![ok("claude_dir", claude.display().to_string())];
    if let Ok(status) = &around.agent
        && Path::new(&status.claude_dir) != claude
    {
        out.push(problem(
            "claude_dir",
            format!(
                "the agent serves {}",
                text::one_line(&status.claude_dir, 200)
            ),
            "run `ccpeer down` and `ccpeer up` with the same CLAUDE_CONFIG_DIR",
        ));
    }
    out.push(hooks(around));
    out.push(retention(home));
    out
}

fn hooks(around: &Around<'_>) -> Check {
    let status = match hooks::status(around.home) {
        Ok(status) => status,
        Err(e) => return problem("hooks", e.message, hint_of(&e.hint)),
    };
    let install = "run `ccpeer hooks install`";
    if status.disabled {
        return problem(
            "hooks",
            "all hooks are switched off in Claude Code's settings",
            "take `disableAllHooks` out of them",
        );
    }
    match (status.hooks, &status.program) {
        (Installed::Missing, _) => note(
            "hooks",
            "not installed: sessions are noticed minutes later",
            install,
        ),
        (Installed::Partial, _) => problem("hooks", "only a part of them works", install),
        (Installed::Installed, Some(program))
            if around
                .program
                .is_some_and(|p| !hooks::is_of(p, Path::new(program))) =>
        {
            note(
                "hooks",
                format!("they run another program: {}", text::one_line(program, 200)),
                install,
            )
        }
        (Installed::Installed, _) => ok("hooks", "installed"),
    }
}

fn retention(home: &Home) -> Check {
    let days = std::fs::read(home.claude_settings())
        .ok()
        .filter(|b| b.len() <= limits::SETTINGS_BYTES_MAX)
        .and_then(|b| serde_json::from_slice::<serde_json::Value>(&b).ok())
        .and_then(|v| v.get("cleanupPeriodDays")?.as_u64());
    match days {
        Some(days) if days < CLEANUP_DAYS_FEW => note(
            "retention",
            format!("Claude Code deletes sessions after {days} days"),
            "raise `cleanupPeriodDays` in its settings; ccpeer keeps what it has captured",
        ),
        Some(days) => ok(
            "retention",
            format!("Claude Code keeps sessions {days} days"),
        ),
        None => ok(
            "retention",
            format!("Claude Code keeps sessions {CLEANUP_DAYS} days, its default"),
        ),
    }
}

fn clock(home: &Home) -> Check {
    let now = SystemTime::now();
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let written = std::fs::metadata(home.store()).and_then(|m| m.modified());
    let ahead = written.is_ok_and(|at| at.duration_since(now).is_ok_and(|by| by > CLOCK_SLACK));
    if !(CLOCK_MIN_S..CLOCK_MAX_S).contains(&seconds) || ahead {
        return note(
            "clock",
            "the clock is wrong; times in lists are, too, and nothing else",
            "set the clock of this machine",
        );
    }
    ok("clock", "plausible")
}

fn peers(status: &Status) -> Vec<Check> {
    let mut out = Vec::new();
    if status.peers.is_empty() {
        out.push(note(
            "peers",
            "no other device is paired: nobody else holds these sessions",
            "run `ccpeer pair` here and `ccpeer join` there",
        ));
    }
    let away: Vec<&str> = status
        .peers
        .iter()
        .filter(|p| p.state != "connected")
        .map(|p| p.name.as_str())
        .collect();
    let connected = status.peers.len() - away.len();
    if !status.peers.is_empty() && away.is_empty() {
        out.push(ok("peers", format!("{connected} connected")));
    } else if !away.is_empty() {
        out.push(note(
            "peers",
            format!(
                "{connected} connected, away: {}",
                text::one_line(&away.join(", "), 200)
            ),
            "start ccpeer there; in a network without multicast run `ccpeer dial`",
        ));
    }
    match status.mdns {
        Some(false) => out.push(note(
            "discovery",
            "off: devices are found at known addresses only",
            "start the agent without `--no-mdns`, or run `ccpeer dial`",
        )),
        Some(true) => out.push(ok("discovery", "multicast DNS is on")),
        None => {}
    }
    out
}

fn told(status: &Status) -> Vec<Check> {
    let mut out: Vec<Check> = status
        .findings
        .iter()
        .map(|f| {
            let message = text::one_line(&f.message, 300);
            let hint = text::one_line(&f.hint, 300);
            // Nothing is wrong with this machine because of what a session says.
            match f.kind.as_str() {
                exposed::WORD => note("finding", message, hint),
                _ => problem("finding", message, hint),
            }
        })
        .collect();
    if let Some(error) = &status.last_error {
        out.push(note(
            "last_error",
            text::one_line(error, 300),
            "see the agent's log in CCPEER_HOME",
        ));
    }
    out.extend(status.summary.as_ref().map(summary));
    let expiring = status.expiring.sessions.len();
    if expiring > 0 {
        out.push(note(
            "expiring",
            format!(
                "Claude Code is about to delete {expiring} sessions that no other device holds"
            ),
            "connect another device, or run `ccpeer push --all`",
        ));
    }
    out
}

/// Whether summaries are written, where that is wanted.
fn summary(summary: &SummaryStatus) -> Check {
    const ID: &str = "summary";
    if summary.by == "off" {
        return ok(ID, "off: hand-offs are made of facts alone");
    }
    let Some(program) = &summary.program else {
        return problem(
            ID,
            "the program that writes summaries is not found by the agent",
            "put it into the PATH and restart the agent, or choose another one with \
             `ccpeer policy summary`",
        );
    };
    let program = text::one_line(program, 200);
    if let (1.., Some(why)) = (summary.failures, &summary.last_failure) {
        return note(
            ID,
            format!("{}: {}", program, text::one_line(why, 200)),
            "try it with `ccpeer snapshot --force`; facts alone make the hand-offs meanwhile",
        );
    }
    ok(
        ID,
        format!(
            "{program}, {} of {} requests today",
            summary.runs_today, summary.per_day
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_before_nothing_fits_any_more() {
        for (free, state) in [
            (Some(0), State::Problem),
            (Some(SPACE_LOW - 1), State::Problem),
            (Some(SPACE_LOW), State::Note),
            (Some(SPACE_NOTE), State::Ok),
            (None, State::Note),
        ] {
            assert_eq!(space(free).state, state, "{free:?}");
        }
    }
}
