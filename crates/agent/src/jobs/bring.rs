//! Bringing sessions here: `continue` and `pull`.
//!
//! Order: capture what lies here (so that nothing of it can get lost) → is it
//! open here? → have all of the version → know the project's directory → is
//! somebody else at work? → place → say that it goes on here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::entry::{ContentRef, Payload, Version};
use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::Want;
use ccpeer_core::sync::effect::Notice;
use ccpeer_core::sync::event::Event;

use super::elsewhere::{self, Found};
use super::{one_head, resolve, upkeep, with_code};
use crate::api::{
    ApiError, Code, Continued, ErrorCode, Meanwhile, Placed, PlacedHow, Selection, Summary,
};
use crate::code::make::Made;
use crate::driver::{Ask, CaptureDone, Handle, Head, Input, Target, wall};
use crate::local::LocalState;
use crate::place::{self, Mode, PlaceError, PlaceRequest};
use crate::pool::blocking;
use crate::projects::{self, Located};
use crate::server::Out;
use crate::{live, problem, random, view};

/// A fetch that makes no progress for this long is given up; what arrived stays.
const STALL_MAX: Duration = Duration::from_secs(30);

/// How the user wants it.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish {
    pub(super) into: Option<String>,
    pub(super) from_dir: Option<String>,
    pub(super) fork: bool,
    pub(super) handoff: bool,
    pub(super) meanwhile: Meanwhile,
    pub(super) join: bool,
    /// The code that came along, in a new work tree.
    pub(super) with_code: bool,
    /// Files keep the times that they have elsewhere.
    pub(super) keep_times: bool,
}

/// Brings one task here and says how to go on with it.
pub(super) async fn continue_task(
    handle: &Handle,
    out: &Out,
    task: String,
    wish: &Wish,
) -> Result<Continued, ApiError> {
    let target = resolve(handle, task).await?;
    if wish.join {
        return join(handle, out, &target, wish).await;
    }
    let head = one_head(&target)?;
    if wish.handoff {
        let placed = hand_off(handle, &head, wish).await?;
        return Ok(Continued {
            code: code_of(handle, &head, &placed, None).await,
            placed,
            elsewhere: None,
            taken_from: None,
        });
    }
    let (placed, found) = bring(handle, out, head, wish).await?;
    let taken_from = if wish.fork || placed.placed == PlacedHow::Refused {
        None
    } else {
        elsewhere::claim(handle, &found.head).await?
    };
    Ok(Continued {
        code: code_of(handle, &found.head, &placed, found.made.as_ref()).await,
        placed,
        elsewhere: found.elsewhere,
        taken_from,
    })
}

/// How the code stands where a session was placed.
async fn code_of(
    handle: &Handle,
    head: &Head,
    placed: &Placed,
    made: Option<&Made>,
) -> Option<Code> {
    let dir = placed.project_dir.as_deref();
    let code = with_code::told(handle, head, dir, made).await;
    (code != Code::default()).then_some(code)
}

/// Puts the turns of other devices behind those of this one, and states that the
/// lines are one again.
async fn join(
    handle: &Handle,
    out: &Out,
    target: &Target,
    wish: &Wish,
) -> Result<Continued, ApiError> {
    let named = target.head.iter().filter(|h| !h.from_me);
    let others = target.heads.iter().filter(|h| !h.from_me);
    let heads: Vec<&Head> = match named.count() {
        0 => others.collect(),
        _ => target.head.iter().collect(),
    };
    let mut last = None;
    for head in heads {
        let (placed, found) = bring(handle, out, head.clone(), wish).await?;
        if placed.placed == PlacedHow::Joined
            && let CaptureDone::Failed(e) = handle.capture(target.session).await?
        {
            return Err(e);
        }
        last = Some((placed, found));
    }
    let Some((placed, found)) = last else {
        return Err(ApiError::new(
            ErrorCode::NotFound,
            "no other device went on with this session",
        ));
    };
    // What was joined is a head of its own now.
    let now = resolve(handle, target.session.to_string()).await?;
    let head = now.head.unwrap_or(found.head);
    let taken_from = elsewhere::claim(handle, &head).await?;
    Ok(Continued {
        code: code_of(handle, &head, &placed, None).await,
        placed,
        elsewhere: found.elsewhere,
        taken_from,
    })
}

