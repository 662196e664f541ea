//! `serve`: runs the server for as long as its command does, and looks after the
//! tokens of its clients.

use std::net::SocketAddr;
use std::sync::Arc;

use ccpeer_core::{limits, text};
use ccpeer_net::relay::host::HostError;
use ccpeer_net::web::{Guests, WebConfig, WebServer};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::done;
use crate::api::{ApiError, ErrorCode, Json, Serve, ServeEvent, ServeToken};
use crate::driver::{Handle, wall};
use crate::pool::blocking;
use crate::serve::Desk;
use crate::serve::tokens::{self, Token, TokenError};
use crate::server::{Out, to_json};
use crate::{problem, view};

/// Events that wait for a slow reader; more are dropped.
const EVENTS_MAX: usize = 256;

pub(super) async fn serve(handle: &Handle, out: &Out, what: Serve) -> Result<Json, ApiError> {
    match what {
        Serve::Run { listen, tls, plain } => run(handle, out, &listen, tls, plain).await,
        Serve::AddToken { name } => to_json(&add(handle, &name).await?),
        Serve::Tokens => {
            let all = load(handle).await?;
            let all = all.iter().map(|t| shown(t, None));
            to_json(&all.collect::<Vec<_>>())
        }
        Serve::RevokeToken { name } => revoke(handle, &name).await,
    }
}

async fn run(
    handle: &Handle,
    out: &Out,
    listen: &str,
    tls: Option<(String, String)>,
    plain: bool,
) -> Result<Json, ApiError> {
    let listen: SocketAddr = listen.parse().map_err(|_| {
        ApiError::new(ErrorCode::Usage, "this is no address with a port")
            .hint("give one like 127.0.0.1:7843")
    })?;
    let loopback = listen.ip().is_loopback();
    if !loopback && tls.is_none() && !plain {
        return Err(ApiError::new(
            ErrorCode::Usage,
            format!("on {listen} sessions and tokens could be read on the way"),
        )
        .hint(
            "give a certificate with `--tls-cert` and `--tls-key`, or `--plain` if the \
             network is one that you trust",
        ));
    }
    handle.shared.pause.refuse("nothing is served")?;
    let clients = load(handle).await?.len() as u64;
    let encrypted = tls.is_some();
    let tls = tls.map(|(chain, key)| (chain, Zeroizing::new(key)));
    let (events, mut happened) = mpsc::channel(EVENTS_MAX);
    let desk = Desk {
        handle: handle.clone(),
        events,
    };
    let config = WebConfig {
        listen,
        tls,
        guests: Guests::Programs,
        headers: &[],
    };
    let server = WebServer::start(config, desk)
        .await
        .map_err(|e| cannot(&e))?;
    let scheme = if encrypted { "https" } else { "http" };
    out.item(&ServeEvent::Ready {
        url: format!("{scheme}://{}", server.addr()),
        encrypted,
        loopback,
        clients,
    })
    .await?;
    tracing::info!(addr = %server.addr(), encrypted, "serving");
    loop {
        let event = tokio::select! {
            event = happened.recv() => event,
            () = out.closed() => break,
            () = handle.tx.closed() => break,
        };
        match event {
            Some(event) => out.item(&event).await?,
            None => break,
        }
    }
    tracing::info!("no longer serving");
    done("the server has ended")
}

fn cannot(e: &HostError) -> ApiError {
    let hint = match e {
        HostError::Listen { .. } => "choose another address with `--listen`",
        HostError::Certificate(_) => "check `--tls-cert` and `--tls-key`: both are PEM",
    };
    ApiError::new(ErrorCode::Disk, e.to_string()).hint(hint)
}

async fn load(handle: &Handle) -> Result<Vec<Token>, ApiError> {
    let store = Arc::clone(&handle.shared.store);
    let loaded = blocking(move || tokens::load(&store)).await;
    loaded.map_err(|e| problem::store(&e))
}

async fn add(handle: &Handle, name: &str) -> Result<ServeToken, ApiError> {
    let name = text::one_line(name, limits::DEVICE_NAME_CHARS_MAX);
    if name.is_empty() {
        return Err(
            ApiError::new(ErrorCode::Usage, "a client needs a name that can be seen")
                .hint("give it one, such as `ccpeer serve token add laptop`"),
        );
    }
    let _turn = handle.shared.serving.tokens.lock().await;
    let store = Arc::clone(&handle.shared.store);
    let made = blocking(move || tokens::add(&store, &name, wall())).await;
    let (token, text) = made.map_err(|e| {
        let message = e.to_string();
        match e {
            TokenError::Taken => ApiError::new(ErrorCode::Usage, message)
                .hint("choose another name, or revoke that one: `ccpeer serve token revoke`"),
            TokenError::Many => ApiError::new(ErrorCode::Refused, message)
                .hint("revoke one: `ccpeer serve token revoke`"),
            TokenError::Random(_) => ApiError::new(ErrorCode::Bug, message),
            TokenError::Store(e) => problem::store(&e),
        }
    })?;
    Ok(shown(&token, Some(text.to_string())))
}

async fn revoke(handle: &Handle, name: &str) -> Result<Json, ApiError> {
    let _turn = handle.shared.serving.tokens.lock().await;
    let store = Arc::clone(&handle.shared.store);
    let asked = name.to_owned();
    let found = blocking(move || tokens::revoke(&store, &asked)).await;
    if found.map_err(|e| problem::store(&e))? {
        let name = text::one_line(name, limits::DEVICE_NAME_CHARS_MAX);
        return done(format!("{name} is no longer let in"));
    }
    Err(
        ApiError::new(ErrorCode::NotFound, "no client of this name has a token")
            .hint("`ccpeer serve token list` shows them"),
    )
}

fn shown(token: &Token, text: Option<String>) -> ServeToken {
    ServeToken {
        name: token.name.clone(),
        made: view::time(token.made),
        token: text,
    }
}
