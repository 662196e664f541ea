//! One zstd stream over one chunk stream, in both directions, in bounded memory.
//! It may begin from bytes that both sides have. Knows no chunk and no peer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, Operation};
use zstd::zstd_safe::{InBuffer, OutBuffer};

/// Of what is short: mostly one turn, which is waited for.
const LEVEL: i32 = 3;
/// Of a stream that goes on: a hundredth less for a tenth more time.
const LEVEL_LONG: i32 = 4;
/// How far back content may refer: what one request holds, mostly.
const WINDOW_LOG: u32 = 22;
/// Bytes that are packed or unpacked in one go.
const PIECE_BYTES: usize = 16 * 1024;
/// Content that begins so would be taken for a dictionary with tables.
const DICTIONARY_MAGIC: [u8; 4] = 0xEC30_A437u32.to_le_bytes();

/// What both sides begin from, if it may be begun from.
fn usable(near: &[u8]) -> &[u8] {
    if near.starts_with(&DICTIONARY_MAGIC) {
        return &[];
    }
    near
}

/// Packs. `None` from any call: there is no memory for it.
pub(crate) struct Packer<'a>(Encoder<'a>);

impl Packer<'static> {
    /// For a stream of any length.
    pub(crate) fn new(near: &[u8]) -> Option<Self> {
        let mut encoder = Encoder::with_dictionary(LEVEL_LONG, usable(near)).ok()?;
        encoder
            .set_parameter(CParameter::WindowLog(WINDOW_LOG))
            .ok()?;
        Some(Self(encoder))
    }
}

impl<'a> Packer<'a> {
    /// For exactly `len` bytes. What is near is referred to where it lies, and the
    /// tables are as large as that much needs: half of what a turn's packing takes.
    pub(crate) fn of(near: &'a [u8], len: usize) -> Option<Self> {
        let mut encoder = Encoder::with_ref_prefix(LEVEL, usable(near)).ok()?;
        let len = u64::try_from(len).ok()?;
        encoder.set_pledged_src_size(Some(len)).ok()?;
        Some(Self(encoder))
    }

    pub(crate) fn pack(&mut self, content: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut input = InBuffer::around(content);
        while input.pos() < content.len() {
            self.step(out, |encoder, room| encoder.run(&mut input, room))?;
        }
        Some(())
    }

    /// All that was packed can be unpacked by whoever has `out`.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> Option<()> {
        while self.step(out, |encoder, room| encoder.flush(room))? > 0 {}
        Some(())
    }

    fn step(
        &mut self,
        out: &mut Vec<u8>,
        run: impl FnOnce(&mut Encoder<'a>, &mut OutBuffer<'_, [u8]>) -> io::Result<usize>,
    ) -> Option<usize> {
        let mut piece = [0u8; PIECE_BYTES];
        let mut room = OutBuffer::around(&mut piece[..]);
        let left = run(&mut self.0, &mut room).ok()?;
        let written = room.pos();
        out.extend_from_slice(piece.get(..written)?);
        Some(left)
    }
}

/// Unpacks what it reads; never takes more memory than its window and a piece,
/// whatever the bytes claim.
pub(crate) struct Unpacker<R> {
    inner: R,
    decoder: Decoder<'static>,
    piece: Box<[u8]>,
    /// What of the piece was read and not yet unpacked.
    from: usize,
    to: usize,
    /// There may be more inside than there was room for.
    held: bool,
    broken: bool,
}

impl<R> Unpacker<R> {
    pub(crate) fn new(inner: R, near: &[u8]) -> io::Result<Self> {
        let mut decoder = Decoder::with_dictionary(usable(near))?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
        Ok(Self {
            inner,
            decoder,
            piece: vec![0; PIECE_BYTES].into_boxed_slice(),
            from: 0,
            to: 0,
            held: false,
            broken: false,
        })
    }

