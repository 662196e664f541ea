//! What `ccpeer policy` says of secrets: what becomes of them on their way to
//! bridges, and which sessions hold what looks like some

use ccpeer_agent::api::{BridgeGate, Gate, Policy, SecretsFound};
use ccpeer_core::text;

use crate::context::{say, talk};
use crate::error::CommandError;
use crate::table::{self, Column};

/// A line for each bridge.
pub(crate) fn bridges(policy: &Policy) -> Result<(), CommandError> {
    let mut label = "secrets";
    for bridge in &policy.bridges {
        say(format!("{label:<8}{}", words(bridge)))?;
        label = "";
    }
    Ok(())
}

/// The bridges, and the sessions.
pub(crate) fn list(policy: &Policy) -> Result<(), CommandError> {
    bridges(policy)?;
    if policy.secrets.is_empty() {
        talk("No session of this machine is known to hold what looks like a secret.");
        return Ok(());
    }
    say("")?;
    let columns = [
        Column("SESSION", 8),
        Column("FIRST IN", 20),
        Column("AGE", 6),
        Column("WHAT IT LOOKS LIKE", 0),
    ];
    let rows: Vec<Vec<String>> = policy.secrets.iter().map(row).collect();
    table::render(&columns, &rows)
        .into_iter()
        .try_for_each(say)?;
    talk("Your paired devices hold these, too. What is counted is what was found at first.");
    Ok(())
}

fn words(bridge: &BridgeGate) -> String {
    let what = match (bridge.how, bridge.kind.as_str()) {
        (Gate::Warn, "encrypted") => "let through: your own devices alone read it",
        (Gate::Warn, _) => "let through",
        (Gate::Hold, _) => "the session stays here",
        (Gate::Redact, "serve") => "taken out",
        (Gate::Redact, _) => "taken out for others; the backup leaves the session out",
    };
    match &bridge.url {
        Some(url) => format!(
            "{what}, in {} ({})",
            bridge.bridge,
            text::one_line(url, 100)
        ),
        None => format!("{what}, for clients of `ccpeer serve`"),
    }
}

fn row(found: &SecretsFound) -> Vec<String> {
    let kinds = found.kinds.iter();
    let kinds: Vec<String> = kinds
        .map(|(kind, n)| format!("{n} {}", kind.replace('_', " ")))
        .collect();
    let place = match &found.agent {
        Some(agent) => format!("{agent}:{}", found.line),
        None => format!("line {}", found.line),
    };
    vec![
        table::short(&found.session_id),
        place,
        table::age(&found.since),
        kinds.join(", "),
    ]
}
