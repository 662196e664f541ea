//! Bundles of other machines against versions that are known.

use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::{PathFlavour, SlotName};
use ccpeer_formats::bundle_v1::{Bounds, Description, Project, Writer};

use super::*;
use crate::testing::World;

const ID: &str = "00000000-0000-4000-8000-000000000001";
const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn id() -> SessionId {
    ID.parse().unwrap()
}

fn origin(user: &str) -> Origin {
    Origin {
        flavour: PathFlavour::Unix,
        home: format!("/home/{user}"),
        project: format!("/home/{user}/code/app"),
        claude_dir: format!("/home/{user}/.claude"),
        slug: format!("-home-{user}-code-app"),
    }
}

/// A transcript of so many lines, in the paths of a user.
fn lines(user: &str, words: &[&str]) -> String {
    let line = |(n, word): (usize, &&str)| {
        format!(
            "{{\"type\":\"user\",\"uuid\":\"{n}\",\"sessionId\":\"{ID}\",\
             \"cwd\":\"/home/{user}/code/app\",\"timestamp\":\"2026-11-20T10:00:00.000Z\",\
             \"message\":{{\"role\":\"user\",\"content\":\"{word} in /home/{user}/x\"}}}}\n"
        )
    };
    words.iter().enumerate().map(line).collect()
}

fn packed(user: &str, words: &[&str], agent: Option<&str>) -> Vec<u8> {
    let about = Description {
        session: id(),
        device: user.to_owned(),
        exported: NOW,
        updated: Timestamp(NOW.0 - 1000),
        project: Project {
            name: "app".to_owned(),
            below_root: None,
            path: format!("/home/{user}/code/app"),
        },
    };
    let from = origin(user);
    let mut writer = Writer::new(&about, Some(&from));
    writer.begin(&Slot::Main).unwrap();
    writer.push(lines(user, words).as_bytes());
    if let Some(text) = agent {
        let name = SlotName::new("a1").unwrap();
        writer.begin(&Slot::Subagent(name)).unwrap();
        writer.push(text.as_bytes());
    }
    writer.finish()
}

/// What is known after something was taken in.
#[derive(Default)]
struct Known(Vec<Line>);

