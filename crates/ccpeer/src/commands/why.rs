//! `ccpeer why`

use ccpeer_agent::api::{Request, Why};
use ccpeer_core::text;

use crate::context::{Context, say};
use crate::error::CommandError;

/// Say why a session is here, or why it is not
#[derive(Debug, clap::Args)]
pub(crate) struct WhyArgs {
    /// Number in the last list, or unique beginning of a session id
    session: String,
}

pub(crate) fn run(args: &WhyArgs, context: &Context) -> Result<(), CommandError> {
    let why: Why = context.get(&Request::Why {
        session: args.session.clone(),
    })?;
    say(text::one_line(&why.session_id, 64))?;
    for line in &why.lines {
        say(format!("  {}", text::one_line(line, 400)))?;
    }
    Ok(())
}
