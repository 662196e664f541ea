//! The threads that ask the agent, so that keys never wait: one looks again and again
//! at a bounded pace and reads what is to be shown, the other one does what a key
//! asked for. Both tell the view over one bounded channel, and end with it.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ccpeer_agent::api::{
    ApiError, Done, Json, Placed, Pushed, Request, Scope, Selection, Session, Show, Status,
    Summary, Task, Undone,
};
use ccpeer_agent::client::Client;
use ccpeer_agent::home::Home;
use serde::de::DeserializeOwned;

use super::words::{Job, News, Seen, Wish};
use crate::commands::{pull, push, show, tasks};
use crate::table;

/// The pause between two looks while something changes or is on its way,
const PACE_BUSY: Duration = Duration::from_secs(2);
/// while nothing does,
const PACE_IDLE: Duration = Duration::from_secs(5);
/// and while there is no agent.
const PACE_GONE: Duration = Duration::from_secs(2);
/// How old the list of sessions may be while nobody looks at it: the agent reads
/// directories for it.
const SESSIONS_AGE_MAX: Duration = Duration::from_secs(5);
/// Jobs that wait. The view starts one at a time.
const JOBS_MAX: usize = 1;

/// The way to the threads.
pub(crate) struct Feed {
    desk: Arc<Desk>,
    jobs: SyncSender<Job>,
    tell: SyncSender<News>,
}

/// What is wanted; the latest wish counts, so that it needs no queue.
#[derive(Default)]
struct Desk {
    wanted: Mutex<Wanted>,
    bell: Condvar,
}

#[derive(Default)]
struct Wanted {
    wish: Wish,
    show: Option<String>,
    /// Not after the pause, but now.
    now: bool,
    /// Something was done: everything is asked for anew.
    anew: bool,
}

impl Desk {
    fn change(&self, how: impl FnOnce(&mut Wanted)) {
        let mut wanted = self.open();
        how(&mut wanted);
        wanted.now = true;
        self.bell.notify_all();
    }

