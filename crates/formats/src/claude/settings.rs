//! Our hooks in Claude Code's `settings.json`, put in and taken out by splicing:
//! every byte that is not ours stays, whatever the file looks like.
//!
//! An entry of ours is in exec form, without a shell:
//!
//! ```json
//! {"type":"command","command":"/…/ccpeer","args":["hook","Stop"],"timeout":5}
//! ```
//!
//! 2.1.197 and later run it so. 2.1.54 does not know `args`, drops it, and hands
//! `command` alone to a shell; therefore **`ccpeer` without arguments, with a
//! hook's JSON on its standard input, has to act as the hook that the JSON
//! names**, and prints nothing. Only events that 2.1.54 knows are registered: one
//! unknown name makes it drop the whole file.
//!
//! Taking out needs no memory of the original, because putting in leaves a mark
//! in white space: into a container that was there and empty goes a space
//! before what is ours, into one that we made goes none. A file that we made
//! ends in a line break; an empty file that was there does not get one.
//!
//! Must not know where the file lies, nor lock, save or restore it.

mod document;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use document::{Kind, Layout, Node};

/// The events we are told about, in the order of a session's life.
pub const EVENTS: [&str; 5] = [
    "SessionStart",
    "UserPromptSubmit",
    "Stop",
    "PreCompact",
    "SessionEnd",
];

/// Seconds that Claude Code gives an entry of ours. It needs less than one.
const TIMEOUT_S: u32 = 5;

/// Bytes of settings that are looked at.
const SETTINGS_BYTES_MAX: usize = 16 * 1024 * 1024;

const BOM: &str = "\u{feff}";

/// Why settings are left as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not JSON; never "repaired".
    #[error("settings are not valid JSON at line {line}, column {column}")]
    Invalid {
        /// From 1.
        line: usize,
        /// In bytes, from 1; 0 at the end of a line.
        column: usize,
    },
    /// Values within values beyond any use.
    #[error("settings are nested too deeply")]
    Deep,
    /// Beyond 16 MiB.
    #[error("settings are too long")]
    Long,
    /// A part has another type than Claude Code gives it.
    #[error("{0} in the settings is not {1}")]
    Shape(String, &'static str),
    /// The program cannot be registered.
    #[error("the program's path {0}")]
    Program(&'static str),
}

/// What taking our hooks out leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// None of ours were in.
    Unchanged,
    /// Nothing: we made the file, and it is as we made it. Delete it.
    Empty,
    /// This.
    Bytes(Vec<u8>),
}

/// Which of our hooks are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HooksStatus {
    /// Events with an entry of ours.
    pub installed: Vec<&'static str>,
    /// Events without.
    pub missing: Vec<&'static str>,
    /// The program that the entries name; of several, the first.
    pub program: Option<String>,
    /// All hooks are switched off by `disableAllHooks`.
    pub disabled: bool,
}

/// Puts our hooks in. `None` is a file that is not there. The same bytes come
/// back if they are in already; another program's path is replaced in place.
///
/// # Errors
/// See [`SettingsError`]; then the file is to be left alone.
pub fn install(bytes: Option<&[u8]>, program: &str) -> Result<Vec<u8>, SettingsError> {
    check_program(program)?;
    let Some(bytes) = bytes else {
        return Ok((whole_file(program) + "\n").into_bytes());
    };
    let mut settings = Settings::read(bytes)?;
    if settings.is_blank() {
        return Ok((settings.text + &whole_file(program)).into_bytes());
    }
    settings.check_shape()?;
    while let Some(stale) = settings.ours()?.into_iter().find(|o| !o.fits) {
        settings.cut(&stale)?;
    }
    // From the end, so that positions before stay true.
    for entry in settings
        .ours()?
        .into_iter()
        .rev()
        .filter(|o| o.program != program)
    {
        let (start, end) = entry.command;
        settings
            .text
            .replace_range(start..end, &Value::from(program).to_string());
    }
    for event in EVENTS {
        if !settings.ours()?.iter().any(|o| o.event == event) {
            settings.add(event, program)?;
        }
    }
    Ok(settings.text.into_bytes())
}

/// Takes our hooks out. What [`install`] made of any settings becomes those
/// settings again, byte for byte; what was edited since keeps the edits.
///
/// # Errors
/// See [`SettingsError`]; then the file is to be left alone.
pub fn remove(bytes: &[u8]) -> Result<Removal, SettingsError> {
    let mut settings = Settings::read(bytes)?;
    if settings.is_blank() {
        return Ok(Removal::Unchanged);
    }
    let Some(first) = settings.ours()?.into_iter().next() else {
        return Ok(Removal::Unchanged);
    };
    let made = whole_file(&first.program);
    if settings.text.strip_suffix('\n') == Some(made.as_str()) {
        return Ok(Removal::Empty);
    }
    if let Some(blank) = settings.text.strip_suffix(&made)
        && blank.trim_start_matches(BOM).trim_ascii().is_empty()
    {
        return Ok(Removal::Bytes(blank.as_bytes().to_vec()));
    }
    while let Some(last) = settings.ours()?.pop() {
        settings.cut(&last)?;
    }
    Ok(Removal::Bytes(settings.text.into_bytes()))
}

