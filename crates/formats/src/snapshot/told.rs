//! A document as it is shown: a model's prose, which may be older than the head,
//! together with what is known of the head without a model. Files, branch,
//! commit, uncommitted changes and tasks are never the model's word.

use ccpeer_core::limits;

use super::language::Language;
use super::{Sections, Snapshot};
use crate::bounded::ellipsis;

/// Records behind which an old hand-off prompt misleads more than it helps.
const PROMPT_BEHIND_MAX: u64 = 300;
/// Characters of the model's prompt beside which the facts have room.
const PROMPT_CHARS: usize = 900;
/// Characters of a note about a file.
const NOTE_CHARS_MAX: usize = 200;

impl Snapshot {
    /// These facts, told with the prose of a model about this version or one that
    /// it grew from.
    #[must_use]
    pub fn told_with(&self, prose: &Self) -> Self {
        let behind = self.based_on.records.saturating_sub(prose.based_on.records);
        let words = Language::of_text(&prose.sections.handoff_prompt);
        let (facts, said) = (&self.sections, &prose.sections);
        let joint = match behind {
            0 => words.recorded().to_owned(),
            n => words.since(n),
        };
        let with = |said: &str, facts: &str| match (said, facts) {
            ("", facts) => facts.to_owned(),
            (said, "") => said.to_owned(),
            (said, facts) => format!("{said}\n\n{joint}\n\n{facts}"),
        };
        let told = |said: &str, facts: &str| match behind {
            0 if !said.is_empty() => said.to_owned(),
            _ => with(said, facts),
        };
        Self {
            sections: Sections {
                task: told(&said.task, &facts.task),
                done: told(&said.done, &facts.done),
                in_progress: with(&said.in_progress, &facts.in_progress),
                next_steps: with(&said.next_steps, &facts.next_steps),
                files: files(&facts.files, &said.files),
                handoff_prompt: prompt(&facts.handoff_prompt, &said.handoff_prompt, behind, words),
            },
            based_on: prose.based_on,
            enriched: true,
            ..self.clone()
        }
    }
}

/// The files on record, each with what a model says it is for.
fn files(facts: &str, said: &str) -> String {
    let noted = |line: &str| {
        let path = path(line)?;
        let note = said.lines().find(|l| self::path(l) == Some(path))?;
        let (_, note) = note.split_once(" — ").or_else(|| note.split_once(" - "))?;
        Some(format!("{line}: {}", ellipsis(note.trim(), NOTE_CHARS_MAX)))
    };
    let lines = facts
        .lines()
        .map(|l| noted(l).unwrap_or_else(|| l.to_owned()));
    lines.collect::<Vec<_>>().join("\n")
}

/// The path in a line of a list of files.
fn path(line: &str) -> Option<&str> {
    let (_, rest) = line.trim_start().strip_prefix("- ")?.split_once('`')?;
    rest.split_once('`').map(|(path, _)| path)
}

/// The first line of the facts says where it was, the last ones what is to be done
/// before anything else: both stay, and between them is what fits.
fn prompt(facts: &str, said: &str, behind: u64, words: Language) -> String {
    if said.is_empty() || behind > PROMPT_BEHIND_MAX {
        return facts.to_owned();
    }
    let (open, rest) = facts.split_once('\n').unwrap_or((facts, ""));
    let mut parts = vec![open.to_owned(), ellipsis(said, PROMPT_CHARS)];
    if behind > 0 {
        parts.push(words.since(behind));
    }
    let used: usize = parts.iter().map(|p| p.chars().count() + 1).sum();
    let mut left = limits::HANDOFF_CHARS_MAX.saturating_sub(used);
    // What the model was asked for is in its own words already.
    let lines_max = if behind == 0 { 2 } else { usize::MAX };
    let mut last: Vec<&str> = Vec::new();
    for line in rest.lines().rev().take(lines_max) {
        let chars = line.chars().count() + 1;
        if chars > left {
            break;
        }
        left -= chars;
        last.push(line);
    }
    parts.extend(last.into_iter().rev().map(str::to_owned));
    ellipsis(&parts.join("\n"), limits::HANDOFF_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::tests::tier0;

    fn prose(facts: &Snapshot, behind: u64) -> Snapshot {
        let mut prose = facts.clone();
        prose.enriched = true;
        prose.based_on.records -= behind;
        prose.sections = Sections {
            task: "The goal.".into(),
            done: "- all of it".into(),
            in_progress: "Nothing.".into(),
            next_steps: "1. Rest.".into(),
            files: "- `src/price.rs` — the rounding\n- `invented.rs` — no".into(),
            handoff_prompt: "You continue.".into(),
        };
        prose
    }

    #[test]
    fn facts_stay_and_prose_is_added() {
        let facts = tier0();
        let told = facts.told_with(&prose(&facts, 0));
        assert!(told.enriched);
        assert_eq!(told.sections.task, "The goal.");
        assert!(
            told.sections
                .next_steps
                .starts_with("1. Rest.\n\nOn record:")
        );
        assert!(
            told.sections
                .next_steps
                .ends_with(&facts.sections.next_steps)
        );
        assert!(
            told.sections.files.contains("price.rs") && !told.sections.files.contains("invented")
        );
        assert!(
            told.sections.files.contains(": the rounding"),
            "{}",
            told.sections.files
        );
        let prompt = &told.sections.handoff_prompt;
        let open = facts.sections.handoff_prompt.lines().next().unwrap();
        let last = facts.sections.handoff_prompt.lines().last().unwrap();
        assert!(
            prompt.starts_with(open) && prompt.ends_with(last),
            "{prompt}"
        );
        assert!(prompt.contains("You continue."));
        assert!(prompt.chars().count() <= limits::HANDOFF_CHARS_MAX);
    }

    #[test]
    fn older_prose_says_how_far_it_is_behind() {
        let mut facts = tier0();
        facts.based_on.records = 1000;
        let told = facts.told_with(&prose(&facts, 7));
        assert!(
            told.sections.done.contains("7 records behind"),
            "{}",
            told.sections.done
        );
        assert!(told.sections.done.ends_with(&facts.sections.done));
        assert_eq!(told.based_on.records, 993);
        assert!(told.sections.handoff_prompt.contains("7 records behind"));
        let old = facts.told_with(&prose(&facts, 900));
        assert_eq!(old.sections.handoff_prompt, facts.sections.handoff_prompt);
    }
}
