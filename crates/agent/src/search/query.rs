//! From what somebody typed to the sessions that are meant: words, phrases in
//! quotes, an unfinished last word; all of them somewhere in a session, best first
//! where many stand together.
//!
//! Must not know what sessions are called, nor what their content is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::ColumnValues;
use tantivy::query::{BooleanQuery, EmptyQuery, PhrasePrefixQuery, PhraseQuery, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocAddress, DocId, Score, Searcher, SegmentOrdinal, SegmentReader, Term};

use super::index::{Fields, IndexError, Role, column, path_parts};
use super::words::{self, For};

/// Words of a question that count.
const WORDS_MAX: usize = 32;
/// Bytes of a question that are looked at.
const QUESTION_BYTES_MAX: usize = 16 * 1024;
/// Words that an unfinished one may stand for, the most frequent ones.
const ENDINGS_MAX: usize = 64;
/// Words that are looked at for that, in each part of the index.
const ENDINGS_SEEN_MAX: usize = 20_000;
/// Characters from which on a last word may be unfinished.
const UNFINISHED_CHARS_MIN: usize = 2;

/// One thing that must be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unit {
    /// This word.
    Word(String),
    /// A word that begins so.
    Begins(String),
    /// These words at these distances; the last one may be unfinished.
    Row(Vec<(usize, String)>, bool),
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Question {
    /// All of these.
    pub(crate) units: Vec<Unit>,
    /// There were more words than count.
    pub(crate) cut: bool,
}

impl Question {
    /// Reads what was typed. Nothing in it is an operator but quotes.
    pub(crate) fn parse(text: &str) -> Self {
        let end = text.floor_char_boundary(QUESTION_BYTES_MAX);
        let mut question = Self {
            cut: end < text.len(),
            ..Self::default()
        };
        let text = text.get(..end).unwrap_or_default();
        let open_end = text.ends_with(|c: char| c.is_alphanumeric());
        let pieces: Vec<&str> = text.split(['"', '“', '”']).collect();
        for (piece, n) in pieces.iter().zip(0usize..) {
            // Every second piece stands in quotes; the last quote may be missing.
            if n % 2 == 1 {
                question.add(piece, false);
                continue;
            }
            let mut words = piece.split_whitespace().peekable();
            while let Some(word) = words.next() {
                let is_last = words.peek().is_none() && n + 1 == pieces.len();
                question.add(word, is_last && open_end);
            }
        }
        question
    }

    fn add(&mut self, text: &str, unfinished: bool) {
        let mut row: Vec<(usize, String)> = Vec::new();
        words::each(text, For::Question, &mut |word, _, position| {
            if row.len() < WORDS_MAX {
                row.push((position, word.to_owned()));
            }
        });
        let unit = match row.as_slice() {
            [] => return,
            [(_, word)] if is_one_unspaced(word) => Unit::Begins(word.clone()),
            [(_, word)] if unfinished && word.chars().count() >= UNFINISHED_CHARS_MIN => {
                Unit::Begins(word.clone())
            }
            [(_, word)] => Unit::Word(word.clone()),
            // Pairs of characters are whole; what follows them is theirs.
            [.., (_, last)] => {
                let unfinished = unfinished && last.is_ascii();
                Unit::Row(row, unfinished)
            }
        };
        if self.units.len() >= WORDS_MAX {
            self.cut = true;
        } else if !self.units.contains(&unit) {
            self.units.push(unit);
        }
    }

    /// Whether a word of a text is one of those that were asked for, and which.
    pub(crate) fn names(&self, word: &str) -> Option<usize> {
        self.units.iter().position(|unit| match unit {
            Unit::Word(w) => w == word,
            Unit::Begins(w) => word.starts_with(w.as_str()),
            Unit::Row(row, unfinished) => row.iter().zip(1..).any(|((_, w), n)| {
                w == word || (*unfinished && n == row.len() && word.starts_with(w.as_str()))
            }),
        })
    }
}

/// A single character of a script without spaces: it begins some pair wherever it
/// stands.
fn is_one_unspaced(word: &str) -> bool {
    let mut chars = word.chars();
    matches!((chars.next(), chars.next()), (Some(c), None) if !c.is_ascii() && u32::from(c) >= 0x3041)
}

/// What may be found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Among {
    /// Only these sessions, by their numbers.
    pub(super) sessions: Option<BTreeSet<u64>>,
    /// Not before and not after, in seconds since 1970.
    pub(super) since: Option<u64>,
    pub(super) until: Option<u64>,
    /// Only sessions that touched a file which ends so.
    pub(super) file: Option<String>,
}

