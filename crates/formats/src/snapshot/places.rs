//! Taking one machine's places out of texts: a hand-off names files below the
//! project, not below somebody's home directory.

/// The places of the machine that ran the session.
pub(super) struct Places {
    /// Directories and what stands for them, the longest first.
    prefixes: Vec<(String, Stand)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Paths below it are written relative to it.
    Project,
    /// It is written `~`.
    Home,
}

impl Places {
    pub(super) fn new(projects: &[Option<&str>], home: Option<&str>) -> Self {
        let projects = projects.iter().flatten().map(|dir| (*dir, Stand::Project));
        let mut prefixes: Vec<(String, Stand)> = projects
            .chain(home.map(|dir| (dir, Stand::Home)))
            .map(|(dir, stand)| (dir.trim_end_matches(['/', '\\']).to_owned(), stand))
            // A root, or a drive's, is no prefix worth taking out.
            .filter(|(dir, _)| dir.len() > 2)
            .collect();
        prefixes.sort_by_key(|(dir, _)| std::cmp::Reverse(dir.len()));
        prefixes.dedup_by(|a, b| a.0 == b.0);
        Self { prefixes }
    }

    /// A path as it is named in a hand-off.
    pub(super) fn path(&self, path: &str) -> String {
        let short = self.text(path);
        if short == path {
            short
        } else {
            short.replace('\\', "/")
        }
    }

    /// A text with the places in it taken out, at the boundaries of paths only.
    pub(super) fn text(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut before: Option<char> = None;
        while let Some(c) = rest.chars().next() {
            if !before.is_some_and(is_before_path)
                && let Some((stand, after)) = self.prefix_of(rest)
            {
                let below = after
                    .strip_prefix(['/', '\\'])
                    .filter(|below| !below.is_empty());
                match (stand, below) {
                    // At the end of a word it was the directory itself.
                    (Stand::Project, Some(below)) if below.starts_with(is_in_name) => rest = below,
                    (Stand::Project, _) => {
                        out.push('.');
                        rest = after;
                    }
                    (Stand::Home, _) => {
                        out.push('~');
                        rest = after;
                    }
                }
                before = Some('.');
                continue;
            }
            out.push(c);
            before = Some(c);
            rest = rest.get(c.len_utf8()..).unwrap_or("");
        }
        out
    }

    fn prefix_of<'t>(&self, text: &'t str) -> Option<(Stand, &'t str)> {
        self.prefixes.iter().find_map(|(dir, stand)| {
            let after = text.strip_prefix(dir.as_str())?;
            let mut next = after.chars();
            let ends = match next.next() {
                Some('.') => !next.next().is_some_and(char::is_alphanumeric),
                Some(c) => !is_in_name(c),
                None => true,
            };
            ends.then_some((*stand, after))
        })
    }
}

fn is_in_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | '+' | '~')
}

/// Whether a path that follows this is the rest of a longer one. Chinese is
/// written without spaces: a path may well begin behind a letter of it.
fn is_before_path(c: char) -> bool {
    c.is_ascii() && (is_in_name(c) || matches!(c, '/' | '\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_places_are_taken_out() {
        let places = Places::new(
            &[Some("/home/ann/proj"), None, Some("/home/ann/proj")],
            Some("/home/ann"),
        );
        let check = |text: &str, want: &str| assert_eq!(places.text(text), want);
        check("cat /home/ann/proj/src/a.rs && ls", "cat src/a.rs && ls");
        check(
            "/home/ann/proj2/x and /home/ann/proj-x",
            "~/proj2/x and ~/proj-x",
        );
        check("in /home/ann/proj.", "in ..");
        check("in /home/ann/proj, `/home/ann/proj/`", "in ., `./`");
        check(
            "/home/ann/proj.bak /home/annette/x",
            "~/proj.bak /home/annette/x",
        );
        check("/backup/home/ann/proj/x", "/backup/home/ann/proj/x");
        check("看/home/ann/proj/说明.md", "看说明.md");
        check("~ stays, ${HOME} too", "~ stays, ${HOME} too");
        assert_eq!(
            places.path("/home/ann/proj/sub dir/other.md"),
            "sub dir/other.md"
        );
        assert_eq!(places.path("/etc/hosts"), "/etc/hosts");
        let windows = Places::new(&[Some(r"C:\Users\ann\proj")], Some(r"C:\Users\ann"));
        assert_eq!(windows.path(r"C:\Users\ann\proj\src\a.rs"), "src/a.rs");
        assert_eq!(windows.path(r"C:\Users\ann\x"), "~/x");
        let root = Places::new(&[Some("/")], Some(""));
        assert_eq!(root.text("/a /b"), "/a /b");
    }
}
