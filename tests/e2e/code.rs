//! Pairing as two people do it: one has a code shown, the other types it, and
//! the first says yes. Must not know how the devices reach each other.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use super::world::Device;

/// `ccpeer pair`, with a secret on its screen.
pub(super) struct Inviting {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// The code or the ticket.
    pub(super) secret: String,
}

impl Inviting {
    /// With a code that is looked for by multicast.
    pub(super) fn by_code(device: &Device) -> Self {
        Self::begin(device, &["pair", "--json"], "code")
    }

    /// With a ticket that says where the device is.
    pub(super) fn by_ticket(device: &Device) -> Self {
        Self::begin(device, &["pair", "--ticket", "--json"], "ticket")
    }

    pub(super) fn begin(device: &Device, args: &[&str], what: &str) -> Self {
        let mut child = device.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let secret = event[what].as_str().unwrap_or_else(|| panic!("{line}"));
        Self {
            child,
            lines,
            secret: secret.to_owned(),
        }
    }

    /// The process that shows it.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says yes to whoever comes.
    pub(super) fn say_yes(&mut self) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(b"y\n").unwrap();
    }

    /// What it said from then on, and its exit status.
    pub(super) fn end(mut self) -> (String, i32) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap().code().unwrap_or(-1))
    }
}

/// The whole of it; the secret is returned.
pub(super) fn pair_with(mut inviting: Inviting, joining: &Device) -> String {
    inviting.say_yes();
    let secret = inviting.secret.clone();
    let typed = format!("{}\n", secret.to_lowercase());
    let joined = joining.run_with(&["join", "--json"], typed.as_bytes());
    assert_eq!(joined.code, 0, "{}{}", joined.stdout, joined.stderr);
    let (told, status) = inviting.end();
    assert!(told.contains("\"paired\""), "{told}");
    assert_eq!(status, 0, "{told}");
    secret
}
