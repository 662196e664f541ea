//! Writing a bundle as it goes: what has been packed can be taken away, and no file
//! is held. The text that the checksum is of is what JavaScript would write:
//! `JSON.stringify` of what it would read.

use std::collections::BTreeSet;
use std::io::Write as _;

use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::{Origin, Slot};
use ccpeer_core::text::lossy;
use ccpeer_core::time::Timestamp;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use super::base64::Encoder;
use super::tokens::{self, Tokeniser};
use super::{Part, Project, names, part_of, read};
use crate::rfc3339;

/// Units of UTF-16 of the first prompt.
const PROMPT_UNITS_MAX: usize = 120;
/// What stands there without one.
const NO_PROMPT: &str = "(no prompt)";
/// A line that is looked at for the first prompt.
const PROMPT_LINE_BYTES_MAX: usize = 1024 * 1024;
/// White space at the beginning of a line that is held back: it may be all of it.
const BLANK_BYTES_MAX: usize = 1024;

/// What a bundle says beside its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The session.
    pub session: SessionId,
    /// What this device calls itself.
    pub device: String,
    /// Now.
    pub exported: Timestamp,
    /// When the session last changed: the clients keep their copy if that is newer.
    pub updated: Timestamp,
    /// The project. Of its path, the home is taken out.
    pub project: Project,
}

/// A call that does not fit what was written before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A bundle has no place for such a file.
    #[error("a bundle has no place for this kind of file")]
    NoPlace,
    /// Files come in the order of [`Part`], each once, the transcript first.
    #[error("files of a bundle come in order, each once")]
    Order,
}

/// A bundle that is written.
pub struct Writer {
    out: Packed,
    session: SessionId,
    updated: Timestamp,
    tokeniser: Option<Tokeniser>,
    /// The part that is open, and whether it has a file.
    part: Option<(Part, bool)>,
    names: BTreeSet<String>,
    open: Option<Open>,
    lines: u64,
    prompt: Option<String>,
}

/// A file that is open.
enum Open {
    Lines(Box<Lines>),
    Text(Escaper),
    Base64(Encoder),
}

/// Text by lines, without the blank ones.
#[derive(Default)]
struct Lines {
    /// Lines are texts of a list; otherwise parts of one text.
    listed: bool,
    any: bool,
    inside: bool,
    blank: Vec<u8>,
    escaper: Escaper,
    /// The line, as long as the first prompt is looked for.
    line: Option<Vec<u8>>,
}

/// The gzip stream and the hash.
struct Packed {
    gzip: GzEncoder<Vec<u8>>,
    hash: Option<Sha256>,
}

impl Packed {
    #[expect(clippy::expect_used, reason = "memory takes everything")]
    fn put(&mut self, text: &str) {
        if let Some(hash) = &mut self.hash {
            hash.update(text.as_bytes());
        }
        self.gzip
            .write_all(text.as_bytes())
            .expect("writing to memory cannot fail");
    }

    fn string(&mut self, text: &str) {
        let mut escaper = Escaper::default();
        let escaped = escaper.push(text.as_bytes());
        self.put("\"");
        self.put(&escaped);
        self.put("\"");
    }
}

/// The inside of a JSON string, from pieces of UTF-8.
#[derive(Default)]
struct Escaper {
    /// The beginning of a character.
    rest: Vec<u8>,
}

impl Escaper {
    fn push(&mut self, bytes: &[u8]) -> String {
        let mut whole = std::mem::take(&mut self.rest);
        whole.extend_from_slice(bytes);
        let tail = incomplete(&whole);
        self.rest = whole.split_off(whole.len() - tail);
        escape(&lossy(&whole))
    }

    fn finish(&mut self) -> String {
        escape(&lossy(&std::mem::take(&mut self.rest)))
    }
}

