//! What the tests of capture and placement share: a machine in a temporary
//! directory, with a home, Claude's directory and a store.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

use ccpeer_core::id::{Epoch, SessionId};
use ccpeer_store::{Options, Store};

use crate::home::Home;

/// One machine.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) home: Home,
    pub(crate) store: Store,
}

impl World {
    /// A machine whose user's home is called so. No project, no session yet.
    pub(crate) fn new(user: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        let user = real.join(user);
        fs::create_dir_all(user.join(".claude")).unwrap();
        fs::create_dir_all(user.join("ccpeer")).unwrap();
        let home = Home::from_env(&|name| match name {
            "HOME" | "USERPROFILE" => Some(user.clone().into_os_string()),
            "CCPEER_HOME" => Some(user.join("ccpeer").into_os_string()),
            _ => None,
        })
        .unwrap();
        let store = Store::open(
            &home.store(),
            &Options {
                fresh_epoch: Epoch([1; 16]),
            },
        )
        .unwrap();
        Self { dir, home, store }
    }

    pub(crate) fn claude(&self) -> &Path {
        self.home.claude()
    }

    pub(crate) fn transcript(&self, slug: &str, session: &SessionId) -> PathBuf {
        self.claude()
            .join("projects")
            .join(slug)
            .join(format!("{session}.jsonl"))
    }
}

/// Copies a session as Claude Code wrote it into Claude's directory.
pub(crate) fn fixture(claude: &Path, name: &str) {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/claude");
    copy_tree(&testdata.join(name).join("claude"), claude);
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Bytes that do not repeat, from a seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}
