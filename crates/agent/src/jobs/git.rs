//! `git`: mirrors are added, brought up to date, shown and forgotten; what a
//! repository holds is taken over.

use std::path::Path;
use std::sync::Arc;

use ccpeer_core::id::SessionId;

use crate::api::{self, ApiError, ErrorCode, GitAdd, GitChange};
use crate::driver::{Ask, Handle, wall};
use crate::mirror::config::{
    BUNDLE_EVERY_S, Config, EVERY_S_BOUNDS, MIRRORS_MAX, Mirror, PUSH_EVERY_S, SNAPSHOT_EVERY_S,
};
use crate::mirror::run::without_login;
use crate::mirror::sync::{self, Synced, Work};
use crate::mirror::{MirrorError, repo};
use crate::pool::blocking;
use crate::server::Out;
use crate::{random, view};

/// Characters of an address.
const URL_CHARS_MAX: usize = 2000;

/// Does what is to be done, and tells how all mirrors do.
pub(super) async fn git(
    handle: &Handle,
    out: &Out,
    change: Option<GitChange>,
) -> Result<Vec<api::Mirror>, ApiError> {
    match change {
        None => all(handle).await,
        Some(GitChange::Add(wish)) => add(handle, out, wish).await.map(|m| vec![m]),
        Some(GitChange::Remove { mirror }) => {
            let _turn = handle.shared.mirrors.lock().await;
            let mirror = named(handle, &mirror).await?;
            let gone = mirror.clone();
            let forgotten = blocking(move || gone.forget()).await;
            forgotten.map_err(MirrorError::Disk)?;
            Ok(vec![row(handle, &mirror, Synced::default())])
        }
        Some(GitChange::Sync {
            mirror,
            repush,
            force,
        }) => {
            handle
                .shared
                .pause
                .refuse("no mirror is brought up to date")?;
            let push = Push { repush, force };
            let mirrors = match mirror {
                Some(name) => vec![named(handle, &name).await?],
                None => load(handle).await,
            };
            if mirrors.is_empty() {
                return Err(ApiError::new(ErrorCode::NotFound, "there is no git mirror")
                    .hint("add one with `ccpeer git add`"));
            }
            capture_all(handle, out).await?;
            let mut rows = Vec::new();
            let mut failed = None;
            for mirror in mirrors {
                out.progress("mirroring", 0, 0);
                match bring(handle, mirror, push).await {
                    Ok((mirror, synced)) => rows.push(row(handle, &mirror, synced)),
                    // The others are brought up to date all the same.
                    Err(e) => failed = Some(e),
                }
            }
            failed.map_or(Ok(rows), Err)
        }
    }
}

/// What is in Claude Code's directory and was not looked at yet.
async fn capture_all(handle: &Handle, out: &Out) -> Result<(), ApiError> {
    let shared = Arc::clone(&handle.shared);
    let found = blocking(move || crate::scan::all_sessions(&shared.home)).await;
    let total = found.len() as u64;
    for (found, n) in found.into_iter().zip(1..) {
        // What fails is told where it is captured.
        let _done = handle.capture(found.session).await?;
        out.progress("capturing", n, total);
    }
    Ok(())
}

pub(super) async fn load(handle: &Handle) -> Vec<Mirror> {
    let home = handle.shared.home.clone();
    blocking(move || Mirror::all(&home)).await
}

async fn all(handle: &Handle) -> Result<Vec<api::Mirror>, ApiError> {
    let mirrors = load(handle).await;
    let rows = mirrors.iter();
    Ok(rows.map(|m| row(handle, m, Synced::default())).collect())
}

/// The mirror that is meant.
pub(super) async fn named(handle: &Handle, name: &str) -> Result<Mirror, ApiError> {
    let all = load(handle).await;
    let fits = |m: &&Mirror| {
        m.name == name || m.config.url == name || without_login(&m.config.url) == name
    };
    all.iter().find(fits).cloned().ok_or_else(|| {
        ApiError::new(ErrorCode::NotFound, "there is no such mirror")
            .hint("`ccpeer git status` lists them with their names")
            .choices(all.iter().map(|m| m.name.clone()).collect())
    })
}

