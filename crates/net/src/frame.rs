//! Frames: a `u32` length, little endian, and that many bytes. The length is
//! checked before anything is allocated. Knows nothing of what is inside.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::LinkFault;

/// Bytes that must arrive, or be taken, within one progress deadline.
const PIECE_BYTES: usize = 32 * 1024;

/// Why there is no next frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameEnd {
    /// The stream ended between two frames, or the connection is gone.
    Over,
    /// The peer broke the rules of framing.
    Fault(LinkFault),
}

/// Reads the next frame.
///
/// `first` is how long its first byte may take; `None` where something else
/// watches over a silent peer. From then on the frame must go forward: its length
/// and its first piece together within `progress`, then each further piece.
pub(crate) async fn read_frame<R: AsyncRead + Unpin>(
    stream: &mut R,
    limit: usize,
    first: Option<Duration>,
    progress: Duration,
) -> Result<Vec<u8>, FrameEnd> {
    let mut begin = [0u8; 1];
    let waited = match first {
        Some(patience) => timeout(patience, stream.read(&mut begin)).await,
        None => Ok(stream.read(&mut begin).await),
    };
    match waited {
        Ok(Ok(1)) => {}
        Ok(_) => return Err(FrameEnd::Over),
        Err(_) => return Err(FrameEnd::Fault(LinkFault::FrameCut)),
    }
    let deadline = Instant::now() + progress;
    let mut rest = [0u8; 3];
    fill(stream, &mut rest, deadline).await?;
    let len = u32::from_le_bytes([begin[0], rest[0], rest[1], rest[2]]);
    let wanted = usize::try_from(len).unwrap_or(usize::MAX);
    if wanted == 0 || wanted > limit {
        return Err(FrameEnd::Fault(LinkFault::FrameLength { len, limit }));
    }
    let mut bytes = vec![0u8; wanted];
    let (begun, further) = bytes.split_at_mut(wanted.min(PIECE_BYTES));
    fill(stream, begun, deadline).await?;
    read_all(stream, further, progress).await?;
    Ok(bytes)
}

/// Fills `buffer`; every piece of it must arrive within `progress`.
pub(crate) async fn read_all<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut [u8],
    progress: Duration,
) -> Result<(), FrameEnd> {
    for piece in buffer.chunks_mut(PIECE_BYTES) {
        fill(stream, piece, Instant::now() + progress).await?;
    }
    Ok(())
}

async fn fill<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut [u8],
    deadline: Instant,
) -> Result<(), FrameEnd> {
    match timeout_at(deadline, stream.read_exact(buffer)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(FrameEnd::Over),
        Err(_) => Err(FrameEnd::Fault(LinkFault::FrameCut)),
    }
}

/// Appends a frame to a buffer.
///
/// # Panics
/// If it exceeds `limit`: a mistake of ours.
pub(crate) fn put_frame(buffer: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    assert!(
        !bytes.is_empty() && bytes.len() <= limit,
        "frame of our own is out of bounds"
    );
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&len.to_le_bytes());
    buffer.extend_from_slice(bytes);
}

/// Why bytes were not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteEnd {
    /// The stream or the connection is gone.
    Over,
    /// The peer does not read.
    Stuck,
}

/// Writes bytes; every piece of them must be taken within `progress`.
pub(crate) async fn write_all<W: AsyncWrite + Unpin>(
    stream: &mut W,
    bytes: &[u8],
    progress: Duration,
) -> Result<(), WriteEnd> {
    for piece in bytes.chunks(PIECE_BYTES) {
        match timeout(progress, stream.write_all(piece)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(WriteEnd::Over),
            Err(_) => return Err(WriteEnd::Stuck),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    async fn read(bytes: &[u8]) -> Result<Vec<u8>, FrameEnd> {
        let mut bytes = bytes;
        read_frame(&mut bytes, 64, Some(SOON), SOON).await
    }

    #[tokio::test]
    async fn frames_round_trip() {
        let mut wire = Vec::new();
        put_frame(&mut wire, b"one", 64);
        put_frame(&mut wire, b"two", 64);
        let mut stream = wire.as_slice();
        let mut next = async || read_frame(&mut stream, 64, None, SOON).await;
        assert_eq!(next().await, Ok(b"one".to_vec()));
        assert_eq!(next().await, Ok(b"two".to_vec()));
        assert_eq!(next().await, Err(FrameEnd::Over));
    }

    #[tokio::test]
    async fn k_n02_length_is_checked_before_anything_is_allocated() {
        for len in [0u32, 65, 1 << 31, u32::MAX] {
            let fault = LinkFault::FrameLength { len, limit: 64 };
            assert_eq!(read(&len.to_le_bytes()).await, Err(FrameEnd::Fault(fault)));
        }
        // What a 64-bit length of 2^63 or -1 looks like to us.
        assert_eq!(
            read(&[0xff; 8]).await,
            Err(FrameEnd::Fault(LinkFault::FrameLength {
                len: u32::MAX,
                limit: 64
            }))
        );
    }

    #[tokio::test]
    async fn a_frame_that_stops_half_way_is_an_error() {
        assert_eq!(read(&[3, 0, 0, 0, b'x']).await, Err(FrameEnd::Over));
        let (_keep, mut silent) = tokio::io::duplex(8);
        let waited = read_frame(&mut silent, 64, Some(SOON), SOON).await;
        assert_eq!(waited, Err(FrameEnd::Fault(LinkFault::FrameCut)));
        let (mut dripping, mut end) = tokio::io::duplex(8);
        dripping.write_all(&[9, 0]).await.unwrap();
        let waited = read_frame(&mut end, 64, None, SOON).await;
        assert_eq!(waited, Err(FrameEnd::Fault(LinkFault::FrameCut)));
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_noticed() {
        let (mut ours, _theirs) = tokio::io::duplex(8);
        assert_eq!(
            write_all(&mut ours, &[0; 64], SOON).await,
            Err(WriteEnd::Stuck)
        );
    }
}
