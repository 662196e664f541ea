//! Devices that are called alike.

use std::collections::BTreeSet;

use serde_json::Value;

use super::world::{World, arrives, pair, until};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d61";

/// Every device as it is named in a document, by its id.
fn named(value: &Value, out: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Object(fields) => {
            if let (Some(Value::String(id)), Some(Value::String(name))) =
                (fields.get("id"), fields.get("name"))
            {
                out.insert((id.clone(), name.clone()));
            }
            fields.values().for_each(|v| named(v, out));
        }
        Value::Array(items) => items.iter().for_each(|v| named(v, out)),
        _ => {}
    }
}

#[test]
fn k_d06_devices_named_alike_are_told_apart_everywhere() {
    let world = World::new();
    let devices = [
        world.running("desk"),
        world.running("laptop"),
        world.running("box"),
    ];
    let [a, b, c] = &devices;
    pair(a, b);
    pair(a, c);
    pair(b, c);
    // Three sessions, all under one id: whoever copies a home gets that.
    let mut sessions = Vec::new();
    for device in &devices {
        let mut session = device.session(ID, &device.project("work/proj"));
        device.turn(&mut session, &format!("by {}", device.name));
        sessions.push(session);
    }
    for device in &devices {
        until("all three lines are known", || device.rows(ID).len() == 3);
    }
    for name in ["twin", "Twin", "twin"] {
        for device in &devices {
            device.ok(&["rename", name]);
        }
        for device in &devices {
            until("all are called so", || {
                let rows = device.rows(ID);
                rows.iter().all(|r| {
                    r["hostname"] == name
                        && r["device"]["name"]
                            .as_str()
                            .is_some_and(|n| n.starts_with(&format!("{name} (")))
                })
            });
            let mut names = BTreeSet::new();
            for list in [
                &["tasks", "--all", "--json"][..],
                &["sessions", "--json"],
                &["devices", "--json"],
                &["status", "--json"],
                &["why", ID, "--json"],
            ] {
                named(&device.json(list), &mut names);
            }
            let ids: BTreeSet<&String> = names.iter().map(|(id, _)| id).collect();
            let shown: BTreeSet<&String> = names.iter().map(|(_, name)| name).collect();
            assert_eq!(
                (ids.len(), shown.len(), names.len()),
                (3, 3, 3),
                "{names:?}"
            );
            let text = device.ok(&["tasks", "--all"]);
            for (_, name) in &names {
                assert_eq!(text.matches(name.as_str()).count(), 1, "{name}: {text}");
            }
        }
    }
    // A name alone means none of them; the whole name, or an id, means one.
    let asked = a.run(&["revoke", "twin"]);
    assert_eq!(asked.code, 1, "{}", asked.stderr);
    assert!(
        asked.stderr.contains("more than one device fits"),
        "{}",
        asked.stderr
    );
    assert_eq!(
        asked.stderr.matches("twin (").count(),
        2,
        "{}",
        asked.stderr
    );
    // Each line is still whole and its own.
    for device in &devices {
        for row in device.rows(ID) {
            assert_eq!(row["heads"], 3, "{row}");
        }
        arrives(device, ID, &sessions[2]);
    }
}

/// Whatever a device calls itself, it is shown in one short line, and no file is
/// called so.
#[test]
fn k_p14_a_name_is_shown_stripped_and_names_no_file() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let id = b.json(&["status", "--json"])["device"]["id"].clone();
    let long = "n".repeat(10_000);
    let names = [
        long.as_str(),
        "\u{202e}right-to-left\u{2066}",
        "\u{1f980}\u{1f980}",
        "\u{1b}]0;title\u{7}esc",
        "\u{9b}31mred",
        "<img src=x onerror=alert(1)>",
        "..",
        "../../outside",
        "CON",
        "tag\u{e0061}\u{e007f}ged",
        "two\nlines",
    ];
    for name in names {
        b.ok(&["rename", "--", name]);
        let own = b.json(&["status", "--json"])["device"]["name"].clone();
        let own = own.as_str().unwrap().to_owned();
        until("the other device knows", || {
            let devices = a.json(&["devices", "--json"]);
            devices[0]["id"] == id && devices[0]["name"] == own.as_str()
        });
        let texts = [
            own.clone(),
            a.ok(&["devices"]),
            a.ok(&["status"]),
            a.ok(&["devices", "--verify"]),
            a.ok(&["doctor", "net"]),
        ];
        assert!(own.chars().count() <= 32, "{own}");
        for text in &texts {
            let hidden = |c: char| {
                (c.is_control() && c != '\n')
                    || matches!(u32::from(c), 0x200b..=0x200f | 0x2028..=0x202e
                        | 0x2060..=0x206f | 0xe0000..=0xe0fff)
            };
            assert!(!text.contains(hidden), "{name:?}: {text:?}");
        }
    }
    for name in ["", "\u{200b}\u{202e}", "\u{1b}]0;x\u{7}"] {
        assert_eq!(b.run(&["rename", "--", name]).code, 2, "{name:?}");
    }
    for device in [&a, &b] {
        let mut dirs = vec![device.root.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                let file = entry.file_name().to_string_lossy().into_owned();
                assert!(
                    !["nnnn", "onerror", "CON", "outside", "right-to", "ged"]
                        .iter()
                        .any(|n| file.contains(n)),
                    "{file}"
                );
                if entry.file_type().unwrap().is_dir() {
                    dirs.push(entry.path());
                }
            }
        }
    }
}
