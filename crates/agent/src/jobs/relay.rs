//! `relay`: which relay is used, and how it does.

use std::sync::Arc;
use std::time::Duration;

use ccpeer_net::relay::Relay;
use tokio::time::{Instant, sleep};

use crate::api::{self, ApiError, RelayChange};
use crate::driver::Handle;
use crate::pool::blocking;
use crate::{problem, relays};

/// How long a relay may take to answer before that is the answer.
const SETTLE_MAX: Duration = Duration::from_secs(6);
const LOOK: Duration = Duration::from_millis(50);

/// Changes what is to be changed, and tells how it stands. When the agent has to
/// begin anew because of it, the server sees to that.
pub(super) async fn relay(
    handle: &Handle,
    change: Option<RelayChange>,
) -> Result<api::Relay, ApiError> {
    if let Some(change) = change {
        let wanted = relays::parse(&handle.shared.home, &change.relay)?;
        let had = load(handle).await?;
        if wanted != had {
            save(handle, wanted.clone()).await?;
            // The transport takes one in as it runs, but lets none go.
            let again = !had.is_empty();
            if again {
                let url = wanted.first().map(Relay::place);
                return Ok(api::Relay {
                    state: if url.is_some() { "connecting" } else { "off" }.to_owned(),
                    url,
                    again,
                    ..api::Relay::default()
                });
            }
            for relay in wanted {
                handle.shared.net.add_relay(relay).await;
            }
        }
    }
    let until = Instant::now() + SETTLE_MAX;
    loop {
        let shown = relays::view(handle.shared.net.relay().as_ref());
        let unsettled = match shown.state.as_str() {
            "connecting" => true,
            // The watcher has not looked yet.
            "off" => !load(handle).await?.is_empty(),
            _ => false,
        };
        if !unsettled || Instant::now() >= until {
            return Ok(shown);
        }
        sleep(LOOK).await;
    }
}

/// Keeps relays that a ticket brought along, beside those that are used already.
pub(super) async fn keep(handle: &Handle, new: &[Relay]) -> Result<(), ApiError> {
    if new.is_empty() {
        return Ok(());
    }
    let mut kept = load(handle).await?;
    for relay in new {
        kept.retain(|k| k.place() != relay.place());
        kept.push(relay.clone());
    }
    save(handle, kept).await
}

async fn load(handle: &Handle) -> Result<Vec<Relay>, ApiError> {
    let store = Arc::clone(&handle.shared.store);
    let loaded = blocking(move || relays::load(&store)).await;
    loaded.map_err(|e| problem::store(&e))
}

async fn save(handle: &Handle, wanted: Vec<Relay>) -> Result<(), ApiError> {
    let store = Arc::clone(&handle.shared.store);
    let saved = blocking(move || relays::save(&store, &wanted)).await;
    saved.map_err(|e| problem::store(&e))
}
