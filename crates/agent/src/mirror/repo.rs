//! The repository that the agent owns for a mirror: bare, never checked out, and
//! nothing in it that could not be fetched again. Trees are made by
//! `git fast-import` upon what the remote holds, so that what others wrote there
//! is carried over as it is.
//!
//! Must not know what the files mean.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::run::{Call, GitError, Stop};

/// Where the remote's branch is kept here.
const TIP: &str = "refs/ccpeer/tip";
/// Where the next commit is made.
const NEXT: &str = "refs/ccpeer/next";
/// Bytes of a list of a tree that are read.
const LIST_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of blobs that are read in one go, beyond the blob that is asked for.
const READ_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Loose objects upon which they are packed.
const LOOSE_MAX: usize = 2000;
/// Characters of a branch's name.
const BRANCH_CHARS_MAX: usize = 200;
/// Who commits. A mirror's commits say nothing about a person.
const COMMITTER: &str = "ccpeer <ccpeer@localhost>";

/// The name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Oid(String);

impl Oid {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let good = matches!(text.len(), 40 | 64)
            && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        good.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// `100644`, `040000`, …
    pub(crate) mode: String,
    pub(crate) oid: Oid,
    /// Of a blob.
    pub(crate) size: Option<u64>,
}

impl Node {
    /// A plain file, and no link or submodule.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.mode.as_str(), "100644" | "100755") && self.size.is_some()
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.mode == "040000"
    }
}

/// One commit to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    /// One line.
    pub(crate) subject: String,
    /// What files are to hold, by path: `/`-separated, of our own making.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Files that are to go.
    pub(crate) removed: Vec<String>,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The remote has it.
    Done,
    /// Somebody else was faster, or is at it this moment.
    Raced,
}

/// A bare repository.
#[derive(Debug, Clone)]
pub(crate) struct Repo<'s> {
    dir: PathBuf,
    stop: StopRef<'s>,
}

#[derive(Clone, Copy)]
struct StopRef<'s>(Stop<'s>);

impl std::fmt::Debug for StopRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stop")
    }
}

impl<'s> Repo<'s> {
    /// A repository of somebody else's, only to be read.
    pub(crate) fn of(dir: &Path, stop: Stop<'s>) -> Self {
        Self {
            dir: dir.to_owned(),
            stop: StopRef(stop),
        }
    }

    /// The one in this directory, which is ours alone; made if there is none. What a
    /// git that was killed has left locked is let go: nothing in here is more than
    /// a copy.
    pub(crate) fn own(dir: &Path, stop: Stop<'s>) -> Result<Self, GitError> {
        let repo = Self::of(dir, stop);
        if dir.join("HEAD").is_file() && dir.join("objects").is_dir() {
            for name in [
                "refs/ccpeer/tip.lock",
                "refs/ccpeer/next.lock",
                "packed-refs.lock",
                "config.lock",
                "HEAD.lock",
                "gc.pid",
                "shallow.lock",
            ] {
                let _none = fs::remove_file(dir.join(name));
            }
            return Ok(repo);
        }
        let _none = fs::remove_dir_all(dir);
        fs::create_dir_all(dir).map_err(|e| GitError::Start(e.kind()))?;
        let mut call = Call::here(dir, &["init", "--quiet", "--bare", "--template="]);
        call.dir = Some(dir);
        call.must("init", stop)?;
        Ok(repo)
    }

    fn here(&self, args: &[&str], what: &'static str) -> Result<Vec<u8>, GitError> {
        Call::here(&self.dir, args).must(what, self.stop.0)
    }

    /// What a name stands for, if there is such an object.
    pub(crate) fn resolve(&self, name: &str) -> Result<Option<Oid>, GitError> {
        let said = Call::here(
            &self.dir,
            &["rev-parse", "--verify", "--quiet", "--end-of-options", name],
        )
        .ask(self.stop.0)?;
        Ok(line(&said.out)
            .and_then(|l| Oid::parse(&l))
            .filter(|_| said.ok))
    }

