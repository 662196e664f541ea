//! `ccpeer status`

use ccpeer_agent::api::{
    ErrorCode, Expiring, PeerStatus, Request, Status, StoreStatus, SummaryStatus,
};
use ccpeer_agent::{hooks, spool};

use super::pause;
use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;
use crate::relay_choice;
use crate::table::{self, Column};

/// Show the health of the agent, the other devices and the store
///
/// A stopped agent is an answer, not a failure: the exit code is 0.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &StatusArgs, context: &Context) -> Result<(), CommandError> {
    let status = match context.get(&Request::Status) {
        Ok(status) => status,
        Err(CommandError::Told(e)) if e.code == ErrorCode::Agent => {
            let mut stopped = stopped(context);
            // Absent is the normal way of being stopped; all else is a finding.
            if e.message != "no agent is running" {
                stopped.last_error = Some(e.message);
            }
            stopped
        }
        Err(e) => return Err(e),
    };
    if args.json {
        return say_json(&status);
    }
    print(&status)
}

/// What can be told without an agent.
fn stopped(context: &Context) -> Status {
    let home = &context.home;
    let hooks = hooks::status(home).map_or("missing", |status| status.hooks.as_str());
    Status {
        agent: "stopped".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: None,
        device: None,
        listen: Vec::new(),
        peers: Vec::new(),
        store: StoreStatus {
            bytes: std::fs::metadata(home.store()).map_or(0, |m| m.len()),
            ..StoreStatus::default()
        },
        spool: spool::count(home),
        hooks_received: 0,
        hooks: hooks.to_owned(),
        claude_dir: home.claude().display().to_string(),
        home: home.root().display().to_string(),
        last_error: None,
        taken_over: Vec::new(),
        expiring: Expiring::default(),
        findings: Vec::new(),
        mdns: None,
        listen_only: None,
        relay: None,
        summary: None,
        paused: None,
    }
}

/// One thing that `status` says: what about, what, and what to do.
pub(crate) struct Line {
    pub(crate) label: &'static str,
    pub(crate) said: String,
    pub(crate) hint: Option<String>,
}

impl Line {
    fn new(label: &'static str, said: String, hint: Option<String>) -> Self {
        Self { label, said, hint }
    }
}

/// All but the other devices.
pub(crate) fn lines(status: &Status) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = |label, said| lines.push(Line::new(label, said, None));
    let pid = status.pid.map(|pid| format!(", process {pid}"));
    line(
        "agent",
        format!(
            "{}, version {}{}",
            status.agent,
            status.version,
            pid.unwrap_or_default()
        ),
    );
    if let Some(device) = &status.device {
        line("device", format!("{}  {}", device.name, device.id));
    }
    for addr in &status.listen {
        line("listen", addr.clone());
    }
    if let Some((said, hint)) = status.relay.as_ref().and_then(relay_choice::words) {
        lines.push(Line::new("relay", said, hint));
    }
    if let Some(paused) = &status.paused {
        let said = format!("nothing is exchanged{}", pause::until(paused));
        let hint = "`ccpeer resume` ends the pause".to_owned();
        lines.push(Line::new("paused", said, Some(hint)));
    }
    let mut line = |label, said| lines.push(Line::new(label, said, None));
    line(
        "store",
        format!(
            "{}, {} sessions, {} chunks",
            table::size(status.store.bytes),
            status.store.sessions,
            status.store.chunks
        ),
    );
    line(
        "hooks",
        format!(
            "{}, {} received, {} waiting",
            status.hooks, status.hooks_received, status.spool
        ),
    );
    if let Some(summary) = status.summary.as_ref().filter(|s| s.by != "off") {
        line("summary", summary_line(summary));
    }
    line("claude", status.claude_dir.clone());
    line("home", status.home.clone());
    for taken in &status.taken_over {
        let session = table::short(&taken.session_id);
        line(
            "taken",
            format!("session {session}, open here, by {}", taken.by.name),
        );
    }
    if !status.expiring.sessions.is_empty() {
        line(
            "expiry",
            format!(
                "{} sessions that no other machine holds, within {} days",
                status.expiring.sessions.len(),
                status.expiring.warn_days
            ),
        );
    }
    if let Some(e) = &status.last_error {
        line("error", ccpeer_core::text::one_line(e, 200));
    }
    let word = |s: &str| ccpeer_core::text::one_line(s, 400);
    lines.extend(status.findings.iter().map(|finding| {
        let hint = Some(word(&finding.hint));
        Line::new("notice", word(&finding.message), hint)
    }));
    lines
}

/// Whether a peer is there; or why that is not to be expected.
pub(crate) fn peer_state(peer: &PeerStatus) -> &str {
    match peer.theirs.as_str() {
        "waiting" | "revoked" if peer.state == "offline" => &peer.theirs,
        _ => &peer.state,
    }
}

fn print(status: &Status) -> Result<(), CommandError> {
    for Line { label, said, hint } in lines(status) {
        say(format!("{label:<8}{said}"))?;
        if let Some(hint) = hint {
            talk(format!("hint: {hint}"));
        }
    }
    if !status.peers.is_empty() {
        say("")?;
        let columns = [
            Column("PEER", 24),
            Column("STATE", 9),
            Column("PATH", 7),
            Column("BEHIND", 8),
            Column("RTT", 8),
            Column("ID", 8),
        ];
        let rows: Vec<Vec<String>> = status
            .peers
            .iter()
            .map(|peer| {
                vec![
                    peer.name.clone(),
                    peer_state(peer).to_owned(),
                    peer.path.clone().unwrap_or_default(),
                    peer.behind.to_string(),
                    peer.rtt_ms.map(|ms| format!("{ms} ms")).unwrap_or_default(),
                    table::short(&peer.id),
                ]
            })
            .collect();
        for line in table::render(&columns, &rows) {
            say(line)?;
        }
    }
    if status.agent == "stopped" {
        talk("\nStart the agent with `ccpeer up`.");
    }
    Ok(())
}

/// Who writes summaries, how often he did, and what is wrong with it.
fn summary_line(summary: &SummaryStatus) -> String {
    let running = if summary.running {
        ", one is being written"
    } else {
        ""
    };
    let mut line = format!(
        "by {}, {} of {} requests today{running}",
        summary.by, summary.runs_today, summary.per_day
    );
    if summary.program.is_none() {
        line += ", but its program is not found";
    } else if let (1.., Some(why)) = (summary.failures, &summary.last_failure) {
        line += &format!(
            "\n        the last one failed: {}",
            ccpeer_core::text::one_line(why, 120)
        );
    }
    line
}
