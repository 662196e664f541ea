//! The user's rules about what of this device's sessions others may have, by the
//! directory in which a session works. They lie in a file of their own beside the
//! store: a store that is lost must not take them along.
//!
//! Which rule counts is decided here, from text alone; who may have what then is the
//! machine's business. What cannot be read lets nothing leave.

pub(crate) mod gate;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ccpeer_core::sharing::Share as Held;
use ccpeer_store::{Namespace, NoteWrite, Store};
use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use crate::api::{Share, ShareRule, ShareRuling, ShareWhich};
use crate::home::Home;
use crate::keys;
use crate::policy::Moved;

/// Version of the file.
const VERSION: u8 = 1;
/// Bytes of the file that are read.
const BYTES_MAX: u64 = 1024 * 1024;
/// Rules that are kept.
pub(crate) const RULES_MAX: usize = 1024;
/// Bytes of one rule's text.
const RULE_BYTES_MAX: usize = 4096;
/// Key in [`Namespace::Setting`]: rules were made, so that their file is missed.
const MADE_KEY: &[u8] = b"sharing-made";

/// The rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    v: u8,
    /// Where nothing else was said.
    default: Share,
    /// By the directory of a project here.
    projects: BTreeMap<String, Share>,
    /// In the order in which they were given: the last that fits counts.
    globs: Vec<Glob>,
}

/// A rule for directories that look alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Glob {
    glob: String,
    share: Share,
}

/// How directories are told apart on a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paths {
    /// A backslash separates, and verbatim prefixes mean nothing.
    pub(crate) windows: bool,
    /// Names that differ in their case alone are one.
    pub(crate) fold: bool,
}

/// Why the rules cannot be used. Nothing leaves then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RulesError {
    #[error("the rules about what is shared are missing")]
    Missing,
    #[error("the rules about what is shared cannot be read: {0}")]
    Unreadable(String),
    #[error("the rules about what is shared are those of a newer ccpeer, or damaged")]
    Unknown,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            v: VERSION,
            default: Share::Sync,
            projects: BTreeMap::new(),
            globs: Vec::new(),
        }
    }
}

impl Paths {
    /// Of the system that we run on. Where a disk may tell case apart or not, a
    /// name that differs only so is taken for the same.
    pub(crate) const HERE: Self = Self {
        windows: cfg!(windows),
        fold: cfg!(any(windows, target_os = "macos")),
    };

    /// A directory in the one form in which it is compared.
    fn plain(self, dir: &str) -> String {
        let mut plain = dir.to_owned();
        if self.windows {
            plain = plain.replace('\\', "/");
            if let Some(rest) = plain.strip_prefix("//?/") {
                let unc = rest.strip_prefix("UNC/").or(rest.strip_prefix("unc/"));
                plain = unc.map_or_else(|| rest.to_owned(), |share| format!("//{share}"));
            }
        }
        if self.fold {
            plain = plain.to_lowercase();
        }
        let end = plain.trim_end_matches('/').len();
        plain.truncate(end.max(1));
        plain
    }

    fn matcher(self, glob: &str) -> Option<GlobMatcher> {
        let mut glob = glob.to_owned();
        if self.windows {
            glob = glob.replace('\\', "/");
        }
        // A name alone is one anywhere.
        if !glob.contains('/') {
            glob = format!("**/{glob}");
        }
        let end = glob.trim_end_matches('/').len();
        glob.truncate(end.max(1));
        let built = GlobBuilder::new(&glob)
            .literal_separator(true)
            .backslash_escape(false)
            .case_insensitive(self.fold)
            .build();
        Some(built.ok()?.compile_matcher())
    }
}

/// A directory and those that it lies in, the nearest first; of a plain form.
fn upwards(dir: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(dir), |dir| {
        let (above, _) = dir.rsplit_once('/')?;
        match above {
            "" if *dir == "/" => None,
            "" => Some("/"),
            above => Some(above),
        }
    })
}

