//! Keeps one link to every trusted peer: dials, says hello, and lives through
//! the ends of links. One task for each peer and each connection, so that none
//! waits for another.

use std::sync::Arc;

use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use iroh::endpoint::{
    ConnectError, ConnectingError, Connection, ConnectionError, TransportErrorCode,
};
use iroh::{Endpoint, EndpointAddr, EndpointId};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::endpoint::{SYNC_ALPN, device_of};
use crate::error::{DialOutcome, DownReason, code};
use crate::former;
use crate::link::{self, Dialler, Greeted};
use crate::switchboard::{DIAL_GAP_MIN, Step, Verdict, jitter};
use crate::{NetEvent, Shared};

/// TLS alert "no application protocol".
const TLS_NO_PROTOCOL: u8 = 120;

/// Starts a supervisor for each of these devices.
pub(crate) fn supervise(shared: &Arc<Shared>, devices: Vec<DeviceId>) {
    for device in devices {
        let task = keep_linked(Arc::clone(shared), device);
        shared.tasks.spawn(task);
    }
}

async fn keep_linked(shared: Arc<Shared>, device: DeviceId) {
    loop {
        let (step, wake) = shared.board.step(&device);
        match step {
            Step::Stop => return,
            Step::Wait => wake.notified().await,
            Step::Dial { at, addrs } => {
                if let Some(at) = at.filter(|at| *at > std::time::Instant::now()) {
                    tokio::select! {
                        () = tokio::time::sleep_until(at.into()) => {}
                        // Look again: there may be a link, or no trust, or hope.
                        () = wake.notified() => {}
                    }
                    continue;
                }
                let mut outcome = dial(&shared, device, &addrs).await;
                // It may know us under a key that we replaced while it was away.
                if outcome.is_refusal() && former::tell(&shared, device, &addrs).await {
                    outcome = dial(&shared, device, &addrs).await;
                }
                tracing::debug!(peer = %device.short(), ?outcome, "dialled");
                shared.board.dialled(&device, outcome, jitter());
                tokio::time::sleep(DIAL_GAP_MIN).await;
            }
        }
    }
}

