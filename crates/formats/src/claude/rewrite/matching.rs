//! Whether a place stands at a position of a text, and what takes its place.
//!
//! A decision looks at no more than [`REACH`] bytes to either side, so that a
//! text may be read through a window. Must not know about lines or JSON objects.

use ccpeer_core::manifest::PathFlavour;
use memchr::memmem;

use super::boundary::{
    After, after, begins, follows_file_scheme, follows_separator, follows_verbatim,
};
use super::pattern::{Anchor, Elem, Form, Pattern, Target, anchors};
use super::reading::{read_back, read_elems};
use super::spelling::{Slash, Spelling, byte_before, run_before, slash_at, slash_before};
use super::tail;
use super::writing::{Written, write_path};

/// How far from a position its decision may look: a path of the greatest
/// length, each separator behind many back-slashes, and the rest of its path.
pub(super) const REACH: usize = 128 * 1024;

/// Something found: the bytes from `start` to `end` are to be replaced by what
/// was written to the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) start: usize,
    pub(super) end: usize,
    /// How many places were replaced; 0 if the match is to stay as it is.
    pub(super) replacements: u64,
}

/// Finds the places of one machine in a text.
#[derive(Debug)]
pub(super) struct Matcher {
    from: PathFlavour,
    to: PathFlavour,
    patterns: Vec<Pattern>,
    anchors: Vec<(Anchor, memmem::Finder<'static>)>,
    /// The way back. Where separators change their kind, a match is replaced
    /// only if this would undo it.
    inverse: Option<Box<Matcher>>,
}

/// What a decision needs to know about the text beside its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    /// Level of JSON in which the position lies.
    pub(super) level: u32,
    /// Whether the text is JSON, where a bare back-slash is never itself.
    pub(super) json: bool,
}

impl Matcher {
    pub(super) fn new(from: PathFlavour, to: PathFlavour, patterns: Vec<Pattern>) -> Self {
        let anchors = anchors(&patterns)
            .into_iter()
            .map(|a| {
                let finder = memmem::Finder::new(&a.needle).into_owned();
                (a, finder)
            })
            .collect();
        Self {
            from,
            to,
            patterns,
            anchors,
            inverse: None,
        }
    }

    pub(super) fn with_inverse(mut self, inverse: Matcher) -> Self {
        self.inverse = Some(Box::new(inverse));
        self
    }

    /// Whether there is nothing to be found.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a decision depends on [`Context::level`].
    pub(super) fn needs_level(&self) -> bool {
        self.from == PathFlavour::Unix && self.to == PathFlavour::Windows
    }

