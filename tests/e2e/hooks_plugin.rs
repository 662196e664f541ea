//! The hooks as a plugin of Claude Code: written, and run as Claude Code runs it.

use std::fs;

use serde_json::{Value, json};

use super::world::{Device, World, feed, until};

const SESSION: &str = "5e55b000-0000-4000-8000-00000000000b";

fn received(device: &Device) -> u64 {
    let status = device.json(&["status", "--json"]);
    status["hooks_received"].as_u64().unwrap()
}

#[test]
fn a_plugin_brings_the_hooks_and_gives_way_to_those_of_the_settings() {
    let world = World::new();
    let desk = world.running("desk");
    let dir = desk.root.join("plugin");
    let at = dir.to_str().unwrap();
    let written = desk.json(&["hooks", "plugin", at, "--json"]);
    assert_eq!(written["dir"], at);
    assert_eq!(
        written["commands"],
        json!([
            ["claude", "plugin", "marketplace", "add", at],
            ["claude", "plugin", "install", "ccpeer@ccpeer"],
        ])
    );
    let again = desk.run(&["hooks", "plugin", at]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(again.stdout.contains("claude plugin install ccpeer@ccpeer"));
    let home = desk.home();
    assert_eq!(
        desk.run(&["hooks", "plugin", home.to_str().unwrap()]).code,
        1
    );

    // As Claude Code reads it and runs it.
    let hooks = fs::read(dir.join("ccpeer/hooks/hooks.json")).unwrap();
    let hooks: Value = serde_json::from_slice(&hooks).unwrap();
    let entry = &hooks["hooks"]["Stop"][0]["hooks"][0];
    let words: Vec<&str> = entry["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w.as_str().unwrap())
        .collect();
    let mut session = desk.session(SESSION, &desk.project("app"));
    let run = |payload: &Value| {
        let ran = feed(desk.command(&words), payload.to_string().as_bytes());
        assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    };
    session.append("first");
    run(&session.payload("Stop"));
    until("it is captured", || desk.holds(SESSION, session.records()));
    let before = received(&desk);
    assert!(before > 0);

    // Claude Code, by its own commands.
    let settings = desk.claude().join("settings.json");
    let used = json!({
        "enabledPlugins": {"ccpeer@ccpeer": true},
        "extraKnownMarketplaces": {"ccpeer": {"source": {"source": "directory", "path": at}}},
    });
    fs::write(&settings, used.to_string()).unwrap();
    let status = desk.json(&["hooks", "status", "--json"]);
    assert_eq!(
        (&status["plugin"], &status["hooks"]),
        (&json!("installed"), &json!("installed"))
    );
    assert_eq!(status["in_settings"], false);

    // Both at once: each event is told once.
    desk.ok(&["hooks", "install"]);
    let told = desk.run(&["hooks", "status"]);
    assert!(
        told.stderr.contains("plugin both have the hooks"),
        "{}",
        told.stderr
    );
    session.append("second");
    run(&session.payload("Stop"));
    assert_eq!(received(&desk), before, "the plugin's hook does nothing");
    desk.stop_hook(&session);
    until("it is captured", || desk.holds(SESSION, session.records()));
    assert_eq!(received(&desk), before + 1);
    desk.ok(&["hooks", "remove"]);
    let kept: Value = serde_json::from_slice(&fs::read(&settings).unwrap()).unwrap();
    assert_eq!(kept, used, "what Claude Code wrote stays");
}
