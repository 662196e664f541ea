//! Generated transcripts: there and back, and cut anywhere.

use proptest::prelude::*;

use super::*;

/// What texts are made of: places, near misses, escapes, prose, other systems.
fn fragment() -> impl Strategy<Value = String> {
    let fixed = [
        "/w/proj",
        "/w/proj/src/a.rs",
        "/w/project2",
        "/w/proj-x",
        "/w/proj.bak",
        "/w/proj.",
        "/home/ann",
        "/home/ann/.claude",
        "/home/ann/.claude/projects/-w-proj/x.jsonl",
        "/home/anna",
        "/-w-proj/",
        "-w-proj",
        "/",
        "\\",
        "\"",
        "'",
        "`",
        " ",
        "\n",
        "\t",
        ".",
        ",",
        ":",
        ";",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "%20",
        "%2F",
        "file://",
        "file:///w/proj/b",
        "%2Fw%2Fproj",
        "\\n",
        "\\\\",
        "\\\"",
        "a",
        "n",
        "u",
        "x1",
        "项目",
        "，",
        "。",
        "\u{301}",
        "\u{1f680}",
        "\u{1b}[0m",
        "\\u002f",
        "\\/w\\/proj",
        "${HOME}",
        "$HOME/x",
        "~/x",
        "sub dir/",
        "and/or",
        "C:",
        "C:\\",
        "\\\\?\\",
        "E:\\win\\x",
        "https://h/w/proj",
        "+",
        "-",
        "=",
        "@",
        "&",
        "*",
        "?",
        "<",
        ">",
        "|",
    ];
    prop_oneof![
        8 => prop::sample::select(fixed.to_vec()).prop_map(str::to_owned),
        1 => "[ -~]{0,12}",
        1 => "\\PC{0,4}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(fragment(), 0..12).prop_map(|parts| parts.concat())
}

/// A JSON string, sometimes with JSON in it, sometimes with more escapes than
/// needed.
fn token() -> impl Strategy<Value = String> {
    (text(), 0usize..4, any::<bool>()).prop_map(|(text, depth, slashes)| {
        let mut token = serde_json::to_string(&text).unwrap();
        for _ in 0..depth {
            token = serde_json::to_string(&format!("{{\"k\":{token}}}")).unwrap();
        }
        if slashes {
            token.replace('/', "\\/")
        } else {
            token
        }
    })
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let record = prop::collection::vec((token(), token()), 0..5).prop_map(|pairs| {
        let fields: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}:{v}")).collect();
        format!("{{{}}}", fields.join(",")).into_bytes()
    });
    let block = (token(), token()).prop_map(|(a, b)| {
        format!(
            "{{\"content\":[{{\"type\":\"thinking\",\"thinking\":{a},\"signature\":{b}}},{b}]}}"
        )
        .into_bytes()
    });
    prop_oneof![
        8 => record,
        2 => block,
        1 => text().prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (token(), any::<prop::sample::Index>()).prop_map(|(t, at)| t.as_bytes()[..at.index(t.len())].to_vec()),
        1 => Just(b"\r".to_vec()),
    ]
}

fn file() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(line(), 0..5), any::<bool>()).prop_map(|(lines, closed)| {
        let mut file = lines.join(&b'\n');
        if closed {
            file.push(b'\n');
        }
        file
    })
}

fn targets() -> impl Strategy<Value = Origin> {
    prop::sample::select(vec![
        unix("/Users/bob", "/Users/bob/code/thing"),
        unix("/q/我", "/q/我/a b/v1.2"),
        unix("/home/an", "/w/pro"),
        unix("/home/ann", "/w/other"),
        windows(r"C:\Users\unicorn", r"D:\code\thing"),
        windows(r"c:\u\n", r"c:\u\n\t"),
        windows(r"C:\Users\Ann Lee", r"C:\Users\Ann Lee\代 码"),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn k_j02_there_and_back(file in file(), to in targets(), kind in prop::sample::select(vec![TextKind::JsonLines, TextKind::Plain])) {
        let from = unix("/home/ann", "/w/proj");
        let back = Rewriter::new(&to, &from);
        // A text that names the other machine's places has no way back.
        prop_assume!(back.bytes(kind, &file).1.replacements == 0);
        let (there, out) = Rewriter::new(&from, &to).bytes(kind, &file);
        let (again, home) = back.bytes(kind, &there);
        prop_assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&file));
        prop_assert!(again == file);
        prop_assert_eq!(out, home);
    }

    #[test]
    fn any_cut_gives_the_same(file in file(), to in targets(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let from = unix("/home/ann", "/w/proj");
        let rewriter = Rewriter::new(&from, &to);
        let whole = rewriter.bytes(TextKind::JsonLines, &file);
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(file.len() + 1)).collect();
        cuts.extend([0, file.len()]);
        cuts.sort_unstable();
        let mut stream = rewriter.stream(TextKind::JsonLines);
        let mut out = Vec::new();
        for w in cuts.windows(2) {
            stream.push(&file[w[0]..w[1]], &mut out);
        }
        let report = stream.finish(&mut out);
        prop_assert_eq!((out, report), whole);
    }

    #[test]
    fn valid_lines_stay_valid(token in token(), to in targets()) {
        let (out, _) = Rewriter::new(&unix("/home/ann", "/w/proj"), &to).bytes(TextKind::JsonLines, token.as_bytes());
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
    }

    #[test]
    fn one_look_behind_it_tells_whether_a_line_was_json(
        line in line(),
        odd in fragment(),
        at in any::<prop::sample::Index>(),
        spoiled in any::<bool>(),
        to in targets(),
    ) {
        let rewriter = Rewriter::new(&unix("/home/ann", "/w/proj"), &to);
        let mut line = line;
        if spoiled {
            let at = at.index(line.len() + 1);
            line.splice(at..at, odd.into_bytes());
        }
        prop_assume!(rewriter.keeps_json() && str::from_utf8(&line).is_ok() && !line.contains(&b'\n'));
        let is_json = |line: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
        let there = rewriter.record(&line).unwrap_or_else(|| line.clone());
        prop_assert_eq!(is_json(&line), is_json(&there), "{}", String::from_utf8_lossy(&line));
        if is_json(&line) {
            prop_assert_eq!(there, rewriter.bytes(TextKind::JsonLines, &line).0);
        }
    }
}
