//! Rewrites a file as it is read, in bounded memory, however it is cut into
//! pieces.
//!
//! A line up to [`LINE_BYTES_MAX`] is looked at as a whole: if it is not JSON, it
//! is copied as it is. A longer one is read through a window and rewritten on
//! the way; if it turns out to be no JSON, what came before the fault has been
//! rewritten. Must not know which paths are searched for.

use ccpeer_core::limits::REWRITE_LINE_BYTES_MAX as LINE_BYTES_MAX;

use super::matching::{Context, Hits, Matcher, REACH, Search};
use super::nesting::Nesting;
use super::signed::{Tokens, signed_blocks};
use super::{Report, Rewriter, TextKind, tracked};

/// The window onto a longer one. Half of it is context that stays.
const WINDOW_BYTES: usize = 8 * REACH;

/// A file on its way through a [`Rewriter`].
#[derive(Debug)]
pub struct Stream<'a> {
    rewriter: &'a Rewriter,
    kind: TextKind,
    /// A line that has begun, or the window onto a long one.
    held: Vec<u8>,
    long: Option<Long>,
    report: Report,
    /// What takes a match's place; kept to reuse its memory.
    scratch: Vec<u8>,
}

/// Where we are in a line too long to be held.
#[derive(Debug, Default)]
struct Long {
    tokens: Tokens,
    /// The window's bytes before this are written.
    done: usize,
    /// The window's bytes before this have passed `tokens`.
    fed: usize,
    /// Anchors before this have been dealt with.
    searched: usize,
    replacements: u64,
}

impl<'a> Stream<'a> {
    pub(super) fn new(rewriter: &'a Rewriter, kind: TextKind) -> Self {
        Self {
            rewriter,
            kind,
            held: Vec::new(),
            long: None,
            report: Report::default(),
            scratch: Vec::new(),
        }
    }

    /// Takes the next piece; what can be decided of it is appended to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while self.kind != TextKind::Json {
            let Some(end) = memchr::memchr(b'\n', rest) else {
                break;
            };
            let (line, behind) = rest.split_at(end);
            if self.held.is_empty() && self.long.is_none() && line.len() <= LINE_BYTES_MAX {
                let replacements = self.line(line, out);
                self.count(replacements);
            } else {
                self.take(line, out);
                self.end_line(out);
            }
            out.push(b'\n');
            rest = behind.get(1..).unwrap_or_default();
        }
        if !rest.is_empty() {
            self.take(rest, out);
        }
    }

    /// Ends the file: writes what was held back.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Report {
        if !self.held.is_empty() || self.long.is_some() {
            self.end_line(out);
        }
        self.report
    }

    /// Bytes held back, for tests of the bound.
    #[cfg(test)]
    pub(super) fn held_capacity(&self) -> usize {
        self.held.capacity()
    }

    /// Takes a piece of a line.
    fn take(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for piece in piece.chunks(REACH) {
            self.held.extend_from_slice(piece);
            if self.long.is_none() && self.held.len() > LINE_BYTES_MAX {
                self.long = Some(Long::default());
            }
            if self.long.is_some() && self.held.len() >= WINDOW_BYTES {
                self.advance_long(false, out);
            }
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        let replacements = if self.long.is_some() {
            self.advance_long(true, out);
            let long = self.long.take().unwrap_or_default();
            let whole = self.kind == TextKind::Plain || long.tokens.is_whole();
            self.report.opaque_lines += u64::from(!whole);
            self.held = Vec::new();
            long.replacements
        } else {
            let line = std::mem::take(&mut self.held);
            let replacements = self.line(&line, out);
            self.held = line;
            self.held.clear();
            replacements
        };
        self.count(replacements);
    }

    fn count(&mut self, replacements: u64) {
        self.report.lines += 1;
        self.report.replacements += replacements;
        self.report.rewritten_lines += u64::from(replacements > 0);
    }

    /// Rewrites a whole line.
    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> u64 {
        let json = self.kind != TextKind::Plain;
        let blank = line.iter().all(u8::is_ascii_whitespace);
        if blank || (json && !is_json(line)) {
            self.report.opaque_lines += u64::from(!blank);
            out.extend_from_slice(line);
            return 0;
        }
        let turned = match self.kind {
            TextKind::JsonLines => tracked::turned(line, self.rewriter.from, self.rewriter.to),
            TextKind::Json | TextKind::Plain => None,
        };
        let (line, turned) = match &turned {
            Some((line, count)) => (line.as_slice(), *count),
            None => (line, 0),
        };
        turned + rewrite_line(&self.rewriter.matcher, line, json, &mut self.scratch, out)
    }

    /// Rewrites as much of the window as can be decided: all of it at the end.
    fn advance_long(&mut self, last: bool, out: &mut Vec<u8>) {
        let Some(long) = &mut self.long else { return };
        let matcher = &self.rewriter.matcher;
        let json = self.kind != TextKind::Plain;
        let t = self.held.as_slice();
        // A match begins at most REACH before its anchor and its decision looks
        // at most REACH behind it.
        let until = if last {
            t.len()
        } else {
            t.len().saturating_sub(2 * REACH)
        };
        let mut hits = Hits::new(matcher, long.searched);
        loop {
            let search = Search {
                at: long.done,
                until,
            };
            let tokens = &mut long.tokens;
            let fed = &mut long.fed;
            let found = matcher.find(t, &mut hits, search, &mut self.scratch, |start| {
                if start > *fed {
                    tokens.feed(t.get(*fed..start).unwrap_or_default());
                    *fed = start;
                }
                let open = if json { tokens.is_open() } else { true };
                if open {
                    Ok(Context {
                        level: tokens.nesting.level(),
                        json,
                    })
                } else {
                    Err(start + 1)
                }
            });
            let Some(m) = found else { break };
            out.extend_from_slice(t.get(long.done..m.start).unwrap_or_default());
            out.extend_from_slice(&self.scratch);
            long.done = m.end;
            long.replacements += m.replacements;
        }
        // What lies within REACH of a match that is still to come stays.
        let settled = if last {
            t.len()
        } else {
            until.saturating_sub(REACH).max(long.done)
        };
        out.extend_from_slice(t.get(long.done..settled).unwrap_or_default());
        long.done = settled.max(long.done);
        if long.fed < long.done {
            long.tokens
                .feed(t.get(long.fed..long.done).unwrap_or_default());
            long.fed = long.done;
        }
        // Decisions look back, too.
        let gone = long.done.saturating_sub(REACH);
        self.held.drain(..gone);
        long.done -= gone;
        long.fed -= gone;
        long.searched = until.max(long.searched) - gone;
    }
}

