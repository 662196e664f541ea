//! What is said by multicast, in bytes: one question, and one announcement that
//! fits into one packet and is understood from that packet alone, so that nothing
//! has to be remembered to put it together. No I/O.

use std::net::IpAddr;

use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use simple_dns::rdata::{A, AAAA, PTR, RData, SRV, TXT};
use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QTYPE, Question, ResourceRecord, SimpleDnsError, TYPE,
    header_buffer,
};

const SERVICE: &str = "_ccpeer._udp.local";
const VERSION: &str = "1";
/// What RFC 6762 says for records that name a host, and for others.
const TTL_S: (u32, u32) = (120, 4500);
/// A name in DNS is no longer.
const NAME_BYTES_MAX: usize = 255;
/// Instances that are read from one packet. Ours say one.
const INSTANCES_MAX: usize = 4;

/// What we say of ourselves.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    /// Drawn at every start.
    pub(crate) name: String,
    pub(crate) device: DeviceId,
    /// Whether an invitation stands.
    pub(crate) inviting: bool,
    pub(crate) port: u16,
}

/// What a packet says.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Somebody asks who is there, or about us.
    Question,
    Statements(Vec<Statement>),
    /// Nothing that concerns us.
    Nothing,
}

/// One instance in a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    Here(Announced),
    /// It ended, under this name.
    Gone(String),
}

/// An announcement, as it was made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) texts: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Announced {
    /// The first text with this key.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        let named = |name: &[u8]| name.eq_ignore_ascii_case(key.as_bytes());
        let (_, value) = self.texts.iter().find(|(name, _)| named(name))?;
        str::from_utf8(value).ok()
    }

    /// The device, and whether it invites, if this is one of ours.
    pub(crate) fn device(&self) -> Option<(DeviceId, bool)> {
        if self.text("v") != Some(VERSION) || self.name.len() > NAME_BYTES_MAX {
            return None;
        }
        let device = self.text("id")?.parse().ok()?;
        Some((device, self.text("pair") == Some("1")))
    }
}

/// Asks who is there.
pub(crate) fn question() -> Result<Vec<u8>, SimpleDnsError> {
    let mut packet = Packet::new_query(0);
    let any_of_ours = Question::new(
        Name::new(SERVICE)?,
        QTYPE::TYPE(TYPE::PTR),
        CLASS::IN.into(),
        false,
    );
    packet.questions.push(any_of_ours);
    packet.build_bytes_vec_compressed()
}

/// Says that we are there under these addresses, or no longer.
pub(crate) fn announcement(
    own: &Own,
    ips: &[IpAddr],
    there: bool,
) -> Result<Vec<u8>, SimpleDnsError> {
    let (instance, host) = (
        format!("{}.{SERVICE}", own.name),
        format!("{}.local", own.name),
    );
    let id = format!("id={}", own.device);
    let version = format!("v={VERSION}");
    let (service, instance) = (Name::new(SERVICE)?, Name::new(&instance)?);
    let host = Name::new(&host)?;
    let mut texts = TXT::new().with_string(&id)?.with_string(&version)?;
    if own.inviting {
        texts.add_string("pair=1")?;
    }
    let ttl = |s: u32| if there { s } else { 0 };
    let record = |name: &Name<'_>, s: u32, data| {
        ResourceRecord::new(name.clone().into_owned(), CLASS::IN, ttl(s), data)
    };
    let srv = SRV {
        priority: 0,
        weight: 0,
        port: own.port,
        target: host.clone(),
    };
    let mut packet = Packet::new_reply(0);
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    let pointer = RData::PTR(PTR(instance.clone()));
    packet.answers.push(record(&service, TTL_S.1, pointer));
    let unique = [
        record(&instance, TTL_S.0, RData::SRV(srv)),
        record(&instance, TTL_S.1, RData::TXT(texts)),
    ];
    packet
        .answers
        .extend(unique.map(|r| r.with_cache_flush(true)));
    for ip in ips {
        let data = match ip {
            IpAddr::V4(v4) => RData::A(A::from(*v4)),
            IpAddr::V6(v6) => RData::AAAA(AAAA::from(*v6)),
        };
        let address = record(&host, TTL_S.0, data).with_cache_flush(true);
        packet.answers.push(address);
    }
    packet.build_bytes_vec_compressed()
}