impl Known {
    fn take(&mut self, world: &World, packed: &[u8]) -> Option<(Version, Growth)> {
        let (bundle, warnings) = Bundle::open(packed, Some(id()), Bounds::default()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let around = Around {
            lines: self.0.clone(),
            state: SessionState::Interrupted,
            now: NOW,
        };
        match take_in(&world.store, &bundle, &around).unwrap() {
            TakenIn::Known => None,
            TakenIn::New(version, growth) => {
                let manifest = version.manifest.unwrap();
                let id = EntryHash(manifest.id.0);
                let at = self.0.iter().position(|l| version.parents.contains(&l.id));
                let older = match at.map(|at| self.0.remove(at)) {
                    Some(l) => std::iter::once((l.id, l.manifest)).chain(l.older).collect(),
                    None => Vec::new(),
                };
                self.0.push(Line {
                    id,
                    manifest,
                    older,
                });
                Some((*version, growth))
            }
        }
    }
}

fn manifest(world: &World, version: &Version) -> Manifest {
    let bytes = world
        .store
        .get_chunk(&version.manifest.unwrap().id)
        .unwrap();
    Manifest::from_bytes(&bytes.unwrap()).unwrap()
}

fn content(world: &World, manifest: &Manifest, slot: &Slot) -> String {
    let segments = &manifest.file(slot).unwrap().segments;
    let mut out = Vec::new();
    for segment in segments {
        for chunk in world.store.read_segment(segment) {
            out.extend(chunk.unwrap());
        }
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn a_bundle_becomes_the_session_in_the_paths_it_was_written_in() {
    let world = World::in_memory("cara");
    let bundle = packed("ann", &["one", "two"], Some("{\"a\":1}\n{\"a\":2}"));
    let (version, growth) = Known::default().take(&world, &bundle).unwrap();
    assert_eq!(growth, Growth::First);
    assert!(version.parents.is_empty());
    let manifest = manifest(&world, &version);
    assert_eq!(manifest.origins, [origin("ann")]);
    assert_eq!(
        content(&world, &manifest, &Slot::Main),
        lines("ann", &["one", "two"])
    );
    let agent = Slot::Subagent(SlotName::new("a1").unwrap());
    assert_eq!(content(&world, &manifest, &agent), "{\"a\":1}\n{\"a\":2}\n");
    assert_eq!(manifest.project.name, "app");
    assert_eq!(manifest.project.below_home.as_deref(), Some("code/app"));
    assert_eq!(
        (version.meta.records, version.meta.project.as_str()),
        (2, "app")
    );
    assert!(
        version.meta.title.starts_with("two"),
        "{}",
        version.meta.title
    );
}

#[test]
fn what_grew_keeps_what_it_grew_from_and_where_that_was_written() {
    let world = World::in_memory("cara");
    let mut known = Known::default();
    known
        .take(&world, &packed("ann", &["one", "two"], None))
        .unwrap();
    // The same from another machine is nothing new; an older copy even less.
    assert!(
        known
            .take(&world, &packed("ben", &["one", "two"], None))
            .is_none()
    );
    assert!(known.take(&world, &packed("ben", &["one"], None)).is_none());

    let grown = packed("ben", &["one", "two", "three"], None);
    let (version, growth) = known.take(&world, &grown).unwrap();
    assert_eq!((growth, version.parents.len()), (Growth::Grown, 1));
    let manifest = manifest(&world, &version);
    assert_eq!(manifest.origins, [origin("ann"), origin("ben")]);
    let ben = lines("ben", &["one", "two", "three"]);
    let third = ben.lines().nth(2).unwrap();
    assert_eq!(
        content(&world, &manifest, &Slot::Main),
        format!("{}{third}\n", lines("ann", &["one", "two"]))
    );
    assert_eq!(version.meta.records, 3);
    assert!(known.take(&world, &grown).is_none());
    // A copy of long ago is known, too.
    assert!(
        known
            .take(&world, &packed("dan", &["one", "two"], None))
            .is_none()
    );

    // One machine going on adds to its own part.
    let more = packed("ben", &["one", "two", "three", "four"], None);
    let (version, _) = known.take(&world, &more).unwrap();
    let manifest = self::manifest(&world, &version);
    assert_eq!(manifest.file(&Slot::Main).unwrap().segments.len(), 2);
}

#[test]
fn what_parted_is_a_line_of_its_own_behind_what_it_shares() {
    let world = World::in_memory("cara");
    let mut known = Known::default();
    known
        .take(&world, &packed("ann", &["one", "two"], None))
        .unwrap();
    let (first, _) = known
        .take(&world, &packed("ann", &["one", "two", "three"], None))
        .unwrap();
    let parted = packed("ben", &["one", "two", "other"], None);
    let (version, growth) = known.take(&world, &parted).unwrap();
    assert_eq!(growth, Growth::Grown);
    assert_eq!(version.parents, first.parents, "from what both have");
    let strange = packed("ben", &["else"], None);
    let (version, growth) = known.take(&world, &strange).unwrap();
    assert_eq!(growth, Growth::Beside);
    assert!(version.parents.is_empty());
}

#[test]
fn a_file_that_came_later_is_not_left_out() {
    let world = World::in_memory("cara");
    let mut known = Known::default();
    known.take(&world, &packed("ann", &["one"], None)).unwrap();
    let with = packed("ann", &["one"], Some("{}\n"));
    let (version, _) = known.take(&world, &with).unwrap();
    let manifest = manifest(&world, &version);
    assert_eq!(manifest.files.len(), 2);
    assert_eq!(
        content(&world, &manifest, &Slot::Main),
        lines("ann", &["one"])
    );
    // And one that a client does not find stays.
    let (version, _) = known
        .take(&world, &packed("ann", &["one", "two"], None))
        .unwrap();
    assert_eq!(self::manifest(&world, &version).files.len(), 2);
}

#[test]
fn a_session_that_was_taken_in_goes_out_as_it_came() {
    let world = World::in_memory("cara");
    let bundle = packed("ann", &["one", "two"], Some("{\"a\":1}\n{\"a\":2}"));
    let (version, _) = Known::default().take(&world, &bundle).unwrap();
    let what = (version.manifest.unwrap(), crate::serve::give::Form::Whole);
    let out = crate::serve::give::bundle(&world.store, what, "c", NOW);
    let out = out.unwrap();
    let (came, _) = Bundle::open(&bundle, None, Bounds::default()).unwrap();
    let (went, warnings) = Bundle::open(&out, Some(id()), Bounds::default()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(went.head().project.path, "${HOME}/code/app");
    for slot in came.files().iter().map(|f| &f.slot) {
        assert_eq!(went.file(slot), came.file(slot), "{slot:?}");
    }
}
