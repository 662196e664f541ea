//! The fixed phrases of a hand-off document, in the language of the session.

use crate::claude::transcript::Prompt;

/// The languages that the phrases exist in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Chinese,
}

use Language::{Chinese, English};

impl Language {
    /// The language of most of what the user wrote: a Chinese character weighs as
    /// much as a word of letters.
    pub(super) fn of(prompts: &[Prompt]) -> Self {
        let (mut han, mut kana, mut words) = (0usize, 0usize, 0usize);
        for prompt in prompts {
            let mut in_word = false;
            for c in prompt.text.chars() {
                let is_letter = c.is_alphabetic() && u32::from(c) < 0x1100;
                words += usize::from(is_letter && !in_word);
                in_word = is_letter || (in_word && (c.is_ascii_digit() || "_-./'".contains(c)));
                match u32::from(c) {
                    0x3400..=0x4dbf | 0x4e00..=0x9fff | 0x20000..=0x323af => han += 1,
                    0x3040..=0x30ff => kana += 1,
                    _ => {}
                }
            }
        }
        if han > words && han > kana * 4 {
            Chinese
        } else {
            English
        }
    }

    /// The language of a text of ours or of a model's.
    pub(super) fn of_text(text: &str) -> Self {
        let prompt = Prompt {
            text: text.to_owned(),
            at_ms: None,
            answer: None,
        };
        Self::of(&[prompt])
    }

