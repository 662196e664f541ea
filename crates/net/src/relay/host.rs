//! A relay of one's own: passes on packets between the devices of one user, and
//! between nobody else. Whoever connects proves its key first; then the door asks
//! whether that key is known, or whether it brought the relay's token.
//!
//! Its own accept loop stands before the one of the library, which bounds neither
//! connections nor handshakes. It touches no file: certificate, token and devices
//! arrive as values.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use iroh::EndpointId;
use iroh_relay::KeyCache;
use iroh_relay::http::RELAY_PROBE_PATH;
use iroh_relay::server::http_server::{BytesBody, Handlers, RelayService, RelayServiceWithNotify};
use iroh_relay::server::streams::MaybeTlsStream;
use iroh_relay::server::{
    Access, AccessControl, ClientRateLimit, ClientRequest, ConnectionId, Metrics, QuicConfig,
    Server, ServerConfig,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::tls;
use crate::endpoint::device_of;

/// Public keys that are remembered as well-formed.
const KEY_CACHE: usize = 1024;
/// After a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long clients get to hear of the end.
const SHUTDOWN_MAX: Duration = Duration::from_millis(400);

/// What a relay is started with.
pub struct HostConfig {
    /// Where it listens, over TCP; encrypted, it tells addresses over UDP there too.
    pub listen: SocketAddr,
    /// Certificate chain and key in PEM; without them it is plain http.
    pub tls: Option<(String, Zeroizing<String>)>,
    /// Lets in whoever brings it.
    pub token: Zeroizing<String>,
    /// Bytes a second that are taken from one connection.
    pub rate: NonZeroU32,
}

/// Why a relay cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The address cannot be used.
    #[error("cannot listen on {addr}: {why}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// Why.
        why: String,
    },
    /// The certificate or its key cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Certificate(String),
}

/// Who is let in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admitted {
    /// These, by their proved key.
    pub devices: BTreeSet<DeviceId>,
    /// These never, not even with the token.
    pub revoked: BTreeSet<DeviceId>,
}

/// Numbers of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostStats {
    /// Connections that were let in and stand.
    pub connections: usize,
    /// Attempts that were refused, since the start.
    pub refused: u64,
    /// Connections that were closed unheard, because there were too many.
    pub crowded: u64,
}

/// A running relay. It ends when it is dropped.
pub struct RelayHost {
    addr: SocketAddr,
    pin: Option<[u8; 32]>,
    door: Arc<Door>,
    service: RelayService,
    crowded: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
    /// Tells devices under which address they are seen.
    quic: Option<Server>,
}

/// A certificate that nobody vouches for, for a relay that is known by its pin:
/// certificate and key in PEM.
///
/// # Errors
/// If none can be made.
pub fn make_certificate() -> Result<(String, Zeroizing<String>), HostError> {
    let made = rcgen::generate_simple_self_signed(vec!["ccpeer.invalid".to_owned()])
        .map_err(|e| HostError::Certificate(e.to_string()))?;
    let key = Zeroizing::new(made.signing_key.serialize_pem());
    Ok((made.cert.pem(), key))
}