    /// The tip of the remote's branch, fetched; nothing while there is none.
    pub(crate) fn fetch(&self, url: &str, branch: &str) -> Result<Option<Oid>, GitError> {
        let full = format!("refs/heads/{branch}");
        let pack = far_end(url, "upload-pack");
        let mut args = vec!["ls-remote"];
        args.extend(pack.as_deref());
        args.extend(["--", url, &full]);
        let out = Call::remote(Some(&self.dir), &args).must("ls-remote", self.stop.0)?;
        let out = String::from_utf8_lossy(&out);
        let there = out.lines().find_map(|l| {
            let (oid, name) = l.split_once('\t')?;
            Oid::parse(oid).filter(|_| name == full)
        });
        let Some(there) = there else {
            return Ok(None);
        };
        if self.resolve(TIP)?.as_ref() == Some(&there) {
            return Ok(Some(there));
        }
        let spec = format!("+{full}:{TIP}");
        let mut args = vec![
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            "--no-show-forced-updates",
        ];
        args.extend(pack.as_deref());
        args.extend(["--", url, &spec]);
        Call::remote(Some(&self.dir), &args).must("fetch", self.stop.0)?;
        // Somebody may have pushed in between.
        match self.resolve(TIP)? {
            Some(tip) => Ok(Some(tip)),
            None => Err(GitError::Nonsense("fetch")),
        }
    }

    /// What the branches here and the copies of a remote's stand at, the first few.
    pub(crate) fn branches(&self, max: usize) -> Result<Vec<Oid>, GitError> {
        let count = format!("--count={max}");
        let args = [
            "for-each-ref",
            "--format=%(objectname)",
            count.as_str(),
            "refs/heads/",
            "refs/remotes/",
        ];
        let out = self.here(&args, "for-each-ref")?;
        let out = String::from_utf8_lossy(&out);
        Ok(out.lines().filter_map(|l| Oid::parse(l.trim())).collect())
    }

    /// When a file was changed last, or anything at all, in seconds and by the clock
    /// of who changed it.
    pub(crate) fn changed_s(&self, at: &Oid, path: Option<&str>) -> Result<Option<u64>, GitError> {
        // Plumbing: what a repository sets for `log` may name a program.
        let mut args = vec!["--literal-pathspecs", "rev-list", "-1", "--timestamp"];
        args.extend([at.as_str(), "--"]);
        args.extend(path);
        let out = self.here(&args, "rev-list")?;
        Ok(line(&out).and_then(|l| l.split(' ').next()?.parse().ok()))
    }

    /// Whether a commit is in the past of another one, or is it.
    pub(crate) fn is_ancestor(&self, old: &Oid, new: &Oid) -> Result<bool, GitError> {
        if self
            .resolve(&format!("{}^{{commit}}", old.as_str()))?
            .is_none()
        {
            return Ok(false);
        }
        let args = ["merge-base", "--is-ancestor", old.as_str(), new.as_str()];
        Ok(Call::here(&self.dir, &args).ask(self.stop.0)?.ok)
    }

    /// What a path of a commit is.
    pub(crate) fn node(&self, at: &Oid, path: &str) -> Result<Option<Node>, GitError> {
        let out = self.list_raw(&[
            "ls-tree",
            "-z",
            "-l",
            "--full-tree",
            at.as_str(),
            "--",
            path,
        ])?;
        Ok(out.into_iter().find(|(p, _)| p == path).map(|(_, n)| n))
    }

    /// All files below a path, by their whole paths. Names that are no UTF-8 are
    /// not ours and left out.
    pub(crate) fn files(&self, at: &Oid, path: &str) -> Result<Vec<(String, Node)>, GitError> {
        self.list_raw(&[
            "ls-tree",
            "-r",
            "-z",
            "-l",
            "--full-tree",
            at.as_str(),
            "--",
            path,
        ])
    }

    fn list_raw(&self, args: &[&str]) -> Result<Vec<(String, Node)>, GitError> {
        let call = Call::here(&self.dir, args).out_max(LIST_BYTES_MAX);
        let out = call.must("ls-tree", self.stop.0)?;
        Ok(out.split(|b| *b == 0).filter_map(entry).collect())
    }

    /// The content of blobs, each with its size as the tree tells it, in the order in
    /// which they are asked for. `each` may end it.
    pub(crate) fn read(
        &self,
        blobs: &[(Oid, u64)],
        each: &mut dyn FnMut(usize, Vec<u8>) -> bool,
    ) -> Result<(), GitError> {
        let mut from = 0;
        while from < blobs.len() {
            let mut upto = from;
            let mut bytes = 0;
            while let Some((_, size)) = blobs.get(upto) {
                if upto > from && bytes + size > READ_BYTES_MAX {
                    break;
                }
                bytes += size + 128;
                upto += 1;
            }
            let group = blobs.get(from..upto).unwrap_or_default();
            let asked: String = group
                .iter()
                .map(|(o, _)| format!("{}\n", o.as_str()))
                .collect();
            let call = Call::here(&self.dir, &["cat-file", "--batch", "--buffer"])
                .input(asked.into_bytes())
                .out_max(bytes + 1024);
            let out = call.must("cat-file", self.stop.0)?;
            let mut rest = out.as_slice();
            for (n, (oid, _)) in group.iter().enumerate() {
                let content = one(&mut rest, oid).ok_or(GitError::Nonsense("cat-file"))?;
                if !each(from + n, content) {
                    return Ok(());
                }
            }
            from = upto;
        }
        Ok(())
    }

