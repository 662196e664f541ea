//! Discovery by multicast on the loopback interface, where that works: some
//! machines and sandboxes have no multicast there.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use super::*;
use crate::{InviteEvent, InviteOptions, JoinEvent, JoinFailure, JoinOptions, JoinSecret};

/// Sends a packet to a group of our own and looks whether it comes back.
fn loopback_has_multicast() -> bool {
    let group = Ipv4Addr::new(239, 255, 77, 1);
    let attempt = || -> std::io::Result<bool> {
        let receiver = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        receiver.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
        receiver.set_read_timeout(Some(Duration::from_secs(1)))?;
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        sender.send_to(b"?", (group, receiver.local_addr()?.port()))?;
        Ok(receiver.recv(&mut [0; 8])? == 1)
    };
    attempt().unwrap_or(false)
}

fn announced(n: u8, trusted: &[u8]) -> Config {
    Config {
        mdns: true,
        ..config(n, trusted)
    }
}

/// One test for all of it: the multicast group is shared by the whole machine.
#[tokio::test]
async fn devices_find_each_other_and_pair_by_code() {
    if !loopback_has_multicast() {
        println!("no multicast on the loopback interface: nothing to test");
        return;
    }
    let mut ids = [0u8; 2];
    getrandom::fill(&mut ids).unwrap();
    let (x, y) = (100 + ids[0] % 50, 160 + ids[1] % 50);
    let mut a = Peer::start_with(announced(x, &[]), x, Timing::default()).await;
    let mut b = Peer::start_with(announced(y, &[]), y, Timing::default()).await;

    // Pairing: the code is all that passes between them.
    let mut invite = a.net.invite(InviteOptions::default()).await.unwrap();
    let secret = JoinSecret::parse(&invite.code).unwrap();
    let began = Instant::now();
    let mut join = b
        .net
        .join(secret.clone(), JoinOptions::default())
        .await
        .unwrap();
    let joined = within("somebody who joins", invite.events.recv()).await;
    println!("found by code after {} ms", began.elapsed().as_millis());
    assert!(matches!(joined, Some(InviteEvent::Joined { card, .. }) if card.device == device(y)));
    a.trust(&[y]);
    invite.answer(true);
    let accepted = within("acceptance", async {
        loop {
            match join.events.recv().await {
                Some(
                    JoinEvent::Searching | JoinEvent::Found { .. } | JoinEvent::WaitingForYes(_),
                ) => {}
                other => return other,
            }
        }
    })
    .await;
    assert!(
        matches!(accepted, Some(JoinEvent::Accepted { .. })),
        "{accepted:?}"
    );
    b.trust(&[x]);
    a.up(y).await;
    b.up(x).await;

    // The announcement no longer says that an invitation stands.
    let discovery = b.net.0.discovery.as_ref().unwrap();
    let inviting = || discovery.inviting().iter().any(|(d, _)| *d == device(x));
    until("the end of the announced invitation", || !inviting()).await;

    // A restart under another port is found without any address.
    b.net.shutdown().await;
    a.down(y).await;
    drop(b);
    let began = Instant::now();
    let mut b = Peer::start_with(announced(y, &[x]), y, Timing::default()).await;
    a.up(y).await;
    b.up(x).await;
    println!("found again after {} ms", began.elapsed().as_millis());
    b.net.shutdown().await;
    a.net.shutdown().await;
}

#[tokio::test]
async fn without_discovery_a_code_finds_nobody_at_once() {
    let a = Peer::start(1, &[]).await;
    let secret = JoinSecret::parse("7KQ-M2X").unwrap();
    let mut join = a.net.join(secret, JoinOptions::default()).await.unwrap();
    let mut last = None;
    while let Some(event) = within("an event", join.events.recv()).await {
        last = Some(event);
    }
    assert_eq!(last, Some(JoinEvent::Failed(JoinFailure::NotFound)));
}
