//! A remote's URL as a name that means the same everywhere.
//!
//! Must not know what a project is.

/// A remote's URL without what differs between machines and ways of access:
/// `host/path`. `git@host:a/b.git`, `ssh://host:2222/a/b` and
/// `https://user:token@HOST/a/b/` are one. The port goes, too: one repository is
/// reached through several.
///
/// `None` for paths of a local disk, which mean nothing elsewhere: such
/// repositories are told by their first commit.
#[must_use]
pub fn normalise_remote(url: &str) -> Option<String> {
    const URL_BYTES_MAX: usize = 1024;
    let url = url.trim();
    if url.len() > URL_BYTES_MAX
        || url
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
    {
        return None;
    }
    let (authority, path) = match url.split_once("://") {
        Some((scheme, rest)) => {
            let scheme = scheme.to_ascii_lowercase();
            let known = [
                "ssh",
                "git",
                "http",
                "https",
                "git+ssh",
                "ssh+git",
                "git+https",
                "git+http",
                "ftp",
                "ftps",
            ];
            if !known.iter().any(|k| *k == scheme) {
                return None;
            }
            let (authority, path) = rest.split_once('/')?;
            // Only the web's schemes have these; in a path over SSH they are names.
            let path = if scheme.starts_with("http") {
                path.split(['?', '#']).next()?
            } else {
                path
            };
            (authority, path)
        }
        None => scp_form(url)?,
    };
    let host = host_of(authority)?;
    let mut parts: Vec<&str> = path
        .split('/')
        .filter(|p| !p.is_empty() && *p != ".")
        .collect();
    let last = parts.pop()?;
    parts.push(
        last.strip_suffix(".git")
            .filter(|name| !name.is_empty())
            .unwrap_or(last),
    );
    if parts.contains(&"..") {
        return None;
    }
    Some(format!("{host}/{}", parts.join("/")))
}

/// `user@host:path`; not `C:\x`, `./a:b` or `ext::…`.
fn scp_form(url: &str) -> Option<(&str, &str)> {
    let from = if url.contains("@[") || url.starts_with('[') {
        url.find(']')?
    } else {
        0
    };
    let colon = from + url.get(from..)?.find(':')?;
    let (authority, path) = (url.get(..colon)?, url.get(colon + 1..)?);
    let drive = authority.len() == 1;
    (!drive && !authority.contains('/') && !path.starts_with(':')).then_some((authority, path))
}

/// The host in lower case, without user, password and port.
fn host_of(authority: &str) -> Option<String> {
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => host.split(':').next()?,
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    // The same service behind another door, for networks that block SSH.
    let host = match host.as_str() {
        "ssh.github.com" => "github.com".to_owned(),
        "altssh.gitlab.com" => "gitlab.com".to_owned(),
        "altssh.bitbucket.org" => "bitbucket.org".to_owned(),
        _ => host,
    };
    (!host.is_empty()).then_some(host)
}
