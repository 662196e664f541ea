//! A relay as text: `https://host:port/#pin=…&quic=…&token=…`. What stands after
//! the `#` is never sent as part of a request. Text in, value out.

use std::fmt;
use std::str::FromStr;

use ccpeer_core::limits;
use iroh::{RelayConfig, RelayMode, RelayUrl};
use iroh_relay::RelayQuicConfig;
use zeroize::Zeroizing;

use crate::pairing::{from_base32, to_base32};

/// Stands for the public relays of the transport's makers.
const PUBLIC: &str = "n0";
/// What an encrypted relay tells addresses on, unless its address says otherwise.
const QUIC_PORT: u16 = 7842;

/// A relay that this device may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relay {
    /// The public relays of n0, the makers of the transport. They learn this
    /// device's id, its network address, and when it talks to which other id.
    Public,
    /// A named one.
    Own(RelayAddress),
}

/// Where a relay is, by which certificate it is known, and with which word it
/// lets in a device that it does not know.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayAddress {
    url: RelayUrl,
    pin: Option<[u8; 32]>,
    quic: Option<u16>,
    token: Option<Zeroizing<String>>,
}

/// Why a text is no relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// Not `http://` or `https://`, a host, and perhaps a port.
    #[error("a relay's address is `https://` or `http://`, a host, and perhaps a port")]
    Url,
    /// Something behind the `#` is not understood.
    #[error("the part behind `#` of the relay's address is incomplete or damaged")]
    Extra,
}

impl Relay {
    /// The place, without anything secret; fit to be shown.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Public => PUBLIC.to_owned(),
            Self::Own(address) => address.place(),
        }
    }

    /// Whether its text holds a secret.
    #[must_use]
    pub fn has_token(&self) -> bool {
        matches!(self, Self::Own(address) if address.token.is_some())
    }

    /// The whole text, the token included. Never log it.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        match self {
            Self::Public => Zeroizing::new(PUBLIC.to_owned()),
            Self::Own(address) => address.to_text(),
        }
    }

    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        self.place() == other.place()
    }

    /// Whether the other one knows more of the same place.
    pub(super) fn has_less_than(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own(a), Self::Own(b)) => {
                a.pin == b.pin && a.token.is_none() && b.token.is_some()
            }
            _ => false,
        }
    }

    /// For the transport.
    pub(super) fn configs(&self) -> Vec<RelayConfig> {
        match self {
            Self::Public => {
                let map = RelayMode::Default.relay_map();
                let relays: Vec<_> = map.relays();
                relays.iter().map(|r| r.as_ref().clone()).collect()
            }
            Self::Own(address) => vec![address.config()],
        }
    }
}

impl FromStr for Relay {
    type Err = RelayError;

    fn from_str(text: &str) -> Result<Self, RelayError> {
        match text.trim() {
            PUBLIC => Ok(Self::Public),
            text => text.parse().map(Self::Own),
        }
    }
}

impl RelayAddress {
    /// One of one's own: `scheme://host:port`, the certificate's pin and the port
    /// of address discovery where it is encrypted, and the token.
    ///
    /// # Errors
    /// If that is no address.
    pub fn new(
        url: &str,
        pin: Option<[u8; 32]>,
        quic: Option<u16>,
        token: Option<Zeroizing<String>>,
    ) -> Result<Self, RelayError> {
        let address: Self = url.parse()?;
        Ok(Self {
            pin,
            quic,
            token,
            ..address
        })
    }

    /// The place, without anything secret.
    #[must_use]
    pub fn place(&self) -> String {
        self.url.to_string().trim_end_matches('/').to_owned()
    }

    /// The text without the token: for devices that the relay knows.
    #[must_use]
    pub fn open_text(&self) -> String {
        let open = Self {
            token: None,
            ..self.clone()
        };
        open.to_text().to_string()
    }

