//! Reads a table row by row even where part of it cannot be read: steps around
//! what is damaged and says how often it had to. Knows no table's meaning.

use redb::{ReadTransaction, ReadableTable};

use crate::disk::Disk;
use crate::error::{StoreError, Trouble};
use crate::tables::Definition;

/// Rows and bytes taken in one read transaction. Short ones, because an open
/// transaction keeps what is deleted meanwhile.
const SLICE_ROWS: usize = 512;
const SLICE_BYTES: usize = 4 * 1024 * 1024;
/// Failed reads after which a table is given up. A page that cannot be read is
/// closed in on by halves, which costs some hundred failures in the worst case.
const FAILURES_MAX: usize = 4096;
/// Longer than any key.
pub(crate) const KEY_WIDTH: usize = 264;

/// What a scan could not do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Gaps {
    /// Stretches of keys that could not be read.
    pub(crate) count: usize,
}

/// Shows `visit` every row from a key on that can be read, in the order of keys,
/// until it says no.
pub(crate) fn rows(
    disk: &Disk,
    table: Definition,
    from: &[u8],
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<Gaps, StoreError> {
    match disk.read(|txn| Ok(txn.open_table(table).map(|_| ())?)) {
        Ok(()) => {}
        Err(e) if e.is_transient() => return Err(e),
        // Without a root there is nothing to close in on.
        Err(_) => return Ok(Gaps { count: 1 }),
    }
    let mut gaps = Gaps::default();
    let mut failures = 0;
    // Stretches still to be read, the next one last.
    let mut todo = vec![(from.to_vec(), vec![0xff; KEY_WIDTH])];
    while let Some((from, to)) = todo.pop() {
        match disk.read(|txn| slice(txn, table, &from, &to)) {
            Ok(slice) => {
                let next = slice.more.then(|| after(slice.rows.last()));
                for (key, value) in &slice.rows {
                    if !visit(key, value) {
                        return Ok(gaps);
                    }
                }
                todo.extend(next.map(|next| (next, to)));
            }
            Err(_) => {
                failures += 1;
                match middle(&from, &to).filter(|_| failures < FAILURES_MAX) {
                    Some(middle) => {
                        todo.push((middle.clone(), to));
                        todo.push((from, middle));
                    }
                    None => gaps.count += 1,
                }
            }
        }
    }
    Ok(gaps)
}

/// How many rows can be counted one by one, and how many the table says it has.
/// They differ when a part of it has come off.
pub(crate) fn count(txn: &ReadTransaction, table: Definition) -> Result<(u64, u64), Trouble> {
    use redb::ReadableTableMetadata;
    let table = txn.open_table(table)?;
    let mut counted = 0;
    for row in table.iter()? {
        row?;
        counted += 1;
    }
    Ok((counted, table.len()?))
}

/// Some rows, and whether there are more.
#[derive(Default)]
pub(crate) struct Slice {
    pub(crate) rows: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) more: bool,
}

/// The rows from one key to another, as many as one read transaction takes.
pub(crate) fn slice(
    txn: &ReadTransaction,
    table: Definition,
    from: &[u8],
    to: &[u8],
) -> Result<Slice, Trouble> {
    let mut rows = Vec::new();
    let mut bytes = 0;
    for row in txn.open_table(table)?.range(from..to)? {
        let (key, value) = row?;
        bytes += key.value().len() + value.value().len();
        rows.push((key.value().to_vec(), value.value().to_vec()));
        if rows.len() >= SLICE_ROWS || bytes >= SLICE_BYTES {
            return Ok(Slice { rows, more: true });
        }
    }
    Ok(Slice { rows, more: false })
}

/// The least key above the last one read.
pub(crate) fn after(last: Option<&(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    let mut key = last.map(|(key, _)| key.clone()).unwrap_or_default();
    key.push(0);
    key
}

/// A key between two, if there is one.
fn middle(from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let at = |key: &[u8], i: usize| u16::from(key.get(i).copied().unwrap_or(0));
    let mut sum: Vec<u16> = (0..KEY_WIDTH).map(|i| at(from, i) + at(to, i)).collect();
    // Carry to the left, then halve to the right.
    let mut carry = 0;
    for digit in sum.iter_mut().rev() {
        let value = *digit + carry;
        carry = value >> 8;
        *digit = value & 0xff;
    }
    let mut rest = carry;
    let mut middle: Vec<u8> = Vec::with_capacity(KEY_WIDTH);
    for digit in sum {
        let value = rest << 8 | digit;
        middle.push(u8::try_from(value >> 1).unwrap_or(u8::MAX));
        rest = value & 1;
    }
    // Trailing zeros make no difference between neighbours, but to equal keys.
    while middle.last() == Some(&0) {
        middle.pop();
    }
    (middle.as_slice() > from && middle.as_slice() < to).then_some(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_halved_until_nothing_lies_between() {
        assert_eq!(middle(&[], &[0xff; KEY_WIDTH]).unwrap()[..2], [0x7f, 0xff]);
        assert_eq!(middle(&[1], &[3]), Some(vec![2]));
        assert_eq!(middle(&[1], &[2]), Some(vec![1, 0x80]));
        let (mut from, mut to) = (vec![1; 56], vec![1; 57]);
        let mut steps = 0;
        while let Some(m) = middle(&from, &to) {
            assert!(from < m && m < to);
            if steps % 2 == 0 {
                from = m
            } else {
                to = m
            }
            steps += 1;
        }
        assert!(steps < 8 * KEY_WIDTH);
    }
}
