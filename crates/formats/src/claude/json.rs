//! Reading foreign JSON leniently: named values of an object without building a
//! tree, without recursion, and without refusing a whole object because one
//! field in it is odd.
//!
//! Doubled keys count as JavaScript counts them: the last one wins. A lone
//! surrogate spoils its own text only. Depth costs one byte a level.

use std::borrow::Cow;
use std::fmt;

use ccpeer_core::limits;
use ccpeer_core::text::lossy;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A value as it stands in the text, or nothing.
pub(crate) type Raw<'a> = Option<&'a RawValue>;

/// The values of these keys of an object; nothing if the text is not exactly
/// one object.
pub(crate) fn pick<'a, const N: usize>(
    json: &'a str,
    names: &'static [&'static str; N],
) -> Option<[Raw<'a>; N]> {
    let (found, whole) = pick_front(json, names);
    whole.then_some(found)
}

/// The same for an object that may be cut off: what stands before the fault,
/// and whether there was none.
pub(crate) fn pick_front<'a, const N: usize>(
    json: &'a str,
    names: &'static [&'static str; N],
) -> ([Raw<'a>; N], bool) {
    let mut found = [None; N];
    if !begins_with(json, b'{') {
        return (found, false);
    }
    let mut json = serde_json::Deserializer::from_str(json);
    let object = Object {
        names,
        found: &mut found,
    };
    let whole = object.deserialize(&mut json).is_ok() && json.end().is_ok();
    (found, whole)
}

/// [`pick`] in a value.
pub(crate) fn pick_in<'a, const N: usize>(
    raw: Raw<'a>,
    names: &'static [&'static str; N],
) -> Option<[Raw<'a>; N]> {
    pick(raw?.get(), names)
}

/// The value as text, if it is a string.
pub(crate) fn text(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    let json = raw?.get();
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    match serde_json::from_str::<String>(json) {
        Ok(text) => Some(Cow::Owned(text)),
        // A lone surrogate: as bytes it can be had, and shown as a mark.
        Err(_) => Bytes
            .deserialize(&mut serde_json::Deserializer::from_str(json))
            .ok()
            .map(|bytes| Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())),
    }
}

/// The value as text if it is not longer than this many bytes.
pub(crate) fn short_text(raw: Raw<'_>, bytes_max: usize) -> Option<String> {
    text(raw)
        .filter(|t| t.len() <= bytes_max)
        .map(Cow::into_owned)
}

/// Whether the value is `true`.
pub(crate) fn flag(raw: Raw<'_>) -> bool {
    raw.is_some_and(|r| r.get() == "true")
}

/// The value as a whole number, also if it is written as a string.
pub(crate) fn number(raw: Raw<'_>) -> Option<u64> {
    let json = raw?.get();
    json.trim_matches('"').parse().ok()
}

/// The values of these keys of each object in a list, in one pass; what is no
/// object in it has none of them. At most [`limits::JSON_ITEMS_MAX`] are given.
pub(crate) fn objects<'a, const N: usize>(
    raw: Raw<'a>,
    names: &'static [&'static str; N],
) -> Vec<[Raw<'a>; N]> {
    raw.filter(|r| begins_with(r.get(), b'['))
        .and_then(|r| {
            Objects { names }
                .deserialize(&mut serde_json::Deserializer::from_str(r.get()))
                .ok()
        })
        .unwrap_or_default()
}

/// Whether a value is of the kind that begins so. Asking the parser for another
/// kind costs an error that has all of a long text in it.
fn begins_with(json: &str, byte: u8) -> bool {
    json.trim_ascii_start().as_bytes().first() == Some(&byte)
}

/// Bytes as text; what is no UTF-8 is replaced by a mark.
pub(crate) fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    lossy(bytes)
}

struct Object<'o, 'a, const N: usize> {
    names: &'static [&'static str; N],
    found: &'o mut [Raw<'a>; N],
}

impl<'a, const N: usize> DeserializeSeed<'a> for Object<'_, 'a, N> {
    type Value = ();
    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'a, const N: usize> Visitor<'a> for Object<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(position) = map.next_key_seed(Key(self.names))? {
            match position.and_then(|p| self.found.get_mut(p)) {
                Some(place) => *place = Some(map.next_value::<&'a RawValue>()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A key, as its position among the names.
struct Key(&'static [&'static str]);

impl<'a> DeserializeSeed<'a> for Key {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}

struct Objects<const N: usize> {
    names: &'static [&'static str; N],
}

impl<'a, const N: usize> DeserializeSeed<'a> for Objects<N> {
    type Value = Vec<[Raw<'a>; N]>;
    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'a, const N: usize> Visitor<'a> for Objects<N> {
    type Value = Vec<[Raw<'a>; N]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut list: S) -> Result<Self::Value, S::Error> {
        let mut out = Vec::new();
        loop {
            let mut found = [None; N];
            let item = Object {
                names: self.names,
                found: &mut found,
            };
            if list.next_element_seed(Any(item))?.is_none() {
                return Ok(out);
            }
            if out.len() < limits::JSON_ITEMS_MAX {
                out.push(found);
            }
        }
    }
}

/// An object, or a value that is passed over.
struct Any<'o, 'a, const N: usize>(Object<'o, 'a, N>);

impl<'a, const N: usize> DeserializeSeed<'a> for Any<'_, 'a, N> {
    type Value = ();
    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'a, const N: usize> Visitor<'a> for Any<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<M: MapAccess<'a>>(self, map: M) -> Result<(), M::Error> {
        self.0.visit_map(map)
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut list: S) -> Result<(), S::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

struct Bytes;

impl<'a> DeserializeSeed<'a> for Bytes {
    type Value = Vec<u8>;
    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_of_doubled_keys_wins_and_odd_values_stay_alone() {
        let [a, b, c] = pick(
            r#" {"a":1,"b":"\ud800x","a":"two","\u0063":[1,{}],"d":1e999} "#,
            &["a", "b", "c"],
        )
        .unwrap();
        assert_eq!(text(a).as_deref(), Some("two"));
        assert!(text(b).unwrap().ends_with('x'));
        assert_eq!(objects(c, &["x"]).len(), 2);
    }

    #[test]
    fn what_is_no_object_gives_nothing() {
        for bad in [
            "",
            "[]",
            "1",
            "{",
            r#"{"a":1}x"#,
            r#"{"a":1,}"#,
            "\"a\"",
            "{\"a\":\"\0\"}",
        ] {
            assert!(pick(bad, &["a"]).is_none(), "{bad}");
        }
        let deep = "[".repeat(200_000);
        assert!(pick(&deep, &["a"]).is_none());
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert!(pick(&deep, &["a"]).is_some());
    }

    #[test]
    fn objects_of_a_list() {
        let [list] = pick(
            r#"{"l":[{"a":1},"x",[[2]],null,-1,1.5,true,{"a":{}}]}"#,
            &["l"],
        )
        .unwrap();
        let found: Vec<_> = objects(list, &["a"])
            .iter()
            .map(|[a]| a.map(RawValue::get))
            .collect();
        assert_eq!(found.len(), 8);
        assert_eq!(
            (found[0], found[1], found[7]),
            (Some("1"), None, Some("{}"))
        );
        assert!(objects(None, &["a"]).is_empty());
    }

    #[test]
    fn the_front_of_a_cut_object_is_read() {
        let ([a, b], whole) = pick_front(r#"{"a":"x","b":"tor"#, &["a", "b"]);
        assert_eq!(
            (text(a).as_deref(), b.is_none(), whole),
            (Some("x"), true, false)
        );
    }
}
