//! Read models: what lists show, made from what the machine holds. Pure.

use ccpeer_core::entry::SessionMeta;
use ccpeer_core::id::EntryHash;
use ccpeer_core::limits;
use ccpeer_core::presence::SessionState;
use ccpeer_core::text;
use ccpeer_core::time::Timestamp;
use ccpeer_formats::rfc3339;

use crate::api::Share;
use crate::driver::Head;
use crate::states;

/// Characters of an id that tell devices of one name apart, mostly.
const MARK_CHARS: usize = 4;

/// The word for a state in every list.
pub(crate) fn state_word(state: SessionState) -> &'static str {
    match state {
        SessionState::Live => "live",
        SessionState::Idle => "idle",
        SessionState::Interrupted => "interrupted",
        SessionState::Ended(_) => "ended",
        SessionState::Done => "done",
        SessionState::Archived => "archived",
    }
}

/// Whether a list of unfinished tasks shows it.
pub(crate) fn is_unfinished(state: SessionState, meta: &SessionMeta) -> bool {
    states::is_unfinished(state, meta.open_todos)
}

/// RFC 3339 of a label.
pub(crate) fn time(at: Timestamp) -> String {
    rfc3339::from_ms(at.0)
}

/// An RFC 3339 time in a sentence: "2026-11-21 03:05 UTC".
pub(crate) fn text_time(rfc3339: &str) -> String {
    match rfc3339.split_once('T') {
        Some((day, time)) => format!("{day} {} UTC", time.get(..5).unwrap_or(time)),
        None => rfc3339.to_owned(),
    }
}

/// One line of foreign text.
pub(crate) fn line(value: &str) -> String {
    text::one_line(value, limits::TITLE_CHARS_MAX)
}

/// The word for what others may have.
pub(crate) fn share_word(share: Share) -> &'static str {
    match share {
        Share::Sync => "sync",
        Share::Snapshot => "snapshot",
        Share::Local => "local",
    }
}

/// Whether a session belongs to the project that was named, by its name or by a path
/// that ends in it.
pub(crate) fn is_of_project(meta: &SessionMeta, wanted: &str) -> bool {
    let last = wanted
        .trim_end_matches(['/', '\\'])
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default();
    !last.is_empty() && meta.project == last
}

/// A title that is never empty.
pub(crate) fn title(meta: &SessionMeta) -> String {
    let title = line(&meta.title);
    if title.is_empty() {
        "(no prompt yet)".to_owned()
    } else {
        title
    }
}

/// A device's name with the beginning of its id, as much of it as none of these
/// others shares.
pub(crate) fn marked(name: &str, id: &str, others: &[String]) -> String {
    let shared = |n: usize| others.iter().any(|o| o.get(..n) == id.get(..n));
    let mut chars = MARK_CHARS;
    while chars < id.len() && shared(chars) {
        chars += 1;
    }
    format!("{name} ({})", id.get(..chars).unwrap_or(id))
}

/// Whether a name looks as if it had been given such a mark already.
pub(crate) fn is_marked(name: &str) -> bool {
    let inner = name.strip_suffix(')').and_then(|n| n.rsplit_once('('));
    inner.is_some_and(|(_, mark)| {
        mark.len() >= MARK_CHARS && mark.bytes().all(|c| c.is_ascii_hexdigit())
    })
}

/// How a choice among heads is offered.
pub(crate) fn choice(head: &Head) -> String {
    format!(
        "{}  {}  {}  {}",
        short(&head.id),
        head.device.name,
        time(head.version.meta.updated),
        title(&head.version.meta)
    )
}

/// A version as people type it.
pub(crate) fn short(version: &EntryHash) -> String {
    let mut text = version.to_string();
    text.truncate(12);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k_d06_a_mark_tells_apart_and_cannot_be_forged() {
        let others = |ids: &[&str]| ids.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(marked("desk", "ab12cd34", &others(&[])), "desk (ab12)");
        assert_eq!(
            marked("desk", "ab12cd34", &others(&["ff00aa11", "ab12cdff"])),
            "desk (ab12cd3)"
        );
        assert_eq!(
            marked("desk", "ab12", &others(&["ab12"])),
            "desk (ab12)",
            "there is no more of it"
        );
        assert!(is_marked("desk (ab12)") && is_marked("(ab12c)"));
        assert!(!is_marked("desk (2)") && !is_marked("desk (work)") && !is_marked("desk"));
    }
}
