//! Reading a bundle: once through to see what is in it and whether it is whole,
//! and once more for the content. Must not know where any of it will lie.

use std::io::Read;

use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::Slot;
use ccpeer_core::text;
use ccpeer_core::time::Timestamp;
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::base64::Decoder;
use super::scan::{Fault, NAME_BYTES_MAX, Scanner};
use super::{
    Bounds, CANONICAL_BYTES_MAX, FILES_MAX, File, Head, OURS, Part, Project, TEXT_BYTES_MAX,
    WARNINGS_MAX, Warning, canonical, names,
};
use crate::claude::json;
use crate::rfc3339;

/// The version of the format.
const VERSION: &str = "1";
/// Characters of the name of a device, and of a first prompt.
const LINE_CHARS_MAX: usize = 200;

/// Why a file is no bundle that can be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// More bytes than are taken.
    #[error("bundle of {0} bytes exceeds the limit")]
    TooLong(usize),
    /// It cannot be read.
    #[error("bundle cannot be read: {0}")]
    Fault(#[from] Fault),
    /// It is of another version, or says none.
    #[error("bundle is not of version 1")]
    Version,
    /// It names no session, or not by its UUID.
    #[error("bundle names no session")]
    Session,
    /// It holds another session than its name says.
    #[error("bundle holds another session than its name says")]
    OtherSession,
    /// It was damaged.
    #[error("the checksum of the bundle does not match")]
    Checksum,
    /// There is no line in it.
    #[error("bundle holds no transcript")]
    NoTranscript,
}

/// A bundle that is whole.
#[derive(Debug, Clone)]
pub struct Bundle<'p> {
    packed: &'p [u8],
    bounds: Bounds,
    head: Head,
    files: Vec<File>,
    /// Which element of which part each file is.
    places: Vec<(Part, usize)>,
}

impl<'p> Bundle<'p> {
    /// Looks at all of a file. `named` is the session that its name says, if it
    /// has one.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        packed: &'p [u8],
        named: Option<SessionId>,
        bounds: Bounds,
    ) -> Result<(Self, Vec<Warning>), OpenError> {
        if packed.len() > bounds.packed_bytes_max {
            return Err(OpenError::TooLong(packed.len()));
        }
        let mut look = Look::default();
        let fields = walk(packed, bounds, &mut look)?;
        if fields.version.as_deref() != Some(VERSION) {
            return Err(OpenError::Version);
        }
        let session: Option<SessionId> = fields.session.as_deref().and_then(|s| s.parse().ok());
        let session = session.ok_or(OpenError::Session)?;
        if named.is_some_and(|named| named != session) {
            return Err(OpenError::OtherSession);
        }
        let said = fields.checksum.as_deref().unwrap_or_default();
        // By all that claude-sync-sessions has written, the hash of the bytes is it.
        if said != fields.hash && canonical_hash(packed).as_deref() != Some(said) {
            return Err(OpenError::Checksum);
        }
        if look.lines == 0 {
            return Err(OpenError::NoTranscript);
        }
        let mut warnings = fields.warnings();
        let (files, places) = look.files(&session, &mut warnings);
        let more = warnings.len().saturating_sub(WARNINGS_MAX) + look.beyond;
        warnings.truncate(WARNINGS_MAX);
        if more > 0 {
            warnings.push(Warning::More(more));
        }
        let bundle = Self {
            packed,
            bounds,
            head: fields.head(session),
            files,
            places,
        };
        Ok((bundle, warnings))
    }

    /// What it says of itself.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What it holds, in the order in which [`Bundle::contents`] gives it, each
    /// slot once.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Gives the content of all files, one after the other, in pieces. Paths in it
    /// are tokens where [`super::tokens::has_tokens`] says so. `take` says whether
    /// it wants more.
    ///
    /// # Errors
    /// [`Fault::Stopped`] if it does not; nothing else, since the file was read
    /// before.
    pub fn contents(&self, take: &mut dyn FnMut(&Slot, &[u8]) -> bool) -> Result<(), Fault> {
        let mut give = Give {
            bundle: self,
            current: None,
            take,
            decoder: Decoder::default(),
            last: b'\n',
        };
        walk(self.packed, self.bounds, &mut give).map(drop)
    }

    /// The content of one file, as a whole: for small ones.
    #[must_use]
    pub fn file(&self, slot: &Slot) -> Option<Vec<u8>> {
        self.files.iter().find(|f| f.slot == *slot)?;
        let mut content = Vec::new();
        self.contents(&mut |of, piece| {
            if of == slot {
                content.extend_from_slice(piece);
            }
            true
        })
        .ok()?;
        Some(content)
    }
}

