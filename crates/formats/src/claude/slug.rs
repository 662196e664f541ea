//! The name that Claude Code gives a project's directory under `projects/`.
//!
//! Not invertible: `a.b`, `a_b` and `a/b` share one name, so a project is never
//! read back from it. Must not know any other rule of the layout.

/// Names longer than this are cut, and told apart by a hash.
const NAME_UNITS_MAX: usize = 200;

/// Systems by how they treat the spelling of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// A name is its bytes.
    Linux,
    /// Case and composition do not count; names are taken composed.
    MacOs,
    /// Case does not count, and neither does which slash.
    Windows,
}

impl System {
    /// The one that this program is made for.
    pub const HERE: Self = if cfg!(windows) {
        Self::Windows
    } else if cfg!(target_os = "macos") {
        Self::MacOs
    } else {
        Self::Linux
    };

    /// The name for sessions that were started in `path`, which is resolved.
    #[must_use]
    pub fn project_slug(self, path: &str) -> String {
        match self {
            Self::MacOs => project_slug(&composed(path)),
            Self::Linux | Self::Windows => project_slug(path),
        }
    }

    /// Whether two absolute paths name one place as this system compares names.
    /// Links are not followed.
    #[must_use]
    pub fn same_path(self, a: &str, b: &str) -> bool {
        a == b || self.folded(a) == self.folded(b)
    }

    fn folded(self, path: &str) -> String {
        let (spelt, slash) = match self {
            Self::Linux => (path.to_owned(), "/"),
            Self::MacOs => (composed(&composed(path).to_lowercase()), "/"),
            Self::Windows => (windows_spelling(path).to_lowercase(), "\\"),
        };
        let trimmed = spelt.trim_end_matches(slash);
        match trimmed.is_empty() && !spelt.is_empty() {
            true => slash.to_owned(),
            false => trimmed.to_owned(),
        }
    }
}

