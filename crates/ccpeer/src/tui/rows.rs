//! The rows of the four lists, out of what the agent said. Everything in them is one
//! line without control characters, within bounds: most of it was written elsewhere.

use std::collections::BTreeMap;

use ccpeer_agent::api::{Device, DeviceName, Session, Status, Task};
use ccpeer_core::text;

use super::detail::width;
use super::words::Tab;
use crate::commands::{devices, sessions, status, tasks};
use crate::fence::harmless;
use crate::table;

/// Characters of a cell; the widest terminal shows no more of it.
const CELL_CHARS_MAX: usize = 400;

/// The beginning of an id is one from here on: fewer characters are in every id.
const ID_CHARS_MIN: usize = 4;

/// One column: its heading, its greatest width (0: what the others leave), and how wide
/// the terminal must be for it.
pub(crate) struct Column {
    pub(crate) heading: &'static str,
    pub(crate) width: u16,
    pub(crate) from: u16,
}

const fn column(heading: &'static str, width: u16, from: u16) -> Column {
    Column {
        heading,
        width,
        from,
    }
}

/// The columns of a list.
pub(crate) fn columns(tab: Tab) -> &'static [Column] {
    const TASKS: &[Column] = &[
        column("STATE", 12, 0),
        column("AGE", 6, 0),
        column("DEVICE", 12, 60),
        column("TITLE", 0, 0),
        column("PROJECT", 14, 72),
        column("BRANCH", 20, 100),
    ];
    const SESSIONS: &[Column] = &[
        column("ID", 8, 72),
        column("STATE", 11, 60),
        column("WHERE", 5, 0),
        column("AGE", 6, 0),
        column("DEVICE", 12, 50),
        column("TITLE", 0, 0),
    ];
    const DEVICES: &[Column] = &[
        column("NAME", 0, 0),
        column("STATE", 9, 0),
        column("TRUST", 11, 50),
        column("SEEN", 6, 0),
        column("OS", 8, 60),
        column("ID", 8, 60),
    ];
    const STATUS: &[Column] = &[column("ABOUT", 8, 0), column("HOW IT IS", 0, 0)];
    match tab {
        Tab::Tasks => TASKS,
        Tab::Sessions => SESSIONS,
        Tab::Devices => DEVICES,
        Tab::Status => STATUS,
    }
}

/// How wide each column of a list is: as its widest cell, within its bound.
pub(crate) fn widths(tab: Tab, rows: &[Row]) -> Vec<u16> {
    let items: Vec<&Row> = rows.iter().filter(|row| !row.is_heading).collect();
    let widest = |n: usize, column: &Column| {
        let cells = items.iter().filter_map(|row| row.cells.get(n));
        let widest = cells.map(|cell| width(cell)).max().unwrap_or(0);
        let wanted = widest.max(width(column.heading));
        u16::try_from(wanted).unwrap_or(u16::MAX).min(column.width)
    };
    let columns = columns(tab).iter().enumerate();
    columns.map(|(n, column)| widest(n, column)).collect()
}

/// One line of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// What it is about; the same in the next list.
    pub(crate) id: String,
    /// What the agent takes for it: a session, or a version where there are several.
    pub(crate) task: Option<String>,
    /// One for each column.
    pub(crate) cells: Vec<String>,
    /// It heads those below it, and cannot be marked.
    pub(crate) is_heading: bool,
    /// What there is to read where no session is behind it.
    pub(crate) detail: String,
    /// What a filter looks at, in lower case.
    words: String,
}

impl Row {
    fn new(id: &str, cells: Vec<String>) -> Self {
        let words = cells.join(" ").to_lowercase();
        Self {
            id: id.to_owned(),
            cells,
            words,
            ..Self::default()
        }
    }

    fn of(mut self, task: String) -> Self {
        self.task = Some(task);
        self
    }

    /// What else than its cells is looked at: an age is not.
    fn known_by(mut self, words: &[&str]) -> Self {
        self.words = words.join(" ").to_lowercase();
        self
    }

    /// Whether a filter leaves it: by what it says, or the beginning of its id.
    fn has(&self, word: &str) -> bool {
        self.words.contains(word) || word.len() >= ID_CHARS_MIN && self.id.starts_with(word)
    }
}

/// Text from anywhere, fit for a cell.
fn cell(text: &str) -> String {
    harmless(&text::one_line(text, CELL_CHARS_MAX))
}

pub(crate) fn tasks(list: &[Task], now: u64) -> Vec<Row> {
    let row = |task: &Task| {
        let cells = vec![
            cell(&tasks::state(task)),
            table::age_at(&task.updated, now),
            cell(tasks::device(task)),
            cell(&task.title),
            cell(&task.project),
            cell(&task.branch),
        ];
        let name = named(task);
        let (device, branch) = (cell(tasks::device(task)), cell(&task.branch));
        let words = [
            &cell(&task.state),
            &device,
            &cell(&task.title),
            &cell(&task.project),
            &branch,
        ];
        Row::new(&name, cells)
            .known_by(&words.map(String::as_str))
            .of(name.clone())
    };
    list.iter().map(row).collect()
}

