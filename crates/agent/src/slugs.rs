//! Which directory below `projects/` belongs to a directory here.
//!
//! The one that Claude Code uses already counts: that is told by the directory
//! that its transcripts name, and only where there is none, by Claude Code's own
//! rule. The rule is not the same in every build for long paths, a variable can
//! overrule it, and several projects can share one name; the records are right in
//! every case. Must not know what is placed there.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use ccpeer_core::id::SessionId;
use ccpeer_formats::claude::slug::{System, long_beginning};
use ccpeer_formats::claude::{directory, layout};
use ccpeer_formats::remote_path::RemotePath;
use ccpeer_store::{Store, StoreError};

use crate::capture::FLAVOUR;
use crate::confined::{Root, Stamp};
use crate::home::Home;
use crate::local::LocalState;

/// Directories that are looked into for a project that is not known.
const DIRS_MAX: usize = 1024;
/// Names in one of them that are looked at.
const NAMES_MAX: usize = 64 * 1024;
/// Transcripts of one directory that are read for the directory they name, the
/// newest first.
const TRANSCRIPTS_MAX: usize = 8;
/// Bytes that are read at the beginning of a transcript, and at its end.
const HEAD_BYTES: u64 = 256 * 1024;
const TAIL_BYTES: u64 = 64 * 1024;

/// The directory's name below `projects/` for sessions of this directory, which
/// is absolute and resolved.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn slug_for(
    store: &Store,
    home: &Home,
    root: &Root,
    dir: &str,
) -> Result<String, StoreError> {
    if let Some(pin) = home.project_pin() {
        return Ok(pin.to_owned());
    }
    let rule = System::HERE.project_slug(dir);
    let look = Look { root, dir };
    if look.is_used(&rule) {
        return Ok(rule);
    }
    let known = LocalState::load_all(store)?;
    let known = known
        .iter()
        .filter(|(_, state)| System::HERE.same_path(&state.here.project, dir))
        .find(|(session, state)| look.has(&state.here.slug, session));
    if let Some((_, state)) = known {
        return Ok(state.here.slug.clone());
    }
    Ok(look.elsewhere(&rule).unwrap_or(rule))
}

struct Look<'a> {
    root: &'a Root,
    dir: &'a str,
}

