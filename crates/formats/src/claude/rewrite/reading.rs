//! Reads a pattern in a text, forwards from its beginning and backwards from an
//! anchor within it, in whatever spelling. Must not know what takes its place.

use super::pattern::{Elem, Form, Pattern};
use super::spelling::{
    RUN_MAX, Slash, Spelling, byte, byte_before, percent_at, read_char, read_char_back, run_at,
    run_before, slash_at, slash_before, unicode_at,
};

/// A path of the greatest length, each character escaped.
const SPELLED_BYTES_MAX: usize = 64 * 1024;

/// Where the pattern that begins at `start` ends, and how it is spelled.
pub(super) fn read_elems(
    t: &[u8],
    start: usize,
    pattern: &Pattern,
    json: bool,
) -> Option<(usize, Spelling)> {
    if let (Some(usual), Some(spelling)) = (&pattern.usual, pattern.plain)
        && t.get(start..).is_some_and(|here| here.starts_with(usual))
    {
        return Some((start + usual.len(), spelling));
    }
    if !may_be(t, start, pattern) {
        return None;
    }
    let mut spelling = Spelling::default();
    let mut at = start;
    for elem in &pattern.elems {
        if at - start > SPELLED_BYTES_MAX {
            return None;
        }
        at = match elem {
            Elem::Char(c) => read_char(t, at, *c, &mut spelling)?,
            Elem::Slash => read_separator(t, at, pattern.form, json, &mut spelling)?,
            Elem::Drive(drive) => {
                let found = char::from(byte(t, at)?);
                spelling.drive_swapped = found != *drive;
                found.eq_ignore_ascii_case(drive).then_some(at + 1)?
            }
            Elem::Colon => match (byte(t, at)?, percent_at(t, at)) {
                (b':', _) => at + 1,
                (_, Some((b':', upper))) => {
                    spelling.colon = Some(upper);
                    at + 3
                }
                _ => return None,
            },
        };
    }
    Some((at, spelling))
}

/// Whether it is worth while to read on: where a text is not as it usually is, an
/// escape has to stand, since nothing else reads as another character.
fn may_be(t: &[u8], start: usize, pattern: &Pattern) -> bool {
    let Some(usual) = &pattern.usual else {
        return true;
    };
    let here = t.get(start..).unwrap_or_default();
    let other = usual.iter().zip(here).position(|(a, b)| a != b);
    other.is_none_or(|at| matches!(here.get(at), Some(b'\\' | b'%')))
}

/// Where the pattern begins whose element `elem` stands at `hit`.
pub(super) fn read_back(t: &[u8], hit: usize, pattern: &Pattern, elem: usize) -> Option<usize> {
    let usual = pattern.usual.as_ref().filter(|_| pattern.plain.is_some());
    if let Some(before) = usual.and_then(|usual| usual.get(..elem))
        && let Some(start) = hit.checked_sub(elem)
        && t.get(start..hit) == Some(before)
        && byte_before(t, start) != Some(b'\\')
    {
        return Some(start);
    }
    pattern
        .elems
        .get(..elem)?
        .iter()
        .rev()
        .try_fold(hit, |at, elem| match elem {
            Elem::Char(c) => read_char_back(t, at, *c, pattern.form == Form::Unix),
            Elem::Slash => slash_before(t, at).or_else(|| {
                let run = run_before(t, at);
                (run > 0 && pattern.form == Form::Drive).then_some(at - run)
            }),
            Elem::Drive(drive) => {
                let found = char::from(byte_before(t, at)?);
                found.eq_ignore_ascii_case(drive).then_some(at - 1)
            }
            Elem::Colon => match byte_before(t, at)? {
                b':' => Some(at - 1),
                _ => at
                    .checked_sub(3)
                    .filter(|p| percent_at(t, *p).is_some_and(|v| v.0 == b':')),
            },
        })
}

/// One separator. All of a path are written alike; only Windows mixes `\` and
/// `/`.
fn read_separator(
    t: &[u8],
    at: usize,
    form: Form,
    json: bool,
    spelling: &mut Spelling,
) -> Option<usize> {
    let windows = form == Form::Drive;
    if let Some((slash, end)) = slash_at(t, at) {
        let fits = match spelling.slash {
            None => true,
            Some(Slash::Back(_)) => windows && slash == Slash::Plain,
            Some(first) => first == slash,
        };
        spelling.slash.get_or_insert(slash);
        return fits.then_some(end);
    }
    let found = run_at(t, at);
    if !windows
        || found == 0
        || !matches!(spelling.slash, None | Some(Slash::Plain | Slash::Back(_)))
    {
        return None;
    }
    if spelling.run == 0 {
        spelling.run = run_of_one(t, at, found, json)?;
        spelling.slash.get_or_insert(Slash::Back(spelling.run));
    }
    (found >= spelling.run).then_some(at + spelling.run)
}

/// How many of these back-slashes stand for one. What remains belongs to a
/// character in `\uXXXX` form.
fn run_of_one(t: &[u8], at: usize, found: usize, json: bool) -> Option<usize> {
    let one = 1 << found.ilog2();
    let bounded = one <= RUN_MAX && one >= if json { 2 } else { 1 };
    let rest = found - one;
    let clean = rest == 0 || unicode_at(t, at + found, rest).is_some();
    (bounded && clean).then_some(one)
}
