//! The two tokens that stand for places in a bundle, both ways: the paths of one
//! machine become tokens, and tokens become the paths that they stood for.
//!
//! Into tokens by [`Rewriter`], so only where a path begins and ends, and never in
//! what a model signed. Out of tokens into the paths of the machine that wrote the
//! bundle, as far as those are known, and never into ours: from there on, the
//! session is like any other of a foreign machine. A token that was in the text
//! before, as in a shell's script, cannot be told from one that was put there.

use ccpeer_core::manifest::{Origin, PathFlavour, Slot};

use super::{HOME_TOKEN, Head, PROJECT_TOKEN};
use crate::claude::rewrite::{Rewriter, TextKind};
use crate::claude::slug;
use crate::remote_path::RemotePath;

/// What stands for the two places while [`Rewriter`] works: it knows paths only.
const PLACEHOLDERS: [(&str, &str); 2] = [
    ("ccpeerq7project", PROJECT_TOKEN),
    ("ccpeerq7home", HOME_TOKEN),
];
/// Bytes that may belong to a separator or a token and are held back.
const HELD_BYTES: usize = 64;

/// Whether tokens stand in a file of this kind.
#[must_use]
pub fn has_tokens(slot: &Slot) -> bool {
    matches!(slot, Slot::Main | Slot::Subagent(_))
}

/// The places of the machine that wrote a bundle: those that its project's path
/// tells, and made-up ones instead of those that it does not.
#[must_use]
pub fn origin_of(head: &Head) -> Origin {
    let shown = head.project.path.as_str();
    let flavour = match shown.as_bytes() {
        [drive, b':', ..] if drive.is_ascii_alphabetic() => PathFlavour::Windows,
        [b'\\', b'\\', ..] => PathFlavour::Windows,
        _ => PathFlavour::Unix,
    };
    let (homes, slash) = match flavour {
        PathFlavour::Unix => ("/home", "/"),
        PathFlavour::Windows => ("C:\\Users", "\\"),
    };
    let user = Some(safe(&head.device)).filter(|u| !u.is_empty());
    let made_up = format!("{homes}{slash}{}", user.as_deref().unwrap_or("unknown"));
    let told = match shown.strip_prefix(HOME_TOKEN) {
        Some(below) => format!("{made_up}{below}"),
        None => shown.to_owned(),
    };
    let project = RemotePath::parse(&told, flavour)
        .ok()
        .filter(|p| !p.is_root());
    let home = project.as_ref().and_then(home_of).unwrap_or(made_up);
    let name = Some(safe(&head.project.name)).filter(|n| !n.is_empty());
    let project = project.map_or_else(
        || format!("{home}{slash}{}", name.as_deref().unwrap_or("project")),
        |p| p.to_string(),
    );
    Origin {
        flavour,
        claude_dir: format!("{home}{slash}.claude"),
        slug: slug::project_slug(&project),
        home,
        project,
    }
}

/// The home that a path lies in, by the usual names.
fn home_of(path: &RemotePath) -> Option<String> {
    let below = match (path.flavour(), path.parts()) {
        (PathFlavour::Unix, [root, ..]) if root == "root" => 1,
        (PathFlavour::Unix, [top, _, ..]) if top == "home" || top == "Users" => 2,
        (PathFlavour::Unix, [var, home, _, ..]) if var == "var" && home == "home" => 3,
        (PathFlavour::Windows, [users, _, ..]) if users.eq_ignore_ascii_case("users") => 2,
        _ => return None,
    };
    let mut home = path.clone();
    for _ in below..path.parts().len() {
        home = home.parent()?;
    }
    Some(home.to_string())
}

/// A name as a part of a path that nothing can be hidden in.
fn safe(name: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    name.chars().filter(plain).take(32).collect()
}

/// The project's path as a bundle shows it: the home taken out.
pub(super) fn path_shown(origin: &Origin) -> String {
    let parse = |p: &str| RemotePath::parse(p, origin.flavour).ok();
    let below = parse(&origin.project)
        .zip(parse(&origin.home).filter(|h| !h.is_root()))
        .and_then(|(project, home)| Some(project.parts_below(&home)?.join("/")));
    match below {
        Some(below) if below.is_empty() => HOME_TOKEN.to_owned(),
        Some(below) => format!("{HOME_TOKEN}/{below}"),
        None => origin.project.clone(),
    }
}

/// Makes tokens of the paths of one machine.
pub struct Tokeniser {
    rewriter: Rewriter,
    /// The line that is not whole yet.
    held: Vec<u8>,
}

impl Tokeniser {
    /// For transcripts in these paths.
    #[must_use]
    pub fn new(origin: &Origin) -> Self {
        let [(project, _), (home, _)] = PLACEHOLDERS;
        let to = Origin {
            flavour: PathFlavour::Unix,
            home: format!("/{home}"),
            project: format!("/{project}"),
            claude_dir: format!("/{home}/.claude"),
            // There is no token for it: it stays as it is.
            slug: origin.slug.clone(),
        };
        Self {
            rewriter: Rewriter::new(origin, &to),
            held: Vec::new(),
        }
    }

