//! A sheet over a backend: every write stays in memory and the file is left
//! alone. It is how a store is still read on a full disk, and how a damaged file
//! is read without touching it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use redb::{BackendError, StorageBackend};

use super::{PAGE, forward_locks};

/// Reads through to the inner backend and keeps what is written to itself.
#[derive(Debug)]
pub(crate) struct Overlay {
    inner: Box<dyn StorageBackend>,
    inner_len: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    len: u64,
    /// Whole pages by number.
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
}

impl Overlay {
    /// Lays an empty sheet over `inner`.
    pub(crate) fn new(inner: Box<dyn StorageBackend>) -> io::Result<Self> {
        let inner_len = inner.len()?;
        let kept = Mutex::new(Kept {
            len: inner_len,
            pages: BTreeMap::new(),
        });
        Ok(Self {
            inner,
            inner_len,
            kept,
        })
    }

    /// A page as it is below the sheet; zeros beyond its end.
    fn below(&self, page: u64, out: &mut [u8; PAGE]) -> io::Result<()> {
        out.fill(0);
        let start = page * PAGE as u64;
        let there = usize::try_from(self.inner_len.saturating_sub(start))
            .unwrap_or(PAGE)
            .min(PAGE);
        match out.get_mut(..there) {
            Some(part) if !part.is_empty() => self.inner.read(start, part),
            _ => Ok(()),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts a range into `(page, offset in page, length)`.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut at = offset;
    let mut left = len;
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let page = at / PAGE as u64;
        let inside = (at % PAGE as u64) as usize;
        let part = (PAGE - inside).min(left);
        at += part as u64;
        left -= part;
        Some((page, inside, part))
    })
}

impl StorageBackend for Overlay {
    forward_locks!();

    fn len(&self) -> io::Result<u64> {
        Ok(self.kept().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let kept = self.kept();
        if offset.saturating_add(out.len() as u64) > kept.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = out;
        for (page, inside, part) in pieces(offset, rest.len()) {
            let (here, after) = rest.split_at_mut(part);
            rest = after;
            let mut below = [0; PAGE];
            let content = match kept.pages.get(&page) {
                Some(content) => content.as_ref(),
                None => {
                    self.below(page, &mut below)?;
                    &below
                }
            };
            if let Some(from) = content.get(inside..inside + part) {
                here.copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut kept = self.kept();
        if len < kept.len {
            // What is cut off must read as zeros if the file grows again.
            let first = len.div_ceil(PAGE as u64);
            let last = self.inner_len.max(kept.len).div_ceil(PAGE as u64);
            for page in first..last {
                kept.pages.insert(page, Box::new([0; PAGE]));
            }
        }
        kept.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut kept = self.kept();
        let mut rest = data;
        for (page, inside, part) in pieces(offset, data.len()) {
            let (here, after) = rest.split_at(part);
            rest = after;
            let content = match kept.pages.entry(page) {
                Entry::Occupied(kept) => kept.into_mut(),
                Entry::Vacant(free) => {
                    let mut below = Box::new([0; PAGE]);
                    self.below(page, &mut below)?;
                    free.insert(below)
                }
            };
            if let Some(target) = content.get_mut(inside..inside + part) {
                target.copy_from_slice(here);
            }
        }
        kept.len = kept.len.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;

    #[test]
    fn an_overlay_leaves_what_is_below_alone() {
        let below = InMemoryBackend::new();
        below.set_len(10_000).unwrap();
        below.write(0, &[7; 10_000]).unwrap();
        let sheet = Overlay::new(Box::new(below)).unwrap();
        sheet.write(4000, &[9; 200]).unwrap();
        sheet.set_len(20_000).unwrap();
        sheet.write(19_999, &[1]).unwrap();
        let mut out = vec![0; 20_000];
        sheet.read(0, &mut out).unwrap();
        assert!(out[..4000].iter().all(|b| *b == 7));
        assert!(out[4000..4200].iter().all(|b| *b == 9));
        assert!(out[4200..10_000].iter().all(|b| *b == 7));
        assert!(out[10_000..19_999].iter().all(|b| *b == 0));
        assert_eq!(out[19_999], 1);
        assert!(sheet.read(19_999, &mut [0; 2]).is_err());
        let mut out = vec![0; 10_000];
        sheet.inner.read(0, &mut out).unwrap();
        assert!(out.iter().all(|b| *b == 7));
    }
}
