//! Frames of the local protocol on the agent's side: the asynchronous twin of
//! [`crate::client`].

use std::io;

use ccpeer_core::limits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::api::Reply;

/// Bytes of a body that go with its head.
const BEGIN_BYTES: usize = 16 * 1024;

/// Reads one frame; `None` at an orderly end.
pub(crate) async fn read<R: AsyncRead + Unpin>(from: &mut R) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut len = [0u8; 4];
    match from.read_exact(&mut len).await {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    let len = u32::from_le_bytes(len) as usize;
    if len == 0 || len > limits::API_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "frame has an impossible length",
        ));
    }
    let kind = from.read_u8().await?;
    let mut body = Vec::new();
    from.take(len as u64 - 1).read_to_end(&mut body).await?;
    if body.len() + 1 == len {
        Ok(Some((kind, body)))
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Writes one reply.
pub(crate) async fn write<W: AsyncWrite + Unpin>(to: &mut W, reply: &Reply) -> io::Result<()> {
    let (kind, body) = reply.to_frame()?;
    let len = u32::try_from(body.len() + 1).unwrap_or(u32::MAX);
    if len as usize > limits::API_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "reply is too long",
        ));
    }
    // What is short goes in one write, what is long without a copy.
    let (begin, rest) = body.split_at(body.len().min(BEGIN_BYTES));
    let mut frame = Vec::with_capacity(begin.len() + 5);
    frame.extend_from_slice(&len.to_le_bytes());
    frame.push(kind);
    frame.extend_from_slice(begin);
    to.write_all(&frame).await?;
    to.write_all(rest).await?;
    to.flush().await
}