    /// The next place at or after `at` whose anchor lies before `until`; what
    /// takes its place is in `out`. `context` is asked for each candidate; its
    /// error is the position to go on from, because nothing before it may be
    /// touched.
    pub(super) fn find(
        &self,
        t: &[u8],
        hits: &mut Hits,
        search: Search,
        out: &mut Vec<u8>,
        mut context: impl FnMut(usize) -> Result<Context, usize>,
    ) -> Option<Match> {
        out.clear();
        hits.advance(search.at);
        'hits: loop {
            let (hit, which) = hits.first(self, t).filter(|(hit, _)| *hit < search.until)?;
            let (anchor, _) = self.anchors.get(which)?;
            for (pattern, elem) in &anchor.uses {
                let pattern = self.patterns.get(*pattern)?;
                let Some(start) = read_back(t, hit, pattern, *elem).filter(|s| *s >= search.at)
                else {
                    continue;
                };
                match context(start) {
                    Err(resume) => {
                        hits.advance(resume.max(hit + 1));
                        continue 'hits;
                    }
                    Ok(context) => {
                        if let Some(m) = self
                            .match_at(t, start, context, out)
                            .filter(|m| m.start >= search.at)
                        {
                            return Some(m);
                        }
                        out.clear();
                    }
                }
            }
            hits.skip(which, hit + 1);
        }
    }

    /// The longest place that begins exactly at `start`; what takes its place
    /// is appended to `out`.
    fn match_at(
        &self,
        t: &[u8],
        start: usize,
        context: Context,
        out: &mut Vec<u8>,
    ) -> Option<Match> {
        self.patterns
            .iter()
            .find_map(|p| self.read(t, start, p, context, out))
    }

    fn read(
        &self,
        t: &[u8],
        start: usize,
        pattern: &Pattern,
        context: Context,
        out: &mut Vec<u8>,
    ) -> Option<Match> {
        let (end, spelling) = read_elems(t, start, pattern, context.json)?;
        let begin = self.beginning(t, start, pattern)?;
        let separating = self.separating(pattern.form, &spelling, context);
        let goes_on = after(t, end, separating) == After::Name;
        if goes_on != (pattern.form == Form::SlugHead) {
            return None;
        }
        let m = Match {
            start: begin,
            end,
            replacements: 1,
        };
        let to = match &pattern.target {
            Target::Keep => return self.keep(t, m, out),
            Target::Slug(slug) => {
                out.extend_from_slice(slug.as_bytes());
                return Some(m);
            }
            Target::Path(to) => to,
        };
        let file = follows_file_scheme(t, begin)
            || slash_before(t, begin).is_some_and(|slash| follows_file_scheme(t, slash));
        if let Some(to) = &pattern.usual_target
            && self.from == self.to
            && !file
            && t.get(start..end) == pattern.usual.as_deref()
        {
            out.extend_from_slice(to);
            return Some(m);
        }
        let written = Written {
            spelling,
            file,
            level: context.level,
        };
        let back = write_path(to, pattern.form, written, out);
        let mut whole = m;
        if self.from != self.to {
            let opener = byte_before(t, begin)
                .filter(|c| b"\"'`".contains(c))
                .map(|c| (c, run_before(t, begin - 1)));
            tail::convert(
                self,
                t,
                tail::Convert {
                    separating,
                    back,
                    opener,
                },
                &mut whole,
                out,
            );
        }
        if self.is_undone(t, whole, pattern.is_alias.then_some(end), context, out) {
            return Some(whole);
        }
        out.clear();
        self.keep(t, m, out)
    }

    fn keep(&self, t: &[u8], m: Match, out: &mut Vec<u8>) -> Option<Match> {
        out.extend_from_slice(t.get(m.start..m.end)?);
        Some(Match {
            replacements: 0,
            ..m
        })
    }

    /// How many back-slashes separate behind this match, if any do.
    fn separating(&self, form: Form, spelling: &Spelling, context: Context) -> Option<usize> {
        let least = if context.json { 2 } else { 1 };
        match (form, spelling.slash) {
            (Form::Drive, Some(Slash::Back(_) | Slash::Plain)) => {
                Some(spelling.run).filter(|r| *r > 0).or(Some(least))
            }
            // Text of both systems may hold it; the way back must see the same.
            (Form::Slug | Form::SlugHead, _) => Some(least),
            _ => None,
        }
    }

    /// Where the match begins, if a path or a name may begin there.
    fn beginning(&self, t: &[u8], start: usize, pattern: &Pattern) -> Option<usize> {
        match pattern.form {
            Form::Slug | Form::SlugHead => follows_separator(t, start).then_some(start),
            Form::Unix | Form::Msys | Form::Wsl => begins(t, start).then_some(start),
            // `/C:/Users/ann`, as URLs have it: on Unix the slash goes with it.
            Form::Drive => match slash_before(t, start) {
                Some(_) if follows_file_scheme(t, start) => Some(start),
                Some(slash) if begins(t, slash) => Some(if self.to == PathFlavour::Unix {
                    slash
                } else {
                    start
                }),
                Some(_) => None,
                None if begins(t, start) => Some(start),
                None => follows_verbatim(t, start).map(|prefix| match self.to {
                    PathFlavour::Unix => prefix,
                    PathFlavour::Windows => start,
                }),
            },
        }
    }

    /// Whether the way back finds exactly this replacement and makes of it what
    /// stood there; of an alias, whose place ends at `alias`, what stood behind
    /// it. Asked only where separators change their kind.
    fn is_undone(
        &self,
        t: &[u8],
        m: Match,
        alias: Option<usize>,
        context: Context,
        replacement: &[u8],
    ) -> bool {
        const BEFORE: usize = 64;
        let Some(inverse) = &self.inverse else {
            return true;
        };
        let before = t
            .get(m.start.saturating_sub(BEFORE)..m.start)
            .unwrap_or_default();
        let rest = t.get(m.end..).unwrap_or_default();
        let rest = rest.get(..tail::reach(rest)).unwrap_or(rest);
        let text = [before, replacement, rest].concat();
        // The slash of a URL before the drive is not what the pattern begins with.
        let start = before.len() + slash_at(replacement, 0).map_or(0, |(_, end)| end);
        let mut out = Vec::new();
        let found = inverse.match_at(&text, start, context, &mut out);
        let exact = found
            .is_some_and(|f| f.start == before.len() && f.end == before.len() + replacement.len());
        let wanted = t.get(alias.unwrap_or(m.start)..m.end).unwrap_or_default();
        exact
            && match alias {
                None => out == wanted,
                Some(_) => out.ends_with(wanted),
            }
    }

    /// The slug and what takes its place, if it stands at `at`.
    pub(super) fn slug_at(&self, t: &[u8], at: usize) -> Option<(usize, &str)> {
        let found = self.patterns.iter().find(|p| {
            let end = at + p.elems.len();
            let here = t.get(at..end).unwrap_or_default();
            let same = here.len() == p.elems.len()
                && here
                    .iter()
                    .zip(&p.elems)
                    .all(|(b, e)| *e == Elem::Char(char::from(*b)));
            let goes_on = same && after(t, end, Some(1)) == After::Name;
            same && match p.form {
                Form::Slug => !goes_on,
                Form::SlugHead => goes_on,
                _ => false,
            }
        })?;
        match &found.target {
            Target::Slug(slug) => Some((found.elems.len(), slug.as_str())),
            Target::Path(_) | Target::Keep => None,
        }
    }
}

