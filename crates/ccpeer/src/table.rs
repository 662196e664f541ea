//! Columns of text in 80 columns, and the small words in them: ages, sizes, ids.

use std::time::{SystemTime, UNIX_EPOCH};

use ccpeer_core::text;

/// Width of everything we print for people.
pub(crate) const COLUMNS: usize = 80;

/// One column: its heading and how wide it may become. The column with width 0
/// takes what the others leave.
pub(crate) struct Column(pub(crate) &'static str, pub(crate) usize);

/// The lines of a table, heading first; none without rows. Cells are cut to
/// their column.
pub(crate) fn render(columns: &[Column], rows: &[Vec<String>]) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let cell_width = |i: usize| {
        let widest = rows.iter().filter_map(|row| row.get(i)).map(|c| width(c));
        widest.max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, Column(head, max))| {
            let wanted = cell_width(i).max(width(head));
            if *max == 0 { 0 } else { wanted.min(*max) }
        })
        .collect();
    let gaps = 2 * columns.len().saturating_sub(1);
    let left = COLUMNS.saturating_sub(widths.iter().sum::<usize>() + gaps);
    for (width, Column(_, max)) in widths.iter_mut().zip(columns) {
        if *max == 0 {
            *width = left.max(8);
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for (cell, width) in cells.zip(&widths) {
            out.push_str(&fit(cell, *width));
            out.push_str("  ");
        }
        out.trim_end().to_owned()
    };
    let head = line(&mut columns.iter().map(|c| c.0));
    std::iter::once(head)
        .chain(
            rows.iter()
                .map(|row| line(&mut row.iter().map(String::as_str))),
        )
        .collect()
}

/// One visible line, cut or padded to exactly `columns` columns.
fn fit(cell: &str, columns: usize) -> String {
    let cell = text::one_line(cell, 4 * columns);
    if width(&cell) <= columns {
        let pad = columns - width(&cell);
        return cell + &" ".repeat(pad);
    }
    let mut out = String::new();
    let mut used = 0;
    for c in cell.chars() {
        if used + char_width(c) + 1 > columns {
            break;
        }
        used += char_width(c);
        out.push(c);
    }
    out.push('…');
    out + &" ".repeat(columns.saturating_sub(used + 1))
}

pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.chars().map(char_width).sum()
}

