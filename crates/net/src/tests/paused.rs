//! A device that its user has paused: no link, no invitation, and not a word that
//! is parsed, until it goes on by itself.

use super::*;
use crate::{
    DownReason, InviteEvent, InviteFailure, InviteOptions, JoinOptions, JoinSecret, NetError,
};

/// The code with which a connection was closed.
async fn code_of(conn: &Connection) -> u64 {
    match within("the door", conn.closed()).await {
        iroh::endpoint::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_pause_ends_links_and_nobody_gets_one_until_it_is_over() {
    let (mut a, mut b) = pair_of(1, 2).await;
    let mut invite = a.net.invite(InviteOptions::default()).await.unwrap();
    a.net.pause().await;
    assert_eq!(a.down(2).await, DownReason::PausedHere);
    assert_eq!(b.down(1).await, DownReason::PausedThere);
    let told = within("the end of the invitation", invite.events.recv()).await;
    assert_eq!(told, Some(InviteEvent::Failed(InviteFailure::Closed)));
    let frames = a.net.stats().frames;

    // It is asked again and again, says why, and is neither refused nor revoked.
    b.meet(&a);
    until("an answer that says why", || {
        b.net.dial_now();
        let dialled = b.net.reach()[0].dialled;
        dialled.is_some_and(|(_, outcome)| outcome.is_pause())
    })
    .await;
    let status = &b.net.peers()[0];
    assert!(!status.connected && !status.refused && !status.revoked);
    // Of itself it does nothing, however promising.
    a.net.dial_now();
    a.meet(&b);
    let again = a.net.invite(InviteOptions::default()).await;
    assert_eq!(again.err(), Some(NetError::Paused));
    let secret = JoinSecret::parse("ABC-DEF").unwrap();
    let join = a.net.join(secret, JoinOptions::default()).await;
    assert_eq!(join.err(), Some(NetError::Paused));
    // Whoever is not trusted learns nothing of it.
    let stranger = Raw::start(9, &[SYNC_ALPN]).await;
    let conn = stranger.connect(&a, SYNC_ALPN).await;
    assert_eq!(code_of(&conn).await, 403);
    assert_eq!(a.net.stats().frames, frames, "nothing was parsed");
    assert!(!a.net.peers()[0].connected);

    a.net.resume();
    a.up(2).await;
    b.up(1).await;
    assert!(a.net.invite(InviteOptions::default()).await.is_ok());
}

#[tokio::test]
async fn a_device_that_starts_paused_dials_nobody() {
    let mut b = Peer::start(2, &[1]).await;
    let mut config = config(1, &[2]);
    config.paused = true;
    config.addresses = BTreeMap::from([(device(2), vec![b.addr()])]);
    let mut a = Peer::start_with(config, 1, Timing::default()).await;
    let known = Raw::start(2, &[SYNC_ALPN]).await;
    let conn = known.connect(&a, SYNC_ALPN).await;
    assert_eq!(code_of(&conn).await, 423);
    assert_eq!(a.net.reach()[0].dialled, None);
    a.net.resume();
    a.up(2).await;
    b.up(1).await;
}
