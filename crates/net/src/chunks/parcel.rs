//! Parcels: the answer to a request that nobody has made yet. Who states a version
//! knows what its peers will ask for, and how: what they hold is what they said
//! they hold. So it sends both, the request as it would come and its answer, ahead
//! of the entry. Who is given a parcel and then asks for what is in it has it
//! already; who asks for something else has lost nothing.
//!
//! A parcel is a help and no statement: it is as bounded as an answer, it is checked
//! as an answer is, and nobody is told of it before he asks.

use std::sync::{Arc, Mutex, PoisonError};

use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use ccpeer_core::wire::Message;

use super::request::{Request, read_request};
use super::serving::Serving;
use super::{Answer, Answers, Ask, ChunkAnswer, ChunkSource, Fetched, near_of};
use crate::error::LinkFault;
use crate::frame::FrameEnd;
use crate::timing::Timing;

/// Packs the answer to this request, to be sent before it is made; `None` if it
/// would be too long. May block.
#[must_use]
pub fn parcel(me: DeviceId, source: Arc<dyn ChunkSource>, ask: &Ask) -> Option<Message> {
    let request = Request::of(&ask.wants, ask);
    if request.ids.len() > limits::PARCEL_ANSWERS_MAX {
        return None;
    }
    let mut bytes = request.encode();
    let mut serving = Serving::new(me, source, request);
    bytes.extend(serving.step()?);
    // One step is half of what a parcel may hold; more is asked for.
    let whole = serving.is_ended() && bytes.len() <= limits::PARCEL_BYTES_MAX;
    whole.then_some(Message::Parcel(bytes))
}

/// A parcel as it was received: content that is what its ids say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parcel {
    answers: Vec<(ChunkId, Vec<u8>)>,
    along: Vec<Vec<u8>>,
}

impl Parcel {
    /// Opens a parcel. `None` if it was packed from something that is not held
    /// here, or lacks something: then it is no use.
    pub(crate) async fn open(
        from: DeviceId,
        bytes: &[u8],
        source: &Arc<dyn ChunkSource>,
        timing: &Timing,
    ) -> Result<Option<Self>, LinkFault> {
        let fault = |end| match end {
            FrameEnd::Over => LinkFault::FrameCut,
            FrameEnd::Fault(fault) => fault,
        };
        let mut rest = bytes;
        let Some(request) = read_request(&mut rest, timing.progress).await? else {
            return Err(LinkFault::FrameCut);
        };
        if request.ids.len() > limits::PARCEL_ANSWERS_MAX {
            return Err(LinkFault::Chunks("too much in a parcel"));
        }
        let (reader, ids) = (Arc::clone(source), request.near.clone());
        let near = tokio::task::spawn_blocking(move || {
            let content = |id| match reader.get(&from, id) {
                ChunkAnswer::Content(content) => Some(content),
                ChunkAnswer::NotHeld => None,
            };
            ids.iter().map(content).collect::<Option<Vec<_>>>()
        });
        let Ok(Some(near)) = near.await else {
            return Ok(None);
        };
        let near = near_of(near.iter().map(Vec::as_slice));
        let mut reading = Answers::new(rest, &near, &request, *timing);
        let mut parcel = Self::default();
        let mut room = limits::PARCEL_CONTENT_BYTES_MAX;
        let mut fits = |content: &[u8]| {
            room = room
                .checked_sub(content.len())
                .ok_or(LinkFault::Chunks("too much in a parcel"))?;
            Ok(())
        };
        for id in request.ids {
            match reading.next().await.map_err(fault)? {
                Answer::NotHeld => return Ok(None),
                Answer::Content(content) => {
                    fits(&content)?;
                    if ChunkId::of(&content) != id {
                        return Err(LinkFault::Chunks("a parcel holds something else"));
                    }
                    parcel.answers.push((id, content));
                }
            }
        }
        while let Some(content) = reading.along().await.map_err(fault)? {
            fits(&content)?;
            parcel.along.push(content);
        }
        Ok(Some(parcel))
    }
}

/// The last parcel of a peer, until somebody asks for what is in it.
#[derive(Debug, Default)]
pub(crate) struct Received(Mutex<Parcel>);

