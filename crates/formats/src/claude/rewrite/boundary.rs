//! Where a path begins and ends in running text.
//!
//! | before the path | |
//! |---|---|
//! | nothing, white space, quotes, brackets that open, `= : , ; < > & ! # * ? @ ^` and the vertical bar | begins |
//! | an escape for such a character (`\n`, `\u0027`, `%3D`), the end of a colour sequence | begins |
//! | any character beyond ASCII (Chinese is written without spaces; arrows before line numbers) | begins |
//! | `+` or `-` that is not the end of a name itself (a diff) | begins |
//! | `file://`, `file://localhost`, and the `://file` of editors | begins |
//! | the single letter of an option (`-I`, `-C`) | begins |
//! | `\\?\` before a drive | begins; on Unix it goes with the path |
//! | a letter, digit, `_ . ~ % $ ) ] } / \` | part of something longer: left alone |
//!
//! | after the path | |
//! |---|---|
//! | a separator in any spelling | goes on below: rewritten |
//! | nothing, white space, quotes, brackets, most punctuation, `\n` and other escapes | ends |
//! | `.` or `...` before one of these | a sentence ends |
//! | `.` before a name (`/w/proj.bak`), a letter, digit, `_ - + ~ @ %`, an escaped space, letters of any script | another name: left alone |
//!
//! Must not know which paths are searched for, nor what replaces them.

use super::spelling::{
    byte, byte_before, char_at, percent_at, run_at, run_before, slash_at, slash_before, unicode_at,
};

/// What follows a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// A separator: the path goes on.
    Separator,
    /// The path ends.
    End,
    /// The name goes on: it was another one.
    Name,
}

/// Whether a character belongs to a name when it follows one.
pub(super) fn is_name(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || "_-+~@%".contains(c);
    }
    // Marks join the letter before them; pictures occur in names, too.
    let mark = matches!(u32::from(c), 0x300..=0x36f | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff
        | 0x200c..=0x200d | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f);
    c.is_alphanumeric() || mark || u32::from(c) >= 0x1_f000
}

/// Whether a path may begin at `start`.
pub(super) fn begins(t: &[u8], start: usize) -> bool {
    let Some(before) = byte_before(t, start) else {
        return true;
    };
    match before {
        b'+' | b'-' => {
            let name = byte_before(t, start - 1)
                .is_some_and(|c| c.is_ascii_alphanumeric() || b"_.-+)".contains(&c));
            !name || ends_escape(t, start - 1)
        }
        b'/' | b'F' | b'f' if slash_before(t, start).is_some() => follows_file_scheme(t, start),
        c if continues(char::from(c)) => {
            ends_escape(t, start) || ends_option(t, start) || ends_editor_scheme(t, start)
        }
        _ => true,
    }
}

/// Whether the letter before `start` is an option of a command: `-I/w/proj`.
fn ends_option(t: &[u8], start: usize) -> bool {
    let Some(dash) = start.checked_sub(2) else {
        return false;
    };
    let letter = byte(t, dash + 1).is_some_and(|c| c.is_ascii_alphabetic());
    let opens = |c: u8| c.is_ascii_whitespace() || b"\"'`,;([{=".contains(&c);
    let word = byte_before(t, dash).is_none_or(opens) || ends_escape(t, dash);
    letter && byte(t, dash) == Some(b'-') && word
}

/// Whether a URL's scheme ends before `start` behind which a file's path stands.
fn ends_editor_scheme(t: &[u8], start: usize) -> bool {
    let head = t.get(..start).unwrap_or_default();
    head.ends_with(b"://file") || head.ends_with(b"file://localhost")
}

/// Where the `\\?\` begins that ends before a drive at `start`, however many
/// back-slashes stand for one.
pub(super) fn follows_verbatim(t: &[u8], start: usize) -> Option<usize> {
    let one = run_before(t, start);
    let mark = start.checked_sub(one + 1).filter(|_| one > 0)?;
    let two = run_before(t, mark);
    let prefix = mark - two;
    (byte(t, mark) == Some(b'?') && two == 2 * one && begins(t, prefix)).then_some(prefix)
}

/// Whether an ASCII character before a path makes it part of something longer.
fn continues(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.~%$)]}/\\".contains(c)
}

