//! The index itself: its fields, its sessions, and what is written into it. It is a
//! cache; whoever finds it absent, damaged or of another version makes it anew.
//!
//! Must not know where content comes from, nor what is asked.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ccpeer_core::codec;
use ccpeer_core::id::{ChunkId, SessionId};
use ccpeer_core::manifest::Slot;
use serde::{Deserialize, Serialize};
use tantivy::directory::error::{OpenReadError, OpenWriteError};
use tantivy::indexer::IndexWriterOptions;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions, Value,
};
use tantivy::store::Compressor;
use tantivy::tokenizer::{Token, TokenStream, Tokenizer, TokenizerManager};
use tantivy::{
    DocAddress, DocSet, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, Searcher,
    TERMINATED, TantivyDocument, TantivyError, Term,
};

use super::files::Files;
use super::words::{self, For};

/// How words are made; another name when that changes, for it is a part of what
/// tells versions of the index apart.
const WORDS: &str = "ccpeer-words-1";
/// How the parts of paths are made.
const PATHS: &str = "ccpeer-paths-1";
/// What the writer keeps in memory before it writes a part of the index.
const WRITER_BYTES: usize = 15_000_000;
/// Blocks of stored documents that are kept unpacked.
const STORED_BLOCKS: usize = 2;
/// What is remembered of one session.
const KNOWN_BYTES_MAX: usize = 1024 * 1024;

/// Names of the columns, which are looked up by name.
pub(super) mod column {
    /// The number of the session in this index.
    pub(in crate::search) const SESSION: &str = "session";
    /// Line in its file, from 1.
    pub(in crate::search) const LINE: &str = "line";
    /// Where it begins in its file.
    pub(in crate::search) const OFFSET: &str = "offset";
    /// Seconds since 1970.
    pub(in crate::search) const TIME: &str = "time";
    /// Who says it.
    pub(in crate::search) const BY: &str = "by";
    /// Which file of the session; none for the main transcript.
    pub(in crate::search) const PART: &str = "part";
    /// The two halves of a session's id.
    pub(in crate::search) const HIGH: &str = "high";
    pub(in crate::search) const LOW: &str = "low";
}

/// The fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub(super) body: Field,
    pub(super) path: Field,
    pub(super) session: Field,
    line: Field,
    offset: Field,
    time: Field,
    by: Field,
    part: Field,
    /// The number of the session again, in the one document that is about it.
    state: Field,
    high: Field,
    low: Field,
    known: Field,
}

fn schema() -> (Schema, Fields) {
    let text = |tokenizer: &str, norms: bool| {
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(tokenizer)
            .set_fieldnorms(norms)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        TextOptions::default().set_indexing_options(indexing)
    };
    let mut b = Schema::builder();
    let fields = Fields {
        body: b.add_text_field("body", text(WORDS, true)),
        path: b.add_text_field("path", text(PATHS, false)),
        session: b.add_u64_field(column::SESSION, INDEXED | FAST),
        line: b.add_u64_field(column::LINE, FAST),
        offset: b.add_u64_field(column::OFFSET, FAST),
        time: b.add_u64_field(column::TIME, FAST),
        by: b.add_u64_field(column::BY, FAST),
        part: b.add_u64_field(column::PART, FAST),
        state: b.add_u64_field("state", INDEXED),
        high: b.add_u64_field(column::HIGH, FAST),
        low: b.add_u64_field(column::LOW, FAST),
        known: b.add_bytes_field("known", STORED),
    };
    (b.build(), fields)
}

/// Who says what a document holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Title,
    User,
    Claude,
    Tool,
    Output,
}

impl Role {
    const ALL: [Self; 5] = [
        Self::Title,
        Self::User,
        Self::Claude,
        Self::Tool,
        Self::Output,
    ];

    fn number(self) -> u64 {
        Self::ALL
            .iter()
            .zip(0..)
            .find(|(r, _)| **r == self)
            .map_or(0, |(_, n)| n)
    }

