//! A progress bar that is there on a terminal and is not in a pipe.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use ccpeer_agent::api::Progress;
use ccpeer_core::text;

/// Cells of the bar itself; with its words it stays within 80 columns.
const CELLS: usize = 30;
/// How often the line is drawn at most.
const REDRAW: Duration = Duration::from_millis(50);

/// One line on standard error that is drawn over and over.
pub(crate) struct Bar {
    shown: bool,
    drawn: Option<Instant>,
    terminal: bool,
}

impl Bar {
    pub(crate) fn new() -> Self {
        // A dumb terminal cannot go back to the start of a line.
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            shown: false,
            drawn: None,
            terminal: io::stderr().is_terminal() && !dumb,
        }
    }

    /// Draws how far it is.
    pub(crate) fn show(&mut self, progress: &Progress) {
        let finished = progress.total > 0 && progress.done >= progress.total;
        let early = self.drawn.is_some_and(|at| at.elapsed() < REDRAW);
        if !self.terminal || (early && !finished) {
            return;
        }
        let _ = write!(io::stderr(), "\r\u{1b}[K{}", render(progress));
        let _ = io::stderr().flush();
        self.shown = true;
        self.drawn = Some(Instant::now());
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
            let _ = io::stderr().flush();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

fn render(progress: &Progress) -> String {
    let what = text::one_line(&progress.what, 24);
    if progress.total == 0 {
        return format!("{what} … {}", progress.done);
    }
    let done = progress.done.min(progress.total);
    let share = |of: u64| u128::from(done) * u128::from(of) / u128::from(progress.total);
    let filled = usize::try_from(share(CELLS as u64)).unwrap_or(CELLS);
    format!(
        "{what:<12} [{}{}] {:>3} %",
        "#".repeat(filled),
        ".".repeat(CELLS - filled),
        share(100),
    )
}

#[cfg(test)]
mod tests {
    use super::{Progress, render};

    #[test]
    fn a_bar_shows_its_share() {
        let show = |done, total| {
            render(&Progress {
                what: "fetching".to_owned(),
                done,
                total,
            })
        };
        assert_eq!(
            show(1, 2),
            "fetching     [###############...............]  50 %"
        );
        assert!(show(9, 3).ends_with("100 %"));
        assert_eq!(show(7, 0), "fetching … 7");
        assert!(show(u64::MAX, u64::MAX).ends_with("100 %"));
    }
}
