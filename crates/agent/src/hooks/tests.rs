//! Install, remove and install again over everything that a settings file can be.

use super::*;

struct Scratch {
    _dir: tempfile::TempDir,
    home: Home,
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let home = Home::from_env(&|name| match name {
            "CCPEER_HOME" => Some(root.join("ccpeer").into_os_string()),
            "HOME" => Some(root.clone().into_os_string()),
            _ => None,
        })
        .unwrap();
        fs::create_dir_all(home.claude()).unwrap();
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("bin/ccpeer"), "").unwrap();
        Self { _dir: dir, home }
    }

    fn with(settings: &[u8]) -> Self {
        let scratch = Self::new();
        fs::write(scratch.home.claude_settings(), settings).unwrap();
        scratch
    }

    fn settings(&self) -> Option<Vec<u8>> {
        fs::read(self.home.claude_settings()).ok()
    }

    /// A program that is there.
    fn program(&self) -> PathBuf {
        self.home.user().join("bin/ccpeer")
    }

    fn install(&self) -> Result<HooksChange, ApiError> {
        install(&self.home, &self.program())
    }

    /// Names that nobody but us could have left behind.
    fn litter(&self) -> Vec<String> {
        fs::read_dir(self.home.claude())
            .unwrap()
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .filter(|name| name.contains("ccpeer-"))
            .collect()
    }
}

