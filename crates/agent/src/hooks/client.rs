//! Which program the hooks run: `ccpeer-hook` where it lies beside `ccpeer` and is
//! of the same version, else `ccpeer` itself.
//!
//! A small program starts in half of the time. One that an upgrade has left behind
//! would speak to the agent in words of another version, so it is asked first.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Name of the small program, without its ending.
const NAME: &str = "ccpeer-hook";
/// How long it may take to say its version.
const DEADLINE: Duration = Duration::from_secs(2);
/// Pause between two looks whether it has ended.
const PAUSE: Duration = Duration::from_millis(2);
/// Bytes of its answer that are read.
const ANSWER_BYTES_MAX: u64 = 256;

/// The program that the hooks are to run, where `program` is the whole one.
#[must_use]
pub fn client(program: &Path) -> PathBuf {
    let small = beside(program);
    if small.is_file() && says_our_version(&small) {
        small
    } else {
        program.to_owned()
    }
}

/// Whether hooks that run `named` run this program, in one of its two forms.
pub(crate) fn is_of(program: &Path, named: &Path) -> bool {
    named == program || (named == beside(program) && says_our_version(named))
}

fn beside(program: &Path) -> PathBuf {
    program.with_file_name(format!("{NAME}{}", std::env::consts::EXE_SUFFIX))
}

fn says_our_version(small: &Path) -> bool {
    let mut command = Command::new(small);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else {
        return false;
    };
    let ended = ends_well(&mut child);
    if !ended {
        let _gone_already = child.kill();
        let _reaped = child.wait();
        return false;
    }
    let mut said = String::new();
    let read = child
        .stdout
        .take()
        .map(|out| out.take(ANSWER_BYTES_MAX).read_to_string(&mut said));
    matches!(read, Some(Ok(_)))
        && said.trim_end() == format!("{NAME} {}", env!("CARGO_PKG_VERSION"))
}

/// Waits for its end, and not for ever.
fn ends_well(child: &mut Child) -> bool {
    let by = Instant::now() + DEADLINE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < by => thread::sleep(PAUSE),
            _ => return false,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_a_small_program_of_this_version_is_run_by_hooks() {
        let dir = tempfile::tempdir().unwrap();
        let (whole, small) = (dir.path().join("ccpeer"), dir.path().join("ccpeer-hook"));
        let says = |text: &str, code: u8| {
            // A new file each time: one that runs still cannot be written.
            let _ = fs::remove_file(&small);
            fs::write(&small, format!("#!/bin/sh\necho '{text}'\nexit {code}\n")).unwrap();
            fs::set_permissions(&small, fs::Permissions::from_mode(0o755)).unwrap();
        };
        let ours = format!("{NAME} {}", env!("CARGO_PKG_VERSION"));
        assert_eq!(client(&whole), whole, "none");
        says(&ours, 0);
        assert_eq!(client(&whole), small);
        assert!(is_of(&whole, &small) && is_of(&whole, &whole));
        assert!(!is_of(&whole, &dir.path().join("other/ccpeer-hook")));
        says(&ours, 1);
        assert_eq!(client(&whole), whole, "it fails");
        says("ccpeer-hook 0.0.1", 0);
        assert_eq!(client(&whole), whole, "it is an old one");
        assert!(!is_of(&whole, &small));
        fs::set_permissions(&small, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(client(&whole), whole, "it is no program");
    }
}
