//! Which project a directory is, in terms that mean something elsewhere, and
//! which local directory is the project of a session from elsewhere.
//!
//! Facts about git repositories come in as values; nothing here asks for them.
//! Must not know how a session's files are laid out.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ccpeer_core::manifest::{PathFlavour, ProjectIdentity};

use crate::remote_path::RemotePath;

/// What is known about a directory in which a session was started.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The directory, absolute.
    pub dir: &'a str,
    /// The user's home directory.
    pub home: &'a str,
    /// How paths are written here.
    pub flavour: PathFlavour,
    /// Its repository, if it lies in one.
    pub git: Option<GitFacts<'a>>,
}

/// What git says about a repository.
#[derive(Debug, Clone, Copy)]
pub struct GitFacts<'a> {
    /// Top of the working tree, absolute.
    pub top: &'a str,
    /// URLs of its remotes, as configured.
    pub remotes: &'a [String],
    /// Hash of its first commit; empty if there is none, or if a shallow clone
    /// hides it. Of several, the smallest.
    pub root_commit: &'a str,
}

/// The project's identity.
#[must_use]
pub fn identify(facts: &Facts<'_>) -> ProjectIdentity {
    let dir = RemotePath::parse(facts.dir, facts.flavour).ok();
    let below = |base: &str| {
        let base = RemotePath::parse(base, facts.flavour).ok()?;
        dir.as_ref()?.strip_prefix(&base)
    };
    let mut identity = ProjectIdentity {
        name: dir
            .as_ref()
            .and_then(RemotePath::file_name)
            .unwrap_or_default()
            .to_owned(),
        below_home: below(facts.home),
        ..ProjectIdentity::default()
    };
    if let Some(git) = &facts.git {
        identity.remotes = git
            .remotes
            .iter()
            .filter_map(|url| normalise_remote(url))
            .take(REMOTES_MAX)
            .collect();
        identity.remotes.sort();
        identity.remotes.dedup();
        if is_commit(git.root_commit) {
            identity.root_commit = git.root_commit.to_ascii_lowercase();
        }
        identity.subdir = below(git.top).unwrap_or_default();
    }
    identity
}

/// Remotes of one repository that are looked at; a manifest names no more.
const REMOTES_MAX: usize = 32;

fn is_commit(hash: &str) -> bool {
    matches!(hash.len(), 40 | 64) && hash.bytes().all(|c| c.is_ascii_hexdigit())
}

/// A local directory that may be the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The directory, absolute.
    pub dir: String,
    /// Who it is: as [`identify`] says of it.
    pub identity: ProjectIdentity,
}

/// Which candidate is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// This one.
    One(usize),
    /// Each of these as well as the others: ask.
    Many(Vec<usize>),
    /// None of them.
    None,
}

/// Finds the project among local repositories.
///
/// A candidate is the same project if it shares a remote and its first commit
/// does not contradict, or if it shares the first commit. Sharing both outranks
/// sharing a remote, which outranks sharing the commit (a fork of it). Among
/// equals, one that lies at the same place below the home is preferred.
/// Directories of one repository count once, the one with the same place in it
/// first; see [`Candidate::place`] for where the session belongs then.
#[must_use]
pub fn match_project(identity: &ProjectIdentity, candidates: &[Candidate]) -> Match {
    let ranked = |c: &Candidate| rank(identity, &c.identity);
    let Some(best) = candidates.iter().filter_map(ranked).max() else {
        return Match::None;
    };
    let mut tops: BTreeMap<String, usize> = BTreeMap::new();
    for (i, candidate) in candidates.iter().enumerate() {
        if ranked(candidate) != Some(best) {
            continue;
        }
        let exact = candidate.identity.subdir == identity.subdir;
        let top = candidate
            .top()
            .map_or_else(|| candidate.dir.clone(), |top| top.to_string());
        let chosen = tops.entry(top).or_insert(i);
        if exact {
            *chosen = i;
        }
    }
    let mut found: Vec<usize> = tops.into_values().collect();
    found.sort_unstable();
    let same_place = |i: &usize| {
        let there = &identity.below_home;
        there.is_some()
            && candidates
                .get(*i)
                .is_some_and(|c| &c.identity.below_home == there)
    };
    match found.as_slice() {
        [one] => Match::One(*one),
        _ => match found
            .iter()
            .copied()
            .filter(same_place)
            .collect::<Vec<_>>()
            .as_slice()
        {
            [one] => Match::One(*one),
            _ => Match::Many(found),
        },
    }
}