impl Received {
    /// Puts it in the place of the one before.
    pub(crate) fn put(&self, parcel: Parcel) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = parcel;
    }

    /// What would be answered.
    pub(crate) fn ids(&self) -> Vec<ChunkId> {
        let parcel = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parcel.answers.iter().map(|(id, _)| *id).collect()
    }

    /// Answers what it can of this, with what came along, and leaves the rest to be
    /// asked for.
    pub(crate) fn answer(&self, wants: &mut Vec<Want>) -> Vec<Fetched> {
        let mut parcel = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answered: Vec<Fetched> = Vec::new();
        wants.retain(|want| {
            let at = parcel.answers.iter().position(|(id, _)| *id == want.id);
            let Some(at) = at else { return true };
            let (_, content) = parcel.answers.swap_remove(at);
            answered.push((*want, Ok(content)));
            false
        });
        if !answered.is_empty() {
            let along = std::mem::take(&mut parcel.along).into_iter();
            answered.extend(along.map(|content| (Want::data(ChunkId::of(&content)), Ok(content))));
        }
        answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::tests::{Shelf, answered, noise};

    const ME: DeviceId = DeviceId([1; 32]);

    fn asked(ids: &[ChunkId], near: &[&Vec<u8>]) -> Ask {
        Ask {
            wants: ids.iter().map(|id| Want::data(*id)).collect(),
            near: near.iter().map(|c| (ChunkId::of(c), c.to_vec())).collect(),
            since: Some(ChunkId([7; 32])),
        }
    }

    async fn open(held: &[Vec<u8>], bytes: &[u8]) -> Result<Option<Parcel>, LinkFault> {
        let source: Arc<dyn ChunkSource> = Arc::new(Shelf(held.to_vec(), Vec::new()));
        Parcel::open(ME, bytes, &source, &Timing::default()).await
    }

    fn bytes_of(message: Option<Message>) -> Option<Vec<u8>> {
        match message? {
            Message::Parcel(bytes) => Some(bytes),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_sent_ahead_is_what_would_have_been_asked_for() {
        let before = noise(60_000);
        let after = [&before[..], b"a turn of it"].concat();
        let (turn, id) = (noise(100), ChunkId::of(&after));
        let shelf = Shelf(
            vec![before.clone(), after.clone(), turn.clone()],
            vec![ChunkId::of(&turn)],
        );
        let ask = asked(&[id], &[&before]);
        let bytes = bytes_of(parcel(ME, Arc::new(shelf), &ask)).unwrap();
        assert!(bytes.len() < 350, "{} bytes", bytes.len());
        // Who does not hold what it begins from asks as ever.
        assert_eq!(open(&[], &bytes).await, Ok(None));
        let opened = open(&[before], &bytes).await.unwrap().unwrap();
        let received = Received::default();
        received.put(opened);
        assert_eq!(received.ids(), [id]);
        let other = Want::data(ChunkId([9; 32]));
        assert!(received.answer(&mut vec![other]).is_empty());
        let mut mixed = vec![other, Want::data(id)];
        let answers = received.answer(&mut mixed);
        assert_eq!(mixed, [other]);
        let along = Want::data(ChunkId::of(&turn));
        assert_eq!(answers, [(Want::data(id), Ok(after)), (along, Ok(turn))]);
        let again = received.answer(&mut vec![Want::data(id)]);
        assert!(again.is_empty(), "it is given once");
    }

    #[tokio::test]
    async fn what_is_too_much_is_not_sent() {
        let (large, id) = (noise(100_000), ChunkId([9; 32]));
        let shelf = || Arc::new(Shelf(vec![large.clone()], Vec::new()));
        assert_eq!(
            parcel(ME, shelf(), &asked(&[ChunkId::of(&large)], &[])),
            None
        );
        let many = vec![id; limits::PARCEL_ANSWERS_MAX + 1];
        assert_eq!(parcel(ME, shelf(), &asked(&many, &[])), None);
        // One that lacks something is no use.
        let lacking = bytes_of(parcel(ME, shelf(), &asked(&[id], &[]))).unwrap();
        assert_eq!(open(&[], &lacking).await, Ok(None));
    }

    #[tokio::test]
    async fn k_n05_a_parcel_that_lies_or_swells_ends_the_link() {
        let content = vec![0u8; limits::PARCEL_CONTENT_BYTES_MAX / 2 + 1];
        let len = u32::try_from(content.len()).unwrap().to_le_bytes();
        let twice = [&[1][..], &len, &content, &[2], &len, &content, &[3]];
        let request = |ids: Vec<ChunkId>| Request {
            since: Some(ChunkId([7; 32])),
            ..Request::plain(ids)
        };
        let id = ChunkId::of(&content);
        let of =
            |ids: Vec<ChunkId>, parts: &[&[u8]]| [request(ids).encode(), answered(parts)].concat();
        let many = vec![id; limits::PARCEL_ANSWERS_MAX + 1];
        for (bytes, why) in [
            (of(vec![id], &twice), "too much in a parcel"),
            (of(many, &twice), "too much in a parcel"),
            (
                of(vec![ChunkId([9; 32])], &twice),
                "a parcel holds something else",
            ),
        ] {
            assert_eq!(open(&[], &bytes).await, Err(LinkFault::Chunks(why)));
        }
        let whole = of(vec![id], &[&[1], &len, &content, &[3]]);
        assert!(open(&[], &whole).await.unwrap().is_some());
        // Cut off anywhere, or no parcel at all.
        for end in 0..whole.len() {
            assert!(open(&[], &whole[..end]).await.is_err(), "cut at {end}");
        }
        assert!(open(&[], &noise(500)).await.is_err());
    }
}