/// The version where there are several, else the session.
fn named(task: &Task) -> String {
    match task.heads > 1 {
        true => cell(&task.version),
        false => cell(&task.session_id),
    }
}

/// By project, the one that changed last first.
pub(crate) fn sessions(list: &[Session], now: u64) -> Vec<Row> {
    let mut order: Vec<String> = Vec::new();
    let mut projects: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for session in list {
        let project = cell(&session.project);
        let cells = vec![
            cell(&table::short(&session.session_id)),
            cell(&session.state),
            sessions::place(session).to_owned(),
            table::age_at(&session.updated, now),
            cell(&session.device.name),
            cell(&session.title),
        ];
        let id = cell(&session.session_id);
        let words = [
            &project,
            &cell(&session.state),
            &cell(&session.device.name),
            &cell(&session.title),
        ];
        let row = Row::new(&id, cells)
            .known_by(&words.map(String::as_str))
            .of(id.clone());
        if !projects.contains_key(&project) {
            order.push(project.clone());
        }
        projects.entry(project).or_default().push(row);
    }
    let mut rows = Vec::new();
    for project in order {
        let of_it = projects.remove(&project).unwrap_or_default();
        let name = match project.is_empty() {
            true => "(no project)",
            false => &project,
        };
        rows.push(Row {
            id: format!("project {project}"),
            cells: vec![format!("{name} ({})", of_it.len())],
            is_heading: true,
            ..Row::default()
        });
        rows.extend(of_it);
    }
    rows
}

pub(crate) fn devices(list: &[Device], now: u64) -> Vec<Row> {
    let row = |device: &Device| {
        let seen = match (device.state.as_str(), &device.last_seen) {
            ("this" | "connected", _) => "now".to_owned(),
            (_, Some(at)) => table::age_at(at, now),
            (_, None) => "never".to_owned(),
        };
        let cells = vec![
            cell(&device.name),
            cell(&devices::state(device)),
            cell(&device.trust),
            seen.clone(),
            cell(&device.os),
            cell(&table::short(&device.id)),
        ];
        let names = |list: &[DeviceName]| {
            let names: Vec<&str> = list.iter().map(|d| d.name.as_str()).collect();
            cell(&names.join(", "))
        };
        let mut detail = format!(
            "device   {}\nid       {}\nsystem   {}\nstate    {}\ntrust    {}\nseen     {seen}\n",
            cell(&device.name),
            cell(&device.id),
            cell(&device.os),
            cell(&devices::state(device)),
            cell(&device.trust),
        );
        for (label, list) in [
            ("offered by", &device.offered_by),
            ("revoked by", &device.revoked_by),
        ] {
            if !list.is_empty() {
                detail += &format!("{label} {}\n", names(list));
            }
        }
        if matches!(device.trust.as_str(), "offered" | "quarantined") {
            let id = cell(&table::short(&device.id));
            detail += &format!(
                "\n`ccpeer accept {id}` takes it in, `ccpeer revoke {id}` keeps it out for good.\n"
            );
        }
        let mut row = Row::new(&cell(&device.id), cells);
        row.detail = detail;
        row
    };
    list.iter().map(row).collect()
}

/// What is on its way, what waits, and how the agent does.
pub(crate) fn status(status: &Status, tasks: &[Task]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut line = |label: &str, said: &str, hint: Option<&str>, task: Option<String>| {
        let said = cell(said);
        let mut row = Row::new(
            &format!("{label} {}", rows.len()),
            vec![label.to_owned(), said.clone()],
        );
        row.detail = format!("{label}\n\n{said}\n");
        if let Some(hint) = hint {
            row.detail += &format!("hint: {}\n", cell(hint));
        }
        row.task = task;
        rows.push(row);
    };
    let coming: Vec<&Task> = tasks.iter().filter(|task| tasks::is_coming(task)).collect();
    if coming.is_empty() {
        let said = "nothing of these tasks is missing here";
        line("coming", said, None, None);
    }
    for task in coming {
        let said = format!("{}, from {}", task.title, task.device.name);
        line("coming", &said, None, Some(named(task)));
    }
    for peer in &status.peers {
        let mut said = format!("{}: {}", peer.name, status::peer_state(peer));
        if let Some(path) = &peer.path {
            said += &format!(", {path}");
        }
        if let Some(ms) = peer.rtt_ms {
            said += &format!(", {ms} ms");
        }
        if peer.behind > 0 {
            said += &format!(", {} entries to come", peer.behind);
        }
        line("peer", &said, None, None);
    }
    for about in status::lines(status) {
        line(about.label, &about.said, about.hint.as_deref(), None);
    }
    rows
}

/// Leaves the rows in which all these words are, with their headings.
pub(crate) fn filter(rows: &mut Vec<Row>, words: &str) {
    let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
    if words.is_empty() {
        return;
    }
    rows.retain(|row| row.is_heading || words.iter().all(|w| row.has(w)));
    let mut below = false;
    let mut keep: Vec<bool> = rows
        .iter()
        .rev()
        .map(|row| match row.is_heading {
            true => std::mem::take(&mut below),
            false => {
                below = true;
                true
            }
        })
        .collect();
    rows.retain(|_| keep.pop().unwrap_or(false));
}

#[cfg(test)]
pub(super) mod tests;
