//! What others may have of a session, and by which rule, in a sentence.

use std::sync::Arc;

use crate::api::{ApiError, Share, ShareRuling, ShareWhich};
use crate::driver::{Ask, Handle, Target};
use crate::local::LocalState;
use crate::pool::blocking;
use crate::problem;

/// What a session falls under; nothing if this device says nothing of it.
pub(super) async fn ruling(
    handle: &Handle,
    target: &Target,
) -> Result<Option<ShareRuling>, ApiError> {
    let session = target.session;
    let shared = Arc::clone(&handle.shared);
    let state = blocking(move || LocalState::load(&shared.store, &session)).await;
    let dir = state
        .map_err(|e| problem::store(&e))?
        .map(|s| s.here.project);
    if dir.is_none() && !target.heads.iter().any(|h| h.from_me) {
        return Ok(None);
    }
    let (share, rules) = handle.ask(|to| Ask::Ruling(session, to)).await?;
    let by = match (rules, dir) {
        (None, _) => None,
        (Some(rules), Some(dir)) => blocking(move || rules.of_dir(&dir).by).await,
        (Some(rules), None) => rules.elsewhere().by,
    };
    Ok(Some(ShareRuling { share, by }))
}

/// Nothing where all of it is shared because nobody said otherwise.
pub(super) fn line(ruling: &ShareRuling) -> Option<String> {
    let what = match ruling.share {
        Share::Sync if matches!(ruling.by, Some(ShareWhich::Default)) => return None,
        Share::Sync => "It is shared whole",
        Share::Snapshot => "Only its document is shared",
        Share::Local => "It stays on this device",
    };
    let by = match &ruling.by {
        None => "the rules cannot be read, or its directory is not known".to_owned(),
        Some(ShareWhich::Default) => "that is the default".to_owned(),
        Some(ShareWhich::Project(dir)) => format!("the rule for {dir} says so"),
        Some(ShareWhich::Glob(glob)) => format!("the rule for {glob} says so"),
    };
    Some(format!("{what}: {by}."))
}
