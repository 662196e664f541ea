//! One live connection to one trusted peer: the hello, the control stream in
//! both directions, the heartbeat, and the streams on which chunks are served.
//!
//! A link ends for one reason, and everything it was doing ends with it. What a
//! peer sends can end its own link and nothing else.

mod hello;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use ccpeer_core::sync::event::Received;
use ccpeer_core::wire::{Hello, Message};
use iroh::TransportAddr;
use iroh::endpoint::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::io::AsyncRead;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::chunks::{Parcel, ReceivedParcel, Server};
use crate::error::{DownReason, LinkFault};
use crate::frame::{self, FrameEnd, WriteEnd};
use crate::timing::Timing;
use crate::{Counters, NetEvent, PathKind};

pub(crate) use hello::{be_greeted, greet, say_hello, shown};

/// Which of the two opened the connection. It decides which of two links that
/// crossed is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialler {
    Us,
    Them,
}

/// A link, as everybody but its own task sees it.
#[derive(Debug)]
pub(crate) struct Link {
    /// Distinguishes links to the same peer.
    pub(crate) number: u64,
    pub(crate) device: DeviceId,
    pub(crate) hello: Hello,
    pub(crate) dialler: Dialler,
    pub(crate) since: Instant,
    pub(crate) conn: Connection,
    outbox: mpsc::Sender<Message>,
    /// The first reason given for the end.
    ending: Mutex<Option<DownReason>>,
    /// True once the driver has been told of the end.
    over: watch::Sender<bool>,
    /// What the peer sent before it was asked.
    pub(crate) parcel: ReceivedParcel,
    /// Asks for a ping now.
    probe: Notify,
    /// Milliseconds after `since` at which the peer was last heard.
    heard_ms: AtomicU64,
    /// The same for the last that either side said for its own sake, which a ping
    /// and its answer are not.
    busy_ms: AtomicU64,
    /// Datagrams that had come when a look was taken last.
    datagrams: AtomicU64,
    /// Round trip of the last ping in microseconds; 0 before the first.
    rtt_us: AtomicU64,
}

/// What the task of a link needs that others do not.
#[derive(Debug)]
pub(crate) struct LinkEnds {
    outbox: mpsc::Receiver<Message>,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
}

/// What a new link is made of.
pub(crate) struct Greeted {
    pub(crate) conn: Connection,
    pub(crate) hello: Hello,
    pub(crate) dialler: Dialler,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
}

impl Link {
    pub(crate) fn new(number: u64, device: DeviceId, greeted: Greeted) -> (Arc<Self>, LinkEnds) {
        let (outbox, taken) = mpsc::channel(limits::LINK_OUTBOX_MAX);
        let Greeted {
            conn,
            hello,
            dialler,
            send,
            recv,
        } = greeted;
        let link = Self {
            number,
            device,
            hello: shown(hello),
            dialler,
            since: Instant::now(),
            conn,
            outbox,
            ending: Mutex::new(None),
            over: watch::Sender::new(false),
            parcel: ReceivedParcel::default(),
            probe: Notify::new(),
            heard_ms: AtomicU64::new(0),
            busy_ms: AtomicU64::new(0),
            datagrams: AtomicU64::new(0),
            rtt_us: AtomicU64::new(0),
        };
        (
            Arc::new(link),
            LinkEnds {
                outbox: taken,
                send,
                recv,
            },
        )
    }

