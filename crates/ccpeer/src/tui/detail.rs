//! A text that is read by scrolling: what a task is about, a device, the keys. It is
//! wrapped to the width of the terminal.

use ratatui::crossterm::event::KeyCode;
use ratatui::text::Span;

/// Told by `?`.
const HELP: &str = "\
up, down, j, k      next, previous
page up, page down  a screen further; g and G: first, last
1 2 3 4, tab        tasks, sessions, devices, status
enter               what it is about
/                   show only what has these words
a                   tasks: all, or only the unfinished

c   continue it here: leaves the view and starts Claude Code
p   push: capture it and send it now
l   pull: fetch it and place it, without starting anything
u   undo: take back its last placement, byte for byte
d   done: mark it as finished, on all machines
r   reopen: mark it as unfinished again

?   this page
q   leave; esc, too, and it clears the filter first

Marks behind a state:
*   was continued on two machines; each line is one of the versions
~   is still being fetched
!   needs a newer ccpeer on this machine; `continue --handoff` works
?   is the last word of a machine that is not connected
=   is a document alone, of the machine that it names

Where a session is:
here  in Claude Code's directory on this machine
held  kept by ccpeer for another machine
both  both";

/// One text, and how far one has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Detail {
    /// What it is about, for the keys that do something with it.
    pub(crate) task: Option<String>,
    /// As it is drawn.
    pub(crate) lines: Vec<String>,
    /// The first line that is drawn.
    pub(crate) top: usize,
    text: String,
}

impl Detail {
    /// `text` has been made harmless.
    pub(crate) fn new(task: Option<String>, text: &str, size: (u16, u16)) -> Self {
        let mut detail = Self {
            task,
            lines: Vec::new(),
            top: 0,
            text: text.replace('\t', "    "),
        };
        detail.wrap(size);
        detail
    }

    pub(crate) fn help(size: (u16, u16)) -> Self {
        Self::new(None, HELP, size)
    }

    /// Fits it to another size.
    pub(crate) fn wrap(&mut self, size: (u16, u16)) {
        let columns = usize::from(size.0).max(1);
        self.lines = self.text.lines().flat_map(|l| wrap(l, columns)).collect();
        self.top = self.top.min(self.last_top(size));
    }

    /// A key that moves.
    pub(crate) fn scroll(&mut self, code: KeyCode, size: (u16, u16)) {
        let page = lines(size).max(1);
        let top = match code {
            KeyCode::Down | KeyCode::Char('j') => self.top + 1,
            KeyCode::Up | KeyCode::Char('k') => self.top.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.top + page,
            KeyCode::PageUp => self.top.saturating_sub(page),
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => usize::MAX,
            _ => self.top,
        };
        self.top = top.min(self.last_top(size));
    }

    fn last_top(&self, size: (u16, u16)) -> usize {
        self.lines.len().saturating_sub(lines(size))
    }
}

/// All but the bottom line.
fn lines(size: (u16, u16)) -> usize {
    usize::from(size.1).saturating_sub(1)
}

/// A line in lines of at most so many columns, broken at spaces where there are
/// some. A character that is wider than all of it stands alone.
fn wrap(line: &str, columns: usize) -> Vec<String> {
    let mut out = Vec::new();
    let (mut now, mut used) = (String::new(), 0);
    let mut buffer = [0; 4];
    for c in line.chars() {
        let wide = width(c.encode_utf8(&mut buffer));
        if used + wide > columns && !now.is_empty() {
            let rest = match now.trim_end().rfind(' ') {
                Some(at) if c != ' ' && !now.ends_with(' ') && at > columns / 2 => {
                    now.split_off(at + 1)
                }
                _ => String::new(),
            };
            out.push(now.trim_end().to_owned());
            used = width(&rest);
            now = rest;
            if c == ' ' && now.is_empty() {
                continue;
            }
        }
        now.push(c);
        used += wide;
    }
    out.push(now.trim_end().to_owned());
    out
}

/// Columns, as the terminal's library counts them.
pub(crate) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_spaces_and_never_too_wide() {
        let check = |line: &str, columns, want: &[&str]| {
            assert_eq!(wrap(line, columns), want, "{line:?} {columns}");
        };
        check("", 4, &[""]);
        check("one two three", 9, &["one two", "three"]);
        check("one two", 3, &["one", "two"]);
        check("abcdefgh", 3, &["abc", "def", "gh"]);
        check("修复解析器", 5, &["修复", "解析", "器"]);
        check("界", 1, &["界"]);
        check("  indented text", 12, &["  indented", "text"]);
        for columns in 1..20 {
            let text = "a 修复 b\u{301} 😀😀 long-word-without-end   x";
            let lines = wrap(text, columns);
            assert!(
                lines.iter().all(|l| width(l) <= columns.max(2)),
                "{lines:?}"
            );
            let letters = |s: &str| s.chars().filter(|c| *c != ' ').collect::<String>();
            assert_eq!(letters(&lines.concat()), letters(text), "{columns}");
        }
    }

    #[test]
    fn scrolling_ends_with_the_text() {
        let text: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        let mut detail = Detail::new(None, &text.join("\n"), (80, 11));
        let mut check = |code, want| {
            detail.scroll(code, (80, 11));
            assert_eq!(detail.top, want, "{code:?}");
        };
        check(KeyCode::Up, 0);
        check(KeyCode::Char('j'), 1);
        check(KeyCode::PageDown, 11);
        check(KeyCode::End, 40);
        check(KeyCode::Down, 40);
        check(KeyCode::PageUp, 30);
        check(KeyCode::Home, 0);
        check(KeyCode::End, 40);
        detail.wrap((80, 60));
        assert_eq!(detail.top, 0);
    }
}
