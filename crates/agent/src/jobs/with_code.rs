//! The code of a session that is continued: how the checkout here stands to what the
//! session saw, and a work tree of what came along.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::manifest::Want;
use ccpeer_formats::capsule::{Capsule, LeftOut, Why};

use super::{bring, upkeep};
use crate::api::{
    ApiError, Code, CodeCapsule, CodeLeftOut, CodeThere, CodeWorktree, ErrorCode, Placed, PlacedHow,
};
use crate::code::keep::Kept;
use crate::code::make::{self, Made};
use crate::code::{CodeError, differs};
use crate::driver::{Ask, Handle, Head, wall};
use crate::place::{self, Rehomed, Rehoming};
use crate::pool::blocking;
use crate::server::Out;
use crate::view;

/// Characters of a version's name that are in that of its work tree.
const VERSION_CHARS: usize = 8;

/// Makes the work tree of a head, beside the clone that this directory lies in.
pub(super) async fn unfold(
    handle: &Handle,
    out: &Out,
    head: &Head,
    dir: PathBuf,
) -> Result<Made, ApiError> {
    let Some(capsule) = &head.capsule else {
        return Err(
            ApiError::new(ErrorCode::NotFound, "no code came along with this session").hint(
                format!(
                    "run `ccpeer policy code PROJECT on` on {}, and `ccpeer push` there",
                    head.device.name
                ),
            ),
        );
    };
    let content = capsule.content;
    bring::fetch(handle, out, head, content, "code").await?;
    out.progress("unfolding", 0, 0);
    let shared = Arc::clone(&handle.shared);
    let (session, tx) = (head.version.session, handle.tx.clone());
    let name = short(&capsule.version);
    let made = blocking(move || {
        let kept = Kept::load(&shared.store, session, content)?;
        let kept = kept.ok_or(CodeError::Shape)?;
        if let Some(why) = kept.capsule.content_left_out {
            return Err(ApiError::new(
                ErrorCode::Refused,
                format!("the code did not come along: it is {}", why.words()),
            )
            .hint("push a branch there, and fetch it here"));
        }
        Ok(make::make(&shared.home, &kept, &dir, &name, &|| {
            tx.is_closed()
        })?)
    });
    made.await
}

/// Takes a session along to the work tree that lay here already, in another
/// directory. Files are placed by one at a time: the caller's turn.
pub(super) async fn follow(
    handle: &Handle,
    session: SessionId,
    mut placed: Placed,
    dir: &Path,
) -> Result<Placed, ApiError> {
    let to = dir.to_string_lossy().into_owned();
    let is_there = placed.project_dir.as_ref().is_none_or(|there| *there == to);
    if is_there || placed.new_session_id.is_some() || placed.placed == PlacedHow::Refused {
        return Ok(placed);
    }
    let request = Rehoming {
        session,
        project: to.clone(),
        now: wall(),
        id: bring::new_session_id()?.0,
    };
    let shared = Arc::clone(&handle.shared);
    let hold = handle.hold(session).await?;
    let moved = blocking(move || place::rehome(&shared.store, &shared.home, &request)).await?;
    drop(hold);
    if let Rehomed::Moved { path, backup } = moved {
        placed.path = Some(path.display().to_string());
        placed.backup = Some(backup.display().to_string());
    }
    placed.project_dir = Some(to);
    Ok(placed)
}

/// The session lies in the work tree, or cannot: then nothing of it stays.
pub(super) async fn end(handle: &Handle, made: &Made, placed: Option<PlacedHow>) {
    let (made, tx) = (made.clone(), handle.tx.clone());
    let good = placed.is_some_and(|how| how != PlacedHow::Refused);
    blocking(move || match good {
        true => make::handed_over(&made),
        false => make::unmake(&made, &|| tx.is_closed()),
    })
    .await;
}

