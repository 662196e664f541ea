//! Files of a session that no slot knows: which of them are only passing, and
//! the label under which the others are carried.
//!
//! A label is for people, and for a later version that knows the kind. It says
//! where the file lay, as far as that can be said in its few characters; where
//! it cannot, it ends with a hash of the whole name, so that two files never
//! share one. Must not know how a label becomes a place: it does not.

use ccpeer_core::id::ChunkId;
use ccpeer_core::limits;
use ccpeer_core::manifest::OpaqueName;

/// Characters of each part that are left of names too long to be told whole.
const SHORT_PART: usize = 20;
/// Bytes of the hash at the end of a label that does not say the whole name.
const HASH_BYTES: usize = 6;

/// Whether a file of this name is a lock, a temporary file or what a system or an
/// editor leaves behind: of no use anywhere else.
#[must_use]
pub fn is_passing(name: &str) -> bool {
    name.ends_with('~')
        || [".lock", ".tmp", ".bak", ".pid", ".sock", ".swp", ".icloud"]
            .iter()
            .any(|end| name.ends_with(end))
        || ["._", ".#", ".tmp", ".nfs", ".fuse_hidden", ".DS_Store"]
            .iter()
            .any(|start| name.starts_with(start))
        || [".tmp.", ".superseded-", ".conflict"]
            .iter()
            .any(|part| name.contains(part))
        || ["Thumbs.db", "desktop.ini"].contains(&name)
}

/// The label of a file: the words of its place, then the names from there on.
/// Nothing if it lies too deep to be carried.
#[must_use]
pub fn label(words: &[&str], names: &[String]) -> Option<OpaqueName> {
    if names.is_empty() || names.len() > limits::OPAQUE_DEPTH_MAX + 1 {
        return None;
    }
    let mut parts: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
    parts.extend(names.iter().map(|name| plain(name)));
    let said = parts.iter().skip(words.len()).eq(names.iter());
    let joined = parts.join(":");
    // Upper case may be all that tells two names apart, and a manifest takes no
    // two labels that differ in nothing else. A tilde is where the hash begins.
    let whole = said
        && !names
            .iter()
            .any(|n| n.contains(|c: char| c.is_ascii_uppercase() || c == '~'));
    if whole && let Some(label) = OpaqueName::new(&joined) {
        return Some(label);
    }
    let hash: String = ChunkId::of(names.join("/").as_bytes())
        .0
        .iter()
        .take(HASH_BYTES)
        .map(|b| format!("{b:02x}"))
        .collect();
    OpaqueName::new(&format!("{joined}~{hash}")).or_else(|| {
        for part in &mut parts {
            // Only ASCII is left in it.
            part.truncate(SHORT_PART);
        }
        OpaqueName::new(&format!("{}~{hash}", parts.join(":")))
    })
}

/// A name in the characters of a label.
fn plain(name: &str) -> String {
    let mut out: String = name
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' | '~' => c,
            _ => '_',
        })
        .collect();
    if out.starts_with('.') {
        out.replace_range(..1, "_");
    }
    out
}
