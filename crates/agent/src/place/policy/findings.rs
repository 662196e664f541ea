//! What a placement left out, reset or replaced, in words for the user: what it
//! was, and what that means here.
//!
//! Must not know how any of it is found.

use std::collections::BTreeMap;
use std::fmt;

/// What was left out or reset, by kind.
#[derive(Debug, Default, Clone)]
pub(in crate::place) struct Findings(BTreeMap<Finding, u64>);

/// Kinds of things that are left out or reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::place) enum Finding {
    /// A working directory outside the project.
    Cwd,
    /// A permission mode.
    Permission,
    /// A record that means something on the other machine alone.
    Record,
    /// What a sub-agent was given beyond its task.
    Agent,
    /// A file that rewinding would have written outside the project.
    Rewind,
    /// A record that would have been broken by rewriting its paths.
    Unrewritten,
    /// A file that lies here already and is not this session's.
    Foreign,
    /// A log of a sub-agent that went on here in another way; backed up.
    Replaced,
    /// An unfinished line at the end of the local transcript; backed up.
    Torn,
    /// State records at the end of the local transcript; backed up.
    Bookkeeping,
    /// A transcript that has another beginning now, compacted say; backed up.
    Rewritten,
    /// A tool was called at the end and had not answered. It stays.
    Pending,
}

impl Findings {
    pub(in crate::place) fn add(&mut self, finding: Finding) {
        *self.0.entry(finding).or_default() += 1;
    }

    /// Takes in what was found elsewhere.
    pub(in crate::place) fn merge(&mut self, others: Self) {
        for (finding, count) in others.0 {
            *self.0.entry(finding).or_default() += count;
        }
    }

    /// One line for each kind.
    pub(in crate::place) fn lines(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|(finding, count)| format!("{count} × {finding}"))
            .collect()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cwd => "working directory outside the project: set to the project",
            Self::Permission => "permission mode of another device: Claude Code asks here as usual",
            Self::Record => "tie to the other device (worktree, agent, remote control): left out",
            Self::Agent => "power or place given to a sub-agent elsewhere: it goes on without",
            Self::Rewind => "file outside the project or protected: /rewind leaves it alone here",
            Self::Unrewritten => "record whose paths cannot be rewritten: left as it was",
            Self::Foreign => "file of another session that lies here already: left as it is",
            Self::Replaced => "sub-agent's record that differed here: replaced and backed up",
            Self::Bookkeeping => "end of the local transcript without a word of anybody: replaced",
            Self::Pending => "tool call that had not ended there: nothing of it was run here",
            Self::Rewritten => "transcript that was compacted elsewhere: replaced and backed up",
            Self::Torn => "unfinished line at the end of the local transcript: backed up",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_one_line_of_a_terminal() {
        const KINDS: [Finding; 12] = [
            Finding::Cwd,
            Finding::Permission,
            Finding::Record,
            Finding::Agent,
            Finding::Rewind,
            Finding::Unrewritten,
            Finding::Foreign,
            Finding::Replaced,
            Finding::Torn,
            Finding::Bookkeeping,
            Finding::Rewritten,
            Finding::Pending,
        ];
        let mut findings = Findings::default();
        for kind in KINDS {
            findings.add(kind);
            findings.add(kind);
        }
        let lines = findings.lines();
        assert_eq!(lines.len(), KINDS.len());
        for line in lines {
            assert!(line.starts_with("2 × ") && line.contains(": "), "{line}");
            assert!(line.chars().count() <= 74, "{line}");
        }
    }
}