/// Brings everything here that a selection means, one failure stopping nothing.
pub(super) async fn pull(
    handle: &Handle,
    out: &Out,
    selection: &Selection,
) -> Result<Summary, ApiError> {
    let heads = selected(handle, selection).await?;
    let total = heads.len() as u64;
    let mut summary = Summary::default();
    for (head, n) in heads.into_iter().zip(1u64..) {
        let wish = Wish {
            keep_times: true,
            ..Wish::default()
        };
        let placed = match bring(handle, out, head.clone(), &wish).await {
            Ok((placed, _)) => placed,
            Err(e) => refused(&head, e),
        };
        match placed.placed {
            PlacedHow::UpToDate => summary.skipped += 1,
            PlacedHow::Refused => summary.failed += 1,
            PlacedHow::New | PlacedHow::FastForward | PlacedHow::Fork | PlacedHow::Joined => {
                summary.done += 1;
            }
        }
        out.item(&placed).await?;
        out.progress("placing", n, total);
    }
    Ok(summary)
}

async fn selected(handle: &Handle, selection: &Selection) -> Result<Vec<Head>, ApiError> {
    if let Selection::Session { session } = selection {
        return Ok(vec![one_head(&resolve(handle, session.clone()).await?)?]);
    }
    let heads = handle.ask(Ask::Sessions).await?;
    let chosen: Vec<Head> = heads
        .into_iter()
        .map(|(h, _)| h)
        .filter(|h| !h.from_me)
        .filter(|h| match selection {
            Selection::Project { project } => view::is_of_project(&h.version.meta, project),
            Selection::All | Selection::Session { .. } => true,
        })
        .collect();
    match selection {
        Selection::Project { .. } if chosen.is_empty() => Err(ApiError::new(
            ErrorCode::NotFound,
            "no session of another device belongs to this project",
        )
        .hint("`ccpeer sessions --remote` lists them with their projects")),
        _ => Ok(chosen),
    }
}

async fn bring(
    handle: &Handle,
    out: &Out,
    head: Head,
    wish: &Wish,
) -> Result<(Placed, Found), ApiError> {
    let session = head.version.session;
    out.progress("capturing", 0, 0);
    let here = handle.capture(session).await?;
    if let CaptureDone::Failed(e) = here {
        return Err(e);
    }
    if !wish.fork && is_open_here(handle, session, &here).await? {
        return Err(PlaceError::Live(session).into());
    }
    manifest_of(&head)?;
    fetch_session(handle, out, &head).await?;
    let (mut dir, remark) = locate(handle, &head, wish).await?;
    let mut found = if wish.fork {
        Found {
            head,
            elsewhere: None,
            made: None,
        }
    } else {
        elsewhere::settle(handle, out, head, wish.meanwhile).await?
    };
    // After a wait there is more of it; else this is said and done.
    fetch_session(handle, out, &found.head).await?;
    if wish.with_code {
        let made = with_code::unfold(handle, out, &found.head, dir).await?;
        dir = made.dir.clone();
        found.made = Some(made);
    }
    let placed = place_in(handle, out, &found.head, wish, dir, &here).await;
    if let Some(made) = &found.made {
        let how = placed.as_ref().ok().map(|placed| placed.placed);
        with_code::end(handle, made, how).await;
    }
    let mut placed = placed?;
    if matches!(placed.placed, PlacedHow::New | PlacedHow::Fork) && !wish.with_code {
        placed.notes.extend(remark);
    }
    Ok((placed, found))
}

