//! Over a relay and nothing else: one device listens on IPv4, the other on IPv6,
//! so that no packet goes from one to the other by itself. The relay is the one
//! that ships, honest, absent, or with somebody in between who spoils its words.

use std::net::Ipv6Addr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

use ccpeer_core::limits;
use ccpeer_core::manifest::{Want, WantKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

use super::transfer::{fetch_all, noise};
use super::*;
use crate::relay::host::{Admitted, HostConfig, HostError, RelayHost, make_certificate};
use crate::relay::{Relay, RelayAddress, RelayHealth};
use crate::{InviteEvent, InviteOptions, JoinEvent, JoinOptions, JoinSecret, PathKind};

const TOKEN: &str = "0123456789abcdefghjkmnpqrs";

/// A relay on the loopback interface, and what its certificate is made of.
struct Own {
    host: RelayHost,
    tls: Option<(String, Zeroizing<String>)>,
}

async fn host(at: SocketAddr, tls: Option<(String, Zeroizing<String>)>) -> Own {
    let start = || {
        RelayHost::start(HostConfig {
            listen: at,
            tls: tls.clone(),
            token: Zeroizing::new(TOKEN.to_owned()),
            rate: NonZeroU32::new(limits::RELAY_RATE_BYTES).unwrap(),
        })
    };
    // While a relay was down, an endpoint of another test may have been given its
    // port by the system: it is free again when that test has ended.
    let host = within("the relay's port", async {
        loop {
            match start().await {
                Ok(host) => return host,
                Err(HostError::Listen { why, .. }) if why.contains("in use") => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(e) => panic!("{e}"),
            }
        }
    })
    .await;
    Own { host, tls }
}

async fn plain() -> Own {
    host(loopback(), None).await
}

async fn encrypted() -> Own {
    host(loopback(), Some(make_certificate().unwrap())).await
}

impl Own {
    fn admits(self, devices: &[u8]) -> Self {
        self.admit(devices, &[]);
        self
    }

    fn admit(&self, devices: &[u8], revoked: &[u8]) {
        let set = |ns: &[u8]| ns.iter().map(|n| device(*n)).collect();
        self.host.admit(Admitted {
            devices: set(devices),
            revoked: set(revoked),
        });
    }

    fn relay_at(&self, addr: SocketAddr, token: bool) -> Relay {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let token = token.then(|| Zeroizing::new(TOKEN.to_owned()));
        let quic = self.tls.is_some().then_some(addr.port());
        let url = format!("{scheme}://{addr}");
        Relay::Own(RelayAddress::new(&url, self.host.pin(), quic, token).unwrap())
    }

    /// As its address is given to devices that it knows.
    fn relay(&self) -> Relay {
        self.relay_at(self.host.addr(), false)
    }
}

/// Even ones on IPv4, odd ones on IPv6.
async fn peer(n: u8, trusted: &[u8], relay: Option<Relay>) -> Peer {
    let mut config = config(n, trusted);
    if n % 2 == 1 {
        config.listen = Listen::Addr(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)));
    }
    config.relays = relay.into_iter().collect();
    Peer::start_with(config, n, Timing::default()).await
}

async fn health(of: &Peer, what: &str, holds: impl Fn(&RelayHealth) -> bool) {
    until(what, || of.net.relay().is_some_and(|r| holds(&r.health))).await;
}

async fn connected(of: &Peer) {
    health(of, "a connection to the relay", |h| {
        *h == RelayHealth::Connected
    })
    .await;
}

fn path(of: &Peer) -> Option<PathKind> {
    of.net.peers()[0].path
}

async fn pair_over(own: &Own) -> (Peer, Peer) {
    let mut a = peer(1, &[2], Some(own.relay())).await;
    let mut b = peer(2, &[1], Some(own.relay())).await;
    a.up(2).await;
    b.up(1).await;
    (a, b)
}

fn wants(ids: &[ChunkId]) -> Vec<Want> {
    let kind = WantKind::Data;
    ids.iter().map(|id| Want { id: *id, kind }).collect()
}

