//! The rules about what others may have: read, changed, and told to the driver.

use std::path::PathBuf;
use std::sync::Arc;

use super::directory_of;
use crate::api::{ApiError, ErrorCode, Share, ShareLeft, ShareWhich};
use crate::driver::{Handle, Input};
use crate::policy::Moved;
use crate::pool::blocking;
use crate::sharing::{RULES_MAX, Rules, RulesError};

/// The rules, or none and why they cannot be read.
pub(super) async fn rules(handle: &Handle) -> (Rules, Option<String>) {
    let shared = Arc::clone(&handle.shared);
    match blocking(move || Rules::load(&shared.home, &shared.store)).await {
        Ok(rules) => (rules, None),
        Err(e) => (Rules::default(), Some(e.to_string())),
    }
}

/// Changes a rule; it holds, and will after a restart, when this returns.
pub(super) async fn change(
    handle: &Handle,
    which: ShareWhich,
    share: Option<Share>,
    anew: bool,
) -> Result<ShareLeft, ApiError> {
    let _turn = handle.shared.ruling.lock().await;
    let shared = Arc::clone(&handle.shared);
    let known = blocking(move || Rules::load(&shared.home, &shared.store)).await;
    let mut rules = match known {
        _ if anew => Rules::default(),
        Ok(rules) => rules,
        Err(e) => return Err(unreadable(&e)),
    };
    let which = match which {
        ShareWhich::Project(name) if share.is_none() => {
            // Its directory may be gone; a rule is taken away by how it is told, too.
            let told = ShareWhich::Project(name.clone());
            if rules.list().iter().any(|rule| rule.which == told) {
                told
            } else {
                ShareWhich::Project(directory_of(handle, name).await?)
            }
        }
        ShareWhich::Project(name) => ShareWhich::Project(directory_of(handle, name).await?),
        ShareWhich::Glob(glob) => ShareWhich::Glob(whole(handle, glob)?),
        ShareWhich::Default => ShareWhich::Default,
    };
    let changed = rules.set(&which, share);
    if !changed && share.is_none() && which != ShareWhich::Default {
        return Err(ApiError::new(ErrorCode::NotFound, "there is no such rule")
            .hint("`ccpeer policy` lists them"));
    }
    keep(handle, rules).await
}

/// As [`Rules::follow`]; how many words there are more, and would be.
pub(super) async fn follow(
    handle: &Handle,
    now: Arc<Moved>,
    dirs: Vec<PathBuf>,
    dry_run: bool,
) -> Result<usize, ApiError> {
    let _turn = handle.shared.ruling.lock().await;
    let shared = Arc::clone(&handle.shared);
    let followed = blocking(move || {
        let before = Rules::load(&shared.home, &shared.store)?;
        let mut rules = before.clone();
        let more = rules.follow(&*now, &dirs);
        Ok((more, (rules != before).then_some(rules)))
    });
    let (more, changed) = followed.await.map_err(|e| unreadable(&e))?;
    if let (Some(rules), false) = (changed, dry_run) {
        keep(handle, rules).await?;
    }
    Ok(more)
}

/// Makes rules durable, and has the driver heed them.
async fn keep(handle: &Handle, rules: Rules) -> Result<ShareLeft, ApiError> {
    if rules.count() > RULES_MAX {
        return Err(ApiError::new(
            ErrorCode::Usage,
            format!("more than {RULES_MAX} rules are too many"),
        )
        .hint("use patterns, or take rules away with `--remove`"));
    }
    let (kept, shared) = (rules.clone(), Arc::clone(&handle.shared));
    let saved = blocking(move || kept.save(&shared.home, &shared.store)).await;
    saved.map_err(|e| ApiError::new(ErrorCode::Disk, e.to_string()))?;
    let (tx, rx) = tokio::sync::oneshot::channel();
    handle.send(Input::Rules(Ok(Arc::new(rules)), tx)).await?;
    let heeded = rx
        .await
        .map_err(|_| ApiError::new(ErrorCode::Agent, "the agent is stopping"))?;
    heeded.map_err(|e| {
        ApiError::new(ErrorCode::Disk, e).hint("nothing leaves until it can be read; see the log")
    })
}

fn unreadable(e: &RulesError) -> ApiError {
    ApiError::new(ErrorCode::Damaged, e.to_string()).hint(
        "put the file `sharing.json` in the home of ccpeer back and start it again, or begin \
         with `ccpeer policy share default HOW --anew`, which forgets all rules",
    )
}

/// A pattern of a whole path, or of a name.
fn whole(handle: &Handle, glob: String) -> Result<String, ApiError> {
    let refused = |what: &str| {
        Err(ApiError::new(ErrorCode::Usage, what).hint(
            "write a whole path (`/code/*`, `~/code/**`, `**/secret-*`) or a name (`secret-*`)",
        ))
    };
    let glob = match glob.strip_prefix("~/") {
        Some(rest) => format!("{}/{rest}", handle.shared.home.user().display()),
        None => glob,
    };
    let relative = glob.contains(['/', '\\'])
        && !std::path::Path::new(&glob).is_absolute()
        && !glob.starts_with("**");
    if glob.is_empty() || relative {
        return refused("a pattern is one of a whole path, or of a name");
    }
    if !Rules::is_glob(&glob) {
        return refused("this is no pattern");
    }
    Ok(glob)
}
