//! Taking texts, paths and words out of a record's fields.

use std::borrow::Cow;

use ccpeer_core::limits;

use super::json::{self, Raw};
use super::prompt::{self, Spoken};
use crate::bounded;

/// What is said in a message: a string, or the text blocks of a list.
pub(super) fn said(content: Raw<'_>) -> Option<Cow<'_, str>> {
    if let Some(text) = json::text(content) {
        return Some(text);
    }
    let mut out = String::new();
    for [kind, text] in json::objects(content, &["type", "text"]) {
        add_part(&mut out, &json::text(kind).unwrap_or_default(), text);
    }
    (!out.is_empty()).then_some(Cow::Owned(out))
}

/// What a tool was called on: the one argument that says it.
pub(super) fn called_on(input: Raw<'_>) -> Option<Cow<'_, str>> {
    let found = json::pick_in(
        input,
        &[
            "file_path",
            "notebook_path",
            "path",
            "command",
            "pattern",
            "url",
            "query",
            "description",
            "subject",
            "skill",
        ],
    )?;
    found.into_iter().find_map(json::text)
}

/// The text of a result, whether it is a string or a list of blocks.
pub(super) fn content_text(content: Raw<'_>) -> String {
    if let Some(text) = json::text(content) {
        return text.into_owned();
    }
    let mut out = String::new();
    for [text] in json::objects(content, &["text"]) {
        out.push_str(&json::text(text).unwrap_or_default());
        out.push('\n');
    }
    out
}

/// Adds what a block of a message says.
pub(super) fn add_part(said: &mut String, kind: &str, text: Raw<'_>) {
    let part = match kind {
        "text" => json::text(text),
        "image" => Some(Cow::Borrowed("[image]")),
        "document" => Some(Cow::Borrowed("[document]")),
        _ => None,
    };
    // What Claude Code puts beside a prompt is no part of it.
    if let Some(part) = part.filter(|p| !matches!(prompt::classify(p), Spoken::Machine)) {
        if !said.is_empty() {
            said.push('\n');
        }
        said.push_str(&part);
    }
}

/// Keeps a path or id as it is, without allocating where nothing changed.
pub(super) fn set(place: &mut Option<String>, raw: Raw<'_>) {
    if let Some(text) = json::text(raw)
        && (1..=limits::FOREIGN_PATH_BYTES_MAX).contains(&text.len())
        && place.as_deref() != Some(&*text)
    {
        *place = Some(text.into_owned());
    }
}

/// Keeps a word or a title as one visible line.
pub(super) fn set_line(place: &mut Option<String>, raw: Raw<'_>) {
    if let Some(text) = json::text(raw)
        && place.as_deref() != Some(&*text)
    {
        let line = bounded::line(&text, 256);
        if !line.is_empty() {
            *place = Some(line);
        }
    }
}

/// A text of several lines within its bound.
pub(super) fn keep(text: &str) -> String {
    bounded::visible(text, limits::DIGEST_TEXT_CHARS_MAX)
}
