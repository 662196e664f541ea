//! How jobs and the server reach the driver. Must not know what it does with what it
//! is told.

use std::sync::Arc;

use ccpeer_core::entry::Payload;
use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::sync::effect::Notice;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{Ask, CaptureDone, Cause, Input, Shared};
use crate::api::{ApiError, ErrorCode};

/// How jobs and the server reach the driver.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) tx: mpsc::Sender<Input>,
    pub(crate) shared: Arc<Shared>,
}

impl Handle {
    /// States something; durable and on its way to peers when this returns.
    pub(crate) async fn append(&self, payload: Payload) -> Result<EntryHash, ApiError> {
        let (tx, rx) = oneshot::channel();
        self.send(Input::Append(payload, tx)).await?;
        rx.await.map_err(|_| stopping())?
    }

    /// Captures a session and waits for the outcome.
    pub(crate) async fn capture(&self, session: SessionId) -> Result<CaptureDone, ApiError> {
        let (tx, rx) = oneshot::channel();
        self.send(Input::Capture(session, Cause::Asked, Some(tx)))
            .await?;
        rx.await.map_err(|_| stopping())
    }

    /// Keeps captures away from a session's files for as long as the answer
    /// lives.
    pub(crate) async fn hold(&self, session: SessionId) -> Result<Until, ApiError> {
        let (tx, rx) = oneshot::channel();
        // Whatever happens from here on, it is let go of.
        let hold = self.at_the_end(Input::Release(session));
        if self.send(Input::Hold(session, tx)).await.is_err() || rx.await.is_err() {
            return Err(stopping());
        }
        Ok(hold)
    }

    /// Lets the capture of a session begin whose turn has ended, although the event
    /// that says so is not durable yet. It is not concluded before the event is
    /// heeded, or the answer is dropped.
    ///
    /// Where the driver has much to do it is not worth waiting for.
    pub(crate) fn begin_early(
        &self,
        session: SessionId,
        last_reply: Option<String>,
    ) -> Option<Until> {
        let early = Input::Early(session, last_reply);
        self.tx.try_send(early).ok()?;
        Some(self.at_the_end(Input::Heard(session)))
    }

    /// Asks the read models.
    pub(crate) async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Ask,
    ) -> Result<T, ApiError> {
        let (tx, rx) = oneshot::channel();
        self.send(Input::Ask(question(tx))).await?;
        rx.await.map_err(|_| stopping())
    }

    /// What happens from now on.
    pub(crate) fn notices(&self) -> broadcast::Receiver<Notice> {
        self.shared.notices.subscribe()
    }

    fn at_the_end(&self, end: Input) -> Until {
        Until {
            end: Some(end),
            tx: self.tx.clone(),
        }
    }

    pub(crate) async fn send(&self, input: Input) -> Result<(), ApiError> {
        self.tx.send(input).await.map_err(|_| stopping())
    }
}

/// Something that the driver does for as long as this lives: it is told the end.
#[must_use]
pub(crate) struct Until {
    end: Option<Input>,
    tx: mpsc::Sender<Input>,
}

impl Drop for Until {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            let tx = self.tx.clone();
            tokio::spawn(async move { tx.send(end).await });
        }
    }
}

pub(super) fn stopping() -> ApiError {
    ApiError::new(ErrorCode::Agent, "the agent is stopping").hint("start it with `ccpeer up`")
}
