//! Blocks that a model signed: `thinking` and `redacted_thinking`. Altered by
//! one byte they are refused when the session goes on, so nothing in them is
//! rewritten. Must not know about paths.

use memchr::memmem;

use super::nesting::Nesting;

/// Objects within objects that are looked at.
const OBJECT_DEPTH_MAX: usize = 4096;

/// The byte ranges of signed blocks in a line of valid JSON, in ascending order,
/// disjoint.
pub(super) fn signed_blocks(line: &[u8]) -> Vec<(usize, usize)> {
    let mut blocks: Vec<(usize, usize)> = Vec::new();
    if memmem::find(line, b"thinking").is_none() {
        return blocks;
    }
    // Where each open object begins, and whether it is a signed block.
    let mut objects: Vec<(usize, bool)> = Vec::new();
    let mut too_deep = 0usize;
    let mut names_type = false;
    let mut at = 0;
    while let Some(c) = line.get(at) {
        match c {
            b'{' if objects.len() >= OBJECT_DEPTH_MAX => too_deep += 1,
            b'{' => objects.push((at, false)),
            b'}' if too_deep > 0 => too_deep -= 1,
            b'}' => {
                if let Some((start, true)) = objects.pop() {
                    // Blocks within this one are part of it.
                    while blocks.pop_if(|(inner, _)| *inner > start).is_some() {}
                    blocks.push((start, at + 1));
                }
            }
            b'"' => {
                let end = string_end(line, at);
                let text = line.get(at + 1..end.saturating_sub(1)).unwrap_or_default();
                let is_key = next_token(line, end) == Some(b':');
                if !is_key
                    && names_type
                    && is_signed_type(text)
                    && too_deep == 0
                    && let Some(object) = objects.last_mut()
                {
                    object.1 = true;
                }
                names_type = is_key && text == b"type";
                at = end;
                continue;
            }
            b':' | b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => names_type = false,
        }
        at += 1;
    }
    blocks
}

fn is_signed_type(text: &[u8]) -> bool {
    text == b"thinking" || text == b"redacted_thinking"
}

/// Behind the closing quote of the string that opens at `start`.
pub(super) fn string_end(line: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = line
        .get(at..)
        .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
    {
        at += found;
        if line.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    line.len()
}

/// The next byte that is no white space.
pub(super) fn next_token(line: &[u8], at: usize) -> Option<u8> {
    line.get(at..)?
        .iter()
        .copied()
        .find(|c| !c.is_ascii_whitespace())
}

/// Follows JSON too long to be looked at as a whole: whether a position lies in
/// a string that may be rewritten.
///
/// A block's type may come behind what it signs, so here the key alone decides:
/// no value of `thinking`, `signature` or `data` is touched, whatever object it
/// is in.
#[derive(Debug, Clone, Default)]
pub(super) struct Tokens {
    pub(super) nesting: Nesting,
    /// The first bytes of the string that is open or was last read.
    text: Vec<u8>,
    /// That string was a key, and its colon has been passed.
    after_key: bool,
    signed: bool,
    depth: i64,
    started: bool,
    /// What was read cannot be JSON.
    pub(super) broken: bool,
}

impl Tokens {
    /// Bytes of a string that are kept to tell keys apart.
    const KEY_BYTES: usize = 16;

    /// Moves on over these bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((c, behind)) = rest.split_first() {
            self.step(*c);
            rest = behind;
            if self.nesting.in_string() && self.nesting.is_plain() {
                let special = |c: &u8| *c < b' ' || *c == b'"' || *c == b'\\';
                let skipped = rest.iter().position(special).unwrap_or(rest.len());
                let (plain, behind) = rest.split_at(skipped);
                let kept = Self::KEY_BYTES
                    .saturating_sub(self.text.len())
                    .min(plain.len());
                self.text
                    .extend_from_slice(plain.get(..kept).unwrap_or_default());
                rest = behind;
            }
        }
    }

    fn step(&mut self, c: u8) {
        let inside = self.nesting.in_string();
        self.nesting.step(c);
        match (inside, self.nesting.in_string()) {
            (false, true) => {
                self.signed = self.after_key
                    && matches!(self.text.as_slice(), b"thinking" | b"signature" | b"data");
                self.text.clear();
                self.after_key = false;
            }
            (true, true) => {
                self.broken |= c < b' ';
                if self.text.len() < Self::KEY_BYTES {
                    self.text.push(c);
                }
            }
            (true, false) => self.broken |= c != b'"',
            (false, false) => self.structure(c),
        }
    }

    fn structure(&mut self, c: u8) {
        match c {
            b':' => self.after_key = true,
            b'{' | b'[' => {
                self.depth += 1;
                self.after_key = false;
            }
            b'}' | b']' => self.depth -= 1,
            b',' => self.after_key = false,
            b' ' | b'\t' | b'\r' | b'\n' => return,
            _ => self.broken |= !self.started && c < 0x80,
        }
        self.started = true;
    }

    /// Whether paths are rewritten here.
    pub(super) fn is_open(&self) -> bool {
        self.nesting.in_string() && !self.signed && !self.broken
    }

    /// Whether what was read is a whole value, as far as one can tell.
    pub(super) fn is_whole(&self) -> bool {
        !self.broken && self.depth == 0 && !self.nesting.in_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_whatever_the_order_of_keys() {
        let check = |line: &str, want: &[&str]| {
            let found: Vec<&str> = signed_blocks(line.as_bytes())
                .iter()
                .map(|(a, b)| &line[*a..*b])
                .collect();
            assert_eq!(found, want, "{line}");
        };
        check(r#"{"type":"text","text":"thinking"}"#, &[]);
        let block = r#"{"thinking":"\"}{","signature":"x","type" : "thinking"}"#;
        check(
            &format!(r#"{{"a":[{{"type":"text"}},{block},1],"type":"user"}}"#),
            &[block],
        );
        let block = r#"{"type":"redacted_thinking","data":"{}"}"#;
        check(&format!(r#"[{block},{block}]"#), &[block, block]);
        let outer = format!(r#"{{"type":"thinking","x":[{block},{block}]}}"#);
        check(
            &format!(r#"[{block},{outer},{block}]"#),
            &[block, &outer, block],
        );
        check(r#"{"type":["thinking"]}"#, &[]);
        check(r#"{"x":"type","y":"thinking"}"#, &[]);
    }

    #[test]
    fn tokens_tell_strings_that_may_be_touched() {
        let check = |text: &str, want: bool| {
            let mut tokens = Tokens::default();
            tokens.feed(text.as_bytes());
            assert_eq!(tokens.is_open(), want, "{text}");
        };
        check(r#"{"cwd":"#, false);
        check(r#"{"cwd":"/h"#, true);
        check(r#"{"thinking":"/h"#, false);
        check(r#"{"thinking":"","x":"/h"#, true);
        check(r#"{"type":"thinking","signature":"/h"#, false);
        check(r#"["thinking","/h"#, true);
        check(r#"{"thinking":{"x":"/h"#, true);
        check("{\"a\":\"\u{1}/h", false);
        check(r#"no json "/h"#, false);
    }
}
