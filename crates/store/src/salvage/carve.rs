//! Reads rows out of a file that redb refuses to open: looks at every page as if
//! it were a leaf of a tree. Trusts nothing that it finds; whoever uses a row
//! must be able to tell by itself that it is genuine.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

const PAGE: usize = 4096;
/// A leaf with one of our parts is at most 64 KiB; notes may be longer, but they
/// are not taken from here.
const LEAF_MAX: usize = 128 * 1024;
const WINDOW: usize = 1024 * 1024;

/// A row and where its value lies.
pub(crate) struct Row<'p> {
    pub(crate) key: &'p [u8],
    pub(crate) value: &'p [u8],
    pub(crate) offset: u64,
}

/// Shows everything in the file that looks like a row. Pages that are no longer
/// in use are seen as well.
pub(crate) fn rows(file: &mut File, visit: &mut dyn FnMut(Row<'_>)) -> io::Result<()> {
    let len = file.seek(SeekFrom::End(0))?;
    let mut buffer = vec![0; WINDOW + LEAF_MAX];
    let mut start = 0u64;
    while start < len {
        let there = usize::try_from(len - start)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(window) = buffer.get_mut(..there) else {
            break;
        };
        file.seek(SeekFrom::Start(start))?;
        if file.read_exact(window).is_err() {
            // A bad sector: take what can be had page by page.
            fill_by_page(file, start, window);
        }
        for at in (0..there.min(WINDOW)).step_by(PAGE) {
            let end = there.min(at + LEAF_MAX);
            if let Some(page) = window.get(at..end) {
                leaf(page, start + at as u64, visit);
            }
        }
        start += WINDOW as u64;
    }
    Ok(())
}

/// Reads a value that was seen before.
pub(crate) fn value(file: &mut File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn fill_by_page(file: &mut File, start: u64, window: &mut [u8]) {
    for (page, n) in window.chunks_mut(PAGE).zip(0u64..) {
        let at = SeekFrom::Start(start + n * PAGE as u64);
        if file.seek(at).and_then(|_| file.read_exact(page)).is_err() {
            page.fill(0);
        }
    }
}

/// A leaf page of a table whose keys and values are of any length: type 1, a
/// byte of padding, the number of rows, the ends of all keys, the ends of all
/// values, the keys, the values.
fn leaf(page: &[u8], offset: u64, visit: &mut dyn FnMut(Row<'_>)) -> Option<()> {
    let [1, _, low, high, ..] = page else {
        return None;
    };
    let count = usize::from(u16::from_le_bytes([*low, *high]));
    let number = |i: usize| -> Option<usize> {
        let bytes = page.get(4 + 4 * i..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    let mut key_at = 4 + 8 * count;
    let mut value_at = number(count.checked_sub(1)?)?;
    for i in 0..count {
        let (key_end, value_end) = (number(i)?, number(count + i)?);
        let (key, value) = (page.get(key_at..key_end)?, page.get(value_at..value_end)?);
        visit(Row {
            key,
            value,
            offset: offset + value_at as u64,
        });
        (key_at, value_at) = (key_end, value_end);
    }
    Some(())
}
