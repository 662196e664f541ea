//! `ccpeer status`

use ccpeer_agent::api::{ErrorCode, Expiring, Request, Status, StoreStatus, SummaryStatus};
use ccpeer_agent::{hooks, spool};

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
    }
}

fn print(status: &Status) -> Result<(), CommandError> {
    let pid = status.pid.map(|pid| format!(", process {pid}"));
    say(format!(
        "agent   {}, version {}{}",
        status.agent,
        status.version,
        pid.unwrap_or_default()
    ))?;
    if let Some(device) = &status.device {
        say(format!("device  {}  {}", device.name, device.id))?;
    }
    for addr in &status.listen {
        say(format!("listen  {addr}"))?;
    }
    if let Some(relay) = &status.relay {
        relay_choice::show(relay)?;
    }
    say(format!(
        "store   {}, {} sessions, {} chunks",
        table::size(status.store.bytes),
        status.store.sessions,
        status.store.chunks
    ))?;
    say(format!(
        "hooks   {}, {} received, {} waiting",
        status.hooks, status.hooks_received, status.spool
    ))?;
    if let Some(summary) = status.summary.as_ref().filter(|s| s.by != "off") {
        say(format!("summary {}", summary_line(summary)))?;
    }
    say(format!("claude  {}", status.claude_dir))?;
    say(format!("home    {}", status.home))?;
    for taken in &status.taken_over {
        let session = table::short(&taken.session_id);
        say(format!(
            "taken   session {session}, open here, by {}",
            taken.by.name
        ))?;
    }
    if !status.expiring.sessions.is_empty() {
        say(format!(
            "expiry  {} sessions that no other machine holds, within {} days",
            status.expiring.sessions.len(),
            status.expiring.warn_days
        ))?;
    }
    if let Some(e) = &status.last_error {
        say(format!("error   {}", ccpeer_core::text::one_line(e, 200)))?;
    }
    for finding in &status.findings {
        let word = |s: &str| ccpeer_core::text::one_line(s, 400);
        say(format!("notice  {}", word(&finding.message)))?;
        talk(format!("hint: {}", word(&finding.hint)));
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
                    match peer.theirs.as_str() {
                        "waiting" | "revoked" if peer.state == "offline" => peer.theirs.clone(),
                        _ => peer.state.clone(),
                    },
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
