//! What is asked on a chunk stream, as it goes over the wire.

use std::time::Duration;

use ccpeer_core::codec;
use ccpeer_core::id::ChunkId;
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;
use tokio::time::timeout;

use super::Ask;
use crate::error::LinkFault;
use crate::frame::{self, FrameEnd};

/// Version of a request.
pub(super) const VERSION: u8 = 2;

/// A request, as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) ids: Vec<ChunkId>,
    pub(crate) near: Vec<ChunkId>,
    pub(crate) since: Option<ChunkId>,
}

impl Request {
    pub(super) fn of(batch: &[Want], ask: &Ask) -> Self {
        Self {
            ids: batch.iter().map(|w| w.id).collect(),
            near: ask.near.iter().map(|(id, _)| *id).collect(),
            since: ask.since,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = vec![VERSION];
        body.extend_from_slice(&codec::encode(self));
        let mut bytes = Vec::with_capacity(body.len() + 4);
        frame::put_frame(&mut bytes, &body, limits::CHUNK_REQUEST_BYTES_MAX);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, LinkFault> {
        let (version, rest) = bytes
            .split_first()
            .ok_or(LinkFault::Chunks("empty request"))?;
        if *version != VERSION {
            return Err(LinkFault::Message(codec::DecodeError::Version(*version)));
        }
        let request: Self =
            codec::decode(rest, limits::CHUNK_REQUEST_BYTES_MAX).map_err(LinkFault::Message)?;
        let bounded = (1..=limits::FETCH_BATCH_MAX).contains(&request.ids.len())
            && request.near.len() <= limits::FETCH_NEAR_MAX;
        if !bounded {
            return Err(LinkFault::Chunks("number of chunks out of bounds"));
        }
        Ok(request)
    }

    /// A request for these and nothing else.
    pub(crate) fn plain(ids: Vec<ChunkId>) -> Self {
        Self {
            ids,
            near: Vec::new(),
            since: None,
        }
    }
}

/// Reads a request as a whole within `progress`. `None` if the peer gave it up.
pub(crate) async fn read_request<R: AsyncRead + Unpin>(
    recv: &mut R,
    progress: Duration,
) -> Result<Option<Request>, LinkFault> {
    let limit = limits::CHUNK_REQUEST_BYTES_MAX;
    let frame = frame::read_frame(recv, limit, None, progress);
    match timeout(progress, frame).await {
        Ok(Ok(bytes)) => Request::decode(&bytes).map(Some),
        Ok(Err(FrameEnd::Over)) => Ok(None),
        Ok(Err(FrameEnd::Fault(fault))) => Err(fault),
        Err(_) => Err(LinkFault::FrameCut),
    }
}