/// Which part of a text is searched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search {
    /// Nothing before this is touched.
    pub(super) at: usize,
    /// Anchors from here on are left for later.
    pub(super) until: usize,
}

/// Where the next occurrence of each anchor is, so that a text is searched once.
#[derive(Debug)]
pub(super) struct Hits {
    next: Vec<Next>,
}

#[derive(Debug, Clone, Copy)]
enum Next {
    /// Not searched from here on.
    From(usize),
    At(usize),
    None,
}

impl Hits {
    /// Searches from here on.
    pub(super) fn new(matcher: &Matcher, from: usize) -> Self {
        Self {
            next: vec![Next::From(from); matcher.anchors.len()],
        }
    }

    /// The first occurrence of any anchor, and of which.
    fn first(&mut self, matcher: &Matcher, t: &[u8]) -> Option<(usize, usize)> {
        let mut first = None;
        for (which, ((_, finder), next)) in matcher.anchors.iter().zip(&mut self.next).enumerate() {
            if let Next::From(at) = *next {
                let found = t.get(at..).and_then(|tail| finder.find(tail));
                *next = found.map_or(Next::None, |i| Next::At(at + i));
            }
            if let Next::At(hit) = *next
                && first.is_none_or(|(at, _)| hit < at)
            {
                first = Some((hit, which));
            }
        }
        first
    }

    /// Leaves everything before `to` behind.
    fn advance(&mut self, to: usize) {
        for next in &mut self.next {
            match *next {
                Next::From(at) | Next::At(at) if at < to => *next = Next::From(to),
                _ => {}
            }
        }
    }

    fn skip(&mut self, which: usize, resume: usize) {
        if let Some(next) = self.next.get_mut(which) {
            *next = Next::From(resume);
        }
    }
}
