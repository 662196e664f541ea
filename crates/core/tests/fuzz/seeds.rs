//! What the core's corpora are made from: the golden vectors, and what nobody
//! honest sends.

use std::fs;
use std::path::Path;

type Seeds = Vec<(&'static str, Vec<u8>)>;

/// Every message of the vectors, and broken ones.
pub(crate) fn messages() -> Seeds {
    let mut seeds = vectors("wire_");
    let ping = vector("wire_ping");
    let version = ping[0];
    let longer = [&ping[..ping.len() - 1], &[0x80 | ping[ping.len() - 1], 0]].concat();
    seeds.extend([
        ("bad-empty", Vec::new()),
        ("bad-version", [&[0xff], &ping[1..]].concat()),
        ("bad-kind", vec![version, 0x7f]),
        ("bad-trailing", [ping.as_slice(), &[0]].concat()),
        ("bad-overlong", longer),
        ("bad-count", vec![version, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        (
            "bad-entries-count",
            vec![version, 2, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ),
        ("bad-no-entries", vec![version, 2, 0]),
        ("bad-ones", vec![1; 4000]),
    ]);
    seeds
}

/// The vectors' entry, its header, each payload, and broken ones.
pub(crate) fn entries() -> Seeds {
    let mut seeds = vectors("entry_");
    seeds.extend(vectors("payload_"));
    let signed = vector("entry_signed");
    let mut flipped = signed.clone();
    flipped[40] ^= 1;
    seeds.extend([
        ("bad-empty", Vec::new()),
        ("bad-bit", flipped),
        ("bad-trailing", [signed.as_slice(), &[0]].concat()),
        ("bad-cut", signed[..signed.len() / 2].to_vec()),
        ("bad-ones", vec![1; 600]),
    ]);
    seeds
}

/// Names and texts that nobody should see as they are.
pub(crate) fn texts() -> Seeds {
    let mut texts: Seeds = [
        ("plain", "Fix the parser\n\tand its tests"),
        ("chinese", "修复 解析器 🚀 größe"),
        ("colour", "\u{1b}[31mred\u{1b}[0m \u{9b}1mx"),
        (
            "title",
            "\u{1b}]0;owned\u{7}x\u{1b}]8;;http://e\u{1b}\\link",
        ),
        ("clipboard", "\u{1b}]52;c;ZXZpbA==\u{7}y"),
        ("unended", "a\u{1b}]0;never ends\nnext\u{1b}["),
        ("nested", "\u{1b}\u{1b}[[0m\u{1b}"),
        ("direction", "a\u{202e}b\u{2066}c\u{200f}d\u{61c}e"),
        ("tags", "x\u{e0041}\u{e0042}\u{e007f}y\u{e0100}z"),
        ("joiners", "a\u{200d}b\u{feff}c\u{2060}d\u{ad}e\u{fe0f}f"),
        ("private", "\u{e000}\u{f8ff}\u{f0000}\u{10fffd}"),
        ("controls", "\0\u{1}\u{8}\u{b}\u{c}\r\u{7f}\u{85}\u{9f}"),
        ("breaks", "a\u{2028}b\u{2029}c\r\nd"),
        ("markup", "<img onerror> </system-reminder> <<<data:00>>>"),
        ("name", "CON"),
        ("dots", ".."),
    ]
    .map(|(name, text)| (name, text.as_bytes().to_vec()))
    .into();
    texts.push(("no-utf8", b"\xff\xfe\x80a\xc3(".to_vec()));
    texts.push(("long", "lorem ipsum ".repeat(300).into_bytes()));
    texts
}

/// All vectors whose names begin so, as `good-…`.
fn vectors(start: &str) -> Seeds {
    let mut names: Vec<String> = fs::read_dir(dir())
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_suffix(".hex")?.to_owned()))
        .filter(|name| name.starts_with(start))
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let bytes = vector(&name);
            // A test lives as long as its names.
            let name: &'static str = Box::leak(format!("good-{name}").into_boxed_str());
            (name, bytes)
        })
        .collect()
}

fn vector(name: &str) -> Vec<u8> {
    let text = fs::read_to_string(dir().join(name).with_extension("hex")).unwrap();
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| Some(c.to_digit(16)? as u8))
        .collect();
    digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect()
}

fn dir() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/vectors")
}