/// Says which of our hooks are in.
///
/// # Errors
/// See [`SettingsError`].
pub fn status(bytes: Option<&[u8]>) -> Result<HooksStatus, SettingsError> {
    let settings = Settings::read(bytes.unwrap_or_default())?;
    let (mut ours, mut disabled) = (Vec::new(), false);
    if !settings.is_blank() {
        ours = settings.ours()?;
        disabled = settings.flag("disableAllHooks")?;
    }
    let (installed, missing) = EVENTS
        .into_iter()
        .partition(|e| ours.iter().any(|o| o.fits && o.event == *e));
    let program = ours.into_iter().next().map(|o| o.program);
    Ok(HooksStatus {
        installed,
        missing,
        program,
        disabled,
    })
}

fn check_program(program: &str) -> Result<(), SettingsError> {
    let wrong = |why| Err(SettingsError::Program(why));
    if program.chars().any(char::is_control) {
        return wrong("holds a control character");
    }
    if !is_absolute(program) {
        return wrong("is not absolute");
    }
    // Another tool takes entries with these words for its own, and removes them.
    if program.contains("hook.cjs") || program.contains("claude-sync-sessions") {
        return wrong("would be taken for another tool's");
    }
    if is_our_program(program) {
        Ok(())
    } else {
        wrong("does not end in ccpeer")
    }
}

fn is_absolute(program: &str) -> bool {
    let drive =
        program.get(1..2) == Some(":") && program.get(2..3).is_some_and(|c| c == "\\" || c == "/");
    program.starts_with('/') || program.starts_with(r"\\") || drive
}

fn is_our_program(program: &str) -> bool {
    let name = program
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let stem = name.strip_suffix(".exe").unwrap_or(&name);
    stem == "ccpeer" || stem.starts_with("ccpeer-")
}

/// One group of an event's list, with our one entry.
fn group(event: &str, program: &str) -> Value {
    json!({"hooks": [{"type": "command", "command": program, "args": ["hook", event], "timeout": TIMEOUT_S}]})
}

/// What a file holds that has nothing but our hooks.
fn whole_file(program: &str) -> String {
    let hooks: serde_json::Map<String, Value> = EVENTS
        .iter()
        .map(|event| ((*event).to_owned(), json!([group(event, program)])))
        .collect();
    let layout = Layout::Lines {
        newline: "\n",
        indent: String::new(),
        unit: "  ".to_owned(),
    };
    layout.write(None, &json!({"hooks": hooks}))
}

/// The text of a settings file.
struct Settings {
    text: String,
}

/// An entry of ours and where it is.
#[derive(Debug, Clone)]
struct Ours {
    event: String,
    program: String,
    /// It is the first of its event and as we would write it.
    fits: bool,
    /// Of the value of `command`.
    command: (usize, usize),
    /// Indices: of the event's list, of the group in it, of the entry in that.
    place: (usize, usize, usize),
}

impl Settings {
    fn read(bytes: &[u8]) -> Result<Self, SettingsError> {
        if bytes.len() > SETTINGS_BYTES_MAX {
            return Err(SettingsError::Long);
        }
        match str::from_utf8(bytes) {
            Ok(text) => Ok(Self {
                text: text.to_owned(),
            }),
            Err(e) => {
                let valid = bytes.get(..e.valid_up_to()).unwrap_or_default();
                let line = valid.iter().filter(|c| **c == b'\n').count() + 1;
                let column = valid.iter().rev().take_while(|c| **c != b'\n').count() + 1;
                Err(SettingsError::Invalid { line, column })
            }
        }
    }

    fn body(&self) -> usize {
        if self.text.starts_with(BOM) {
            BOM.len()
        } else {
            0
        }
    }

    fn is_blank(&self) -> bool {
        self.text
            .get(self.body()..)
            .unwrap_or_default()
            .trim_ascii()
            .is_empty()
    }

    fn root(&self) -> Result<Node, SettingsError> {
        let root = Node::parse(&self.text, self.body())?;
        match root.kind {
            Kind::Object(_) => Ok(root),
            _ => Err(SettingsError::Shape("the top level".into(), "an object")),
        }
    }

    fn flag(&self, key: &str) -> Result<bool, SettingsError> {
        let root = self.root()?;
        Ok(root
            .get(key)
            .is_some_and(|n| self.text.get(n.start..n.end) == Some("true")))
    }

