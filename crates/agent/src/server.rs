//! The local socket: one task a client, a bounded number of them, and no state
//! of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::id::SessionId;
use ccpeer_core::limits;
use ccpeer_core::presence::EndReason;
use ccpeer_formats::claude::hook::{HookEvent, HookKind, StartSource};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::api::{
    self, ApiError, ErrorCode, FRAME_HOOK, FRAME_REQUEST, FRAME_SPOOLED, HookTaken, Json, Progress,
    RekeyHow, Reply, Request,
};
use crate::driver::{Ask, Handle, Input};
use crate::inbox::{self, Accepted, InboxError, Pending};
use crate::listen::{Listener, Stream};
use crate::local::LocalState;
use crate::policy::Policy;
use crate::pool::blocking;
use crate::{frames, jobs, process};

/// A client that connects and says nothing is dropped after this.
const FIRST_FRAME: Duration = Duration::from_secs(5);
/// While a job has nothing to say, the client is told this often that we live.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Replies that wait for a slow client before its job waits too.
const REPLIES_MAX: usize = 64;
/// Pause after a client could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What SessionStart may be kept waiting for its line.
const LINE_DEADLINE: Duration = Duration::from_millis(50);

/// Where a job's answers go.
pub(crate) struct Out {
    replies: mpsc::Sender<Reply>,
    /// What the client says while the job runs: only `Answer`.
    pub(crate) answers: mpsc::Receiver<Request>,
}

impl Out {
    /// One step of a streamed answer.
    pub(crate) async fn item(&self, item: &impl Serialize) -> Result<(), ApiError> {
        let item = to_json(item)?;
        self.replies
            .send(Reply::Item(item))
            .await
            .map_err(|_| client_gone())
    }

    /// How far it has come. Dropped if the client is slow.
    pub(crate) fn progress(&self, what: &str, done: u64, total: u64) {
        let progress = Progress {
            what: what.to_owned(),
            done,
            total,
        };
        let _dropped = self.replies.try_send(Reply::Progress(progress));
    }

