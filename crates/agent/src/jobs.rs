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

use crate::api::{ApiError, Done, ErrorCode, Json, Request};
use crate::driver::{Ask, Handle, Head, Input, Target};
use crate::pool::blocking;
use crate::server::{Out, to_json};
use crate::{scan, view};

/// Runs one request to its end.
pub(crate) async fn run(request: Request, handle: &Handle, out: Out) -> Result<Json, ApiError> {
    match request {
        Request::Status => to_json(&upkeep::status(handle).await?),
        // The server ends the driver when this has been said.
        Request::Down => done("the agent stops"),
        Request::Devices => to_json(&handle.ask(Ask::Devices).await?),
        Request::Rename { name } => rename(handle, &name).await,
        Request::Revoke { device } => done(members::revoke(handle, device).await?),
        Request::Accept { device } => to_json(&members::accept(handle, device).await?),
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
        Request::Around => to_json(&around::around(handle).await?),
        Request::Safety { device } => to_json(&pair::safety(handle, device).await?),
        Request::Tasks { all, only_look } => tasks(handle, all, !only_look).await,
        Request::Expiring => to_json(&handle.ask(Ask::Expiring).await?),
        Request::Show { task } => to_json(&upkeep::show(handle, task).await?),
        Request::Sessions { scope, project } => upkeep::sessions(handle, scope, project).await,
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
            to_json(&bring::continue_task(handle, &out, task, &wish).await?)
        }
        Request::Push(selection) => to_json(&send::push(handle, &out, &selection).await?),
        Request::Pull(selection) => to_json(&bring::pull(handle, &out, &selection).await?),
        Request::Snapshot { session, force } => {
            to_json(&send::snapshot(handle, &out, session, force).await?)
        }
        Request::Mark { task, done } => mark(handle, task, done).await,
        Request::Undo { task } => to_json(&upkeep::undo(handle, task).await?),
        Request::UndoUnasked => to_json(&upkeep::undo_unasked(handle, &out).await?),
        Request::Verify { read_data } => to_json(&verify::verify(handle, &out, read_data).await?),
        Request::Rekey { how } => to_json(&rekey::rekey(handle, &out, how).await?),
        Request::Policy { change } => to_json(&policy::policy(handle, change).await?),
        Request::Why { session } => to_json(&why::why(handle, session).await?),
        Request::Relay { change } => to_json(&relay::relay(handle, change).await?),
        Request::Git { change } => to_json(&git::git(handle, &out, change).await?),
        Request::GitImport { from, key_file } => {
            to_json(&import::import(handle, &out, &from, key_file.as_deref()).await?)
        }
        Request::Serve(what) => serve::serve(handle, &out, what).await,
        Request::Search(search) => {
            let list = search::List::Numbered;
            to_json(&search::search(handle, search, list).await?)
        }
        Request::Ui => page::ui(handle, &out).await,
        Request::Transcript(ask) => to_json(&page::transcript(handle, ask).await?),
        Request::Projects => to_json(&projects::list(handle).await?),
        Request::ProjectsChange(change) => to_json(&projects::change(handle, change).await?),
        Request::Move { old, new, dry_run } => {
            to_json(&relocate::relocate(handle, &out, &old, &new, dry_run).await?)
        }
    }
}

fn done(message: impl Into<String>) -> Result<Json, ApiError> {
    to_json(&Done {
        message: message.into(),
    })
}

/// The list. All of it includes what is not in Claude's directory any more, so
/// that is looked at first.
async fn tasks(handle: &Handle, all: bool, remember: bool) -> Result<Json, ApiError> {
    if all {
        look_for_vanished(handle).await?;
    }
    let list = handle.ask(|to| Ask::TaskList { all, remember, to });
    list.await?
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

async fn rename(handle: &Handle, name: &str) -> Result<Json, ApiError> {
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

async fn mark(handle: &Handle, task: String, finished: bool) -> Result<Json, ApiError> {
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
