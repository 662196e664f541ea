//! What the agent says, frame by frame.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ApiError;

/// Kind byte of a step of a streamed answer: JSON of one of the structs beside
/// this one.
pub const FRAME_ITEM: u8 = b'I';
/// Kind byte of a [`Progress`], as JSON.
pub const FRAME_PROGRESS: u8 = b'P';
/// Kind byte of the end with the answer, which is JSON.
pub const FRAME_OK: u8 = b'K';
/// Kind byte of the end without success: JSON of an [`ApiError`].
pub const FRAME_ERROR: u8 = b'E';

/// One frame of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A step of a streamed answer.
    Item(Json),
    /// How far long work has come. Shown on a terminal, dropped in a pipe.
    Progress(Progress),
    /// The end, with the answer.
    Ok(Json),
    /// The end, without success.
    Error(ApiError),
}

impl Reply {
    /// Whether this frame ends the answer.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Ok(_) | Self::Error(_))
    }

    /// Kind byte and body of its frame.
    ///
    /// # Errors
    /// None that our own types could cause.
    pub fn to_frame(&self) -> serde_json::Result<(u8, Cow<'_, [u8]>)> {
        Ok(match self {
            Self::Item(item) => (FRAME_ITEM, Cow::Borrowed(&item.0)),
            Self::Progress(progress) => (FRAME_PROGRESS, Cow::Owned(serde_json::to_vec(progress)?)),
            Self::Ok(value) => (FRAME_OK, Cow::Borrowed(&value.0)),
            Self::Error(error) => (FRAME_ERROR, Cow::Owned(serde_json::to_vec(error)?)),
        })
    }

    /// What a frame says; none if it is another protocol's. Documents are read by
    /// whoever knows their type.
    #[must_use]
    pub fn of_frame(kind: u8, body: Vec<u8>) -> Option<Self> {
        match kind {
            FRAME_ITEM => Some(Self::Item(Json(body))),
            FRAME_PROGRESS => serde_json::from_slice(&body).ok().map(Self::Progress),
            FRAME_OK => Some(Self::Ok(Json(body))),
            FRAME_ERROR => serde_json::from_slice(&body).ok().map(Self::Error),
            _ => None,
        }
    }
}

/// A JSON document as it was written. A list of thousands of rows is written once,
/// by the agent, and read at most once, into the type that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(Vec<u8>);

impl Json {
    /// Writes one, without line breaks or spaces between tokens.
    ///
    /// # Errors
    /// None that our own types could cause.
    pub fn of(value: &impl Serialize) -> serde_json::Result<Self> {
        serde_json::to_vec(value).map(Self)
    }

    /// Writes a list, row by row: each is gone before the next is made.
    ///
    /// # Errors
    /// None that our own types could cause.
    pub fn list<T: Serialize>(rows: impl IntoIterator<Item = T>) -> serde_json::Result<Self> {
        let mut text = vec![b'['];
        for row in rows {
            if text.len() > 1 {
                text.push(b',');
            }
            serde_json::to_writer(&mut text, &row)?;
        }
        text.push(b']');
        Ok(Self(text))
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is another type's, or no JSON at all.
    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.0)
    }

    /// The document itself; none if it is no text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

/// How far something has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done: "fetching", "placing", "checking"…
    pub what: String,
    /// Units done.
    pub done: u64,
    /// Units in all; 0 if not known.
    pub total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ErrorCode;

    #[test]
    fn a_frame_says_what_was_said() {
        let progress = Progress {
            what: "placing".to_owned(),
            done: 1,
            total: 2,
        };
        let error = ApiError::new(ErrorCode::Live, "it is open").hint("close it");
        for reply in [
            Reply::Item(Json::of(&[1, 2]).unwrap()),
            Reply::Progress(progress),
            Reply::Ok(Json::of(&"done").unwrap()),
            Reply::Error(error),
        ] {
            let (kind, body) = reply.to_frame().unwrap();
            let body = body.into_owned();
            assert_eq!(Reply::of_frame(kind, body).as_ref(), Some(&reply));
            assert_eq!(
                reply.is_last(),
                matches!(kind, FRAME_OK | FRAME_ERROR),
                "{reply:?}"
            );
        }
    }

    #[test]
    fn another_protocols_frame_says_nothing() {
        assert_eq!(Reply::of_frame(b'R', b"{}".to_vec()), None);
        assert_eq!(Reply::of_frame(FRAME_ERROR, b"{}".to_vec()), None);
        assert_eq!(Reply::of_frame(FRAME_PROGRESS, b"[1".to_vec()), None);
        assert_eq!(Json::list([1, 2]).unwrap(), Json::of(&[1, 2]).unwrap());
        assert_eq!(Json::list([0; 0]).unwrap(), Json::of(&[0; 0]).unwrap());
        let rubbish = Json(b"[1,".to_vec());
        assert!(rubbish.read::<Vec<u8>>().is_err());
        assert_eq!(Json(vec![0xff]).text(), None);
    }
}