/// How the code stands, here and as the session saw it.
pub(super) async fn told(
    handle: &Handle,
    head: &Head,
    dir: Option<&str>,
    made: Option<&Made>,
) -> Code {
    let capsule = document(handle, head).await;
    let there = match &capsule {
        Some(capsule) if is_current(head) => Some(CodeThere {
            branch: view::line(&capsule.branch),
            commit: capsule.head.clone(),
            changed: Some(capsule.changed),
        }),
        _ => seen(handle, head).await,
    };
    // What it is compared with is the checkout, not what was just made of the capsule.
    let here = match (made, dir) {
        (Some(made), _) => Some(made.clone.clone()),
        (None, dir) => dir.map(PathBuf::from),
    };
    let asked = there.clone();
    let here = blocking(move || differs::look(&here?, asked.as_ref())).await;
    Code {
        there,
        here,
        capsule: along(handle, head, capsule.as_ref()).await,
        worktree: made.map(worktree),
    }
}

fn is_current(head: &Head) -> bool {
    head.capsule.as_ref().is_some_and(|c| c.version == head.id)
}

fn short(version: &EntryHash) -> String {
    let name = version.to_string();
    name.get(..VERSION_CHARS).unwrap_or(&name).to_owned()
}

/// What the capsule of a head says, if it is here.
async fn document(handle: &Handle, head: &Head) -> Option<Capsule> {
    let content = head.capsule.as_ref()?.content;
    let shared = Arc::clone(&handle.shared);
    let session = head.version.session;
    let kept = blocking(move || {
        let kept = Kept::load(&shared.store, session, content);
        kept.map(|kept| kept.map(|kept| kept.capsule))
    });
    kept.await.unwrap_or_else(|e| {
        tracing::warn!(error = %e, "the code that came with a session cannot be read");
        None
    })
}

/// What the session's own document says.
async fn seen(handle: &Handle, head: &Head) -> Option<CodeThere> {
    let snapshot = upkeep::snapshot(handle, head).await.ok()?;
    let known = !(snapshot.branch.is_empty() && snapshot.head.is_empty());
    known.then_some(CodeThere {
        branch: snapshot.branch,
        commit: snapshot.head,
        changed: snapshot.changed,
    })
}

async fn along(handle: &Handle, head: &Head, said: Option<&Capsule>) -> Option<CodeCapsule> {
    let capsule = head.capsule.as_ref()?;
    let want = Want::manifest(capsule.content.id);
    let progress = handle.ask(|to| Ask::Progress(want, to)).await;
    let why = |why: Why| why.words().to_owned();
    let mut left_out = Vec::new();
    let mut more = 0;
    if let Some(said) = said {
        more = gather(said, "", &mut left_out);
    }
    Some(CodeCapsule {
        complete: progress.is_ok_and(|(complete, ..)| complete),
        version: capsule.version.to_string(),
        current: is_current(head),
        device: capsule.device.clone(),
        at: view::time(capsule.at),
        unsent: said.map_or(0, |s| s.unsent),
        commits_left_out: said.and_then(|s| s.commits_left_out).map(why),
        content_left_out: said.and_then(|s| s.content_left_out).map(why),
        left_out,
        left_out_more: more,
    })
}

/// What did not come along, of submodules too.
fn gather(capsule: &Capsule, before: &str, out: &mut Vec<CodeLeftOut>) -> u64 {
    let mut more = capsule.left_out_more;
    let named = capsule
        .left_out
        .iter()
        .map(|LeftOut { path, why }| CodeLeftOut {
            path: format!("{before}{path}"),
            why: why.words().to_owned(),
        });
    out.extend(named);
    for submodule in &capsule.submodules {
        if let Some(inner) = &submodule.capsule {
            let before = format!("{before}{}/", submodule.path);
            more += gather(inner, &before, out);
        }
    }
    more
}

fn worktree(made: &Made) -> CodeWorktree {
    let text = |path: &Path| path.display().to_string();
    let words = [
        "git",
        "-C",
        &text(&made.clone),
        "worktree",
        "remove",
        "--force",
    ];
    let mut remove: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
    remove.push(text(&made.top));
    CodeWorktree {
        dir: text(&made.top),
        clone: text(&made.clone),
        branch: made.branch.clone(),
        notes: made.notes.clone(),
        remove,
    }
}
