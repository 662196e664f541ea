//! The terminal: taken when the view opens and given back as it was, however the view
//! ends: by a key, a panic or a signal. The one place of the view that knows the
//! platform.

use std::io::{self, IsTerminal, Stdout};
use std::sync::{Mutex, Once, PoisonError, TryLockError};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::draw;
use super::model::Model;
use crate::error::CommandError;

/// Whether the terminal is ours now. Whoever writes to it holds this: a thread that
/// gives it back does so between two pictures.
static OURS: Mutex<bool> = Mutex::new(false);

/// Whether there is a terminal to draw on.
///
/// # Errors
/// Exit code 2 when there is none.
pub(crate) fn is_there() -> Result<(), CommandError> {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb {
        return Ok(());
    }
    let what = match dumb {
        true => "this terminal cannot show a view (TERM=dumb)",
        false => "there is no terminal to show the view on",
    };
    Err(CommandError::usage(
        what,
        "use `ccpeer tasks`, `sessions`, `devices` or `status`; over ssh, `ssh -t` makes a terminal",
    ))
}

/// The terminal, while it is ours.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes it.
    ///
    /// # Errors
    /// When it cannot be taken.
    pub(crate) fn open() -> Result<Self, CommandError> {
        give_back_on_panic();
        give_back_on_signals()?;
        let mut ours = OURS.lock().unwrap_or_else(PoisonError::into_inner);
        // From here on there is something to give back, whatever fails.
        *ours = true;
        drop(ours);
        let taken = (|| {
            enable_raw_mode()?;
            execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste)?;
            Terminal::new(CrosstermBackend::new(io::stdout()))
        })();
        match taken {
            Ok(terminal) => Ok(Self { terminal }),
            Err(e) => {
                give_back();
                Err(e.into())
            }
        }
    }

    /// Columns and lines.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn size(&self) -> Result<(u16, u16), CommandError> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }

    /// Draws what has changed.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn draw(&mut self, model: &Model) -> Result<(), CommandError> {
        let ours = OURS.lock().unwrap_or_else(PoisonError::into_inner);
        if *ours {
            self.terminal.draw(|frame| draw::draw(frame, model))?;
        }
        Ok(())
    }

    /// The next picture is drawn whole.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn clear(&mut self) -> Result<(), CommandError> {
        // Not `clear`, which asks where the cursor is and waits for the answer.
        let size = self.terminal.size()?;
        Ok(self.terminal.resize(size.into())?)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back, if it is ours.
fn give_back() {
    match OURS.try_lock() {
        Ok(mut ours) => undo(&mut ours),
        Err(TryLockError::Poisoned(ours)) => undo(&mut ours.into_inner()),
        // The thread that draws has panicked, or another one gives it back.
        Err(TryLockError::WouldBlock) => undo(&mut true),
    }
}

fn undo(ours: &mut bool) {
    if std::mem::take(ours) {
        // A terminal that is gone needs nothing.
        let _ = execute!(
            io::stdout(),
            DisableBracketedPaste,
            LeaveAlternateScreen,
            Show
        );
        let _ = disable_raw_mode();
    }
}

/// Before the panic is told of: else nobody would see the words.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            told(info);
        }));
    });
}

/// Ends the process as the signal would have, with the terminal given back. Also when
/// the view was left to continue a session.
#[cfg(unix)]
fn give_back_on_signals() -> Result<(), CommandError> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    drop(guard);
    std::thread::spawn(move || {
        let kind = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
                _ = hangup.recv() => SignalKind::hangup(),
            }
        });
        // Between two pictures, unless the terminal takes none any more.
        for _ in 0..LOCK_TRIES {
            match OURS.try_lock() {
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                _ => break,
            }
        }
        give_back();
        std::process::exit(128 + kind.as_raw_value());
    });
    Ok(())
}

/// How often, and after which pauses, a signal waits for the end of a picture.
#[cfg(unix)]
const LOCK_TRIES: u32 = 20;
#[cfg(unix)]
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// Ctrl-c is a key while the view is there, and nothing else comes.
#[cfg(not(unix))]
fn give_back_on_signals() -> Result<(), CommandError> {
    Ok(())
}
