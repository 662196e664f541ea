//! The terminal view: tasks, sessions, devices and what is on its way, with keys for
//! what is done most. This is its loop; [`model`] decides what a key does, [`draw`]
//! makes a picture of it, [`feed`] asks the agent on threads of its own, and
//! [`screen`] owns the terminal. Keys never wait for the agent.

mod detail;
mod draw;
mod feed;
mod model;
mod rows;
mod screen;
mod words;

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyEventKind};

use crate::commands::continue_task;
use crate::context::Context;
use crate::error::CommandError;
use crate::table;
use feed::Feed;
use model::Model;
use screen::Screen;
use words::{Action, News};

/// How long a key is waited for before the news are looked at.
const KEY_WAIT: Duration = Duration::from_millis(100);
/// Answers that may lie unread; whoever brings another one waits.
const NEWS_MAX: usize = 16;

/// Shows the view until somebody leaves it.
///
/// # Errors
/// When there is no terminal, or it goes away; and what `continue` says.
pub(crate) fn run(context: &Context) -> Result<(), CommandError> {
    screen::is_there()?;
    let left = show(context)?;
    match left {
        None => Ok(()),
        Some(task) => continue_task::plainly(task, context),
    }
}

/// The view itself; the task to continue, if that is why it was left. The terminal
/// is as it was before when this returns.
fn show(context: &Context) -> Result<Option<String>, CommandError> {
    let (tell, news) = sync_channel(NEWS_MAX);
    let mut screen = Screen::open()?;
    let feed = Feed::start(&context.home, &tell);
    let mut model = Model::new(screen.size()?);
    loop {
        screen.draw(&model)?;
        match step(&mut model, &news)? {
            None => {}
            Some(Action::Quit) => return Ok(None),
            Some(Action::Continue(task)) => return Ok(Some(task)),
            Some(Action::Look(wish)) => feed.look(wish),
            Some(Action::Show(task)) => feed.show(task),
            Some(Action::Do(job)) => feed.perform(job),
            Some(Action::Redraw) => screen.clear()?,
        }
    }
}

/// Waits until there is something new to draw or to do. A key that is held down does
/// not keep the news away.
fn step(model: &mut Model, news: &Receiver<News>) -> Result<Option<Action>, CommandError> {
    loop {
        let mut heard = false;
        for told in news.try_iter().take(NEWS_MAX) {
            model.hear(told, table::now());
            heard = true;
        }
        let wait = if heard { Duration::ZERO } else { KEY_WAIT };
        if event::poll(wait)? {
            return Ok(react(model, event::read()?));
        }
        if heard {
            return Ok(None);
        }
    }
}

fn react(model: &mut Model, event: Event) -> Option<Action> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => return model.key(key),
        Event::Paste(text) => model.paste(&text),
        Event::Resize(width, height) => model.resize((width, height)),
        _ => {}
    }
    None
}
