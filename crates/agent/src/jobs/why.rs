//! `why`: everything that is known here of one session, as values and as
//! sentences. It looks and changes nothing.

use std::sync::Arc;

use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::Want;
use ccpeer_core::presence::{EndReason, SessionState};
use ccpeer_core::time::Timestamp;

use super::bring::{self, Wish};
use super::{look_for_vanished, resolve};
use crate::api::{ApiError, ErrorCode, Presence, Why, WhyVersion};
use crate::driver::{Ask, Handle, Head, Standing, Target};
use crate::place::{self, Outlook};
use crate::pool::blocking;
use crate::scan::Found;
use crate::unasked::{self, Not};
use crate::{live, process, scan, view};

mod beside;
mod sharing;

/// Lines of a fork that are told one by one.
const HEADS_TOLD_MAX: usize = 8;

/// What is found on this disk.
struct Here {
    found: Option<Found>,
    open_by: Option<u32>,
    /// The project's directory, or why there is none.
    project: Result<String, String>,
    /// What lies beside it that is not known.
    beside: Vec<String>,
    /// What is to be said of the newest version before it is placed.
    outlook: Outlook,
}

/// Says why a session is here, or why it is not.
pub(super) async fn why(handle: &Handle, session: String) -> Result<Why, ApiError> {
    look_for_vanished(handle).await?;
    let target = match resolve(handle, session.clone()).await {
        Ok(target) => target,
        Err(e) if e.code == ErrorCode::NotFound => {
            return uncaptured(handle, &session).await?.ok_or(e);
        }
        Err(e) => return Err(e),
    };
    let asked = target.session;
    let standing = handle.ask(|to| Ask::Standing(asked, to)).await?;
    let Some(standing) = standing else {
        return Err(ApiError::new(
            ErrorCode::NotFound,
            "the session is not known here",
        ));
    };
    let here = look_here(handle, &target).await?;
    let mut versions = Vec::new();
    for head in target.heads.iter().rev().take(HEADS_TOLD_MAX) {
        versions.push(version(handle, head).await?);
    }
    let unasked = unasked::verdict(handle, asked).await?;
    let ruling = sharing::ruling(handle, &target).await?;
    let mut why = compose(&target, &standing, here, versions, unasked.as_ref());
    why.lines.extend(ruling.as_ref().and_then(sharing::line));
    why.share = ruling;
    Ok(why)
}

async fn look_here(handle: &Handle, target: &Target) -> Result<Here, ApiError> {
    let (found, open_by) = on_disk(handle, target.session).await?;
    let newest = target.head.as_ref().or(target.heads.last());
    let outlook = outlook(handle, newest).await?;
    let shared = Arc::clone(&handle.shared);
    let (session, slug) = (target.session, found.as_ref().map(|f| f.slug.clone()));
    let beside = blocking(move || match slug {
        Some(slug) => beside::lines(&shared.home, &session, &slug),
        None => Vec::new(),
    })
    .await;
    let project = match newest {
        None => Err("no version of it is known".to_owned()),
        Some(head) => match bring::locate(handle, head, &Wish::default()).await {
            Ok((dir, _)) => Ok(dir.display().to_string()),
            Err(e)
                if matches!(
                    e.code,
                    ErrorCode::Ambiguous | ErrorCode::ProjectUnknown | ErrorCode::Unplaceable
                ) =>
            {
                Err(e.message)
            }
            Err(e) => return Err(e),
        },
    };
    Ok(Here {
        found,
        open_by,
        project,
        beside,
        outlook,
    })
}

/// Whether the newest version could be placed, and what would be left out.
async fn outlook(handle: &Handle, newest: Option<&Head>) -> Result<Outlook, ApiError> {
    let Some(manifest) = newest.and_then(|head| head.version.manifest) else {
        return Ok(Outlook::default());
    };
    let shared = Arc::clone(&handle.shared);
    blocking(move || place::outlook(&shared.store, manifest)).await
}

