//! How one character of a path may be written inside other text: as it is,
//! behind back-slashes of JSON in JSON, as `\uXXXX`, as `%XX`, behind a
//! shell's back-slash.
//!
//! Everything here looks at bytes near one position and decides nothing. Must
//! not know which paths are searched for.

/// Back-slashes in a row that are looked at. One stands for itself at level 0,
/// two at level 1 (a JSON string), four at level 2 (JSON in a JSON string)…
pub(super) const RUN_MAX: usize = 1 << (NESTING_MAX + 1);

/// Levels of JSON inside JSON strings at which paths are still rewritten.
pub(super) const NESTING_MAX: u32 = 5;

/// How a separator was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slash {
    /// `/`
    Plain,
    /// `\/`, with so many back-slashes.
    Escaped(usize),
    /// `\u002f`, with so many back-slashes; whether in upper case.
    Unicode(usize, bool),
    /// `%2f`; whether in upper case.
    Percent(bool),
    /// So many back-slashes that stand for one. Windows only.
    Back(usize),
}

/// How a match was written, so that what replaces it is written alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spelling {
    /// The first separator.
    pub(super) slash: Option<Slash>,
    /// Back-slashes that stand for one; 0 while unknown.
    pub(super) run: usize,
    /// Characters came as `\uXXXX`: with so many back-slashes, in upper case.
    pub(super) unicode: Option<(usize, bool)>,
    /// Characters came as `%XX`: in upper case.
    pub(super) percent: Option<bool>,
    /// Back-slashes before a space or a bracket, of a shell.
    pub(super) shell: usize,
    /// A character came raw that a URL would have encoded.
    pub(super) raw: bool,
    /// The colon came as `%3A`: in upper case.
    pub(super) colon: Option<bool>,
    /// The drive's letter has the other case than the origin's.
    pub(super) drive_swapped: bool,
}

pub(super) fn byte(t: &[u8], at: usize) -> Option<u8> {
    t.get(at).copied()
}

pub(super) fn byte_before(t: &[u8], at: usize) -> Option<u8> {
    at.checked_sub(1).and_then(|i| byte(t, i))
}

/// Back-slashes that start at `at`.
pub(super) fn run_at(t: &[u8], at: usize) -> usize {
    let tail = t.get(at..).unwrap_or_default();
    tail.iter()
        .take(RUN_MAX + 1)
        .take_while(|c| **c == b'\\')
        .count()
}

/// Back-slashes that end before `at`.
pub(super) fn run_before(t: &[u8], at: usize) -> usize {
    let head = t.get(..at).unwrap_or_default();
    head.iter()
        .rev()
        .take(RUN_MAX + 1)
        .take_while(|c| **c == b'\\')
        .count()
}

fn hex(digits: &[u8]) -> Option<(u32, bool)> {
    let mut value = 0;
    let mut upper = false;
    for c in digits {
        value = value << 4 | char::from(*c).to_digit(16)?;
        upper |= c.is_ascii_uppercase();
    }
    Some((value, upper))
}

/// The unit of `uXXXX` at `at`, where the back-slashes have been read already.
fn unit_at(t: &[u8], at: usize) -> Option<(u32, bool)> {
    match t.get(at..at + 5)? {
        [b'u', digits @ ..] => hex(digits),
        _ => None,
    }
}

/// The character of `\uXXXX` (one or a pair) whose back-slashes, `run` of them,
/// end at `at`; and where it ends.
pub(super) fn unicode_at(t: &[u8], at: usize, run: usize) -> Option<(char, usize, bool)> {
    let (unit, upper) = unit_at(t, at)?;
    let end = at + 5;
    if let Some(c) = char::from_u32(unit) {
        return Some((c, end, upper));
    }
    if run_at(t, end) != run {
        return None;
    }
    let (low, upper_low) = unit_at(t, end + run)?;
    let pair = [u16::try_from(unit).ok()?, u16::try_from(low).ok()?];
    let c = char::decode_utf16(pair).next()?.ok()?;
    Some((c, end + run + 5, upper | upper_low))
}

