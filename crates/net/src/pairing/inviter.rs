//! The inviting side: holds the window open, serves whoever comes, one at a
//! time, and burns the secret at the first wrong proof.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ccpeer_core::limits;
use iroh::endpoint::{Connection, ConnectionError};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::code::{Code, Ticket, WireAddr};
use super::exchange::{
    self, Card, Channel, EXPORTER_LABEL, ExchangeError, PairMessage, Refusal, SecretKind, Start,
};
use super::talk::{Talk, TalkEnd};
use super::{Answerer, Invite, InviteEvent, InviteFailure, InviteOptions, step_max};
use crate::Shared;
use crate::endpoint::{device_of, own_addrs};
use crate::error::{NetError, code};
use crate::link::path_of;

const EVENTS_MAX: usize = 8;
/// How long the last word may take to arrive before the connection is closed.
const LINGER: Duration = Duration::from_secs(2);

/// One invitation.
pub(crate) struct Window {
    number: u64,
    code: Code,
    ticket: Ticket,
    card: Card,
    /// Somebody is being served.
    claimed: AtomicBool,
    /// It was told that somebody broke off.
    broken_off: AtomicBool,
    /// It was told that a revoked device tried to come back.
    tombstoned: AtomicBool,
    events: mpsc::Sender<InviteEvent>,
    answerer: Answerer,
    /// Tells the task that watches the window.
    over: Notify,
}

impl Window {
    fn tell(&self, event: InviteEvent) {
        // Fewer events than places exist.
        let _ = self.events.try_send(event);
    }

    /// Somebody began and will not go on. Told once: more of it must not crowd
    /// out what ends the invitation.
    fn broke_off(&self, from: Option<SocketAddr>) {
        if !self.broken_off.swap(true, Ordering::AcqRel) {
            let from = from.map_or_else(|| "an unknown address".to_owned(), |a| a.to_string());
            self.tell(InviteEvent::BrokenOff { from });
        }
    }
}

/// Opens a window.
pub(crate) async fn invite(
    shared: &Arc<Shared>,
    options: InviteOptions,
) -> Result<Invite, NetError> {
    if shared.endpoint.is_closed() {
        return Err(NetError::Closed);
    }
    if shared.board.is_paused() {
        return Err(NetError::Paused);
    }
    let own = own_addrs(&shared.endpoint, shared.listen);
    let (code, ticket) = (
        Code::draw()?,
        Ticket::draw(shared.me, own, shared.relays.list())?,
    );
    let (events, receiver) = mpsc::channel(EVENTS_MAX);
    let answerer = Answerer::new();
    let expires = shared.timing.pair_window;
    let invite = Invite {
        code: code.to_text(),
        ticket: ticket.to_text(),
        expires_ms: u64::try_from(expires.as_millis()).unwrap_or(u64::MAX),
        events: receiver,
        answerer: answerer.clone(),
    };
    let window = {
        let mut state = shared.pairing.state();
        if let Some(wait) = state.guard.locked_for(Instant::now()) {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            return Err(NetError::PairingLocked { wait_ms });
        }
        state.invitations += 1;
        let window = Arc::new(Window {
            number: state.invitations,
            code,
            ticket,
            card: Card::new(&options.name, &options.os),
            claimed: AtomicBool::new(false),
            broken_off: AtomicBool::new(false),
            tombstoned: AtomicBool::new(false),
            events,
            answerer,
            over: Notify::new(),
        });
        if let Some(old) = state.window.replace(Arc::clone(&window)) {
            old.tell(InviteEvent::Failed(InviteFailure::Closed));
            old.over.notify_one();
        }
        shared.set_pairing_open(true);
        window
    };
    shared
        .tasks
        .spawn(watch(Arc::clone(shared), window, expires));
    Ok(invite)
}

/// Closes the window because the network ends.
pub(crate) fn close(shared: &Shared) {
    let window = shared.pairing.state().window.clone();
    if let Some(window) = window.filter(|w| shared.take_window(w)) {
        window.tell(InviteEvent::Failed(InviteFailure::Closed));
    }
}

/// Closes the window when its time is over or nobody listens to it any more.
async fn watch(shared: Arc<Shared>, window: Arc<Window>, expires: Duration) {
    let event = tokio::select! {
        () = tokio::time::sleep(expires) => InviteEvent::Expired,
        () = window.events.closed() => InviteEvent::Failed(InviteFailure::Closed),
        () = window.over.notified() => return,
    };
    if shared.take_window(&window) {
        window.tell(event);
    }
}

