//! What is searched for: the places of one machine as sequences of characters
//! and separators, each with what takes its place.
//!
//! Must not know how any of it is spelled in a text.

use ccpeer_core::manifest::{Origin, PathFlavour};

use super::alias::{self, Alias};
use super::spelling::{Slash, Spelling, shell_escapes, url_encodes};
use crate::claude::slug::project_slug;
use crate::remote_path::RemotePath;

/// One element of what is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Elem {
    /// A separator.
    Slash,
    /// A drive's letter, in either case.
    Drive(char),
    /// The colon behind it.
    Colon,
    /// A character of a name.
    Char(char),
}

/// Which way of writing a place a pattern finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `/home/ann`
    Unix,
    /// `C:\Users\ann`, `C:/Users/ann`
    Drive,
    /// `/c/Users/ann` of Git Bash.
    Msys,
    /// `/mnt/c/Users/ann` of WSL.
    Wsl,
    /// The name of the project's directory below `projects/`.
    Slug,
    /// What such names begin with for all that lies below a home; the name goes on.
    SlugHead,
}

/// What takes the place of a match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// The same place on the other machine.
    Path(RemotePath),
    /// The other machine's name for the project's directory.
    Slug(String),
    /// Nothing: it means another place there, and stays as it is.
    Keep,
}

/// One thing to search for.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) elems: Vec<Elem>,
    /// How nearly everybody writes it: its characters, and `/` between them; nothing
    /// where that has more than one form.
    pub(super) usual: Option<Vec<u8>>,
    /// How that reads, where it is ASCII and none of its characters is ever written
    /// behind back-slashes: a byte is an element then, and there is nothing to find out.
    pub(super) plain: Option<Spelling>,
    /// What then takes its place, where that is a path of the same kind.
    pub(super) usual_target: Option<Vec<u8>>,
    pub(super) form: Form,
    pub(super) target: Target,
    /// Another way of naming the place than its machine's own: the way back may
    /// give the usual one.
    pub(super) is_alias: bool,
}

impl Pattern {
    fn new(elems: Vec<Elem>, form: Form, target: Target, is_alias: bool) -> Self {
        let unix = |to: &RemotePath| to.drive().is_none() && form == Form::Unix;
        let usual_target = match &target {
            Target::Path(to) if unix(to) => Some(to.to_string().into_bytes()),
            _ => None,
        };
        Self {
            usual: usual(&elems),
            plain: plain(&elems),
            usual_target,
            elems,
            form,
            target,
            is_alias,
        }
    }

    /// A name below `projects/`.
    fn name(name: &str, form: Form, target: Target) -> Self {
        Self::new(name.chars().map(Elem::Char).collect(), form, target, false)
    }
}

fn plain(elems: &[Elem]) -> Option<Spelling> {
    let mut spelling = Spelling::default();
    for elem in elems {
        match elem {
            Elem::Slash => spelling.slash = Some(Slash::Plain),
            Elem::Char(c) if c.is_ascii() && !shell_escapes(*c) && !matches!(c, '\\' | '%') => {
                spelling.raw |= url_encodes(*c, false);
            }
            Elem::Char(_) | Elem::Drive(_) | Elem::Colon => return None,
        }
    }
    Some(spelling)
}

fn usual(elems: &[Elem]) -> Option<Vec<u8>> {
    let text: Option<String> = elems
        .iter()
        .map(|elem| match elem {
            Elem::Slash => Some('/'),
            // Of this one, an escape looks like the character itself.
            Elem::Char('%') | Elem::Drive(_) | Elem::Colon => None,
            Elem::Char(c) => Some(*c),
        })
        .collect();
    text.map(String::into_bytes)
}

/// A place on both machines.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) from: RemotePath,
    pub(super) to: RemotePath,
}

/// The places that both origins name, the longest first. A root is not among
/// them: searched for, it would be found in every path. `subdir` is where in its
/// repository the project lies on both, possibly nowhere.
pub(super) fn pairs(from: &Origin, to: &Origin, subdir: &str) -> Vec<Pair> {
    let both = |a: &str, b: &str| Some((place(a, from.flavour)?, place(b, to.flavour)?));
    let project = both(&from.project, &to.project);
    let repository = project.as_ref().and_then(|(a, b)| {
        let (a, b) = (above(a, subdir)?, above(b, subdir)?);
        Some((a, b))
    });
    let places = [
        both(&from.claude_dir, &to.claude_dir),
        project,
        repository,
        both(&from.home, &to.home),
    ];
    let mut pairs: Vec<Pair> = Vec::new();
    for (a, b) in places.into_iter().flatten() {
        if !pairs.iter().any(|p| p.from.is_same_place(&a)) {
            pairs.push(Pair { from: a, to: b });
        }
    }
    pairs.sort_by_key(|p| std::cmp::Reverse(p.from.parts().len()));
    pairs
}

