//! What is not there: servers of others, ways in besides the one port, and words
//! that are taken before somebody has proved who he is.

use std::collections::BTreeSet;

use tokio::net::UdpSocket;

use super::alone::{alone, path_of_test};
use super::node::{Node, sync};
use super::wire::Wire;
use super::*;

#[test]
fn k_n10_the_default_speaks_to_peers_and_to_nobody_else() {
    alone(
        path_of_test!(k_n10_the_default_speaks_to_peers_and_to_nobody_else),
        k_n10,
    );
}

/// The whole default: all interfaces, discovery on. What passes on the wire is
/// looked at in `tests/e2e/netns_quiet.rs`.
async fn k_n10() {
    let any = |n: u8, other: u8| Config {
        listen: Listen::Any { port: 0 },
        mdns: true,
        ..config(n, &[other])
    };
    let a = Node::start_with(1, &[2], any(1, 2), Timing::default()).await;
    let b = Node::start_with(2, &[1], any(2, 1), Timing::default()).await;
    let port = |n: &Node| n.net.port().unwrap();
    let at_b = SocketAddr::from(([127, 0, 0, 1], port(&b)));
    a.net.add_address(device(2), at_b);
    a.linked_with(2).await;
    b.linked_with(1).await;
    sync(&a, &b, b"something").await;
    for node in [&a, &b] {
        let endpoint = &node.net.0.endpoint;
        assert_eq!(endpoint.addr().relay_urls().count(), 0, "no relay");
        assert!(node.net.0.relays.is_empty());
        assert_eq!(node.net.relay(), None);
    }
    let Some(sockets) = own_sockets() else {
        println!("K-N10: sockets are not told on this system");
        return;
    };
    let of = |kind: &str| -> BTreeSet<u16> {
        let mine = sockets.iter().filter(|(k, ..)| k.starts_with(kind));
        mine.map(|(_, local, _)| *local).collect()
    };
    println!("K-N10: tcp {:?}, udp {:?}", of("tcp"), of("udp"));
    assert_eq!(of("tcp"), BTreeSet::new(), "not a TCP socket in any state");
    let allowed = BTreeSet::from([port(&a), port(&b), 5353]);
    let unknown: Vec<_> = sockets
        .iter()
        .filter(|(_, local, remote)| !allowed.contains(local) || [53, 443, 80].contains(remote))
        .collect();
    assert_eq!(unknown, Vec::<&(String, u16, u16)>::new());
}

/// Protocol, local and remote port of every socket of this process.
fn own_sockets() -> Option<Vec<(String, u16, u16)>> {
    let mut inodes = BTreeSet::new();
    for fd in std::fs::read_dir("/proc/self/fd").ok()?.flatten() {
        let Ok(target) = std::fs::read_link(fd.path()) else {
            continue;
        };
        let target = target.to_string_lossy().into_owned();
        let inode = target
            .strip_prefix("socket:[")
            .and_then(|t| t.strip_suffix(']'));
        inodes.extend(inode.map(str::to_owned));
    }
    let mut out = Vec::new();
    for kind in ["tcp", "tcp6", "udp", "udp6"] {
        let table = std::fs::read_to_string(format!("/proc/self/net/{kind}")).ok()?;
        for line in table.lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            let port = |at: usize| {
                let (_, port) = fields[at].rsplit_once(':').unwrap();
                u16::from_str_radix(port, 16).unwrap()
            };
            if inodes.contains(fields[9]) {
                out.push((kind.to_owned(), port(1), port(2)));
            }
        }
    }
    Some(out)
}

/// A client of its own making sends its hello before the handshake is over, and
/// somebody repeats what it sent.
#[tokio::test]
async fn k_n11_early_data_has_no_effect_and_a_replay_none_at_all() {
    let (victim, honest) = (Node::start(1, &[2, 66]).await, Node::start(2, &[1]).await);
    super::node::meet(&victim, &honest).await;
    let wire = Wire::to(victim.addr()).await;
    let raw = Raw::start(66, &[]).await;
    // The first connection yields what an early one needs.
    let (conn, _send, _recv) = raw.link_at(66, 1, wire.addr).await;
    victim.linked_with(66).await;
    conn.close(0u32.into(), b"");
    until("its end", || victim.seen().links_of(66).1.len() == 1).await;
    wire.take();

    let id = EndpointId::from_bytes(&device(1).0).unwrap();
    let target = EndpointAddr::new(id).with_ip_addr(wire.addr);
    let options = iroh::endpoint::ConnectOptions::default();
    let connecting = raw.endpoint.connect_with_opts(target, SYNC_ALPN, options);
    let connecting = within("a connection", connecting).await.unwrap();
    let early = connecting.into_0rtt();
    println!("K-N11: early data is offered: {}", early.is_ok());
    if let Ok(early) = early {
        let (mut send, _recv) = early.open_bi().await.unwrap();
        let words = framed(&Message::Hello(hello(66)).to_bytes());
        let _ = send.write_all(&words).await;
        let done = within("the handshake", early.handshake_completed())
            .await
            .unwrap();
        let conn = match done {
            iroh::endpoint::ZeroRttStatus::Accepted(conn) => {
                // A link comes of it only now that it has proved who it is.
                until("a second link", || victim.seen().links_of(66).0 == 2).await;
                conn
            }
            iroh::endpoint::ZeroRttStatus::Rejected(conn) => conn,
        };
        conn.close(0u32.into(), b"");
        until("its end", || {
            let (ups, downs) = victim.seen().links_of(66);
            ups == downs.len()
        })
        .await;
    }
    let sent = wire.take();
    let before = (victim.seen().links_of(66), victim.net.stats());
    // Packet for packet, in the same order, from another address. Until the old
    // connection is forgotten they are taken for late ones of it.
    let thief = UdpSocket::bind(loopback()).await.unwrap();
    let mut answer = [0; 2048];
    within("an answer", async {
        while !sent.is_empty() {
            for packet in &sent {
                thief.send_to(packet, victim.addr()).await.unwrap();
            }
            let heard = thief.recv_from(&mut answer);
            if tokio::time::timeout(Duration::from_millis(200), heard)
                .await
                .is_ok()
            {
                break;
            }
        }
    })
    .await;
    // The victim answers, so it has taken the packets in; but nothing comes of it.
    sync(&honest, &victim, b"afterwards").await;
    let after = (victim.seen().links_of(66), victim.net.stats());
    println!("K-N11: {} packets were repeated", sent.len());
    assert_eq!(after.0, before.0, "no link came of a replay");
    assert_eq!(after.1.refused, before.1.refused);
}
