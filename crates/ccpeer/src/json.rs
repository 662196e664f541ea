//! JSON on standard output: the promised keys, in text that is fit for a terminal.
//!
//! Two things are done to every document. Text that came from a peer loses its
//! control characters; local paths and commands stay as they are, for a program
//! has to use them. And whatever is left that a terminal would act on is written
//! as an escape, so that the bytes are harmless and the value is unchanged.

use std::borrow::Cow;
use std::io;

use ccpeer_agent::api::{ApiError, ErrorCode, Json};
use ccpeer_core::text::{self, Lines};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::Formatter;

/// Keys whose values are of this machine: paths and commands.
const VERBATIM: [&str; 11] = [
    "path",
    "project_dir",
    "backup",
    "command",
    "claude_dir",
    "home",
    "dir",
    "settings",
    "program",
    "roots",
    "candidates",
];

/// One document in one line.
///
/// # Errors
/// [`ErrorCode::Bug`]: our types can be written.
pub(crate) fn line(value: &impl Serialize) -> Result<String, ApiError> {
    passed_on(&Json::of(value).map_err(bug)?).map(Cow::into_owned)
}

/// The agent's answer as it is, if there is nothing to do to it: a list of
/// thousands of rows is not taken apart to find that out.
///
/// # Errors
/// [`ErrorCode::Bug`]: what the agent says is JSON.
pub(crate) fn passed_on(answer: &Json) -> Result<Cow<'_, str>, ApiError> {
    if let Some(text) = answer.text().filter(|text| is_harmless(text)) {
        return Ok(Cow::Borrowed(text));
    }
    let value = clean(answer.read().map_err(bug)?);
    let mut out = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut out, Harmless);
    value.serialize(&mut writer).map_err(bug)?;
    Ok(Cow::Owned(String::from_utf8_lossy(&out).into_owned()))
}

fn bug(_: serde_json::Error) -> ApiError {
    ApiError::new(ErrorCode::Bug, "cannot write the answer as JSON")
}

/// Whether neither the text itself nor any value that is spelled in it holds a
/// character which [`clean`] or [`Harmless`] would change.
fn is_harmless(json: &str) -> bool {
    let mut escapes = json.split('\\').skip(1);
    let mut plain = true;
    while let Some(after) = escapes.next() {
        plain &= match after.as_bytes().first() {
            Some(b'"' | b'/' | b'n' | b't') => true,
            // The second backslash of two.
            None => escapes.next().is_some(),
            _ => false,
        };
    }
    plain && text::is_clean(json, Lines::Keep)
}

fn clean(value: Value) -> Value {
    match value {
        Value::String(s) => Value::String(text::strip(&s, Lines::Keep)),
        Value::Array(items) => Value::Array(items.into_iter().map(clean).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(key, value)| {
                    let value = if VERBATIM.contains(&key.as_str()) {
                        value
                    } else {
                        clean(value)
                    };
                    (key, value)
                })
                .collect(),
        ),
        other => other,
    }
}

/// Compact JSON in which every character that is not plainly visible is escaped.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if text::strip(fragment, Lines::Keep) == fragment {
            return writer.write_all(fragment.as_bytes());
        }
        let mut buffer = [0u8; 4];
        for c in fragment.chars() {
            let utf8: &str = c.encode_utf8(&mut buffer);
            if text::strip(utf8, Lines::Keep) == utf8 {
                writer.write_all(utf8.as_bytes())?;
            } else {
                for unit in c.encode_utf16(&mut [0u16; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Json, clean, is_harmless, line, passed_on};
    use serde_json::{Value, json};

    #[test]
    fn k_l12_no_escape_byte_reaches_the_terminal() {
        let hostile = "a\u{1b}]52;c;x\u{7}b\u{9b}31mc\u{202e}d";
        let written = line(&json!({"title": hostile, "path": hostile})).unwrap();
        assert!(!written.contains(['\u{1b}', '\u{9b}', '\u{7}', '\u{202e}']));
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read["title"], "abcd");
        assert_eq!(read["path"], hostile);
    }

    #[test]
    fn what_is_harmless_is_passed_on_and_what_is_not_is_cleaned() {
        let texts = [
            "plain",
            "",
            "\\",
            "\\u001b",
            "\\\"",
            "two\nlines\tand / a tab",
            "修复",
            "a\u{1b}[31mb",
            "a\rb",
            "\u{202e}",
            "\u{7f}",
        ];
        for text in texts {
            let value = json!([{"title": text, "path": text}, text]);
            let answer = Json::of(&value).unwrap();
            let written = passed_on(&answer).unwrap();
            let read: Value = serde_json::from_str(&written).unwrap();
            assert_eq!(read, clean(value), "{text:?}");
            assert_eq!(
                is_harmless(answer.text().unwrap()),
                !text.contains(['\u{1b}', '\r', '\u{202e}', '\u{7f}']),
                "{text:?}"
            );
        }
        let spelled: Json = Json::of(
            &serde_json::value::RawValue::from_string(
                r#"{"title":"\\\u001b]0;x\u0007y\ud83d\ude00"}"#.to_owned(),
            )
            .unwrap(),
        )
        .unwrap();
        assert_eq!(passed_on(&spelled).unwrap(), r#"{"title":"\\y😀"}"#);
    }
}
