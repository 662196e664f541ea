//! Chunk streams: content goes beside the control stream, one short stream for
//! each request. Answers come one by one in the order of the request, so each is
//! handed on as it arrives and a broken link loses only what had not come.
//!
//! ```text
//! request   frame of: version 2, ids, near, since
//! answer    1 byte: whether `near` is what the packing begins from; then, as one
//!           zstd stream, for each id
//!             0                     not held
//!             1, length u32, bytes  its content
//!           then what comes along, and the end
//!             2, length u32, bytes  a chunk that the manifest has and `since` has not
//!             3                     that was all
//! ```
//!
//! One stream packs what one request asks for, and may begin from content that
//! both sides hold, because what is new in a session is mostly like what was there.
//! Knows nothing of stores: content comes from a [`ChunkSource`] and goes to
//! whoever holds the receiver.

pub(crate) mod parcel;
pub(crate) mod request;
mod serving;
#[cfg(test)]
pub(crate) mod tests;

use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use ccpeer_core::sync::event::FetchFault;
use iroh::endpoint::{Connection, RecvStream};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::error::LinkFault;
use crate::frame::{self, FrameEnd};
use crate::packing::Unpacker;
use crate::timing::Timing;

pub use parcel::parcel;
pub(crate) use parcel::{Parcel, Received as ReceivedParcel};
pub(crate) use request::Request;
#[cfg(test)]
pub(crate) use request::read_request;
pub(crate) use serving::Server;

const NOT_HELD: u8 = 0;
const HELD: u8 = 1;
const ALONG: u8 = 2;
const END: u8 = 3;
/// The first byte of an answer: packed from nothing, or from what is near.
const ALONE: u8 = 0;
const NEAR: u8 = 1;

/// What a peer may fetch.
pub trait ChunkSource: Send + Sync + 'static {
    /// The content of a chunk, if `peer` may have it. Called on a thread that
    /// may block. The content must have been checked against its id.
    fn get(&self, peer: &DeviceId, id: &ChunkId) -> ChunkAnswer;

    /// The chunks below this manifest that `since`, which the peer says it holds
    /// whole, does not have; none if that is not known. Called on a thread that
    /// may block.
    fn beyond(&self, manifest: &[u8], since: &ChunkId) -> Vec<ChunkId>;
}

/// What is asked of a peer in one go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// The chunks, in the order in which they are best packed together.
    pub wants: Vec<Want>,
    /// Chunks that are held here and that the answer is probably like, the most
    /// similar last: it is packed from there. At most [`limits::FETCH_NEAR_MAX`],
    /// of which the last [`limits::FETCH_NEAR_BYTES_MAX`] count.
    pub near: Vec<(ChunkId, Vec<u8>)>,
    /// A manifest that is held whole here: what the manifest asked for has beyond
    /// it comes along, each chunk as content, after all answers.
    pub since: Option<ChunkId>,
}

impl From<Vec<Want>> for Ask {
    fn from(wants: Vec<Want>) -> Self {
        Self {
            wants,
            ..Self::default()
        }
    }
}

/// The answer of a [`ChunkSource`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkAnswer {
    /// Its uncompressed content, at most [`limits::CHUNK_BYTES_MAX`].
    Content(Vec<u8>),
    /// We do not hold it, or not for this peer.
    NotHeld,
}

/// One chunk, or why it did not come; or one that was not asked for and came along.
pub type Fetched = (Want, Result<Vec<u8>, FetchFault>);

