//! Runs an oracle over its committed corpus, over changed copies of it, and over
//! inputs too large to be committed. Included by the tests of several packages.
//! Must not know what an oracle checks; it checks by panicking.

use std::fs;
use std::path::{Path, PathBuf};

/// Inputs in one corpus, and bytes in one of them.
const INPUTS_MAX: usize = 30;
const INPUT_BYTES_MAX: usize = 4096;

/// An oracle: panics if what is promised about these bytes does not hold.
pub(crate) type Oracle = fn(&[u8]);

/// The corpus of a target: name and content, in the order of names.
pub(crate) fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut inputs: Vec<_> = fs::read_dir(dir(target))
        .map(|entries| {
            entries
                .map(|e| {
                    let path = e.unwrap().path();
                    let name = path.file_name().unwrap().to_string_lossy().into_owned();
                    (name, fs::read(&path).unwrap())
                })
                .collect()
        })
        .unwrap_or_default();
    inputs.sort();
    inputs
}

/// Replays the corpus and what it is made from; `BLESS=1` writes it. Inputs that
/// are there beyond that were found by a fuzzer.
pub(crate) fn replay(target: &str, made_from: &[(&str, Vec<u8>)], oracle: Oracle) {
    if std::env::var("BLESS").is_ok_and(|v| v == "1") {
        fs::create_dir_all(dir(target)).unwrap();
        for (name, bytes) in made_from {
            fs::write(dir(target).join(name), bytes).unwrap();
        }
    }
    let inputs = corpus(target);
    assert!(inputs.len() <= INPUTS_MAX, "{target} has too many inputs");
    for (name, bytes) in made_from {
        let committed = inputs.iter().any(|(n, _)| n == name);
        assert!(committed, "{target}/{name} is missing (BLESS=1)");
        oracle(bytes);
    }
    for (name, bytes) in &inputs {
        assert!(
            bytes.len() <= INPUT_BYTES_MAX,
            "{target}/{name} is too long"
        );
        oracle(bytes);
    }
}

/// Runs the oracle over copies of the corpus with bits, bytes and parts changed:
/// so many, or `CCPEER_MUTATIONS`. The same ones every time.
pub(crate) fn mutate(target: &str, rounds: usize, oracle: Oracle) {
    let asked = std::env::var("CCPEER_MUTATIONS").ok();
    let rounds = asked.map_or(rounds, |n| n.parse().unwrap());
    let inputs = corpus(target);
    let mut chance = Chance(0x5eed);
    for _ in 0..rounds {
        let mut bytes = inputs[chance.below(inputs.len())].1.clone();
        for _ in 0..=chance.below(4) {
            change(&mut bytes, &inputs, &mut chance);
        }
        oracle(&bytes);
    }
    println!("figure: {target}: {rounds} changed inputs");
}

/// Inputs of several megabytes: floods of one byte, and depth without end.
pub(crate) fn monsters(oracle: Oracle) {
    const MANY: usize = 4 * 1024 * 1024;
    for byte in [0x01, 0xff, b'['] {
        oracle(&vec![byte; MANY]);
    }
    for byte in [0x00, 0x7f, 0x80, b'{', b'"', b'\\', b'\n'] {
        oracle(&vec![byte; MANY / 16]);
    }
    let deep = 200_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"hooks\":", "}]")] {
        oracle(open.repeat(deep).as_bytes());
        oracle(format!("{}1{}", open.repeat(deep), close.repeat(deep)).as_bytes());
        oracle(
            format!(
                "{{\"type\":\"user\",\"uuid\":\"u\",\"hooks\":{}",
                open.repeat(deep)
            )
            .as_bytes(),
        );
    }
    // Numbers that never end, in a length's place.
    oracle(&[[1].as_slice(), &[0x80; 64 * 1024]].concat());
    oracle(&[[1, 2].as_slice(), &[0xff; 9], &[0x01]].concat());
}

fn dir(target: &str) -> PathBuf {
    let mut top = Path::new(env!("CARGO_MANIFEST_DIR"));
    while !top.join("fuzz").is_dir() {
        top = top.parent().unwrap();
    }
    top.join("fuzz/corpus").join(target)
}

fn change(bytes: &mut Vec<u8>, inputs: &[(String, Vec<u8>)], chance: &mut Chance) {
    let at = chance.below(bytes.len() + 1);
    match chance.below(9) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, chance.byte()),
        2 => {
            let other = &inputs[chance.below(inputs.len())].1;
            let from = chance.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        3 => {
            let odd: [&[u8]; 8] = [
                b"\x80\x00",
                b"\xff\xff\xff\xff\x0f",
                b"\"",
                b"\\u",
                b"[[[[",
                b"\xef\xbb\xbf",
                b"/w/proj",
                b"\x1b]8;;",
            ];
            let odd = odd[chance.below(odd.len())];
            bytes.splice(at..at, odd.iter().copied());
        }
        4 if at < bytes.len() => {
            let end = (at + 1 + chance.below(16)).min(bytes.len());
            bytes.drain(at..end);
        }
        5 if at < bytes.len() => {
            let end = (at + 1 + chance.below(64)).min(bytes.len());
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        6 if at < bytes.len() => bytes[at] = chance.byte(),
        _ if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
        _ => bytes.push(chance.byte()),
    }
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}