    /// Queues a message. A peer that lets the queue overflow loses its link.
    pub(crate) fn send(&self, message: Message) -> bool {
        self.passed(&message);
        match self.outbox.try_send(message) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.close(DownReason::TooSlow);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Queues a message as soon as there is room.
    pub(crate) async fn send_paced(&self, message: Message) -> bool {
        self.passed(&message);
        tokio::select! {
            sent = self.outbox.send(message) => sent.is_ok(),
            _ = self.conn.closed() => false,
        }
    }

    /// Ends the link. The first reason counts.
    pub(crate) fn close(&self, reason: DownReason) {
        self.ending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(reason);
        let (code, words) = reason.to_close();
        self.conn.close(code.into(), words.as_bytes());
    }

    /// Asks the peer for a sign of life now instead of at the next heartbeat.
    pub(crate) fn probe(&self) {
        self.probe.notify_one();
    }

    /// Waits until the driver has been told of the end.
    pub(crate) async fn over(&self) {
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// The driver has been told.
    pub(crate) fn set_over(&self) {
        self.over.send_replace(true);
    }

    /// The peer gave a sign of life.
    pub(crate) fn heard(&self) {
        self.heard_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    pub(crate) fn heard_at(&self) -> Instant {
        self.since + Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))
    }

    /// Whether the transport has got anything from the peer since this was asked last.
    fn has_received(&self) -> bool {
        let come = self.conn.stats().udp_rx.datagrams;
        self.datagrams.swap(come, Ordering::Relaxed) != come
    }

    /// Content passes, in either direction.
    fn busy(&self) {
        self.busy_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// A message passes, in either direction.
    fn passed(&self, message: &Message) {
        match message {
            Message::Ping(_) | Message::Pong(_) | Message::Have(_) | Message::Hello(_) => {}
            Message::Entries(_)
            | Message::Parcel(_)
            | Message::Complete(_)
            | Message::Digests(_)
            | Message::Unlike(_) => self.busy(),
        }
    }

    /// Whether nothing but signs of life and frontiers has passed for a while.
    fn is_quiet(&self, timing: &Timing) -> bool {
        let busy_at = Duration::from_millis(self.busy_ms.load(Ordering::Relaxed));
        self.since.elapsed().saturating_sub(busy_at) >= timing.quiet.0
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How the peer is reached now, and how long a round trip takes.
    pub(crate) fn path(&self) -> Path {
        let mut path = path_of(&self.conn);
        let measured = self.rtt_us.load(Ordering::Relaxed);
        if measured > 0 {
            path.rtt = Some(Duration::from_micros(measured));
        }
        path
    }

    /// Why the link ended, when it did.
    fn end(&self) -> DownReason {
        let ours = *self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        ours.unwrap_or_else(|| match self.conn.close_reason() {
            Some(ConnectionError::ApplicationClosed(close)) => {
                DownReason::from_code(close.error_code.into_inner())
            }
            Some(ConnectionError::TimedOut) => DownReason::Silent,
            _ => DownReason::Lost,
        })
    }
}

/// How a peer is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    pub(crate) kind: PathKind,
    pub(crate) addr: Option<std::net::SocketAddr>,
    pub(crate) rtt: Option<Duration>,
}

pub(crate) fn path_of(conn: &Connection) -> Path {
    let paths = conn.paths();
    let chosen = paths
        .iter()
        .find(iroh::endpoint::Path::is_selected)
        .or_else(|| paths.iter().next());
    let Some(path) = chosen else {
        return Path {
            kind: PathKind::Direct,
            addr: None,
            rtt: None,
        };
    };
    let (kind, addr) = match path.remote_addr() {
        TransportAddr::Ip(addr) => (PathKind::Direct, Some(*addr)),
        _ => (PathKind::Relay, None),
    };
    Path {
        kind,
        addr,
        rtt: Some(path.rtt()),
    }
}

/// What every link shares.
#[derive(Clone)]
pub(crate) struct LinkContext {
    pub(crate) events: mpsc::Sender<NetEvent>,
    pub(crate) source: Arc<dyn crate::ChunkSource>,
    pub(crate) timing: Timing,
    pub(crate) counters: Arc<Counters>,
}

/// Runs the link until it ends. The caller tells the driver of its begin and its
/// end.
pub(crate) async fn run(link: &Arc<Link>, ends: LinkEnds, context: &LinkContext) -> DownReason {
    let LinkEnds { outbox, send, recv } = ends;
    let reason = tokio::select! {
        reason = listen(link, recv, context) => reason,
        reason = write(link, outbox, send, &context.timing) => reason,
        reason = beat(link, &context.timing) => reason,
        reason = serve(link, context) => reason,
        _ = link.conn.closed() => None,
    };
    // What ended first is often only the consequence of a closed connection;
    // then the connection knows why.
    if let Some(reason) = reason {
        link.close(reason);
    }
    let reason = link.end();
    link.close(reason);
    reason
}

/// Takes in what the peer says, until it ends or breaks the protocol.
pub(crate) async fn listen<R: AsyncRead + Unpin>(
    link: &Link,
    recv: R,
    context: &LinkContext,
) -> Option<DownReason> {
    let (inbox, arrived) = mpsc::channel(limits::LINK_INBOX_MAX);
    tokio::select! {
        reason = read(link, recv, inbox, context) => reason,
        reason = deliver(link, arrived, context) => reason,
    }
}

/// The same, but everything that came is delivered before the end is told: for
/// tests that give a link its bytes.
#[cfg(test)]
pub(crate) async fn listen_to_end<R: AsyncRead + Unpin>(
    link: &Link,
    recv: R,
    context: &LinkContext,
) -> Option<DownReason> {
    let (inbox, arrived) = mpsc::channel(limits::LINK_INBOX_MAX);
    let (read, delivered) = tokio::join!(
        read(link, recv, inbox, context),
        deliver(link, arrived, context)
    );
    read.or(delivered)
}

async fn read<R: AsyncRead + Unpin>(
    link: &Link,
    mut recv: R,
    inbox: mpsc::Sender<Message>,
    context: &LinkContext,
) -> Option<DownReason> {
    let progress = context.timing.progress;
    loop {
        let limit = limits::MESSAGE_BYTES_MAX;
        let bytes = match frame::read_frame(&mut recv, limit, None, progress).await {
            Ok(bytes) => bytes,
            // The control stream lives as long as the link.
            Err(FrameEnd::Over) => return None,
            Err(FrameEnd::Fault(fault)) => return Some(DownReason::Fault(fault)),
        };
        context.counters.frames.fetch_add(1, Ordering::Relaxed);
        link.heard();
        match Message::from_bytes(&bytes) {
            Err(error) => return Some(DownReason::Fault(LinkFault::Message(error))),
            Ok(Message::Hello(_)) => return Some(DownReason::Fault(LinkFault::OutOfPlace)),
            Ok(Message::Ping(n)) => {
                link.send(Message::Pong(n));
            }
            Ok(Message::Pong(sent_us)) => pong(link, sent_us),
            Ok(message) => {
                link.passed(&message);
                inbox.send(message).await.ok()?;
            }
        }
    }
}

/// A ping carries the time at which it was sent, in microseconds of this link.
fn pong(link: &Link, sent_us: u64) {
    let now_us = u64::try_from(link.since.elapsed().as_micros()).unwrap_or(u64::MAX);
    if let Some(rtt) = now_us.checked_sub(sent_us) {
        link.rtt_us.store(rtt.max(1), Ordering::Relaxed);
    }
}

/// Verifies what came and hands it to the driver, in order.
async fn deliver(
    link: &Link,
    mut arrived: mpsc::Receiver<Message>,
    context: &LinkContext,
) -> Option<DownReason> {
    while let Some(message) = arrived.recv().await {
        let received = match message {
            Message::Have(pairs) => {
                // One spelling only: ascending, each log once.
                if !pairs.is_sorted_by(|a, b| a.log < b.log) {
                    return Some(DownReason::Fault(LinkFault::OutOfPlace));
                }
                Received::Have(pairs)
            }
            Message::Complete(ids) => Received::Complete(ids),
            Message::Digests(digests) => Received::Digests(digests),
            Message::Unlike(parts) => Received::Unlike(parts),
            Message::Entries(entries) => {
                // Some ten milliseconds of arithmetic for a full message.
                let verified = tokio::task::spawn_blocking(move || {
                    entries
                        .into_iter()
                        .map(|e| e.verify())
                        .collect::<Result<Vec<_>, _>>()
                });
                match verified.await {
                    Ok(Ok(entries)) => Received::Entries(entries),
                    Ok(Err(error)) => return Some(DownReason::Fault(LinkFault::Entry(error))),
                    Err(_) => return Some(DownReason::Internal),
                }
            }
            Message::Parcel(bytes) => {
                // In order: it comes before the entry that makes us ask for it.
                let (source, timing) = (&context.source, &context.timing);
                match Parcel::open(link.device, &bytes, source, timing).await {
                    Ok(parcel) => link.parcel.put(parcel.unwrap_or_default()),
                    Err(fault) => return Some(DownReason::Fault(fault)),
                }
                continue;
            }
            Message::Hello(_) | Message::Ping(_) | Message::Pong(_) => continue,
        };
        let event = NetEvent::Received {
            device: link.device,
            received,
        };
        context.events.send(event).await.ok()?;
    }
    None
}

async fn write(
    link: &Link,
    mut outbox: mpsc::Receiver<Message>,
    mut send: SendStream,
    timing: &Timing,
) -> Option<DownReason> {
    const TOGETHER_MAX: usize = 16;
    let mut messages = Vec::with_capacity(TOGETHER_MAX);
    let mut bytes = Vec::new();
    loop {
        if outbox.recv_many(&mut messages, TOGETHER_MAX).await == 0 {
            return None;
        }
        bytes.clear();
        for message in messages.drain(..) {
            frame::put_frame(&mut bytes, &message.to_bytes(), limits::MESSAGE_BYTES_MAX);
        }
        match frame::write_all(&mut send, &bytes, timing.progress).await {
            Ok(()) => {}
            Err(WriteEnd::Stuck) => return Some(DownReason::TooSlow),
            Err(WriteEnd::Over) => {
                // The peer stopped only this stream, or everything.
                return link
                    .conn
                    .close_reason()
                    .is_none()
                    .then_some(DownReason::Lost);
            }
        }
    }
}

/// Pings a peer of which nothing was heard for a while, and ends a link on which
/// nothing is heard afterwards. The transport alone would notice a change of
/// address only after a minute.
///
/// A ping is a sign of life for the other side as well, so one of the two is
/// enough: the side that was dialled waits longer, and pings only if the other
/// one does not. Where nothing passes, nobody is asked as long as the transport
/// hears of the other side: it keeps its path alive with a datagram every five
/// seconds and its answer, whatever we say, and both come from the other agent.
async fn beat(link: &Link, timing: &Timing) -> Option<DownReason> {
    let turn = match link.dialler {
        Dialler::Us => Duration::ZERO,
        Dialler::Them => timing.silence / 2,
    };
    loop {
        loop {
            let patience = match link.is_quiet(timing) {
                true => timing.quiet.1,
                false => timing.heartbeat,
            };
            let due = link.heard_at() + patience + turn;
            if due <= Instant::now() {
                if link.is_quiet(timing) && link.has_received() {
                    link.heard();
                    continue;
                }
                break;
            }
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = link.probe.notified() => break,
            }
        }
        let asked = Instant::now();
        let sent_us = u64::try_from((asked - link.since).as_micros()).unwrap_or(u64::MAX);
        link.send(Message::Ping(sent_us));
        tokio::time::sleep(timing.silence).await;
        // Whole milliseconds are kept: allow for the one that was cut off.
        if link.heard_at() + Duration::from_millis(1) < asked {
            return Some(DownReason::Silent);
        }
    }
}

async fn serve(link: &Link, context: &LinkContext) -> Option<DownReason> {
    let served = Arc::clone(&context.counters.chunks_served);
    let source = Arc::clone(&context.source);
    let server = Arc::new(Server::new(link.device, source, context.timing, served));
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            // The transport bounds how many can be open.
            accepted = link.conn.accept_bi() => {
                let (send, recv) = accepted.ok()?;
                let server = Arc::clone(&server);
                streams.spawn(async move { server.serve(send, recv).await });
            }
            Some(done) = streams.join_next() => {
                link.heard();
                link.busy();
                if let Ok(Err(reason)) = done {
                    return Some(reason);
                }
            }
        }
    }
}
