//! The front matter: lines of `key: value` between two lines of hyphens. Only what
//! a model writes of YAML: plain and quoted values, comments, folded texts.

use std::collections::BTreeMap;

use super::Warning;

/// Lines that are looked at.
const LINES_MAX: usize = 200;
/// Keys that mean the same.
const ALIASES: &[(&str, &[&str])] = &[
    ("machine", &["hostname", "host", "device"]),
    ("session", &["session_id", "sessionid", "id", "uuid"]),
    (
        "updated",
        &[
            "updated_at",
            "updatedat",
            "last_updated",
            "modified",
            "date",
        ],
    ),
    ("created", &["created_at", "createdat", "started"]),
    ("branch", &["git_branch", "gitbranch"]),
    ("cwd", &["path", "directory", "dir", "workdir"]),
    ("project", &["project_name", "repo"]),
    ("title", &["name", "task"]),
];

/// Values by the name that we have for their key.
pub(super) type Front = BTreeMap<String, String>;

/// The front matter, and what follows it.
pub(super) fn read<'t>(text: &'t str, warnings: &mut Vec<Warning>) -> (Front, &'t str) {
    let mut front = Front::new();
    let rest = text.trim_start();
    let is_fence = |line: &str| line.trim_end() == "---";
    let mut lines = rest.split_inclusive('\n');
    let first = lines.next().unwrap_or_default();
    if !is_fence(first) {
        warnings.push(Warning::NoFront);
        return (front, text);
    }
    let mut at = first.len();
    let mut exact = Front::new();
    for (number, line) in lines.enumerate().take(LINES_MAX) {
        at += line.len();
        if is_fence(line) || line.trim_end() == "..." {
            // A key in its own name is worth more than an alias.
            front.extend(exact);
            return (front, rest.get(at..).unwrap_or_default());
        }
        let odd = || Warning::Front(number + 2);
        let plain = line.trim();
        if plain.is_empty() || plain.starts_with('#') {
            continue;
        }
        // What is indented belongs to a list or a text that nobody here needs.
        let Some((key, value)) = plain.split_once(':').filter(|_| line.starts_with(plain)) else {
            warnings.push(odd());
            continue;
        };
        let key = key.trim().trim_matches(['"', '\'']).to_lowercase();
        let key = key.replace([' ', '-'], "_");
        let value = unquoted(value.trim());
        match ALIASES
            .iter()
            .find(|(_, others)| others.contains(&key.as_str()))
        {
            Some((name, _)) => front.entry((*name).to_owned()).or_insert(value),
            None => exact.entry(key).or_insert(value),
        };
    }
    // No end: then it is no front matter, but a line at the beginning.
    warnings.push(Warning::NoFront);
    (Front::new(), text)
}

/// A value without its quotes or its comment.
fn unquoted(value: &str) -> String {
    if value.starts_with('"') {
        // The quotes of JSON are those of YAML as far as a model uses them.
        let mut stream = serde_json::Deserializer::from_str(value).into_iter::<String>();
        if let Some(Ok(text)) = stream.next() {
            return text;
        }
        return value.trim_matches('"').to_owned();
    }
    if let Some(inner) = value.strip_prefix('\'') {
        let end = inner.rfind('\'').unwrap_or(inner.len());
        return inner.get(..end).unwrap_or(inner).replace("''", "'");
    }
    let end = value.find(" #").unwrap_or(value.len());
    value.get(..end).unwrap_or(value).trim_end().to_owned()
}