/// The repository of a project that lies in this sub-directory of it.
fn above(project: &RemotePath, subdir: &str) -> Option<RemotePath> {
    let names = subdir.split('/').filter(|n| !n.is_empty()).count();
    let top = (0..names).try_fold(project.clone(), |path, _| path.parent())?;
    let back = top.join(subdir).ok()?;
    (names > 0 && !top.is_root() && back.is_same_place(project)).then_some(top)
}

/// A path that can be searched for. One with a character that JSON escapes
/// cannot: it would have no single spelling.
fn place(text: &str, flavour: PathFlavour) -> Option<RemotePath> {
    let path = RemotePath::parse(text, flavour).ok()?;
    let plain = path.parts().iter().all(|p| !p.contains(['"', '\\']));
    (plain && !path.is_root()).then_some(path)
}

/// All that is to be found, the longest first; empty if nothing would change.
pub(super) fn patterns(pairs: &[Pair], from: &Origin, to: &Origin, subdir: &str) -> Vec<Pattern> {
    let mut found: Vec<(RemotePath, Target)> = Vec::new();
    for p in pairs {
        let target = if p.from == p.to {
            Target::Keep
        } else {
            Target::Path(p.to.clone())
        };
        found.push((p.from.clone(), target));
    }
    for kept in taken(pairs) {
        if !found.iter().any(|(path, _)| path.is_same_place(&kept)) {
            found.push((kept, Target::Keep));
        }
    }
    // What is kept matters only inside of something that is not.
    let moved: Vec<RemotePath> = found
        .iter()
        .filter(|(_, t)| *t != Target::Keep)
        .map(|(p, _)| p.clone())
        .collect();
    found.retain(|(path, target)| {
        *target != Target::Keep || moved.iter().any(|m| path.parts_below(m).is_some())
    });

    let mut patterns: Vec<Pattern> = Vec::new();
    for (path, target, is_alias) in named(&found) {
        for form in [Form::Unix, Form::Drive, Form::Msys, Form::Wsl] {
            if let Some(elems) = elems(&path, form) {
                patterns.push(Pattern::new(elems, form, target.clone(), is_alias));
            }
        }
    }
    for (from, to) in slugs(from, to, subdir) {
        if from != to && is_slug(&from) && is_slug(&to) {
            patterns.push(Pattern::name(&from, Form::Slug, Target::Slug(to)));
        }
    }
    patterns.extend(below_home(from, to, &patterns));
    patterns.sort_by_key(|p| std::cmp::Reverse(p.elems.len()));
    patterns
}

/// Names below `projects/` of the home, and of whatever else lies below it: of a
/// worktree's main checkout, of where the session was before. They begin with the
/// home's name, and tell whose it is. One that would become a name that is taken
/// there stays as it is, as with paths.
fn below_home(from: &Origin, to: &Origin, patterns: &[Pattern]) -> Vec<Pattern> {
    let home = |o: &Origin| place(&o.home, o.flavour).map(|p| project_slug(&p.to_string()));
    let (Some(from), Some(to)) = (home(from), home(to)) else {
        return Vec::new();
    };
    if from == to || !is_slug(&from) || !is_slug(&to) {
        return Vec::new();
    }
    let head = (format!("{from}-"), format!("{to}-"));
    let mut found = vec![Pattern::name(&from, Form::Slug, Target::Slug(to))];
    for known in patterns {
        if let Target::Slug(name) = &known.target
            && let Some(rest) = name.strip_prefix(&head.1)
        {
            let taken = format!("{}{rest}", head.0);
            found.push(Pattern::name(&taken, Form::Slug, Target::Keep));
        }
    }
    found.retain(|f| patterns.iter().all(|p| p.elems != f.elems));
    found.push(Pattern::name(&head.0, Form::SlugHead, Target::Slug(head.1)));
    found
}

/// The places, and what else they may be called.
fn named(found: &[(RemotePath, Target)]) -> Vec<(RemotePath, Target, bool)> {
    let mut named: Vec<(RemotePath, Target, bool)> = found
        .iter()
        .map(|(path, target)| (path.clone(), target.clone(), false))
        .collect();
    for (path, target) in found {
        for how in Alias::ALL {
            let Some(other) = alias::of(path, how) else {
                continue;
            };
            if named.iter().any(|(known, _, _)| *known == other) {
                continue;
            }
            let target = match target {
                // Whether the other machine has such a link is not known.
                Target::Path(to) if matches!(how, Alias::Real(_)) => Target::Path(to.clone()),
                Target::Path(to) => Target::Path(alias::of(to, how).unwrap_or_else(|| to.clone())),
                other => other.clone(),
            };
            named.push((other, target, true));
        }
    }
    named
}

