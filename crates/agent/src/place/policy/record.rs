//! A record as the other program reads it: the fields of one JSON object, in
//! order, doubled ones too, and where each stands.
//!
//! Must not know which fields matter.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use ccpeer_core::text::lossy;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What the other program passes over before it reads a line: white space as
/// JavaScript has it, a byte order mark, and the NUL bytes that a crash leaves.
pub(super) fn trimmed(line: &str) -> &str {
    line.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}' || c == '\0')
}

/// Whether a line is one JSON value.
pub(in crate::place) fn is_json(line: &[u8]) -> bool {
    let text = lossy(line);
    serde_json::from_str::<&RawValue>(trimmed(&text)).is_ok()
}

/// A range of a text and what takes its place.
pub(super) type Edit = (Range<usize>, Vec<u8>);

/// The text with these parts of it replaced; none may overlap.
pub(super) fn splice(json: &str, mut edits: Vec<Edit>) -> Vec<u8> {
    edits.sort_by_key(|(range, _)| range.start);
    let mut out = Vec::with_capacity(json.len() + 64);
    let mut done = 0;
    for (range, new) in edits {
        out.extend_from_slice(json.as_bytes().get(done..range.start).unwrap_or_default());
        out.extend_from_slice(&new);
        done = range.end;
    }
    out.extend_from_slice(json.as_bytes().get(done..).unwrap_or_default());
    out
}

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> Vec<u8> {
    serde_json::Value::from(text).to_string().into_bytes()
}

/// An object of these fields, as they stand.
pub(super) fn object(fields: &[&Field<'_>]) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (n, field) in fields.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend(quoted(&String::from_utf8_lossy(&field.key)));
        out.push(b':');
        out.extend_from_slice(field.raw.get().as_bytes());
    }
    out.push(b'}');
    out
}

/// A string's content. One with half a surrogate pair is none that we compare:
/// it is held to the rules like any other stranger.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let json = raw.get();
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(inner.into());
    }
    let text = serde_json::from_str(json).unwrap_or_else(|_| "\u{fffd}".to_owned());
    Some(text.into())
}

/// The fields of an object, in order, doubled ones too.
pub(super) struct Record<'a> {
    pub(super) fields: Vec<Field<'a>>,
}

pub(super) struct Field<'a> {
    /// Decoded; bytes, because half a surrogate pair is no text.
    pub(super) key: Cow<'a, [u8]>,
    pub(super) raw: &'a RawValue,
    /// Where the value stands.
    pub(super) range: Range<usize>,
}

impl<'a> Record<'a> {
    pub(super) fn parse(json: &'a str) -> Option<Self> {
        let mut de = serde_json::Deserializer::from_str(json);
        let pairs = de.deserialize_map(Pairs).ok()?;
        de.end().ok()?;
        let base = json.as_ptr().addr();
        let fields = pairs
            .into_iter()
            .map(|(key, raw)| {
                let start = raw.get().as_ptr().addr() - base;
                Field {
                    key,
                    raw,
                    range: start..start + raw.get().len(),
                }
            })
            .collect();
        Some(Self { fields })
    }

    /// Whether the text is JSON without doubt: keys are read as bytes, and so with
    /// control characters in them that JSON does not have.
    pub(super) fn is_strict(&self) -> bool {
        let mut keys = self.fields.iter().flat_map(|f| f.key.iter());
        keys.all(|byte| *byte >= b' ')
    }

    pub(super) fn all<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'s Field<'a>> {
        self.fields
            .iter()
            .filter(move |f| *f.key == *key.as_bytes())
    }
}

struct Pairs;

impl<'a> Visitor<'a> for Pairs {
    type Value = Vec<(Cow<'a, [u8]>, &'a RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut out = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            out.push((key, map.next_value()?));
        }
        Ok(out)
    }
}

struct Key<'a>(Cow<'a, [u8]>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Key<'de>, E> {
                Ok(Key(bytes.into()))
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Key<'de>, E> {
                Ok(Key(bytes.to_vec().into()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(text.as_bytes().to_vec().into()))
            }
        }
        de.deserialize_bytes(Bytes)
    }
}
