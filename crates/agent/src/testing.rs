//! What the tests of capture and placement share: a machine in a temporary
//! directory, with a home, Claude's directory and a store.
#![cfg(test)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use ccpeer_core::id::{Epoch, SessionId};
use ccpeer_store::{Options, StorageBackend, Store};

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
        Self::with(user, |home, options| {
            Store::open(&home.store(), options).unwrap()
        })
    }

    /// The same, with a store that is gone with it and waits for no disk.
    pub(crate) fn in_memory(user: &str) -> Self {
        let disk = Memory::default();
        let open = move || Ok(disk.clone());
        Self::with(user, |_, options| {
            Store::with_backend(open, options).unwrap()
        })
    }

    fn with(user: &str, store: impl FnOnce(&Home, &Options) -> Store) -> Self {
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
        let fresh_epoch = Epoch([1; 16]);
        let store = store(&home, &Options { fresh_epoch });
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

/// A disk in memory.
#[derive(Debug, Default, Clone)]
struct Memory(Arc<RwLock<Vec<u8>>>);

impl StorageBackend for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.read().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.0.read().unwrap()[from..from + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0
            .write()
            .unwrap()
            .resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        self.0.write().unwrap()[from..from + data.len()].copy_from_slice(data);
        Ok(())
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
