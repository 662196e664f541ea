//! Which files belong to a session: the allow-list between the names under
//! Claude Code's directory and the [`Slot`]s of a manifest.
//!
//! Both directions are here and are each other's inverse. What is not in the
//! list has no place here, whatever it is called; a slot gives a place only from
//! ids that have been checked. Must not know where Claude Code's directory is:
//! places are lists of name components below it.
//!
//! Source of the layout: Claude Code 2.1.54 to 2.1.329 on disk.

use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::{Slot, SlotName};

mod opaque;
pub use opaque::{is_passing, label};

/// One place to look for files of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What lies there.
    pub place: Place,
    /// The directory, as components below Claude Code's directory. It need not
    /// exist. Nothing in sub-directories of it has a slot.
    pub dir: Vec<String>,
    /// Which names in it are of this session.
    pub only: Only,
}

/// The kinds of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The project's directory, for the main transcript.
    Transcript,
    /// The session's own directory beside it: no file in it has a slot.
    Side,
    /// Transcripts of sub-agents. Nested ones lie flat in the same directory.
    Subagents,
    /// Long outputs of tools.
    ToolResults,
    /// Files as they were before a change.
    FileHistory,
    /// The task list.
    Tasks,
    /// Todo lists of older versions; one directory for all sessions.
    Todos,
    /// Plans; one directory for all sessions.
    Plans,
}

/// Which names in a directory are of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Only {
    /// All of them.
    All,
    /// This one.
    Name(String),
    /// Those that begin so.
    Prefix(String),
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Classified {
    /// A file of the session.
    Slot(Slot),
    /// Known, and not carried: locks, temporary files, caches, and what the
    /// transcript says better.
    Ignored,
    /// Not known: from a newer version, or not Claude Code's. Carried without
    /// being understood where the place is the session's own; see [`own_words`].
    Unknown,
    /// A file of another session in a shared directory.
    Other,
}

/// Version numbers of file history have at most four digits, as in a manifest.
const HISTORY_VERSION_MAX: u32 = 9999;

/// Where to look for the files of a session whose project has this directory
/// name. Plans are not in it; see [`plan_sources`].
///
/// A `slug` that is no single name component gives no place at all.
#[must_use]
pub fn sources(session: &SessionId, slug: &str) -> Vec<Source> {
    if !is_component(slug) {
        return Vec::new();
    }
    let id = session.to_string();
    let at = |place, dir: &[&str], only| Source {
        place,
        dir: dir.iter().map(|part| (*part).to_owned()).collect(),
        only,
    };
    vec![
        at(
            Place::Transcript,
            &["projects", slug],
            Only::Name(format!("{id}.jsonl")),
        ),
        at(Place::Side, &["projects", slug, &id], Only::All),
        at(
            Place::Subagents,
            &["projects", slug, &id, "subagents"],
            Only::All,
        ),
        at(
            Place::ToolResults,
            &["projects", slug, &id, "tool-results"],
            Only::All,
        ),
        at(Place::FileHistory, &["file-history", &id], Only::All),
        at(Place::Tasks, &["tasks", &id], Only::All),
        at(
            Place::Todos,
            &["todos"],
            Only::Prefix(format!("{id}-agent-")),
        ),
    ]
}

/// Where the plans of these names lie, and those of the sub-agents: the names are
/// the transcript's `slug` field, and a sub-agent's plan adds its id.
#[must_use]
pub fn plan_sources(plans: &[String], agents: &[SlotName]) -> Vec<Source> {
    let mut names: Vec<String> = plans.to_vec();
    for plan in plans {
        names.extend(
            agents
                .iter()
                .map(|a| format!("{plan}-agent-{}", a.as_str())),
        );
    }
    names.retain(|name| SlotName::new(name).is_some());
    let source = |name: String| Source {
        place: Place::Plans,
        dir: vec!["plans".to_owned()],
        only: Only::Name(format!("{name}.md")),
    };
    names.into_iter().map(source).collect()
}

/// The words with which the label of a file begins that lies in such a place and
/// has no slot; nothing for a place that sessions share, from which nothing is
/// carried that we do not know.
#[must_use]
pub fn own_words(place: Place) -> Option<&'static [&'static str]> {
    match place {
        Place::Side => Some(&["session"]),
        Place::Subagents => Some(&["session", "subagents"]),
        Place::ToolResults => Some(&["session", "tool-results"]),
        Place::FileHistory => Some(&["file-history"]),
        Place::Tasks => Some(&["tasks"]),
        Place::Transcript | Place::Todos | Place::Plans => None,
    }
}

/// Whether a directory of this name below Claude Code's directory is one that we
/// know: of another one that names a session, people are told.
#[must_use]
pub fn is_known_top(name: &str) -> bool {
    TOP.binary_search(&name).is_ok() || name.starts_with(".ccpeer-")
}

/// Directories directly below Claude Code's, in order: what is carried, and what
/// is a machine's or its user's own.
const TOP: [&str; 24] = [
    "agents",
    "backups",
    "cache",
    "commands",
    "debug",
    "downloads",
    "file-history",
    "hooks",
    "ide",
    "local",
    "logs",
    "output-styles",
    "paste-cache",
    "plans",
    "plugins",
    "projects",
    "rules",
    "session-env",
    "sessions",
    "shell-snapshots",
    "skills",
    "statsig",
    "tasks",
    "todos",
];