    fn pick(self, english: &'static str, chinese: &'static str) -> &'static str {
        match self {
            English => english,
            Chinese => chinese,
        }
    }

    // What a model wrote, and what is known beside it.

    pub(super) fn recorded(self) -> &'static str {
        self.pick("On record:", "记录：")
    }
    pub(super) fn since(self, records: u64) -> String {
        match self {
            English => {
                format!("The above is {records} records behind. On record since, and before:")
            }
            Chinese => format!("以上内容落后 {records} 条记录。截至目前的记录："),
        }
    }

    // Task.

    pub(super) fn asked_first(self) -> &'static str {
        self.pick("The user asked:", "用户的要求：")
    }
    pub(super) fn asked_later(self) -> &'static str {
        self.pick("Later, in this order:", "之后依次要求：")
    }
    pub(super) fn asked_last(self) -> &'static str {
        self.pick("The latest request:", "最近一次要求：")
    }
    pub(super) fn some_left_out(self) -> &'static str {
        self.pick(
            "(some requests in between are left out)",
            "（中间若干要求略去）",
        )
    }
    pub(super) fn agreed_plan(self) -> &'static str {
        self.pick("The plan that the user agreed to:", "用户已同意的计划：")
    }
    pub(super) fn decisions(self) -> &'static str {
        self.pick("Questions that the user has decided:", "用户已作出的决定：")
    }
    pub(super) fn nothing_asked(self) -> &'static str {
        self.pick("Nothing has been asked yet.", "尚未提出任何要求。")
    }

    // Done.

    pub(super) fn before_compaction(self) -> &'static str {
        self.pick(
            "Claude's own summary of everything before the conversation was last compacted:",
            "上次压缩之前的全部内容，Claude 自己的总结：",
        )
    }
    pub(super) fn commit(self) -> &'static str {
        self.pick("commit", "提交")
    }
    pub(super) fn passes(self, command: &str) -> String {
        match self {
            English => format!("{command} succeeded when it was last run"),
            Chinese => format!("{command} 最近一次运行成功"),
        }
    }
    pub(super) fn answered(self) -> &'static str {
        self.pick(
            "Earlier requests, and what Claude said at the end of each:",
            "之前的要求，以及 Claude 每次最后的答复：",
        )
    }
    pub(super) fn request_and_answer(self, request: &str, answer: &str) -> String {
        match self {
            English => format!("“{request}” — {answer}"),
            Chinese => format!("“{request}”：{answer}"),
        }
    }
    pub(super) fn last_report(self) -> &'static str {
        self.pick("Claude's last report:", "Claude 的最后一次报告：")
    }
    pub(super) fn nothing_done(self) -> &'static str {
        self.pick("Nothing is recorded as finished.", "没有已完成的记录。")
    }

    // In progress.

    pub(super) fn is_working(self, device: &str) -> String {
        match self {
            English => format!(
                "Claude was working on the latest request on {device} when this was written."
            ),
            Chinese => format!("写下本文时，Claude 正在 {device} 上处理最近一次要求。"),
        }
    }
    pub(super) fn cut_off(self) -> &'static str {
        self.pick(
            "The session stopped in the middle of a turn: the latest request has no final answer.",
            "会话在一轮中途停止：最近一次要求还没有最终答复。",
        )
    }
    pub(super) fn stopped_by_user(self) -> &'static str {
        self.pick(
            "The user stopped Claude in the middle of the latest request.",
            "用户在最近一次要求处理途中中断了 Claude。",
        )
    }
    pub(super) fn failed(self, why: &str) -> String {
        match self {
            English => format!("The latest request failed without an answer: {why}"),
            Chinese => format!("最近一次要求失败，没有答复：{why}"),
        }
    }
    pub(super) fn waits(self, device: &str) -> String {
        match self {
            English => format!(
                "Claude has answered the latest request; the session is open on {device} and waits for the user."
            ),
            Chinese => format!("Claude 已答复最近一次要求；会话在 {device} 上打开，等待用户。"),
        }
    }
    pub(super) fn closed(self) -> &'static str {
        self.pick(
            "Claude has answered the latest request, and the session was closed.",
            "Claude 已答复最近一次要求，会话已关闭。",
        )
    }
    pub(super) fn gone(self) -> &'static str {
        self.pick(
            "Claude has answered the latest request; the session then ended without being closed.",
            "Claude 已答复最近一次要求；之后会话未正常关闭就结束了。",
        )
    }
    pub(super) fn marked_done(self) -> &'static str {
        self.pick(
            "The user marked this task as finished.",
            "用户已将此任务标为完成。",
        )
    }
    pub(super) fn last_words(self) -> &'static str {
        self.pick("What Claude said last:", "Claude 最后说的话：")
    }
    pub(super) fn begun(self, subject: &str) -> String {
        match self {
            English => format!("Begun: {subject}"),
            Chinese => format!("进行中：{subject}"),
        }
    }
    pub(super) fn no_result(self, what: &str) -> String {
        match self {
            English => format!("Started and without a result: {what}"),
            Chinese => format!("已启动但没有结果：{what}"),
        }
    }
    pub(super) fn fails(self, command: &str) -> String {
        match self {
            English => format!("{command} failed when it was last run:"),
            Chinese => format!("{command} 最近一次运行失败："),
        }
    }
    pub(super) fn subagent(self, about: &str) -> String {
        match self {
            English => format!("A sub-agent was not seen to finish: {about}"),
            Chinese => format!("子代理未见结束：{about}"),
        }
    }
    pub(super) fn uncommitted(self, device: &str, count: usize) -> String {
        match self {
            English if count == 1 => format!("1 uncommitted change on {device}:"),
            English => format!("{count} uncommitted changes on {device}:"),
            Chinese => format!("{device} 上有 {count} 处未提交的改动："),
        }
    }

    // Next steps.

    pub(super) fn fetch_changes(self, device: &str, commit: Option<&str>) -> String {
        match (self, commit) {
            (English, Some(c)) => format!(
                "Check out {c} and bring over the uncommitted changes from {device}: only the session travels by itself, files do not."
            ),
            (English, None) => format!(
                "Bring over the uncommitted changes from {device}: only the session travels by itself, files do not."
            ),
            (Chinese, Some(c)) => format!(
                "检出{c}，并把 {device} 上未提交的改动带过来：自动同步的只有会话，没有文件。"
            ),
            (Chinese, None) => {
                format!("把 {device} 上未提交的改动带过来：自动同步的只有会话，没有文件。")
            }
        }
    }
    pub(super) fn check_out(self, commit: &str) -> String {
        match self {
            English => {
                format!("Make sure that the project here is at {commit}; nothing was uncommitted.")
            }
            Chinese => format!("确认这里的项目处于{commit}；当时没有未提交的改动。"),
        }
    }
    pub(super) fn compare_files(self, device: &str) -> String {
        match self {
            English => format!(
                "Make sure that the files named below are here as they are on {device}: only the session travels by itself, files do not."
            ),
            Chinese => {
                format!("确认下面列出的文件与 {device} 上一致：自动同步的只有会话，没有文件。")
            }
        }
    }
    pub(super) fn finish_request(self, request: &str) -> String {
        match self {
            English => format!("Finish the latest request: “{request}”"),
            Chinese => format!("完成最近一次要求：“{request}”"),
        }
    }
    pub(super) fn run_again(self, what: &str) -> String {
        match self {
            English => format!("See whether this took effect, and do it again if not: {what}"),
            Chinese => format!("确认是否已生效，否则重新执行：{what}"),
        }
    }
    pub(super) fn make_pass(self, command: &str) -> String {
        match self {
            English => format!("Make {command} succeed."),
            Chinese => format!("使 {command} 成功。"),
        }
    }
    pub(super) fn ask_user(self) -> &'static str {
        self.pick(
            "Nothing is recorded as open: read Claude's last report, then ask the user what is next.",
            "没有未完成的记录：先看 Claude 的最后一次报告，再问用户下一步。",
        )
    }

    // Files.

    pub(super) fn edited(self, times: u32) -> String {
        match (self, times) {
            (English, 1) => "changed once".to_owned(),
            (English, n) => format!("changed {n} times"),
            (Chinese, n) => format!("修改 {n} 次"),
        }
    }
    pub(super) fn not_committed(self) -> &'static str {
        self.pick("not committed", "未提交")
    }
    pub(super) fn no_files(self) -> &'static str {
        self.pick(
            "Claude has changed no file with its tools.",
            "Claude 没有用工具改动过文件。",
        )
    }
    pub(super) fn and_more(self, count: usize) -> String {
        match self {
            English => format!("… and {count} more"),
            Chinese => format!("……另有 {count} 个"),
        }
    }

    // Hand-off prompt.

    pub(super) fn handoff_open(self, device: &str, title: &str, project: &str, at: &str) -> String {
        let (project, at) = match self {
            English => (
                format!(" in the project {project}"),
                if at.is_empty() {
                    String::new()
                } else {
                    format!(" ({at})")
                },
            ),
            Chinese => (
                format!("，项目 {project}"),
                if at.is_empty() {
                    String::new()
                } else {
                    format!("（{at}）")
                },
            ),
        };
        match self {
            English => format!(
                "You take over a Claude Code session from {device}: “{title}”{project}{at}. Paths are relative to that project's directory."
            ),
            Chinese => format!(
                "你要接手 {device} 上的一个 Claude Code 会话：“{title}”{project}{at}。路径均相对于该项目目录。"
            ),
        }
    }
    pub(super) fn handoff_asked(self, first: &str) -> String {
        match self {
            English => format!("The user asked: “{first}”"),
            Chinese => format!("用户的要求：“{first}”"),
        }
    }
    pub(super) fn handoff_latest(self, last: &str) -> String {
        match self {
            English => format!("The latest request: “{last}”"),
            Chinese => format!("最近一次要求：“{last}”"),
        }
    }
    pub(super) fn handoff_report(self, report: &str) -> String {
        match self {
            English => format!("Claude last said: “{report}”"),
            Chinese => format!("Claude 最后说：“{report}”"),
        }
    }
    pub(super) fn handoff_done(self) -> &'static str {
        self.pick("Done, do not redo: ", "已完成，不要重做：")
    }
    pub(super) fn handoff_open_tasks(self) -> &'static str {
        self.pick("Still open: ", "尚未完成：")
    }
    pub(super) fn handoff_files(self) -> &'static str {
        self.pick("Open these files first: ", "先打开这些文件：")
    }
    pub(super) fn handoff_first(self) -> &'static str {
        self.pick("Before you change anything: ", "动手之前：")
    }
    pub(super) fn handoff_compare(self) -> &'static str {
        self.pick(
            "Compare the files with this description; where they differ, ask.",
            "先把文件与以上描述对照，如有出入就询问。",
        )
    }
    pub(super) fn handoff_then(self) -> &'static str {
        self.pick("Then begin with: ", "然后从这里开始：")
    }
    pub(super) fn comma(self) -> &'static str {
        self.pick(", ", "，")
    }
    pub(super) fn separator(self) -> &'static str {
        self.pick("; ", "；")
    }
    pub(super) fn branch(self, branch: &str) -> String {
        match self {
            English => format!("branch {branch}"),
            Chinese => format!("分支 {branch}"),
        }
    }
    pub(super) fn commit_of(self, branch: Option<&str>, head: &str) -> String {
        match (self, branch) {
            (English, Some(branch)) => format!("commit {head} of branch {branch}"),
            (English, None) => format!("commit {head}"),
            (Chinese, Some(branch)) => format!("分支 {branch} 的提交 {head}"),
            (Chinese, None) => format!("提交 {head}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_the_user_wrote() {
        let check = |texts: &[&str], want: Language| {
            let prompts: Vec<_> = texts
                .iter()
                .map(|t| Prompt {
                    text: (*t).into(),
                    at_ms: None,
                    answer: None,
                })
                .collect();
            assert_eq!(Language::of(&prompts), want, "{texts:?}");
        };
        check(&[], English);
        check(&["fix the parser"], English);
        check(&["请修复 src/parser.rs 里的 parse_line 函数"], Chinese);
        check(&["继续", "run the tests please and tell me"], English);
        check(&["このパーサーを直してください"], English);
        check(&["Répare l'analyseur, s'il te plaît"], English);
    }
}