/// Bytes at the end that may be the beginning of a character.
fn incomplete(bytes: &[u8]) -> usize {
    for back in 1..=3.min(bytes.len()) {
        let lead = bytes.get(bytes.len() - back).copied().unwrap_or(0);
        let len = match lead {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        return if len > back { back } else { 0 };
    }
    0
}

/// As `JSON.stringify` writes it.
#[expect(clippy::expect_used, reason = "text has no failing encoder")]
fn escape(text: &str) -> String {
    let mut quoted = serde_json::to_string(text).expect("encoding to memory cannot fail");
    quoted.pop();
    quoted.remove(0);
    quoted
}

impl Writer {
    /// Begins a bundle. The transcripts are in the paths of `origin`, which become
    /// tokens; without one they have tokens already.
    #[must_use]
    pub fn new(about: &Description, origin: Option<&Origin>) -> Self {
        let mut out = Packed {
            gzip: GzEncoder::new(Vec::new(), Compression::default()),
            hash: None,
        };
        for (key, value) in [
            ("{\"version\":", "1"),
            (",\"exportedAt\":", &rfc3339::from_ms(about.exported.0)),
            (",\"sourceDevice\":", &about.device),
            (",\"updatedAt\":", &rfc3339::from_ms(about.updated.0)),
        ] {
            out.put(key);
            out.string(value);
        }
        out.put(",\"session\":");
        out.hash = Some(Sha256::new());
        let project = &about.project;
        let path = origin.map_or_else(|| project.path.clone(), tokens::path_shown);
        out.put("{\"sessionId\":");
        out.string(&about.session.to_string());
        out.put(",\"project\":{\"name\":");
        out.string(&project.name);
        out.put(",\"relativeToRoot\":");
        match &project.below_root {
            Some(below) => out.string(below),
            None => out.put("null"),
        }
        out.put(",\"tokenizedPath\":");
        out.string(super::PROJECT_TOKEN);
        out.put(",\"originalPath\":");
        out.string(&path);
        out.put("},\"messages\":[");
        Self {
            out,
            session: about.session,
            updated: about.updated,
            tokeniser: origin.map(Tokeniser::new),
            part: Some((Part::Messages, false)),
            names: BTreeSet::new(),
            open: None,
            lines: 0,
            prompt: None,
        }
    }

    /// Begins a file.
    ///
    /// # Errors
    /// See [`WriteError`]; nothing is written then.
    pub fn begin(&mut self, slot: &Slot) -> Result<(), WriteError> {
        let part = part_of(slot).ok_or(WriteError::NoPlace)?;
        let name = names::name(slot, &self.session).ok_or(WriteError::NoPlace)?;
        let (before, any) = self.part.unwrap_or((Part::Messages, false));
        let again = part == Part::Messages && any;
        if part < before || again || !self.names.insert(name.to_ascii_lowercase()) {
            return Err(WriteError::Order);
        }
        self.close();
        self.part_at(part);
        if self.part.is_some_and(|(_, any)| any) && part != Part::Messages {
            self.out.put(",");
        }
        self.part = Some((part, true));
        match part {
            Part::Messages => {
                self.open = Some(Open::Lines(Box::new(Lines {
                    listed: true,
                    line: Some(Vec::new()),
                    ..Lines::default()
                })));
            }
            Part::Agents => {
                self.out.string(&name);
                self.out.put(":\"");
                self.open = Some(Open::Lines(Box::default()));
            }
            Part::Todos => {
                self.out.put("{\"filename\":");
                self.out.string(&name);
                self.out.put(",\"content\":\"");
                self.open = Some(Open::Text(Escaper::default()));
            }
            Part::FileHistory => {
                self.out.string(&name);
                self.out.put(":\"");
                self.open = Some(Open::Base64(Encoder::default()));
            }
        }
        Ok(())
    }

    /// More of the file that was begun.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.open {
            Some(Open::Lines(lines)) => {
                let mut tokenised = Vec::new();
                match &mut self.tokeniser {
                    Some(tokeniser) => tokeniser.push(bytes, &mut tokenised),
                    None => tokenised.extend_from_slice(bytes),
                }
                lines.push(&tokenised, &mut self.out, &mut self.lines, &mut self.prompt);
            }
            Some(Open::Text(escaper)) => self.out.put(&escaper.push(bytes)),
            Some(Open::Base64(encoder)) => self.out.put(&encoder.push(bytes)),
            None => {}
        }
    }

    /// What is packed so far and was not taken yet.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.out.gzip.get_mut())
    }

    /// Ends the bundle: what is packed and was not taken yet.
    #[must_use]
    #[expect(clippy::expect_used, reason = "memory takes everything")]
    pub fn finish(mut self) -> Vec<u8> {
        self.close();
        self.part_at(Part::FileHistory);
        let prompt = self.prompt.take().unwrap_or_else(|| NO_PROMPT.to_owned());
        self.out.put("},\"meta\":{\"firstPrompt\":");
        self.out.string(names::units(&prompt, PROMPT_UNITS_MAX));
        let lines = self.lines;
        self.out
            .put(&format!(",\"messageCount\":{lines},\"modified\":"));
        self.out.string(&rfc3339::from_ms(self.updated.0));
        self.out.put("}}");
        let hash = self.out.hash.take().unwrap_or_default().finalize();
        self.out.put(",\"checksum\":");
        self.out.string(&super::hex(&hash));
        // Beside what the checksum is of: the clients pass over it.
        self.out.put(&format!(",\"{}\":1}}", super::OURS));
        self.out
            .gzip
            .finish()
            .expect("writing to memory cannot fail")
    }

    /// Ends the file that is open.
    fn close(&mut self) {
        match self.open.take() {
            Some(Open::Lines(mut lines)) => {
                if let Some(tokeniser) = &mut self.tokeniser {
                    let mut tokenised = Vec::new();
                    tokeniser.finish(&mut tokenised);
                    lines.push(&tokenised, &mut self.out, &mut self.lines, &mut self.prompt);
                }
                lines.end_line(&mut self.out, &mut self.lines, &mut self.prompt);
                if !lines.listed {
                    self.out.put("\"");
                }
            }
            Some(Open::Text(mut escaper)) => {
                self.out.put(&escaper.finish());
                self.out.put("\"}");
            }
            Some(Open::Base64(mut encoder)) => {
                self.out.put(&encoder.finish());
                self.out.put("\"");
            }
            None => {}
        }
    }

    /// Goes on to a part; those between are empty.
    fn part_at(&mut self, part: Part) {
        while let Some((at, _)) = self.part.filter(|(at, _)| *at < part) {
            let (next, between) = match at {
                Part::Messages => (Part::Agents, "],\"agents\":{"),
                Part::Agents => (Part::Todos, "},\"todos\":["),
                Part::Todos | Part::FileHistory => (Part::FileHistory, "],\"fileHistory\":{"),
            };
            self.out.put(between);
            self.part = Some((next, false));
        }
    }
}