async fn dial(
    shared: &Arc<Shared>,
    device: DeviceId,
    addrs: &[std::net::SocketAddr],
) -> DialOutcome {
    let Ok(_turn) = shared.dials.acquire().await else {
        return DialOutcome::Unreachable;
    };
    // The peer may come to us meanwhile: before we have said hello nobody relies on
    // this connection, and the peer is spared a second handshake.
    let conn = tokio::select! {
        conn = connect(shared, device, addrs, SYNC_ALPN) => match conn {
            Ok(conn) => conn,
            Err(fault) => return fault.into(),
        },
        () = shared.board.linked(&device) => return DialOutcome::Duplicate,
    };
    match link::greet(&conn, &shared.hello, &shared.timing).await {
        Ok((hello, send, recv)) => {
            let greeted = Greeted {
                conn: conn.clone(),
                hello,
                dialler: Dialler::Us,
                send,
                recv,
            };
            match admit(shared, device, greeted) {
                Ok(()) => DialOutcome::Linked,
                Err(outcome) => outcome,
            }
        }
        Err(fault) => {
            if let Some(fault) = fault {
                close(&conn, DownReason::Fault(fault));
            }
            match conn.close_reason() {
                None => DialOutcome::Silent,
                reason => ConnectFault::from(reason).into(),
            }
        }
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectFault {
    /// Nobody answered.
    Unreachable,
    /// Somebody else answered.
    WrongKey,
    /// The protocol is not spoken there, at least not now.
    NoProtocol,
    /// It was closed with this code.
    Closed(u32),
}

impl From<ConnectFault> for DialOutcome {
    fn from(fault: ConnectFault) -> Self {
        match fault {
            ConnectFault::Unreachable => Self::Unreachable,
            ConnectFault::WrongKey => Self::WrongKey,
            ConnectFault::NoProtocol => Self::NoProtocol,
            ConnectFault::Closed(code::DUPLICATE) => Self::Duplicate,
            ConnectFault::Closed(code) => Self::Closed(code),
        }
    }
}

impl From<Option<ConnectionError>> for ConnectFault {
    fn from(reason: Option<ConnectionError>) -> Self {
        match reason {
            Some(ConnectionError::ApplicationClosed(close)) => {
                Self::Closed(u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX))
            }
            Some(ConnectionError::ConnectionClosed(close))
                if close.error_code == TransportErrorCode::crypto(TLS_NO_PROTOCOL) =>
            {
                Self::NoProtocol
            }
            // Whoever cannot prove the key fails the handshake.
            Some(ConnectionError::TransportError(error)) if is_crypto(error.code) => Self::WrongKey,
            _ => Self::Unreachable,
        }
    }
}

/// Whether a transport error is one of the handshake (RFC 9000, section 20.1).
fn is_crypto(code: TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

/// Opens a connection within the dial timeout.
pub(crate) async fn connect(
    shared: &Shared,
    device: DeviceId,
    addrs: &[std::net::SocketAddr],
    alpn: &[u8],
) -> Result<Connection, ConnectFault> {
    connect_as(shared, &shared.endpoint, device, addrs, alpn).await
}

/// The same from another endpoint than the one that listens.
pub(crate) async fn connect_as(
    shared: &Shared,
    endpoint: &Endpoint,
    device: DeviceId,
    addrs: &[std::net::SocketAddr],
    alpn: &[u8],
) -> Result<Connection, ConnectFault> {
    if shared.board.is_paused() {
        return Err(ConnectFault::Unreachable);
    }
    let id = EndpointId::from_bytes(&device.0).map_err(|_| ConnectFault::Unreachable)?;
    let mut target = EndpointAddr::new(id);
    for addr in addrs {
        target = target.with_ip_addr(*addr);
    }
    for relay in shared.relays.urls() {
        target = target.with_relay_url(relay);
    }
    match timeout(shared.timing.dial, endpoint.connect(target, alpn)).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(ConnectError::Connection { source, .. })) => Err(Some(source).into()),
        Ok(Err(ConnectError::Connecting {
            source: ConnectingError::ConnectionError { source, .. },
            ..
        })) => Err(Some(source).into()),
        Ok(Err(_)) | Err(_) => Err(ConnectFault::Unreachable),
    }
}

fn close(conn: &Connection, reason: DownReason) {
    let (code, words) = reason.to_close();
    conn.close(code.into(), words.as_bytes());
}

/// Accepts connections until the endpoint closes.
pub(crate) async fn accept(shared: Arc<Shared>) {
    let handshakes = Arc::new(Semaphore::new(limits::HANDSHAKES_MAX));
    while let Some(incoming) = shared.endpoint.accept().await {
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            incoming.ignore();
            continue;
        };
        // Under pressure an address must prove that it is not forged.
        let crowded = handshakes.available_permits() < limits::HANDSHAKES_MAX / 2;
        if crowded && !incoming.remote_addr_validated() {
            let _ = incoming.retry();
            continue;
        }
        let task = {
            let shared = Arc::clone(&shared);
            async move {
                let handshake = async { incoming.accept().ok()?.await.ok() };
                let Ok(Some(conn)) = timeout(shared.timing.hello, handshake).await else {
                    return;
                };
                drop(permit);
                if conn.alpn() == SYNC_ALPN {
                    be_dialled(&shared, conn).await;
                } else {
                    crate::pairing::inviter::serve(&shared, conn).await;
                }
            }
        };
        shared.tasks.spawn(task);
    }
}

