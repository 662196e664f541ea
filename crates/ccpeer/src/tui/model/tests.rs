//! What keys and answers do.

use super::*;
use crate::tui::rows::tests::{device, seen, session, status, task};
use crate::tui::words::Seen;

const NOW: u64 = 1_795_212_000;

fn model() -> Model {
    Model::new((80, 24))
}

fn press(model: &mut Model, code: KeyCode) -> Option<Action> {
    model.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn type_keys(model: &mut Model, keys: &str) -> Vec<Action> {
    keys.chars()
        .filter_map(|c| press(model, KeyCode::Char(c)))
        .collect()
}

fn hear(model: &mut Model, news: Seen) {
    model.hear(News::Seen(Box::new(news)), NOW);
}

fn with_tasks(count: u64) -> Model {
    let mut model = model();
    let tasks = (1..=count).map(|n| task(n, &format!("task {n}"))).collect();
    hear(&mut model, seen(tasks, Vec::new()));
    model
}

fn marked(model: &Model) -> &str {
    &model.rows[model.selected()].id
}

#[test]
fn the_mark_moves_and_stays_within_what_is_drawn() {
    let mut model = with_tasks(50);
    let mut check = |keys: &[KeyCode], want: usize| {
        for key in keys {
            assert_eq!(press(&mut model, *key), None);
        }
        assert_eq!(model.selected(), want, "{keys:?}");
        let drawn = model.top()..model.top() + model.list_lines();
        assert!(drawn.contains(&want), "{drawn:?}");
    };
    check(&[KeyCode::Up], 0);
    check(&[KeyCode::Down, KeyCode::Char('j')], 2);
    check(&[KeyCode::Char('k')], 1);
    check(&[KeyCode::PageDown], 22);
    check(&[KeyCode::Char('G'), KeyCode::Down], 49);
    check(&[KeyCode::PageUp], 28);
    check(&[KeyCode::Home], 0);
}

#[test]
fn the_mark_follows_its_session_when_the_list_changes() {
    let mut model = with_tasks(9);
    type_keys(&mut model, "jjj");
    let before = marked(&model).to_owned();
    let mut tasks: Vec<Task> = (1..=9).map(|n| task(n, "x")).collect();
    tasks.insert(0, task(77, "a new one"));
    hear(&mut model, seen(tasks.clone(), Vec::new()));
    assert_eq!((marked(&model), model.selected()), (before.as_str(), 4));
    tasks.retain(|t| t.session_id != before);
    tasks.truncate(2);
    hear(&mut model, seen(tasks, Vec::new()));
    assert_eq!(model.selected(), 1);
    hear(&mut model, seen(Vec::new(), Vec::new()));
    assert_eq!(model.selected(), 0);
    assert_eq!(press(&mut model, KeyCode::Enter), None);
}

#[test]
fn headings_are_never_marked() {
    let mut model = model();
    let sessions = (1..=6)
        .map(|n| session(n, ["a", "b", "c"][(n as usize - 1) / 2]))
        .collect();
    hear(&mut model, seen(Vec::new(), sessions));
    let look = press(&mut model, KeyCode::Char('2'));
    let sessions = true;
    assert_eq!(
        look,
        Some(Action::Look(Wish {
            all: false,
            sessions
        }))
    );
    let mut seen = Vec::new();
    for _ in 0..8 {
        assert!(!model.rows[model.selected()].is_heading);
        seen.push(model.selected());
        press(&mut model, KeyCode::Down);
    }
    assert_eq!(seen, [1, 2, 4, 5, 7, 8, 8, 8]);
    // The heading of the first one is seen again on the way back.
    model.resize((80, 6));
    type_keys(&mut model, "g");
    assert_eq!((model.selected(), model.top()), (1, 0));
}

#[test]
fn each_key_acts_on_the_session_itself() {
    let mut model = with_tasks(3);
    type_keys(&mut model, "j");
    let id = task(2, "").session_id;
    let check = |model: &mut Model, key: char, want: Action| {
        assert_eq!(press(model, KeyCode::Char(key)), Some(want), "{key}");
        model.hear(News::Did("done".to_owned()), NOW);
        assert_eq!(model.bottom(), Bottom::Note("done".to_owned()));
    };
    check(&mut model, 'c', Action::Continue(id.clone()));
    check(&mut model, 'p', Action::Do(Job::Push(id.clone())));
    check(&mut model, 'l', Action::Do(Job::Pull(id.clone())));
    let mark = |done| {
        let task = id.clone();
        Action::Do(Job::Mark { task, done })
    };
    check(&mut model, 'd', mark(true));
    check(&mut model, 'r', mark(false));
    let opened = press(&mut model, KeyCode::Enter);
    assert_eq!(opened, Some(Action::Show(id)));
}

#[test]
fn a_version_is_named_where_there_are_several() {
    let mut model = model();
    let mut fork = task(1, "fork");
    fork.heads = 2;
    fork.version = "ab".repeat(16);
    hear(&mut model, seen(vec![fork.clone()], Vec::new()));
    let action = press(&mut model, KeyCode::Char('c'));
    assert_eq!(action, Some(Action::Continue(fork.version)));
}

#[test]
fn undo_asks_first() {
    let mut model = with_tasks(1);
    let id = task(1, "").session_id;
    for no in [KeyCode::Char('n'), KeyCode::Esc, KeyCode::Char('u')] {
        assert_eq!(press(&mut model, KeyCode::Char('u')), None);
        assert!(matches!(model.bottom(), Bottom::Undo(_)));
        assert_eq!(press(&mut model, no), None);
        assert_eq!(model.bottom(), Bottom::Keys);
    }
    let done = type_keys(&mut model, "uy");
    assert_eq!(done, [Action::Do(Job::Undo(id))]);
}

#[test]
fn one_job_at_a_time() {
    let mut model = with_tasks(1);
    assert_eq!(type_keys(&mut model, "ppd").len(), 1);
    assert!(matches!(model.bottom(), Bottom::Note(note) if note.contains("push")));
    model.hear(News::Working("fetching … 1 of 3".to_owned()), NOW);
    type_keys(&mut model, "j");
    let working = Bottom::Working("fetching … 1 of 3".to_owned());
    assert_eq!(model.bottom(), working);
    model.hear(News::Did("all done".to_owned()), NOW);
    // What comes too late does not start it again.
    model.hear(News::Working("late".to_owned()), NOW);
    type_keys(&mut model, "j");
    assert_eq!(model.bottom(), Bottom::Keys);
    assert_eq!(type_keys(&mut model, "p").len(), 1);
}

#[test]
fn a_filter_is_typed_pasted_and_cleared() {
    let mut model = with_tasks(20);
    // Keys are letters while one types; a paste is never a row of keys.
    assert_eq!(type_keys(&mut model, "/TASK 1q"), []);
    assert_eq!(model.rows.len(), 0);
    press(&mut model, KeyCode::Backspace);
    assert_eq!(model.rows.len(), 11, "1, and 10 to 19");
    press(&mut model, KeyCode::Esc);
    assert_eq!((model.filter.as_str(), model.rows.len()), ("", 20));
    model.paste("qqq");
    assert_eq!(model.filter, "");
    type_keys(&mut model, "/");
    model.paste(&format!("task 20\u{1b}[2J\n{}", "x".repeat(9000)));
    assert!(model.filter.starts_with("task 20 x") && model.filter.len() <= FILTER_CHARS_MAX);
    for _ in 0..FILTER_CHARS_MAX {
        press(&mut model, KeyCode::Backspace);
    }
    type_keys(&mut model, "20");
    press(&mut model, KeyCode::Enter);
    assert_eq!(model.rows.len(), 1);
    // The first esc clears it, the next one leaves.
    assert_eq!(press(&mut model, KeyCode::Esc), None);
    assert_eq!(model.rows.len(), 20);
    assert_eq!(press(&mut model, KeyCode::Esc), Some(Action::Quit));
}

#[test]
fn what_was_asked_for_opens_and_nothing_else_does() {
    let mut model = with_tasks(2);
    let id = task(1, "").session_id;
    let shown = |task: &str, answer: Result<&str, &str>| News::Shown {
        task: task.to_owned(),
        answer: answer.map(str::to_owned).map_err(str::to_owned),
    };
    model.hear(shown(&id, Ok("unasked")), NOW);
    assert_eq!(model.detail, None);
    press(&mut model, KeyCode::Enter);
    model.hear(shown("another", Ok("late")), NOW);
    assert_eq!(model.detail, None);
    model.hear(shown(&id, Err("not here")), NOW);
    assert_eq!(model.bottom(), Bottom::Note("not here".to_owned()));
    press(&mut model, KeyCode::Enter);
    let text: Vec<String> = (0..99).map(|n| format!("line {n}")).collect();
    model.hear(shown(&id, Ok(&text.join("\n"))), NOW);
    type_keys(&mut model, "jjj");
    assert_eq!(model.detail.as_ref().unwrap().top, 3);
    // What one reads is what a key acts on.
    assert_eq!(type_keys(&mut model, "c"), [Action::Continue(id)]);
    assert_eq!(press(&mut model, KeyCode::Esc), None);
    assert_eq!(model.detail, None);
    assert_eq!(press(&mut model, KeyCode::Char('q')), Some(Action::Quit));
}

#[test]
fn help_opens_everywhere_and_closes() {
    let mut model = model();
    type_keys(&mut model, "?");
    let detail = model.detail.clone().unwrap();
    assert!(detail.lines.iter().any(|l| l.contains("continue it here")));
    assert_eq!(type_keys(&mut model, "cq"), []);
    assert_eq!(model.detail, None);
}

#[test]
fn tabs_and_what_is_wanted_for_them() {
    let mut model = model();
    let wish = |all, sessions| Some(Action::Look(Wish { all, sessions }));
    assert_eq!(press(&mut model, KeyCode::Char('3')), None);
    assert_eq!(press(&mut model, KeyCode::BackTab), wish(false, true));
    assert_eq!(press(&mut model, KeyCode::Char('a')), wish(true, true));
    assert_eq!(press(&mut model, KeyCode::Left), wish(true, false));
    assert_eq!(model.tab, Tab::Tasks);
    assert_eq!(press(&mut model, KeyCode::Left), None);
    assert_eq!(model.tab, Tab::Status);
    assert_eq!(press(&mut model, KeyCode::Tab), None);
    assert_eq!(model.tab, Tab::Tasks);
}

#[test]
fn no_session_is_behind_a_device() {
    let mut model = model();
    hear(&mut model, seen(Vec::new(), Vec::new()));
    model.devices = vec![device(1, "lap")];
    type_keys(&mut model, "3");
    for key in "cpludr".chars() {
        assert_eq!(press(&mut model, KeyCode::Char(key)), None);
        assert!(matches!(model.bottom(), Bottom::Note(_)), "{key}");
    }
    assert_eq!(press(&mut model, KeyCode::Enter), None);
    let detail = model.detail.unwrap();
    assert!(detail.lines.iter().any(|l| l == "device   lap"));
}

#[test]
fn an_agent_that_is_gone_is_told_of_and_what_was_seen_stays() {
    let mut model = with_tasks(3);
    model.hear(News::Gone("no agent is running; start it".to_owned()), NOW);
    assert_eq!(model.rows.len(), 3);
    let gone = model.gone.as_ref().unwrap();
    assert!(
        gone.ends_with("start it; below is what was heard last"),
        "{gone}"
    );
    let more = Seen {
        tasks: None,
        ..seen(Vec::new(), Vec::new())
    };
    hear(&mut model, more);
    assert_eq!((&model.gone, model.rows.len()), (&None, 3));
    assert_eq!(model.status, Some(status()));
}

#[test]
fn control_keys_are_no_letters() {
    let mut model = with_tasks(1);
    let ctrl =
        |model: &mut Model, c| model.key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL));
    assert_eq!(ctrl(&mut model, 'd'), None);
    let alt = KeyEvent::new(KeyCode::Char('d'), KeyModifiers::ALT);
    assert_eq!(model.key(alt), None);
    assert_eq!(ctrl(&mut model, 'l'), Some(Action::Redraw));
    type_keys(&mut model, "/abc");
    assert_eq!(ctrl(&mut model, 'c'), Some(Action::Quit));
}
