//! Text that came from somewhere else, made fit to be shown: control
//! characters, terminal sequences and invisible or direction-changing code
//! points are removed. Every name, title and document is passed through here
//! before a person or a model sees it.

use alloc::borrow::Cow;
use alloc::string::String;

/// Names of tags that mean something to a model, by their first word. Text from
/// elsewhere that holds one is not shown as it is, and no answer may hold one.
pub const MODEL_TAGS: [&str; 12] = [
    "antml",
    "assistant",
    "command",
    "function",
    "human",
    "invoke",
    "local",
    "parameter",
    "system",
    "task",
    "tool",
    "user",
];

/// Bytes as text; what is no UTF-8 is replaced by a mark. Checking alone is far
/// quicker than replacing, and nearly always enough.
#[must_use]
pub fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    core::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// Keeps what is visible; a line break stays only if `lines` is [`Lines::Keep`].
#[must_use]
pub fn strip(text: &str, lines: Lines) -> String {
    if is_clean(text, lines) {
        return String::from(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' if lines == Lines::Keep => out.push(c),
            '\n' | '\t' | '\r' => {
                if lines == Lines::Fold {
                    out.push(' ');
                }
            }
            // A terminal sequence goes with its parameters, not only its ESC.
            '\u{1b}' | '\u{9b}' | '\u{9d}' | '\u{90}' => skip_sequence(c, &mut chars),
            c if hidden(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// Whether [`strip`] leaves it as it is: nearly always, and told without a copy.
#[must_use]
pub fn is_clean(text: &str, lines: Lines) -> bool {
    let mut rest = text;
    loop {
        let plain = plain_ascii(rest.as_bytes());
        let mut chars = rest.get(plain..).unwrap_or_default().chars();
        match chars.next() {
            None => return true,
            Some('\n' | '\t') if lines == Lines::Keep => {}
            Some(c) if hidden(c) => return false,
            Some(_) => {}
        }
        rest = chars.as_str();
    }
}

/// How many bytes at the beginning are visible ASCII. Answers of megabytes are looked
/// through, block by block.
fn plain_ascii(bytes: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let is_plain = |b: &u8| matches!(b, b' '..=b'~');
    let blocks = bytes.chunks_exact(BLOCK);
    let whole = blocks.take_while(|block| block.iter().fold(true, |all, b| all & is_plain(b)));
    let begin = whole.count() * BLOCK;
    let rest = bytes.get(begin..).unwrap_or_default();
    begin + rest.iter().take_while(|b| is_plain(b)).count()
}

/// What happens to line breaks and tabs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// They stay.
    Keep,
    /// They become one space: names, titles, table cells.
    Fold,
}

/// One visible line of at most `chars_max` characters.
#[must_use]
pub fn one_line(text: &str, chars_max: usize) -> String {
    if is_plain_line(text, chars_max) {
        return String::from(text);
    }
    let stripped = strip(text, Lines::Fold);
    let mut out = String::new();
    let mut space = false;
    let mut count = 0;
    for c in stripped.trim().chars() {
        if c.is_whitespace() {
            space = true;
            continue;
        }
        if core::mem::take(&mut space) {
            if count + 1 >= chars_max {
                break;
            }
            out.push(' ');
            count += 1;
        }
        if count >= chars_max {
            break;
        }
        out.push(c);
        count += 1;
    }
    out
}

/// Whether it is visible words with one space between them, and no longer than that.
fn is_plain_line(text: &str, chars_max: usize) -> bool {
    let mut space = true; // neither at the beginning
    let plain = text.chars().enumerate().all(|(n, c)| {
        let doubled = c == ' ' && space;
        space = c == ' ';
        let visible = matches!(c, ' '..='~') || !(hidden(c) || c.is_whitespace());
        n < chars_max && visible && !doubled
    });
    plain && (text.is_empty() || !space) // nor at the end
}

fn skip_sequence(start: char, chars: &mut core::iter::Peekable<core::str::Chars<'_>>) {
    let kind = if start == '\u{1b}' {
        chars.next()
    } else {
        Some(start)
    };
    match kind {
        // CSI: parameters and intermediates up to one final byte.
        Some('[' | '\u{9b}') => {
            while let Some(c) = chars.peek().copied() {
                if !('\u{20}'..='\u{7e}').contains(&c) {
                    break;
                }
                chars.next();
                if ('\u{40}'..='\u{7e}').contains(&c) {
                    break;
                }
            }
        }
        // OSC, DCS, APC, PM, SOS: up to BEL or ST, never over a line's end.
        Some(']' | 'P' | '_' | '^' | 'X' | '\u{9d}' | '\u{90}') => {
            while let Some(c) = chars.peek().copied() {
                if c == '\n' {
                    break;
                }
                chars.next();
                if c == '\u{7}' || c == '\u{9c}' {
                    break;
                }
                if c == '\u{1b}' {
                    if chars.peek() == Some(&'\\') {
                        chars.next();
                    }
                    break;
                }
            }
        }
        _ => {}
    }
}

fn hidden(c: char) -> bool {
    matches!(u32::from(c),
        0x00..=0x1f | 0x7f..=0x9f
        | 0xad | 0x061c | 0x180e
        | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
        | 0xfe00..=0xfe0f | 0xfeff | 0xfff9..=0xfffb
        | 0xe000..=0xf8ff | 0xe0000..=0xe0fff | 0xf0000..=0x10ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_and_hidden_characters_go() {
        let check = |input: &str, want: &str| assert_eq!(one_line(input, 40), want);
        check("plain", "plain");
        check("\u{1b}[31mred\u{1b}[0m", "red");
        check("\u{1b}]0;title\u{7}x", "x");
        check("\u{1b}]8;;http://e\u{1b}\\link", "link");
        check("a\u{202e}b\u{200d}c\u{e0041}", "abc");
        check("two\r\n  lines\t here ", "two lines here");
        check(" a  b ", "a b");
        check("修复  解析器 ", "修复 解析器");
        check("a\u{3000}b\u{a0}\u{a0}c", "a b c");
        check(&"修".repeat(41), &"修".repeat(40));
        check("a b", "a b");
        check("", "");
        check(" ", "");
        check(&"x".repeat(99), &"x".repeat(40));
        assert_eq!(strip("a\nb\u{7}\tc", Lines::Keep), "a\nb\tc");
    }

    #[test]
    fn what_is_clean_stays_as_it_is_and_nothing_else_does() {
        let all = (0..=0x0011_0000).filter_map(char::from_u32);
        let mut buffer = [0; 4];
        for c in all {
            for lines in [Lines::Keep, Lines::Fold] {
                let text: &str = c.encode_utf8(&mut buffer);
                assert_eq!(
                    is_clean(text, lines),
                    strip(&[text, "\u{7}"].concat(), lines) == text,
                    "{c:?}"
                );
            }
        }
    }
}