    /// The whole text, the token included. Never log it.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        // In its final size, so that no copy of the token is left behind.
        let mut text = Zeroizing::new(String::with_capacity(limits::RELAY_ADDRESS_BYTES_MAX));
        text.push_str(&self.place());
        let mut separator = "/#";
        let mut push = |name: &str, value: &str| {
            for part in [separator, name, "=", value] {
                text.push_str(part);
            }
            separator = "&";
        };
        if let Some(pin) = &self.pin {
            push("pin", &to_base32(pin));
        }
        if let Some(quic) = self.quic {
            push("quic", &quic.to_string());
        }
        if let Some(token) = &self.token {
            push("token", token);
        }
        text
    }

    pub(super) fn pin(&self) -> Option<(String, [u8; 32])> {
        Some((self.url.host_str()?.to_owned(), self.pin?))
    }

    pub(super) fn config(&self) -> RelayConfig {
        let encrypted = self.url.scheme() == "https";
        let quic = encrypted.then(|| RelayQuicConfig::new(self.quic.unwrap_or(QUIC_PORT)));
        let config = RelayConfig::new(self.url.clone(), quic);
        match &self.token {
            Some(token) => config.with_auth_token(token.as_str()),
            None => config,
        }
    }
}

impl FromStr for RelayAddress {
    type Err = RelayError;

    fn from_str(text: &str) -> Result<Self, RelayError> {
        let text = text.trim();
        if text.len() > limits::RELAY_ADDRESS_BYTES_MAX {
            return Err(RelayError::Url);
        }
        let (url, extra) = text.split_once('#').unwrap_or((text, ""));
        let url: RelayUrl = url.parse().map_err(|_| RelayError::Url)?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|h| !h.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.path() == "/";
        if !plain {
            return Err(RelayError::Url);
        }
        let mut address = Self {
            url,
            pin: None,
            quic: None,
            token: None,
        };
        for part in extra.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(RelayError::Extra)?;
            match name {
                "pin" if address.pin.is_none() => {
                    let bytes = from_base32(value).ok_or(RelayError::Extra)?;
                    let pin = bytes.as_slice().try_into();
                    address.pin = Some(pin.map_err(|_| RelayError::Extra)?);
                }
                "quic" if address.quic.is_none() => {
                    address.quic = Some(value.parse().map_err(|_| RelayError::Extra)?);
                }
                "token" if address.token.is_none() && is_token(value) => {
                    address.token = Some(Zeroizing::new(value.to_owned()));
                }
                _ => return Err(RelayError::Extra),
            }
        }
        Ok(address)
    }
}

/// What can stand in a header and in this text.
fn is_token(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'&' | b'#');
    (1..=128).contains(&text.len()) && text.bytes().all(fits)
}

impl fmt::Debug for RelayAddress {
    /// Never the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayAddress({})", self.place())
    }
}

/// Relays as they stand in a ticket.
pub(crate) fn texts(relays: &[Relay]) -> Vec<Zeroizing<String>> {
    relays.iter().map(Relay::to_text).collect()
}

/// The other way round. None if any is not understood, or there are too many.
pub(crate) fn read_all(texts: &[String]) -> Option<Vec<Relay>> {
    if texts.len() > limits::RELAYS_MAX {
        return None;
    }
    texts.iter().map(|t| t.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Option<Zeroizing<String>> {
        Some(Zeroizing::new("s3cret".to_owned()))
    }

    #[test]
    fn an_address_comes_back_as_it_was() {
        let full = RelayAddress::new("https://192.0.2.1:7842", Some([7; 32]), Some(7842), token())
            .unwrap();
        let text = full.to_text();
        assert!(
            text.starts_with("https://192.0.2.1:7842/#pin="),
            "{}",
            *text
        );
        assert_eq!(text.parse::<RelayAddress>(), Ok(full.clone()));
        assert_eq!(full.place(), "https://192.0.2.1:7842");
        assert!(!full.open_text().contains("s3cret"));
        assert!(!format!("{full:?}").contains("s3cret"));
        for text in ["n0", "http://[2001:db8::1]:80", "https://relay.example/"] {
            let relay: Relay = text.parse().unwrap();
            assert_eq!(relay.to_text().parse::<Relay>(), Ok(relay));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let check = |text: &str, want: RelayError| {
            assert_eq!(text.parse::<Relay>(), Err(want), "{text}");
        };
        for text in [
            "",
            "n1",
            "no address at all",
            "ftp://192.0.2.1",
            "https://me:pass@192.0.2.1",
            "https://192.0.2.1/?token=x",
            "https://192.0.2.1/relay",
        ] {
            check(text, RelayError::Url);
        }
        for extra in [
            "pin=0",
            "pin",
            "quic=x",
            "token=",
            "token=a#b",
            "x=1",
            "quic=1&quic=2",
        ] {
            check(&format!("https://192.0.2.1/#{extra}"), RelayError::Extra);
        }
        check(&format!("https://{}", "a".repeat(600)), RelayError::Url);
    }
}