impl Shared {
    /// Closes the window to everybody else, if it is still the current one. From
    /// then on its secrets open nothing.
    fn take_window(&self, window: &Window) -> bool {
        let mut state = self.pairing.state();
        let current = state
            .window
            .as_ref()
            .is_some_and(|w| w.number == window.number);
        if current {
            state.window = None;
            // Under the lock, so that a new window is not closed instead.
            self.set_pairing_open(false);
            window.over.notify_one();
        }
        current
    }

    /// An attempt reached the key exchange and came to nothing. Burns the window
    /// if the proof was wrong or too many attempts failed.
    fn attempt_failed(&self, window: &Window, wrong: Option<SocketAddr>) {
        let locked = self
            .pairing
            .state()
            .guard
            .failed(Instant::now(), self.timing.pair_lock);
        let event = match wrong {
            Some(from) => InviteEvent::WrongCode {
                from: from.to_string(),
            },
            None if locked => InviteEvent::Failed(InviteFailure::TooManyTries),
            None => return,
        };
        if self.take_window(window) {
            window.tell(event);
        }
    }
}

/// Releases a window for the next one who comes.
struct Claim<'a>(&'a Window);

impl<'a> Claim<'a> {
    fn of(window: &'a Window) -> Option<Self> {
        (!window.claimed.swap(true, Ordering::AcqRel)).then_some(Self(window))
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.claimed.store(false, Ordering::Release);
    }
}

/// Serves a stranger whom the gate let through.
pub(crate) async fn serve(shared: &Arc<Shared>, conn: Connection) {
    let close = |code: u32, words: &str| conn.close(code.into(), words.as_bytes());
    let Ok(_place) = Arc::clone(&shared.pairing.strangers).try_acquire_owned() else {
        return close(code::FULL, "busy");
    };
    let window = shared.pairing.state().window.clone();
    let Some(window) = window else {
        return close(code::NOT_OPEN, "no invitation");
    };
    let device = device_of(&conn.remote_id());
    let tell_tombstoned = || {
        if !window.tombstoned.swap(true, Ordering::AcqRel) {
            window.tell(InviteEvent::Tombstoned { device });
        }
    };
    if shared.board.is_revoked(&device) {
        tell_tombstoned();
        return close(code::REVOKED, "tombstoned");
    }
    conn.set_max_concurrent_bi_streams(1u32.into());
    let from = path_of(&conn).addr;
    let ended = talk(shared, &conn, &window).await;
    if ended.is_err() && close_code(&conn) == Some(code::REVOKED) {
        // Whoever was asked to join has revoked us.
        tell_tombstoned();
    } else if ended.is_err() {
        window.broke_off(from);
    }
    match ended {
        Ok(()) => {
            // The other side closes once it has read the last word.
            let _ = timeout(LINGER, conn.closed()).await;
            close(code::BYE, "bye");
        }
        Err(TalkEnd::Silent | TalkEnd::Gone) => close(code::SILENT, "silent"),
        Err(TalkEnd::Fault) => close(code::FAULT, "protocol fault"),
    }
}

/// The code with which the other side closed.
fn close_code(conn: &Connection) -> Option<u32> {
    match conn.close_reason()? {
        ConnectionError::ApplicationClosed(close) => {
            u32::try_from(close.error_code.into_inner()).ok()
        }
        _ => None,
    }
}

