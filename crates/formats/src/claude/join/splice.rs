//! What is appended to the local file: their lines, one of them spliced. Must
//! not know why.

use super::Plan;
use super::lines::Lines;

/// What was fed is not what the plan was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other side's line is not the one that was planned for")]
pub struct Changed;

/// The other side's part on its way into the joined file.
#[derive(Debug)]
pub struct Joining<'p> {
    plan: &'p Plan,
    lines: Lines,
    line: u64,
    bytes: u64,
    /// The next of the plan's ranges of lines that are passed over.
    next_skipped: usize,
    /// A line break is due before the next line.
    breaks: bool,
    begun: bool,
    changed: bool,
}

impl<'p> Joining<'p> {
    pub(super) fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            lines: Lines::default(),
            line: 0,
            bytes: 0,
            next_skipped: 0,
            breaks: plan.breaks_line,
            begun: false,
            changed: false,
        }
    }

    /// Takes the next piece; what comes of it is appended to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.bytes += bytes.len() as u64;
        let mut lines = std::mem::take(&mut self.lines);
        let fits = lines.push(bytes, |line| self.write(line, true, out));
        self.lines = lines;
        self.changed |= !fits;
    }

    /// Ends the file: writes what was held back.
    ///
    /// # Errors
    /// When other bytes were fed than the plan was made from: what was written
    /// is of no use then.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), Changed> {
        let rest = self.lines.take_rest();
        if !rest.is_empty() {
            self.write(&rest, false, out);
        }
        let plan = self.plan;
        if self.changed || !self.begun || self.bytes != plan.their_bytes {
            return Err(Changed);
        }
        if !plan.appended.is_empty() {
            if self.breaks {
                out.push(b'\n');
            }
            out.extend_from_slice(plan.appended.as_bytes());
            out.push(b'\n');
        }
        Ok(())
    }

    fn write(&mut self, line: &[u8], ends: bool, out: &mut Vec<u8>) {
        let at = self.line;
        self.line += 1;
        if let Some(range) = self.plan.skipped.get(self.next_skipped)
            && range.contains(&at)
        {
            self.next_skipped += usize::from(range.end == at + 1);
            return;
        }
        if self.breaks {
            out.push(b'\n');
        }
        let (spliced, token) = &self.plan.splice;
        if at == *spliced {
            let parts = (line.get(..token.start), line.get(token.end..));
            let (Some(front), Some(behind)) = parts else {
                self.changed = true;
                return;
            };
            out.extend_from_slice(front);
            out.extend_from_slice(self.plan.parent.as_bytes());
            out.extend_from_slice(behind);
            self.begun = true;
        } else {
            out.extend_from_slice(line);
        }
        self.breaks = !ends;
        if ends {
            out.push(b'\n');
        }
    }
}
