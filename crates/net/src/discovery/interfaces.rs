//! The interfaces of this machine: on which of them others are looked for, and
//! why not on the rest.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ccpeer_core::limits;

use crate::address::Loopback;

/// Virtual networks of containers and virtual machines: nobody is there.
const VIRTUAL: [&str; 5] = ["docker", "br-", "virbr", "vmnet", "veth"];

/// Why nobody is looked for on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skipped {
    /// It leads back to ourselves.
    Loopback,
    /// It belongs to containers or virtual machines on this machine.
    Virtual,
    /// It joins two ends, as a VPN does, and carries no multicast.
    PointToPoint,
    /// It is down.
    Down,
    /// It has nothing but addresses that work on this link alone.
    LinkLocal,
    /// There are too many.
    TooMany,
}

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name in the system.
    pub name: String,
    /// Its number in the system.
    pub(crate) index: u32,
    /// Its addresses that others can dial.
    pub ips: Vec<IpAddr>,
    /// Its other addresses.
    pub link_local: Vec<IpAddr>,
    /// Why it is not used, if so.
    pub skipped: Option<Skipped>,
}

impl Interface {
    /// Addresses of one family by which the system can be told which one is meant.
    pub(crate) fn v4(&self) -> Option<Ipv4Addr> {
        self.ips.iter().find_map(|ip| match ip {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        })
    }

    pub(crate) fn has_v6(&self) -> bool {
        let mut all = self.ips.iter().chain(&self.link_local);
        self.index != 0 && all.any(IpAddr::is_ipv6)
    }
}

/// All of them, in order of their names.
pub(crate) fn all(loopback: Loopback) -> std::io::Result<Vec<Interface>> {
    let mut found: BTreeMap<(String, u32), Interface> = BTreeMap::new();
    let mut states = BTreeMap::new();
    for part in if_addrs::get_if_addrs()? {
        let key = (part.name.clone(), part.index.unwrap_or(0));
        states.insert(
            key.clone(),
            (part.is_loopback(), part.is_p2p(), is_down(&part)),
        );
        let (name, index) = key.clone();
        let interface = found.entry(key).or_insert_with(|| Interface {
            name,
            index,
            ips: Vec::new(),
            link_local: Vec::new(),
            skipped: None,
        });
        let list = if is_link_local(&part.ip()) {
            &mut interface.link_local
        } else {
            &mut interface.ips
        };
        if list.len() < limits::ADDRESSES_PER_PEER_MAX {
            list.push(part.ip());
        }
    }
    let mut used = 0;
    for (key, interface) in &mut found {
        let (is_loopback, is_p2p, is_down) = states.get(key).copied().unwrap_or_default();
        interface.ips.sort_unstable();
        interface.skipped = match loopback {
            Loopback::Allowed if is_loopback => None,
            _ if is_loopback || loopback == Loopback::Allowed => Some(Skipped::Loopback),
            _ if is_down => Some(Skipped::Down),
            _ if VIRTUAL.iter().any(|v| interface.name.starts_with(v)) => Some(Skipped::Virtual),
            _ if is_p2p => Some(Skipped::PointToPoint),
            _ if interface.ips.is_empty() => Some(Skipped::LinkLocal),
            _ if used >= limits::INTERFACES_MAX => Some(Skipped::TooMany),
            _ => None,
        };
        if loopback == Loopback::Allowed {
            interface
                .ips
                .retain(|ip| *ip == IpAddr::from(Ipv4Addr::LOCALHOST));
        }
        used += usize::from(interface.skipped.is_none());
    }
    Ok(found.into_values().collect())
}

/// Whether it is switched off, or its wire is out. Unix tells no more than that it
/// runs.
fn is_down(part: &if_addrs::Interface) -> bool {
    use if_addrs::IfOperStatus::{Down, LowerLayerDown, NotPresent, Unknown};
    let told = matches!(part.oper_status, Down | LowerLayerDown | NotPresent);
    told || cfg!(unix) && part.oper_status == Unknown
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || *v6 == Ipv6Addr::UNSPECIFIED,
    }
}
