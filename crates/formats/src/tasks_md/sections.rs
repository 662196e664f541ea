//! The body: a title, and sections below headings of the second level. What stands
//! in a fence is no heading.

use crate::snapshot::Sections;

/// What a body is made of.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The first heading of the first level.
    pub(super) title: String,
    pub(super) known: Sections,
    pub(super) others: Vec<(String, String)>,
}

/// Which section it is.
#[derive(Clone, Copy)]
enum Known {
    Task,
    Done,
    InProgress,
    NextSteps,
    Files,
    Prompt,
}

/// Headings, folded: without case, spaces, hyphens and what is no letter.
const HEADINGS: &[(Known, &[&str])] = &[
    (Known::Task, &["task", "goal", "summary", "任务", "目标"]),
    (Known::Done, &["done", "completed", "已完成", "完成"]),
    (
        Known::InProgress,
        &["inprogress", "currentstate", "进行中", "正在进行"],
    ),
    (
        Known::NextSteps,
        &[
            "nextsteps",
            "nextstep",
            "next",
            "todo",
            "下一步",
            "后续步骤",
        ],
    ),
    (
        Known::Files,
        &["files", "keyfiles", "relevantfiles", "文件", "相关文件"],
    ),
    (
        Known::Prompt,
        &["handoffprompt", "handoff", "交接提示", "交接提示词", "交接"],
    ),
];

/// Takes a body apart. In one of `ours`, some lines are escaped.
pub(super) fn read(body: &str, ours: bool) -> Parts {
    let mut parts = Parts::default();
    let mut at: Option<(String, String)> = None;
    let mut fence: Option<(char, usize)> = None;
    for line in body.lines() {
        let mark = line.trim_start();
        let fence_here = fence_of(mark);
        if let Some(open) = fence {
            if fence_here.is_some_and(|(c, len, bare)| c == open.0 && len >= open.1 && bare) {
                fence = None;
            }
        } else if let Some((c, len, _)) = fence_here {
            fence = Some((c, len));
        } else if let Some(heading) = line.strip_prefix("## ") {
            parts.put(at.take());
            at = Some((
                heading.trim().trim_end_matches('#').trim().to_owned(),
                String::new(),
            ));
            continue;
        } else if let Some(title) = line.strip_prefix("# ") {
            if parts.title.is_empty() {
                title.trim().clone_into(&mut parts.title);
            }
            // A title ends nothing: below a section, it is its text.
            if at.is_none() {
                continue;
            }
        }
        if let Some((_, text)) = &mut at {
            text.push_str(if ours { plain(line) } else { line });
            text.push('\n');
        }
    }
    parts.put(at);
    parts
}

/// A line as it was before [`crate::snapshot`] kept it from being a heading.
fn plain(line: &str) -> &str {
    let escaped = line.strip_prefix('\\');
    escaped
        .filter(|l| l.starts_with('#') || *l == "---")
        .unwrap_or(line)
}

/// The mark, its length, and whether nothing follows it.
fn fence_of(line: &str) -> Option<(char, usize, bool)> {
    let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let len = line.chars().take_while(|c| *c == mark).count();
    let rest = line.get(len..).unwrap_or_default();
    (len >= 3).then(|| (mark, len, rest.trim().is_empty()))
}

fn folded(heading: &str) -> String {
    let letters = heading.chars().filter(|c| c.is_alphabetic());
    letters.flat_map(char::to_lowercase).collect()
}

impl Parts {
    fn put(&mut self, section: Option<(String, String)>) {
        let Some((heading, text)) = section else {
            return;
        };
        let text = text.trim_matches('\n').trim_end();
        let folded = folded(&heading);
        let known = HEADINGS
            .iter()
            .find(|(_, names)| names.contains(&folded.as_str()));
        let place = match known {
            Some((Known::Task, _)) => &mut self.known.task,
            Some((Known::Done, _)) => &mut self.known.done,
            Some((Known::InProgress, _)) => &mut self.known.in_progress,
            Some((Known::NextSteps, _)) => &mut self.known.next_steps,
            Some((Known::Files, _)) => &mut self.known.files,
            Some((Known::Prompt, _)) => &mut self.known.handoff_prompt,
            None => return self.others.push((heading, text.to_owned())),
        };
        // Said twice: one below the other.
        if !place.is_empty() && !text.is_empty() {
            place.push_str("\n\n");
        }
        place.push_str(text);
    }
}
