//! How two devices come to trust each other: a code of thirty random bits that a
//! person carries from one screen to the other, or a ticket of 128 bits.
//!
//! The inviting side shows the secret and waits; the joining side dials it. Both
//! run SPAKE2 over the secret, bound to the ids that TLS has proved and to the
//! TLS session itself, so that somebody in the middle has exactly one guess. The
//! joining side proves first. A wrong proof burns the secret at once. Then the
//! person at the inviting side is asked; only after that answer does anybody
//! trust anybody. Nothing here decides or stores trust: the driver does.
//!
//! `code` is the secret as text, `exchange` the cryptography (no I/O), `guard`
//! the bound on attempts (no I/O), `inviter` and `joiner` the two sides.

mod code;
mod exchange;
mod guard;
pub(crate) mod inviter;
pub(crate) mod joiner;
mod talk;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use tokio::sync::{Semaphore, mpsc, oneshot};
use zeroize::Zeroizing;

pub use code::{JoinSecret, SecretError};
pub(crate) use code::{from_base32, to_base32};
pub use exchange::SecretKind;

use crate::Shared;
use crate::relay::Relay;
use exchange::PairMessage;
use guard::Guard;
use inviter::Window;

/// How to invite.
#[derive(Debug, Clone, Default)]
pub struct InviteOptions {
    /// What we call ourselves; a suggestion to the other side.
    pub name: String,
    /// Our operating system.
    pub os: String,
}

/// How to join.
#[derive(Debug, Clone, Default)]
pub struct JoinOptions {
    /// What we call ourselves; a suggestion to the other side.
    pub name: String,
    /// Our operating system.
    pub os: String,
    /// With a code: inviting devices that are known besides those that discovery
    /// finds. They are tried first.
    pub candidates: Vec<(DeviceId, Vec<SocketAddr>)>,
}

/// The other side of a pairing: its proved id, and what it says of itself,
/// stripped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCard {
    /// Who, as proved by its key.
    pub device: DeviceId,
    /// What it calls itself.
    pub name: String,
    /// Its operating system.
    pub os: String,
}

/// An open invitation. It ends when its events are dropped.
pub struct Invite {
    /// The short code, `XXX-XXX`, for people. Never log it.
    pub code: Zeroizing<String>,
    /// The long ticket, which needs no discovery. Never log it.
    pub ticket: Zeroizing<String>,
    /// Milliseconds for which it stands.
    pub expires_ms: u64,
    /// What happens.
    pub events: mpsc::Receiver<InviteEvent>,
    /// Answers the question that [`InviteEvent::Joined`] asks.
    pub answerer: Answerer,
}

impl Invite {
    /// See [`Answerer::answer`].
    pub fn answer(&self, yes: bool) {
        self.answerer.answer(yes);
    }
}

impl std::fmt::Debug for Invite {
    /// Never the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invite")
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

/// Gives the last word on an invitation.
#[derive(Debug, Clone)]
pub struct Answerer(Arc<Mutex<Option<oneshot::Sender<bool>>>>);

impl Answerer {
    fn new() -> Self {
        Self(Arc::default())
    }

    /// The answer to [`InviteEvent::Joined`]. Say yes only after the trust is
    /// durable here: the other side acts on it at once. Without a question,
    /// nothing happens.
    pub fn answer(&self, yes: bool) {
        if let Some(asked) = self.slot().take() {
            let _ = asked.send(yes);
        }
    }

    fn ask(&self) -> oneshot::Receiver<bool> {
        let (answer, receiver) = oneshot::channel();
        *self.slot() = Some(answer);
        receiver
    }

    fn slot(&self) -> MutexGuard<'_, Option<oneshot::Sender<bool>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What happens to an invitation. After `Done`, `Failed`, `Expired` and
/// `WrongCode` it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InviteEvent {
    /// Somebody tried a wrong secret; it is burned.
    WrongCode {
        /// From where.
        from: String,
    },
    /// A device that was revoked tried to come back, and was sent away. Told once;
    /// the invitation stands.
    Tombstoned {
        /// Which, as proved by its key.
        device: DeviceId,
    },
    /// Somebody knew the secret and waits for the answer.
    Joined {
        /// Who.
        card: PeerCard,
        /// From where.
        addr: Option<SocketAddr>,
        /// Which secret it knew. Only the ticket is strong enough for an answer
        /// that no person gives.
        by: SecretKind,
    },
    /// Somebody began to join and broke off, or spoke nonsense. The invitation
    /// stands; told once for each.
    BrokenOff {
        /// From where.
        from: String,
    },
    /// The answer was yes and has been told.
    Done,
    /// It came to nothing.
    Failed(InviteFailure),
    /// Nobody came in time.
    Expired,
}

/// Why an invitation came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InviteFailure {
    /// The answer was no.
    #[error("declined")]
    Declined,
    /// The other side went away while the answer was awaited.
    #[error("the other device went away")]
    Gone,
    /// The answer took too long.
    #[error("the question was not answered in time")]
    Unanswered,
    /// Too many attempts came to nothing.
    #[error("too many failed attempts")]
    TooManyTries,
    /// A newer invitation took its place, or we are shutting down.
    #[error("the invitation was closed")]
    Closed,
}