/// What the file of this name in that place is.
#[must_use]
pub fn slot_of(source: &Source, file_name: &str) -> Classified {
    let rest = match &source.only {
        Only::All => file_name,
        Only::Name(name) if name == file_name => file_name,
        Only::Prefix(prefix) => match file_name.strip_prefix(prefix.as_str()) {
            Some(rest) => rest,
            None => return Classified::Other,
        },
        Only::Name(_) => return Classified::Other,
    };
    let slot = match source.place {
        Place::Transcript => Some(Slot::Main),
        Place::Side => None,
        Place::Subagents => subagent(rest),
        Place::ToolResults => stem(rest, ".txt").map(Slot::ToolResult),
        Place::FileHistory => history(rest),
        Place::Tasks if rest == ".highwatermark" => Some(Slot::TaskHighWater),
        Place::Tasks => rest.strip_suffix(".json").and_then(number).map(Slot::Task),
        Place::Todos => stem(rest, ".json").map(Slot::Todo),
        Place::Plans => stem(rest, ".md").map(Slot::Plan),
    };
    match slot {
        Some(slot) => Classified::Slot(slot),
        None if is_ignored(source.place, file_name) => Classified::Ignored,
        None => Classified::Unknown,
    }
}

/// Where the file of this slot lies, as components below Claude Code's
/// directory; nothing for a file of a kind that is not known, and nothing if the
/// slot or the `slug` is not fit to be a place, which a checked manifest and a
/// computed name always are.
#[must_use]
pub fn path_of(slot: &Slot, session: &SessionId, slug: &str) -> Option<Vec<String>> {
    if !is_component(slug) {
        return None;
    }
    let id = session.to_string();
    // A decoded name is only as good as its check: look again where it counts.
    let safe = |name: &SlotName| SlotName::new(name.as_str()).map(|n| n.as_str().to_owned());
    let path = match slot {
        Slot::Main => vec!["projects".into(), slug.into(), format!("{id}.jsonl")],
        Slot::Subagent(name) => {
            let file = format!("agent-{}.jsonl", safe(name)?);
            vec!["projects".into(), slug.into(), id, "subagents".into(), file]
        }
        Slot::SubagentMeta(name) => {
            let file = format!("agent-{}.meta.json", safe(name)?);
            vec!["projects".into(), slug.into(), id, "subagents".into(), file]
        }
        Slot::ToolResult(name) => {
            let file = format!("{}.txt", safe(name)?);
            vec![
                "projects".into(),
                slug.into(),
                id,
                "tool-results".into(),
                file,
            ]
        }
        Slot::Task(number) => vec!["tasks".into(), id, format!("{number}.json")],
        Slot::TaskHighWater => vec!["tasks".into(), id, ".highwatermark".into()],
        Slot::Todo(name) => vec!["todos".into(), format!("{id}-agent-{}.json", safe(name)?)],
        Slot::FileHistory { path_hash, version } => {
            if *version > HISTORY_VERSION_MAX {
                return None;
            }
            let hash: String = path_hash.iter().map(|b| format!("{b:02x}")).collect();
            vec!["file-history".into(), id, format!("{hash}@v{version}")]
        }
        Slot::Plan(name) => vec!["plans".into(), format!("{}.md", safe(name)?)],
        // A label is no place, and never becomes one.
        Slot::Opaque(_) => return None,
    };
    Some(path)
}

/// The session whose transcript a file of this name in a project's directory is.
/// Old transcripts of sub-agents (`agent-…`) and conflict copies are none.
#[must_use]
pub fn session_in(file_name: &str) -> Option<SessionId> {
    file_name.strip_suffix(".jsonl")?.parse().ok()
}

/// Whether a text is one component of a path on every system, and no step
/// upwards.
pub(crate) fn is_component(name: &str) -> bool {
    let odd = |c: char| {
        c.is_control() || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
    };
    (1..=255).contains(&name.len())
        && !name.contains(odd)
        && !name.starts_with('.')
        && !name.ends_with(['.', ' '])
}

fn subagent(file_name: &str) -> Option<Slot> {
    let name = file_name.strip_prefix("agent-")?;
    stem(name, ".jsonl")
        .map(Slot::Subagent)
        .or_else(|| stem(name, ".meta.json").map(Slot::SubagentMeta))
}

fn history(file_name: &str) -> Option<Slot> {
    let (hash, version) = file_name.split_once("@v")?;
    let version = number(version).filter(|v| *v <= HISTORY_VERSION_MAX)?;
    let digits = hash.len() == 16 && hash.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let value = digits.then(|| u64::from_str_radix(hash, 16).ok())??;
    Some(Slot::FileHistory {
        path_hash: value.to_be_bytes(),
        version,
    })
}

fn stem(file_name: &str, extension: &str) -> Option<SlotName> {
    SlotName::new(file_name.strip_suffix(extension)?)
}

/// A number in its one spelling: no sign, no leading zero.
fn number(text: &str) -> Option<u32> {
    let value: u32 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

fn is_ignored(place: Place, name: &str) -> bool {
    // The title's record in the transcript wins over its side file, and the head
    // is a cache of the transcript.
    let known = place == Place::Side
        && matches!(
            name,
            "subagents" | "tool-results" | "custom-title.json" | "resume-head.jsonl"
        );
    known || is_passing(name)
}

#[cfg(test)]
mod tests;