/// `C:\x` for every way to write it: `c:/x`, `/c/x` of Git Bash, `\\?\C:\x`.
fn windows_spelling(path: &str) -> String {
    use crate::remote_path::{PathFlavour, RemotePath};
    let plain = path.strip_prefix(r"\\?\").unwrap_or(path);
    match RemotePath::parse(plain, PathFlavour::Windows) {
        Ok(path) => path.to_string(),
        Err(_) => plain.replace('/', r"\"),
    }
}

fn composed(text: &str) -> String {
    icu_normalizer::ComposingNormalizerBorrowed::new_nfc()
        .normalize(text)
        .into_owned()
}

/// How the name of any directory begins that Claude Code may have given to this
/// long path; nothing for a path whose name is not cut. What follows is a hash,
/// and not the same in every build of Claude Code.
#[must_use]
pub fn long_beginning(slug: &str) -> Option<&str> {
    let beginning = slug.get(..=NAME_UNITS_MAX)?;
    beginning.ends_with('-').then_some(beginning)
}

/// Whether a directory of this name could be given to Claude Code by
/// `CLAUDE_CODE_PROJECT_DIR_NAME`: one name, and no way out.
#[must_use]
pub fn is_pin(name: &str) -> bool {
    const PIN_BYTES_MAX: usize = 255;
    let dots = matches!(name, "." | "..");
    !name.is_empty()
        && !dots
        && name.len() <= PIN_BYTES_MAX
        && !name.contains(|c: char| matches!(c, '/' | '\\' | ':') || c.is_control())
}

/// The directory name for sessions that were started in `path`.
///
/// The rule works on UTF-16 code units: each one outside `[A-Za-z0-9]` becomes
/// `-`, so a character outside the basic plane gives two. The path is taken as
/// the other program sees it: absolute, links resolved, in its system's own
/// spelling (`C:\Users\ann` as well as `/home/ann`; on macOS composed, NFC).
#[must_use]
pub fn project_slug(path: &str) -> String {
    let name: String = path
        .encode_utf16()
        .map(|unit| match u8::try_from(unit) {
            Ok(c) if c.is_ascii_alphanumeric() => char::from(c),
            _ => '-',
        })
        .collect();
    if name.len() <= NAME_UNITS_MAX {
        return name;
    }
    // All ASCII by now: a byte is a unit is a character.
    let mut cut: String = name.chars().take(NAME_UNITS_MAX).collect();
    cut.push('-');
    cut.push_str(&base36(hash(path).unsigned_abs()));
    cut
}

/// The 32-bit string hash that is customary in JavaScript, over the whole path.
fn hash(path: &str) -> i32 {
    path.encode_utf16().fold(0i32, |h, unit| {
        (h << 5).wrapping_sub(h).wrapping_add(i32::from(unit))
    })
}

fn base36(mut n: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit(n % 36, 36).unwrap_or('0'));
        n /= 36;
        if n == 0 {
            return digits.iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, want: &str) {
        assert_eq!(project_slug(path), want, "{path}");
    }

    #[test]
    fn p10_everything_but_letters_and_digits_becomes_a_hyphen() {
        check("/home/ann/fx/full/work/proj", "-home-ann-fx-full-work-proj");
        check(
            "/home/ann/fx/v2.1.54/work/proj",
            "-home-ann-fx-v2-1-54-work-proj",
        );
        check("/w/a.b_c d-e", "-w-a-b-c-d-e");
        check("/", "-");
        check("", "");
    }

    #[test]
    fn one_hyphen_for_each_utf16_unit() {
        check(
            "/home/ann/fx/chinese/代码/我的 项目 v1.2_x",
            "-home-ann-fx-chinese----------v1-2-x",
        );
        check("/p/\u{1f680}x", "-p---x");
        check("/p/e\u{301}", "-p-e-");
    }

    #[test]
    fn windows_paths_follow_the_same_rule() {
        check(r"C:\Users\me\proj", "C--Users-me-proj");
        check(r"c:\Users\me\proj", "c--Users-me-proj");
        check(r"\\server\share\x", "--server-share-x");
        check(r"C:\Users\bob\.cfg\app", "C--Users-bob--cfg-app");
    }

    #[test]
    fn macos_takes_names_composed() {
        let (split, whole) = ("/p/e\u{301}", "/p/\u{e9}");
        assert_eq!(System::Linux.project_slug(split), "-p-e-");
        assert_eq!(System::Windows.project_slug(split), "-p-e-");
        assert_eq!(System::MacOs.project_slug(split), "-p--");
        assert_eq!(System::MacOs.project_slug(whole), "-p--");
    }

    #[test]
    fn paths_are_compared_as_their_system_does() {
        use System::{Linux, MacOs, Windows};
        let check = |system: System, a: &str, b: &str, want| {
            assert_eq!(system.same_path(a, b), want, "{system:?} {a} {b}");
            assert_eq!(system.same_path(b, a), want, "{system:?} {b} {a}");
        };
        check(Linux, "/w/App", "/w/app", false);
        check(Linux, "/w/app/", "/w/app", true);
        check(Linux, "/w/e\u{301}", "/w/\u{e9}", false);
        check(Linux, "/", "/", true);
        check(Linux, "/", "", false);
        check(MacOs, "/w/App", "/w/app", true);
        check(MacOs, "/w/E\u{301}", "/w/\u{e9}", true);
        check(MacOs, "/w/app", "/w/app2", false);
        check(Windows, r"C:\Users\Ann", r"c:\users\ann", true);
        check(Windows, r"C:\Users\Ann", "C:/Users/Ann/", true);
        check(Windows, r"C:\Users\Ann", "/c/Users/Ann", true);
        check(Windows, r"\\?\C:\Users\Ann", r"C:\Users\Ann", true);
        check(Windows, r"C:\x", r"D:\x", false);
        check(Windows, r"\\server\share\X", r"\\SERVER\share\x", true);
        check(Windows, r"\\wsl$\Ubuntu\w", r"\\wsl$\ubuntu\w", true);
    }

    #[test]
    fn the_beginning_of_a_long_name_is_known_whatever_the_hash() {
        let long = project_slug(&format!("/{}", "a".repeat(250)));
        let other = format!("-{}-zzzzzz", "a".repeat(199));
        assert_eq!(long_beginning(&long), long_beginning(&other));
        assert!(long_beginning(&long).is_some());
        assert_eq!(long_beginning("-short"), None);
        assert_eq!(long_beginning(&format!("-{}", "a".repeat(199))), None);
    }

    #[test]
    fn a_pin_is_one_name() {
        for name in ["work", "-home-ann-p", "\u{4ee3}", "a b"] {
            assert!(is_pin(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", r"a\b", "C:", "a\u{0}"] {
            assert!(!is_pin(name), "{name:?}");
        }
    }

    #[test]
    fn long_names_are_cut_and_hashed() {
        let at_limit = format!("/{}", "a".repeat(199));
        assert_eq!(project_slug(&at_limit).len(), 200);
        let over = format!("/{}", "a".repeat(200));
        check(&over, &format!("-{}-{}", "a".repeat(199), LONG_A));
        let deep = "/home/ann/代码".to_owned() + &"/some.dir".repeat(30);
        let slug = project_slug(&deep);
        assert!(slug.ends_with(LONG_DEEP), "{slug}");
        assert_ne!(slug, project_slug(&deep.replacen("代码", "代玛", 1)));
    }

    // Computed with an independent implementation of the rule.
    const LONG_A: &str = "b6ymvl";
    const LONG_DEEP: &str = "-5fto99";
}