/// Names below `projects/`: the project's, and that of its repository, where
/// both machines name it by the rule.
fn slugs(from: &Origin, to: &Origin, subdir: &str) -> Vec<(String, String)> {
    let mut slugs = vec![(from.slug.clone(), to.slug.clone())];
    let by_rule = |o: &Origin| o.slug == project_slug(&o.project);
    let top = |o: &Origin| Some(above(&place(&o.project, o.flavour)?, subdir)?.to_string());
    if by_rule(from)
        && by_rule(to)
        && let (Some(a), Some(b)) = (top(from), top(to))
    {
        slugs.push((project_slug(&a), project_slug(&b)));
    }
    slugs
}

/// Paths here that would land on another pair's place there. Rewriting
/// `~/code/x` to the directory that has become the project would make two
/// places one, and the way back would confuse them.
fn taken(pairs: &[Pair]) -> Vec<RemotePath> {
    let mut taken = Vec::new();
    for outer in pairs {
        for inner in pairs {
            let below = inner.to.parts_below(&outer.to).filter(|b| !b.is_empty());
            let Some(below) = below else { continue };
            if let Ok(path) = outer.from.join(&below.join("/"))
                && !path.is_same_place(&inner.from)
            {
                taken.push(path);
            }
        }
    }
    taken
}

/// The shortest name that can be told from a command's flag or a dash.
const SLUG_CHARS_MIN: usize = 2;

fn is_slug(text: &str) -> bool {
    text.len() >= SLUG_CHARS_MIN
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
        && text.bytes().any(|c| c.is_ascii_alphanumeric())
}

/// The path in this form, if it has it.
fn elems(path: &RemotePath, form: Form) -> Option<Vec<Elem>> {
    let mut elems = Vec::new();
    match (path.drive(), form) {
        (None, Form::Unix) => {}
        (Some(drive), Form::Drive) => elems.extend([Elem::Drive(drive), Elem::Colon]),
        (Some(drive), Form::Msys) => {
            elems.extend([Elem::Slash, Elem::Drive(drive.to_ascii_lowercase())])
        }
        (Some(drive), Form::Wsl) => {
            elems.push(Elem::Slash);
            elems.extend("mnt".chars().map(Elem::Char));
            elems.extend([Elem::Slash, Elem::Drive(drive.to_ascii_lowercase())]);
        }
        _ => return None,
    }
    for part in path.parts() {
        elems.push(Elem::Slash);
        elems.extend(part.chars().map(Elem::Char));
    }
    Some(elems)
}

/// A run of bytes that every spelling of some patterns contains as it is:
/// letters and digits are never escaped. Found with a fast search, the
/// pattern is then read backwards and forwards from it.
#[derive(Debug, Clone)]
pub(super) struct Anchor {
    pub(super) needle: Vec<u8>,
    /// Index of a pattern, and of the anchor's first element in it.
    pub(super) uses: Vec<(usize, usize)>,
}

/// As few anchors as will find all patterns; places below one another share one.
pub(super) fn anchors(patterns: &[Pattern]) -> Vec<Anchor> {
    let mut anchors: Vec<Anchor> = Vec::new();
    // The shortest pattern first: what it is found by is found in those below.
    for (index, pattern) in patterns.iter().enumerate().rev() {
        let shared = anchors
            .iter_mut()
            .find_map(|a| position(pattern, &a.needle).map(|at| (a, at)));
        match shared {
            Some((anchor, at)) => anchor.uses.push((index, at)),
            None => {
                let (at, needle) = own_anchor(pattern);
                anchors.push(Anchor {
                    needle,
                    uses: vec![(index, at)],
                });
            }
        }
    }
    for anchor in &mut anchors {
        anchor.uses.reverse();
    }
    anchors
}

/// Where the needle stands in the pattern, element by element.
fn position(pattern: &Pattern, needle: &[u8]) -> Option<usize> {
    let text = str::from_utf8(needle).ok()?;
    let wanted: Vec<Elem> = text.chars().map(Elem::Char).collect();
    pattern
        .elems
        .windows(wanted.len())
        .position(|w| w == wanted)
}

/// The longest run of letters and digits, the later of two; without any, the
/// longest run of characters as they are in UTF-8.
fn own_anchor(pattern: &Pattern) -> (usize, Vec<u8>) {
    let longest = |fits: fn(char) -> bool| {
        let mut best = (0, String::new());
        let mut run = (0, String::new());
        for (i, elem) in pattern.elems.iter().enumerate() {
            match elem {
                Elem::Char(c) if fits(*c) => {
                    if run.1.is_empty() {
                        run.0 = i;
                    }
                    run.1.push(*c);
                    if run.1.len() >= best.1.len() {
                        best = run.clone();
                    }
                }
                _ => run.1.clear(),
            }
        }
        (best.0, best.1.into_bytes())
    };
    let plain = longest(|c| c.is_ascii_alphanumeric());
    if plain.1.is_empty() {
        longest(|_| true)
    } else {
        plain
    }
}
