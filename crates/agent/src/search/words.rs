//! What counts as a word, in a transcript and in a question alike: letters and
//! digits, cut where the case changes, so that `parse_http`, `parseHttp` and
//! `parse http` are the same two words in a row; pairs of characters where a script
//! puts no spaces between words. Pure.

use std::ops::Range;

/// Bytes of one word; what is longer is no word but a blob.
const WORD_BYTES_MAX: usize = 64;
/// Parts of one word that differ in case; what has more is a blob.
const PARTS_MAX: usize = 8;

/// For whom words are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// The index: also what somebody may type who does not know how it is written.
    Index,
    /// A question: only what must be there.
    Question,
}

/// Takes a word in lower case, the bytes of the text that it was made of, and its
/// position.
pub(super) type Take<'t> = dyn FnMut(&str, Range<usize>, usize) + 't;

/// Gives each word of a text, in order.
pub(super) fn each(text: &str, purpose: For, take: &mut Take<'_>) {
    let mut position = 0;
    let mut chars = text.char_indices().peekable();
    let mut lower = String::new();
    while let Some((start, c)) = chars.next() {
        let Some(script) = Script::of(c) else {
            continue;
        };
        let mut end = start + c.len_utf8();
        while let Some((at, c)) = chars.next_if(|(_, c)| Script::of(*c) == Some(script)) {
            end = at + c.len_utf8();
        }
        let run = Run {
            text: text.get(start..end).unwrap_or_default(),
            start,
            position,
        };
        position += match script {
            Script::Spaced => run.parts(purpose, &mut lower, take),
            Script::Unspaced => run.pairs(purpose, &mut lower, take),
        };
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    /// Words stand between spaces.
    Spaced,
    /// They do not.
    Unspaced,
}

impl Script {
    /// Nothing of what is no part of a word.
    fn of(c: char) -> Option<Self> {
        match u32::from(c) {
            0x3041..=0x30ff
            | 0x3400..=0x4dbf
            | 0x4e00..=0x9fff
            | 0xac00..=0xd7a3
            | 0xf900..=0xfaff
            | 0x20000..=0x3fffd => Some(Self::Unspaced),
            _ if c.is_alphanumeric() => Some(Self::Spaced),
            _ => None,
        }
    }
}

/// Characters of one script in a row.
struct Run<'a> {
    text: &'a str,
    start: usize,
    position: usize,
}

impl Run<'_> {
    /// Gives the parts of a word; how many positions it takes.
    fn parts(&self, purpose: For, lower: &mut String, take: &mut Take<'_>) -> usize {
        let mut give = |part: Range<usize>, position| {
            lower.clear();
            let part_text = self.text.get(part.clone()).unwrap_or_default();
            lower.extend(part_text.chars().flat_map(char::to_lowercase));
            if lower.len() <= WORD_BYTES_MAX {
                let range = self.start + part.start..self.start + part.end;
                take(lower, range, position);
            }
        };
        let whole = 0..self.text.len();
        if self.text.len() > WORD_BYTES_MAX {
            return 1;
        }
        let parts = parts(self.text);
        if parts.len() > PARTS_MAX {
            give(whole, self.position);
            return 1;
        }
        // Whoever types it without regard to case finds it as well.
        if parts.len() > 1 && purpose == For::Index {
            give(whole, self.position);
        }
        for (part, n) in parts.iter().zip(0..) {
            give(part.clone(), self.position + n);
        }
        parts.len()
    }

    /// Gives each two neighbours. The last character stands alone as well, so that
    /// each one begins something that can be found.
    fn pairs(&self, purpose: For, lower: &mut String, take: &mut Take<'_>) -> usize {
        let mut ends = self.text.char_indices().map(|(i, c)| i + c.len_utf8());
        let mut from = 0;
        let mut one_end = ends.next();
        let mut n = 0;
        while let Some(middle) = one_end {
            let next = ends.next();
            let to = next.unwrap_or(middle);
            if next.is_some() || purpose == For::Index || n == 0 {
                lower.clear();
                lower.push_str(self.text.get(from..to).unwrap_or_default());
                take(lower, self.start + from..self.start + to, self.position + n);
            }
            n += 1;
            (from, one_end) = (middle, next);
        }
        n
    }
}

