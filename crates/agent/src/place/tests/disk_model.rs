//! A disk as a crash leaves it: which steps of a placement are durable, which
//! may be lost, torn or taken in another order, and the files that remain.
//!
//! Names in a directory are durable once the directory was made so, a file's
//! bytes once the file was; until then a crash keeps any part of them. A rename
//! happens as a whole or not at all. Notes are durable when their step is over:
//! the store has a harness of its own.

use super::*;
use crate::disk::Step;
use ccpeer_store::NoteWrite;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;

/// A step that was taken, with everything it needs to be taken again.
#[derive(Debug, Clone)]
pub(super) enum Taken {
    MakeDir(PathBuf),
    Create(PathBuf),
    Write(PathBuf, Vec<u8>),
    SetModified,
    SyncFile(PathBuf),
    SyncDir(PathBuf),
    Link(PathBuf, PathBuf),
    Rename(PathBuf, PathBuf),
    RemoveFile(PathBuf),
    RemoveDir(PathBuf),
    Notes(Vec<NoteWrite>),
}

impl Taken {
    fn of(step: &Step<'_>) -> Self {
        match *step {
            Step::MakeDir(p) => Self::MakeDir(p.into()),
            Step::Create(p) => Self::Create(p.into()),
            Step::Write(p, bytes) => Self::Write(p.into(), bytes.into()),
            Step::SetModified => Self::SetModified,
            Step::SyncFile(p) => Self::SyncFile(p.into()),
            Step::SyncDir(p) => Self::SyncDir(p.into()),
            Step::Link(a, b) => Self::Link(a.into(), b.into()),
            Step::Rename(a, b) => Self::Rename(a.into(), b.into()),
            Step::RemoveFile(p) => Self::RemoveFile(p.into()),
            Step::RemoveDir(p) => Self::RemoveDir(p.into()),
            Step::Notes(notes) => Self::Notes(notes.to_vec()),
        }
    }

    /// The kind of step, for counting.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::MakeDir(_) => "make dir",
            Self::Create(_) => "create",
            Self::Write(..) => "write",
            Self::SetModified => "set time",
            Self::SyncFile(_) => "sync file",
            Self::SyncDir(_) => "sync dir",
            Self::Link(..) => "link",
            Self::Rename(..) => "rename",
            Self::RemoveFile(_) => "remove file",
            Self::RemoveDir(_) => "remove dir",
            Self::Notes(_) => "notes",
        }
    }
}

/// How a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The disk does not answer, once.
    Io,
    /// Somebody interrupts, once.
    Interrupted,
    /// No space for this step and whatever comes after it.
    Full,
    /// A write takes half of its bytes, the rest finds no space.
    Short,
}

/// Records every step, and lets one fail.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) taken: RefCell<Vec<Taken>>,
    seen: Cell<usize>,
    fail: Option<(usize, Failure)>,
    /// Backups lie on another disk.
    far: bool,
    halved: Cell<bool>,
}

impl Recorder {
    pub(super) fn new(far: bool) -> Self {
        Self {
            far,
            ..Self::default()
        }
    }

    pub(super) fn failing(far: bool, at: usize, how: Failure) -> Self {
        Self {
            fail: Some((at, how)),
            ..Self::new(far)
        }
    }
}

