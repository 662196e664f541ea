//! Whether a file is a transcript as we know them: judged by its shape, never by
//! a version number. A kind of record or a field that is new changes nothing;
//! where nobody can be seen to say a word, and there are lines that we cannot
//! read, it is another format, and what the rest of this crate would do to it
//! is a guess.
//!
//! Must not know what is done about it.

use ccpeer_core::limits;

use super::json;
use super::partial::PartialLine;

/// A version's name is shown to people; a longer one is none.
const VERSION_CHARS_MAX: usize = 32;

/// Kinds of records that say nothing by themselves, but are ours to understand.
const SILENT: [&str; 36] = [
    "agent-color",
    "agent-name",
    "agent-setting",
    "ai-title",
    "api-request",
    "api-request-blob",
    "api-request-shape",
    "atis-latch",
    "attachment",
    "attribution-snapshot",
    "bridge-session",
    "content-replacement",
    "continued-in",
    "cost-state",
    "custom-title",
    "derived-from",
    "ended-by-model",
    "file-history-delta",
    "file-history-snapshot",
    "fork-context-ref",
    "frame-link",
    "last-prompt",
    "mode",
    "observer-ref",
    "permission-mode",
    "pr-link",
    "progress",
    "queue-operation",
    "relocated",
    "resume-head-vouch",
    "session-owner",
    "summary",
    "system",
    "tag",
    "tools-used",
    "worktree-state",
];

/// What a file has shown itself to be so far.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    /// A record with a place in the tree, and a role.
    spoken: bool,
    /// A line that is no record of a kind we know.
    strange: bool,
    version: Option<String>,
    /// The line that has begun.
    tail: PartialLine,
}

/// What kind of file it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody says something, or nothing speaks against it.
    Transcript,
    /// Nothing in it is recognised as a conversation.
    Foreign {
        /// The version of Claude Code that it names, if it does.
        version: Option<String>,
    },
}

impl Shape {
    /// Reads on. Pieces may have any size.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            if self.spoken {
                return;
            }
            let (line, after) = rest.split_at(at);
            rest = after.get(1..).unwrap_or_default();
            if self.tail.len() == 0 && line.len() <= limits::TRANSCRIPT_LINE_BYTES_MAX {
                self.line(line);
            } else {
                self.tail.push(line);
                self.end_line();
            }
        }
        self.tail.push(rest);
    }

    /// Whether more of the file cannot change the verdict.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.spoken
    }

    /// What it is, at the end of the file.
    #[must_use]
    pub fn verdict(mut self) -> Verdict {
        if self.tail.len() > 0 {
            self.end_line();
        }
        match self.strange && !self.spoken {
            false => Verdict::Transcript,
            true => Verdict::Foreign {
                version: self.version,
            },
        }
    }

    fn end_line(&mut self) {
        match self.tail.end() {
            Some(line) => self.line(&line),
            None => self.strange = true,
        }
    }

    fn line(&mut self, line: &[u8]) {
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        let line = json::decoded(line);
        let Some([kind, uuid, message, version]) =
            json::pick(&line, &["type", "uuid", "message", "version"])
        else {
            self.strange = true;
            return;
        };
        if let Some(version) = json::text(version).filter(|v| is_version(v)) {
            self.version = Some(version.into_owned());
        }
        let role = json::pick_in(message, &["role"]).and_then(|[role]| json::text(role));
        self.spoken |= role.is_some() && json::text(uuid).is_some();
        self.strange |= json::text(kind).is_none_or(|k| SILENT.binary_search(&&*k).is_err());
    }
}

fn is_version(text: &str) -> bool {
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'+' | b'_');
    (1..=VERSION_CHARS_MAX).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(bytes: &[u8]) -> Verdict {
        let whole = {
            let mut shape = Shape::default();
            shape.feed(bytes);
            shape.verdict()
        };
        // Pieces do not matter.
        let mut shape = Shape::default();
        for piece in bytes.chunks(7) {
            shape.feed(piece);
        }
        assert_eq!(shape.verdict(), whole);
        whole
    }

    fn foreign(version: Option<&str>) -> Verdict {
        Verdict::Foreign {
            version: version.map(str::to_owned),
        }
    }

    const SAID: &str = r#"{"type":"user","uuid":"6666","version":"2.1.329","message":{"role":"user","content":"one"}}"#;

    #[test]
    fn every_kind_is_found() {
        assert!(SILENT.is_sorted());
    }

    #[test]
    fn a_word_of_anybody_makes_a_transcript() {
        let check = |text: &str| assert_eq!(judge(text.as_bytes()), Verdict::Transcript, "{text}");
        check("");
        check("\n\n  \r\n");
        check(SAID);
        // Whatever stands around it.
        check(&format!(
            "\u{feff}{{\"type\":\"brand-new\",\"x\":1}}\nrubbish\n{SAID}\n{{\"torn\":"
        ));
        check(&format!("{}\n{SAID}\n", "x\n".repeat(1000)));
        // A kind and fields that nobody has heard of.
        check(
            r#"{"type":"utterance","uuid":"1","new":[1],"message":{"role":"human","blocks":[]}}"#,
        );
        // Nothing said, and nothing that we do not understand.
        check(
            "{\"type\":\"mode\",\"mode\":\"normal\"}\n{\"type\":\"custom-title\",\"customTitle\":\"x\"}\n",
        );
        check(r#"{"type":"system","uuid":"1","subtype":"local_command"}"#);
    }

    #[test]
    fn another_format_is_none_and_names_its_version() {
        let check = |bytes: &[u8], version: Option<&str>| {
            assert_eq!(judge(bytes), foreign(version), "{} bytes", bytes.len());
        };
        check(b"\x1f\x8b\x08\x00\x00\n\xff\xfe\n{", None);
        check(&[0; 100_000], None);
        check(b"SQLite format 3\0", None);
        check(b"[1,2]\n\"x\"\n", None);
        // Records of another make: no roles anywhere.
        let new = r#"{"kind":"turn","version":"4.0.1","by":"user","text":"one"}"#;
        check(format!("{new}\n{new}\n").as_bytes(), Some("4.0.1"));
        check(
            br#"{"type":"turn","uuid":"1","version":"4.0.0-beta+1"}"#,
            Some("4.0.0-beta+1"),
        );
        // What it calls its version is shown to people.
        check(br#"{"type":"turn","version":"\u001b[31m4"}"#, None);
        check(
            br#"{"type":"turn","version":"44444444444444444444444444444444444"}"#,
            None,
        );
        check(br#"{"type":"turn","version":4}"#, None);
    }

    #[test]
    fn a_line_without_end_takes_no_memory_without_end() {
        let mut shape = Shape::default();
        let piece = vec![b'x'; 1024 * 1024];
        for _ in 0..20 {
            shape.feed(&piece);
        }
        assert_eq!(shape.tail.kept(), 0);
        shape.feed(b"\n");
        assert_eq!(shape.clone().verdict(), foreign(None));
        shape.feed(SAID.as_bytes());
        assert_eq!(shape.verdict(), Verdict::Transcript);
    }
}
