//! The name that Claude Code gives a project's directory under `projects/`.
//!
//! Not invertible: `a.b`, `a_b` and `a/b` share one name, so a project is never
//! read back from it. Must not know any other rule of the layout.

/// Names longer than this are cut, and told apart by a hash.
const NAME_UNITS_MAX: usize = 200;

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
    fn everything_but_letters_and_digits_becomes_a_hyphen() {
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
