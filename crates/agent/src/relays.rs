//! Which relays this device uses: the user's choice, as a note in the store. It
//! holds tokens, and is shown without them.

use ccpeer_net::relay::{Relay, RelayHealth, RelayStatus};
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};

use zeroize::Zeroizing;

use crate::api::{self, ApiError, ErrorCode};
use crate::home::Home;

/// Key in [`Namespace::Setting`].
const KEY: &[u8] = b"relays";
/// Says that none is used.
const OFF: &str = "off";

/// The note.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    relays: Vec<String>,
}

/// As stored. What cannot be read is none: silence is the default.
pub(crate) fn load(store: &Store) -> Result<Vec<Relay>, StoreError> {
    let kept: Kept = match store.note(Namespace::Setting, KEY) {
        Ok(value) => value
            .and_then(|v| serde_json::from_slice(&v).ok())
            .unwrap_or_default(),
        Err(StoreError::Corrupt { .. }) => Kept::default(),
        Err(e) => return Err(e),
    };
    Ok(kept.relays.iter().filter_map(|r| r.parse().ok()).collect())
}

/// Makes the choice durable.
pub(crate) fn save(store: &Store, relays: &[Relay]) -> Result<(), StoreError> {
    let kept = Kept {
        relays: relays.iter().map(|r| r.to_text().to_string()).collect(),
    };
    let note = NoteWrite {
        ns: Namespace::Setting,
        key: KEY.to_vec(),
        value: serde_json::to_vec(&kept).ok(),
    };
    store.put_notes(&[note])
}

/// What a user says: an address, `n0`, or `off`.
///
/// If it is the relay of this very home, the token is added that lies there, so
/// that tickets can bring others to it.
pub(crate) fn parse(home: &Home, text: &str) -> Result<Vec<Relay>, ApiError> {
    if text.trim() == OFF {
        return Ok(Vec::new());
    }
    let own = |relay: Relay| {
        let kept = std::fs::read_to_string(home.relay_address()).map(Zeroizing::new);
        let own = kept.ok().and_then(|text| text.parse::<Relay>().ok());
        let is_own = |own: &Relay| own.place() == relay.place() && !relay.has_token();
        vec![own.filter(is_own).unwrap_or(relay)]
    };
    text.parse().map(own).map_err(|e| {
        // Never the text itself: it may hold a token.
        ApiError::new(ErrorCode::Usage, format!("not a relay: {e}"))
            .hint("give what `ccpeer relay` printed, `n0`, or `off`")
    })
}

/// How it is shown.
pub(crate) fn view(status: Option<&RelayStatus>) -> api::Relay {
    let Some(status) = status else {
        return api::Relay {
            state: OFF.to_owned(),
            ..api::Relay::default()
        };
    };
    let hint = hint(&status.health);
    api::Relay {
        url: Some(status.url.clone()),
        state: status.health.word().to_owned(),
        why: hint.is_some().then(|| status.health.to_string()),
        hint: hint.map(str::to_owned),
        again: false,
    }
}

fn hint(health: &RelayHealth) -> Option<&'static str> {
    match health {
        RelayHealth::Connecting | RelayHealth::Connected => None,
        RelayHealth::Denied(_) => Some(
            "pair this device with the one that runs the relay, or give the address with the \
             token: `ccpeer relay --show-address` there, `ccpeer up --relay -` here",
        ),
        RelayHealth::Unreachable(_) => {
            Some("check that `ccpeer relay` runs there and that its TCP port is open")
        }
        RelayHealth::Untrusted => Some(
            "take the address anew with `ccpeer relay --show-address` there; if its certificate \
             was not replaced, somebody stands in between",
        ),
        RelayHealth::NotARelay => {
            Some("check scheme, host and port of the address against what `ccpeer relay` printed")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_read_and_what_is_none_is_refused_without_repeating_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let home = Home::from_env(&|name| {
            matches!(name, "CCPEER_HOME" | "HOME").then(|| root.clone().into_os_string())
        })
        .unwrap();
        let parse = |text: &str| super::parse(&home, text);
        assert_eq!(parse("off"), Ok(Vec::new()));
        assert_eq!(parse("n0").map(|r| r.len()), Ok(1));
        std::fs::create_dir_all(home.relay_dir()).unwrap();
        std::fs::write(home.relay_address(), "http://192.0.2.1:1/#token=s3cret\n").unwrap();
        assert!(parse("http://192.0.2.1:1").unwrap()[0].has_token());
        assert!(!parse("http://192.0.2.2:1").unwrap()[0].has_token());
        let refused = parse("https://relay.example/#token=s3cret&x").unwrap_err();
        assert!(!format!("{refused:?}").contains("s3cret"));
    }
}
