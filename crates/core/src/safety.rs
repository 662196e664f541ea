//! The number that two people compare to be sure that nobody stands between
//! their devices. It follows from the two device keys alone; nothing is stored.

use alloc::format;
use alloc::string::String;

use crate::id::DeviceId;

/// Digits that stand together.
pub const GROUP_DIGITS: usize = 5;
/// Groups of them.
pub const GROUPS: usize = 12;

/// Sets these numbers apart from every other use of the keys.
const CONTEXT: &str = "ccpeer safety number v1";
const BYTES_PER_GROUP: usize = 8;
const GROUP_MODULUS: u64 = 100_000;

/// Sixty digits in groups of five, the same whichever of the two comes first.
#[must_use]
pub fn number(one: &DeviceId, other: &DeviceId) -> String {
    let (low, high) = if one <= other {
        (one, other)
    } else {
        (other, one)
    };
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(&low.0).update(&high.0);
    let mut bytes = [0; GROUPS * BYTES_PER_GROUP];
    hasher.finalize_xof().fill(&mut bytes);
    let mut out = String::with_capacity(GROUPS * (GROUP_DIGITS + 1));
    for group in bytes.as_chunks::<BYTES_PER_GROUP>().0 {
        if !out.is_empty() {
            out.push(' ');
        }
        let value = u64::from_le_bytes(*group) % GROUP_MODULUS;
        out.push_str(&format!("{value:0GROUP_DIGITS$}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn device(n: u8) -> DeviceId {
        DeviceId([n; 32])
    }

    #[test]
    fn both_sides_see_the_same_sixty_digits_and_nobody_else_does() {
        let ours = number(&device(1), &device(2));
        assert_eq!(ours, number(&device(2), &device(1)));
        let groups: Vec<&str> = ours.split(' ').collect();
        assert_eq!(groups.len(), GROUPS);
        for group in groups {
            assert_eq!(group.len(), GROUP_DIGITS);
            assert!(group.bytes().all(|c| c.is_ascii_digit()));
        }
        assert_ne!(ours, number(&device(1), &device(3)));
        assert_ne!(ours, number(&device(3), &device(2)));
    }

    /// People compare numbers of different versions of the program.
    #[test]
    fn the_number_stays_what_it_is() {
        assert_eq!(
            number(&device(1), &device(2)),
            "05849 95753 35818 36785 42559 54572 58659 49116 04506 64333 90842 77324"
        );
    }
}
