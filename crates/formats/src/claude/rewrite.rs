//! Paths of one machine into those of another, by splicing.
//!
//! What is replaced: Claude Code's directory, the project's, the home, and the
//! name that the project has under `projects/`; the longest first, in one pass,
//! only where a path begins and ends (the table is in [`boundary`]), in every
//! spelling that [`spelling`] knows. Case counts, but for a drive's letter.
//! Between Windows and Unix the rest of the path follows, up to its own end.
//! **Every other byte stays**: nothing is parsed and written anew, so what is odd
//! or broken in a transcript stays as odd.
//!
//! Left alone on purpose:
//! - `~`, `$HOME` and `${HOME}`: they mean the right thing wherever they are;
//! - lines that are not JSON, and blocks that a model signed;
//! - a root: as a pattern it would be found in every path;
//! - a path that there would mean another pair's place (`~/code/x` where that
//!   has become the project): the way back could not tell them apart.
//!
//! A→B→A gives the same bytes for Unix→Unix and Unix→Windows→Unix if the text
//! did not mention B's places to begin with, and no two of B's places are the
//! same. Windows→Unix→Windows does so for the usual spelling; `C:/x`, `c:\x` and
//! `/c/x` come back as `C:\x`. A device's own bytes never go through here twice:
//! they are kept as segments of their own origin (see `ccpeer_core::manifest`).
//!
//! Must not know where a transcript lies, nor anything of its records beyond
//! what a signed block looks like.

mod alias;
mod boundary;
mod matching;
mod nesting;
mod pattern;
mod reading;
mod signed;
mod spelling;
mod stream;
mod tail;
#[cfg(test)]
mod tests;
mod tracked;
mod writing;

use ccpeer_core::limits::REWRITE_LINE_BYTES_MAX;
use ccpeer_core::manifest::{Origin, PathFlavour};

use crate::remote_path::RemotePath;
use matching::Matcher;
use pattern::Pair;

pub use stream::Stream;

/// Rewrites what was written on one machine for another.
#[derive(Debug)]
pub struct Rewriter {
    matcher: Matcher,
    pairs: Vec<Pair>,
    from: PathFlavour,
    to: PathFlavour,
    keeps_json: bool,
}

/// What kind of text is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    /// One JSON value a line: transcripts. What is not JSON is copied.
    JsonLines,
    /// One JSON value: what is kept about a sub-agent.
    Json,
    /// Anything: outputs of tools, plans.
    Plain,
}

/// What was done to a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Lines, blank and torn ones too.
    pub lines: u64,
    /// Lines that changed.
    pub rewritten_lines: u64,
    /// Lines that are not JSON and were copied; none in plain text.
    pub opaque_lines: u64,
    /// Places that were replaced.
    pub replacements: u64,
}

impl Rewriter {
    /// From the places of one machine to those of another.
    #[must_use]
    pub fn new(from: &Origin, to: &Origin) -> Self {
        Self::in_repository(from, to, "")
    }

    /// The same for a project that lies in a sub-directory of its repository on
    /// both machines: the repository is then a place, too. Where the paths do not
    /// end in `subdir` it is none.
    #[must_use]
    pub fn in_repository(from: &Origin, to: &Origin, subdir: &str) -> Self {
        let pairs = pattern::pairs(from, to, subdir);
        let mut matcher = Matcher::new(
            from.flavour,
            to.flavour,
            pattern::patterns(&pairs, from, to, subdir),
        );
        if matcher.needs_level() {
            let back = pattern::pairs(to, from, subdir);
            let back = pattern::patterns(&back, to, from, subdir);
            matcher = matcher.with_inverse(Matcher::new(to.flavour, from.flavour, back));
        }
        let keeps_json = from.flavour == PathFlavour::Unix
            && to.flavour == PathFlavour::Unix
            && pairs.iter().all(|p| is_plain(&p.from) && is_plain(&p.to));
        Self {
            matcher,
            pairs,
            from: from.flavour,
            to: to.flavour,
            keeps_json,
        }
    }

    /// Whether a line is JSON after it was rewritten if it was before, and only then:
    /// what is put in a place's stead is spelled as the place was, back-slash by
    /// back-slash. Not so where separators change their kind, or where a shell's
    /// back-slash, which JSON does not know, may stand before a name's character.
    #[must_use]
    pub fn keeps_json(&self) -> bool {
        self.keeps_json
    }

    /// A line of a log, without its line break, with its places rewritten; nothing if
    /// it names none. Unlike [`Rewriter::bytes`] it does not look whether the line is
    /// JSON: where [`Rewriter::keeps_json`] holds, a caller who reads the result sees.
    #[must_use]
    pub fn record(&self, line: &[u8]) -> Option<Vec<u8>> {
        if !self.keeps_json || line.len() > REWRITE_LINE_BYTES_MAX {
            let (out, report) = self.bytes(TextKind::JsonLines, line);
            return (report.replacements > 0).then_some(out);
        }
        stream::record(&self.matcher, line)
    }

    /// Whether nothing would ever change, so that bytes need not pass through.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.matcher.is_empty() && self.from == self.to
    }

    /// A file to be rewritten, piece by piece.
    #[must_use]
    pub fn stream(&self, kind: TextKind) -> Stream<'_> {
        Stream::new(self, kind)
    }

    /// A text that is held as a whole.
    #[must_use]
    pub fn bytes(&self, kind: TextKind, bytes: &[u8]) -> (Vec<u8>, Report) {
        let mut out = Vec::with_capacity(bytes.len());
        let mut stream = self.stream(kind);
        stream.push(bytes, &mut out);
        let report = stream.finish(&mut out);
        (out, report)
    }

    /// Where one path of the first machine lies on the second: a working
    /// directory, a file's name. `None` if it lies in none of the places that
    /// both know, or is of a form that must not be mapped.
    #[must_use]
    pub fn path(&self, text: &str) -> Option<String> {
        let path = RemotePath::parse(text, self.from).ok()?;
        let (pair, below) = self
            .pairs
            .iter()
            .find_map(|p| Some((p, path.parts_below(&p.from)?)))?;
        Some(pair.to.join(&below.join("/")).ok()?.to_string())
    }
}

/// Whether no character of it is written behind a back-slash, by JSON or a shell.
fn is_plain(path: &RemotePath) -> bool {
    let mut chars = path.parts().iter().flat_map(|part| part.chars());
    chars.all(|c| !c.is_control() && c != '"' && c != '\\' && !spelling::shell_escapes(c))
}