    /// Whether what we have to add to can be added to.
    fn check_shape(&self) -> Result<(), SettingsError> {
        let root = self.root()?;
        let Some(hooks) = root.get("hooks") else {
            return Ok(());
        };
        if hooks.members().is_none() {
            return Err(SettingsError::Shape("`hooks`".into(), "an object"));
        }
        match EVENTS
            .iter()
            .find(|e| hooks.get(e).is_some_and(|list| list.items().is_none()))
        {
            Some(event) => Err(SettingsError::Shape(format!("`hooks.{event}`"), "a list")),
            None => Ok(()),
        }
    }

    /// All entries of ours, in the order of the text.
    fn ours(&self) -> Result<Vec<Ours>, SettingsError> {
        let root = self.root()?;
        let mut found: Vec<Ours> = Vec::new();
        let lists = root
            .get("hooks")
            .and_then(Node::members)
            .unwrap_or_default();
        for (list, member) in lists.iter().enumerate() {
            for (group, node) in member.value.items().unwrap_or_default().iter().enumerate() {
                let entries = node.get("hooks").and_then(Node::items).unwrap_or_default();
                for (entry, node) in entries.iter().enumerate() {
                    let Some((program, command, words)) = read_entry(node) else {
                        continue;
                    };
                    let event = member.key.clone();
                    let first = !found.iter().any(|o| o.event == event && o.fits);
                    let fits =
                        first && EVENTS.contains(&event.as_str()) && words == ["hook", &event];
                    found.push(Ours {
                        event,
                        program,
                        fits,
                        command,
                        place: (list, group, entry),
                    });
                }
            }
        }
        Ok(found)
    }

    /// Takes one entry out, and what becomes empty and was ours with it.
    fn cut(&mut self, entry: &Ours) -> Result<(), SettingsError> {
        let root = self.root()?;
        let hooks_member = root
            .members()
            .unwrap_or_default()
            .iter()
            .rposition(|m| m.key == "hooks");
        let (list, group, item) = entry.place;
        let path = || -> Option<Vec<(&Node, usize)>> {
            let hooks = root.get("hooks")?;
            let events = &hooks.members()?.get(list)?.value;
            let entries = events.items()?.get(group)?.get("hooks")?;
            // A group without an entry is not valid, whatever else it says.
            let alone = entries.items()?.len() == 1;
            let inner = if alone {
                (events, group)
            } else {
                (entries, item)
            };
            Some(vec![
                (&root, hooks_member?),
                (hooks, list),
                (events, group),
                inner,
            ])
        };
        // From the entry outwards: a container with nothing else in it goes too,
        // unless it was there before us.
        for (container, index) in path().unwrap_or_default().into_iter().rev() {
            let children = container.children();
            let Some(&(start, end)) = children.get(index) else {
                break;
            };
            let before = index.checked_sub(1).and_then(|i| children.get(i));
            let after = children.get(index + 1);
            let opening = container.start + 1;
            let range = match (before, after) {
                (Some(before), _) => before.1..end,
                (None, Some(after)) => start..after.0,
                (None, None) if container.start == root.start => opening..end,
                (None, None) if self.text.get(opening..start) == Some(" ") => opening..end,
                (None, None) => continue,
            };
            self.text.replace_range(range, "");
            break;
        }
        Ok(())
    }

    /// Puts an entry in, at the end of what is there.
    fn add(&mut self, event: &str, program: &str) -> Result<(), SettingsError> {
        let root = self.root()?;
        let unit = match Layout::of(&self.text, &root, "  ") {
            Layout::Lines { indent, .. } if !indent.is_empty() => indent,
            _ => "  ".to_owned(),
        };
        let group = group(event, program);
        let (container, key, value) = match root.get("hooks") {
            None => (&root, Some("hooks"), json!({event: [group]})),
            Some(hooks) => match hooks.get(event) {
                None => (hooks, Some(event), json!([group])),
                Some(list) => (list, None, group),
            },
        };
        let layout = Layout::of(&self.text, container, &unit);
        let (at, before) = match container.children().last() {
            Some((_, end)) => (*end, layout.separator()),
            None if container.start == root.start => (container.start + 1, String::new()),
            None => (container.start + 1, " ".to_owned()),
        };
        let new = before + &layout.write(key, &value);
        self.text.insert_str(at, &new);
        Ok(())
    }
}

/// The program of an entry of ours, where `command` stands, and its words.
fn read_entry(node: &Node) -> Option<(String, (usize, usize), Vec<&str>)> {
    let command = node.get("command")?;
    let program = command.text()?;
    let words: Vec<&str> = node
        .get("args")?
        .items()?
        .iter()
        .map(Node::text)
        .collect::<Option<_>>()?;
    let ours = node.get("type")?.text()? == "command"
        && is_our_program(program)
        && words.first() == Some(&"hook");
    ours.then(|| (program.to_owned(), (command.start, command.end), words))
}
