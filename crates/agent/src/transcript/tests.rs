//! Pages of transcripts that a test makes up, cut into chunks at odd places.

use ccpeer_core::id::ChunkId;
use ccpeer_core::manifest::Segment;
use ccpeer_core::time::Timestamp;

use super::*;
use crate::testing::World;

/// A file of these bytes in the store, in chunks of so many.
fn kept(world: &World, bytes: &[u8], chunk: usize) -> FileEntry {
    let mut tail = Vec::new();
    for piece in bytes.chunks(chunk) {
        let id = ChunkId::of(piece);
        world.store.put_chunks(&[(id, piece.to_vec())]).unwrap();
        let len = u32::try_from(piece.len()).unwrap();
        tail.push(ChunkRef { id, len });
    }
    let segment = Segment {
        origin: 0,
        len: bytes.len() as u64,
        pages: Vec::new(),
        tail,
    };
    FileEntry {
        slot: Slot::Main,
        segments: vec![segment],
        modified: Timestamp(0),
    }
}

fn said(n: usize, text: &str) -> String {
    format!(r#"{{"type":"user","uuid":"{n}","message":{{"content":"{n} {text}"}}}}"#)
}

/// The numbers of the lines on a page.
fn numbers(page: &Page) -> Vec<usize> {
    let number = |record: &Record| match &record.parts[..] {
        [RecordPart::Prompt(words)] => {
            let (n, _) = words.text.split_once(' ').unwrap();
            n.parse().unwrap()
        }
        _ => usize::MAX,
    };
    page.records.iter().map(number).collect()
}

/// All lines, read in one direction, and how many pages they were.
fn all(reading: &Reading<'_>, backwards: bool) -> (Vec<usize>, usize) {
    let mut out = Vec::new();
    let mut pages = 0;
    let mut place = if backwards { reading.len() } else { 0 };
    let end = reading.len() - place;
    while place != end {
        pages += 1;
        assert!(pages < 10_000, "it does not come forward");
        let at = if backwards {
            PageAt::Before(place)
        } else {
            PageAt::From(place)
        };
        let page = reading.page(at).unwrap();
        assert!(page.records.len() <= RECORDS_MAX);
        let found = numbers(&page);
        if backwards {
            assert_eq!(page.to, place);
            place = page.from;
            out.splice(0..0, found);
        } else {
            assert_eq!(page.from, place);
            place = page.to;
            out.extend(found);
        }
    }
    (out, pages)
}

#[test]
fn every_line_is_on_one_page_in_both_directions() {
    let world = World::in_memory("ann");
    let lines: Vec<String> = (0..500).map(|n| said(n, &"x".repeat(1 + n % 97))).collect();
    let want: Vec<usize> = (0..500).collect();
    for (text, chunk) in [
        (lines.join("\n") + "\n", 4096),
        (lines.join("\n"), 1000),
        (lines.join("\n") + "\n\n{\"type\":\"mode\"}\n", 70_000),
    ] {
        let file = kept(&world, text.as_bytes(), chunk);
        let reading = Reading::new(&world.store, &file).unwrap();
        assert_eq!(reading.len(), text.len() as u64);
        for backwards in [false, true] {
            let (found, pages) = all(&reading, backwards);
            assert_eq!(found, want, "{chunk} {backwards}");
            assert!(pages >= 500 / RECORDS_MAX);
        }
        let last = reading.page(PageAt::End).unwrap();
        assert_eq!(numbers(&last).last(), Some(&499));
        // A place within a line means the next one.
        let (second, _) = text.match_indices('\n').next().unwrap();
        let page = reading.page(PageAt::From(second as u64 - 3)).unwrap();
        assert_eq!(numbers(&page)[0], 1);
        let beyond = reading.page(PageAt::From(u64::MAX)).unwrap();
        assert_eq!((beyond.from, beyond.to), (reading.len(), reading.len()));
    }
}

#[test]
fn a_page_of_a_long_session_is_small_and_a_line_without_end_is_passed_over() {
    let world = World::in_memory("ann");
    let long = limits::TRANSCRIPT_LINE_BYTES_MAX * 3;
    let big = "y".repeat(100_000);
    let mut text = String::new();
    for n in 0..40 {
        text += &said(n, &big);
        text.push('\n');
    }
    text += &"z".repeat(long);
    text.push('\n');
    text += &said(40, "after");
    text.push('\n');
    let file = kept(&world, text.as_bytes(), 1 << 20);
    let reading = Reading::new(&world.store, &file).unwrap();
    let mut want: Vec<usize> = (0..40).collect();
    want.extend([usize::MAX, 40]);
    for backwards in [false, true] {
        let (found, _) = all(&reading, backwards);
        assert_eq!(found, want, "{backwards}");
    }
    let page = reading.page(PageAt::From(0)).unwrap();
    let json = serde_json::to_vec(&page.records).unwrap();
    assert!(json.len() < 2 * TEXT_BYTES_MAX, "{}", json.len());
}

#[test]
fn what_is_not_here_is_an_error_and_nothing_is_an_empty_page() {
    let world = World::in_memory("ann");
    let mut file = kept(&world, said(0, "x").as_bytes(), 100);
    file.segments[0].tail[0].id = ChunkId::of(b"elsewhere");
    let reading = Reading::new(&world.store, &file).unwrap();
    let page = reading.page(PageAt::End);
    assert!(matches!(page, Err(StoreError::Absent { .. })), "{page:?}");
    let empty = kept(&world, b"", 100);
    let reading = Reading::new(&world.store, &empty).unwrap();
    for at in [PageAt::End, PageAt::Before(7), PageAt::From(7)] {
        assert!(reading.page(at).unwrap().records.is_empty());
    }
}