/// Columns of a character: 2 for East Asian wide and emoji, 0 for marks that
/// combine, else 1. Blocks of Unicode's EastAsianWidth, coarse on purpose.
fn char_width(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f
        | 0x483..=0x489
        | 0x591..=0x5bd
        | 0x610..=0x61a
        | 0x64b..=0x65f
        | 0x1ab0..=0x1aff
        | 0x1dc0..=0x1dff
        | 0x20d0..=0x20ff
        | 0x302a..=0x302d
        | 0x3099..=0x309a
        | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f
        | 0x231a..=0x231b
        | 0x2e80..=0x303e
        | 0x3041..=0x33ff
        | 0x3400..=0x4dbf
        | 0x4e00..=0x9fff
        | 0xa000..=0xa4cf
        | 0xa960..=0xa97f
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x1fa70..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// A sentence in lines of at most [`COLUMNS`], the first one after `mark`, the
/// others below it. A word that is longer stands alone.
pub(crate) fn wrap(sentence: &str, mark: &str) -> Vec<String> {
    let indent = " ".repeat(width(mark));
    let mut lines = vec![mark.to_owned()];
    let mut used = width(mark);
    let mut first = true;
    for word in sentence.split(' ') {
        let room = usize::from(!first);
        if !first && used + room + width(word) > COLUMNS {
            lines.push(indent.clone());
            used = width(&indent);
            first = true;
        }
        if let Some(line) = lines.last_mut() {
            if !first {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += width(word);
        }
        first = false;
    }
    lines
}

/// The same for foreign text, in which a word may be longer than a line and a script
/// may know no spaces: every line begins with `mark` and has its width.
pub(crate) fn wrap_all(text: &str, mark: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = mark.to_owned();
    let mut used = width(mark);
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        let gap = usize::from(used > width(mark));
        if gap == 1 && used + gap + width(word) > COLUMNS && width(word) < COLUMNS / 2 {
            lines.push(std::mem::replace(&mut line, mark.to_owned()));
            used = width(mark);
        } else if gap == 1 && used < COLUMNS {
            line.push(' ');
            used += 1;
        }
        for c in word.chars() {
            if used + char_width(c) > COLUMNS {
                lines.push(std::mem::replace(&mut line, mark.to_owned()));
                used = width(mark);
            }
            line.push(c);
            used += char_width(c);
        }
    }
    lines.push(line);
    lines.iter().map(|l| l.trim_end().to_owned()).collect()
}

/// How long ago an RFC 3339 time was, in one short word.
pub(crate) fn age(rfc3339: &str) -> String {
    age_at(rfc3339, now())
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// [`age`], as it is at a time.
pub(crate) fn age_at(rfc3339: &str, now: u64) -> String {
    match seconds_of(rfc3339) {
        Some(at) => ago(i128::from(now) - i128::from(at)),
        None => "?".to_owned(),
    }
}

/// The same in a sentence: "just now", "3 h ago".
pub(crate) fn since(rfc3339: &str) -> String {
    match age(rfc3339).as_str() {
        "now" => "just now".to_owned(),
        "?" => "some time ago".to_owned(),
        age => format!("{age} ago"),
    }
}

fn ago(seconds: i128) -> String {
    match seconds {
        ..60 => "now".to_owned(),
        seconds => stretch(seconds),
    }
}

/// A stretch of time in one short word.
pub(crate) fn stretch(seconds: i128) -> String {
    match seconds {
        ..60 => format!("{} s", seconds.max(0)),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Seconds since 1970 of an RFC 3339 time in UTC.
pub(crate) fn seconds_of(time: &str) -> Option<i64> {
    let number = |from: usize, to: usize| time.get(from..to)?.parse::<i64>().ok();
    let separators = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    if !time.ends_with('Z')
        || separators
            .iter()
            .any(|(at, c)| time.get(*at..*at + 1) != Some(c))
    {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Days from the civil calendar: years begin in March, so that the leap day
    // comes last.
    let shifted = year - i64::from(month <= 2);
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?)
}

/// A size in binary units.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = UNITS[0];
    for next in UNITS.iter().skip(1) {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = next;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// The beginning of an id: enough for people, and accepted as an argument.
pub(crate) fn short(id: &str) -> String {
    text::one_line(id, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_stays_within_its_columns() {
        let rows = vec![
            vec!["1".into(), "x".repeat(200), "desk".into()],
            vec![
                "2".into(),
                "修复解析器的错误".repeat(20),
                "a\u{1b}[31mb\nc".into(),
            ],
        ];
        let lines = render(
            &[Column("N", 3), Column("TITLE", 0), Column("DEVICE", 12)],
            &rows,
        );
        assert_eq!(lines.len(), 3);
        for line in &lines {
            assert!(width(line) <= COLUMNS, "{line}");
            assert!(!line.contains('\u{1b}'));
        }
        assert!(lines.iter().any(|l| l.ends_with("ab c")), "{lines:?}");
    }

    #[test]
    fn a_sentence_is_wrapped_at_words() {
        assert_eq!(wrap("a bc", "- "), ["- a bc"]);
        let lines = wrap(
            &format!("{} tail {}", "word ".repeat(20).trim(), "x".repeat(100)),
            "- ",
        );
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines.iter().take(2).all(|l| width(l) <= COLUMNS));
        assert!(
            lines
                .iter()
                .skip(1)
                .all(|l| l.starts_with("  ") && !l.starts_with("   "))
        );
    }

    #[test]
    fn times_and_sizes_are_short() {
        assert_eq!(seconds_of("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds_of("2026-11-21T00:17:05.250Z"), Some(1_795_220_225));
        assert_eq!(seconds_of("2024-02-29T12:00:00Z"), Some(1_709_208_000));
        assert_eq!(seconds_of("yesterday"), None);
        assert_eq!(seconds_of("2024-02-29T12:00:00+01:00"), None);
        assert_eq!(ago(-5), "now");
        assert_eq!(ago(3_700), "1 h");
        assert_eq!(ago(86_400 * 400), "400 d");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 * 1024 * 1024 * 1024), "5.0 GiB");
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
    }
}
