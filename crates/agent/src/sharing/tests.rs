//! Which rule counts, on every kind of disk; and that nothing is shared by mistake.

use super::*;
use crate::testing::World;

const UNIX: Paths = Paths {
    windows: false,
    fold: false,
};
const MAC: Paths = Paths {
    windows: false,
    fold: true,
};
const WINDOWS: Paths = Paths {
    windows: true,
    fold: true,
};

fn rules(default: Share, projects: &[(&str, Share)], globs: &[(&str, Share)]) -> Rules {
    let mut rules = Rules {
        default,
        ..Rules::default()
    };
    for (dir, share) in projects {
        rules.projects.insert((*dir).to_owned(), *share);
    }
    for (glob, share) in globs {
        rules.set(&ShareWhich::Glob((*glob).to_owned()), Some(*share));
    }
    rules
}

#[test]
fn a_project_goes_before_patterns_and_the_last_of_these_counts() {
    use Share::{Local, Snapshot, Sync};
    let rules = rules(
        Snapshot,
        &[("/w/a", Local), ("/w/a/open", Sync)],
        &[("/w/*", Sync), ("client-*", Local), ("/w/client-x", Sync)],
    );
    let check = |dir: &str, want: Share| {
        assert_eq!(rules.of_text(dir, UNIX).share, want, "{dir}");
    };
    check("/w/a", Local);
    check("/w/a/", Local);
    check("/w/a/deep/er", Local);
    check("/w/a/open", Sync);
    check("/w/a/open/x", Sync);
    check("/w/ab", Sync);
    check("/w/b/deep", Sync);
    check("/w", Snapshot);
    check("/", Snapshot);
    check("/elsewhere", Snapshot);
    // A name is one anywhere, and holds for what lies below.
    check("/elsewhere/client-y/src", Local);
    // Given last.
    check("/w/client-x", Sync);
    check("/w/client-y", Local);
    check("/w/A", Sync);
    let by = rules.of_text("/elsewhere/client-y/src", UNIX).by;
    assert_eq!(by, Some(ShareWhich::Glob("client-*".to_owned())));
    // Said again, a pattern is the last one.
    let mut rules = rules;
    rules.set(&ShareWhich::Glob("client-*".to_owned()), Some(Local));
    assert_eq!(rules.of_text("/w/client-x", UNIX).share, Local);
}

#[test]
fn names_are_told_apart_as_the_disk_does() {
    use Share::{Local, Sync};
    let rules = rules(
        Sync,
        &[("C:\\Code\\Secret", Local), ("/Users/ann/Secret", Local)],
        &[("Client-*", Local), ("D:\\x\\**", Local)],
    );
    let check = |dir: &str, paths: Paths, want: Share| {
        assert_eq!(rules.of_text(dir, paths).share, want, "{dir} {paths:?}");
    };
    check("C:\\Code\\Secret", WINDOWS, Local);
    check("c:\\code\\secret\\below", WINDOWS, Local);
    check("c:/code/secret", WINDOWS, Local);
    check("\\\\?\\C:\\Code\\Secret", WINDOWS, Local);
    check("C:\\Code\\Secrets", WINDOWS, Sync);
    check("C:\\any\\client-1\\src", WINDOWS, Local);
    check("d:\\X\\y\\z", WINDOWS, Local);
    check("\\\\?\\UNC\\server\\client-1", WINDOWS, Local);
    check("/users/ANN/secret/x", MAC, Local);
    check("/users/ann/client-2", MAC, Local);
    check("/users/ann/secret", UNIX, Sync);
    check("/Users/ann/Secret", UNIX, Local);
    // Elsewhere a backslash is a part of a name.
    check("/w\\client-1", UNIX, Sync);
}

#[test]
fn a_pattern_does_not_leap_over_directories() {
    use Share::{Local, Sync};
    let check = |glob: &str, dir: &str, fits: bool| {
        let rules = rules(Sync, &[], &[(glob, Local)]);
        let found = rules.of_text(dir, UNIX).share;
        assert_eq!(found == Local, fits, "{glob} {dir}");
    };
    check("/w/*/secret", "/w/a/secret", true);
    check("/w/*/secret", "/w/a/b/secret", false);
    check("/w/**/secret", "/w/a/b/secret", true);
    check("/w/**", "/w/a", true);
    check("**/{a,b}-[0-9]", "/x/b-7/y", true);
    check("/w/secret/", "/w/secret", true);
    check("secret", "/w/secret/x", true);
    check("secret", "/w/secrets", false);
    assert!(!Rules::is_glob("[") && !Rules::is_glob("{a"));
}