/// The hash as the other program computes it: of what it would write. Nothing if
/// the document is too long for that, or has no such form.
fn canonical_hash(packed: &[u8]) -> Option<String> {
    let mut document = String::new();
    let mut unpacked = MultiGzDecoder::new(packed).take(CANONICAL_BYTES_MAX + 1);
    unpacked.read_to_string(&mut document).ok()?;
    if document.len() as u64 > CANONICAL_BYTES_MAX {
        return None;
    }
    let [session] = json::pick(&document, &["session"])?;
    let text = canonical(session?.get()).ok()?;
    Some(super::hex(&Sha256::digest(text.as_bytes())))
}

/// What passes by.
trait Visit {
    /// A file, or a line of the transcript; `name` is as it stands there.
    fn begin(&mut self, part: Part, number: usize, name: &str);
    fn piece(&mut self, bytes: &[u8]) -> Result<(), Fault>;
    /// Whether its content was a text.
    fn end(&mut self, is_text: bool) -> Result<(), Fault>;
}

/// The small texts of the document.
#[derive(Default)]
struct Fields {
    version: Option<String>,
    exported: Option<String>,
    updated: Option<String>,
    device: Option<String>,
    checksum: Option<String>,
    session: Option<String>,
    name: Option<String>,
    below_root: Option<String>,
    path: Option<String>,
    prompt: Option<String>,
    hash: String,
    ours: bool,
}

impl Fields {
    fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let time = |t: &Option<String>| t.as_deref().and_then(rfc3339::to_ms).is_some();
        let odd = [
            ("updatedAt", !time(&self.updated)),
            ("exportedAt", !time(&self.exported)),
            (
                "the project's name",
                self.name.as_deref().is_none_or(str::is_empty),
            ),
            (
                "relativeToRoot",
                self.below_root
                    .as_deref()
                    .is_some_and(|b| names::downwards(b).is_none()),
            ),
        ];
        warnings.extend(
            odd.iter()
                .filter(|(_, odd)| *odd)
                .map(|(f, _)| Warning::Field(f)),
        );
        warnings
    }

    fn head(self, session: SessionId) -> Head {
        let line = |t: Option<String>| text::one_line(&t.unwrap_or_default(), LINE_CHARS_MAX);
        let time = |t: Option<String>| t.as_deref().and_then(rfc3339::to_ms).map(Timestamp);
        Head {
            session,
            exported: time(self.exported),
            updated: time(self.updated),
            device: line(self.device),
            project: Project {
                name: line(self.name),
                below_root: self.below_root.as_deref().and_then(names::downwards),
                path: text::strip(&self.path.unwrap_or_default(), text::Lines::Fold),
            },
            first_prompt: line(self.prompt),
            checksum: self.checksum.unwrap_or_default(),
            ours: self.ours,
        }
    }
}