/// The byte of `%XX` at `at`.
pub(super) fn percent_at(t: &[u8], at: usize) -> Option<(u8, bool)> {
    match t.get(at..at + 3)? {
        [b'%', digits @ ..] => hex(digits).and_then(|(v, up)| Some((u8::try_from(v).ok()?, up))),
        _ => None,
    }
}

/// The character at `at` in raw UTF-8, and its length. Bytes that are no UTF-8
/// are no character.
pub(super) fn char_at(t: &[u8], at: usize) -> Option<(char, usize)> {
    let first = byte(t, at)?;
    let len = match first {
        0..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let text = str::from_utf8(t.get(at..at + len)?).ok()?;
    text.chars().next().map(|c| (c, len))
}

/// A forward slash at `at`, and where it ends.
pub(super) fn slash_at(t: &[u8], at: usize) -> Option<(Slash, usize)> {
    match byte(t, at)? {
        b'/' => Some((Slash::Plain, at + 1)),
        b'%' => match percent_at(t, at)? {
            (b'/', _) => Some((Slash::Percent(byte(t, at + 2) == Some(b'F')), at + 3)),
            _ => None,
        },
        b'\\' => {
            let run = run_at(t, at);
            if byte(t, at + run) == Some(b'/') {
                return Some((Slash::Escaped(run), at + run + 1));
            }
            match unit_at(t, at + run)? {
                (0x2f, upper) => Some((Slash::Unicode(run, upper), at + run + 5)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Where the forward slash begins that ends at `end`.
pub(super) fn slash_before(t: &[u8], end: usize) -> Option<usize> {
    let start = match byte_before(t, end)? {
        b'/' => end - 1 - run_before(t, end - 1),
        b'f' | b'F' => {
            let percent = end.checked_sub(3);
            if let Some(start) = percent.filter(|i| percent_at(t, *i).is_some_and(|p| p.0 == b'/'))
            {
                return Some(start);
            }
            let u = end
                .checked_sub(5)
                .filter(|i| unit_at(t, *i).is_some_and(|u| u.0 == 0x2f))?;
            match run_before(t, u) {
                0 => return None,
                run => u - run,
            }
        }
        _ => return None,
    };
    Some(start)
}

/// Reads `want` at `at` in any spelling, notes the spelling, and says where it
/// ends.
pub(super) fn read_char(t: &[u8], at: usize, want: char, spelling: &mut Spelling) -> Option<usize> {
    let mut buffer = [0; 4];
    let raw = want.encode_utf8(&mut buffer).as_bytes();
    if t.get(at..)?.starts_with(raw) {
        spelling.raw |= url_encodes(want, false);
        return Some(at + raw.len());
    }
    match byte(t, at)? {
        b'%' => {
            let mut end = at;
            let mut upper = false;
            for expected in raw {
                let (value, up) = percent_at(t, end)?;
                if value != *expected {
                    return None;
                }
                upper |= up;
                end += 3;
            }
            spelling.percent = Some(spelling.percent.unwrap_or_default() | upper);
            Some(end)
        }
        b'\\' => {
            let run = run_at(t, at);
            if shell_escapes(want) && char_at(t, at + run).is_some_and(|(c, _)| c == want) {
                spelling.shell = run;
                return Some(at + run + 1);
            }
            let (c, end, upper) = unicode_at(t, at + run, run)?;
            if c != want {
                return None;
            }
            spelling.unicode = Some((run, spelling.unicode.is_some_and(|u| u.1) | upper));
            Some(end)
        }
        _ => None,
    }
}

/// Whether a shell wants a back-slash before this character of a path. What
/// JSON escapes itself is not among them.
pub(super) fn shell_escapes(c: char) -> bool {
    matches!(
        c,
        ' ' | '('
            | ')'
            | '['
            | ']'
            | '{'
            | '}'
            | '&'
            | ';'
            | '\''
            | '$'
            | '`'
            | '*'
            | '?'
            | '!'
            | '<'
            | '>'
            | '|'
            | '#'
    )
}

/// Where `want` begins that ends at `end`, in any spelling; `shell` if the
/// back-slashes before it may be a shell's.
pub(super) fn read_char_back(t: &[u8], end: usize, want: char, shell: bool) -> Option<usize> {
    let mut buffer = [0; 4];
    let raw = want.encode_utf8(&mut buffer).as_bytes();
    let head = t.get(..end)?;
    let last = *head.last()?;
    // Nearly every character is one byte, and nearly every text another one.
    if raw.last() == Some(&last) && (raw.len() == 1 || head.ends_with(raw)) {
        let start = end - raw.len();
        return Some(if want == ' ' || (shell && shell_escapes(want)) {
            start - run_before(t, start)
        } else {
            start
        });
    }
    // Every other spelling ends with a digit.
    if !last.is_ascii_hexdigit() {
        return None;
    }
    let percent = raw.iter().rev().try_fold(end, |end, expected| {
        let start = end.checked_sub(3)?;
        (percent_at(t, start)?.0 == *expected).then_some(start)
    });
    if percent.is_some() {
        return percent;
    }
    let mut start = end;
    let mut units = [0; 2];
    for unit in want.encode_utf16(&mut units).iter().rev() {
        let u = start.checked_sub(5)?;
        if unit_at(t, u)?.0 != u32::from(*unit) {
            return None;
        }
        // A separator of Windows may stand directly before: then a third of the
        // back-slashes belong to the character.
        let run = run_before(t, u);
        let own = if run.is_multiple_of(3) { run / 3 } else { run };
        if own == 0 {
            return None;
        }
        start = u - own;
    }
    Some(start)
}

/// Whether a URL encodes this character of a path; `whole` if the path is but a
/// part of a URL and its separators are encoded too.
pub(super) fn url_encodes(c: char, whole: bool) -> bool {
    let kept =
        c.is_ascii_alphanumeric() || "-_.~!*'()".contains(c) || (!whole && "$&+,;=:@/".contains(c));
    !kept
}

/// Appends a separator.
pub(super) fn write_slash(slash: Slash, out: &mut Vec<u8>) {
    match slash {
        Slash::Plain => out.push(b'/'),
        Slash::Escaped(run) => {
            write_run(run, out);
            out.push(b'/');
        }
        Slash::Unicode(run, upper) => {
            write_run(run, out);
            out.extend_from_slice(if upper { b"u002F" } else { b"u002f" });
        }
        Slash::Percent(upper) => out.extend_from_slice(if upper { b"%2F" } else { b"%2f" }),
        Slash::Back(run) => write_run(run, out),
    }
}

/// Appends back-slashes.
pub(super) fn write_run(run: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + run, b'\\');
}

/// Appends a part of a path; `url` says whether and how it is percent-encoded
/// (upper case, separators too).
pub(super) fn write_part(
    part: &str,
    spelling: &Spelling,
    url: Option<(bool, bool)>,
    out: &mut Vec<u8>,
) {
    let hex_digit = |n: u32, upper: bool| {
        let digit = char::from_digit(n & 15, 16).unwrap_or('0');
        (if upper {
            digit.to_ascii_uppercase()
        } else {
            digit
        }) as u8
    };
    for c in part.chars() {
        let mut buffer = [0; 4];
        match (url, spelling.unicode) {
            (Some((upper, whole)), _) if url_encodes(c, whole) => {
                for b in c.encode_utf8(&mut buffer).bytes() {
                    let b = u32::from(b);
                    out.extend([b'%', hex_digit(b >> 4, upper), hex_digit(b, upper)]);
                }
            }
            (None, Some((run, upper))) if !c.is_ascii() => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    write_run(run, out);
                    out.push(b'u');
                    let unit = u32::from(*unit);
                    out.extend([12, 8, 4, 0].map(|shift| hex_digit(unit >> shift, upper)));
                }
            }
            _ => {
                if shell_escapes(c) {
                    write_run(spelling.shell, out);
                }
                out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            }
        }
    }
}
