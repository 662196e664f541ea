//! F13: reading transcripts, and putting two of them in a row. How a file is cut
//! into pieces does not matter, what was laid aside is taken up again, and a join
//! adds to the local file and changes nothing of it.

use ccpeer_formats::claude::compare::{Relation, Sketch};
use ccpeer_formats::claude::join::{Plan, Planner, Refused};
use ccpeer_formats::claude::transcript::{Digest, is_bookkeeping};

/// The oracle. A byte that is no text parts base, local line and the other one.
pub(crate) fn check(bytes: &[u8]) {
    let whole = digest(bytes, usize::MAX);
    for size in [1, 13] {
        assert_eq!(
            digest(bytes, size).summary(),
            whole.summary(),
            "pieces of {size}"
        );
    }
    let mut taken_up =
        Digest::from_bytes(&digest(&bytes[..bytes.len() / 2], 7).to_bytes()).unwrap();
    let at = usize::try_from(taken_up.offset()).unwrap();
    taken_up.feed(&bytes[at..]);
    assert_eq!(taken_up.summary(), whole.summary(), "laid aside");
    let _ = is_bookkeeping(bytes);
    // Bytes of nobody in the place of what was laid aside.
    let _ = Digest::from_bytes(bytes);

    let mut parts = bytes.split(|b| *b == 0xff);
    let [base, local, theirs] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let here = [base, local].concat();
    let there = [base, theirs].concat();
    let relation = sketch(&here).relation(&sketch(&there));
    assert_eq!(relation == Relation::Same, here == there);
    let planned = plan(base, local, theirs, usize::MAX);
    let in_pieces = plan(base, local, theirs, 5);
    match (planned, in_pieces) {
        (Ok(plan), Ok(other)) => {
            assert_eq!(plan.counts, other.counts);
            let (one, two) = (joined(&plan, theirs, usize::MAX), joined(&other, theirs, 3));
            assert!(one == two);
            assert!(!one.is_empty() && plan.counts.their_records > 0);
            // The result is the same session with one line more at most, and
            // joining it once more finds nothing new.
            let file = [here.as_slice(), &one].concat();
            let refused = self::plan(base, &file[base.len()..], theirs, usize::MAX).err();
            assert!(refused.is_some(), "joined twice");
        }
        (Err(a), Err(b)) => assert_eq!(a, b),
        other => panic!("{other:?}"),
    }
}

/// For inputs of megabytes: it ends.
pub(crate) fn survives(bytes: &[u8]) {
    let _ = digest(bytes, 64 * 1024).summary();
    let _ = sketch(bytes);
    assert!(plan(bytes, bytes, bytes, 64 * 1024).is_err());
}

fn digest(bytes: &[u8], size: usize) -> Digest {
    let mut digest = Digest::default();
    bytes.chunks(size).for_each(|piece| digest.feed(piece));
    digest
}

fn sketch(bytes: &[u8]) -> Sketch {
    let mut sketch = Sketch::default();
    sketch.feed(bytes);
    sketch
}

fn plan(base: &[u8], local: &[u8], theirs: &[u8], size: usize) -> Result<Plan, Refused> {
    let mut planner = Planner::default();
    base.chunks(size).for_each(|piece| planner.base(piece));
    local.chunks(size).for_each(|piece| planner.local(piece));
    theirs.chunks(size).for_each(|piece| planner.theirs(piece));
    planner.plan()
}

fn joined(plan: &Plan, theirs: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut joining = plan.joining();
    theirs
        .chunks(size)
        .for_each(|piece| joining.push(piece, &mut out));
    joining.finish(&mut out).unwrap();
    out
}
