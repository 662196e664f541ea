//! The user's browser: the one place that knows how a system opens a link.
//!
//! Must not know what is behind it.

use std::ffi::OsString;
use std::process::{Command, Stdio};

/// Opens a link, if there is a browser that the user would see. True if one was
/// asked; whether it shows anything, nobody tells.
pub(crate) fn open(url: &str) -> bool {
    let env = |name: &str| std::env::var_os(name);
    let Some(mut words) = opener(std::env::consts::OS, &env) else {
        return false;
    };
    let program = words.remove(0);
    let started = Command::new(program)
        .args(words)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match started {
        Ok(mut child) => {
            // It ends at once, mostly; nobody waits for one that does not.
            std::thread::spawn(move || child.wait());
            true
        }
        Err(_) => false,
    }
}

/// Whether the user sits at another machine.
pub(crate) fn is_remote() -> bool {
    let env = |name: &str| std::env::var_os(name);
    over_ssh(&env)
}

/// The program that opens links there, with its first arguments; none where nobody
/// would see what it opens.
fn opener(os: &str, env: &dyn Fn(&str) -> Option<OsString>) -> Option<Vec<&'static str>> {
    match os {
        _ if over_ssh(env) => None,
        "macos" => Some(vec!["open"]),
        // No shell: it would take the link apart.
        "windows" => Some(vec!["rundll32", "url.dll,FileProtocolHandler"]),
        _ => {
            let set = |name| env(name).is_some_and(|value| !value.is_empty());
            (set("DISPLAY") || set("WAYLAND_DISPLAY")).then(|| vec!["xdg-open"])
        }
    }
}

fn over_ssh(env: &dyn Fn(&str) -> Option<OsString>) -> bool {
    env("SSH_CONNECTION").is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_opened_only_where_somebody_sees_it() {
        let check = |os: &str, set: &[&str], want: Option<&str>| {
            let env = |name: &str| set.contains(&name).then(|| OsString::from("x"));
            let got = opener(os, &env).map(|words| words[0]);
            assert_eq!(got, want, "{os} {set:?}");
        };
        check("linux", &[], None);
        check("linux", &["DISPLAY"], Some("xdg-open"));
        check("freebsd", &["WAYLAND_DISPLAY"], Some("xdg-open"));
        check("linux", &["DISPLAY", "SSH_CONNECTION"], None);
        check("macos", &[], Some("open"));
        check("macos", &["SSH_CONNECTION"], None);
        check("windows", &[], Some("rundll32"));
        let empty = |_: &str| Some(OsString::new());
        assert_eq!(opener("linux", &empty), None);
    }
}
