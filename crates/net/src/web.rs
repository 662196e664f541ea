//! A small web server within bounds: one request a connection, for somebody else
//! to answer.
//!
//! Whoever connects gets a few seconds to say what he wants, whatever lies in
//! between: a handshake, dribbled headers, silence. Requests of web pages are
//! refused before anybody looks at them, but for a page of one's own. It touches no
//! file and knows no content: certificate, requests and answers are values.

mod body;
mod gate;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ccpeer_core::limits;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

pub use body::{Upload, UploadError};

use crate::relay::host::{HostError, tls_of};
use body::Once;
use gate::{Gate, Head};

/// After a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a request waits for others to be answered.
const TURN_MAX: Duration = Duration::from_secs(20);

/// What a server is started with.
pub struct WebConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Certificate chain and key in PEM; without them it is plain http.
    pub tls: Option<(String, Zeroizing<String>)>,
    /// For whom it is there.
    pub guests: Guests,
    /// Headers of every answer, beside those that every server gives: names in
    /// lower case, and values.
    pub headers: &'static [(&'static str, &'static str)],
}

/// For whom a server is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guests {
    /// Programs: what a web page asks for is refused.
    Programs,
    /// The page that this server itself gives, in a browser on this machine: `GET`
    /// and `POST`, under the names of loopback, and asked by nobody else's page.
    OwnPage,
}

/// A request whose head has been read. Everything in it is foreign.
pub struct Asked {
    /// The method, as sent.
    pub method: String,
    /// The path, still encoded.
    pub path: String,
    /// What follows the question mark, still encoded.
    pub query: String,
    /// The bearer token.
    pub token: Option<Zeroizing<String>>,
    /// Whether the body is said to be JSON.
    pub is_json: bool,
    /// Who asks,
    pub from: SocketAddr,
    /// and under which address of ours.
    pub to: SocketAddr,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The type of the content.
    pub media: &'static str,
    /// The methods that would be taken, with status 405.
    pub allow: Option<&'static str>,
    /// The content.
    pub body: Vec<u8>,
}

impl Answer {
    /// One of this status.
    #[must_use]
    pub fn new(status: u16, media: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            media,
            allow: None,
            body: body.into(),
        }
    }
}

/// Who answers.
pub trait Answers: Send + Sync + 'static {
    /// The answer to a request. What is left of its body is read no further.
    fn answer(&self, asked: Asked, body: &mut Upload) -> impl Future<Output = Answer> + Send;
    /// The same, where the server itself has to say no.
    fn refusal(&self, status: u16) -> Answer;
}