/// Where the case changes: `parseHTTPBody2` is `parse`, `HTTP`, `Body2`.
fn parts(word: &str) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut from = 0;
    let mut before: Option<char> = None;
    let mut chars = word.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next_is_lower = chars.peek().is_some_and(|(_, n)| n.is_lowercase());
        let begins =
            before.is_some_and(|b| c.is_uppercase() && (!b.is_uppercase() || next_is_lower));
        if begins {
            out.push(from..at);
            from = at;
        }
        before = Some(c);
    }
    out.push(from..word.len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, purpose: For) -> Vec<(String, usize)> {
        let mut out = Vec::new();
        each(text, purpose, &mut |word, range, position| {
            assert!(text.get(range).is_some(), "{text}");
            out.push((word.to_owned(), position));
        });
        out
    }

    #[test]
    fn words_identifiers_and_scripts_without_spaces() {
        let check = |text: &str, index: &[(&str, usize)], question: &[(&str, usize)]| {
            let own = |list: &[(&str, usize)]| -> Vec<(String, usize)> {
                list.iter().map(|(w, p)| ((*w).to_owned(), *p)).collect()
            };
            assert_eq!(words(text, For::Index), own(index), "{text}");
            assert_eq!(words(text, For::Question), own(question), "{text}");
        };
        let same = |text: &str, both: &[(&str, usize)]| check(text, both, both);
        same("Fix the parser.", &[("fix", 0), ("the", 1), ("parser", 2)]);
        same("parse_http(x)", &[("parse", 0), ("http", 1), ("x", 2)]);
        same("src/a-b.rs", &[("src", 0), ("a", 1), ("b", 2), ("rs", 3)]);
        same("utf8 v2.1", &[("utf8", 0), ("v2", 1), ("1", 2)]);
        same("ÄRGER Straße", &[("ärger", 0), ("straße", 1)]);
        same("", &[]);
        same("+-*() \"'\u{0}\u{1b}[", &[]);
        check(
            "parseHTTPBody2 x",
            &[
                ("parsehttpbody2", 0),
                ("parse", 0),
                ("http", 1),
                ("body2", 2),
                ("x", 3),
            ],
            &[("parse", 0), ("http", 1), ("body2", 2), ("x", 3)],
        );
        check(
            "修复解析",
            &[("修复", 0), ("复解", 1), ("解析", 2), ("析", 3)],
            &[("修复", 0), ("复解", 1), ("解析", 2)],
        );
        same("修", &[("修", 0)]);
        check(
            "用redb存储",
            &[("用", 0), ("redb", 1), ("存储", 2), ("储", 3)],
            &[("用", 0), ("redb", 1), ("存储", 2)],
        );
        check(
            "テスト を",
            &[("テス", 0), ("スト", 1), ("ト", 2), ("を", 3)],
            &[("テス", 0), ("スト", 1), ("を", 3)],
        );
    }

    #[test]
    fn blobs_are_no_words_and_take_one_place() {
        let blob = "aB1".repeat(500);
        let found = words(&format!("a {blob} b"), For::Index);
        assert_eq!(found, [("a".to_owned(), 0), ("b".to_owned(), 2)]);
        let mixed = "aBcDeFgHiJkLmNoP";
        assert_eq!(words(mixed, For::Index), [(mixed.to_lowercase(), 0)]);
    }

    #[test]
    fn any_text_at_all_is_borne() {
        let strange = "İıſ\u{307}ǅ\u{200d}👩‍💻\u{10ffff}ﷺ\u{e0041}".repeat(20);
        for purpose in [For::Index, For::Question] {
            let _words = words(&strange, purpose);
            let _words = words(&"x".repeat(100_000), purpose);
        }
    }
}
