//! What else a machine calls the same place: behind the links that its system
//! makes, in the other Unicode form, in another case where case does not count.
//!
//! Links that a user made are not known: a record names a working directory by
//! its real path. Must not know how any of it is spelled in a text.

use ccpeer_core::manifest::PathFlavour;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};

use crate::remote_path::RemotePath;

/// One way of naming a place otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alias {
    /// Through the link that leads to it.
    Short,
    /// By what that link leads to; which of [`LINKS`].
    Real(usize),
    /// NFC.
    Composed,
    /// NFD, as the Mac has file names of old.
    Decomposed,
    /// All in lower case, on Windows.
    Lower,
    /// All in upper case, on Windows.
    Upper,
}

/// Directories that are links on every machine of a kind: where they lead, and
/// what they are called.
const LINKS: [(&str, &str); 7] = [
    ("/private/tmp", "/tmp"),
    ("/private/var", "/var"),
    ("/private/etc", "/etc"),
    ("/System/Volumes/Data/Users", "/Users"),
    // Fedora's images, and FreeBSD.
    ("/var/home", "/home"),
    ("/usr/home", "/home"),
    ("/var/roothome", "/root"),
];

impl Alias {
    pub(super) const ALL: [Self; 12] = [
        Self::Short,
        Self::Real(0),
        Self::Real(1),
        Self::Real(2),
        Self::Real(3),
        Self::Real(4),
        Self::Real(5),
        Self::Real(6),
        Self::Composed,
        Self::Decomposed,
        Self::Lower,
        Self::Upper,
    ];
}

/// The other name of a place, if it has one of this kind.
pub(super) fn of(path: &RemotePath, how: Alias) -> Option<RemotePath> {
    let text = path.to_string();
    let unix = path.flavour() == PathFlavour::Unix;
    let other = match how {
        Alias::Short => LINKS
            .iter()
            .find_map(|(real, link)| moved(&text, real, link))
            .filter(|_| unix)?,
        Alias::Real(which) => {
            let (real, link) = LINKS.get(which)?;
            moved(&text, link, real).filter(|_| unix)?
        }
        Alias::Composed => ComposingNormalizerBorrowed::new_nfc()
            .normalize(&text)
            .into_owned(),
        Alias::Decomposed => DecomposingNormalizerBorrowed::new_nfd()
            .normalize(&text)
            .into_owned(),
        Alias::Lower if !unix => text.to_lowercase(),
        Alias::Upper if !unix => text.to_uppercase(),
        Alias::Lower | Alias::Upper => return None,
    };
    if other == text {
        return None;
    }
    RemotePath::parse(&other, path.flavour())
        .ok()
        .filter(|p| !p.is_root())
}

/// The same path below another directory.
fn moved(path: &str, from: &str, to: &str) -> Option<String> {
    let below = path.strip_prefix(from)?;
    (below.is_empty() || below.starts_with('/')).then(|| format!("{to}{below}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_system_has_its_own() {
        let check = |text: &str, flavour, how, want: Option<&str>| {
            let path = RemotePath::parse(text, flavour).unwrap();
            assert_eq!(
                of(&path, how).map(|p| p.to_string()).as_deref(),
                want,
                "{text}"
            );
        };
        use PathFlavour::{Unix, Windows};
        check("/private/tmp/x", Unix, Alias::Short, Some("/tmp/x"));
        check("/private/tmpx", Unix, Alias::Short, None);
        check("/var/home/ann", Unix, Alias::Short, Some("/home/ann"));
        check("/tmp/x", Unix, Alias::Real(0), Some("/private/tmp/x"));
        check("/home/ann", Unix, Alias::Real(4), Some("/var/home/ann"));
        check("/w/e\u{301}", Unix, Alias::Composed, Some("/w/\u{e9}"));
        check("/w/\u{e9}", Unix, Alias::Decomposed, Some("/w/e\u{301}"));
        check("/w/proj", Unix, Alias::Decomposed, None);
        check("/W/proj", Unix, Alias::Lower, None);
        check(
            r"C:\Users\Ann",
            Windows,
            Alias::Lower,
            Some(r"c:\users\ann"),
        );
        check(
            r"C:\Users\Ann",
            Windows,
            Alias::Upper,
            Some(r"C:\USERS\ANN"),
        );
        check(r"C:\tmp", Windows, Alias::Real(0), None);
    }
}
