//! The document as a Markdown file with a front matter, one file for a device
//! and a session, as people and other tools keep them in a shared folder.
//!
//! The keys and headings are those of the `tasks/<host>-<session>.md` files of
//! claude-code-session-sharing: sorted by `updated`, continued from the section
//! `Handoff prompt`.

use std::fmt::Write as _;

use ccpeer_core::id::SessionId;
use ccpeer_core::text;

use super::Snapshot;
use crate::rfc3339;

/// The name of the file: whatever the host is called, it is one safe component.
#[must_use]
pub fn markdown_name(hostname: &str, session: &SessionId) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '-'
        }
    };
    let host: String = hostname
        .trim_start_matches('.')
        .chars()
        .map(safe)
        .take(64)
        .collect();
    let host = if host.is_empty() { "unknown" } else { &host };
    format!("{host}-{session}.md")
}

impl Snapshot {
    /// The document as Markdown. `hostname` is what the reader calls the device.
    #[must_use]
    pub fn to_markdown(&self, hostname: &str) -> String {
        let mut out = String::from("---\n");
        let mut field = |key: &str, value: &str| {
            out.push_str(format!("{key}: {}", scalar(value)).trim_end());
            out.push('\n');
        };
        field("title", &self.title);
        field("machine", hostname);
        field("session", &self.session_id.to_string());
        field("project", &self.project);
        field("branch", &self.branch);
        if let Some(created) = self.created {
            field("created", &rfc3339::from_ms(created.0));
        }
        field("updated", &rfc3339::from_ms(self.updated.0));
        field("ccpeer", "1");
        let title = text::one_line(&self.title, 200);
        let _ = write!(out, "---\n\n# {title}\n");
        let s = &self.sections;
        for (heading, body) in [
            ("Task", &s.task),
            ("Done", &s.done),
            ("In progress", &s.in_progress),
            ("Next steps", &s.next_steps),
            ("Files", &s.files),
            ("Handoff prompt", &s.handoff_prompt),
        ] {
            let _ = write!(out, "\n## {heading}\n\n{}\n", without_headings(body.trim()));
        }
        out
    }
}

/// A value of the front matter. Quoted unless it is plain beyond doubt; the
/// quotes of JSON are understood by every reader of YAML.
fn scalar(value: &str) -> String {
    let value = text::one_line(value, 200);
    let plain = value
        .chars()
        .all(|c| c.is_alphanumeric() || " ._-/+:".contains(c))
        && value.starts_with(char::is_alphanumeric)
        && !value.contains(": ")
        && !value.ends_with([':', ' '])
        && !matches!(
            value.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off"
        );
    if plain || value.is_empty() {
        return value;
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A body in which no line passes for a heading of the document.
fn without_headings(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    for line in body.lines() {
        let start = line.trim_start();
        if start.starts_with('#') || start == "---" {
            out.push('\\');
            out.push_str(start);
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out
}
