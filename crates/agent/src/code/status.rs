//! What `git status --porcelain=v2 -z` says, as values. Names are bytes: git takes
//! any.

/// One file that differs, or is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changed {
    /// Below the top.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
}

/// How it differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of a file that the commit or the index has.
    Tracked(Tracked),
    /// In the middle of being merged.
    Unmerged,
    /// Neither the commit nor the index has it.
    Unknown,
}

/// A file that the commit or the index has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tracked {
    /// The letter of the index, and that of the work tree.
    pub(super) letters: (u8, u8),
    /// It is a submodule.
    pub(super) submodule: bool,
    /// Another commit of it is checked out than the index says.
    pub(super) moved: bool,
    /// Mode and object in the index; zeros where it has none.
    pub(super) index: (String, String),
}

/// The branch, the commit, and what differs from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Status {
    /// Empty if none is checked out.
    pub(super) branch: String,
    /// Empty before the first.
    pub(super) head: String,
    pub(super) changed: Vec<Changed>,
}

/// Reads it; nothing if it is not what it has to be.
pub(super) fn parse(bytes: &[u8]) -> Option<Status> {
    let mut status = Status::default();
    for line in bytes.split(|b| *b == 0).filter(|l| !l.is_empty()) {
        let (kind, rest) = (line.first()?, line.get(2..)?);
        match kind {
            b'#' => header(rest, &mut status),
            b'?' => status.changed.push(Changed {
                path: rest.to_vec(),
                kind: Kind::Unknown,
            }),
            b'1' => {
                let (fields, path) = fields::<7>(rest)?;
                let [letters, sub, _, index, _, _, index_oid] = fields;
                let letters = letters.as_bytes();
                status.changed.push(Changed {
                    path,
                    kind: Kind::Tracked(Tracked {
                        letters: (*letters.first()?, *letters.get(1)?),
                        submodule: sub.starts_with('S'),
                        moved: sub.as_bytes().get(1) == Some(&b'C'),
                        index: (index, index_oid),
                    }),
                });
            }
            b'u' => {
                let (_, path) = fields::<9>(rest)?;
                status.changed.push(Changed {
                    path,
                    kind: Kind::Unmerged,
                });
            }
            // Ignored files are not asked for, and renames not looked for.
            _ => return None,
        }
    }
    Some(status)
}

fn header(rest: &[u8], status: &mut Status) {
    let text = String::from_utf8_lossy(rest);
    if let Some(oid) = text.strip_prefix("branch.oid ") {
        if ccpeer_formats::capsule::is_oid(oid) {
            oid.clone_into(&mut status.head);
        }
    } else if let Some(name) = text.strip_prefix("branch.head ")
        && name != "(detached)"
    {
        name.clone_into(&mut status.branch);
    }
}

/// So many fields, and the path behind them.
fn fields<const N: usize>(rest: &[u8]) -> Option<([String; N], Vec<u8>)> {
    let mut parts = rest.splitn(N + 1, |b| *b == b' ');
    let mut out = std::array::from_fn(|_| String::new());
    for field in &mut out {
        *field = std::str::from_utf8(parts.next()?).ok()?.to_owned();
    }
    Some((out, parts.next()?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read() {
        let zero = "0000000000000000000000000000000000000000";
        let one = "1111111111111111111111111111111111111111";
        let text = format!(
            "# branch.oid {one}\0# branch.head main\0\
             1 .M N... 100644 100644 100644 {one} {one} a b\0\
             1 A. N... 000000 100755 100755 {zero} {one} new\0\
             1 .M SCMU 160000 160000 160000 {one} {one} sub\0\
             u UU N... 100644 100644 100644 100644 {one} {one} {one} both\0\
             ? un\nknown\0"
        );
        let status = parse(text.as_bytes()).unwrap();
        assert_eq!(
            (status.branch.as_str(), status.head.as_str()),
            ("main", one)
        );
        let paths: Vec<&[u8]> = status.changed.iter().map(|c| c.path.as_slice()).collect();
        let want: [&[u8]; 5] = [b"a b", b"new", b"sub", b"both", b"un\nknown"];
        assert_eq!(paths, want);
        let Kind::Tracked(sub) = &status.changed[2].kind else {
            panic!("it is tracked")
        };
        assert!(sub.submodule && sub.moved);
        assert_eq!(parse(b"1 broken\0"), None);
        assert_eq!(parse(b""), Some(Status::default()));
    }
}