/// How sure it is that both are one project.
fn rank(wanted: &ProjectIdentity, here: &ProjectIdentity) -> Option<u8> {
    let known = !wanted.root_commit.is_empty() && !here.root_commit.is_empty();
    let same_root = known && wanted.root_commit == here.root_commit;
    let same_remote = wanted.remotes.iter().any(|r| here.remotes.contains(r));
    match (same_remote, same_root) {
        (true, true) => Some(3),
        (true, false) if !known => Some(2),
        (false, true) => Some(1),
        _ => None,
    }
}

impl Candidate {
    fn path(&self) -> Option<RemotePath> {
        let flavour = if self.dir.starts_with('/') {
            PathFlavour::Unix
        } else {
            PathFlavour::Windows
        };
        RemotePath::parse(&self.dir, flavour).ok()
    }

    /// The top of its repository.
    fn top(&self) -> Option<RemotePath> {
        let levels = self
            .identity
            .subdir
            .split('/')
            .filter(|s| !s.is_empty())
            .count();
        (0..levels).try_fold(self.path()?, |path, _| path.parent())
    }

    /// Where a session of this project belongs: the same place in the
    /// repository. `None` if that is no path of this system.
    #[must_use]
    pub fn place(&self, identity: &ProjectIdentity) -> Option<String> {
        Some(self.top()?.join(&identity.subdir).ok()?.to_string())
    }
}

/// Where a project would lie if it lies at the same place below `root` (the
/// home, or the directory that holds all projects) as it does below its home.
#[must_use]
pub fn below_root(identity: &ProjectIdentity, root: &str, flavour: PathFlavour) -> Option<String> {
    let below = identity.below_home.as_deref()?;
    Some(
        RemotePath::parse(root, flavour)
            .ok()?
            .join(below)
            .ok()?
            .to_string(),
    )
}

/// A remote's URL without what differs between machines and ways of access:
/// `host/path`. `git@host:a/b.git`, `ssh://host:2222/a/b` and
/// `https://user:token@HOST/a/b/` are one. The port goes, too: one repository is
/// reached through several.
///
/// `None` for paths of a local disk, which mean nothing elsewhere: such
/// repositories are told by their first commit.
#[must_use]
pub fn normalise_remote(url: &str) -> Option<String> {
    const URL_BYTES_MAX: usize = 1024;
    let url = url.trim();
    if url.len() > URL_BYTES_MAX
        || url
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
    {
        return None;
    }
    let (authority, path) = match url.split_once("://") {
        Some((scheme, rest)) => {
            let scheme = scheme.to_ascii_lowercase();
            let known = [
                "ssh",
                "git",
                "http",
                "https",
                "git+ssh",
                "ssh+git",
                "git+https",
                "git+http",
                "ftp",
                "ftps",
            ];
            if !known.iter().any(|k| *k == scheme) {
                return None;
            }
            let (authority, path) = rest.split_once('/')?;
            // Only the web's schemes have these; in a path over SSH they are names.
            let path = if scheme.starts_with("http") {
                path.split(['?', '#']).next()?
            } else {
                path
            };
            (authority, path)
        }
        None => scp_form(url)?,
    };
    let host = host_of(authority)?;
    let mut parts: Vec<&str> = path
        .split('/')
        .filter(|p| !p.is_empty() && *p != ".")
        .collect();
    let last = parts.pop()?;
    parts.push(
        last.strip_suffix(".git")
            .filter(|name| !name.is_empty())
            .unwrap_or(last),
    );
    if parts.contains(&"..") {
        return None;
    }
    Some(format!("{host}/{}", parts.join("/")))
}

/// `user@host:path`; not `C:\x`, `./a:b` or `ext::…`.
fn scp_form(url: &str) -> Option<(&str, &str)> {
    let from = if url.contains("@[") || url.starts_with('[') {
        url.find(']')?
    } else {
        0
    };
    let colon = from + url.get(from..)?.find(':')?;
    let (authority, path) = (url.get(..colon)?, url.get(colon + 1..)?);
    let drive = authority.len() == 1;
    (!drive && !authority.contains('/') && !path.starts_with(':')).then_some((authority, path))
}

/// The host in lower case, without user, password and port.
fn host_of(authority: &str) -> Option<String> {
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => host.split(':').next()?,
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    // The same service behind another door, for networks that block SSH.
    let host = match host.as_str() {
        "ssh.github.com" => "github.com".to_owned(),
        "altssh.gitlab.com" => "gitlab.com".to_owned(),
        "altssh.bitbucket.org" => "bitbucket.org".to_owned(),
        _ => host,
    };
    (!host.is_empty()).then_some(host)
}
