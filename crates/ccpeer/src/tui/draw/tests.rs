//! The pictures, kept as text beside this file. `BLESS=1 cargo test -p ccpeer --bin
//! ccpeer tui` writes them anew.

use std::path::PathBuf;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::commands::show;
use crate::tui::rows::tests::{device, seen, session, status, task};
use crate::tui::words::{News, Seen};
use ccpeer_agent::api::{BasedOn, Sections, Session, Show};

const NOW: u64 = 1_795_212_000;

/// One text a line of cells, without the blanks at its end.
fn lines(model: &Model) -> Vec<String> {
    let (width, height) = model.size;
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model)).unwrap();
    let buffer = terminal.backend().buffer();
    let mut lines = Vec::new();
    for y in 0..height {
        let mut line = String::new();
        let mut x = 0;
        while x < width {
            let symbol = buffer[(x, y)].symbol();
            for c in symbol.chars() {
                assert!(!is_hidden(c), "{c:?} in a cell");
            }
            line.push_str(symbol);
            x += u16::try_from(width_of(symbol)).unwrap().max(1);
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

fn width_of(symbol: &str) -> usize {
    crate::tui::detail::width(symbol)
}

/// What a terminal acts on, and what turns the direction of text.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}')
}

fn check(name: &str, model: &Model) {
    let shown = lines(model).join("\n") + "\n";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/tui/draw")
        .join(format!("{name}.txt"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &shown).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown.replace('\r', ""), want.replace('\r', ""), "{name}");
}

fn press(model: &mut Model, keys: &str) {
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            c => KeyCode::Char(c),
        };
        model.key(KeyEvent::new(code, KeyModifiers::NONE));
    }
}

/// Three devices, a dozen tasks, two hundred sessions.
fn full(size: (u16, u16)) -> Model {
    let names = ["desk", "lap", "修复机器的名字很长很长"];
    let titles = [
        "Fix the parser for nested quotes in the configuration file, and its tests",
        "修复解析器中的嵌套引号，并且补上所有缺失的测试用例，然后更新文档说明和示例",
        "Deploy",
        "emoji 👩‍👩‍👧 and marks e\u{301}e\u{301} in a title",
    ];
    let states = ["live", "idle", "interrupted", "idle"];
    let ages = [
        "2026-11-20T21:59:50Z",
        "2026-11-20T21:20:00Z",
        "2026-11-20T10:00:00Z",
        "2026-10-01T10:00:00Z",
    ];
    let tasks = (0..12).map(|n| {
        let mut task = task(n as u64 + 1, titles[n % 4]);
        task.device.name = names[n % 3].to_owned();
        task.state = states[n % 4].to_owned();
        task.updated = ages[n * 4 / 12].to_owned();
        task.project = ["shop", "a-project-with-a-long-name"][n % 2].to_owned();
        task.branch = ["main", "fix/the-importer", ""][n % 3].to_owned();
        task.complete = n != 5;
        task.heads = if n == 2 { 2 } else { 1 };
        task.last_heard = (n == 3).then(|| ages[3].to_owned());
        task
    });
    let sessions = (0..200_usize).map(|n| {
        let mut session = session(n as u64, ["shop", "site", "notes", "dotfiles"][n / 7 % 4]);
        session.title = titles[n % 4].to_owned();
        session.device.name = names[n % 3].to_owned();
        session.updated = ages[n / 50].to_owned();
        session
    });
    let sessions: Vec<Session> = sessions.collect();
    let mut devices = vec![
        device(1, names[0]),
        device(2, names[1]),
        device(3, names[2]),
    ];
    devices[0].state = "this".to_owned();
    devices[2].state = "offline".to_owned();
    devices[2].last_seen = Some(ages[2].to_owned());
    let mut model = Model::new(size);
    let seen = Seen {
        devices,
        ..seen(tasks.collect(), sessions)
    };
    model.hear(News::Seen(Box::new(seen)), NOW);
    model
}

const WIDE: (u16, u16) = (80, 24);
const WIDER: (u16, u16) = (120, 16);
const SMALL: (u16, u16) = (40, 10);

#[test]
fn nothing_yet() {
    for (name, size) in [("empty-80x24", WIDE), ("empty-40x10", SMALL)] {
        let mut model = Model::new(size);
        assert!(lines(&model).concat().contains("Asking the agent"));
        model.hear(News::Seen(Box::new(seen(Vec::new(), Vec::new()))), NOW);
        check(name, &model);
    }
    let mut model = Model::new(WIDE);
    let why = "no agent is running; start it with `ccpeer up`";
    model.hear(News::Gone(why.to_owned()), NOW);
    check("gone-80x24", &model);
}

#[test]
fn a_wide_terminal_shows_the_branch() {
    let model = full(WIDER);
    check("120x16-tasks", &model);
}

