//! Links between honest devices: hello, messages, crossing dials, restarts,
//! trust that ends.

use std::time::{Duration, Instant};

use ccpeer_core::manifest::Want;
use ccpeer_core::sync::effect::Fault;
use ccpeer_core::sync::event::Received;
use ccpeer_core::wire::Message;

use super::*;
use crate::link::Dialler;
use crate::{DownReason, PathKind};

#[tokio::test]
async fn hello_and_entries_go_both_ways() {
    let mut a = Peer::start(1, &[2]).await;
    let mut b = Peer::start(2, &[1]).await;
    b.meet(&a);
    let at_a = a
        .event("an up", |e| match e {
            NetEvent::Up {
                device: d,
                hello,
                addr,
                path,
            } => Some((d, hello.name, addr, path)),
            _ => None,
        })
        .await;
    assert_eq!(
        at_a,
        (device(2), "peer 2".into(), Some(b.addr()), PathKind::Direct)
    );
    b.up(1).await;
    assert!(a.net.send(device(2), Message::Entries(vec![entry(1)])));
    assert!(b.net.send(device(1), Message::Entries(vec![entry(2)])));
    for (peer, from) in [(&mut a, 2), (&mut b, 1)] {
        let Received::Entries(entries) = peer.received(from).await else {
            panic!()
        };
        assert_eq!(*entries[0].signed(), entry(from));
    }
    let log = entry(1).verify().unwrap().log();
    assert!(a.net.send(device(2), Message::Have(vec![held(log, 7)])));
    let Received::Have(heard) = b.received(1).await else {
        panic!()
    };
    assert_eq!(heard, [held(log, 7)]);

    let status = &a.net.peers()[0];
    assert!(status.connected && !status.refused);
    assert_eq!(status.name.as_deref(), Some("peer 2"));
    assert_eq!(status.addr, Some(b.addr()));
    assert!(!a.net.send(device(3), marked(1)), "nobody is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_takes_less_than_a_heartbeat() {
    let (a, mut b) = pair_of(1, 2).await;
    let mut micros = Vec::new();
    for n in 0..200u8 {
        let sent = Instant::now();
        assert!(a.net.send(device(2), marked(n)));
        assert_eq!(
            b.received(1).await,
            Received::Complete(vec![Want::manifest(ChunkId([n; 32]))])
        );
        micros.push(sent.elapsed().as_micros());
    }
    micros.sort_unstable();
    println!(
        "message A to B on loopback: p50 {} µs, p99 {} µs",
        micros[100], micros[198]
    );
    assert!(micros[100] < 50_000);
}

/// How often the transport gives a sign of life cannot be chosen; looking less often
/// than in life leaves it time where the processor is busy.
#[tokio::test]
async fn a_quiet_link_stays_without_a_word() {
    let timing = Timing {
        quiet: (Duration::ZERO, Duration::from_millis(7_500)),
        ..Timing::default()
    };
    let mut a = Peer::start_with(config(1, &[2]), 1, timing).await;
    let mut b = Peer::start_with(config(2, &[1]), 2, timing).await;
    a.meet(&b);
    a.up(2).await;
    b.up(1).await;
    let link = a.net.0.board.link(&device(2)).unwrap();
    let words = || (a.net.stats().frames, b.net.stats().frames);
    let before = words();
    for look in 1..=2 {
        let at = link.since + timing.quiet.1 * look;
        until("a look has been taken", || link.heard_at() >= at).await;
    }
    assert_eq!(words(), before);
    assert!(link.conn.close_reason().is_none());
}

/// Both dial at the same moment, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crossing_dials_leave_exactly_one_link() {
    let timing = Timing {
        stagger: Duration::ZERO,
        ..Timing::default()
    };
    for round in 0..12u8 {
        let (x, y) = (10 + round, 40 + round);
        let mut a = Peer::start_with(config(x, &[y]), x, timing).await;
        let mut b = Peer::start_with(config(y, &[x]), y, timing).await;
        a.meet(&b);
        b.meet(&a);
        let link_of = |p: &Peer, n| p.net.0.board.link(&device(n));
        until("one and the same link", || {
            let (Some(at_a), Some(at_b)) = (link_of(&a, y), link_of(&b, x)) else {
                return false;
            };
            let open = at_a.conn.close_reason().is_none() && at_b.conn.close_reason().is_none();
            let exporter = |link: &crate::link::Link| {
                let mut out = [0u8; 8];
                link.conn
                    .export_keying_material(&mut out, b"test", b"")
                    .unwrap();
                out
            };
            open && at_a.dialler != at_b.dialler && exporter(&at_a) == exporter(&at_b)
        })
        .await;
        // As a driver does: speak at every up. In the end both hear the other on
        // the link that stays, and have seen exactly one up more than downs.
        let (mut at_a, mut at_b) = (Seen::default(), Seen::default());
        within("a word on the link that stays", async {
            while !(at_a.heard && at_b.heard) {
                tokio::select! {
                    event = a.events.recv() => at_a.take(event.unwrap(), &a.net, y),
                    event = b.events.recv() => at_b.take(event.unwrap(), &b.net, x),
                }
            }
        })
        .await;
        assert!(at_a.ups <= 2 && at_b.ups <= 2, "more links than dials");
    }
}