async fn add(handle: &Handle, out: &Out, wish: GitAdd) -> Result<api::Mirror, ApiError> {
    let wrong = |what: &str, hint: &str| {
        Err(ApiError::new(ErrorCode::Usage, what.to_owned()).hint(hint.to_owned()))
    };
    if !is_address(&wish.url) {
        return wrong(
            "this is no address of a repository",
            "give a path, or an address that begins with https://, ssh:// or user@host:",
        );
    }
    let push = wish.push_every_s.unwrap_or(PUSH_EVERY_S);
    let snapshot = wish.snapshot_every_s.unwrap_or(SNAPSHOT_EVERY_S);
    let bundle = wish.bundle_every_s.unwrap_or(BUNDLE_EVERY_S);
    let (least, most) = EVERY_S_BOUNDS;
    let fits = |every: &u64| (least..=most).contains(every);
    if ![push, snapshot, bundle].iter().all(fits) {
        return wrong(
            "the clock is out of its bounds",
            "give 10 seconds to 30 days",
        );
    }
    if load(handle).await.len() >= MIRRORS_MAX {
        return wrong(
            "there are too many mirrors",
            "remove one with `ccpeer git remove`",
        );
    }
    handle.shared.pause.refuse("no mirror can be begun")?;
    out.progress("asking the remote", 0, 0);
    let (home, url, tx) = (
        handle.shared.home.clone(),
        wish.url.clone(),
        handle.tx.clone(),
    );
    let branch = blocking(move || {
        let scratch = home.imports().join("branch");
        crate::start::private_dir(&home.imports())?;
        Ok::<_, MirrorError>(repo::branch_of(&url, &scratch, &|| tx.is_closed())?)
    });
    let config = Config {
        url: wish.url,
        branch: branch.await?,
        encrypted: wish.encrypted,
        with_secrets: wish.with_secrets,
        secrets: None,
        push_every_s: push,
        snapshot_every_s: snapshot,
        bundle_every_s: bundle,
    };
    let mut mirror = Mirror::new(&handle.shared.home, config);
    let known = load(handle)
        .await
        .into_iter()
        .find(|m| m.name == mirror.name);
    if let Some(known) = known {
        // Another choice for the same place. What was plain stays readable there.
        mirror.state = known.state;
        let same = known.config.encrypted == wish.encrypted && !wish.with_secrets;
        mirror.config.secrets = known.config.secrets.filter(|_| same);
    }
    let keeping = mirror.clone();
    let kept = blocking(move || {
        crate::start::private_dir(keeping.dir.parent().unwrap_or(&keeping.dir))?;
        keeping.save_config()
    });
    kept.await.map_err(MirrorError::Disk)?;
    capture_all(handle, out).await?;
    out.progress("mirroring", 0, 0);
    match bring(handle, mirror.clone(), Push::default()).await {
        Ok((mirror, synced)) => Ok(row(handle, &mirror, synced)),
        Err(e) => {
            // One that never worked is none.
            if mirror.state.synced_ms == 0 {
                let _stays = blocking(move || mirror.forget()).await;
            }
            Err(e)
        }
    }
}

/// A path, or an address in a form that git does not take for an option or for a
/// program to be run.
pub(super) fn is_address(url: &str) -> bool {
    let plain = (1..=URL_CHARS_MAX).contains(&url.chars().count())
        && !url.starts_with('-')
        && !url.chars().any(char::is_control);
    if !plain {
        return false;
    }
    if Path::new(url).is_absolute() {
        return true;
    }
    match url.split_once("://") {
        Some((scheme, rest)) => {
            matches!(scheme, "https" | "http" | "ssh" | "git" | "file")
                && !rest.is_empty()
                && !rest.starts_with('-')
        }
        // `user@host:path`; two colons would name a helper.
        None => url.split_once(':').is_some_and(|(host, path)| {
            !host.is_empty() && !host.contains('/') && !path.is_empty() && !path.starts_with(':')
        }),
    }
}

/// What a sync is to pass over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Push {
    /// That the remote may have gone back.
    pub(crate) repush: bool,
    /// The clocks of files.
    pub(crate) force: bool,
}