/// Takes a packet in. `own` is our name.
pub(crate) fn hear(bytes: &[u8], own: &str) -> Heard {
    if bytes.len() > limits::DISCOVERY_PACKET_BYTES_MAX || !is_small(bytes) {
        return Heard::Nothing;
    }
    let Ok(packet) = Packet::parse(bytes) else {
        return Heard::Nothing;
    };
    if !packet.has_flags(PacketFlag::RESPONSE) {
        let names = [
            SERVICE.to_owned(),
            format!("{own}.{SERVICE}"),
            format!("{own}.local"),
        ];
        let ours = |q: &Question<'_>| names.iter().any(|name| is_called(&q.qname, name));
        return if packet.questions.iter().any(ours) {
            Heard::Question
        } else {
            Heard::Nothing
        };
    }
    let records: Vec<&ResourceRecord<'_>> = packet
        .answers
        .iter()
        .chain(&packet.additional_records)
        .collect();
    let instances = records.iter().filter_map(|r| match &r.rdata {
        RData::PTR(PTR(instance)) if is_called(&r.name, SERVICE) => Some((instance, r.ttl)),
        _ => None,
    });
    let statements: Vec<Statement> = instances
        .take(INSTANCES_MAX)
        .filter_map(|(instance, ttl)| match ttl {
            0 => Some(Statement::Gone(instance.to_string())),
            _ => announced(instance, &records).map(Statement::Here),
        })
        .collect();
    if statements.is_empty() {
        Heard::Nothing
    } else {
        Heard::Statements(statements)
    }
}

fn announced(instance: &Name<'_>, records: &[&ResourceRecord<'_>]) -> Option<Announced> {
    let of_it = || records.iter().filter(|r| r.name == *instance && r.ttl > 0);
    let service = of_it().find_map(|r| match &r.rdata {
        RData::SRV(srv) => Some(srv),
        _ => None,
    })?;
    let texts = of_it().find_map(|r| match &r.rdata {
        RData::TXT(texts) => Some(texts),
        _ => None,
    })?;
    let ips = records
        .iter()
        .filter(|r| r.name == service.target && r.ttl > 0)
        .filter_map(|r| match &r.rdata {
            RData::A(a) => Some(IpAddr::from(a.address.to_be_bytes())),
            RData::AAAA(a) => Some(IpAddr::from(a.address.to_be_bytes())),
            _ => None,
        });
    let pair = |(key, value): (&[u8], Option<&[u8]>)| (key.to_vec(), value.unwrap_or(&[]).to_vec());
    Some(Announced {
        name: instance.to_string(),
        port: service.port,
        ips: ips.collect(),
        texts: texts.iter_raw().map(pair).collect(),
    })
}

/// Memory is taken for as many records as a packet claims to have.
fn is_small(bytes: &[u8]) -> bool {
    let counts = [
        header_buffer::questions(bytes),
        header_buffer::answers(bytes),
        header_buffer::name_servers(bytes),
        header_buffer::additional_records(bytes),
    ];
    let few = |n: Result<u16, _>| n.is_ok_and(|n: u16| n <= limits::DISCOVERY_RECORDS_MAX);
    counts.into_iter().all(few)
}

fn is_called(name: &Name<'_>, wanted: &str) -> bool {
    name.to_string().eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(inviting: bool) -> Own {
        Own {
            name: "0123456789abcdef".into(),
            device: DeviceId([7; 32]),
            inviting,
            port: 4000,
        }
    }

    fn ips() -> [IpAddr; 2] {
        ["192.0.2.7", "2001:db8::7"].map(|ip| ip.parse().unwrap())
    }

    #[test]
    fn an_announcement_is_understood_from_one_packet() {
        for inviting in [false, true] {
            let bytes = announcement(&own(inviting), &ips(), true).unwrap();
            assert!(bytes.len() < 400, "{} bytes", bytes.len());
            let Heard::Statements(statements) = hear(&bytes, "other") else {
                panic!()
            };
            let [Statement::Here(announced)] = &statements[..] else {
                panic!("{statements:?}")
            };
            assert_eq!(announced.device(), Some((DeviceId([7; 32]), inviting)));
            assert_eq!(announced.name, format!("0123456789abcdef.{SERVICE}"));
            assert_eq!((announced.port, &announced.ips[..]), (4000, &ips()[..]));
        }
        let bytes = announcement(&own(false), &ips(), false).unwrap();
        let Heard::Statements(statements) = hear(&bytes, "other") else {
            panic!()
        };
        let name = format!("0123456789abcdef.{SERVICE}");
        assert_eq!(statements, [Statement::Gone(name)]);
    }

    #[test]
    fn questions_about_others_are_none_of_our_business() {
        assert!(matches!(hear(&question().unwrap(), "x"), Heard::Question));
        let mut packet = Packet::new_query(0);
        let name = Name::new("_other._tcp.local").unwrap();
        let question = Question::new(name, QTYPE::ANY, CLASS::IN.into(), false);
        packet.questions.push(question);
        let bytes = packet.build_bytes_vec_compressed().unwrap();
        assert!(matches!(hear(&bytes, "x"), Heard::Nothing));
    }

    #[test]
    fn k_n02_counts_are_checked_before_memory_is_taken() {
        let mut bytes = announcement(&own(false), &ips(), true).unwrap();
        for at in [4, 6, 8, 10] {
            let mut lies = bytes.clone();
            lies[at..at + 2].copy_from_slice(&[0xff, 0xff]);
            assert!(!is_small(&lies));
            assert!(matches!(hear(&lies, "x"), Heard::Nothing));
        }
        bytes.resize(limits::DISCOVERY_PACKET_BYTES_MAX + 1, 0);
        assert!(matches!(hear(&bytes, "x"), Heard::Nothing));
    }
}
