//! Why two machines do not see each other, and what to do about it: what the agent
//! sees of the network, put into words. Pure.

use ccpeer_core::text;

use super::{Check, note, ok, problem};
use crate::api::{ApiError, Around, Interface, Multicast, Reach, Relay};
use crate::view;

/// An announcement that is older than this was not heard just now.
const JUST_NOW_MS: u64 = 5_000;
/// Devices that are named one by one.
const NAMED_MAX: usize = 5;

/// Looks at the network as the agent sees it.
#[must_use]
pub fn examine(around: &Result<Around, ApiError>) -> Vec<Check> {
    let around = match around {
        Ok(around) => around,
        Err(e) => {
            return vec![problem(
                "agent",
                format!("nobody can tell how the network looks: {}", e.message),
                "run `ccpeer up`",
            )];
        }
    };
    let mut out = Vec::new();
    if let Some(paused) = &around.paused {
        let until = paused.until.as_deref().map(view::text_time);
        let until = until.map_or_else(String::new, |at| format!(" until {at}"));
        out.push(note(
            "paused",
            format!("nothing is exchanged with other devices{until}"),
            "`ccpeer resume` ends the pause",
        ));
    }
    out.extend(interfaces(&around.interfaces));
    out.push(sockets(&around.sockets));
    if around.paused.is_some() {
        // Nobody is asked and nobody is told anything: there is nothing to see.
        return out;
    }
    out.extend(multicast(around));
    out.extend(around.relay.as_ref().map(relay));
    if around.peers.is_empty() {
        out.push(note(
            "peers",
            "no other device is paired",
            "run `ccpeer pair` here and `ccpeer join` there",
        ));
    }
    out.extend(around.peers.iter().map(|peer| reach(peer, around)));
    out
}

fn relay(relay: &Relay) -> Check {
    let url = text::one_line(relay.url.as_deref().unwrap_or_default(), 200);
    match (&relay.why, &relay.hint) {
        (Some(why), hint) => {
            let why = text::one_line(why, 200);
            problem(
                "relay",
                format!("{url}: {why}"),
                hint.clone().unwrap_or_default(),
            )
        }
        (None, _) => ok("relay", format!("{url}, {}", relay.state)),
    }
}

fn interfaces(all: &[Interface]) -> Vec<Check> {
    let mut out = Vec::new();
    let used = all.iter().filter(|i| i.skipped.is_none());
    for interface in used.clone() {
        let mut said = format!(
            "{}: {}",
            text::one_line(&interface.name, 40),
            interface.addrs.join(", ")
        );
        if !interface.link_local.is_empty() {
            said.push_str("; link-local IPv6 addresses are not used");
        }
        out.push(ok("interface", said));
    }
    for interface in all
        .iter()
        .filter(|i| i.skipped.as_deref() != Some("loopback"))
    {
        let name = text::one_line(&interface.name, 40);
        let (why, hint) = match interface.skipped.as_deref() {
            Some("virtual") => ("belongs to containers or virtual machines", ""),
            Some("point_to_point") => (
                "joins two ends, as a VPN does, and carries no multicast",
                "for a device at its other end use `ccpeer pair --ticket`, or `ccpeer dial`",
            ),
            Some("down") => ("is down", ""),
            Some("link_local") => (
                "has link-local IPv6 addresses only, over which no link can be kept",
                "give it an IPv4 address, or an IPv6 address of another kind",
            ),
            Some(_) => ("is one too many", ""),
            None => continue,
        };
        out.push(note(
            "interface",
            format!("nobody is looked for on {name}: it {why}"),
            hint,
        ));
    }
    if used.count() == 0 {
        out.push(problem(
            "interface",
            "no interface on which another device could be",
            "connect this machine to a network",
        ));
    }
    out
}

fn sockets(all: &[String]) -> Check {
    let port = |addr: &String| addr.rsplit_once(':').map(|(_, port)| port.to_owned());
    let mut ports: Vec<String> = all.iter().filter_map(port).collect();
    ports.sort_unstable();
    ports.dedup();
    match ports.as_slice() {
        [] => problem(
            "port",
            "no UDP port is open",
            "run `ccpeer down` and `ccpeer up`; see the agent's log",
        ),
        [port] => ok("port", format!("UDP {port}, on {}", all.join(" and "))),
        _ => note(
            "port",
            format!("IPv4 and IPv6 use different ports: {}", all.join(" and ")),
            "run `ccpeer down` and `ccpeer up`: others dial the same port by both",
        ),
    }
}