impl Rules {
    /// As they lie on the disk; none if none were ever made.
    pub(crate) fn load(home: &Home, store: &Store) -> Result<Self, RulesError> {
        let unreadable = |e: &dyn std::fmt::Display| RulesError::Unreadable(e.to_string());
        let path = home.sharing();
        match fs::metadata(&path) {
            Ok(is) if is.len() > BYTES_MAX => return Err(RulesError::Unknown),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return match store.note(Namespace::Setting, MADE_KEY) {
                    Ok(None) => Ok(Self::default()),
                    Ok(Some(_)) => Err(RulesError::Missing),
                    Err(e) => Err(unreadable(&e)),
                };
            }
            Err(e) => return Err(unreadable(&e)),
        }
        let bytes = fs::read(path).map_err(|e| unreadable(&e))?;
        Self::from_bytes(&bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, RulesError> {
        let rules: Self = serde_json::from_slice(bytes).map_err(|_| RulesError::Unknown)?;
        let sound = rules.v == VERSION
            && rules.count() <= RULES_MAX
            && rules.globs.iter().all(|g| Self::is_glob(&g.glob));
        sound.then_some(rules).ok_or(RulesError::Unknown)
    }

    /// Makes them durable. That there are some is remembered first.
    pub(crate) fn save(&self, home: &Home, store: &Store) -> Result<(), RulesError> {
        let unreadable = |e: &dyn std::fmt::Display| RulesError::Unreadable(e.to_string());
        let made = NoteWrite {
            ns: Namespace::Setting,
            key: MADE_KEY.to_vec(),
            value: Some(vec![VERSION]),
        };
        store.put_notes(&[made]).map_err(|e| unreadable(&e))?;
        let bytes = serde_json::to_vec(self).map_err(|e| unreadable(&e))?;
        keys::write_private(&home.sharing(), &bytes).map_err(|e| unreadable(&e))
    }

    /// Whether all of everything is shared.
    pub(crate) fn is_plain(&self) -> bool {
        self.default == Share::Sync && self.count() == 0
    }

    pub(crate) fn count(&self) -> usize {
        self.projects.len() + self.globs.len()
    }

    pub(crate) fn default_share(&self) -> Share {
        self.default
    }

    /// All but the default, in the order in which they are looked at.
    pub(crate) fn list(&self) -> Vec<ShareRule> {
        let projects = self.projects.iter().map(|(dir, share)| ShareRule {
            which: ShareWhich::Project(dir.clone()),
            share: *share,
        });
        let globs = self.globs.iter().rev().map(|g| ShareRule {
            which: ShareWhich::Glob(g.glob.clone()),
            share: g.share,
        });
        projects.chain(globs).collect()
    }

    /// Whether a text can be a rule for directories: a pattern, of a whole path or
    /// of a name.
    pub(crate) fn is_glob(text: &str) -> bool {
        text.len() <= RULE_BYTES_MAX && Paths::HERE.matcher(text).is_some()
    }

    /// Changes one rule, or takes it away. Whether it is otherwise than before.
    pub(crate) fn set(&mut self, which: &ShareWhich, share: Option<Share>) -> bool {
        let before = self.clone();
        match which {
            ShareWhich::Default => self.default = share.unwrap_or_default(),
            ShareWhich::Project(dir) => {
                let same = |d: &String| Paths::HERE.plain(d) == Paths::HERE.plain(dir);
                self.projects.retain(|d, _| !same(d));
                if let Some(share) = share {
                    self.projects.insert(dir.clone(), share);
                }
            }
            ShareWhich::Glob(glob) => {
                self.globs.retain(|g| g.glob != *glob);
                self.globs.extend(share.map(|share| Glob {
                    glob: glob.clone(),
                    share,
                }));
            }
        }
        *self != before
    }

    /// What holds in a directory of this machine: by its own name and by the one that
    /// links lead to, the stricter; as long as it is not known, the strictest that
    /// holds anywhere. Looks at the disk.
    pub(crate) fn of_dir(&self, dir: &str) -> ShareRuling {
        if dir.is_empty() {
            return ShareRuling {
                share: self.strictest(),
                by: None,
            };
        }
        let named = self.of_text(dir, Paths::HERE);
        let real = fs::canonicalize(Path::new(dir)).ok();
        let real = real.as_ref().and_then(|real| real.to_str());
        match real.map(|real| self.of_text(real, Paths::HERE)) {
            Some(real) if real.share > named.share => real,
            _ => named,
        }
    }

    fn strictest(&self) -> Share {
        let projects = self.projects.values().copied();
        let all = projects.chain(self.globs.iter().map(|g| g.share));
        all.fold(self.default, Share::max)
    }

    /// Has what holds in directories hold in those that took their place: what was said
    /// of them and of what lies in them, and for each of `dirs`, which are used, nothing
    /// laxer than before. Nor is anything laxer there than what was said of the new
    /// place. The old words stay, because not everything may have moved yet. How many
    /// new ones there are. Looks at the disk.
    pub(crate) fn follow(&mut self, now: &Moved, dirs: &[PathBuf]) -> usize {
        let before = self.projects.len();
        let text = |dir: PathBuf| Some(dir.to_str()?.to_owned());
        let place = |dir: &str| now(Path::new(dir)).and_then(text);
        let known = self.clone();
        for (dir, share) in &known.projects {
            let Some(to) = place(dir) else { continue };
            let there = known.of_dir(&to);
            let said = there.by != Some(ShareWhich::Default);
            let share = if said {
                there.share.max(*share)
            } else {
                *share
            };
            self.projects.insert(to, share);
        }
        for dir in dirs.iter().filter_map(|dir| dir.to_str()) {
            let Some(to) = place(dir) else { continue };
            let (there, here) = (self.of_dir(dir).share, self.of_dir(&to).share);
            if there > here {
                self.projects.insert(to, there);
            }
        }
        self.projects.len().saturating_sub(before)
    }

    /// What holds for a session of which no directory here is known.
    pub(crate) fn elsewhere(&self) -> ShareRuling {
        ShareRuling {
            share: self.default,
            by: Some(ShareWhich::Default),
        }
    }

    fn of_text(&self, dir: &str, paths: Paths) -> ShareRuling {
        let dir = paths.plain(dir);
        let above = |above: &str| {
            let mut projects = self.projects.iter();
            projects.find(|(project, _)| paths.plain(project) == above)
        };
        if let Some((project, share)) = upwards(&dir).find_map(above) {
            return ShareRuling {
                share: *share,
                by: Some(ShareWhich::Project(project.clone())),
            };
        }
        let fits = |g: &&Glob| match paths.matcher(&g.glob) {
            Some(matcher) => upwards(&dir).any(|dir| matcher.is_match(dir)),
            None => false,
        };
        match self.globs.iter().rev().find(fits) {
            Some(g) => ShareRuling {
                share: g.share,
                by: Some(ShareWhich::Glob(g.glob.clone())),
            },
            None => self.elsewhere(),
        }
    }
}

/// As the machine has it.
pub(crate) fn held(share: Share) -> Held {
    match share {
        Share::Sync => Held::Whole,
        Share::Snapshot => Held::Document,
        Share::Local => Held::Local,
    }
}

/// As commands have it.
pub(crate) fn told(share: Held) -> Share {
    match share {
        Held::Whole => Share::Sync,
        Held::Document => Share::Snapshot,
        Held::Local => Share::Local,
    }
}
