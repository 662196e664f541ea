//! The three service managers as pure functions, on whatever system this runs; and
//! what is done to files.

use std::cell::RefCell;
use std::ffi::OsString;

use super::*;

/// A path with all that quoting can get wrong.
const ODD: &str = "/opt/it's 100% \"$HOME\" \\ a&b<c>/ccpeer";

fn env(vars: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> + 'static {
    let vars: Vec<(String, OsString)> = vars
        .iter()
        .map(|(k, v)| ((*k).to_owned(), OsString::from(v)))
        .collect();
    move |name| vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone())
}

fn made(manager: Manager, program: &str, start: &Start, vars: &[(&str, &str)]) -> String {
    let env = env(vars);
    let home = Home::from_env(&env).unwrap();
    let job = job(&home, manager, Path::new(program), start, &env).unwrap();
    match manager {
        Manager::Systemd => systemd::text(&job),
        Manager::Launchd => launchd::text(&job, "dev.ccpeer.ccpeer"),
        Manager::TaskScheduler => tasks::text(&job),
    }
}

const BARE: [(&str, &str); 1] = [("HOME", "/home/ann")];

#[test]
fn a_unit_of_systemd_quotes_by_its_rules() {
    let check = |program: &str, vars: &[(&str, &str)], want: &[&str]| {
        let text = made(Manager::Systemd, program, &Start::default(), vars);
        for line in want {
            assert!(text.lines().any(|l| l == *line), "{line}\nnot in\n{text}");
        }
        text
    };
    let text = check(
        "/usr/bin/ccpeer",
        &BARE,
        &[
            r#"ExecStart="/usr/bin/ccpeer" "agent""#,
            r#"Environment="MALLOC_ARENA_MAX=1""#,
            r#"Environment="MALLOC_MMAP_THRESHOLD_=131072""#,
            "Restart=on-failure",
            "RestartSec=15",
            "WantedBy=default.target",
        ],
    );
    assert!(!text.contains("CCPEER_HOME"), "{text}");
    check(
        "/a b/100%/ccpeer",
        &BARE,
        &[r#"ExecStart="/a b/100%%/ccpeer" "agent""#],
    );
    // The path of a program takes no quotation marks; an argument does.
    check(
        ODD,
        &BARE,
        &[r#"ExecStart=/usr/bin/env "/opt/it's 100%% \"$$HOME\" \\ a&b<c>/ccpeer" "agent""#],
    );
    check(
        "/usr/bin/ccpeer",
        &[
            ("HOME", "/home/ann"),
            ("CCPEER_HOME", "/x y/\"50%\" $z"),
            ("CLAUDE_CONFIG_DIR", "/k"),
            ("PATH", "/opt/bin:/bin"),
            ("MALLOC_ARENA_MAX", "4"),
        ],
        &[
            r#"Environment="CCPEER_HOME=/x y/\"50%%\" $z""#,
            r#"Environment="CLAUDE_CONFIG_DIR=/k""#,
            r#"Environment="PATH=/opt/bin:/bin""#,
            r#"Environment="MALLOC_ARENA_MAX=4""#,
        ],
    );
}

#[test]
fn a_list_of_launchd_is_escaped() {
    let text = made(
        Manager::Launchd,
        ODD,
        &Start::default(),
        &[("HOME", "/Users/ann"), ("CCPEER_HOME", "/x & y/<z>")],
    );
    for want in [
        "<string>/opt/it&apos;s 100% &quot;$HOME&quot; \\ a&amp;b&lt;c&gt;/ccpeer</string>",
        "<string>agent</string>",
        "<key>CCPEER_HOME</key><string>/x &amp; y/&lt;z&gt;</string>",
        "<key>SuccessfulExit</key><false/>",
        "<key>ThrottleInterval</key><integer>15</integer>",
        "<key>RunAtLoad</key><true/>",
        "<key>StandardErrorPath</key><string>/x &amp; y/&lt;z&gt;/log/agent.log</string>",
    ] {
        assert!(text.contains(want), "{want}\nnot in\n{text}");
    }
    assert!(!text.contains("MALLOC"), "{text}");
    let comments = text.matches("<!--").count();
    assert_eq!((comments, text.matches("--").count()), (2, 4), "{text}");
}

#[test]
fn a_task_of_windows_keeps_places_in_its_arguments() {
    let text = made(
        Manager::TaskScheduler,
        "/Program Files/ccpeer & co/ccpeer.exe",
        &Start {
            listen: Some("127.0.0.1:7".parse().unwrap()),
            no_mdns: true,
        },
        &[
            ("HOME", "/h"),
            ("CCPEER_HOME", "/D/my \"data\"\\"),
            ("CLAUDE_CONFIG_DIR", "/k"),
            ("USERDOMAIN", "BOX"),
            ("USERNAME", "ann"),
            ("PATH", "/bin"),
        ],
    );
    for want in [
        "<Command>/Program Files/ccpeer &amp; co/ccpeer.exe</Command>",
        "<Arguments>agent --listen 127.0.0.1:7 --no-mdns --home \
         &quot;/D/my \\&quot;data\\&quot;\\\\&quot; --claude-dir /k</Arguments>",
        "<UserId>BOX\\ann</UserId>",
        "<RestartOnFailure><Interval>PT1M</Interval>",
        "<ExecutionTimeLimit>PT0S</ExecutionTimeLimit>",
    ] {
        assert!(text.contains(want), "{want}\nnot in\n{text}");
    }
    let bytes = tasks::encode(&text);
    assert_eq!(bytes.get(..4), Some(&[0xff, 0xfe, b'<', 0][..]));
    assert_eq!(tasks::decode(&bytes).as_deref(), Some(text.as_str()));
    assert_eq!(tasks::decode(text.as_bytes()), None);
}

#[test]
fn what_cannot_be_written_down_is_refused() {
    let check = |program: &Path, vars: &[(&str, &str)], want: &str| {
        for manager in [Manager::Systemd, Manager::Launchd, Manager::TaskScheduler] {
            let env = env(vars);
            let home = Home::from_env(&env).unwrap();
            let e = job(&home, manager, program, &Start::default(), &env).unwrap_err();
            assert!(e.message.contains(want), "{}", e.message);
            assert!(e.hint.is_some());
        }
    };
    check(Path::new("ccpeer"), &BARE, "absolute");
    check(Path::new("/a\nb/ccpeer"), &BARE, "control character");
    check(
        Path::new("/ccpeer"),
        &[("HOME", "/h"), ("CCPEER_HOME", "/x\u{1b}[2J")],
        "CCPEER_HOME",
    );
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let raw = std::ffi::OsStr::from_bytes(b"/opt/\xff/ccpeer");
        check(Path::new(raw), &BARE, "UTF-8");
    }
}

#[test]
fn each_home_has_a_service_of_its_own() {
    let name = |vars: &[(&str, &str)]| {
        let env = env(vars);
        super::name(&Home::from_env(&env).unwrap(), &env)
    };
    assert_eq!(name(&BARE), "ccpeer");
    let other = name(&[("HOME", "/home/ann"), ("CCPEER_HOME", "/x")]);
    assert!(other.starts_with("ccpeer-") && other.len() == 15, "{other}");
    assert_ne!(other, name(&[("HOME", "/home/ann"), ("CCPEER_HOME", "/y")]));
}

#[test]
fn a_file_that_was_changed_is_not_ours_any_more() {
    let start = Start {
        listen: Some("[::1]:9".parse().unwrap()),
        no_mdns: true,
    };
    for manager in [Manager::Systemd, Manager::Launchd, Manager::TaskScheduler] {
        let text = made(manager, "/usr/bin/ccpeer", &start, &BARE);
        assert_eq!(seal::check(&text), Found::Installed);
        assert_eq!(seal::start(&text), start);
        for changed in [
            text.replace("/usr/bin", "/tmp"),
            text.clone() + "x\n",
            text.trim_end().to_owned(),
        ] {
            assert_eq!(seal::check(&changed), Found::Changed);
        }
        let bare: String = text
            .lines()
            .filter(|line| !line.contains("ccpeer-service 1"))
            .collect();
        assert_eq!(seal::check(&bare), Found::Foreign);
    }
}

#[test]
fn what_managers_say_is_understood() {
    let said = |said: &str, ok| Ran {
        ok,
        said: said.to_owned(),
    };
    let is = systemd::read(&said(
        "ActiveState=active\nSubState=running\nMainPID=7\n",
        true,
    ));
    assert_eq!((is.state, is.pid), ("running", Some(7)));
    let is = systemd::read(&said("ActiveState=inactive\nMainPID=0\n", true));
    assert_eq!((is.state, is.pid), ("stopped", None));
    let is = systemd::read(&said(
        "ActiveState=activating\nSubState=auto-restart\nMainPID=0\nResult=exit-code\nExecMainStatus=4\n",
        true,
    ));
    assert_eq!(is.state, "failed");
    assert_eq!(
        is.why.as_deref(),
        Some("systemd says exit-code, exit status 4")
    );
    let is = systemd::read(&said("Failed to connect to bus: No medium found\n", false));
    assert_eq!(is.state, "unknown");
    assert!(is.why.unwrap().contains("No medium"));

    let is = launchd::read(&said("x = {\n\tstate = running\n\tpid = 12\n}\n", true));
    assert_eq!((is.state, is.pid), ("running", Some(12)));
    let is = launchd::read(&said("\tstate = waiting\n\tlast exit code = 4: no\n", true));
    assert_eq!(is.state, "failed");
    assert_eq!(launchd::read(&said("", false)).state, "stopped");
    assert_eq!(tasks::read(&said("", false)).state, "failed");
    assert_eq!(
        tasks::read(&said("ccpeer N/A Ready", true)).state,
        "unknown"
    );
}

/// What was run, for each manager, from `install` to `remove`.
#[cfg(unix)]
#[test]
fn only_our_own_file_is_written_and_removed() {
    for manager in [Manager::Systemd, Manager::Launchd, Manager::TaskScheduler] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        let env = env(&[("HOME", root)]);
        let home = Home::from_env(&env).unwrap();
        let calls = RefCell::new(Vec::new());
        let run = |call: &Call| {
            calls.borrow_mut().push(call.shown());
            Ok(Ran {
                ok: true,
                said: String::new(),
            })
        };
        let service = Service::with(&home, manager, &env, &run);
        let program = Path::new("/usr/bin/ccpeer");
        assert_eq!(service.found(), Found::Missing);
        assert!(service.write(program, &Start::default()).unwrap());
        assert!(!service.write(program, &Start::default()).unwrap(), "twice");
        assert!(service.status(Some(program)).enabled);
        assert!(service.status(Some(program)).runs_this_program);
        assert!(
            !service
                .status(Some(Path::new("/bin/ccpeer")))
                .runs_this_program
        );
        // Another place of the program is another file.
        assert!(
            service
                .write(Path::new("/bin/ccpeer"), &Start::default())
                .unwrap()
        );
        service.load().unwrap();
        service.start().unwrap();
        assert!(!calls.borrow().is_empty());

        let text = fs::read(&service.file).unwrap();
        fs::write(&service.file, [text.as_slice(), b"x\0"].concat()).unwrap();
        for refused in [
            service.write(program, &Start::default()).err(),
            service.remove().err(),
        ] {
            let e = refused.unwrap();
            assert_eq!(e.code, ErrorCode::Refused);
            assert!(e.message.contains("left alone"), "{}", e.message);
        }
        fs::write(&service.file, &text).unwrap();
        assert_eq!(service.remove().unwrap(), (true, None));
        assert_eq!(service.remove().unwrap(), (false, None), "twice");
        assert!(!service.file.exists());
        let left: Vec<_> = service
            .link
            .iter()
            .filter(|(l, _)| fs::read_link(l).is_ok())
            .collect();
        assert!(left.is_empty(), "{left:?}");
        fs::create_dir_all(service.file.parent().unwrap()).unwrap();
        fs::write(&service.file, "[Service]\nExecStart=/bin/theirs\n").unwrap();
        assert_eq!(service.found(), Found::Foreign);
        service.write(program, &Start::default()).unwrap_err();
    }
}

