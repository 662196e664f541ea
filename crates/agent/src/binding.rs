//! On which machine and in which directory a home was made, so that a copy of it
//! is noticed: two agents that share a key would speak for one device.
//!
//! The machine is remembered as a hash that means nothing elsewhere. Must not
//! know what is done about a copy.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::home::Home;
use crate::keys;

/// Stands for the machine's own id where that means nothing: containers that
/// share one, and tests.
const MACHINE_ID: &str = "CCPEER_MACHINE_ID";
/// What the hash of the machine is for.
const CONTEXT: &str = "ccpeer machine binding v1";
/// Bytes of a machine's id that are looked at.
const MACHINE_ID_BYTES_MAX: usize = 4096;

/// What is written beside the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Binding {
    v: u8,
    /// Hash of the machine's id, if it has one.
    machine: Option<String>,
    /// The directory, as text to compare.
    root: String,
}

/// How a home stands to where it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It says nothing: new, or made by an older ccpeer.
    Unbound,
    /// Where it was.
    Same,
    /// In another directory of the same machine, and no longer in the old one.
    Moved,
    /// On another machine, or beside the original.
    Copied,
}

/// Compares what was written with what is.
pub(crate) fn standing(home: &Home) -> Standing {
    let Some(before) = fs::read(home.binding())
        .ok()
        .and_then(|b| serde_json::from_slice::<Binding>(&b).ok())
    else {
        return Standing::Unbound;
    };
    let now = current(home);
    let elsewhere = matches!((&before.machine, &now.machine), (Some(a), Some(b)) if a != b);
    if elsewhere {
        return Standing::Copied;
    }
    if before.root == now.root {
        return Standing::Same;
    }
    let original = Path::new(&before.root).join(file_name(&home.key()));
    let here = fs::read(home.key()).ok();
    if here.is_some() && fs::read(original).ok() == here {
        Standing::Copied
    } else {
        Standing::Moved
    }
}

/// Writes down that this home belongs here.
pub(crate) fn bind(home: &Home) -> io::Result<()> {
    let text = serde_json::to_vec(&current(home)).map_err(io::Error::other)?;
    keys::write_private(&home.binding(), &text)
}

fn current(home: &Home) -> Binding {
    let root = fs::canonicalize(home.root()).unwrap_or_else(|_| home.root().to_path_buf());
    Binding {
        v: 1,
        machine: machine_id().map(|id| {
            let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
            hasher.update(id.as_bytes());
            hasher.finalize().to_hex().to_string()
        }),
        root: root.display().to_string(),
    }
}

fn file_name(path: &Path) -> &Path {
    path.file_name().map_or(path, Path::new)
}

/// What the system says tells this machine from others.
fn machine_id() -> Option<String> {
    if let Some(id) = std::env::var_os(MACHINE_ID).filter(|v| !v.is_empty()) {
        return Some(id.to_string_lossy().into_owned());
    }
    let text = system_machine_id()?;
    let text: String = text.trim().chars().take(MACHINE_ID_BYTES_MAX).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(target_os = "macos")]
fn system_machine_id() -> Option<String> {
    said_by("/usr/sbin/sysctl", &["-n", "kern.uuid"])
}

#[cfg(windows)]
fn system_machine_id() -> Option<String> {
    let key = r"HKLM\SOFTWARE\Microsoft\Cryptography";
    let said = said_by("reg.exe", &["query", key, "/v", "MachineGuid"])?;
    said.split_whitespace().last().map(str::to_owned)
}

#[cfg(any(target_os = "macos", windows))]
fn said_by(program: &str, args: &[&str]) -> Option<String> {
    let mut command = std::process::Command::new(program);
    let out = command.args(args).stdin(std::process::Stdio::null());
    let out = out.output().ok().filter(|o| o.status.success())?;
    String::from_utf8(out.stdout).ok()
}

#[cfg(not(any(target_os = "macos", windows)))]
fn system_machine_id() -> Option<String> {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .find_map(|path| {
            fs::read_to_string(path)
                .ok()
                .filter(|t| !t.trim().is_empty())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(root: &Path) -> Home {
        let root = root.to_owned();
        Home::from_env(&|name| {
            matches!(name, "CCPEER_HOME" | "HOME").then(|| root.clone().into_os_string())
        })
        .unwrap()
    }

    #[test]
    fn a_copy_is_told_from_a_move() {
        let dir = tempfile::tempdir().unwrap();
        let first = dir.path().join("first");
        fs::create_dir(&first).unwrap();
        fs::write(home(&first).key(), "the key").unwrap();
        assert_eq!(standing(&home(&first)), Standing::Unbound);
        bind(&home(&first)).unwrap();
        assert_eq!(standing(&home(&first)), Standing::Same);

        let copy = dir.path().join("copy");
        fs::create_dir(&copy).unwrap();
        for file in ["device.key", "device.place"] {
            fs::copy(first.join(file), copy.join(file)).unwrap();
        }
        assert_eq!(standing(&home(&copy)), Standing::Copied);
        fs::remove_dir_all(&first).unwrap();
        assert_eq!(standing(&home(&copy)), Standing::Moved);
        bind(&home(&copy)).unwrap();
        assert_eq!(standing(&home(&copy)), Standing::Same);

        let text = fs::read_to_string(copy.join("device.place")).unwrap();
        let mut there: Binding = serde_json::from_str(&text).unwrap();
        there.machine = there.machine.map(|_| "0".repeat(64));
        let elsewhere = there.machine.is_some();
        fs::write(
            copy.join("device.place"),
            serde_json::to_vec(&there).unwrap(),
        )
        .unwrap();
        let told = standing(&home(&copy));
        assert_eq!(told == Standing::Copied, elsewhere, "{told:?}");
    }
}
