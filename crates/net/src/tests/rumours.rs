//! What somebody in the network can say about others by multicast. Discovery's
//! task is given the events that the multicast library would give it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use super::alone::{Rss, alone, number, path_of_test};
use super::node::{Node, sync};
use super::*;
use crate::address::Loopback;
use crate::discovery::{Discovery, hear};
use crate::probe;

/// Everybody here speaks from one address.
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));

fn of(n: u8, name: &str, at: SocketAddr) -> Vec<u8> {
    probe::announcement(name, device(n), at, false, true)
}

fn gone(name: &str) -> Vec<u8> {
    probe::announcement(name, device(2), nowhere(1), false, false)
}

/// With other texts in place of the right ones, of the same length.
fn garbled(at: SocketAddr, from: &str, to: &str) -> Vec<u8> {
    let mut bytes = of(2, "malformed", at);
    assert_eq!(from.len(), to.len());
    let place = bytes.windows(from.len()).position(|w| w == from.as_bytes());
    let place = place.unwrap();
    bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

fn nowhere(n: u32) -> SocketAddr {
    let [_, a, b, c] = n.to_be_bytes();
    SocketAddr::from(([127, 64 | a, b, c], 9))
}

#[test]
fn k_n08_a_flood_of_records_is_bounded_and_hides_nobody() {
    alone(
        path_of_test!(k_n08_a_flood_of_records_is_bounded_and_hides_nobody),
        k_n08,
    );
}

async fn k_n08() {
    let records = u32::try_from(number("CCPEER_RECORDS", 20_000)).unwrap();
    let (victim, friend) = (Node::start(1, &[2]).await, Node::start(2, &[1]).await);
    let discovery = Discovery::new(device(1), Loopback::Allowed);
    let shared = &victim.net.0;
    let heard = async |bytes: Vec<u8>| hear(shared, &discovery, &bytes, FROM).await;
    for n in 0..500 {
        heard(of(50, &format!("warm{n}"), nowhere(n))).await;
    }
    let rss = Rss::now();
    let began = Instant::now();
    for n in 0..records {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let name = format!("{n:08x}");
        heard(probe::announcement(
            &name,
            DeviceId(id),
            nowhere(n),
            true,
            true,
        ))
        .await;
        // Some of them claim to be the friend.
        if n % 100 == 0 {
            heard(of(2, &format!("false{n}"), nowhere(n))).await;
        }
        if n == records / 2 {
            heard(of(2, "friend", friend.addr())).await;
        }
    }
    let flood = began.elapsed();
    assert!(discovery.inviting().len() <= ccpeer_core::limits::SIGHTINGS_NEW_PER_10S.1);
    // It is announced again, as it is every now and then, and dialled.
    let began = Instant::now();
    heard(of(2, "friend", friend.addr())).await;
    victim.linked_with(2).await;
    let found = began.elapsed();
    println!(
        "K-N08: {records} forged records in {flood:.1?}, memory +{} KiB; the friend was linked \
         after {found:.1?}",
        rss.grown()
    );
    assert!(rss.grown() <= 16 * 1024, "{} KiB", rss.grown());
    assert!(found <= Duration::from_secs(10), "{found:?}");
}

#[tokio::test]
async fn k_n09_false_records_about_a_live_peer_change_nothing() {
    let (a, b) = (Node::start(1, &[2, 3]).await, Node::start(2, &[1]).await);
    a.meet(&b);
    a.linked_with(2).await;
    b.linked_with(1).await;
    sync(&b, &a, b"before").await;
    let discovery = Discovery::new(device(1), Loopback::Allowed);
    let shared = &a.net.0;
    let heard = async |bytes: Vec<u8>| hear(shared, &discovery, &bytes, FROM).await;
    let status = || a.net.peers()[0].clone();
    let (before, addr_b) = (status(), b.addr());
    // Somebody who listens where the false records point to.
    let attacker = Raw::start(99, &[SYNC_ALPN]).await;
    let port_of_nobody = SocketAddr::new(addr_b.ip(), 9);
    let id = device(2).to_string();
    heard(of(2, "genuine", addr_b)).await;
    heard(of(2, "genuine", port_of_nobody)).await;
    heard(of(2, "forged", attacker.addr())).await;
    for ttl_of_0 in ["genuine", "forged", "never-heard-of"] {
        heard(gone(ttl_of_0)).await;
    }
    let malformed = [
        ("v=1", "w=1"),
        ("v=1", "v=2"),
        ("id=", "ID "),
        (&id[..8], "../../et"),
        (&id[..8], "0101010G"),
        ("_udp", "_tcp"),
        ("local", "lokal"),
    ];
    for (from, to) in malformed {
        heard(garbled(attacker.addr(), from, to)).await;
    }
    sync(&b, &a, b"meanwhile").await;
    let after = status();
    assert_eq!(a.seen().links_of(2), (1, vec![]), "the link stayed");
    assert_eq!((after.connected, after.name), (true, before.name));
    assert_eq!(after.addr, before.addr);

    // The link goes while only false records are known.
    heard(of(2, "forged", attacker.addr())).await;
    let began = Instant::now();
    let fault = ccpeer_core::sync::effect::Fault::TooMany;
    b.net.disconnect(device(1), fault);
    until("the end and a new link", || a.seen().links_of(2).0 >= 2).await;
    let took = began.elapsed();
    println!("K-N09: linked again after {took:.1?}");
    assert!(took <= Duration::from_secs(15), "{took:?}");
    a.linked_with(2).await;
    sync(&b, &a, b"afterwards").await;

    // One that does not dial itself is found although the attacker answers under
    // a false address, and sooner.
    let c = Node::start(3, &[1]).await;
    let began = Instant::now();
    heard(of(3, "forged-too", attacker.addr())).await;
    heard(of(3, "the-third", c.addr())).await;
    a.linked_with(3).await;
    let took = began.elapsed();
    println!("K-N09: linked beside a false address after {took:.1?}");
    assert_eq!(a.net.peers().len(), 2, "the attacker is nobody to us");
}

/// F8: the filter as a pure function.
#[test]
fn records_pass_the_filter_or_not() {
    let me = device(1);
    let id = device(2).to_string();
    let txt = |texts: &[&str]| {
        let with_len = |t: &&str| [&[u8::try_from(t.len()).unwrap()][..], t.as_bytes()].concat();
        texts.iter().map(with_len).collect::<Vec<_>>().concat()
    };
    let ips = ["192.0.2.7".parse().unwrap(), "fe80::1".parse().unwrap()];
    let check = |texts: &[&str], wanted: bool| {
        let seen = probe::record(&me, "x", 4000, &ips, &txt(texts));
        assert_eq!(seen.is_some(), wanted, "{texts:?}");
        if let Some((device, addrs, _)) = seen {
            assert_eq!(device.to_string(), id);
            assert_eq!(addrs, ["192.0.2.7:4000".parse().unwrap()]);
        }
    };
    let right = format!("id={id}");
    check(&[&right, "v=1"], true);
    check(&[&right, "v=1", "pair=1"], true);
    check(&["v=1", &right, &right], true);
    check(&[&right], false);
    check(&[&right, "v=2"], false);
    check(&["v=1", "id=00"], false);
    check(&["v=1", &format!("id={me}")], false);
    assert_eq!(
        probe::record(&me, "x", 0, &ips, &txt(&[&right, "v=1"])),
        None
    );
    assert_eq!(
        probe::record(&me, "x", 9, &[], &txt(&[&right, "v=1"])),
        None
    );
}