#[tokio::test]
async fn two_that_cannot_reach_each_other_meet_over_a_relay() {
    for own in [plain().await, encrypted().await] {
        let own = own.admits(&[1, 2]);
        let (a, b) = pair_over(&own).await;
        assert_eq!(path(&a), Some(PathKind::Relay));
        assert!(a.net.peers()[0].rtt_ms.is_some());
        connected(&a).await;
        assert_eq!(a.net.relay().unwrap().url, own.relay().place());
        let content = noise(limits::CHUNK_BYTES_MAX);
        let id = a.chunks.put(content.clone());
        assert_eq!(fetch_all(1, &b, &[id]).await, [Ok(content)]);
        assert_eq!(own.host.stats().refused, 0);
        within("the end of the relay", own.host.shutdown()).await;
    }
}

/// Two that can reach each other do not stay on the relay.
#[tokio::test]
async fn a_direct_path_is_preferred() {
    let own = encrypted().await.admits(&[2, 4]);
    let mut a = peer(2, &[4], Some(own.relay())).await;
    let mut b = peer(4, &[2], Some(own.relay())).await;
    // Neither has been told where the other one is.
    a.up(4).await;
    b.up(2).await;
    until("a direct path", || path(&a) == Some(PathKind::Direct)).await;
}

#[tokio::test]
async fn the_relay_knows_its_devices_and_nobody_else() {
    let own = plain().await.admits(&[1]);
    let known = peer(1, &[], Some(own.relay())).await;
    connected(&known).await;
    let stranger = peer(3, &[], Some(own.relay())).await;
    let why = "not one of this relay's devices";
    health(&stranger, "a refusal", |h| {
        *h == RelayHealth::Denied(why.into())
    })
    .await;
    assert!(own.host.stats().refused > 0);
    // With the token it is let in; with a wrong one it is not.
    let guest = peer(5, &[], Some(own.relay_at(own.host.addr(), true))).await;
    connected(&guest).await;
    let url = format!("http://{}", own.host.addr());
    let wrong = Zeroizing::new("0123456789".to_owned());
    let wrong = Relay::Own(RelayAddress::new(&url, None, None, Some(wrong)).unwrap());
    let guesser = peer(7, &[], Some(wrong)).await;
    health(&guesser, "a refusal", |h| {
        matches!(h, RelayHealth::Denied(_))
    })
    .await;
}

#[tokio::test]
async fn who_is_revoked_is_put_out_with_the_token_and_without() {
    let own = plain().await.admits(&[1]);
    let by_key = peer(1, &[], Some(own.relay())).await;
    let by_token = peer(2, &[], Some(own.relay_at(own.host.addr(), true))).await;
    connected(&by_key).await;
    connected(&by_token).await;
    until("both", || own.host.stats().connections == 2).await;
    own.admit(&[], &[1, 2]);
    for peer in [&by_key, &by_token] {
        let why = "this device was revoked";
        health(peer, "the end", |h| *h == RelayHealth::Denied(why.into())).await;
    }
    until("nobody", || own.host.stats().connections == 0).await;
}

/// What the transport keeps silent about is told.
#[tokio::test]
async fn what_is_wrong_with_a_relay_is_told() {
    let (own, other) = (encrypted().await.admits(&[1]), encrypted().await);
    let addr = own.host.addr();
    let check = async |relay: Relay, n: u8, word: &str| {
        let peer = peer(n, &[], Some(relay)).await;
        health(&peer, word, |h| h.word() == word).await;
    };
    let of = |text: String| text.parse::<Relay>().unwrap();
    check(own.relay(), 1, "connected").await;
    check(other.relay_at(addr, false), 1, "untrusted").await;
    check(of(format!("https://{addr}")), 1, "untrusted").await;
    check(of(format!("http://{addr}")), 1, "not_a_relay").await;
    let plain = plain().await;
    check(
        of(format!("https://{}", plain.host.addr())),
        1,
        "not_a_relay",
    )
    .await;
    let nobody = TcpListener::bind(loopback()).await.unwrap();
    let gone = nobody.local_addr().unwrap();
    drop(nobody);
    check(of(format!("http://{gone}")), 1, "unreachable").await;
}

