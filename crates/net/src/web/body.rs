//! What comes with a request, and what goes with an answer.
//! Must not know what it means.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ccpeer_core::limits;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, timeout_at};

/// The body of a request, not read yet.
pub struct Upload {
    body: Incoming,
    /// Nothing more comes of it.
    over: bool,
}

/// Why a body cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// More bytes than are taken.
    #[error("the body is longer than is taken")]
    TooLarge,
    /// It did not come in time.
    #[error("the body did not come in time")]
    TooSlow,
    /// The connection ended, or what came is no body.
    #[error("the body broke off")]
    Broken,
}

impl Upload {
    pub(super) fn new(body: Incoming) -> Self {
        let over = body.is_end_stream();
        Self { body, over }
    }

    /// All of it, if that is no more than `max` bytes and comes at a fair pace.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub async fn read(&mut self, max: usize) -> Result<Vec<u8>, UploadError> {
        if self.body.size_hint().lower() > max as u64 {
            return Err(UploadError::TooLarge);
        }
        let mut bytes = Vec::new();
        // What was said of the length is not believed before it comes.
        let mut deadline = Instant::now() + Duration::from_millis(limits::WEB_BODY_PAUSE_MS);
        let mut since = 0;
        while let Some(piece) = self.next(deadline).await? {
            if bytes.len() + piece.len() > max {
                return Err(UploadError::TooLarge);
            }
            bytes.extend_from_slice(&piece);
            since += piece.len();
            if since >= limits::WEB_BODY_PACE_BYTES {
                since = 0;
                deadline = Instant::now() + Duration::from_millis(limits::WEB_BODY_PAUSE_MS);
            }
        }
        Ok(bytes)
    }

    async fn next(&mut self, deadline: Instant) -> Result<Option<Bytes>, UploadError> {
        while !self.over {
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            let frame = timeout_at(deadline, frame)
                .await
                .map_err(|_| UploadError::TooSlow)?;
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
                Some(Err(_)) => {
                    self.over = true;
                    return Err(UploadError::Broken);
                }
                None => self.over = true,
            }
        }
        Ok(None)
    }

    /// Reads on for a moment, for nothing: whoever is still sending would meet a
    /// closed connection instead of the answer.
    pub(super) async fn drain(&mut self) {
        let deadline = Instant::now() + Duration::from_millis(limits::WEB_DRAIN_MS);
        let mut bytes = 0;
        while let Ok(Some(piece)) = self.next(deadline).await {
            bytes += piece.len();
            if bytes > limits::WEB_DRAIN_BYTES_MAX {
                break;
            }
        }
    }
}

/// A body that is there.
pub(super) struct Once(Option<Bytes>);

impl Once {
    pub(super) fn new(body: Vec<u8>) -> Self {
        Self((!body.is_empty()).then(|| body.into()))
    }
}

impl Body for Once {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|body| Ok(Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |b| b.len() as u64))
    }
}
