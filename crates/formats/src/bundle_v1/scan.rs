//! JSON as a stream: what stands in a document is taken in the order in which it
//! stands there, and nothing is held of it but a buffer. A part of it can be
//! hashed as it passes, byte for byte.
//!
//! Strings count as JavaScript counts them: a lone surrogate is a character of its
//! own there, and becomes a mark here. Must not know what the document is.

use std::io::Read;

use ccpeer_core::text::lossy;
use sha2::{Digest as _, Sha256};

/// Bytes that are looked at at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// Levels of values in values.
const DEPTH_MAX: usize = 128;
/// A name in an object; a longer one is none that anybody knows.
pub(super) const NAME_BYTES_MAX: usize = 255;
/// The mark for what is no character.
const MARK: &[u8] = "\u{fffd}".as_bytes();

/// Why a document cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is not packed as it should be, or cut off.
    #[error("the packing is damaged behind byte {0} of the content")]
    Packing(u64),
    /// It unpacks to more than is allowed.
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// It is no JSON of the expected shape.
    #[error("the document is malformed at byte {0}")]
    Malformed(u64),
    /// Values in values without end.
    #[error("the document is nested too deeply at byte {0}")]
    TooDeep(u64),
    /// Whoever takes the content wants no more.
    #[error("the reader has stopped")]
    Stopped,
}

/// A document that is read.
pub(super) struct Scanner<R> {
    from: R,
    buffer: Vec<u8>,
    at: usize,
    /// Bytes of the document before the buffer.
    before: u64,
    bytes_max: u64,
    hash: Option<Sha256>,
    /// Where in the buffer begins what was not hashed yet.
    hashed: usize,
}

impl<R: Read> Scanner<R> {
    pub(super) fn new(from: R, bytes_max: u64) -> Self {
        Self {
            from,
            buffer: Vec::new(),
            at: 0,
            before: 0,
            bytes_max,
            hash: None,
            hashed: 0,
        }
    }

    fn position(&self) -> u64 {
        self.before + self.at as u64
    }

    pub(super) fn malformed(&self) -> Fault {
        Fault::Malformed(self.position())
    }

    /// Makes sure that something is in the buffer; false at the end.
    fn fill(&mut self) -> Result<bool, Fault> {
        if self.at < self.buffer.len() {
            return Ok(true);
        }
        if let Some(hash) = &mut self.hash {
            hash.update(self.buffer.get(self.hashed..).unwrap_or_default());
        }
        self.hashed = 0;
        self.before += self.buffer.len() as u64;
        self.at = 0;
        self.buffer.resize(BUFFER_BYTES, 0);
        let len = loop {
            match self.from.read(&mut self.buffer) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let len = len.map_err(|_| Fault::Packing(self.before));
        self.buffer.truncate(*len.as_ref().unwrap_or(&0));
        let len = len?;
        if self.before + len as u64 > self.bytes_max {
            return Err(Fault::TooLarge(self.bytes_max));
        }
        Ok(len > 0)
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    fn peek(&mut self) -> Result<Option<u8>, Fault> {
        self.fill()?;
        Ok(self.rest().first().copied())
    }

    fn next(&mut self) -> Result<u8, Fault> {
        let byte = self.peek()?.ok_or_else(|| self.malformed())?;
        self.at += 1;
        Ok(byte)
    }

    /// The first byte of what comes next, white space passed over.
    pub(super) fn ahead(&mut self) -> Result<u8, Fault> {
        loop {
            match self.peek()? {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(byte) => return Ok(byte),
                None => return Err(self.malformed()),
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.ahead()? != byte {
            return Err(self.malformed());
        }
        self.at += 1;
        Ok(())
    }

    /// The bytes from here on are hashed.
    pub(super) fn hash_from_here(&mut self) {
        self.hash = Some(Sha256::new());
        self.hashed = self.at;
    }

    /// The hash of what passed since then, in lower-case hexadecimal.
    pub(super) fn hash_to_here(&mut self) -> String {
        let mut hash = self.hash.take().unwrap_or_default();
        hash.update(self.buffer.get(self.hashed..self.at).unwrap_or_default());
        super::hex(&hash.finalize())
    }

    /// That nothing follows.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        loop {
            match self.peek()? {
                None => return Ok(()),
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(_) => return Err(self.malformed()),
            }
        }
    }

    /// An object: `each` takes the value of every name.
    pub(super) fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, &str) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.expect(b'{')?;
        if self.ahead()? == b'}' {
            return self.expect(b'}');
        }
        loop {
            // What is too long is cut, and one byte longer than any name.
            let name = self.short_string(NAME_BYTES_MAX + 1)?;
            self.expect(b':')?;
            self.ahead()?;
            each(self, &name)?;
            match self.ahead()? {
                b',' => self.expect(b',')?,
                _ => return self.expect(b'}'),
            }
        }
    }