/// Whoever comes to us while we try to reach him where he is not is not asked for a
/// second handshake later.
#[tokio::test]
async fn a_dial_ends_when_the_peer_has_come() {
    let timing = Timing {
        dial: Duration::from_secs(3600),
        ..Timing::default()
    };
    // It takes what is sent to it, and never answers.
    let hole = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut a = Peer::start_with(config(1, &[2]), 1, timing).await;
    a.net.add_address(device(2), hole.local_addr().unwrap());
    let mut first = [0; 1];
    within("a dial into the void", hole.recv_from(&mut first))
        .await
        .unwrap();
    let mut b = Peer::start(2, &[1]).await;
    b.meet(&a);
    a.up(2).await;
    b.up(1).await;
    let outcome = || a.net.reach()[0].dialled.map(|(_, outcome)| outcome);
    until("the end of the dial", || {
        outcome() == Some(crate::DialOutcome::Duplicate)
    })
    .await;
    let link = a.net.0.board.link(&device(2)).unwrap();
    assert_eq!(link.dialler, Dialler::Them);
    assert!(link.conn.close_reason().is_none());
}

/// What a driver has seen of one peer.
#[derive(Default)]
struct Seen {
    up: bool,
    ups: usize,
    heard: bool,
}

impl Seen {
    fn take(&mut self, event: NetEvent, net: &Net, other: u8) {
        match event {
            NetEvent::Up { .. } => {
                assert!(!self.up, "a second up without a down");
                self.up = true;
                self.ups += 1;
                net.send(device(other), marked(1));
            }
            NetEvent::Down { .. } => {
                assert!(self.up, "a down without an up");
                *self = Self {
                    ups: self.ups,
                    ..Self::default()
                };
            }
            NetEvent::Received { .. } => {
                assert!(self.up, "a message without a link");
                self.heard = true;
            }
            _ => {}
        }
    }
}

/// One side dies without a word and comes back under another port.
#[test]
fn a_restarted_device_is_back_within_two_seconds() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    };
    let (stays, dies) = (runtime(), runtime());
    let mut a = stays.block_on(Peer::start(1, &[2]));
    let a_addr = a.addr();
    let mut config_b = config(2, &[1]);
    config_b.addresses.insert(device(1), vec![a_addr]);
    let b = dies.block_on(Peer::start_with(config_b, 2, Timing::default()));
    stays.block_on(a.up(2));
    let old_port = b.addr().port();
    // No destructor may say good-bye.
    dies.shutdown_background();
    std::mem::forget(b);

    let reborn = runtime();
    let began = Instant::now();
    let mut config_b = config(2, &[1]);
    config_b.addresses.insert(device(1), vec![a_addr]);
    let mut b = reborn.block_on(Peer::start_with(config_b, 2, Timing::default()));
    assert_ne!(b.addr().port(), old_port);
    assert_eq!(stays.block_on(a.down(2)), DownReason::Replaced);
    stays.block_on(a.up(2));
    reborn.block_on(b.up(1));
    let took = began.elapsed();
    println!("back after {} ms", took.as_millis());
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(a.net.send(device(2), marked(3)));
    assert_eq!(
        reborn.block_on(b.received(1)),
        Received::Complete(vec![Want::manifest(ChunkId([3; 32]))])
    );
}

