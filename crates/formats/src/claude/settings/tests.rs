//! What the splice promises: exact on the way back, minimal on the way in.

use proptest::prelude::*;

use super::*;

const PROGRAM: &str = "/opt/bin/ccpeer";

fn installed(text: &str) -> String {
    String::from_utf8(install(Some(text.as_bytes()), PROGRAM).unwrap()).unwrap()
}

/// What the edit means, on values.
fn intended(text: &str) -> Value {
    let mut root: Value = serde_json::from_str(text).unwrap();
    let object = root.as_object_mut().unwrap();
    let hooks = object
        .entry("hooks")
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .unwrap();
    for event in EVENTS {
        let list = hooks
            .entry(event)
            .or_insert_with(|| json!([]))
            .as_array_mut()
            .unwrap();
        list.push(group(event, PROGRAM));
    }
    root
}

fn check_round_trip(text: &str) {
    let with = installed(text);
    let body = with.trim_start_matches(BOM);
    let parsed: Value = serde_json::from_str(body).unwrap();
    let before = text.trim_start_matches(BOM);
    if !before.trim().is_empty() {
        assert_eq!(parsed, intended(before), "{text}");
    }
    assert_eq!(
        install(Some(with.as_bytes()), PROGRAM).unwrap(),
        with.as_bytes(),
        "again: {text}"
    );
    let status = status(Some(with.as_bytes())).unwrap();
    assert_eq!(status.installed, EVENTS);
    assert_eq!(status.program.as_deref(), Some(PROGRAM));
    let moved = install(Some(with.as_bytes()), r"C:\Program Files\ccpeer.exe").unwrap();
    for bytes in [with.as_bytes(), &moved] {
        match remove(bytes).unwrap() {
            Removal::Bytes(back) => assert_eq!(String::from_utf8(back).unwrap(), text),
            other => panic!("{other:?} for {text}"),
        }
    }
}

/// One name that a version does not know costs it the whole file.
#[test]
fn k_h13_only_events_that_every_version_knows_are_registered() {
    // What 2.1.54 knows, and every one after it.
    let known = [
        "PreToolUse",
        "PostToolUse",
        "Notification",
        "UserPromptSubmit",
        "SessionStart",
        "SessionEnd",
        "Stop",
        "SubagentStart",
        "SubagentStop",
        "PreCompact",
    ];
    assert!(EVENTS.iter().all(|event| known.contains(event)));
    let installed = install(None, "/bin/ccpeer").unwrap();
    let value: serde_json::Value = serde_json::from_slice(&installed).unwrap();
    let hooks = value["hooks"].as_object().unwrap();
    assert!(hooks.keys().all(|event| known.contains(&event.as_str())));
}

#[test]
fn k_h13_white_space_that_is_none_to_json_is_refused() {
    for text in ["\u{c}", "\u{feff}\u{feff}", "\u{a0}", " \u{b}\n"] {
        let refused = install(Some(text.as_bytes()), PROGRAM);
        assert!(
            matches!(refused, Err(SettingsError::Invalid { .. })),
            "{text:?}"
        );
    }
}