impl RelayHost {
    /// Starts one that lets in nobody but who brings the token.
    ///
    /// # Errors
    /// See [`HostError`].
    pub async fn start(config: HostConfig) -> Result<Self, HostError> {
        let (tls, pin) = match &config.tls {
            Some((chain, key)) => {
                let (tls, pin) = tls_of(chain, key)?;
                (Some(tls), Some(pin))
            }
            None => (None, None),
        };
        let failed = |why: String| HostError::Listen {
            addr: config.listen,
            why,
        };
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|e| failed(e.to_string()))?;
        let addr = listener.local_addr().map_err(|e| failed(e.to_string()))?;
        let quic = match &tls {
            Some(tls) => Some(address_discovery(addr, tls).await.map_err(failed)?),
            None => None,
        };
        let door = Arc::new(Door::new(&config.token));
        let rate = ClientRateLimit::new(config.rate);
        let service = RelayService::new(
            Handlers::default(),
            HeaderMap::new(),
            Some(rate),
            KeyCache::new(KEY_CACHE),
            Arc::clone(&door) as Arc<_>,
            Arc::new(Metrics::default()),
        );
        let crowded = Arc::new(AtomicU64::new(0));
        let hall = Hall {
            service: service.clone(),
            tls: tls.map(|tls| tokio_rustls::TlsAcceptor::from(Arc::new(tls))),
            places: Arc::new(Semaphore::new(limits::RELAY_HANDSHAKES_MAX.0)),
            waiting: Arc::default(),
            crowded: Arc::clone(&crowded),
        };
        Ok(Self {
            addr,
            pin,
            door,
            service,
            crowded,
            accepting: tokio::spawn(hall.accept(listener)),
            quic,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// By what its certificate is known, if it is encrypted.
    #[must_use]
    pub fn pin(&self) -> Option<[u8; 32]> {
        self.pin
    }

    /// Replaces who is let in; whoever is not any more is closed at once. To be
    /// repeated now and then: it also catches who was just coming in.
    pub fn admit(&self, admitted: Admitted) {
        let out = self.door.admit(admitted);
        for (device, connection) in out {
            tracing::info!(peer = %device_of(&device).short(), "put out of the relay");
            self.service.clients().disconnect(device, Some(connection));
        }
    }

    /// Numbers since the start.
    #[must_use]
    pub fn stats(&self) -> HostStats {
        HostStats {
            connections: self.door.state().clients.len(),
            refused: self.door.refused.load(Ordering::Relaxed),
            crowded: self.crowded.load(Ordering::Relaxed),
        }
    }

    /// Ends it, within half a second.
    pub async fn shutdown(mut self) {
        self.accepting.abort();
        // Waited for, so that the port is free afterwards.
        let _ = (&mut self.accepting).await;
        let quic = self.quic.take();
        let end = async {
            self.service.shutdown().await;
            if let Some(quic) = quic {
                let _ = quic.shutdown().await;
            }
        };
        let _ = timeout(SHUTDOWN_MAX, end).await;
    }
}

impl Drop for RelayHost {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

pub(crate) fn tls_of(
    chain: &str,
    key: &str,
) -> Result<(rustls::ServerConfig, [u8; 32]), HostError> {
    let bad = |e: &dyn std::fmt::Display| HostError::Certificate(e.to_string());
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| bad(&e))?;
    let first = chain.first().ok_or_else(|| bad(&"there is none"))?;
    let pin = tls::pin_of(first);
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| bad(&e))?;
    let config = rustls::ServerConfig::builder_with_provider(iroh::tls::default_provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&e))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| bad(&e))?;
    Ok((config, pin))
}

/// Tells whoever asks under which address it is seen, which is what two devices
/// behind routers need to get through to each other.
async fn address_discovery(addr: SocketAddr, tls: &rustls::ServerConfig) -> Result<Server, String> {
    let mut quic = QuicConfig::new(addr);
    quic.server_config = Some(tls.clone());
    let mut config = ServerConfig::default();
    config.quic = Some(quic);
    Server::spawn(config).await.map_err(|e| format!("{e:#}"))
}

/// Decides who comes in, once it is proved who asks.
#[derive(Debug)]
struct Door {
    /// Compared by hash, so in constant time.
    token: blake3::Hash,
    state: Mutex<Inside>,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Inside {
    admitted: Admitted,
    clients: HashMap<ConnectionId, Client>,
}

#[derive(Debug)]
struct Client {
    device: EndpointId,
    by_token: bool,
}

impl Door {
    fn new(token: &str) -> Self {
        Self {
            token: blake3::hash(token.as_bytes()),
            state: Mutex::default(),
            refused: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, Inside> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns who has to go.
    fn admit(&self, admitted: Admitted) -> Vec<(EndpointId, ConnectionId)> {
        let mut state = self.state();
        state.admitted = admitted;
        let Inside { admitted, clients } = &*state;
        let stays = |client: &Client| {
            let device = device_of(&client.device);
            !admitted.revoked.contains(&device)
                && (client.by_token || admitted.devices.contains(&device))
        };
        let out = clients.iter().filter(|(_, client)| !stays(client));
        out.map(|(id, client)| (client.device, *id)).collect()
    }

    fn enter(&self, request: &ClientRequest) -> Result<(), &'static str> {
        let device = request.endpoint_id();
        let id = device_of(&device);
        let token = request.auth_token().map(Zeroizing::new);
        let by_token = token.is_some_and(|t| blake3::hash(t.as_bytes()) == self.token);
        let mut state = self.state();
        if state.admitted.revoked.contains(&id) {
            return Err("this device was revoked");
        }
        if !by_token && !state.admitted.devices.contains(&id) {
            return Err("not one of this relay's devices");
        }
        let (all, each) = limits::RELAY_CLIENTS_MAX;
        let its = state.clients.values().filter(|c| c.device == device);
        if state.clients.len() >= all || its.count() >= each {
            return Err("too many connections");
        }
        let client = Client { device, by_token };
        state.clients.insert(request.connection_id(), client);
        Ok(())
    }
}

impl AccessControl for Door {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        match self.enter(request) {
            Ok(()) => Access::Allow,
            Err(why) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Access::Deny {
                    reason: Some(why.to_owned()),
                }
            }
        }
    }

    fn on_disconnect(&self, _: EndpointId, connection: ConnectionId) {
        self.state().clients.remove(&connection);
    }
}

