//! What is said about a version besides its files: where it was written, the
//! line in lists, the hand-off document.
//!
//! Must not know how files become segments.

use std::fs;
use std::io::Read;
use std::path::Path;

use ccpeer_core::entry::SessionMeta;
use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::{FileEntry, Manifest, Origin, PathFlavour, Slot};
use ccpeer_core::time::Timestamp;
use ccpeer_core::{limits, text};
use ccpeer_formats::claude::layout;
use ccpeer_formats::claude::slug::System;
use ccpeer_formats::claude::tasks::{self, Todo};
use ccpeer_formats::claude::transcript::Summary;
use ccpeer_formats::snapshot::{self, Facts};

use super::CaptureRequest;
use crate::confined::Root;
use crate::git;
use crate::home::Home;

/// Bytes of one task's file that are read.
const TASK_BYTES_MAX: u64 = 256 * 1024;
/// Characters of a commit's hash that are shown.
const SHORT_HASH: usize = 10;

/// How this machine writes paths.
pub(crate) const FLAVOUR: PathFlavour = if cfg!(windows) {
    PathFlavour::Windows
} else {
    PathFlavour::Unix
};

/// What is said about a version.
pub(super) struct Described {
    pub(super) meta: SessionMeta,
    /// The encoded document.
    pub(super) snapshot: Vec<u8>,
}

/// In whose paths a session is written that was found in the project directory
/// `slug`.
pub(super) fn origin(home: &Home, slug: &str, summary: &Summary) -> Origin {
    // The session belongs to the directory whose name it lies under; `/cd`
    // moves it, `cd` does not.
    let said = [
        &summary.relocated_cwd,
        &summary.first_cwd,
        &summary.last_cwd,
    ];
    let project = said
        .into_iter()
        .flatten()
        .find(|cwd| System::HERE.project_slug(cwd) == slug)
        .map(String::as_str)
        .or_else(|| summary.project_dir())
        .unwrap_or_default();
    here(home, slug, project)
}

/// The places of this machine, for a session in this project.
pub(crate) fn here(home: &Home, slug: &str, project: &str) -> Origin {
    let clip = |text: &str| {
        let end = text.floor_char_boundary(limits::FOREIGN_PATH_BYTES_MAX.min(text.len()));
        text.get(..end).unwrap_or_default().to_owned()
    };
    Origin {
        flavour: FLAVOUR,
        home: clip(&user_home(home, project)),
        project: clip(project),
        claude_dir: clip(&home.claude().to_string_lossy()),
        slug: clip(slug),
    }
}

/// The home directory as it stands in paths: resolved where the project's path
/// shows that it is.
fn user_home(home: &Home, project: &str) -> String {
    let real = fs::canonicalize(home.user()).unwrap_or_default();
    let project = Path::new(project);
    let through_real = !project.starts_with(home.user()) && project.starts_with(&real);
    let chosen = if through_real && real.is_absolute() {
        &real
    } else {
        home.user()
    };
    chosen.to_string_lossy().into_owned()
}

/// The task list as it lies on disk.
pub(super) fn todos(
    root: &Root,
    session: &SessionId,
    manifest: &Manifest,
    slug: &str,
) -> Vec<Todo> {
    let read = |slot: &Slot| {
        let names = layout::path_of(slot, session, slug)?;
        let (file, _) = root.file(&names).ok()??;
        let mut bytes = Vec::new();
        file.take(TASK_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    let mut out = Vec::new();
    for FileEntry { slot, .. } in &manifest.files {
        if out.len() >= limits::DIGEST_ITEMS_MAX {
            break;
        }
        match slot {
            Slot::Task(_) => out.extend(read(slot).and_then(|b| tasks::parse_task(&b))),
            Slot::Todo(_) => out.extend(
                read(slot)
                    .map(|b| tasks::parse_todos(&b))
                    .unwrap_or_default(),
            ),
            _ => {}
        }
    }
    out.truncate(limits::DIGEST_ITEMS_MAX);
    out
}

/// The line in lists and the hand-off document, of what the transcript and git say.
pub(super) fn describe(
    request: &CaptureRequest,
    here: &Origin,
    manifest: &Manifest,
    (summary, git): (&Summary, Option<git::State>),
    todos: Vec<Todo>,
) -> Described {
    let main = manifest.file(&Slot::Main);
    let modified = main.map_or(Timestamp(0), |m| m.modified);
    let updated = summary.last_ms.map_or(modified, Timestamp);
    let said = summary.branch.clone().unwrap_or_default();
    let branch = git.as_ref().map_or(said, |g| g.branch.clone());
    let open = if todos.is_empty() {
        &summary.todos
    } else {
        &todos
    };
    let meta = SessionMeta {
        title: summary.title(),
        project: manifest.project.name.clone(),
        branch: text::one_line(&branch, limits::DEVICE_NAME_CHARS_MAX * 4),
        updated,
        open_todos: tasks::open_count(open),
        bytes: main.map_or(0, FileEntry::len),
        records: summary.records,
    };
    let facts = Facts {
        session: request.session,
        project: manifest.project.name.clone(),
        home: Some(here.home.clone()),
        branch: git.as_ref().map(|g| g.branch.clone()),
        head: git
            .as_ref()
            .and_then(|g| g.head.get(..SHORT_HASH))
            .map(str::to_owned),
        dirty: git.map(|g| g.changed),
        todos,
        last_assistant_message: request.last_assistant_message.clone(),
        device: request.device_name.clone(),
        updated,
        state: request.state,
    };
    Described {
        meta,
        snapshot: snapshot::compose(summary, &facts).to_bytes(),
    }
}