async fn on_disk(
    handle: &Handle,
    session: SessionId,
) -> Result<(Option<Found>, Option<u32>), ApiError> {
    let shared = Arc::clone(&handle.shared);
    let word = handle.ask(|to| Ask::HookWord(session, to)).await?;
    let looked = blocking(move || {
        let live = live::live_sessions(&shared.home);
        let found = scan::find_session(&shared.home, &session);
        let told = word.open_by.filter(|pid| process::exists(*pid));
        (
            found.into_iter().next(),
            live.get(&session).map(|info| info.pid).or(told),
        )
    });
    Ok(looked.await)
}

/// A session that lies in Claude's directory and was never captured.
async fn uncaptured(handle: &Handle, wanted: &str) -> Result<Option<Why>, ApiError> {
    let shared = Arc::clone(&handle.shared);
    let prefix = wanted.trim().to_ascii_lowercase();
    let found = blocking(move || {
        let mut all = scan::all_sessions(&shared.home);
        all.retain(|f| prefix.len() >= 4 && f.session.to_string().starts_with(&prefix));
        all
    })
    .await;
    let [found] = found.as_slice() else {
        return Ok(None);
    };
    let (_, open_by) = on_disk(handle, found.session).await?;
    let mut lines = vec![
        format!("It lies here: {}.", found.transcript.display()),
        "It was not captured yet: nobody has said a word in it, or it cannot be read; \
         the agent's log says more."
            .to_owned(),
    ];
    lines.extend(open_by.map(open_here));
    Ok(Some(Why {
        session_id: found.session.to_string(),
        title: String::new(),
        project: String::new(),
        lines,
        listed: false,
        versions: Vec::new(),
        presence: Vec::new(),
        baton: None,
        path: Some(found.transcript.display().to_string()),
        project_dir: None,
        open_by,
        next: Some(format!("ccpeer push {}", found.session.short())),
        share: None,
    }))
}

async fn version(handle: &Handle, head: &Head) -> Result<WhyVersion, ApiError> {
    let (mut missing, mut known, mut held_by) = (0, 0, Vec::new());
    if let Some(manifest) = head.version.manifest {
        (_, missing, known) = handle
            .ask(|to| Ask::Progress(Want::manifest(manifest.id), to))
            .await?;
        held_by = handle
            .ask(|to| Ask::Holders(Want::manifest(manifest.id), to))
            .await?;
    }
    Ok(WhyVersion {
        version: head.id.to_string(),
        device: head.device.clone(),
        updated: view::time(head.version.meta.updated),
        complete: head.complete,
        missing: if head.complete { 0 } else { missing },
        known,
        unreadable: head.unreadable,
        held_by,
    })
}

fn compose(
    target: &Target,
    standing: &Standing,
    here: Here,
    versions: Vec<WhyVersion>,
    unasked: Option<&Not>,
) -> Why {
    let newest = target.heads.last();
    let listed = target
        .heads
        .iter()
        .any(|h| view::is_unfinished(h.state, &h.version.meta));
    let mut lines = Vec::new();
    tell_here(&mut lines, &here, standing);
    match unasked {
        Some(Not::Ours | Not::Here) => {}
        Some(not) => lines.push(format!(
            "It is not placed here by itself: {}.",
            not.because()
        )),
        None => lines.push("It is about to be placed here by itself.".to_owned()),
    }
    tell_versions(&mut lines, target, standing, &versions);
    tell_unknown(&mut lines, &here);
    lines.extend(standing.presence.iter().map(tell_presence));
    tell_baton(&mut lines, standing);
    lines.push(if listed {
        "`ccpeer tasks` shows it.".to_owned()
    } else {
        format!("`ccpeer tasks` does not show it: {}.", unlisted(newest))
    });
    Why {
        session_id: target.session.to_string(),
        title: newest.map_or_else(String::new, |h| view::title(&h.version.meta)),
        project: newest.map_or_else(String::new, |h| view::line(&h.version.meta.project)),
        lines,
        listed,
        presence: standing.presence.clone(),
        baton: standing.baton.as_ref().map(|b| b.device.clone()),
        path: here
            .found
            .as_ref()
            .map(|f| f.transcript.display().to_string()),
        next: next(target, standing, &here, &versions),
        project_dir: here.project.ok(),
        open_by: here.open_by,
        versions,
        share: None,
    }
}

