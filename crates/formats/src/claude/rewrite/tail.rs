//! The rest of a path behind a place that was replaced: between Windows and
//! Unix its separators are converted, up to where the path ends and no further.
//!
//! A path in running text ends at white space, a quote, or punctuation that is
//! rare in names; brackets belong to it in pairs (`app/(auth)/[id]/page.tsx`). A
//! path that begins at an opening quote may hold spaces, if all up to the
//! closing quote looks like one path. Must not know what was replaced.

use super::boundary::is_name;
use super::matching::{Match, Matcher};
use super::spelling::{byte, char_at, run_at, unicode_at, write_run};

/// Bytes of a path's rest that are converted.
pub(super) const EXTENT_BYTES_MAX: usize = 4 * 1024;

/// Bytes up to a closing quote.
const QUOTED_BYTES_MAX: usize = 1024;

/// How many bytes behind a path can have a say in where it ends.
pub(super) fn reach(rest: &[u8]) -> usize {
    let bound = rest.len().min(EXTENT_BYTES_MAX);
    let space = rest.iter().take(bound).position(u8::is_ascii_whitespace);
    space
        .map_or(bound, |at| (at + 1).max(QUOTED_BYTES_MAX + 16))
        .min(bound)
}

/// How a rest is converted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convert {
    /// From Windows: how many back-slashes separate.
    pub(super) separating: Option<usize>,
    /// To Windows: how many back-slashes are to separate.
    pub(super) back: Option<usize>,
    /// The quote directly before the path, and the back-slashes before that.
    pub(super) opener: Option<(u8, usize)>,
}

enum Step {
    /// So many bytes are so many separators to convert.
    Separators(usize, usize),
    /// So many bytes stay.
    Name(usize),
    Stop,
}

/// Extends the match over the last separator that was converted.
pub(super) fn convert(matcher: &Matcher, t: &[u8], how: Convert, m: &mut Match, out: &mut Vec<u8>) {
    if how.separating.is_none() && how.back.is_none() {
        return;
    }
    let first = m.end;
    let closing = closing_quote(t, first, &how);
    let limit = closing.unwrap_or(first + EXTENT_BYTES_MAX);
    let mut at = first;
    let mut brackets: Vec<u8> = Vec::new();
    let mut done = (first, out.len(), m.replacements);
    let mut replacements = m.replacements;
    while at < limit {
        let named = match step(t, at, &how, closing.is_some(), &mut brackets) {
            Step::Stop => break,
            Step::Separators(len, count) => {
                match how.back {
                    Some(run) => write_run(run * count, out),
                    None => out.resize(out.len() + count, b'/'),
                }
                at += len;
                done = (at, out.len(), replacements);
                true
            }
            Step::Name(len) => {
                let bytes = t.get(at..at + len).unwrap_or_default();
                out.extend_from_slice(bytes);
                at += len;
                bytes == b"/"
            }
        };
        // The name of the project's directory stands within such rests.
        if named && let Some((len, slug)) = matcher.slug_at(t, at) {
            out.extend_from_slice(slug.as_bytes());
            at += len;
            replacements += 1;
        }
    }
    out.truncate(done.1);
    (m.end, m.replacements) = (done.0, done.2);
}

fn step(t: &[u8], at: usize, how: &Convert, quoted: bool, brackets: &mut Vec<u8>) -> Step {
    const BRACKETS_MAX: usize = 16;
    let Some(c) = byte(t, at) else {
        return Step::Stop;
    };
    match c {
        b'/' if how.back.is_some() => Step::Separators(1, 1),
        b'\\' => {
            let found = run_at(t, at);
            let count = how.separating.map_or(0, |one| found / one);
            if count > 0 {
                return Step::Separators(count * how.separating.unwrap_or_default(), count);
            }
            match unicode_at(t, at + found, found) {
                Some((c, end, _)) if quoted || is_name(c) => Step::Name(end - at),
                _ => Step::Stop,
            }
        }
        _ if quoted => Step::Name(1),
        b'(' | b'[' | b'{' => {
            brackets.push(c);
            if brackets.len() > BRACKETS_MAX {
                Step::Stop
            } else {
                Step::Name(1)
            }
        }
        b')' | b']' | b'}' => match (brackets.pop(), c) {
            (Some(b'('), b')') | (Some(b'['), b']') | (Some(b'{'), b'}') => Step::Name(1),
            _ => Step::Stop,
        },
        0..=b' '
        | 0x7f
        | b'"'
        | b'\''
        | b'`'
        | b'<'
        | b'>'
        | b'|'
        | b';'
        | b','
        | b':'
        | b'?'
        | b'&' => Step::Stop,
        0..=0x7f => Step::Name(1),
        _ => match char_at(t, at) {
            Some((c, len)) if is_name(c) => Step::Name(len),
            _ => Step::Stop,
        },
    }
}

/// Where the quote closes that opened directly before the path, if everything
/// up to there looks like one path.
fn closing_quote(t: &[u8], first: usize, how: &Convert) -> Option<usize> {
    let (quote, run) = how.opener?;
    let mut at = first;
    let mut after_gap = false;
    while at < first + QUOTED_BYTES_MAX {
        let c = byte(t, at)?;
        match c {
            b'\\' => {
                let found = run_at(t, at);
                let separators = how.separating.map_or(0, |one| found / one * one);
                let escape = found - separators;
                if separators > 0 && after_gap {
                    return None;
                }
                if byte(t, at + found) == Some(quote) && escape == run {
                    return Some(at + separators);
                }
                at += found;
                if escape > 0 {
                    at = unicode_at(t, at, escape)?.1;
                }
                after_gap = false;
                continue;
            }
            c if c == quote => return (run == 0).then_some(at),
            b'/' if after_gap => return None,
            0..0x20 | b'"' | b':' | b'*' | b'?' | b'<' | b'>' | b'|' => return None,
            _ => {}
        }
        after_gap = matches!(c, b' ' | b',' | b';');
        at += 1;
    }
    None
}
