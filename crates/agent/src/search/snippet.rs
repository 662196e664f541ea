//! What stands at a place that was found: read from the store, cut around the words.
//!
//! Must not know how it is shown.

use ccpeer_core::entry::ContentRef;
use ccpeer_core::manifest::{Manifest, Slot};
use ccpeer_core::text::{self, Lines};
use ccpeer_formats::claude::transcript::matter;
use ccpeer_store::{Store, StoreError};

use super::content::Content;
use super::index::part_number;
use super::words::{self, For};
use super::{Place, Question};

/// Characters that are shown.
const SNIPPET_CHARS_MAX: usize = 200;
/// Bytes before the first word that are shown with it.
const BEFORE_BYTES: usize = 60;
/// Bytes in which words are looked for together.
const WINDOW_BYTES: usize = 200;

/// What stands at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    /// One visible line.
    pub(crate) snippet: String,
    /// What of it was asked for: from and to, in characters.
    pub(crate) marks: Vec<(u32, u32)>,
    /// The sub-agent whose transcript it is.
    pub(crate) agent: Option<String>,
}

/// Reads what stands at a place in this version; nothing if it is not there.
/// Blocking.
pub(crate) fn spot(
    store: &Store,
    manifest: ContentRef,
    place: &Place,
    question: &Question,
) -> Result<Option<Spot>, StoreError> {
    let Some(bytes) = store.get_chunk(&manifest.id)? else {
        return Ok(None);
    };
    let Ok(manifest) = Manifest::from_bytes(&bytes) else {
        return Ok(None);
    };
    let mut files = manifest.files.iter().filter(|f| f.slot.is_log());
    let Some(file) = files.find(|f| part_number(&f.slot) == place.found.part) else {
        return Ok(None);
    };
    let agent = match &file.slot {
        Slot::Subagent(name) => Some(name.as_str().to_owned()),
        _ => None,
    };
    let content = Content::of(store, file)?;
    if place.found.offset >= content.len {
        return Ok(None);
    }
    let Some(line) = content.line_at(place.found.offset)? else {
        return Ok(None);
    };
    let Some(said) = matter(&line) else {
        return Ok(None);
    };
    // A line that parted from another one may have something else in this place.
    let here = cut(&said.text, question);
    Ok(here.map(|snippet| Spot {
        marks: marks(&snippet, question),
        snippet,
        agent,
    }))
}

/// What of a text was asked for: from and to in characters, in order and apart.
pub(crate) fn marks(text: &str, question: &Question) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    words::each(text, For::Index, &mut |word, range, _| {
        if question.names(word).is_none() {
            return;
        }
        match ranges.last_mut() {
            // Pairs of characters overlap.
            Some(last) if range.start <= last.1 => last.1 = last.1.max(range.end),
            _ => ranges.push((range.start, range.end)),
        }
    });
    let chars = |upto: usize| {
        let before = text.get(..upto).unwrap_or_default();
        u32::try_from(before.chars().count()).unwrap_or(u32::MAX)
    };
    let ranges = ranges.into_iter();
    ranges.map(|(from, to)| (chars(from), chars(to))).collect()
}

/// The part of a text in which most of what was asked for stands; its beginning if
/// nothing was asked for, and nothing if none of it does.
pub(super) fn cut(said: &str, question: &Question) -> Option<String> {
    let mut hits: Vec<(usize, usize)> = Vec::new();
    words::each(said, For::Index, &mut |word, range, _| {
        if let Some(unit) = question.names(word) {
            hits.push((range.start, unit));
        }
    });
    if hits.is_empty() && !question.units.is_empty() {
        return None;
    }
    let mut best = (0, 0);
    for (n, (start, _)) in hits.iter().enumerate() {
        let near = hits
            .iter()
            .skip(n)
            .take_while(|(at, _)| at - start <= WINDOW_BYTES);
        let mut units: Vec<usize> = near.map(|(_, unit)| *unit).collect();
        units.sort_unstable();
        units.dedup();
        if units.len() > best.1 {
            best = (*start, units.len());
        }
    }
    let from = said.ceil_char_boundary(best.0.saturating_sub(BEFORE_BYTES));
    // Not from the middle of a word, where there is a space before it.
    let from = match said
        .get(from..best.0)
        .and_then(|b| b.find(char::is_whitespace))
    {
        Some(space) if from > 0 => from + space,
        _ => from,
    };
    let rest = said.get(from..).unwrap_or_default();
    let window = rest.get(..rest.floor_char_boundary(SNIPPET_CHARS_MAX * 6));
    let window = window.unwrap_or(rest);
    let line = text::one_line(&text::strip(window, Lines::Keep), SNIPPET_CHARS_MAX);
    let before = if from > 0 { "…" } else { "" };
    let after = if line.chars().count() >= SNIPPET_CHARS_MAX || window.len() < rest.len() {
        "…"
    } else {
        ""
    };
    Some(format!("{before}{line}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_marked_in_characters() {
        let check = |text: &str, asked: &str, want: &[&str]| {
            let chars: Vec<char> = text.chars().collect();
            let marks = marks(text, &Question::parse(asked));
            let got: Vec<String> = marks
                .iter()
                .map(|(from, to)| chars[*from as usize..*to as usize].iter().collect())
                .collect();
            assert_eq!(got, want, "{text}");
        };
        check("the Parser is broken", "parser brok", &["Parser", "broken"]);
        check("é parser, parsers", "parser ", &["parser"]);
        check("先修复解析器再说", "修复", &["修复"]);
        check("先修复解析器再说", "修复解析", &["修复解析"]);
        check("nothing", "parser", &[]);
        check("<img src=x onerror=hit(1)>", "img", &["img"]);
    }

    #[test]
    fn it_is_cut_around_the_words() {
        let question = Question::parse("parser broken");
        let check = |said: &str, want: Option<&str>| {
            assert_eq!(cut(said, &question).as_deref(), want);
        };
        check("the parser is broken", Some("the parser is broken"));
        check("nothing of it", None);
        let long = format!(
            "{}the parser\nis \u{1b}[31mbroken {}",
            "before ".repeat(99),
            "after ".repeat(99)
        );
        let snippet = cut(&long, &question).unwrap();
        assert!(snippet.starts_with("…before"), "{snippet}");
        assert!(snippet.contains("the parser is broken after"), "{snippet}");
        assert!(snippet.ends_with('…') && snippet.chars().count() <= SNIPPET_CHARS_MAX + 2);
        // Where both stand, and not where one stands first.
        let far = format!("parser {} broken parser", "x ".repeat(500));
        assert!(cut(&far, &question).unwrap().contains("broken parser"));
        let nothing = Question::default();
        assert_eq!(cut("a\nb", &nothing).as_deref(), Some("a b"));
        for text in ["", "修复".repeat(3000).as_str()] {
            let _none = cut(text, &question);
            let _some = cut(text, &Question::parse("复修"));
        }
    }
}
