//! F5: rewriting a transcript. The same places change nothing; the way back gives
//! the same bytes; no line comes or goes; no byte outside of a string changes; how
//! the file is cut into pieces does not matter.

use ccpeer_core::manifest::{Origin, PathFlavour};
use ccpeer_formats::claude::rewrite::{Report, Rewriter, TextKind};
use ccpeer_formats::claude::slug::project_slug;

/// The oracle. The first byte says where to, the second what and how it is cut.
pub(crate) fn check(bytes: &[u8]) {
    let (Some((to, rest)), kind) = (bytes.split_first(), bytes.get(1).copied().unwrap_or(0)) else {
        return;
    };
    let text = rest.get(1..).unwrap_or_default();
    let (from, to) = (here(), there(*to));
    let kinds = [TextKind::JsonLines, TextKind::Plain, TextKind::Json];
    let kind_of = kinds[usize::from(kind) % 3];
    let (same, report) = Rewriter::new(&from, &from).bytes(kind_of, text);
    assert!(same == text && report.replacements == 0, "identity");
    let rewriter = Rewriter::new(&from, &to);
    let (out, report) = rewriter.bytes(kind_of, text);
    let cut = pieces(&rewriter, kind_of, text, usize::from(kind) + 1);
    assert!(cut == (out.clone(), report), "in pieces of {}", kind + 1);
    assert_eq!(breaks(&out), breaks(text), "lines");
    let back = Rewriter::new(&to, &from);
    // A text that names the other machine's places has no way back.
    if back.bytes(kind_of, text).1.replacements == 0 {
        let (again, home) = back.bytes(kind_of, &out);
        assert!(again == text, "there and back");
        assert_eq!(home, report);
    }
    if kind_of == TextKind::JsonLines {
        for (was, is) in lines(text).zip(lines(&out)) {
            outside_of_strings(was, is);
        }
    }
}

/// For inputs of megabytes: it ends, and the same places change nothing.
pub(crate) fn survives(bytes: &[u8]) {
    let (from, to) = (here(), there(1));
    for kind in [TextKind::JsonLines, TextKind::Plain, TextKind::Json] {
        let (out, report) = Rewriter::new(&from, &to).bytes(kind, bytes);
        assert_eq!(breaks(&out), breaks(bytes));
        assert_eq!(report.replacements, 0);
        assert!(out == bytes);
    }
}

/// What is no JSON is as it was; of what is, only strings have changed.
fn outside_of_strings(was: &[u8], is: &[u8]) {
    let json = |line: &[u8]| {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        str::from_utf8(line).is_ok_and(|l| serde_json::from_str::<serde::de::IgnoredAny>(l).is_ok())
    };
    if json(was) {
        assert!(json(is), "still JSON");
        assert!(skeleton(was) == skeleton(is), "outside of strings");
    } else {
        assert!(was == is, "no JSON, copied");
    }
}

/// A line of JSON with nothing in its strings.
fn skeleton(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut inside, mut escaped) = (false, false);
    for byte in line {
        match (inside, escaped, byte) {
            (true, true, _) => escaped = false,
            (true, false, b'\\') => escaped = true,
            (_, _, b'"') => {
                inside = !inside;
                out.push(b'"');
            }
            (true, false, _) => {}
            (false, _, byte) => out.push(*byte),
        }
    }
    out
}

fn pieces(rewriter: &Rewriter, kind: TextKind, text: &[u8], size: usize) -> (Vec<u8>, Report) {
    let mut out = Vec::new();
    let mut stream = rewriter.stream(kind);
    text.chunks(size)
        .for_each(|piece| stream.push(piece, &mut out));
    let report = stream.finish(&mut out);
    (out, report)
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|b| *b == b'\n')
}

fn breaks(bytes: &[u8]) -> usize {
    lines(bytes).count()
}

fn here() -> Origin {
    unix("/home/ann", "/w/proj")
}

fn there(which: u8) -> Origin {
    match which % 6 {
        0 => unix("/Users/bob", "/Users/bob/code/thing"),
        1 => windows(r"C:\Users\unicorn", r"D:\code\thing"),
        2 => unix("/q/我", "/q/我/a b/v1.2"),
        3 => windows(r"c:\u\n", r"c:\u\n\t"),
        4 => unix("/home/an", "/w/pro"),
        _ => unix("/home/ann", "/w/other"),
    }
}

fn unix(home: &str, project: &str) -> Origin {
    Origin {
        flavour: PathFlavour::Unix,
        home: home.into(),
        project: project.into(),
        claude_dir: format!("{home}/.claude"),
        slug: project_slug(project),
    }
}

fn windows(home: &str, project: &str) -> Origin {
    Origin {
        flavour: PathFlavour::Windows,
        home: home.into(),
        project: project.into(),
        claude_dir: format!(r"{home}\.claude"),
        slug: project_slug(project),
    }
}