impl Look<'_> {
    /// A directory of another name whose transcripts name this one: of the same
    /// beginning or the same letters first.
    fn elsewhere(&self, rule: &str) -> Option<String> {
        let mut names = self.root.list(&["projects".to_owned()], usize::MAX).ok()?;
        let beginning = long_beginning(rule);
        let near = |name: &String| {
            name.eq_ignore_ascii_case(rule) || beginning.is_some_and(|b| name.starts_with(b))
        };
        names.sort_by_key(|name| !near(name));
        names
            .into_iter()
            .filter(|name| name != rule)
            .take(DIRS_MAX)
            .find(|name| self.is_used(name))
    }

    /// Whether a session lies there.
    fn has(&self, slug: &str, session: &SessionId) -> bool {
        let names = [
            "projects".to_owned(),
            slug.to_owned(),
            format!("{session}.jsonl"),
        ];
        self.root.stamp(&names).is_ok_and(|stamp| stamp.is_some())
    }

    /// Whether one of the newest transcripts in a directory belongs here.
    fn is_used(&self, slug: &str) -> bool {
        let dir = ["projects".to_owned(), slug.to_owned()];
        let mut found: Vec<(Stamp, [String; 3])> = self
            .root
            .list(&dir, NAMES_MAX)
            .unwrap_or_default()
            .into_iter()
            .filter(|name| layout::session_in(name).is_some())
            .filter_map(|name| {
                let names = ["projects".to_owned(), slug.to_owned(), name];
                let stamp = self.root.stamp(&names).ok()??;
                Some((stamp, names))
            })
            .collect();
        found.sort_by_key(|(stamp, _)| std::cmp::Reverse(stamp.modified_ns));
        found
            .iter()
            .take(TRANSCRIPTS_MAX)
            .filter_map(|(_, names)| self.stated(names))
            .any(|stated| self.is_here(&stated))
    }

    fn stated(&self, names: &[String]) -> Option<String> {
        let (mut file, stamp) = self.root.file(names).ok()??;
        let mut head = Vec::new();
        (&mut file).take(HEAD_BYTES).read_to_end(&mut head).ok()?;
        if stamp.len <= HEAD_BYTES {
            return directory::stated(&head, None);
        }
        let mut tail = Vec::new();
        let from = stamp.len.saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(from)).ok()?;
        file.take(TAIL_BYTES).read_to_end(&mut tail).ok()?;
        directory::stated(&head, Some(&tail))
    }

    /// Whether a directory that a transcript names is this one.
    fn is_here(&self, stated: &str) -> bool {
        if System::HERE.same_path(stated, self.dir) {
            return true;
        }
        // Through a link; never a path that leads to another machine.
        RemotePath::parse(stated, FLAVOUR).is_ok()
            && fs::canonicalize(Path::new(stated))
                .is_ok_and(|real| System::HERE.same_path(&real.to_string_lossy(), self.dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;
    use ccpeer_core::manifest::Origin;

    fn write(world: &World, slug: &str, number: u8, text: &str) -> SessionId {
        let session = SessionId([number; 16]);
        let path = world.transcript(slug, &session);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        session
    }

    fn cwd(dir: &str) -> String {
        let record = serde_json::json!({ "type": "user", "cwd": dir });
        format!("{{\"type\":\"mode\"}}\n{record}\n")
    }

    fn slug(world: &World, dir: &str) -> String {
        let root = Root::open(world.claude()).unwrap().unwrap();
        slug_for(&world.store, &world.home, &root, dir).unwrap()
    }

    #[test]
    fn the_rule_is_for_what_nobody_has_used() {
        let world = World::in_memory("a");
        let dir = "/w/a.b";
        assert_eq!(slug(&world, dir), "-w-a-b");
        // a_b shares the name with a.b, and that is where both go.
        write(&world, "-w-a-b", 1, &cwd("/w/a_b"));
        assert_eq!(slug(&world, dir), "-w-a-b");
        assert_eq!(slug(&world, "/w/a_b"), "-w-a-b");
        // What lies below another name is found by what it says.
        write(&world, "pinned", 2, &cwd("/w/other"));
        assert_eq!(slug(&world, "/w/other"), "pinned");
        assert_eq!(slug(&world, "/w/third"), "-w-third");
        // Not when the rule's own is in use as well.
        write(&world, "-w-other", 3, &cwd("/w/other"));
        assert_eq!(slug(&world, "/w/other"), "-w-other");
    }

    #[test]
    fn a_session_that_was_moved_counts_where_it_was_moved_to() {
        let world = World::in_memory("a");
        let moved = cwd("/w/a") + r#"{"type":"relocated","relocatedCwd":"/w/b"}"# + "\n";
        write(&world, "odd", 1, &moved);
        assert_eq!(slug(&world, "/w/b"), "odd");
        assert_eq!(slug(&world, "/w/a"), "-w-a");
        // Also at the end of a long one.
        let filler = format!("{{\"type\":\"x\",\"text\":\"{}\"}}\n", "y".repeat(1000));
        let long =
            cwd("/w/c") + &filler.repeat(400) + r#"{"type":"relocated","relocatedCwd":"/w/d"}"#;
        write(&world, "long", 2, &long);
        assert_eq!(slug(&world, "/w/d"), "long");
        assert_eq!(slug(&world, "/w/c"), "-w-c");
    }

    #[test]
    fn a_long_path_has_the_hash_that_it_was_given() {
        let world = World::in_memory("a");
        let dir = format!("/w/{}", "deep.".repeat(60));
        let rule = System::HERE.project_slug(&dir);
        assert_eq!(slug(&world, &dir), rule);
        let given = format!("{}zzzzzz", long_beginning(&rule).unwrap());
        let beside = format!("{}yyyyyy", long_beginning(&rule).unwrap());
        write(&world, &beside, 1, &cwd(&format!("{dir}x")));
        assert_eq!(slug(&world, &dir), rule);
        write(&world, &given, 2, &cwd(&dir));
        assert_eq!(slug(&world, &dir), given);
    }

    #[test]
    fn what_is_remembered_saves_reading() {
        let world = World::in_memory("a");
        // Its records name no directory at all.
        let session = write(&world, "odd", 1, "{}\n");
        assert_eq!(slug(&world, "/w/a"), "-w-a");
        let here = Origin {
            project: "/w/a".into(),
            slug: "odd".into(),
            ..crate::capture::here(&world.home, "odd", "/w/a")
        };
        let note = LocalState::new(here).note(&session);
        world.store.put_notes(&[note]).unwrap();
        assert_eq!(slug(&world, "/w/a"), "odd");
        fs::remove_file(world.transcript("odd", &session)).unwrap();
        assert_eq!(slug(&world, "/w/a"), "-w-a");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_what_it_leads_to() {
        let world = World::in_memory("a");
        let (real, link) = (
            world.home.user().join("real"),
            world.home.user().join("link"),
        );
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&world, "odd", 1, &cwd(link.to_str().unwrap()));
        assert_eq!(slug(&world, real.to_str().unwrap()), "odd");
    }
}
