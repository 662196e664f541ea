//! The joining side: finds the inviting device, proves that it knows the secret,
//! and waits for the answer.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use iroh::endpoint::{Connection, ConnectionError};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::exchange::{Card, Channel, EXPORTER_LABEL, ExchangeError, Joiner, PairMessage, Refusal};
use super::talk::{Talk, TalkEnd};
use super::{Join, JoinEvent, JoinFailure, JoinOptions, JoinSecret, PeerCard, step_max};
use crate::Shared;
use crate::address::{self, Loopback};
use crate::discovery::Discovery;
use crate::endpoint::PAIR_ALPN;
use crate::error::{NetError, code};
use crate::link::path_of;
use crate::relay::Lent;
use crate::supervisor::{ConnectFault, connect};

const EVENTS_MAX: usize = 8;
/// After the first inviting device is found, others may show up for this long.
const GATHER: Duration = Duration::from_millis(700);

type Candidate = (DeviceId, Vec<SocketAddr>);

/// Starts an attempt to join.
pub(crate) async fn join(
    shared: &Arc<Shared>,
    secret: JoinSecret,
    options: JoinOptions,
) -> Result<Join, NetError> {
    if shared.endpoint.is_closed() {
        return Err(NetError::Closed);
    }
    if shared.board.is_paused() {
        return Err(NetError::Paused);
    }
    let (events, receiver) = mpsc::channel(EVENTS_MAX);
    let task = {
        let shared = Arc::clone(shared);
        async move {
            let run = run(&shared, &secret, options, &events);
            let last = tokio::select! {
                last = run => last,
                () = events.closed() => return,
            };
            let _ = events.send(last).await;
        }
    };
    shared.tasks.spawn(task);
    Ok(Join { events: receiver })
}

async fn run(
    shared: &Shared,
    secret: &JoinSecret,
    options: JoinOptions,
    events: &mpsc::Sender<JoinEvent>,
) -> JoinEvent {
    let _ = events.send(JoinEvent::Searching).await;
    let card = Card::new(&options.name, &options.os);
    let mut lent = None;
    let candidates = match secret {
        JoinSecret::Ticket(ticket) => {
            // They may be the only way there.
            lent = Some(shared.relays.lend(&ticket.relays));
            vec![(ticket.device, ticket.addrs.clone())]
        }
        JoinSecret::Code(_) => find(shared, options.candidates).await,
    };
    let _ = events
        .send(JoinEvent::Found {
            n: candidates.len(),
        })
        .await;
    let mut failure = JoinFailure::NotFound;
    for candidate in candidates {
        match attempt(shared, secret, card.clone(), candidate, events).await {
            Ok((card, addrs)) => {
                let relays = lent.map(Lent::keep).unwrap_or_default();
                shared.relays.tell(&shared.endpoint).await;
                return JoinEvent::Accepted {
                    card,
                    addrs,
                    relays,
                };
            }
            // A person has spoken.
            Err(last @ (JoinFailure::Refused | JoinFailure::Tombstoned)) => {
                return JoinEvent::Failed(last);
            }
            Err(worse) => failure = failure.max(worse),
        }
    }
    JoinEvent::Failed(failure)
}

/// Inviting devices: those that are named first, then those that discovery finds.
async fn find(shared: &Shared, named: Vec<Candidate>) -> Vec<Candidate> {
    let deadline = Instant::now() + shared.timing.pair_find;
    let mut found = named;
    if let Some(discovery) = &shared.discovery {
        discovery.refresh();
        // With names at hand, discovery only adds what it knows already.
        if found.is_empty() && wait_for_one(discovery, deadline).await {
            tokio::time::sleep_until(deadline.min(Instant::now() + GATHER)).await;
        }
        found.extend(discovery.inviting());
    }
    let mut seen = BTreeSet::from([shared.me]);
    found.retain(|(device, addrs)| seen.insert(*device) && !addrs.is_empty());
    found.truncate(limits::PAIR_CANDIDATES_MAX);
    found
}

async fn wait_for_one(discovery: &Discovery, deadline: Instant) -> bool {
    loop {
        let sighted = discovery.sighted();
        tokio::pin!(sighted);
        sighted.as_mut().enable();
        if !discovery.inviting().is_empty() {
            return true;
        }
        if timeout_at(deadline, sighted).await.is_err() {
            return false;
        }
    }
}

