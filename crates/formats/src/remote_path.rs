//! Paths of another machine: text with a flavour, never a `std::path`.
//!
//! A path that is to be mapped or compared is parsed first. What parses is
//! absolute, lies on an ordinary disk and names no device, so that nothing can
//! be reached through it that a plain file name could not reach. Must not know
//! what any of these paths is for.

use std::fmt;

pub use ccpeer_core::manifest::PathFlavour;

use ccpeer_core::limits;

/// An absolute path of a machine of this flavour.
///
/// Spellings that mean the same are one value: doubled and closing separators
/// and `.` parts are dropped, `C:/x`, `c:\x`, `/c/x` (Git Bash) and `/mnt/c/x`
/// (WSL) are the same Windows path. Case is kept but not compared on Windows;
/// there is no folding of Unicode forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemotePath {
    flavour: PathFlavour,
    /// As written; `None` on Unix.
    drive: Option<char>,
    parts: Vec<String>,
}

/// Why a text is no path that may be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing there.
    #[error("path is empty")]
    Empty,
    /// Longer than [`limits::FOREIGN_PATH_BYTES_MAX`].
    #[error("path is too long")]
    Long,
    /// Does not start at a root; `C:name` counts too.
    #[error("path is not absolute")]
    Relative,
    /// `\\server\share`: opening it would ask another machine.
    #[error("path names another machine")]
    Unc,
    /// `\\?\`, `\\.\`, `\??\`, or a part that Windows takes for a device.
    #[error("path names a device")]
    Device,
    /// `..`: where it leads depends on links.
    #[error("path climbs up")]
    Climbs,
    /// A control character, or one that Windows does not allow in names; on
    /// Windows also a part that ends in a dot or a space.
    #[error("path has a character that no file name has")]
    Character,
}

impl RemotePath {
    /// Reads an absolute path.
    ///
    /// # Errors
    /// See [`PathError`]: the forms that must never be mapped.
    pub fn parse(text: &str, flavour: PathFlavour) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() > limits::FOREIGN_PATH_BYTES_MAX {
            return Err(PathError::Long);
        }
        if text.chars().any(char::is_control) {
            return Err(PathError::Character);
        }
        let (drive, rest) = match flavour {
            PathFlavour::Unix => (None, text.strip_prefix('/').ok_or(PathError::Relative)?),
            PathFlavour::Windows => {
                let (drive, rest) = windows_root(text)?;
                (Some(drive), rest)
            }
        };
        Ok(Self {
            flavour,
            drive,
            parts: parts_of(rest, flavour)?,
        })
    }

    /// How it is written.
    #[must_use]
    pub fn flavour(&self) -> PathFlavour {
        self.flavour
    }

    /// The drive's letter as written, on Windows.
    #[must_use]
    pub fn drive(&self) -> Option<char> {
        self.drive
    }

    /// The names from the root down.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// Whether it is `/` or a whole drive.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.parts.is_empty()
    }

    /// The last name; a root has none.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.parts.last().map(String::as_str)
    }

    /// The directory that holds it; a root has none.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, above) = self.parts.split_last()?;
        Some(Self {
            parts: above.to_vec(),
            ..self.clone()
        })
    }

    /// The path of something below: names separated by `/`, possibly none.
    ///
    /// # Errors
    /// See [`PathError`]; the names obey the rules of this path's flavour.
    pub fn join(&self, below: &str) -> Result<Self, PathError> {
        if below.chars().any(char::is_control) {
            return Err(PathError::Character);
        }
        let mut joined = self.clone();
        for name in below.split('/').filter(|n| !n.is_empty() && *n != ".") {
            check_part(name, self.flavour)?;
            if self.flavour == PathFlavour::Windows && name.contains('\\') {
                return Err(PathError::Character);
            }
            joined.parts.push(name.to_owned());
        }
        if joined.to_string().len() > limits::FOREIGN_PATH_BYTES_MAX {
            return Err(PathError::Long);
        }
        Ok(joined)
    }

    /// What remains below `base`, `/`-separated; empty if they are the same.
    /// `/w/project` is not below `/w/proj`.
    #[must_use]
    pub fn strip_prefix(&self, base: &Self) -> Option<String> {
        let below = self.parts_below(base)?;
        Some(below.join("/"))
    }

    /// Like [`RemotePath::strip_prefix`], as names.
    #[must_use]
    pub fn parts_below(&self, base: &Self) -> Option<&[String]> {
        if self.flavour != base.flavour || !same_drive(self.drive, base.drive) {
            return None;
        }
        let (head, below) = self.parts.split_at_checked(base.parts.len())?;
        let same = head
            .iter()
            .zip(&base.parts)
            .all(|(a, b)| self.same_part(a, b));
        same.then_some(below)
    }

    /// Whether both name the same place: on Windows whatever the case.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.parts_below(other).is_some_and(<[String]>::is_empty)
    }

    fn same_part(&self, a: &str, b: &str) -> bool {
        match self.flavour {
            PathFlavour::Unix => a == b,
            PathFlavour::Windows => a == b || a.to_lowercase() == b.to_lowercase(),
        }
    }
}