    /// Whether it ended because the bytes are no packing.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(crate) fn inner(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Unpacks what is there. True if that gave anything.
    fn unpack(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        let mut input = InBuffer::around(self.piece.get(self.from..self.to).unwrap_or_default());
        let room = buffer.initialize_unfilled();
        let mut output = OutBuffer::around(room);
        let run = self.decoder.run(&mut input, &mut output);
        let (read, written) = (input.pos(), output.pos());
        self.from += read;
        buffer.advance(written);
        self.held = buffer.remaining() == 0;
        if let Err(error) = run {
            self.broken = true;
            return Err(error);
        }
        Ok(written > 0)
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Unpacker<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            // Asked again and again without anything new, it would give up.
            while this.held || this.from < this.to {
                let before = this.from;
                if this.unpack(buffer)? {
                    return Poll::Ready(Ok(()));
                }
                if this.from == before && this.from < this.to {
                    this.broken = true;
                    return Poll::Ready(Ok(()));
                }
            }
            let mut piece = ReadBuf::new(&mut this.piece);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut piece))?;
            (this.from, this.to) = (0, piece.filled().len());
            if this.to == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// In both ways.
    fn packed(near: &[u8], content: &[u8]) -> [Vec<u8>; 2] {
        let long = Packer::new(near).unwrap();
        let short = Packer::of(near, content.len()).unwrap();
        [long, short].map(|mut packer| {
            let mut out = Vec::new();
            // Piece by piece, as chunks come.
            for part in content.chunks(7000) {
                packer.pack(part, &mut out).unwrap();
            }
            packer.flush(&mut out).unwrap();
            out
        })
    }

    async fn unpacked(near: &[u8], bytes: &[u8], len: usize) -> io::Result<Vec<u8>> {
        let mut unpacker = Unpacker::new(bytes, near)?;
        let mut content = vec![0; len];
        unpacker.read_exact(&mut content).await?;
        Ok(content)
    }

    #[tokio::test]
    async fn what_both_sides_have_is_not_sent() {
        let mut near = vec![0u8; 100_000];
        getrandom::fill(&mut near).unwrap();
        let content = [&near[20_000..], b"and a little more"].concat();
        for small in packed(&near, &content) {
            assert!(small.len() < 200, "{} bytes", small.len());
            assert_eq!(
                unpacked(&near, &small, content.len()).await.unwrap(),
                content
            );
            // Begun from something else, it is something else, or nothing.
            let other = unpacked(&[7; 100_000], &small, content.len()).await;
            assert!(other.is_err() || other.unwrap() != content);
        }
        for alone in packed(&[], &content) {
            assert!(alone.len() > 70_000);
            assert_eq!(unpacked(&[], &alone, content.len()).await.unwrap(), content);
        }
    }

    #[tokio::test]
    async fn content_that_looks_like_a_dictionary_is_none() {
        let near = [&DICTIONARY_MAGIC[..], &[9; 5000]].concat();
        for small in packed(&near, &[9; 5000]) {
            assert_eq!(unpacked(&near, &small, 5000).await.unwrap(), [9; 5000]);
        }
    }

    #[tokio::test]
    async fn k_n05_a_window_that_is_too_wide_is_refused() {
        let mut wide = Encoder::new(LEVEL).unwrap();
        wide.set_parameter(CParameter::WindowLog(27)).unwrap();
        let mut out = Vec::new();
        let mut packer = Packer(wide);
        packer.pack(&[0; 1 << 20], &mut out).unwrap();
        packer.flush(&mut out).unwrap();
        let mut unpacker = Unpacker::new(&out[..], &[]).unwrap();
        let mut content = vec![0; 1 << 20];
        assert!(unpacker.read_exact(&mut content).await.is_err());
        assert!(unpacker.is_broken());
        let mut unpacker = Unpacker::new(&b"no zstd at all"[..], &[]).unwrap();
        assert!(unpacker.read_exact(&mut content).await.is_err());
        assert!(unpacker.is_broken());
    }
}
