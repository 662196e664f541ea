//! The fuzz oracles of what strangers can send, as ordinary tests: over the
//! committed corpus, and over changed copies of it.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod f08_record;
mod f11_pairing;
mod seeds;

use std::fs;
use std::path::Path;

#[test]
fn k_f01_records() {
    replay("f08_record", &seeds::records(), f08_record::check);
    mutate("f08_record", 20_000, f08_record::check);
}

#[test]
fn k_f01_pairing_messages() {
    replay("f11_pairing", &seeds::messages(), f11_pairing::check);
    mutate("f11_pairing", 2_000, f11_pairing::check);
}

/// Replays the corpus and what it is made from; `BLESS=1` writes it. Inputs that
/// are there beyond that were found by a fuzzer.
fn replay(target: &str, made_from: &[seeds::Seed], check: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    if std::env::var("BLESS").is_ok_and(|v| v == "1") {
        fs::create_dir_all(&dir).unwrap();
        for (name, bytes) in made_from {
            fs::write(dir.join(name), bytes).unwrap();
        }
    }
    for (name, bytes) in made_from {
        check(bytes);
        assert!(
            dir.join(name).exists(),
            "{target}/{name} is missing (BLESS=1)"
        );
    }
    for (_, bytes) in corpus(target) {
        check(&bytes);
    }
}

/// Checks changed copies of the corpus: so many, or `CCPEER_MUTATIONS`. The same
/// ones every time.
fn mutate(target: &str, rounds: usize, check: fn(&[u8])) {
    let asked = std::env::var("CCPEER_MUTATIONS").ok();
    let rounds = asked.map_or(rounds, |n| n.parse().unwrap());
    let corpus = corpus(target);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(n).unwrap()).unwrap()
    };
    for _ in 0..rounds {
        let mut bytes = corpus[below(corpus.len())].1.clone();
        for _ in 0..=below(4) {
            let at = below(bytes.len() + 1);
            match below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, u8::try_from(below(256)).unwrap()),
                2 => {
                    let other = &corpus[below(corpus.len())].1;
                    let from = below(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << below(8);
                    }
                }
            }
        }
        check(&bytes);
    }
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut inputs: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    inputs.sort();
    inputs
}