/// Asks for chunks and hands each on as it arrives. Every want is answered
/// exactly once. A returned fault is one for which the link must be closed.
pub(crate) async fn fetch(
    conn: &Connection,
    ask: &Ask,
    answers: &mpsc::Sender<Fetched>,
    timing: &Timing,
    heard: impl Fn(),
) -> Result<(), LinkFault> {
    let mut outcome = Ok(());
    for batch in ask.wants.chunks(limits::FETCH_BATCH_MAX) {
        let mut done = 0;
        if outcome.is_ok() {
            outcome = fetch_batch(conn, ask, batch, &mut done, answers, timing, &heard).await;
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
    ask: &Ask,
    batch: &[Want],
    done: &mut usize,
    answers: &mpsc::Sender<Fetched>,
    timing: &Timing,
    heard: &impl Fn(),
) -> Result<(), LinkFault> {
    // Waits here while the peer serves as many streams as it allows.
    let Ok(Ok((mut send, recv))) = timeout(timing.progress, conn.open_bi()).await else {
        return Ok(());
    };
    let request = Request::of(batch, ask);
    if frame::write_all(&mut send, &request.encode(), timing.progress)
        .await
        .is_err()
    {
        return Ok(());
    }
    let _ = send.finish();
    let near = ask.near.iter().map(|(_, content)| content.as_slice());
    let mut reading = Answers::new(recv, &near_of(near), &request, *timing);
    for want in batch {
        let answer = match reading.next().await {
            Ok(answer) => answer,
            Err(FrameEnd::Over | FrameEnd::Fault(LinkFault::FrameCut)) => return Ok(()),
            Err(FrameEnd::Fault(fault)) => {
                let _ = answers.send((*want, Err(FetchFault::Wrong))).await;
                *done += 1;
                return Err(fault);
            }
        };
        heard();
        let result = match answer {
            Answer::NotHeld => Err(FetchFault::NotHeld),
            Answer::Content(bytes) if ChunkId::of(&bytes) == want.id => Ok(bytes),
            Answer::Content(_) => Err(FetchFault::Wrong),
        };
        *done += 1;
        if answers.send((*want, result)).await.is_err() {
            reading.give_up();
            return Ok(());
        }
    }
    loop {
        match reading.along().await {
            Ok(Some(bytes)) => {
                heard();
                let want = Want::data(ChunkId::of(&bytes));
                if answers.send((want, Ok(bytes))).await.is_err() {
                    reading.give_up();
                    return Ok(());
                }
            }
            Ok(None) | Err(FrameEnd::Over | FrameEnd::Fault(LinkFault::FrameCut)) => return Ok(()),
            Err(FrameEnd::Fault(fault)) => return Err(fault),
        }
    }
}

/// One answer, as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The peer does not hold it, or not for us.
    NotHeld,
    /// Unpacked; not yet compared with what was asked for.
    Content(Vec<u8>),
}

/// The answers to one request, as they are read.
pub(crate) struct Answers<R> {
    /// Until the first byte has said how the rest is packed.
    plain: Option<R>,
    packed: Option<Unpacker<R>>,
    near: Vec<u8>,
    /// What may still come along, chunks and bytes.
    room: (usize, usize),
    timing: Timing,
}

impl<R: AsyncRead + Unpin> Answers<R> {
    pub(crate) fn new(recv: R, near: &[u8], request: &Request, timing: Timing) -> Self {
        let asked = request.since.is_some();
        Self {
            plain: Some(recv),
            packed: None,
            near: near.to_vec(),
            room: if asked {
                (limits::FETCH_ALONG_MAX, limits::FETCH_ALONG_BYTES_MAX)
            } else {
                (0, 0)
            },
            timing,
        }
    }

    /// The answer to the next id.
    pub(crate) async fn next(&mut self) -> Result<Answer, FrameEnd> {
        match self.status().await? {
            NOT_HELD => Ok(Answer::NotHeld),
            HELD => Ok(Answer::Content(
                self.content(limits::CHUNK_BYTES_MAX).await?,
            )),
            _ => Err(FrameEnd::Fault(LinkFault::Chunks("unknown status"))),
        }
    }

    /// The next chunk that came along, once all ids are answered.
    pub(crate) async fn along(&mut self) -> Result<Option<Vec<u8>>, FrameEnd> {
        match self.status().await? {
            END => Ok(None),
            ALONG if self.room.0 > 0 => {
                let content = self
                    .content(self.room.1.min(limits::CHUNK_BYTES_MAX))
                    .await?;
                self.room.0 -= 1;
                self.room.1 -= content.len();
                Ok(Some(content))
            }
            _ => Err(FrameEnd::Fault(LinkFault::Chunks("unknown status"))),
        }
    }

    async fn status(&mut self) -> Result<u8, FrameEnd> {
        let mut byte = [0u8; 1];
        if let Some(mut recv) = self.plain.take() {
            frame::read_all(&mut recv, &mut byte, self.timing.progress).await?;
            let near = match byte[0] {
                ALONE => &[][..],
                NEAR if !self.near.is_empty() => &self.near,
                _ => return Err(FrameEnd::Fault(LinkFault::Chunks("unknown packing"))),
            };
            let unpacker = Unpacker::new(recv, near)
                .map_err(|_| FrameEnd::Fault(LinkFault::Chunks("no memory to unpack")))?;
            self.packed = Some(unpacker);
        }
        self.read(&mut byte).await?;
        Ok(byte[0])
    }

    async fn content(&mut self, max: usize) -> Result<Vec<u8>, FrameEnd> {
        let mut len = [0u8; 4];
        self.read(&mut len).await?;
        let len = usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX);
        if len > max {
            return Err(FrameEnd::Fault(LinkFault::Chunks("lengths out of bounds")));
        }
        let mut bytes = vec![0u8; len];
        self.read(&mut bytes).await?;
        Ok(bytes)
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<(), FrameEnd> {
        let Some(packed) = &mut self.packed else {
            return Err(FrameEnd::Over);
        };
        let read = frame::read_all(packed, buffer, self.timing.progress).await;
        if read == Err(FrameEnd::Over) && packed.is_broken() {
            return Err(FrameEnd::Fault(LinkFault::Chunks("cannot be unpacked")));
        }
        read
    }
}

impl Answers<RecvStream> {
    fn give_up(&mut self) {
        let recv = match &mut self.packed {
            Some(packed) => Some(packed.inner()),
            None => self.plain.as_mut(),
        };
        let _ended = recv.map(|recv| recv.stop(0u32.into()));
    }
}

/// What both sides begin from: the end of all that is near.
fn near_of<'a>(contents: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut near = Vec::new();
    for content in contents {
        near.extend_from_slice(content);
        let over = near.len().saturating_sub(limits::FETCH_NEAR_BYTES_MAX);
        near.drain(..over);
    }
    near
}