/// Places a version that is here where it was decided that it belongs.
async fn place_in(
    handle: &Handle,
    out: &Out,
    head: &Head,
    wish: &Wish,
    dir: PathBuf,
    here: &CaptureDone,
) -> Result<Placed, ApiError> {
    let session = head.version.session;
    let mode = match (wish.fork, wish.join) {
        (true, _) => Mode::ForceFork,
        (false, true) => Mode::Join,
        (false, false) => Mode::Auto,
    };
    let how = How {
        mode,
        keep_times: wish.keep_times,
        // A work tree that was made for it is not where the project lies.
        remember: !wish.with_code,
    };
    let turn = handle.shared.placing.lock().await;
    if (wish.into.is_some() || wish.with_code) && !wish.fork {
        let (shared, to) = (Arc::clone(&handle.shared), dir.clone());
        let hold = handle.hold(session).await?;
        blocking(move || place::make_way(&shared.store, &shared.home, &session, &to)).await?;
        drop(hold);
    }
    let mut placed = put(handle, head, dir.clone(), how, here, out.meter("placing")).await?;
    if wish.with_code {
        placed = with_code::follow(handle, session, placed, &dir).await?;
    }
    drop(turn);
    Ok(placed)
}

/// Places a version that is here, without being asked for it: as itself where
/// nothing is or over its own beginning, or not at all.
pub(crate) async fn unasked(
    handle: &Handle,
    head: &Head,
    dir: PathBuf,
) -> Result<Placed, ApiError> {
    let _turn = handle.shared.placing.lock().await;
    let session = head.version.session;
    let here = handle.capture(session).await?;
    if let CaptureDone::Failed(e) = here {
        return Err(e);
    }
    if is_open_here(handle, session, &here).await? {
        return Err(PlaceError::Live(session).into());
    }
    let how = How {
        mode: Mode::Unasked,
        keep_times: true,
        remember: false,
    };
    put(handle, head, dir, how, &here, |_, _| {}).await
}

/// How a version is put into its place; see [`PlaceRequest`].
#[derive(Clone, Copy)]
struct How {
    mode: Mode,
    keep_times: bool,
    remember: bool,
}

/// Places a version whose content is here.
async fn put(
    handle: &Handle,
    head: &Head,
    dir: PathBuf,
    how: How,
    here: &CaptureDone,
    mut meter: impl FnMut(u64, u64) + Send + 'static,
) -> Result<Placed, ApiError> {
    let session = head.version.session;
    let relatives = handle
        .ask(|to| Ask::Relatives(session, head.id, to))
        .await?;
    let request = PlaceRequest {
        version: head.id,
        manifest: manifest_of(head)?,
        session,
        project_dir: dir,
        mode: how.mode,
        keep_times: how.keep_times,
        remember: how.remember,
        title: head.version.meta.title.clone(),
        device_name: head.device.name.clone(),
        from_me: head.from_me,
        live: is_open_here(handle, session, here).await?,
        now: wall(),
        new_id: new_session_id()?,
        grew_from: relatives.grew_from,
        grown_into: relatives.grown_into,
    };
    let shared = Arc::clone(&handle.shared);
    let hold = handle.hold(session).await?;
    let placed =
        blocking(move || place::place(&shared.store, &shared.home, &request, &mut meter)).await?;
    drop(hold);
    if placed.placed == PlacedHow::FastForward && placed.new_session_id.is_none() {
        join_own_head(handle, head, here).await?;
    }
    if placed.new_session_id.is_none() {
        handle.send(Input::Returned(session)).await?;
    }
    Ok(placed)
}

fn manifest_of(head: &Head) -> Result<ContentRef, ApiError> {
    head.version.manifest.ok_or_else(|| {
        ApiError::new(
            ErrorCode::Refused,
            "only the snapshot of this task is shared",
        )
        .hint("use `--handoff` to start a new session from it")
    })
}

