//! `ccpeer pair`

use std::io::IsTerminal;

use ccpeer_agent::api::{ApiError, DeviceName, ErrorCode, PairEvent, Request};
use ccpeer_agent::client::Client;
use ccpeer_agent::dumps;
use ccpeer_core::{limits, text};

use crate::context::{Context, can_ask, say, say_json, talk};
use crate::error::CommandError;
use crate::{prompt, table};

/// Invite another machine
///
/// Shows a short code to type into `ccpeer join` on the other machine, waits for
/// it, and asks for a final yes before the machine is let in. A code works once
/// and for a short time.
///
/// With --json every step is one line; after `joined`, a line `y` on standard
/// input is the final yes.
#[derive(Debug, clap::Args)]
pub(crate) struct PairArgs {
    /// Print one JSON document a line
    #[arg(long)]
    json: bool,
    /// Show a long ticket and a QR code, which also work where devices cannot
    /// find each other
    #[arg(long)]
    ticket: bool,
    /// Let in whoever holds the ticket, without asking; only with --ticket
    #[arg(long)]
    yes: bool,
    /// Do not draw the QR code
    #[arg(long)]
    no_qr: bool,
}

pub(crate) fn run(args: &PairArgs, context: &Context) -> Result<(), CommandError> {
    if args.yes && !args.ticket {
        return Err(CommandError::usage(
            "--yes works only with --ticket: a short code can be guessed",
            "use `ccpeer pair --ticket --yes`, or answer the question",
        ));
    }
    if !args.yes && !args.json && !can_ask() {
        return Err(CommandError::usage(
            "there is no terminal on which to ask for the final yes",
            "run it on a terminal, or use `ccpeer pair --ticket --yes`",
        ));
    }
    dumps::forbid();
    let mut agent = context.agent()?;
    let request = Request::Pair {
        ticket: args.ticket,
        yes: args.yes,
    };
    let mut outcome = Outcome::default();
    let ended = agent.ask::<serde_json::Value>(
        &request,
        &mut |agent, value| {
            if args.json {
                outcome.keep(say_json(&value));
            }
            let Ok(event) = serde_json::from_value::<PairEvent>(value) else {
                return Ok(());
            };
            outcome.see(&event);
            if !args.json {
                outcome.keep(show(&event, args));
            }
            match event {
                PairEvent::Joined { device, os, addr } if !args.yes => {
                    ask(agent, args, &device, &os, &addr)
                }
                _ => Ok(()),
            }
        },
        &mut |_| {},
    );
    outcome.end(ended.map(|_| ()), args.json)
}

/// What has come of pairing, on either side.
#[derive(Default)]
pub(crate) struct Outcome {
    failed: Option<String>,
    unprinted: Option<CommandError>,
}

impl Outcome {
    pub(crate) fn see(&mut self, event: &PairEvent) {
        if let PairEvent::Failed { reason } = event {
            self.failed = Some(reason.clone());
        }
    }

    /// Remembers that output failed; the pairing itself goes on.
    pub(crate) fn keep(&mut self, printed: Result<(), CommandError>) {
        if let Err(e) = printed {
            self.unprinted.get_or_insert(e);
        }
    }

    pub(crate) fn end(
        self,
        ended: Result<(), ApiError>,
        as_json: bool,
    ) -> Result<(), CommandError> {
        let told = |message: String| {
            CommandError::new(
                ErrorCode::Pairing,
                message,
                "start again with `ccpeer pair`: a code works only once",
            )
        };
        match (self.failed, ended) {
            // The `failed` line has said it on standard output already.
            (Some(_), _) if as_json => Err(CommandError::Exit(ErrorCode::Pairing.exit())),
            (Some(reason), _) => Err(told(format!("pairing failed: {reason}"))),
            (None, Err(e)) => {
                if as_json {
                    let reason = e.message.clone();
                    say_json(&PairEvent::Failed { reason })?;
                }
                Err(e.into())
            }
            (None, Ok(())) => self.unprinted.map_or(Ok(()), Err),
        }
    }
}

fn ask(
    agent: &mut Client,
    args: &PairArgs,
    device: &DeviceName,
    os: &str,
    addr: &str,
) -> Result<(), ApiError> {
    let word = |s: &str| text::one_line(s, 64);
    let yes = if args.json {
        prompt::yes("")
    } else {
        prompt::yes(&format!(
            "Add \"{}\" ({}, {})? It will receive your sessions.",
            name(device),
            word(os),
            word(addr)
        ))
    };
    agent.send(&Request::Answer { yes })
}

fn show(event: &PairEvent, args: &PairArgs) -> Result<(), CommandError> {
    match event {
        PairEvent::Code { code, expires_s } => {
            talk(format!(
                "On the other machine, run `ccpeer join` and type this code.\n\
                 It works once, for {expires_s} seconds.\n"
            ));
            if std::io::stdout().is_terminal() {
                say(format!("        {code}\n"))?;
            } else {
                say(code)?;
            }
            talk("Waiting …");
        }
        PairEvent::Ticket { ticket } => {
            talk("On the other machine, run `ccpeer join` and paste this ticket.\n");
            say(ticket)?;
            if !args.no_qr && std::io::stderr().is_terminal() {
                match qr(ticket) {
                    Some(picture) => talk(format!("\n{picture}")),
                    None => talk("The ticket is too long for a QR code of 80 columns.\n"),
                }
            }
            talk("Waiting …");
        }
        PairEvent::Joined { device, addr, .. } if args.yes => talk(format!(
            "{} has joined from {}.",
            name(device),
            text::one_line(addr, 64)
        )),
        PairEvent::BrokenOff { addr } => talk(format!(
            "Somebody at {} began to join and broke off. Still waiting …",
            text::one_line(addr, 64)
        )),
        PairEvent::Paired { device } => talk(format!("Paired with {}.", name(device))),
        PairEvent::Tombstoned { device } => talk(format!(
            "{} was sent away (tombstoned): its key was revoked and does not come back.\n\
             On that machine, `ccpeer rekey --separate` draws a new one.",
            name(device)
        )),
        _ => {}
    }
    Ok(())
}

pub(crate) fn name(device: &DeviceName) -> String {
    text::one_line(&device.name, limits::DEVICE_NAME_CHARS_MAX)
}

/// Half blocks, for the light on dark that terminals mostly are: what is to be
/// light is drawn, what is to be dark is left out. None if it is wider than a
/// terminal.
fn qr(ticket: &str) -> Option<String> {
    use qrcode::render::unicode::Dense1x2;
    // Letters of one case take less room, and a ticket is read in either.
    let ticket = ticket.to_uppercase();
    let code = qrcode::QrCode::with_error_correction_level(ticket, qrcode::EcLevel::L).ok()?;
    if code.width() + 2 * QUIET_MODULES > table::COLUMNS {
        return None;
    }
    let picture = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .quiet_zone(true)
        .build();
    Some(picture)
}

/// The margin that a QR code needs on each side.
const QUIET_MODULES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qr_code_fits_its_terminal_or_is_not_drawn() {
        let ticket = format!("ccpeer1-{}", "0123456789abcdefghjkmnpqrstvwxyz".repeat(8));
        let picture = qr(&ticket).unwrap();
        let widest = picture.lines().map(|l| l.chars().count()).max();
        assert!(widest.is_some_and(|w| (20..=80).contains(&w)), "{widest:?}");
        assert!(picture.chars().all(|c| " \n█▀▄".contains(c)), "{picture}");
        assert_eq!(qr(&"z".repeat(1000)), None, "wider than 80 columns");
    }
}
