//! The picture: a pure function of the model. No colour is used, and nothing is told
//! by being bold or inverted alone, so that every terminal shows it. What does not
//! fit is cut; a terminal of one cell is no reason to panic.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::style::{Modifier, Style};

use super::detail::width;
use super::model::Model;
use super::rows::{Column, Row, columns};
use super::words::{Bottom, Tab};

/// Columns to the left of a row, for the mark.
const MARGIN: u16 = 2;

/// Draws all of it.
pub(crate) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let mut page = Page {
        width: frame.area().width,
        height: frame.area().height,
        buffer: frame.buffer_mut(),
    };
    match &model.detail {
        Some(detail) => {
            let lines = page.height.saturating_sub(1);
            for (y, line) in (0..lines).zip(detail.lines.iter().skip(detail.top)) {
                page.put(0, y, page.width, line, Style::new());
            }
            let below = detail.lines.len() > detail.top + usize::from(lines);
            bottom(&mut page, model, below);
        }
        None => {
            let first = top(&mut page, model);
            list(&mut page, model, first);
            bottom(&mut page, model, false);
        }
    }
}

/// Where to draw; nothing beyond its edges is touched.
struct Page<'a> {
    width: u16,
    height: u16,
    buffer: &'a mut Buffer,
}

impl Page<'_> {
    /// Text in so many columns; its end is a mark if not all of it fits. Where it
    /// ended.
    fn put(&mut self, x: u16, y: u16, columns: u16, text: &str, style: Style) -> u16 {
        let columns = columns.min(self.width.saturating_sub(x));
        if y >= self.height || columns == 0 {
            return x;
        }
        if width(text) <= usize::from(columns) {
            let max = usize::from(columns);
            return self.buffer.set_stringn(x, y, text, max, style).0;
        }
        let room = usize::from(columns) - 1;
        let end = self.buffer.set_stringn(x, y, text, room, style).0;
        self.buffer.set_stringn(end, y, "…", 1, style).0
    }
}

/// The tabs, what is wrong, and the headings. The line after them.
fn top(page: &mut Page<'_>, model: &Model) -> u16 {
    let mut x = 0;
    for (n, tab) in (1..).zip(Tab::ALL) {
        let is_here = tab == model.tab;
        let label = format!("{n} {}", label(model, tab, page.width));
        // Told without looks, too: the open one has brackets.
        let (label, style) = match is_here {
            true => (
                format!("[{label}]"),
                Style::new().add_modifier(Modifier::BOLD),
            ),
            false => (format!(" {label} "), Style::new()),
        };
        x = page.put(x, 0, page.width, &label, style);
    }
    let (at, all) = model.place();
    let place = format!(" {at}/{all}");
    let from = usize::from(page.width).saturating_sub(width(&place));
    match u16::try_from(from) {
        // Which row of how many, where there is room.
        Ok(from) if from >= x && all > 0 => page.put(from, 0, page.width, &place, Style::new()),
        _ => x,
    };
    let mut y = 1;
    if let Some(why) = model.banner() {
        let style = Style::new().add_modifier(Modifier::BOLD);
        page.put(0, y, page.width, &format!("! {why}"), style);
        y += 1;
    }
    let headings: Vec<&str> = columns(model.tab).iter().map(|c| c.heading).collect();
    let style = Style::new().add_modifier(Modifier::UNDERLINED);
    cells(page, model, y, &headings, style);
    y + 1
}

/// The name of a tab, and how much is in it where there is room for that.
fn label(model: &Model, tab: Tab, columns: u16) -> String {
    let (name, short, count) = match tab {
        Tab::Tasks if model.all => ("All tasks", "All", model.tasks.as_ref().map(Vec::len)),
        Tab::Tasks => ("Tasks", "Tasks", model.tasks.as_ref().map(Vec::len)),
        Tab::Sessions => ("Sessions", "Sess", model.sessions.as_ref().map(Vec::len)),
        Tab::Devices => ("Devices", "Dev", Some(model.devices.len())),
        Tab::Status => ("Status", "Status", None),
    };
    match count {
        Some(count) if columns >= 72 && model.status.is_some() => format!("{name} ({count})"),
        _ if columns >= 48 => name.to_owned(),
        _ => short.to_owned(),
    }
}

