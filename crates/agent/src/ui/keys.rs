//! Who may ask the page's questions: whoever has shown, once and in time, what
//! stands in the link. Time is an argument.

use std::time::{Duration, Instant};

use blake3::Hash;
use zeroize::Zeroizing;

use crate::random::{self, NoRandomness};

/// How long a link lets somebody in.
pub(crate) const LAUNCH: Duration = Duration::from_secs(60);
/// Without use it is switched off after this.
pub(crate) const IDLE: Duration = Duration::from_secs(30 * 60);
/// Longer ones are nobody's: not even hashed.
const TOKEN_BYTES_MAX: usize = 128;

/// What lets in, as hashes: they are compared in constant time.
pub(crate) struct Keys {
    /// Of what stands in the link, until it is used or too old.
    launch: Option<(Hash, Instant)>,
    /// Of what the page got for it.
    bearer: Option<Hash>,
    /// When somebody who may last asked for something.
    used: Instant,
}

impl Keys {
    /// New ones, and what goes into the link.
    ///
    /// # Errors
    /// Without randomness there are none.
    pub(crate) fn new(now: Instant) -> Result<(Self, Zeroizing<String>), NoRandomness> {
        let token = token::<16>()?;
        let keys = Self {
            launch: Some((blake3::hash(token.as_bytes()), now)),
            bearer: None,
            used: now,
        };
        Ok((keys, token))
    }

    /// Gives what the page shows from now on, for what stood in the link: the first
    /// time, and while it is fresh.
    ///
    /// # Errors
    /// Without randomness there is nothing to give.
    pub(crate) fn enter(
        &mut self,
        said: Option<&str>,
        now: Instant,
    ) -> Result<Option<Zeroizing<String>>, NoRandomness> {
        if !self.opens(said, now) {
            return Ok(None);
        }
        self.launch = None;
        let token = token::<32>()?;
        self.bearer = Some(blake3::hash(token.as_bytes()));
        self.used = now;
        Ok(Some(token))
    }

    /// Whether this is what stands in the link, and still lets somebody in.
    pub(crate) fn opens(&mut self, said: Option<&str>, now: Instant) -> bool {
        let said = hashed(said);
        let Some((wanted, since)) = self.launch else {
            return false;
        };
        if now.saturating_duration_since(since) >= LAUNCH {
            self.launch = None;
            return false;
        }
        said == Some(wanted)
    }

    /// Whether this is what the page got.
    pub(crate) fn knows(&mut self, said: Option<&str>, now: Instant) -> bool {
        let said = hashed(said);
        let known = said.is_some() && said == self.bearer;
        if known {
            self.used = now;
        }
        known
    }

    /// How long it may stay without use.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        IDLE.saturating_sub(now.saturating_duration_since(self.used))
    }
}

fn hashed(said: Option<&str>) -> Option<Hash> {
    let said = said.filter(|s| s.len() <= TOKEN_BYTES_MAX)?;
    Some(blake3::hash(said.as_bytes()))
}

/// So many random bytes, in hexadecimal.
fn token<const N: usize>() -> Result<Zeroizing<String>, NoRandomness> {
    let bytes: Zeroizing<[u8; N]> = Zeroizing::new(random::bytes()?);
    let mut out = Zeroizing::new(String::with_capacity(2 * N));
    for byte in bytes.iter() {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(now: Instant) -> (Keys, String) {
        let (keys, token) = Keys::new(now).unwrap();
        (keys, token.to_string())
    }

    fn enter(keys: &mut Keys, said: &str, now: Instant) -> Option<String> {
        let entered = keys.enter(Some(said), now).unwrap();
        entered.map(|t| t.to_string())
    }

    #[test]
    fn k_l08_a_link_lets_in_once_and_for_a_minute() {
        let now = Instant::now();
        let (mut all, link) = keys(now);
        assert_eq!(link.len(), 32, "128 bits");
        let late = now + LAUNCH - Duration::from_millis(1);
        let bearer = enter(&mut all, &link, late).unwrap();
        assert_eq!(bearer.len(), 64);
        assert!(all.knows(Some(&bearer), late));
        assert_eq!(enter(&mut all, &link, late), None, "a second time");
        assert!(all.knows(Some(&bearer), late), "the first one stays in");

        let (mut all, link) = keys(now);
        assert_eq!(enter(&mut all, &link, now + LAUNCH), None, "too old");
        assert_eq!(enter(&mut all, &link, now), None, "for good");
    }

    #[test]
    fn k_l08_nothing_else_lets_in() {
        let now = Instant::now();
        let (mut all, link) = keys(now);
        let (_, other) = keys(now);
        for wrong in ["", "x", &link[1..], &link.to_uppercase(), &other] {
            assert_eq!(enter(&mut all, wrong, now), None, "{wrong}");
            assert!(!all.knows(Some(wrong), now), "{wrong}");
        }
        assert!(!all.knows(Some(&link), now), "a link is no bearer");
        assert!(!all.knows(None, now));
        assert_eq!(all.enter(None, now).unwrap(), None);
        // Whoever guesses does not use it up.
        let bearer = enter(&mut all, &link, now).unwrap();
        for wrong in [
            "",
            &link,
            &bearer[1..],
            &format!("{bearer}0"),
            &bearer.to_uppercase(),
            &"0".repeat(1 << 20),
        ] {
            assert!(!all.knows(Some(wrong), now), "{wrong}");
        }
        assert!(all.knows(Some(&bearer), now));
        let (mut another, _) = keys(now);
        assert!(!another.knows(Some(&bearer), now), "of another instance");
    }

    #[test]
    fn it_is_switched_off_when_nobody_who_may_uses_it() {
        let now = Instant::now();
        let (mut all, link) = keys(now);
        assert_eq!(all.left(now), IDLE);
        let soon = now + Duration::from_secs(5);
        let bearer = enter(&mut all, &link, soon).unwrap();
        assert_eq!(all.left(soon), IDLE);
        let later = soon + IDLE - Duration::from_secs(1);
        assert!(!all.knows(Some("guess"), later));
        assert_eq!(all.left(later), Duration::from_secs(1));
        assert!(all.knows(Some(&bearer), later));
        assert_eq!(all.left(later), IDLE);
        assert_eq!(all.left(later + IDLE), Duration::ZERO);
    }
}