fn tell_here(lines: &mut Vec<String>, here: &Here, standing: &Standing) {
    match &here.found {
        Some(found) => lines.push(format!("It lies here: {}.", found.transcript.display())),
        None if is_archived_here(standing) => lines.push(
            "Its file is not in Claude Code's directory any more: Claude Code deletes old \
             ones, or somebody did. What was captured of it stays."
                .to_owned(),
        ),
        None => lines.push("It was not placed in Claude Code's directory here.".to_owned()),
    }
    lines.extend(here.open_by.map(open_here));
    lines.push(match &here.project {
        Ok(dir) => format!("Its project's directory here is {dir}."),
        Err(why) => format!("Where its project lies is not clear: {why}."),
    });
}

/// What nobody here knows, and what that means.
fn tell_unknown(lines: &mut Vec<String>, here: &Here) {
    if let Some(why) = &here.outlook.refused {
        lines.push(format!(
            "It is kept and shared, but cannot be placed here: {why}."
        ));
    }
    let labels: Vec<&str> = here.outlook.opaque.iter().map(String::as_str).collect();
    if !labels.is_empty() {
        lines.push(format!(
            "{} of its files are of kinds that this ccpeer does not know; they are kept and \
             shared, and not placed: {}.",
            labels.len(),
            place::some_of(&labels)
        ));
    }
    lines.extend(here.beside.iter().cloned());
}

fn open_here(pid: u32) -> String {
    format!("Process {pid} has it open here; ccpeer does not touch it.")
}

fn is_archived_here(standing: &Standing) -> bool {
    let own = standing.presence.first().filter(|p| is_here(p));
    own.is_some_and(|p| p.state == view::state_word(SessionState::Archived))
}

/// Only what this device says has no time at which it was heard.
fn is_here(word: &Presence) -> bool {
    word.connected && word.last_heard.is_none()
}

fn tell_versions(
    lines: &mut Vec<String>,
    target: &Target,
    standing: &Standing,
    versions: &[WhyVersion],
) {
    let total: u64 = standing.versions.iter().map(|(_, n)| n).sum();
    let each: Vec<String> = standing
        .versions
        .iter()
        .map(|(device, n)| format!("{n} by {}", device.name))
        .collect();
    let word = if total == 1 {
        "version is"
    } else {
        "versions are"
    };
    lines.push(format!("{total} {word} known: {}.", each.join(", ")));
    if target.heads.len() > 1 {
        let since = standing.forked_at.map_or_else(
            || "from the beginning".to_owned(),
            |at| format!("since {}", when(at)),
        );
        lines.push(format!(
            "It went on in {} places {since}; each line is kept.",
            target.heads.len()
        ));
    }
    for (head, version) in target.heads.iter().rev().zip(versions) {
        lines.push(format!(
            "Version {} of {}, {}: {}.",
            view::short(&head.id),
            head.device.name,
            when(head.version.meta.updated),
            whereabouts(head, version)
        ));
    }
}

/// What of a version is here, and who has it.
fn whereabouts(head: &Head, version: &WhyVersion) -> String {
    let holders: Vec<&str> = version.held_by.iter().map(|d| d.name.as_str()).collect();
    let holders = holders.join(", ");
    let name = &head.device.name;
    if head.version.manifest.is_none() {
        return "only its document is shared".to_owned();
    }
    if head.unreadable {
        return "it cannot be read here: it needs a newer ccpeer on this device".to_owned();
    }
    if head.complete {
        return match (version.held_by.len(), head.from_me) {
            (0, true) => "all of it is here, and no connected device holds it".to_owned(),
            (0, false) => "all of it is here".to_owned(),
            (1, _) => format!("all of it is here; {holders} holds it, too"),
            _ => format!("all of it is here; {holders} hold it, too"),
        };
    }
    let missing = if version.known == 0 {
        "nothing of it is here yet".to_owned()
    } else {
        format!(
            "{} of {} pieces are missing here",
            version.missing, version.known
        )
    };
    match (version.held_by.is_empty(), head.author_up) {
        (false, _) => format!("{missing}; it is fetched from {holders}"),
        (true, true) => format!("{missing}; {name} wrote it and is connected"),
        (true, false) => format!("{missing}; no connected device holds it, {name} wrote it"),
    }
}