impl fmt::Display for RemotePath {
    /// The usual spelling of its flavour.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.drive {
            None => write!(f, "/{}", self.parts.join("/")),
            Some(drive) => write!(f, "{drive}:\\{}", self.parts.join("\\")),
        }
    }
}

fn same_drive(a: Option<char>, b: Option<char>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(&b),
        (a, b) => a == b,
    }
}

fn is_separator(c: char) -> bool {
    c == '/' || c == '\\'
}

/// The drive and what follows its separator.
fn windows_root(text: &str) -> Result<(char, &str), PathError> {
    let mut chars = text.chars();
    let (first, second, third) = (chars.next(), chars.next(), chars.next());
    let letter = |c: Option<char>| c.filter(char::is_ascii_alphabetic);
    let separates = |c: Option<char>| c.is_some_and(is_separator);
    if let (Some(drive), Some(':')) = (letter(first), second) {
        return match third {
            Some(c) if is_separator(c) => Ok((drive, text.get(3..).unwrap_or_default())),
            None => Ok((drive, "")),
            Some(_) => Err(PathError::Relative),
        };
    }
    if separates(first) && (separates(second) || second == Some('?')) {
        let device = matches!(second, Some('?')) || matches!(third, Some('?' | '.'));
        return Err(if device {
            PathError::Device
        } else {
            PathError::Unc
        });
    }
    if first == Some('/') {
        let rest = text
            .strip_prefix("/mnt")
            .filter(|r| r.starts_with('/'))
            .unwrap_or(text);
        let mut chars = rest.chars().skip(1);
        if let (Some(drive), None | Some('/')) = (letter(chars.next()), chars.next()) {
            return Ok((
                drive.to_ascii_uppercase(),
                rest.get(3..).unwrap_or_default(),
            ));
        }
    }
    Err(PathError::Relative)
}

fn parts_of(rest: &str, flavour: PathFlavour) -> Result<Vec<String>, PathError> {
    let separates = |c: char| c == '/' || (flavour == PathFlavour::Windows && c == '\\');
    let mut parts = Vec::new();
    for name in rest.split(separates).filter(|n| !n.is_empty() && *n != ".") {
        check_part(name, flavour)?;
        parts.push(name.to_owned());
    }
    Ok(parts)
}

