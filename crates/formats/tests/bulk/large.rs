//! One huge line and one huge session, through the rewriter and through all
//! that reads a transcript.

use std::time::Duration;

use ccpeer_formats::claude::compare::Sketch;
use ccpeer_formats::claude::rewrite::{Rewriter, TextKind};
use ccpeer_formats::claude::transcript::Digest;
use sha2::{Digest as _, Sha256};

use crate::generate::{Writer, unix, windows};
use crate::measure::{self, Meter};

const MIB: usize = 1024 * 1024;

#[test]
fn k_j07_one_huge_line() {
    measure::alone("large::k_j07_one_huge_line", || {
        let bytes = if measure::full() {
            100_000_000
        } else {
            12 * MIB
        };
        let (from, to) = (
            unix("/home/ann", "/w/proj"),
            unix("/Users/bob", "/Users/bob/code/thing"),
        );
        let rewriter = Rewriter::new(&from, &to);
        let back = Rewriter::new(&to, &from);
        let meter = Meter::start();
        let (mut there, mut again) = (
            rewriter.stream(TextKind::JsonLines),
            back.stream(TextKind::JsonLines),
        );
        let (mut digest, mut sketch) = (Digest::default(), Sketch::default());
        let mut hashes = [(); 4].map(|()| Sha256::new());
        let (mut out, mut home) = (Vec::new(), Vec::new());
        let mut total = 0;
        let mut feed = |piece: &str, want: &str| {
            out.clear();
            home.clear();
            there.push(piece.as_bytes(), &mut out);
            again.push(&out, &mut home);
            digest.feed(piece.as_bytes());
            sketch.feed(piece.as_bytes());
            for (hash, bytes) in
                hashes
                    .iter_mut()
                    .zip([piece.as_bytes(), &home, want.as_bytes(), &out])
            {
                hash.update(bytes);
            }
            total += piece.len();
            total
        };
        let moved = |text: &str| {
            text.replace("/w/proj/", "/Users/bob/code/thing/")
                .replace("/w/proj\"", "/Users/bob/code/thing\"")
                .replace("/home/ann", "/Users/bob")
        };
        let begin =
            r#"{"type":"user","uuid":"u1","cwd":"/w/proj","thinking":"/w/proj signed","x":""#;
        feed(begin, &moved(begin));
        let mut n = 0;
        loop {
            n += 1;
            let piece = format!(
                r#"{}\n/w/proj/src/a.rs \"/home/ann/x\" /w/project2 "#,
                "lorem ipsum ".repeat(n % 997)
            );
            if feed(&piece, &moved(&piece)) >= bytes {
                break;
            }
        }
        feed("\"}\n", "\"}\n");
        let (mut rest, mut last) = (Vec::new(), Vec::new());
        let report = there.finish(&mut rest);
        again.push(&rest, &mut last);
        again.finish(&mut last);
        hashes[3].update(&rest);
        hashes[1].update(&last);
        let [source, home, want, got] = hashes.map(Sha256::finalize);
        assert!(want == got, "rewritten as it should be");
        assert!(source == home, "and back");
        assert_eq!((report.lines, report.opaque_lines), (1, 0));
        let summary = digest.summary();
        assert_eq!((summary.records, summary.overlong), (1, 1));
        meter.memory_within(&format!("one line of {total} bytes"), 64);
    });
}

#[test]
fn k_j08_one_huge_session() {
    measure::alone("large::k_j08_one_huge_session", || {
        huge(&windows(r"C:\Users\unicorn", r"D:\code\thing"), 50);
        huge(&unix("/Users/bob", "/Users/bob/code/thing"), 50);
    });
}

/// A session there and back. Only the way there is timed.
fn huge(to: &ccpeer_core::manifest::Origin, mb_per_second_min: u32) {
    let (most, lines_min) = if measure::full() {
        (500_000_000u64, 1_200_000)
    } else {
        (3_000_000, 5_000)
    };
    let from = unix("/home/ann", "/w/proj");
    let (rewriter, back) = (Rewriter::new(&from, to), Rewriter::new(to, &from));
    let mut writer = Writer::new(3, &from);
    let meter = Meter::start();
    let (mut there, mut again) = (
        rewriter.stream(TextKind::JsonLines),
        back.stream(TextKind::JsonLines),
    );
    let mut digest = Digest::default();
    let mut sketch = Sketch::default();
    let (mut source, mut home) = (Sha256::new(), Sha256::new());
    let (mut out, mut round) = (Vec::new(), Vec::new());
    let (mut bytes, mut lines) = (0u64, 0u64);
    let mut rewriting = Duration::ZERO;
    let mut digesting = Duration::ZERO;
    while bytes < most || lines < lines_min {
        let mut block = String::with_capacity(MIB + 8192);
        while block.len() < MIB {
            // Short ones among the others, so that a session of 500 MB has as
            // many lines as one that was met.
            if writer.chance.below(3) == 0 {
                block.push_str(r#"{"type":"mode","mode":"normal","cwd":"/w/proj"}"#);
            } else {
                writer.line(&mut block);
            }
            block.push('\n');
            lines += 1;
        }
        let block = block.as_bytes();
        out.clear();
        let begun = measure::busy();
        there.push(block, &mut out);
        rewriting += measure::busy() - begun;
        round.clear();
        again.push(&out, &mut round);
        let begun = measure::busy();
        digest.feed(block);
        digesting += measure::busy() - begun;
        sketch.feed(block);
        source.update(block);
        home.update(&round);
        bytes += block.len() as u64;
    }
    out.clear();
    round.clear();
    let report = there.finish(&mut out);
    again.push(&out, &mut round);
    assert_eq!(again.finish(&mut round), report);
    home.update(&round);
    assert!(source.finalize() == home.finalize(), "there and back");
    assert_eq!((report.lines, report.opaque_lines), (lines, 0));
    assert_eq!(digest.summary().records, lines);
    let mega = |time: Duration| bytes as f64 / 1e6 / time.as_secs_f64();
    println!(
        "figure: to {}: {bytes} bytes, {lines} lines, {} replaced: rewritten at {:.0} MB/s, digested at {:.0} MB/s",
        to.home,
        report.replacements,
        mega(rewriting),
        mega(digesting)
    );
    meter.memory_within(&format!("{bytes} bytes, digest and sketch with them"), 128);
    // A speed says something of a program that was built to be fast.
    if measure::full() && !cfg!(debug_assertions) {
        assert!(mega(rewriting) >= f64::from(mb_per_second_min));
    }
}
