//! `ccpeer hooks` on a settings file.

use std::fs;

use crate::support::{User, assert_code, json, stderr};

#[test]
fn k_h13_hooks_come_and_go_without_a_trace() {
    let user = User::new();
    let settings = user.claude().join("settings.json");
    let before = "{\r\n\t\"model\": \"opus\",\r\n\t\"hooks\": {}\r\n}\r\n";
    fs::write(&settings, before).unwrap();

    let output = user.run(&["hooks", "install", "--json"]);
    assert_code(&output, 0);
    let change = json(&output.stdout);
    assert_eq!(change["changed"], true);
    assert_eq!(change["skill"], "written");
    let installed: serde_json::Value = json(&fs::read(&settings).unwrap());
    assert_eq!(installed["model"], "opus");
    let text = installed["hooks"].to_string();
    assert!(text.contains(env!("CARGO_BIN_EXE_ccpeer")), "{text}");
    for event in ["SessionStart", "SessionEnd", "Stop"] {
        assert!(installed["hooks"].get(event).is_some(), "{text}");
    }
    let skill = fs::read_to_string(user.claude().join("skills/ccpeer/SKILL.md")).unwrap();
    assert!(skill.starts_with("---\nname: ccpeer\n"));
    assert!(skill.contains("未完成任务") && skill.contains("ccpeer continue 1 --no-exec"));

    let status = json(&user.run(&["hooks", "status", "--json"]).stdout);
    assert_eq!(status["hooks"], "installed");
    assert_eq!(status["skill"], "installed");
    assert_eq!(
        json(&user.run(&["status", "--json"]).stdout)["hooks"],
        "installed"
    );

    assert_code(&user.run(&["hooks", "remove"]), 0);
    assert_eq!(fs::read_to_string(&settings).unwrap(), before);
    assert!(!user.claude().join("skills").exists());
}

#[test]
fn k_h13_broken_settings_are_left_alone() {
    let user = User::new();
    let settings = user.claude().join("settings.json");
    fs::write(&settings, "{\n  \"a\": 1,\n  oops\n}").unwrap();
    let output = user.run(&["hooks", "install"]);
    assert_code(&output, 1);
    let said = stderr(&output);
    assert!(
        said.contains("settings.json") && said.contains("hint: "),
        "{said}"
    );
    assert!(said.contains("line 3"), "{said}");
    assert_eq!(
        fs::read_to_string(&settings).unwrap(),
        "{\n  \"a\": 1,\n  oops\n}"
    );
}
