//! What Claude Code tells a hook, typed twice: the lenient outer form that
//! arrives on standard input, and the [`HookEvent`] that the agent acts on.
//!
//! Must not know what is done about an event, and must not follow the path that
//! it names: the path is a hint and sometimes wrong. Source of the format:
//! payloads of Claude Code 2.1.54 to 2.1.329.

use ccpeer_core::id::SessionId;
use ccpeer_core::presence::EndReason;
use ccpeer_core::{limits, text};

use super::json::{self, Raw};
use crate::bounded;

/// What the hook client takes from its environment, because a payload may be
/// cut off or lack it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HookEnv {
    /// `CLAUDE_PID`: Claude Code's process (not before 2.1.197).
    pub pid: Option<u32>,
    /// `CLAUDE_PROJECT_DIR`: where the session was started; follows no `cd`.
    pub project_dir: Option<String>,
    /// `CLAUDE_CODE_SESSION_ID`.
    pub session: Option<String>,
    /// `CLAUDE_CODE_ENTRYPOINT`: `cli`, `sdk-cli` and others.
    pub entrypoint: Option<String>,
}

/// Something that happened in a session here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookEvent {
    /// In which session. Hooks of sub-agents carry that of their parent.
    pub session: SessionId,
    /// What.
    pub kind: HookKind,
    /// The session's working directory at that moment; follows `cd`.
    pub cwd: Option<String>,
    /// Where Claude Code says the transcript is. A hint: it is wrong at the start
    /// of a session resumed from elsewhere, and the file may not exist yet.
    pub transcript_path: Option<String>,
    /// Where the session was started.
    pub project_dir: Option<String>,
    /// Claude Code's process.
    pub pid: Option<u32>,
    /// It was started by a program and not by a person at a prompt: print mode,
    /// or the library for that.
    pub by_program: bool,
}

/// The events that we act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookKind {
    /// A session is open.
    SessionStart {
        /// How it came about.
        source: StartSource,
    },
    /// The user asked for something: a turn begins.
    Prompt,
    /// A turn ended. The file may still lack the last lines.
    Stop {
        /// What was answered: newer than the file.
        last_assistant_message: Option<String>,
        /// Background tasks that go on after the turn.
        background: usize,
    },
    /// A sub-agent ended.
    SubagentStop,
    /// The conversation is about to be compacted.
    PreCompact,
    /// Claude Code wants the user's attention.
    Notification,
    /// The session is closed.
    End {
        /// How.
        reason: EndReason,
    },
    /// Any other event that Claude Code is known to have.
    Other,
}

/// How a session came to be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StartSource {
    /// It is new.
    Startup,
    /// It was continued.
    Resume,
    /// It follows a `/clear`.
    Clear,
    /// It goes on after a compaction.
    Compact,
    /// It was branched off another one.
    Fork,
    /// Not said, or in words that we do not know.
    Other,
}

/// Events that exist beside those of [`HookKind`].
const OTHER_EVENTS: [&str; 26] = [
    "PreToolUse",
    "PostToolUse",
    "PostToolUseFailure",
    "PostToolBatch",
    "UserPromptExpansion",
    "StopFailure",
    "SubagentStart",
    "PostCompact",
    "PreModelSwitch",
    "PostModelSwitch",
    "PermissionRequest",
    "PermissionDenied",
    "Setup",
    "TeammateIdle",
    "TaskCreated",
    "TaskCompleted",
    "ConfigChange",
    "WorktreeRemove",
    "InstructionsLoaded",
    "CwdChanged",
    "FileChanged",
    "DirectoryAdded",
    "MessageDisplay",
    "WorktreeCreate",
    "Elicitation",
    "ElicitationResult",
];