impl Lines {
    fn push(
        &mut self,
        bytes: &[u8],
        out: &mut Packed,
        count: &mut u64,
        prompt: &mut Option<String>,
    ) {
        for piece in bytes.split_inclusive(|c| *c == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            self.text(text, out);
            if ended {
                self.end_line(out, count, prompt);
            }
        }
    }

    fn text(&mut self, text: &[u8], out: &mut Packed) {
        if !self.inside {
            self.blank.extend_from_slice(text);
            if self.blank.trim_ascii().is_empty() && self.blank.len() <= BLANK_BYTES_MAX {
                return;
            }
            self.inside = true;
            let before = match (self.listed, self.any) {
                (true, false) => "\"",
                (true, true) => ",\"",
                (false, false) => "",
                (false, true) => "\\n",
            };
            out.put(before);
            self.any = true;
            let held = std::mem::take(&mut self.blank);
            return self.inner(&held, out);
        }
        self.inner(text, out);
    }

    fn inner(&mut self, text: &[u8], out: &mut Packed) {
        if let Some(line) = &mut self.line {
            let room = PROMPT_LINE_BYTES_MAX.saturating_sub(line.len());
            line.extend_from_slice(text.get(..room).unwrap_or(text));
        }
        out.put(&self.escaper.push(text));
    }

    fn end_line(&mut self, out: &mut Packed, count: &mut u64, prompt: &mut Option<String>) {
        self.blank.clear();
        if !std::mem::replace(&mut self.inside, false) {
            return;
        }
        out.put(&self.escaper.finish());
        if self.listed {
            out.put("\"");
            *count += 1;
        }
        if let Some(line) = &mut self.line {
            *prompt = read::first_prompt(&lossy(line));
            line.clear();
            if prompt.is_some() {
                self.line = None;
            }
        }
    }
}
