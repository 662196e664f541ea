//! F10: foreign text on its way to a person or a model. Nothing hidden, nothing
//! that a terminal obeys, nothing beyond the limit.

use ccpeer_core::text::{Lines, one_line, strip};

/// The oracle.
pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let limit = bytes.first().map_or(0, |b| usize::from(*b));
    let kept = strip(&text, Lines::Keep);
    assert!(
        kept.chars()
            .all(|c| c == '\n' || c == '\t' || !forbidden(c))
    );
    assert!(kept.len() <= text.len());
    assert_eq!(
        strip(&kept, Lines::Keep),
        kept,
        "nothing hides in what is left"
    );
    let folded = strip(&text, Lines::Fold);
    assert!(!folded.chars().any(forbidden));
    assert_eq!(folded.lines().count().max(1), 1);
    let line = one_line(&text, limit);
    assert!(!line.chars().any(forbidden));
    assert!(line.chars().count() <= limit);
    assert_eq!(line.trim(), line);
    assert_eq!(one_line(&line, limit), line);
}

/// What may never be shown, written down once more: controls, characters without
/// width, those that change the direction, tags, selectors, private use.
fn forbidden(c: char) -> bool {
    matches!(u32::from(c),
        0x00..=0x1f | 0x7f..=0x9f | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x2069
        | 0xfeff | 0xe0000..=0xe01ef | 0xe000..=0xf8ff | 0xf0000..=0x10_fffd)
}
