//! A small session as Claude Code writes one: chained records with their working
//! directory, tool calls with absolute paths, a sub-agent, a file's history and
//! a task list. Made of nothing but what this file says.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::stage::{Failure, Machine, failure};

const VERSION: &str = "2.1.329";
const MODEL: &str = "claude-opus-5-5";
const FIRST_REPLY: &str = "notes.py is there and its test passes. Search is still missing.";
const NEXT_REPLY: &str = "Search is there too, and both tests pass.";

/// The made-up session.
pub(super) struct Session {
    /// Its id, in the form that Claude Code uses.
    pub(super) id: String,
    /// Name of the sub-agent's file, without its ending.
    helper: String,
    /// The last record of the first turns: the next one hangs on it.
    leaf: String,
    draw: fn() -> String,
}

impl Session {
    pub(super) fn new(draw: fn() -> String) -> Self {
        let helper: String = draw().chars().take(16).collect();
        Self {
            id: uuid(draw),
            helper: format!("agent-a{helper}"),
            leaf: uuid(draw),
            draw,
        }
    }

    /// What has been done on the first machine. Gives the transcript's path.
    pub(super) fn write_first_turns(&self, on: &Machine) -> Result<PathBuf, Failure> {
        let project = on.project.to_string_lossy().into_owned();
        let file = on.project.join("notes.py").to_string_lossy().into_owned();
        let claude = on.claude();
        let dir = claude.join("projects").join(directory_name(&on.project));
        let transcript = dir.join(format!("{}.jsonl", self.id));
        let backup = "4a1f6c02d9b7e358@v2";

        let mut lines = Chain::new(self, &project, 120);
        lines.state(json!({"type": "mode", "mode": "normal"}));
        let prompt = lines.prompt("Write a small notes program, with a test.");
        lines.reply_with_tool(
            "I will write the program first.",
            "Write",
            json!({"file_path": file, "content": "notes = []\n"}),
            &format!("File created successfully at: {file}"),
            json!({"type": "create", "filePath": file, "content": "notes = []\n",
                   "structuredPatch": [], "originalFile": null}),
        );
        lines.state(json!({
            "type": "file-history-snapshot", "messageId": prompt, "isSnapshotUpdate": false,
            "snapshot": {"messageId": prompt, "timestamp": now(100), "trackedFileBackups": {
                "notes.py": {"backupFileName": backup, "version": 2,
                             "backupTime": now(100), "realParentDir": project}}},
        }));
        lines.reply_with_tool(
            "Now I look at it.",
            "Bash",
            json!({"command": format!("cat {file} && ls {project}"), "description": "Show the file"}),
            "notes = []\nnotes.py",
            json!({"stdout": "notes = []\nnotes.py", "stderr": "", "interrupted": false}),
        );
        lines.reply_with_tool(
            "A helper writes the test.",
            "Agent",
            json!({"description": "Write the test", "subagent_type": "general-purpose",
                   "prompt": format!("Write a test for {file}.")}),
            &format!("The test is in {project}/test_notes.py."),
            json!({"status": "completed", "agentId": self.helper.trim_start_matches("agent-"),
                   "prompt": format!("Write a test for {file}.")}),
        );
        lines.reply(FIRST_REPLY, Some(&self.leaf));
        lines.state(json!({"type": "custom-title", "customTitle": "Notes program with search"}));
        lines.state(json!({"type": "last-prompt", "leafUuid": self.leaf,
                           "lastPrompt": "Write a small notes program, with a test."}));
        write(&transcript, &lines.text)?;

        let helpers = dir.join(&self.id).join("subagents");
        let mut side = Chain::new(self, &project, 60);
        side.helper = Some(self.helper.trim_start_matches("agent-").to_owned());
        side.prompt(&format!("Write a test for {file}."));
        side.reply(&format!("The test is in {project}/test_notes.py."), None);
        write(&helpers.join(format!("{}.jsonl", self.helper)), &side.text)?;
        let meta = json!({"agentType": "general-purpose", "isBuiltIn": true,
                          "description": "Write the test", "spawnDepth": 1, "finished": true});
        write(
            &helpers.join(format!("{}.meta.json", self.helper)),
            &meta.to_string(),
        )?;

        write(
            &claude.join("file-history").join(&self.id).join(backup),
            "notes = []\n",
        )?;
        let tasks = [
            ("Write the program", "completed"),
            ("Add a search", "pending"),
        ];
        for (n, (subject, status)) in tasks.into_iter().enumerate() {
            let id = (n + 1).to_string();
            let task = json!({"id": id, "subject": subject, "description": subject,
                              "status": status, "blocks": [], "blockedBy": []});
            let path = claude
                .join("tasks")
                .join(&self.id)
                .join(format!("{id}.json"));
            write(&path, &format!("{task:#}"))?;
        }
        write(&on.project.join("notes.py"), "notes = []\n")?;
        Ok(transcript)
    }

