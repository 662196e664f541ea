//! Chunk streams: content goes beside the control stream, one short stream for
//! each request. Answers come one by one in the order of the request, so each is
//! handed on as it arrives and a broken link loses only what had not come.
//!
//! ```text
//! request   frame of: version 1, list of chunk ids
//! answer    status 0: not held
//!           status 1, raw length u32, stored length u32, the bytes
//!           status 2, raw length u32, stored length u32, zstd of the bytes
//! ```
//!
//! Knows nothing of stores: content comes from a [`ChunkSource`] and goes to
//! whoever holds the receiver.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ccpeer_core::codec;
use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use ccpeer_core::sync::event::FetchFault;
use iroh::endpoint::{Connection, RecvStream, SendStream};
use tokio::io::AsyncRead;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::error::{DownReason, LinkFault};
use crate::frame::{self, FrameEnd, WriteEnd};
use crate::timing::Timing;

const VERSION: u8 = 1;
const NOT_HELD: u8 = 0;
const RAW: u8 = 1;
const ZSTD: u8 = 2;
const ZSTD_LEVEL: i32 = 3;
/// Below this, compression costs more than it saves.
const ZSTD_BYTES_MIN: usize = 256;

/// What a peer may fetch.
pub trait ChunkSource: Send + Sync + 'static {
    /// The content of a chunk, if `peer` may have it. Called on a thread that
    /// may block. The content must have been checked against its id.
    fn get(&self, peer: &DeviceId, id: &ChunkId) -> ChunkAnswer;
}

/// The answer of a [`ChunkSource`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkAnswer {
    /// Its uncompressed content, at most [`limits::CHUNK_BYTES_MAX`].
    Content(Vec<u8>),
    /// We do not hold it, or not for this peer.
    NotHeld,
}

/// One chunk, or why it did not come.
pub type Fetched = (Want, Result<Vec<u8>, FetchFault>);

/// Asks for chunks and hands each on as it arrives. Every want is answered
/// exactly once. A returned fault is one for which the link must be closed.
pub(crate) async fn fetch(
    conn: &Connection,
    wants: &[Want],
    answers: &mpsc::Sender<Fetched>,
    timing: &Timing,
    heard: impl Fn(),
) -> Result<(), LinkFault> {
    let mut outcome = Ok(());
    for batch in wants.chunks(limits::FETCH_BATCH_MAX) {
        let mut done = 0;
        if outcome.is_ok() {
            outcome = fetch_batch(conn, batch, &mut done, answers, timing, &heard).await;
        }
        for want in batch.iter().skip(done) {
            // Nobody waits any more: not an error, the fetch was given up.
            if answers.send((*want, Err(FetchFault::Link))).await.is_err() {
                return outcome;
            }
        }
    }
    outcome
}

async fn fetch_batch(
    conn: &Connection,
    batch: &[Want],
    done: &mut usize,
    answers: &mpsc::Sender<Fetched>,
    timing: &Timing,
    heard: &impl Fn(),
) -> Result<(), LinkFault> {
    // Waits here while the peer serves as many streams as it allows.
    let Ok(Ok((mut send, mut recv))) = timeout(timing.progress, conn.open_bi()).await else {
        return Ok(());
    };
    let request = encode_request(batch);
    if frame::write_all(&mut send, &request, timing.progress)
        .await
        .is_err()
    {
        return Ok(());
    }
    let _ = send.finish();
    let mut zstd = None;
    for want in batch {
        let answer = match read_answer(&mut recv, &mut zstd, timing).await {
            Ok(answer) => answer,
            Err(FrameEnd::Over) => return Ok(()),
            Err(FrameEnd::Fault(LinkFault::FrameCut)) => return Ok(()),
            Err(FrameEnd::Fault(fault)) => {
                let _ = answers.send((*want, Err(FetchFault::Wrong))).await;
                *done += 1;
                return Err(fault);
            }
        };
        heard();
        let result = match answer {
            Answer::NotHeld => Err(FetchFault::NotHeld),
            Answer::Broken => Err(FetchFault::Wrong),
            Answer::Content(bytes) if ChunkId::of(&bytes) == want.id => Ok(bytes),
            Answer::Content(_) => Err(FetchFault::Wrong),
        };
        *done += 1;
        if answers.send((*want, result)).await.is_err() {
            let _ = recv.stop(0u32.into());
            return Ok(());
        }
    }
    Ok(())
}

/// One answer, as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The peer does not hold it, or not for us.
    NotHeld,
    /// Cannot be unpacked to what was announced.
    Broken,
    /// Unpacked; not yet compared with what was asked for.
    Content(Vec<u8>),
}