fn list(page: &mut Page<'_>, model: &Model, first: u16) {
    let last = page.height.saturating_sub(1);
    if model.rows.is_empty() {
        for (y, line) in (first..last).zip(nothing(model)) {
            page.put(MARGIN, y, page.width, line, Style::new());
        }
        return;
    }
    let rows = model.rows.iter().enumerate().skip(model.top());
    for (y, (n, row)) in (first..last).zip(rows) {
        let is_marked = n == model.selected() && !row.is_heading;
        let style = match (is_marked, row.is_heading) {
            (true, _) => Style::new().add_modifier(Modifier::REVERSED),
            (_, true) => Style::new().add_modifier(Modifier::BOLD),
            _ => Style::new(),
        };
        if is_marked {
            let blank = " ".repeat(usize::from(page.width));
            page.put(0, y, page.width, &blank, style);
            page.put(0, y, page.width, ">", style);
        }
        line(page, model, y, row, style);
    }
}

fn line(page: &mut Page<'_>, model: &Model, y: u16, row: &Row, style: Style) {
    if row.is_heading {
        let name = row.cells.first().map_or("", String::as_str);
        page.put(0, y, page.width, name, style);
        return;
    }
    let texts: Vec<&str> = row.cells.iter().map(String::as_str).collect();
    cells(page, model, y, &texts, style);
}

/// The cells of a line, each in its column, as far as there are columns.
fn cells(page: &mut Page<'_>, model: &Model, y: u16, texts: &[&str], style: Style) {
    let terminal = page.width;
    let is_shown = |column: &Column| column.from <= terminal;
    let columns = || columns(model.tab).iter().zip(&model.widths);
    let taken = columns().filter(|(c, _)| is_shown(c));
    let taken: u16 = taken.map(|(_, width)| width + 1).sum();
    let left = terminal.saturating_sub(taken + MARGIN - 1);
    let mut x = MARGIN;
    for ((column, width), text) in columns().zip(texts) {
        if !is_shown(column) {
            continue;
        }
        let room = if column.width == 0 { left } else { *width };
        page.put(x, y, room, text, style);
        x = x.saturating_add(room + 1);
    }
}

/// What an empty list says.
fn nothing(model: &Model) -> &'static [&'static str] {
    if model.status.is_none() {
        return match model.gone {
            Some(_) => &["Trying again and again …"],
            None => &["Asking the agent …"],
        };
    }
    if !model.filter.is_empty() {
        return &["Nothing here has these words.", "esc clears the filter."];
    }
    match model.tab {
        Tab::Tasks if model.all => &["No tasks."],
        Tab::Tasks => &["No unfinished tasks.", "a shows the finished ones, too."],
        Tab::Sessions if model.sessions.is_none() => &["Asking the agent …"],
        Tab::Sessions => &["No sessions."],
        Tab::Devices | Tab::Status => &["Nothing to show."],
    }
}

fn bottom(page: &mut Page<'_>, model: &Model, more: bool) {
    let Some(y) = page.height.checked_sub(1) else {
        return;
    };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let (line, style) = match model.bottom() {
        Bottom::Undo(task) => (format!("undo the last placement of {task}? y/N"), bold),
        Bottom::Filter => (format!("/{}_", model.filter), bold),
        Bottom::Note(note) => (note, bold),
        Bottom::Working(working) => (working, Style::new()),
        Bottom::Keys => (keys(page.width, model, more), Style::new()),
    };
    page.put(0, y, page.width, &line, style);
}

fn keys(columns: u16, model: &Model, more: bool) -> String {
    if let Some(detail) = &model.detail {
        let more = if more { "more below  " } else { "" };
        let act = match (&detail.task, columns) {
            (None, _) => "",
            (_, 70..) => "c continue  p push  l pull  u undo  d done  ",
            _ => "c continue  ",
        };
        return format!("{more}{act}q back");
    }
    if !model.filter.is_empty() {
        return format!("filter: {}  (esc clears it)", model.filter);
    }
    match (columns, model.tab) {
        (80.., Tab::Tasks | Tab::Sessions) => {
            "enter show  c continue  p push  l pull  u undo  d done  / filter  ? help  q quit"
        }
        (38.., Tab::Tasks | Tab::Sessions) => "c continue  / filter  ? help  q quit",
        (38.., _) => "enter show  / filter  ? help  q quit",
        _ => "? help  q quit",
    }
    .to_owned()
}

#[cfg(test)]
mod tests;
