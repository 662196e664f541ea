//! Many files shaped like real ones, and a million lines of any shape.

use std::time::Instant;

use ccpeer_core::manifest::{Origin, PathFlavour};
use ccpeer_formats::claude::rewrite::{Rewriter, TextKind};

use crate::generate::{Chance, Writer, unix, windows};
use crate::measure;

/// Machines on which the corpus was written.
fn written_on() -> Vec<Origin> {
    vec![
        unix("/home/ann", "/home/ann/work/proj"),
        unix("/home/ann", "/srv/www/my.site_v1-2"),
        unix("/Users/李 雷", "/Users/李 雷/代码/我的 项目"),
        unix("/Users/an", "/Users/an/a (copy)/b [x] & c"),
        windows(r"C:\Users\unicorn", r"C:\Users\unicorn\new\proj"),
        windows(r"d:\u", r"E:\n 项\r"),
    ]
}

fn elsewhere() -> Vec<Origin> {
    vec![
        unix("/root-of/bob", "/root-of/bob/code/thing"),
        windows(r"C:\Users\Ann Lee", r"F:\dev\thing 二"),
    ]
}

fn contains(hay: &[u8], needle: &str) -> bool {
    memchr::memmem::find(hay, needle.as_bytes()).is_some()
}

#[test]
fn k_j01_a_corpus_of_files_shaped_like_real_ones() {
    let mut files = 0;
    let mut bytes = 0;
    for (n, from) in written_on().iter().enumerate() {
        for seed in 0..40 {
            let mut writer = Writer::new(seed * 100 + n as u64, from);
            let mut file = String::new();
            for _ in 0..20 + writer.chance.below(60) {
                writer.line(&mut file);
                file.push('\n');
            }
            if seed % 5 == 0 {
                file.pop();
            }
            let file = file.into_bytes();
            files += 1;
            bytes += file.len();
            // To the same places: not a byte.
            let (same, report) = Rewriter::new(from, from).bytes(TextKind::JsonLines, &file);
            assert!(same == file, "{n} {seed}");
            assert_eq!(report.replacements, 0);
            for to in elsewhere() {
                let (there, report) = Rewriter::new(from, &to).bytes(TextKind::JsonLines, &file);
                assert_eq!(report.opaque_lines, 0, "all of it is JSON");
                assert!(report.replacements > 20, "{n} {seed}");
                for (was, is) in lines(&file).zip(lines(&there)) {
                    serde_json::from_slice::<serde_json::Value>(is).unwrap();
                    let is_signed = contains(is, "\"signature\"");
                    let slug = format!("/{}/", from.slug);
                    let left = contains(is, &from.claude_dir) || contains(is, &slug);
                    assert!(is_signed || !left, "{}", String::from_utf8_lossy(was));
                }
                let (again, back) = Rewriter::new(&to, from).bytes(TextKind::JsonLines, &there);
                let mut same = again.len() == file.len();
                for (was, is) in lines(&file).zip(lines(&again)) {
                    if was != is {
                        same = true;
                        let [was, is] = [was, is].map(|l| spelled_once(from, l));
                        assert_eq!(was, is, "{} to {}", from.home, to.home);
                    }
                }
                assert!(same);
                assert_eq!(back, report);
            }
        }
    }
    println!("figure: {files} files, {bytes} bytes");
    assert!(files >= 200);
}

/// A line; of a Windows machine's with each run of back-slashes as one. A path in
/// quotation marks in running text is taken for a string of JSON when the way
/// leads back to Windows, and its back-slashes are doubled then.
fn spelled_once(from: &Origin, line: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(line).into_owned();
    while from.flavour == PathFlavour::Windows && text.contains(r"\\") {
        text = text.replace(r"\\", r"\");
    }
    text
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|b| *b == b'\n').filter(|l| !l.is_empty())
}

/// Two thirds of the lines are shaped like real ones, the others like nothing.
#[test]
fn k_j02_a_million_lines_there_and_back() {
    there_and_back(
        "Unix",
        &[
            unix("/Users/bob", "/Users/bob/code/thing"),
            unix("/q/我", "/q/我/a b/v1.2"),
        ],
    );
}

#[test]
fn k_j02_a_million_lines_to_windows_and_back() {
    there_and_back(
        "Windows",
        &[
            windows(r"C:\Users\unicorn", r"D:\code\thing"),
            windows(r"c:\u\n", r"c:\u\n\t"),
        ],
    );
}

fn there_and_back(system: &str, targets: &[Origin]) {
    let most: u64 = if measure::full() { 1_000_000 } else { 3_000 };
    let from = unix("/home/ann", "/w/proj");
    let begun = Instant::now();
    let mut chance = Chance(2);
    let (mut done, mut passed_over, mut changed, mut bytes) = (0u64, 0u64, 0u64, 0usize);
    let mut writer = Writer::new(7, &from);
    for round in 0.. {
        if done >= most {
            break;
        }
        if round % 50 == 49 {
            writer = Writer::new(round as u64, &from);
        }
        let to = &targets[round % targets.len()];
        let (there, back) = (Rewriter::new(&from, to), Rewriter::new(to, &from));
        let mut file = Vec::new();
        let mut lines = 0;
        for _ in 0..500 {
            let start = file.len();
            if chance.below(3) < 2 {
                let mut line = String::new();
                writer.line(&mut line);
                file.extend(line.into_bytes());
            } else {
                writer.odd_line(&mut file);
                // An odd text may hold a line break; then these are lines, too.
            }
            // A text that names the other machine's places has no way back, and
            // what a line says must not depend on the one before it.
            if back
                .bytes(TextKind::JsonLines, &file[start..])
                .1
                .replacements
                > 0
            {
                file.truncate(start);
                passed_over += 1;
                continue;
            }
            file.push(b'\n');
            lines += 1;
        }
        // In pieces, as files are read.
        let piece = 1 + chance.below(8000);
        let (mut out, mut again) = (Vec::new(), Vec::new());
        let (mut a, mut b) = (
            there.stream(TextKind::JsonLines),
            back.stream(TextKind::JsonLines),
        );
        for piece in file.chunks(piece) {
            let at = out.len();
            a.push(piece, &mut out);
            b.push(&out[at..], &mut again);
        }
        let at = out.len();
        let report = a.finish(&mut out);
        b.push(&out[at..], &mut again);
        assert_eq!(b.finish(&mut again), report);
        if again != file {
            let bad = file
                .split(|b| *b == b'\n')
                .zip(again.split(|b| *b == b'\n'))
                .find(|(x, y)| x != y);
            let shown = bad.map(|(x, y)| (String::from_utf8_lossy(x), String::from_utf8_lossy(y)));
            panic!("to {} and back: {shown:?}", to.home);
        }
        done += lines;
        bytes += file.len();
        changed += report.rewritten_lines;
    }
    println!(
        "figure: {done} lines ({bytes} bytes, {changed} rewritten, {passed_over} passed over) to {system} and back identical in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert!(passed_over * 50 < done && changed * 3 > done);
}