    /// A sender of progress for the blocking pool.
    pub(crate) fn meter(&self, what: &'static str) -> impl FnMut(u64, u64) + Send + 'static {
        let replies = self.replies.clone();
        move |done, total| {
            let progress = Progress {
                what: what.to_owned(),
                done,
                total,
            };
            let _dropped = replies.try_send(Reply::Progress(progress));
        }
    }

    /// Resolves when the client has gone.
    pub(crate) async fn closed(&self) {
        self.replies.closed().await;
    }
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<Json, ApiError> {
    Json::of(value).map_err(crate::problem::unwritten)
}

fn client_gone() -> ApiError {
    ApiError::new(ErrorCode::Agent, "the client went away")
}

/// Accepts clients until told to stop.
pub(crate) async fn serve(mut listener: Listener, handle: Handle, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(limits::API_CLIENTS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        match accepted {
            Ok(stream) => {
                let handle = handle.clone();
                tokio::spawn(async move {
                    client(stream, handle).await;
                    drop(place);
                });
            }
            Err(e) => {
                tracing::warn!(error = %e, "cannot accept a local client");
                // Out of descriptors, mostly: give others a moment to end.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn client(stream: Stream, handle: Handle) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let Ok(Ok(Some((kind, body)))) =
        tokio::time::timeout(FIRST_FRAME, frames::read(&mut reader)).await
    else {
        return;
    };
    match kind {
        FRAME_HOOK => {
            hook(body, &handle, &mut writer).await;
        }
        FRAME_SPOOLED => handle.shared.spooled.notify_one(),
        FRAME_REQUEST => match serde_json::from_slice(&body) {
            Ok(request) => job(request, handle, reader, writer).await,
            Err(_) => {
                let error = ApiError::new(ErrorCode::Usage, "the agent does not know this request")
                    .hint("restart the agent: `ccpeer down`, then `ccpeer up`");
                let _gone = frames::write(&mut writer, &Reply::Error(error)).await;
            }
        },
        _ => {}
    }
}

async fn hook(body: Vec<u8>, handle: &Handle, writer: &mut (impl AsyncWrite + Unpin)) {
    let shared = Arc::clone(&handle.shared);
    let turn = inbox::ends_turn(&body);
    let accepting = blocking(move || shared.inbox.accept(&body).map(look_at_end));
    let mut accepting = std::pin::pin!(accepting);
    // It is being written down from here on; reading the session takes longer.
    let before = at_once(accepting.as_mut()).await;
    let _early = turn.and_then(|(session, reply)| handle.begin_early(session, reply));
    let accepted = match before {
        Some(accepted) => accepted,
        None => accepting.await,
    };
    let reply = match accepted {
        Ok(Accepted::New(pending)) => return pass_on(pending, handle, writer).await,
        Ok(Accepted::Known) => taken(None),
        Err(e @ (InboxError::Malformed | InboxError::InFlight)) => {
            Reply::Error(ApiError::new(ErrorCode::Usage, e.to_string()))
        }
        Err(InboxError::Store(e)) => {
            tracing::error!(error = %e, "cannot keep a hook event");
            Reply::Error(crate::problem::store(&e))
        }
    };
    let _gone = frames::write(writer, &reply).await;
}

/// Acknowledges an event that is kept, and hands it to the driver. It is safe in
/// the inbox whatever becomes of the driver.
async fn pass_on(pending: Pending, handle: &Handle, writer: &mut (impl AsyncWrite + Unpin)) {
    let starts = pending.event.as_ref().and_then(|e| match e.kind {
        HookKind::SessionStart { source } => Some((e.session, source, place_of(e))),
        _ => None,
    });
    let mut sending = std::pin::pin!(handle.send(Input::Hook(pending)));
    // It has its place among those that wait for the driver, so that what is told
    // after the answer comes after it.
    let mut sent = at_once(sending.as_mut()).await.is_some();
    let mut line = None;
    if let Some((session, source, dir)) = starts {
        if !sent {
            let _ending = sending.as_mut().await;
            sent = true;
        }
        if let Some(dir) = dir {
            handle.shared.bell.begins_in(dir);
        }
        let asked = start_line(handle, session, source);
        let asked = tokio::time::timeout(LINE_DEADLINE, asked).await;
        line = asked.ok().flatten();
    }
    let _gone = frames::write(writer, &taken(line)).await;
    if !sent {
        let _ending = sending.await;
    }
}

fn taken(line: Option<String>) -> Reply {
    to_json(&HookTaken { line }).map_or_else(Reply::Error, Reply::Ok)
}

/// Begins it; its outcome, if there is nothing to wait for.
async fn at_once<T>(work: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = std::future::ready(()) => None,
    }
}

/// A session that ends for a reason which Claude Code does not tell: perhaps its
/// terminal is gone. That can be seen for as long as its process lives, which
/// waits for this hook.
fn look_at_end(accepted: Accepted) -> Accepted {
    let Accepted::New(mut pending) = accepted else {
        return accepted;
    };
    if let Some(event) = &mut pending.event
        && let HookKind::End { reason } = &mut event.kind
        && *reason == EndReason::Other
        && event.pid.is_some_and(process::lost_terminal)
    {
        *reason = EndReason::Closed;
    }
    Accepted::New(pending)
}

/// Where a session begins, if it is a directory that anything can be said of.
fn place_of(event: &HookEvent) -> Option<PathBuf> {
    let dir = event.project_dir.as_ref().or(event.cwd.as_ref())?;
    Some(PathBuf::from(dir)).filter(|dir| dir.is_absolute())
}

async fn start_line(handle: &Handle, session: SessionId, source: StartSource) -> Option<String> {
    let shared = Arc::clone(&handle.shared);
    let local = blocking(move || {
        let wanted = Policy::load(&shared.store).is_ok_and(|p| p.start_line);
        wanted.then(|| LocalState::load(&shared.store, &session))
    });
    let base = local.await?.ok().flatten().and_then(|s| s.base);
    let asked = handle.ask(|to| Ask::Line {
        session,
        base,
        source,
        to,
    });
    asked.await.ok().flatten()
}

/// Whether the agent begins anew because of this answer. Of a relay it does only
/// if the answer says so.
fn calls_for_it(reply: &Reply, about_relay: bool) -> bool {
    match reply {
        Reply::Ok(relay) if about_relay => relay.read().is_ok_and(|r: api::Relay| r.again),
        Reply::Ok(_) => true,
        _ => false,
    }
}

async fn job<R, W>(request: Request, handle: Handle, mut reader: R, mut writer: W)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin,
{
    let mut after = match request {
        Request::Down => Some(Input::Shutdown),
        Request::Rekey {
            how: RekeyHow::Roll | RekeyHow::Separate,
        }
        | Request::Relay { change: Some(_) } => Some(Input::Again),
        _ => None,
    };
    let about_relay = matches!(request, Request::Relay { .. });
    let driver = handle.clone();
    let (replies, mut outgoing) = mpsc::channel(REPLIES_MAX);
    let (answers_in, answers) = mpsc::channel(1);
    let listening = tokio::spawn(async move {
        while let Ok(Some((FRAME_REQUEST, body))) = frames::read(&mut reader).await {
            let Ok(answer) = serde_json::from_slice::<Request>(&body) else {
                return;
            };
            if answers_in.send(answer).await.is_err() {
                // The job has no ears: keep reading only to notice the end.
            }
        }
    });
    let last = replies.clone();
    let working = tokio::spawn(async move {
        let reply = match jobs::run(request, &handle, Out { replies, answers }).await {
            Ok(answer) => Reply::Ok(answer),
            Err(e) => Reply::Error(e),
        };
        let _gone = last.send(reply).await;
    });
    loop {
        let reply = tokio::select! {
            reply = outgoing.recv() => reply,
            () = tokio::time::sleep(HEARTBEAT) => {
                Some(Reply::Progress(Progress { what: String::new(), done: 0, total: 0 }))
            }
        };
        let Some(reply) = reply else {
            // The job ended without a word: it panicked.
            let error = ApiError::new(ErrorCode::Bug, "the agent failed at this request")
                .hint("the agent's log says more; please report it");
            let _gone = frames::write(&mut writer, &Reply::Error(error)).await;
            break;
        };
        let last = reply.is_last();
        if last && matches!(after, Some(Input::Again)) && !calls_for_it(&reply, about_relay) {
            after = None;
        }
        if frames::write(&mut writer, &reply).await.is_err() || last {
            break;
        }
    }
    // With nobody to answer, the job sees its replies closed and ends by itself.
    drop(outgoing);
    listening.abort();
    let _panicked = working.await;
    if let Some(input) = after {
        // Only now that the client has its answer.
        let _ending = driver.send(input).await;
    }
}
