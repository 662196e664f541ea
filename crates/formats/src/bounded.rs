//! Foreign texts within bounds. Nothing beyond a bound is even looked at, so a
//! text of many megabytes costs what a short one costs.

use ccpeer_core::text;

/// The first bytes of a text, never a part of a character.
pub(crate) fn front(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max))
        .unwrap_or(text)
}

/// The last bytes of a text, likewise.
pub(crate) fn back(text: &str, bytes_max: usize) -> &str {
    let start = text.len().saturating_sub(bytes_max);
    text.get(text.ceil_char_boundary(start)..).unwrap_or(text)
}

/// At most so many characters; what is cut off is marked.
pub(crate) fn ellipsis(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// The visible part of a text of several lines, at most so many characters; what
/// is cut off is marked.
pub(crate) fn visible(text: &str, chars_max: usize) -> String {
    // A character has four bytes at most.
    let front = front(text, chars_max.saturating_mul(4) + 4);
    ellipsis(&text::strip(front, text::Lines::Keep), chars_max)
}

/// The beginning of a text as one visible line of at most so many characters.
pub(crate) fn line(text: &str, chars_max: usize) -> String {
    // White space may be folded: look at some more than is kept.
    text::one_line(front(text, chars_max.saturating_mul(4) + 256), chars_max)
}

/// Adds an element; the oldest goes where there are too many.
pub(crate) fn push<T>(list: &mut Vec<T>, element: T, max: usize) {
    if list.len() >= max {
        list.remove(0);
    }
    list.push(element);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_between_characters_and_marked() {
        assert_eq!(
            (front("测试", 4), back("测试", 4), front("ab", 9)),
            ("测", "试", "ab")
        );
        assert_eq!(
            (ellipsis("abc", 3), ellipsis("ab cd", 4)),
            ("abc".into(), "ab…".into())
        );
        assert_eq!(visible("a\u{1b}[1mb\n\u{202e}c", 9), "ab\nc");
        assert_eq!(visible(&"测".repeat(99), 9).chars().count(), 9);
        assert_eq!(line("  a \n b\t", 9), "a b");
        let mut list = vec![1, 2];
        push(&mut list, 3, 2);
        assert_eq!(list, [2, 3]);
    }
}