/// Brings one up to date, one at a time.
pub(crate) async fn bring(
    handle: &Handle,
    mirror: Mirror,
    push: Push,
) -> Result<(Mirror, Synced), ApiError> {
    let mut turn = handle.shared.mirrors.lock().await;
    let mut paces = std::mem::take(&mut *turn);
    let outgoing = handle.ask(Ask::Outgoing).await?;
    let work = Work {
        home: handle.shared.home.clone(),
        store: Arc::clone(&handle.shared.store),
        outgoing,
        now_ms: wall().0,
        dice: random::bytes().map(u64::from_le_bytes).unwrap_or_default(),
        repush: push.repush,
        force: push.force,
    };
    let (tx, shared) = (handle.tx.clone(), Arc::clone(&handle.shared));
    let (result, paces) = blocking(move || {
        let stop = || tx.is_closed() || shared.pause.is_on();
        // As it is by now: somebody may have been at it while we waited.
        let mut mirror = Mirror::all(&work.home)
            .into_iter()
            .find(|m| m.name == mirror.name)
            .unwrap_or(mirror);
        let result = sync::sync(&mut mirror, &work, &mut paces, &stop);
        if let (Err(_), Err(paused)) = (&result, shared.pause.refuse("the mirror was left")) {
            // That is no failure of it.
            return (Err(paused), paces);
        }
        mirror.state.went_back = matches!(result, Err(MirrorError::RolledBack));
        let result = result.map_err(ApiError::from);
        match &result {
            Ok(_) => {
                mirror.state.synced_ms = work.now_ms;
                mirror.state.error = None;
            }
            Err(e) => mirror.state.error = Some((e.message.clone(), e.hint.clone())),
        }
        if let Err(e) = mirror.save_state() {
            tracing::warn!(error = %e, "what is remembered of a mirror is not kept");
        }
        (result.map(|synced| (mirror, synced)), paces)
    })
    .await;
    *turn = paces;
    result
}

/// What of this are ids of sessions.
fn sessions(of: &mut dyn Iterator<Item = &String>) -> Vec<String> {
    of.filter(|id| id.parse::<SessionId>().is_ok())
        .cloned()
        .collect()
}

fn row(handle: &Handle, mirror: &Mirror, synced: Synced) -> api::Mirror {
    let (config, state) = (&mirror.config, &mirror.state);
    let word = match (&state.error, state.synced_ms) {
        _ if state.rolled_back() => "rolled_back",
        (Some(_), _) => "failed",
        (None, 0) => "new",
        (None, _) => "ok",
    };
    let (error, hint) = state.error.clone().unzip();
    let key = handle.shared.home.recovery_key().display().to_string();
    let plain = !config.encrypted;
    api::Mirror {
        name: mirror.name.clone(),
        url: without_login(&config.url),
        branch: config.branch.clone(),
        mode: mirror.kind().to_owned(),
        secrets: config.gate(),
        state: word.to_owned(),
        synced: (state.synced_ms > 0)
            .then(|| view::time(ccpeer_core::time::Timestamp(state.synced_ms))),
        error,
        hint: hint.flatten(),
        held: sessions(&mut state.held.keys()),
        warned: sessions(&mut state.warned.iter()),
        broken: state.broken,
        push_every_s: config.push_every_s,
        snapshot_every_s: plain.then_some(config.snapshot_every_s),
        bundle_every_s: plain.then_some(config.bundle_every_s),
        recovery_key: config.encrypted.then_some(key),
        commits: synced.commits,
        bytes: synced.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_place_and_no_program() {
        for good in [
            "/srv/r.git",
            "https://h.example/r.git",
            "ssh://git@h/r",
            "git@h.example:ann/r.git",
            "file:///srv/r.git",
        ] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            "-u",
            "--upload-pack=x",
            "ext::sh -c x",
            "fd::3",
            "relative/path",
            "ftp://h/r",
            "https://",
            "ssh://-oProxyCommand=x/r",
            "host::x",
            "a\nb",
            "https://h/\u{7}",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
