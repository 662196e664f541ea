//! Two lines of one session in a row: what `continue --join` writes.
//!
//! Two devices went on from a common base. The joined file is the local file,
//! byte for byte, and behind it what the other side wrote after the base; the
//! record with which the other side began hangs on the local end, so that Claude
//! Code shows the turns of both, first the local ones. One token of one line is
//! spliced; every other byte is as it was.
//!
//! Nothing here reads a file: a [`Planner`] is fed the base, then the rest of the
//! local file, then the rest of the other's, in pieces of any size; the [`Plan`]
//! is then given the last part once more and makes it what is to be appended.
//! Must not know how the two files were found to have a base; that is
//! `compare`'s, or the caller's.
//!
//! **What Claude Code would continue** was measured (2.1.329, and 2.1.197 alike):
//! the record that the last `last-prompt` of the file names, and from there the
//! last line of the file that descends from it; without one, or if it names
//! nothing in the file, the last line. With the other side's first record hung on
//! the local end, its own `last-prompt` lines name records behind both sides'
//! turns, so they stay where they are. Where by this rule something else than the
//! other side's end would be continued (its last turns are on a branch that is
//! not its last line, and it says so nowhere behind the base; its last
//! `last-prompt` names nothing), one `last-prompt` that names that end is
//! appended: the only line that neither side wrote.
//!
//! **Refused** is everything in which a row of turns would be a lie or was
//! measured to break: a compaction behind the base (its summary would be followed
//! by turns that it does not know), a tool call without a result where the two
//! sides part, a side that went back behind the base's end, torn lines,
//! sub-agents' records among the turns. Each has its own [`Refused`].
//!
//! **The caller's part.** `bytes` that are fed as the other side's are in this
//! machine's paths and held to the policy for foreign records. Beside the main
//! transcript it has to unite the files that go with the turns: sub-agents
//! (`subagents/*`, by their id; one that both sides continued is a reason not to
//! join), tool results (by name, which is drawn at random), and copies of files
//! for `/rewind` (`file-history/<session>/<hash>@v<n>`, where both sides may have
//! counted to the same `n`: the local one stays, and going back to a point of
//! the other side's is then not offered for that file). The task list is the
//! local one.

mod lines;
mod refused;
mod splice;
mod tree;

use ccpeer_core::id::SessionId;
use ccpeer_core::limits;

pub use self::refused::{Part, Refused};
pub use self::splice::{Changed, Joining};

use self::lines::Lines;
use self::tree::{Key, Tree, World};
use super::json::{self, Raw};
use super::transcript::Digest;

/// What a join would do, for those who have to agree to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Lines of the base.
    pub base_lines: u64,
    /// Lines of the local file behind it.
    pub local_lines: u64,
    /// Lines of the other side's behind it.
    pub their_lines: u64,
    /// Those of them that are here already and are passed over.
    pub skipped_lines: u64,
    /// Prompts and everything else of the conversation in them.
    pub their_records: u64,
    /// Whether a line of ours that names the end is appended.
    pub names_end: bool,
}

/// How to join. Of use for exactly the bytes it was made from.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it comes to.
    pub counts: Counts,
    /// The local file's last line has no line break.
    breaks_line: bool,
    /// Which of their lines is spliced, from 0, and the bytes in it.
    splice: (u64, std::ops::Range<usize>),
    /// What takes their place, with its quotation marks.
    parent: String,
    /// Their lines that are passed over, from 0.
    skipped: Vec<std::ops::Range<u64>>,
    /// A line of ours at the end; may be empty.
    appended: String,
    /// Bytes of theirs that were planned for.
    their_bytes: u64,
}

impl Plan {
    /// What is to be appended to the local file, from what is fed: the same bytes
    /// that the planner was fed as the other side's.
    #[must_use]
    pub fn joining(&self) -> Joining<'_> {
        Joining::new(self)
    }
}

