//! Pairing over real connections, with honest people, people who mistype, and
//! somebody in the middle.

use std::time::Duration;

use ccpeer_core::limits;

use super::*;
use crate::{
    Invite, InviteEvent, InviteFailure, InviteOptions, Join, JoinEvent, JoinFailure, JoinOptions,
    JoinSecret, NetError, PAIR_ALPN, PeerCard, SecretKind,
};

async fn invite(by: &Peer) -> Invite {
    let options = InviteOptions {
        name: format!("peer {}", by.n),
        os: "linux".into(),
    };
    by.net.invite(options).await.unwrap()
}

async fn join(by: &Peer, secret: &str, candidates: Vec<(DeviceId, Vec<SocketAddr>)>) -> Join {
    let secret = JoinSecret::parse(secret).unwrap();
    let name = format!("peer {}", by.n);
    by.net
        .join(
            secret,
            JoinOptions {
                name,
                os: "linux".into(),
                candidates,
            },
        )
        .await
        .unwrap()
}

/// With a code and the inviting device named, as discovery would.
async fn join_by_code(by: &Peer, code: &str, at: &Peer) -> Join {
    join(by, code, vec![(device(at.n), vec![at.addr()])]).await
}

async fn invited(invite: &mut Invite) -> InviteEvent {
    within("an event of the invitation", invite.events.recv())
        .await
        .unwrap()
}

/// The last event of an attempt to join.
async fn outcome(join: &mut Join) -> JoinEvent {
    within("the end of joining", async {
        loop {
            let event = join.events.recv().await.unwrap();
            if matches!(event, JoinEvent::Accepted { .. } | JoinEvent::Failed(_)) {
                return event;
            }
        }
    })
    .await
}

fn card(n: u8) -> PeerCard {
    PeerCard {
        device: device(n),
        name: format!("peer {n}"),
        os: "linux".into(),
    }
}

/// Another code of the same form.
fn mistyped(code: &str) -> String {
    let last = if code.ends_with('7') { '8' } else { '7' };
    format!("{}{last}", &code[..code.len() - 1])
}

async fn goes_well(secret_of: impl Fn(&Invite) -> String, by: SecretKind) {
    let (mut a, mut b) = (Peer::start(1, &[]).await, Peer::start(2, &[]).await);
    let mut invite = invite(&a).await;
    let mut join = join_by_code(&b, &secret_of(&invite), &a).await;
    let addr = Some(b.addr());
    assert_eq!(
        invited(&mut invite).await,
        InviteEvent::Joined {
            card: card(2),
            addr,
            by
        }
    );
    // The window is closed to everybody else by now.
    assert!(
        !a.net
            .0
            .pairing
            .open
            .load(std::sync::atomic::Ordering::Acquire)
    );
    a.trust(&[2]);
    invite.answer(true);
    let JoinEvent::Accepted {
        card: inviter,
        addrs,
        ..
    } = outcome(&mut join).await
    else {
        panic!()
    };
    assert_eq!((inviter, addrs), (card(1), vec![a.addr()]));
    assert_eq!(invited(&mut invite).await, InviteEvent::Done);
    assert_eq!(invite.events.recv().await, None);
    b.trust(&[1]);
    a.up(2).await;
    b.up(1).await;
}

#[tokio::test]
async fn k_p01_the_right_code_pairs() {
    goes_well(|i| i.code.to_lowercase().replace('-', ""), SecretKind::Code).await;
}

#[tokio::test]
async fn a_ticket_pairs_without_anything_else() {
    goes_well(|i| i.ticket.to_string(), SecretKind::Ticket).await;
}

