//! What the Windows task scheduler is told: pure text and calls, as in the Task
//! Scheduler Schema and `schtasks`.

use std::path::Path;

use super::run::{Call, Ran};
use super::{Job, Running, seal};

/// How often it is started again, a minute apart, which is the shortest pause there
/// is. After these it is started at the next login.
const RESTARTS_MAX: u32 = 999;
/// Begins a file in UTF-16, little end first.
const BOM: [u8; 2] = [0xff, 0xfe];

pub(super) fn text(job: &Job) -> String {
    let escape = seal::escape_xml;
    let args: Vec<String> = job.args.iter().map(|arg| argument(arg)).collect();
    let user = escape(&job.user);
    let lines = [
        r#"<?xml version="1.0" encoding="UTF-16"?>"#.to_owned(),
        "<!-- Written by `ccpeer service install`, which leaves it alone once it was".to_owned(),
        "     changed by hand. `ccpeer service remove` removes the task. -->".to_owned(),
        r#"<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">"#
            .to_owned(),
        "  <RegistrationInfo>".to_owned(),
        "    <Description>ccpeer, which brings Claude Code sessions to your other machines</Description>".to_owned(),
        "  </RegistrationInfo>".to_owned(),
        "  <Triggers>".to_owned(),
        format!("    <LogonTrigger><Enabled>true</Enabled><UserId>{user}</UserId></LogonTrigger>"),
        "  </Triggers>".to_owned(),
        "  <Principals>".to_owned(),
        r#"    <Principal id="Author">"#.to_owned(),
        format!("      <UserId>{user}</UserId>"),
        "      <LogonType>InteractiveToken</LogonType>".to_owned(),
        "      <RunLevel>LeastPrivilege</RunLevel>".to_owned(),
        "    </Principal>".to_owned(),
        "  </Principals>".to_owned(),
        "  <Settings>".to_owned(),
        "    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>".to_owned(),
        "    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>".to_owned(),
        "    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>".to_owned(),
        "    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>".to_owned(),
        format!(
            "    <RestartOnFailure><Interval>PT1M</Interval><Count>{RESTARTS_MAX}</Count></RestartOnFailure>"
        ),
        "    <Hidden>true</Hidden>".to_owned(),
        "  </Settings>".to_owned(),
        r#"  <Actions Context="Author">"#.to_owned(),
        "    <Exec>".to_owned(),
        format!("      <Command>{}</Command>", escape(&job.program)),
        format!("      <Arguments>{}</Arguments>", escape(&args.join(" "))),
        "    </Exec>".to_owned(),
        "  </Actions>".to_owned(),
        "</Task>".to_owned(),
    ];
    seal::seal(&lines, 1, seal::xml_comment, &job.start)
}

/// One argument as a program of Windows takes its command line apart: backslashes
/// count only in front of a quotation mark.
fn argument(text: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && c != '"';
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut out = String::from('"');
    let mut slashes = 0;
    for c in text.chars() {
        match c {
            '\\' => slashes += 1,
            '"' => {
                out += &"\\".repeat(slashes + 1);
                slashes = 0;
            }
            _ => slashes = 0,
        }
        out.push(c);
    }
    out += &"\\".repeat(slashes);
    out.push('"');
    out
}

/// The bytes that the task scheduler reads.
pub(super) fn encode(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    BOM.into_iter().chain(units).collect()
}

/// The text of such bytes.
pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    let (pairs, rest) = bytes.strip_prefix(&BOM)?.as_chunks();
    let units: Vec<u16> = pairs.iter().copied().map(u16::from_le_bytes).collect();
    rest.is_empty().then(|| String::from_utf16(&units).ok())?
}

pub(super) fn create(name: &str, file: &Path) -> Call {
    let mut call = Call::new("schtasks", &["/Create", "/TN", name, "/XML"]).with(file);
    call.args.push("/F".to_owned());
    call
}

pub(super) fn start(name: &str) -> Call {
    Call::new("schtasks", &["/Run", "/TN", name])
}

/// Ending it kills it: whoever removes it has told the agent to end before.
pub(super) fn remove(name: &str) -> Vec<Call> {
    vec![
        Call::new("schtasks", &["/End", "/TN", name]).may_fail(),
        Call::new("schtasks", &["/Delete", "/TN", name, "/F"]),
    ]
}

pub(super) fn ask(name: &str) -> Call {
    Call::new("schtasks", &["/Query", "/TN", name])
}

/// It says whether it knows the task, and the rest in the language of the system.
pub(super) fn read(ran: &Ran) -> Running {
    if ran.ok {
        return Running::told("unknown");
    }
    Running {
        why: Some("the task scheduler does not know the task".to_owned()),
        ..Running::told("failed")
    }
}
