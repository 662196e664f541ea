//! Tests of the digest.
use super::*;
#[test]
fn smoke() {
    let bytes = include_bytes!("../../../../../testdata/claude/full/claude/projects/-home-ann-fx-full-work-proj/aa21a64c-b7a7-41b7-a51f-ceeccfa4623b.jsonl");
    let mut d = Digest::default();
    d.feed(bytes);
    println!("{:#?}", d.summary());
}