    /// One more turn, on whichever machine the session is now.
    pub(super) fn write_next_turn(&self, on: &Machine, transcript: &Path) -> Result<(), Failure> {
        let project = on.project.to_string_lossy().into_owned();
        let file = on.project.join("notes.py").to_string_lossy().into_owned();
        let mut lines = Chain::new(self, &project, 5);
        lines.parent = Some(self.leaf.clone());
        lines.prompt("Now add a search.");
        lines.reply_with_tool(
            "I add it.",
            "Edit",
            json!({"file_path": file, "old_string": "notes = []\n",
                   "new_string": "notes = []\n\ndef search(word): ...\n"}),
            &format!("The file {file} has been updated successfully."),
            json!({"filePath": file, "oldString": "notes = []\n", "structuredPatch": []}),
        );
        lines.reply(NEXT_REPLY, None);
        let before = fs::read_to_string(transcript).map_err(|e| failure(e.to_string()))?;
        write(transcript, &(before + &lines.text))
    }

    /// What Claude Code does when a turn has ended.
    pub(super) fn end_turn(&self, on: &Machine, transcript: &Path) -> Result<(), Failure> {
        let about = json!({"stop_hook_active": false, "permission_mode": "default",
                           "last_assistant_message": FIRST_REPLY, "background_tasks": []});
        self.hook("Stop", about, on, transcript)
    }

    /// What Claude Code does when its window is closed.
    pub(super) fn close(&self, on: &Machine, transcript: &Path) -> Result<(), Failure> {
        let about = json!({"reason": "prompt_input_exit"});
        self.hook("SessionEnd", about, on, transcript)
    }

    fn hook(
        &self,
        event: &str,
        mut input: Value,
        on: &Machine,
        transcript: &Path,
    ) -> Result<(), Failure> {
        let project = on.project.to_string_lossy();
        input["session_id"] = json!(self.id);
        input["transcript_path"] = json!(transcript.to_string_lossy());
        input["cwd"] = json!(project);
        input["hook_event_name"] = json!(event);
        let env = [
            ("CLAUDE_PROJECT_DIR", &*project),
            ("CLAUDE_CODE_SESSION_ID", self.id.as_str()),
        ];
        let input = input.to_string();
        on.run(&["hook", event], &env, input.as_bytes(), "event.json")?;
        Ok(())
    }
}

/// Records that hang one on the other.
struct Chain<'a> {
    session: &'a Session,
    project: &'a str,
    text: String,
    parent: Option<String>,
    /// Id of the sub-agent whose records these are.
    helper: Option<String>,
    /// How long ago the next record was written, seconds.
    ago: u64,
}

impl<'a> Chain<'a> {
    fn new(session: &'a Session, project: &'a str, ago: u64) -> Self {
        Self {
            session,
            project,
            text: String::new(),
            parent: None,
            helper: None,
            ago,
        }
    }

    /// What the user says.
    fn prompt(&mut self, text: &str) -> String {
        let content = json!({"role": "user", "content": text});
        let more = json!({"origin": {"kind": "human"}, "promptSource": "typed"});
        self.record("user", content, more, None)
    }