#[tokio::test]
async fn k_p02_a_wrong_code_burns_the_invitation() {
    let (a, b) = (Peer::start(1, &[]).await, Peer::start(2, &[]).await);
    let mut invite = invite(&a).await;
    let mut wrong = join_by_code(&b, &mistyped(&invite.code), &a).await;
    assert_eq!(
        outcome(&mut wrong).await,
        JoinEvent::Failed(JoinFailure::WrongCode)
    );
    let from = b.addr().to_string();
    assert_eq!(invited(&mut invite).await, InviteEvent::WrongCode { from });
    // The right code and the ticket open nothing any more.
    for secret in [&invite.code, &invite.ticket] {
        let mut late = join_by_code(&b, secret, &a).await;
        assert_eq!(
            outcome(&mut late).await,
            JoinEvent::Failed(JoinFailure::NotOpen)
        );
    }
    assert_eq!(a.net.stats().pair_attempts, 1);
}

#[tokio::test]
async fn k_p03_an_invitation_ends_by_itself() {
    let timing = Timing {
        pair_window: Duration::from_millis(50),
        ..Timing::default()
    };
    let a = Peer::start_with(config(1, &[]), 1, timing).await;
    let b = Peer::start(2, &[]).await;
    let mut invite = invite(&a).await;
    assert_eq!(invite.expires_ms, 50);
    assert_eq!(invited(&mut invite).await, InviteEvent::Expired);
    let mut late = join_by_code(&b, &invite.code, &a).await;
    assert_eq!(
        outcome(&mut late).await,
        JoinEvent::Failed(JoinFailure::NotOpen)
    );
}

#[tokio::test]
async fn k_p04_after_three_wrong_codes_pairing_is_locked() {
    let (a, b) = (Peer::start(1, &[]).await, Peer::start(2, &[]).await);
    for _ in 0..limits::PAIR_TRIES_MAX {
        let mut invite = invite(&a).await;
        let mut wrong = join_by_code(&b, &mistyped(&invite.code), &a).await;
        assert_eq!(
            outcome(&mut wrong).await,
            JoinEvent::Failed(JoinFailure::WrongCode)
        );
        assert!(matches!(
            invited(&mut invite).await,
            InviteEvent::WrongCode { .. }
        ));
    }
    let error = a.net.invite(InviteOptions::default()).await.unwrap_err();
    let NetError::PairingLocked { wait_ms } = error else {
        panic!("{error}")
    };
    assert!((50_000..=60_000).contains(&wait_ms), "{wait_ms}");
    assert_eq!(a.net.stats().pair_attempts, 3);
}

/// Somebody takes the inviting side's message and goes away: that is an attempt
/// too, though it learned nothing.
#[tokio::test]
async fn attempts_that_are_broken_off_count() {
    let a = Peer::start(1, &[]).await;
    let mut invite = invite(&a).await;
    let stranger = Raw::start(99, &[]).await;
    for n in 1..=u64::from(limits::PAIR_TRIES_MAX) {
        let conn = stranger.connect(&a, PAIR_ALPN).await;
        let start = start_message();
        let (mut send, mut recv) = conn.open_bi().await.unwrap();
        send.write_all(&framed(&start)).await.unwrap();
        let mut reply = [0u8; 4];
        within("a reply", recv.read_exact(&mut reply))
            .await
            .unwrap();
        conn.close(0u32.into(), b"");
        until("the attempt to count", || a.net.stats().pair_attempts == n).await;
        until("the claim to end", || claim_is_free(&a)).await;
    }
    assert!(matches!(
        invited(&mut invite).await,
        InviteEvent::BrokenOff { .. }
    ));
    let failed = InviteEvent::Failed(InviteFailure::TooManyTries);
    assert_eq!(invited(&mut invite).await, failed);
    assert!(matches!(
        a.net.invite(InviteOptions::default()).await,
        Err(NetError::PairingLocked { .. })
    ));
}

fn claim_is_free(a: &Peer) -> bool {
    crate::pairing::inviter::is_free(&a.net.0)
}

/// The first message of an honest joining side that knows some code.
fn start_message() -> Vec<u8> {
    crate::pairing::inviter::sample_start()
}

