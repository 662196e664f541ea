//! F4: what comes on a hook's standard input, and the other small files that
//! Claude Code keeps. Nothing is believed, and nothing takes longer or more than
//! it should.

use ccpeer_core::limits;
use ccpeer_formats::claude::hook::{self, HookEnv, HookKind};
use ccpeer_formats::claude::{registry, tasks};

/// The oracle.
pub(crate) fn check(bytes: &[u8]) {
    let env = HookEnv::default();
    let by_itself = hook::parse("", bytes, &env);
    if let Some(event) = &by_itself {
        bounded(event);
        // With less known to begin with, no more is known in the end.
        assert!(hook::parse("NoSuchEvent", bytes, &env).is_none());
    }
    for name in ["Stop", "SessionStart", "SessionEnd", "Notification"] {
        if let Some(event) = hook::parse(name, bytes, &env) {
            bounded(&event);
            // The registration's name wins.
            let is_stop = matches!(event.kind, HookKind::Stop { .. });
            assert_eq!(is_stop, name == "Stop");
        }
    }
    if let Some(live) = registry::parse(bytes) {
        let _ = live;
    }
    if let Some(todo) = tasks::parse_task(bytes) {
        assert!(!todo.subject.chars().any(char::is_control));
    }
    for todo in tasks::parse_todos(bytes) {
        assert!(!todo.subject.chars().any(char::is_control));
    }
}

fn bounded(event: &hook::HookEvent) {
    for text in [&event.cwd, &event.transcript_path, &event.project_dir]
        .into_iter()
        .flatten()
    {
        assert!(text.len() <= limits::HOOK_TEXT_BYTES_MAX);
    }
    if let HookKind::Stop {
        last_assistant_message: Some(text),
        ..
    } = &event.kind
    {
        assert!(text.len() <= limits::HOOK_TEXT_BYTES_MAX);
        let shown = text
            .chars()
            .all(|c| c == '\n' || c == '\t' || !c.is_control());
        assert!(shown && !text.trim().is_empty());
    }
}