/// A running server. It ends when it is dropped.
#[derive(Debug)]
pub struct WebServer {
    addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl WebServer {
    /// Starts one.
    ///
    /// # Errors
    /// See [`HostError`].
    pub async fn start<A: Answers>(config: WebConfig, answers: A) -> Result<Self, HostError> {
        let tls = match &config.tls {
            Some((chain, key)) => Some(tls_of(chain, key)?.0),
            None => None,
        };
        let failed = |e: std::io::Error| HostError::Listen {
            addr: config.listen,
            why: e.to_string(),
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let hall = Arc::new(Hall {
            answers,
            addr,
            tls: tls.map(|tls| tokio_rustls::TlsAcceptor::from(Arc::new(tls))),
            gate: Gate::new(config.guests, addr),
            headers: config.headers,
            turns: Semaphore::new(limits::WEB_ANSWERS_MAX),
            unheard: Mutex::default(),
        });
        Ok(Self {
            addr,
            accepting: tokio::spawn(accept(listener, hall)),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What connections share.
struct Hall<A> {
    answers: A,
    addr: SocketAddr,
    tls: Option<tokio_rustls::TlsAcceptor>,
    gate: Gate,
    headers: &'static [(&'static str, &'static str)],
    turns: Semaphore,
    /// Connections that have not said yet what they want, the oldest first; each is
    /// told when it has to give way.
    unheard: Mutex<VecDeque<Arc<Notify>>>,
}

impl<A> Hall<A> {
    fn unheard(&self) -> MutexGuard<'_, VecDeque<Arc<Notify>>> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up a connection; of too many, the one gives way that is silent longest.
    fn enter(&self) -> Arc<Notify> {
        let out = Arc::new(Notify::new());
        let mut unheard = self.unheard();
        unheard.push_back(Arc::clone(&out));
        if unheard.len() > limits::WEB_UNHEARD_MAX
            && let Some(oldest) = unheard.pop_front()
        {
            oldest.notify_one();
        }
        out
    }

    fn heard(&self, which: &Arc<Notify>) {
        self.unheard().retain(|u| !Arc::ptr_eq(u, which));
    }
}

async fn accept<A: Answers>(listener: TcpListener, hall: Arc<Hall<A>>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, from)) => {
                let hall = Arc::clone(&hall);
                connections.spawn(connection(stream, from, hall));
            }
            Err(error) => {
                tracing::warn!(%error, "the web server cannot accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<A: Answers>(stream: TcpStream, from: SocketAddr, hall: Arc<Hall<A>>) {
    let place = hall.enter();
    let heard = Arc::new(Notify::new());
    let serving = async {
        match &hall.tls {
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    serve(stream, from, &hall, &heard).await;
                }
            }
            None => serve(stream, from, &hall, &heard).await,
        }
    };
    let patience = async {
        tokio::select! {
            () = heard.notified() => {}
            () = place.notified() => return,
            () = sleep(Duration::from_millis(limits::WEB_HEAD_MS)) => return,
        }
        hall.heard(&place);
        sleep(Duration::from_millis(limits::WEB_REQUEST_MS)).await;
    };
    tokio::select! {
        () = serving => {}
        () = patience => {}
    }
    hall.heard(&place);
}

async fn serve<A, S>(stream: S, from: SocketAddr, hall: &Arc<Hall<A>>, heard: &Arc<Notify>)
where
    A: Answers,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request: Request<Incoming>| {
        heard.notify_one();
        async move {
            let answer = answer(request, from, hall).await;
            Ok::<_, Infallible>(response(answer, hall.headers))
        }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(limits::WEB_HEAD_BYTES_MAX)
        .max_headers(limits::WEB_HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a request was broken off");
    }
}

async fn answer<A: Answers>(
    request: Request<Incoming>,
    from: SocketAddr,
    hall: &Arc<Hall<A>>,
) -> Answer {
    let (head, body) = request.into_parts();
    let mut body = Upload::new(body);
    let refused = hall.gate.refuses(Head {
        method: &head.method,
        uri: &head.uri,
        headers: &head.headers,
    });
    let answer = match refused {
        Some(check) => {
            tracing::debug!(?check, "a request was refused");
            hall.answers.refusal(StatusCode::FORBIDDEN.as_u16())
        }
        None => match timeout(TURN_MAX, hall.turns.acquire()).await {
            Ok(Ok(_turn)) => {
                let asked = Asked {
                    method: head.method.as_str().to_owned(),
                    path: head.uri.path().to_owned(),
                    query: head.uri.query().unwrap_or_default().to_owned(),
                    token: bearer(&head.headers),
                    is_json: is_json(&head.headers),
                    from,
                    to: hall.addr,
                };
                hall.answers.answer(asked, &mut body).await
            }
            _ => hall
                .answers
                .refusal(StatusCode::SERVICE_UNAVAILABLE.as_u16()),
        },
    };
    // Who is still sending would not read an answer before he is done.
    body.drain().await;
    answer
}

/// The token of the one `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = all.next().filter(|_| all.next().is_none())?;
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| Zeroizing::new(token.trim().to_owned()))
}

/// Whether the one `Content-Type` header says so. A form of another page cannot.
fn is_json(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(header::CONTENT_TYPE).iter();
    let value = all.next().filter(|_| all.next().is_none());
    let media = value.and_then(|v| v.to_str().ok()?.split(';').next());
    media.is_some_and(|m| m.trim().eq_ignore_ascii_case("application/json"))
}

fn response(answer: Answer, more: &[(&'static str, &'static str)]) -> Response<Once> {
    let len = answer.body.len();
    let mut response = Response::new(Once::new(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_TYPE, answer.media);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::CACHE_CONTROL, "no-store");
    if let Some(allow) = answer.allow {
        set(header::ALLOW, allow);
    }
    for &(name, value) in more {
        set(HeaderName::from_static(name), value);
    }
    headers.insert(header::CONTENT_LENGTH, len.into());
    response
}