fn multicast(around: &Around) -> Vec<Check> {
    let Some(multicast) = &around.multicast else {
        return vec![note(
            "multicast",
            "off: devices are found at known addresses only",
            "start the agent without `--no-mdns`, or run `ccpeer dial`",
        )];
    };
    let mut out = vec![hearing(multicast)];
    if multicast.dropped > 0 {
        out.push(note(
            "multicast",
            format!(
                "{} packets were not looked at: somebody in this network sends too many",
                multicast.dropped
            ),
            "find out who floods the network; paired devices are reached at known addresses",
        ));
    }
    let others = &multicast.others;
    out.push(if others.is_empty() {
        note("heard", "no other device is heard", firewall())
    } else {
        let named = others.iter().take(NAMED_MAX);
        let one = |o: &crate::api::HeardDevice| {
            format!(
                "{} ({} ago)",
                o.id.get(..8).unwrap_or(&o.id),
                ago(o.heard_ms)
            )
        };
        let named: Vec<String> = named.map(one).collect();
        ok("heard", format!("{}: {}", others.len(), named.join(", ")))
    });
    out
}

fn hearing(multicast: &Multicast) -> Check {
    if let Some(why) = &multicast.failed {
        return problem(
            "multicast",
            format!("does not work here: {}", text::one_line(why, 200)),
            "another program may hold UDP port 5353 for itself; use `ccpeer pair --ticket`",
        );
    }
    let by = match (multicast.ipv4, multicast.ipv6) {
        (true, true) => "IPv4 and IPv6",
        (true, false) => "IPv4",
        (false, true) => "IPv6",
        (false, false) => {
            return problem(
                "multicast",
                "nothing is listened to",
                "connect this machine to a network, or use `ccpeer pair --ticket`",
            );
        }
    };
    match multicast.own_heard_ms {
        Some(ms) if ms <= JUST_NOW_MS => ok(
            "multicast",
            format!("{by}; our own announcement comes back"),
        ),
        _ => problem(
            "multicast",
            format!("{by}; our own announcement does not come back"),
            firewall(),
        ),
    }
}

/// What lets multicast through; a hint only, nobody has looked.
fn firewall() -> &'static str {
    if cfg!(windows) {
        "set the network to private, and allow ccpeer and UDP 5353 in Windows Defender Firewall"
    } else if cfg!(target_os = "macos") {
        "allow ccpeer in System Settings, under Firewall and under Local Network"
    } else {
        "allow UDP 5353 and ccpeer's port (ufw, firewalld, nft); guest and office Wi-Fi often keep \
         devices apart: use `ccpeer pair --ticket` there"
    }
}

fn reach(peer: &Reach, around: &Around) -> Check {
    let name = text::one_line(&peer.device.name, 40);
    if peer.state == "connected" {
        return ok("peer", format!("{name} is connected"));
    }
    let seen = match &peer.last_seen {
        Some(at) => format!("last connected {}", view::text_time(at)),
        None => "never connected".to_owned(),
    };
    let heard = match peer.heard_ms {
        Some(ms) => format!(", heard {} ago", ago(ms)),
        None => String::new(),
    };
    let at = peer.addrs.join(", ");
    let dial =
        format!("run `ccpeer dial {name} ADDRESS:PORT` with what `ccpeer status` shows there");
    let (why, hint) = match peer.dialled.as_deref() {
        _ if peer.addrs.is_empty() && around.relay.is_none() => (
            "no address of it is known".to_owned(),
            format!("start ccpeer there; without multicast {dial}"),
        ),
        Some("unreachable") if peer.heard_ms.is_some_and(|ms| ms <= JUST_NOW_MS) => (
            format!("it announces itself, and does not answer at {at}"),
            "open its UDP port in the firewall there".to_owned(),
        ),
        Some("unreachable") => (
            format!("nobody answers at {at}"),
            format!("start ccpeer there; if it runs under another address, {dial}"),
        ),
        Some("wrong_key") => (
            format!("another device answers at {at}"),
            format!("its key may have been replaced: pair again; else {dial}"),
        ),
        Some("no_protocol") => (
            format!("something else answers at {at}"),
            "run the same version of ccpeer on both".to_owned(),
        ),
        Some("refused") => (
            "it answers and does not trust this device".to_owned(),
            "accept this device there, or pair again".to_owned(),
        ),
        Some("revoked") => (
            "it answers and has revoked this device".to_owned(),
            "run `ccpeer rekey --separate` and pair again, if that was a mistake".to_owned(),
        ),
        Some("paused") => (
            "it answers, and its user has paused it".to_owned(),
            "it comes back by itself; `ccpeer resume` there ends the pause".to_owned(),
        ),
        Some("silent") => (
            format!("it answers at {at} and then falls silent"),
            "run `ccpeer doctor` there".to_owned(),
        ),
        Some("closed") => (
            "it answers and closes the connection".to_owned(),
            "run the same version of ccpeer on both, and look into its log".to_owned(),
        ),
        _ => (
            format!("it is about to be tried at {at}"),
            "ask again in a moment".to_owned(),
        ),
    };
    note("peer", format!("{name}: {why}; {seen}{heard}"), hint)
}

