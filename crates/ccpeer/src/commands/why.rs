//! `ccpeer why`

use ccpeer_agent::api::{Request, Why};
use ccpeer_core::text;

use crate::context::{Context, say, say_json};
use crate::error::CommandError;
use crate::table;

/// Longest sentence that is shown, characters.
const SENTENCE_CHARS_MAX: usize = 1000;

/// Say why a session is here, or why it is not
///
/// Which versions there are and who holds them, where it stands on each device
/// and who went on with it last, where it lies here, and what to do next.
#[derive(Debug, clap::Args)]
pub(crate) struct WhyArgs {
    /// Number in the last list, or unique beginning of a session id
    session: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &WhyArgs, context: &Context) -> Result<(), CommandError> {
    let why: Why = context.get(&Request::Why {
        session: args.session.clone(),
    })?;
    if args.json {
        return say_json(&why);
    }
    say(text::one_line(&why.session_id, 64))?;
    if !why.title.is_empty() {
        say(text::one_line(&why.title, 80))?;
    }
    say("")?;
    for line in &why.lines {
        let line = text::one_line(line, SENTENCE_CHARS_MAX);
        for part in table::wrap(&line, "- ") {
            say(part)?;
        }
    }
    if let Some(next) = &why.next {
        say(format!("\nnext: {}", text::one_line(next, 200)))?;
    }
    Ok(())
}
