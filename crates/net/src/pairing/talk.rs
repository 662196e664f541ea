//! The stream on which two devices pair: small frames, each within its time.

use std::time::Duration;

use ccpeer_core::limits;
use iroh::endpoint::{RecvStream, SendStream};
use tokio::time::timeout;

use super::exchange::PairMessage;
use crate::frame::{self, FrameEnd};

/// One conversation.
pub(super) struct Talk {
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
    /// How long the next step may take.
    pub(super) step: Duration,
}

/// Why a conversation does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TalkEnd {
    /// The other side closed; the connection may know why.
    Gone,
    /// It took too long.
    Silent,
    /// It broke the protocol.
    Fault,
}

impl Talk {
    pub(super) async fn say(&mut self, message: &PairMessage) -> Result<(), TalkEnd> {
        let mut bytes = Vec::new();
        frame::put_frame(&mut bytes, &message.to_bytes(), limits::PAIR_BYTES_MAX.1);
        match frame::write_all(&mut self.send, &bytes, self.step).await {
            Ok(()) => Ok(()),
            Err(frame::WriteEnd::Over) => Err(TalkEnd::Gone),
            Err(frame::WriteEnd::Stuck) => Err(TalkEnd::Silent),
        }
    }

    /// Says the last word.
    pub(super) async fn close_with(&mut self, message: &PairMessage) -> Result<(), TalkEnd> {
        self.say(message).await?;
        let _ = self.send.finish();
        Ok(())
    }

    /// Each side hears three frames at most, so a stranger's bytes are bounded.
    pub(super) async fn hear(&mut self) -> Result<PairMessage, TalkEnd> {
        let limit = limits::PAIR_BYTES_MAX.1;
        let frame = frame::read_frame(&mut self.recv, limit, Some(self.step), self.step);
        match timeout(self.step, frame).await {
            Ok(Ok(bytes)) => PairMessage::from_bytes(&bytes).map_err(|_| TalkEnd::Fault),
            Ok(Err(FrameEnd::Over)) => Err(TalkEnd::Gone),
            Ok(Err(FrameEnd::Fault(_))) => Err(TalkEnd::Fault),
            Err(_) => Err(TalkEnd::Silent),
        }
    }
}