/// Reads one answer. `zstd` is kept for the next one.
pub(crate) async fn read_answer<R: AsyncRead + Unpin>(
    recv: &mut R,
    zstd: &mut Option<zstd::bulk::Decompressor<'static>>,
    timing: &Timing,
) -> Result<Answer, FrameEnd> {
    let mut status = [0u8; 1];
    frame::read_all(recv, &mut status, timing.progress).await?;
    if status[0] == NOT_HELD {
        return Ok(Answer::NotHeld);
    }
    let (mut raw_len, mut stored_len) = ([0u8; 4], [0u8; 4]);
    frame::read_all(recv, &mut raw_len, timing.progress).await?;
    frame::read_all(recv, &mut stored_len, timing.progress).await?;
    let (raw_len, stored_len) = (u32::from_le_bytes(raw_len), u32::from_le_bytes(stored_len));
    let [raw, stored] = [raw_len, stored_len].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let fits = match status[0] {
        RAW => stored == raw,
        ZSTD => stored > 0 && stored < raw,
        _ => return Err(FrameEnd::Fault(LinkFault::Chunks("unknown status"))),
    };
    if raw > limits::CHUNK_BYTES_MAX || !fits {
        return Err(FrameEnd::Fault(LinkFault::Chunks("lengths out of bounds")));
    }
    let mut bytes = vec![0u8; stored];
    frame::read_all(recv, &mut bytes, timing.progress).await?;
    if status[0] == RAW {
        return Ok(Answer::Content(bytes));
    }
    Ok(unpack(&bytes, raw, zstd).map_or(Answer::Broken, Answer::Content))
}

/// Decompresses to exactly `raw_len` bytes; never writes one more.
fn unpack(
    bytes: &[u8],
    raw_len: usize,
    zstd: &mut Option<zstd::bulk::Decompressor<'static>>,
) -> Option<Vec<u8>> {
    if zstd.is_none() {
        *zstd = Some(zstd::bulk::Decompressor::new().ok()?);
    }
    let mut raw = vec![0u8; raw_len];
    // A slice, not a `Vec`: its length is the bound, not its capacity.
    let written = zstd
        .as_mut()?
        .decompress_to_buffer(bytes, raw.as_mut_slice())
        .ok()?;
    (written == raw_len).then_some(raw)
}

fn encode_request(batch: &[Want]) -> Vec<u8> {
    let ids: Vec<ChunkId> = batch.iter().map(|w| w.id).collect();
    let mut body = vec![VERSION];
    body.extend_from_slice(&codec::encode(&ids));
    let mut bytes = Vec::with_capacity(body.len() + 4);
    frame::put_frame(&mut bytes, &body, limits::CHUNK_REQUEST_BYTES_MAX);
    bytes
}

fn decode_request(bytes: &[u8]) -> Result<Vec<ChunkId>, LinkFault> {
    let (version, rest) = bytes
        .split_first()
        .ok_or(LinkFault::Chunks("empty request"))?;
    if *version != VERSION {
        return Err(LinkFault::Message(codec::DecodeError::Version(*version)));
    }
    let ids: Vec<ChunkId> =
        codec::decode(rest, limits::CHUNK_REQUEST_BYTES_MAX).map_err(LinkFault::Message)?;
    if ids.is_empty() || ids.len() > limits::FETCH_BATCH_MAX {
        return Err(LinkFault::Chunks("number of chunks out of bounds"));
    }
    Ok(ids)
}

/// Reads a request as a whole within `progress`. `None` if the peer gave it up.
pub(crate) async fn read_request<R: AsyncRead + Unpin>(
    recv: &mut R,
    progress: Duration,
) -> Result<Option<Vec<ChunkId>>, LinkFault> {
    let limit = limits::CHUNK_REQUEST_BYTES_MAX;
    let frame = frame::read_frame(recv, limit, None, progress);
    match timeout(progress, frame).await {
        Ok(Ok(bytes)) => decode_request(&bytes).map(Some),
        Ok(Err(FrameEnd::Over)) => Ok(None),
        Ok(Err(FrameEnd::Fault(fault))) => Err(fault),
        Err(_) => Err(LinkFault::FrameCut),
    }
}

/// Serves one peer's requests.
pub(crate) struct Server {
    peer: DeviceId,
    source: Arc<dyn ChunkSource>,
    /// Bounds the content that is in memory for this peer.
    slots: Arc<Semaphore>,
    timing: Timing,
    served: Arc<AtomicU64>,
}

