//! Base64 (RFC 4648) in pieces. Both alphabets are read, with or without padding;
//! the usual one is written.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Takes text, gives bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Decoder {
    bits: u32,
    digits: u8,
    padding: u8,
    broken: bool,
}

impl Decoder {
    /// False once something came that is no base64.
    pub(super) fn push(&mut self, text: &[u8], out: &mut dyn FnMut(&[u8])) -> bool {
        let mut decoded = Vec::with_capacity(text.len() / 4 * 3 + 3);
        for c in text {
            let value = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                b'=' => {
                    self.padding += 1;
                    self.broken |= self.padding > 2;
                    self.padding = self.padding.min(2);
                    continue;
                }
                _ => {
                    self.broken = true;
                    continue;
                }
            };
            self.broken |= self.padding > 0;
            self.bits = self.bits << 6 | u32::from(value);
            self.digits += 1;
            if self.digits == 4 {
                let [_, three @ ..] = self.bits.to_be_bytes();
                decoded.extend_from_slice(&three);
                (self.bits, self.digits) = (0, 0);
            }
        }
        out(&decoded);
        !self.broken
    }

    /// What is left at the end; false if it was no base64.
    pub(super) fn finish(&mut self, out: &mut dyn FnMut(&[u8])) -> bool {
        let [_, first, second, _] =
            (self.bits << (6 * (4 - u32::from(self.digits.min(4))))).to_be_bytes();
        match self.digits {
            2 => out(&[first]),
            3 => out(&[first, second]),
            1 => self.broken = true,
            _ => {}
        }
        !self.broken
    }
}

/// Takes bytes, gives text.
#[derive(Debug, Clone, Default)]
pub(super) struct Encoder {
    rest: Vec<u8>,
}

impl Encoder {
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.len() / 3 * 3;
        let left = self.rest.split_off(whole);
        let bytes = std::mem::replace(&mut self.rest, left);
        encode(&bytes)
    }

    pub(super) fn finish(&mut self) -> String {
        encode(&std::mem::take(&mut self.rest))
    }
}

fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4 {
            let value = (bits >> (18 - 6 * n)) as usize & 63;
            let digit = ALPHABET.get(value).copied().unwrap_or(b'=');
            out.push(if n <= group.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    out
}
