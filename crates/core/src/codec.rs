//! Canonical encoding of our own types: postcard, but only one spelling each.
//!
//! postcard by itself accepts overlong varints and ignores trailing bytes
//! (measured on 1.1.3), which would give one value many hashes. Everything that
//! is hashed, signed or taken from a peer therefore goes through [`decode`].

use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are not a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than the limit for this type.
    #[error("{len} bytes exceed the limit of {limit}")]
    TooLong {
        /// What was given.
        len: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Not an encoding of the type.
    #[error("malformed encoding")]
    Malformed,
    /// A second spelling of a value: overlong number, or bytes after the end.
    #[error("encoding is not canonical")]
    NotCanonical,
    /// Made by a newer ccpeer.
    #[error("format version {0} is not supported")]
    Version(u8),
    /// A bound of the type itself was broken.
    #[error("{0} is out of bounds")]
    OutOfBounds(&'static str),
}

/// Encodes a value of ours.
///
/// # Panics
/// Never for our types: postcard fails only for unknown-length sequences and
/// for foreign types, of which there are none here.
#[must_use]
#[expect(clippy::expect_used, reason = "our types have no failing encoder")]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("encoding to memory cannot fail")
}

/// Decodes exactly these bytes, in their one canonical spelling.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    limit: usize,
) -> Result<T, DecodeError> {
    if bytes.len() > limit {
        return Err(DecodeError::TooLong {
            len: bytes.len(),
            limit,
        });
    }
    let (value, rest) =
        postcard::take_from_bytes::<T>(bytes).map_err(|_| DecodeError::Malformed)?;
    if !rest.is_empty() || encode(&value) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_spellings_are_refused() {
        assert_eq!(decode::<u64>(&[5], 16), Ok(5));
        assert_eq!(decode::<u64>(&[5, 0], 16), Err(DecodeError::NotCanonical));
        assert_eq!(
            decode::<u64>(&[0x80, 0], 16),
            Err(DecodeError::NotCanonical)
        );
        assert_eq!(decode::<u64>(&[0x80], 16), Err(DecodeError::Malformed));
        assert!(matches!(
            decode::<u64>(&[5; 17], 16),
            Err(DecodeError::TooLong { .. })
        ));
    }
}
