//! The local socket's one seam to the platform: where it is, who may use it,
//! and how both ends make sure of each other's user.
//!
//! Unix: a socket below `CCPEER_HOME/run` (0700, socket 0600); both ends compare
//! the other's uid with their own before a byte is read or sent. Windows: a named
//! pipe whose name is derived from the home; remote clients are refused.

use std::io;
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use crate::home::Home;

#[cfg(unix)]
pub use unix::{Connection, Hurried, address, connect, connect_by, is_readable};
#[cfg(unix)]
pub(crate) use unix::{check_peer, prepare_dir};
#[cfg(windows)]
pub use windows::{Connection, Hurried, address, connect, connect_by};

/// Whether a [`Hurried`] connection keeps to its deadline at every step. Where it
/// cannot, whoever has none to lose asks in a thread.
pub const KEEPS_DEADLINES: bool = cfg!(unix);

/// Why there is no agent to talk to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No socket, or nobody listens on it.
    #[error("no agent is running")]
    Absent,
    /// Somebody listens, but it is another user's process.
    #[error("the agent's socket belongs to another user")]
    OtherUser,
    /// The path does not fit into a socket address on this system.
    #[error("the path of the local socket is too long")]
    PathTooLong,
    /// Anything else.
    #[error("cannot reach the agent: {0}")]
    Io(#[from] io::Error),
}

#[cfg(unix)]
mod unix {
    use super::{ConnectError, Duration, Home, Path, io};
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;
    use std::time::Instant;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    /// A blocking connection to the agent.
    pub type Connection = UnixStream;

    /// Longest path that fits `sockaddr_un` on every Unix, with its NUL.
    const ADDRESS_BYTES_MAX: usize = 103;

    /// The path to hand to `bind` and `connect`, and what must stay open while
    /// that is done. A path that is too long goes through the directory's
    /// descriptor where the system has a name for it.
    pub fn address(home: &Home) -> Result<(PathBuf, Option<fs::File>), ConnectError> {
        use std::os::unix::ffi::OsStrExt;
        let path = home.socket();
        if path.as_os_str().as_bytes().len() <= ADDRESS_BYTES_MAX {
            return Ok((path, None));
        }
        if cfg!(target_os = "linux") {
            let dir = fs::File::open(home.run())?;
            let short = format!("/proc/self/fd/{}/agent.sock", dir.as_raw_fd());
            return Ok((PathBuf::from(short), Some(dir)));
        }
        Err(ConnectError::PathTooLong)
    }