    pub(super) fn of(number: u64) -> Self {
        let place = usize::try_from(number).ok();
        place
            .and_then(|n| Self::ALL.get(n))
            .copied()
            .unwrap_or(Self::Title)
    }
}

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    /// There is none.
    #[error("there is no index")]
    Absent,
    /// It is damaged, or of another version.
    #[error("the index cannot be used: {0}")]
    Damaged(&'static str),
    /// The disk, or something else that may be over soon.
    #[error("the index cannot be reached: {0}")]
    Io(io::ErrorKind),
    /// What is to be indexed cannot be read.
    #[error(transparent)]
    Store(#[from] ccpeer_store::StoreError),
    /// The agent ends.
    #[error("the agent ends")]
    Ending,
}

impl From<TantivyError> for IndexError {
    fn from(e: TantivyError) -> Self {
        match e {
            TantivyError::IoError(e) => Self::io(e.kind()),
            TantivyError::OpenReadError(OpenReadError::FileDoesNotExist(_)) => Self::Absent,
            TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. })
            | TantivyError::OpenWriteError(OpenWriteError::IoError { io_error, .. }) => {
                Self::io(io_error.kind())
            }
            TantivyError::LockFailure(..) => Self::Io(io::ErrorKind::WouldBlock),
            // A thread of the library says no more than that.
            TantivyError::ErrorInThread(_) => Self::Io(io::ErrorKind::Other),
            TantivyError::DataCorruption(_) => Self::Damaged("it is damaged"),
            TantivyError::IncompatibleIndex(_)
            | TantivyError::OpenReadError(OpenReadError::IncompatibleIndex(_)) => {
                Self::Damaged("it is of another version")
            }
            other => {
                tracing::debug!(error = %other, "of the search index");
                Self::Damaged("it cannot be read")
            }
        }
    }
}

impl From<io::Error> for IndexError {
    fn from(e: io::Error) -> Self {
        Self::io(e.kind())
    }
}

impl IndexError {
    fn io(kind: io::ErrorKind) -> Self {
        match kind {
            // A file is shorter than what it says, or says what none says.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                Self::Damaged("a file of it is cut short")
            }
            kind => Self::Io(kind),
        }
    }
}

/// An index on the disk.
pub(super) struct Index {
    inner: tantivy::Index,
    pub(super) fields: Fields,
}

impl Index {
    /// Opens the one that lies here.
    pub(super) fn open(dir: &Path) -> Result<Self, IndexError> {
        let mut inner = tantivy::Index::open(Files::at(dir))?;
        let (schema, fields) = schema();
        if inner.schema() != schema {
            return Err(IndexError::Damaged("it is of another version"));
        }
        inner.set_tokenizers(tokenizers());
        Ok(Self { inner, fields })
    }

    /// Makes an empty one, in the place of whatever lies here.
    pub(super) fn create(dir: &Path) -> Result<Self, IndexError> {
        if let Err(e) = std::fs::remove_dir_all(dir)
            && e.kind() != io::ErrorKind::NotFound
        {
            return Err(e.into());
        }
        crate::start::private_dir(dir)?;
        let settings = IndexSettings {
            // Little is stored, and not worth a thread.
            docstore_compression: Compressor::None,
            docstore_compress_dedicated_thread: false,
            ..IndexSettings::default()
        };
        let (schema, fields) = schema();
        let mut inner = tantivy::Index::create(Files::at(dir), schema, settings)?;
        inner.set_tokenizers(tokenizers());
        Ok(Self { inner, fields })
    }

    /// Reads all of it and compares it with its checksums.
    pub(super) fn check(&self) -> Result<(), IndexError> {
        if self.inner.validate_checksum()?.is_empty() {
            return Ok(());
        }
        Err(IndexError::Damaged("its checksum is another one"))
    }

    /// It as it stands now.
    pub(super) fn searcher(&self) -> Result<Searcher, IndexError> {
        let reader: IndexReader = self
            .inner
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .doc_store_cache_num_blocks(STORED_BLOCKS)
            .try_into()?;
        Ok(reader.searcher())
    }

