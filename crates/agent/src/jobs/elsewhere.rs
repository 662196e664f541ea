//! A session that another device has open: to ask, to wait, or to take it over.
//!
//! A device that is in a turn and can be asked is the only reason to stop. One
//! that waits for its user loses nothing, and one that is away cannot be asked.

use std::time::Duration;

use ccpeer_core::entry::{Claim, Payload};
use ccpeer_core::sync::effect::Notice;

use super::{one_head, resolve};
use crate::api::{ApiError, DeviceName, ErrorCode, Meanwhile, Presence};
use crate::code::make::Made;
use crate::driver::{Ask, Handle, Head};
use crate::server::Out;
use crate::view;

/// Claude Code and the other agent write a little after the end of a turn; the
/// other agent looks for that for this long.
const LAST_LINES: Duration = Duration::from_secs(3);
/// A device that is away for longer than this while it is waited for is given
/// up: nobody can say when its turn ends.
const AWAY_MAX: Duration = Duration::from_secs(10);
/// How often the one who waits is told for how long.
const TELL: Duration = Duration::from_secs(1);

/// What was found elsewhere, and the head to go on from.
pub(super) struct Found {
    pub(super) head: Head,
    pub(super) elsewhere: Option<Presence>,
    /// The work tree that was made for it.
    pub(super) made: Option<Made>,
}

/// Makes sure that a head may be gone on from here, as the user wants it.
pub(super) async fn settle(
    handle: &Handle,
    out: &Out,
    head: Head,
    meanwhile: Meanwhile,
) -> Result<Found, ApiError> {
    let elsewhere = ask(handle, &head).await?;
    match (elsewhere, meanwhile) {
        (Some(busy), Meanwhile::Ask) if is_busy(&busy) => Err(choose(&head, busy)),
        (Some(busy), Meanwhile::Wait) if in_turn(&busy) => {
            let pause = &handle.shared.pause;
            pause.refuse("nobody says here when a turn elsewhere has ended")?;
            wait(handle, out, head, busy).await
        }
        (elsewhere, _) => Ok(Found {
            head,
            elsewhere,
            made: None,
        }),
    }
}

/// States that this device goes on with the session from this head. Answers who
/// had it until now, if that was another one.
pub(super) async fn claim(handle: &Handle, head: &Head) -> Result<Option<DeviceName>, ApiError> {
    let session = head.version.session;
    let standing = handle.ask(|to| Ask::Standing(session, to)).await?;
    let Some(baton) = standing.and_then(|s| s.baton).filter(|b| !b.is_me) else {
        return Ok(None);
    };
    let claim = Claim {
        session,
        base: Some(head.id),
    };
    handle.append(Payload::Claim(claim)).await?;
    Ok(Some(baton.device))
}

async fn ask(handle: &Handle, head: &Head) -> Result<Option<Presence>, ApiError> {
    let (session, id) = (head.version.session, head.id);
    handle.ask(|to| Ask::Elsewhere(session, id, to)).await
}

/// At work, and it can be asked.
fn is_busy(word: &Presence) -> bool {
    in_turn(word) && word.connected
}

fn in_turn(word: &Presence) -> bool {
    word.state == "live"
}

/// The refusal, with everything there is to choose.
fn choose(head: &Head, busy: Presence) -> ApiError {
    let name = &busy.device.name;
    let mut error = ApiError::new(
        ErrorCode::Live,
        format!(
            "session {} is in a turn at {name}, as of {}",
            head.version.session.short(),
            view::text_time(&busy.since)
        ),
    )
    .hint("choose `--wait`, `--take-over` or `--fork`")
    .choices(vec![
        format!("--wait: until the turn at {name} has ended, then go on here"),
        format!("--take-over: go on here from what is here now; {name} is told"),
        "--fork: go on here beside it, as a session of its own".to_owned(),
    ]);
    error.elsewhere = Some(Box::new(busy));
    error
}

/// Waits until the turn there has ended, or the process is gone, and the last of
/// it is known here.
async fn wait(handle: &Handle, out: &Out, head: Head, busy: Presence) -> Result<Found, ApiError> {
    let mut notices = handle.notices();
    let begin = tokio::time::Instant::now();
    let (mut head, mut told) = (head, busy);
    let mut away: Option<tokio::time::Instant> = None;
    let mut quiet: Option<tokio::time::Instant> = None;
    out.item(&told).await?;
    loop {
        let waited = begin.elapsed().as_secs();
        out.progress(&format!("waiting for {}", told.device.name), waited, 0);
        let wake = tokio::time::Instant::now() + TELL;
        tokio::select! {
            () = out.closed() => return Err(ApiError::new(ErrorCode::Agent, "nobody waits any more")),
            () = news(&mut notices, &head) => {}
            () = tokio::time::sleep_until(wake) => {}
        }
        let newest = follow(handle, &head).await?;
        if newest.id != head.id {
            quiet = None;
        }
        head = newest;
        let word = ask(handle, &head).await?;
        match &word {
            Some(word) if in_turn(word) && word.connected => {
                (away, quiet) = (None, None);
            }
            Some(word) if in_turn(word) => {
                let since = *away.get_or_insert_with(tokio::time::Instant::now);
                if since.elapsed() >= AWAY_MAX {
                    return Err(lost(&head, word.clone()));
                }
            }
            _ => {
                let since = *quiet.get_or_insert_with(tokio::time::Instant::now);
                if since.elapsed() >= LAST_LINES {
                    return Ok(Found {
                        head,
                        elsewhere: word,
                        made: None,
                    });
                }
            }
        }
        if let Some(word) = word
            && (&word.device, &word.state, word.connected)
                != (&told.device, &told.state, told.connected)
        {
            out.item(&word).await?;
            told = word;
        }
    }
}

/// The head that this one has become.
async fn follow(handle: &Handle, head: &Head) -> Result<Head, ApiError> {
    let target = resolve(handle, head.id.to_string()).await?;
    one_head(&target)
}

async fn news(notices: &mut tokio::sync::broadcast::Receiver<Notice>, head: &Head) {
    use tokio::sync::broadcast::error::RecvError;
    loop {
        match notices.recv().await {
            Ok(Notice::Session(session)) if session == head.version.session => return,
            Ok(_) => {}
            // It may have been among those that were missed.
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn lost(head: &Head, word: Presence) -> ApiError {
    let name = &word.device.name;
    let mut error = ApiError::new(
        ErrorCode::Live,
        format!(
            "{name} went away in the middle of a turn of session {}; nobody can say when it ends",
            head.version.session.short()
        ),
    )
    .hint("wait again when it is back, or use `--take-over` to go on from what is here");
    error.elsewhere = Some(Box::new(word));
    error
}
