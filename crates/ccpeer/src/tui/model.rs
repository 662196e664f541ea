//! What the terminal view shows, and what a key or an answer does to it: state in,
//! state and an action out. Must not know a terminal, a clock or the agent.

use ccpeer_agent::api::{Device, Session, Status, Task};
use ccpeer_core::text;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::detail::Detail;
use super::rows::{self, Row};
use super::words::{Action, Bottom, Job, News, Tab, Wish};
use crate::commands::pause;
use crate::table;

/// Characters of what is filtered by.
const FILTER_CHARS_MAX: usize = 64;
/// Characters of the line that says what came of something.
const NOTE_CHARS_MAX: usize = 300;

/// Where one is in a list.
#[derive(Debug, Clone, Default)]
struct Cursor {
    selected: usize,
    top: usize,
    /// The row there, which may move when the list changes.
    id: String,
}

/// Everything that is shown.
pub(crate) struct Model {
    pub(crate) tab: Tab,
    pub(crate) all: bool,
    pub(crate) filter: String,
    pub(crate) gone: Option<String>,
    pub(crate) detail: Option<Detail>,
    /// Of the present tab, filtered.
    pub(crate) rows: Vec<Row>,
    /// Of the columns of these.
    pub(crate) widths: Vec<u16>,
    /// Columns and lines.
    pub(crate) size: (u16, u16),
    pub(crate) status: Option<Status>,
    pub(crate) devices: Vec<Device>,
    pub(crate) tasks: Option<Vec<Task>>,
    pub(crate) sessions: Option<Vec<Session>>,
    cursors: [Cursor; 4],
    typing: bool,
    undo: Option<String>,
    opening: Option<String>,
    working: Option<String>,
    note: Option<String>,
    now: u64,
}

impl Model {
    pub(crate) fn new(size: (u16, u16)) -> Self {
        Self {
            tab: Tab::Tasks,
            all: false,
            filter: String::new(),
            gone: None,
            detail: None,
            rows: Vec::new(),
            widths: rows::widths(Tab::Tasks, &[]),
            size,
            status: None,
            devices: Vec::new(),
            tasks: None,
            sessions: None,
            cursors: Default::default(),
            typing: false,
            undo: None,
            opening: None,
            working: None,
            note: None,
            now: 0,
        }
    }

    /// Which row is marked, and which is the first that is drawn.
    pub(crate) fn selected(&self) -> usize {
        self.cursors[self.tab as usize].selected
    }

    /// Which item is marked, from 1, and of how many.
    pub(crate) fn place(&self) -> (usize, usize) {
        let is_item = |row: &&Row| !row.is_heading;
        let until = self.rows.iter().take(self.selected() + 1);
        let all = self.rows.iter().filter(is_item).count();
        (until.filter(is_item).count(), all)
    }

    pub(crate) fn top(&self) -> usize {
        self.cursors[self.tab as usize].top
    }

    pub(crate) fn bottom(&self) -> Bottom {
        if let Some(task) = &self.undo {
            return Bottom::Undo(table::short(task));
        }
        if self.typing {
            return Bottom::Filter;
        }
        if let Some(note) = &self.note {
            return Bottom::Note(note.clone());
        }
        match &self.working {
            Some(working) => Bottom::Working(working.clone()),
            None => Bottom::Keys,
        }
    }

    /// What is said above everything, if something has to be.
    pub(crate) fn banner(&self) -> Option<String> {
        let paused = || self.status.as_ref()?.paused.as_ref();
        let said = |p| format!("paused{}; nothing is exchanged", pause::until(p));
        self.gone.clone().or_else(|| paused().map(said))
    }

    /// Lines that the list has: the tabs, the heading and the bottom line are not its.
    pub(crate) fn list_lines(&self) -> usize {
        let others = 3 + usize::from(self.banner().is_some());
        usize::from(self.size.1).saturating_sub(others)
    }

    /// The terminal has another size.
    pub(crate) fn resize(&mut self, size: (u16, u16)) {
        self.size = size;
        if let Some(detail) = &mut self.detail {
            detail.wrap(size);
        }
        self.settle();
    }

    /// Something was pasted: text for the filter, and never a row of keys.
    pub(crate) fn paste(&mut self, pasted: &str) {
        if self.typing {
            self.filter += &text::one_line(pasted, FILTER_CHARS_MAX);
            self.filter = text::one_line(&self.filter, FILTER_CHARS_MAX);
            self.list();
        }
    }