/// What lay here turned out to be contained in what was placed although a version
/// of it was stated: it had grown by bookkeeping only. The two heads become one,
/// by a version that names both.
async fn join_own_head(handle: &Handle, head: &Head, here: &CaptureDone) -> Result<(), ApiError> {
    let (CaptureDone::New(own) | CaptureDone::Unchanged(Some(own))) = here else {
        return Ok(());
    };
    let target = resolve(handle, head.version.session.to_string()).await?;
    let is_head = |id| target.heads.iter().find(|h| h.id == id);
    if head.from_me || *own == head.id || is_head(head.id).is_none() {
        return Ok(());
    }
    let Some(ours) = is_head(*own) else {
        return Ok(());
    };
    let version = Version {
        parents: vec![head.id, *own],
        derived_from: None,
        state: ours.state,
        ..head.version.clone()
    };
    handle.append(Payload::Version(version)).await?;
    Ok(())
}

/// Whether a process here has the session open, from everything that can be
/// known. A file that did not grow since we last looked says nothing.
pub(super) async fn is_open_here(
    handle: &Handle,
    session: SessionId,
    here: &CaptureDone,
) -> Result<bool, ApiError> {
    let mut word = handle.ask(|to| Ask::HookWord(session, to)).await?;
    word.ended |= !matches!(here, CaptureDone::New(_));
    let shared = Arc::clone(&handle.shared);
    Ok(blocking(move || live::is_live(&shared.home, &session, word, wall())).await)
}

async fn fetch_session(handle: &Handle, out: &Out, head: &Head) -> Result<(), ApiError> {
    match head.version.manifest {
        Some(manifest) => fetch(handle, out, head, manifest, "session").await,
        None => Ok(()),
    }
}

/// Waits until all of a head, or of what goes along with it, is in the store.
pub(super) async fn fetch(
    handle: &Handle,
    out: &Out,
    head: &Head,
    manifest: ContentRef,
    what: &str,
) -> Result<(), ApiError> {
    let incomplete = |head, why: &str| incomplete(head, what, why);
    let manifest = Want::manifest(manifest.id);
    let mut notices = handle.notices();
    let mut last = None;
    let mut deadline = tokio::time::Instant::now() + STALL_MAX;
    loop {
        let (complete, missing, known) = handle.ask(|to| Ask::Progress(manifest, to)).await?;
        if complete {
            return Ok(());
        }
        if handle.ask(|to| Ask::Unreadable(manifest, to)).await? {
            return Err(PlaceError::Unreadable.into());
        }
        let pause = &handle.shared.pause;
        pause.refuse("not all of the session is here, and nothing is fetched")?;
        if last.is_none() {
            // Somebody asks for it: quotas do not hold it back.
            let event = Event::Need(manifest);
            handle.send(Input::Machine(Box::new(event))).await?;
        }
        out.progress("fetching", known.saturating_sub(missing), known);
        if last != Some(missing) {
            last = Some(missing);
            deadline = tokio::time::Instant::now() + STALL_MAX;
        }
        if handle.ask(Ask::Connected).await? == 0 {
            return Err(incomplete(head, "no device is connected that has it"));
        }
        let news = async {
            let step = tokio::time::Instant::now() + Duration::from_millis(200);
            while let Ok(Ok(notice)) = tokio::time::timeout_at(step, notices.recv()).await {
                if matches!(notice, Notice::Complete(_, version) if version == head.id) {
                    return;
                }
            }
        };
        if tokio::time::timeout_at(deadline, news).await.is_err()
            || tokio::time::Instant::now() >= deadline
        {
            return Err(incomplete(head, "the devices that have it do not send it"));
        }
    }
}

fn incomplete(head: &Head, what: &str, why: &str) -> ApiError {
    ApiError::new(
        ErrorCode::Incomplete,
        format!("not all of the {what} is here yet: {why}"),
    )
    .hint(format!(
        "start ccpeer on {} or any device that holds it; `--handoff` works from the snapshot",
        head.device.name
    ))
}

