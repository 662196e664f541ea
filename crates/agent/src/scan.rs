//! Finding sessions in Claude Code's directory.
//!
//! A session is the file found under its id, wherever that is: hooks name the
//! wrong project now and then, and `/cd` moves the file. Must not know what is
//! in a transcript.

use std::path::PathBuf;

use ccpeer_core::id::SessionId;
use ccpeer_core::time::Timestamp;
use ccpeer_formats::claude::layout;
use ccpeer_formats::claude::slug::project_slug;
use ccpeer_store::Store;

use crate::confined::{Root, Stamp};
use crate::home::Home;
use crate::local::LocalState;

/// Directories of projects that are looked into.
const PROJECTS_MAX: usize = 16 * 1024;
/// Names in one project's directory that are looked at.
const NAMES_MAX: usize = 64 * 1024;
/// Sessions that one look through everything yields.
const SESSIONS_MAX: usize = 128 * 1024;

/// A main transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whose.
    pub(crate) session: SessionId,
    /// Where, with every link above it resolved.
    pub(crate) transcript: PathBuf,
    /// The name of its project's directory.
    pub(crate) slug: String,
    /// When it last changed, by this machine's clock.
    pub(crate) modified: Timestamp,
}

/// Where a session lies: usually one place, the newest first.
#[must_use]
pub(crate) fn find_session(home: &Home, session: &SessionId) -> Vec<Found> {
    let Ok(Some(root)) = Root::open(home.claude()) else {
        return Vec::new();
    };
    let name = format!("{session}.jsonl");
    let mut found: Vec<(Stamp, Found)> = slugs(home, &root)
        .into_iter()
        .filter_map(|slug| look(&root, *session, &slug, &name))
        .collect();
    found.sort_by(|(a, x), (b, y)| {
        b.modified_ns
            .cmp(&a.modified_ns)
            .then_with(|| x.slug.cmp(&y.slug))
    });
    found.into_iter().map(|(_, f)| f).collect()
}

/// Every session, each once at its newest place, in the order of their ids.
#[must_use]
pub(crate) fn all_sessions(home: &Home) -> Vec<Found> {
    let Ok(Some(root)) = Root::open(home.claude()) else {
        return Vec::new();
    };
    let mut found: Vec<(Stamp, Found)> = Vec::new();
    for slug in slugs(home, &root) {
        let dir = ["projects".to_owned(), slug.clone()];
        for name in root.list(&dir, NAMES_MAX).unwrap_or_default() {
            if found.len() >= SESSIONS_MAX {
                tracing::warn!(max = SESSIONS_MAX, "more sessions than are looked at");
                break;
            }
            if let Some(session) = layout::session_in(&name) {
                found.extend(look(&root, session, &slug, &name));
            }
        }
    }
    found.sort_by(|(a, x), (b, y)| {
        x.session
            .cmp(&y.session)
            .then_with(|| b.modified_ns.cmp(&a.modified_ns))
    });
    found.dedup_by_key(|(_, f)| f.session);
    found.into_iter().map(|(_, f)| f).collect()
}

/// Which of the sessions that were expected here are not, looked for one by one
/// after they were missed in `found`: a file may be moved meanwhile.
#[must_use]
pub(crate) fn vanished(
    store: &Store,
    home: &Home,
    expected: &[SessionId],
    found: &[Found],
) -> Vec<SessionId> {
    expected
        .iter()
        // What was never here, but restored from a mirror, cannot go from here.
        .filter(|s| !matches!(LocalState::load(store, s), Ok(None)))
        .filter(|s| found.binary_search_by(|f| f.session.cmp(s)).is_err())
        .filter(|s| find_session(home, s).is_empty())
        .copied()
        .collect()
}

/// The directories of projects, but for that of the programs that we start
/// ourselves: what they say there is nobody's session.
fn slugs(home: &Home, root: &Root) -> Vec<String> {
    let scratch = home.scratch();
    let real = std::fs::canonicalize(&scratch).unwrap_or_else(|_| scratch.clone());
    let ours = [scratch, real].map(|dir| {
        let dir = dir.to_string_lossy();
        project_slug(dir.strip_prefix(r"\\?\").unwrap_or(&dir))
    });
    let mut slugs = root
        .list(&["projects".to_owned()], PROJECTS_MAX)
        .unwrap_or_default();
    slugs.retain(|slug| !ours.contains(slug));
    slugs
}

fn look(root: &Root, session: SessionId, slug: &str, name: &str) -> Option<(Stamp, Found)> {
    let names = ["projects".to_owned(), slug.to_owned(), name.to_owned()];
    if !root.may_have(&names) {
        return None;
    }
    // What is no regular file of ours is as good as absent.
    let stamp = root.stamp(&names).ok()??;
    let found = Found {
        session,
        transcript: root.join(&names),
        slug: slug.to_owned(),
        modified: stamp.modified(),
    };
    Some((stamp, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;
    use std::fs;

    const SESSION: &str = "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b";

    #[test]
    fn the_newest_of_two_places_comes_first() {
        let world = World::new("a");
        let session: SessionId = SESSION.parse().unwrap();
        for (slug, seconds) in [("-old", 1000), ("-new", 2000)] {
            let path = world.transcript(slug, &session);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "{}\n").unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            fs::File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
        fs::write(
            world.claude().join("projects/-new/agent-aabb.jsonl"),
            "{}\n",
        )
        .unwrap();
        fs::write(
            world
                .claude()
                .join("projects/-new")
                .join(format!("{SESSION}.conflict.jsonl")),
            "",
        )
        .unwrap();
        let found = find_session(&world.home, &session);
        assert_eq!(
            found.iter().map(|f| f.slug.as_str()).collect::<Vec<_>>(),
            ["-new", "-old"]
        );
        let all = all_sessions(&world.home);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].slug, "-new");
        assert_eq!(all[0].modified, Timestamp(2_000_000));
    }

    #[cfg(unix)]
    #[test]
    fn k_h11_what_is_reached_through_a_link_is_no_session() {
        let world = World::new("a");
        let session: SessionId = SESSION.parse().unwrap();
        let inside = world.transcript("-p", &session);
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        let secret = world.dir.path().join("secret");
        fs::write(&secret, "s").unwrap();
        std::os::unix::fs::symlink(&secret, &inside).unwrap();
        assert!(find_session(&world.home, &session).is_empty());
        assert!(all_sessions(&world.home).is_empty());
        let elsewhere = world.dir.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join(format!("{SESSION}.jsonl")), "{}\n").unwrap();
        std::os::unix::fs::symlink(&elsewhere, world.claude().join("projects/-q")).unwrap();
        assert!(find_session(&world.home, &session).is_empty());
    }
}