fn check_part(name: &str, flavour: PathFlavour) -> Result<(), PathError> {
    if name == ".." {
        return Err(PathError::Climbs);
    }
    if flavour == PathFlavour::Unix {
        return Ok(());
    }
    if name.contains([':', '*', '?', '"', '<', '>', '|']) || name.ends_with(['.', ' ']) {
        return Err(PathError::Character);
    }
    // A device stays one with any extension: `nul.txt`.
    let stem = name
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_ascii_lowercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix).is_some_and(|n| {
            let mut digits = n.chars();
            matches!(digits.next(), Some('0'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
        })
    };
    let device = matches!(
        stem.as_str(),
        "con" | "prn" | "aux" | "nul" | "conin$" | "conout$"
    ) || numbered("com")
        || numbered("lpt");
    if device {
        Err(PathError::Device)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(text: &str) -> RemotePath {
        RemotePath::parse(text, PathFlavour::Unix).unwrap()
    }

    fn windows(text: &str) -> RemotePath {
        RemotePath::parse(text, PathFlavour::Windows).unwrap()
    }

    #[test]
    fn spellings_of_one_place_are_one_value() {
        assert_eq!(unix("/w//proj/./x/"), unix("/w/proj/x"));
        assert_eq!(unix("/").to_string(), "/");
        for text in [
            r"C:\Users\ann",
            "C:/Users/ann",
            r"C:\Users\\ann\",
            "/c/Users/ann",
            "/mnt/c/Users/ann",
        ] {
            assert_eq!(windows(text).to_string(), r"C:\Users\ann", "{text}");
        }
        assert!(windows(r"c:\users\ANN").is_same_place(&windows("C:/Users/ann")));
        assert!(!unix("/Users/ann").is_same_place(&unix("/users/ann")));
        assert!(windows("C:").is_root() && windows("/d").is_root());
    }

    #[test]
    fn prefixes_end_at_separators() {
        assert_eq!(
            unix("/w/proj/src/a.rs")
                .strip_prefix(&unix("/w/proj"))
                .as_deref(),
            Some("src/a.rs")
        );
        assert_eq!(
            unix("/w/proj").strip_prefix(&unix("/w/proj/")).as_deref(),
            Some("")
        );
        assert_eq!(unix("/w/project2").strip_prefix(&unix("/w/proj")), None);
        assert_eq!(
            windows(r"c:\W\Proj\src")
                .strip_prefix(&windows("C:/w/proj"))
                .as_deref(),
            Some("src")
        );
        assert_eq!(windows(r"D:\w").strip_prefix(&windows(r"C:\w")), None);
        assert_eq!(unix("/x").strip_prefix(&unix("/")).as_deref(), Some("x"));
    }

    #[test]
    fn names_and_joins() {
        assert_eq!(unix("/w/proj").file_name(), Some("proj"));
        assert_eq!(unix("/").file_name(), None);
        assert_eq!(unix("/w/proj").parent(), Some(unix("/w")));
        assert_eq!(
            windows("C:/w").join("a/b").unwrap().to_string(),
            r"C:\w\a\b"
        );
        assert_eq!(unix("/w").join("").unwrap(), unix("/w"));
        assert_eq!(unix("/w").join("../etc"), Err(PathError::Climbs));
        assert_eq!(windows("C:/w").join(r"a\b"), Err(PathError::Character));
        assert_eq!(windows("C:/w").join("aux.txt"), Err(PathError::Device));
    }

    #[test]
    fn k_a11_forms_that_must_not_be_mapped() {
        use PathError::*;
        let unix_cases = [
            ("", Empty),
            ("w/proj", Relative),
            ("/w/../x", Climbs),
            ("/w\0", Character),
            ("~/x", Relative),
        ];
        for (text, why) in unix_cases {
            assert_eq!(
                RemotePath::parse(text, PathFlavour::Unix),
                Err(why),
                "{text:?}"
            );
        }
        let windows_cases = [
            (r"\\server\share\x", Unc),
            ("//server/share/x", Unc),
            (r"\\?\C:\x", Device),
            (r"\\.\pipe\x", Device),
            (r"\??\C:\x", Device),
            ("C:x", Relative),
            (r"\x", Relative),
            ("/home/ann", Relative),
            (r"C:\nul", Device),
            (r"C:\x\COM1.txt", Device),
            (r"C:\x\com¹", Device),
            (r"C:\x\a.txt:stream", Character),
            (r"C:\x.\y", Character),
            (r"C:\x \y", Character),
            (r"C:\x\..\y", Climbs),
        ];
        for (text, why) in windows_cases {
            assert_eq!(
                RemotePath::parse(text, PathFlavour::Windows),
                Err(why),
                "{text:?}"
            );
        }
        let long = format!("/{}", "x".repeat(limits::FOREIGN_PATH_BYTES_MAX));
        assert_eq!(RemotePath::parse(&long, PathFlavour::Unix), Err(Long));
    }
}
