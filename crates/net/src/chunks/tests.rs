//! Answers and requests by themselves, without a link.

use std::sync::Arc;

use ccpeer_core::codec;

use super::request::VERSION;
use super::serving::Serving;
use super::*;
use crate::packing::Packer;

/// The bytes of an answer that says this, packed from nothing.
pub(crate) fn answered(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![ALONE];
    let mut packer = Packer::new(&[]).unwrap();
    for part in parts {
        packer.pack(part, &mut out).unwrap();
    }
    packer.flush(&mut out).unwrap();
    out
}

/// An answer that announces so many bytes, and these.
pub(crate) fn announced(status: u8, len: u32, content: &[u8]) -> Vec<u8> {
    answered(&[&[status], &len.to_le_bytes(), content])
}

fn request(ids: usize, near: usize) -> Request {
    Request {
        ids: vec![ChunkId([3; 32]); ids],
        near: vec![ChunkId([4; 32]); near],
        since: Some(ChunkId([5; 32])),
    }
}

#[test]
fn requests_are_bounded_and_canonical() {
    let (ids, near) = (limits::FETCH_BATCH_MAX, limits::FETCH_NEAR_MAX);
    let most = request(ids, near);
    let bytes = most.encode();
    let body = &bytes[4..];
    assert_eq!(Request::decode(body), Ok(most));
    // K-N04: bytes after the end.
    let mut longer = body.to_vec();
    longer.push(0);
    assert!(Request::decode(&longer).is_err());
    assert!(Request::decode(&[]).is_err());
    assert!(Request::decode(&[9, 0]).is_err());
    for wrong in [request(0, 0), request(ids + 1, 0), request(1, near + 1)] {
        let body = [&[VERSION][..], &codec::encode(&wrong)].concat();
        assert!(Request::decode(&body).is_err());
    }
}

/// Bytes that other versions rely on; see PROTOCOL.md.
#[test]
fn requests_keep_their_bytes() {
    let bytes = request(1, 1).encode();
    assert_eq!(bytes[..6], [100, 0, 0, 0, 2, 1]);
    assert_eq!(bytes[6..38], [3; 32]);
    assert_eq!(bytes[38], 1);
    assert_eq!(bytes[39..71], [4; 32]);
    assert_eq!(bytes[71], 1);
    assert_eq!(bytes[72..], [5; 32]);
}

/// Content, and what is beyond every manifest.
pub(crate) struct Shelf(pub(crate) Vec<Vec<u8>>, pub(crate) Vec<ChunkId>);

impl ChunkSource for Shelf {
    fn get(&self, _peer: &DeviceId, id: &ChunkId) -> ChunkAnswer {
        let found = self.0.iter().find(|c| ChunkId::of(c) == *id);
        found.map_or(ChunkAnswer::NotHeld, |c| ChunkAnswer::Content(c.clone()))
    }

    fn beyond(&self, _manifest: &[u8], _since: &ChunkId) -> Vec<ChunkId> {
        self.1.clone()
    }
}

fn served(shelf: Shelf, request: &Request) -> Vec<u8> {
    let mut serving = Serving::new(DeviceId([1; 32]), Arc::new(shelf), request.clone());
    let mut all = Vec::new();
    while let Some(bytes) = serving.step() {
        all.extend(bytes);
    }
    all
}

pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; len];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn what_grew_costs_what_was_added() {
    let before = noise(60_000);
    let after = [&before[..], b"a turn of it"].concat();
    let turn = noise(100);
    let shelf = || {
        let all = vec![before.clone(), after.clone(), turn.clone()];
        Shelf(all, vec![ChunkId::of(&turn)])
    };
    let request = Request {
        ids: vec![ChunkId::of(&after), ChunkId([9; 32])],
        near: vec![ChunkId::of(&before)],
        since: Some(ChunkId([7; 32])),
    };
    let bytes = served(shelf(), &request);
    assert!(bytes.len() < 250, "{} bytes", bytes.len());
    let read = async |near: &[u8], asked: &Request| {
        let mut all = Answers::new(&bytes[..], near, asked, Timing::default());
        let one = all.next().await?;
        let two = all.next().await?;
        let mut along = Vec::new();
        while let Some(content) = all.along().await? {
            along.push(content);
        }
        Ok::<_, FrameEnd>((one, two, along))
    };
    let expected = (
        Answer::Content(after.clone()),
        Answer::NotHeld,
        vec![turn.clone()],
    );
    assert_eq!(read(&before, &request).await, Ok(expected));
    let unasked = Request {
        since: None,
        ..request.clone()
    };
    let fault = |what| Err(FrameEnd::Fault(LinkFault::Chunks(what)));
    assert_eq!(read(&before, &unasked).await, fault("unknown status"));
    assert_eq!(read(&[], &request).await, fault("unknown packing"));
    // What the other side does not hold is begun from nothing.
    let elsewhere = Request {
        near: vec![ChunkId::of(&before), ChunkId([8; 32])],
        ..request
    };
    let bytes = served(shelf(), &elsewhere);
    assert_eq!(bytes[0], ALONE);
}

#[tokio::test]
async fn what_comes_along_is_bounded() {
    let max = limits::FETCH_ALONG_MAX;
    let parts = |n: usize| -> Vec<u8> {
        let one = [&[ALONG][..], &1u32.to_le_bytes(), b"x"].concat();
        answered(&[&[NOT_HELD], &one.repeat(n), &[END]])
    };
    for (n, fits) in [(0, true), (max, true), (max + 1, false)] {
        let bytes = parts(n);
        let mut all = Answers::new(&bytes[..], &[], &request(1, 0), Timing::default());
        assert_eq!(all.next().await, Ok(Answer::NotHeld));
        let mut came = 0;
        let end = loop {
            match all.along().await {
                Ok(Some(_)) => came += 1,
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        assert_eq!((came, end), (n.min(max), fits));
    }
    // Nor does a server give more.
    let content = noise(limits::CHUNK_BYTES_MAX);
    let id = ChunkId::of(&content);
    let shelf = Shelf(vec![content.clone()], vec![id; max]);
    let asked = Request {
        ids: vec![id],
        near: Vec::new(),
        since: Some(ChunkId([7; 32])),
    };
    let bytes = served(shelf, &asked);
    let most = limits::CHUNK_BYTES_MAX + limits::FETCH_ALONG_BYTES_MAX + 4096;
    assert!(bytes.len() <= most, "{} bytes", bytes.len());
}

#[tokio::test]
async fn k_n05_a_bomb_is_unpacked_no_further_than_announced() {
    let zeros = vec![0u8; 64 * 1024 * 1024];
    for (announced_len, fits) in [(1, true), (1 << 20, true), ((1 << 20) + 1, false)] {
        let bomb = announced(HELD, announced_len, &zeros);
        assert!(bomb.len() < 64 * 1024);
        let mut all = Answers::new(&bomb[..], &[], &request(1, 0), Timing::default());
        let read = all.next().await;
        assert_eq!(read.is_ok(), fits);
        if let Ok(Answer::Content(content)) = read {
            assert_eq!(content.len(), announced_len as usize);
        }
    }
}
