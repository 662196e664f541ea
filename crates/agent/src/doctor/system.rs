//! What the checks ask of the operating system and of other programs.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ccpeer_core::text;

use super::{Check, note, ok, problem};

/// The first bytes of a store's file.
const STORE_MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
/// How long another program may take to tell its version.
const VERSION_MAX: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const VERSION_LOOK: Duration = Duration::from_millis(20);
/// Bytes of its answer that are read.
const VERSION_BYTES_MAX: u64 = 4096;
/// Parts of paths below which another program moves files about.
const SYNCED: [&str; 9] = [
    "Dropbox",
    "OneDrive",
    "Google Drive",
    "GoogleDrive",
    "CloudStorage",
    "Mobile Documents",
    "Nextcloud",
    "pCloudDrive",
    "Syncthing",
];

/// Whether the store lies where locks and flushes mean what they say.
pub(super) fn file_system(root: &Path) -> Check {
    let remedy = "set CCPEER_HOME to a directory on a local disk; sessions travel by pairing";
    let synced = root.components().find_map(|part| {
        let part = part.as_os_str().to_string_lossy();
        let known = SYNCED.iter().find(|s| part.starts_with(**s))?;
        Some(*known)
    });
    if let Some(by) = synced {
        return problem(
            "file_system",
            format!("CCPEER_HOME lies in a folder that {by} copies"),
            remedy,
        );
    }
    match network_kind(root) {
        Some(kind) => problem(
            "file_system",
            format!("CCPEER_HOME lies on a network disk ({kind})"),
            remedy,
        ),
        None => ok("file_system", "local"),
    }
}

#[cfg(target_os = "linux")]
fn network_kind(root: &Path) -> Option<&'static str> {
    // Numbers of statfs(2) and linux/magic.h.
    const KINDS: [(i128, &str); 6] = [
        (0x6969, "NFS"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x517b, "SMB"),
        (0x0102_1997, "9P"),
        (0x00c3_6400, "Ceph"),
    ];
    let kind = nix::sys::statfs::statfs(&nearest(root))
        .ok()?
        .filesystem_type();
    let number = i128::from(kind.0) & 0xffff_ffff;
    KINDS
        .iter()
        .find(|(n, _)| *n == number)
        .map(|(_, name)| *name)
}

#[cfg(not(target_os = "linux"))]
fn network_kind(root: &Path) -> Option<&'static str> {
    let text = root.to_string_lossy();
    text.starts_with(r"\\").then_some("UNC path")
}

/// The path itself, or what of it is there.
#[cfg(unix)]
fn nearest(path: &Path) -> PathBuf {
    path.ancestors()
        .find(|p| p.exists())
        .map_or_else(|| path.to_path_buf(), Path::to_path_buf)
}

/// Bytes that this user can still write there.
#[cfg(unix)]
pub(crate) fn free_space(root: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(&nearest(root)).ok()?;
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        reason = "the types differ from system to system"
    )]
    Some((stat.blocks_available() as u64).saturating_mul(stat.fragment_size() as u64))
}

#[cfg(not(unix))]
pub(crate) fn free_space(_: &Path) -> Option<u64> {
    None
}

/// The mode of a directory that others may enter.
#[cfg(unix)]
pub(super) fn open_to_others(dir: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let mode = fs::metadata(dir).ok()?.mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
pub(super) fn open_to_others(_: &Path) -> Option<u32> {
    None
}

/// Length of a store's file, and whether it begins like one.
pub(super) fn first_bytes(path: &Path) -> io::Result<(u64, bool)> {
    let mut file = fs::File::open(path)?;
    let len = file.metadata()?.len();
    let mut magic = Vec::new();
    file.by_ref()
        .take(STORE_MAGIC.len() as u64)
        .read_to_end(&mut magic)?;
    Ok((len, magic == STORE_MAGIC))
}

/// Damaged stores that were set aside.
pub(super) fn set_aside(root: &Path) -> u64 {
    names(root)
        .filter(|n| n.starts_with("store.redb.damaged-"))
        .count() as u64
}

/// Files in a directory.
pub(super) fn count_files(dir: &Path) -> u64 {
    names(dir).count() as u64
}

fn names(dir: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
}

/// Claude Code, where `continue` would find it.
pub(super) fn claude() -> Check {
    let Some(program) = find_program("claude") else {
        return note(
            "claude",
            "Claude Code is not in the PATH; `ccpeer continue` cannot start it",
            "install it, or use `ccpeer continue --no-exec`",
        );
    };
    match version(&program) {
        Some(version) => ok("claude", format!("{version} ({})", program.display())),
        None => note(
            "claude",
            format!("{} does not tell its version", program.display()),
            "run `claude --version` to see why",
        ),
    }
}

/// Git, which tells projects apart.
pub(super) fn git() -> Check {
    match find_program("git").and_then(|p| version(&p)) {
        Some(version) => ok("git", version),
        None => note(
            "git",
            "not found: projects are matched by their directories alone",
            "install git",
        ),
    }
}

fn find_program(name: &str) -> Option<PathBuf> {
    let endings: &[&str] = if cfg!(windows) {
        &[".exe", ".cmd", ".bat"]
    } else {
        &[""]
    };
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .flat_map(|dir| endings.iter().map(move |e| dir.join(format!("{name}{e}"))))
        .find(|p| is_program(p))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// What a program answers to `--version`, if it does so in time.
fn version(program: &Path) -> Option<String> {
    let mut child = Command::new(program)
        .arg("--version")
        // Whatever it starts must not come back to us as a hook.
        .env("CCPEER_CHILD", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let begun = Instant::now();
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.success(),
            Ok(None) if begun.elapsed() < VERSION_MAX => std::thread::sleep(VERSION_LOOK),
            Ok(None) | Err(_) => {
                let _ended = child.kill();
                let _reaped = child.wait();
                break false;
            }
        }
    };
    let mut said = Vec::new();
    let out = child.stdout.take()?;
    if !ended {
        return None;
    }
    out.take(VERSION_BYTES_MAX).read_to_end(&mut said).ok()?;
    let line = text::one_line(String::from_utf8_lossy(&said).lines().next()?, 60);
    (!line.is_empty()).then_some(line)
}
