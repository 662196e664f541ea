//! Inputs that the corpora of F8 and F11 begin with: one that is right of each
//! kind, and some that are almost right.

pub(crate) type Seed = (&'static str, Vec<u8>);

const ID: &str = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";

/// Port, addresses and texts of announcements.
pub(crate) fn records() -> Vec<Seed> {
    let right = format!("id={ID}");
    let record = |port: u16, ips: &[[u8; 4]], texts: &[&str]| {
        let mut bytes = port.to_be_bytes().to_vec();
        bytes.push(u8::try_from(ips.len()).unwrap());
        bytes.extend(ips.iter().flatten());
        for text in texts {
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend(text.as_bytes());
        }
        bytes
    };
    let home = [[192, 0, 2, 7]];
    let nowhere = [[0; 4], [255; 4], [224, 0, 0, 251]];
    let upper = right.to_uppercase();
    let zeros = format!("id={}", "0".repeat(64));
    vec![
        ("right", record(4000, &home, &[&right, "v=1"])),
        ("inviting", record(4000, &home, &["v=1", &right, "pair=1"])),
        (
            "many-addresses",
            record(9, &[[10, 0, 0, 1]; 40], &[&right, "v=1"]),
        ),
        ("nowhere", record(9, &nowhere, &[&right, "v=1"])),
        ("port-0", record(0, &home, &[&right, "v=1"])),
        ("no-version", record(9, &home, &[&right])),
        ("newer", record(9, &home, &[&right, "v=2"])),
        ("own-id", record(9, &home, &[&zeros, "v=1"])),
        ("id-short", record(9, &home, &[&right[..60], "v=1"])),
        ("id-upper", record(9, &home, &[&upper, "v=1"])),
        ("id-path", record(9, &home, &["id=../../x", "v=1"])),
        ("twice", record(9, &home, &["v=2", "v=1", &right, &right])),
        ("no-value", record(9, &home, &["id", "v", "=", ""])),
        (
            "text-cut",
            [record(9, &home, &["v=1"]), vec![200, b'i']].concat(),
        ),
        ("addresses-cut", vec![0, 9, 200, 1, 2]),
        ("empty", Vec::new()),
        ("packet", packet("192.0.2.7:4000", true)),
        ("packet-v6", packet("[2001:db8::7]:4000", true)),
        ("packet-gone", packet("192.0.2.7:4000", false)),
        ("packet-cut", packet("192.0.2.7:4000", true)[..100].to_vec()),
        (
            "packet-of-pointers",
            [packet("192.0.2.7:4000", true), vec![0xc0, 12, 0xc0, 0]].concat(),
        ),
    ]
}

fn packet(addr: &str, there: bool) -> Vec<u8> {
    let (device, addr) = (ID.parse().unwrap(), addr.parse().unwrap());
    ccpeer_net::probe::announcement("0123456789abcdef", device, addr, true, there)
}

/// Messages of the pairing exchange.
pub(crate) fn messages() -> Vec<Seed> {
    let card = [&[4][..], b"desk", &[5], b"linux"].concat();
    // A point that SPAKE2 takes: that of Ed25519 itself.
    let point = [&[0x58][..], &[0x66; 31]].concat();
    let message = |kind: u8, parts: &[&[u8]]| [&[1, kind][..], &parts.concat()].concat();
    let side = |side: u8| [&[33, side][..], &point].concat();
    vec![
        ("start", message(0, &[&[1, 1], &[0], &card, &side(b'B')])),
        (
            "start-ticket",
            message(0, &[&[2, 2, 1], &[1], &card, &side(b'B')]),
        ),
        (
            "start-own-side",
            message(0, &[&[1, 1], &[0], &card, &side(b'A')]),
        ),
        (
            "start-no-point",
            message(0, &[&[1, 1], &[0], &card, &[33], &[b'B'; 33]]),
        ),
        (
            "start-zeros",
            message(0, &[&[1, 1], &[0], &card, &[33, b'B'], &[0; 32]]),
        ),
        (
            "start-ones",
            message(0, &[&[1, 1], &[0], &card, &[33, b'B'], &[0xff; 32]]),
        ),
        (
            "start-no-version",
            message(0, &[&[0], &[0], &card, &side(b'B')]),
        ),
        ("reply", message(1, &[&[1], &card, &side(b'A')])),
        ("reply-newer", message(1, &[&[9], &card, &side(b'A')])),
        ("proof", message(2, &[&[7; 32]])),
        ("proof-short", message(2, &[&[7; 31]])),
        (
            "accepted",
            message(3, &[&[1, 0, 192, 0, 2, 7], &[0xa0, 0x1f]]),
        ),
        ("accepted-many", message(3, &[&[9], &[0; 63]])),
        ("refused", message(4, &[&[2]])),
        ("refused-unknown", message(4, &[&[9]])),
        ("bye", message(5, &[])),
        ("bye-and-more", message(5, &[&[0]])),
        ("kind-overlong", vec![1, 0x85, 0]),
        ("newer", vec![2, 5]),
        (
            "name-hostile",
            message(
                1,
                &[
                    &[1],
                    &[7],
                    "\u{1b}]0;\u{202e}".as_bytes(),
                    &[0],
                    &side(b'A'),
                ],
            ),
        ),
        ("empty", Vec::new()),
    ]
}
