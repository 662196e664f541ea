//! `--relay` of `up` and `agent`: what was said, where the rest of it is read, and
//! the word of warning.

use std::time::{Duration, Instant};

use ccpeer_agent::api::{ApiError, ErrorCode, Relay, RelayChange, Request, Status};
use ccpeer_agent::client::Client;
use ccpeer_core::text;

use crate::context::{Context, say, talk};
use crate::error::CommandError;
use crate::prompt;

/// Stands for "one line on standard input".
const FROM_INPUT: &str = "-";
/// An agent that begins anew is there within this.
const AGAIN_MAX: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The relay that was asked for, complete.
///
/// # Errors
/// If a token was given where others can see it, or nothing stands on standard
/// input.
pub(crate) fn read(said: &str) -> Result<String, ApiError> {
    if said != FROM_INPUT {
        // Arguments can be seen by everybody on this machine.
        if said.contains("token=") {
            return Err(ApiError::new(
                ErrorCode::Usage,
                "a relay's token is not taken from the command line, where others can see it",
            )
            .hint("pipe the address: `ccpeer up --relay - < file`"));
        }
        return Ok(said.to_owned());
    }
    prompt::line("Address of the relay: ")
        .filter(|line| !line.is_empty())
        .ok_or_else(|| {
            ApiError::new(ErrorCode::Usage, "no address was given")
                .hint("run `ccpeer relay --show-address` where the relay runs; it prints one")
        })
}

/// Before public relays are used.
pub(crate) fn warn(relay: &str) {
    if relay.trim() == "n0" {
        talk(
            "notice: the public relays of n0 learn this device's id, its network address, and\n\
             when and how much it exchanges with which other device id. They cannot read\n\
             anything, and nothing is published. Their names are looked up by DNS.\n\
             `ccpeer up --relay off` ends it; `ccpeer relay` runs one of your own.",
        );
    }
}

/// Tells the running agent, and waits until it uses the relay.
///
/// # Errors
/// What the agent says.
pub(crate) fn choose(context: &Context, relay: String) -> Result<Relay, CommandError> {
    let change = Some(RelayChange { relay });
    let answer: Relay = context.get(&Request::Relay { change })?;
    if !answer.again {
        return Ok(answer);
    }
    let until = Instant::now() + AGAIN_MAX;
    while Instant::now() < until {
        let status: Result<Status, _> =
            Client::connect(&context.home).and_then(|mut c| c.get(&Request::Status));
        let is_new = |s: &Status| s.relay.as_ref().is_some_and(|r| r.url == answer.url);
        if status.is_ok_and(|s| is_new(&s)) {
            return context.get(&Request::Relay { change: None });
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err(CommandError::new(
        ErrorCode::Agent,
        "the relay was changed, but the agent did not come up again",
        "run `ccpeer up`",
    ))
}

/// The line of `status` and `up`, and what to do if something is wrong.
///
/// # Errors
/// When standard output is gone.
pub(crate) fn show(relay: &Relay) -> Result<(), CommandError> {
    if let Some((said, hint)) = words(relay) {
        say(format!("relay   {said}"))?;
        if let Some(hint) = hint {
            talk(format!("hint: {hint}"));
        }
    }
    Ok(())
}

/// Which relay is used and how it does, and what to do about it.
pub(crate) fn words(relay: &Relay) -> Option<(String, Option<String>)> {
    let url = relay.url.as_ref()?;
    let word = |s: &str| text::one_line(s, 200);
    let why = relay.why.as_deref().map(|w| format!(": {}", word(w)));
    let said = format!(
        "{}, {}{}",
        word(url),
        word(&relay.state).replace('_', " "),
        why.unwrap_or_default()
    );
    Some((said, relay.hint.as_deref().map(|h| text::one_line(h, 400))))
}