#[tokio::test]
async fn a_no_is_a_no() {
    let (a, b) = (Peer::start(1, &[]).await, Peer::start(2, &[]).await);
    let mut invite = invite(&a).await;
    let mut join = join_by_code(&b, &invite.code, &a).await;
    assert!(matches!(
        invited(&mut invite).await,
        InviteEvent::Joined { .. }
    ));
    invite.answer(false);
    assert_eq!(
        outcome(&mut join).await,
        JoinEvent::Failed(JoinFailure::Refused)
    );
    assert_eq!(
        invited(&mut invite).await,
        InviteEvent::Failed(InviteFailure::Declined)
    );
}

#[tokio::test]
async fn whoever_goes_away_leaves_nothing_open() {
    let (a, b) = (Peer::start(1, &[]).await, Peer::start(2, &[]).await);
    // The joining side gives up while the question stands.
    let mut invite_1 = invite(&a).await;
    let mut join = join_by_code(&b, &invite_1.code, &a).await;
    assert!(matches!(
        invited(&mut invite_1).await,
        InviteEvent::Joined { .. }
    ));
    join.events.close();
    drop(join);
    assert_eq!(
        invited(&mut invite_1).await,
        InviteEvent::Failed(InviteFailure::Gone)
    );
    // A second invitation ends the first; dropping it closes the window.
    let mut first = invite(&a).await;
    let second = invite(&a).await;
    assert_eq!(
        invited(&mut first).await,
        InviteEvent::Failed(InviteFailure::Closed)
    );
    let code = second.code.clone();
    drop(second);
    until("a closed window", || {
        !a.net
            .0
            .pairing
            .open
            .load(std::sync::atomic::Ordering::Acquire)
    })
    .await;
    let mut late = join_by_code(&b, &code, &a).await;
    assert_eq!(
        outcome(&mut late).await,
        JoinEvent::Failed(JoinFailure::NotOpen)
    );
}

#[tokio::test]
async fn nobody_there_is_not_found() {
    let b = Peer::start(2, &[]).await;
    let mut alone = join(&b, "7KQ-M2X", Vec::new()).await;
    assert_eq!(
        outcome(&mut alone).await,
        JoinEvent::Failed(JoinFailure::NotFound)
    );
    let closed: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9));
    let mut away = join(&b, "7KQ-M2X", vec![(device(1), vec![closed])]).await;
    assert_eq!(
        outcome(&mut away).await,
        JoinEvent::Failed(JoinFailure::Unreachable)
    );
}

/// The code is tried at each inviting device once, and at no more than three.
#[tokio::test]
async fn with_several_inviting_devices_the_right_one_is_found() {
    let mut invites = Vec::new();
    let mut candidates = Vec::new();
    let mut inviters = Vec::new();
    for n in 1..=3 {
        let peer = Peer::start(n, &[]).await;
        invites.push(invite(&peer).await);
        candidates.push((device(n), vec![peer.addr()]));
        inviters.push(peer);
    }
    let b = Peer::start(9, &[]).await;
    let mut join = join(&b, &invites[2].code.clone(), candidates).await;
    assert!(matches!(
        invited(&mut invites[0]).await,
        InviteEvent::WrongCode { .. }
    ));
    assert!(matches!(
        invited(&mut invites[1]).await,
        InviteEvent::WrongCode { .. }
    ));
    assert!(matches!(
        invited(&mut invites[2]).await,
        InviteEvent::Joined { .. }
    ));
    invites[2].answer(true);
    assert!(
        matches!(outcome(&mut join).await, JoinEvent::Accepted { card, .. } if card == super::pairing::card(3))
    );
}