    /// The content of one file of a tree.
    pub(crate) fn read_one(&self, node: &Node) -> Result<Vec<u8>, GitError> {
        let mut content = Vec::new();
        let blob = (node.oid.clone(), node.size.unwrap_or_default());
        self.read(&[blob], &mut |_, bytes| {
            content = bytes;
            true
        })?;
        Ok(content)
    }

    /// Makes commits upon a tip, or the first ones, and says which is the last.
    pub(crate) fn commit(
        &self,
        tip: Option<&Oid>,
        commits: Vec<Commit>,
        now_s: u64,
    ) -> Result<Oid, GitError> {
        let mut stream = Vec::new();
        for (n, commit) in commits.into_iter().enumerate() {
            write_commit(&mut stream, tip.filter(|_| n == 0), commit, now_s);
        }
        stream.extend_from_slice(b"done\n");
        if tip.is_none() {
            // The first commit of all must not grow from what was tried before.
            let _none = Call::here(&self.dir, &["update-ref", "-d", NEXT]).ask(self.stop.0)?;
        }
        let args = [
            "fast-import",
            "--quiet",
            "--done",
            "--force",
            "--date-format=raw",
        ];
        let call = Call::here(&self.dir, &args).input(stream);
        call.must("fast-import", self.stop.0)?;
        self.resolve(NEXT)?.ok_or(GitError::Nonsense("fast-import"))
    }

    /// Pushes a commit, never by force.
    pub(crate) fn push(&self, url: &str, branch: &str, new: &Oid) -> Result<Pushed, GitError> {
        let spec = format!("{}:refs/heads/{branch}", new.as_str());
        let pack = far_end(url, "receive-pack");
        let mut args = vec![
            "push",
            "--quiet",
            "--porcelain",
            "--no-verify",
            "--no-force",
        ];
        args.extend(pack.as_deref());
        args.extend(["--", url, &spec]);
        let said = Call::remote(Some(&self.dir), &args).ask(self.stop.0)?;
        if said.ok {
            self.here(&["update-ref", TIP, new.as_str()], "update-ref")?;
            return Ok(Pushed::Done);
        }
        let out = String::from_utf8_lossy(&said.out).into_owned();
        let refused = out.lines().find(|l| l.starts_with('!')).unwrap_or_default();
        let raced = [
            "[rejected]",
            "fetch first",
            "non-fast-forward",
            "stale info",
            "cannot lock ref",
            "failed to update ref",
            "reference already exists",
            "incorrect old value",
            "failed to lock",
        ];
        if raced
            .iter()
            .any(|w| refused.contains(w) || said.complaint.contains(w))
        {
            return Ok(Pushed::Raced);
        }
        let why = refused.rsplit_once('\t').map(|(_, why)| why.to_owned());
        Err(GitError::Refused {
            what: "push",
            words: why.filter(|w| !w.is_empty()).unwrap_or(said.complaint),
        })
    }

    /// Packs what lies about, if there is much of it.
    pub(crate) fn tidy(&self) -> Result<(), GitError> {
        let out = self.here(&["count-objects"], "count-objects")?;
        let loose = line(&out).and_then(|l| l.split(' ').next()?.parse::<usize>().ok());
        if loose.is_some_and(|n| n > LOOSE_MAX) {
            self.here(&["-c", "gc.auto=1", "gc", "--quiet", "--prune=now"], "gc")?;
        }
        Ok(())
    }
}

/// The branch that a clone of the remote would show.
pub(crate) fn branch_of(url: &str, scratch: &Path, stop: Stop<'_>) -> Result<String, GitError> {
    let pack = far_end(url, "upload-pack");
    let mut args = vec!["ls-remote", "--symref"];
    args.extend(pack.as_deref());
    args.extend(["--", url, "HEAD"]);
    let out = Call::remote(None, &args).must("ls-remote", stop)?;
    let out = String::from_utf8_lossy(&out);
    let named = out
        .lines()
        .find_map(|l| l.strip_prefix("ref: refs/heads/")?.strip_suffix("\tHEAD"));
    if let Some(branch) = named.filter(|b| is_branch(b)) {
        return Ok(branch.to_owned());
    }
    // An empty one tells a clone what its first branch is to be called.
    let _none = fs::remove_dir_all(scratch);
    let dir = scratch.to_string_lossy().into_owned();
    let mut args = vec![
        "clone",
        "--quiet",
        "--bare",
        "--template=",
        "--no-tags",
        "--no-local",
    ];
    args.extend(pack.as_deref());
    args.extend(["--", url, &dir]);
    let cloned = Call::remote(None, &args).must("clone", stop);
    let head = cloned
        .and_then(|_| Call::here(scratch, &["symbolic-ref", "HEAD"]).must("symbolic-ref", stop));
    let _none = fs::remove_dir_all(scratch);
    let head = line(&head?).unwrap_or_default();
    let branch = head.strip_prefix("refs/heads/").unwrap_or_default();
    Ok(if is_branch(branch) { branch } else { "main" }.to_owned())
}

