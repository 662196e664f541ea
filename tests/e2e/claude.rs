//! Stands for Claude Code: a process that lives, and the hooks it would fire.

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::world::{Device, Session, feed};

/// One process that has a session open. It is killed when it goes.
pub(super) struct Claude {
    child: Child,
}

impl Claude {
    /// A process, and nothing that anybody could know of it.
    pub(super) fn silent() -> Self {
        let child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// A process that opens a session and says so.
    pub(super) fn open(device: &Device, session: &Session) -> Self {
        let claude = Self::silent();
        claude.hook(device, session, "SessionStart");
        claude
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fires a hook as this process; what it prints.
    pub(super) fn hook(&self, device: &Device, session: &Session, event: &str) -> String {
        let mut payload = session.payload(event);
        payload["source"] = json!("resume");
        payload["prompt"] = json!("go on");
        payload["reason"] = json!("prompt_input_exit");
        let mut command = device.command(&["hook", event]);
        command.env("CLAUDE_PID", self.pid().to_string());
        let ran = feed(command, payload.to_string().as_bytes());
        assert_eq!(ran.code, 0, "hook {event}: {}", ran.stderr);
        ran.stdout
    }

    /// A turn begins.
    pub(super) fn prompt(&self, device: &Device, session: &Session) {
        self.hook(device, session, "UserPromptSubmit");
    }

    /// The turn has written its lines, and ends.
    pub(super) fn answer(&self, device: &Device, session: &mut Session, prompt: &str) {
        session.append(prompt);
        self.hook(device, session, "Stop");
    }

    /// Says in Claude Code's registry what this process has open.
    pub(super) fn register(&self, device: &Device, session: &Session, status: &str) {
        let dir = device.claude().join("sessions");
        fs::create_dir_all(&dir).unwrap();
        let claim: Value = json!({
            "pid": self.pid(), "sessionId": session.id, "cwd": session.project, "status": status,
        });
        let (new, path) = (dir.join("new"), dir.join(format!("{}.json", self.pid())));
        fs::write(&new, claim.to_string()).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Killed, so that no hook fires. Its parent does not look for a while.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
    }
}

impl Drop for Claude {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