#[cfg(unix)]
#[test]
fn a_manager_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(&[("HOME", dir.path().to_str().unwrap())]);
    let home = Home::from_env(&env).unwrap();
    let none = |_: &Call| Err(io::ErrorKind::NotFound.into());
    let service = Service::with(&home, Manager::Systemd, &env, &none);
    assert!(!service.can_be_asked());
    let bus = |_: &Call| {
        Ok(Ran {
            ok: false,
            said: "Failed to connect to bus: \u{1b}[2JNo medium found\n".to_owned(),
        })
    };
    let service = Service::with(&home, Manager::Systemd, &env, &bus);
    let e = service.start().unwrap_err();
    assert_eq!(
        e.message,
        "`systemctl --user start ccpeer.service` failed: Failed to connect to bus: No medium found"
    );
    assert!(e.hint.unwrap().contains("login session"));
    // What cannot be stopped can be removed all the same.
    service
        .write(Path::new("/ccpeer"), &Start::default())
        .unwrap();
    let (changed, stopped) = service.remove().unwrap();
    assert!(changed && stopped.is_some());
}

/// By systemd itself, where that is there.
#[cfg(target_os = "linux")]
#[test]
fn systemd_understands_its_unit() {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        println!("systemd-analyze is not here: nothing was checked");
        return;
    };
    assert!(version.status.success());
    for name in [
        "plain",
        "a b",
        "100%",
        "it's",
        "\"q\"",
        "$HOME",
        "back\\slash",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join(name);
        fs::create_dir(&root).unwrap();
        let program = root.join("ccpeer");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let env = env(&[
            ("HOME", dir.path().to_str().unwrap()),
            ("CCPEER_HOME", root.to_str().unwrap()),
            ("CLAUDE_CONFIG_DIR", root.to_str().unwrap()),
            ("PATH", "/bin:/usr/bin"),
        ]);
        let home = Home::from_env(&env).unwrap();
        let service = Service::with(&home, Manager::Systemd, &env, &run::run);
        let job = job(&home, Manager::Systemd, &program, &Start::default(), &env).unwrap();
        fs::create_dir_all(service.file.parent().unwrap()).unwrap();
        fs::write(&service.file, systemd::text(&job)).unwrap();
        let said = Command::new("systemd-analyze")
            .args(["verify", "--user", "--man=no"])
            .arg(&service.file)
            .env("XDG_RUNTIME_DIR", dir.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.success(), "{name}: {told}");
        assert!(!told.contains("ccpeer"), "{name}: {told}");
        // It is able to complain.
        if name == "plain" {
            fs::remove_file(&program).unwrap();
            let said = Command::new("systemd-analyze")
                .args(["verify", "--user", "--man=no"])
                .arg(&service.file)
                .env("XDG_RUNTIME_DIR", dir.path())
                .output()
                .unwrap();
            assert!(!said.status.success());
        }
    }
}
