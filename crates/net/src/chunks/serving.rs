//! The side that answers: content from a [`ChunkSource`], packed step by step on a
//! thread that may block, so that no more is in memory than is being written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::limits;
use iroh::endpoint::{RecvStream, SendStream};
use tokio::sync::Semaphore;

use super::request::{Request, read_request};
use super::{ALONE, ALONG, ChunkAnswer, ChunkSource, END, HELD, NEAR, NOT_HELD, near_of};
use crate::error::DownReason;
use crate::frame::{self, WriteEnd};
use crate::packing::Packer;
use crate::timing::Timing;

/// Content that is packed before it is sent; more only if one chunk is more.
const STEP_BYTES: usize = 256 * 1024;

/// Serves one peer's requests.
pub(crate) struct Server {
    peer: DeviceId,
    source: Arc<dyn ChunkSource>,
    /// Bounds the content, and the packers, that are in memory for this peer.
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
        let Some(request) = request else {
            return Ok(());
        };
        let Ok(_slot) = self.slots.acquire().await else {
            return Ok(());
        };
        let mut serving = Serving::new(self.peer, Arc::clone(&self.source), request);
        loop {
            // A source that panics has nothing more for this peer.
            let step = tokio::task::spawn_blocking(move || {
                let bytes = serving.step();
                (serving, bytes)
            });
            let Ok((back, bytes)) = step.await else {
                return Ok(());
            };
            serving = back;
            let Some(bytes) = bytes else { break };
            match frame::write_all(&mut send, &bytes, progress).await {
                Ok(()) => {}
                Err(WriteEnd::Over) => return Ok(()),
                Err(WriteEnd::Stuck) => return Err(DownReason::TooSlow),
            }
            self.served
                .fetch_add(serving.take_served(), Ordering::Relaxed);
        }
        let _ = send.finish();
        Ok(())
    }
}

/// An answer in the making. Every step may block.
pub(super) struct Serving {
    peer: DeviceId,
    source: Arc<dyn ChunkSource>,
    near: Vec<ChunkId>,
    since: Option<ChunkId>,
    ids: std::vec::IntoIter<ChunkId>,
    along: std::vec::IntoIter<ChunkId>,
    along_bytes: usize,
    packer: Option<Packer<'static>>,
    served: u64,
    ended: bool,
}

impl Serving {
    pub(super) fn new(peer: DeviceId, source: Arc<dyn ChunkSource>, request: Request) -> Self {
        Self {
            peer,
            source,
            near: request.near,
            since: request.since,
            ids: request.ids.into_iter(),
            along: Vec::new().into_iter(),
            along_bytes: limits::FETCH_ALONG_BYTES_MAX,
            packer: None,
            served: 0,
            ended: false,
        }
    }

    /// Whether the answer is whole.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// How many chunks were given since this was last asked.
    fn take_served(&mut self) -> u64 {
        std::mem::take(&mut self.served)
    }

    /// The next bytes of the answer: as many chunks as fill a step.
    pub(super) fn step(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        let mut out = Vec::new();
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut raw = 0;
        while raw < STEP_BYTES && !self.ended {
            let next = self.next_answer();
            self.ended = next.is_none();
            for part in next.into_iter().flatten() {
                raw += part.len();
                parts.push(part);
            }
        }
        if self.ended {
            raw += 1;
            parts.push(vec![END]);
        }
        let mut put = |packer: &mut Packer<'_>| {
            for part in &parts {
                packer.pack(part, &mut out)?;
            }
            packer.flush(&mut out)
        };
        if let Some(packer) = &mut self.packer {
            put(packer)?;
            return Some(out);
        }
        let near = self.begin();
        let mut begun = vec![if near.is_empty() { ALONE } else { NEAR }];
        if self.ended {
            // That is all of it: a turn, mostly.
            put(&mut Packer::of(&near, raw)?)?;
        } else {
            let packer = self.packer.insert(Packer::new(&near)?);
            put(packer)?;
        }
        begun.append(&mut out);
        Some(begun)
    }

    /// What both sides begin from.
    fn begin(&self) -> Vec<u8> {
        let contents: Option<Vec<Vec<u8>>> = self.near.iter().map(|id| self.content(id)).collect();
        near_of(contents.iter().flatten().map(Vec::as_slice))
    }

    /// The parts of the next answer.
    fn next_answer(&mut self) -> Option<[Vec<u8>; 2]> {
        if let Some(id) = self.ids.next() {
            self.served += 1;
            let Some(content) = self.content(&id) else {
                return Some([vec![NOT_HELD], Vec::new()]);
            };
            if let Some(since) = self.since {
                let beyond = self.source.beyond(&content, &since);
                if !beyond.is_empty() {
                    self.since = None;
                    self.along = beyond.into_iter();
                }
            }
            return Some([head(HELD, &content), content]);
        }
        // Asking for the rest is cheaper than having it twice.
        let id = self.along.next()?;
        let content = self.content(&id)?;
        self.along_bytes = self.along_bytes.checked_sub(content.len())?;
        Some([head(ALONG, &content), content])
    }

    fn content(&self, id: &ChunkId) -> Option<Vec<u8>> {
        // One that cannot be read is not held.
        let get = || self.source.get(&self.peer, id);
        let got = std::panic::catch_unwind(std::panic::AssertUnwindSafe(get));
        match got.unwrap_or(ChunkAnswer::NotHeld) {
            ChunkAnswer::Content(content) => {
                assert!(
                    content.len() <= limits::CHUNK_BYTES_MAX,
                    "chunk of our own is too long"
                );
                Some(content)
            }
            ChunkAnswer::NotHeld => None,
        }
    }
}

fn head(status: u8, content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut head = vec![status];
    head.extend_from_slice(&len.to_le_bytes());
    head
}
