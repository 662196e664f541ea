//! Requests that take longer than a question: each runs in the task of its
//! client and speaks to the driver through its handle.

mod around;
pub(crate) mod bring;
mod elsewhere;
pub(crate) mod git;
mod import;
mod members;
pub(crate) mod page;
mod pair;
mod policy;
mod projects;
mod rekey;
mod relay;
mod relocate;
mod search;
mod secrets;
mod send;
mod serve;
mod upkeep;
mod verify;
mod why;
mod with_code;

use std::sync::Arc;

use ccpeer_core::entry::{DeviceInfo, Mark, Payload};
use ccpeer_core::limits;
use ccpeer_core::text;
use serde_json::Value;

use crate::api::{ApiError, Done, ErrorCode, Request, Task};
use crate::driver::{Ask, Handle, Head, Input, Target};
use crate::pool::blocking;
use crate::server::{Out, to_value};
use crate::{scan, view};

/// Runs one request to its end.
pub(crate) async fn run(request: Request, handle: &Handle, out: Out) -> Result<Value, ApiError> {
    match request {
        Request::Status => to_value(&upkeep::status(handle).await?),
        // The server ends the driver when this has been said.
        Request::Down => done("the agent stops"),
        Request::Devices => to_value(&handle.ask(Ask::Devices).await?),
        Request::Rename { name } => rename(handle, &name).await,
        Request::Revoke { device } => done(members::revoke(handle, device).await?),
        Request::Accept { device } => to_value(&members::accept(handle, device).await?),
        Request::Seen => {
            handle.ask(Ask::SeenIntroductions).await?;
            done("what others have added was seen")
        }
        Request::Pair { ticket, yes } => pair::invite(handle, out, ticket, yes).await,
        Request::Answer { .. } => Err(ApiError::new(
            ErrorCode::Usage,
            "there is nothing to answer",
        )),
        Request::Join { secret } => pair::join(handle, out, secret).await,
        Request::Address { device, addr } => pair::address(handle, device, &addr).await,
        Request::Around => to_value(&around::around(handle).await?),
        Request::Safety { device } => to_value(&pair::safety(handle, device).await?),
        Request::Tasks { all, only_look } => to_value(&tasks(handle, all, !only_look).await?),
        Request::Expiring => to_value(&handle.ask(Ask::Expiring).await?),
        Request::Show { task } => to_value(&upkeep::show(handle, task).await?),
        Request::Sessions { scope, project } => {
            to_value(&upkeep::sessions(handle, scope, project.as_deref()).await?)
        }
        Request::Continue {
            task,
            into,
            from_dir,
            fork,
            handoff,
            join,
            with_code,
            meanwhile,
        } => {
            let wish = bring::Wish {
                into,
                from_dir,
                fork,
                handoff,
                join,
                with_code,
                meanwhile,
                keep_times: false,
            };
            to_value(&bring::continue_task(handle, &out, task, &wish).await?)
        }
        Request::Push(selection) => to_value(&send::push(handle, &out, &selection).await?),
        Request::Pull(selection) => to_value(&bring::pull(handle, &out, &selection).await?),
        Request::Snapshot { session, force } => {
            to_value(&send::snapshot(handle, &out, session, force).await?)
        }
        Request::Mark { task, done } => mark(handle, task, done).await,
        Request::Undo { task } => to_value(&upkeep::undo(handle, task).await?),
        Request::UndoUnasked => to_value(&upkeep::undo_unasked(handle, &out).await?),
        Request::Verify { read_data } => to_value(&verify::verify(handle, &out, read_data).await?),
        Request::Rekey { how } => to_value(&rekey::rekey(handle, &out, how).await?),
        Request::Policy { change } => to_value(&policy::policy(handle, change).await?),
        Request::Why { session } => to_value(&why::why(handle, session).await?),
        Request::Relay { change } => to_value(&relay::relay(handle, change).await?),
        Request::Git { change } => to_value(&git::git(handle, &out, change).await?),
        Request::GitImport { from, key_file } => {
            to_value(&import::import(handle, &out, &from, key_file.as_deref()).await?)
        }
        Request::Serve(what) => serve::serve(handle, &out, what).await,
        Request::Search(search) => {
            let list = search::List::Numbered;
            to_value(&search::search(handle, search, list).await?)
        }
        Request::Ui => page::ui(handle, &out).await,
        Request::Transcript(ask) => to_value(&page::transcript(handle, ask).await?),
        Request::Projects => to_value(&projects::list(handle).await?),
        Request::ProjectsChange(change) => to_value(&projects::change(handle, change).await?),
        Request::Move { old, new, dry_run } => {
            to_value(&relocate::relocate(handle, &out, &old, &new, dry_run).await?)
        }
    }
}

fn done(message: impl Into<String>) -> Result<Value, ApiError> {
    to_value(&Done {
        message: message.into(),
    })
}

/// The list. All of it includes what is not in Claude's directory any more, so
/// that is looked at first.
async fn tasks(handle: &Handle, all: bool, remember: bool) -> Result<Vec<Task>, ApiError> {
    if all {
        look_for_vanished(handle).await?;
    }
    handle.ask(|to| Ask::Tasks { all, remember, to }).await
}

/// Finds out now, and not at the next sweep, whose files are gone.
async fn look_for_vanished(handle: &Handle) -> Result<(), ApiError> {
    let expected = handle.ask(Ask::MayVanish).await?;
    let shared = Arc::clone(&handle.shared);
    let gone = blocking(move || {
        let found = scan::all_sessions(&shared.home);
        scan::vanished(&shared.store, &shared.home, &expected, &found)
    })
    .await;
    if gone.is_empty() {
        return Ok(());
    }
    handle.send(Input::Vanished(gone)).await
}

async fn rename(handle: &Handle, name: &str) -> Result<Value, ApiError> {
    let name = text::one_line(name, limits::DEVICE_NAME_CHARS_MAX);
    if name.is_empty() {
        return Err(
            ApiError::new(ErrorCode::Usage, "a device needs a name that can be seen")
                .hint("give it one, such as `ccpeer rename laptop`"),
        );
    }
    let os = std::env::consts::OS.to_owned();
    handle
        .append(Payload::Device(DeviceInfo {
            name: name.clone(),
            os,
        }))
        .await?;
    done(format!("this device is called {name} now"))
}

async fn mark(handle: &Handle, task: String, finished: bool) -> Result<Value, ApiError> {
    let target = resolve(handle, task).await?;
    let session = target.session;
    handle
        .append(Payload::Mark(Mark {
            session,
            done: finished,
        }))
        .await?;
    let short = session.short();
    done(if finished {
        format!("{short} is done")
    } else {
        format!("{short} is open again")
    })
}

/// What a `<task>` argument means.
async fn resolve(handle: &Handle, task: String) -> Result<Target, ApiError> {
    handle.ask(|to| Ask::Resolve(task, to)).await?
}

/// The one head that is meant, or the choice.
fn one_head(target: &Target) -> Result<Head, ApiError> {
    target.head.clone().ok_or_else(|| {
        if target.heads.is_empty() {
            return ApiError::new(ErrorCode::NotFound, "no version of this session is known");
        }
        ApiError::new(
            ErrorCode::Ambiguous,
            format!("the session went on in {} places", target.heads.len()),
        )
        .hint("name one by its number in `ccpeer tasks` or by the id at the start of its line")
        .choices(target.heads.iter().map(view::choice).collect())
    })
}