/// Copies a repository into a bare one of our own, without anything of it being
/// checked out or run.
pub(crate) fn clone_to(url: &str, to: &Path, stop: Stop<'_>) -> Result<(), GitError> {
    let dir = to.to_string_lossy().into_owned();
    let pack = far_end(url, "upload-pack");
    let mut args = vec![
        "clone",
        "--quiet",
        "--bare",
        "--template=",
        "--no-tags",
        "--single-branch",
        "--no-local",
    ];
    args.extend(pack.as_deref());
    args.extend(["--", url, &dir]);
    Call::remote(None, &args).must("clone", stop).map(drop)
}

/// How the other end is started where it is a directory of this machine: there, what
/// the repository names would be run by us, and its hooks first of all.
fn far_end(url: &str, program: &str) -> Option<String> {
    let here = url.starts_with("file://") || Path::new(url).is_absolute();
    here.then(|| {
        format!(
            "--{program}=git -c core.hooksPath=/dev/null/none -c core.fsmonitor=false \
             -c core.alternateRefsCommand=true -c gc.auto=0 -c maintenance.auto=false {program}"
        )
    })
}

/// Whether a name can be a branch's without a doubt.
pub(crate) fn is_branch(name: &str) -> bool {
    (1..=BRANCH_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"._/-".contains(&c))
        && !name.starts_with(['-', '/', '.'])
        && !name.ends_with(['/', '.'])
        && !name.contains("..")
        && !name.contains("//")
        && !name.ends_with(".lock")
}

fn line(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().next().map(|l| l.trim().to_owned())
}

/// `mode type oid size\tpath`
fn entry(raw: &[u8]) -> Option<(String, Node)> {
    let text = std::str::from_utf8(raw).ok()?;
    let (head, path) = text.split_once('\t')?;
    let mut fields = head.split_ascii_whitespace();
    let (mode, _, oid) = (fields.next()?, fields.next()?, fields.next()?);
    let node = Node {
        mode: mode.to_owned(),
        oid: Oid::parse(oid)?,
        size: fields.next().and_then(|s| s.parse().ok()),
    };
    Some((path.to_owned(), node))
}

/// `oid type size\n`, so many bytes, and a line break.
fn one(rest: &mut &[u8], want: &Oid) -> Option<Vec<u8>> {
    let end = rest.iter().position(|b| *b == b'\n')?;
    let head = std::str::from_utf8(rest.get(..end)?).ok()?;
    let mut fields = head.split(' ');
    let (oid, kind, size) = (fields.next()?, fields.next()?, fields.next()?);
    if oid != want.as_str() || kind != "blob" {
        return None;
    }
    let size: usize = size.parse().ok()?;
    let content = rest.get(end + 1..end + 1 + size)?.to_vec();
    *rest = rest.get(end + 2 + size..)?;
    Some(content)
}

fn write_commit(out: &mut Vec<u8>, from: Option<&Oid>, commit: Commit, now_s: u64) {
    let mut say = |text: &str| out.extend_from_slice(text.as_bytes());
    say(&format!(
        "commit {NEXT}\ncommitter {COMMITTER} {now_s} +0000\n"
    ));
    say(&format!(
        "data {}\n{}\n",
        commit.subject.len(),
        commit.subject
    ));
    if let Some(from) = from {
        say(&format!("from {}\n", from.as_str()));
    }
    for path in commit.removed {
        assert!(is_path(&path), "a path of our own is malformed");
        out.extend_from_slice(format!("D {path}\n").as_bytes());
    }
    for (path, content) in commit.files {
        assert!(is_path(&path), "a path of our own is malformed");
        let head = format!("M 100644 inline {path}\ndata {}\n", content.len());
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&content);
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// Whether a path is one that we write: names of safe characters, none of which
/// means anything to git.
pub(crate) fn is_path(path: &str) -> bool {
    let safe = |name: &str| {
        (1..=200).contains(&name.len())
            && name
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
            && name != "."
            && name != ".."
            && !name.to_ascii_lowercase().starts_with(".git")
    };
    path.split('/').all(safe)
}
