//! `search`: which sessions may be found, what is found, and what stands there.

use std::sync::Arc;

use ccpeer_core::id::{DeviceId, EntryHash, SessionId};

use crate::api::{ApiError, Building, ErrorCode, Hit, Search, Searched};
use crate::driver::{Ask, AskSearch, Handle, Head};
use crate::pool::blocking;
use crate::search::{Among, Place, Question, Spot, marks, spot};
use crate::view;

/// Sessions that are given where nobody says how many.
const LIMIT: u64 = 20;
/// Sessions that are given at most.
const LIMIT_MAX: u64 = 200;
/// Characters of this device's id from which on they name it.
const ID_CHARS_MIN: usize = 4;
/// Bytes of a path that is asked for.
const PATH_BYTES_MAX: usize = 4096;

/// What becomes of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// Its numbers mean its rows from now on.
    Numbered,
    /// It is looked at, and remembered by nobody.
    Looked,
}

pub(super) async fn search(
    handle: &Handle,
    wanted: Search,
    list: List,
) -> Result<Searched, ApiError> {
    let question = Arc::new(Question::parse(&wanted.words));
    let file = wanted.file.filter(|f| f.len() <= PATH_BYTES_MAX);
    let file = file.filter(|f| f.contains(|c: char| !matches!(c, '/' | '\\' | '.' | ' ')));
    if question.units.is_empty() && file.is_none() {
        return Err(
            ApiError::new(ErrorCode::Usage, "there is no word to look for")
                .hint("give at least one word, or a file with `--file`"),
        );
    }
    let among = Among {
        sessions: sessions(handle, wanted.project.as_deref(), wanted.device).await?,
        since: wanted.since_s,
        until: wanted.until_s,
        file,
    };
    let limit = match wanted.limit {
        0 => LIMIT,
        n => n.min(LIMIT_MAX),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut fresh = handle.shared.search.freshen().await;
    let mut places = find(handle, &question, &among, limit).await;
    if places.is_none() {
        // It is made anew now; perhaps that is quick.
        fresh = handle.shared.search.freshen().await;
        places = find(handle, &question, &among, limit).await;
    }
    fresh &= places.is_some();
    let hits = hits(handle, places.unwrap_or_default(), &question, list).await?;
    let (done, total) = handle.shared.search.way();
    Ok(Searched {
        hits,
        building: (!fresh).then_some(Building { done, total }),
        cut: question.cut,
    })
}

/// The sessions that may be found; nothing if all may.
async fn sessions(
    handle: &Handle,
    project: Option<&str>,
    device: Option<String>,
) -> Result<Option<Vec<SessionId>>, ApiError> {
    if project.is_none() && device.is_none() {
        return Ok(None);
    }
    let project = project.map(|p| {
        let last = p.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next();
        last.unwrap_or_default().to_owned()
    });
    let device = match device {
        Some(device) => Some(self::device(handle, device).await?),
        None => None,
    };
    let among = |to| {
        Ask::Search(AskSearch::Among {
            project,
            device,
            to,
        })
    };
    handle.ask(among).await.map(Some)
}

/// Which one is meant; this device is one as well.
async fn device(handle: &Handle, wanted: String) -> Result<DeviceId, ApiError> {
    let me = handle.ask(Ask::Me).await?;
    let lower = wanted.trim().to_lowercase();
    let begins = lower.len() >= ID_CHARS_MIN && me.id.starts_with(&lower);
    if begins || me.name.to_lowercase() == lower {
        return Ok(handle.shared.me);
    }
    let found = handle.ask(|to| Ask::Device(wanted, to)).await??;
    found
        .id
        .parse()
        .map_err(|_| ApiError::new(ErrorCode::NotFound, "no such device"))
}

async fn find(
    handle: &Handle,
    question: &Arc<Question>,
    among: &Among,
    limit: usize,
) -> Option<Vec<Place>> {
    let shared = Arc::clone(&handle.shared);
    let (question, among) = (Arc::clone(question), among.clone());
    blocking(move || {
        let dir = shared.home.search();
        shared.search.find(&dir, &question, &among, limit)
    })
    .await
}

/// What is shown of each place, in order.
async fn hits(
    handle: &Handle,
    places: Vec<Place>,
    question: &Arc<Question>,
    list: List,
) -> Result<Vec<Hit>, ApiError> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let sessions = places.iter().map(|p| p.session).collect();
    let heads = handle.ask(|to| Ask::Search(AskSearch::Heads(sessions, to)));
    let heads = heads.await?;
    let (store, question) = (Arc::clone(&handle.shared.store), Arc::clone(question));
    let mut hits = blocking(move || {
        let rows = places.iter().zip(heads);
        let hits = rows.filter_map(|(place, mut heads)| {
            heads.reverse();
            // The newest line that has it; what cannot be read is found all the same.
            let on = heads.iter().find_map(|head| {
                let manifest = head.version.manifest.filter(|_| !place.is_title())?;
                let there = spot(&store, manifest, place, &question);
                Some((head, there.ok().flatten()?))
            });
            match on {
                Some((head, there)) => Some(hit(head, place, there)),
                None => Some(hit(
                    heads.first()?,
                    place,
                    by_title(heads.first()?, &question),
                )),
            }
        });
        hits.collect::<Vec<(Hit, SessionId, EntryHash)>>()
    })
    .await;
    if list == List::Numbered {
        let list = hits.iter().map(|(_, s, v)| (*s, *v)).collect();
        let listed = handle.ask(|to| Ask::Search(AskSearch::Listed(list, to)));
        listed.await?;
    }
    for ((hit, ..), n) in hits.iter_mut().zip(1..) {
        hit.n = n;
    }
    Ok(hits.into_iter().map(|(hit, ..)| hit).collect())
}

/// What is shown where there is nothing else.
fn by_title(head: &Head, question: &Question) -> Spot {
    let snippet = view::title(&head.version.meta);
    Spot {
        marks: marks(&snippet, question),
        snippet,
        agent: None,
    }
}

fn hit(head: &Head, place: &Place, there: Spot) -> (Hit, SessionId, EntryHash) {
    let meta = &head.version.meta;
    let at = ccpeer_core::time::Timestamp(place.time().saturating_mul(1000));
    let hit = Hit {
        n: 0,
        session_id: place.session.to_string(),
        device: head.device.clone(),
        hostname: head.hostname.clone(),
        project: view::line(&meta.project),
        title: view::title(meta),
        updated: view::time(meta.updated),
        line: place.line(),
        role: place.role().to_owned(),
        snippet: there.snippet,
        marks: there.marks,
        offset: place.offset(),
        at: view::time(at),
        agent: there.agent.map(|a| view::line(&a)),
        version: head.id.to_string(),
    };
    (hit, place.session, head.id)
}
