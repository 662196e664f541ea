//! The two forms of a pairing secret: a short code that a person reads aloud,
//! and a ticket that carries everything needed to dial. Text in, value out.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ccpeer_core::codec;
use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::exchange::SecretKind;
use crate::address;
use crate::error::NetError;
use crate::relay::{self, Relay};

/// Crockford's base 32: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CODE_CHARS: usize = 6;
const TICKET_PREFIX: &str = "ccpeer1-";
const TICKET_VERSION: u8 = 1;
const TICKET_CHARS_MAX: usize = 4096;
const CHECK_BYTES: usize = 4;

/// What a joining person has typed or pasted.
#[derive(Clone)]
pub enum JoinSecret {
    /// The short code.
    Code(Code),
    /// The ticket.
    Ticket(Ticket),
}

/// Why a text is neither code nor ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// A code has six letters or digits.
    #[error("this is neither a code, like 7KQ-M2X, nor a ticket")]
    Code,
    /// A ticket that is cut off or changed.
    #[error("the ticket is incomplete or damaged")]
    Ticket,
    /// A ticket of a newer ccpeer.
    #[error("the ticket was made by a newer ccpeer")]
    TicketVersion,
}

impl JoinSecret {
    /// Reads a code or a ticket, as people type and paste them: in either case,
    /// with spaces around, with or without the hyphen, with O for 0 and I or L
    /// for 1.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let prefix = text.get(..TICKET_PREFIX.len());
        if prefix.is_some_and(|p| p.eq_ignore_ascii_case(TICKET_PREFIX)) {
            let rest = text.get(TICKET_PREFIX.len()..).unwrap_or_default();
            return Ticket::parse(rest).map(Self::Ticket);
        }
        Code::parse(text).map(Self::Code)
    }

    pub(super) fn kind(&self) -> SecretKind {
        match self {
            Self::Code(_) => SecretKind::Code,
            Self::Ticket(_) => SecretKind::Ticket,
        }
    }

    /// What goes into the key exchange.
    pub(super) fn password(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Code(code) => code.password(),
            Self::Ticket(ticket) => ticket.password(),
        }
    }
}

impl fmt::Debug for JoinSecret {
    /// Never the secret itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinSecret::{:?}(…)", self.kind())
    }
}

/// Thirty random bits as six characters.
#[derive(Clone)]
pub struct Code(Zeroizing<[u8; CODE_CHARS]>);

impl Code {
    pub(super) fn draw() -> Result<Self, NetError> {
        let mut chars = Zeroizing::new([0u8; CODE_CHARS]);
        getrandom::fill(chars.as_mut_slice()).map_err(|_| NetError::Random)?;
        for c in chars.iter_mut() {
            // 256 is a multiple of 32: no character is likelier than another.
            *c = letter(*c);
        }
        Ok(Self(chars))
    }

    fn parse(text: &str) -> Result<Self, SecretError> {
        let mut chars = Zeroizing::new([0u8; CODE_CHARS]);
        let mut count = 0;
        for c in text.chars().filter(|c| !matches!(c, '-' | ' ')) {
            let slot = chars.get_mut(count).ok_or(SecretError::Code)?;
            *slot = value_of(c).map(letter).ok_or(SecretError::Code)?;
            count += 1;
        }
        if count == CODE_CHARS {
            Ok(Self(chars))
        } else {
            Err(SecretError::Code)
        }
    }

    pub(super) fn password(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.to_vec())
    }

    /// For the inviting person's screen.
    pub(super) fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(CODE_CHARS + 1));
        for (i, c) in self.0.iter().enumerate() {
            if i == CODE_CHARS / 2 {
                text.push('-');
            }
            text.push(char::from(*c));
        }
        text
    }
}

/// Whom to dial, where, and 128 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    pub(super) device: DeviceId,
    pub(super) addrs: Vec<SocketAddr>,
    /// Over these the inviting device can be reached as well.
    pub(super) relays: Vec<Relay>,
    secret: Zeroizing<[u8; 16]>,
}

#[derive(Serialize, Deserialize)]
struct TicketBody {
    version: u8,
    device: DeviceId,
    secret: [u8; 16],
    addrs: Vec<WireAddr>,
    relays: Vec<String>,
}

impl Drop for TicketBody {
    fn drop(&mut self) {
        self.secret.zeroize();
        self.relays.zeroize();
    }
}