/// Looks at the three parts, one after the other.
#[derive(Debug)]
pub struct Planner {
    part: Part,
    lines: Lines,
    /// Of the part that is being fed.
    line: u64,
    counts: Counts,
    tree: Tree,
    /// Of the file as it is here.
    digest: Digest,
    their_bytes: u64,
    skipped: Vec<std::ops::Range<u64>>,
    /// Where the parent of a record of theirs stands, for those that could be
    /// the first: line, bytes, and whether it goes on within a turn.
    seams: Vec<Seam>,
    refused: Option<Refused>,
}

/// A record of theirs whose parent is no record of theirs.
#[derive(Debug, Clone)]
struct Seam {
    node: u32,
    line: u64,
    token: Option<std::ops::Range<usize>>,
    mid_turn: bool,
}

/// Records of theirs that may hang on something that is not theirs; an honest
/// file has one, and a few beside it.
const SEAMS_MAX: usize = 4096;

impl Default for Planner {
    fn default() -> Self {
        Self {
            part: Part::Base,
            lines: Lines::default(),
            line: 0,
            counts: Counts::default(),
            tree: Tree::default(),
            digest: Digest::default(),
            their_bytes: 0,
            skipped: Vec::new(),
            seams: Vec::new(),
            refused: None,
        }
    }
}

impl Planner {
    /// Takes a piece of what both sides have. It ends with a line.
    pub fn base(&mut self, bytes: &[u8]) {
        assert!(self.part == Part::Base, "the base comes first");
        self.feed(bytes);
    }

    /// Takes a piece of what only the local file has.
    pub fn local(&mut self, bytes: &[u8]) {
        self.turn_to(Part::Local);
        self.feed(bytes);
    }

    /// Takes a piece of what only the other side has, as it would lie here.
    pub fn theirs(&mut self, bytes: &[u8]) {
        self.turn_to(Part::Theirs);
        self.feed(bytes);
    }

    /// Whether something stands against joining already, so that no more need be
    /// fed.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// What is to be done.
    ///
    /// # Errors
    /// See [`Refused`]; the first reason that was met.
    pub fn plan(mut self) -> Result<Plan, Refused> {
        self.turn_to(Part::Theirs);
        self.end_part();
        match self.refused {
            Some(refused) => Err(refused),
            None => self.conclude(),
        }
    }

