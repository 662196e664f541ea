//! The entries in a settings file: which are ours, one cut out, one put in.
//!
//! Must not know which program is to be registered, nor why.

use serde_json::json;

use super::document::{Kind, Layout, Node};
use super::{BOM, EVENTS, SETTINGS_BYTES_MAX, SettingsError, group, is_json_space, is_our_program};

/// The text of a settings file.
pub(super) struct Settings {
    pub(super) text: String,
}

/// An entry of ours and where it is.
#[derive(Debug, Clone)]
pub(super) struct Ours {
    pub(super) event: String,
    pub(super) program: String,
    /// It is the first of its event and as we would write it.
    pub(super) fits: bool,
    /// Of the value of `command`.
    pub(super) command: (usize, usize),
    /// Indices: of the event's list, of the group in it, of the entry in that.
    place: (usize, usize, usize),
}

impl Settings {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, SettingsError> {
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

    pub(super) fn is_blank(&self) -> bool {
        self.text
            .get(self.body()..)
            .unwrap_or_default()
            .chars()
            .all(is_json_space)
    }

    fn root(&self) -> Result<Node, SettingsError> {
        let root = Node::parse(&self.text, self.body())?;
        match root.kind {
            Kind::Object(_) => Ok(root),
            _ => Err(SettingsError::Shape("the top level".into(), "an object")),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, SettingsError> {
        let root = self.root()?;
        Ok(root
            .get(key)
            .is_some_and(|n| self.text.get(n.start..n.end) == Some("true")))
    }

    /// Whether what we have to add to can be added to.
    pub(super) fn check_shape(&self) -> Result<(), SettingsError> {
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
    pub(super) fn ours(&self) -> Result<Vec<Ours>, SettingsError> {
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
    pub(super) fn cut(&mut self, entry: &Ours) -> Result<(), SettingsError> {
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
    pub(super) fn add(&mut self, event: &str, program: &str) -> Result<(), SettingsError> {
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
