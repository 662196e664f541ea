//! The hand-off prompt: what to tell Claude elsewhere so that it goes on. It
//! stands alone, for it is often all that is passed on.

use ccpeer_core::limits;

use super::view::{View, name};
use crate::bounded::ellipsis;
use crate::claude::tasks::TodoStatus;

impl View<'_> {
    /// Every part has its share; if together they are too much, all shares are
    /// cut alike, for the end is as important as the beginning.
    pub(super) fn handoff_prompt(&self) -> String {
        let fits = |prompt: &String| prompt.chars().count() <= limits::HANDOFF_CHARS_MAX;
        let prompt = (3..=10)
            .rev()
            .map(|tenths| self.handoff_in(tenths))
            .find(fits);
        prompt.unwrap_or_else(|| ellipsis(&self.handoff_in(3), limits::HANDOFF_CHARS_MAX))
    }

    fn handoff_in(&self, tenths: usize) -> String {
        let words = self.words;
        let share = |chars: usize| chars * tenths / 10;
        let at = match (&self.head, &self.branch) {
            (Some(head), branch) => words.commit_of(branch.as_deref(), head),
            (None, Some(branch)) => words.branch(branch),
            (None, None) => String::new(),
        };
        let title = ellipsis(&self.title, share(80));
        let project = name(&self.facts.project).unwrap_or_default();
        let mut parts = vec![words.handoff_open(&self.device, &title, &project, &at)];
        let prompts = &self.summary.prompts;
        if let Some(first) = prompts.first() {
            parts.push(words.handoff_asked(&self.line(&first.text, share(500))));
        }
        if let (Some(last), true) = (prompts.last(), prompts.len() > 1) {
            parts.push(words.handoff_latest(&self.line(&last.text, share(300))));
        }
        parts.push(ellipsis(&self.standing(), share(240)));
        if let Some(report) = &self.report {
            parts.push(words.handoff_report(&self.line(report, share(400))));
        }
        let joined =
            |items: &[String], max: usize| ellipsis(&items.join(words.separator()), share(max));
        let finished = self.with_status(TodoStatus::Completed);
        let finished = finished.iter().map(|todo| todo.subject.clone());
        let commits = self.summary.commits.iter();
        let commits = commits.map(|c| format!("{} {} ({})", words.commit(), c.hash, c.subject));
        let finished: Vec<String> = finished.chain(commits).collect();
        if !finished.is_empty() {
            parts.push(format!(
                "{}{}",
                words.handoff_done(),
                joined(&finished, 240)
            ));
        }
        let open: Vec<String> = self.open_todos().map(|todo| todo.subject.clone()).collect();
        if !open.is_empty() {
            parts.push(format!(
                "{}{}",
                words.handoff_open_tasks(),
                joined(&open, 240)
            ));
        }
        let files: Vec<String> = self
            .edited
            .iter()
            .take(6)
            .map(|(path, _)| path.clone())
            .collect();
        if !files.is_empty() {
            parts.push(format!("{}{}", words.handoff_files(), joined(&files, 300)));
        }
        let prepare = self
            .preparation()
            .unwrap_or_else(|| words.handoff_compare().to_owned());
        parts.push(format!("{}{prepare}", words.handoff_first()));
        parts.push(match self.work().first() {
            Some(step) => format!("{}{}", words.handoff_then(), ellipsis(step, share(240))),
            None => words.ask_user().to_owned(),
        });
        parts.join("\n")
    }
}
