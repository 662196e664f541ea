//! Accepting local clients: the other half of [`crate::ipc`]'s seam.

use std::io;

use crate::home::Home;

/// What the agent listens on.
pub(crate) struct Listener(imp::Listener);

/// One accepted client of our own user.
pub(crate) type Stream = imp::Stream;

impl Listener {
    /// Takes the address. The caller holds the home's lock, so whatever still
    /// lies there is left over from an agent that died.
    pub(crate) fn bind(home: &Home) -> io::Result<Self> {
        imp::bind(home).map(Self)
    }

    /// The next client; those of other users are turned away unread.
    pub(crate) async fn accept(&mut self) -> io::Result<Stream> {
        imp::accept(&mut self.0).await
    }
}

#[cfg(unix)]
mod imp {
    use super::{Home, io};
    use crate::ipc;
    use std::os::unix::fs::PermissionsExt;

    pub(super) type Listener = tokio::net::UnixListener;
    pub(super) type Stream = tokio::net::UnixStream;

    pub(super) fn bind(home: &Home) -> io::Result<Listener> {
        ipc::prepare_dir(&home.run())?;
        let (path, _keep) = ipc::address(home).map_err(io::Error::other)?;
        match std::fs::remove_file(home.socket()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = tokio::net::UnixListener::bind(path)?;
        std::fs::set_permissions(home.socket(), std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    }

    pub(super) async fn accept(listener: &mut Listener) -> io::Result<Stream> {
        loop {
            let (stream, _) = listener.accept().await?;
            match ipc::check_peer(&stream) {
                Ok(()) => return Ok(stream),
                Err(e) => tracing::warn!(error = %e, "local client turned away"),
            }
        }
    }
}

#[cfg(windows)]
mod imp {
    use super::{Home, io};
    use crate::ipc;
    use tokio::net::windows::named_pipe::{NamedPipeServer, PipeMode, ServerOptions};

    pub(super) struct Listener {
        name: String,
        next: NamedPipeServer,
    }
    pub(super) type Stream = NamedPipeServer;

    fn instance(name: &str, first: bool) -> io::Result<NamedPipeServer> {
        // `reject_remote_clients` after `pipe_mode`: older tokio lost it otherwise.
        ServerOptions::new()
            .first_pipe_instance(first)
            .pipe_mode(PipeMode::Byte)
            .reject_remote_clients(true)
            .create(name)
    }

    pub(super) fn bind(home: &Home) -> io::Result<Listener> {
        let name = ipc::address(home);
        Ok(Listener {
            next: instance(&name, true)?,
            name,
        })
    }

    pub(super) async fn accept(listener: &mut Listener) -> io::Result<Stream> {
        listener.next.connect().await?;
        let next = instance(&listener.name, false)?;
        Ok(std::mem::replace(&mut listener.next, next))
    }
}
