//! JSON as JavaScript writes what it has read: `JSON.stringify(JSON.parse(text))`,
//! byte for byte. A checksum of claude-sync-sessions is over such a text.
//!
//! In an object, names that are whole numbers come first, in their order; of
//! doubled names the last value counts, in the place of the first. A lone
//! surrogate stays one, as an escape. Numbers are doubles.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Values in values.
const DEPTH_MAX: usize = 128;
/// From here on, a whole number is a name like any other.
const INDEX_MAX: u32 = u32::MAX - 1;

/// Why a text has no such form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// It is no JSON.
    #[error("no JSON at byte {0}")]
    Malformed(usize),
    /// Values in values without end.
    #[error("nested too deeply at byte {0}")]
    TooDeep(usize),
}

/// The text as JavaScript would write it.
///
/// # Errors
/// See [`CanonicalError`].
pub fn canonical(json: &str) -> Result<String, CanonicalError> {
    let mut reader = Reader { json, at: 0 };
    let mut out = String::with_capacity(json.len());
    reader.value(&mut out, 0)?;
    reader.space();
    match reader.at == json.len() {
        true => Ok(out),
        false => Err(reader.malformed()),
    }
}

struct Reader<'j> {
    json: &'j str,
    at: usize,
}

/// Where a name stands among the others of its object.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Index(u32),
    Inserted(usize),
}