impl Watch for Recorder {
    fn before(&self, step: &Step<'_>) -> io::Result<()> {
        let n = self.seen.get();
        self.seen.set(n + 1);
        let crosses = |a: &Path, b: &Path| {
            let kept = |p: &Path| p.components().any(|c| c.as_os_str() == "backups");
            kept(a) != kept(b)
        };
        if let Step::Link(a, b) | Step::Rename(a, b) = step
            && self.far
            && crosses(a, b)
        {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let needs_space = matches!(
            step,
            Step::MakeDir(_) | Step::Create(_) | Step::Write(..) | Step::Link(..) | Step::Notes(_)
        );
        match self.fail {
            Some((at, Failure::Io)) if n == at => Err(io::Error::other("injected")),
            Some((at, Failure::Interrupted)) if n == at => Err(io::ErrorKind::Interrupted.into()),
            Some((at, Failure::Full)) if n >= at && needs_space => {
                Err(io::ErrorKind::StorageFull.into())
            }
            Some((at, Failure::Short)) if n > at && self.halved.get() && needs_space => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    fn syncs(&self) -> bool {
        false
    }

    fn after(&self, step: &Step<'_>) {
        self.taken.borrow_mut().push(Taken::of(step));
    }

    fn room(&self, len: usize) -> usize {
        match self.fail {
            Some((at, Failure::Short)) if self.seen.get() == at && len > 1 => {
                self.halved.set(true);
                len / 2
            }
            _ => len,
        }
    }
}

/// Files, directories and notes, all of it durable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Image {
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) files: BTreeMap<PathBuf, Rc<Vec<u8>>>,
    pub(super) notes: BTreeMap<(Namespace, Vec<u8>), Vec<u8>>,
}

/// Whose notes belong to a placement.
const NAMESPACES: [Namespace; 5] = [
    Namespace::Capture,
    Namespace::Placement,
    Namespace::Journal,
    Namespace::Project,
    Namespace::Session,
];

impl Image {
    /// What is there now.
    pub(super) fn of(world: &World) -> Self {
        fn walk(dir: &Path, out: &mut Image) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    out.dirs.insert(path.clone());
                    walk(&path, out);
                } else {
                    out.files
                        .insert(path.clone(), Rc::new(fs::read(&path).unwrap()));
                }
            }
        }
        let mut out = Self::default();
        walk(world.claude(), &mut out);
        if world.home.backups().is_dir() {
            out.dirs.insert(world.home.backups());
            walk(&world.home.backups(), &mut out);
        }
        for ns in NAMESPACES {
            for (key, value) in world.store.notes(ns).unwrap() {
                out.notes.insert((ns, key), value);
            }
        }
        out
    }

    /// Makes a world look like this.
    pub(super) fn put(&self, world: &World) {
        let now = Self::of(world);
        for path in now.files.keys().filter(|p| !self.files.contains_key(*p)) {
            fs::remove_file(path).unwrap();
        }
        for dir in now.dirs.iter().rev().filter(|d| !self.dirs.contains(*d)) {
            fs::remove_dir(dir).unwrap();
        }
        for dir in self.dirs.iter().filter(|d| !now.dirs.contains(*d)) {
            fs::create_dir(dir).unwrap();
        }
        for (path, content) in &self.files {
            if now.files.get(path) != Some(content) {
                // Another file: a name of the old one may be elsewhere.
                let _absent = fs::remove_file(path);
                fs::write(path, content.as_slice()).unwrap();
            }
        }
        let write = |(ns, key): &(Namespace, Vec<u8>), value: Option<&Vec<u8>>| NoteWrite {
            ns: *ns,
            key: key.clone(),
            value: value.cloned(),
        };
        let gone = now.notes.keys().filter(|k| !self.notes.contains_key(*k));
        let new = self
            .notes
            .iter()
            .filter(|(k, v)| now.notes.get(*k) != Some(v));
        let writes: Vec<NoteWrite> = gone
            .map(|k| write(k, None))
            .chain(new.map(|(k, v)| write(k, Some(v))))
            .collect();
        if !writes.is_empty() {
            world.store.put_notes(&writes).unwrap();
        }
    }

    /// A name for it, nearly.
    pub(super) fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for dir in &self.dirs {
            add(dir.to_str().unwrap().as_bytes());
        }
        for (path, content) in &self.files {
            add(path.to_str().unwrap().as_bytes());
            add(content);
        }
        for ((ns, key), value) in &self.notes {
            add(&[*ns as u8]);
            add(key);
            add(value);
        }
        *hasher.finalize().as_bytes()
    }

    /// The files below Claude's directory that can be seen by their names.
    pub(super) fn visible<'a>(
        &'a self,
        world: &'a World,
    ) -> impl Iterator<Item = (&'a PathBuf, &'a Rc<Vec<u8>>)> {
        let claude = world.claude();
        self.files.iter().filter(move |(path, _)| {
            path.strip_prefix(claude)
                .is_ok_and(|p| !p.to_str().unwrap().starts_with(".ccpeer"))
        })
    }
}

/// What a crash keeps of what is not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Nothing.
    None,
    /// Everything.
    All,
    /// The first half of the names and of each file's bytes.
    Prefix,
    /// Names, but not what was written.
    NamesFirst,
    /// What was written, but no names.
    BytesFirst,
    /// Everything, but the last write of each file is torn.
    Torn,
    /// Names and lengths; zeros where bytes were written.
    LengthOnly,
    /// Some names and some bytes.
    Some(u64),
}

impl Loss {
    pub(super) const FIXED: [Self; 7] = [
        Self::None,
        Self::All,
        Self::Prefix,
        Self::NamesFirst,
        Self::BytesFirst,
        Self::Torn,
        Self::LengthOnly,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::All => "all",
            Self::Prefix => "prefix",
            Self::NamesFirst => "names before bytes",
            Self::BytesFirst => "bytes before names",
            Self::Torn => "torn write",
            Self::LengthOnly => "length only",
            Self::Some(_) => "random subset",
        }
    }
}

struct File {
    synced: usize,
    bytes: Vec<u8>,
    last_write: usize,
}