#[tokio::test]
async fn a_good_bye_is_heard_and_the_link_comes_back() {
    let (mut a, b) = pair_of(1, 2).await;
    let port = b.addr().port();
    let began = Instant::now();
    b.net.shutdown().await;
    println!("shutdown took {} ms", began.elapsed().as_millis());
    assert_eq!(a.down(2).await, DownReason::Bye);
    assert!(!a.net.peers()[0].connected);
    drop(b);
    // On the same port again: the other side finds it by itself.
    let mut config = config(2, &[1]);
    config.listen = Listen::Addr(SocketAddr::from(([127, 0, 0, 1], port)));
    let mut b = Peer::start_with(config, 2, Timing::default()).await;
    a.up(2).await;
    b.up(1).await;
}

#[tokio::test]
async fn k_p10_revoking_closes_at_once_and_is_told() {
    let (mut a, mut b) = pair_of(1, 2).await;
    a.trust(&[]);
    assert_eq!(a.down(2).await, DownReason::NotTrustedHere);
    assert_eq!(b.down(1).await, DownReason::NotTrustedThere);
    assert!(!a.net.send(device(2), marked(1)));
    // The other side may ask again, is refused, and knows it. It does not insist.
    b.net.dial_now();
    until("a refusal", || {
        a.net.stats().refused >= 1 && b.net.peers()[0].refused
    })
    .await;
    assert!(a.net.stats().refused <= 2);
    // Trust again: whoever trusts dials.
    a.trust(&[2]);
    a.up(2).await;
    b.up(1).await;
}

#[tokio::test]
async fn the_driver_can_close_a_link() {
    let (mut a, mut b) = pair_of(1, 2).await;
    a.net.disconnect(device(2), Fault::NotTrusted);
    assert_eq!(a.down(2).await, DownReason::NotTrustedHere);
    assert_eq!(b.down(1).await, DownReason::NotTrustedThere);
}

/// As on two machines: all interfaces, both families on one port.
#[tokio::test]
async fn listening_on_everything_uses_one_port() {
    let any = |n: u8, other: u8| {
        let mut config = config(n, &[other]);
        config.listen = Listen::Any { port: 0 };
        config
    };
    let mut a = Peer::start_with(any(1, 2), 1, Timing::default()).await;
    let mut b = Peer::start_with(any(2, 1), 2, Timing::default()).await;
    for peer in [&a, &b] {
        let port = peer.net.port().unwrap();
        assert!(
            peer.net
                .0
                .endpoint
                .bound_sockets()
                .iter()
                .all(|s| s.port() == port)
        );
        let addrs = peer.net.listen_addrs();
        assert!(
            addrs
                .iter()
                .all(|a| a.port() == port && !a.ip().is_loopback()),
            "{addrs:?}"
        );
    }
    // A typed address may be one of the loopback interface.
    let typed = SocketAddr::from(([127, 0, 0, 1], b.net.port().unwrap()));
    a.net.add_address(device(2), typed);
    a.up(2).await;
    b.up(1).await;
    // A port that is taken is an error that names it.
    let mut taken = config(3, &[]);
    taken.listen = Listen::Any {
        port: a.net.port().unwrap(),
    };
    let started = crate::start(taken, Arc::new(Memory::default())).await;
    let error = started.err().unwrap().to_string();
    assert!(
        error.contains(&a.net.port().unwrap().to_string()),
        "{error}"
    );
}

/// A relay that is away does not hinder direct links.
#[tokio::test]
async fn a_relay_that_is_away_does_no_harm() {
    let mut with_relay = config(1, &[2]);
    with_relay.relays = vec!["http://127.0.0.1:9".parse().unwrap()];
    let mut a = Peer::start_with(with_relay, 1, Timing::default()).await;
    let mut b = Peer::start(2, &[1]).await;
    a.meet(&b);
    a.up(2).await;
    b.up(1).await;
    assert_eq!(a.net.peers()[0].path, Some(PathKind::Direct));
    within("the end", a.net.shutdown()).await;
}

#[tokio::test]
async fn many_peers_are_linked_at_once() {
    let others = [2, 3, 4, 5];
    let mut hub = Peer::start(1, &others).await;
    let mut peers = Vec::new();
    for n in others {
        let peer = Peer::start(n, &[1]).await;
        peer.meet(&hub);
        peers.push(peer);
    }
    for peer in &mut peers {
        peer.up(1).await;
    }
    until("all links", || hub.net.peers().iter().all(|p| p.connected)).await;
    for n in others {
        assert!(hub.net.send_paced(device(n), marked(n)).await);
    }
    for peer in &mut peers {
        let expected = Received::Complete(vec![Want::manifest(ChunkId([peer.n; 32]))]);
        assert_eq!(peer.received(1).await, expected);
    }
    hub.events.close();
}