    /// A piece of a transcript.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        // Whole lines only: the rewriter looks at each of them alone.
        let end = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        let (lines, rest) = bytes.split_at(end);
        if !lines.is_empty() {
            self.held.extend_from_slice(lines);
            self.lines(out);
        }
        self.held.extend_from_slice(rest);
    }

    /// The end of a transcript.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.lines(out);
    }

    fn lines(&mut self, out: &mut Vec<u8>) {
        let text = std::mem::take(&mut self.held);
        let (text, _) = self.rewriter.bytes(TextKind::JsonLines, &text);
        out.extend(placed(text));
    }
}

/// Puts tokens for the placeholders and the separators before them.
fn placed(text: Vec<u8>) -> Vec<u8> {
    let mut out = text;
    for (placeholder, token) in PLACEHOLDERS {
        let finder = memchr::memmem::Finder::new(placeholder);
        if finder.find(&out).is_none() {
            continue;
        }
        let mut with = Vec::with_capacity(out.len());
        let mut from = 0;
        for at in finder.find_iter(&out) {
            let before = out.get(from..at).unwrap_or_default();
            let kept = before.len() - separator(before);
            with.extend_from_slice(before.get(..kept).unwrap_or_default());
            with.extend_from_slice(token.as_bytes());
            from = at + placeholder.len();
        }
        with.extend_from_slice(out.get(from..).unwrap_or_default());
        out = with;
    }
    out
}

/// How long the separator is that a text ends with, however it is spelled.
fn separator(text: &[u8]) -> usize {
    let folded = text.get(text.len().saturating_sub(5)..).unwrap_or_default();
    let len = match folded.to_ascii_lowercase().as_slice() {
        [.., b'%', b'2', b'f'] => return 3,
        [b'u', b'0', b'0', b'2', b'f'] => 5,
        [.., b'/'] => 1,
        _ => return 0,
    };
    let before = text.get(..text.len() - len).unwrap_or_default();
    len + before.iter().rev().take_while(|c| **c == b'\\').count()
}

/// Puts the paths of a machine for the tokens.
pub struct Restorer {
    windows: bool,
    home: String,
    project: String,
    held: Vec<u8>,
}

impl Restorer {
    /// Into the paths of this machine.
    #[must_use]
    pub fn new(origin: &Origin) -> Self {
        Self {
            windows: origin.flavour == PathFlavour::Windows,
            home: origin.home.clone(),
            project: origin.project.clone(),
            held: Vec::new(),
        }
    }

    /// A piece of a transcript.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let end = held.len().saturating_sub(HELD_BYTES);
        let reached = self.restore(&held, end, out);
        self.held
            .extend_from_slice(held.get(reached..).unwrap_or_default());
    }

    /// The end of a transcript.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        let reached = self.restore(&held, held.len(), out);
        out.extend_from_slice(held.get(reached..).unwrap_or_default());
    }

    /// Restores what begins before `end`, and says how far it came.
    fn restore(&self, text: &[u8], end: usize, out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while let Some(found) = memchr::memchr(b'$', text.get(at..end).unwrap_or_default()) {
            let start = at + found;
            out.extend_from_slice(text.get(at..start).unwrap_or_default());
            let rest = text.get(start..).unwrap_or_default();
            let (token, path) = if rest.starts_with(PROJECT_TOKEN.as_bytes()) {
                (PROJECT_TOKEN, &self.project)
            } else if rest.starts_with(HOME_TOKEN.as_bytes()) {
                (HOME_TOKEN, &self.home)
            } else {
                out.push(b'$');
                at = start + 1;
                continue;
            };
            at = start + token.len();
            let after = text.get(at..).unwrap_or_default();
            out.extend_from_slice(self.spelled(path, after).as_bytes());
        }
        if at < end {
            out.extend_from_slice(text.get(at..end).unwrap_or_default());
            at = end;
        }
        at
    }

    /// A path as it is spelled before what follows.
    fn spelled(&self, path: &str, after: &[u8]) -> String {
        if !self.windows {
            return path.to_owned();
        }
        let run = after.iter().take_while(|c| **c == b'\\').count();
        match after.get(run) {
            // At every level of JSON in JSON a forward slash is one.
            Some(b'/') if run == 0 => path.replace('\\', "/"),
            // The end of a string: its quote says at which level it is.
            Some(b'"') => path.replace('\\', &"\\".repeat(2 * (run + 1))),
            _ if run == 0 => path.replace('\\', "\\\\"),
            _ => path.replace('\\', &"\\".repeat(run)),
        }
    }
}