fn tell_presence(word: &Presence) -> String {
    let name = &word.device.name;
    let doing = doing(&word.state);
    if is_here(word) {
        format!(
            "On this device it is {doing}, since {}.",
            view::text_time(&word.since)
        )
    } else if word.connected {
        format!(
            "On {name} it is {doing}, as of {}.",
            view::text_time(&word.since)
        )
    } else {
        let heard = word.last_heard.as_deref().unwrap_or(&word.since);
        format!(
            "On {name} it was {doing}; {name} is not connected, last heard {}.",
            view::text_time(heard)
        )
    }
}

fn doing(state: &str) -> &str {
    match state {
        "live" => "in a turn",
        "idle" => "open, waiting for input",
        "interrupted" => "interrupted (its process went away without a word)",
        "archived" => "archived (its file is gone)",
        other => other,
    }
}

fn tell_baton(lines: &mut Vec<String>, standing: &Standing) {
    if let Some(by) = &standing.taken_over_by {
        lines.push(format!(
            "It is open here and was taken over by {}; what is written here becomes a line \
             of its own.",
            by.name
        ));
    } else if let Some(baton) = &standing.baton {
        let who = if baton.is_me {
            "This device"
        } else {
            baton.device.name.as_str()
        };
        lines.push(format!("{who} went on with it last, {}.", when(baton.at)));
    }
}

/// Why a list of unfinished tasks leaves it out.
fn unlisted(newest: Option<&Head>) -> String {
    let Some(head) = newest else {
        return "no version of it is known".to_owned();
    };
    match head.state {
        SessionState::Done => "it was marked as done; `ccpeer reopen` takes that back",
        SessionState::Archived => "its file is gone where it was; `ccpeer tasks --all` shows it",
        SessionState::Ended(EndReason::Unseen) => {
            "nobody saw its end, and it has not changed for days"
        }
        SessionState::Ended(EndReason::Replaced) => {
            "its terminal went on with another conversation, which took its place"
        }
        SessionState::Ended(EndReason::Script) => {
            "a program ran it to its end, and no item of its task list is open"
        }
        SessionState::Ended(EndReason::Closed) => {
            "its terminal was closed, and no item of its task list is open"
        }
        SessionState::Ended(_) => "it was closed, and no item of its task list is open",
        SessionState::Live | SessionState::Idle | SessionState::Interrupted => {
            "it has only just changed"
        }
    }
    .to_owned()
}

/// The next sensible command; nothing where there is nothing to do here.
fn next(
    target: &Target,
    standing: &Standing,
    here: &Here,
    versions: &[WhyVersion],
) -> Option<String> {
    let id = target.session.short();
    if here.open_by.is_some() {
        return None;
    }
    if target.heads.len() > 1 {
        return Some("ccpeer tasks --all".to_owned());
    }
    let version = versions.first()?;
    let head = target.heads.last()?;
    let document = head.version.manifest.is_none();
    if document || (!version.complete && version.held_by.is_empty() && !head.author_up) {
        return Some(format!("ccpeer continue {id} --handoff"));
    }
    if head.unreadable || here.outlook.refused.is_some() {
        return Some(format!("ccpeer continue {id} --handoff"));
    }
    if here.project.is_err() {
        return Some(format!("ccpeer continue {id} --into DIR"));
    }
    let busy = |p: &Presence| !is_here(p) && p.connected && p.state == "live";
    Some(if standing.presence.iter().any(busy) {
        format!("ccpeer continue {id} --wait")
    } else {
        format!("ccpeer continue {id}")
    })
}

fn when(at: Timestamp) -> String {
    view::text_time(&view::time(at))
}