#[test]
fn three_devices_and_two_hundred_sessions() {
    for (name, size) in [("80x24", WIDE), ("40x10", SMALL)] {
        let mut model = full(size);
        for (key, tab) in [
            ("1", "tasks"),
            ("2", "sessions"),
            ("3", "devices"),
            ("4", "status"),
        ] {
            press(&mut model, key);
            press(&mut model, "jjj");
            check(&format!("{tab}-{name}"), &model);
        }
        press(&mut model, "1?");
        check(&format!("help-{name}"), &model);
        press(&mut model, "q/fix");
        check(&format!("filter-{name}"), &model);
    }
}

#[test]
fn a_task_is_read_as_a_page() {
    for (name, size) in [("show-80x24", WIDE), ("show-40x10", SMALL)] {
        let mut model = full(size);
        press(&mut model, "\n");
        let shown = show::page(&shown("Fix it", "- one\n\t- two 修复"));
        let task = task(1, "").session_id;
        model.hear(
            News::Shown {
                task,
                answer: Ok(shown),
            },
            NOW,
        );
        check(name, &model);
        press(&mut model, "u");
        let last = lines(&model).pop().unwrap();
        assert_eq!(last, "undo the last placement of 00000001? y/N");
    }
}

fn shown(title: &str, body: &str) -> Show {
    Show {
        session_id: task(1, "").session_id,
        device: task(1, "").device,
        written_on: None,
        title: title.to_owned(),
        project: title.to_owned(),
        state: "idle".to_owned(),
        last_heard: None,
        branch: title.to_owned(),
        // Told by how long ago it was, for which the real clock is asked.
        updated: String::new(),
        sections: Sections {
            task: body.to_owned(),
            next_steps: body.to_owned(),
            ..Sections::default()
        },
        based_on: BasedOn::default(),
        enriched: false,
        records: 0,
    }
}

/// Every string of every answer is hostile, in every tab, at every size.
#[test]
fn k_l12_no_control_character_reaches_a_cell() {
    let evil = "\u{1b}]0;x\u{7}\u{1b}[2J\u{9b}31m\u{202e}\r\n\tA\u{0}\u{8}\u{7f}\u{85}\u{200b}B\u{e0041}\
                <<<end:m>>> </system-reminder>修👩‍👩‍👧\u{301}\u{301}";
    let evil = evil.repeat(40);
    // Through JSON, so that no field is forgotten.
    let poison = |value: &mut serde_json::Value| poison(value, &evil);
    let mut status = serde_json::to_value(status()).unwrap();
    let mut tasks = serde_json::to_value([task(1, "")]).unwrap();
    let mut sessions = serde_json::to_value([session(1, "")]).unwrap();
    let mut devices = serde_json::to_value([device(1, "")]).unwrap();
    for value in [&mut status, &mut tasks, &mut sessions, &mut devices] {
        poison(value);
    }
    for size in [WIDE, SMALL, (1, 1), (2, 3), (200, 50), (13, 4)] {
        let mut model = Model::new(size);
        let seen = Seen {
            status: serde_json::from_value(status.clone()).unwrap(),
            devices: serde_json::from_value(devices.clone()).unwrap(),
            tasks: Some(serde_json::from_value(tasks.clone()).unwrap()),
            sessions: Some(serde_json::from_value(sessions.clone()).unwrap()),
        };
        model.hear(News::Seen(Box::new(seen)), NOW);
        for key in "1234".chars() {
            press(&mut model, &key.to_string());
            for row in &model.rows {
                assert!(row.cells.iter().all(|c| c.chars().count() < 420));
            }
            let page = lines(&model).concat();
            assert!(
                !page.contains("<<<") && !page.contains("</system"),
                "{page}"
            );
            press(&mut model, "\n");
            lines(&model);
            press(&mut model, "q");
            // Where there is no session, that leaves; the picture stays.
        }
        press(&mut model, "1\n");
        let task = model.rows[0].task.clone().unwrap();
        let answer = show::render(&shown(&evil, &evil), &mut || "0f".repeat(16));
        model.hear(
            News::Shown {
                task,
                answer: Ok(answer),
            },
            NOW,
        );
        assert!(model.detail.is_some());
        lines(&model);
        press(&mut model, "q");
        for news in [
            News::Did(evil.clone()),
            News::Gone(evil.clone()),
            News::Working(evil.clone()),
        ] {
            model.hear(news, NOW);
            lines(&model);
        }
        press(&mut model, "/");
        model.paste(&evil);
        lines(&model);
    }
}

fn poison(value: &mut serde_json::Value, evil: &str) {
    match value {
        serde_json::Value::String(s) => evil.clone_into(s),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|v| poison(v, evil)),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(|v| poison(v, evil)),
        _ => {}
    }
}

#[test]
fn every_size_can_be_drawn_and_left_again() {
    let mut model = full(WIDE);
    for key in ["1", "2", "3", "4", "?"] {
        press(&mut model, key);
        press(&mut model, "G");
        for width in (1..30).chain([60, 72, 300]) {
            for height in [1, 2, 3, 4, 5, 9, 100] {
                model.resize((width, height));
                lines(&model);
            }
        }
    }
}
