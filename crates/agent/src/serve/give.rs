//! A version as the bundle that clients of claude-sync-sessions read. Every part of
//! a transcript is in the paths of the machine that wrote it, so each becomes
//! tokens from its own. Must not know who asks.

use ccpeer_core::entry::ContentRef;
use ccpeer_core::limits;
use ccpeer_core::manifest::{Manifest, Origin, Slot};
use ccpeer_core::time::Timestamp;
use ccpeer_formats::bundle_v1::tokens::{Tokeniser, has_tokens};
use ccpeer_formats::bundle_v1::{Description, HOME_TOKEN, Project, Writer, part_of};
use ccpeer_formats::remote_path::RemotePath;
use ccpeer_formats::secrets;
use ccpeer_store::{Store, StoreError};

/// Why there is no bundle of a version.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GiveError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Not all of it is here.
    #[error("not all of the session is here")]
    Incomplete,
    /// Its manifest is none that this ccpeer can read.
    #[error("the session cannot be read here")]
    Unreadable,
    /// More than a client is given.
    #[error("the session is larger than a bundle may be")]
    TooLarge,
    /// Something in it looks like a secret and cannot be taken out.
    #[error("it cannot be told without what looks like a secret")]
    Secret,
}

/// How a session is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Whole,
    /// Without what looks like a secret.
    Redacted,
}

/// Makes one. `device` is what this device calls itself. Blocking.
///
/// # Errors
/// See [`GiveError`].
pub(crate) fn bundle(
    store: &Store,
    (manifest, form): (ContentRef, Form),
    device: &str,
    now: Timestamp,
) -> Result<Vec<u8>, GiveError> {
    let bytes = store
        .get_chunk(&manifest.id)?
        .ok_or(GiveError::Incomplete)?;
    let manifest = Manifest::from_bytes(&bytes).map_err(|_| GiveError::Unreadable)?;
    let mut files: Vec<_> = manifest.files.iter().collect();
    files.retain(|f| part_of(&f.slot).is_some());
    files.sort_by_key(|f| part_of(&f.slot));
    let total = files.iter().map(|f| f.len()).fold(0, u64::saturating_add);
    if total > limits::SERVE_PULL_BYTES_MAX {
        return Err(GiveError::TooLarge);
    }
    if manifest.file(&Slot::Main).is_none_or(|f| f.is_empty()) {
        return Err(GiveError::Incomplete);
    }
    // The clients keep what they have if it is newer: a clock that went ahead
    // elsewhere must not decide that.
    let updated = files.iter().map(|f| f.modified).max();
    let about = Description {
        session: manifest.session,
        device: device.to_owned(),
        exported: now,
        updated: updated.unwrap_or(now).min(now),
        project: project(&manifest),
    };
    let Project { name, path, .. } = &about.project;
    if form == Form::Redacted && secrets::holds(&format!("{name}\n{path}")) {
        return Err(GiveError::Secret);
    }
    let mut writer = Writer::new(&about, None);
    let mut piece = Vec::new();
    // Of what is redacted, the whole file: a secret may lie across pieces.
    let mut file_bytes = Vec::new();
    for file in files {
        if writer.begin(&file.slot).is_err() {
            // A name that such a bundle has no place for.
            continue;
        }
        let mut push = |bytes: &[u8]| match form {
            Form::Whole => writer.push(bytes),
            Form::Redacted => file_bytes.extend_from_slice(bytes),
        };
        for segment in &file.segments {
            let origin = manifest.origins.get(usize::from(segment.origin));
            let origin = origin.filter(|_| has_tokens(&file.slot));
            let mut tokeniser = origin.map(Tokeniser::new);
            for chunk in store.read_segment(segment) {
                let chunk = match chunk {
                    Err(StoreError::Absent { .. } | StoreError::Corrupt { .. }) => {
                        return Err(GiveError::Incomplete);
                    }
                    chunk => chunk?,
                };
                match &mut tokeniser {
                    Some(tokeniser) => {
                        piece.clear();
                        tokeniser.push(&chunk, &mut piece);
                        push(&piece);
                    }
                    None => push(&chunk),
                }
            }
            if let Some(mut tokeniser) = tokeniser {
                piece.clear();
                tokeniser.finish(&mut piece);
                push(&piece);
            }
        }
        if form == Form::Redacted {
            let bytes = std::mem::take(&mut file_bytes);
            let less = match file.slot.is_log() {
                true => secrets::redact_json_lines(&bytes).ok_or(GiveError::Secret)?,
                false => secrets::redact_text(&bytes),
            };
            writer.push(&less);
        }
    }
    Ok(writer.finish())
}

/// The project, as far as another machine needs to know it: its directory is
/// found by the name, or by the place below the directory that holds projects.
fn project(manifest: &Manifest) -> Project {
    let known = &manifest.project;
    let origin = manifest.origins.first();
    let path = origin.map_or_else(String::new, shown);
    let name = match known.name.as_str() {
        "" => path.rsplit('/').next().unwrap_or_default(),
        name => name,
    };
    Project {
        name: if name.is_empty() { "project" } else { name }.to_owned(),
        below_root: known.below_root.clone(),
        path,
    }
}

/// A path without the name of its user, where the home is known.
fn shown(origin: &Origin) -> String {
    let parse = |path: &str| RemotePath::parse(path, origin.flavour).ok();
    let home = parse(&origin.home).filter(|home| !home.is_root());
    let below = parse(&origin.project).zip(home);
    let below = below.and_then(|(project, home)| Some(project.parts_below(&home)?.join("/")));
    match below {
        Some(below) if below.is_empty() => HOME_TOKEN.to_owned(),
        Some(below) => format!("{HOME_TOKEN}/{below}"),
        None => origin.project.clone(),
    }
}