impl Ticket {
    pub(super) fn draw(
        device: DeviceId,
        mut addrs: Vec<SocketAddr>,
        relays: Vec<Relay>,
    ) -> Result<Self, NetError> {
        let mut secret = Zeroizing::new([0u8; 16]);
        getrandom::fill(secret.as_mut_slice()).map_err(|_| NetError::Random)?;
        addrs.truncate(limits::ADDRESSES_PER_PEER_MAX);
        Ok(Self {
            device,
            addrs,
            relays,
            secret,
        })
    }

    pub(super) fn password(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.secret.to_vec())
    }

    pub(super) fn to_text(&self) -> Zeroizing<String> {
        let addrs: Vec<_> = self.addrs.iter().map(|a| WireAddr::from(*a)).collect();
        let addrs = codec::encode(&addrs);
        let relays = relay::texts(&self.relays);
        let texts: Vec<&str> = relays.iter().map(|r| r.as_str()).collect();
        let relays = Zeroizing::new(codec::encode(&texts));
        // A `TicketBody`, field by field and in its final size from the start: a
        // buffer that grows would leave copies of the secret behind.
        let len = 1 + DeviceId::LEN + self.secret.len() + addrs.len() + relays.len() + CHECK_BYTES;
        let mut bytes = Zeroizing::new(Vec::with_capacity(len));
        bytes.push(TICKET_VERSION);
        bytes.extend_from_slice(&self.device.0);
        bytes.extend_from_slice(self.secret.as_slice());
        bytes.extend_from_slice(&addrs);
        bytes.extend_from_slice(&relays);
        let check = check_of(&bytes);
        bytes.extend_from_slice(&check);
        let mut text = Zeroizing::new(String::from(TICKET_PREFIX));
        text.push_str(&Zeroizing::new(to_base32(&bytes)));
        text
    }

    fn parse(text: &str) -> Result<Self, SecretError> {
        if text.len() > TICKET_CHARS_MAX {
            return Err(SecretError::Ticket);
        }
        let bytes = from_base32(text).ok_or(SecretError::Ticket)?;
        let at = bytes
            .len()
            .checked_sub(CHECK_BYTES)
            .ok_or(SecretError::Ticket)?;
        let (body, check) = bytes.split_at(at);
        if check != check_of(body) {
            return Err(SecretError::Ticket);
        }
        if body.first() != Some(&TICKET_VERSION) {
            return Err(SecretError::TicketVersion);
        }
        let body: TicketBody =
            codec::decode(body, TICKET_CHARS_MAX).map_err(|_| SecretError::Ticket)?;
        let addrs: Vec<_> = body.addrs.iter().map(|a| SocketAddr::from(*a)).collect();
        let dialable = addrs.iter().all(address::is_dialable);
        if addrs.len() > limits::ADDRESSES_PER_PEER_MAX || !dialable {
            return Err(SecretError::Ticket);
        }
        let relays = relay::read_all(&body.relays).ok_or(SecretError::Ticket)?;
        Ok(Self {
            device: body.device,
            addrs,
            relays,
            secret: Zeroizing::new(body.secret),
        })
    }
}

/// Tells a mistyped ticket from a wrong one, which would burn it.
fn check_of(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = blake3::derive_key("ccpeer 2026 ticket check", bytes);
    let mut check = [0u8; CHECK_BYTES];
    check.copy_from_slice(&hash[..CHECK_BYTES]);
    check
}

/// A socket address as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum WireAddr {
    V4([u8; 4], u16),
    V6([u8; 16], u16),
}

impl From<SocketAddr> for WireAddr {
    fn from(addr: SocketAddr) -> Self {
        match addr.ip() {
            IpAddr::V4(ip) => Self::V4(ip.octets(), addr.port()),
            IpAddr::V6(ip) => Self::V6(ip.octets(), addr.port()),
        }
    }
}

impl From<WireAddr> for SocketAddr {
    fn from(addr: WireAddr) -> Self {
        match addr {
            WireAddr::V4(ip, port) => Self::from((ip, port)),
            WireAddr::V6(ip, port) => Self::from((ip, port)),
        }
    }
}

/// The character for the last five bits of a number.
fn letter(value: u8) -> u8 {
    let [first, ..] = *ALPHABET;
    let at = usize::from(value % 32);
    ALPHABET.get(at).copied().unwrap_or(first)
}

fn lower_letter(value: u32) -> char {
    let five = u8::try_from(value & 31).unwrap_or(0);
    char::from(letter(five)).to_ascii_lowercase()
}