/// Files that can be edited: what is installed is found, and what is removed
/// leaves exactly what was there.
#[test]
fn k_h13_install_and_remove_restore_the_exact_bytes() {
    let mut big = br#"{"env": {"A": ""#.to_vec();
    big.extend(vec![b'x'; 1024 * 1024]);
    big.extend(br#""}}"#);
    let others = br#"{"hooks":{"Stop":[{"hooks":[{"type":"command","command":"true"}]}]},"z":1}"#;
    let cases: &[(&str, &[u8])] = &[
        ("empty", b""),
        ("nothing in it", b"{}"),
        ("one key", b"{\"model\": \"opus\"}\n"),
        ("1 MB", &big),
        ("hooks of others", others),
        ("byte order mark", b"\xef\xbb\xbf{\"a\": 1}"),
        ("tabs", b"{\n\t\"a\": {\n\t\t\"b\": 1\n\t}\n}\n"),
        ("other line ends", b"{\r\n  \"a\": 1\r\n}\r\n"),
        ("odd spaces", b"  { \"a\" :1 ,\n\n \"hooks\" : { } }  \n\n"),
        (
            "odd numbers",
            br#"{"n": 1e2, "m": 123456789012345678901234567890}"#,
        ),
    ];
    for (what, bytes) in cases {
        let scratch = Scratch::with(bytes);
        let change = scratch
            .install()
            .unwrap_or_else(|e| panic!("{what}: {e:?}"));
        assert!(change.changed, "{what}");
        let installed = scratch.settings().unwrap();
        let text = String::from_utf8_lossy(&installed);
        assert!(text.contains(scratch.program().to_str().unwrap()), "{what}");
        serde_json::from_str::<serde_json::Value>(text.trim_start_matches('\u{feff}'))
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(status(&scratch.home).unwrap().word(), "installed", "{what}");
        assert_eq!(fs::read(change.backup.unwrap()).unwrap(), *bytes, "{what}");

        assert!(
            !scratch.install().unwrap().changed,
            "{what}: installed twice"
        );
        assert_eq!(scratch.settings().unwrap(), installed, "{what}");

        assert!(remove(&scratch.home).unwrap().changed, "{what}");
        assert_eq!(scratch.settings().unwrap(), *bytes, "{what}");
        assert_eq!(status(&scratch.home).unwrap().word(), "missing", "{what}");
        assert!(
            !remove(&scratch.home).unwrap().changed,
            "{what}: removed twice"
        );
        assert!(scratch.litter().is_empty(), "{what}");
    }
}

#[test]
fn k_h13_an_absent_file_is_absent_again() {
    let scratch = Scratch::new();
    assert!(scratch.install().unwrap().changed);
    assert!(scratch.settings().is_some());
    assert!(remove(&scratch.home).unwrap().changed);
    assert_eq!(scratch.settings(), None);
    assert!(!scratch.home.claude().join("skills").exists());
    assert!(!remove(&scratch.home).unwrap().changed);
}

#[test]
fn k_h13_what_cannot_be_edited_is_refused_untouched() {
    for bytes in [
        &b"{"[..],
        b"{\"a\":}",
        b"[]",
        b"nonsense",
        b"{} {}",
        b"\xff\xfe{}",
    ] {
        let scratch = Scratch::with(bytes);
        let e = scratch.install().unwrap_err();
        assert_eq!(e.code, ErrorCode::Refused, "{e:?}");
        assert!(e.hint.is_some());
        assert_eq!(scratch.settings().unwrap(), bytes);
        assert!(scratch.litter().is_empty());
        assert!(!scratch.home.claude().join("skills").exists());
    }
    let scratch = Scratch::with(&vec![b' '; limits::SETTINGS_BYTES_MAX + 1]);
    assert_eq!(scratch.install().unwrap_err().code, ErrorCode::Refused);
}

#[test]
fn entries_are_taken_out_of_a_file_that_was_changed_since() {
    let scratch = Scratch::with(b"{\n  \"a\": 1\n}\n");
    scratch.install().unwrap();
    let text = String::from_utf8(scratch.settings().unwrap()).unwrap();
    fs::write(
        scratch.home.claude_settings(),
        text.replace("\"a\": 1", "\"a\": 2"),
    )
    .unwrap();
    remove(&scratch.home).unwrap();
    let left: serde_json::Value = serde_json::from_slice(&scratch.settings().unwrap()).unwrap();
    assert_eq!(left, serde_json::json!({"a": 2}));
}

#[test]
fn a_program_that_has_moved_is_written_anew_and_still_comes_off_cleanly() {
    let scratch = Scratch::with(b"{\"a\": 1}");
    scratch.install().unwrap();
    let moved = install(&scratch.home, Path::new("/elsewhere/ccpeer")).unwrap();
    assert!(moved.changed);
    let text = String::from_utf8(scratch.settings().unwrap()).unwrap();
    assert!(
        text.contains("/elsewhere/ccpeer") && !text.contains("/bin/ccpeer"),
        "{text}"
    );
    assert_eq!(status(&scratch.home).unwrap().word(), "partial");
    remove(&scratch.home).unwrap();
    assert_eq!(scratch.settings().unwrap(), b"{\"a\": 1}");
}

#[test]
fn a_program_without_an_absolute_path_is_refused() {
    let scratch = Scratch::new();
    let e = install(&scratch.home, Path::new("ccpeer")).unwrap_err();
    assert_eq!(e.code, ErrorCode::Refused);
}

#[test]
fn a_skill_that_was_changed_by_hand_stays() {
    let scratch = Scratch::new();
    assert_eq!(scratch.install().unwrap().skill, SkillChange::Written);
    assert_eq!(scratch.install().unwrap().skill, SkillChange::Unchanged);
    let path = scratch.home.claude().join("skills/ccpeer/SKILL.md");
    fs::write(&path, "mine").unwrap();
    assert_eq!(scratch.install().unwrap().skill, SkillChange::KeptForeign);
    assert_eq!(
        remove(&scratch.home).unwrap().skill,
        SkillChange::KeptForeign
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn k_h13_links_stay_links() {
        for (link, content) in [
            ("../dotfiles/claude.json", Some(&b"{\"a\": 1}"[..])),
            ("../dotfiles/claude.json", None),
        ] {
            let scratch = Scratch::new();
            let dotfiles = scratch.home.user().join("dotfiles");
            fs::create_dir_all(&dotfiles).unwrap();
            if let Some(content) = content {
                fs::write(dotfiles.join("claude.json"), content).unwrap();
            }
            symlink(link, scratch.home.claude_settings()).unwrap();
            scratch.install().unwrap();
            let is_link = || scratch.home.claude_settings().is_symlink();
            assert!(is_link());
            assert!(dotfiles.join("claude.json").is_file());
            remove(&scratch.home).unwrap();
            assert!(is_link());
            let left = fs::read(dotfiles.join("claude.json")).ok();
            assert_eq!(left.as_deref(), content);
        }
    }

    #[test]
    fn k_h13_read_only_settings_are_refused_and_a_mode_is_kept() {
        let scratch = Scratch::with(b"{}");
        let path = scratch.home.claude_settings();
        let mode = |m| fs::set_permissions(&path, fs::Permissions::from_mode(m)).unwrap();
        mode(0o444);
        assert_eq!(scratch.install().unwrap_err().code, ErrorCode::Refused);
        assert_eq!(scratch.settings().unwrap(), b"{}");
        mode(0o640);
        scratch.install().unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
    }

    #[test]
    fn k_h13_a_pipe_or_a_circle_of_links_is_refused_without_waiting() {
        let scratch = Scratch::new();
        let path = scratch.home.claude_settings();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert_eq!(scratch.install().unwrap_err().code, ErrorCode::Refused);
        fs::remove_file(&path).unwrap();
        symlink("settings.json", &path).unwrap();
        assert_eq!(scratch.install().unwrap_err().code, ErrorCode::Refused);
    }

    #[test]
    fn backups_are_private_and_few() {
        let scratch = Scratch::with(b"{}");
        for n in 0..limits::SETTINGS_BACKUPS_MAX + 5 {
            let bytes = format!("{{\"n\": {n}}}");
            fs::write(scratch.home.claude_settings(), bytes).unwrap();
            let backup = scratch.install().unwrap().backup.unwrap();
            let mode = fs::metadata(backup).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let kept = fs::read_dir(scratch.home.settings_backups())
            .unwrap()
            .count();
        assert!(kept <= limits::SETTINGS_BACKUPS_MAX + 4, "{kept}");
    }
}

/// Another program changes its own key a hundred times a second, each time in
/// what it has just read. None of its writes is lost for good.
#[cfg(target_os = "linux")]
#[test]
fn k_h14_no_write_of_another_program_is_lost() {
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::Instant;
    let scratch = Scratch::with(b"{\"n\": 0}");
    let path = scratch.home.claude_settings();
    let parse = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes);
    let n_now = || parse(&fs::read(&path).unwrap()).expect("the file is not valid");
    let (stop, stopped) = channel::<()>();
    let written = std::thread::scope(|scope| {
        let (path, n_now) = (&path, &n_now);
        let writer = scope.spawn(move || {
            let temp = path.with_extension("other");
            let mut written = 0u64;
            let turn = Duration::from_millis(10);
            while stopped.recv_timeout(turn) == Err(RecvTimeoutError::Timeout) {
                // For a moment an older state may be visible, never for long.
                let until = Instant::now() + Duration::from_secs(5);
                let mut value = n_now();
                while value["n"] != written {
                    assert!(Instant::now() < until, "write {written} is lost");
                    value = n_now();
                }
                written += 1;
                value["n"] = written.into();
                fs::write(&temp, value.to_string()).unwrap();
                fs::rename(&temp, path).unwrap();
            }
            written
        });
        for _ in 0..25 {
            scratch.install().unwrap();
            remove(&scratch.home).unwrap();
        }
        drop(stop);
        writer.join().unwrap()
    });
    assert!(written > 0);
    assert_eq!(n_now()["n"], written);
}

/// Another program's hooks beside ours: it installs and removes its own by a test on
/// the text of each group, and neither of us touches what is the other's.
#[test]
fn hooks_of_the_extension_and_ours_stand_in_one_file() {
    use serde_json::{Value, json};
    let theirs = |event: &str| {
        let command = format!("node \"/home/ann/.claude-sync-sessions/bin/hook.cjs\" {event}");
        json!({ "hooks": [{ "type": "command", "command": command }] })
    };
    let is_theirs = |group: &Value| {
        let text = group.to_string();
        text.contains("claude-sync-sessions") || text.contains("hook.cjs")
    };
    let begun = json!({ "hooks": { "SessionEnd": [theirs("SessionEnd")] }, "model": "opus" });
    let begun = serde_json::to_vec_pretty(&begun).unwrap();
    let scratch = Scratch::with(&begun);
    scratch.install().unwrap();
    let read = || serde_json::from_slice::<Value>(&scratch.settings().unwrap()).unwrap();
    let groups = |settings: &Value| -> Vec<Value> {
        let events = settings["hooks"].as_object().unwrap().values();
        events.flat_map(|e| e.as_array().unwrap().clone()).collect()
    };
    let ours = groups(&read()).iter().filter(|g| !is_theirs(g)).count();
    assert!(ours > 1, "none of ours looks like theirs");

    // It installs one more, and writes the whole file anew, as it does.
    let mut settings = read();
    let starts = settings["hooks"]["SessionStart"].as_array_mut().unwrap();
    starts.push(theirs("SessionStart"));
    let written = serde_json::to_vec_pretty(&settings).unwrap();
    fs::write(scratch.home.claude_settings(), written).unwrap();
    scratch.install().unwrap();
    let both = groups(&read());
    assert_eq!(both.iter().filter(|g| is_theirs(g)).count(), 2);
    assert_eq!(both.iter().filter(|g| !is_theirs(g)).count(), ours);

    // It takes its own out: ours work on.
    let mut settings = read();
    for event in settings["hooks"].as_object_mut().unwrap().values_mut() {
        event.as_array_mut().unwrap().retain(|g| !is_theirs(g));
    }
    fs::write(scratch.home.claude_settings(), settings.to_string()).unwrap();
    assert_eq!(groups(&read()).len(), ours);
    // And we take out ours, theirs being there again.
    let mut settings = read();
    let ends = settings["hooks"]["SessionEnd"].as_array_mut().unwrap();
    ends.insert(0, theirs("SessionEnd"));
    fs::write(scratch.home.claude_settings(), settings.to_string()).unwrap();
    remove(&scratch.home).unwrap();
    let left = groups(&read());
    assert!(left.len() == 1 && is_theirs(&left[0]), "{left:?}");
}