/// Where connections wait until they have shown who they are.
struct Hall {
    service: RelayService,
    tls: Option<tokio_rustls::TlsAcceptor>,
    places: Arc<Semaphore>,
    waiting: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    crowded: Arc<AtomicU64>,
}

impl Hall {
    async fn accept(self, listener: TcpListener) {
        let mut pace = Pace::new(Instant::now());
        loop {
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "the relay cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let place = pace
                .may(Instant::now())
                .then(|| Place::take(&self, from.ip().to_canonical()))
                .flatten();
            match place {
                Some(place) => {
                    let (service, tls) = (self.service.clone(), self.tls.clone());
                    tokio::spawn(be_asked(stream, service, tls, place));
                }
                None => {
                    self.crowded.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

/// One connection until the library has taken it over, or its time is up.
async fn be_asked(
    stream: TcpStream,
    service: RelayService,
    tls: Option<tokio_rustls::TlsAcceptor>,
    _place: Place,
) {
    // The library lets a handshake wait for ever. A second handle to the socket
    // ends it from outside.
    let Ok((stream, cord)) = corded(stream) else {
        return;
    };
    let taken_over = Arc::new(Notify::new());
    let done = taken_over.notified();
    tokio::pin!(done);
    done.as_mut().enable();
    let serve = async {
        let stream = match tls {
            Some(tls) => MaybeTlsStream::Tls(tls.accept(stream).await?),
            None => MaybeTlsStream::Plain(stream),
        };
        let notify = Arc::clone(&taken_over);
        let answer = service_fn(move |request| {
            answer(
                request,
                RelayServiceWithNotify::new(service.clone(), Arc::clone(&notify)),
            )
        });
        let served = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        served.with_upgrades().await.map_err(io::Error::other)
    };
    let wait = async {
        // Served to its end, but perhaps only as far as the change of protocol.
        let _ = serve.await;
        done.await;
    };
    let limit = Duration::from_millis(limits::RELAY_HANDSHAKE_MS);
    if timeout(limit, wait).await.is_err() {
        let _ = cord.shutdown(std::net::Shutdown::Both);
    }
}

fn corded(stream: TcpStream) -> io::Result<(TcpStream, std::net::TcpStream)> {
    let stream = stream.into_std()?;
    let cord = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, cord))
}

/// The relay itself, and the question how far away it is. Nothing else is here.
async fn answer(
    request: Request<Incoming>,
    relay: RelayServiceWithNotify,
) -> Result<Response<BytesBody>, Box<dyn std::error::Error + Send + Sync>> {
    if request.method() == Method::GET && request.uri().path() == RELAY_PROBE_PATH {
        let nothing: BytesBody = Box::<String>::default();
        return Ok(Response::new(nothing));
    }
    relay.call(request).await
}

/// A place in the hall, given back when it is dropped.
struct Place {
    _of_all: OwnedSemaphorePermit,
    waiting: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    from: IpAddr,
}

impl Place {
    fn take(hall: &Hall, from: IpAddr) -> Option<Self> {
        let of_all = Arc::clone(&hall.places).try_acquire_owned().ok()?;
        let mut waiting = hall.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let here = waiting.entry(from).or_default();
        if *here >= limits::RELAY_HANDSHAKES_MAX.1 {
            return None;
        }
        *here += 1;
        Some(Self {
            _of_all: of_all,
            waiting: Arc::clone(&hall.waiting),
            from,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = waiting.get_mut(&self.from) {
            *here -= 1;
            if *here == 0 {
                waiting.remove(&self.from);
            }
        }
    }
}

/// So many in one go, then so many a second. Pure: the time is an argument.
struct Pace {
    left: f64,
    at: Instant,
}

impl Pace {
    fn new(at: Instant) -> Self {
        let left = f64::from(limits::RELAY_ACCEPTS.1);
        Self { left, at }
    }

    fn may(&mut self, now: Instant) -> bool {
        let (rate, most) = limits::RELAY_ACCEPTS;
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + since * f64::from(rate)).min(f64::from(most));
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_let_in_at_its_pace() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let (rate, most) = limits::RELAY_ACCEPTS;
        let at_once = (0..1000).filter(|_| pace.may(begin)).count();
        assert_eq!(at_once, most as usize);
        let later = begin + Duration::from_secs(1);
        let then = (0..1000).filter(|_| pace.may(later)).count();
        assert_eq!(then, rate as usize);
    }

    #[test]
    fn certificates_are_made_and_read_back() {
        let (chain, key) = make_certificate().unwrap();
        let (_, pin) = tls_of(&chain, &key).unwrap();
        let (other, _) = make_certificate().unwrap();
        assert!(matches!(
            tls_of(&other, &key),
            Err(HostError::Certificate(_))
        ));
        assert!(matches!(tls_of("", &key), Err(HostError::Certificate(_))));
        assert_eq!(tls_of(&chain, &key).unwrap().1, pin);
    }
}
