//! Who may talk to the server: a token for each client, kept as its hash.
//!
//! A token is 256 random bits, so its hash can be neither guessed nor turned
//! around, and hashes are compared in constant time.

use ccpeer_core::limits;
use ccpeer_core::time::Timestamp;
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::random;

/// Key in [`Namespace::Setting`].
const KEY: &[u8] = b"serve-tokens";
/// What a token begins with, so that one that lies around is recognised.
const PREFIX: &str = "ccpeer_";
/// Longer ones are nobody's: not even hashed.
const TOKEN_BYTES_MAX: usize = 128;

/// The token of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    /// What the client is called.
    pub(crate) name: String,
    /// BLAKE3 of the token, in hexadecimal.
    hash: String,
    /// When it was made.
    pub(crate) made: Timestamp,
}

/// Why a token cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("a client of this name has a token already")]
    Taken,
    #[error("{max} clients have a token already", max = limits::SERVE_TOKENS_MAX)]
    Many,
    #[error(transparent)]
    Random(#[from] random::NoRandomness),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// As stored. What cannot be read lets nobody in.
pub(crate) fn load(store: &Store) -> Result<Vec<Token>, StoreError> {
    match store.note(Namespace::Setting, KEY) {
        Ok(value) => Ok(value
            .and_then(|v| serde_json::from_slice(&v).ok())
            .unwrap_or_default()),
        Err(StoreError::Corrupt { .. }) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

fn save(store: &Store, tokens: &[Token]) -> Result<(), StoreError> {
    store.put_notes(&[NoteWrite {
        ns: Namespace::Setting,
        key: KEY.to_vec(),
        value: serde_json::to_vec(tokens).ok(),
    }])
}

/// Makes one, and returns it with its text, which is nowhere else.
pub(crate) fn add(
    store: &Store,
    name: &str,
    now: Timestamp,
) -> Result<(Token, Zeroizing<String>), TokenError> {
    let mut tokens = load(store)?;
    if tokens.iter().any(|t| t.name == name) {
        return Err(TokenError::Taken);
    }
    if tokens.len() >= limits::SERVE_TOKENS_MAX {
        return Err(TokenError::Many);
    }
    let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(random::bytes()?);
    let hex = Zeroizing::new(blake3::Hash::from_bytes(*bytes).to_hex().to_string());
    let text = Zeroizing::new(format!("{PREFIX}{}", hex.as_str()));
    let token = Token {
        name: name.to_owned(),
        hash: blake3::hash(text.as_bytes()).to_hex().to_string(),
        made: now,
    };
    tokens.push(token.clone());
    save(store, &tokens)?;
    Ok((token, text))
}

/// Takes one away; false if there is none of this name.
pub(crate) fn revoke(store: &Store, name: &str) -> Result<bool, StoreError> {
    let mut tokens = load(store)?;
    let before = tokens.len();
    tokens.retain(|t| t.name != name);
    let found = tokens.len() < before;
    if found {
        save(store, &tokens)?;
    }
    Ok(found)
}

/// Whose token this is. All are compared, each in constant time.
pub(crate) fn whose<'t>(tokens: &'t [Token], said: &str) -> Option<&'t Token> {
    if said.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let said = blake3::hash(said.as_bytes());
    let mut found = None;
    for token in tokens {
        let is = blake3::Hash::from_hex(&token.hash).is_ok_and(|hash| hash == said);
        if is {
            found = Some(token);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k_l08_a_token_opens_until_it_is_revoked_and_is_kept_as_a_hash() {
        let world = crate::testing::World::in_memory("ann");
        let store = &world.store;
        let (token, text) = add(store, "laptop", Timestamp(7)).unwrap();
        let (_, other) = add(store, "desk", Timestamp(8)).unwrap();
        assert_ne!(text, other);
        let kept = world.store.note(Namespace::Setting, KEY).unwrap().unwrap();
        let kept = String::from_utf8(kept).unwrap();
        assert!(!kept.contains(text.trim_start_matches(PREFIX)), "{kept}");

        let tokens = load(store).unwrap();
        let check = |said: &str, want: Option<&str>| {
            let got = whose(&tokens, said).map(|t| t.name.as_str());
            assert_eq!(got, want, "{said}");
        };
        check(&text, Some("laptop"));
        check(&other, Some("desk"));
        check("", None);
        check(&text[..text.len() - 1], None);
        check(&format!("{}x", text.as_str()), None);
        check(&text.to_uppercase(), None);
        check(&token.hash, None);
        check(&"x".repeat(1 << 20), None);

        assert!(matches!(
            add(store, "laptop", Timestamp(9)),
            Err(TokenError::Taken)
        ));
        assert!(revoke(store, "laptop").unwrap());
        assert!(!revoke(store, "laptop").unwrap());
        let tokens = load(store).unwrap();
        assert!(whose(&tokens, &text).is_none());
        assert!(whose(&tokens, &other).is_some());
    }
}
