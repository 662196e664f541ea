//! The list of live sessions that Claude Code keeps: `sessions/<pid>.json`.
//!
//! Must not know whether the process lives: a file stays after a kill, so what
//! is read here is a claim until somebody has looked at the process. Source of
//! the format: Claude Code 2.1.197 and 2.1.329.

use ccpeer_core::id::SessionId;
use ccpeer_core::{limits, text};

use super::json;

/// What Claude Code says of one of its processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSession {
    /// The process.
    pub pid: u32,
    /// When the process started, in the words of the system that wrote it; to be
    /// compared with what the system says now, where it is present.
    pub proc_start: Option<String>,
    /// The session that it has open; changes in place on `/clear` and `/resume`.
    pub session: SessionId,
    /// Its working directory, as text.
    pub cwd: Option<String>,
    /// Whether it works.
    pub status: LiveStatus,
    /// The session's name, one visible line.
    pub name: Option<String>,
    /// Version of Claude Code.
    pub version: Option<String>,
    /// `interactive` and others.
    pub kind: Option<String>,
    /// `cli`, `sdk-cli` and others.
    pub entrypoint: Option<String>,
    /// When it started, milliseconds since 1970 by that machine's clock.
    pub started_ms: Option<u64>,
    /// When the file was last written, likewise.
    pub updated_ms: Option<u64>,
}

/// Whether a live session works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LiveStatus {
    /// In a turn.
    Busy,
    /// Waits for the user.
    Idle,
    /// Not said, or in words that we do not know.
    Unknown,
}

/// The process that a file of this name in `sessions/` is about.
#[must_use]
pub fn pid_in(file_name: &str) -> Option<u32> {
    let stem = file_name.strip_suffix(".json")?;
    let pid: u32 = stem.parse().ok()?;
    (pid > 0 && pid.to_string() == stem).then_some(pid)
}

/// Reads one file; nothing if it names no process or no session.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<LiveSession> {
    let json = json::decoded(bytes);
    let [
        pid,
        start,
        session,
        cwd,
        status,
        name,
        version,
        kind,
        entrypoint,
        started,
        updated,
    ] = json::pick(
        &json,
        &[
            "pid",
            "procStart",
            "sessionId",
            "cwd",
            "status",
            "name",
            "version",
            "kind",
            "entrypoint",
            "startedAt",
            "updatedAt",
        ],
    )?;
    let word = |raw| {
        json::text(raw)
            .map(|t| text::one_line(&t, 64))
            .filter(|t| !t.is_empty())
    };
    Some(LiveSession {
        pid: json::number(pid)
            .and_then(|p| u32::try_from(p).ok())
            .filter(|p| *p > 0)?,
        // A number in one system's version, a date in another's.
        proc_start: word(start).or_else(|| json::number(start).map(|n| n.to_string())),
        session: json::text(session)?.parse().ok()?,
        cwd: json::short_text(cwd, limits::FOREIGN_PATH_BYTES_MAX),
        status: match json::text(status).as_deref() {
            Some("busy") => LiveStatus::Busy,
            Some("idle" | "waiting") => LiveStatus::Idle,
            _ => LiveStatus::Unknown,
        },
        name: json::text(name)
            .map(|t| text::one_line(&t, limits::TITLE_CHARS_MAX))
            .filter(|t| !t.is_empty()),
        version: word(version),
        kind: word(kind),
        entrypoint: word(entrypoint),
        started_ms: json::number(started),
        updated_ms: json::number(updated),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"pid":27282,"sessionId":"aa21a64c-b7a7-41b7-a51f-ceeccfa4623b","cwd":"/home/ann/proj","startedAt":1795213988616,"procStart":"81402","version":"2.1.329","kind":"interactive","entrypoint":"cli","name":"My lab session 测试","nameSource":"user","status":"idle","updatedAt":1795214001000}"#;

    #[test]
    fn a_real_file() {
        let live = parse(FILE.as_bytes()).unwrap();
        assert_eq!((live.pid, live.status), (27282, LiveStatus::Idle));
        assert_eq!(
            live.session.to_string(),
            "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b"
        );
        assert_eq!(live.proc_start.as_deref(), Some("81402"));
        assert_eq!(live.name.as_deref(), Some("My lab session 测试"));
        assert_eq!(live.started_ms, Some(1_795_213_988_616));
        assert_eq!(pid_in("27282.json"), Some(27282));
    }

    #[test]
    fn older_newer_and_hostile_files() {
        let least = r#"{"sessionId":"aa21a64c-b7a7-41b7-a51f-ceeccfa4623b","pid":7,"status":"thinking","procStart":99,"cwd":[1]}"#;
        let live = parse(least.as_bytes()).unwrap();
        assert_eq!(
            (live.status, live.cwd, live.proc_start.as_deref()),
            (LiveStatus::Unknown, None, Some("99"))
        );
        let deep = format!("{{\"pid\":{}", "[".repeat(200_000));
        for bad in [
            "",
            "{}",
            r#"{"pid":0,"sessionId":"aa21a64c-b7a7-41b7-a51f-ceeccfa4623b"}"#,
            r#"{"pid":-1,"sessionId":"aa21a64c-b7a7-41b7-a51f-ceeccfa4623b"}"#,
            r#"{"pid":7,"sessionId":"../../x"}"#,
            r#"{"pid":7,"sessionId":"#,
            &deep,
        ] {
            assert!(parse(bad.as_bytes()).is_none());
        }
        for bad in [
            "27282.key",
            "+1.json",
            "01.json",
            "0.json",
            "x.json",
            "4294967296.json",
            ".json",
        ] {
            assert_eq!(pid_in(bad), None, "{bad}");
        }
    }
}