    /// What the agent said, at this time.
    pub(crate) fn hear(&mut self, news: News, now: u64) {
        self.now = now;
        match news {
            News::Seen(seen) => {
                self.gone = None;
                self.status = Some(seen.status);
                self.devices = seen.devices;
                self.tasks = seen.tasks.or(self.tasks.take());
                self.sessions = seen.sessions.or(self.sessions.take());
                self.list();
            }
            News::Gone(why) => {
                let why = match self.status {
                    Some(_) => format!("{why}; below is what was heard last"),
                    None => why,
                };
                self.gone = Some(text::one_line(&why, NOTE_CHARS_MAX));
                self.settle();
            }
            News::Shown { task, answer } => {
                // Somebody may have gone elsewhere in the meantime.
                if self.opening.as_ref() != Some(&task) {
                    return;
                }
                self.opening = None;
                self.note = None;
                match answer {
                    Ok(shown) => self.detail = Some(Detail::new(Some(task), &shown, self.size)),
                    Err(why) => self.say(&why),
                }
            }
            News::Working(how_far) => {
                if self.working.is_some() {
                    self.working = Some(text::one_line(&how_far, NOTE_CHARS_MAX));
                }
            }
            News::Did(line) => {
                self.working = None;
                self.say(&line);
            }
        }
    }