    /// What Claude says.
    fn reply(&mut self, text: &str, uuid: Option<&str>) {
        let block = json!([{"type": "text", "text": text}]);
        self.assistant(block, "end_turn", uuid);
    }

    /// What Claude says and does, and what came of it.
    fn reply_with_tool(
        &mut self,
        text: &str,
        tool: &str,
        input: Value,
        result: &str,
        detail: Value,
    ) {
        let call = format!("toolu_{}", (self.session.draw)());
        self.assistant(json!([{"type": "text", "text": text}]), "tool_use", None);
        let used = json!([{"type": "tool_use", "id": call, "name": tool, "input": input}]);
        let source = self.assistant(used, "tool_use", None);
        let content = json!({"role": "user", "content":
            [{"tool_use_id": call, "type": "tool_result", "content": result}]});
        let more = json!({"toolUseResult": detail, "sourceToolAssistantUUID": source});
        self.record("user", content, more, None);
    }

    fn assistant(&mut self, content: Value, stop: &str, uuid: Option<&str>) -> String {
        let id = format!("msg_{}", (self.session.draw)());
        let message = json!({"id": id, "type": "message", "role": "assistant", "model": MODEL,
            "content": content, "stop_reason": stop, "stop_sequence": null,
            "usage": {"input_tokens": 1200, "output_tokens": 60}});
        self.record("assistant", message, json!({}), uuid)
    }

    fn record(&mut self, kind: &str, message: Value, more: Value, id: Option<&str>) -> String {
        let id = id.map_or_else(|| uuid(self.session.draw), str::to_owned);
        self.ago = self.ago.saturating_sub(3);
        let mut record = json!({
            "parentUuid": self.parent, "isSidechain": self.helper.is_some(),
            "type": kind, "message": message, "uuid": id, "timestamp": now(self.ago),
        });
        if let Some(helper) = &self.helper {
            record["agentId"] = json!(helper);
        }
        let common = json!({"userType": "external", "entrypoint": "cli", "cwd": self.project,
            "sessionId": self.session.id, "version": VERSION, "gitBranch": "HEAD"});
        for (key, value) in [more, common].into_iter().filter_map(fields).flatten() {
            record[key] = value;
        }
        self.text += &format!("{record}\n");
        self.parent = Some(id.clone());
        id
    }

    /// A record outside of the chain.
    fn state(&mut self, mut record: Value) {
        record["sessionId"] = json!(self.session.id);
        self.text += &format!("{record}\n");
    }
}

fn fields(value: Value) -> Option<serde_json::Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

/// The name of a project's directory in Claude Code's own one: every UTF-16 unit
/// that is not a letter or digit becomes a hyphen. Short paths only.
pub(super) fn directory_name(project: &Path) -> String {
    let unit = |u: u16| match u8::try_from(u) {
        Ok(b) if b.is_ascii_alphanumeric() => char::from(b),
        _ => '-',
    };
    project.to_string_lossy().encode_utf16().map(unit).collect()
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let dir = path.parent().unwrap_or(path);
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(path, text))
        .map_err(|e| failure(format!("{}: {e}", path.display())))
}

/// A random UUID, from 128 random bits in hex.
fn uuid(draw: fn() -> String) -> String {
    let hex = draw();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-4{}-a{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    )
}

/// A moment some seconds ago, as RFC 3339.
fn now(seconds_ago: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    rfc3339(now.map_or(0, |d| d.as_secs()).saturating_sub(seconds_ago))
}

fn rfc3339(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days to the civil calendar: years begin in March, so that the leap day
    // comes last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ids_have_their_form() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_709_208_000), "2024-02-29T12:00:00.000Z");
        assert_eq!(rfc3339(1_795_220_225), "2026-11-21T00:17:05.000Z");
        let id = uuid(ccpeer_agent::spool::draw_id);
        assert!(id.parse::<ccpeer_core::id::SessionId>().is_ok(), "{id}");
        assert_eq!(directory_name(Path::new("/a/b_c 界😀")), "-a-b-c----");
    }
}
