//! What passes on a wire: whole frames as the kernel hands them out, and of what
//! kind each of them is. Must not know who sent them, and why.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Instant;

use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;

/// The longest frame that is kept whole: what the kernel cuts later comes in one.
const FRAME_BYTES_MAX: usize = 68 * 1024;
/// The kernel's mark on what a host sent itself.
const OUTGOING: u8 = 4;
const MDNS: (IpAddr, IpAddr) = (
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)),
    IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb)),
);

/// Frames that are being kept.
pub(super) struct Capture {
    over: Arc<AtomicBool>,
    kept: Option<JoinHandle<Vec<Frame>>>,
}

/// One frame, with its Ethernet header.
pub(super) struct Frame {
    pub(super) at: Instant,
    /// It was sent by the host itself.
    pub(super) sent: bool,
    pub(super) bytes: Vec<u8>,
}

/// What a frame is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Who has this address?
    Arp(Ipv4Addr),
    /// UDP to the group and port of multicast DNS.
    Mdns,
    /// Other UDP.
    Udp {
        from: (IpAddr, u16),
        to: (IpAddr, u16),
    },
    Tcp {
        to: (IpAddr, u16),
    },
    /// What the kernel says about groups and neighbours: IGMP, and ICMPv6 to
    /// link-local addresses.
    Neighbours,
    /// Anything else, by the number of its protocol.
    Other {
        protocol: u16,
        to: Option<IpAddr>,
    },
}

impl Capture {
    /// Begins on a thread that `enter` takes to the right place.
    pub(super) fn begin(enter: impl FnOnce() + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (ready, begun) = channel();
        let ends = Arc::clone(&over);
        let kept = std::thread::spawn(move || {
            enter();
            let all = SockProtocol::EthAll;
            let wire = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                all,
            )
            .unwrap();
            setsockopt(&wire, sockopt::ReceiveTimeout, &TimeVal::new(0, 100_000)).unwrap();
            // Best effort: more than the usual bound needs privileges.
            let _bounded = setsockopt(&wire, sockopt::RcvBufForce, &(32 << 20));
            ready.send(()).unwrap();
            let mut buffer = vec![0; FRAME_BYTES_MAX];
            let mut frames = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                match recvfrom::<LinkAddr>(wire.as_raw_fd(), &mut buffer) {
                    Ok((len, from)) => frames.push(Frame {
                        at: Instant::now(),
                        sent: from.is_some_and(|f| f.pkttype() == OUTGOING),
                        bytes: buffer[..len].to_vec(),
                    }),
                    Err(e) => {
                        let kind = std::io::Error::from(e).kind();
                        // A wire that is down says so once.
                        let passing = matches!(
                            kind,
                            ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::NetworkDown
                        );
                        assert!(passing, "{e}");
                    }
                }
            }
            frames
        });
        begun.recv().unwrap();
        Self {
            over,
            kept: Some(kept),
        }
    }

    /// Ends it, and hands out what passed since the begin.
    pub(super) fn end(mut self) -> Vec<Frame> {
        self.over.store(true, Ordering::Relaxed);
        self.kept.take().unwrap().join().unwrap()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(kept) = self.kept.take() {
            let _panicked_already = kept.join();
        }
    }
}

impl Frame {
    pub(super) fn kind(&self) -> Kind {
        kind_of(&self.bytes).unwrap_or(Kind::Other {
            protocol: 0,
            to: None,
        })
    }

    /// Whether these bytes stand in it anywhere, whatever the case of letters.
    pub(super) fn holds(&self, text: &str) -> bool {
        let wanted = text.as_bytes();
        self.bytes
            .windows(wanted.len())
            .any(|w| w.eq_ignore_ascii_case(wanted))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arp(whom) => write!(f, "ARP for {whom}"),
            Self::Mdns => write!(f, "mDNS"),
            Self::Udp { from, to } => write!(f, "UDP {}:{} to {}:{}", from.0, from.1, to.0, to.1),
            Self::Tcp { to } => write!(f, "TCP to {}:{}", to.0, to.1),
            Self::Neighbours => write!(f, "IGMP and neighbours"),
            Self::Other { protocol, to } => write!(f, "protocol {protocol} to {to:?}"),
        }
    }
}

/// `None` if it is cut off.
fn kind_of(frame: &[u8]) -> Option<Kind> {
    let word = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    let v4 = |at: usize| {
        let bytes: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes))
    };
    let v6 = |at: usize| {
        let bytes: [u8; 16] = frame.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(bytes)))
    };
    let (protocol, from, to, rest) = match word(12)? {
        0x0806 => return Some(Kind::Arp(v4(38)?)),
        0x0800 => {
            let header = usize::from(frame.get(14)? & 15) * 4;
            let (from, to) = (IpAddr::V4(v4(26)?), IpAddr::V4(v4(30)?));
            (*frame.get(23)?, from, to, 14 + header)
        }
        0x86dd => (*frame.get(20)?, v6(22)?, v6(38)?, 54),
        other => {
            return Some(Kind::Other {
                protocol: other,
                to: None,
            });
        }
    };
    Some(match protocol {
        17 if word(rest + 2)? == 5353 && (to == MDNS.0 || to == MDNS.1) => Kind::Mdns,
        17 => Kind::Udp {
            from: (from, word(rest)?),
            to: (to, word(rest + 2)?),
        },
        6 => Kind::Tcp {
            to: (to, word(rest + 2)?),
        },
        // Multicast listeners are told of with an extension header in front.
        0 | 58 if is_local_v6(&to) => Kind::Neighbours,
        2 => Kind::Neighbours,
        other => Kind::Other {
            protocol: other.into(),
            to: Some(to),
        },
    })
}

fn is_local_v6(to: &IpAddr) -> bool {
    matches!(to, IpAddr::V6(to) if matches!(to.segments()[0] & 0xffcf, 0xfe80 | 0xff02))
}

#[test]
fn frames_are_told_apart() {
    let mut udp = vec![0; 42];
    udp[12..14].copy_from_slice(&[8, 0]);
    udp[14] = 0x45;
    udp[23] = 17;
    udp[26..34].copy_from_slice(&[10, 77, 0, 1, 10, 77, 0, 254]);
    udp[34..38].copy_from_slice(&[0x13, 0x88, 0, 53]);
    assert_eq!(
        kind_of(&udp).unwrap().to_string(),
        "UDP 10.77.0.1:5000 to 10.77.0.254:53"
    );
    udp[30..34].copy_from_slice(&[224, 0, 0, 251]);
    udp[36..38].copy_from_slice(&5353u16.to_be_bytes());
    assert_eq!(kind_of(&udp), Some(Kind::Mdns));
    udp[23] = 6;
    assert_eq!(
        kind_of(&udp).unwrap().to_string(),
        "TCP to 224.0.0.251:5353"
    );
    assert_eq!(kind_of(&udp[..36]), None);
    let mut arp = vec![0; 42];
    arp[12..14].copy_from_slice(&[8, 6]);
    arp[38..42].copy_from_slice(&[10, 77, 0, 254]);
    assert_eq!(
        kind_of(&arp),
        Some(Kind::Arp(Ipv4Addr::new(10, 77, 0, 254)))
    );
}