fn ago(ms: u64) -> String {
    match ms / 1000 {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DeviceName;
    use crate::doctor::State;

    fn around() -> Around {
        let interface = |name: &str, skipped: Option<&str>| Interface {
            name: name.into(),
            addrs: vec!["192.0.2.7".into()],
            link_local: Vec::new(),
            skipped: skipped.map(str::to_owned),
        };
        Around {
            interfaces: vec![interface("eth0", None), interface("lo", Some("loopback"))],
            sockets: vec!["0.0.0.0:4000".into(), "[::]:4000".into()],
            multicast: Some(Multicast {
                ipv4: true,
                ipv6: true,
                failed: None,
                own_heard_ms: Some(100),
                others: Vec::new(),
                dropped: 0,
            }),
            peers: vec![Reach {
                device: DeviceName {
                    id: "ab".repeat(32),
                    name: "laptop".into(),
                },
                state: "offline".into(),
                last_seen: None,
                addrs: vec!["192.0.2.9:4000".into()],
                heard_ms: None,
                dialled_ms: Some(10),
                dialled: Some("unreachable".into()),
            }],
            relay: None,
            paused: None,
            counted: crate::api::Counted::default(),
        }
    }

    #[test]
    fn a_relay_that_is_no_help_is_a_problem() {
        let with = |why: Option<&str>| Around {
            relay: Some(Relay {
                url: Some("https://192.0.2.1:7842".into()),
                state: "denied".into(),
                why: why.map(Into::into),
                hint: why.map(|_| "pair it".into()),
                again: false,
            }),
            ..around()
        };
        assert_eq!(of(&told(with(None)), "relay").state, State::Ok);
        let denied = told(with(Some("it does not let this device in")));
        assert_eq!(of(&denied, "relay").state, State::Problem);
        assert_eq!(of(&denied, "relay").hint.as_deref(), Some("pair it"));
    }

    fn told(around: Around) -> Vec<Check> {
        examine(&Ok(around))
    }

    fn of<'c>(checks: &'c [Check], id: &str) -> &'c Check {
        checks.iter().find(|c| c.id == id).unwrap()
    }

    #[test]
    fn every_reason_has_its_words() {
        let mut seen = std::collections::BTreeSet::new();
        let outcomes =
            "unreachable wrong_key no_protocol refused revoked paused silent closed linked";
        for outcome in outcomes.split(' ') {
            let mut around = around();
            around.peers[0].dialled = Some(outcome.into());
            let check = of(&told(around), "peer").clone();
            assert_eq!(check.state, State::Note);
            assert!(check.hint.is_some());
            assert!(seen.insert(check.message), "{outcome}");
        }
        let mut nowhere = around();
        nowhere.peers[0].addrs.clear();
        assert!(of(&told(nowhere), "peer").message.contains("no address"));
        let mut heard = around();
        heard.peers[0].heard_ms = Some(4_000);
        let check = of(&told(heard), "peer").clone();
        assert!(check.message.contains("announces itself"), "{check:?}");
        assert!(check.hint.unwrap().contains("firewall"));
    }

    #[test]
    fn a_network_without_multicast_leads_to_the_ticket() {
        let mut deaf = around();
        deaf.multicast.as_mut().unwrap().own_heard_ms = None;
        let check = of(&told(deaf), "multicast").clone();
        assert_eq!(check.state, State::Problem);
        let mut vpn = around();
        vpn.interfaces[0].skipped = Some("point_to_point".into());
        let checks = told(vpn);
        let hints: Vec<&String> = checks.iter().filter_map(|c| c.hint.as_ref()).collect();
        assert!(hints.iter().any(|h| h.contains("pair --ticket")));
        assert!(
            checks.iter().any(|c| c.state == State::Problem),
            "no interface is left"
        );
        assert!(told(around()).iter().all(|c| c.state != State::Problem));
    }

    #[test]
    fn a_pause_is_told_and_nothing_is_found_wrong_because_of_it() {
        let mut paused = around();
        let until = Some("2026-11-20T14:00:00.000Z".to_owned());
        paused.paused = Some(crate::api::Paused { until });
        paused.multicast.as_mut().unwrap().own_heard_ms = None;
        let checks = told(paused);
        let message = &of(&checks, "paused").message;
        assert!(message.ends_with("until 2026-11-20 14:00 UTC"), "{message}");
        assert!(checks.iter().all(|c| c.state != State::Problem));
    }

    #[test]
    fn names_of_others_are_stripped() {
        let mut hostile = around();
        hostile.peers[0].device.name = "\u{1b}]0;x\u{7}evil".into();
        let checks = told(hostile);
        assert!(checks.iter().all(|c| !c.message.contains('\u{1b}')));
    }
}
