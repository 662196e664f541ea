//! The hand-off files of claude-code-session-sharing, `tasks/<host>-<session>.md`:
//! a front matter, and a section for each thing that somebody needs who goes on.
//!
//! A model wrote them, by a prompt that is not public: nothing in them is certain
//! but the key `updated` and the heading `Handoff prompt`. So they are read
//! leniently; what is not understood is kept, and costs a warning. Written they are
//! by [`Snapshot::to_markdown`], so that its readers find what they look for.

mod front;
mod sections;

use ccpeer_core::id::SessionId;
use ccpeer_core::time::Timestamp;
use ccpeer_core::{limits, text};
use sha2::{Digest as _, Sha256};

use crate::claude::json;
use crate::rfc3339;
use crate::snapshot::{BasedOn, SNAPSHOT_VERSION, Sections, Snapshot, markdown_name};

/// The directory of a repository that holds them.
pub const DIRECTORY: &str = "tasks";
/// How the name of one ends.
pub const FILE_SUFFIX: &str = ".md";
/// Bytes of one that are looked at.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Sections that nobody knows and that are kept.
const OTHERS_MAX: usize = 32;
/// Characters of a short field.
const FIELD_CHARS_MAX: usize = 200;

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// What the machine calls itself.
    pub host: String,
    /// The session.
    pub session: SessionId,
    /// The file says nothing that could be the id of a session, so the one here was
    /// made from its name, the same every time.
    pub made_up: bool,
    /// What the list shows.
    pub title: String,
    /// The name of the project.
    pub project: String,
    /// Where the session worked: a path of that machine.
    pub cwd: String,
    /// The git branch, or empty.
    pub branch: String,
    /// When the session began. A label.
    pub created: Option<Timestamp>,
    /// When the file was written last. A label.
    pub updated: Option<Timestamp>,
    /// What it says.
    pub sections: Sections,
    /// Sections of other names, heading and text.
    pub others: Vec<(String, String)>,
    /// Whether ccpeer wrote it.
    pub ours: bool,
}

/// What of a file was not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// More bytes than are looked at.
    #[error("the file is cut after {FILE_BYTES_MAX} bytes")]
    Cut,
    /// No front matter, or one without an end.
    #[error("no front matter")]
    NoFront,
    /// A line of the front matter.
    #[error("line {0} of the front matter is not understood")]
    Front(usize),
    /// No time that can be read.
    #[error("no time of the last change")]
    NoTime,
    /// No session is named.
    #[error("neither the name of the file nor the file names a session")]
    NoSession,
    /// The name of the file and what stands in it are two sessions; the name wins.
    #[error("the file names another session than its name does")]
    OtherSession,
    /// Nothing to go on with.
    #[error("no hand-off prompt")]
    NoPrompt,
    /// Sections that nobody knows; of too many, the rest is left out.
    #[error("{0} sections of other names")]
    Others(usize),
}

/// The path of a device's file for a session in a repository, `/`-separated.
#[must_use]
pub fn path(host: &str, session: &SessionId) -> String {
    format!("{DIRECTORY}/{}", markdown_name(host, session))
}

/// The host and the session of a name, split before the UUID at its end: hosts
/// have hyphens, too. Without one, at the last hyphen.
#[must_use]
pub fn split_name(file_name: &str) -> Option<(&str, Option<SessionId>)> {
    let stem = file_name.strip_suffix(FILE_SUFFIX)?;
    if stem.is_empty() || stem.starts_with('.') {
        return None;
    }
    let at = stem.len().checked_sub(SessionId::TEXT_LEN);
    let split = at.and_then(|at| Some((stem.get(..at)?, stem.get(at..)?)));
    if let Some((host, id)) = split
        && let Ok(session) = id.to_ascii_lowercase().parse()
    {
        return Some((host.strip_suffix('-').unwrap_or(host), Some(session)));
    }
    Some((stem.rsplit_once('-').map_or(stem, |(host, _)| host), None))
}