/// The best place of a session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    pub(super) session: u64,
    pub(super) score: Score,
    pub(super) role: Role,
    pub(super) line: u64,
    pub(super) offset: u64,
    pub(super) part: Option<u64>,
    pub(super) time: u64,
}

/// The sessions in which all of it is found, best first, at most so many.
pub(super) fn find(
    searcher: &Searcher,
    fields: Fields,
    question: &Question,
    among: &Among,
    limit: usize,
) -> Result<Vec<Found>, IndexError> {
    let mut units: Vec<Box<dyn Query>> = Vec::new();
    for unit in &question.units {
        units.push(query(searcher, fields.body, unit)?);
    }
    let mut allowed = among.sessions.clone();
    let file = among
        .file
        .as_deref()
        .map(|path| file_query(fields.path, path));
    if let Some(file) = file {
        if units.is_empty() {
            units.push(file);
        } else {
            let touched = searcher.search(&*file, &Sessions(Times::default()))?;
            allowed = Some(both(allowed, touched));
        }
    }
    if units.len() > 1 {
        for unit in &units {
            let with = searcher.search(&**unit, &Sessions(Times::of(among)))?;
            let left = both(allowed, with);
            if left.is_empty() {
                return Ok(Vec::new());
            }
            allowed = Some(left);
        }
    }
    let any = BooleanQuery::union(units);
    let best = searcher.search(
        &any,
        &Best {
            allowed: allowed.map(Arc::new),
            times: Times::of(among),
        },
    )?;
    let mut ranked: Vec<(u64, Seen)> = best.into_iter().collect();
    ranked.sort_by(|(a_session, a), (b_session, b)| {
        b.best.total_cmp(&a.best).then(b_session.cmp(a_session))
    });
    ranked.truncate(limit);
    let found = ranked.into_iter().map(|(session, seen)| {
        let at = seen.at;
        let segment = searcher.segment_reader(at.segment_ord);
        let get = |name: &str| -> Result<Option<u64>, IndexError> {
            let column = segment.fast_fields().column_opt::<u64>(name)?;
            Ok(column.and_then(|c| c.first(at.doc_id)))
        };
        Ok(Found {
            session,
            score: seen.best,
            role: Role::of(get(column::BY)?.unwrap_or_default()),
            line: get(column::LINE)?.unwrap_or_default(),
            offset: get(column::OFFSET)?.unwrap_or_default(),
            part: get(column::PART)?,
            time: get(column::TIME)?.unwrap_or_default(),
        })
    });
    found.collect()
}

fn both(a: Option<BTreeSet<u64>>, b: BTreeSet<u64>) -> BTreeSet<u64> {
    match a {
        Some(a) => &a & &b,
        None => b,
    }
}

fn query(searcher: &Searcher, body: Field, unit: &Unit) -> Result<Box<dyn Query>, IndexError> {
    let term = |word: &str| Term::from_field_text(body, word);
    Ok(match unit {
        Unit::Word(word) => Box::new(TermQuery::new(term(word), IndexRecordOption::WithFreqs)),
        Unit::Begins(word) => {
            let words = endings(searcher, body, word)?;
            let each = words.iter().map(|w| -> Box<dyn Query> {
                Box::new(TermQuery::new(term(w), IndexRecordOption::WithFreqs))
            });
            let each: Vec<_> = each.collect();
            if each.is_empty() {
                Box::new(EmptyQuery)
            } else {
                Box::new(BooleanQuery::union(each))
            }
        }
        Unit::Row(row, unfinished) => {
            let terms = row.iter().map(|(at, word)| (*at, term(word))).collect();
            if *unfinished {
                Box::new(PhrasePrefixQuery::new_with_offset(terms))
            } else {
                Box::new(PhraseQuery::new_with_offset(terms))
            }
        }
    })
}