/// An attempt to join. Dropping it gives it up.
#[derive(Debug)]
pub struct Join {
    /// What happens.
    pub events: mpsc::Receiver<JoinEvent>,
}

/// What happens to an attempt to join. After `Accepted` and `Failed` it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinEvent {
    /// Looking for inviting devices.
    Searching,
    /// So many were found.
    Found {
        /// How many will be tried.
        n: usize,
    },
    /// The secret was right; the person at the other device is asked.
    WaitingForYes(PeerCard),
    /// The other side trusts us. Trust it now, durably.
    Accepted {
        /// Who.
        card: PeerCard,
        /// Where it can be reached.
        addrs: Vec<SocketAddr>,
        /// Relays that came with the ticket and are used from now on: to be kept.
        relays: Vec<Relay>,
    },
    /// It came to nothing.
    Failed(JoinFailure),
}

/// Why joining came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum JoinFailure {
    /// No inviting device was found.
    #[error("no inviting device was found")]
    NotFound,
    /// It does not answer under any address.
    #[error("the inviting device cannot be reached")]
    Unreachable,
    /// It answers, but no invitation stands there (any more).
    #[error("no invitation stands there")]
    NotOpen,
    /// It is busy with another joining device.
    #[error("the inviting device is busy with another one")]
    Busy,
    /// It took too long, or the connection was lost.
    #[error("the inviting device did not answer in time")]
    Timeout,
    /// It speaks no version of pairing that we speak.
    #[error("the inviting device speaks another version")]
    Version,
    /// It broke the protocol.
    #[error("the inviting device broke the protocol")]
    Protocol,
    /// The secret is wrong, or somebody stands in the middle. It is burned.
    #[error("wrong code")]
    WrongCode,
    /// The person at the other device said no.
    #[error("the other device declined")]
    Refused,
    /// One of the two was revoked by the other, or by a member for it: its key is
    /// out for good.
    #[error("tombstoned: this key was revoked and does not come back")]
    Tombstoned,
}

/// What the inviting side keeps between invitations.
pub(crate) struct Pairing {
    state: Mutex<PairState>,
    /// Bounds the strangers that are connected at once.
    strangers: Arc<Semaphore>,
    /// Whether an invitation stands. Read by the gate.
    pub(crate) open: Arc<AtomicBool>,
}

#[derive(Default)]
struct PairState {
    guard: Guard,
    window: Option<Arc<Window>>,
    invitations: u64,
}

impl Pairing {
    pub(crate) fn new(open: Arc<AtomicBool>) -> Self {
        let strangers = Arc::new(Semaphore::new(limits::PAIR_CONNECTIONS_MAX));
        Self {
            state: Mutex::default(),
            strangers,
            open,
        }
    }

    fn state(&self) -> MutexGuard<'_, PairState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Opens or closes the pairing protocol everywhere: gate, endpoint and
    /// announcement.
    fn set_pairing_open(&self, open: bool) {
        self.pairing.open.store(open, Ordering::Release);
        let mut alpns = vec![crate::SYNC_ALPN.to_vec()];
        if open {
            alpns.push(crate::PAIR_ALPN.to_vec());
        }
        self.endpoint.set_alpns(alpns);
        if let Some(discovery) = &self.discovery {
            discovery.set_pairing(open);
        }
    }
}

/// Takes in a message of the exchange as whoever waits for it would, up to the
/// key, and gives it back as we would have written it.
pub(crate) fn heard(bytes: &[u8]) -> Option<Vec<u8>> {
    let message = PairMessage::from_bytes(bytes).ok()?;
    let (us, them) = (DeviceId([1; 32]), DeviceId([2; 32]));
    let channel = exchange::Channel {
        inviter: us,
        joiner: them,
        exporter: [0; 32],
    };
    let card = || exchange::Card::new("us", "linux");
    match &message {
        PairMessage::Start(start) => {
            let _ = start.card.of(them);
            let _ = exchange::invite(&channel, b"000000", card(), start);
        }
        PairMessage::Reply(reply) => {
            let _ = reply.card.of(us);
            let start = exchange::Joiner::start(channel, SecretKind::Code, b"000000", card());
            let _ = start.0.reply(reply);
        }
        PairMessage::Proof(_)
        | PairMessage::Accepted(_)
        | PairMessage::Refused(_)
        | PairMessage::Bye => {}
    }
    Some(message.to_bytes())
}

/// How long either side may take for a single step that needs no person.
fn step_max(shared: &Shared) -> Duration {
    shared.timing.hello
}