/// What is left when a crash comes after `steps`, which began at `base`.
pub(super) fn crashed(base: &Image, steps: &[Taken], loss: Loss) -> Image {
    let mut files: Vec<File> = Vec::new();
    // Which new file a name stood for when it was written, in order of steps.
    let mut names: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut pending: Vec<(usize, PathBuf)> = Vec::new();
    let mut created: BTreeMap<usize, usize> = BTreeMap::new();
    let mut notes = base.notes.clone();
    for (n, step) in steps.iter().enumerate() {
        let mut touch = |path: &Path| pending.push((n, path.parent().unwrap().to_owned()));
        match step {
            Taken::MakeDir(p) | Taken::RemoveDir(p) => touch(p),
            Taken::Create(p) => {
                touch(p);
                created.insert(n, files.len());
                names.insert(p.clone(), files.len());
                files.push(File {
                    synced: 0,
                    bytes: Vec::new(),
                    last_write: 0,
                });
            }
            Taken::Write(p, bytes) => {
                let file = &mut files[names[p]];
                file.last_write = file.bytes.len();
                file.bytes.extend_from_slice(bytes);
            }
            Taken::SyncFile(p) => {
                let file = &mut files[names[p]];
                file.synced = file.bytes.len();
            }
            Taken::SyncDir(dir) => pending.retain(|(_, d)| d != dir),
            Taken::Link(_, to) | Taken::Rename(_, to) => touch(to),
            Taken::RemoveFile(p) => touch(p),
            Taken::Notes(writes) => {
                for w in writes {
                    let key = (w.ns, w.key.clone());
                    match &w.value {
                        Some(value) => notes.insert(key, value.clone()),
                        None => notes.remove(&key),
                    };
                }
            }
            Taken::SetModified => {}
        }
    }
    let chance = |n: usize| match loss {
        Loss::Some(seed) => noise(seed ^ (n as u64) << 32, 1)[0],
        _ => 0,
    };
    let half = pending.get(pending.len() / 2).map_or(0, |(n, _)| *n);
    let lost: BTreeSet<usize> = pending
        .iter()
        .map(|(n, _)| *n)
        .filter(|n| match loss {
            Loss::None | Loss::BytesFirst => true,
            Loss::All | Loss::NamesFirst | Loss::Torn | Loss::LengthOnly => false,
            Loss::Prefix => *n >= half,
            Loss::Some(_) => chance(*n) % 2 == 0,
        })
        .collect();
    let contents: Vec<Rc<Vec<u8>>> = files
        .iter()
        .enumerate()
        .map(|(n, file)| Rc::new(file.after(loss, chance(usize::MAX - n))))
        .collect();

    let mut image = Image {
        notes,
        ..base.clone()
    };
    for (n, step) in steps.iter().enumerate() {
        if !lost.contains(&n) {
            image.take(step, created.get(&n).map(|at| Rc::clone(&contents[*at])));
        }
    }
    image
}

impl File {
    fn after(&self, loss: Loss, chance: u8) -> Vec<u8> {
        let len = self.bytes.len();
        let keep = match loss {
            Loss::None | Loss::NamesFirst => self.synced,
            Loss::All | Loss::BytesFirst | Loss::LengthOnly => len,
            Loss::Prefix => self.synced + (len - self.synced) / 2,
            Loss::Torn if self.synced < len => {
                let last = self.last_write.max(self.synced);
                // Disks write sectors, or at least bytes in a row.
                last + ((len - last) / 2 / 512 * 512).max((len - last) / 2 % 512)
            }
            Loss::Torn => len,
            Loss::Some(_) => self.synced + (len - self.synced) * usize::from(chance % 4) / 3,
        };
        let mut bytes = self.bytes[..keep.min(len)].to_vec();
        if loss == Loss::LengthOnly {
            bytes[self.synced..].fill(0);
        }
        bytes
    }
}

impl Image {
    /// Takes a step on names, if it is possible without those that were lost.
    fn take(&mut self, step: &Taken, content: Option<Rc<Vec<u8>>>) {
        let has_dir = |image: &Self, path: &Path| {
            let parent = path.parent().unwrap();
            // What lies above both places was always there.
            image.dirs.contains(parent) || !parent.components().any(|c| is_inner(&c))
        };
        match step {
            Taken::MakeDir(p) if has_dir(self, p) => drop(self.dirs.insert(p.clone())),
            Taken::Create(p) if has_dir(self, p) => {
                self.files.insert(p.clone(), content.unwrap());
            }
            Taken::Link(from, to) if has_dir(self, to) => {
                if let Some(content) = self.files.get(from).cloned() {
                    self.files.insert(to.clone(), content);
                }
            }
            Taken::Rename(from, to) if has_dir(self, to) => {
                if let Some(content) = self.files.remove(from) {
                    self.files.insert(to.clone(), content);
                }
            }
            Taken::RemoveFile(p) => drop(self.files.remove(p)),
            Taken::RemoveDir(p) => {
                let empty = !self
                    .files
                    .keys()
                    .chain(&self.dirs)
                    .any(|f| f.parent() == Some(p));
                if empty {
                    self.dirs.remove(p);
                }
            }
            _ => {}
        }
    }
}

/// Whether a directory of this name is one that placements make.
fn is_inner(part: &std::path::Component<'_>) -> bool {
    let name = part.as_os_str().to_str().unwrap();
    name.starts_with(".ccpeer-")
        || ["projects", "tasks", "file-history", "plans", "backups"].contains(&name)
}
