//! The QUIC endpoint: what it listens on, whom its gate lets in, and what the
//! transport may use. It speaks to no server of anybody: no relay unless one is
//! given, no DNS, no publishing, no port mapping.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use iroh::endpoint::{
    AfterHandshakeOutcome, BindOpts, Connection, EndpointHooks, NetReportConfig, PortmapperConfig,
    QuicTransportConfig, Side, presets,
};
use iroh::{Endpoint, EndpointId, SecretKey};

use crate::address::{self, Loopback};
use crate::error::{NetError, code};
use crate::relay::Relays;
use crate::switchboard::Switchboard;
use crate::timing::Timing;
use crate::{Counters, Listen};

/// The protocol between devices that trust each other.
pub const SYNC_ALPN: &[u8] = b"ccpeer/sync/1";
/// The protocol with which two devices come to trust each other. Spoken only
/// while an invitation stands.
pub const PAIR_ALPN: &[u8] = b"ccpeer/pair/1";

/// Attempts to get a port, for both address families.
const PORT_TRIES: usize = 8;
const PORT_PAUSE: Duration = Duration::from_millis(150);

pub(crate) fn device_of(id: &EndpointId) -> DeviceId {
    DeviceId(*id.as_bytes())
}

/// Decides who may go on after the handshake has proved who it is. Whoever may
/// not is closed before a byte of it is read.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    board: Arc<Switchboard>,
    pub(crate) pairing_open: Arc<AtomicBool>,
    counters: Arc<Counters>,
}

impl Gate {
    pub(crate) fn new(board: Arc<Switchboard>, counters: Arc<Counters>) -> Self {
        Self {
            board,
            pairing_open: Arc::default(),
            counters,
        }
    }

    fn admits(&self, alpn: &[u8], device: &DeviceId) -> bool {
        match alpn {
            SYNC_ALPN => self.board.is_trusted(device) && !self.board.is_paused(),
            PAIR_ALPN => self.pairing_open.load(Ordering::Acquire),
            _ => false,
        }
    }
}

impl EndpointHooks for Gate {
    async fn after_handshake<'a>(&'a self, conn: &'a Connection) -> AfterHandshakeOutcome {
        // We dial nobody whom we do not want.
        if conn.side() == Side::Client || self.admits(conn.alpn(), &device_of(&conn.remote_id())) {
            if conn.alpn() == SYNC_ALPN {
                conn.set_receive_window(limits::LINK_WINDOW_BYTES.into());
            }
            return AfterHandshakeOutcome::Accept;
        }
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        let (error_code, reason) = match conn.alpn() {
            PAIR_ALPN => (code::NOT_OPEN, "no invitation"),
            _ if self.board.is_revoked(&device_of(&conn.remote_id())) => (code::REVOKED, "revoked"),
            // Only who is trusted is told why.
            _ if self.board.is_trusted(&device_of(&conn.remote_id())) => (code::PAUSED, "paused"),
            _ => (code::NOT_TRUSTED, "not paired"),
        };
        AfterHandshakeOutcome::Reject {
            error_code: error_code.into(),
            reason: reason.into(),
        }
    }
}

/// Opens the endpoint.
pub(crate) async fn open(
    secret: &[u8; 32],
    listen: Listen,
    relays: &Relays,
    gate: Gate,
    timing: &Timing,
) -> Result<Endpoint, NetError> {
    let mut last = NetError::Closed;
    for attempt in 0..PORT_TRIES {
        // A port of our own choice is another one each time; a given one may
        // still be held by an agent that is just ending.
        if attempt > 0 && !matches!(listen, Listen::Any { port: 0 }) {
            tokio::time::sleep(PORT_PAUSE).await;
        }
        match try_open(secret, listen, relays, gate.clone(), timing).await {
            Ok(endpoint) => return Ok(endpoint),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn try_open(
    secret: &[u8; 32],
    listen: Listen,
    relays: &Relays,
    gate: Gate,
    timing: &Timing,
) -> Result<Endpoint, NetError> {
    let builder = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(secret))
        .alpns(vec![SYNC_ALPN.to_vec()])
        .transport_config(transport(timing))
        .portmapper_config(PortmapperConfig::Disabled)
        .clear_address_lookup()
        .relay_mode(relays.mode())
        .ca_tls_config(relays.tls())
        .net_report_config(net_report())
        .hooks(gate);
    let listen_error = |addr: SocketAddr| {
        move |why: &dyn std::fmt::Display| NetError::Listen {
            addr,
            why: format!("{why:#}"),
        }
    };
    let (builder, addr) = match listen {
        Listen::Addr(addr) => {
            let failed = listen_error(addr);
            let builder = builder.clear_ip_transports();
            (builder.bind_addr(addr).map_err(|e| failed(&e))?, addr)
        }
        Listen::Any { port } => {
            // One discovery record has one port: both families must share it.
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            let failed = listen_error(v4);
            let port = if port == 0 {
                free_port().map_err(|e| failed(&e))?
            } else {
                port
            };
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            let failed = listen_error(v4);
            let optional = BindOpts::default().set_is_required(false);
            let builder = builder.bind_addr(v4).map_err(|e| failed(&e))?;
            (
                builder
                    .bind_addr_with_opts(v6, optional)
                    .map_err(|e| failed(&e))?,
                v4,
            )
        }
    };
    builder.bind().await.map_err(|e| listen_error(addr)(&e))
}

/// A relay is asked how far away it is, and nobody whether the network has a
/// captive portal: that question goes out unencrypted to another port.
fn net_report() -> NetReportConfig {
    let mut config = NetReportConfig::default();
    config.captive_portal_check = false;
    config
}

fn free_port() -> std::io::Result<u16> {
    Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?
        .local_addr()?
        .port())
}

fn transport(timing: &Timing) -> QuicTransportConfig {
    let idle = timing.idle.try_into().ok();
    // The window of a single stream stays at its default: larger ones overrun
    // the reassembly bound of the transport and kill the connection.
    QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(limits::LINK_STREAMS_MAX.into())
        .max_concurrent_uni_streams(0u32.into())
        // Of all streams together, until the gate has let somebody in.
        .receive_window(limits::STRANGER_WINDOW_BYTES.into())
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(idle)
        .build()
}

/// Whether we listen on the loopback interface alone.
pub(crate) fn loopback_of(listen: Listen) -> Loopback {
    match listen {
        Listen::Addr(addr) if addr.ip().is_loopback() => Loopback::Allowed,
        _ => Loopback::Refused,
    }
}

/// Under which addresses others can reach us.
pub(crate) fn own_addrs(endpoint: &Endpoint, listen: Listen) -> Vec<SocketAddr> {
    let mut addrs: Vec<SocketAddr> = match listen {
        Listen::Addr(addr) if !addr.ip().is_unspecified() => endpoint.bound_sockets(),
        _ => endpoint.addr().ip_addrs().copied().collect(),
    };
    let loopback = loopback_of(listen);
    addrs.retain(|a| address::is_dialable(a) && loopback.admits(a));
    addrs.sort_unstable();
    addrs.dedup();
    addrs
}
