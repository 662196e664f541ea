//! Lines that are odd, broken or huge.

use super::*;

fn check_kept(line: &[u8], opaque: u64) {
    let (from, to) = ann_to_bob();
    for to in [to, ann_to_win().1] {
        let (out, report) = Rewriter::new(&from, &to).bytes(TextKind::JsonLines, line);
        assert_eq!(out.as_slice(), line, "{}", String::from_utf8_lossy(line));
        assert_eq!(
            report.opaque_lines,
            opaque,
            "{}",
            String::from_utf8_lossy(line)
        );
    }
}

#[test]
fn k_j05_odd_json_keeps_its_bytes() {
    let (from, to) = ann_to_bob();
    for odd in [
        r#""a":"\ud83d""#,
        r#""a":"\ude00\ud83d x""#,
        r#""a":1,"a":2"#,
        r#""a":1e2,"b":-0,"c":1E+400,"d":123456789012345678901234567890"#,
        r#""a":"\/\u0041\u00e9\b\f""#,
        r#" "a" : [ ] ,	"b":{} "#,
        r#""z":1,"10":2,"9":3,"":null"#,
        r#""__proto__":{"x":1}"#,
        "\"a\":\"\u{feff}\u{2028}\u{fffe}\"",
    ] {
        let line = |cwd: &str| format!("{{{odd},\"cwd\":\"{cwd}\",{odd}}}");
        let got = rewrite(&from, &to, TextKind::JsonLines, &line("/w/proj"));
        assert_eq!(got, line("/Users/bob/code/thing"));
    }
    let bom = "\u{feff}{\"cwd\":\"/w/proj\"}\n";
    assert_eq!(
        rewrite(&from, &to, TextKind::JsonLines, bom),
        bom.replace("/w/proj", "/Users/bob/code/thing")
    );
}

#[test]
fn k_j06_what_is_not_json_is_copied_and_counted() {
    check_kept(b"", 0);
    check_kept(b"\n\n \r\n\t\n", 0);
    check_kept(b"not json /w/proj\n", 1);
    // A carriage return alone ends no line: two values in one are none.
    check_kept(b"{\"cwd\":\"/w/proj\"}\r{\"cwd\":\"/w/proj\"}\n", 1);
    check_kept(b"\r\r\n\r", 0);
    check_kept(b"{\"cwd\":\"/w/proj\"\n", 1);
    check_kept(b"{\"cwd\":\"/w/proj", 1);
    check_kept(b"{\"cwd\":\"/w/proj\"}}\n", 1);
    check_kept(b"{\"a\":\"\xff\",\"cwd\":\"/w/proj\"}\n", 1);
    check_kept(b"{\"a\":\"\0\",\"cwd\":\"/w/proj\"}\n", 1);
    check_kept(b"\0\0\0\0/w/proj\0", 1);
    check_kept(b"{'cwd':'/w/proj'}\n", 1);
    check_kept(b"{\"cwd\":\"\\x/w/proj\"}\n", 1);

    let (from, to) = ann_to_bob();
    let mixed = b"{\"cwd\":\"/w/proj\"}\r\n\n\xff/w/proj\n{\"cwd\":\"/w/proj\"}\n{\"cwd\":\"/w/pro";
    let want = b"{\"cwd\":\"/Users/bob/code/thing\"}\r\n\n\xff/w/proj\n{\"cwd\":\"/Users/bob/code/thing\"}\n{\"cwd\":\"/w/pro";
    let (out, report) = Rewriter::new(&from, &to).bytes(TextKind::JsonLines, mixed);
    assert_eq!(out, want);
    assert_eq!(
        report,
        Report {
            lines: 5,
            rewritten_lines: 2,
            opaque_lines: 2,
            replacements: 2
        }
    );
}

