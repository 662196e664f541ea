//! `ccpeer relay`

use std::net::SocketAddr;
use std::path::PathBuf;

use ccpeer_agent::relay_host::{self, HostOptions, HostReady, HostTls};
use serde_json::json;

use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;

/// Run a private relay for your own devices
///
/// Passes on packets between devices that cannot reach each other, and cannot
/// read them. It lets in the devices that this home trusts, and whoever brings
/// its token; everybody else is refused. It needs one TCP port that can be
/// reached from outside, and the UDP port of the same number helps devices to
/// find a direct way. It runs until it is stopped.
///
/// Its address goes to standard output; give it to `ccpeer up --relay` on each
/// device. Paired devices need no more; `--show-address` prints the address with
/// the token, for `ccpeer up --relay -` on a device that is not paired yet.
#[derive(Debug, clap::Args)]
pub(crate) struct RelayArgs {
    /// Listen on this address and port [default: 0.0.0.0:7842]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// The name or address under which devices reach it, perhaps with a port
    #[arg(long, value_name = "HOST")]
    name: Option<String>,
    /// Use this certificate instead of one that the relay makes itself
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key that belongs to it
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Do not encrypt the way to the relay: device ids and the token can be seen
    /// there
    #[arg(long, conflicts_with = "tls_cert")]
    plain: bool,
    /// Take at most so many MiB a second from one connection [default: 64]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=4095))]
    rate: Option<u32>,
    /// Draw a new token; whoever knows only the old one stays out
    #[arg(long)]
    new_token: bool,
    /// Print the address with the token, of the relay that was last started, and
    /// end
    #[arg(long, conflicts_with_all = ["listen", "name", "tls_cert", "plain", "rate", "new_token"])]
    show_address: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &RelayArgs, context: &Context) -> Result<(), CommandError> {
    if args.show_address {
        let address = relay_host::address(&context.home)?;
        return if args.json {
            say_json(&json!({ "address": address.as_str() }))
        } else {
            say(address.as_str())
        };
    }
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(chain), Some(key)) => HostTls::Files(chain.clone(), key.clone()),
        _ if args.plain => HostTls::Plain,
        _ => HostTls::Own,
    };
    let options = HostOptions {
        home: context.home.clone(),
        listen: args.listen,
        name: args.name.clone(),
        tls,
        new_token: args.new_token,
        rate_mib: args.rate,
    };
    let mut said = Ok(());
    relay_host::run(
        &options,
        &mut |is| said = ready(is, args.json),
        &mut |line| talk(line),
    )?;
    said
}

fn ready(is: &HostReady, as_json: bool) -> Result<(), CommandError> {
    if as_json {
        return say_json(&json!({
            "address": is.address,
            "address_file": is.address_file.display().to_string(),
            "encrypted": is.encrypted,
            "devices": is.devices,
        }));
    }
    say(&is.address)?;
    talk(format!(
        "\nThe relay runs and knows {} device{}. On each of them, once:\n\n    \
         ccpeer up --relay {}\n",
        is.devices,
        if is.devices == 1 { "" } else { "s" },
        is.address
    ));
    talk(
        "A device that is not paired yet needs the address with the token:\n\
         `ccpeer relay --show-address` prints it, `ccpeer up --relay -` reads it.",
    );
    if !is.encrypted {
        talk("\nnotice: without encryption, device ids and the token can be seen on the way here.");
    }
    Ok(())
}