fn value_of(c: char) -> Option<u8> {
    let c = match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        c => c,
    };
    let byte = u8::try_from(c).ok()?;
    ALPHABET
        .iter()
        .position(|a| *a == byte)
        .and_then(|p| u8::try_from(p).ok())
}

pub(crate) fn to_base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(lower_letter(held >> bits));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(lower_letter(held << (5 - bits)));
    }
    text
}

pub(crate) fn from_base32(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() * 5 / 8));
    let (mut bits, mut held) = (0u32, 0u32);
    for c in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        held = held << 5 | u32::from(value_of(c)?);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
        held &= (1 << bits) - 1;
    }
    // What is left over must be padding: one spelling only.
    (held == 0 && bits < 5).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<String> {
        match JoinSecret::parse(text) {
            Ok(JoinSecret::Code(code)) => Some(code.to_text().to_string()),
            _ => None,
        }
    }

    #[test]
    fn codes_are_read_as_people_write_them() {
        for text in ["7KQ-M2X", " 7kq-m2x ", "7kqm2x", "7KQ M2X"] {
            assert_eq!(code(text).as_deref(), Some("7KQ-M2X"), "{text}");
        }
        assert_eq!(code("ooi-lo1").as_deref(), Some("001-101"));
        for text in ["", "7KQ-M2", "7KQ-M2XX", "7KQ-M2U", "7KQ-M2ä", "ccpeer1-"] {
            assert_eq!(code(text), None, "{text}");
        }
    }

    #[test]
    fn drawn_codes_read_back() {
        for _ in 0..200 {
            let drawn = Code::draw().unwrap();
            let text = drawn.to_text();
            assert_eq!(text.len(), 7);
            assert_eq!(code(&text).as_ref(), Some(&*text));
        }
    }

    #[test]
    fn tickets_round_trip_and_notice_damage() {
        let addrs: Vec<SocketAddr> = vec![
            "192.0.2.7:4000".parse().unwrap(),
            "[2001:db8::7]:4000".parse().unwrap(),
        ];
        let relays = ["https://192.0.2.1:7842/#quic=7842&token=s3cret", "n0"];
        let relays = relays.iter().map(|r| r.parse().unwrap()).collect();
        let ticket = Ticket::draw(DeviceId([7; 32]), addrs, relays).unwrap();
        let text = ticket.to_text();
        for form in [
            text.to_string(),
            text.to_uppercase(),
            format!(" {}\n", *text),
        ] {
            let JoinSecret::Ticket(read) = JoinSecret::parse(&form).unwrap() else {
                panic!()
            };
            assert!(read == ticket);
        }
        for cut in [8, 20, text.len() - 1] {
            assert!(matches!(
                JoinSecret::parse(&text[..cut]),
                Err(SecretError::Ticket)
            ));
        }
        let mut changed = text.to_string();
        let last = if changed.pop() == Some('0') { 'g' } else { '0' };
        changed.insert(40, last);
        assert!(matches!(
            JoinSecret::parse(&changed),
            Err(SecretError::Ticket)
        ));
        assert!(matches!(
            JoinSecret::parse(&format!("{TICKET_PREFIX}{}", "0".repeat(5000))),
            Err(SecretError::Ticket)
        ));
    }

    /// Text that other versions rely on; see PROTOCOL.md.
    #[test]
    fn tickets_keep_their_text() {
        let ticket = Ticket {
            device: DeviceId([7; 32]),
            addrs: vec!["192.0.2.7:4000".parse().unwrap()],
            relays: Vec::new(),
            secret: Zeroizing::new([9; 16]),
        };
        assert_eq!(
            ticket.to_text().as_str(),
            "ccpeer1-043ge1r70w3ge1r70w3ge1r70w3ge1r70w3ge1r70w3ge1r70w3ge289144gj289144gj289144gj281030000g7m0fg150eern0"
        );
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let secret = JoinSecret::parse("7KQ-M2X").unwrap();
        assert_eq!(format!("{secret:?}"), "JoinSecret::Code(…)");
    }

    #[test]
    fn base32_has_one_spelling() {
        assert_eq!(to_base32(b"\xff\x00"), "zw00");
        assert_eq!(from_base32("zw00").unwrap().as_slice(), b"\xff\x00");
        assert!(from_base32("zw01").is_none(), "padding bits are set");
        assert!(
            from_base32("zw0").is_none(),
            "a whole character is left over"
        );
        assert!(from_base32("zu00").is_none());
    }
}