#[tokio::test]
async fn a_relay_that_comes_back_is_found_and_a_transfer_goes_on() {
    let own = encrypted().await.admits(&[1, 2]);
    let (a, b) = pair_over(&own).await;
    let contents: Vec<_> = (0..24).map(|_| noise(limits::CHUNK_BYTES_MAX)).collect();
    let ids: Vec<_> = contents.iter().map(|c| a.chunks.put(c.clone())).collect();
    let whole = AtomicUsize::new(0);
    let transfer = async {
        loop {
            let from = whole.load(Ordering::Acquire);
            let mut answers = b.net.fetch(device(1), wants(&ids[from..]));
            while let Some((_, Ok(_))) = answers.recv().await {
                whole.fetch_add(1, Ordering::AcqRel);
            }
            if whole.load(Ordering::Acquire) == ids.len() {
                return;
            }
            // The link was given up: asked for again, as the machine does.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let restart = async {
        until("a first chunk", || whole.load(Ordering::Acquire) > 0).await;
        let (addr, tls) = (own.host.addr(), own.tls.clone());
        own.host.shutdown().await;
        host(addr, tls).await.admits(&[1, 2])
    };
    let both = async { tokio::join!(transfer, restart).1 };
    let again = tokio::time::timeout(Duration::from_secs(40), both)
        .await
        .unwrap();
    assert_eq!(path(&a), Some(PathKind::Relay));
    connected(&a).await;
    assert_eq!(again.host.stats().crowded, 0);
}

/// The joining device never heard of the relay, and has no other way.
#[tokio::test]
async fn a_ticket_brings_the_relay_along() {
    let own = encrypted().await.admits(&[1]);
    let mut a = peer(1, &[], Some(own.relay_at(own.host.addr(), true))).await;
    let mut b = peer(2, &[], None).await;
    connected(&a).await;
    let options = InviteOptions::default();
    let mut invite = a.net.invite(options).await.unwrap();
    let secret = JoinSecret::parse(&invite.ticket).unwrap();
    let mut join = b.net.join(secret, JoinOptions::default()).await.unwrap();
    let event = within("a joining device", invite.events.recv()).await;
    assert!(matches!(
        event,
        Some(InviteEvent::Joined { addr: None, .. })
    ));
    a.trust(&[2]);
    invite.answer(true);
    let relays = within("the yes", async {
        loop {
            match join.events.recv().await.unwrap() {
                JoinEvent::Accepted { relays, .. } => return relays,
                JoinEvent::Failed(why) => panic!("{why}"),
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(relays, [own.relay_at(own.host.addr(), true)]);
    b.trust(&[1]);
    a.up(2).await;
    b.up(1).await;
    assert_eq!(path(&b), Some(PathKind::Relay));
}

#[tokio::test]
async fn a_ticket_that_comes_to_nothing_leaves_no_relay_behind() {
    let own = plain().await.admits(&[1]);
    let a = peer(1, &[], Some(own.relay_at(own.host.addr(), true))).await;
    let b = peer(2, &[], None).await;
    connected(&a).await;
    let mut invite = a.net.invite(InviteOptions::default()).await.unwrap();
    let secret = JoinSecret::parse(&invite.ticket).unwrap();
    let mut join = b.net.join(secret, JoinOptions::default()).await.unwrap();
    let event = within("a joining device", invite.events.recv()).await;
    assert!(matches!(event, Some(InviteEvent::Joined { .. })));
    invite.answer(false);
    let failed = within("the no", async {
        loop {
            if let JoinEvent::Failed(why) = join.events.recv().await.unwrap() {
                return why;
            }
        }
    })
    .await;
    assert_eq!(failed, crate::JoinFailure::Refused);
    assert_eq!(b.net.0.relays.urls(), []);
    assert_eq!(b.net.relay(), None);
}

/// T8: somebody has the relay and spoils what it says. Nobody falls over, the
/// direct link does not notice, and nothing that was spoiled is taken for true.
#[tokio::test]
async fn spoiled_words_of_a_relay_do_no_harm() {
    let own = plain().await.admits(&[1, 2, 3]);
    let spoiler = Spoiler::before(own.host.addr()).await;
    let spoiled = own.relay_at(spoiler.addr, false);
    let mut a = peer(1, &[2, 3], Some(spoiled.clone())).await;
    let mut b = peer(2, &[1], Some(spoiled.clone())).await;
    let mut c = peer(3, &[1], Some(spoiled)).await;
    a.meet(&c);
    a.all_up(&[2, 3]).await;
    c.up(1).await;
    b.up(1).await;
    let id = a.chunks.put(noise(limits::CHUNK_BYTES_MAX));
    let before = spoiler.spoiled();
    spoiler.begin();
    let mut answers = b.net.fetch(device(1), wants(&[id]));
    let spoiling = until("spoiled words", || spoiler.spoiled() > before + 50);
    let answer = async { while answers.recv().await.is_some() {} };
    tokio::join!(spoiling, async {
        let _ = tokio::time::timeout(Duration::from_secs(2), answer).await;
    });
    // The one who has a path of its own goes on undisturbed.
    let content = noise(limits::CHUNK_BYTES_MAX);
    let direct = a.chunks.put(content.clone());
    assert_eq!(fetch_all(1, &c, &[direct]).await, [Ok(content)]);
    let link = a.net.peers().into_iter().find(|p| p.device == device(3));
    assert_eq!(link.unwrap().path, Some(PathKind::Direct));
    // And the other one comes back once the words are true again.
    spoiler.end();
    let back = || a.net.peers().iter().all(|p| p.connected);
    let returned = async {
        while !back() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), returned)
        .await
        .unwrap();
}

/// Something else than a relay answers.
#[tokio::test]
async fn rubbish_where_a_relay_should_be_does_no_harm() {
    let answers: [&[u8]; 4] = [
        b"",
        b"\x16\x03\x01\xff\xff\xff\xff\x00\x00rubbish",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    for answer in answers {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let at = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(answer).await;
            }
        });
        let relay = format!("http://{at}").parse().unwrap();
        let mut a = peer(1, &[3], Some(relay)).await;
        let mut c = peer(3, &[1], None).await;
        health(&a, "a word", |h| h.word() == "not_a_relay").await;
        a.meet(&c);
        a.up(3).await;
        c.up(1).await;
        serving.abort();
    }
}

/// Who connects and does not say who he is loses his place, and there are not
/// many.
#[tokio::test]
async fn silent_strangers_do_not_fill_the_relay() {
    let own = plain().await.admits(&[1]);
    let mut silent = Vec::new();
    for _ in 0..2 * limits::RELAY_HANDSHAKES_MAX.1 {
        silent.push(TcpStream::connect(own.host.addr()).await.unwrap());
    }
    let most = limits::RELAY_HANDSHAKES_MAX.1 as u64;
    until("a crowd", || own.host.stats().crowded >= most).await;
    let mut ended = [0; 1];
    for mut stream in silent {
        let read = within("the end of a silent one", stream.read(&mut ended)).await;
        assert!(matches!(read, Ok(0) | Err(_)));
    }
    let known = peer(1, &[], Some(own.relay())).await;
    connected(&known).await;
}

/// Stands before a relay and, when told to, changes single bytes of what it says.
struct Spoiler {
    addr: SocketAddr,
    every: Arc<AtomicUsize>,
    spoiled: Arc<AtomicUsize>,
}

impl Spoiler {
    async fn before(relay: SocketAddr) -> Self {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let spoiler = Self {
            addr: listener.local_addr().unwrap(),
            every: Arc::default(),
            spoiled: Arc::default(),
        };
        let (every, spoiled) = (Arc::clone(&spoiler.every), Arc::clone(&spoiler.spoiled));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(relay).await else {
                    return;
                };
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
                });
                let (every, spoiled) = (Arc::clone(&every), Arc::clone(&spoiled));
                tokio::spawn(async move {
                    let mut piece = [0; 1500];
                    while let Ok(len @ 1..) = from_server.read(&mut piece).await {
                        let every = every.load(Ordering::Acquire);
                        if every > 0 {
                            for byte in piece[..len].iter_mut().step_by(every) {
                                *byte ^= 0x55;
                                spoiled.fetch_add(1, Ordering::AcqRel);
                            }
                        }
                        if to_client.write_all(&piece[..len]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        spoiler
    }

    fn begin(&self) {
        self.every.store(97, Ordering::Release);
    }

    fn end(&self) {
        self.every.store(0, Ordering::Release);
    }

    fn spoiled(&self) -> usize {
        self.spoiled.load(Ordering::Acquire)
    }
}
