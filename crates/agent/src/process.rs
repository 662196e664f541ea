//! Whether a process lives, and when it ends. Must not know what it is to us.

use std::time::Duration;

/// How often a process is looked at where the system cannot say when it ends.
const LOOK: Duration = Duration::from_secs(1);

/// Bytes of a process's environment that are looked at.
const ENVIRON_BYTES_MAX: u64 = 1024 * 1024;

/// Returns when there is no process of this number. Where the system can say
/// so, nothing is done until then.
pub(crate) async fn ended(pid: u32) {
    if told(pid).await.is_some() {
        return;
    }
    while exists(pid) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether there is a process of this number that has not ended.
#[must_use]
pub(crate) fn exists(pid: u32) -> bool {
    #[cfg(unix)]
    {
        use nix::errno::Errno;
        use nix::sys::signal::kill;
        use nix::unistd::Pid;
        let Ok(raw) = i32::try_from(pid) else {
            return false;
        };
        // Zero and negative numbers mean groups.
        raw > 0 && !matches!(kill(Pid::from_raw(raw), None), Err(Errno::ESRCH)) && !is_zombie(pid)
    }
    #[cfg(not(unix))]
    {
        // Nothing to ask without a system call of our own: trust the claim.
        pid > 0
    }
}

/// Whether the process lives and is still the one that started at that time:
/// numbers are used again.
#[must_use]
pub(crate) fn is(pid: u32, started: Option<&str>) -> bool {
    if !exists(pid) {
        return false;
    }
    match (started, start_of(pid)) {
        (Some(claimed), Some(seen)) => claimed == seen,
        _ => true,
    }
}

/// When a process started, in the words that Claude Code uses on Linux: field 22
/// of its `stat`, in ticks since the machine started.
pub(crate) fn start_of(pid: u32) -> Option<String> {
    stat_field(pid, 22)
}

/// Whether the terminal that a process had is gone: its window was closed, or
/// the pane that it was. Only where the system tells, and not of one that came
/// over a network: a connection that breaks closes a terminal, too, and nobody
/// meant it.
pub(crate) fn lost_terminal(pid: u32) -> bool {
    let gone = |fd: u8| {
        let link = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok();
        // The other end of a terminal takes its name away when it goes.
        let name = link.and_then(|l| l.into_os_string().into_string().ok());
        name.is_some_and(|n| n.starts_with("/dev/pts/") && n.ends_with(" (deleted)"))
    };
    cfg!(target_os = "linux") && (0..=2).any(gone) && !is_remote(pid)
}

/// Whether a process says that it was started over a network. One that does not
/// say anything may have been.
fn is_remote(pid: u32) -> bool {
    use std::io::Read;
    let read = || -> std::io::Result<Vec<u8>> {
        let file = std::fs::File::open(format!("/proc/{pid}/environ"))?;
        let mut bytes = Vec::new();
        file.take(ENVIRON_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let says = |bytes: Vec<u8>| {
        let mut variables = bytes.split(|b| *b == 0);
        bytes.len() as u64 >= ENVIRON_BYTES_MAX
            || variables.any(|v| v.starts_with(b"SSH_CONNECTION=") || v.starts_with(b"SSH_TTY="))
    };
    read().map_or(true, says)
}

/// Ended, and its parent has not looked.
#[cfg(unix)]
fn is_zombie(pid: u32) -> bool {
    matches!(stat_field(pid, 3).as_deref(), Some("Z" | "X"))
}

/// A field of the process's `stat`, counted as in proc(5); from 3 on.
fn stat_field(pid: u32, field: usize) -> Option<String> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in brackets and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let nth = fields.split_whitespace().nth(field.checked_sub(3)?);
    nth.map(str::to_owned)
}

/// Waits until the system says that the process has ended; nothing if it
/// cannot.
#[cfg(target_os = "linux")]
#[expect(
    deprecated,
    reason = "its successor is unsafe, for descriptors that may be closed under it; this one is owned"
)]
async fn told(pid: u32) -> Option<()> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let fd = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
    let fd = AsyncFd::with_interest(fd, Interest::READABLE).ok()?;
    // Readable means ended; there is nothing to read.
    fd.readable().await.ok().map(drop)
}

#[cfg(not(target_os = "linux"))]
fn told(_: u32) -> std::future::Ready<Option<()>> {
    std::future::ready(None)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn the_end_of_a_process_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        assert!(exists(pid) && is(pid, start_of(pid).as_deref()));
        runtime.block_on(async {
            let waiting = tokio::spawn(ended(pid));
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            // Nobody waits for it: it stays in the table, and has ended all the same.
            child.kill().unwrap();
            let late = tokio::time::timeout(Duration::from_secs(20), waiting);
            late.await.unwrap().unwrap();
        });
        if cfg!(target_os = "linux") {
            assert!(!exists(pid));
            runtime.block_on(ended(pid));
        }
        child.wait().unwrap();
        assert!(!lost_terminal(pid) && is_remote(pid));
        assert!(!exists(0));
        assert!(!exists(u32::MAX));
    }
}