#[test]
fn k_h13_uninstalling_restores_the_bytes() {
    let others =
        r#"{"matcher":"Bash","hooks":[{"type":"command","command":"x","args":["hook","Stop"]}]}"#;
    for text in [
        "",
        "\n",
        " \r\n\t",
        "\u{feff}",
        "{}",
        "{}\n",
        "{ }",
        "{\n}\n",
        "\u{feff}{\r\n  \"a\": 1\r\n}\r\n",
        r#"{"model":"opus"}"#,
        r#"{ "model" : "opus" }   "#,
        "{\n  \"model\": \"opus\"\n}",
        "{\n\t\"model\": \"opus\",\n\t\"env\": {}\n}\n\n",
        "{\r\n    \"model\": \"opus\"\r\n}\r\n",
        "{\n\"model\": 1}",
        r#"{"hooks":{}}"#,
        r#"{"hooks":{ }}"#,
        "{\n  \"hooks\": {\n  }\n}\n",
        r#"{"hooks":{"Stop":[]}}"#,
        "{\n  \"hooks\": {\n    \"Stop\": [ ],\n    \"PreToolUse\": []\n  }\n}\n",
        &format!(r#"{{"hooks":{{"Stop":[{others}],"PreToolUse":[{others},{others}]}},"z":1}}"#),
        &format!("{{\n  \"hooks\": {{\n    \"Stop\": [\n      {others}\n    ]\n  }}\n}}"),
        &format!(
            "{{\n\t\"hooks\": {{\"SessionStart\": [{others}], \"SessionEnd\": [\n\t\t{others}]}}, \"a\": \"\\ud83d\"\n}}"
        ),
        r#"{"hooks":{"Stop":[1]},"hooks":{"Stop":[{"hooks":[]}]}}"#,
        r#"{"disableAllHooks":false,"hooks":{"Custom":{"x":1}}}"#,
    ] {
        check_round_trip_unless_duplicated(text);
    }
    let big = format!("{{\n  \"x\": \"{}\"\n}}\n", "y".repeat(1 << 20));
    check_round_trip(&big);
}

/// Repeated keys have no value to compare with; the bytes come back all the same.
fn check_round_trip_unless_duplicated(text: &str) {
    if text.matches("\"hooks\":{\"Stop\"").count() < 2 && !text.contains("\\ud83d") {
        return check_round_trip(text);
    }
    let with = installed(text);
    assert_eq!(
        install(Some(with.as_bytes()), PROGRAM).unwrap(),
        with.as_bytes()
    );
    assert_eq!(remove(with.as_bytes()), Ok(Removal::Bytes(text.into())));
}

#[test]
fn k_h13_a_file_of_ours_is_deleted() {
    let made = install(None, PROGRAM).unwrap();
    assert_eq!(install(Some(&made), PROGRAM).unwrap(), made);
    assert_eq!(remove(&made), Ok(Removal::Empty));
    let moved = install(Some(&made), "/usr/bin/ccpeer").unwrap();
    assert_eq!(moved, install(None, "/usr/bin/ccpeer").unwrap());
    assert_eq!(remove(&moved), Ok(Removal::Empty));
}

#[test]
fn the_file_we_make() {
    let made = String::from_utf8(install(None, PROGRAM).unwrap()).unwrap();
    let head: Vec<&str> = made.lines().take(17).collect();
    let want = r#"{
  "hooks": {
    "SessionStart": [
      {
        "hooks": [
          {
            "type": "command",
            "command": "/opt/bin/ccpeer",
            "args": [
              "hook",
              "SessionStart"
            ],
            "timeout": 5
          }
        ]
      }
    ],"#;
    assert_eq!(head.join("\n"), want);
    assert!(made.ends_with("  }\n}\n"));
}

#[test]
fn the_edit_is_minimal() {
    let text = "{\n\t\"model\": \"opus\"\n}\n";
    let with = installed(text);
    assert!(
        with.starts_with(
            "{\n\t\"model\": \"opus\",\n\t\"hooks\": {\n\t\t\"SessionStart\": [\n\t\t\t{\n"
        ),
        "{with}"
    );
    assert!(with.ends_with("\n\t}\n}\n"));
    let with = installed("{\r\n  \"a\": 1\r\n}");
    assert_eq!(with.matches('\n').count(), with.matches("\r\n").count());
}

#[test]
fn k_h13_invalid_settings_are_refused_with_a_position() {
    let check = |text: &[u8], want: SettingsError| {
        assert_eq!(install(Some(text), PROGRAM), Err(want.clone()));
        assert_eq!(remove(text), Err(want.clone()));
        assert_eq!(status(Some(text)), Err(want));
    };
    let at = |line, column| SettingsError::Invalid { line, column };
    check(b"{\n  \"a\": 1,\n}", at(3, 1));
    check(b"{\n// note\n}", at(2, 1));
    check(b"{\"a\":", at(1, 5));
    check(b"{} {}", at(1, 4));
    check(b"{\n\"a\xff\"}", at(2, 3));
    check(b"\xff\xfe{\0}\0", at(1, 1));
    check(
        b"[]",
        SettingsError::Shape("the top level".into(), "an object"),
    );
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(300), "]".repeat(300));
    check(deep.as_bytes(), SettingsError::Deep);

    let shape = |text: &str| {
        install(Some(text.as_bytes()), PROGRAM)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        shape(r#"{"hooks":[]}"#),
        "`hooks` in the settings is not an object"
    );
    assert_eq!(
        shape(r#"{"hooks":{"Stop":{}}}"#),
        "`hooks.Stop` in the settings is not a list"
    );
    assert_eq!(remove(br#"{"hooks":{"Stop":{}}}"#), Ok(Removal::Unchanged));
    assert_eq!(
        at(3, 1).to_string(),
        "settings are not valid JSON at line 3, column 1"
    );
}

#[test]
fn programs_that_cannot_be_registered() {
    for program in [
        "ccpeer",
        "",
        "/x/other",
        "/x/hook.cjs/ccpeer",
        "/claude-sync-sessions/ccpeer",
        "/x\n/ccpeer",
        "./ccpeer",
    ] {
        assert!(
            matches!(install(None, program), Err(SettingsError::Program(_))),
            "{program:?}"
        );
    }
    for program in [
        "/x/ccpeer",
        r"C:\x y\ccpeer.exe",
        "D:/CCPEER.EXE",
        "/x/ccpeer-0.2",
        r"\\host\s\ccpeer.exe",
    ] {
        let made = install(None, program).unwrap();
        assert_eq!(
            status(Some(&made)).unwrap().program.as_deref(),
            Some(program)
        );
    }
}

#[test]
fn entries_of_others_stay_and_stale_ones_of_ours_go() {
    let mine = |event: &str, arg: &str| {
        format!(r#"{{"hooks":[{{"type":"command","command":"/old/ccpeer","args":["hook","{arg}"],"timeout":9}}]}}"#)
            .replace("EVENT", event)
    };
    let other =
        r#"{"hooks":[{"type":"command","command":"/x/ccpeer list"},{"type":"http","url":"u"}]}"#;
    let text = format!(
        r#"{{"hooks":{{"Stop":[{other},{},{}],"Notification":[{}],"SessionEnd":[{}]}}}}"#,
        mine("Stop", "Stop"),
        mine("Stop", "Stop"),
        mine("Notification", "Notification"),
        mine("SessionEnd", "Wrong"),
    );
    let before = status(Some(text.as_bytes())).unwrap();
    assert_eq!(before.installed, ["Stop"]);
    assert_eq!(before.program.as_deref(), Some("/old/ccpeer"));
    let with = installed(&text);
    let value: Value = serde_json::from_str(&with).unwrap();
    assert_eq!(value["hooks"]["Stop"].as_array().unwrap().len(), 2);
    assert_eq!(value["hooks"]["Stop"][1]["hooks"][0]["timeout"], 9);
    assert_eq!(value["hooks"].get("Notification"), None);
    assert!(!with.contains("/old/") && with.contains(other));
    assert_eq!(
        remove(with.as_bytes()),
        Ok(Removal::Bytes(
            format!(r#"{{"hooks":{{"Stop":[{other}]}}}}"#).into()
        ))
    );
}

#[test]
fn an_entry_in_a_group_of_another_goes_alone() {
    let with = |entry: &str| {
        format!(
            r#"{{"hooks":{{"Stop":[{{"matcher":"","hooks":[{entry}{{"type":"command","command":"y"}}]}}]}}}}"#
        )
    };
    let ours = r#"{"type":"command","command":"/a/ccpeer","args":["hook","Stop"]},"#;
    assert_eq!(
        remove(with(ours).as_bytes()),
        Ok(Removal::Bytes(with("").into()))
    );
    // A group that would be left without an entry goes as a whole, however it is laid out.
    let alone = r#"{ "hooks": { "Stop": [ { "matcher": "", "hooks": [ { "type": "command", "command": "/a/ccpeer", "args": ["hook", "Stop"] } ] }, 1 ] } }"#;
    assert_eq!(
        remove(alone.as_bytes()),
        Ok(Removal::Bytes(r#"{ "hooks": { "Stop": [ 1 ] } }"#.into()))
    );
}

#[test]
fn reformatted_by_another_writer() {
    for text in ["{}", "{\"a\":{\"b\":[]}}"] {
        let value: Value = serde_json::from_str(&installed(text)).unwrap();
        for formatted in [
            value.to_string(),
            serde_json::to_string_pretty(&value).unwrap() + "\n",
        ] {
            let Removal::Bytes(back) = remove(formatted.as_bytes()).unwrap_or(Removal::Empty)
            else {
                assert_eq!(text, "{}");
                continue;
            };
            assert_eq!(
                serde_json::from_slice::<Value>(&back).unwrap(),
                serde_json::from_str::<Value>(text).unwrap()
            );
        }
    }
}

#[test]
fn switched_off_is_seen() {
    let status = status(Some(br#"{"disableAllHooks":true}"#)).unwrap();
    assert!(status.disabled && status.installed.is_empty() && status.missing == EVENTS);
    assert!(!super::status(None).unwrap().disabled);
}

/// White space as different editors leave it.
fn space() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "", "", " ", "\n", "\n  ", "\r\n\t", "  "])
        .prop_map(str::to_owned)
}

/// An object or list with odd white space between its parts.
fn container(open: char, close: char, items: Vec<String>, spaces: &[String]) -> String {
    let mut space = spaces.iter().cycle();
    let mut next = || space.next().cloned().unwrap_or_default();
    let mut out = open.to_string() + &next();
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out += &format!(",{}", next());
        }
        out += item;
        out += &next();
    }
    out.push(close);
    out
}

fn spaced(
    open: char,
    close: char,
    items: impl Strategy<Value = Vec<String>>,
) -> impl Strategy<Value = String> {
    (items, prop::collection::vec(space(), 1..4))
        .prop_map(move |(items, spaces)| container(open, close, items, &spaces))
}

fn settings() -> impl Strategy<Value = String> {
    let foreign = prop::sample::select(vec![
        r#"{"hooks":[{"type":"command","command":"x"}]}"#,
        r#"{ "matcher" : "*", "hooks" : [ ] }"#,
        "{\n\t\"hooks\": [\n\t\t{\"type\": \"http\", \"url\": \"\\u0041\"}\n\t]\n}",
        "1e2",
        "null",
    ])
    .prop_map(str::to_owned);
    let list = spaced('[', ']', prop::collection::vec(foreign, 0..3));
    let events = prop::sample::subsequence(
        vec![
            "Stop",
            "SessionStart",
            "PreToolUse",
            "SessionEnd",
            "Notification",
        ],
        0..4,
    );
    let hooks = (events, prop::collection::vec((list, space()), 5)).prop_map(|(events, lists)| {
        events
            .iter()
            .zip(lists)
            .map(|(e, (list, gap))| format!("\"{e}\"{gap}:{gap}{list}"))
            .collect()
    });
    let hooks = spaced('{', '}', hooks).prop_map(|h| format!("\"hooks\":{h}"));
    let member = prop::sample::select(vec![
        r#""model": "opus""#,
        r#""env":{"A":"é\/\\"}"#,
        r#""n":-0.5E+3"#,
        r#""x": [ ]"#,
    ]);
    let members = (
        prop::collection::btree_set(member, 0..4),
        prop::option::of(hooks),
        any::<prop::sample::Index>(),
    );
    let members = members.prop_map(|(members, hooks, at)| {
        let mut all: Vec<String> = members.into_iter().map(str::to_owned).collect();
        if let Some(hooks) = hooks {
            all.insert(at.index(all.len() + 1), hooks);
        }
        all
    });
    (any::<bool>(), space(), spaced('{', '}', members), space()).prop_map(
        |(bom, before, root, after)| format!("{}{before}{root}{after}", if bom { BOM } else { "" }),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn k_h13_generated_settings_come_back(text in settings()) {
        check_round_trip(&text);
    }

    #[test]
    fn nothing_makes_it_panic(text in "[\\[\\]{}\":, a\\\\hooks\n]{0,40}") {
        let _ = install(Some(text.as_bytes()), PROGRAM);
        let _ = remove(text.as_bytes());
        let _ = status(Some(text.as_bytes()));
    }
}