/// The directory of the head's project here, and what is to be said about the
/// choice. Asked for rather than guessed.
pub(super) async fn locate(
    handle: &Handle,
    head: &Head,
    wish: &Wish,
) -> Result<(PathBuf, Option<String>), ApiError> {
    let shared = Arc::clone(&handle.shared);
    let (session, manifest) = (head.version.session, head.version.manifest);
    let (into, from_dir) = (wish.into.clone(), wish.from_dir.clone());
    let branch = head.version.meta.branch.clone();
    let located = blocking(move || {
        let (store, home) = (&*shared.store, &shared.home);
        let identity = place::identity_of(store, manifest)?;
        let from_dir = from_dir.as_deref().map(std::path::Path::new);
        if let Some(dir) = into {
            let dir = projects::use_dir(&PathBuf::from(dir))?;
            projects::answered(store, home, (&identity, &branch), &dir)?;
            return Ok(Located::Dir(dir, None));
        }
        // Where it lies, or lay before its files went.
        let state = LocalState::load(store, &session).map_err(|e| problem::store(&e))?;
        let dir = state.map(|s| PathBuf::from(s.here.project));
        if let Some(dir) = dir.filter(|d| d.is_dir()) {
            return Ok(Located::Dir(dir, None));
        }
        projects::locate(store, home, (&identity, &branch), from_dir)
    })
    .await?;
    let project = view::line(&head.version.meta.project);
    match located {
        Located::Dir(dir, remark) => Ok((dir, remark)),
        Located::Ambiguous(dirs) => Err(ApiError::new(
            ErrorCode::Ambiguous,
            format!(
                "{} directories here may be the project {project:?}",
                dirs.len()
            ),
        )
        .hint("say which with `--into DIR`, or once and for all with `ccpeer projects set`")
        .choices(dirs.iter().map(|d| d.display().to_string()).collect())),
        Located::Missing { top, subdir } => Err(ApiError::new(
            ErrorCode::ProjectUnknown,
            format!(
                "the session was begun in {:?}, which {} does not have",
                view::line(&subdir),
                top.display()
            ),
        )
        .hint("check out the branch that has it, or choose a directory with `--into DIR`")),
        Located::Unknown => Err(ApiError::new(
            ErrorCode::ProjectUnknown,
            format!("no directory here is known to be the project {project:?}"),
        )
        .hint("say where it is with `--into DIR`, or run the command inside its checkout")),
    }
}

/// A new session from the hand-off prompt: nothing is placed.
async fn hand_off(handle: &Handle, head: &Head, wish: &Wish) -> Result<Placed, ApiError> {
    let snapshot = upkeep::snapshot(handle, head).await?;
    let dir = match locate(handle, head, wish).await {
        Ok((dir, _)) => Some(dir),
        // The prompt helps in any directory; the user is standing in one.
        Err(e) if e.code == ErrorCode::ProjectUnknown => wish.from_dir.clone().map(PathBuf::from),
        Err(e) => return Err(e),
    };
    let prompt = ccpeer_core::text::strip(
        &snapshot.sections.handoff_prompt,
        ccpeer_core::text::Lines::Keep,
    );
    Ok(Placed {
        session_id: head.version.session.to_string(),
        placed: PlacedHow::UpToDate,
        path: None,
        project_dir: dir.map(|d| d.display().to_string()),
        new_session_id: None,
        backup: None,
        dropped: Vec::new(),
        notes: Vec::new(),
        command: vec!["claude".to_owned(), prompt],
        reason: None,
    })
}

fn refused(head: &Head, e: ApiError) -> Placed {
    Placed {
        session_id: head.version.session.to_string(),
        placed: PlacedHow::Refused,
        path: None,
        project_dir: None,
        new_session_id: None,
        backup: None,
        dropped: Vec::new(),
        notes: Vec::new(),
        command: Vec::new(),
        reason: Some(match e.hint {
            Some(hint) => format!("{} ({hint})", e.message),
            None => e.message,
        }),
    }
}

/// A random UUID, version 4.
pub(super) fn new_session_id() -> Result<SessionId, ApiError> {
    let mut bytes: [u8; 16] =
        random::bytes().map_err(|e| ApiError::new(ErrorCode::Bug, e.to_string()))?;
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    Ok(SessionId(bytes))
}
