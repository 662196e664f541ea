//! What lies beside a session on this disk and is not carried: files that have
//! no room, and directories of Claude Code's that name the session and that we
//! do not know.
//!
//! Must not know what is in any of them.

use std::collections::BTreeMap;

use ccpeer_core::id::SessionId;
use ccpeer_core::text;
use ccpeer_formats::claude::layout;

use crate::capture::opaque;
use crate::confined::Root;
use crate::home::Home;
use crate::place;

/// Names directly below Claude's directory that are looked at.
const TOP_MAX: usize = 1024;
/// Names in one directory there.
const NAMES_MAX: usize = 16 * 1024;
/// Directories that are named.
const TOLD_MAX: usize = 4;
/// Characters of a name that are shown.
const NAME_CHARS_MAX: usize = 40;

/// One sentence for each kind of thing that stays behind.
pub(super) fn lines(home: &Home, session: &SessionId, slug: &str) -> Vec<String> {
    let Ok(Some(root)) = Root::open(home.claude()) else {
        return Vec::new();
    };
    let mut by_reason: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for (label, why) in opaque::survey(&root, session, slug).left {
        by_reason.entry(why).or_default().push(label);
    }
    let mut lines: Vec<String> = by_reason
        .iter()
        .map(|(why, labels)| {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            format!(
                "{} beside it {} not carried ({}): {}.",
                count(labels.len(), "unknown file"),
                if labels.len() == 1 { "is" } else { "are" },
                why.words(),
                place::some_of(&labels)
            )
        })
        .collect();
    let tops = unknown_tops(&root, session);
    if !tops.is_empty() {
        lines.push(format!(
            "Claude Code keeps something about it in {} on this device, which ccpeer does not \
             know and does not carry.",
            tops.join(", ")
        ));
    }
    lines
}

fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// Directories directly below Claude's that we do not know and in which a name
/// begins with the session's id.
fn unknown_tops(root: &Root, session: &SessionId) -> Vec<String> {
    let id = session.to_string();
    let names = root.list(&[], TOP_MAX).unwrap_or_default();
    let unknown = names.into_iter().filter(|n| !layout::is_known_top(n));
    let named = unknown.filter(|top| {
        let inside = root.list(std::slice::from_ref(top), NAMES_MAX);
        inside
            .unwrap_or_default()
            .iter()
            .any(|n| n.starts_with(&id))
    });
    named
        .take(TOLD_MAX)
        .map(|top| format!("`{}/`", text::one_line(&top, NAME_CHARS_MAX)))
        .collect()
}
