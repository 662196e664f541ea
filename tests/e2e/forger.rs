//! Somebody in the network who says by multicast whatever he likes, as packets of
//! multicast DNS. Must not know what the program makes of them.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use super::lan::Lan;

const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);
const SERVICE: &str = "_ccpeer._udp.local";
const PTR: u16 = 12;
const TXT: u16 = 16;
const SRV: u16 = 33;
const A: u16 = 1;

/// What is claimed of a device.
#[derive(Clone)]
pub(super) struct Claim {
    pub(super) name: String,
    pub(super) texts: Vec<String>,
    pub(super) at: (Ipv4Addr, u16),
    /// Seconds; 0 takes it back.
    pub(super) ttl: u32,
}

impl Claim {
    pub(super) fn of(name: &str, id: &str, at: (Ipv4Addr, u16)) -> Self {
        Self {
            name: name.to_owned(),
            texts: vec![format!("id={id}"), "v=1".to_owned()],
            at,
            ttl: 120,
        }
    }

    fn packet(&self) -> Vec<u8> {
        let instance = format!("{}.{SERVICE}", self.name);
        let host = format!("{}.local", self.name);
        let texts = self.texts.iter().flat_map(|text| {
            let length = u8::try_from(text.len()).unwrap();
            [vec![length], text.clone().into_bytes()].concat()
        });
        let service = [&[0; 4][..], &self.at.1.to_be_bytes(), &name(&host)].concat();
        let records = [
            (SERVICE, PTR, name(&instance)),
            (&instance, SRV, service),
            (&instance, TXT, texts.collect()),
            (&host, A, self.at.0.octets().to_vec()),
        ];
        let mut out = vec![0, 0, 0x84, 0, 0, 0, 0, 4, 0, 0, 0, 0];
        for (owner, kind, data) in records {
            out.extend(name(owner));
            out.extend(kind.to_be_bytes());
            out.extend(1u16.to_be_bytes());
            out.extend(self.ttl.to_be_bytes());
            out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            out.extend(data);
        }
        out
    }
}

fn name(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in text.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.bytes());
    }
    out.push(0);
    out
}

/// His socket, on one host.
pub(super) struct Forger(UdpSocket);

impl Forger {
    pub(super) fn on(lan: &Lan, host: usize) -> Self {
        let own = lan.address(host, 0);
        Self(lan.inside(host, move || UdpSocket::bind((own, 5353)).unwrap()))
    }

    pub(super) fn say(&self, claim: &Claim) {
        self.send(&claim.packet());
    }

    fn send(&self, packet: &[u8]) {
        // A queue that is full is his own trouble, and he tries again.
        while self.0.send_to(packet, GROUP).is_err() {
            std::thread::yield_now();
        }
    }

    /// So many claims, each of another device, at this rate.
    pub(super) fn flood(&self, records: u32, per_second: u32) -> Duration {
        let begin = Instant::now();
        for n in 0..records {
            let at = (Ipv4Addr::from(0x0a4d_0000 | (n & 0xffff)), 4000);
            let mut claim = Claim::of(&format!("f{n:015x}"), &format!("{n:064x}"), at);
            claim.texts.push("pair=1".to_owned());
            self.send(&claim.packet());
            let due = begin + Duration::from_secs(1) * (n + 1) / per_second;
            while n % 64 == 0 && Instant::now() < due {
                std::thread::yield_now();
            }
        }
        begin.elapsed()
    }
}