#[test]
fn deep_nesting_is_no_danger() {
    let line = format!(
        "{}\"/w/proj thinking\"{}",
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let (from, to) = ann_to_bob();
    let got = rewrite(&from, &to, TextKind::JsonLines, &line);
    assert_eq!(got, line.replace("/w/proj", "/Users/bob/code/thing"));
    let objects = format!(
        "{}\"thinking /w/proj\"{}",
        "{\"type\":".repeat(50_000),
        "}".repeat(50_000)
    );
    let got = rewrite(&from, &to, TextKind::JsonLines, &objects);
    assert_eq!(got, objects.replace("/w/proj", "/Users/bob/code/thing"));
    // Nothing here makes one position cost more than a bounded look around.
    let slashes = format!("\"{}\"", "\\\\".repeat(500_000));
    assert_eq!(rewrite(&from, &to, TextKind::JsonLines, &slashes), slashes);
    let dots = format!("\"{}\"", "/w/proj....".repeat(100_000));
    assert_eq!(rewrite(&from, &to, TextKind::JsonLines, &dots), dots);
}

/// A line in whose text places stand at every distance from the pieces' ends.
fn long_line(bytes: usize) -> String {
    let mut line =
        String::from(r#"{"type":"user","cwd":"/w/proj","thinking":"/w/proj signed","x":""#);
    let mut n = 0usize;
    while line.len() < bytes {
        n += 1;
        line.push_str(&"lorem ipsum ".repeat(n % 97));
        line.push_str(r#"\n/w/proj/src/a.rs \"/home/ann/x\" /w/project2 "#);
    }
    line.push_str("\"}");
    line
}

#[test]
fn k_j07_a_long_line_is_rewritten_in_bounded_memory() {
    const PIECE: usize = 60_001;
    let (from, to) = ann_to_bob();
    let line = long_line(12 * 1024 * 1024);
    // What is signed is told by its key alone where the line is long.
    let want = line
        .replace("/w/proj/", "/Users/bob/code/thing/")
        .replace("\"/w/proj\"", "\"/Users/bob/code/thing\"")
        .replace("/home/ann", "/Users/bob");
    let rewriter = Rewriter::new(&from, &to);
    let mut stream = rewriter.stream(TextKind::JsonLines);
    let mut got = Vec::new();
    let mut pending_max = 0;
    for piece in line.as_bytes().chunks(PIECE) {
        stream.push(piece, &mut got);
        pending_max = pending_max.max(stream.held_capacity());
    }
    let report = stream.finish(&mut got);
    assert!(got == want.as_bytes());
    assert_eq!(
        (report.lines, report.rewritten_lines, report.opaque_lines),
        (1, 1, 0)
    );
    assert!(pending_max <= 32 * 1024 * 1024, "{pending_max}");
    // In one piece, and with another line before and after.
    let (whole, _) = rewriter.bytes(TextKind::JsonLines, format!("1\n{line}\n2\n").as_bytes());
    assert!(whole == [b"1\n", want.as_bytes(), b"\n2\n"].concat());
    // And back.
    let (back, _) = Rewriter::new(&to, &from).bytes(TextKind::JsonLines, &got);
    assert!(back == line.as_bytes());
}

#[test]
fn k_j07_long_lines_between_systems() {
    let (from, to) = ann_to_win();
    let line = long_line(9 * 1024 * 1024);
    let rewriter = Rewriter::new(&from, &to);
    let (there, report) = rewriter.bytes(TextKind::JsonLines, line.as_bytes());
    assert!(report.replacements > 1000 && report.opaque_lines == 0);
    let mut stream = rewriter.stream(TextKind::JsonLines);
    let mut again = Vec::new();
    for piece in line.as_bytes().chunks(777_777) {
        stream.push(piece, &mut again);
    }
    assert_eq!(stream.finish(&mut again), report);
    assert!(again == there);
    let (back, _) = Rewriter::new(&to, &from).bytes(TextKind::JsonLines, &there);
    assert!(back == line.as_bytes());
    // A long line that is torn is counted.
    let (_, report) = rewriter.bytes(TextKind::JsonLines, &line.as_bytes()[..line.len() - 2]);
    assert_eq!(report.opaque_lines, 1);
    let (copied, report) = rewriter.bytes(
        TextKind::JsonLines,
        &[b"x".as_slice(), line.as_bytes()].concat(),
    );
    assert_eq!((report.opaque_lines, report.replacements), (1, 0));
    assert!(copied[1..] == *line.as_bytes());
}

#[test]
fn many_blocks_and_places_cost_no_square() {
    let (from, to) = ann_to_win();
    let block = r#"{"type":"thinking","thinking":"/w/proj"},"/w/proj/a","#;
    let line = format!("[{}0]", block.repeat(8_000));
    let (out, report) = Rewriter::new(&from, &to).bytes(TextKind::JsonLines, line.as_bytes());
    assert_eq!(report.replacements, 8_000);
    let want = line.replace("/w/proj/a", r"D:\\code\\thing\\a");
    assert!(out == want.as_bytes());
}