/// The most frequent words that begin so.
fn endings(searcher: &Searcher, body: Field, begin: &str) -> Result<Vec<String>, IndexError> {
    let mut seen: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for segment in searcher.segment_readers() {
        let index = segment.inverted_index(body)?;
        let mut terms = index.terms().range().ge(begin.as_bytes()).into_stream()?;
        let mut looked_at = 0;
        while looked_at < ENDINGS_SEEN_MAX
            && let Some((word, info)) = terms.next()
            && word.starts_with(begin.as_bytes())
        {
            looked_at += 1;
            *seen.entry(word.to_vec()).or_default() += u64::from(info.doc_freq);
        }
    }
    let mut all: Vec<(Vec<u8>, u64)> = seen.into_iter().collect();
    all.sort_by_key(|(word, frequency)| {
        // The word itself, if it is finished after all.
        (word != begin.as_bytes(), std::cmp::Reverse(*frequency))
    });
    all.truncate(ENDINGS_MAX);
    let words = all
        .into_iter()
        .filter_map(|(word, _)| String::from_utf8(word).ok());
    Ok(words.collect())
}

/// A file whose path ends so.
fn file_query(path: Field, wanted: &str) -> Box<dyn Query> {
    let parts = path_parts(wanted).take(WORDS_MAX);
    let terms: Vec<Term> = parts.map(|p| Term::from_field_text(path, &p)).collect();
    match terms.as_slice() {
        [] => Box::new(EmptyQuery),
        [one] => Box::new(TermQuery::new(one.clone(), IndexRecordOption::Basic)),
        _ => Box::new(PhraseQuery::new(terms)),
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Times {
    since: Option<u64>,
    until: Option<u64>,
}

impl Times {
    fn of(among: &Among) -> Self {
        Self {
            since: among.since,
            until: among.until,
        }
    }

    fn bounded(self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    fn holds(self, seconds: u64) -> bool {
        self.since.is_none_or(|s| seconds >= s) && self.until.is_none_or(|u| seconds <= u)
    }
}

/// A column of a part of the index; where none has a value, all are 0.
fn values(segment: &SegmentReader, name: &str) -> tantivy::Result<Arc<dyn ColumnValues<u64>>> {
    segment.fast_fields().column_first_or_default::<u64>(name)
}

/// Collects in which sessions something is.
struct Sessions(Times);

struct SessionsHere {
    times: Times,
    session: Arc<dyn ColumnValues<u64>>,
    time: Arc<dyn ColumnValues<u64>>,
    last: Option<u64>,
    found: BTreeSet<u64>,
}

impl Collector for Sessions {
    type Fruit = BTreeSet<u64>;
    type Child = SessionsHere;

    fn for_segment(
        &self,
        _: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> tantivy::Result<SessionsHere> {
        Ok(SessionsHere {
            times: self.0,
            session: values(segment, column::SESSION)?,
            time: values(segment, column::TIME)?,
            last: None,
            found: BTreeSet::new(),
        })
    }

    fn requires_scoring(&self) -> bool {
        false
    }

    fn merge_fruits(&self, fruits: Vec<BTreeSet<u64>>) -> tantivy::Result<BTreeSet<u64>> {
        Ok(fruits.into_iter().flatten().collect())
    }
}

impl SegmentCollector for SessionsHere {
    type Fruit = BTreeSet<u64>;

    fn collect(&mut self, doc: DocId, _: Score) {
        let session = self.session.get_val(doc);
        // The lines of a session stand together.
        if self.last == Some(session)
            || (self.times.bounded() && !self.times.holds(self.time.get_val(doc)))
        {
            return;
        }
        self.last = Some(session);
        self.found.insert(session);
    }

    fn harvest(self) -> BTreeSet<u64> {
        self.found
    }
}

/// Collects the best place in each session.
struct Best {
    allowed: Option<Arc<BTreeSet<u64>>>,
    times: Times,
}

struct BestHere {
    ordinal: SegmentOrdinal,
    allowed: Option<Arc<BTreeSet<u64>>>,
    times: Times,
    session: Arc<dyn ColumnValues<u64>>,
    time: Arc<dyn ColumnValues<u64>>,
    by: Arc<dyn ColumnValues<u64>>,
    /// The session that was looked up last, and whether it may be found.
    last: Option<(u64, bool)>,
    found: HashMap<u64, Seen>,
}

impl Collector for Best {
    type Fruit = HashMap<u64, Seen>;
    type Child = BestHere;

    fn for_segment(
        &self,
        ordinal: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> tantivy::Result<BestHere> {
        Ok(BestHere {
            ordinal,
            allowed: self.allowed.clone(),
            times: self.times,
            session: values(segment, column::SESSION)?,
            time: values(segment, column::TIME)?,
            by: values(segment, column::BY)?,
            last: None,
            found: HashMap::new(),
        })
    }

    fn requires_scoring(&self) -> bool {
        true
    }

    fn merge_fruits(&self, fruits: Vec<HashMap<u64, Seen>>) -> tantivy::Result<HashMap<u64, Seen>> {
        let mut all = HashMap::new();
        for (session, place) in fruits.into_iter().flatten() {
            place.add_to(&mut all, session);
        }
        Ok(all)
    }
}

impl SegmentCollector for BestHere {
    type Fruit = HashMap<u64, Seen>;

    fn collect(&mut self, doc: DocId, score: Score) {
        let session = self.session.get_val(doc);
        let may = match self.last {
            Some((last, may)) if last == session => may,
            _ => {
                let may = self.allowed.as_ref().is_none_or(|a| a.contains(&session));
                self.last = Some((session, may));
                may
            }
        };
        if !may || (self.times.bounded() && !self.times.holds(self.time.get_val(doc))) {
            return;
        }
        let role = Role::of(self.by.get_val(doc));
        let score = score * weight(role);
        let seen = Seen {
            best: score,
            score,
            at: DocAddress::new(self.ordinal, doc),
            is_title: role == Role::Title,
        };
        seen.add_to(&mut self.found, session);
    }

    fn harvest(self) -> Self::Fruit {
        self.found
    }
}

/// What was seen of a session.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// The most that anything in it scores.
    best: Score,
    /// What the place scores that is shown.
    score: Score,
    at: DocAddress,
    is_title: bool,
}

impl Seen {
    /// A title tells that it is the session that is meant; what is shown is where it
    /// stands in it.
    fn add_to(self, all: &mut HashMap<u64, Self>, session: u64) {
        let Some(known) = all.get_mut(&session) else {
            all.insert(session, self);
            return;
        };
        let best = known.best.max(self.best);
        let better = match (self.is_title, known.is_title) {
            (false, true) => true,
            (true, false) => false,
            _ => self.score > known.score,
        };
        if better {
            *known = self;
        }
        known.best = best;
    }
}

/// What somebody said is rather what is looked for than what a tool printed.
fn weight(role: Role) -> Score {
    match role {
        Role::Title => 1.5,
        Role::User => 1.2,
        Role::Claude => 1.0,
        Role::Tool => 0.9,
        Role::Output => 0.6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_rows_and_an_unfinished_end() {
        let word = |w: &str| Unit::Word(w.to_owned());
        let begins = |w: &str| Unit::Begins(w.to_owned());
        let row = |words: &[&str], unfinished| {
            let all = words.iter().enumerate();
            Unit::Row(all.map(|(n, w)| (n, (*w).to_owned())).collect(), unfinished)
        };
        let check = |text: &str, want: &[Unit]| {
            assert_eq!(Question::parse(text).units, want, "{text}");
        };
        check("Fix parser", &[word("fix"), begins("parser")]);
        check("fix parser ", &[word("fix"), word("parser")]);
        check("x", &[word("x")]);
        check(
            "\"fix the\" bug",
            &[row(&["fix", "the"], false), begins("bug")],
        );
        check("bug \"fix the", &[word("bug"), row(&["fix", "the"], false)]);
        check(
            "“fix the” bug!",
            &[row(&["fix", "the"], false), word("bug")],
        );
        check("parse_ht", &[row(&["parse", "ht"], true)]);
        check("修复 x", &[word("修复"), word("x")]);
        check("修", &[begins("修")]);
        check("修复解析", &[row(&["修复", "复解", "解析"], false)]);
        check("a a A", &[word("a")]);
        for nothing in ["", "  ", "\"\"", "+-*()", "\"", "\u{0}\u{1b}"] {
            check(nothing, &[]);
        }
    }

    #[test]
    fn rubbish_is_read_within_bounds() {
        let long = "word".to_owned() + &" and another one".repeat(700);
        let many: String = (0..5000).map(|n| format!("w{n} ")).collect();
        for text in [
            &long,
            &many,
            &"\"".repeat(10_000),
            &"x".repeat(50_000),
            &"修".repeat(9000),
        ] {
            let question = Question::parse(text);
            assert!(question.units.len() <= WORDS_MAX);
        }
        assert!(Question::parse(&many).cut);
        assert!(!Question::parse("few words").cut);
    }

    #[test]
    fn a_word_of_a_text_is_known_again() {
        let question = Question::parse("fix parse_ht");
        assert_eq!(question.names("fix"), Some(0));
        assert_eq!(question.names("parse"), Some(1));
        assert_eq!(question.names("http"), Some(1));
        assert_eq!(question.names("other"), None);
    }
}