#[tokio::test]
async fn k_n06_a_silent_stranger_is_dropped() {
    let timing = Timing {
        hello: Duration::from_millis(200),
        ..Timing::default()
    };
    let a = Peer::start_with(config(1, &[]), 1, timing).await;
    let _invite = invite(&a).await;
    let stranger = Raw::start(99, &[]).await;
    let silent = stranger.connect(&a, PAIR_ALPN).await;
    let begun = stranger.connect(&a, PAIR_ALPN).await;
    let (mut send, _recv) = begun.open_bi().await.unwrap();
    send.write_all(&[40, 0, 0]).await.unwrap();
    within("the end", silent.closed()).await;
    within("the end", begun.closed()).await;
    assert_eq!(a.net.stats().pair_attempts, 0);
}

#[tokio::test]
async fn strangers_are_few_at_once() {
    let a = Peer::start(1, &[]).await;
    let _invite = invite(&a).await;
    let stranger = Raw::start(99, &[]).await;
    let mut conns = Vec::new();
    for _ in 0..limits::PAIR_CONNECTIONS_MAX {
        conns.push(stranger.connect(&a, PAIR_ALPN).await);
    }
    let one_more = stranger.connect(&a, PAIR_ALPN).await;
    let reason = within("the end", one_more.closed()).await;
    let iroh::endpoint::ConnectionError::ApplicationClosed(close) = reason else {
        panic!("{reason}")
    };
    assert_eq!(close.error_code.into_inner(), 503);
}

/// What nobody reads is not taken either.
#[tokio::test]
async fn k_n07_a_stranger_has_a_small_window() {
    let a = Peer::start(1, &[]).await;
    let _invite = invite(&a).await;
    let stranger = Raw::start(99, &[]).await;
    let conn = stranger.connect(&a, PAIR_ALPN).await;
    let mut fills = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (mut send, recv) = conn.open_bi().await.unwrap();
        fills.spawn(async move {
            // The first frame of each is begun, and never finished.
            let _ = send.write_all(&1000u32.to_le_bytes()).await;
            let _ = send.write_all(&[0; 900]).await;
            let _ = send.write_all(&vec![0; 1024 * 1024]).await;
            drop(recv);
        });
    }
    within("the end", conn.closed()).await;
    let sent = conn.stats().udp_tx.bytes;
    println!("K-N07: a stranger could send {sent} bytes");
    assert!(
        sent <= 4 * u64::from(limits::STRANGER_WINDOW_BYTES),
        "{sent}"
    );
}

/// What somebody in the middle does with a message.
#[derive(Debug, Clone, Copy)]
enum Meddling {
    /// Everything is passed on.
    Forwards,
    /// All but what comes back after the first reply: it answers itself.
    KeepsTheProof,
    /// The joining side's first message is one of its own, with a guess.
    Substitutes,
    /// One bit of what goes to the inviting side is another one.
    FlipsThere,
    /// One bit of what comes back is another one.
    FlipsBack,
}

/// Passes bytes on, one of them changed.
async fn flipped(
    from: &mut iroh::endpoint::RecvStream,
    to: &mut iroh::endpoint::SendStream,
    at: usize,
) -> Option<()> {
    let (mut buffer, mut passed) = ([0u8; 512], 0);
    loop {
        let n = from.read(&mut buffer).await.ok()??;
        let bytes = &mut buffer[..n];
        if (passed..passed + n).contains(&at) {
            bytes[at - passed] ^= 1;
        }
        passed += n;
        to.write_all(bytes).await.ok()?;
    }
}

