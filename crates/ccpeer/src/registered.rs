//! `ccpeer mcp` among the MCP servers that Claude Code starts. They stand in a file
//! that Claude Code writes all the time, so its own command writes it, and we only
//! read. Must not know what the server does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ccpeer_agent::api::ErrorCode;
use ccpeer_agent::home::Home;
use serde::Serialize;

use crate::commands::continue_task::find_program;
use crate::error::CommandError;

/// What the server is called there.
const NAME: &str = "ccpeer";
/// Claude Code's file is no longer.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long its command may take.
const RUN_MAX: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// What was done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum McpChange {
    /// It was there already.
    Unchanged,
    /// It was added.
    Added,
    /// It was removed.
    Removed,
}

/// Whether a server of that name that is ours is there for all projects.
pub(crate) fn is_there(home: &Home) -> bool {
    found(home).is_some()
}

/// Has Claude Code start `program mcp` in all projects.
///
/// # Errors
/// When Claude Code is not in the PATH, or does not do it; the hint says what to
/// type.
pub(crate) fn add(home: &Home, program: &Path) -> Result<McpChange, CommandError> {
    let text = program.display().to_string();
    let before = found(home);
    if before.as_ref() == Some(&text) {
        return Ok(McpChange::Unchanged);
    }
    if before.is_some() {
        claude(&["mcp", "remove", "--scope", "user", NAME])?;
    }
    claude(&["mcp", "add", "--scope", "user", NAME, "--", &text, "mcp"])?;
    Ok(McpChange::Added)
}

/// Takes it out again, if it is there and ours.
///
/// # Errors
/// As [`add`].
pub(crate) fn remove(home: &Home) -> Result<Option<McpChange>, CommandError> {
    if !is_there(home) {
        return Ok(None);
    }
    claude(&["mcp", "remove", "--scope", "user", NAME])?;
    Ok(Some(McpChange::Removed))
}

/// The program of the server of our name, if it is one of ours.
fn found(home: &Home) -> Option<String> {
    let path = file(
        home,
        std::env::var_os("CLAUDE_CONFIG_DIR").is_some_and(|v| !v.is_empty()),
    );
    let fits = fs::metadata(&path).is_ok_and(|meta| meta.len() <= FILE_BYTES_MAX);
    let bytes = fits.then(|| fs::read(&path).ok())??;
    of(&bytes)
}

fn of(bytes: &[u8]) -> Option<String> {
    let all: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let server = all.get("mcpServers")?.get(NAME)?;
    let args = server.get("args")?.as_array()?;
    let ours = args.len() == 1 && args.first()?.as_str() == Some("mcp");
    let program = server.get("command")?.as_str()?;
    (ours && Path::new(program).file_stem()? == NAME).then(|| program.to_owned())
}

/// Beside its directory, or in it where that was chosen.
fn file(home: &Home, chosen: bool) -> PathBuf {
    let dir = if chosen { home.claude() } else { home.user() };
    dir.join(".claude.json")
}

fn claude(args: &[&str]) -> Result<(), CommandError> {
    let hint = format!("type it by hand: claude {}", args.join(" "));
    let refused = |what: &str| CommandError::new(ErrorCode::Refused, what, &hint);
    let program = find_program("claude")
        .ok_or_else(|| refused("`claude` is not in the PATH, and only it edits its servers"))?;
    let mut child = Command::new(program)
        .args(args)
        .env("CCPEER_CHILD", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| refused(&format!("`claude` cannot be run: {e}")))?;
    let until = Instant::now() + RUN_MAX;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
            _ => break,
        }
    }
    let _ended_already = child.kill();
    let _reaped = child.wait();
    Err(refused("`claude` did not change its MCP servers"))
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn only_a_server_that_is_ours_counts() {
        let check =
            |json: &str, want: Option<&str>| assert_eq!(of(json.as_bytes()).as_deref(), want);
        let ours =
            r#"{"mcpServers":{"ccpeer":{"type":"stdio","command":"/a/ccpeer","args":["mcp"]}}}"#;
        check(ours, Some("/a/ccpeer"));
        check(&ours.replace("/a/ccpeer", "/a/other"), None);
        check(&ours.replace(r#"["mcp"]"#, r#"["mcp","--x"]"#), None);
        check(&ours.replace(r#"{"ccpeer""#, r#"{"theirs""#), None);
        check("{}", None);
        check("not json", None);
    }
}
