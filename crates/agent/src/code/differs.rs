//! How a checkout here stands to what a session saw. Nothing is changed, and git is
//! asked briefly: no answer is an answer.

use std::path::Path;

use crate::api::{CodeHere, CodeThere};
use crate::git;

/// The checkout that a directory lies in; nothing outside of one.
pub(crate) fn look(dir: &Path, there: Option<&CodeThere>) -> Option<CodeHere> {
    let marker = git::marker(dir)?;
    let state = git::state(&marker.top)?;
    let commit = there.map(|t| t.commit.as_str()).filter(|c| !c.is_empty());
    let apart = commit.map(|commit| git::apart(&marker.top, commit));
    let both = apart.flatten();
    Some(CodeHere {
        dir: marker.top.display().to_string(),
        branch: state.branch,
        commit: state.head,
        changed: state.changed.len() as u64,
        knows_commit: apart.map(|a| a.is_some()),
        ahead: both.map(|(ahead, _)| ahead),
        behind: both.map(|(_, behind)| behind),
    })
}
