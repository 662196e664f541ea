//! Which socket addresses are worth dialling or telling others.

use std::net::{IpAddr, SocketAddr};

/// Whether addresses of the loopback interface may be used. They mean something
/// only to devices on the same machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loopback {
    /// We listen on it, so others on this machine may do so too.
    Allowed,
    /// It would only lead back to ourselves.
    Refused,
}

impl Loopback {
    /// Whether an address that was found, not typed, can be used.
    pub(crate) fn admits(self, addr: &SocketAddr) -> bool {
        is_dialable(addr) && (self == Self::Allowed || !addr.ip().is_loopback())
    }
}

/// Whether an address can be dialled at all.
///
/// IPv6 link-local addresses are refused: the transport loses their scope on the
/// way back, the dial hangs, and segmentation offload of the socket is switched
/// off for good.
pub(crate) fn is_dialable(addr: &SocketAddr) -> bool {
    let ip = addr.ip();
    let routable = match ip {
        IpAddr::V4(v4) => !v4.is_broadcast(),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0) != 0xfe80 && v6.to_ipv4_mapped().is_none(),
    };
    addr.port() != 0 && routable && !ip.is_unspecified() && !ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_useful_addresses_are_dialled() {
        let check = |text: &str, dialable: bool, found: bool| {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(is_dialable(&addr), dialable, "{text}");
            assert_eq!(Loopback::Refused.admits(&addr), found, "{text}");
        };
        check("192.0.2.7:4000", true, true);
        check("[2001:db8::1]:4000", true, true);
        check("[fd00::1]:4000", true, true);
        check("127.0.0.1:4000", true, false);
        check("[::1]:4000", true, false);
        check("[fe80::1]:4000", false, false);
        check("[febf::1]:4000", false, false);
        check("192.0.2.7:0", false, false);
        check("0.0.0.0:4000", false, false);
        check("224.0.0.251:5353", false, false);
        check("[ff02::fb]:5353", false, false);
        check("255.255.255.255:1", false, false);
        assert!(Loopback::Allowed.admits(&"127.0.0.1:1".parse().unwrap()));
    }
}