    fn open(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something new to do, so long at most.
    fn wait(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut wanted = self.open();
        while !wanted.now {
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                return;
            };
            let woken = self.bell.wait_timeout(wanted, left);
            wanted = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Feed {
    /// Starts the threads. They end when nobody hears them any more.
    pub(crate) fn start(home: &Home, tell: &SyncSender<News>) -> Self {
        let desk = Arc::new(Desk::default());
        let (jobs, to_do) = sync_channel(JOBS_MAX);
        let (of_look, of_work) = (home.clone(), home.clone());
        let (to_look, to_work) = (Arc::clone(&desk), Arc::clone(&desk));
        let (told, done) = (tell.clone(), tell.clone());
        std::thread::spawn(move || look(&of_look, &to_look, &told));
        std::thread::spawn(move || work(&of_work, &to_do, &to_work, &done));
        Self {
            desk,
            jobs,
            tell: tell.clone(),
        }
    }

    /// From now on this is wanted.
    pub(crate) fn look(&self, wish: Wish) {
        self.desk.change(|wanted| wanted.wish = wish);
    }

    /// This task is to be read.
    pub(crate) fn show(&self, task: String) {
        self.desk.change(|wanted| wanted.show = Some(task));
    }

    /// This is to be done.
    pub(crate) fn perform(&self, job: Job) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.jobs.try_send(job)
        {
            let busy = "something else is being done; try again".to_owned();
            let _full = self.tell.try_send(News::Did(busy));
        }
    }
}

/// Looks until nobody wants to know.
fn look(home: &Home, desk: &Desk, tell: &SyncSender<News>) {
    let mut eye = Eye::default();
    loop {
        let (wish, task) = {
            let mut wanted = desk.open();
            wanted.now = false;
            if std::mem::take(&mut wanted.anew) {
                eye = Eye::default();
            }
            (wanted.wish, wanted.show.take())
        };
        if let Some(task) = task {
            let answer = read(home, &task).map_err(|e| words(&e));
            if tell.send(News::Shown { task, answer }).is_err() {
                return;
            }
        }
        let (news, pause) = match eye.look(wish, &mut |request| ask(home, request)) {
            Ok((seen, pause)) => (News::Seen(Box::new(seen)), pause),
            Err(e) => (News::Gone(words(&e)), PACE_GONE),
        };
        if tell.send(news).is_err() {
            return;
        }
        desk.wait(pause);
    }
}

/// What was seen last, to know whether something changes.
#[derive(Default)]
struct Eye {
    status: Option<Status>,
    sessions: Vec<Session>,
    sessions_at: Option<Instant>,
    all: bool,
    coming: bool,
}

impl Eye {
    /// One look, and how long to wait for the next one.
    ///
    /// The tasks are asked for only when something has changed: the sessions, which
    /// cost less, say whether.
    fn look(
        &mut self,
        wish: Wish,
        ask: &mut dyn FnMut(&Request) -> Result<Json, ApiError>,
    ) -> Result<(Seen, Duration), ApiError> {
        let seen = self.try_look(wish, ask);
        if seen.is_err() {
            // Another agent may answer next.
            *self = Self::default();
        }
        seen
    }

    fn try_look(
        &mut self,
        wish: Wish,
        ask: &mut dyn FnMut(&Request) -> Result<Json, ApiError>,
    ) -> Result<(Seen, Duration), ApiError> {
        let status: Status = parsed(ask(&Request::Status)?)?;
        let devices = parsed(ask(&Request::Devices)?)?;
        let mut changed = self.status.as_ref().map(steady) != Some(steady(&status));
        let is_old = self
            .sessions_at
            .is_none_or(|at| at.elapsed() >= SESSIONS_AGE_MAX);
        let mut sessions = None;
        if wish.sessions || is_old {
            let list: Vec<Session> = parsed(ask(&Request::Sessions {
                scope: Scope::All,
                project: None,
            })?)?;
            changed |= list != self.sessions;
            self.sessions.clone_from(&list);
            self.sessions_at = Some(Instant::now());
            sessions = Some(list);
        }
        let mut tasks = None;
        if changed || self.coming || wish.all != self.all {
            let list: Vec<Task> = parsed(ask(&Request::Tasks {
                all: wish.all,
                only_look: true,
            })?)?;
            self.coming = list.iter().any(tasks::is_coming);
            self.all = wish.all;
            tasks = Some(list);
        }
        let behind = status.peers.iter().any(|peer| peer.behind > 0);
        self.status = Some(status.clone());
        let seen = Seen {
            status,
            devices,
            tasks,
            sessions,
        };
        let pause = match changed || behind || self.coming {
            true => PACE_BUSY,
            false => PACE_IDLE,
        };
        Ok((seen, pause))
    }
}

/// A status without what is never the same twice.
fn steady(status: &Status) -> Status {
    let mut status = status.clone();
    for peer in &mut status.peers {
        peer.rtt_ms = None;
    }
    status
}

/// Does what keys asked for, one thing after the other.
fn work(home: &Home, jobs: &Receiver<Job>, desk: &Desk, tell: &SyncSender<News>) {
    while let Ok(job) = jobs.recv() {
        let line = perform(home, job, tell).unwrap_or_else(|e| words(&e));
        desk.change(|wanted| wanted.anew = true);
        if tell.send(News::Did(line)).is_err() {
            return;
        }
    }
}

/// One job; what came of it, in a line.
fn perform(home: &Home, job: Job, tell: &SyncSender<News>) -> Result<String, ApiError> {
    match job {
        Job::Push(session) => batch(
            home,
            &Request::Push(Selection::Session { session }),
            &|item: Pushed| push::line(&item),
            tell,
        ),
        Job::Pull(session) => batch(
            home,
            &Request::Pull(Selection::Session { session }),
            &|item: Placed| pull::line(&item),
            tell,
        ),
        Job::Undo(task) => {
            let undone: Undone = parsed(ask(home, &Request::Undo { task: Some(task) })?)?;
            Ok(format!(
                "{}: {} files restored, {} removed",
                table::short(&undone.session_id),
                undone.restored,
                undone.removed
            ))
        }
        Job::Mark { task, done } => {
            let answer: Done = parsed(ask(home, &Request::Mark { task, done })?)?;
            Ok(match done {
                // It leaves the list under the hands of whoever marked it.
                true => format!("{}; `a` shows it again, `r` reopens it", answer.message),
                false => answer.message,
            })
        }
    }
}

/// A batch of one session: its line, or the sum where none came.
fn batch<T: DeserializeOwned>(
    home: &Home,
    request: &Request,
    line: &dyn Fn(T) -> String,
    tell: &SyncSender<News>,
) -> Result<String, ApiError> {
    let mut said = None;
    let summary: Summary = Client::connect(home)?.ask(
        request,
        &mut |_, value| {
            if let Ok(item) = serde_json::from_value(value) {
                said = Some(line(item));
            }
            Ok(())
        },
        &mut |step| {
            let how_far = match step.total {
                0 => format!("{} … {}", step.what, step.done),
                total => format!("{} … {} of {total}", step.what, step.done),
            };
            // Only the last of these matters.
            let _full = tell.try_send(News::Working(how_far));
        },
    )?;
    Ok(said.unwrap_or_else(|| {
        format!(
            "{} done, {} skipped, {} failed",
            summary.done, summary.skipped, summary.failed
        )
    }))
}

fn read(home: &Home, task: &str) -> Result<String, ApiError> {
    let task = task.to_owned();
    let answer: Show = parsed(ask(home, &Request::Show { task })?)?;
    Ok(show::page(&answer))
}

fn ask(home: &Home, request: &Request) -> Result<Json, ApiError> {
    Client::connect(home)?.get_json(request)
}

fn parsed<T: DeserializeOwned>(answer: Json) -> Result<T, ApiError> {
    answer.read().map_err(|_| {
        ApiError::new(
            ccpeer_agent::api::ErrorCode::Agent,
            "the agent speaks another version of the local protocol",
        )
        .hint("restart it: `ccpeer down`, then `ccpeer up`")
    })
}

/// What went wrong and what to do, in one line.
fn words(e: &ApiError) -> String {
    let mut line = e.message.clone();
    if let Some(hint) = &e.hint {
        line += &format!("; {hint}");
    }
    line
}

#[cfg(test)]
mod tests;
