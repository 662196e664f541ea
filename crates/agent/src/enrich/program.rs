//! Which program is asked, with which arguments and in which surroundings. It
//! starts nothing.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use ccpeer_formats::snapshot::SYSTEM_PROMPT;

use crate::api::SummaryBy;

/// How Claude Code is asked: no tools, no hooks, no session of its own. Its login
/// is still the user's, which `--bare` would not let it use.
const ARGUMENTS: [&str; 9] = [
    "-p",
    "--model",
    "haiku",
    "--tools",
    "",
    "--no-session-persistence",
    "--settings",
    r#"{"disableAllHooks":true}"#,
    "--system-prompt",
];

/// Variables by which a program learns that it runs inside Claude Code. With them
/// it would take itself for a part of that session.
const MARKERS: [&str; 2] = ["CLAUDECODE", "CLAUDE_CODE_"];
const MARKED: [&str; 5] = [
    "CLAUDE_PROJECT_DIR",
    "CLAUDE_PID",
    "CLAUDE_ENV_FILE",
    "CLAUDE_PLUGIN_ROOT",
    "CLAUDE_EFFORT",
];
/// Those of that name that say how to log in and whom to ask.
const LOGIN: [&str; 14] = [
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_REFRESH_TOKEN",
    "CLAUDE_CODE_OAUTH_SCOPES",
    "CLAUDE_CODE_USE_",
    "CLAUDE_CODE_SKIP_",
    "CLAUDE_CODE_API_",
    "CLAUDE_CODE_CLIENT_",
    "CLAUDE_CODE_CERT",
    "CLAUDE_CODE_PROXY",
    "CLAUDE_CODE_ENABLE_PROXY",
    "CLAUDE_CODE_GIT_BASH_PATH",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "CLAUDE_CODE_MAX_RETRIES",
    "CLAUDE_CODE_HTTP",
];

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<OsString>,
}

/// A named variable of the environment.
type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The program of the user's choice, if it can be found. `user` is the home
/// directory.
pub(crate) fn program(by: &SummaryBy, user: &Path, env: Env<'_>) -> Option<Program> {
    match by {
        SummaryBy::Off => None,
        SummaryBy::Claude => {
            let arguments = ARGUMENTS.into_iter().chain([SYSTEM_PROMPT]);
            Some(Program {
                path: find("claude", user, env)?,
                arguments: arguments.map(OsString::from).collect(),
            })
        }
        SummaryBy::Command { argv } => {
            let (name, arguments) = argv.split_first()?;
            Some(Program {
                path: find(name, user, env)?,
                arguments: arguments.iter().map(OsString::from).collect(),
            })
        }
    }
}

/// A program by its name or path: in the PATH, and where Claude Code's installers
/// put it, because the PATH of a service is a poor one.
fn find(name: &str, user: &Path, env: Env<'_>) -> Option<PathBuf> {
    let as_path = Path::new(name);
    if as_path.components().count() > 1 {
        return Some(as_path.to_owned()).filter(|p| p.is_absolute() && is_program(p));
    }
    let path = env("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(usual_places(user, env));
    places
        .filter(|dir| dir.is_absolute())
        .flat_map(|dir| ENDINGS.iter().map(move |e| dir.join(format!("{name}{e}"))))
        .find(|p| is_program(p))
}

const ENDINGS: &[&str] = if cfg!(windows) {
    &[".exe", ".cmd", ".bat"]
} else {
    &[""]
};

fn usual_places(user: &Path, env: Env<'_>) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = [
        ".local/bin",
        ".claude/local",
        ".npm-global/bin",
        ".bun/bin",
        ".volta/bin",
        ".local/share/pnpm",
    ]
    .iter()
    .map(|below| user.join(below))
    .collect();
    let below = |name: &str, part: &str| env(name).map(|dir| Path::new(&dir).join(part));
    out.extend(below("NPM_CONFIG_PREFIX", "bin"));
    if cfg!(windows) {
        out.extend(below("APPDATA", "npm"));
        out.extend(below("LOCALAPPDATA", "Programs"));
    } else {
        let system = ["/usr/local/bin", "/opt/homebrew/bin", "/usr/bin", "/bin"];
        out.extend(system.map(PathBuf::from));
    }
    out
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// Whether a variable of ours is passed on: all are but those that say that it
/// runs inside Claude Code.
pub(crate) fn is_passed_on(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return true;
    };
    let upper = name.to_ascii_uppercase();
    let begins = |with: &&str| upper.starts_with(with);
    if LOGIN.iter().any(begins) {
        return true;
    }
    !MARKERS.iter().any(begins) && !MARKED.contains(&&*upper)
}

/// The PATH for it: that of the agent, with its own directory, where the
/// interpreter of a script mostly lies, and the usual ones behind.
pub(crate) fn path_for(program: &Path, user: &Path, env: Env<'_>) -> Option<OsString> {
    let path = env("PATH").unwrap_or_default();
    let own = program.parent().map(Path::to_owned);
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for dir in own.into_iter().chain(usual_places(user, env)) {
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    std::env::join_paths(dirs).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_go_and_the_login_stays() {
        let check = |name: &str, want| assert_eq!(is_passed_on(OsStr::new(name)), want, "{name}");
        for gone in [
            "CLAUDECODE",
            "CLAUDE_CODE_ENTRYPOINT",
            "CLAUDE_CODE_SESSION_ID",
            "CLAUDE_CODE_SSE_PORT",
            "CLAUDE_CODE_CHILD",
            "CLAUDE_PROJECT_DIR",
            "claude_pid",
        ] {
            check(gone, false);
        }
        for kept in [
            "PATH",
            "HTTPS_PROXY",
            "https_proxy",
            "NO_PROXY",
            "NODE_EXTRA_CA_CERTS",
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_BASE_URL",
            "CLAUDE_CONFIG_DIR",
            "CLAUDE_CODE_OAUTH_TOKEN",
            "CLAUDE_CODE_USE_BEDROCK",
            "CLAUDE_CODE_SKIP_VERTEX_AUTH",
            "CLAUDE_CODE_CLIENT_CERT",
            "AWS_PROFILE",
        ] {
            check(kept, true);
        }
    }

    #[cfg(unix)]
    #[test]
    fn found_where_a_service_would_not_look() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let user = dir.path();
        let poor = |name: &str| (name == "PATH").then(|| OsString::from("/nowhere"));
        let by = SummaryBy::Command {
            argv: vec!["ccpeer-test-summary".into(), "-x".into()],
        };
        assert_eq!(program(&by, user, &poor), None);
        let bin = user.join(".claude/local");
        std::fs::create_dir_all(&bin).unwrap();
        let file = bin.join("ccpeer-test-summary");
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        assert_eq!(program(&by, user, &poor), None, "it cannot be run");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let found = program(&by, user, &poor).unwrap();
        assert_eq!(
            (found.path.clone(), found.arguments),
            (file, vec!["-x".into()])
        );
        let path = path_for(&found.path, user, &poor).unwrap();
        assert!(path.to_str().unwrap().contains(".claude/local"));
        // A path is taken as it is, and only as a whole one.
        let by = |p: &Path| SummaryBy::Command {
            argv: vec![p.to_str().unwrap().into()],
        };
        assert!(program(&by(&found.path), user, &poor).is_some());
        assert!(program(&by(Path::new("./x")), user, &poor).is_none());
        assert_eq!(program(&SummaryBy::Off, user, &poor), None);
        assert_eq!(
            program(&SummaryBy::Command { argv: vec![] }, user, &poor),
            None
        );
    }
}
