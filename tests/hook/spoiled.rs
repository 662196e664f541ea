//! A spool that cannot be used is nobody's trouble but ours: the hook ends in
//! time, in silence, and says so in its own log.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use ccpeer_agent::api::HookHeader;
use ccpeer_agent::spool;
use ccpeer_core::limits;

use super::{STOP, assert_in_time, assert_silent, spooled};
use crate::form::times;
use crate::support::User;

const SESSION: &str = "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b";

/// One event at a spoilt spool: what the log says of it.
fn fires(user: &User) -> String {
    assert_in_time(|| assert_silent(&user.run_with(&["hook", "Stop"], STOP)));
    fs::read_to_string(user.home().hook_log()).unwrap_or_default()
}

#[test]
fn k_h04_a_spool_that_cannot_be_used_is_no_ones_trouble() {
    type Spoil = fn(&User);
    let cases: [(&str, Spoil); 5] = [
        ("the spool is a file", |user| {
            fs::create_dir_all(user.home().root()).unwrap();
            fs::write(user.home().spool(), b"").unwrap();
        }),
        ("the spool is a link", |user| {
            fs::create_dir_all(user.home().root()).unwrap();
            symlink(user.claude(), user.home().spool()).unwrap();
        }),
        ("the spool leads nowhere", |user| {
            fs::create_dir_all(user.home().root()).unwrap();
            symlink(user.root().join("nowhere"), user.home().spool()).unwrap();
        }),
        ("the home is a file", |user| {
            fs::write(user.home().root(), b"").unwrap();
        }),
        ("the home's place is a file", |user| {
            fs::remove_dir_all(user.claude()).unwrap();
        }),
    ];
    for (what, spoil) in cases {
        let user = User::new();
        spoil(&user);
        for n in 1..=times(2, 50) as usize {
            let noted = fires(&user);
            if what.starts_with("the spool") {
                assert!(noted.contains("cannot spool"), "{what}: {noted}");
                assert!(!noted.contains("aa21a64c"), "{what}: {noted}");
                assert_eq!(noted.lines().count(), n, "{what}: {noted}");
            }
        }
        let left = fs::read_dir(user.claude()).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{what}");
    }
}

#[test]
fn k_h04_a_spool_that_is_missing_is_made() {
    let user = User::new();
    assert_eq!(fires(&user), "");
    fs::remove_dir_all(user.home().spool()).unwrap();
    assert_eq!(fires(&user), "");
    assert_eq!(spooled(&user).len(), 1);
}

#[test]
fn k_h04_a_spool_of_another_user_is_not_used() {
    let user = User::new();
    assert_eq!(fires(&user), "");
    let nobody = Some(nix::unistd::Uid::from_raw(65_534));
    if nix::unistd::chown(&user.home().spool(), nobody, None).is_err() {
        println!("skipped: a directory cannot be given away here");
        return;
    }
    let noted = fires(&user);
    assert!(noted.contains("belongs to another user"), "{noted}");
    assert_eq!(spooled(&user).len(), 1);
}

#[test]
fn k_h04_a_spool_that_is_read_only_is_told() {
    let user = User::new();
    assert_eq!(fires(&user), "");
    let dir = user.home().spool();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(dir.join("probe"), b"").is_ok() {
        println!("skipped: permissions do not bind this user");
        fs::remove_file(dir.join("probe")).unwrap();
        return;
    }
    let noted = fires(&user);
    assert!(noted.contains("cannot spool"), "{noted}");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(spooled(&user).len(), 1);
}

/// Fills the spool as far as it goes, under names that no hook draws: with as
/// many files as it takes, or with few that are long.
fn fill(dir: &Path, session: impl Fn(usize) -> String, key: impl Fn(usize) -> String) {
    fs::create_dir_all(dir).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    let long = limits::SPOOL_BYTES_MAX / limits::HOOK_BYTES_MAX as u64;
    let files = times(u32::try_from(long).unwrap(), FILES_MAX);
    for n in 0..files as usize {
        let path = dir.join(format!("{n:020}-1-{}{n:08x}.hook", key(n)));
        fs::write(&path, stop_of(session(n))).unwrap();
        if files < FILES_MAX {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(limits::HOOK_BYTES_MAX as u64).unwrap();
        }
    }
}

const FILES_MAX: u32 = limits::SPOOL_FILES_MAX as u32;

fn stop_of(session: String) -> Vec<u8> {
    let header = HookHeader {
        v: 1,
        id: format!("{session}-x"),
        event: "Stop".to_owned(),
        pid: None,
        project_dir: None,
        session: Some(session),
        entrypoint: None,
        cut: false,
    };
    spool::encode(&header, STOP)
}

/// Events of as many sessions: one more of another session is refused in time,
/// and told; nothing that waits is dropped for it.
#[test]
fn k_h04_a_full_spool_refuses_in_time() {
    let user = User::new();
    fill(
        &user.home().spool(),
        |n| format!("s{n}"),
        |n| format!("{n:08x}"),
    );
    let before = spool::list(&user.home());
    let noted = fires(&user);
    assert!(noted.contains("the spool is full"), "{noted}");
    assert_eq!(spool::list(&user.home()), before);
}

/// Events of one session: what is superseded makes room, in time.
#[test]
fn k_h04_a_full_spool_makes_room_in_time() {
    let user = User::new();
    fill(
        &user.home().spool(),
        |_| SESSION.to_owned(),
        |_| "00000000".to_owned(),
    );
    assert_eq!(fires(&user), "");
    let newest = spool::list(&user.home()).pop().unwrap();
    let bytes = fs::read(newest).unwrap();
    assert_eq!(spool::decode(&bytes).unwrap().1, STOP);
}