    /// Whoever writes into it; one at a time.
    pub(super) fn writer(&self) -> Result<Writer, IndexError> {
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(WRITER_BYTES)
            .build();
        Ok(Writer {
            inner: self.inner.writer_with_options(options)?,
            fields: self.fields,
            changed: false,
        })
    }
}

/// What is remembered of a session that is indexed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) session: SessionId,
    /// What its title and project were, hashed.
    pub(super) title: [u8; 8],
    pub(super) lines: Vec<KnownLine>,
}

/// A line of a session, as far as it is indexed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownLine {
    pub(super) manifest: ChunkId,
    /// All of this version is.
    pub(super) whole: bool,
    pub(super) parts: Vec<KnownPart>,
}

/// A file of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownPart {
    pub(super) slot: Slot,
    /// Where the last line ends that is indexed.
    pub(super) upto: u64,
    /// Lines up to there.
    pub(super) lines: u64,
}

/// The number of a file of a session; nothing for the main transcript.
pub(super) fn part_number(slot: &Slot) -> Option<u64> {
    match slot {
        Slot::Main => None,
        other => {
            let hash = blake3::hash(&codec::encode(other));
            let four = hash.as_bytes().first_chunk::<4>().copied();
            Some(u64::from(u32::from_le_bytes(four.unwrap_or_default())))
        }
    }
}

/// The sessions of an index, by id and by number.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    pub(super) by_id: BTreeMap<SessionId, (u64, DocAddress)>,
    pub(super) by_number: BTreeMap<u64, SessionId>,
}

impl Sessions {
    pub(super) fn of(searcher: &Searcher, fields: Fields) -> Result<Self, IndexError> {
        let mut out = Self::default();
        for (ord, segment) in (0u32..).zip(searcher.segment_readers()) {
            let get = |name| segment.fast_fields().column_opt::<u64>(name);
            let columns = (get(column::HIGH)?, get(column::LOW)?, get(column::SESSION)?);
            // A part of the index in which nothing is about a whole session.
            let (Some(high), Some(low), Some(number)) = columns else {
                continue;
            };
            let states = segment.inverted_index(fields.state)?;
            let mut terms = states.terms().stream()?;
            while let Some((_, term)) = terms.next() {
                let mut docs =
                    states.read_postings_from_terminfo(term, IndexRecordOption::Basic)?;
                while docs.doc() != TERMINATED {
                    let doc = docs.doc();
                    docs.advance();
                    if segment.is_deleted(doc) {
                        continue;
                    }
                    let id = (high.first(doc), low.first(doc), number.first(doc));
                    if let (Some(high), Some(low), Some(number)) = id {
                        let id =
                            SessionId(((u128::from(high) << 64) | u128::from(low)).to_be_bytes());
                        out.by_id.insert(id, (number, DocAddress::new(ord, doc)));
                        out.by_number.insert(number, id);
                    }
                }
            }
        }
        Ok(out)
    }

    /// A number that no session has.
    pub(super) fn next_number(&self) -> u64 {
        self.by_number.keys().next_back().map_or(0, |n| n + 1)
    }
}

/// What is remembered of a session; nothing if it cannot be read.
pub(super) fn known(
    searcher: &Searcher,
    fields: Fields,
    at: DocAddress,
) -> Result<Option<Known>, IndexError> {
    let doc: TantivyDocument = searcher.doc(at)?;
    let bytes = doc.get_first(fields.known).and_then(|v| v.as_bytes());
    Ok(bytes.and_then(|b| codec::decode(b, KNOWN_BYTES_MAX).ok()))
}

/// A line of a file, to be indexed.
pub(super) struct Entry<'a> {
    pub(super) session: u64,
    pub(super) part: Option<u64>,
    pub(super) line: u64,
    pub(super) offset: u64,
    pub(super) seconds: u64,
    pub(super) role: Role,
    pub(super) text: &'a str,
    pub(super) files: &'a [String],
}

/// Changes to the index; nothing counts before they are kept.
pub(super) struct Writer {
    inner: IndexWriter,
    fields: Fields,
    changed: bool,
}

