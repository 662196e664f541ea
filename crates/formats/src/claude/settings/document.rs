//! A JSON text with the position of each value, so that parts of it can be cut
//! out and put in while every other byte stays. Must not know what settings
//! mean.

use super::SettingsError;

/// Values within values.
const DEPTH_MAX: usize = 128;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) start: usize,
    /// Behind its last byte.
    pub(super) end: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Object(Vec<Member>),
    Array(Vec<Node>),
    /// Decoded.
    Text(String),
    /// A number, `true`, `false` or `null`.
    Other,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Where the key begins.
    pub(super) start: usize,
    pub(super) key: String,
    pub(super) value: Node,
}

impl Node {
    /// Reads a text that holds one value and white space, behind `from`.
    pub(super) fn parse(text: &str, from: usize) -> Result<Self, SettingsError> {
        let body = text.get(from..).unwrap_or_default();
        if let Err(e) = serde_json::from_str::<serde::de::IgnoredAny>(body) {
            return Err(SettingsError::Invalid {
                line: e.line(),
                column: e.column(),
            });
        }
        let mut reader = Reader { text, at: from };
        reader.value(0)
    }

    pub(super) fn members(&self) -> Option<&[Member]> {
        match &self.kind {
            Kind::Object(members) => Some(members),
            _ => None,
        }
    }

    pub(super) fn items(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::Array(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a key; of a repeated key the last, as the reader of these
    /// settings takes it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.members()?
            .iter()
            .rev()
            .find(|m| m.key == key)
            .map(|m| &m.value)
    }

    /// Where the children of an object or array begin and end.
    pub(super) fn children(&self) -> Vec<(usize, usize)> {
        match &self.kind {
            Kind::Object(members) => members.iter().map(|m| (m.start, m.value.end)).collect(),
            Kind::Array(items) => items.iter().map(|n| (n.start, n.end)).collect(),
            Kind::Text(_) | Kind::Other => Vec::new(),
        }
    }
}

/// Reads what is known to be valid.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let space = rest.iter().take_while(|c| c.is_ascii_whitespace()).count();
        self.at += space;
        rest.get(space).copied()
    }

    fn value(&mut self, depth: usize) -> Result<Node, SettingsError> {
        if depth > DEPTH_MAX {
            return Err(SettingsError::Deep);
        }
        let first = self.peek();
        let start = self.at;
        let kind = match first {
            Some(b'{') => Kind::Object(self.members(depth)?),
            Some(b'[') => Kind::Array(self.items(depth)?),
            Some(b'"') => Kind::Text(self.string()),
            _ => {
                let rest = self.text.as_bytes().get(start..).unwrap_or_default();
                self.at += rest
                    .iter()
                    .take_while(|c| c.is_ascii_alphanumeric() || b"+-.".contains(c))
                    .count();
                Kind::Other
            }
        };
        Ok(Node {
            start,
            end: self.at,
            kind,
        })
    }

    fn members(&mut self, depth: usize) -> Result<Vec<Member>, SettingsError> {
        let mut members = Vec::new();
        self.at += 1;
        while self.peek() == Some(b'"') {
            let start = self.at;
            let key = self.string();
            self.peek();
            // The colon.
            self.at += 1;
            members.push(Member {
                start,
                key,
                value: self.value(depth + 1)?,
            });
            if self.peek() == Some(b',') {
                self.at += 1;
            }
        }
        self.at += 1;
        Ok(members)
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Node>, SettingsError> {
        let mut items = Vec::new();
        self.at += 1;
        while self.peek().is_some_and(|c| c != b']') {
            items.push(self.value(depth + 1)?);
            if self.peek() == Some(b',') {
                self.at += 1;
            }
        }
        self.at += 1;
        Ok(items)
    }

    fn string(&mut self) -> String {
        let start = self.at;
        let bytes = self.text.as_bytes();
        self.at += 1;
        while let Some(c) = bytes.get(self.at) {
            self.at += if *c == b'\\' { 2 } else { 1 };
            if *c == b'"' {
                break;
            }
        }
        let raw = self.text.get(start..self.at).unwrap_or_default();
        // A lone surrogate cannot be decoded: then it is not a text of ours.
        serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned())
    }
}

/// How new text is laid out beside what is there.
#[derive(Debug, Clone)]
pub(super) enum Layout {
    /// On one line.
    Compact,
    /// One value a line.
    Lines {
        /// `\n` or `\r\n`.
        newline: &'static str,
        /// Before each value of the container.
        indent: String,
        /// Added by each level.
        unit: String,
    },
}

impl Layout {
    /// How the children of this container are laid out; `unit` if that does not
    /// say how much a level adds.
    pub(super) fn of(text: &str, container: &Node, unit: &str) -> Self {
        let Some((first, _)) = container.children().first().copied() else {
            return Self::Compact;
        };
        let gap = text.get(container.start + 1..first).unwrap_or_default();
        match gap.rsplit_once('\n') {
            None => Self::Compact,
            Some((before, indent)) => Self::Lines {
                newline: if before.ends_with('\r') { "\r\n" } else { "\n" },
                indent: indent.to_owned(),
                unit: unit.to_owned(),
            },
        }
    }

    /// What separates a new child from the one before it.
    pub(super) fn separator(&self) -> String {
        match self {
            Self::Compact => ",".to_owned(),
            Self::Lines {
                newline, indent, ..
            } => format!(",{newline}{indent}"),
        }
    }

    /// A value, and with it its key if it has one.
    pub(super) fn write(&self, key: Option<&str>, value: &serde_json::Value) -> String {
        let key = key.map(|k| serde_json::Value::from(k).to_string());
        match self {
            Self::Compact => key.map(|k| k + ":").unwrap_or_default() + &value.to_string(),
            Self::Lines {
                newline,
                indent,
                unit,
            } => {
                let lines = pretty(value, unit).replace('\n', &format!("{newline}{indent}"));
                key.map(|k| k + ": ").unwrap_or_default() + &lines
            }
        }
    }
}

fn pretty(value: &serde_json::Value, unit: &str) -> String {
    let formatter = serde_json::ser::PrettyFormatter::with_indent(unit.as_bytes());
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => String::from_utf8(out).unwrap_or_default(),
        // Cannot happen: keys are strings and the sink is memory.
        Err(_) => value.to_string(),
    }
}