    /// A list: `each` takes every value.
    pub(super) fn list(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.expect(b'[')?;
        if self.ahead()? == b']' {
            return self.expect(b']');
        }
        loop {
            self.ahead()?;
            each(self)?;
            match self.ahead()? {
                b',' => self.expect(b',')?,
                _ => return self.expect(b']'),
            }
        }
    }

    /// The beginning of a text; nothing if the value is something else.
    pub(super) fn text(&mut self, bytes_max: usize) -> Result<Option<String>, Fault> {
        if self.ahead()? == b'"' {
            return self.short_string(bytes_max).map(Some);
        }
        self.skip()?;
        Ok(None)
    }

    fn short_string(&mut self, bytes_max: usize) -> Result<String, Fault> {
        let mut bytes = Vec::new();
        self.string(|piece| {
            let room = bytes_max - bytes.len();
            bytes.extend_from_slice(piece.get(..room).unwrap_or(piece));
            Ok(())
        })?;
        Ok(lossy(&bytes).into_owned())
    }

    /// A text, piece by piece, each at most as long as the buffer.
    pub(super) fn string(
        &mut self,
        mut piece: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.expect(b'"')?;
        // The first half of a pair, until the second has come.
        let mut high: Option<u32> = None;
        loop {
            if !self.fill()? {
                return Err(self.malformed());
            }
            let rest = self.rest();
            let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            let run = rest.get(..plain).unwrap_or_default();
            if let Some(odd) = run.iter().position(|c| *c < 0x20) {
                self.at += odd;
                return Err(self.malformed());
            }
            if !run.is_empty() {
                if high.take().is_some() {
                    piece(MARK)?;
                }
                piece(run)?;
                self.at += plain;
                continue;
            }
            let byte = self.next()?;
            if byte == b'"' {
                return match high {
                    Some(_) => piece(MARK),
                    None => Ok(()),
                };
            }
            let escaped = self.next()?;
            let unit = match escaped {
                b'u' => self.unit()?,
                other => simple(other).ok_or_else(|| self.malformed())?,
            };
            match (high.take(), unit) {
                (Some(first), 0xdc00..=0xdfff) => {
                    let c = 0x1_0000 + ((first - 0xd800) << 10) + (unit - 0xdc00);
                    put(c, &mut piece)?;
                }
                (before, _) => {
                    if before.is_some() {
                        piece(MARK)?;
                    }
                    match unit {
                        0xd800..=0xdbff => high = Some(unit),
                        _ => put(unit, &mut piece)?,
                    }
                }
            }
        }
    }

    /// The four digits of `\uXXXX`.
    fn unit(&mut self) -> Result<u32, Fault> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = char::from(self.next()?).to_digit(16);
            unit = unit << 4 | digit.ok_or_else(|| self.malformed())?;
        }
        Ok(unit)
    }

    /// Passes over a value, whatever it is.
    pub(super) fn skip(&mut self) -> Result<(), Fault> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.ahead()? {
                b'"' => self.string(|_| Ok(()))?,
                byte @ (b'{' | b'[') => {
                    if open.len() >= DEPTH_MAX {
                        return Err(Fault::TooDeep(self.position()));
                    }
                    self.at += 1;
                    let close = if byte == b'{' { b'}' } else { b']' };
                    open.push(close);
                    if self.ahead()? != close {
                        if byte == b'{' {
                            self.name()?;
                        }
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            // A value is behind us: close what ends here, or go on to the next one.
            loop {
                let Some(close) = open.last().copied() else {
                    return Ok(());
                };
                let byte = self.ahead()?;
                self.at += 1;
                match byte {
                    b',' => {
                        if close == b'}' {
                            self.name()?;
                        }
                        break;
                    }
                    byte if byte == close => {
                        open.pop();
                    }
                    _ => {
                        self.at -= 1;
                        return Err(self.malformed());
                    }
                }
            }
        }
    }

    fn name(&mut self) -> Result<(), Fault> {
        self.ahead()?;
        self.string(|_| Ok(()))?;
        self.expect(b':')
    }

    /// A number or a word.
    fn scalar(&mut self) -> Result<(), Fault> {
        const WORD_BYTES_MAX: usize = 1024;
        let mut word = Vec::new();
        while let Some(byte) = self.peek()? {
            if !byte.is_ascii_alphanumeric() && !b"+-.".contains(&byte) {
                break;
            }
            if word.len() >= WORD_BYTES_MAX {
                return Err(self.malformed());
            }
            word.push(byte);
            self.at += 1;
        }
        let known = matches!(word.as_slice(), b"true" | b"false" | b"null");
        match known || serde_json::from_slice::<&serde_json::value::RawValue>(&word).is_ok() {
            true => Ok(()),
            false => Err(self.malformed()),
        }
    }
}

/// What a back-slash and a letter stand for.
fn simple(escaped: u8) -> Option<u32> {
    Some(u32::from(match escaped {
        b'"' | b'\\' | b'/' => escaped,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    }))
}

fn put(c: u32, piece: &mut impl FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
    match char::from_u32(c) {
        Some(c) => piece(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => piece(MARK),
    }
}