impl Writer {
    pub(super) fn add(&mut self, entry: &Entry<'_>) -> Result<(), IndexError> {
        let doc = self.document(entry);
        self.put(doc)
    }

    fn document(&self, entry: &Entry<'_>) -> TantivyDocument {
        let f = &self.fields;
        let mut doc = TantivyDocument::new();
        doc.add_u64(f.session, entry.session);
        doc.add_u64(f.line, entry.line);
        doc.add_u64(f.offset, entry.offset);
        doc.add_u64(f.time, entry.seconds);
        doc.add_u64(f.by, entry.role.number());
        if let Some(part) = entry.part {
            doc.add_u64(f.part, part);
        }
        doc.add_text(f.body, entry.text);
        for path in entry.files {
            doc.add_text(f.path, path);
        }
        doc
    }

    fn put(&mut self, doc: TantivyDocument) -> Result<(), IndexError> {
        self.changed = true;
        self.inner.add_document(doc)?;
        Ok(())
    }

    /// Remembers a session, in the place of what was remembered of it. `title` is
    /// found by its words.
    pub(super) fn remember(&mut self, title: &Entry<'_>, known: &Known) -> Result<(), IndexError> {
        let f = self.fields;
        let number = title.session;
        self.inner
            .delete_term(Term::from_field_u64(f.state, number));
        let mut doc = self.document(title);
        let id = u128::from_be_bytes(known.session.0);
        doc.add_u64(f.state, number);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of it")]
        for (field, half) in [(f.high, (id >> 64) as u64), (f.low, id as u64)] {
            doc.add_u64(field, half);
        }
        doc.add_bytes(f.known, &codec::encode(known));
        self.put(doc)
    }

    /// Takes out everything of a session.
    pub(super) fn forget(&mut self, number: u64) {
        self.changed = true;
        let all = Term::from_field_u64(self.fields.session, number);
        self.inner.delete_term(all);
    }

    /// Makes durable what was changed.
    pub(super) fn keep(&mut self) -> Result<(), IndexError> {
        if std::mem::take(&mut self.changed) {
            self.inner.commit()?;
        }
        Ok(())
    }

    /// Lets threads and memory go, when what they are at is done.
    pub(super) fn finish(self) -> Result<(), IndexError> {
        Ok(self.inner.wait_merging_threads()?)
    }
}

fn tokenizers() -> TokenizerManager {
    // Its own ones are looked up even for fields that have no words.
    let all = TokenizerManager::default();
    all.register(WORDS, Words);
    all.register(PATHS, Paths);
    all
}

/// Each part of a path, in lower case.
pub(super) fn path_parts(path: &str) -> impl Iterator<Item = String> {
    path.split(['/', '\\'])
        .filter(|part| !part.is_empty() && *part != ".")
        .map(str::to_lowercase)
}

#[derive(Debug, Clone, Copy)]
struct Words;

#[derive(Debug, Clone, Copy)]
struct Paths;

impl Tokenizer for Words {
    type TokenStream<'a> = Made;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Made {
        let mut made = Made::default();
        words::each(text, For::Index, &mut |word, _, position| {
            made.add(word, position);
        });
        made
    }
}

impl Tokenizer for Paths {
    type TokenStream<'a> = Made;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Made {
        let mut made = Made::default();
        for (part, position) in path_parts(text).zip(0..) {
            made.add(&part, position);
        }
        made
    }
}

/// Words of one text, one behind the other.
#[derive(Debug, Default)]
struct Made {
    text: String,
    /// Where each ends, and its position.
    ends: Vec<(usize, usize)>,
    next: usize,
    from: usize,
    token: Token,
}

impl Made {
    fn add(&mut self, word: &str, position: usize) {
        self.text.push_str(word);
        self.ends.push((self.text.len(), position));
    }
}

impl TokenStream for Made {
    fn advance(&mut self) -> bool {
        let Some((end, position)) = self.ends.get(self.next).copied() else {
            return false;
        };
        self.token.text.clear();
        self.token
            .text
            .push_str(self.text.get(self.from..end).unwrap_or_default());
        self.token.position = position;
        self.from = end;
        self.next += 1;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}
