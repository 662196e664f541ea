//! Every decoder of foreign bytes as a pure function: bytes in, a number or a
//! yes out. For fuzz targets, for corpora that are replayed as tests, and for
//! hostile peers that are built to break a link.
//!
//! Must not decode anything itself: each function calls what a link, a chunk
//! stream, discovery or pairing calls. Nothing here panics, whatever the bytes.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::limits;
use ccpeer_core::wire::Message;
use tokio::runtime::{Builder, Runtime};

use crate::chunks::{Answer, Answers, Request};
use crate::discovery::{self, Announcement};
use crate::error::LinkFault;
use crate::frame::{self, FrameEnd};
use crate::pairing::{self, JoinSecret};
use crate::timing::Timing;

/// Bytes that are all there: nothing is waited for.
const NOW: Duration = Duration::from_secs(1);

/// A control stream: every message until the bytes end, or the fault that would
/// end the link.
///
/// # Errors
/// The fault, and how many messages came before it.
pub fn control(mut bytes: &[u8]) -> Result<Vec<Message>, (usize, LinkFault)> {
    let mut messages = Vec::new();
    at_once(async {
        loop {
            let limit = limits::MESSAGE_BYTES_MAX;
            match frame::read_frame(&mut bytes, limit, None, NOW).await {
                Ok(frame) => match Message::from_bytes(&frame) {
                    Ok(message) => messages.push(message),
                    Err(error) => return Err((messages.len(), LinkFault::Message(error))),
                },
                Err(FrameEnd::Over) => return Ok(messages),
                Err(FrameEnd::Fault(fault)) => return Err((messages.len(), fault)),
            }
        }
    })
    .unwrap_or(Err((0, LinkFault::FrameCut)))
}

/// The request on a chunk stream, with its frame: how many chunks it asks for,
/// if it is one.
#[must_use]
pub fn chunk_request(mut bytes: &[u8]) -> Option<usize> {
    let request = at_once(crate::chunks::request::read_request(&mut bytes, NOW))?;
    request.ok().flatten().map(|asked| asked.ids.len())
}

/// The answer to a request for this one chunk: its content, if it is that.
#[must_use]
pub fn chunk_answer(bytes: &[u8], id: &ChunkId) -> Option<Vec<u8>> {
    let asked = Request::plain(vec![*id]);
    let mut answers = Answers::new(bytes, &[], &asked, Timing::default());
    match at_once(answers.next())?.ok()? {
        Answer::Content(content) if ChunkId::of(&content) == *id => Some(content),
        _ => None,
    }
}

/// What discovery makes of an announcement, as the device `me`: the device, where
/// it would be dialled, and whether it says that an invitation stands.
///
/// `txt` is the data of a TXT record: texts of one length byte each, `key=value`.
#[must_use]
pub fn record(
    me: &DeviceId,
    name: &str,
    port: u16,
    ips: &[IpAddr],
    txt: &[u8],
) -> Option<(DeviceId, Vec<SocketAddr>, bool)> {
    let announced = Announcement {
        name: name.to_owned(),
        port,
        ips: ips.to_vec(),
        texts: texts_of(txt),
    };
    let record = discovery::record_of(&announced, me)?;
    Some((record.device, record.addrs, record.inviting))
}

/// A packet of multicast, as the device `me` takes it in: what it announces and
/// what passes the filter.
#[must_use]
pub fn multicast(me: &DeviceId, bytes: &[u8]) -> Vec<(DeviceId, Vec<SocketAddr>, bool)> {
    let records = discovery::heard(bytes, me).into_iter();
    let out: Vec<_> = records.map(|r| (r.device, r.addrs, r.inviting)).collect();
    for (device, addrs, _) in &out {
        assert!(
            device != me && !addrs.is_empty() && addrs.len() <= limits::ADDRESSES_PER_PEER_MAX,
            "discovery let a record pass that it must not"
        );
    }
    out
}

/// The packet with which a device announces itself, or takes that back: what
/// somebody who forges announcements begins with. Empty if `name` is no name.
#[must_use]
pub fn announcement(
    name: &str,
    device: DeviceId,
    at: SocketAddr,
    inviting: bool,
    there: bool,
) -> Vec<u8> {
    discovery::announcement_of(name, device, at, inviting, there).unwrap_or_default()
}

/// The bytes of a fuzzer as an announcement: 2 bytes of port, 1 byte for the
/// number of addresses, 4 bytes each, then TXT data. True if it is taken.
#[must_use]
pub fn record_of_bytes(bytes: &[u8]) -> bool {
    let Some(([high, low, count], rest)) = bytes.split_first_chunk::<3>() else {
        return false;
    };
    let mut rest = rest;
    let mut ips = Vec::new();
    for _ in 0..*count {
        let Some((ip, further)) = rest.split_first_chunk::<4>() else {
            break;
        };
        ips.push(IpAddr::from(*ip));
        rest = further;
    }
    let port = u16::from_be_bytes([*high, *low]);
    let me = DeviceId([0; 32]);
    let Some((device, addrs, _)) = record(&me, "probe._ccpeer._udp.local.", port, &ips, rest)
    else {
        return false;
    };
    assert!(
        device != me && !addrs.is_empty() && addrs.len() <= limits::ADDRESSES_PER_PEER_MAX,
        "discovery let a record pass that it must not"
    );
    true
}

/// A message of the pairing exchange, without its frame, taken in as whoever
/// waits for it would, up to the key. Given back as we would have written it, if
/// it is one.
#[must_use]
pub fn pairing_message(bytes: &[u8]) -> Option<Vec<u8>> {
    pairing::heard(bytes)
}

/// What a person has typed or pasted in order to join: whether it is a code or a
/// ticket.
#[must_use]
pub fn pairing_secret(text: &str) -> bool {
    JoinSecret::parse(text).is_ok()
}

/// A frame as it travels: length and bytes, whatever they are and however many.
#[must_use]
pub fn framed(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&len.to_le_bytes()[..], bytes].concat()
}

/// Keys and values of TXT data, as far as it is whole.
fn texts_of(mut txt: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut texts = Vec::new();
    while let Some((len, rest)) = txt.split_first() {
        let Some((text, further)) = rest.split_at_checked(usize::from(*len)) else {
            break;
        };
        txt = further;
        let at = text.iter().position(|b| *b == b'=').unwrap_or(text.len());
        let (name, value) = text.split_at(at);
        texts.push((name.to_vec(), value.get(1..).unwrap_or_default().to_vec()));
    }
    texts
}

/// Runs a reader over bytes in memory. It never waits, but its deadlines need a
/// clock to be set by.
fn at_once<T>(reader: impl Future<Output = T>) -> Option<T> {
    static CLOCK: OnceLock<Option<Runtime>> = OnceLock::new();
    let clock = CLOCK.get_or_init(|| Builder::new_current_thread().enable_time().build().ok());
    let _within = clock.as_ref()?.enter();
    match pin!(reader).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
