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
mod entries;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use document::Layout;
use entries::Settings;

/// The events we are told about, in the order of a session's life.
pub const EVENTS: [&str; 5] = [
    "SessionStart",
    "UserPromptSubmit",
    "Stop",
    "PreCompact",
    "SessionEnd",
];

/// The word by which a hook says that it is a plugin's.
pub const PLUGIN_WORD: &str = "--plugin";

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
        && blank
            .strip_prefix(BOM)
            .unwrap_or(blank)
            .chars()
            .all(is_json_space)
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

/// White space to JSON. A form feed is none: what we put behind one could not be
/// read.
fn is_json_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
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
    entry(program, &["hook", event])
}

fn entry(program: &str, args: &[&str]) -> Value {
    json!({"hooks": [{"type": "command", "command": program, "args": args, "timeout": TIMEOUT_S}]})
}

/// What a file holds that has nothing but our hooks.
fn whole_file(program: &str) -> String {
    written(&|event| group(event, program))
}

/// The hooks of a plugin: the same, and each says that it is a plugin's.
///
/// # Errors
/// When the program cannot be registered.
pub fn plugin(program: &str) -> Result<String, SettingsError> {
    check_program(program)?;
    let of = |event: &str| entry(program, &["hook", event, PLUGIN_WORD]);
    Ok(written(&of) + "\n")
}

/// The program that the hooks of a plugin run.
#[must_use]
pub fn plugin_program(hooks: &[u8]) -> Option<String> {
    let all: Value = serde_json::from_slice(hooks).ok()?;
    let [first, ..] = EVENTS;
    let program = all.pointer(&format!("/hooks/{first}/0/hooks/0/command"))?;
    program.as_str().map(str::to_owned)
}

/// The directory of the marketplace of this name, if settings have the plugin of the
/// same name in use from there.
#[must_use]
pub fn plugin_dir(settings: &[u8], name: &str) -> Option<String> {
    if settings.len() > SETTINGS_BYTES_MAX {
        return None;
    }
    let all: Value = serde_json::from_slice(settings).ok()?;
    let is_on = all.get("enabledPlugins")?.get(format!("{name}@{name}"))?;
    let source = all
        .get("extraKnownMarketplaces")?
        .get(name)?
        .get("source")?;
    let dir = source.get("path")?.as_str()?;
    (is_on.as_bool() == Some(true)).then(|| dir.to_owned())
}

fn written(group: &dyn Fn(&str) -> Value) -> String {
    let hooks: serde_json::Map<String, Value> = EVENTS
        .iter()
        .map(|event| ((*event).to_owned(), json!([group(event)])))
        .collect();
    let layout = Layout::Lines {
        newline: "\n",
        indent: String::new(),
        unit: "  ".to_owned(),
    };
    layout.write(None, &json!({"hooks": hooks}))
}
