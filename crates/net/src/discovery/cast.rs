//! The sockets of multicast DNS. One for each family, shared with whatever else on
//! this machine speaks it; a change of the interfaces makes new ones.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ccpeer_core::limits;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;

use super::interfaces::Interface;

const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Packets never leave the link (RFC 6762, section 11).
const HOPS: u32 = 255;

/// Open sockets, and the interfaces on which they speak.
#[derive(Debug)]
pub(crate) struct Cast {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    pub(crate) interfaces: Vec<Interface>,
}

/// A packet and where it came from.
pub(crate) struct Packet {
    pub(crate) bytes: [u8; limits::DISCOVERY_PACKET_BYTES_MAX],
    pub(crate) len: usize,
    pub(crate) from: IpAddr,
}

impl Packet {
    pub(crate) fn new() -> Self {
        Self {
            bytes: [0; limits::DISCOVERY_PACKET_BYTES_MAX],
            len: 0,
            from: IpAddr::from(Ipv4Addr::UNSPECIFIED),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn take(&mut self, heard: (usize, SocketAddr)) {
        // An answer comes from the port of the protocol; all else is dropped.
        self.len = if heard.1.port() == PORT { heard.0 } else { 0 };
        self.from = heard.1.ip();
    }
}

impl Cast {
    /// Opens the sockets for these interfaces. One family is enough.
    pub(crate) fn open(interfaces: Vec<Interface>) -> io::Result<Self> {
        let v4s = interfaces.iter().filter_map(Interface::v4);
        let v4 = open_v4(v4s.collect());
        let v6s = interfaces.iter().filter(|i| i.has_v6()).map(|i| i.index);
        let v6 = open_v6(v6s.collect());
        let (v4, v6) = match (v4, v6) {
            (Err(e), Err(_) | Ok(None)) | (Ok(None), Err(e)) => return Err(e),
            (v4, v6) => (v4.unwrap_or_default(), v6.unwrap_or_default()),
        };
        Ok(Self { v4, v6, interfaces })
    }

    /// Whether something is heard by IPv4 and by IPv6.
    pub(crate) fn families(&self) -> (bool, bool) {
        (self.v4.is_some(), self.v6.is_some())
    }

    /// Waits for a packet.
    pub(crate) async fn heard(&self, packet: &mut Packet) -> io::Result<()> {
        loop {
            tokio::select! {
                ready = readable(self.v4.as_ref()) => ready?,
                ready = readable(self.v6.as_ref()) => ready?,
            }
            if self.next(packet)? {
                return Ok(());
            }
        }
    }

    /// One more packet if there is one.
    pub(crate) fn next(&self, packet: &mut Packet) -> io::Result<bool> {
        for socket in [&self.v4, &self.v6].into_iter().flatten() {
            match socket.try_recv_from(&mut packet.bytes) {
                Ok(heard) => {
                    packet.take(heard);
                    return Ok(true);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // Windows tells of datagrams that are too long, and of ports that
                // nobody listens on, in this way.
                Err(e) if cfg!(windows) => tracing::trace!(error = %e, "a packet is lost"),
                Err(e) => return Err(e),
            }
        }
        Ok(false)
    }

    /// Says this on one interface. Nobody is there to hear of a failure: what is
    /// not heard is said again.
    pub(crate) async fn say(&self, interface: &Interface, bytes: &[u8]) {
        let v4 = interface.v4().zip(self.v4.as_ref());
        if let Some((ip, socket)) = v4
            && SockRef::from(socket).set_multicast_if_v4(&ip).is_ok()
        {
            lost(socket.send_to(bytes, (GROUP_V4, PORT)).await, interface);
        }
        if let Some(socket) = self.v6.as_ref().filter(|_| interface.has_v6())
            && SockRef::from(socket)
                .set_multicast_if_v6(interface.index)
                .is_ok()
        {
            lost(socket.send_to(bytes, (GROUP_V6, PORT)).await, interface);
        }
    }
}

fn lost(sent: io::Result<usize>, interface: &Interface) {
    if let Err(error) = sent {
        tracing::debug!(%error, interface = %interface.name, "multicast does not go out");
    }
}

async fn readable(socket: Option<&UdpSocket>) -> io::Result<()> {
    match socket {
        Some(socket) => socket.readable().await,
        None => std::future::pending().await,
    }
}

fn open_v4(ips: Vec<Ipv4Addr>) -> io::Result<Option<UdpSocket>> {
    if ips.is_empty() {
        return Ok(None);
    }
    let socket = open(Domain::IPV4)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    socket.set_multicast_ttl_v4(HOPS)?;
    socket.set_multicast_loop_v4(true)?;
    joined(ips.iter().map(|ip| socket.join_multicast_v4(&GROUP_V4, ip)))?;
    Ok(Some(UdpSocket::from_std(socket.into())?))
}

fn open_v6(indices: Vec<u32>) -> io::Result<Option<UdpSocket>> {
    if indices.is_empty() {
        return Ok(None);
    }
    let socket = open(Domain::IPV6)?;
    socket.set_only_v6(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
    socket.set_multicast_hops_v6(HOPS)?;
    socket.set_multicast_loop_v6(true)?;
    joined(
        indices
            .iter()
            .map(|i| socket.join_multicast_v6(&GROUP_V6, *i)),
    )?;
    Ok(Some(UdpSocket::from_std(socket.into())?))
}

/// Other programs on this machine listen on the same port.
fn open(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// One interface on which it works is enough.
fn joined(joins: impl Iterator<Item = io::Result<()>>) -> io::Result<()> {
    let mut last = Ok(());
    let mut any = false;
    for join in joins {
        any |= join.is_ok();
        last = join.and(last);
    }
    if any { Ok(()) } else { last }
}