/// A trusted peer dialled us: the gate has let it through.
async fn be_dialled(shared: &Arc<Shared>, conn: Connection) {
    let device = device_of(&conn.remote_id());
    match link::be_greeted(&conn, &shared.timing).await {
        Ok((hello, send, recv)) => {
            let greeted = Greeted {
                conn,
                hello,
                dialler: Dialler::Them,
                send,
                recv,
            };
            let _ = admit(shared, device, greeted);
        }
        Err(fault) => {
            close(&conn, fault.map_or(DownReason::Lost, DownReason::Fault));
        }
    }
}

fn admit(shared: &Arc<Shared>, device: DeviceId, greeted: Greeted) -> Result<(), DialOutcome> {
    let conn = greeted.conn.clone();
    // It was reached; it is we who do not want it now.
    let ours = DialOutcome::Duplicate;
    let refuse = |code: u32, words: &str, end| {
        conn.close(code.into(), words.as_bytes());
        Err(end)
    };
    let tell_cloned = || {
        let events = shared.links.events.clone();
        shared.tasks.spawn(async move {
            let _ = events.send(NetEvent::Cloned { device }).await;
        });
    };
    match shared.board.admit(device, greeted) {
        Verdict::Admitted {
            link,
            ends,
            replaced,
            cloned,
        } => {
            if cloned {
                tell_cloned();
            }
            shared
                .tasks
                .spawn(live(Arc::clone(shared), link, ends, replaced));
            Ok(())
        }
        Verdict::Duplicate { cloned } => {
            if cloned {
                tell_cloned();
            }
            refuse(
                code::DUPLICATE,
                "another link is kept",
                DialOutcome::Duplicate,
            )
        }
        Verdict::NotTrusted if shared.board.is_revoked(&device) => {
            refuse(code::REVOKED, "revoked", ours)
        }
        Verdict::NotTrusted => refuse(code::NOT_TRUSTED, "not paired", ours),
        Verdict::Paused => refuse(code::PAUSED, "paused", ours),
        Verdict::Barred => refuse(code::TOO_SLOW, "later", ours),
        Verdict::Full => refuse(code::FULL, "too many links", ours),
    }
}

/// The whole life of a link, with exactly one `Down` for one `Up`.
async fn live(
    shared: Arc<Shared>,
    link: Arc<link::Link>,
    mut ends: link::LinkEnds,
    replaced: Option<Arc<link::Link>>,
) {
    if let Some(old) = replaced {
        old.over().await;
    }
    let device = link.device;
    // The one who was dialled answers the hello only now, when the link is
    // wanted.
    let answered = match link.dialler {
        Dialler::Us => true,
        Dialler::Them => link::say_hello(&mut ends.send, &shared.hello, &shared.timing)
            .await
            .is_ok(),
    };
    let up = answered && link.conn.close_reason().is_none();
    let mut reason = DownReason::Lost;
    if up {
        let path = link.path();
        if let Some(addr) = path.addr {
            shared.board.learn(device, addr);
        }
        let hello = link.hello.clone();
        let event = NetEvent::Up {
            device,
            hello,
            addr: path.addr,
            path: path.kind,
        };
        let _ = shared.links.events.send(event).await;
        // A task of its own: a panic in it ends this link only.
        let running = {
            let (link, context) = (Arc::clone(&link), shared.links.clone());
            tokio::spawn(async move { link::run(&link, ends, &context).await })
        };
        reason = AbortOnDrop(running).await;
    }
    link.close(reason);
    tracing::debug!(peer = %device.short(), ?reason, up, "link ended");
    shared.board.ended(&link, reason, jitter());
    if up {
        let _ = shared
            .links
            .events
            .send(NetEvent::Down { device, reason })
            .await;
    }
    link.set_over();
}

/// A spawned task that does not outlive the one that waits for it.
struct AbortOnDrop(tokio::task::JoinHandle<DownReason>);

impl Future for AbortOnDrop {
    type Output = DownReason;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<DownReason> {
        std::pin::Pin::new(&mut self.0)
            .poll(context)
            .map(|r| r.unwrap_or(DownReason::Internal))
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
