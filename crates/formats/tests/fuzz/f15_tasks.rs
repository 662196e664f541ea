//! F15: a hand-off file of claude-code-session-sharing. What comes of it is within
//! bounds, and nothing hidden is in it.

use ccpeer_core::limits;
use ccpeer_core::time::Timestamp;
use ccpeer_formats::snapshot::Snapshot;
use ccpeer_formats::tasks_md;

/// The oracle. The first line is the name of the file.
pub(crate) fn check(bytes: &[u8]) {
    let cut = bytes.iter().position(|b| *b == b'\n').unwrap_or(0);
    let name = String::from_utf8_lossy(&bytes[..cut]);
    for name in [&*name, "desk-e47fe3ca-2b33-4853-b61e-4bb21fa16e3a.md"] {
        let Some((task, _)) = tasks_md::read(name, &bytes[cut..]) else {
            continue;
        };
        let snapshot = task.snapshot(Timestamp(1));
        let encoded = snapshot.to_bytes();
        assert!(encoded.len() <= limits::SNAPSHOT_BYTES_MAX);
        assert_eq!(Snapshot::from_bytes(&encoded).unwrap(), snapshot);
        let texts = [
            &task.title,
            &task.host,
            &task.project,
            &task.cwd,
            &task.branch,
        ];
        assert!(texts.iter().all(|t| !t.contains(char::is_control)));
        let prompt = &snapshot.sections.handoff_prompt;
        assert!(!prompt.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
    }
}
