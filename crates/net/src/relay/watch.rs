//! How the relay does. The transport keeps silent when it cannot reach one, or
//! may not use it; so that somebody can be told, we ask it ourselves for as long
//! as it is not connected.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::{limits, text};
use iroh::dns::DnsResolver;
use iroh::endpoint::RelayStatus as RelayStatusOf;
use iroh::tls::default_provider;
use iroh::{RelayConfig, Watcher};
use iroh_relay::client::{ClientBuilder, ConnectError};
use iroh_relay::protos::handshake;
use tokio::time::{Instant, sleep, timeout};

use super::{Relay, Relays};
use crate::Shared;

/// Characters of what a relay says that are shown.
const REASON_CHARS_MAX: usize = 80;
/// How often the transport is looked at. Its own watcher skips states that do not
/// last.
const LOOK: Duration = Duration::from_millis(200);

/// A relay, and how it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayStatus {
    /// Its place, without anything secret; `n0` for the public ones.
    pub url: String,
    /// How it does.
    pub health: RelayHealth,
}

/// How a relay does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayHealth {
    /// Not yet known.
    Connecting,
    /// Devices that use it can reach this one over it.
    Connected,
    /// It answers, and does not let this device in. It says why; stripped.
    Denied(String),
    /// It does not answer.
    Unreachable(String),
    /// It shows another certificate than its address names, or none that counts.
    Untrusted,
    /// Something answers there that is no relay, or http is taken for https.
    NotARelay,
}

impl RelayHealth {
    /// One word, the same for each of a kind.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Denied(_) => "denied",
            Self::Unreachable(_) => "unreachable",
            Self::Untrusted => "untrusted",
            Self::NotARelay => "not_a_relay",
        }
    }
}

impl fmt::Display for RelayHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::Connected => f.write_str("connected"),
            Self::Denied(why) => write!(f, "it does not let this device in: {why}"),
            Self::Unreachable(why) => write!(f, "it cannot be reached: {why}"),
            Self::Untrusted => f.write_str("it shows another certificate than it should"),
            Self::NotARelay => {
                f.write_str("what answers there is no relay; http may be taken for https")
            }
        }
    }
}

/// Keeps the status true for as long as the network runs.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut home = shared.endpoint.home_relay_status();
    let (first, longest) = limits::RELAY_PROBE_PAUSE_MS;
    let mut pause = first;
    loop {
        let relays = &shared.relays;
        let Some(relay) = relays.list().into_iter().next() else {
            relays.set_status(None);
            relays.changed.notified().await;
            continue;
        };
        let known = home.get();
        let connected = known.iter().find(|status| status.is_connected());
        let status = match connected {
            Some(status) => {
                pause = first;
                RelayStatus {
                    url: shown(&relay, status.url()),
                    health: RelayHealth::Connected,
                }
            }
            None => {
                let (relay, health) = ask(relays, &relay, shared.endpoint.secret_key()).await;
                // Ours came through: theirs need not wait for its next look.
                if health == RelayHealth::Connecting && known.is_empty() {
                    relays.tell(&shared.endpoint).await;
                }
                RelayStatus { url: relay, health }
            }
        };
        let is_connected = status.health == RelayHealth::Connected;
        relays.set_status(Some(status));
        let next = Instant::now() + Duration::from_millis(pause);
        pause = (pause * 2).min(longest);
        loop {
            tokio::select! {
                () = relays.changed.notified() => {
                    pause = first;
                    break;
                }
                () = sleep(LOOK) => {}
            }
            let stands = home.get().iter().any(RelayStatusOf::is_connected);
            if stands != is_connected || (!stands && Instant::now() >= next) {
                break;
            }
        }
    }
}

fn shown(relay: &Relay, url: &iroh::RelayUrl) -> String {
    match relay {
        Relay::Public => format!("n0 ({})", url.host_str().unwrap_or_default()),
        Relay::Own(_) => url.to_string().trim_end_matches('/').to_owned(),
    }
}

/// Asks the relays in turn; the best answer counts.
async fn ask(relays: &Relays, first: &Relay, secret: &iroh::SecretKey) -> (String, RelayHealth) {
    let mut worst = None;
    for config in relays.configs() {
        let url = shown(first, &config.url);
        match probe(relays, &config, secret).await {
            RelayHealth::Connecting => return (url, RelayHealth::Connecting),
            health => {
                worst.get_or_insert((url, health));
            }
        }
    }
    worst.unwrap_or((first.place(), RelayHealth::Connecting))
}

/// One connection, in our own name, that says what is wrong.
async fn probe(relays: &Relays, config: &RelayConfig, secret: &iroh::SecretKey) -> RelayHealth {
    let Ok(tls) = relays.tls().client_config(default_provider()) else {
        return RelayHealth::Untrusted;
    };
    let mut client = ClientBuilder::new(config.url.clone(), secret.clone(), DnsResolver::new())
        .tls_client_config(tls);
    if let Some(token) = &config.auth_token {
        client = client.auth_token(token.clone());
    }
    let limit = Duration::from_millis(limits::RELAY_PROBE_MS);
    match timeout(limit, client.connect()).await {
        Ok(Ok(_)) => RelayHealth::Connecting,
        Ok(Err(error)) => health_of(&error),
        Err(_) => RelayHealth::Unreachable("no answer in time".to_owned()),
    }
}

fn health_of(error: &ConnectError) -> RelayHealth {
    match error {
        ConnectError::Handshake {
            source: handshake::Error::ServerDeniedAuth { reason, .. },
            ..
        } => RelayHealth::Denied(text::one_line(reason, REASON_CHARS_MAX)),
        ConnectError::Dial { source, .. } => {
            RelayHealth::Unreachable(text::one_line(&source.to_string(), REASON_CHARS_MAX))
        }
        ConnectError::Tls { source, .. } => {
            let certificate = source
                .get_ref()
                .and_then(|e| e.downcast_ref::<rustls::Error>())
                .is_some_and(|e| matches!(e, rustls::Error::InvalidCertificate(_)));
            if certificate {
                RelayHealth::Untrusted
            } else {
                RelayHealth::NotARelay
            }
        }
        _ => RelayHealth::NotARelay,
    }
}
