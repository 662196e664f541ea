//! Two machines with a copy of the same key.

use super::*;
use crate::link;

async fn greeted(
    raw: &Raw,
    own: &Hello,
    to: &Peer,
) -> Option<(Connection, SendStream, RecvStream)> {
    let conn = raw.connect(to, SYNC_ALPN).await;
    let (_, send, recv) = link::greet(&conn, own, &Timing::default()).await.ok()?;
    Some((conn, send, recv))
}

#[tokio::test]
async fn k_d05_a_second_machine_under_one_key_is_told_and_does_not_flap() {
    let mut a = Peer::start(1, &[66]).await;
    let (one, other) = (Raw::start(66, &[]).await, Raw::start(66, &[]).await);
    let (first, second) = (hello(66), hello(66));
    let cloned = |e| matches!(e, NetEvent::Cloned { device: d } if d == device(66)).then_some(());

    let first_link = greeted(&one, &first, &a).await.unwrap();
    a.up(66).await;
    // For all that can be known, it was restarted.
    let (conn, send, recv) = greeted(&other, &second, &a).await.unwrap();
    let _pings = answer_pings(send, recv);
    within("the end of the first link", first_link.0.closed()).await;
    a.up(66).await;
    // It was not: here it is again. The other one stays.
    for n in 0..5 {
        assert!(greeted(&one, &first, &a).await.is_none());
        if n == 0 {
            a.event("word of the clone", cloned).await;
        }
    }
    assert_eq!(conn.close_reason(), None);
    assert!(a.net.peers()[0].connected);
    // When the other one goes, the first may come; and is not told of again.
    conn.close(0u32.into(), b"");
    a.down(66).await;
    let (conn, ..) = greeted(&one, &first, &a).await.unwrap();
    a.up(66).await;
    conn.close(0u32.into(), b"");
    within("the end", async {
        loop {
            match a.events.recv().await.unwrap() {
                NetEvent::Cloned { .. } => panic!("told twice"),
                NetEvent::Down { .. } => return,
                _ => {}
            }
        }
    })
    .await;
}

/// Both are honest and both dial.
#[tokio::test]
async fn two_honest_machines_under_one_key_settle() {
    let mut a = Peer::start(1, &[2]).await;
    let mut twins = Vec::new();
    for _ in 0..2 {
        let twin = Peer::start(2, &[1]).await;
        twin.meet(&a);
        a.up(2).await;
        twins.push(twin);
    }
    let mut ups = 0;
    a.event("word of the clone", |e| {
        ups += usize::from(matches!(e, NetEvent::Up { .. }));
        matches!(e, NetEvent::Cloned { .. }).then_some(())
    })
    .await;
    assert!(ups <= 1, "{ups} more links");
    // From then on the link that stands is the one that stays.
    let link = a.net.0.board.link(&device(2)).unwrap().number;
    for twin in &twins {
        twin.net.dial_now();
    }
    assert!(a.net.send(device(2), marked(1)));
    let [x, y] = &mut twins[..] else { panic!() };
    within("a message at either", async {
        tokio::select! {
            _ = x.received(1) => {}
            _ = y.received(1) => {}
        }
    })
    .await;
    assert_eq!(a.net.0.board.link(&device(2)).unwrap().number, link);
}