/// A line that is whole, rewritten; nothing if nothing is to be replaced in it.
pub(super) fn record(matcher: &Matcher, line: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(line.len() + 256);
    let replaced = rewrite_line(matcher, line, true, &mut Vec::new(), &mut out);
    (replaced > 0).then_some(out)
}

/// Rewrites a line that is whole and valid.
fn rewrite_line(
    matcher: &Matcher,
    line: &[u8],
    json: bool,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> u64 {
    let mut hits = Hits::new(matcher, 0);
    let mut nesting = Nesting::default();
    let mut fed = 0;
    // Looked for at the first candidate: most lines have none.
    let mut signed: Option<Vec<(usize, usize)>> = None;
    let mut done = 0;
    let mut replacements = 0;
    loop {
        let search = Search {
            at: done,
            until: line.len(),
        };
        let found = matcher.find(line, &mut hits, search, scratch, |start| {
            let signed = signed.get_or_insert_with(|| {
                if json {
                    signed_blocks(line)
                } else {
                    Vec::new()
                }
            });
            // The first that ends behind the position.
            let next = signed.partition_point(|(_, end)| *end <= start);
            if let Some((_, end)) = signed.get(next).filter(|(begin, _)| *begin <= start) {
                return Err(*end);
            }
            if matcher.needs_level() && start > fed {
                nesting.feed(line.get(fed..start).unwrap_or_default());
                fed = start;
            }
            Ok(Context {
                level: nesting.level(),
                json,
            })
        });
        let Some(m) = found else { break };
        out.extend_from_slice(line.get(done..m.start).unwrap_or_default());
        out.extend_from_slice(scratch);
        done = m.end;
        replacements += m.replacements;
    }
    out.extend_from_slice(line.get(done..).unwrap_or_default());
    replacements
}

/// Whether these bytes are one JSON value, as the other program reads them: a
/// byte order mark may stand before, and NUL bytes that a crash has left.
fn is_json(bytes: &[u8]) -> bool {
    let nuls = bytes.iter().take_while(|b| **b == 0).count();
    let bytes = bytes.get(nuls..).unwrap_or_default();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    str::from_utf8(bytes)
        .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
}
