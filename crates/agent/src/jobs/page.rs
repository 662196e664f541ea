//! What the page in the browser and the readers of transcripts are told. Only
//! questions: nothing is remembered of what was shown.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ccpeer_core::manifest::Manifest;
use ccpeer_net::web::{Guests, WebConfig, WebServer};
use ccpeer_store::StoreError;

use super::search::List;
use super::{done, resolve, upkeep};
use crate::api::{
    self, Activity, ApiError, ErrorCode, Json, Overview, PageAt, Search, Searched, SessionList,
    TranscriptAsk, TranscriptPage, UiEvent,
};
use crate::driver::{Ask, Handle, Head, Target};
use crate::pool::blocking;
use crate::problem;
use crate::server::Out;
use crate::transcript::{self, Reading};
use crate::ui::{self, keys};

/// Rows of a list that the page shows at once.
const TASKS_MAX: usize = 500;
const SESSIONS_MAX: usize = 5_000;

/// Gives the page until the client goes away, or nobody uses it.
pub(super) async fn ui(handle: &Handle, out: &Out) -> Result<Json, ApiError> {
    let (desk, launch) = ui::desk(handle)?;
    let config = WebConfig {
        // Any free port, and nobody but this machine.
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        tls: None,
        guests: Guests::OwnPage,
        headers: ui::HEADERS,
    };
    let server = WebServer::start(config, desk.clone()).await.map_err(|e| {
        ApiError::new(ErrorCode::Disk, e.to_string())
            .hint("this machine's loopback interface must be up")
    })?;
    out.item(&UiEvent::Ready {
        url: format!("http://{}/#t={}", server.addr(), launch.as_str()),
        idle_min: keys::IDLE.as_secs() / 60,
    })
    .await?;
    drop(launch);
    tracing::info!(addr = %server.addr(), "the page is on");
    let end = loop {
        tokio::select! {
            () = tokio::time::sleep(desk.left()) => {
                if desk.left().is_zero() {
                    break "the page is off: nobody has used it";
                }
            }
            () = out.closed() => break "the page is off",
            () = handle.tx.closed() => break "the page is off: the agent stops",
        }
    };
    tracing::info!(end, "the page is off");
    done(end)
}

pub(crate) async fn overview(handle: &Handle) -> Result<Overview, ApiError> {
    let status = upkeep::status(handle).await?;
    let devices = handle.ask(Ask::Devices).await?;
    let (tasks, total) = handle.ask(|to| Ask::FirstTasks(TASKS_MAX, to)).await?;
    let more_tasks = total > tasks.len();
    let coming = handle.ask(Ask::Coming).await?;
    Ok(Overview {
        status,
        devices,
        tasks,
        more_tasks,
        coming,
    })
}

pub(crate) async fn sessions(handle: &Handle) -> Result<SessionList, ApiError> {
    let local = upkeep::local_ids(handle).await;
    let (sessions, total) = handle
        .ask(|to| Ask::FirstSessions(local, SESSIONS_MAX, to))
        .await?;
    Ok(SessionList {
        sessions,
        total: total as u64,
    })
}

pub(crate) async fn activity(handle: &Handle) -> Result<Activity, ApiError> {
    handle.ask(Ask::Activity).await
}

pub(crate) async fn policy(handle: &Handle) -> Result<api::Policy, ApiError> {
    super::policy::policy(handle, None).await
}

/// Words in every session that is held. The numbers of the last list stay.
pub(crate) async fn search(handle: &Handle, wanted: Search) -> Result<Searched, ApiError> {
    super::search::search(handle, wanted, List::Looked).await
}

/// Where a session stands, on the newest of its lines unless one is named.
pub(crate) async fn show(handle: &Handle, session: String) -> Result<api::Show, ApiError> {
    let head = newest(resolve(handle, session).await?)?;
    upkeep::show(handle, head.id.to_string()).await
}

/// A page of a transcript. Of several lines of a session the newest one is read,
/// unless one is named.
pub(crate) async fn transcript(
    handle: &Handle,
    ask: TranscriptAsk,
) -> Result<TranscriptPage, ApiError> {
    let TranscriptAsk { task, agent, at } = ask;
    let head = newest(resolve(handle, task).await?)?;
    let incomplete = || {
        ApiError::new(
            ErrorCode::Incomplete,
            "not all of this transcript is here yet",
        )
        .hint(format!(
            "start ccpeer on {} or wait for it",
            head.device.name
        ))
    };
    let manifest = head.version.manifest.ok_or_else(incomplete)?;
    let store = Arc::clone(&handle.shared.store);
    let wanted = agent.clone();
    let read = blocking(move || {
        let Some(bytes) = store.get_chunk(&manifest.id)? else {
            return Ok(Err(Unread::Incomplete));
        };
        let Ok(manifest) = Manifest::from_bytes(&bytes) else {
            return Ok(Err(Unread::Form));
        };
        let Some(file) = transcript::file(&manifest, wanted.as_deref()) else {
            return Ok(Err(Unread::NoFile));
        };
        let reading = Reading::new(&store, file)?;
        let page = reading.page(at)?;
        let agents = match at {
            PageAt::End => transcript::agents(&store, &manifest),
            PageAt::Before(_) | PageAt::From(_) => Vec::new(),
        };
        Ok::<_, StoreError>(Ok((page, reading.len(), agents)))
    });
    let (page, bytes, agents) = match read.await {
        Ok(Ok(read)) => read,
        Ok(Err(Unread::Incomplete)) | Err(StoreError::Absent { .. }) => return Err(incomplete()),
        Ok(Err(Unread::Form)) => {
            return Err(ApiError::new(
                ErrorCode::Unplaceable,
                "this session cannot be read here: it was made by a newer ccpeer",
            )
            .hint("update ccpeer"));
        }
        Ok(Err(Unread::NoFile)) => {
            return Err(ApiError::new(
                ErrorCode::NotFound,
                "the session has no such transcript",
            ));
        }
        Err(e) => return Err(problem::store(&e)),
    };
    Ok(TranscriptPage {
        session_id: head.version.session.to_string(),
        version: head.id.to_string(),
        device: head.device.clone(),
        agent,
        bytes,
        from: page.from,
        to: page.to,
        records: page.records,
        agents,
    })
}

/// Why there is nothing to read.
enum Unread {
    Incomplete,
    Form,
    NoFile,
}

fn newest(target: Target) -> Result<Head, ApiError> {
    let Target {
        head, mut heads, ..
    } = target;
    head.or_else(|| heads.pop())
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "no version of this session is known"))
}