#[test]
fn links_lead_to_the_stricter_of_two() {
    let world = World::new("ann");
    let dir = world.dir.path().canonicalize().unwrap();
    fs::create_dir_all(dir.join("real/secret")).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(dir.join("real/secret"), dir.join("innocent")).unwrap();
        let text = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let rules = rules(Share::Sync, &[(&text("real/secret"), Share::Local)], &[]);
        assert_eq!(rules.of_dir(&text("innocent")).share, Share::Local);
        assert_eq!(rules.of_dir(&text("gone")).share, Share::Sync);
    }
}

#[test]
fn what_cannot_be_read_is_no_permission() {
    let world = World::new("ann");
    let (home, store) = (&world.home, &world.store);
    assert_eq!(Rules::load(home, store), Ok(Rules::default()));
    let made = || store.note(Namespace::Setting, MADE_KEY).unwrap().is_some();
    assert!(!made());
    let some = rules(
        Share::Local,
        &[("/w/a", Share::Sync)],
        &[("x", Share::Snapshot)],
    );
    some.save(home, store).unwrap();
    assert_eq!(Rules::load(home, store), Ok(some.clone()));
    assert!(made());
    // A later ccpeer, damage, and loss.
    let good = fs::read_to_string(home.sharing()).unwrap();
    for bad in [
        good.replace("\"v\":1", "\"v\":2"),
        good.replace("\"local\"", "\"nobody\""),
        good.replace("\"default\"", "\"more\":1,\"default\""),
        good.replace("\"x\"", "\"[\""),
        good.chars().take(good.len() / 2).collect(),
        String::new(),
    ] {
        fs::write(home.sharing(), &bad).unwrap();
        assert_eq!(Rules::load(home, store), Err(RulesError::Unknown), "{bad}");
    }
    fs::remove_file(home.sharing()).unwrap();
    assert_eq!(Rules::load(home, store), Err(RulesError::Missing));
    some.save(home, store).unwrap();
    assert_eq!(Rules::load(home, store), Ok(some));
}

#[test]
fn a_rule_is_taken_away_as_it_was_given() {
    let mut rules = Rules::default();
    let project = ShareWhich::Project("/w/a".to_owned());
    assert!(rules.set(&project, Some(Share::Local)));
    assert!(!rules.set(&project, Some(Share::Local)));
    assert!(rules.set(&ShareWhich::Default, Some(Share::Snapshot)));
    assert!(!rules.is_plain());
    assert!(rules.set(&project, None));
    assert!(!rules.set(&project, None));
    assert!(rules.set(&ShareWhich::Default, None));
    assert!(rules.is_plain());
}

#[test]
fn rules_follow_a_project_that_moved() {
    let now = |dir: &Path| Some(Path::new("/new").join(dir.strip_prefix("/old").ok()?));
    let mut moved = rules(
        Share::Sync,
        &[("/old/app", Share::Local), ("/old/app/doc", Share::Sync)],
        &[("client-*", Share::Snapshot)],
    );
    let dirs = ["/old/app/x", "/old/client-a", "/old/open"].map(PathBuf::from);
    assert_eq!(moved.follow(&now, &dirs), 2);
    for (dir, want) in [
        ("/new/app/x", Share::Local),
        ("/new/app/doc", Share::Sync),
        ("/new/client-a", Share::Snapshot),
        ("/new/open", Share::Sync),
        // What has not moved yet is still there.
        ("/old/app/x", Share::Local),
    ] {
        assert_eq!(moved.of_dir(dir).share, want, "{dir}");
    }
    // By a pattern that the new place does not fit, and over a laxer word there.
    let away = |dir: &Path| Some(Path::new("/else").join(dir.file_name()?));
    let mut moved = rules(
        Share::Sync,
        &[("/else/a", Share::Sync)],
        &[("/old/**", Share::Local)],
    );
    assert_eq!(
        moved.follow(&away, &["/old/a", "/old/b"].map(PathBuf::from)),
        1
    );
    for dir in ["/else/a", "/else/b"] {
        assert_eq!(moved.of_dir(dir).share, Share::Local, "{dir}");
    }
    // What was shared by name stays so, but not in a place that is kept.
    for (globs, want) in [
        (&[][..], Share::Sync),
        (&[("/new/**", Share::Local)], Share::Local),
    ] {
        let mut moved = rules(Share::Local, &[("/old/app", Share::Sync)], globs);
        moved.follow(&now, &[PathBuf::from("/old/app")]);
        assert_eq!(moved.of_dir("/new/app").share, want);
    }
}

#[test]
fn where_a_session_works_is_not_known_the_strictest_holds() {
    let some = rules(
        Share::Sync,
        &[("/a", Share::Snapshot)],
        &[("secret-*", Share::Local)],
    );
    assert_eq!(some.of_dir("").share, Share::Local);
    assert_eq!(Rules::default().of_dir("").share, Share::Sync);
}