/// Reads a payload. `event_arg` is the event's name as the hook was registered
/// with it and wins over the payload's own; it may be empty.
///
/// Nothing if the event or the session is not known, or if the bytes are not the
/// beginning of an object. A payload that was cut off gives what stands before
/// the cut.
#[must_use]
pub fn parse(event_arg: &str, bytes: &[u8], env: &HookEnv) -> Option<HookEvent> {
    let (front, _) = bytes.split_at(bytes.len().min(limits::HOOK_BYTES_MAX));
    let json = json::decoded(front);
    let (found, whole) = json::pick_front(
        &json,
        &[
            "session_id",
            "hook_event_name",
            "cwd",
            "transcript_path",
            "source",
            "last_assistant_message",
            "background_tasks",
            "reason",
        ],
    );
    let [
        session,
        event,
        cwd,
        transcript_path,
        source,
        message,
        background,
        reason,
    ] = found;
    let own = json::text(session).and_then(|id| id.parse().ok());
    if !whole && session.is_none() {
        return None;
    }
    let named = json::text(event);
    let kind = match (canonical(event_arg), named.as_deref().and_then(canonical)) {
        (Some(event), _) => event,
        (None, Some(event)) if event_arg.trim().is_empty() => event,
        _ => return None,
    };
    let kind = match kind {
        "SessionStart" => HookKind::SessionStart {
            source: start_source(source),
        },
        "UserPromptSubmit" => HookKind::Prompt,
        "Stop" => HookKind::Stop {
            last_assistant_message: json::text(message)
                .map(|m| {
                    text::strip(
                        bounded::front(&m, limits::HOOK_TEXT_BYTES_MAX),
                        text::Lines::Keep,
                    )
                })
                .filter(|m| !m.trim().is_empty()),
            background: json::objects(background, &["status"])
                .into_iter()
                .filter(|[status]| is_running(*status))
                .count(),
        },
        "SubagentStop" => HookKind::SubagentStop,
        "PreCompact" => HookKind::PreCompact,
        "Notification" => HookKind::Notification,
        "SessionEnd" => HookKind::End {
            reason: end_reason(reason),
        },
        _ => HookKind::Other,
    };
    let path =
        |raw| json::short_text(raw, limits::FOREIGN_PATH_BYTES_MAX).filter(|p| !p.is_empty());
    Some(HookEvent {
        session: own.or_else(|| env.session.as_deref()?.parse().ok())?,
        kind,
        cwd: path(cwd),
        transcript_path: path(transcript_path),
        project_dir: env
            .project_dir
            .clone()
            .filter(|p| (1..=limits::FOREIGN_PATH_BYTES_MAX).contains(&p.len())),
        pid: env.pid.filter(|pid| *pid > 0),
        by_program: env.entrypoint.as_deref().is_some_and(is_program),
    })
}

/// Whether an entry point, as Claude Code names it, is that of a program which
/// runs it and not of a person: print mode and the libraries.
#[must_use]
pub fn is_program(entrypoint: &str) -> bool {
    entrypoint.starts_with("sdk-")
}

/// The event of this name in the spelling that we compare with: `stop` and
/// `session-start` are fine on a command line.
fn canonical(name: &str) -> Option<&'static str> {
    const OURS: [&str; 7] = [
        "SessionStart",
        "UserPromptSubmit",
        "Stop",
        "SubagentStop",
        "PreCompact",
        "Notification",
        "SessionEnd",
    ];
    let plain: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .take(64)
        .collect();
    OURS.into_iter()
        .chain(OTHER_EVENTS)
        .find(|known| known.eq_ignore_ascii_case(&plain))
}

fn start_source(raw: Raw<'_>) -> StartSource {
    match json::text(raw).as_deref() {
        Some("startup") => StartSource::Startup,
        Some("resume") => StartSource::Resume,
        Some("clear") => StartSource::Clear,
        Some("compact") => StartSource::Compact,
        Some("fork") => StartSource::Fork,
        _ => StartSource::Other,
    }
}

fn end_reason(raw: Raw<'_>) -> EndReason {
    match json::text(raw).as_deref() {
        Some("prompt_input_exit") => EndReason::PromptExit,
        Some("clear") => EndReason::Clear,
        Some("resume") => EndReason::Switched,
        Some("logout") => EndReason::Logout,
        _ => EndReason::Other,
    }
}