/// Somebody in the middle has a key of its own and stands between the two.
#[tokio::test]
async fn k_p05_the_one_in_the_middle_never_succeeds() {
    use Meddling::{FlipsBack, FlipsThere, Forwards, KeepsTheProof, Substitutes};
    let timing = Timing {
        pair_lock: (Duration::ZERO, Duration::ZERO),
        // A step that is not taken ends sooner than for people.
        hello: Duration::from_secs(2),
        ..Timing::default()
    };
    let rounds = super::alone::number("CCPEER_PAIRINGS", 20);
    let a = Peer::start_with(config(1, &[]), 1, timing).await;
    let b = Peer::start_with(config(2, &[]), 2, timing).await;
    let middle = Raw::start(66, &[PAIR_ALPN]).await;
    let (mut failures, mut burned) = (BTreeMap::new(), 0u64);
    for round in 0..rounds {
        let mut invite = invite(&a).await;
        let mut join = join(&b, &invite.code, vec![(device(66), vec![middle.addr()])]).await;
        let incoming = within("the victim", middle.endpoint.accept())
            .await
            .unwrap();
        let to_b = incoming.await.unwrap();
        let to_a = middle.connect(&a, PAIR_ALPN).await;
        let does = [Forwards, KeepsTheProof, Substitutes, FlipsThere, FlipsBack][round % 5];
        let relayed = async {
            let (mut send_b, mut recv_b) = to_b.accept_bi().await.ok()?;
            let (mut send_a, mut recv_a) = to_a.open_bi().await.ok()?;
            // Any byte of the first messages.
            let at = round / 5 % 120;
            match does {
                Forwards => {
                    let forward = tokio::io::copy(&mut recv_b, &mut send_a);
                    let back = tokio::io::copy(&mut recv_a, &mut send_b);
                    let _ = tokio::join!(forward, back);
                }
                KeepsTheProof => {
                    let forward = async { tokio::io::copy(&mut recv_b, &mut send_a).await };
                    let back = async { tokio::io::copy(&mut recv_a, &mut send_b).await };
                    let _ = tokio::select! { r = forward => r, r = back => r };
                }
                Substitutes => {
                    let mut length = [0u8; 4];
                    recv_b.read_exact(&mut length).await.ok()?;
                    let mut first = vec![0; u32::from_le_bytes(length) as usize];
                    recv_b.read_exact(&mut first).await.ok()?;
                    send_a.write_all(&framed(&start_message())).await.ok()?;
                    let forward = tokio::io::copy(&mut recv_b, &mut send_a);
                    let back = tokio::io::copy(&mut recv_a, &mut send_b);
                    let _ = tokio::join!(forward, back);
                }
                FlipsThere => {
                    let forward = flipped(&mut recv_b, &mut send_a, at);
                    let back = tokio::io::copy(&mut recv_a, &mut send_b);
                    let _ = tokio::join!(forward, back);
                }
                FlipsBack => {
                    let forward = tokio::io::copy(&mut recv_b, &mut send_a);
                    let back = flipped(&mut recv_a, &mut send_b, at);
                    let _ = tokio::join!(forward, back);
                }
            }
            Some(())
        };
        let (_, end) = tokio::join!(
            async { tokio::time::timeout(Duration::from_secs(5), relayed).await },
            outcome(&mut join)
        );
        let JoinEvent::Failed(failure) = end else {
            panic!("paired with the middle by {does:?}")
        };
        *failures.entry(failure).or_insert(0u32) += 1;
        to_a.close(0u32.into(), b"");
        to_b.close(0u32.into(), b"");
        // Where the proof was reached, the code is burned; else nothing was guessed.
        match invited(&mut invite).await {
            InviteEvent::WrongCode { .. } => burned += 1,
            InviteEvent::BrokenOff { .. } | InviteEvent::Failed(InviteFailure::TooManyTries) => {}
            other => panic!("{does:?}: {other:?}"),
        }
        drop(invite);
        until("a closed window", || {
            let open = &a.net.0.pairing.open;
            !open.load(std::sync::atomic::Ordering::Acquire)
        })
        .await;
    }
    println!(
        "K-P05: {rounds} pairings, 0 successes, {burned} codes burned; how the joining side \
         heard of it: {failures:?}"
    );
    assert!(a.net.stats().pair_attempts >= burned);
}

#[tokio::test]
async fn k_p06_secrets_do_not_show() {
    let a = Peer::start(1, &[]).await;
    let invite = invite(&a).await;
    let shown = format!("{invite:?}");
    assert!(!shown.contains(invite.code.as_str()) && !shown.contains(invite.ticket.as_str()));
}