async fn talk(shared: &Arc<Shared>, conn: &Connection, window: &Window) -> Result<(), TalkEnd> {
    let step = step_max(shared);
    let from = path_of(conn).addr;
    let begin = async {
        let (send, recv) = conn.accept_bi().await.map_err(|_| TalkEnd::Silent)?;
        let mut talk = Talk { send, recv, step };
        let PairMessage::Start(start) = talk.hear().await? else {
            return Err(TalkEnd::Fault);
        };
        Ok((talk, start))
    };
    let (mut talk, start) = timeout(step, begin).await.unwrap_or(Err(TalkEnd::Silent))?;

    // One at a time: two at once would be two guesses at one secret.
    let Some(claim) = Claim::of(window) else {
        return refuse(&mut talk, Refusal::Busy).await;
    };
    if !may_try(shared, window) {
        return refuse(&mut talk, Refusal::NotOpen).await;
    }
    let mut exporter = [0u8; 32];
    conn.export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
        .map_err(|_| TalkEnd::Fault)?;
    let joiner = device_of(&conn.remote_id());
    let channel = Channel {
        inviter: shared.me,
        joiner,
        exporter,
    };
    let keyed = match key(window, &channel, &start) {
        Err(ExchangeError::Version) => {
            window.broke_off(from);
            return refuse(&mut talk, Refusal::Version).await;
        }
        exchanged => {
            shared
                .links
                .counters
                .pair_attempts
                .fetch_add(1, Ordering::Relaxed);
            exchanged
        }
    };
    // From here on the attempt counts, however it ends.
    let mut counted = Counted {
        shared,
        window,
        settled: false,
    };
    let (keyed, reply) = keyed.map_err(|_| TalkEnd::Fault)?;
    talk.say(&PairMessage::Reply(reply)).await?;
    let PairMessage::Proof(proof) = talk.hear().await? else {
        return Err(TalkEnd::Fault);
    };
    counted.settled = true;
    if !keyed.accepts_joiner(&proof) {
        let from = from.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        shared.attempt_failed(window, Some(from));
        return refuse(&mut talk, Refusal::WrongSecret).await;
    }
    // The secret has done its work and opens nothing any more.
    if !shared.take_window(window) {
        return refuse(&mut talk, Refusal::NotOpen).await;
    }
    talk.say(&PairMessage::Proof(keyed.inviter_proof()))
        .await
        .inspect_err(|_| {
            window.tell(InviteEvent::Failed(InviteFailure::Gone));
        })?;
    drop(claim);
    let answer = window.answerer.ask();
    let card = start.card.of(joiner);
    tracing::info!(peer = %joiner.short(), "a device knows the pairing secret");
    window.tell(InviteEvent::Joined {
        card,
        addr: from,
        by: start.kind,
    });
    let answer = tokio::select! {
        answer = answer => answer.map_err(|_| InviteFailure::Closed),
        _ = conn.closed() => Err(InviteFailure::Gone),
        () = window.events.closed() => Err(InviteFailure::Closed),
        () = tokio::time::sleep(shared.timing.pair_answer) => Err(InviteFailure::Unanswered),
    };
    match answer {
        Ok(true) => accept(shared, &mut talk, window, channel, from).await,
        Ok(false) => {
            window.tell(InviteEvent::Failed(InviteFailure::Declined));
            refuse(&mut talk, Refusal::Declined).await
        }
        Err(failure) => {
            window.tell(InviteEvent::Failed(failure));
            refuse(&mut talk, Refusal::Declined).await
        }
    }
}

async fn refuse(talk: &mut Talk, why: Refusal) -> Result<(), TalkEnd> {
    talk.close_with(&PairMessage::Refused(why)).await
}

fn may_try(shared: &Shared, window: &Window) -> bool {
    let state = shared.pairing.state();
    let current = state
        .window
        .as_ref()
        .is_some_and(|w| w.number == window.number);
    current && state.guard.may_try(Instant::now())
}

fn key(
    window: &Window,
    channel: &Channel,
    start: &Start,
) -> Result<(exchange::Keyed, exchange::Reply), ExchangeError> {
    let password = match start.kind {
        SecretKind::Code => window.code.password(),
        SecretKind::Ticket => window.ticket.password(),
    };
    exchange::invite(channel, &password, window.card.clone(), start)
}

/// Counts an attempt that ends between the key exchange and the proof.
struct Counted<'a> {
    shared: &'a Shared,
    window: &'a Window,
    settled: bool,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.shared.attempt_failed(self.window, None);
        }
    }
}

/// The answer was yes, and the trust is durable here.
async fn accept(
    shared: &Arc<Shared>,
    talk: &mut Talk,
    window: &Window,
    channel: Channel,
    from: Option<SocketAddr>,
) -> Result<(), TalkEnd> {
    shared.pairing.state().guard.succeeded();
    if let Some(addr) = from {
        shared.board.learn(channel.joiner, addr);
    }
    let mut own = own_addrs(&shared.endpoint, shared.listen);
    own.truncate(limits::ADDRESSES_PER_PEER_MAX);
    let own = own.into_iter().map(WireAddr::from).collect();
    let told = talk.close_with(&PairMessage::Accepted(own)).await;
    // Its good-bye says that it has read this. Without it nothing is lost: we
    // trust, and the other side may ask again.
    if told.is_ok() {
        let _ = talk.hear().await;
    }
    window.tell(InviteEvent::Done);
    Ok(())
}

/// Whether nobody is being served: for tests.
#[cfg(test)]
pub(crate) fn is_free(shared: &Shared) -> bool {
    let window = shared.pairing.state().window.clone();
    window.is_none_or(|w| !w.claimed.load(Ordering::Acquire))
}

/// The first message of a joining side that knows some code: for tests.
#[cfg(test)]
pub(crate) fn sample_start() -> Vec<u8> {
    let device = |n| ccpeer_core::id::DeviceId([n; 32]);
    let channel = Channel {
        inviter: device(1),
        joiner: device(2),
        exporter: [0; 32],
    };
    let card = Card::new("x", "linux");
    let (_, start) = exchange::Joiner::start(channel, SecretKind::Code, b"7KQM2X", card);
    PairMessage::Start(start).to_bytes()
}