fn is_running(status: Raw<'_>) -> bool {
    !matches!(
        json::text(status).as_deref(),
        Some("completed" | "failed" | "killed" | "stopped")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b";

    fn payload(event: &str, more: &str) -> String {
        format!(
            r#"{{"session_id":"{ID}","transcript_path":"/home/ann/.claude/projects/p/{ID}.jsonl","cwd":"/home/ann/p/sub","hook_event_name":"{event}"{more}}}"#
        )
    }

    fn kind(event: &str, more: &str) -> Option<HookKind> {
        parse(event, payload(event, more).as_bytes(), &HookEnv::default()).map(|e| e.kind)
    }

    #[test]
    fn every_event_that_we_act_on() {
        let check =
            |event: &str, more: &str, want: HookKind| assert_eq!(kind(event, more), Some(want));
        check(
            "SessionStart",
            r#","source":"resume","model":"m""#,
            HookKind::SessionStart {
                source: StartSource::Resume,
            },
        );
        check(
            "SessionStart",
            "",
            HookKind::SessionStart {
                source: StartSource::Other,
            },
        );
        check("UserPromptSubmit", r#","prompt":"x""#, HookKind::Prompt);
        check(
            "Stop",
            r#","stop_hook_active":false,"last_assistant_message":"All \u001b[1mdone\u001b[0m.\nYes","background_tasks":[{"id":"a","status":"running"},{"id":"b","status":"completed"},{"id":"c"}]"#,
            HookKind::Stop {
                last_assistant_message: Some("All done.\nYes".into()),
                background: 2,
            },
        );
        check(
            "Stop",
            "",
            HookKind::Stop {
                last_assistant_message: None,
                background: 0,
            },
        );
        check("SubagentStop", "", HookKind::SubagentStop);
        check("PreCompact", r#","trigger":"auto""#, HookKind::PreCompact);
        check("Notification", r#","message":"x""#, HookKind::Notification);
        check("PreToolUse", "", HookKind::Other);
        for (word, reason) in [
            ("prompt_input_exit", EndReason::PromptExit),
            ("clear", EndReason::Clear),
            ("resume", EndReason::Switched),
            ("logout", EndReason::Logout),
            ("other", EndReason::Other),
            ("something new", EndReason::Other),
        ] {
            check(
                "SessionEnd",
                &format!(r#","reason":"{word}""#),
                HookKind::End { reason },
            );
        }
        assert_eq!(kind("Frobnicate", ""), None);
    }

    #[test]
    fn names_on_the_command_line() {
        let stop = payload("Stop", "");
        let env = HookEnv::default();
        for arg in ["Stop", "stop", "", "  "] {
            let event = parse(arg, stop.as_bytes(), &env).unwrap();
            assert!(matches!(event.kind, HookKind::Stop { .. }), "{arg}");
        }
        let event = parse("session-end", stop.as_bytes(), &env).unwrap();
        assert!(matches!(event.kind, HookKind::End { .. }));
        assert!(parse("Frobnicate", stop.as_bytes(), &env).is_none());
    }

    #[test]
    fn environment_fills_in() {
        let env = HookEnv {
            pid: Some(7),
            project_dir: Some("/home/ann/p".into()),
            session: Some(ID.into()),
            entrypoint: Some("sdk-cli".into()),
        };
        let event = parse("Stop", br#"{"cwd":"/x"}"#, &env).unwrap();
        assert_eq!(event.session.to_string(), ID);
        assert!(event.by_program);
        assert!(!is_program("cli") && !is_program("claude-vscode") && !is_program(""));
        assert_eq!(
            (event.pid, event.project_dir.as_deref()),
            (Some(7), Some("/home/ann/p"))
        );
        assert_eq!(event.cwd.as_deref(), Some("/x"));
        assert!(parse("Stop", b"{}", &HookEnv::default()).is_none());
        assert!(parse("Stop", br#"{"session_id":"../../x"}"#, &HookEnv::default()).is_none());
    }

    /// What was cut at the limit still tells which session it was.
    #[test]
    fn k_h06_cut_and_hostile_payloads() {
        let long = "x".repeat(limits::HOOK_BYTES_MAX);
        let cut = payload("Stop", &format!(r#","last_assistant_message":"{long}""#));
        let event = parse("Stop", cut.as_bytes(), &HookEnv::default()).unwrap();
        assert_eq!(event.session.to_string(), ID);
        assert_eq!(event.cwd.as_deref(), Some("/home/ann/p/sub"));

        let mut torn = payload("Stop", r#","last_assistant_message":"é"#).into_bytes();
        torn.truncate(torn.len() - 3);
        assert!(parse("Stop", &torn, &HookEnv::default()).is_some());

        let env = HookEnv {
            session: Some(ID.into()),
            ..HookEnv::default()
        };
        let deep = "[".repeat(200_000);
        let deep_inside = format!("{{\"x\":{deep}");
        for bad in [
            &b""[..],
            b"x",
            b"\xff\xfe",
            b"[]",
            b"null",
            b"{",
            deep.as_bytes(),
            deep_inside.as_bytes(),
        ] {
            assert!(parse("Stop", bad, &env).is_none());
        }
        let deep_after = payload("Stop", &format!(",\"x\":{deep}"));
        assert!(parse("Stop", deep_after.as_bytes(), &env).is_some());
        let long_path = payload("Stop", &format!(r#","cwd":"{}""#, "p".repeat(5000)));
        assert_eq!(parse("Stop", long_path.as_bytes(), &env).unwrap().cwd, None);
    }
}
