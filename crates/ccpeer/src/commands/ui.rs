//! `ccpeer ui`

use ccpeer_agent::api::{Done, Request, UiEvent};

use crate::browser;
use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;

/// Look at everything in a browser
///
/// Opens a page on this machine: the unfinished tasks of all your machines, every
/// session with its transcript, devices, transfers, a timeline, and the store. It
/// shows and changes nothing, and gives you commands to copy instead. Only this
/// machine can reach it. The printed link lets in one browser tab, once, within a
/// minute. The page is there until this command is stopped, or nobody has used it
/// for half an hour.
#[derive(Debug, clap::Args)]
pub(crate) struct UiArgs {
    /// Print the link and open no browser
    #[arg(long)]
    no_open: bool,
    /// Print one JSON document a line, and open no browser
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &UiArgs, context: &Context) -> Result<(), CommandError> {
    let done: Done = context.stream(&Request::Ui, &mut |value| {
        if args.json {
            return say_json(&value);
        }
        match serde_json::from_value(value) {
            Ok(UiEvent::Ready { url, idle_min }) => ready(&url, idle_min, args.no_open),
            // A step that only a newer agent knows.
            Err(_) => Ok(()),
        }
    })?;
    if !args.json {
        talk(done.message);
    }
    Ok(())
}

fn ready(url: &str, idle_min: u64, no_open: bool) -> Result<(), CommandError> {
    say(url)?;
    let opened = !no_open && browser::open(url);
    if !opened {
        talk("Open this link in a browser on this machine within a minute; it works once.");
        if let Some(port) = port(url).filter(|_| browser::is_remote()) {
            talk(format!(
                "From where you sit, first: ssh -L {port}:127.0.0.1:{port} <this machine>"
            ));
        }
    }
    talk(format!(
        "The page is there until you press ctrl-c, or nobody has used it for {idle_min} minutes."
    ));
    Ok(())
}

fn port(url: &str) -> Option<u16> {
    let (host, _) = url.strip_prefix("http://")?.split_once('/')?;
    host.rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::port;

    #[test]
    fn the_port_of_a_link() {
        assert_eq!(port("http://127.0.0.1:4001/#t=00"), Some(4001));
        assert_eq!(port("http://127.0.0.1/#t=00"), None);
    }
}