async fn attempt(
    shared: &Shared,
    secret: &JoinSecret,
    card: Card,
    (device, addrs): Candidate,
    events: &mpsc::Sender<JoinEvent>,
) -> Result<(PeerCard, Vec<SocketAddr>), JoinFailure> {
    let conn = connect(shared, device, &addrs, PAIR_ALPN)
        .await
        .map_err(|fault| match fault {
            ConnectFault::Unreachable | ConnectFault::WrongKey => JoinFailure::Unreachable,
            ConnectFault::NoProtocol => JoinFailure::NotOpen,
            ConnectFault::Closed(code) => of_code(code),
        })?;
    if shared.board.is_revoked(&device) {
        conn.close(code::REVOKED.into(), b"tombstoned");
        return Err(JoinFailure::Tombstoned);
    }
    let mut exporter = [0u8; 32];
    let exported = conn.export_keying_material(&mut exporter, EXPORTER_LABEL, b"");
    exported.map_err(|_| JoinFailure::Protocol)?;
    let channel = Channel {
        inviter: device,
        joiner: shared.me,
        exporter,
    };
    let conn = Close(conn);
    let ended = |end: TalkEnd| match end {
        TalkEnd::Gone => closed(&conn.0),
        TalkEnd::Silent => JoinFailure::Timeout,
        TalkEnd::Fault => JoinFailure::Protocol,
    };
    let step = step_max(shared);
    let opened = timeout(step, conn.0.open_bi())
        .await
        .map_err(|_| JoinFailure::Timeout)?;
    let (send, recv) = opened.map_err(|_| closed(&conn.0))?;
    let mut talk = Talk { send, recv, step };

    let (joiner, start) = Joiner::start(channel, secret.kind(), &secret.password(), card);
    talk.say(&PairMessage::Start(start)).await.map_err(ended)?;
    let reply = match talk.hear().await.map_err(ended)? {
        PairMessage::Reply(reply) => reply,
        other => return Err(unexpected(&other)),
    };
    let keyed = joiner.reply(&reply).map_err(|error| match error {
        ExchangeError::Version => JoinFailure::Version,
        ExchangeError::Malformed => JoinFailure::Protocol,
    })?;
    talk.say(&PairMessage::Proof(keyed.joiner_proof()))
        .await
        .map_err(ended)?;
    match talk.hear().await.map_err(ended)? {
        PairMessage::Proof(proof) if keyed.accepts_inviter(&proof) => {}
        // Somebody who does not know the secret pretends to have accepted ours.
        PairMessage::Proof(_) => return Err(JoinFailure::WrongCode),
        other => return Err(unexpected(&other)),
    }
    let inviter = reply.card.of(device);
    let _ = events.send(JoinEvent::WaitingForYes(inviter.clone())).await;
    talk.step = shared.timing.pair_answer + step;
    let addrs = match talk.hear().await.map_err(ended)? {
        PairMessage::Accepted(addrs) => addrs,
        other => return Err(unexpected(&other)),
    };
    let addrs = reachable(&conn.0, addrs.into_iter().map(SocketAddr::from).collect());
    for addr in addrs.iter().rev() {
        shared.board.learn(device, *addr);
    }
    let _ = talk.close_with(&PairMessage::Bye).await;
    let _ = timeout(step, talk.send.stopped()).await;
    Ok((inviter, addrs))
}

/// Where the inviting device can be reached: first where it was just now.
fn reachable(conn: &Connection, told: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let here = path_of(conn).addr;
    let same_machine = here.is_some_and(|a| a.ip().is_loopback());
    let loopback = if same_machine {
        Loopback::Allowed
    } else {
        Loopback::Refused
    };
    let mut addrs: Vec<_> = here.into_iter().filter(address::is_dialable).collect();
    for addr in told.into_iter().filter(|a| loopback.admits(a)) {
        if !addrs.contains(&addr) {
            addrs.push(addr);
        }
    }
    addrs.truncate(limits::ADDRESSES_PER_PEER_MAX);
    addrs
}

/// Another message than the one that was due.
fn unexpected(message: &PairMessage) -> JoinFailure {
    match message {
        PairMessage::Refused(Refusal::WrongSecret) => JoinFailure::WrongCode,
        PairMessage::Refused(Refusal::Declined) => JoinFailure::Refused,
        PairMessage::Refused(Refusal::Busy) => JoinFailure::Busy,
        PairMessage::Refused(Refusal::NotOpen) => JoinFailure::NotOpen,
        PairMessage::Refused(Refusal::Version) => JoinFailure::Version,
        _ => JoinFailure::Protocol,
    }
}

/// Nothing more is said on a connection, however the attempt ended.
struct Close(Connection);

impl Drop for Close {
    fn drop(&mut self) {
        self.0.close(code::BYE.into(), b"bye");
    }
}

/// Why the other side closed.
fn closed(conn: &Connection) -> JoinFailure {
    match conn.close_reason() {
        Some(ConnectionError::ApplicationClosed(close)) => {
            of_code(u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX))
        }
        _ => JoinFailure::Timeout,
    }
}

fn of_code(value: u32) -> JoinFailure {
    match value {
        code::NOT_OPEN | code::NOT_TRUSTED => JoinFailure::NotOpen,
        code::REVOKED => JoinFailure::Tombstoned,
        code::FULL => JoinFailure::Busy,
        code::FAULT | code::UNSUPPORTED => JoinFailure::Protocol,
        _ => JoinFailure::Timeout,
    }
}