    /// Connects and makes sure that the other end runs as the same user.
    pub fn connect(home: &Home, timeout: Duration) -> Result<Connection, ConnectError> {
        let (path, _keep) = match address(home) {
            Err(ConnectError::Io(e)) if e.kind() == io::ErrorKind::NotFound => {
                return Err(ConnectError::Absent);
            }
            other => other?,
        };
        let stream = UnixStream::connect(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ConnectError::Absent,
            _ => ConnectError::Io(e),
        })?;
        check_peer(&stream)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(stream)
    }

    /// A connection on which nothing is waited for beyond a moment.
    pub struct Hurried {
        stream: UnixStream,
        by: Instant,
    }

    /// As [`connect`], and nothing on it, this included, waits beyond `by`.
    pub fn connect_by(home: &Home, by: Instant) -> Result<Hurried, ConnectError> {
        use nix::errno::Errno;
        use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
        let (path, _keep) = match address(home) {
            Err(ConnectError::Io(e)) if e.kind() == io::ErrorKind::NotFound => {
                return Err(ConnectError::Absent);
            }
            other => other?,
        };
        let refused = |e: Errno| ConnectError::Io(e.into());
        let to = UnixAddr::new(&path).map_err(refused)?;
        let socket = socket::socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::empty(),
            None,
        );
        let stream = UnixStream::from(socket.map_err(refused)?);
        stream.set_nonblocking(true)?;
        match socket::connect(stream.as_raw_fd(), &to) {
            Ok(()) => {}
            // More clients wait than the agent has room for.
            Err(Errno::EAGAIN) => return Err(ConnectError::Io(late())),
            Err(Errno::EINPROGRESS) => wait(&stream, PollFlags::POLLOUT, by)?,
            Err(Errno::ENOENT | Errno::ECONNREFUSED) => return Err(ConnectError::Absent),
            Err(e) => return Err(refused(e)),
        }
        check_peer(&stream)?;
        Ok(Hurried { stream, by })
    }

    impl Hurried {
        fn until<T>(
            &mut self,
            event: PollFlags,
            mut step: impl FnMut(&mut UnixStream) -> io::Result<T>,
        ) -> io::Result<T> {
            loop {
                match step(&mut self.stream) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        wait(&self.stream, event, self.by)?;
                    }
                    other => return other,
                }
            }
        }
    }

    impl io::Read for Hurried {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.until(PollFlags::POLLIN, |stream| stream.read(into))
        }
    }

    impl io::Write for Hurried {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.until(PollFlags::POLLOUT, |stream| stream.write(bytes))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn late() -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, "the agent did not answer in time")
    }

    /// Waits until the socket is ready, or fails when the time is up.
    fn wait(stream: &UnixStream, event: PollFlags, by: Instant) -> io::Result<()> {
        loop {
            let left = by.saturating_duration_since(Instant::now());
            if ready(stream, event, left)? {
                return Ok(());
            }
            if left.is_zero() {
                return Err(late());
            }
        }
    }

    /// Waits until something can be read, or the other end has closed. A process
    /// that was not let run meanwhile still learns what is there.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn is_readable(input: &impl std::os::fd::AsFd, within: Duration) -> io::Result<bool> {
        ready(input, PollFlags::POLLIN, within)
    }

    fn ready(
        input: &impl std::os::fd::AsFd,
        event: PollFlags,
        within: Duration,
    ) -> io::Result<bool> {
        let within = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(input.as_fd(), event)];
        match poll(&mut fds, within) {
            Ok(ready) => Ok(ready > 0),
            Err(nix::errno::Errno::EINTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Refuses a peer that runs as another user.
    pub(crate) fn check_peer<F: std::os::fd::AsFd>(stream: &F) -> Result<(), ConnectError> {
        let uid = peer_uid(stream).map_err(io::Error::from)?;
        if uid == nix::unistd::Uid::effective().as_raw() {
            Ok(())
        } else {
            Err(ConnectError::OtherUser)
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn peer_uid<F: std::os::fd::AsFd>(stream: &F) -> nix::Result<u32> {
        use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
        Ok(getsockopt(stream, PeerCredentials)?.uid())
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn peer_uid<F: std::os::fd::AsFd>(stream: &F) -> nix::Result<u32> {
        Ok(nix::unistd::getpeereid(stream)?.0.as_raw())
    }

    /// Makes a directory that only its owner can enter, or refuses one that is
    /// a link, another user's, or open to others.
    pub(crate) fn prepare_dir(dir: &Path) -> io::Result<()> {
        if let Err(e) = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            && e.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(e);
        }
        let meta = fs::symlink_metadata(dir)?;
        let own = nix::unistd::Uid::effective().as_raw();
        if !meta.is_dir() || meta.uid() != own {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "directory is a link or belongs to another user",
            ));
        }
        if meta.mode() & 0o077 != 0 {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    }
}

#[cfg(windows)]
mod windows {
    use super::{ConnectError, Duration, Home, io};
    use std::fs::{File, OpenOptions};
    use std::time::Instant;

    /// A blocking connection to the agent.
    pub type Connection = File;

    /// Name of the pipe: one for each home.
    pub fn address(home: &Home) -> String {
        let hash = blake3::hash(home.root().to_string_lossy().to_lowercase().as_bytes());
        format!(r"\\.\pipe\ccpeer-{}", &hash.to_hex()[..16])
    }

    /// A connection that waits as long as it takes: the system has no deadlines for
    /// pipes that are opened as files.
    pub type Hurried = File;

    /// As [`connect`].
    pub fn connect_by(home: &Home, _by: Instant) -> Result<Hurried, ConnectError> {
        connect(home, Duration::MAX)
    }

    /// Connects. The pipe's owner is checked by its access list, which names
    /// the current user alone.
    pub fn connect(home: &Home, _timeout: Duration) -> Result<Connection, ConnectError> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(address(home))
            .map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => ConnectError::Absent,
                _ => ConnectError::Io(e),
            })
    }
}
