//! Who has a session open on this machine.
//!
//! Claude Code's own registry, `sessions/<pid>.json`, is a claim; the process
//! decides. Must not know what follows from a session being live.

use std::collections::BTreeMap;

use ccpeer_core::id::SessionId;
use ccpeer_core::limits;
use ccpeer_core::time::Timestamp;
use ccpeer_formats::claude::registry::{self, LiveStatus};

use crate::confined::Root;
use crate::home::Home;
use crate::{process, scan};

/// The registry's directory below Claude Code's.
pub(crate) const REGISTRY: &str = "sessions";
/// Files of the registry that are looked at.
const REGISTRY_FILES_MAX: usize = 4096;
/// Bytes of one such file; real ones have less than 1 KiB.
const REGISTRY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// A process that has a session open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveInfo {
    /// The process.
    pub(crate) pid: u32,
    /// In a turn right now, as it says.
    pub(crate) status: LiveStatus,
    /// Its working directory, as it says.
    pub(crate) cwd: Option<String>,
}

/// What hooks have told about a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HookWord {
    /// The process that opened it and has not said good-bye.
    pub(crate) open_by: Option<u32>,
    /// A SessionEnd came after everything else.
    pub(crate) ended: bool,
}

/// The sessions that the registry names and whose process lives. Nothing if
/// there is no registry; see [`has_registry`].
#[must_use]
pub(crate) fn live_sessions(home: &Home) -> BTreeMap<SessionId, LiveInfo> {
    let mut live = BTreeMap::new();
    let Ok(Some(root)) = Root::open(home.claude()) else {
        return live;
    };
    let dir = registry_dir();
    for name in root.list(&dir, REGISTRY_FILES_MAX).unwrap_or_default() {
        let Some(pid) = registry::pid_in(&name) else {
            continue;
        };
        let Some(bytes) = read_small(&root, &name) else {
            continue;
        };
        let Some(claim) = registry::parse(&bytes).filter(|c| c.pid == pid) else {
            continue;
        };
        if !process::is(pid, claim.proc_start.as_deref()) {
            continue;
        }
        let info = LiveInfo {
            pid,
            status: claim.status,
            cwd: claim.cwd,
        };
        // Two processes may have one session open; one that works says more.
        match live.get(&claim.session) {
            Some(LiveInfo {
                status: LiveStatus::Busy,
                ..
            }) => {}
            _ => {
                live.insert(claim.session, info);
            }
        }
    }
    live
}

/// Whether Claude Code keeps a registry here at all: older versions do not.
#[must_use]
pub(crate) fn has_registry(home: &Home) -> bool {
    matches!(Root::open(home.claude()), Ok(Some(root)) if root.dir(&registry_dir()).unwrap_or(false))
}

/// Whether a session is open here, from everything that can be known.
///
/// The registry or the hooks name a living process: yes. Neither can know, no
/// registry and no word from a hook: then growth within
/// [`limits::LIVE_GROWTH_MS`] counts.
#[must_use]
pub(crate) fn is_live(home: &Home, session: &SessionId, hooks: HookWord, now: Timestamp) -> bool {
    if live_sessions(home).contains_key(session) || hooks.open_by.is_some_and(process::exists) {
        return true;
    }
    if hooks.ended || hooks.open_by.is_some() || has_registry(home) {
        return false;
    }
    scan::find_session(home, session)
        .iter()
        .any(|found| now.0.saturating_sub(found.modified.0) < limits::LIVE_GROWTH_MS)
}

fn registry_dir() -> [String; 1] {
    [REGISTRY.to_owned()]
}

fn read_small(root: &Root, name: &str) -> Option<Vec<u8>> {
    use std::io::Read;
    let [dir] = registry_dir();
    let (file, stamp) = root.file(&[dir, name.to_owned()]).ok()??;
    if stamp.len > REGISTRY_FILE_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(REGISTRY_FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    const SESSION: &str = "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b";

    fn claim(world: &World, pid: u32, start: &str, status: &str) {
        let dir = world.claude().join("sessions");
        std::fs::create_dir_all(&dir).unwrap();
        let json = format!(
            r#"{{"pid":{pid},"sessionId":"{SESSION}","cwd":"/w","procStart":"{start}","status":"{status}"}}"#
        );
        std::fs::write(dir.join(format!("{pid}.json")), json).unwrap();
    }

    #[test]
    fn a_claim_counts_while_its_process_lives() {
        let world = World::new("a");
        let session: SessionId = SESSION.parse().unwrap();
        let me = std::process::id();
        assert!(!has_registry(&world.home));
        claim(
            &world,
            me,
            &process::start_of(me).unwrap_or_default(),
            "busy",
        );
        assert!(has_registry(&world.home));
        let live = live_sessions(&world.home);
        assert_eq!(
            live.get(&session).map(|l| (l.pid, l.status)),
            Some((me, LiveStatus::Busy))
        );
        assert!(is_live(
            &world.home,
            &session,
            HookWord::default(),
            Timestamp(0)
        ));
        if cfg!(target_os = "linux") {
            claim(&world, me, "1", "busy");
            assert!(
                live_sessions(&world.home).is_empty(),
                "the number was used again"
            );
        }
    }

    #[test]
    fn a_dead_process_holds_nothing() {
        let world = World::new("a");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        claim(&world, pid, "1", "idle");
        assert!(live_sessions(&world.home).is_empty());
    }

    #[test]
    fn growth_counts_only_where_nothing_better_is_known() {
        let world = World::new("a");
        let session: SessionId = SESSION.parse().unwrap();
        let path = world.transcript("p", &session);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "{}\n").unwrap();
        let now = scan::find_session(&world.home, &session)[0].modified;
        let soon = Timestamp(now.0 + 1000);
        let late = Timestamp(now.0 + limits::LIVE_GROWTH_MS);
        let silent = HookWord::default();
        assert!(is_live(&world.home, &session, silent, soon));
        assert!(!is_live(&world.home, &session, silent, late));
        let ended = HookWord {
            open_by: None,
            ended: true,
        };
        assert!(!is_live(&world.home, &session, ended, soon));
        std::fs::create_dir(world.claude().join("sessions")).unwrap();
        assert!(!is_live(&world.home, &session, silent, soon));
    }
}