    /// A key was pressed.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Option<Action> {
        self.note = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Some(Action::Quit),
                KeyCode::Char('l') => Some(Action::Redraw),
                _ => None,
            };
        }
        if key.modifiers.contains(KeyModifiers::ALT) {
            return None;
        }
        if let Some(task) = self.undo.take() {
            let yes = matches!(key.code, KeyCode::Char('y' | 'Y'));
            return yes.then(|| self.start(Job::Undo(task), "undo")).flatten();
        }
        if self.typing {
            self.type_filter(key.code);
            return None;
        }
        if self.detail.is_some() {
            return self.key_in_detail(key.code);
        }
        let page = self.list_lines().max(1);
        match key.code {
            KeyCode::Char('q') => return Some(Action::Quit),
            KeyCode::Esc if self.filter.is_empty() => return Some(Action::Quit),
            KeyCode::Esc => {
                self.filter.clear();
                self.list();
            }
            KeyCode::Down | KeyCode::Char('j') => self.go(1, true),
            KeyCode::Up | KeyCode::Char('k') => self.go(1, false),
            KeyCode::PageDown | KeyCode::Char(' ') => self.go(page, true),
            KeyCode::PageUp => self.go(page, false),
            KeyCode::Home | KeyCode::Char('g') => self.go(usize::MAX, false),
            KeyCode::End | KeyCode::Char('G') => self.go(usize::MAX, true),
            KeyCode::Tab | KeyCode::Right => return self.turn_to(self.tab.beside(1)),
            KeyCode::BackTab | KeyCode::Left => return self.turn_to(self.tab.beside(3)),
            KeyCode::Char('1') => return self.turn_to(Tab::Tasks),
            KeyCode::Char('2') => return self.turn_to(Tab::Sessions),
            KeyCode::Char('3') => return self.turn_to(Tab::Devices),
            KeyCode::Char('4') => return self.turn_to(Tab::Status),
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('?') => self.detail = Some(Detail::help(self.size)),
            KeyCode::Char('a') => {
                self.all = !self.all;
                return Some(Action::Look(self.wish()));
            }
            KeyCode::Enter => return self.open(),
            KeyCode::Char(c) => {
                let row = self.rows.get(self.selected());
                let task = row.and_then(|row| row.task.clone());
                return self.act(c, task);
            }
            _ => {}
        }
        None
    }

    fn key_in_detail(&mut self, code: KeyCode) -> Option<Action> {
        let size = self.size;
        let detail = self.detail.as_mut()?;
        match code {
            KeyCode::Char('q') | KeyCode::Esc | KeyCode::Enter | KeyCode::Backspace => {
                self.detail = None;
            }
            KeyCode::Char(c) if !"jkgG ?/".contains(c) => {
                let task = detail.task.clone();
                return self.act(c, task);
            }
            code => detail.scroll(code, size),
        }
        None
    }

    /// A key that does something with a session, whichever it is.
    fn act(&mut self, key: char, task: Option<String>) -> Option<Action> {
        if !"cpludr".contains(key) {
            return None;
        }
        let Some(task) = task else {
            self.say("no session is marked here; 1 and 2 are the lists with sessions");
            return None;
        };
        let marked = |done| Job::Mark {
            task: task.clone(),
            done,
        };
        match key {
            'c' => Some(Action::Continue(task)),
            'p' => self.start(Job::Push(task), "push"),
            'l' => self.start(Job::Pull(task), "pull"),
            'd' => self.start(marked(true), "done"),
            'r' => self.start(marked(false), "reopen"),
            _ => {
                self.undo = Some(task);
                None
            }
        }
    }

    /// One job at a time: their results share one line.
    fn start(&mut self, job: Job, what: &str) -> Option<Action> {
        if let Some(working) = &self.working {
            self.note = Some(format!("wait until this has ended: {working}"));
            return None;
        }
        self.working = Some(format!("{what} …"));
        Some(Action::Do(job))
    }

    fn open(&mut self) -> Option<Action> {
        let row = self.rows.get(self.selected())?;
        if let Some(task) = row.task.clone() {
            self.opening = Some(task.clone());
            self.note = Some("asking the agent …".to_owned());
            return Some(Action::Show(task));
        }
        self.detail = Some(Detail::new(None, &row.detail, self.size));
        None
    }

    fn turn_to(&mut self, tab: Tab) -> Option<Action> {
        if tab == self.tab {
            return None;
        }
        let before = self.wish();
        self.tab = tab;
        self.opening = None;
        self.list();
        (self.wish() != before).then(|| Action::Look(self.wish()))
    }

    fn wish(&self) -> Wish {
        Wish {
            all: self.all,
            sessions: self.tab == Tab::Sessions,
        }
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if self.filter.chars().count() < FILTER_CHARS_MAX => {
                self.filter.push(c);
            }
            _ => return,
        }
        self.list();
    }

    fn say(&mut self, line: &str) {
        self.note = Some(text::one_line(line, NOTE_CHARS_MAX));
    }

    /// Makes the rows anew and keeps the mark on the one that it was on.
    fn list(&mut self) {
        let now = self.now;
        let mut list = match self.tab {
            Tab::Tasks => rows::tasks(self.tasks.as_deref().unwrap_or_default(), now),
            Tab::Sessions => rows::sessions(self.sessions.as_deref().unwrap_or_default(), now),
            Tab::Devices => rows::devices(&self.devices, now),
            Tab::Status => match &self.status {
                Some(status) => rows::status(status, self.tasks.as_deref().unwrap_or_default()),
                None => Vec::new(),
            },
        };
        rows::filter(&mut list, &self.filter);
        self.widths = rows::widths(self.tab, &list);
        self.rows = list;
        let cursor = &mut self.cursors[self.tab as usize];
        if let Some(at) = self.rows.iter().position(|row| row.id == cursor.id) {
            cursor.selected = at;
        }
        self.settle();
    }

    fn go(&mut self, steps: usize, down: bool) {
        let items: Vec<usize> = (0..self.rows.len())
            .filter(|&i| !self.rows[i].is_heading)
            .collect();
        let selected = self.selected();
        let at = items.iter().position(|&i| i >= selected).unwrap_or(0);
        let to = match down {
            true => at.saturating_add(steps).min(items.len().saturating_sub(1)),
            false => at.saturating_sub(steps),
        };
        if let Some(&to) = items.get(to) {
            self.cursors[self.tab as usize].selected = to;
        }
        self.settle();
    }

    /// The mark is on a row that can be marked, and within what is drawn.
    fn settle(&mut self) {
        let lines = self.list_lines().max(1);
        let cursor = &mut self.cursors[self.tab as usize];
        let last = self.rows.len().saturating_sub(1);
        cursor.selected = cursor.selected.min(last);
        let is_item = |i: &usize| self.rows.get(*i).is_some_and(|row| !row.is_heading);
        let below = (cursor.selected..=last).find(is_item);
        let item = below.or_else(|| (0..cursor.selected).rev().find(is_item));
        cursor.selected = item.unwrap_or(0);
        cursor.id = self
            .rows
            .get(cursor.selected)
            .map(|row| row.id.clone())
            .unwrap_or_default();
        // The heading of the first item is seen with it.
        let first = match cursor.selected {
            0 => 0,
            i if lines > 1 && self.rows[i - 1].is_heading => i - 1,
            i => i,
        };
        cursor.top = cursor.top.min(first);
        if cursor.selected >= cursor.top + lines {
            cursor.top = cursor.selected + 1 - lines;
        }
        cursor.top = cursor.top.min((last + 1).saturating_sub(lines));
    }
}

#[cfg(test)]
mod tests;