/// Goes through the document once.
fn walk(packed: &[u8], bounds: Bounds, visit: &mut dyn Visit) -> Result<Fields, Fault> {
    let unpacked = MultiGzDecoder::new(packed);
    let mut scanner = Scanner::new(unpacked, bounds.unpacked_bytes_max);
    let mut fields = Fields::default();
    let mut seen = false;
    scanner.object(|scanner, name| {
        match name {
            "version" => fields.version = scanner.text(TEXT_BYTES_MAX)?,
            "exportedAt" => fields.exported = scanner.text(TEXT_BYTES_MAX)?,
            "sourceDevice" => fields.device = scanner.text(TEXT_BYTES_MAX)?,
            "updatedAt" => fields.updated = scanner.text(TEXT_BYTES_MAX)?,
            "checksum" => fields.checksum = scanner.text(TEXT_BYTES_MAX)?,
            // Two of them: which one the checksum is of, nobody could say.
            "session" if seen => return Err(scanner.malformed()),
            "session" => {
                seen = true;
                scanner.hash_from_here();
                session(scanner, &mut fields, visit)?;
                fields.hash = scanner.hash_to_here();
            }
            OURS => {
                fields.ours = true;
                scanner.skip()?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    scanner.end()?;
    Ok(fields)
}

fn session<R: Read>(
    scanner: &mut Scanner<R>,
    fields: &mut Fields,
    visit: &mut dyn Visit,
) -> Result<(), Fault> {
    const NAMES: [&str; 7] = [
        "sessionId",
        "project",
        "messages",
        "agents",
        "todos",
        "fileHistory",
        "meta",
    ];
    let mut seen = [false; NAMES.len()];
    scanner.object(|scanner, name| {
        let known = NAMES.iter().position(|n| *n == name);
        if let Some(seen) = known.and_then(|k| seen.get_mut(k))
            && std::mem::replace(seen, true)
        {
            return Err(scanner.malformed());
        }
        match name {
            "sessionId" => fields.session = scanner.text(TEXT_BYTES_MAX)?,
            "project" if scanner.ahead()? == b'{' => scanner.object(|scanner, name| {
                match name {
                    "name" => fields.name = scanner.text(TEXT_BYTES_MAX)?,
                    "relativeToRoot" => fields.below_root = scanner.text(TEXT_BYTES_MAX)?,
                    "originalPath" => fields.path = scanner.text(TEXT_BYTES_MAX)?,
                    _ => scanner.skip()?,
                }
                Ok(())
            })?,
            "meta" if scanner.ahead()? == b'{' => scanner.object(|scanner, name| {
                match name {
                    "firstPrompt" => fields.prompt = scanner.text(TEXT_BYTES_MAX)?,
                    _ => scanner.skip()?,
                }
                Ok(())
            })?,
            "messages" if scanner.ahead()? == b'[' => {
                let mut number = 0;
                scanner.list(|scanner| {
                    number += 1;
                    visit.begin(Part::Messages, number, "");
                    content(scanner, visit)
                })?;
            }
            "agents" if scanner.ahead()? == b'{' => map(scanner, Part::Agents, visit)?,
            "fileHistory" if scanner.ahead()? == b'{' => map(scanner, Part::FileHistory, visit)?,
            "todos" if scanner.ahead()? == b'[' => {
                let mut number = 0;
                scanner.list(|scanner| {
                    number += 1;
                    todo(scanner, number, visit)
                })?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })
}

fn map<R: Read>(scanner: &mut Scanner<R>, part: Part, visit: &mut dyn Visit) -> Result<(), Fault> {
    let mut number = 0;
    scanner.object(|scanner, name| {
        number += 1;
        visit.begin(part, number, name);
        content(scanner, visit)
    })
}

/// `{filename, content}`, in this order: otherwise the name comes when the content
/// has passed.
fn todo<R: Read>(
    scanner: &mut Scanner<R>,
    number: usize,
    visit: &mut dyn Visit,
) -> Result<(), Fault> {
    let (mut name, mut done) = (None, false);
    if scanner.ahead()? == b'{' {
        scanner.object(|scanner, key| {
            match key {
                "filename" if !done => name = scanner.text(NAME_BYTES_MAX + 1)?,
                "content" if !done => {
                    done = true;
                    visit.begin(Part::Todos, number, name.as_deref().unwrap_or_default());
                    content(scanner, visit)?;
                }
                _ => scanner.skip()?,
            }
            Ok(())
        })?;
    } else {
        scanner.skip()?;
    }
    if !done {
        visit.begin(Part::Todos, number, name.as_deref().unwrap_or_default());
        visit.end(false)?;
    }
    Ok(())
}

fn content<R: Read>(scanner: &mut Scanner<R>, visit: &mut dyn Visit) -> Result<(), Fault> {
    let is_text = scanner.ahead()? == b'"';
    if is_text {
        scanner.string(|piece| visit.piece(piece))?;
    } else {
        scanner.skip()?;
    }
    visit.end(is_text)
}

/// A file as it was seen.
struct Seen {
    part: Part,
    number: usize,
    name: String,
    bytes: u64,
    readable: bool,
    last: u8,
}

/// The first time through.
#[derive(Default)]
struct Look {
    lines: usize,
    main_bytes: u64,
    odd_lines: Vec<usize>,
    files: Vec<Seen>,
    /// Files that are too many.
    beyond: usize,
    current: Option<Seen>,
    decoder: Decoder,
}

impl Visit for Look {
    fn begin(&mut self, part: Part, number: usize, name: &str) {
        self.decoder = Decoder::default();
        self.current = Some(Seen {
            part,
            number,
            name: name.to_owned(),
            bytes: 0,
            readable: true,
            last: b'\n',
        });
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if let Some(current) = &mut self.current {
            current.last = bytes.last().copied().unwrap_or(current.last);
            current.bytes += match current.part {
                Part::FileHistory => {
                    let mut len = 0;
                    current.readable &= self.decoder.push(bytes, &mut |b| len += b.len());
                    len as u64
                }
                _ => bytes.len() as u64,
            };
        }
        Ok(())
    }

    fn end(&mut self, is_text: bool) -> Result<(), Fault> {
        let Some(mut seen) = self.current.take() else {
            return Ok(());
        };
        seen.readable &= is_text;
        if seen.part == Part::FileHistory && seen.readable {
            let mut len = 0;
            seen.readable = self.decoder.finish(&mut |b| len += b.len());
            seen.bytes += len as u64;
        }
        // Lines end; in a bundle, the last one of a sub-agent does not.
        if seen.part == Part::Agents && seen.last != b'\n' {
            seen.bytes += 1;
        }
        match seen.part {
            Part::Messages if seen.readable => {
                self.lines += 1;
                self.main_bytes += seen.bytes + 1;
            }
            Part::Messages if self.odd_lines.len() < WARNINGS_MAX => {
                self.odd_lines.push(seen.number);
            }
            Part::Messages => self.beyond += 1,
            _ if self.files.len() < FILES_MAX => self.files.push(seen),
            _ => self.beyond += 1,
        }
        Ok(())
    }
}

impl Look {
    /// What is taken of what was seen.
    fn files(
        &mut self,
        session: &SessionId,
        warnings: &mut Vec<Warning>,
    ) -> (Vec<File>, Vec<(Part, usize)>) {
        let part = Part::Messages;
        let odd = self
            .odd_lines
            .iter()
            .map(|n| Warning::Content { part, number: *n });
        warnings.extend(odd);
        let mut files = vec![File {
            slot: Slot::Main,
            bytes: self.main_bytes,
        }];
        let mut places = vec![(Part::Messages, 0)];
        let mut taken = std::collections::BTreeSet::new();
        for seen in &self.files {
            let (part, number) = (seen.part, seen.number);
            let Some(slot) = names::slot(part, &seen.name, session) else {
                warnings.push(Warning::Name { part, number });
                continue;
            };
            if !seen.readable {
                warnings.push(Warning::Content { part, number });
                continue;
            }
            // Some disks do not tell case: two names would be one file.
            if !taken.insert((part, seen.name.to_ascii_lowercase())) {
                warnings.push(Warning::Twin { part, number });
                continue;
            }
            if files.len() >= FILES_MAX {
                warnings.push(Warning::Count { part, number });
                continue;
            }
            files.push(File {
                slot,
                bytes: seen.bytes,
            });
            places.push((part, number));
        }
        (files, places)
    }
}

/// The second time through.
struct Give<'b, 'p, 't> {
    bundle: &'b Bundle<'p>,
    current: Option<&'b Slot>,
    take: &'t mut dyn FnMut(&Slot, &[u8]) -> bool,
    decoder: Decoder,
    last: u8,
}

impl Give<'_, '_, '_> {
    fn give(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match self.current {
            Some(slot) if !(self.take)(slot, bytes) => Err(Fault::Stopped),
            _ => Ok(()),
        }
    }
}

impl Visit for Give<'_, '_, '_> {
    fn begin(&mut self, part: Part, number: usize, _: &str) {
        let number = if part == Part::Messages { 0 } else { number };
        let at = self.bundle.places.iter().position(|p| *p == (part, number));
        self.current = at.and_then(|at| self.bundle.files.get(at)).map(|f| &f.slot);
        self.decoder = Decoder::default();
        self.last = b'\n';
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.last = bytes.last().copied().unwrap_or(self.last);
        if !matches!(self.current, Some(Slot::FileHistory { .. })) {
            return self.give(bytes);
        }
        let mut decoded = Vec::new();
        self.decoder
            .push(bytes, &mut |b| decoded.extend_from_slice(b));
        self.give(&decoded)
    }

    fn end(&mut self, is_text: bool) -> Result<(), Fault> {
        match self.current {
            Some(Slot::FileHistory { .. }) => {
                let mut decoded = Vec::new();
                self.decoder.finish(&mut |b| decoded.extend_from_slice(b));
                self.give(&decoded)?;
            }
            Some(Slot::Main) if is_text => self.give(b"\n")?,
            Some(Slot::Subagent(_)) if self.last != b'\n' => self.give(b"\n")?,
            _ => {}
        }
        self.current = None;
        Ok(())
    }
}

/// What the first prompt of a transcript is, by the rule of claude-sync-sessions,
/// if this line is one: the first line that gives something counts.
#[must_use]
pub fn first_prompt(line: &str) -> Option<String> {
    let [kind, meta, message] = json::pick(line, &["type", "isMeta", "message"])?;
    let is = |raw, word: &str| json::text(raw).as_deref() == Some(word);
    if !is(kind, "user") || json::flag(meta) {
        return None;
    }
    let [role, content] = json::pick_in(message, &["role", "content"])?;
    if !is(role, "user") {
        return None;
    }
    let text = match json::text(content) {
        Some(text) => text.into_owned(),
        None => {
            let blocks = json::objects(content, &["text"]);
            let texts: Vec<_> = blocks.iter().filter_map(|[t]| json::text(*t)).collect();
            texts.join(" ").trim().to_owned()
        }
    };
    (!text.is_empty()).then_some(text)
}