impl Reader<'_> {
    fn malformed(&self) -> CanonicalError {
        CanonicalError::Malformed(self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// What comes next, white space passed over.
    fn ahead(&mut self) -> Result<u8, CanonicalError> {
        self.space();
        self.peek().ok_or_else(|| self.malformed())
    }

    fn expect(&mut self, byte: u8) -> Result<(), CanonicalError> {
        if self.ahead()? != byte {
            return Err(self.malformed());
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, out: &mut String, depth: usize) -> Result<(), CanonicalError> {
        if depth > DEPTH_MAX {
            return Err(CanonicalError::TooDeep(self.at));
        }
        match self.ahead()? {
            b'"' => {
                let units = self.string()?;
                quote(&units, out);
                Ok(())
            }
            b'[' => self.list(out, depth),
            b'{' => self.object(out, depth),
            _ => self.scalar(out),
        }
    }

    fn list(&mut self, out: &mut String, depth: usize) -> Result<(), CanonicalError> {
        self.at += 1;
        out.push('[');
        if self.ahead()? != b']' {
            loop {
                self.value(out, depth + 1)?;
                if self.ahead()? != b',' {
                    break;
                }
                self.at += 1;
                out.push(',');
            }
        }
        out.push(']');
        self.expect(b']')
    }

    fn object(&mut self, out: &mut String, depth: usize) -> Result<(), CanonicalError> {
        self.at += 1;
        let mut places: BTreeMap<Vec<u16>, Place> = BTreeMap::new();
        let mut members: BTreeMap<usize, String> = BTreeMap::new();
        let mut numbered: BTreeMap<u32, String> = BTreeMap::new();
        if self.ahead()? != b'}' {
            loop {
                self.ahead()?;
                let name = self.string()?;
                self.expect(b':')?;
                let mut member = String::new();
                quote(&name, &mut member);
                member.push(':');
                self.value(&mut member, depth + 1)?;
                let next = places.len();
                let place = places.entry(name).or_insert_with_key(|name| {
                    index(name).map_or(Place::Inserted(next), Place::Index)
                });
                match place {
                    Place::Index(n) => numbered.insert(*n, member),
                    Place::Inserted(n) => members.insert(*n, member),
                };
                if self.ahead()? != b',' {
                    break;
                }
                self.at += 1;
            }
        }
        self.expect(b'}')?;
        out.push('{');
        for (n, member) in numbered.values().chain(members.values()).enumerate() {
            if n > 0 {
                out.push(',');
            }
            out.push_str(member);
        }
        out.push('}');
        Ok(())
    }

    /// A text in units of UTF-16, as JavaScript has it.
    fn string(&mut self) -> Result<Vec<u16>, CanonicalError> {
        if self.peek() != Some(b'"') {
            return Err(self.malformed());
        }
        self.at += 1;
        let mut units = Vec::new();
        loop {
            let rest = self.json.get(self.at..).unwrap_or_default();
            let c = rest.chars().next().ok_or_else(|| self.malformed())?;
            match c {
                '"' => {
                    self.at += 1;
                    return Ok(units);
                }
                '\\' => units.push(self.escaped()?),
                '\0'..='\u{1f}' => return Err(self.malformed()),
                c => {
                    units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
                    self.at += c.len_utf8();
                }
            }
        }
    }

    fn escaped(&mut self) -> Result<u16, CanonicalError> {
        self.at += 1;
        let kind = self.peek().ok_or_else(|| self.malformed())?;
        self.at += 1;
        Ok(match kind {
            b'"' | b'\\' | b'/' => u16::from(kind),
            b'b' => 8,
            b'f' => 12,
            b'n' => 10,
            b'r' => 13,
            b't' => 9,
            b'u' => {
                let digits = self.json.get(self.at..self.at + 4).unwrap_or_default();
                let plain = digits.bytes().all(|c| c.is_ascii_hexdigit());
                let unit = u16::from_str_radix(digits, 16).ok().filter(|_| plain);
                let unit = unit.ok_or_else(|| self.malformed())?;
                self.at += 4;
                unit
            }
            _ => return Err(self.malformed()),
        })
    }

    /// A number or a word.
    fn scalar(&mut self, out: &mut String) -> Result<(), CanonicalError> {
        let from = self.at;
        while self
            .peek()
            .is_some_and(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c))
        {
            self.at += 1;
        }
        let text = self.json.get(from..self.at).unwrap_or_default();
        if matches!(text, "true" | "false" | "null") {
            out.push_str(text);
            return Ok(());
        }
        let is_json = serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
        match text.parse::<f64>().ok().filter(|_| is_json) {
            Some(number) => {
                put_number(number, out);
                Ok(())
            }
            None => Err(CanonicalError::Malformed(from)),
        }
    }
}

/// The number that a name is, if it is one in its usual spelling.
fn index(name: &[u16]) -> Option<u32> {
    let text = String::from_utf16(name).ok()?;
    let number: u32 = text.parse().ok().filter(|n| *n <= INDEX_MAX)?;
    (number.to_string() == text).then_some(number)
}

fn quote(units: &[u16], out: &mut String) {
    out.push('"');
    for c in char::decode_utf16(units.iter().copied()) {
        match c {
            Ok('"') => out.push_str("\\\""),
            Ok('\\') => out.push_str("\\\\"),
            Ok('\u{8}') => out.push_str("\\b"),
            Ok('\u{c}') => out.push_str("\\f"),
            Ok('\n') => out.push_str("\\n"),
            Ok('\r') => out.push_str("\\r"),
            Ok('\t') => out.push_str("\\t"),
            Ok(c @ '\0'..='\u{1f}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            Ok(c) => out.push(c),
            Err(lone) => {
                let _ = write!(out, "\\u{:04x}", lone.unpaired_surrogate());
            }
        }
    }
    out.push('"');
}

/// A double by the rule of ECMAScript's `Number::toString`: the fewest digits that
/// mean it, and an exponent only far from 1. What is too large for a double is null.
fn put_number(number: f64, out: &mut String) {
    if !number.is_finite() {
        return out.push_str("null");
    }
    if number == 0.0 {
        return out.push('0');
    }
    if number < 0.0 {
        out.push('-');
    }
    let shortest = format!("{:e}", number.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    // Where the point stands behind the first digit.
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let zeros = |n: i32| "0".repeat(usize::try_from(n).unwrap_or(0));
    let split = |n: i32| digits.split_at(usize::try_from(n).unwrap_or(0).min(digits.len()));
    let _ = match point {
        22.. | ..=-6 => {
            let (first, rest) = split(1);
            let dot = if rest.is_empty() { "" } else { "." };
            write!(out, "{first}{dot}{rest}e{:+}", point - 1)
        }
        -5..=0 => write!(out, "0.{}{digits}", zeros(-point)),
        _ if count <= point => write!(out, "{digits}{}", zeros(point - count)),
        _ => {
            let (whole, rest) = split(point);
            write!(out, "{whole}.{rest}")
        }
    };
}