impl Server {
    pub(crate) fn new(
        peer: DeviceId,
        source: Arc<dyn ChunkSource>,
        timing: Timing,
        served: Arc<AtomicU64>,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(limits::SERVES_PER_PEER_MAX));
        Self {
            peer,
            source,
            slots,
            timing,
            served,
        }
    }

    /// Answers one request. An error is a reason to end the link: a fault of the
    /// peer, or that it asks and does not listen.
    pub(crate) async fn serve(
        &self,
        mut send: SendStream,
        mut recv: RecvStream,
    ) -> Result<(), DownReason> {
        let progress = self.timing.progress;
        let request = read_request(&mut recv, progress)
            .await
            .map_err(DownReason::Fault)?;
        for id in request.into_iter().flatten() {
            let Ok(_slot) = self.slots.acquire().await else {
                return Ok(());
            };
            let (source, peer) = (Arc::clone(&self.source), self.peer);
            let answer = tokio::task::spawn_blocking(move || {
                let answer = source.get(&peer, &id);
                encode_answer(answer)
            });
            // A source that panics has nothing for this peer.
            let bytes = answer.await.unwrap_or_else(|_| vec![NOT_HELD]);
            match frame::write_all(&mut send, &bytes, progress).await {
                Ok(()) => {}
                Err(WriteEnd::Over) => return Ok(()),
                Err(WriteEnd::Stuck) => return Err(DownReason::TooSlow),
            }
            self.served.fetch_add(1, Ordering::Relaxed);
        }
        let _ = send.finish();
        Ok(())
    }
}

fn encode_answer(answer: ChunkAnswer) -> Vec<u8> {
    let ChunkAnswer::Content(raw) = answer else {
        return vec![NOT_HELD];
    };
    assert!(
        raw.len() <= limits::CHUNK_BYTES_MAX,
        "chunk of our own is too long"
    );
    let packed = (raw.len() >= ZSTD_BYTES_MIN)
        .then(|| zstd::bulk::compress(&raw, ZSTD_LEVEL).ok())
        .flatten()
        .filter(|packed| packed.len() < raw.len());
    let (status, stored) = match &packed {
        Some(packed) => (ZSTD, packed),
        None => (RAW, &raw),
    };
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = Vec::with_capacity(stored.len() + 9);
    bytes.push(status);
    bytes.extend_from_slice(&len(&raw));
    bytes.extend_from_slice(&len(stored));
    bytes.extend_from_slice(stored);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use ccpeer_core::manifest::WantKind;

    #[test]
    fn requests_are_bounded_and_canonical() {
        let want = |n: u8| Want {
            id: ChunkId([n; 32]),
            kind: WantKind::Data,
        };
        let wants: Vec<Want> = (0..16).map(want).collect();
        let bytes = encode_request(&wants);
        let body = &bytes[4..];
        assert_eq!(
            decode_request(body).unwrap(),
            wants.iter().map(|w| w.id).collect::<Vec<_>>()
        );
        // K-N04: bytes after the end.
        let mut longer = body.to_vec();
        longer.push(0);
        assert!(decode_request(&longer).is_err());
        assert!(decode_request(&[]).is_err());
        assert!(decode_request(&[9, 0]).is_err());
        assert!(decode_request(&[VERSION, 0]).is_err());
        let mut too_many = vec![VERSION];
        too_many.extend(codec::encode(&vec![ChunkId([0; 32]); 17]));
        assert!(decode_request(&too_many).is_err());
    }

    /// Bytes that other versions rely on; see PROTOCOL.md.
    #[test]
    fn requests_and_answers_keep_their_bytes() {
        let want = Want {
            id: ChunkId([3; 32]),
            kind: WantKind::Data,
        };
        let request = encode_request(&[want]);
        assert_eq!(request[..6], [34, 0, 0, 0, 1, 1]);
        assert_eq!(request[6..], [3; 32]);
        let answer = encode_answer(ChunkAnswer::Content(b"ab".to_vec()));
        assert_eq!(answer, [1, 2, 0, 0, 0, 2, 0, 0, 0, b'a', b'b']);
    }

    #[test]
    fn k_n05_a_bomb_writes_nothing_past_its_announced_length() {
        let bomb = zstd::bulk::compress(&vec![0u8; 64 * 1024 * 1024], 3).unwrap();
        assert!(bomb.len() < 64 * 1024);
        let mut zstd = None;
        for announced in [1, 100_000, limits::CHUNK_BYTES_MAX] {
            assert_eq!(unpack(&bomb, announced, &mut zstd), None);
        }
        let packed = zstd::bulk::compress(&[7u8; 1000], 3).unwrap();
        assert_eq!(unpack(&packed, 999, &mut zstd), None);
        assert_eq!(unpack(&packed, 1001, &mut zstd), None);
        assert_eq!(unpack(&packed, 1000, &mut zstd), Some(vec![7u8; 1000]));
        assert_eq!(unpack(b"no zstd at all", 1000, &mut zstd), None);
    }

    #[test]
    fn answers_are_compressed_where_it_pays() {
        assert_eq!(encode_answer(ChunkAnswer::NotHeld), [NOT_HELD]);
        let short = encode_answer(ChunkAnswer::Content(b"short".to_vec()));
        assert_eq!(short[0], RAW);
        let text = encode_answer(ChunkAnswer::Content(vec![b'a'; 50_000]));
        assert_eq!(text[0], ZSTD);
        assert!(text.len() < 200);
        let mut noise = vec![0u8; 10_000];
        getrandom::fill(&mut noise).unwrap();
        assert_eq!(encode_answer(ChunkAnswer::Content(noise))[0], RAW);
    }
}
