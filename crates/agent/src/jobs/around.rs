//! What `doctor net` asks of the agent: the network as it is seen from here, after
//! a moment of listening.

use std::time::{Duration, Instant};

use ccpeer_net::{DialOutcome, Hearing, Net, Skipped};

use crate::api::{self, ApiError};
use crate::driver::{Ask, Handle};
use crate::relays;

/// How long answers are listened for.
const LISTEN: Duration = Duration::from_millis(1500);
/// How often somebody looks whether our own announcement has come back.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) async fn around(handle: &Handle) -> Result<api::Around, ApiError> {
    let net = &handle.shared.net;
    if net.hearing().is_some() {
        listen(net).await;
    }
    let hearing = net.hearing();
    let devices = handle.ask(Ask::Devices).await?;
    let reach = net.reach();
    let peers = devices.into_iter().filter_map(|device| {
        let reach = reach.iter().find(|r| r.device.to_string() == device.id)?;
        let heard = hearing.as_ref().and_then(|h| {
            let mut others = h.others.iter();
            others.find(|(d, _)| *d == reach.device)
        });
        Some(api::Reach {
            device: api::DeviceName {
                id: device.id,
                name: device.name,
            },
            state: device.state,
            last_seen: device.last_seen,
            addrs: reach.addrs.iter().map(ToString::to_string).collect(),
            heard_ms: heard.map(|(_, ago)| ms(*ago)),
            dialled_ms: reach.dialled.map(|(ago, _)| ms(ago)),
            dialled: reach.dialled.map(|(_, outcome)| word(outcome).to_owned()),
        })
    });
    let stats = net.stats();
    Ok(api::Around {
        counted: api::Counted {
            frames: stats.frames,
            refused: stats.refused,
            pair_attempts: stats.pair_attempts,
        },
        peers: peers.collect(),
        interfaces: net.interfaces().iter().map(interface).collect(),
        sockets: net.sockets().iter().map(ToString::to_string).collect(),
        multicast: hearing.as_ref().map(multicast),
        paused: handle.shared.pause.told(),
        relay: net.relay().map(|r| relays::view(Some(&r))),
    })
}

/// Asks, and waits until we have heard ourselves and others had time to answer.
async fn listen(net: &Net) {
    let began = Instant::now();
    net.ask_around();
    while began.elapsed() < LISTEN {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn word(outcome: DialOutcome) -> &'static str {
    match outcome {
        DialOutcome::Linked => "linked",
        DialOutcome::Duplicate => "duplicate",
        DialOutcome::Unreachable => "unreachable",
        DialOutcome::WrongKey => "wrong_key",
        DialOutcome::NoProtocol => "no_protocol",
        DialOutcome::Silent => "silent",
        outcome if outcome.is_refusal() => "refused",
        outcome if outcome.is_revocation() => "revoked",
        outcome if outcome.is_pause() => "paused",
        DialOutcome::Closed(_) => "closed",
    }
}

fn interface(of: &ccpeer_net::Interface) -> api::Interface {
    let texts = |ips: &[std::net::IpAddr]| ips.iter().map(ToString::to_string).collect();
    let why = of.skipped.map(|skipped| match skipped {
        Skipped::Loopback => "loopback",
        Skipped::Virtual => "virtual",
        Skipped::PointToPoint => "point_to_point",
        Skipped::Down => "down",
        Skipped::LinkLocal => "link_local",
        Skipped::TooMany => "too_many",
    });
    api::Interface {
        name: of.name.clone(),
        addrs: texts(&of.ips),
        link_local: texts(&of.link_local),
        skipped: why.map(str::to_owned),
    }
}

fn multicast(hearing: &Hearing) -> api::Multicast {
    let other = |(device, ago): &(ccpeer_core::id::DeviceId, Duration)| api::HeardDevice {
        id: device.to_string(),
        heard_ms: ms(*ago),
    };
    api::Multicast {
        ipv4: hearing.families.0,
        ipv6: hearing.families.1,
        failed: hearing.failed.clone(),
        own_heard_ms: hearing.own_heard.map(ms),
        others: hearing.others.iter().map(other).collect(),
        dropped: hearing.dropped,
    }
}