    fn turn_to(&mut self, part: Part) {
        assert!(self.part <= part, "the parts come in their order");
        while self.part < part {
            self.end_part();
            self.part = match self.part {
                Part::Base => Part::Local,
                Part::Local | Part::Theirs => Part::Theirs,
            };
            self.line = 0;
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        if self.part == Part::Theirs {
            self.their_bytes += bytes.len() as u64;
        } else if self.refused.is_none() {
            self.digest.feed(bytes);
        }
        if self.refused.is_some() {
            return;
        }
        let mut lines = std::mem::take(&mut self.lines);
        let fits = lines.push(bytes, |line| self.take(line));
        self.lines = lines;
        if !fits {
            let (part, line) = (self.part, self.place());
            self.refuse(Refused::LongLine { part, line });
        }
    }

    /// The end of a part: what is left is a line without its line break.
    fn end_part(&mut self) {
        let rest = self.lines.take_rest();
        if rest.is_empty() {
            self.lines.closed = true;
        } else if self.part == Part::Base {
            // Nothing could be appended to a base that ends within a line.
            self.refuse(Refused::NoBase);
        } else {
            self.lines.closed = false;
            self.take(&rest);
        }
        match self.part {
            Part::Base => {
                self.tree.end_base();
                if self.tree.len() == 0 {
                    self.refuse(Refused::NoBase);
                }
            }
            Part::Local => self.tree.end_local(!self.lines.closed),
            Part::Theirs => {}
        }
        if self.part != Part::Theirs && !self.digest.summary().pending.is_empty() {
            self.refuse(Refused::PendingTool(self.part));
        }
    }

    fn refuse(&mut self, why: Refused) {
        self.refused.get_or_insert(why);
    }

    /// The line that is being read, counted in its whole file.
    fn place(&self) -> u64 {
        let before = match self.part {
            Part::Base => 0,
            Part::Local | Part::Theirs => self.counts.base_lines,
        };
        before + self.line + 1
    }

    fn take(&mut self, line: &[u8]) {
        if self.refused.is_none() {
            self.record(line);
        }
        self.line += 1;
        match self.part {
            Part::Base => self.counts.base_lines += 1,
            Part::Local => self.counts.local_lines += 1,
            Part::Theirs => self.counts.their_lines += 1,
        }
    }

    fn record(&mut self, bytes: &[u8]) {
        if bytes.trim_ascii().is_empty() {
            return;
        }
        let (part, place) = (self.part, self.place());
        let text = json::decoded(bytes);
        let Some(record) = Record::parse(&text) else {
            // A line that is none may be half of a turn. In the base both sides
            // live with it.
            if part != Part::Base {
                self.refuse(Refused::Torn { part, line: place });
            }
            return;
        };
        if part != Part::Base {
            if record.compacts {
                return self.refuse(Refused::Compacted { part, line: place });
            }
            if record.sidechain {
                return self.refuse(Refused::Sidechain { part, line: place });
            }
            if record.relocates && part == Part::Theirs {
                return self.refuse(Refused::Relocated { part, line: place });
            }
        }
        if record.names_leaf {
            self.tree.set_leaf(json::short_text(record.leaf, 64));
            return;
        }
        let (Some(uuid), false) = (json::text(record.uuid), record.sidechain) else {
            return;
        };
        let parent = json::text(record.parent).map(|p| Key::of(&p));
        if self.tree.len() >= limits::JOIN_RECORDS_MAX {
            return self.refuse(Refused::TooMany);
        }
        let Some(node) = self.tree.insert(Key::of(&uuid), parent) else {
            if part == Part::Theirs {
                self.skip();
            }
            return;
        };
        if part != Part::Theirs {
            return;
        }
        self.counts.their_records += 1;
        if !self.tree.hangs_on_theirs(node) {
            if self.seams.len() >= SEAMS_MAX {
                return self.refuse(Refused::Tangled);
            }
            // Positions in a text that had to be mended are none in the bytes.
            let mended = matches!(text, std::borrow::Cow::Owned(_));
            let mark = bytes.len() - text.len().min(bytes.len());
            let token = record
                .parent_range
                .filter(|_| !mended)
                .map(|r| r.start + mark..r.end + mark);
            self.seams.push(Seam {
                node,
                line: self.line,
                token,
                mid_turn: record.mid_turn,
            });
        }
    }

    /// The line that is being read is here already.
    fn skip(&mut self) {
        self.counts.skipped_lines += 1;
        let line = self.line;
        if let Some(last) = self.skipped.last_mut().filter(|last| last.end == line) {
            last.end = line + 1;
        } else if self.skipped.len() < limits::JOIN_SKIPS_MAX {
            self.skipped.push(line..line + 1);
        } else {
            self.refuse(Refused::Tangled);
        }
    }

    fn conclude(self) -> Result<Plan, Refused> {
        let tree = &self.tree;
        let base_end = tree.tip(World::Base).ok_or(Refused::NoBase)?;
        let local_end = tree.tip(World::Here).ok_or(Refused::NoBase)?;
        let their_end = tree.tip(World::There).ok_or(Refused::NoBase)?;
        let here = tree.branch(World::Here, local_end);
        let there = tree.branch(World::There, their_end);
        let seam = there
            .iter()
            .take_while(|n| !here.contains(n))
            .last()
            .ok_or(Refused::NothingToJoin)?;
        // Both went on from the end of what they have in common.
        for (part, branch) in [(Part::Local, &here), (Part::Theirs, &there)] {
            if !branch.contains(&base_end) {
                return Err(Refused::Rewound(part));
            }
        }
        let seam = self
            .seams
            .iter()
            .find(|s| s.node == *seam)
            .ok_or(Refused::Tangled)?;
        let line = self.counts.base_lines + seam.line + 1;
        if seam.mid_turn {
            return Err(Refused::MidTurn { line });
        }
        let token = seam.token.clone().ok_or(Refused::Torn {
            part: Part::Theirs,
            line,
        })?;
        if !tree.in_a_row(&here, &there, seam.node, local_end) {
            return Err(Refused::Tangled);
        }
        let parent = tree.name(local_end).ok_or(Refused::Tangled)?;
        let joined = World::Joined {
            seam: seam.node,
            on: local_end,
        };
        let mut counts = self.counts;
        let mut appended = String::new();
        if !tree.names_known_leaf() || tree.tip(joined) != Some(their_end) {
            let end = tree.name(their_end).ok_or(Refused::Tangled)?;
            appended = last_prompt(&end, self.digest.summary().session);
            counts.names_end = true;
        }
        Ok(Plan {
            counts,
            breaks_line: tree.local_is_open(),
            splice: (seam.line, token),
            parent: format!("\"{parent}\""),
            skipped: self.skipped,
            appended,
            their_bytes: self.their_bytes,
        })
    }
}

/// A line that names the record to go on from, as Claude Code writes it.
fn last_prompt(leaf: &str, session: Option<SessionId>) -> String {
    let session = session.map_or_else(String::new, |id| format!(r#","sessionId":"{id}""#));
    format!(r#"{{"type":"last-prompt","leafUuid":"{leaf}"{session}}}"#)
}

/// What of a line matters here.
struct Record<'a> {
    uuid: Raw<'a>,
    parent: Raw<'a>,
    /// Where the parent's token stands in the line.
    parent_range: Option<std::ops::Range<usize>>,
    leaf: Raw<'a>,
    names_leaf: bool,
    sidechain: bool,
    compacts: bool,
    relocates: bool,
    mid_turn: bool,
}

impl<'a> Record<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let [
            kind,
            uuid,
            parent,
            logical,
            leaf,
            sidechain,
            subtype,
            summary,
            result,
            message,
        ] = json::pick(
            line,
            &[
                "type",
                "uuid",
                "parentUuid",
                "logicalParentUuid",
                "leafUuid",
                "isSidechain",
                "subtype",
                "isCompactSummary",
                "toolUseResult",
                "message",
            ],
        )?;
        let kind = json::text(kind)?;
        let parent_range = parent.map(|raw| {
            let start = raw.get().as_ptr().addr() - line.as_ptr().addr();
            start..start + raw.get().len()
        });
        let is_null = |raw: Raw<'_>| raw.is_none_or(|r| r.get() == "null");
        // Old versions compact in smaller steps, too; they all say so.
        let boundary =
            kind == "system" && json::text(subtype).is_some_and(|s| s.contains("compact"));
        Some(Self {
            uuid,
            // Where a compaction goes on; only in the base.
            parent: if is_null(parent) { logical } else { parent },
            parent_range,
            leaf,
            names_leaf: kind == "last-prompt",
            sidechain: json::flag(sidechain),
            compacts: boundary || json::flag(summary),
            relocates: kind == "relocated",
            mid_turn: kind == "assistant"
                || (kind == "user" && (result.is_some() || brings_result(message))),
        })
    }
}

/// Whether a message brings the result of a tool.
fn brings_result(message: Raw<'_>) -> bool {
    json::pick_in(message, &["content"])
        .map(|[content]| json::objects(content, &["type"]))
        .unwrap_or_default()
        .into_iter()
        .any(|[kind]| json::text(kind).as_deref() == Some("tool_result"))
}

#[cfg(test)]
mod tests;