/// Reads a file; nothing if its name is not one of a Markdown file.
#[must_use]
pub fn read(file_name: &str, bytes: &[u8]) -> Option<(Task, Vec<Warning>)> {
    let (host, named) = split_name(file_name)?;
    let mut warnings = Vec::new();
    if bytes.len() > FILE_BYTES_MAX {
        warnings.push(Warning::Cut);
    }
    let bytes = bytes.get(..FILE_BYTES_MAX).unwrap_or(bytes);
    let whole = json::decoded(bytes);
    let (front, body) = front::read(&whole, &mut warnings);
    let parts = sections::read(body, front.contains_key("ccpeer"));
    let line = |t: &str| text::one_line(t, FIELD_CHARS_MAX);
    let (session, made_up) = session(file_name, named, &front, &mut warnings);
    let time = |key: &str| {
        front
            .get(key)
            .and_then(|t| rfc3339::to_ms(t))
            .map(Timestamp)
    };
    let updated = time("updated");
    if updated.is_none() {
        warnings.push(Warning::NoTime);
    }
    if parts.known.handoff_prompt.is_empty() {
        warnings.push(Warning::NoPrompt);
    }
    if !parts.others.is_empty() {
        warnings.push(Warning::Others(parts.others.len()));
    }
    let field = |key: &str| front.get(key).map(|t| line(t)).unwrap_or_default();
    let title = [
        field("title"),
        line(&parts.title),
        line(first_line(&parts.known.task)),
    ]
    .into_iter()
    .find(|t| !t.is_empty());
    let task = Task {
        host: Some(field("machine"))
            .filter(|h| !h.is_empty())
            .unwrap_or_else(|| line(host)),
        session,
        made_up,
        title: text::one_line(&title.unwrap_or_default(), limits::TITLE_CHARS_MAX),
        project: field("project"),
        cwd: field("cwd"),
        branch: field("branch"),
        created: time("created"),
        updated,
        sections: parts.known,
        others: parts.others.into_iter().take(OTHERS_MAX).collect(),
        ours: front.contains_key("ccpeer"),
    };
    Some((task, warnings))
}

fn session(
    file_name: &str,
    named: Option<SessionId>,
    front: &front::Front,
    warnings: &mut Vec<Warning>,
) -> (SessionId, bool) {
    let said = front.get("session").map(|s| s.trim().to_ascii_lowercase());
    let said: Option<SessionId> = said.and_then(|s| s.parse().ok());
    match (named, said) {
        (Some(named), said) => {
            if said.is_some_and(|said| said != named) {
                warnings.push(Warning::OtherSession);
            }
            (named, false)
        }
        (None, Some(said)) => (said, false),
        (None, None) => {
            warnings.push(Warning::NoSession);
            (made_up(file_name), true)
        }
    }
}

/// A UUID of version 8 from a name.
fn made_up(file_name: &str) -> SessionId {
    let hash = Sha256::digest([b"ccpeer tasks_md ", file_name.as_bytes()].concat());
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(hash.iter()) {
        *to = *from;
    }
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    SessionId(id)
}

fn first_line(body: &str) -> &str {
    let line = body
        .lines()
        .find(|l| !l.trim().is_empty())
        .unwrap_or_default();
    line.trim().trim_start_matches(['-', '*', '>', ' '])
}

impl Task {
    /// The file as a document of ours. `otherwise` is when it changed, as git or the
    /// disk says, for a file that does not say so itself. Sections of other names
    /// stand at the end of what is done.
    #[must_use]
    pub fn snapshot(&self, otherwise: Timestamp) -> Snapshot {
        let mut sections = self.sections.clone();
        for (heading, body) in &self.others {
            let before = if sections.done.is_empty() { "" } else { "\n\n" };
            sections
                .done
                .push_str(&format!("{before}**{heading}**\n\n{body}"));
        }
        let project = match self.project.is_empty() {
            true => self
                .cwd
                .rsplit(['/', '\\'])
                .next()
                .unwrap_or_default()
                .to_owned(),
            false => self.project.clone(),
        };
        let snapshot = Snapshot {
            v: SNAPSHOT_VERSION,
            session_id: self.session,
            title: self.title.clone(),
            updated: self.updated.unwrap_or(otherwise),
            created: self.created,
            project,
            branch: self.branch.clone(),
            head: String::new(),
            changed: None,
            device: self.host.clone(),
            sections,
            based_on: BasedOn::default(),
            enriched: false,
        };
        // Bounded and stripped as any document of a stranger.
        Snapshot::from_bytes(&snapshot.to_bytes()).unwrap_or(snapshot)
    }
}

#[cfg(test)]
mod tests;
