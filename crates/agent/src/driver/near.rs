//! What we hold that is like what we ask for, so that only the difference is sent:
//! the version before, of which the new one is mostly a copy. Asks nobody and
//! decides nothing; a wrong guess costs bytes.

use std::collections::BTreeSet;

use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::ChunkId;
use ccpeer_core::limits;
use ccpeer_core::manifest::{ListPage, Want, WantKind};
use ccpeer_net::Ask;
use ccpeer_store::Store;

use crate::memo;

/// Bytes of the last chunks that are near, beside manifest and document.
const RECENT_BYTES_MAX: usize = 96 * 1024;
/// How many of them; manifest and document take two more.
const RECENT_MAX: usize = limits::FETCH_NEAR_MAX - 2;

/// How to ask for these, where the manifest and the document of a version before
/// are held. Blocking.
pub(super) fn ask(
    store: &Store,
    wants: Vec<Want>,
    before: Option<(Option<ContentRef>, Option<ContentRef>)>,
) -> Ask {
    let ask = Ask::from(wants);
    let Some((manifest, snapshot)) = before else {
        return ask;
    };
    let of = |kind: WantKind| ask.wants.iter().any(|w| w.kind == kind);
    let (manifest_asked, document_asked) = (of(WantKind::Manifest), of(WantKind::Data));
    let content = |id: ChunkId| {
        let content = store.get_chunk(&id).ok().flatten()?;
        Some((id, content))
    };
    let mut near = Vec::new();
    let mut since = None;
    let held = manifest.filter(|_| manifest_asked);
    if let Some((id, bytes)) = held.and_then(|m| content(m.id))
        && let Some(before) = memo::manifest(&bytes)
    {
        let recent = before.recent(RECENT_BYTES_MAX, RECENT_MAX);
        near.extend(recent.into_iter().filter_map(content));
        near.push((id, bytes));
        since = Some(id);
    }
    if document_asked {
        near.extend(snapshot.and_then(|s| content(s.id)));
    }
    Ask { near, since, ..ask }
}

/// Those of the chunks that came along that what was asked for refers to: nobody
/// fills our disk with anything else.
pub(super) fn belonging(
    asked: &[(Want, Vec<u8>)],
    along: Vec<(ChunkId, Vec<u8>)>,
) -> Vec<(ChunkId, Vec<u8>)> {
    if along.is_empty() {
        return along;
    }
    let children = |(want, content): &(Want, Vec<u8>)| want.children(content).unwrap_or_default();
    let below: BTreeSet<Want> = asked.iter().flat_map(children).collect();
    let mut belongs: BTreeSet<ChunkId> = below.iter().map(|w| w.id).collect();
    for (id, content) in &along {
        if below.contains(&Want::list(*id))
            && let Ok(page) = ListPage::from_bytes(content)
        {
            belongs.extend(page.refs.iter().map(|r| r.id));
        }
    }
    let mut kept = along;
    kept.retain(|(id, _)| belongs.contains(id));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_along_and_belongs_to_nothing_is_not_kept() {
        let (one, other) = (b"one".to_vec(), b"other".to_vec());
        let refs = vec![
            ccpeer_core::manifest::ChunkRef {
                id: ChunkId::of(&one),
                len: 3,
            };
            limits::LIST_REFS_MAX
        ];
        let page = ListPage { version: 1, refs }.to_bytes();
        let asked = vec![(Want::list(ChunkId::of(&page)), page)];
        let came = |c: &Vec<u8>| (ChunkId::of(c), c.clone());
        let kept = belonging(&asked, vec![came(&other), came(&one)]);
        assert_eq!(kept, [came(&one)]);
        let document = vec![(Want::data(ChunkId::of(&one)), one.clone())];
        assert!(belonging(&document, vec![came(&one)]).is_empty());
    }
}
