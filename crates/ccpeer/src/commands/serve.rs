//! `ccpeer serve`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ccpeer_agent::api::{Done, Request, Serve, ServeEvent, ServeToken};
use ccpeer_core::text;
use clap::Subcommand;

use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;
use crate::table::{self, Column};

/// Where it listens unless something else is said.
const LISTEN: &str = "127.0.0.1:7843";
/// A certificate or key is no longer than this.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// Serve the VS Code extension claude-sync-sessions
///
/// What the extension uploads appears in `ccpeer tasks` on every machine, and what
/// is held here can be downloaded with it. In the extension choose the backend
/// `server`, set the address that this command prints, and give it a token of its
/// own: `ccpeer serve token add NAME`. It runs until it is stopped, and only this
/// machine can reach it unless `--listen` says otherwise.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// Listen on this address and port [default: 127.0.0.1:7843]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Encrypt with this certificate
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key that belongs to it
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Do not encrypt, although other machines can reach it: sessions and tokens can
    /// be read on the way
    #[arg(long, conflicts_with = "tls_cert")]
    plain: bool,
    /// Print one JSON document a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make, list or revoke the tokens of clients
    Token {
        #[command(subcommand)]
        change: TokenChange,
    },
}

#[derive(Debug, Subcommand)]
enum TokenChange {
    /// Make a token for a client; it is shown this once
    Add {
        /// What the client is called here
        name: String,
    },
    /// List the clients that have a token
    List,
    /// Let a client in no more
    Revoke {
        /// What the client is called here
        name: String,
    },
}

pub(crate) fn run(args: &ServeArgs, context: &Context) -> Result<(), CommandError> {
    match &args.what {
        None => serve(args, context),
        Some(What::Token { change }) => match change {
            TokenChange::Add { name } => add(name, args.json, context),
            TokenChange::List => list(args.json, context),
            TokenChange::Revoke { name } => {
                let name = name.clone();
                let request = Request::Serve(Serve::RevokeToken { name });
                let done: Done = context.get(&request)?;
                if args.json {
                    return say_json(&done);
                }
                talk(done.message);
                Ok(())
            }
        },
    }
}

fn serve(args: &ServeArgs, context: &Context) -> Result<(), CommandError> {
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(chain), Some(key)) => Some((pem(chain)?, pem(key)?)),
        _ => None,
    };
    let listen = args.listen.map(|a| a.to_string());
    let request = Request::Serve(Serve::Run {
        listen: listen.unwrap_or_else(|| LISTEN.to_owned()),
        tls,
        plain: args.plain,
    });
    let done: Done = context.stream(&request, &mut |value| {
        if args.json {
            return say_json(&value);
        }
        match serde_json::from_value(value) {
            Ok(event) => told(&event),
            Err(_) => Ok(()),
        }
    })?;
    if !args.json {
        talk(done.message);
    }
    Ok(())
}

fn told(event: &ServeEvent) -> Result<(), CommandError> {
    match event {
        ServeEvent::Ready {
            url,
            encrypted,
            loopback,
            clients,
        } => {
            say(url)?;
            talk(
                "\nIn the extension: backend `server`, \"Claude Sync: Set Server URL\" to this\n\
                 address, and a token of its own.",
            );
            if *clients == 0 {
                talk(
                    "No client has a token yet, so nobody is let in:\n\n    \
                     ccpeer serve token add NAME\n",
                );
            }
            if !encrypted && !loopback {
                talk("notice: without encryption, sessions and tokens can be read on the way.");
            }
            Ok(())
        }
        ServeEvent::Pushed {
            session_id,
            title,
            client,
            result,
        } => say(format!(
            "{}  {}  {}: {}",
            table::short(session_id),
            text::one_line(result, 16),
            text::one_line(client, 32),
            text::one_line(title, 80),
        )),
        ServeEvent::Refused { client, reason } => {
            let (client, reason) = (text::one_line(client, 32), text::one_line(reason, 200));
            talk(format!("refused what {client} sent: {reason}"));
            Ok(())
        }
    }
}

fn add(name: &str, as_json: bool, context: &Context) -> Result<(), CommandError> {
    let name = name.to_owned();
    let made: ServeToken = context.get(&Request::Serve(Serve::AddToken { name }))?;
    if as_json {
        return say_json(&made);
    }
    say(made.token.as_deref().unwrap_or_default())?;
    talk("This is the only time that the token is shown.");
    Ok(())
}

fn list(as_json: bool, context: &Context) -> Result<(), CommandError> {
    let all: Vec<ServeToken> = context.get(&Request::Serve(Serve::Tokens))?;
    if as_json {
        return say_json(&all);
    }
    if all.is_empty() {
        talk("No client has a token.");
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|t| vec![t.name.clone(), t.made.clone()])
        .collect();
    for line in table::render(&[Column("CLIENT", 32), Column("MADE", 0)], &rows) {
        say(line)?;
    }
    Ok(())
}

fn pem(path: &Path) -> Result<String, CommandError> {
    let unreadable = |why: String| {
        CommandError::usage(
            format!("cannot use {}: {why}", path.display()),
            "give a file in PEM that you may read",
        )
    };
    let len = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?;
    if len.len() > PEM_BYTES_MAX {
        return Err(unreadable("it is too long".to_owned()));
    }
    std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))
}