/// Whether `file://` stands before `start`, in any spelling.
pub(super) fn follows_file_scheme(t: &[u8], start: usize) -> bool {
    if ends_editor_scheme(t, start) {
        return true;
    }
    let Some(colon) = slash_before(t, start).and_then(|p| slash_before(t, p)) else {
        return false;
    };
    let head = t.get(..colon).unwrap_or_default();
    head.ends_with(b"file:") || head.ends_with(b"file%3A") || head.ends_with(b"file%3a")
}

/// Whether what looks like a name's last character before `start` is the end of
/// an escape that stands for something else.
fn ends_escape(t: &[u8], start: usize) -> bool {
    let last = byte_before(t, start).unwrap_or_default();
    if b"nrtbf".contains(&last) && run_before(t, start - 1) > 0 {
        return true;
    }
    if let Some(u) = start.checked_sub(5) {
        let run = run_before(t, u);
        if run > 0
            && let Some((c, _, _)) = unicode_at(t, u, run)
        {
            return !c.is_ascii() || !continues(c);
        }
    }
    if let Some((value, _)) = start.checked_sub(3).and_then(|p| percent_at(t, p)) {
        return !value.is_ascii() || !continues(char::from(value));
    }
    b"mK".contains(&last) && ends_colour(t, start - 1)
}

/// Whether a terminal sequence `ESC [ 0;1` ends before `end`.
fn ends_colour(t: &[u8], end: usize) -> bool {
    const PARAMETERS_MAX: usize = 24;
    let head = t.get(..end).unwrap_or_default();
    let parameters = head
        .iter()
        .rev()
        .take(PARAMETERS_MAX)
        .take_while(|c| c.is_ascii_digit() || **c == b';')
        .count();
    let head = head.get(..end - parameters).unwrap_or_default();
    let Some(head) = head.strip_suffix(b"[") else {
        return false;
    };
    [
        &b"\x1b"[..],
        b"\\u001b",
        b"\\u001B",
        b"\\x1b",
        b"\\x1B",
        b"\\033",
        b"\\e",
    ]
    .iter()
    .any(|esc| head.ends_with(esc))
}

/// What follows a match that ends at `end`. `run` is how many back-slashes
/// stand for one, if they separate here at all.
pub(super) fn after(t: &[u8], end: usize, run: Option<usize>) -> After {
    if slash_at(t, end).is_some() {
        return After::Separator;
    }
    match byte(t, end) {
        None => After::End,
        Some(b'\\') => after_run(t, end, run),
        Some(b'.') => {
            const DOTS_MAX: usize = 256;
            let tail = t.get(end..).unwrap_or_default();
            let dots = tail
                .iter()
                .take(DOTS_MAX)
                .take_while(|c| **c == b'.')
                .count();
            if dots == DOTS_MAX {
                return After::Name;
            }
            match after(t, end + dots, run) {
                After::End => After::End,
                After::Name | After::Separator => After::Name,
            }
        }
        // An encoded space belongs to the name: a URL ends at a plain one.
        Some(b'%') => match percent_at(t, end) {
            Some((value, _))
                if value.is_ascii() && value != b' ' && !is_name(char::from(value)) =>
            {
                After::End
            }
            _ => After::Name,
        },
        Some(_) => match char_at(t, end) {
            Some((c, _)) if is_name(c) => After::Name,
            _ => After::End,
        },
    }
}

fn after_run(t: &[u8], at: usize, run: Option<usize>) -> After {
    let found = run_at(t, at);
    if run.is_some_and(|run| found >= run) {
        return After::Separator;
    }
    if let Some((c, _, _)) = unicode_at(t, at + found, found) {
        return if is_name(c) { After::Name } else { After::End };
    }
    match byte(t, at + found) {
        // A shell's escaped space or bracket: the name goes on.
        Some(b' ' | b'(') if run.is_none() => After::Name,
        _ => After::End,
    }
}

/// Whether a name may stand directly before `start`: a separator does.
pub(super) fn follows_separator(t: &[u8], start: usize) -> bool {
    byte_before(t, start) == Some(b'\\') || slash_before(t, start).is_some()
}
