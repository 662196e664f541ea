//! How deep in JSON strings a position lies: needed where a separator is
//! replaced by back-slashes, of which each level doubles the number.
//!
//! A quote of a string at level 1 stands bare, at level 2 behind one back-slash,
//! at level 3 behind three. Text that is no JSON has unbalanced quotes; so a
//! line break in a string's text closes whatever was open within it.
//! Must not know about paths.

use super::spelling::NESTING_MAX;

/// The strings that are open at a position.
#[derive(Debug, Clone, Default)]
pub(super) struct Nesting {
    /// Bit `e`: a string of level `e` is open.
    open: u32,
    /// Back-slashes directly before the position.
    run: u32,
}

impl Nesting {
    /// Moves on over these bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            // Only these, and what follows a back-slash, change anything.
            if self.run == 0 {
                let skipped = memchr::memchr3(b'"', b'\\', b'\n', rest).unwrap_or(rest.len());
                rest = rest.get(skipped..).unwrap_or_default();
            }
            let Some((c, behind)) = rest.split_first() else {
                return;
            };
            self.step(*c);
            rest = behind;
        }
    }

    /// Whether the next byte stands for itself, unless it is a quote, a
    /// back-slash or a line break.
    pub(super) fn is_plain(&self) -> bool {
        self.run == 0
    }

    /// Moves on over one byte.
    pub(super) fn step(&mut self, c: u8) {
        match c {
            b'\\' => {
                self.run = self.run.saturating_add(1);
                return;
            }
            b'"' => {
                let level = self.run.trailing_ones() + 1;
                if level <= NESTING_MAX + 1 {
                    let bit = 1 << level;
                    self.open = if self.open & bit == 0 {
                        self.open | bit
                    } else {
                        self.open & (bit - 1)
                    };
                }
            }
            b'n' if self.run > 0 => {
                let level = (self.run.trailing_zeros() + 1).min(NESTING_MAX + 1);
                self.open &= (2 << level) - 1;
            }
            b'\n' => self.open = 0,
            _ => {}
        }
        self.run = 0;
    }

    /// The innermost string's level; 0 outside of all.
    pub(super) fn level(&self) -> u32 {
        31 - (self.open | 1).leading_zeros()
    }

    /// Whether a string of the outermost JSON is open.
    pub(super) fn in_string(&self) -> bool {
        self.open & 2 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_the_quotes() {
        let check = |text: &str, want: u32| {
            let mut nesting = Nesting::default();
            nesting.feed(text.as_bytes());
            assert_eq!(nesting.level(), want, "{text}");
        };
        check("", 0);
        check(r#"{"a":"#, 0);
        check(r#"{"a":""#, 1);
        check(r#"{"a":"b"#, 1);
        check(r#"{"a":"b","#, 0);
        check(r#"{"a":"{\"b\":\""#, 2);
        check(r#"{"a":"{\"b\":\"{\\\"c\\\":\\\""#, 3);
        check(r#"{"a":"{\"b\":\"{\\\"c\\\":\\\"\\\"}\""#, 1);
        check(r#"{"a":"C:\\","b":"#, 0);
        check(r#"{"a":"5\" disk\n"#, 1);
        check(r#"{"a":"{\"b\":\"x\\ny"#, 2);
        check("say \"x", 1);
        check("5\" disk\nnext", 0);
    }
}
